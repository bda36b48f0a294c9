//! Pages of text: the keys, the log, and why there are no rows. Pure.

use ratatui_core::style::Style;

use super::app::App;
use super::canvas::Canvas;
use super::keys::{KEYS, REPLAY_KEYS};
use crate::views::fit::columns;

/// Whether a line of the log says that something is not as it should be.
pub(super) fn is_warning(line: &str) -> bool {
    line.contains("W! [") || line.contains("E! [")
}

/// The keys.
pub(super) fn help(app: &App, canvas: &mut Canvas<'_>) {
    let palette = canvas.look.palette;
    let width = KEYS.iter().chain(REPLAY_KEYS).map(|(keys, _)| keys.len()).max().unwrap_or(0);
    let replay = if app.replay.is_some() { REPLAY_KEYS } else { &[] };
    for (keys, what) in KEYS.iter().chain(replay) {
        wrapped(canvas, &format!("{keys:width$}  "), what);
    }
    canvas.text("", palette.hint());
    wrapped(
        canvas,
        "",
        "A row is marked ! where a value is worth a look, !! where somebody has to. Columns:",
    );
    let column = app.sort.column().and_then(|key| app.view.columns().find(|column| column.key == key));
    // That of the order first: it is what a person asks about.
    let others = app.view.columns().filter(|other| Some(other.key) != app.sort.column());
    for column in column.into_iter().chain(others) {
        wrapped(canvas, &format!("{:width$}  ", column.title), column.help);
    }
}

/// What was logged, the latest at the bottom.
pub(super) fn log(app: &App, canvas: &mut Canvas<'_>) {
    if app.log.is_empty() {
        canvas.text("Nothing was logged.", canvas.look.palette.hint());
    }
    let shown = app.log.len().saturating_sub(canvas.left());
    for line in &app.log[shown..] {
        canvas.text(line.trim_end(), Style::new());
    }
}

/// Why there are no rows.
pub(super) fn nothing(app: &App, canvas: &mut Canvas<'_>) {
    let style = Style::new();
    if app.table.is_none() {
        canvas.text("Rates need two gathers: one more interval.", style);
    } else if !app.filter.is_empty() && app.n_rows > 0 {
        canvas.text(
            &format!("None of {} rows has \"{}\" in its name; Esc shows all.", app.n_rows, app.filter),
            style,
        );
    } else {
        canvas.text(&format!("There are no {} here.", app.view.title.to_lowercase()), style);
        wrapped(canvas, "", app.view.help);
    }
    for line in app.log.iter().filter(|line| is_warning(line)) {
        wrapped(canvas, "", line.trim_end());
    }
}

/// A text in as many lines as it needs, behind `head`.
fn wrapped(canvas: &mut Canvas<'_>, head: &str, text: &str) {
    let style = Style::new();
    let room = canvas.width().saturating_sub(head.len()).max(1);
    let (mut line, mut head) = (String::new(), head.to_owned());
    for word in text.split(' ') {
        if !line.is_empty() && columns(&line) + 1 + columns(word) > room {
            canvas.text(&format!("{head}{line}"), style);
            (line, head) = (String::new(), " ".repeat(head.len()));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    canvas.text(&format!("{head}{line}"), style);
}
