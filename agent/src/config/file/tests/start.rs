//! What keeps a configuration from starting is said at once and with its place, and so is what does nothing.

use rstest::rstest;

use super::*;
use crate::config::reading::Depth;
use crate::host::Host;

/// Reads as a start does, on a host whose files are below a folder.
fn start_on(root: &Path, text: &str, change: impl FnOnce(&mut Reading<'_>)) -> Result<Config, Vec<String>> {
    let source = Source { path: "t.conf".into(), text: text.to_owned() };
    let host = Host::at(root);
    let mut reading = Reading::of_text(Environment::strict(&|_| None), "h");
    reading.depth = Depth::Here(&host);
    (reading.needs_inputs, reading.needs_outputs) = (true, true);
    reading.without_unknown = "to start the rest: …".into();
    change(&mut reading);
    load(&[source], &reading).map_err(|problems| problems.to_string().lines().map(str::to_owned).collect())
}

fn refused(text: &str) -> Vec<String> {
    start_on(Path::new("/nonexistent"), text, |_| ()).err().unwrap_or_default()
}

#[test]
fn a_file_that_cannot_be_parsed_says_that_alone() {
    let said = start_on(Path::new("/nonexistent"), "[[inputs.mem]]\n  interval = 10s\n", |reading| {
        reading.filter.inputs = vec!["mem".into()];
    });
    let said = said.unwrap_err();
    assert!(said.len() == 1 && said[0].starts_with("t.conf:2:"), "{said:?}");
}

/// The warnings about a section of an input, beside an output.
fn warnings(text: &str) -> Vec<String> {
    let text = format!("{text}\n[[outputs.file]]");
    start_on(Path::new("/nonexistent"), &text, |_| ()).unwrap().warnings
}

#[test]
fn everything_that_keeps_it_from_starting_is_said_at_once() {
    let text = r#"[agent]
  intervall = "10s"
[[inputs.docker]]
  endpoint = "docker"
  timeout = true
  container_name_include = ["a[*"]
[[inputs.kubernetes]]
  url = "foo:1"
  label_include = ["a[*"]
[[inputs.ebpf]]
  cgroup_include = ["a[*"]
[[outputs.influxdb]]
  urls = ["http://"]
  tls_ca = "/nonexistent/ca.pem"
  tls_min_version = "SSL3"
  http_proxy = "no proxy"
[[outputs.influxdb]]
  urls = ["https://a"]
  tls_ca = "/nonexistent/ca.pem"
  tls_cert = "/nonexistent/cert.pem"
[[outputs.influxdb_v2]]
  content_encoding = "zip"
  rate_limit = 5
"#;
    let problems = refused(text);
    let expected = [
        "t.conf:2:3: unknown option `intervall`",
        "t.conf:4:3: `endpoint` of input `docker`: `docker`: it is ENV, or begins with unix:///",
        "t.conf:5:3: `timeout` of input `docker`: must be a duration",
        "t.conf:6:3: `container_name_include` of input `docker`: error parsing glob",
        "t.conf:8:3: `url` of input `kubernetes`: `foo:1`: `foo` is not supported: use http or https",
        "t.conf:9:3: `label_include` of input `kubernetes`: error parsing glob",
        "t.conf:11:3: `cgroup_include` of input `ebpf`: error parsing glob",
        "t.conf:13:3: `urls` of output `influxdb`: `http://` is no URL",
        "t.conf:15:3: `tls_min_version` of output `influxdb`: `SSL3`",
        "t.conf:16:3: `http_proxy` of output `influxdb`: is no URL of a proxy",
        "t.conf:19:3: `tls_ca` of output `influxdb`: cannot read /nonexistent/ca.pem",
        "t.conf:20:3: `tls_cert` of output `influxdb`: needs `tls_key`",
        "t.conf:22:3: `content_encoding` of output `influxdb_v2`: `zip`",
        "t.conf:23:3: `rate_limit` of output `influxdb_v2`: needs `rate_limit_period`",
    ];
    for expected in expected {
        assert!(
            problems.iter().any(|said| said.starts_with(expected)),
            "{expected}\n{}",
            problems.join("\n")
        );
    }
    assert_eq!(problems.len(), expected.len(), "{}", problems.join("\n"));
}

#[test]
fn an_empty_file_and_one_without_outputs_are_refused() {
    assert_eq!(
        refused(""),
        [
            "t.conf: there is no input to start with: add one, such as [[inputs.ebpf]]",
            "t.conf: there is no output to start with: add one, such as [[outputs.influxdb]], or use `seismograf dump`"
        ]
    );
    assert_eq!(refused("[[inputs.mem]]").len(), 1);
    assert!(refused("[[inputs.mem]]\n[[outputs.file]]").is_empty());
}

#[test]
fn a_typo_in_the_logs_path_makes_no_directories() {
    let root = tempfile::tempdir().unwrap();
    let start = |path: &str| {
        let path = root.path().join(path);
        let text = format!("[agent]\nlogfile = \"{}\"\n[[inputs.mem]]\n[[outputs.file]]", path.display());
        start_on(Path::new("/"), &text, |_| ())
    };
    assert_eq!(start("agent.log").unwrap().warnings, [""; 0]);
    // Telegraf's own is one that its package makes.
    let one = start("telegraf/agent.log").unwrap().warnings;
    assert!(
        one.len() == 1
            && one[0].contains("t.conf:2:1: `logfile` of [agent]: there is no directory")
            && one[0].ends_with("it is made"),
        "{one:?}"
    );
    let two = start("lgo/telegraf/agent.log").unwrap_err();
    assert!(two.len() == 1 && two[0].ends_with("/lgo: create it, or correct the path"), "{two:?}");
    assert!(start("").unwrap_err()[0].contains("is a directory"));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_written_to_is_said_before_the_start() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name).display().to_string();
    std::fs::write(at("file"), "no state").unwrap();
    let start = |agent: &str, output: &str| {
        let text = format!("[agent]\n{agent}\n[[inputs.mem]]\n[[outputs.file]]\n{output}");
        start_on(Path::new("/"), &text, |_| ()).err().unwrap_or_default().join("\n")
    };
    let state = |path: &str| start(&format!("statefile = \"{path}\""), "");
    assert_eq!(state(&at("state")), "");
    let refused = state(&at("file"));
    assert!(refused.starts_with("t.conf:2:1: `statefile` of [agent]: "), "{refused}");
    assert!(refused.contains("is no statefile: name another one"), "{refused}");
    assert!(state(&at("no/state")).contains("there is no directory"), "{}", state(&at("no/state")));
    assert!(state(&at("")).contains("is a directory"), "{}", state(&at("")));
    // No mode lets anybody write there.
    let said = "/proc/sys cannot be written to: Permission denied";
    assert!(state("/proc/sys/state").contains(said), "{}", state("/proc/sys/state"));
    let log = start("logfile = \"/proc/sys/kernel/ostype\"", "");
    assert!(log.starts_with("t.conf:2:1: `logfile` of [agent]: /proc/sys/kernel/ostype cannot be"), "{log}");
    let spool = |directory: &str| {
        start("", &format!("buffer_strategy = \"disk\"\nbuffer_directory = \"{directory}\""))
    };
    assert_eq!(spool(&at("not/yet")), "");
    assert!(spool("/proc/sys/a/b").starts_with(&format!("t.conf:6:1: `buffer_directory`: {said}")));
    assert!(spool(&at("file/b")).contains("file is no directory"), "{}", spool(&at("file/b")));
    let inherited = start("buffer_strategy = \"disk\"\nbuffer_directory = \"/proc/sys/a\"", "");
    assert!(inherited.starts_with("t.conf:3:1: `buffer_directory`: "), "{inherited}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    // Who only prints has no use for it.
    let text = "[agent]\nstatefile = \"/proc/sys/state\"\n[[inputs.mem]]";
    assert!(start_on(Path::new("/"), text, |reading| reading.needs_outputs = false).is_ok());
}

#[test]
fn an_option_among_the_lists_of_tags_is_told_with_its_key_and_line() {
    let text = "[[inputs.cpu]]\n[inputs.cpu.tagpass]\ncpu = [\"cpu0\"]\npercpu = true\n[[outputs.file]]";
    let expected = "t.conf:4:1: `percpu` is a tag here, whose values must be a list, such as [\"cpu0\"]: an option of the \
                    plugin belongs above `tagpass`";
    assert_eq!(refused(text), [expected]);
}

#[test]
fn an_address_has_one_listener() {
    let two = |second: &str| {
        refused(&format!(
            "[[inputs.influxdb_listener]]\nservice_address = \":8186\"\n{second}\n[[outputs.file]]"
        ))
    };
    let expected = "t.conf:3:1: input `socket_listener` listens on tcp://:8186, as input `influxdb_listener` (t.conf:1:1) does: \
                    give one of the two another address";
    assert_eq!(two("[[inputs.socket_listener]]\nservice_address = \"tcp://:8186\""), [expected]);
    assert_eq!(two("[[outputs.prometheus_client]]\nlisten = \":8186\"").len(), 1);
    assert!(two("[[inputs.socket_listener]]\nservice_address = \"udp://:8186\"").is_empty());
    assert!(two("[[inputs.socket_listener]]\nservice_address = \"tcp://:8187\"").is_empty());
    let retries =
        "[[inputs.socket_listener]]\nservice_address = \"tcp://:8186\"\nstartup_error_behavior = \"retry\"";
    assert!(two(retries).is_empty());
}

#[test]
fn what_is_on_another_machine_is_not_missed_offline() {
    let text = "[[inputs.net]]\ninterfaces = [\"eth7\"]\n[[outputs.influxdb]]\nurls = [\"https://a\"]\ntls_ca = \"/nonexistent/ca.pem\"\n";
    assert_eq!(refused(text).len(), 1);
    let offline = |text: &str| start_on(Path::new("/"), text, |reading| reading.depth = Depth::Elsewhere);
    assert_eq!(offline(text).unwrap().warnings, [""; 0]);
    let variable = offline("[[inputs.mem]]\n[[outputs.influxdb]]\nurls = [\"$INFLUX_URL\"]\n").unwrap();
    let expected = "variables that are not set here, so that what is made of them is not checked: INFLUX_URL";
    assert_eq!(variable.warnings, [expected]);
    // What is wrong on any machine is.
    let wrong = offline(&format!("{text}http_proxy = \"no proxy\"")).unwrap_err();
    assert!(wrong.len() == 1 && wrong[0].contains("`http_proxy`"), "{wrong:?}");
}

#[test]
fn an_input_that_may_fail_does_not_keep_the_rest_from_starting() {
    for (behavior, n) in [("error", 1), ("ignore", 0), ("retry", 0)] {
        let text = format!(
            "[[inputs.docker]]\nendpoint = \"docker\"\nstartup_error_behavior = \"{behavior}\"\n[[outputs.file]]"
        );
        assert_eq!(refused(&text).len(), n, "{behavior}");
    }
}

#[rstest]
#[case(
    "[[inputs.kubernetes]]\nurl = \"\"",
    "t.conf:2:1: `url` of input `kubernetes`: is empty: Telegraf asks the kubelets of all nodes"
)]
#[case(
    "[[inputs.kubernetes]]",
    "t.conf:1:1: `url` of input `kubernetes`: is empty: Telegraf asks the kubelets of all nodes then, this agent that of its own: run one \
     on each, and write https://$NODE_IP:10250; the server's certificate is not checked"
)]
#[case(
    "[[inputs.kubernetes]]\nurl = \"https://a\"\ninsecure_skip_verify = true",
    "t.conf:3:1: `insecure_skip_verify` of input `kubernetes`: the server's"
)]
#[case(
    "[[inputs.kubernetes]]\nurl = \"http://a\"\nlabel_include = [\"app\"]",
    "t.conf:3:1: `label_include` of input `kubernetes`: has no effect: `label_exclude`"
)]
#[case(
    "[[inputs.net]]\nignore_protocol_stats = false",
    "t.conf:2:1: `ignore_protocol_stats` of input `net`: has no effect"
)]
#[case("[[inputs.processes]]\nuse_sudo = true", "t.conf:2:1: `use_sudo` of input `processes` has no effect")]
#[case(
    "[[inputs.kernel]]\ncollect = [\"foo\"]",
    "t.conf:2:1: `collect` of input `kernel`: there is no `foo`; there are: ksm, psi"
)]
#[case(
    "[[inputs.cgroup]]\npaths = [\"/nonexistent/*\"]\nfiles = [\"*\"]",
    "t.conf:2:1: `paths` of input `cgroup`: `/nonexistent/*` matches no folder"
)]
#[case(
    "[[inputs.mem]]\n[[outputs.influxdb]]\ncontent_encoding = \"zip\"",
    "t.conf:3:1: `content_encoding` of output `influxdb`: there is no `zip`: did you mean `gzip`?: lines are sent as plain text"
)]
#[case(
    "[[inputs.mem]]\n[[outputs.influxdb]]\nwrite_consistency = \"qorum\"",
    "t.conf:3:1: `write_consistency` of output `influxdb`: there is no `qorum`: did you mean `quorum`?"
)]
#[case(
    "[[inputs.mem]]\n[[outputs.influxdb]]\nurls = [\"http://a/?p=hunter2\"]",
    "t.conf:3:1: `urls` of output `influxdb`: has a URL with a query"
)]
#[case(
    "[[inputs.mem]]\n[[outputs.influxdb]]\nurls = [\"https://a\"]\ninsecure_skip_verify = true",
    "t.conf:4:1: `insecure_skip_verify` of output `influxdb`: the server's"
)]
#[case(
    "[[inputs.mem]]\n[[outputs.influxdb]]\ntls_enable = true",
    "t.conf:3:1: `tls_enable` of output `influxdb`: has no effect"
)]
#[case(
    "[[inputs.mem]]\n[[outputs.influxdb]]\ntls_cipher_suites = [\"a\"]",
    "t.conf:3:1: `tls_cipher_suites` of output `influxdb` has no effect"
)]
#[case(
    "[[inputs.mem]]\n[[outputs.influxdb_v2]]\nconcurrent_writes = 4",
    "t.conf:3:1: `concurrent_writes` of output `influxdb_v2` has no effect"
)]
#[case(
    "[[inputs.mem]]\n[inputs.mem.tags]\nrack = \"7\"\ninterval = \"20s\"",
    "t.conf:4:1: `interval` is a tag here: as an option it belongs above [inputs.mem.tags]"
)]
#[case(
    "[[inputs.mem]]\n[inputs.mem.tagpass]\nfielddrop = [\"a\"]",
    "t.conf:3:1: `fielddrop` is a tag here: as an option it belongs above [inputs.mem.tagpass]"
)]
#[case(
    "[[inputs.disk]]\n[inputs.disk.tagdrop]\nmount_points = [\"/\"]",
    "t.conf:3:1: `mount_points` is a tag here"
)]
#[case(
    "[global_tags]\ninterval = \"20s\"\n[[inputs.mem]]",
    "t.conf:2:1: `interval` is a tag here: as an option it belongs below [agent]"
)]
#[case(
    "[global_tags]\nsite = \"$SITE\"\n[[inputs.mem]]",
    "t.conf:2:1: `site`: the variable SITE is not set, so the text stays as it is"
)]
#[case(
    "[[inputs.ebpf]]\ntag_include = [\"container\"]",
    "t.conf:2:1: `tag_include` of input `ebpf`: there is no `container`: did you mean `container_id`?; there are: cgroup, container_id, pod_uid"
)]
fn what_does_nothing_or_is_a_risk_is_said_once(#[case] text: &str, #[case] expected: &str) {
    let said = warnings(text);
    assert!(said.len() == 1 && said[0].starts_with(expected), "{said:?}");
    assert!(!said[0].contains("hunter2"));
}

#[rstest]
#[case("[[inputs.kubernetes]]\nurl = \"https://a\"\ntls_ca = \"CA\"")]
#[case("[[inputs.kubernetes]]\nurl = \"http://a\"\ninsecure_skip_verify = true")]
#[case("[[inputs.kubernetes]]\nurl = \"http://a\"\nlabel_include = [\"app\"]\nlabel_exclude = []")]
#[case("[[inputs.net]]\nignore_protocol_stats = true")]
#[case("[[inputs.diskio]]\nname_templates = [\"$ID_FS_LABEL\"]")]
#[case("[[inputs.mem]]\n[inputs.mem.tags]\nrack = \"7\"")]
#[case("[[inputs.processes]]\nuse_sudo = false")]
fn what_has_its_effect_is_not(#[case] text: &str) {
    let root = tempfile::tempdir().unwrap();
    let ca = root.path().join("ca.pem");
    std::fs::write(&ca, include_str!("../../../../testdata/config/ca.pem")).unwrap();
    let text = text.replace("CA", &ca.display().to_string());
    assert_eq!(warnings(&text), [""; 0]);
}

#[test]
fn what_matches_nothing_on_this_host_is_said() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("proc/1/mountinfo", "28 1 254:0 / / rw - ext4 /dev/vda rw\n");
    write("proc/1/net/dev", "Inter-|\n face |\n  eth0: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n");
    write("proc/net/dev", "Inter-|\n face |\n  eth0: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n");
    write("proc/diskstats", " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11\n");
    let text = "[[inputs.disk]]\nmount_points = [\"/\", \"/srv\"]\n[[inputs.net]]\ninterfaces = [\"eth*\", \"wlan*\"]\n\
                [[inputs.diskio]]\ndevices = [\"vd*\", \"sd?\"]\n[[inputs.diskio]]\ndevices = [\"vda\", \"/dev/sdb\"]\n[[outputs.file]]";
    let said = start_on(root.path(), text, |_| ()).unwrap().warnings;
    let expected = [
        "t.conf:2:1: `mount_points` of input `disk`: nothing is mounted at `/srv`",
        "t.conf:4:1: `interfaces` of input `net`: `wlan*` matches no interface in ",
        "t.conf:6:1: `devices` of input `diskio`: `sd?` matches no disk",
        "t.conf:8:1: `devices` of input `diskio`: `/dev/sdb` matches no disk",
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_problem_that_comes_of_a_variable_names_it() {
    let said = refused("[[inputs.mem]]\n[[outputs.influxdb]]\nurls = [\"$URL\"]\npassword = \"a$word\"");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("t.conf:3:1: `urls` of output `influxdb`: `$URL` is no URL"), "{said:?}");
    assert!(said[0].ends_with("; the variable URL is not set"), "{said:?}");
    // A part of a password may look like a variable.
    let said = warnings("[[inputs.mem]]\n[[outputs.influxdb]]\npassword = \"hunter$two\"");
    assert!(
        said.len() == 1 && said[0].contains("a variable in it is not set") && !said[0].contains("two"),
        "{said:?}"
    );
    // Where variables are replaced in the whole text, too.
    let everywhere = start_on(
        Path::new("/"),
        "[[inputs.mem]]\n[[outputs.file]]\n  files = [\"$DIR/a\"]\n[agent]\n  interval = \"$EVERY\"",
        |reading| {
            reading.environment.mode = Mode::NonStrict;
        },
    );
    let said = everywhere.unwrap_err();
    assert!(said.len() == 1 && said[0].ends_with("; the variable EVERY is not set"), "{said:?}");
}

#[test]
fn a_filter_that_takes_nothing_names_what_it_may_have_meant() {
    let text = "[[inputs.mem]]\n[[inputs.cpu]]\n[[outputs.file]]";
    let with = |inputs: &[&str], outputs: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        start_on(Path::new("/"), text, |reading| {
            reading.filter = PluginFilter { inputs: list(inputs), outputs: list(outputs) };
        })
    };
    let said = with(&["mme"], &[]).unwrap_err();
    assert_eq!(said, ["--input-filter mme: there is no input `mme`: did you mean `mem`?"]);
    let said = with(&["swap"], &["fil"]).unwrap_err();
    assert_eq!(
        said,
        [
            "--input-filter swap: there is no [[inputs.swap]] in the configuration",
            "--output-filter fil: there is no output `fil`: did you mean `file`?"
        ]
    );
    // Something is left: as in Telegraf, but said.
    assert_eq!(with(&["mem", "swap"], &[]).unwrap().warnings.len(), 1);
}

#[test]
fn plugins_that_are_not_here_are_refused_with_the_way_past_it_or_left_out() {
    let text = "[[inputs.mem]]\n[[inputs.nginx]]\nurls = [\"http://$NGINX\"]\n[[processors.rename]]\n[[outputs.nats]]\n[[outputs.file]]";
    let said = refused(text);
    assert_eq!(
        said,
        [
            "t.conf:2:1: Telegraf's `inputs.nginx` is not part of this agent",
            "t.conf:4:1: Telegraf's `processors.rename` is not part of this agent",
            "t.conf:5:1: Telegraf's `outputs.nats` is not part of this agent",
            "to start the rest: …"
        ]
    );
    let left_out = [
        "t.conf:2:1: left out: Telegraf's `inputs.nginx` is not part of this agent",
        "t.conf:4:1: left out: Telegraf's `processors.rename` is not part of this agent",
        "t.conf:5:1: left out: Telegraf's `outputs.nats` is not part of this agent",
    ];
    let by_flag = start_on(Path::new("/"), text, |reading| reading.skips_unknown = true).unwrap();
    assert_eq!(by_flag.warnings, left_out);
    let by_option =
        start_on(Path::new("/"), &format!("{text}\n[agent]\nskip_unknown_plugins = true"), |_| ());
    assert_eq!(by_option.unwrap().warnings, left_out);
    let names = |config: &Config| config.inputs.len() + config.outputs.len();
    assert_eq!(names(&by_flag), 2);
    // An output must be left, and an option of one that is here must be right.
    let without =
        start_on(Path::new("/"), "[[inputs.mem]]\n[[outputs.nats]]", |reading| reading.skips_unknown = true);
    assert!(without.unwrap_err()[0].contains("there is no output to start with"));
    let wrong =
        start_on(Path::new("/"), &format!("{text}\nfile = 1"), |reading| reading.skips_unknown = true);
    assert_eq!(wrong.unwrap_err().len(), 1);
    // What is here is not left out for a typo.
    let typo =
        start_on(Path::new("/"), "[[inputs.cup]]\n[[outputs.file]]", |reading| reading.skips_unknown = true);
    let typo = typo.unwrap_err();
    assert!(typo.len() == 1 && typo[0].contains("did you mean `cpu`?"), "{typo:?}");
}

#[rstest]
#[case("", true)]
#[case("namedrop = [\"docker*\", \"internal_*\"]", false)]
#[case("namedrop = [\"cgroup\", \"*_cpu_*\"]", false)]
#[case("namedrop = [\"cgroup_pressure\"]", true)]
#[case("namedrop = [\"pod_*\"]", true)]
#[case("namedrop = [\"seismograf\"]", false)]
#[case("namepass = [\"cpu\", \"mem\"]", false)]
#[case("namepass = [\"*\"]\nnamedrop = [\"docker*\"]", true)]
#[case("namepass = [\"seismograf\"]", true)]
fn a_filter_that_was_made_for_telegraf_keeps_the_agents_own_measurement_out(
    #[case] filter: &str,
    #[case] passes: bool,
) {
    let config = read(&format!("[[outputs.file]]\n{filter}")).unwrap();
    let point = |name: &'static str| Point::new(name, Timestamp(0)).field("f", 1_i64);
    assert_eq!(config.outputs[0].common.process(&point("seismograf")).is_some(), passes);
}
