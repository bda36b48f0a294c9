//! Dashboards for Chronograf: the file that its import takes, and canned layouts, which its page of a host shows by itself.

mod canned;
mod drawn;
mod model;

pub use self::canned::layouts;
use self::drawn::{cell_type, label, title};
pub use self::model::{
    Axes, Axis, Base, Cell, CellQuery, CellType, Color, ColorType, Dashboard, DecimalPlaces, FieldOption,
    File, GroupBy, Language, Layout, LayoutCell, LayoutQuery, Meta, NoLegend, NoSources, NoteVisibility,
    QueryConfig, Scale, TableOptions, Template, TemplateQuery, TemplateType, TemplateValue,
    TemplateValueType,
};
use super::board::{Board, Draw, Graph, Unit};
use super::influxql::{self, Dialect};
use super::layout::{Place, places};
use super::names::id;

/// How Chronograf writes what differs from moment to moment.
struct Chronograf;

impl Dialect for Chronograf {
    const SOURCE: &'static str = ":database:..";
    const TIME: &'static str = "time > :dashboardTime:";
    const INTERVAL: &'static str = ":interval:";

    fn variable(name: &str) -> String {
        format!(":{name}:")
    }
}

/// The version whose export the files are like.
const VERSION: &str = "1.10.0";
/// The database that is chosen at first.
const DATABASE: &str = "telegraf";

/// A dashboard's file.
#[must_use]
pub fn dashboard(board: &Board) -> File {
    let graphs = board.graphs();
    let cells = places(&graphs).into_iter().map(|(graph, place)| cell(board, graph, place)).collect();
    File {
        meta: Meta { chronograf_version: VERSION.into(), sources: NoSources {} },
        dashboard: Dashboard {
            id: "1".into(),
            name: board.title.into(),
            organization: String::new(),
            cells,
            templates: templates(board),
        },
    }
}

fn cell(board: &Board, graph: &Graph, Place { x, y, w, h }: Place) -> Cell {
    let key = format!("{} {}", board.file, graph.title);
    let queries = graph.queries.iter().map(|asked| {
        let text = influxql::query::<Chronograf>(board, graph.draw, asked);
        CellQuery {
            query: text.clone(),
            query_config: QueryConfig {
                database: String::new(),
                measurement: String::new(),
                retention_policy: String::new(),
                fields: Vec::new(),
                tags: std::collections::BTreeMap::new(),
                group_by: GroupBy::default(),
                are_tags_accepted: false,
                raw_text: text,
                range: None,
                shifts: None,
            },
            source: String::new(),
            r#type: Language::Influxql,
        }
    });
    let time = || FieldOption { internal_name: "time".into(), display_name: String::new(), visible: true };
    let sorted_by = graph.queries.iter().flat_map(|asked| &asked.lines).map(|line| line.name).next();
    let sort_by = match (graph.draw, sorted_by) {
        (Draw::Top, Some(name)) => FieldOption { internal_name: name.into(), ..time() },
        _ => time(),
    };
    Cell {
        i: id(&key),
        x,
        y,
        w,
        h,
        name: title(graph),
        queries: queries.collect(),
        axes: axes(graph.unit),
        r#type: cell_type(graph.draw),
        colors: colors(graph, &key),
        legend: NoLegend {},
        table_options: TableOptions {
            vertical_time_axis: true,
            sort_by,
            wrapping: "truncate".into(),
            fix_first_column: false,
        },
        field_options: vec![FieldOption { visible: graph.draw != Draw::Top, ..time() }],
        time_format: "MM/DD/YYYY HH:mm:ss".into(),
        decimal_places: DecimalPlaces { is_enforced: true, digits: 2 },
        note: String::new(),
        note_visibility: NoteVisibility::Default,
    }
}

fn axes(unit: Unit) -> Axes {
    let axis = |label: &str, suffix: &str, base| Axis {
        bounds: Default::default(),
        label: label.into(),
        prefix: String::new(),
        suffix: suffix.into(),
        base,
        scale: Scale::Linear,
    };
    let (label, suffix) = label(unit);
    let base = if matches!(unit, Unit::Bytes | Unit::BytesPerSecond) { Base::Two } else { Base::Ten };
    Axes { x: axis("", "", Base::Ten), y: axis(label, suffix, base), y2: axis("", "", Base::Ten) }
}

fn colors(graph: &Graph, key: &str) -> Vec<Color> {
    let color = |n: usize, r#type, (name, hex): (&str, &str), value: String| Color {
        id: if n == 0 { "base".into() } else { id(&format!("{key} colour {n}")) },
        r#type,
        hex: hex.into(),
        name: name.into(),
        value,
    };
    if graph.draw != Draw::Number {
        const SCALE: [&str; 3] = ["#31C0F6", "#A500A5", "#FF7E27"];
        let of = |(n, hex)| color(n, ColorType::Scale, ("Nineteen Eighty Four", hex), "0".into());
        return SCALE.into_iter().enumerate().map(of).collect();
    }
    let marks = graph.marks.into_iter().flatten().zip([("pineapple", "#FFB94A"), ("ruby", "#BF3D5E")]);
    // Lower than any number.
    let base = color(0, ColorType::Text, ("laser", "#00C9FF"), "-1000000000000000000".into());
    let marks =
        marks.enumerate().map(|(n, (from, hue))| color(n + 1, ColorType::Text, hue, from.to_string()));
    std::iter::once(base).chain(marks).collect()
}

fn templates(board: &Board) -> Vec<Template> {
    let template = |name: &str, label: &str, r#type, values, influxql: Option<String>| Template {
        id: id(&format!("{} variable {name}", board.file)),
        temp_var: format!(":{name}:"),
        values,
        r#type,
        label: label.into(),
        query: influxql.map(|influxql| TemplateQuery {
            influxql,
            measurement: String::new(),
            tag_key: String::new(),
            field_key: String::new(),
        }),
    };
    let value = |value: &str, r#type| TemplateValue { value: value.into(), r#type, selected: true };
    let database = value(DATABASE, TemplateValueType::Database);
    let all = "SHOW DATABASES".to_owned();
    let mut templates =
        vec![template("database", "Database", TemplateType::Databases, vec![database], Some(all))];
    for choice in board.choices {
        let (tag, from) = (choice.tag, choice.from);
        // Chronograf's lists have no entry for all. An optional one is a list all the same: the query means all as long as it
        // has no value.
        templates.push(if choice.is_one || choice.is_optional {
            let values = format!("SHOW TAG VALUES ON :database: FROM \"{from}\" WITH KEY = \"{tag}\"");
            template(tag, choice.label, TemplateType::Influxql, Vec::new(), Some(values))
        } else {
            let any = value(".*", TemplateValueType::Constant);
            template(tag, choice.label, TemplateType::Text, vec![any], None)
        });
    }
    templates
}
