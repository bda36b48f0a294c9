//! Which points a plugin may take: whether what an input makes reaches a processor, an aggregator or an output. Pure.

use std::collections::BTreeSet;

use crate::config::InputSection;
use crate::config::entry::{Entry, RawSection};
use crate::config::notes::Notes;
use crate::config::{Place, common};
use crate::options::filter::{FilterLists, Patterns};
use crate::point::Name;
use crate::schema::{MEASUREMENTS, Measurement};

/// What the points of an input can be.
pub(super) struct Flow {
    /// The names of its measurements; `None` where they can be any.
    names: Option<Vec<String>>,
    /// The keys of their tags; `None` where they can be any.
    tags: Option<BTreeSet<String>>,
}

impl Flow {
    /// Anything.
    pub(super) fn any() -> Self {
        Self { names: None, tags: None }
    }

    /// What an input makes, with the keys of the global tags.
    pub(super) fn of<'a>(input: &InputSection, global_tags: impl Iterator<Item = &'a Name>) -> Self {
        let name = input.options.name();
        let own: Vec<&Measurement> = MEASUREMENTS.iter().filter(|m| m.input == name).collect();
        let tags = own.iter().flat_map(|measurement| measurement.tags).map(|tag| tag.name);
        let is_open = |name: &str| name.contains('<');
        let names = (!own.is_empty() && !own.iter().any(|m| is_open(m.name))).then(|| {
            let named = own.iter().map(|measurement| {
                let mut name = measurement.name.into();
                input.common.naming.apply(&mut name);
                name.to_string()
            });
            named.collect()
        });
        let has_open = own.is_empty() || tags.clone().any(is_open);
        let tags = tags.map(str::to_owned).chain(input.common.tags.keys().map(Name::to_string));
        let tags = tags.chain(global_tags.map(Name::to_string)).chain(["host".to_owned()]);
        Self { names, tags: (!has_open).then(|| tags.collect()) }
    }
}

/// What takes points: by which filters, and where it is.
pub(super) struct Taker {
    place: Place,
    kind: &'static str,
    name: String,
    name_pass: Option<Patterns>,
    name_drop: Option<Patterns>,
    /// The keys of which a point must have one.
    tag_pass: Vec<String>,
}

impl Taker {
    pub(super) fn of(section: &RawSection) -> Self {
        // What is wrong with a filter is Telegraf's to say; one that cannot be read takes everything.
        let lists = common::lists(&filters(section), &mut Notes::default());
        let patterns =
            |list: &[String], separators: &str| Patterns::with_separators(list, separators).ok().flatten();
        let FilterLists {
            name_pass, name_pass_separators, name_drop, name_drop_separators, tag_pass, ..
        } = lists;
        Self {
            place: section.place.clone(),
            kind: section.kind,
            name: section.name.clone(),
            name_pass: patterns(&name_pass, &name_pass_separators),
            name_drop: patterns(&name_drop, &name_drop_separators),
            tag_pass: tag_pass.into_keys().collect(),
        }
    }

    /// What is to be said of an input whose points it may take.
    pub(super) fn said(&self) -> String {
        let Self { kind, name, place, .. } = self;
        let place = format!("{}:{}", place.file.display(), place.line);
        match *kind {
            "outputs" => format!("its points also go to {kind}.{name} ({place}), which is not here"),
            _ => format!("its points may go through {kind}.{name} ({place}), which is not here"),
        }
    }

    /// Whether some point of these may come to it. The values of tags are not known, so no tag keeps a point away.
    pub(super) fn may_take(&self, flow: &Flow) -> bool {
        let takes = |name: &String| {
            self.name_pass.as_ref().is_none_or(|pass| pass.matches(name))
                && !self.name_drop.as_ref().is_some_and(|drop| drop.matches(name))
        };
        flow.names.as_ref().is_none_or(|names| names.iter().any(takes))
            && (self.tag_pass.is_empty()
                || flow.tags.as_ref().is_none_or(|tags| self.tag_pass.iter().any(|key| tags.contains(key))))
    }
}

fn filters(section: &RawSection) -> Vec<Entry> {
    let keys = ["namepass", "namepass_separator", "namedrop", "namedrop_separator", "tagpass"];
    section.entries.iter().filter(|entry| keys.contains(&entry.key.as_str())).cloned().collect()
}
