//! `agent/layout.ld`: which functions lie side by side in the program. `cargo xtask layout` runs this; it tests nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::running::Running;
use seismograf_tests::steps::{Code, executed};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{agent_binary, pause, trial, wait_for};

/// The variable that names the file that is written.
const LAYOUT: &str = "SEISMOGRAF_LAYOUT";

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    if std::env::var_os(LAYOUT).is_none() {
        return Vec::new();
    }
    vec![trial("layout::is_written", write)]
}

const HEAD: &str = "\
/*
 * Written by `cargo xtask layout`: the functions that a gather runs, side by side in the program. The kernel maps 16 pages around
 * each one that is touched, so that a few hundred functions spread over a program are most of it in memory. Names are without
 * what differs from build to build; one that is there no more does nothing, one that is missing costs its 16 pages.
 */
";

/// Follows the agent, with what reads the host and writes to InfluxDB, for some gathers.
fn write() -> Outcome {
    const TIME: Duration = Duration::from_secs(60);
    let server = Influxd::start(Setup::default())?;
    let _cgroups: Vec<_> = (0..20).map(|i| Cgroup::new(&format!("layout-{i}"))).collect();
    let inputs =
        ["cpu", "mem", "swap", "system", "kernel", "processes", "disk", "diskio", "net", "ebpf", "internal"];
    let inputs = inputs.map(|input| format!("[[inputs.{input}]]\n")).concat();
    let mut agent = Running::start(&format!(
        "[agent]\ninterval = \"10s\"\nflush_interval = \"10s\"\n{inputs}[[outputs.influxdb]]\nurls = [\"{}\"]\n[[outputs.file]]\nfiles = [\"{{points}}\"]\n",
        server.url()
    ))?;
    wait_for(|| !agent.lines("mem").is_empty(), 2 * TIME, "the first gather");
    pause(TIME / 4);
    let places = executed(agent.pid(), &Code::of(agent.pid()), TIME);
    agent.kill();
    let (mut names, all) = functions(&agent_binary()?, &places);
    assert!(names.len() > 200, "{} functions are no gather", names.len());
    // What runs now and then not every minute meets: what an earlier one met stays as long as the program has it.
    let path = std::env::var_os(LAYOUT).unwrap();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let known = before.lines().filter_map(|line| line.trim().strip_prefix("*(.text.")?.strip_suffix(')'));
    names.extend(known.filter(|name| all.contains(*name)).map(str::to_owned));
    let mut text = format!("{HEAD}SECTIONS {{\n  .text.gather : {{\n");
    for name in &names {
        writeln!(text, "    *(.text.{name})").unwrap();
    }
    text.push_str("  }\n} INSERT BEFORE .text;\n");
    std::fs::write(path, text).unwrap();
    println!("layout: {} functions", names.len());
    Ok(())
}

/// The functions of a program that have code at these places of its file, and all that it has, as patterns.
fn functions(program: &Path, places: &BTreeSet<u64>) -> (BTreeSet<String>, BTreeSet<String>) {
    let data = std::fs::read(program).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let mut symbols: Vec<(u64, &str)> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?)))
        .collect();
    assert!(!symbols.is_empty(), "{} has no symbols", program.display());
    symbols.sort_unstable();
    let address = |place: u64| {
        let mut sections =
            file.sections().filter_map(|section| Some((section.file_range()?, section.address())));
        sections.find_map(|((offset, bytes), address)| {
            (offset..offset + bytes).contains(&place).then(|| place - offset + address)
        })
    };
    let function = |place: &u64| {
        let address = address(*place)?;
        let at = symbols.partition_point(|(start, _)| *start <= address).checked_sub(1)?;
        pattern(symbols[at].1)
    };
    let all = symbols.iter().filter_map(|(_, name)| pattern(name));
    (places.iter().filter_map(function).collect(), all.collect())
}

/// A name without what differs from build to build: the hash at the end of one of ours, those of crates in one of the standard
/// library's. `None` of what is in C, which has no section of its own.
fn pattern(name: &str) -> Option<String> {
    if name.starts_with("_ZN") {
        return Some(format!("{}17h*", name.rsplit_once("17h")?.0));
    }
    let mut parts = name.strip_prefix("_R")?.split("Cs");
    let mut pattern = format!("_R{}", parts.next()?);
    for part in parts {
        let rest = part.split_once('_').map_or(part, |(_, rest)| rest);
        write!(pattern, "Cs*_{rest}").unwrap();
    }
    Some(pattern)
}
