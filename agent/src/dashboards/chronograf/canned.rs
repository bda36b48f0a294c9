//! Canned layouts: of each measurement its graphs, which Chronograf shows for a host that writes it.

use super::drawn::{cell_type, label, title};
use super::model::{Layout, LayoutCell, LayoutQuery};
use crate::dashboards::board::{Asked, Board, Draw, Graph, How, Line, Only};
use crate::dashboards::influxql::scaled;
use crate::dashboards::layout::{Place, places};
use crate::dashboards::names::id;
use crate::schema::MEASUREMENTS;

/// The canned layouts: of each measurement of this agent's own the graphs that have it alone, once each.
#[must_use]
pub fn layouts(boards: &[Board]) -> Vec<Layout> {
    let graphs: Vec<Graph> = boards.iter().flat_map(Board::graphs).collect();
    let own = MEASUREMENTS.iter().filter(|measurement| measurement.is_own());
    own.filter_map(|measurement| layout(measurement.name, &graphs)).collect()
}

fn layout(measurement: &str, all: &[Graph]) -> Option<Layout> {
    let mut graphs: Vec<&Graph> = Vec::new();
    for graph in all {
        let is_of_it = graph.queries.iter().all(|asked| asked.from == measurement);
        let is_drawn = matches!(graph.draw, Draw::Lines | Draw::Stacked);
        if is_of_it && is_drawn && !graphs.iter().any(|other| is_same(graph, other)) {
            graphs.push(graph);
        }
    }
    let cells = places(graphs.iter().copied());
    let cells: Vec<LayoutCell> =
        cells.into_iter().map(|(graph, place)| cell(measurement, graph, place)).collect();
    let id = id(&format!("layout {measurement}"));
    let (measurement, app) = (measurement.to_owned(), "seismograf".to_owned());
    (!cells.is_empty()).then_some(Layout { id, measurement, app, autoflow: true, cells })
}

/// Whether a layout, in which each series has a line of its own, would have nothing of a graph that another has not.
fn is_same(graph: &Graph, other: &Graph) -> bool {
    let lines = |graph: &Graph| -> Vec<String> {
        let lines = graph.queries.iter().flat_map(|asked| asked.lines.iter().map(move |line| (asked, line)));
        lines.map(|(asked, line)| format!("{} {:?} {:?}", number(line), line.of, wheres(asked))).collect()
    };
    let (lines, others) = (lines(graph), lines(other));
    lines.iter().all(|line| others.contains(line))
}

/// The conditions that say what is shown; those that only tell kinds of rows apart have no place here.
fn wheres(asked: &Asked) -> Vec<String> {
    let conditions = asked.only.iter().filter_map(|only| match only {
        Only::Is(tag, value) => Some(format!("\"{tag}\" = '{value}'")),
        Only::Lacks(tag) => Some(format!("\"{tag}\" = ''")),
        Only::Has(_) => None,
    });
    conditions.collect()
}

/// The number of a line at one moment, of one series.
fn number(line: &Line) -> String {
    let of = |field: &str| match line.how {
        How::Rate | How::HighestRate => format!("non_negative_derivative(max(\"{field}\"), 1s)"),
        How::Max => format!("max(\"{field}\")"),
        How::Rest => format!("100 - mean(\"{field}\")"),
        How::Sum | How::Mean | How::Groups => format!("mean(\"{field}\")"),
    };
    let whole = line.of.map(|whole| format!(" / {}", of(whole))).unwrap_or_default();
    scaled(of(line.field), line.scale) + &whole
}

fn cell(measurement: &str, graph: &Graph, Place { x, y, w, h }: Place) -> LayoutCell {
    let queries = graph.queries.iter().map(|asked| {
        let lines = asked.lines.iter().map(|line| format!("{} AS \"{}\"", number(line), line.name));
        let lines: Vec<String> = lines.collect();
        LayoutQuery {
            query: format!("SELECT {} FROM \":db:\".\":rp:\".\"{}\"", lines.join(", "), asked.from),
            label: label(graph.unit).0.into(),
            groupbys: vec!["*".into()],
            wheres: wheres(asked),
        }
    });
    let i = id(&format!("layout {measurement} {}", graph.title));
    let (queries, r#type) = (queries.collect(), cell_type(graph.draw));
    LayoutCell { x, y, w, h, i, name: title(graph), queries, r#type }
}
