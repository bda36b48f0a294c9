//! The input over files of cgroupfs and `/proc`, with containers as if a daemon had listed them.

mod asked;
mod options;
mod recorded;
mod running;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::options::Area;
use super::*;
use crate::config::env::Environment;
use crate::config::env::Lookup;
use crate::config::file;
use crate::config::reading::Reading;
use crate::config::reading::Source;
use crate::host::Host;
use crate::host::hierarchies::Hierarchies;
use crate::identity::docker::{Engine, Info};
use crate::inputs::testing::write;
use crate::line_protocol;
use crate::plugins::InputOptions;
use crate::point::Point;
use crate::schema;

fn recorded(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/docker").join(file);
    std::fs::read_to_string(path).unwrap()
}

fn json(file: &str) -> Value {
    serde_json::from_str(&recorded(file)).unwrap()
}

fn options(text: &str) -> Result<Options, String> {
    let sources = [Source { path: "t".into(), text: text.to_owned() }];
    let lookup: Lookup<'_> = &|_| None;
    let config = file::load(&sources, &Reading::of_text(Environment::strict(lookup), "h"))
        .map_err(|error| error.to_string())?;
    let InputOptions::Docker(options) = config.inputs[0].options.clone() else { panic!("another input") };
    Ok(options)
}

/// A host of its own, with v1's controllers or with cgroup2.
struct Machine {
    root: tempfile::TempDir,
    shared: Arc<Shared>,
}

impl Machine {
    fn new(is_v1: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join("sys").join(name).display().to_string();
        let (cgroup, mounts) = if is_v1 {
            let controllers = ["memory", "cpu", "cpuacct", "blkio"];
            let mount = |name: &&str| format!("1 1 0:1 / {} rw - cgroup cgroup rw,{name}\n", at(name));
            let line = |(n, name): (usize, &&str)| format!("{}:{name}:/\n", n + 1);
            (controllers.iter().enumerate().map(line).collect(), controllers.iter().map(mount).collect())
        } else {
            ("0::/\n".to_owned(), format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", at("unified")))
        };
        let host = Host::at(root.path());
        write(root.path(), "proc/1/ns/net", "");
        let shared = Arc::new(Shared::of(host, Hierarchies::parse(&cgroup, &mounts)));
        Self { root, shared }
    }

    /// An input that knows these containers, as if a daemon had listed them.
    fn docker(&self, text: &str, inspected: impl IntoIterator<Item = Value>) -> Docker {
        let options = options(text).unwrap();
        let selection = Selection {
            labels: IncludeExclude::new(
                ("docker_label_include", &options.docker_label_include),
                ("docker_label_exclude", &options.docker_label_exclude),
            )
            .unwrap(),
            variables: options.tag_env.clone(),
        };
        let docker = Docker::unwatched(options, &self.shared).unwrap();
        let mut known = docker.daemon.known();
        let info: Info = serde_json::from_value(json("info.json")).unwrap();
        (known.engine, known.is_up) = (Some(Engine::new(&info)), true);
        for inspected in inspected {
            let container = Container::new(serde_json::from_value(inspected).unwrap(), &selection);
            known.containers.insert(container.id.clone(), Arc::new(container));
        }
        drop(known);
        docker
    }

    /// The files of a process of the container `id`.
    fn process(&self, pid: i64, id: &str, net_dev: &str) {
        let file = |name: &str, text: &str| write(self.root.path(), &format!("proc/{pid}/{name}"), text);
        file("cgroup", &format!("4:memory:/docker/{id}/nested\n0::/docker/{id}\n"));
        file("net/dev", net_dev);
        file("ns/net", "");
    }
}

/// One gather at a time of its own.
async fn gather(docker: &mut Docker) -> Result<Vec<Point>, GatherError> {
    let mut gathered = Gathered::at(Timestamp::now());
    docker.gather(&mut gathered).await?;
    Ok(gathered.points)
}

/// A line's measurement, tags without `host`, and fields.
type Line = (String, BTreeMap<String, String>, BTreeMap<String, String>);

fn parse(line: &str) -> Line {
    fn split(text: &str, separator: char) -> Vec<String> {
        let (mut parts, mut is_escaped) = (vec![String::new()], false);
        for letter in text.chars() {
            if letter == separator && !is_escaped {
                parts.push(String::new());
            } else {
                parts.last_mut().unwrap().push(letter);
            }
            is_escaped = letter == '\\' && !is_escaped;
        }
        parts
    }
    let pairs = |parts: &[String]| -> BTreeMap<String, String> {
        let pair =
            |part: &String| part.split_once('=').map(|(key, value)| (key.into(), value.into())).unwrap();
        parts.iter().map(pair).collect()
    };
    let parts = split(line, ' ');
    let series = split(&parts[0], ',');
    let mut tags = pairs(&series[1..]);
    tags.remove("host");
    (series[0].clone(), tags, pairs(&split(&parts[1], ',')))
}

fn lines(points: &[Point]) -> Vec<Line> {
    let lines = points.iter().map(|point| {
        schema::check(point).unwrap();
        let mut text = Vec::new();
        assert!(line_protocol::encode(point, &mut text));
        parse(std::str::from_utf8(&text).unwrap().trim_end())
    });
    lines.collect()
}

fn value<'a>(lines: &'a [Line], measurement: &str, tags: &[(&str, &str)], field: &str) -> &'a str {
    let has = |line: &&Line| {
        line.0 == measurement
            && tags.iter().all(|(key, value)| line.1.get(*key).is_some_and(|tag| tag == value))
    };
    let found: Vec<&str> =
        lines.iter().filter(has).filter_map(|line| line.2.get(field)).map(String::as_str).collect();
    assert_eq!(found.len(), 1, "{measurement} {tags:?} {field}: {found:?}");
    found[0]
}

fn running(id: &str, pid: i64, more: Value) -> Value {
    let mut inspected = serde_json::json!({
        "Id": id, "Name": format!("/n{}", &id[..4]), "Config": {"Image": "r:5000/a/b:1.2"},
        "State": {"Status": "running", "Pid": pid, "StartedAt": "2026-11-22T13:00:53.88339895Z"},
    });
    inspected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    inspected
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER_ID: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
