//! What a dashboard is made of, whatever shows it.
//!
//! Owns the shape of a description, and how columns of `schema::views` become graphs; which dashboards there are is in
//! `boards`, and how one is written for Chronograf and Grafana in the files called so.

use crate::schema::views::{self, Across, Column, Figure, Value, View};

/// A dashboard.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// The name of its file.
    pub file: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What it shows, for people.
    pub help: &'static str,
    /// What can be chosen in it, in this order.
    pub choices: &'static [Choice],
    /// From the left to the right, and from the top down.
    pub items: &'static [Item],
}

impl Board {
    /// Its graphs, in their order.
    #[must_use]
    pub fn graphs(&self) -> Vec<Graph> {
        let mut graphs = Vec::new();
        for item in self.items {
            match item {
                Item::Panels(panels) => graphs.extend(panels.iter().map(Graph::of_panel)),
                Item::Columns(columns) => graphs.extend(columns.graphs()),
            }
        }
        graphs
    }
}

/// What a dashboard is put together from.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// What is described here alone.
    Panels(&'static [Panel]),
    /// What is looked at everywhere.
    Columns(Columns),
}

/// Columns of a view, a graph each.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The view's key.
    pub view: &'static str,
    /// The keys of its columns; all of them where there are none.
    pub keys: &'static [&'static str],
    /// How they are drawn.
    pub draw: Draw,
    /// The tags that have a line each.
    pub by: &'static [&'static str],
    /// Which points count, besides what the column says.
    pub only: &'static [Only],
}

impl Columns {
    fn graphs(&self) -> Vec<Graph> {
        let columns = views::view(self.view).into_iter().flat_map(View::columns);
        let columns = columns.filter(|column| self.keys.is_empty() || self.keys.contains(&column.key));
        columns.map(|column| Graph::of_column(column, self)).collect()
    }

    /// What a graph of a column is called.
    fn title(&self, column: &Column) -> String {
        let view = views::view(self.view).map_or(self.view, |view| view.title);
        let top = if self.draw == Draw::Top { ", top 20" } else { "" };
        format!("{view}{top}: {}", column.title)
    }
}

/// A variable: what a person chooses of a tag's values, in every panel whose measurement has the tag.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The tag, and the variable's name.
    pub tag: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// A measurement that has all its values.
    pub from: &'static str,
    /// Whether one value is chosen, or any number of them, at first all.
    pub is_one: bool,
    /// Whether some points do not have the tag: they belong to every value.
    pub is_optional: bool,
}

/// One graph, number or table that no column is.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// Its title.
    pub title: &'static str,
    /// How it is drawn.
    pub draw: Draw,
    /// What its numbers are.
    pub unit: Unit,
    /// Where its numbers come from.
    pub queries: &'static [Query],
    /// From where a number is marked, first as a warning, then as critical.
    pub marks: Option<[f64; 2]>,
}

impl Panel {
    pub(super) const fn marked(self, warning: f64, critical: f64) -> Self {
        Self { marks: Some([warning, critical]), ..self }
    }
}

/// How a panel is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Lines over time.
    Lines,
    /// Areas over time, one on the other.
    Stacked,
    /// The latest number.
    Number,
    /// The groups with the largest numbers of the whole time, one a row.
    Top,
}

/// What a panel's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Of 100.
    Percent,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Anything else a second.
    PerSecond,
    /// A time in microseconds.
    Micros,
    /// A time in seconds.
    Seconds,
    /// A time in nanoseconds.
    Nanos,
    /// How many.
    Count,
}

impl Unit {
    fn of(unit: views::Unit) -> Self {
        match unit {
            views::Unit::Percent => Self::Percent,
            views::Unit::Bytes => Self::Bytes,
            views::Unit::BytesPerSecond => Self::BytesPerSecond,
            views::Unit::PerSecond => Self::PerSecond,
            views::Unit::Micros => Self::Micros,
            views::Unit::Count => Self::Count,
        }
    }
}

/// A graph as it is to be drawn.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Its title.
    pub title: String,
    /// What it says; empty where the title does.
    pub help: &'static str,
    /// How it is drawn.
    pub draw: Draw,
    /// What its numbers are.
    pub unit: Unit,
    /// Where its numbers come from.
    pub queries: Vec<Asked>,
    /// From where a number is marked, first as a warning, then as critical.
    pub marks: Option<[f64; 2]>,
}

/// A query as it is to be asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The measurement.
    pub from: &'static str,
    /// Its lines, all made in the same way.
    pub lines: Vec<Line>,
    /// The tags that have a line each.
    pub by: &'static [&'static str],
    /// Which points count.
    pub only: Vec<Only>,
}

impl Graph {
    fn of_panel(panel: &Panel) -> Self {
        let asked = |query: &Query| Asked {
            from: query.from,
            lines: query.lines.to_vec(),
            by: query.by,
            only: query.only.to_vec(),
        };
        let Panel { title, draw, unit, marks, queries } = *panel;
        Self {
            title: title.into(),
            help: "",
            draw,
            unit,
            marks,
            queries: queries.iter().map(asked).collect(),
        }
    }

    fn of_column(column: &Column, columns: &Columns) -> Self {
        let (figure, lines) = match &column.value {
            Value::Of(figure) => (figure, figure.fields.iter().map(|field| line(field, figure)).collect()),
            Value::Rest(figure) => {
                let lines = figure.fields.iter().map(|field| Line { how: How::Rest, ..line(field, figure) });
                (figure, lines.collect())
            }
            Value::Percent(part, whole) => {
                let line = Line {
                    name: column.title,
                    of: whole.fields.first().copied(),
                    scale: 100.0,
                    ..line(part.fields[0], part)
                };
                (part, vec![line])
            }
        };
        let only = figure.only.iter().map(|(tag, value)| match *value {
            "" => Only::Lacks(tag),
            value => Only::Is(tag, value),
        });
        let only = only.chain(columns.only.iter().copied()).collect();
        Self {
            title: columns.title(column),
            help: column.help,
            draw: columns.draw,
            unit: Unit::of(column.unit),
            marks: column.thresholds.map(|marks| [marks.warn, marks.critical]),
            queries: vec![Asked { from: figure.measurement, lines, by: columns.by, only }],
        }
    }
}

/// The line of a figure's field.
fn line(field: &'static str, figure: &Figure) -> Line {
    let how = match (figure.how, figure.across) {
        (views::How::Rate, Across::Sum) => How::Rate,
        (views::How::Rate, Across::Max) => How::HighestRate,
        (views::How::Gauge, Across::Sum) => How::Sum,
        (views::How::Gauge, Across::Max) => How::Max,
    };
    Line { name: field, field, of: None, how, scale: figure.scale }
}

/// Lines of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// The measurement.
    pub from: &'static str,
    /// Its lines, all made in the same way.
    pub lines: &'static [Line],
    /// The tags that have a line each.
    pub by: &'static [&'static str],
    /// Which points count.
    pub only: &'static [Only],
}

/// One field of a query.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// What it is called.
    pub name: &'static str,
    /// The field.
    pub field: &'static str,
    /// The field that it is a part of: the line is this part, in per cent where the scale is 100.
    pub of: Option<&'static str>,
    /// How numbers become one.
    pub how: How,
    /// What the number is multiplied by.
    pub scale: f64,
}

/// How the numbers of a moment, of all series of a group, become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// A counter's rate a second, added up.
    Rate,
    /// The highest rate of a counter a second.
    HighestRate,
    /// Added up.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Max,
    /// What their mean leaves of 100.
    Rest,
    /// How many groups there were, of the whole time.
    Groups,
}

/// A condition on a tag.
#[derive(Clone, Copy, Debug)]
pub enum Only {
    /// It has this value.
    Is(&'static str, &'static str),
    /// It is there.
    Has(&'static str),
    /// It is not.
    Lacks(&'static str),
}

impl Only {
    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Is(tag, _) | Self::Has(tag) | Self::Lacks(tag) => tag,
        }
    }
}

pub(super) const fn panel(title: &'static str, draw: Draw, unit: Unit, queries: &'static [Query]) -> Panel {
    Panel { title, draw, unit, queries, marks: None }
}

pub(super) const fn query(from: &'static str, lines: &'static [Line], by: &'static [&'static str]) -> Query {
    Query { from, lines, by, only: &[] }
}

pub(super) const fn only(query: Query, only: &'static [Only]) -> Query {
    Query { only, ..query }
}

const fn made(name: &'static str, field: &'static str, how: How) -> Line {
    Line { name, field, of: None, how, scale: 1.0 }
}

/// A counter's rate a second.
pub(super) const fn rate(name: &'static str, field: &'static str) -> Line {
    made(name, field, How::Rate)
}

/// The rate of a counter of nanoseconds, in per cent of the time: 100 is one CPU, or one task that waits all the time.
pub(super) const fn share(name: &'static str, field: &'static str) -> Line {
    Line { scale: 1e-7, ..made(name, field, How::Rate) }
}

pub(super) const fn sum(name: &'static str, field: &'static str) -> Line {
    made(name, field, How::Sum)
}

pub(super) const fn mean(name: &'static str, field: &'static str) -> Line {
    made(name, field, How::Mean)
}

pub(super) const fn max(name: &'static str, field: &'static str) -> Line {
    made(name, field, How::Max)
}

/// What a percentage leaves of the whole: busy, of a field that says idle.
pub(super) const fn rest(name: &'static str, field: &'static str) -> Line {
    made(name, field, How::Rest)
}

pub(super) const fn groups(name: &'static str, field: &'static str) -> Line {
    made(name, field, How::Groups)
}
