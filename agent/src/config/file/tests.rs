mod found;
mod secrets;
mod start;
mod values;

use std::path::Path;

use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::config::env::{Environment, Mode};
use crate::config::notes::Problems;
use crate::kernel::plan::Probe;
use crate::point::{Point, Timestamp};
use crate::service::logging::{LogFormat, LogOptions};
use crate::service::rotation::Rotation;

fn read(text: &str) -> Result<Config, Problems> {
    let lookup = |name: &str| match name {
        "HOST_NAME" => Some("node1".to_owned()),
        "ENV" => Some("prod".to_owned()),
        "MONITOR_HOST" => Some("http://db:8086".to_owned()),
        _ => None,
    };
    let source = Source { path: "t.conf".into(), text: text.to_owned() };
    load(&[source], &Reading::of_text(Environment::strict(&lookup), "system-name"))
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
    "t.conf:2:1: unknown option `intervall` of [agent]: did you mean `interval`?"
)]
#[case(
    "[[inputs.cpu]]\n  percpus = true",
    "t.conf:2:3: unknown option `percpus` of input `cpu`: did you mean `percpu`?"
)]
#[case(
    "[[inputs.cpu]]\n  percpu = \"yes\"",
    "t.conf:2:3: `percpu` of input `cpu`: must be true or false, without quotes"
)]
#[case(
    "[[outputs.influxdb]]\n timeout = \"5 apples\"",
    "t.conf:2:2: `timeout` of output `influxdb`: `5 apples` is not a duration: write it as 10s, 500ms or 1h30m"
)]
#[case(
    "[[outputs.influxdb]]\n insecure_skip_verfy = true",
    "t.conf:2:2: unknown option `insecure_skip_verfy` of output `influxdb`: did you mean `insecure_skip_verify`?"
)]
#[case(
    "[[outputs.influxdb]]\n tls_ca = 1",
    "t.conf:2:2: `tls_ca` of output `influxdb`: must be text in quotes"
)]
#[case("[[inputs.mem]]\n tls_ca = \"/ca.pem\"", "t.conf:2:2: unknown option `tls_ca` of input `mem`")]
#[case(
    "[[inputs.net]]\n  interfaces = [\"a[*\"]",
    "t.conf:2:3: `interfaces` of input `net`: error parsing glob 'a[*': unclosed character class; missing ']'"
)]
#[case(
    "[[inputs.cgroup]]\n  paths = [\"/sys/fs/cgroup/[b-a]\"]",
    "t.conf:2:3: `paths` of input `cgroup`: error parsing glob '[b-a]': invalid range; 'b' > 'a'"
)]
#[case("[agnet]", "t.conf:1:2: unknown table [agnet]: did you mean `agent`?")]
#[case("[agent]\ninterval = \"0s\"", "t.conf:2:1: `interval` of [agent] must be more than 0")]
#[case("\n[[processors.rename]]", "t.conf:2:1: Telegraf's `processors.rename` is not part of this agent")]
#[case("[[inputs.mysql]]", "t.conf:1:1: Telegraf's `inputs.mysql` is not part of this agent")]
#[case("[[aggregators.minmx]]", "t.conf:1:1: unknown aggregator `minmx`: did you mean `minmax`?")]
#[case("[global_tags]\na = 1", "t.conf:2:1: global tag `a` must be text in quotes")]
#[case("[[inputs.mem]]\nnamepass = \"x\"", "t.conf:2:1: `namepass` must be a list, such as [\"cpu\"]")]
#[case(
    "[[inputs.mem]]\ninterval = \"10\"",
    "t.conf:2:1: `interval` cannot be used: `10` is not a duration: write it as 10s, 500ms or 1h30m"
)]
#[case(
    "[[inputs.mem]]\ntagdrop = [\"x\"]",
    "t.conf:2:1: `tagdrop` must be a table of lists, such as { cpu = [\"cpu0\"] }"
)]
#[case(
    "[[inputs.mem]]\nmetricpass = \"true\"",
    "t.conf:2:1: `metricpass` of input `mem`: its expressions are not part of this agent: use namepass, tagpass and fieldinclude"
)]
#[case(
    "[[outputs.file]]\nstartup_error_behavior = \"probe\"",
    "t.conf:2:1: `startup_error_behavior` cannot be `probe`: it must be error, retry, ignore"
)]
#[case(
    "[[inputs.mem]]\nlog_level = \"loud\"",
    "t.conf:2:1: `log_level` cannot be `loud`: it must be error, warn, info, debug or trace"
)]
#[case(
    "interval = \"10s\"",
    "t.conf:1:1: `interval` is outside of any table: put it below [agent], [[inputs.NAME]] or [[outputs.NAME]]"
)]
#[case(
    "[agent]\nlogformat = \"xml\"",
    "t.conf:2:1: `logformat` of [agent] cannot be `xml`: it must be `text` or `structured`"
)]
#[case(
    "[agent]\nhostname = \"${X:?set it}\"",
    "t.conf:2:1: `hostname`: required variable X is missing a value: set it"
)]
fn a_problem_names_its_place_and_the_nearest_name(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(problems(text), [expected]);
}

#[test]
fn an_unknown_plugin_is_told_from_one_of_telegrafs() {
    let near = problems("\n[[inputs.cpux]]");
    assert!(
        near[0].starts_with("t.conf:2:1: unknown input `cpux`: did you mean `cpu`?; there are: "),
        "{near:?}"
    );
    let telegrafs = problems("[[inputs.mysq]]");
    assert!(
        telegrafs[0].starts_with("t.conf:1:1: unknown input `mysq`: did you mean `mysql`?"),
        "{telegrafs:?}"
    );
}

#[test]
fn broken_toml_names_its_line() {
    let problems = problems("[agent]\n  interval = = 3\n");
    assert!(problems[0].starts_with("t.conf:2:14: invalid TOML: "), "{problems:?}");
}

#[test]
fn a_variable_without_quotes_is_refused_with_what_to_do_or_replaced_where_that_is_asked_for() {
    let text = "[agent]\n  interval = $SECONDS # $IN_A_COMMENT ${X:?no}\n[[inputs.mem]]\n  name_override = \"$NAME\"\nx = 1";
    let lookup = |name: &str| match name {
        "SECONDS" => Some("7".to_owned()),
        // A value is a piece of the file, and moves what comes after it.
        "NAME" => Some("a\"\n  name_prefix = \"b".to_owned()),
        _ => None,
    };
    let source = |text: &str| [Source { path: "t.conf".into(), text: text.to_owned() }];
    let strict = Environment::strict(&lookup);
    let error = load(&source(text), &Reading::of_text(strict, "h")).unwrap_err().to_string();
    assert!(
        error.starts_with("t.conf:2:14: invalid TOML: ") && error.contains("--non-strict-env-handling"),
        "{error}"
    );
    let everywhere = Environment { mode: Mode::NonStrict, ..strict };
    let error = load(&source(text), &Reading::of_text(everywhere, "h")).unwrap_err().to_string();
    assert!(error.starts_with("t.conf:5:1: unknown option `x` of input `mem`"), "{error}");
    let config = load(&source(&text.replace("\nx = 1", "")), &Reading::of_text(everywhere, "h")).unwrap();
    assert_eq!(config.agent.interval, Duration::from_secs(7));
    assert_eq!(config.inputs[0].common.naming.prefix, "b");
    let required = load(&source("\n a = \"${X:?no}\""), &Reading::of_text(everywhere, "h")).unwrap_err();
    assert_eq!(required.to_string(), "t.conf:2:1: required variable X is missing a value: no");
}

#[test]
fn all_problems_are_reported_at_once() {
    assert_eq!(problems("[agent]\nx_y_z = 1\n[[inputs.cpu]]\nq = 1\nw = 2\n[[inputs.nothing]]").len(), 4);
}

#[test]
fn what_telegraf_ignores_is_ignored_with_a_warning() {
    let config = read(
        "[[inputs.mem]]\ninterval = 3\nalias = 1\nfieldpass = [\"a\", \"b\"]\norder = 3\n[agent]\nutc = true",
    )
    .unwrap();
    assert_eq!(config.inputs[0].common.interval, Duration::from_secs(10));
    assert_eq!(
        config.warnings,
        [
            "t.conf:2:1: `interval` is ignored, as in Telegraf: it must be a duration in quotes, with a unit, such as \"10s\"",
            "t.conf:3:1: `alias` is ignored, as in Telegraf: it must be text in quotes",
            "t.conf:5:1: `order` of input `mem` has no effect: Telegraf accepts it for every plugin, and it means nothing for this one",
            "t.conf:7:1: `utc` of [agent] has no effect: times are always in UTC",
        ]
    );
}

#[test]
fn old_names_keep_their_meaning() {
    let text = "[[inputs.disk]]\nmountpoints = [\"/a\"]\nmount_points = [\"/b\"]\n[[outputs.influxdb]]\nurl = \"http://x\"\nprecision = \"s\"\n[mem]\n[plugins.system]\n[tags]\na = \"b\"";
    let config = read(text).unwrap();
    let names: Vec<&str> = config.inputs.iter().map(|input| input.options.name()).collect();
    assert_eq!(names, ["disk", "mem", "system"]);
    let InputOptions::Disk(disk) = &config.inputs[0].options else { panic!() };
    assert_eq!(format!("{:?}", disk.mount_points), "[\"/b\", \"/a\"]");
    let OutputOptions::Influxdb(influxdb) = &config.outputs[0].options else { panic!() };
    assert_eq!(influxdb.urls, ["http://x"]);
    assert_eq!(config.global_tags["a"], "b");
    assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
    assert_eq!(config.warnings[0], "t.conf:2:1: `mountpoints` of input `disk` is now called `mount_points`");
    let twice = problems("[[inputs.mem]]\nssl_ca = \"x\"");
    assert_eq!(twice, ["t.conf:2:1: unknown option `ssl_ca` of input `mem`"]);
}

#[test]
fn filtered_plugins_are_not_even_read() {
    let source = Source { path: "t.conf".into(), text: "[[inputs.nothing]]\n[[inputs.mem]]".into() };
    let filter = PluginFilter { inputs: vec!["mem".into()], outputs: vec![] };
    let config =
        load(&[source], &Reading { filter, ..Reading::of_text(Environment::strict(&|_| None), "h") })
            .unwrap();
    assert_eq!(config.inputs.len(), 1);
}

/// Several files, `a.conf` first.
fn read_all(texts: &[&str]) -> Config {
    let named = |(n, text): (usize, &&str)| Source {
        path: format!("{}.conf", char::from(b'a' + u8::try_from(n).unwrap())).into(),
        text: (*text).to_owned(),
    };
    let sources: Vec<Source> = texts.iter().enumerate().map(named).collect();
    load(&sources, &Reading::of_text(Environment::strict(&|_| None), "h")).unwrap()
}

#[test]
fn later_files_win_in_agent_key_by_key() {
    let config = read_all(&["[agent]\ninterval = \"1s\"\nquiet = true", "[agent]\nInterval = \"2s\""]);
    assert_eq!((config.agent.interval, config.agent.log.quiet), (Duration::from_secs(2), true));
    assert_eq!(
        config.warnings,
        ["b.conf:2:1: `interval` of [agent] is also set at a.conf:2:1: this value is used"]
    );
}

#[test]
fn some_of_agent_is_taken_as_far_as_it_is_read() {
    let config = read_all(&[
        "[[outputs.file]]\n[[inputs.mem]]\n[global_tags]\nhost = \"mine\"\na = \"1\"",
        "[agent]\nmetric_batch_size = 7\nflush_interval = \"3s\"\nalways_include_global_tags = true\nomit_hostname = true\n[global_tags]\na = \"2\"",
        "[[outputs.file]]\n[[inputs.mem]]",
    ]);
    let sizes = config.outputs.iter().map(|output| output.common.metric_batch_size);
    assert_eq!(sizes.collect::<Vec<_>>(), [1_000, 7]);
    let always = config.inputs.iter().map(|input| input.common.always_include_global_tags);
    assert_eq!(always.collect::<Vec<_>>(), [false, true]);
    assert!(config.outputs.iter().all(|output| output.common.flush_interval == Duration::from_secs(3)));
    assert_eq!(config.global_tags["host"], "h", "what the first file set is not taken back");
    assert_eq!(config.global_tags["a"], "2");
}

#[test]
fn an_own_host_tag_stays_with_omit_hostname() {
    let config = read_all(&["[agent]\nomit_hostname = true\n[global_tags]\nhost = \"mine\""]);
    assert_eq!(config.global_tags["host"], "mine");
}

#[test]
fn options_of_the_log() {
    let config = read(
        "[agent]\nlogfile = \"/var/log/a.log\"\nlogfile_rotation_max_size = \"1MB\"\nlogfile_rotation_interval = \"1d\"\nlogfile_rotation_max_archives = -1\nlogformat = \"structured\"\nstructured_log_message_key = \"m\"",
    )
    .unwrap();
    let expected = LogOptions {
        file: Some("/var/log/a.log".into()),
        rotation: Rotation::new(Duration::from_secs(86_400), 1_000_000, -1),
        format: LogFormat::Structured,
        message_key: "m".into(),
        ..LogOptions::default()
    };
    assert_eq!(config.agent.log, expected);
    let stderr = read("[agent]\nlogfile = \"/x\"\nlogtarget = \"stderr\"").unwrap();
    assert_eq!(stderr.agent.log, LogOptions::default());
    assert_eq!(LogOptions::default().rotation.max_archives, Some(5));
}

#[test]
fn no_prefix_of_a_file_panics() {
    let text = "[global_tags]\na=\"$B\"\n[agent]\ninterval=\"10s\"\n[[inputs.cpu]]\npercpu=true\n[inputs.cpu.tags]\nx=\"y\"\n[[outputs.file]]\nfiles=[\"stdout\"]\n";
    for end in 0..text.len() {
        let _ = read(&text[..end]);
    }
}
