//! How `seismograf dump` draws its rows.
//!
//! Pure. No line is wider than the screen, since a terminal would wrap it and push the busiest rows out of sight.

use std::fmt::Write as _;

use crate::views::fit::{Fit, columns, cut, joined, printable, shortened};
use crate::views::format;
use crate::views::table::Table;

/// Where the table is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// In columns.
    pub(crate) width: usize,
    /// In lines, of a terminal, which is drawn over in place.
    pub(crate) height: Option<usize>,
    /// Whether it shows what is not ASCII.
    pub(crate) is_unicode: bool,
}

impl Screen {
    /// No terminal: text, one table after the other.
    pub(crate) fn of_text(is_unicode: bool) -> Self {
        const WIDTH: usize = 120;
        Self { width: WIDTH, height: None, is_unicode }
    }
}

/// What is drawn at one time.
pub(super) struct Frame {
    /// About the machine, the most important part first.
    pub(super) heading: Vec<String>,
    /// Whether some amounts have no row.
    pub(super) has_losses: bool,
    /// In their order.
    pub(super) table: Table,
}

impl Frame {
    /// The text. A terminal is drawn over, with as many rows as fit.
    pub(super) fn draw(&self, screen: Screen) -> String {
        let mut page = Page::new(screen);
        page.line(&joined(&self.heading, screen.width));
        if self.has_losses {
            page.line("SOME ROWS WERE LOST: see overflow_* in seismograf");
        }
        let rows = &self.table.rows;
        let names: Vec<String> = rows.iter().map(|row| printable(&row.name, screen.is_unicode)).collect();
        let longest = names.iter().map(|name| columns(name)).max().unwrap_or(0);
        let fit = Fit::new(self.table.view, screen.width, longest, None);
        let titles = fit.columns.iter().map(|(_, column)| (format::width(column), column.title.to_owned()));
        page.row(fit.title(), fit.name, titles);
        for (name, row) in names.iter().zip(rows).take(page.left()) {
            let cells = fit
                .columns
                .iter()
                .map(|(at, column)| (format::width(column), format::value(column.unit, row.values[*at])));
            page.row(&shortened(name, fit.name, screen.is_unicode), fit.name, cells);
        }
        page.end()
    }
}

/// Lines that are never wider than the screen, and no more than it has.
struct Page {
    screen: Screen,
    text: String,
    n_lines: usize,
}

impl Page {
    fn new(screen: Screen) -> Self {
        // Moving home and clearing each line as it is written does not flicker.
        let text = if screen.height.is_some() { "\x1b[H".into() } else { String::new() };
        Self { screen, text, n_lines: 0 }
    }

    /// How many lines there is room for; the last one is the cursor's.
    fn left(&self) -> usize {
        self.screen.height.map_or(usize::MAX, |height| height.saturating_sub(self.n_lines + 1))
    }

    fn line(&mut self, line: &str) {
        if self.left() == 0 {
            return;
        }
        let line = cut(&printable(line, self.screen.is_unicode), self.screen.width);
        let line = line.trim_end();
        self.text += line;
        // Behind the last column the cursor still stands on it, and clearing would take it away.
        if self.screen.height.is_some() && columns(line) < self.screen.width {
            self.text += "\x1b[K";
        }
        self.text.push('\n');
        self.n_lines += 1;
    }

    fn row(&mut self, name: &str, name_width: usize, cells: impl Iterator<Item = (usize, String)>) {
        let mut line = format!("{name}{}", " ".repeat(name_width.saturating_sub(columns(name))));
        for (width, cell) in cells {
            // Writing to a string cannot fail.
            let _ = write!(line, " {cell:>width$}");
        }
        self.line(&line);
    }

    fn end(mut self) -> String {
        self.text += if self.screen.height.is_some() { "\x1b[J" } else { "\n" };
        self.text
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::schema::views::{Column, Unit, view};
    use crate::views::table::Row;

    fn frame(names: &[&str]) -> Frame {
        let heading =
            ["cpu 12.3% of 128 CPUs", "mem 100GiB of 256GiB", "load 12.00", "records 99k/s", "host-1"];
        let view = view("all").unwrap();
        let widest = |column: &Column| match column.unit {
            Unit::Percent => Some(12_800.0),
            Unit::Micros => Some(999_000.0),
            Unit::PerSecond | Unit::Count => Some(999_999.0),
            Unit::Bytes | Unit::BytesPerSecond => Some(1023.0 * 1_048_576.0),
        };
        let values: Vec<Option<f64>> = view.columns().map(widest).collect();
        let rows = names.iter().map(|name| Row { name: (*name).to_owned(), values: values.clone() });
        Frame {
            heading: heading.map(str::to_owned).to_vec(),
            has_losses: true,
            table: Table { view, rows: rows.collect() },
        }
    }

    fn lines(text: &str) -> Vec<String> {
        let plain = text.replace("\x1b[H", "").replace("\x1b[K", "").replace("\x1b[J", "");
        plain.lines().map(str::to_owned).collect()
    }

    #[rstest]
    #[case(40, 10, "CPU% MEM")]
    #[case(80, 24, "CPU% MEM RX/s TX/s READ/s WRITE/s")]
    #[case(
        200,
        50,
        "CPU% MEM RX/s TX/s READ/s WRITE/s SWITCH/s IO p99 PKT/s THROT% LIMIT% WAIT p99 RETR% PSI cpu PSI io PSI mem"
    )]
    #[case(12, 4, "")]
    #[case(1, 1, "")]
    fn nothing_is_wider_or_higher_than_the_screen(
        #[case] width: usize,
        #[case] height: usize,
        #[case] titles: &str,
        #[values(true, false)] is_unicode: bool,
    ) {
        let long = format!("/kubepods/{}/end", "x".repeat(250));
        let wide = format!("{}/end", "容器".repeat(60));
        let names: Vec<&str> = [long.as_str(), wide.as_str(), "short"].into_iter().cycle().take(90).collect();
        let text = frame(&names).draw(Screen { width, height: Some(height), is_unicode });
        let lines = lines(&text);
        assert_eq!(lines.len(), height - 1);
        assert!(lines.iter().all(|line| columns(line) <= width), "{lines:?}");
        assert!(is_unicode || text.is_ascii());
        if !titles.is_empty() {
            let shown: Vec<&str> = lines[2].split_whitespace().collect();
            assert!(shown.join(" ").ends_with(titles), "{}", lines[2]);
            assert!(lines[2].starts_with("NAME (100% = 1 CPU) "), "{}", lines[2]);
            assert!(lines[3].split_whitespace().next().unwrap().ends_with("/end"), "{}", lines[3]);
        }
        // A line that reaches the edge is not followed by what would clear its last column.
        let drawn = text.trim_start_matches("\x1b[H").lines();
        assert!(drawn.zip(&lines).all(|(drawn, line)| columns(line) < width || !drawn.ends_with("\x1b[K")));
    }

    #[test]
    fn text_without_a_terminal_has_all_rows() {
        let text = frame(&["a"; 200]).draw(Screen::of_text(true));
        assert_eq!(text.lines().count(), 204);
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("/a\x1b[2J", true), "/a?[2J");
    }
}
