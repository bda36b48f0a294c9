//! What a view is made of: rows, columns, figures, thresholds.
//!
//! Owns the shapes; which views and columns there are is in the files beside this one.

/// A kind of row.
#[derive(Debug)]
pub struct View {
    /// Its name on the command line and in addresses: `containers`.
    pub key: &'static str,
    /// Its name for people: `Containers`.
    pub title: &'static str,
    /// What a row is.
    pub help: &'static str,
    /// A point is of this view if it has one of these tags; any is, where there are none.
    pub has: &'static [&'static str],
    /// Which tags tell rows apart: the first of these lists of which a point has any tag, whose values are the name of the
    /// row, too. An empty list takes what is left as one row. A query groups by the tags of all lists.
    pub identities: &'static [&'static [&'static str]],
    /// The measurements whose points make a row. Those of others add to a row that is there.
    pub lists: &'static [&'static str],
    /// The columns from the left, in groups that there is room for or not, the more important first.
    pub columns: &'static [&'static [Column]],
}

impl View {
    /// All its columns, from the left.
    pub fn columns(&self) -> impl Iterator<Item = &'static Column> + Clone + use<> {
        self.columns.iter().copied().flatten()
    }

    /// The place of a column among all.
    #[must_use]
    pub fn column(&self, key: &str) -> Option<usize> {
        self.columns().position(|column| column.key == key)
    }
}

/// A column: one figure of each row.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name on the command line and in addresses: `cpu`. One key means the same in every view.
    pub key: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// What it says.
    pub help: &'static str,
    /// How it is made.
    pub value: Value,
    /// From where on it is a trouble, where that can be said of every machine.
    pub thresholds: Option<Thresholds>,
}

impl Column {
    /// What a value of it is.
    #[must_use]
    pub fn level(&self, value: f64) -> Level {
        match self.thresholds {
            Some(Thresholds { critical, .. }) if value >= critical => Level::Critical,
            Some(Thresholds { warn, .. }) if value >= warn => Level::Warn,
            _ => Level::Fine,
        }
    }
}

/// The unit of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Per cent; of CPU time 100 are one CPU.
    Percent,
    /// Bytes.
    Bytes,
    /// Bytes each second.
    BytesPerSecond,
    /// Something each second: operations, packets, switches.
    PerSecond,
    /// Microseconds.
    Micros,
    /// A number of something.
    Count,
}

impl Unit {
    /// Its sign.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Percent => "%",
            Self::Bytes => "byte",
            Self::BytesPerSecond => "byte/s",
            Self::PerSecond => "1/s",
            Self::Micros => "us",
            Self::Count => "",
        }
    }
}

/// How a column's value is made of figures.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// The figure.
    Of(Figure),
    /// The first in per cent of the second: of the points that have both, which are of one measurement.
    Percent(Figure, Figure),
    /// What the figure leaves of 100.
    Rest(Figure),
}

impl Value {
    /// The figures that it is made of.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        match self {
            Self::Of(figure) | Self::Rest(figure) => [Some(figure), None],
            Self::Percent(part, whole) => [Some(part), Some(whole)],
        }
        .into_iter()
        .flatten()
    }
}

/// A figure: what fields of a measurement come to over the series of a row.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The measurement.
    pub measurement: &'static str,
    /// Its fields. Several are put together as the series are.
    pub fields: &'static [&'static str],
    /// Only points with these values of tags. An empty value means without the tag.
    pub only: &'static [(&'static str, &'static str)],
    /// Whether the fields count up.
    pub how: How,
    /// How the series of a row are put together: its disks, the instances that it stands for.
    pub across: Across,
    /// From the unit of the fields (of a rate, of that each second) to the column's.
    pub scale: f64,
}

/// What is taken of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// What a counter grew by each second: `non_negative_derivative(…, 1s)`. One that went backwards began anew.
    Rate,
    /// The value itself.
    Gauge,
}

/// How several series become one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Across {
    /// `sum(…)`
    Sum,
    /// `max(…)`
    Max,
}

/// From where on a value is a trouble. Reaching it is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Somebody should look.
    pub warn: f64,
    /// Somebody has to.
    pub critical: f64,
}

/// How bad a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not at all.
    #[default]
    Fine,
    /// [`Thresholds::warn`]
    Warn,
    /// [`Thresholds::critical`]
    Critical,
}
