//! systemd units.

use super::choices::{ENV, HOST};
use crate::dashboards::board::{Board, Columns, Draw, Item, Only};

pub(super) const BOARD: Board = Board {
    file: "units",
    title: "Seismograf: systemd units",
    help: "The services, scopes and slices of systemd by CPU, memory, I/O, network and pressure.",
    choices: &[ENV, HOST],
    items: &[
        Item::Columns(Columns { keys: &["cpu", "mem", "wait_p99"], draw: Draw::Top, ..ALL }),
        Item::Columns(ALL),
    ],
};

const ALL: Columns = Columns {
    view: "units",
    keys: &[],
    draw: Draw::Lines,
    by: &["host", "unit"],
    only: &[Only::Has("unit")],
};
