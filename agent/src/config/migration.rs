//! From Telegraf to this agent: what becomes of each section of its files, and the files for either of the two.
//!
//! An input comes here if every point that it makes arrives as before: it is understood, and no processor, aggregator or output
//! of Telegraf's that is not here would take its points. All other inputs stay with Telegraf. `[agent]`, `[global_tags]` and the
//! outputs that are here are for both. Files are read and written by `commands::migrate`.

mod judge;
mod layout;
mod report;
mod routes;

use self::layout::Layout;
pub use self::layout::Part;
use super::Place;

/// What this agent has besides: a section for the end of its first file.
const OF_THIS_AGENT: &str = "
# Exact CPU, block I/O and network figures of every container, pod and unit, which Telegraf does not have: the measurements
# cgroup_* and pod_*. To have none of them, remove this section.
[[inputs.ebpf]]
";

/// What becomes of the sections of some files.
#[derive(Debug)]
pub struct Migration {
    /// In the order of the files and their lines.
    pub rows: Vec<Row>,
    /// What a person should know besides, a line each.
    pub remarks: Vec<String>,
    files: Vec<File>,
}

/// What becomes of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where its header is.
    pub place: Place,
    /// Its header: `[[inputs.cpu]]`.
    pub header: String,
    /// What it is.
    pub part: Part,
    /// What happens to it here.
    pub verdict: Verdict,
    /// Which agent has it afterwards.
    pub goes: Goes,
    /// Warnings and problems, each with its place, and why an input that could come here does not.
    pub notes: Vec<String>,
}

/// What happens to a section here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What happens in Telegraf.
    Same,
    /// That too, but something of it has no effect, another meaning or another name.
    Warned,
    /// This agent does not have the plugin, or refuses an option of it.
    NotHere,
}

/// Which agent has a section afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goes {
    /// Each of the two.
    Both,
    /// This agent.
    Here,
    /// Telegraf.
    Telegraf,
    /// Neither: it is about points of inputs, of which none stay with Telegraf.
    Nowhere,
}

impl Goes {
    /// Whether it is in the files of a side.
    #[must_use]
    pub fn is_for(self, side: Side) -> bool {
        matches!((self, side), (Self::Both, _) | (Self::Here, Side::Here) | (Self::Telegraf, Side::Telegraf))
    }
}

/// One of the two agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This agent.
    Here,
    /// Telegraf.
    Telegraf,
}

/// A file, and which agent has each section of its layout.
#[derive(Debug)]
struct File {
    text: String,
    layout: Layout,
    goes: Vec<Goes>,
}

impl File {
    /// What of it is for a side, byte for byte; `None` when nothing is.
    fn for_side(&self, side: Side) -> Option<String> {
        let blocks = || self.layout.blocks.iter().filter(|block| self.goes[block.section].is_for(side));
        blocks().find(|block| self.layout.sections[block.section].part() != Part::Bare)?;
        let head = &self.text[self.layout.head.clone()];
        Some(std::iter::once(head).chain(blocks().map(|block| &self.text[block.bytes.clone()])).collect())
    }
}

impl Migration {
    /// Whether an agent has an input afterwards, without which it does not start.
    #[must_use]
    pub fn has_input(&self, side: Side) -> bool {
        self.rows.iter().any(|row| row.part == Part::Input && row.goes.is_for(side))
    }

    /// What the files of this agent have besides those of Telegraf, as text for the end of the first one; `None` where it has no
    /// input, or has this one already.
    #[must_use]
    pub fn addition(&self) -> Option<&'static str> {
        let has_it = self.rows.iter().any(|row| row.header == "[[inputs.ebpf]]");
        (self.has_input(Side::Here) && !has_it).then_some(OF_THIS_AGENT)
    }

    /// The text of each file for one side, in their order; `None` where nothing of a file is for that side.
    #[must_use]
    pub fn texts(&self, side: Side) -> Vec<Option<String>> {
        self.files.iter().map(|file| file.for_side(side)).collect()
    }
}

#[cfg(test)]
mod tests;
