//! One row: all its columns, what it did lately, and how long its reads, writes and waits for a CPU took. Pure.

use ratatui_core::style::Style;
use ratatui_core::text::{Line, Span};

use super::app::App;
use super::canvas::Canvas;
use super::history::sparkline;
use crate::ledger::histogram::Histogram;
use crate::views::fit::shortened;
use crate::views::format;
use crate::views::sampler::Sampler;
use crate::views::table::Row;

/// The least width of a column with its value.
const CELL: usize = 20;
/// The least width of a histogram.
const HISTOGRAM: usize = 26;
/// What is drawn over time where there is no histogram: of a replay, since its file has points.
const OVER_TIME: [&str; 3] = ["io_p99", "wait_p99", "throttled"];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let palette = canvas.look.palette;
    let name = app.selected.clone().unwrap_or_default();
    canvas.text(&shortened(&name, canvas.width(), canvas.look.is_unicode), palette.sorted());
    let Some(row) = app.row() else {
        canvas.text("It is not there any more. Esc goes back.", Style::new());
        return;
    };
    cells(app, row, canvas);
    let cpu = |canvas: &mut Canvas<'_>| over_time(app, "cpu", canvas);
    cpu(canvas);
    let histograms = histograms(app, &name);
    if histograms.iter().all(|(_, histogram)| histogram.buckets().is_empty()) {
        for key in OVER_TIME {
            over_time(app, key, canvas);
        }
    } else {
        draw_histograms(&histograms, canvas);
    }
}

/// All columns with their values, as many beside each other as there is room for.
fn cells(app: &App, row: &Row, canvas: &mut Canvas<'_>) {
    let palette = canvas.look.palette;
    let n = (canvas.width() / CELL).max(1);
    let width = canvas.width() / n;
    let all: Vec<_> = app.view.columns().zip(&row.values).collect();
    for line in all.chunks(n) {
        let mut spans = Vec::new();
        for (column, value) in line {
            let level = value.map(|value| column.level(value)).unwrap_or_default();
            let text = format::value(column.unit, **value);
            let room = width.saturating_sub(column.title.len() + 2);
            spans.push(Span::styled(column.title, palette.hint()));
            spans.push(Span::styled(format!(" {text:>room$} "), palette.value(level)));
        }
        canvas.line(&Line::from(spans));
    }
}

/// A column over the last gathers.
fn over_time(app: &App, key: &str, canvas: &mut Canvas<'_>) {
    let Some((at, column)) = app.view.columns().enumerate().find(|(_, column)| column.key == key) else {
        return;
    };
    let values = || app.trend.iter().map(|values| values[at].unwrap_or(0.0));
    let most = values().fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    let head = format!("{:9} up to {:>8} ", column.title, format::with_unit(column.unit, most));
    let width = canvas.width().saturating_sub(head.len());
    let bars = sparkline(values(), width.min(app.trend.len()), most, canvas.look.is_unicode);
    let palette = canvas.look.palette;
    canvas.line(&Line::from(vec![Span::styled(head, palette.hint()), Span::styled(bars, palette.bar())]));
}

/// How long what the row did took, over all series that it is made of.
fn histograms(app: &App, name: &str) -> [(&'static str, Histogram); 3] {
    let mut all = [
        ("reads", Histogram::default()),
        ("writes", Histogram::default()),
        ("waits for a CPU", Histogram::default()),
    ];
    let of_row =
        app.latencies.iter().filter(|row| Sampler::name(app.view, &row.tags).as_deref() == Some(name));
    for row in of_row {
        let [(_, reads), (_, writes), (_, waits)] = &mut all;
        reads.merge(&row.reads);
        writes.merge(&row.writes);
        waits.merge(&row.waits);
    }
    all
}

/// Beside each other, as many as there is room for.
fn draw_histograms(all: &[(&'static str, Histogram)], canvas: &mut Canvas<'_>) {
    let palette = canvas.look.palette;
    let shown = all.iter().filter(|(_, histogram)| !histogram.buckets().is_empty());
    let shown: Vec<_> = shown.take((canvas.width() / HISTOGRAM).max(1)).collect();
    let width = canvas.width() / shown.len().max(1);
    let titles = shown.iter().map(|(title, histogram)| {
        let p99 = histogram.quantile_ns(0.99).map(|ns| format::micros(ns / 1e3)).unwrap_or_default();
        Span::styled(format!("{:width$}", format!("{title}, p99 {p99}")), palette.titles())
    });
    canvas.line(&Line::from(titles.collect::<Vec<_>>()));
    let bars: Vec<Vec<String>> =
        shown.iter().map(|(_, histogram)| bars(histogram, width, canvas.look.is_unicode)).collect();
    let n_lines = bars.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..n_lines {
        let cells = bars.iter().map(|bars| {
            let bar = bars.get(at).map_or("", String::as_str);
            Span::styled(format!("{bar:width$}"), palette.bar())
        });
        canvas.line(&Line::from(cells.collect::<Vec<_>>()));
    }
}

/// A line for each bucket: where it ends, a bar, and how many it has.
fn bars(histogram: &Histogram, width: usize, is_unicode: bool) -> Vec<String> {
    const HEAD: usize = "<999.9ms ".len();
    const COUNT: usize = " 999.9k ".len();
    let buckets = histogram.buckets();
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let room = width.saturating_sub(HEAD + COUNT);
    let full = if is_unicode { "█" } else { "#" };
    let bar = |(end, count): &(f64, u64)| {
        let length = (*count as f64 / most as f64 * room as f64).ceil() as usize;
        let end = format!("<{}", format::micros(end / 1e3));
        format!("{end:>8} {:room$}{:>7} ", full.repeat(length), format::count(*count as f64))
    };
    buckets.iter().map(bar).collect()
}
