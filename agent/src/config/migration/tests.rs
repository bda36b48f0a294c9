use std::path::Path;

use super::*;
use crate::config::env::Environment;
use crate::config::file;
use crate::config::loader::files_in;
use crate::config::notes::Problems;
use crate::config::reading::{Depth, Reading, Source};

/// What the files of `testdata` name.
fn variable(name: &str) -> Option<String> {
    let value = match name {
        "MONITOR_HOST" | "INFLUX_URL" => "http://influxdb:8086",
        "MONITOR_DATABASE" => "metrics",
        "INFLUX_URLS" => "\"http://a:8086\", \"http://b:8086\"",
        "HOSTNAME" => "node1",
        "INTERVAL" => "20s",
        "BATCH_SIZE" => "250",
        "PER_CPU" => "false",
        _ => return None,
    };
    Some(value.to_owned())
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.to_owned() }
}

fn migration(text: &str) -> Migration {
    Migration::of(&[source("t.conf", text)], &Environment::strict(&variable)).unwrap()
}

/// Line, header, verdict and where it goes, of each row.
fn rows(migration: &Migration) -> Vec<String> {
    let row = |row: &Row| format!("{} {} {:?} {:?}", row.place.line, row.header, row.verdict, row.goes);
    migration.rows.iter().map(row).collect()
}

/// The halves of a single file.
fn halves(migration: &Migration) -> [Option<String>; 2] {
    [Side::Here, Side::Telegraf].map(|side| migration.texts(side).remove(0))
}

const OUTPUT: &str = "[[outputs.influxdb]]\n  urls = [\"http://a:8086\"]\n";

#[test]
fn a_file_is_split_with_its_comments_in_their_order() {
    let text = "# This host.\n\n# Tags.\n[global_tags]\n  dc = \"$DC\" # where\n[agent]\n  interval = ${SECONDS}\n\n# Processors\n\
        [[processors.rename]]\n  namepass = [\"nginx\"]\n# Where to.\n[[outputs.influxdb]]\n  urls = [\"$URL\"]\n\n# CPU\n\
        [[inputs.cpu]]\n  percpu = true\n  # core_tags = true\n[[inputs.nginx]]\n  urls = []\n[inputs.cpu.tags]\n  a = \"b\"\n";
    let migration = migration(text);
    assert_eq!(
        rows(&migration),
        [
            "4 [global_tags] Same Both",
            "6 [agent] Same Both",
            "10 [[processors.rename]] NotHere Telegraf",
            "13 [[outputs.influxdb]] Same Both",
            "17 [[inputs.cpu]] Same Here",
            "20 [[inputs.nginx]] NotHere Telegraf",
        ]
    );
    let [here, telegraf] = halves(&migration);
    let both = "# This host.\n\n# Tags.\n[global_tags]\n  dc = \"$DC\" # where\n[agent]\n  interval = ${SECONDS}\n\n";
    let output = "# Where to.\n[[outputs.influxdb]]\n  urls = [\"$URL\"]\n\n";
    let cpu =
        "# CPU\n[[inputs.cpu]]\n  percpu = true\n  # core_tags = true\n[inputs.cpu.tags]\n  a = \"b\"\n";
    assert_eq!(here.unwrap(), format!("{both}{output}{cpu}"));
    let rename = "# Processors\n[[processors.rename]]\n  namepass = [\"nginx\"]\n";
    let nginx = "[[inputs.nginx]]\n  urls = []\n";
    assert_eq!(telegraf.unwrap(), format!("{both}{rename}{output}{nginx}"));
    assert!(migration.remarks.iter().any(|r| r.contains("--non-strict-env-handling")), "{migration}");
    assert!(migration.remarks.iter().any(|r| r.contains(": DC, SECONDS, URL")), "{migration}");
}

#[rstest::rstest]
// A processor takes what no filter of its own keeps away from it.
#[case("[[processors.rename]]\n", false)]
#[case("[[processors.rename]]\nnamepass = [\"disk*\"]\n", true)]
#[case("[[processors.rename]]\nnamepass = [\"m*\"]\n", false)]
#[case("[[processors.rename]]\nnamedrop = [\"mem\"]\n", true)]
#[case("[[processors.rename]]\n[processors.rename.tagpass]\ndevice = [\"*\"]\n", true)]
#[case("[[processors.rename]]\n[processors.rename.tagpass]\nhost = [\"x\"]\n", false)]
#[case("[[aggregators.minmax]]\n", false)]
#[case("[[outputs.nats]]\n", false)]
#[case("[[outputs.nats]]\nnamepass = [\"nginx\"]\n", true)]
// It has the plugin, but not this option.
#[case("[[outputs.influxdb_v2]]\nmetricpass = \"true\"\n", false)]
#[case("[[outputs.discard]]\n", true)]
#[case("[[secretstores.os]]\n", true)]
fn an_input_comes_if_its_points_arrive_as_before(#[case] other: &str, #[case] comes: bool) {
    let migration = migration(&format!("{OUTPUT}[[inputs.mem]]\n[[inputs.nginx]]\n{other}"));
    let mem = migration.rows.iter().find(|row| row.header == "[[inputs.mem]]").unwrap();
    assert_eq!(mem.goes == Goes::Here, comes, "{migration}");
    assert_eq!(mem.verdict, Verdict::Same);
    assert_eq!(mem.notes.iter().any(|note| note.contains("which is not here")), !comes, "{migration}");
}

#[test]
fn files_that_both_agents_would_write_are_said() {
    let of = |rest: &str| {
        let migration = migration(&format!("[[outputs.file]]\n  files = [\"/x\"]\n[[inputs.mem]]\n{rest}"));
        migration.rows[0].notes.iter().any(|note| note.contains("both agents append"))
    };
    assert!(of("[[inputs.nginx]]\n"));
    assert!(!of(""), "Telegraf ends");
}

#[test]
fn names_and_tags_of_an_input_are_those_that_it_is_given() {
    let of = |input: &str, processor: &str| {
        let text = format!("{OUTPUT}{input}\n[[processors.rename]]\n{processor}\n[[inputs.nginx]]");
        migration(&text).rows[1].goes
    };
    assert_eq!(of("[[inputs.mem]]\nname_override = \"ram\"", "namepass = [\"mem\"]"), Goes::Here);
    assert_eq!(of("[[inputs.mem]]\nname_prefix = \"x_\"", "namepass = [\"x_*\"]"), Goes::Telegraf);
    assert_eq!(of("[[inputs.mem]]\ntags = { rack = \"1\" }", "tagpass = { rack = [\"1\"] }"), Goes::Telegraf);
    // What others send can have any name, and a container any label.
    assert_eq!(
        of("[[inputs.socket_listener]]\nservice_address = \"udp://:1\"", "namepass = [\"mem\"]"),
        Goes::Telegraf
    );
    assert_eq!(of("[[inputs.docker]]", "tagpass = { rack = [\"1\"] }"), Goes::Telegraf);
}

#[test]
fn what_is_refused_here_stays_and_says_why() {
    let migration = migration(&format!(
        "{OUTPUT}[[inputs.prometheus]]\n  kube_config = \"/x\"\n[[inputs.cpu]]\n  percpus = true\n[[inputs.nginxx]]\n[[inputs.disk]]\n  mountpoints = [\"/\"]\n"
    ));
    let notes = migration.rows.iter().flat_map(|row| &row.notes);
    let notes: Vec<_> = notes.map(|note| note.split("; there are: ").next().unwrap()).collect();
    assert_eq!(
        notes,
        [
            "t.conf:4:3: `kube_config` of input `prometheus`: pods are listed by the kubelet of their node, not by the API server: remove it",
            "t.conf:6:3: unknown option `percpus` of input `cpu`: did you mean `percpu`?",
            "t.conf:7:1: unknown input `nginxx`: did you mean `nginx`?",
            "t.conf:9:3: `mountpoints` of input `disk` is now called `mount_points`",
        ]
    );
    assert_eq!(rows(&migration)[4], "8 [[inputs.disk]] Warned Here");
}

#[test]
fn one_side_may_have_nothing() {
    let all = migration(&format!(
        "[agent]\nlogfile = \"/var/log/telegraf/telegraf.log\"\n{OUTPUT}[[inputs.mem]]\n[[processors.rename]]\nnamepass = [\"x\"]\n"
    ));
    assert_eq!(
        rows(&all),
        [
            "1 [agent] Warned Here",
            "3 [[outputs.influxdb]] Same Here",
            "5 [[inputs.mem]] Same Here",
            "6 [[processors.rename]] NotHere Nowhere"
        ]
    );
    assert!(all.to_string().contains("0 stay with Telegraf: Telegraf can be stopped.\n"), "{all}");
    assert!(halves(&all)[1].is_none());
    let none = migration("[agent]\n[[outputs.nats]]\n[[inputs.mem]]\n");
    assert!(
        none.to_string().contains("0 of 1 inputs come here, 1 stay with Telegraf: nothing comes here.\n"),
        "{none}"
    );
    assert!(halves(&none)[0].is_none());
    assert!(migration(OUTPUT).to_string().contains("there is no input in these files"));
}

#[test]
fn this_agents_own_figures_are_added_to_its_half_once() {
    let added = migration(&format!("{OUTPUT}[[inputs.mem]]\n"));
    assert!(added.to_string().contains("not in these files: [[inputs.ebpf]]"), "{added}");
    let addition = added.addition().unwrap();
    accepted("t.conf", &[halves(&added)[0].clone().unwrap() + addition]);
    let has_it = migration(&format!("{OUTPUT}[[inputs.mem]]\n{addition}"));
    assert_eq!(has_it.addition(), None);
    assert!(!has_it.to_string().contains("not in these files"), "{has_it}");
    assert_eq!(migration("[agent]\n[[outputs.nats]]\n[[inputs.mem]]\n").addition(), None);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let refused = |text: &str| {
        let refused: Problems =
            Migration::of(&[source("t.conf", text)], &Environment::strict(&variable)).unwrap_err();
        refused.to_string()
    };
    assert!(refused("[agent]\n[[inputs.mem\n").starts_with("t.conf:2: invalid TOML"));
    assert!(refused("[agent]\nintervall = \"1s\"\n").starts_with("t.conf:2:1: unknown option `intervall`"));
    assert!(refused("[inputs]\nmem = [{}]\n").starts_with("t.conf:2: `mem` has no header of its own"));
}

#[test]
fn a_directory_is_split_file_by_file() {
    let files = [
        source("telegraf.conf", &format!("[agent]\n{OUTPUT}")),
        source("telegraf.d/a.conf", "# A\n[[inputs.mem]]\n"),
        source("telegraf.d/b.conf", "# B\n[[inputs.nginx]]\n"),
    ];
    let migration = Migration::of(&files, &Environment::strict(&variable)).unwrap();
    let is_there = |side| migration.texts(side).iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(is_there(Side::Here), [true, true, false]);
    assert_eq!(is_there(Side::Telegraf), [true, false, true]);
}

/// The configurations of `testdata`: each file, and the fragments of one together.
fn configurations() -> Vec<Vec<Source>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config");
    let read = |path: std::path::PathBuf| Source { text: std::fs::read_to_string(&path).unwrap(), path };
    let files = ["hosts", "shared", "wild"]
        .into_iter()
        .flat_map(|name| files_in(&folder.join(name)).unwrap().0)
        .map(read);
    let is_fragment = |source: &Source| source.path.to_string_lossy().contains("/fragment-");
    let (fragments, files): (Vec<_>, Vec<_>) = files.partition(is_fragment);
    files.into_iter().map(|file| vec![file]).chain([fragments]).collect()
}

/// The sections of plugins, each as `inputs.cpu {…}`; those that both sides have apart.
fn sections(texts: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut once, mut shared) = (Vec::new(), Vec::new());
    for text in texts {
        let settled = Environment::strict(&variable).settle(text).unwrap_or_else(|| text.clone());
        let root: toml::Table = settled.trim_start_matches('\u{feff}').parse().unwrap();
        for (kind, value) in &root {
            let is_shared = ["agent", "global_tags", "tags", "outputs"].contains(&kind.as_str());
            let holds = ["inputs", "plugins", "processors", "aggregators", "secretstores", "outputs"]
                .contains(&kind.as_str());
            let plugins = if holds {
                value.as_table().unwrap().clone()
            } else {
                toml::Table::from_iter([(kind.clone(), value.clone())])
            };
            for (name, value) in &plugins {
                let list = value.as_array().filter(|list| list.iter().all(toml::Value::is_table)).cloned();
                for value in list.unwrap_or_else(|| vec![value.clone()]) {
                    let to = if is_shared { &mut shared } else { &mut once };
                    to.push(format!("{kind}.{name} {value:?}"));
                }
            }
        }
    }
    once.sort();
    shared.sort();
    (once, shared)
}

/// This agent takes its half; every section is there once; no line is changed, and no comment is lost.
#[test]
fn every_configuration_of_the_wild_is_split_whole() {
    let configurations = configurations();
    let (mut two, mut one) = (0, 0);
    for sources in &configurations {
        let name = sources[0].path.file_name().unwrap().to_string_lossy().into_owned();
        let migration =
            Migration::of(sources, &Environment::strict(&variable)).unwrap_or_else(|p| panic!("{name}: {p}"));
        let texts = [Side::Here, Side::Telegraf].map(|side| migration.texts(side));
        for ((source, here), telegraf) in sources.iter().zip(&texts[0]).zip(&texts[1]) {
            for half in [here, telegraf].into_iter().flatten() {
                let mut lines = source.text.split_inclusive('\n');
                assert!(
                    half.split_inclusive('\n').all(|line| lines.any(|other| other == line)),
                    "{name}: {half}"
                );
            }
            let halves = [here, telegraf].map(|half| half.as_deref().unwrap_or_default());
            let lost = source
                .text
                .lines()
                .find(|line| !line.is_empty() && !halves.iter().any(|half| half.contains(line)));
            assert_eq!(lost, None, "{name}");
        }
        let [here, telegraf] = texts.map(|texts| texts.into_iter().flatten().collect::<Vec<_>>());
        let whole: Vec<String> = sources.iter().map(|source| source.text.clone()).collect();
        let ((once, shared), (here_once, here_shared), (telegraf_once, telegraf_shared)) =
            (sections(&whole), sections(&here), sections(&telegraf));
        let mut together = [here_once, telegraf_once].concat();
        together.sort();
        assert_eq!(together, once, "{name}");
        let missing = shared
            .iter()
            .find(|section| !here_shared.contains(section) && !telegraf_shared.contains(section));
        assert_eq!(missing, None, "{name}");
        if !here.is_empty() {
            accepted(&name, &here);
        }
        if here.is_empty() || telegraf.is_empty() { one += 1 } else { two += 1 }
    }
    println!("{two} in two, {one} whole to one of the two");
    assert!(two >= 40 && two + one == configurations.len(), "{two}, {one}");
}

fn accepted(name: &str, texts: &[String]) {
    let settle = |text: &String| Environment::strict(&variable).settle(text).unwrap_or_else(|| text.clone());
    let sources: Vec<Source> = texts.iter().map(|text| source(name, &settle(text))).collect();
    let mut reading = Reading::of_text(Environment::strict(&variable), "h");
    (reading.needs_inputs, reading.needs_outputs, reading.depth) = (true, true, Depth::Elsewhere);
    let config = file::load(&sources, &reading);
    config.unwrap_or_else(|problems| panic!("{name}: {problems}\n{}", texts.join("\n")));
}
