//! Dashboards and alerts for what this agent writes, from one description: files for Chronograf, Grafana and Kapacitor.
//!
//! Owns what is shown and asked for; the names are the schema's. The agent itself does not use it: `cargo xtask codegen` writes
//! `deploy/dashboards`, and tests hold those files against this and run every query in them.

mod alerts;
mod board;
mod boards;
pub mod chronograf;
mod flux;
pub mod grafana;
mod influxql;
mod kapacitor;
mod layout;
#[cfg(test)]
mod left_out;
mod names;

use serde::Serialize;

pub use self::alerts::{ALERTS, Alert, Kind as AlertKind};
pub use self::board::{
    Asked, Board, Choice, Columns, Draw, Graph, How, Item, Line, Only, Panel, Query, Unit,
};
pub use self::boards::BOARDS;
pub use self::kapacitor::{DATABASE, POLICY};

/// Every generated file, by its path below `deploy/dashboards`.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for board in BOARDS {
        let file = board.file;
        files.push((format!("chronograf/{file}.json"), json(&chronograf::dashboard(board))));
        files.push((format!("grafana/influxql/{file}.json"), json(&grafana::influxql(board))));
        files.push((format!("grafana/flux/{file}.json"), json(&grafana::flux(board))));
    }
    for layout in chronograf::layouts(BOARDS) {
        files.push((format!("chronograf/canned/{}.json", layout.measurement), json(&layout)));
    }
    for alert in ALERTS {
        files.push((format!("kapacitor/{}.tick", alert.file), kapacitor::script(alert)));
    }
    files
}

fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    // All keys are texts, and no number is without a value: there is nothing that cannot be written.
    text.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests;
