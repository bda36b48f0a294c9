//! How a graph is drawn, in Chronograf's words.

use super::model::CellType;
use crate::dashboards::board::{Draw, Graph, Unit};

/// A title that says what the graph is about: a cell has no other place for that.
pub(super) fn title(graph: &Graph) -> String {
    if graph.help.is_empty() { graph.title.clone() } else { format!("{}: {}", graph.title, graph.help) }
}

pub(super) fn cell_type(draw: Draw) -> CellType {
    match draw {
        Draw::Lines => CellType::Line,
        Draw::Stacked => CellType::LineStacked,
        Draw::Number => CellType::SingleStat,
        Draw::Top => CellType::Table,
    }
}

/// What an axis is called, and what follows its numbers.
pub(super) fn label(unit: Unit) -> (&'static str, &'static str) {
    match unit {
        Unit::Percent => ("percent", "%"),
        Unit::Bytes => ("bytes", "B"),
        Unit::BytesPerSecond => ("bytes a second", "B/s"),
        Unit::PerSecond => ("a second", "/s"),
        Unit::Micros => ("microseconds", "us"),
        Unit::Seconds => ("seconds", "s"),
        Unit::Nanos => ("nanoseconds", "ns"),
        Unit::Count => ("", ""),
    }
}
