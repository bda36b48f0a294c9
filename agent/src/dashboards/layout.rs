//! Where graphs are: twelve columns, filled from the left. Pure.

use super::board::{Draw, Graph};

/// The columns of a dashboard.
const COLUMNS: u32 = 12;

/// A graph's place, in columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) w: u32,
    pub(super) h: u32,
}

/// Each graph with its place.
pub(super) fn places<'a>(graphs: impl IntoIterator<Item = &'a Graph>) -> Vec<(&'a Graph, Place)> {
    let (mut x, mut y, mut row_height) = (0, 0, 0);
    let mut placed = Vec::new();
    for graph in graphs {
        let (w, h) = if graph.draw == Draw::Number { (2, 2) } else { (4, 4) };
        // A row has graphs of one height.
        if x + w > COLUMNS || (x > 0 && h != row_height) {
            (x, y) = (0, y + row_height);
        }
        row_height = h;
        placed.push((graph, Place { x, y, w, h }));
        x += w;
    }
    placed
}
