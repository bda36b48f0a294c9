//! Which lines of a file belong to which section. Pure.
//!
//! A file is kept line by line, so that what goes into another one is byte for byte what stood here. Each header of a table
//! begins a block of lines; a section is the blocks of its own header and of the tables below it, wherever they stand.

use std::collections::HashMap;
use std::ops::Range;

use toml_edit::{Document, Item, Table};

use crate::config::env::without_comments;

/// The tables that hold plugins.
const KINDS: &[&str] = &["inputs", "plugins", "outputs", "processors", "aggregators", "secretstores"];

/// What a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `[agent]`
    Agent,
    /// `[global_tags]`, `[tags]`
    Tags,
    /// `[[inputs.*]]`, and the older `[plugins.*]` and `[cpu]`.
    Input,
    /// `[[outputs.*]]`
    Output,
    /// A processor, an aggregator or a secret store.
    Other,
    /// `[inputs]` and the like of the first versions, which has nothing itself.
    Bare,
}

/// A file's lines.
#[derive(Debug)]
pub(super) struct Layout {
    /// Byte order mark, and the comment at the top of the file.
    pub(super) head: Range<usize>,
    /// The rest, in its order.
    pub(super) blocks: Vec<Block>,
    /// In the order of their first headers.
    pub(super) sections: Vec<Header>,
}

/// The lines from one header to the next, as bytes of the file, and the section that they belong to.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) bytes: Range<usize>,
    pub(super) section: usize,
    /// The line after the last, from 1.
    pub(super) end_line: usize,
}

/// Where a section begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The line of its first header, from 1.
    pub(super) line: usize,
    /// `["inputs", "cpu"]`; one name for `[agent]`, an input of the oldest form, or a bare `[inputs]`.
    pub(super) path: Vec<String>,
    pub(super) is_list: bool,
}

impl Header {
    pub(super) fn part(&self) -> Part {
        match (self.path[0].as_str(), self.path.len()) {
            ("agent", _) => Part::Agent,
            ("global_tags" | "tags", _) => Part::Tags,
            (kind, 1) if KINDS.contains(&kind) => Part::Bare,
            ("outputs", _) => Part::Output,
            ("processors" | "aggregators" | "secretstores", _) => Part::Other,
            _ => Part::Input,
        }
    }

    /// As a file has it.
    pub(super) fn text(&self) -> String {
        let path = self.path.join(".");
        if self.is_list { format!("[[{path}]]") } else { format!("[{path}]") }
    }
}

impl Layout {
    /// Of a text, and of what is parsed of it, which is the same line by line.
    ///
    /// # Errors
    /// The line of a section that has no header of its own, or of what is not TOML, and what to do.
    pub(super) fn of(text: &str, parsed: &str) -> Result<Self, (usize, String)> {
        // A byte order mark is no part of the first line.
        let parsed = parsed.strip_prefix('\u{feff}').unwrap_or(parsed);
        let line_at = |offset: usize| parsed[..offset].matches('\n').count();
        let document = Document::parse(parsed).map_err(|error| {
            (
                1 + error.span().map_or(0, |span| line_at(span.start)),
                format!("invalid TOML: {}", error.message()),
            )
        })?;
        without_headers(document.as_table(), &line_at)?;
        let mut found = Vec::new();
        headers(document.as_table(), &mut Vec::new(), false, &mut found);
        found.sort_by_key(|(offset, ..)| *offset);
        let lines = Lines::of(text, parsed);
        let starts: Vec<usize> =
            found.iter().map(|(offset, ..)| lines.block_start(line_at(*offset))).collect();
        let head = lines.head_end().max(starts.first().copied().unwrap_or(lines.len()).min(lines.len()));
        let head = if starts.is_empty() { lines.len() } else { head };
        let (mut sections, mut current) = (Vec::<Header>::new(), HashMap::<Vec<String>, usize>::new());
        let mut blocks = Vec::new();
        for (n, (offset, path, is_list)) in found.into_iter().enumerate() {
            let own = own_path(&path);
            let is_begin = own.len() == path.len() || !current.contains_key(own);
            if is_begin {
                current.insert(own.to_vec(), sections.len());
                let is_list = is_list && own.len() == path.len();
                sections.push(Header { line: line_at(offset) + 1, path: own.to_vec(), is_list });
            }
            let end = starts.get(n + 1).copied().unwrap_or(lines.len());
            let (start, end) = (starts[n].max(head), end.max(head));
            let bytes = lines.offset(start)..lines.offset(end);
            blocks.push(Block { bytes, section: current[own], end_line: end + 1 });
        }
        Ok(Self { head: 0..lines.offset(head), blocks, sections })
    }

    /// The section that a line from 1 is in.
    pub(super) fn section_of(&self, line: usize) -> Option<usize> {
        let first = self.sections.first().is_some_and(|header| line >= header.line);
        let block = self.blocks.iter().find(|block| line < block.end_line).filter(|_| first);
        block.map(|block| block.section)
    }
}

/// The path of the section that a table is a part of.
fn own_path(path: &[String]) -> &[String] {
    let length = if KINDS.contains(&path[0].as_str()) { 2 } else { 1 };
    &path[..length.min(path.len())]
}

/// Where each header of a table is, its path, and whether it is one of a list.
fn headers(
    table: &Table,
    path: &mut Vec<String>,
    is_list: bool,
    found: &mut Vec<(usize, Vec<String>, bool)>,
) {
    let is_written = !path.is_empty() && !table.is_implicit() && !table.is_dotted();
    if let Some(span) = table.span().filter(|_| is_written) {
        found.push((span.start, path.clone(), is_list));
    }
    for (key, item) in table {
        path.push(key.to_owned());
        match item {
            Item::Table(table) => headers(table, path, false, found),
            Item::ArrayOfTables(list) => list.iter().for_each(|table| headers(table, path, true, found)),
            Item::None | Item::Value(_) => {}
        }
        path.pop();
    }
}

/// Refuses plugins that are written without a header, as in `inputs.mem = [{}]`.
fn without_headers(root: &Table, line_at: &dyn Fn(usize) -> usize) -> Result<(), (usize, String)> {
    let is_plain = |item: &Item| match item {
        Item::Table(table) => table.is_dotted(),
        Item::Value(_) => true,
        Item::None | Item::ArrayOfTables(_) => false,
    };
    let refuse = |table: &Table, key: &str, header: &str| {
        let offset = table.key(key).and_then(toml_edit::Key::span).map_or(0, |span| span.start);
        let text = format!(
            "has no header of its own: write it below {header}, so that it can be told from the rest"
        );
        Err((line_at(offset) + 1, format!("`{key}` {text}")))
    };
    for (key, item) in root {
        // What stands above all headers goes where the head goes.
        if is_plain(item) && !["agent", "global_tags", "tags"].contains(&key) {
            return refuse(root, key, "[[inputs.NAME]]");
        }
        let Some(table) = item.as_table().filter(|_| KINDS.contains(&key)) else { continue };
        for (name, item) in table {
            if is_plain(item) {
                return refuse(table, name, &format!("[[{key}.{name}]]"));
            }
        }
    }
    Ok(())
}

/// The lines of a text, each with its begin, and what of it is a comment.
struct Lines<'a> {
    offsets: Vec<usize>,
    texts: Vec<&'a str>,
    /// There is a comment and nothing else.
    are_comments: Vec<bool>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str, parsed: &str) -> Self {
        let bare = without_comments(parsed);
        let (mut offsets, mut texts, mut end) = (Vec::new(), Vec::new(), 0);
        for line in text.split_inclusive('\n') {
            offsets.push(end);
            texts.push(line.strip_prefix('\u{feff}').unwrap_or(line));
            end += line.len();
        }
        offsets.push(end);
        let bare: Vec<&str> = bare.split_inclusive('\n').collect();
        let is_comment = |(n, line): (usize, &&str)| {
            line.trim_start().starts_with('#') && bare.get(n).is_none_or(|line| line.trim().is_empty())
        };
        let are_comments = texts.iter().enumerate().map(is_comment).collect();
        Self { offsets, texts, are_comments }
    }

    fn len(&self) -> usize {
        self.texts.len()
    }

    fn offset(&self, line: usize) -> usize {
        self.offsets[line]
    }

    /// Where the lines of a header begin: with the comment right above it that is about it.
    fn block_start(&self, header: usize) -> usize {
        let indent = |line: usize| self.texts[line].len() - self.texts[line].trim_start().len();
        let is_about = |line: usize| {
            self.are_comments[line] && indent(line) <= indent(header) && !is_commented_out(self.texts[line])
        };
        (0..header).rev().take_while(|line| is_about(*line)).last().unwrap_or(header)
    }

    /// The line after the comment at the top.
    fn head_end(&self) -> usize {
        let is_blank = |line: &usize| self.texts[*line].trim().is_empty();
        let first = (0..self.len()).find(|line| !is_blank(line)).unwrap_or(0);
        first
            + self.are_comments[first.min(self.len())..].iter().take_while(|is_comment| **is_comment).count()
    }
}

/// Whether a comment is an option or a header that was taken out, which stays with what stands above it.
fn is_commented_out(line: &str) -> bool {
    let text = line.trim().trim_start_matches('#').trim();
    let is_key = |key: &str| {
        let key = key.trim();
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-.\"'".contains(c))
    };
    let is_closing = text.starts_with([']', '}', '"', '\'']);
    text.starts_with('[') || is_closing || text.split_once('=').is_some_and(|(key, _)| is_key(key))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The blocks of a text, each with the path of its section; the head first.
    fn blocks(text: &str) -> Vec<(String, &str)> {
        let layout = Layout::of(text, text).unwrap();
        let head = ("head".to_owned(), &text[layout.head.clone()]);
        let rest = layout.blocks.iter().map(|block| {
            let header = &layout.sections[block.section];
            (format!("{}:{}", header.line, header.text()), &text[block.bytes.clone()])
        });
        let all: Vec<_> = std::iter::once(head).chain(rest).collect();
        assert_eq!(all.iter().map(|(_, text)| *text).collect::<String>(), text, "nothing is lost");
        all
    }

    fn owners(text: &str) -> Vec<String> {
        blocks(text).into_iter().skip(1).map(|(owner, _)| owner).collect()
    }

    #[test]
    fn comments_belong_to_what_they_are_about() {
        let text = "# Managed by a tool.\n\n# All hosts.\n[agent]\n  interval = \"10s\"\n  # debug = true\n\n# CPU\n# time\n\
            [[inputs.cpu]]\n# percpu = true\n# [[inputs.net]]\n#   x = [\n#   ]\n[[inputs.mem]] # memory\n  ## of options\n";
        let expected = [
            ("head", "# Managed by a tool.\n\n"),
            ("4:[agent]", "# All hosts.\n[agent]\n  interval = \"10s\"\n  # debug = true\n\n"),
            (
                "10:[[inputs.cpu]]",
                "# CPU\n# time\n[[inputs.cpu]]\n# percpu = true\n# [[inputs.net]]\n#   x = [\n#   ]\n",
            ),
            ("15:[[inputs.mem]]", "[[inputs.mem]] # memory\n  ## of options\n"),
        ];
        assert_eq!(blocks(text), expected.map(|(owner, text)| (owner.to_owned(), text)));
    }

    #[test]
    fn the_comment_at_the_top_is_the_files_also_right_above_a_header() {
        let blocks = blocks("\u{feff}# Ours\r\n[[inputs.mem]]\r\n");
        assert_eq!(blocks[0].1, "\u{feff}# Ours\r\n");
        assert_eq!(blocks[1], ("2:[[inputs.mem]]".to_owned(), "[[inputs.mem]]\r\n"));
        assert_eq!(Layout::of("# a\n", "# a\n").unwrap().head, 0..4);
        assert_eq!(Layout::of("", "").unwrap().head, 0..0);
    }

    #[rstest]
    #[case("[[inputs.cpu]]\n[inputs.cpu.tags]\na=\"b\"\n[[inputs.cpu]]", &["1:[[inputs.cpu]]", "1:[[inputs.cpu]]", "4:[[inputs.cpu]]"])]
    // A table below a section may stand elsewhere.
    #[case("[[inputs.cpu]]\n[[inputs.mem]]\n[inputs.cpu.tags]\na=\"b\"", &["1:[[inputs.cpu]]", "2:[[inputs.mem]]", "1:[[inputs.cpu]]"])]
    #[case("[[processors.enum]]\n[[processors.enum.mapping]]\n[processors.enum.mapping.x]\n", &["1:[[processors.enum]]"; 3])]
    // The forms of the first versions.
    #[case("[outputs]\n[outputs.influxdb]\n[plugins]\n[plugins.cpu]\n[disk]\n[disk.tagpass]", &["1:[outputs]", "2:[outputs.influxdb]", "3:[plugins]", "4:[plugins.cpu]", "5:[disk]", "5:[disk]"])]
    #[case("agent.debug = true\n[inputs.cpu.tags]\na=\"b\"", &["2:[inputs.cpu]"])]
    // What only looks like a header.
    #[case("[[inputs.exec]]\ncommands = [\n[\"[[inputs.x]]\"],\n]\ntext = '''\n[[inputs.y]]\n# z'''\n[[inputs.mem]]", &["1:[[inputs.exec]]", "8:[[inputs.mem]]"])]
    fn tables_belong_to_their_section(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(owners(text), expected);
    }

    #[rstest]
    #[case("[agent]\n[inputs]\nmem = [{}]", 3)]
    #[case("\ninputs.mem.interval = \"1s\"", 2)]
    #[case("[inputs]\nmem.interval = \"1s\"", 2)]
    #[case("[agent]\n[agent", 2)]
    fn what_has_no_header_is_refused_with_its_line(#[case] text: &str, #[case] line: usize) {
        assert_eq!(Layout::of(text, text).err().map(|(line, _)| line), Some(line));
    }

    #[test]
    fn a_line_is_found_in_its_section() {
        let text = "# head\n[agent]\n\n# of cpu\n[[inputs.cpu]]\na = 1\n[[inputs.mem]]\n";
        let layout = Layout::of(text, text).unwrap();
        let found: Vec<_> = (1..=8).map(|line| layout.section_of(line)).collect();
        assert_eq!(found, [None, Some(0), Some(0), Some(1), Some(1), Some(1), Some(2), None]);
    }
}
