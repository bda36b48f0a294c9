use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::inputs::ebpf::Probe;
use crate::point::{Point, Timestamp};

fn read(text: &str) -> Result<Config, Problems> {
    let lookup = |name: &str| match name {
        "HOST_NAME" => Some("node1".to_owned()),
        "ENV" => Some("prod".to_owned()),
        "MONITOR_HOST" => Some("http://db:8086".to_owned()),
        _ => None,
    };
    let source = Source { path: "t.conf".into(), text: text.to_owned() };
    load(&[source], &PluginFilter::default(), &lookup, "system-name")
}

fn problems(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn the_articles_daemonset_is_understood_as_far_as_its_plugins_are_there() {
    let config = read(
        r#"
[global_tags]
  env = "$ENV"
[agent]
  hostname = "$HOST_NAME"
[[outputs.influxdb]]
  urls = ["$MONITOR_HOST"] # required
  database = "$MONITOR_DATABASE" # required
  timeout = "5s"
[[inputs.cpu]]
  percpu = true
  totalcpu = true
  collect_cpu_time = false
  report_active = false
[[inputs.disk]]
  ignore_fs = ["tmpfs", "devtmpfs", "devfs"]
[[inputs.mem]]
[[inputs.system]]
"#,
    )
    .unwrap();
    assert_eq!(config.global_tags["env"], "prod");
    assert_eq!(config.global_tags["host"], "node1");
    let names: Vec<&str> = config.inputs.iter().map(|input| input.options.name()).collect();
    assert_eq!(names, ["cpu", "disk", "mem", "system"]);
    let OutputOptions::Influxdb(influxdb) = &config.outputs[0].options else {
        panic!("{:?}", config.outputs)
    };
    assert_eq!(influxdb.urls, ["http://db:8086"]);
    assert_eq!(influxdb.database, "$MONITOR_DATABASE", "an unset variable stays as it is");
    assert_eq!(influxdb.timeout, Duration::from_secs(5));
}

#[test]
fn defaults() {
    let config = read("").unwrap();
    assert_eq!(config.agent, Agent { hostname: Some("system-name".into()), ..Agent::default() });
    assert_eq!(config.global_tags.len(), 1);
}

#[test]
fn agent_options_in_any_spelling() {
    let config = read(
        "[agent]\nInterval = \"5s\"\nFlushInterval = 7\nround_interval = false\nomit_hostname = true\nprecision = \"1ms\"",
    )
    .unwrap();
    assert_eq!(config.agent.interval, Duration::from_secs(5));
    assert_eq!(config.agent.flush_interval, Duration::from_secs(7));
    assert_eq!(config.agent.precision, Duration::from_millis(1));
    assert!(!config.agent.round_interval);
    assert!(config.global_tags.is_empty());
}

#[test]
fn the_ebpf_section() {
    let config = read(
        "[[inputs.ebpf]]\nprobes = [\"cpu\", \"tcp\"]\nring_bytes = \"64KiB\"\nflush_period = \"500ms\"",
    )
    .unwrap();
    let InputOptions::Ebpf(options) = &config.inputs[0].options else { panic!("{:?}", config.inputs) };
    assert_eq!(options.probes, [Probe::Cpu, Probe::Tcp]);
    assert_eq!(options.ring_bytes, 65_536);
    assert_eq!(options.flush_period, Duration::from_millis(500));
}

#[test]
fn common_options_of_an_input() {
    let config = read(
        r#"
[[inputs.cpu]]
  interval = "1m"
  name_prefix = "my_"
  fielddrop = ["time_*"]
  [inputs.cpu.tags]
    rack = "7"
  [inputs.cpu.tagpass]
    cpu = ["cpu-total"]
"#,
    )
    .unwrap();
    let common = &config.inputs[0].common;
    assert_eq!(common.interval, Duration::from_secs(60));
    let total = Point::new("cpu", Timestamp(0))
        .tag("cpu", "cpu-total")
        .field("time_user", 1.0)
        .field("usage_user", 2.0);
    let point = common.process(&config.global_tags, total.clone()).unwrap();
    assert_eq!(point.measurement, "my_cpu");
    assert_eq!(point.tag_value("rack"), Some("7"));
    assert_eq!(point.fields.len(), 1);
    assert_eq!(common.process(&config.global_tags, total.tag("cpu", "cpu0")), None);
}

#[test]
fn a_plugins_tls_options_are_collected() {
    let config = read("[[outputs.influxdb]]\n ssl_ca = \"/ca.pem\"\n insecure_skip_verify = true").unwrap();
    let OutputOptions::Influxdb(influxdb) = &config.outputs[0].options else { panic!() };
    assert_eq!(influxdb.tls.tls_ca, "/ca.pem");
    assert!(influxdb.tls.insecure_skip_verify);
}

#[rstest]
#[case(
    "[agent]\nintervall = \"10s\"",
    "t.conf:2: unknown option `intervall` of [agent]: did you mean `interval`?"
)]
#[case(
    "\n[[inputs.cpux]]",
    "t.conf:2: unknown input `cpux`: did you mean `cpu`?; there are: cpu, disk, docker, ebpf, mem, system"
)]
#[case(
    "[[inputs.cpu]]\n  percpus = true",
    "t.conf:2: unknown option `percpus` of input `cpu`: did you mean `percpu`?"
)]
#[case(
    "[[inputs.cpu]]\n  percpu = \"yes\"",
    "t.conf:2: `percpu` of input `cpu`: invalid type: string \"yes\", expected a boolean"
)]
#[case(
    "[[outputs.influxdb]]\n timeout = \"5 apples\"",
    "t.conf:2: `timeout` of output `influxdb`: `5 apples` is no duration: write it as 10s, 500ms or 1h30m"
)]
#[case(
    "[[outputs.influxdb]]\n insecure_skip_verfy = true",
    "t.conf:2: unknown option `insecure_skip_verfy` of output `influxdb`: did you mean `insecure_skip_verify`?"
)]
#[case(
    "[[outputs.influxdb]]\n tls_ca = 1",
    "t.conf:2: `tls_ca` of output `influxdb`: invalid type: integer `1`, expected a string"
)]
#[case("[[inputs.mem]]\n tls_ca = \"/ca.pem\"", "t.conf:2: unknown option `tls_ca` of input `mem`")]
#[case("[agnet]", "t.conf:1: unknown table [agnet]: did you mean `agent`?")]
#[case("[agent]\ninterval = \"0s\"", "t.conf:2: `interval` of [agent] must be more than 0")]
#[case("[[processors.rename]]", "t.conf:1: [[processors.*]] is not supported: only inputs and outputs are")]
#[case("[global_tags]\na = 1", "t.conf:2: global tag `a` must be a string")]
#[case(
    "[[inputs.mem]]\nnamepass = \"x\"",
    "t.conf:2: `namepass` of an input: invalid type: string \"x\", expected a sequence"
)]
#[case(
    "[agent]\nhostname = \"${X:?set it}\"",
    "t.conf:2: `hostname`: required variable X is missing a value: set it"
)]
fn a_problem_names_its_line_and_the_nearest_name(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(problems(text), [expected]);
}

#[test]
fn broken_toml_names_its_line() {
    let problems = problems("[agent]\n  interval = = 3\n");
    assert!(problems[0].starts_with("t.conf:2: no valid TOML: "), "{problems:?}");
}

#[test]
fn all_problems_are_reported_at_once() {
    assert_eq!(problems("[agent]\nx_y_z = 1\n[[inputs.cpu]]\nq = 1\nw = 2\n[[inputs.nothing]]").len(), 4);
}

#[test]
fn a_bare_number_where_telegraf_takes_a_string_alone_is_ignored() {
    let config = read("[[inputs.mem]]\ninterval = 3").unwrap();
    assert_eq!(config.inputs[0].common.interval, Duration::from_secs(10));
}

#[test]
fn filtered_plugins_are_not_even_read() {
    let source = Source { path: "t.conf".into(), text: "[[inputs.nothing]]\n[[inputs.mem]]".into() };
    let filter = PluginFilter { inputs: vec!["mem".into()], outputs: vec![] };
    let config = load(&[source], &filter, &|_| None, "h").unwrap();
    assert_eq!(config.inputs.len(), 1);
}

#[test]
fn later_files_win_in_agent() {
    let source = |text: &str| Source { path: "t.conf".into(), text: text.to_owned() };
    let sources = [source("[agent]\ninterval = \"1s\"\nquiet = true"), source("[agent]\ninterval = \"2s\"")];
    let config = load(&sources, &PluginFilter::default(), &|_| None, "h").unwrap();
    assert_eq!((config.agent.interval, config.agent.quiet), (Duration::from_secs(2), true));
}

#[test]
fn no_prefix_of_a_file_panics() {
    let text = "[global_tags]\na=\"$B\"\n[agent]\ninterval=\"10s\"\n[[inputs.cpu]]\npercpu=true\n[inputs.cpu.tags]\nx=\"y\"\n[[outputs.file]]\nfiles=[\"stdout\"]\n";
    for end in 0..text.len() {
        let _ = read(&text[..end]);
    }
}
