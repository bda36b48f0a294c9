//! How `seismograf dump` draws its rows: which columns a width has room for, and how names and numbers are shortened.
//!
//! Pure. No line is wider than the screen, since a terminal would wrap it and push the busiest rows out of sight.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

use super::row::Row;

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

/// A column of numbers.
struct Column {
    title: &'static str,
    width: usize,
    cell: fn(&Row) -> String,
}

const fn column(title: &'static str, width: usize, cell: fn(&Row) -> String) -> Column {
    Column { title, width, cell }
}

/// The columns from the left, in groups. Where there is no room for all, those on the right go first, a group at once.
const COLUMNS: [&[Column]; 7] = [
    &[column("CPU%", 7, |row| format!("{:.1}", row.cpu_percent))],
    &[column("MEM", 8, |row| bytes(row.memory_bytes))],
    &[column("RX/s", 8, |row| bytes(row.rx_bytes)), column("TX/s", 8, |row| bytes(row.tx_bytes))],
    &[column("READ/s", 8, |row| bytes(row.read_bytes)), column("WRITE/s", 8, |row| bytes(row.write_bytes))],
    &[column("SWITCH/s", 9, |row| count(row.switches))],
    &[column("IO p99", 8, |row| if row.io_p99_us > 0.0 { micros(row.io_p99_us) } else { String::new() })],
    &[column("PKT/s", 8, |row| count(row.packets))],
];

/// The title of the names, which says what CPU% is of; and where there is no room for that.
const TITLES: [&str; 2] = ["NAME (100% = 1 CPU)", "NAME"];

/// What is drawn at one time.
pub(super) struct Frame {
    /// About the machine, the most important part first.
    pub(super) heading: Vec<String>,
    /// Whether some amounts have no row.
    pub(super) has_losses: bool,
    /// In their order.
    pub(super) rows: Vec<(String, Row)>,
}

impl Frame {
    /// The text. A terminal is drawn over, with as many rows as fit.
    pub(super) fn draw(&self, screen: Screen) -> String {
        let mut page = Page::new(screen);
        page.line(&joined(&self.heading, screen.width));
        if self.has_losses {
            page.line("SOME ROWS WERE LOST: see overflow_* in seismograf");
        }
        let names: Vec<String> =
            self.rows.iter().map(|(name, _)| printable(name, screen.is_unicode)).collect();
        let longest = names.iter().map(|name| columns(name)).max().unwrap_or(0);
        let (name_width, shown) = layout(screen.width, longest);
        let title = TITLES.into_iter().find(|title| title.len() <= name_width).unwrap_or(TITLES[1]);
        page.row(title, name_width, shown.iter().map(|column| (column.width, column.title.to_owned())));
        for (name, (_, row)) in names.iter().zip(&self.rows).take(page.left()) {
            let cells = shown.iter().map(|column| (column.width, (column.cell)(row)));
            page.row(&shortened(name, name_width, screen.is_unicode), name_width, cells);
        }
        page.end()
    }
}

/// The width of the names, and the columns that there is room for beside them.
fn layout(width: usize, longest_name: usize) -> (usize, Vec<&'static Column>) {
    let wanted = longest_name.max(TITLES[0].len());
    // Half of a narrow screen is the names', and a third of a wide one.
    let kept = wanted.min((width / 3).max(20));
    let mut left = width;
    let mut shown = Vec::new();
    for group in COLUMNS {
        let needed: usize = group.iter().map(|column| column.width + 1).sum();
        if left < kept + needed {
            break;
        }
        left -= needed;
        shown.extend(group);
    }
    (wanted.min(left), shown)
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

/// The parts that a width has room for, in their order.
fn joined(parts: &[String], width: usize) -> String {
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
fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(1)).sum()
}

/// The text without what a terminal obeys, or cannot show.
fn printable(text: &str, is_unicode: bool) -> String {
    let shown = |c: char| if c.is_control() || !(is_unicode || c.is_ascii()) { '?' } else { c };
    text.chars().map(shown).collect()
}

/// The beginning of a text.
fn cut(text: &str, width: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(1);
        used <= width
    };
    text.chars().take_while(fits).collect()
}

/// A name without its beginning, since the end tells paths apart.
fn shortened(name: &str, width: usize, is_unicode: bool) -> String {
    if columns(name) <= width {
        return name.to_owned();
    }
    let mark = if is_unicode { "…" } else { ".." };
    let reversed: String = name.chars().rev().collect();
    let end = cut(&reversed, width.saturating_sub(columns(mark)));
    let name: String = mark.chars().chain(end.chars().rev()).collect();
    cut(&name, width)
}

/// Bytes with a unit, in at most seven characters; `-` for zero.
pub(super) fn bytes(value: f64) -> String {
    scaled(value, &["B", "KiB", "MiB", "GiB", "TiB"], 1024.0)
}

/// A count with a unit.
pub(super) fn count(value: f64) -> String {
    scaled(value, &["", "k", "M", "G"], 1000.0)
}

/// A time in microseconds.
fn micros(value: f64) -> String {
    scaled(value, &["us", "ms", "s"], 1000.0)
}

fn scaled(mut value: f64, units: &[&str], step: f64) -> String {
    let mut unit = 0;
    if value < 0.05 {
        return "-".into();
    }
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}{}", units[unit])
    } else {
        format!("{value:.1}{}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn frame(names: &[&str]) -> Frame {
        let heading =
            ["cpu 12.3% of 128 CPUs", "mem 100GiB of 256GiB", "load 12.00", "records 99k/s", "host-1"];
        let row = Row {
            cpu_percent: 12_800.0,
            memory_bytes: 1023.0 * 1024.0,
            switches: 999_999.0,
            read_bytes: 1023.0 * 1024.0,
            write_bytes: 1023.0,
            io_p99_us: 999_000.0,
            rx_bytes: 1e15,
            tx_bytes: 1023.0 * 1_048_576.0,
            packets: 999_999.0,
        };
        Frame {
            heading: heading.map(str::to_owned).to_vec(),
            has_losses: true,
            rows: names.iter().map(|name| ((*name).to_owned(), row.clone())).collect(),
        }
    }

    fn lines(text: &str) -> Vec<String> {
        let plain = text.replace("\x1b[H", "").replace("\x1b[K", "").replace("\x1b[J", "");
        plain.lines().map(str::to_owned).collect()
    }

    #[rstest]
    #[case(40, 10, "CPU% MEM")]
    #[case(80, 24, "CPU% MEM RX/s TX/s READ/s WRITE/s")]
    #[case(200, 50, "CPU% MEM RX/s TX/s READ/s WRITE/s SWITCH/s IO p99 PKT/s")]
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
    fn names_have_what_the_numbers_leave() {
        let (name_width, shown) = layout(80, 8);
        assert_eq!((name_width, shown.len()), (TITLES[0].len(), 6));
        assert_eq!(layout(200, 300).0, 200 - 81);
    }

    #[test]
    fn what_has_no_room_in_the_heading_is_left_out_whole() {
        let parts = ["cpu 1%", "mem 100GiB of 256GiB", "load 1"].map(str::to_owned);
        assert_eq!(joined(&parts, 20), "cpu 1%  load 1");
    }

    #[test]
    fn text_without_a_terminal_has_all_rows() {
        let text = frame(&["a"; 200]).draw(Screen::of_text(true));
        assert_eq!(text.lines().count(), 204);
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn units() {
        assert_eq!(bytes(0.0), "-");
        assert_eq!(bytes(1536.0), "1.5KiB");
        assert_eq!(bytes(1024.0 * 1024.0 * 200.0), "200MiB");
        assert_eq!(count(50_000.0), "50k");
        assert_eq!(micros(2_500.0), "2.5ms");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("/a\x1b[2J", true), "/a?[2J");
    }
}
