//! Where the last drawing put what can be clicked at.

use std::ops::Range;

/// What is at a place of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The title of this column; `None` is the names'.
    Title(Option<&'static str>),
    /// The row of this place among all.
    Row(usize),
    /// The view of this key.
    View(&'static str),
}

/// All that can be clicked at, by line and columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Vec<(u16, Range<u16>, Place)>);

impl Places {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn add(&mut self, line: u16, columns: Range<u16>, place: Place) {
        self.0.push((line, columns, place));
    }

    /// How many rows are shown.
    pub(super) fn n_rows(&self) -> usize {
        self.0.iter().filter(|(_, _, place)| matches!(place, Place::Row(_))).count()
    }

    /// What is there.
    pub(super) fn at(&self, line: u16, column: u16) -> Option<Place> {
        let is_there =
            |(at, columns, _): &&(u16, Range<u16>, Place)| *at == line && columns.contains(&column);
        self.0.iter().find(is_there).map(|(_, _, place)| *place)
    }
}
