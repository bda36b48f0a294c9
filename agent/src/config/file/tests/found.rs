//! Configurations as they are found: those that must be understood, and those that must be refused, with what is said about
//! each line. `testdata/config/README.md` has the marks.

use super::*;
use crate::config::loader::files_in;

/// What is to be said about a line.
struct Mark {
    line: usize,
    /// `warns`, `warns?` or `refused`.
    kind: String,
    /// `None` is any.
    column: Option<usize>,
    text: String,
}

fn files(folder: &str) -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config").join(folder);
    let (files, _) = files_in(&folder).unwrap();
    files.into_iter().map(|path| Source { text: std::fs::read_to_string(&path).unwrap(), path }).collect()
}

fn marks(text: &str) -> Vec<Mark> {
    let marked = text.lines().enumerate().filter_map(|(n, line)| Some((n + 1, line.split_once("#! ")?.1)));
    let marks = marked.filter(|(_, mark)| *mark != "non-strict").map(|(line, mark)| {
        let (kind, rest) = mark.split_once(' ').unwrap();
        let (column, text) = match kind {
            "refused" => rest.split_once(": ").unwrap(),
            _ => ("", rest),
        };
        let kind = kind.trim_end_matches(':').to_owned();
        assert!(["warns", "warns?", "refused"].contains(&kind.as_str()), "{mark}");
        Mark { line, kind, column: column.parse().ok(), text: text.to_owned() }
    });
    marks.collect()
}

fn load_found(source: &Source) -> Result<Config, Problems> {
    let lookup = |name: &str| {
        let value = match name {
            "ENV" => "prod",
            "HOSTNAME" => "node1",
            "HOSTIP" => "10.0.0.7",
            "MONITOR_HOST" => "http://influxdb:8086",
            "MONITOR_DATABASE" => "metrics",
            "MONITOR_USERNAME" => "writer",
            "MONITOR_PASSWORD" => "p\"a$s",
            "INFLUX_TOKEN" => "token==",
            "INFLUX_URLS" => "\"http://a:8086\", \"http://b:8086\"",
            "INTERVAL" => "20s",
            "BATCH_SIZE" => "250",
            "PER_CPU" => "false",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let is_strict = !source.text.starts_with("#! non-strict");
    let mode = if is_strict { Mode::Strict } else { Mode::NonStrict };
    let environment = Environment { mode, ..Environment::strict(&lookup) };
    load(std::slice::from_ref(source), &Reading::of_text(environment, "system-name"))
}

/// A message without the path of its file: line, column and text.
fn parts<'a>(message: &'a str, source: &Source) -> (usize, usize, &'a str) {
    let rest = message.strip_prefix(&format!("{}:", source.path.display()));
    let mut parts = rest.unwrap_or_else(|| panic!("{message} is about no place")).splitn(3, ':');
    let mut number = || parts.next().unwrap().parse().unwrap();
    let (line, column) = (number(), number());
    (line, column, parts.next().unwrap().trim_start())
}

/// Where the marks of a file and what was said are not the same.
fn differences(file: &str, marks: &[Mark], said: &[(usize, usize, &str)]) -> Vec<String> {
    let is_about = |mark: &Mark, (line, column, text): &(usize, usize, &str)| {
        mark.line == *line
            && mark.column.is_none_or(|expected| expected == *column)
            && text.contains(&mark.text)
    };
    let unexpected = said.iter().filter(|said| !marks.iter().any(|mark| is_about(mark, said)));
    let unexpected = unexpected.map(|(line, column, text)| format!("{file}:{line}:{column} says: {text}"));
    let silent = marks.iter().filter(|mark| mark.kind != "warns?");
    let silent = silent.filter(|mark| !said.iter().any(|said| is_about(mark, said)));
    let silent = silent.map(|mark| format!("{file}:{} does not say: {}", mark.line, mark.text));
    unexpected.chain(silent).collect()
}

#[test]
fn what_is_found_in_the_wild_is_understood() {
    let (mut loaded, mut waiting, mut wrong) = (0, Vec::new(), Vec::new());
    for source in files("wild") {
        let name = source.path.file_name().unwrap().to_string_lossy().into_owned();
        let config = match load_found(&source) {
            Ok(config) => config,
            Err(problems) => {
                // Of a plugin that is not there yet, and of nothing else.
                for (place, text) in &problems.all {
                    assert!(text.contains("is not part of this agent"), "{place}: {text}");
                }
                waiting.push(name);
                continue;
            }
        };
        loaded += 1;
        let marks = marks(&source.text);
        let said: Vec<_> = config.warnings.iter().map(|warning| parts(warning, &source)).collect();
        wrong.extend(differences(&name, &marks, &said));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{loaded} understood; these use plugins that are not there: {waiting:?}");
    assert!(loaded >= 25, "{loaded}, {waiting:?}");
}

#[test]
fn what_is_broken_is_refused_with_its_place() {
    let files = files("broken");
    assert!(files.len() >= 25);
    let mut wrong = Vec::new();
    for source in &files {
        let name = source.path.file_name().unwrap().to_string_lossy();
        let problems = match load_found(source) {
            Ok(config) => panic!("{name} is taken: {:?}", config.warnings),
            Err(problems) => problems.to_string(),
        };
        let marks = marks(&source.text);
        assert!(!marks.is_empty(), "{name}");
        let said: Vec<_> = problems.lines().map(|problem| parts(problem, source)).collect();
        wrong.extend(differences(&name, &marks, &said));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the files mean is checked where it is not the same as what they say.
#[test]
fn variables_in_the_wild_have_their_values() {
    let load = |name: &str| {
        let source = files("wild").into_iter().find(|source| source.path.ends_with(name)).unwrap();
        load_found(&source).unwrap()
    };
    let config = load("non-strict-env.conf");
    assert_eq!((config.agent.metric_batch_size, config.agent.log.debug), (250, false));
    assert_eq!(config.agent.interval, Duration::from_secs(20));
    let OutputOptions::Influxdb(influxdb) = &config.outputs[0].options else { panic!() };
    assert_eq!(influxdb.urls, ["http://a:8086", "http://b:8086"]);
    let config = load("env-defaults.conf");
    let tags = ["region", "stage", "unset", "host"].map(|key| config.global_tags[key].as_str());
    assert_eq!(tags, ["eu-west-1", "prod", "$NOBODY", "node1"]);
    let config = load("home-server.conf");
    let OutputOptions::Influxdb(influxdb) = &config.outputs[0].options else { panic!() };
    assert_eq!(influxdb.password.expose(), "not$a$variable");
}
