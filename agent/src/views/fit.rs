//! What a width has room for: which columns, and how names are shortened.

use unicode_width::UnicodeWidthChar as _;

use super::format;
use crate::schema::views::{Column, View};

/// The title of the names, which says what CPU% is of; and where there is no room for that.
const TITLES: [&str; 2] = ["NAME (100% = 1 CPU)", "NAME"];

/// The columns that are shown.
#[derive(Debug)]
pub struct Fit {
    /// The width of the names.
    pub name: usize,
    /// By their place in the view.
    pub columns: Vec<(usize, &'static Column)>,
}

impl Fit {
    /// What there is room for in `width`, if the longest name has `longest`. Those on the right go first, a group at once;
    /// but the one that `always` names is shown, in the place of the last ones.
    #[must_use]
    pub fn new(view: &'static View, width: usize, longest: usize, always: Option<&str>) -> Self {
        let wanted = longest.max(TITLES[0].len());
        // Half of a narrow screen is the names', and three tenths of a wide one.
        let kept = wanted.min((3 * width / 10).max(20));
        let needed = |column: &Column| format::width(column) + 1;
        let must = view.columns().enumerate().find(|(_, column)| Some(column.key) == always);
        let reserved = must.map_or(0, |(_, column)| needed(column));
        let (mut left, mut columns, mut next) = (width, Vec::new(), 0);
        for group in view.columns {
            let has_must = group.iter().any(|column| Some(column.key) == always);
            let is_shown = columns.iter().any(|(_, column): &(usize, &Column)| Some(column.key) == always);
            let group_width: usize = group.iter().map(needed).sum();
            let besides = if has_must || is_shown { 0 } else { reserved };
            if left < kept + group_width + besides {
                break;
            }
            left -= group_width;
            columns.extend((next..).zip(*group));
            next += group.len();
        }
        if let Some((at, column)) = must
            && columns.iter().all(|(_, shown)| shown.key != column.key)
            && left >= TITLES[1].len() + needed(column)
        {
            left -= needed(column);
            columns.push((at, column));
        }
        Self { name: wanted.min(left), columns }
    }

    /// The title of the names.
    #[must_use]
    pub fn title(&self) -> &'static str {
        TITLES.into_iter().find(|title| title.len() <= self.name).unwrap_or(TITLES[1])
    }
}

/// The parts that a width has room for, in their order.
#[must_use]
pub fn joined(parts: &[String], width: usize) -> String {
    let mut line = String::new();
    for part in parts {
        let gap = if line.is_empty() { "" } else { "  " };
        if columns(&line) + gap.len() + columns(part) <= width {
            line += gap;
            line += part;
        }
    }
    line
}

/// How many columns a terminal needs for a text.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(1)).sum()
}

/// The text without what a terminal obeys, or cannot show.
#[must_use]
pub fn printable(text: &str, is_unicode: bool) -> String {
    let shown = |c: char| if c.is_control() || !(is_unicode || c.is_ascii()) { '?' } else { c };
    text.chars().map(shown).collect()
}

/// The beginning of a text.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(1);
        used <= width
    };
    text.chars().take_while(fits).collect()
}

/// A name without its beginning, since the end tells paths apart.
#[must_use]
pub fn shortened(name: &str, width: usize, is_unicode: bool) -> String {
    if columns(name) <= width {
        return name.to_owned();
    }
    let mark = if is_unicode { "…" } else { ".." };
    let reversed: String = name.chars().rev().collect();
    let end = cut(&reversed, width.saturating_sub(columns(mark)));
    let name: String = mark.chars().chain(end.chars().rev()).collect();
    cut(&name, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::views::view;

    fn keys(width: usize, longest: usize, always: Option<&str>) -> (usize, Vec<&'static str>) {
        let fit = Fit::new(view("all").unwrap(), width, longest, always);
        let used: usize = fit.columns.iter().map(|(_, column)| format::width(column) + 1).sum();
        assert!(fit.name + used <= width, "{fit:?}");
        (fit.name, fit.columns.iter().map(|(_, column)| column.key).collect())
    }

    #[test]
    fn names_have_what_the_numbers_leave() {
        assert_eq!(
            keys(80, 8, None),
            (TITLES[0].len(), ["cpu", "mem", "rx", "tx", "read", "write"].to_vec())
        );
        let (name, shown) = keys(200, 300, None);
        assert!(name >= 60 && shown.len() > 9, "{name}: {shown:?}");
        assert_eq!(keys(12, 300, None), (12, Vec::new()));
    }

    #[test]
    fn the_column_of_the_order_is_shown_before_others() {
        assert_eq!(keys(80, 60, Some("throttled")).1, ["cpu", "mem", "rx", "tx", "throttled"]);
        assert_eq!(keys(77, 60, None).1, ["cpu", "mem", "rx", "tx", "read", "write"], "beside a mark");
        assert_eq!(keys(80, 60, Some("tx")).1, ["cpu", "mem", "rx", "tx", "read", "write"]);
        assert_eq!(keys(30, 60, Some("throttled")).1, ["throttled"]);
        for width in 0..250 {
            keys(width, 40, Some("oom_kills"));
        }
    }

    #[test]
    fn what_has_no_room_is_left_out_whole() {
        let parts = ["cpu 1%", "mem 100GiB of 256GiB", "load 1"].map(str::to_owned);
        assert_eq!(joined(&parts, 20), "cpu 1%  load 1");
    }
}
