//! Pictures of what a terminal shows, for the documentation.

use std::fmt::Write as _;

/// The size of a character.
const CELL: (f64, f64) = (8.4, 18.0);
/// Around the text.
const MARGIN: f64 = 10.0;

/// The colours of a terminal that is dark, by number.
const COLORS: [&str; 8] =
    ["#3b4252", "#f2777a", "#99cc99", "#ffcc66", "#6699cc", "#cc99cc", "#66cccc", "#d8dee9"];
const FOREGROUND: &str = "#d8dee9";
const BACKGROUND: &str = "#1e222a";

/// How characters look.
#[derive(Clone, Copy, Default, PartialEq)]
struct Look {
    color: Option<usize>,
    is_bold: bool,
    is_dim: bool,
    is_reversed: bool,
    is_underlined: bool,
}

impl Look {
    /// Does what the numbers of an SGR sequence say (ECMA-48), as far as `top` uses them.
    fn apply(&mut self, numbers: &str) {
        let mut numbers = numbers.split(';').map(|number| number.parse::<usize>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                // One of 256 colours, of which the first are the named ones, and the same brighter.
                38 => self.color = numbers.nth(1).filter(|color| *color < 16).map(|color| color % 8),

                0 => *self = Self::default(),
                1 => self.is_bold = true,
                2 => self.is_dim = true,
                4 => self.is_underlined = true,
                7 => self.is_reversed = true,
                22 => (self.is_bold, self.is_dim) = (false, false),
                24 => self.is_underlined = false,
                27 => self.is_reversed = false,
                39 => self.color = None,
                color @ 30..=37 => self.color = Some(color - 30),
                color @ 90..=97 => self.color = Some(color - 90),
                _ => {}
            }
        }
    }
}

/// A picture of lines as `tmux capture-pane -e` gives them.
#[must_use]
pub fn of_terminal(lines: &[String], width: usize) -> String {
    let (w, h) = (width as f64 * CELL.0 + 2.0 * MARGIN, lines.len() as f64 * CELL.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"14\" style=\"white-space:pre\">\n"
    );
    let mut look = Look::default();
    for (y, line) in lines.iter().enumerate() {
        let mut x = 0;
        for (text, run_look) in runs(line, &mut look) {
            put(&mut svg, &text, run_look, (x, y));
            x += text.chars().count();
        }
    }
    svg + "</g>\n</svg>\n"
}

/// The parts of a line that look alike; `look` goes on from line to line.
fn runs(line: &str, look: &mut Look) -> Vec<(String, Look)> {
    let mut runs: Vec<(String, Look)> = Vec::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\x1b[") {
            let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(sequence.len());
            if sequence[end..].starts_with('m') {
                look.apply(&sequence[..end]);
            }
            rest = sequence.get(end + 1..).unwrap_or("");
            continue;
        }
        match runs.last_mut() {
            Some((text, last)) if last == look => text.push(c),
            _ => runs.push((c.to_string(), *look)),
        }
        rest = &rest[c.len_utf8()..];
    }
    runs
}

fn put(svg: &mut String, text: &str, look: Look, (column, line): (usize, usize)) {
    let (x, y) = (MARGIN + column as f64 * CELL.0, MARGIN + line as f64 * CELL.1);
    let width = text.chars().count() as f64 * CELL.0;
    let color = look.color.map_or(FOREGROUND, |color| COLORS[color]);
    let (front, back) = if look.is_reversed { (BACKGROUND, Some(color)) } else { (color, None) };
    if let Some(back) = back {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{back}\"/>",
            CELL.1
        );
    }
    let bold = if look.is_bold { " font-weight=\"bold\"" } else { "" };
    let dim = if look.is_dim { " opacity=\"0.65\"" } else { "" };
    let underline = if look.is_underlined { " text-decoration=\"underline\"" } else { "" };
    let mut at = 0;
    // Each word at its place and of the width that a terminal gives it, whatever font there is.
    for word in text.split(' ') {
        let n = word.chars().count();
        if n > 0 {
            let escaped = word.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{front}\"{bold}{dim}{underline}>{escaped}</text>",
                x + at as f64 * CELL.0,
                y + CELL.1 - 4.5,
                n as f64 * CELL.0
            );
        }
        at += n + 1;
    }
}
