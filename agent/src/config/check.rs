//! What a section's own options are checked for: all that a start does short of starting, so that every problem is said at
//! once and with its place.

use std::path::Path;

use rustix::fs::{Access, access};

use super::common::{COMMON_KEYS, INPUT_KEYS, OUTPUT_KEYS};
use super::entry::{Entry, RawSection};
use super::notes::Notes;
use super::reading::Depth;
use super::section::{Owner, option_names, own_options};
use super::telegraf::{self, Legacy};
use super::{Agent, InputSection, OutputSection, Place};
use crate::host::Host;
use crate::listen::address::Address;
use crate::plugins::PluginTable;
use crate::service::logging;
use crate::service::statefile::Statefile;

/// The options of a section as far as they can be worked with; what is wrong with them becomes a problem, or with
/// `may_fail` a warning.
pub(super) fn usable<O: PluginTable>(
    section: &RawSection,
    mut own: Vec<Entry>,
    may_fail: bool,
    depth: Depth<'_>,
    notes: &mut Notes,
) -> Option<O> {
    let names = option_names::<O>(&section.name);
    warn_of_options_among_tags(section, &names, notes);
    let options = own_options::<O>(section, &own, notes);
    let is_misfit = |entry: &Entry| notes.problems.iter().any(|(place, _)| *place == entry.place);
    // What can be read is checked all the same.
    let (misfits, rest): (Vec<_>, Vec<_>) = own.into_iter().partition(is_misfit);
    own = rest;
    let nowhere = Host::default();
    let (host, is_here) = match depth {
        Depth::Text => return options,
        Depth::Here(host) => (host, true),
        Depth::Elsewhere => (&nowhere, false),
    };
    let mut checked = options.clone().or_else(|| own_options::<O>(section, &own, notes))?;
    let owner = Owner::Plugin { kind: section.kind, name: section.name.clone() };
    for remark in checked.remarks(is_here.then_some(host)) {
        let place = place_of(section, &own, remark.option);
        notes.warning(&place, format!("`{}` of {owner}: {}", remark.option, remark.what));
    }
    let mut known: Vec<&str> = misfits.iter().map(|entry| entry.key.as_str()).collect();
    let n_problems = notes.problems.len();
    // Without the option that it is about, the next problem shows.
    while let Err(error) = checked.check(host)
        && !known.contains(&error.option)
    {
        let place = place_of(section, &own, error.option);
        if is_here || !error.is_local {
            let text = format!("`{}` of {owner}: {}", error.option, error.what);
            if may_fail { notes.warning(&place, text) } else { notes.problem(&place, text) }
        }
        known.push(error.option);
        own.retain(|entry| entry.place != place);
        checked = own_options::<O>(section, &own, notes)?;
    }
    options.filter(|_| notes.problems.len() == n_problems)
}

/// The place of an option among entries.
fn place_in(entries: &[Entry], option: &str) -> Option<Place> {
    entries.iter().find(|entry| entry.key == option).map(|entry| entry.place.clone())
}

/// A log file must be where one can be.
pub(super) fn check_log(agent: &Agent, entries: &[Entry], depth: Depth<'_>, notes: &mut Notes) {
    let (Some(path), Depth::Here(_)) = (&agent.log.file, depth) else { return };
    let place = place_in(entries, "logfile").unwrap_or_default();
    if let Some(what) = logging::misplaced(path) {
        notes.problem(&place, format!("`logfile` of [agent]: {what}"));
    } else if let Some(what) = unwritable(path) {
        let what =
            format!("{what}: name a file that can be, or none: the log then goes to the standard error");
        notes.problem(&place, format!("`logfile` of [agent]: {what}"));
    } else if let Some(directory) = logging::missing_directory(path) {
        let text = format!("`logfile` of [agent]: there is no directory {}: it is made", directory.display());
        notes.warning(&place, text);
    }
}

/// A statefile must be where one can be, and be one.
pub(super) fn check_statefile(agent: &Agent, entries: &[Entry], notes: &mut Notes) {
    let Some(path) = &agent.statefile else { return };
    // It is replaced by another file, so its directory counts.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let what = if !directory.is_dir() {
        Some(format!("there is no directory {}: create it, or correct the path", directory.display()))
    } else if path.is_dir() {
        Some(format!("{} is a directory: name a file in it", path.display()))
    } else if let Some(what) = unwritable(directory) {
        Some(format!("{what}: name a file in a directory that can be"))
    } else {
        Statefile::check(path).err().map(|error| format!("{error:#}"))
    };
    if let Some(what) = what {
        let place = place_in(entries, "statefile").unwrap_or_default();
        notes.problem(&place, format!("`statefile` of [agent]: {what}"));
    }
}

/// The directory of a spool, which is made with those above it, must be where one can be. `agent` has what a section may leave
/// out.
pub(super) fn check_spool(output: &OutputSection, own: &[Entry], agent: &[Entry], notes: &mut Notes) {
    let Some(spool) = &output.common.spool else { return };
    if let Some(what) = unwritable(&spool.directory) {
        let option = "buffer_directory";
        let place = place_in(own, option).or_else(|| place_in(agent, option));
        let text =
            format!("`{option}`: {what}: name a directory that can be, which is still there after a restart");
        notes.problem(&place.unwrap_or_else(|| output.place.clone()), text);
    }
}

/// Why a file or directory cannot be written to, or made below the first directory that there is. Nothing is changed.
fn unwritable(path: &Path) -> Option<String> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() && there != path {
        return Some(format!("{} is no directory", there.display()));
    }
    let wish = if there.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    let error = std::io::Error::from(access(there, wish).err()?);
    Some(format!("{} cannot be written to: {error}", there.display()))
}

/// An address has one listener.
pub(super) fn check_listeners(inputs: &[InputSection], outputs: &[OutputSection], notes: &mut Notes) {
    let of_inputs = inputs.iter().map(|section| {
        let may_fail = section.common.startup_error_behavior.goes_on();
        ("input", section.options.name(), &section.place, section.options.listens_on(), may_fail)
    });
    let of_outputs = outputs.iter().map(|section| {
        ("output", section.options.name(), &section.place, section.options.listens_on(), false)
    });
    let mut taken: Vec<(Address, String)> = Vec::new();
    for (kind, name, place, address, may_fail) in of_inputs.chain(of_outputs) {
        let Some(text) = address else { continue };
        let Ok(address) = Address::parse(&text) else { continue };
        let Some((_, other)) = taken.iter().find(|(other, _)| other.is_same(&address)) else {
            taken.push((address, format!("{kind} `{name}` ({place})")));
            continue;
        };
        let text = format!(
            "{kind} `{name}` listens on {text}, as {other} does: give one of the two another address"
        );
        if may_fail { notes.warning(place, text) } else { notes.problem(place, text) }
    }
}

/// Where an option is set; the section, where it is not.
fn place_of(section: &RawSection, own: &[Entry], option: &str) -> Place {
    let entry = own.iter().find(|entry| entry.key == option || is_old_name(section, &entry.key, option));
    entry.map_or_else(|| section.place.clone(), |entry| entry.place.clone())
}

fn is_old_name(section: &RawSection, old: &str, option: &str) -> bool {
    matches!(telegraf::option(section.kind, &section.name, old), Some(Legacy::Renamed(new)) if new == option)
}

/// An option below the header of a table of tags is one of them, whatever a person meant.
fn warn_of_options_among_tags(section: &RawSection, own: &[&str], notes: &mut Notes) {
    let tables = section.entries.iter().filter(|e| ["tags", "tagpass", "tagdrop"].contains(&e.key.as_str()));
    for (table, (key, place)) in tables.flat_map(|table| table.keys.iter().map(move |key| (table, key))) {
        let of_kind = if section.kind == "outputs" { OUTPUT_KEYS } else { INPUT_KEYS };
        let known = own.iter().chain(COMMON_KEYS).chain(of_kind);
        if known.clone().any(|name| name == key) {
            let table = format!("[{}.{}.{}]", section.kind, section.name, table.key);
            let text = format!("`{key}` is a tag here: as an option it belongs above {table}");
            notes.warning(place, text);
        }
    }
}
