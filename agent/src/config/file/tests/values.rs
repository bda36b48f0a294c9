//! Every option of every plugin with an empty, a zero, a negative, a huge and a wrong value: accepted as Telegraf accepts it, or
//! refused with its place and in a person's words. `testdata/config/values.txt` has what Telegraf does.

use std::collections::BTreeSet;

use super::*;
use crate::config::agent;
use crate::config::common::{COMMON_KEYS, INPUT_KEYS, OUTPUT_KEYS};
use crate::config::reading::Depth;
use crate::config::section::option_names;
use crate::host::Host;

const TABLE: &str = include_str!("../../../../testdata/config/values.txt");

/// What a file has for an option of a kind: empty, 0, "0s", negative, huge, of a wrong type.
fn values(kind: &str) -> [&'static str; 6] {
    const HUGE: &str = "9223372036854775807";
    match kind {
        "duration" => ["\"\"", "0", "\"0s\"", "\"-1s\"", "\"9999999h\"", "true"],
        "size" => ["\"\"", "0", "\"0s\"", "-1", HUGE, "true"],
        "int" => ["\"\"", "0", "\"0s\"", "-1", HUGE, "\"7\""],
        "bool" => ["\"\"", "0", "\"0s\"", "-1", HUGE, "\"yes\""],
        "text" => ["\"\"", "0", "\"0s\"", "-1", HUGE, "true"],
        "list" | "table" => ["\"\"", "0", "\"0s\"", "-1", HUGE, "\"a\""],
        other => panic!("{other}: no such kind"),
    }
}

/// What becomes of a value here.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The same as without the option.
    Default,
    Taken,
    Refused(Vec<String>),
}

/// A file with an option, and the line where it is.
fn file_with(owner: &str, line: &str) -> (String, usize) {
    match owner.split_once('.') {
        None => (format!("[agent]\n  {line}\n[[inputs.mem]]\n[[outputs.file]]\n"), 2),
        Some(("inputs", name)) => {
            let name = if name == "*" { "mem" } else { name };
            let is_needed = name == "socket_listener" && !line.starts_with("service_address");
            let needed = if is_needed { "  service_address = \"udp://:8094\"\n" } else { "" };
            (format!("[[inputs.{name}]]\n  {line}\n{needed}[[outputs.file]]\n"), 2)
        }
        Some((_, name)) => {
            let name = if name == "*" { "file" } else { name };
            (format!("[[inputs.mem]]\n[[outputs.{name}]]\n  {line}\n"), 3)
        }
    }
}

fn load_text(text: &str) -> Result<String, Vec<String>> {
    let source = Source { path: "t.conf".into(), text: text.to_owned() };
    let host = Host::at(Path::new("/nonexistent"));
    let depth = Depth::Here(&host);
    let reading = Reading {
        depth,
        needs_inputs: true,
        needs_outputs: true,
        ..Reading::of_text(Environment::strict(&|_| None), "h")
    };
    let config = load(&[source], &reading)
        .map_err(|problems| problems.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
    Ok(format!("{:?} {:?} {:?}", config.agent, config.inputs, config.outputs))
}

fn outcome(owner: &str, option: &str, value: &str) -> Outcome {
    let with = load_text(&file_with(owner, &format!("{option} = {value}")).0);
    let without = load_text(&file_with(owner, "").0);
    match (with, without) {
        (Err(problems), _) => Outcome::Refused(problems),
        (Ok(with), Ok(without)) if with == without => Outcome::Default,
        _ => Outcome::Taken,
    }
}

/// Words of a programmer.
const NO_WORDS: [&str; 11] =
    ["invalid type", "expected", "u8", "u16", "u32", "u64", "i64", "usize", "boolean", "variant", "sequence"];

/// The rows of the table: owner, option, kind, and for each value what Telegraf does and what is done here.
fn rows() -> Vec<(&'static str, &'static str, &'static str, Vec<&'static str>)> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &'static str| {
        let mut words = line.split_whitespace();
        let (owner, option) = words.next().unwrap().rsplit_once('.').unwrap();
        (owner, option, words.next().unwrap(), words.collect())
    };
    lines.map(row).collect()
}

#[test]
fn each_option_takes_what_telegraf_takes_or_says_what_is_wrong() {
    let (mut wrong, mut n) = (Vec::new(), 0);
    for (owner, option, kind, cells) in rows() {
        assert_eq!(cells.len(), 6, "{owner}.{option}");
        for (value, cell) in values(kind).into_iter().zip(cells) {
            n += 1;
            let here = cell.split_once('>').map_or(cell, |(_, here)| here);
            let outcome = outcome(owner, option, value);
            let is_so = match (here, &outcome) {
                ("default", Outcome::Default) | ("taken", Outcome::Taken) => true,
                ("refused", Outcome::Refused(problems)) => {
                    let place = format!("t.conf:{}:3: ", file_with(owner, "").1);
                    problems.len() == 1
                        && problems[0].starts_with(&place)
                        && problems[0].contains(&format!("`{option}`"))
                        && !NO_WORDS.iter().any(|word| problems[0].contains(word))
                }
                _ => false,
            };
            if !is_so {
                wrong.push(format!("{owner}.{option} = {value}: {cell}, but {outcome:?}"));
            }
        }
    }
    println!("{n} values");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_every_option_of_every_plugin() {
    let mut all = BTreeSet::new();
    let mut add = |owner: &str, names: &[&str]| {
        all.extend(names.iter().map(|name| format!("{owner}.{name}")));
    };
    add("agent", agent::option_names());
    add("inputs.*", COMMON_KEYS);
    add("inputs.*", INPUT_KEYS);
    add("outputs.*", COMMON_KEYS);
    add("outputs.*", OUTPUT_KEYS);
    for name in InputOptions::NAMES {
        add(&format!("inputs.{name}"), &option_names::<InputOptions>(name));
    }
    for name in OutputOptions::NAMES {
        add(&format!("outputs.{name}"), &option_names::<OutputOptions>(name));
    }
    let table: BTreeSet<String> =
        rows().iter().map(|(owner, option, ..)| format!("{owner}.{option}")).collect();
    assert_eq!(table, all);
}
