//! What a section's own options are checked for: all that a start does short of starting, so that every problem is said at
//! once and with its place.

use super::common::{COMMON_KEYS, INPUT_KEYS};
use super::entry::{Entry, RawSection};
use super::notes::Notes;
use super::reading::Depth;
use super::section::{Owner, option_names, own_options};
use super::telegraf::{self, Legacy};
use super::{Agent, Place};
use crate::host::Host;
use crate::plugins::PluginTable;
use crate::service::logging;

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

/// A log file must be where one can be.
pub(super) fn check_log(agent: &Agent, entries: &[Entry], depth: Depth<'_>, notes: &mut Notes) {
    let (Some(path), Depth::Here(_)) = (&agent.log.file, depth) else { return };
    let entry = entries.iter().find(|entry| entry.key == "logfile");
    let place = entry.map(|entry| entry.place.clone()).unwrap_or_default();
    if let Some(what) = logging::misplaced(path) {
        notes.problem(&place, format!("`logfile` of [agent]: {what}"));
    } else if let Some(directory) = logging::missing_directory(path) {
        let text = format!("`logfile` of [agent]: there is no directory {}: it is made", directory.display());
        notes.warning(&place, text);
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
        let known = own.iter().chain(COMMON_KEYS).chain(INPUT_KEYS);
        if known.clone().any(|name| name == key) {
            let table = format!("[{}.{}.{}]", section.kind, section.name, table.key);
            let text = format!("`{key}` is a tag here: as an option it belongs above {table}");
            notes.warning(place, text);
        }
    }
}
