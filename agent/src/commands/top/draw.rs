//! Draws the screen: the machine, the views, the rows, and a line of what is worth to know.
//!
//! Pure: writes into a buffer of the terminal's size, whatever that is.

use ratatui_core::buffer::Buffer;
use ratatui_core::text::{Line, Span};

use super::app::{App, Mode, Position, SortBy};
use super::canvas::{Canvas, Look};
use super::history::{N_SHOWN, sparkline};
use super::places::Place;
use super::{detail, pages};
use crate::schema::views::{Level, of_rows};
use crate::views::fit::{Fit, columns, cut, joined, printable, shortened};
use crate::views::format;
use crate::views::table::Row;

/// The mark before a name.
const MARK_WIDTH: usize = 3;
/// The width from which on there is room for sparklines.
const SPARK_FROM: usize = 100;

/// Draws all of it.
pub(super) fn draw(app: &mut App, buffer: &mut Buffer, look: Look) {
    app.places.clear();
    let mut canvas = Canvas::new(buffer, look);
    heading(app, &mut canvas);
    match &app.mode {
        Mode::Help => pages::help(app, &mut canvas),
        Mode::Log => pages::log(app, &mut canvas),
        Mode::Detail => detail::draw(app, &mut canvas),
        Mode::Rows | Mode::Filter(_) | Mode::Jump(_) => {
            rows(app, &mut canvas);
            canvas.go_to_last();
            foot(app, &mut canvas);
        }
    }
}

/// The machine, then the views and what is special now.
fn heading(app: &mut App, canvas: &mut Canvas<'_>) {
    let look = canvas.look;
    let parts = app.machine.heading();
    let line = joined(&parts, canvas.width());
    let style = match app.machine.level() {
        Level::Fine => look.palette.heading(),
        level => look.palette.value(level),
    };
    canvas.text(&line, style);
    // A small screen is for rows.
    if canvas.left() < 4 {
        return;
    }
    let mut spans = Vec::new();
    let mut x = 0_u16;
    for view in of_rows() {
        let is_shown = view.key == app.view.key;
        let name = format!(" {} ", view.title);
        let width = name.len() as u16;
        app.places.add(canvas.at(), x..x + width, Place::View(view.key));
        x += width;
        spans.push(Span::styled(name, if is_shown { look.palette.sorted() } else { look.palette.hint() }));
    }
    let left = canvas.width().saturating_sub(usize::from(x) + 1);
    let state = joined(&state(app, left), left);
    spans.push(Span::styled(format!(" {}", printable(&state, look.is_unicode)), look.palette.titles()));
    canvas.line(&Line::from(spans));
    if app.machine.has_losses() && canvas.left() > 3 {
        let text = "SOME ROWS WERE LOST: see overflow_* in seismograf";
        canvas.text(text, look.palette.value(Level::Critical));
    }
}

/// What is special now, the most important first, for so many columns.
fn state(app: &App, width: usize) -> Vec<String> {
    const WIDE: usize = 50;
    let mut parts = Vec::new();
    if let Some(Position { at, n_gathers, speed, damage }) = &app.replay {
        let time = app.time().and_then(|time| jiff::Timestamp::from_nanosecond(time.0.into()).ok());
        let format = if width < WIDE { "%T " } else { "%F %T " };
        let time = time.map(|time| time.strftime(format).to_string()).unwrap_or_default();
        let speed = if *speed == 1.0 { String::new() } else { format!(" x{speed}") };
        parts.push(format!("{time}{}/{n_gathers}{speed}", at + 1));
        parts.extend(damage.as_ref().map(|_| "DAMAGED".to_owned()));
    }
    if app.is_paused {
        parts.push("PAUSED".to_owned());
    }
    if app.log.iter().any(|line| line.contains("probe is off")) {
        parts.push("PROBES OFF, see l".to_owned());
    }
    if !app.filter.is_empty() {
        parts.push(format!("{} of {} with \"{}\"", app.rows().len(), app.n_rows, app.filter));
    }
    parts
}

fn rows(app: &mut App, canvas: &mut Canvas<'_>) {
    if app.rows().is_empty() {
        pages::nothing(app, canvas);
        return;
    }
    let look = canvas.look;
    let names: Vec<String> = app.rows().iter().map(|row| printable(&row.name, look.is_unicode)).collect();
    let longest = names.iter().map(|name| columns(name)).max().unwrap_or(0);
    let spark = if canvas.width() >= SPARK_FROM { N_SHOWN + 1 } else { 0 };
    let room = canvas.width().saturating_sub(MARK_WIDTH + spark);
    let fit = Fit::new(app.view, room, longest, app.sort.column());
    titles(app, &fit, spark, canvas);
    let cursor = app.cursor();
    // The last line is the foot's.
    let n_shown = canvas.left().saturating_sub(1).max(1);
    let last = app.rows().len().saturating_sub(n_shown);
    app.scrolled = app.scrolled.min(cursor).max((cursor + 1).saturating_sub(n_shown)).min(last);
    let most = most(app);
    for at in (app.scrolled..app.rows().len()).take(n_shown) {
        app.places.add(canvas.at(), 0..canvas.width_u16(), Place::Row(at));
        let row = &app.rows()[at];
        let name = shortened(&names[at], fit.name, look.is_unicode);
        let bars = (spark > 0).then(|| {
            let values = app.history.of(app.view, &row.name).into_iter().flatten();
            sparkline(values.map(|value| f64::from(*value)), N_SHOWN, most, look.is_unicode)
        });
        canvas.line(&row_line(app, row, &name, bars, &fit, look));
        if at == cursor {
            canvas.restyle_last(look.palette.selected());
        }
    }
}

/// The highest CPU time of all rows in sight of their sparklines; one CPU at least, so that little looks little.
fn most(app: &App) -> f64 {
    const ONE: f64 = 100.0;
    let rows = app.rows().iter().filter_map(|row| app.history.of(app.view, &row.name));
    rows.flatten().fold(ONE, |most, value| most.max(f64::from(*value)))
}

fn titles(app: &mut App, fit: &Fit, spark: usize, canvas: &mut Canvas<'_>) {
    let palette = canvas.look.palette;
    let style = |is_sorted| if is_sorted { palette.sorted() } else { palette.titles() };
    let pad = " ".repeat(fit.name.saturating_sub(fit.title().len()) + spark);
    let is_by_name = app.sort == SortBy::Name;
    let mut spans = vec![
        Span::styled(" ".repeat(MARK_WIDTH), palette.titles()),
        Span::styled(fit.title().to_owned(), style(is_by_name)),
        Span::styled(pad, palette.titles()),
    ];
    let mut x = (MARK_WIDTH + fit.name + spark) as u16;
    app.places.add(canvas.at(), 0..x, Place::Title(None));
    for (_, column) in &fit.columns {
        let width = format::width(column);
        app.places.add(canvas.at(), x..x + width as u16 + 1, Place::Title(Some(column.key)));
        x += width as u16 + 1;
        let gap = " ".repeat(1 + width - column.title.len());
        spans.push(Span::styled(gap, palette.titles()));
        spans.push(Span::styled(column.title, style(app.sort.column() == Some(column.key))));
    }
    canvas.line(&Line::from(spans));
}

fn row_line(app: &App, row: &Row, name: &str, bars: Option<String>, fit: &Fit, look: Look) -> Line<'static> {
    let level = row.level(app.view);
    let mark = match level {
        Level::Fine => "   ",
        Level::Warn => " ! ",
        Level::Critical => "!! ",
    };
    let pad = " ".repeat(fit.name.saturating_sub(columns(name)));
    let mut spans = vec![Span::styled(mark, look.palette.value(level)), Span::raw(format!("{name}{pad}"))];
    spans.extend(bars.map(|bars| Span::styled(format!(" {bars}"), look.palette.bar())));
    for (at, column) in &fit.columns {
        let (value, width) = (row.values[*at], format::width(column));
        let level = value.map(|value| column.level(value)).unwrap_or_default();
        let text = format::value(column.unit, value);
        spans.push(Span::raw(" "));
        spans.push(Span::styled(format!("{text:>width$}"), look.palette.value(level)));
    }
    Line::from(spans)
}

/// What is typed; else the troubles of the selected row; else the keys.
fn foot(app: &App, canvas: &mut Canvas<'_>) {
    let palette = canvas.look.palette;
    match &app.mode {
        Mode::Filter(_) => return canvas.text(&format!("/{}_", app.filter), palette.titles()),
        Mode::Jump(text) => {
            return canvas.text(&format!("go to (UTC, such as 14:05:30): {text}_"), palette.titles());
        }
        _ => {}
    }
    let troubles: Vec<String> = app
        .row()
        .map(|row| row.troubles(app.view))
        .into_iter()
        .flatten()
        .map(|(column, value, _)| format!("{} {}", column.title, format::with_unit(column.unit, value)))
        .collect();
    if let Some(row) = app.row().filter(|_| !troubles.is_empty()) {
        let level = row.level(app.view);
        let name = shortened(&row.name, canvas.width() / 3, canvas.look.is_unicode);
        let parts: Vec<String> = std::iter::once(format!("{name}:")).chain(troubles).collect();
        return canvas.text(&joined(&parts, canvas.width()), palette.value(level));
    }
    let warnings = app.log.iter().filter(|line| pages::is_warning(line)).count();
    let mut hints: Vec<String> = Vec::new();
    if warnings > 0 {
        hints.push(format!("l {warnings} warnings"));
    }
    let replay = app.replay.is_some().then_some("Left/Right step");
    let all = ["? help", "/ filter", "< > sort", "Enter detail", "Space pause", "q quit"];
    hints.extend(replay.into_iter().chain(all).map(str::to_owned));
    let line = cut(&joined(&hints, canvas.width()), canvas.width());
    canvas.text(&line, palette.hint());
}
