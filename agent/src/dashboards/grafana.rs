//! Dashboards for Grafana: one file for InfluxQL and one for Flux of each.

mod model;

use serde_json::json;

pub use self::model::{
    Annotations, Current, DataSource, FieldColor, FieldConfig, FieldDefaults, GrafanaDashboard, GridPos,
    Input, Link, PanelModel, PanelType, Requirement, Step, Target, Templating, Thresholds, TimeRange,
    Transformation, Variable, VariableType,
};
use super::board::{Board, Choice, Draw, Graph, Unit};
use super::flux as fluxql;
use super::influxql::{self, Dialect};
use super::layout::{Place, places};
use super::names::chosen;

/// How Grafana writes what differs from moment to moment.
struct Grafana;

impl Dialect for Grafana {
    const SOURCE: &'static str = "";
    const TIME: &'static str = "$timeFilter";
    const INTERVAL: &'static str = "$__interval";

    fn variable(name: &str) -> String {
        format!("${name}")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    InfluxQl,
    Flux,
}

/// The version of the JSON model, of Grafana 10.
const SCHEMA_VERSION: u32 = 38;
const TAG: &str = "seismograf";
/// What an import asks for; Grafana puts the answer in its place.
const INPUT: &str = "DS_INFLUXDB";

/// A dashboard for InfluxDB 1, and 2 through its older API.
#[must_use]
pub fn influxql(board: &Board) -> GrafanaDashboard {
    dashboard(board, Asking::InfluxQl)
}

/// A dashboard for InfluxDB 2.
#[must_use]
pub fn flux(board: &Board) -> GrafanaDashboard {
    dashboard(board, Asking::Flux)
}

fn dashboard(board: &Board, language: Asking) -> GrafanaDashboard {
    let (suffix, name) = match language {
        Asking::InfluxQl => ("", "InfluxQL"),
        Asking::Flux => ("-flux", "Flux"),
    };
    let graphs = board.graphs();
    let panels = places(&graphs).into_iter().zip(1..);
    let panels = panels.map(|((graph, place), id)| panel(board, graph, place, id, language)).collect();
    let choices = board.choices.iter().map(|choice| variable(board, choice, language));
    GrafanaDashboard {
        inputs: vec![Input {
            name: INPUT.into(),
            label: "InfluxDB".into(),
            description: format!("The database that the agent writes to, asked in {name}"),
            r#type: "datasource".into(),
            plugin_id: "influxdb".into(),
            plugin_name: "InfluxDB".into(),
        }],
        requires: requirements(),
        id: None,
        uid: format!("seismograf-{}{suffix}", board.file),
        title: board.title.into(),
        description: board.help.into(),
        tags: vec![TAG.into()],
        editable: true,
        schema_version: SCHEMA_VERSION,
        version: 1,
        refresh: "30s".into(),
        time: TimeRange { from: "now-1h".into(), to: "now".into() },
        timezone: "browser".into(),
        graph_tooltip: 1,
        templating: Templating { list: std::iter::once(source_variable()).chain(choices).collect() },
        annotations: Annotations { list: Vec::new() },
        links: vec![Link {
            title: "Seismograf".into(),
            r#type: "dashboards".into(),
            icon: "external link".into(),
            tooltip: String::new(),
            url: String::new(),
            tags: vec![TAG.into()],
            as_dropdown: true,
            target_blank: false,
            include_vars: true,
            keep_time: true,
        }],
        panels,
    }
}

fn requirements() -> Vec<Requirement> {
    let all = [
        ("grafana", "grafana", "Grafana", "10.0.0"),
        ("datasource", "influxdb", "InfluxDB", "1.0.0"),
        ("panel", "timeseries", "Time series", ""),
        ("panel", "stat", "Stat", ""),
        ("panel", "table", "Table", ""),
    ];
    let requirement = |(r#type, id, name, version): (&str, &str, &str, &str)| Requirement {
        r#type: r#type.into(),
        id: id.into(),
        name: name.into(),
        version: version.into(),
    };
    all.map(requirement).into()
}

fn data_source() -> DataSource {
    DataSource { r#type: "influxdb".into(), uid: "${datasource}".into() }
}

/// Which data source is asked: what an import was told, and where no import asked, the first one there is.
fn source_variable() -> Variable {
    let chosen = format!("${{{INPUT}}}");
    Variable {
        name: "datasource".into(),
        label: "Database".into(),
        r#type: VariableType::Datasource,
        query: "influxdb".into(),
        datasource: None,
        hide: 0,
        refresh: 1,
        sort: 0,
        multi: false,
        include_all: false,
        all_value: None,
        current: Some(Current { text: chosen.clone(), value: chosen }),
    }
}

fn variable(board: &Board, choice: &Choice, language: Asking) -> Variable {
    let (tag, from) = (choice.tag, choice.from);
    // Only what there is in the cluster, and on the nodes, that were chosen before.
    let before = chosen(board, from).take_while(|other| other.tag != tag);
    let query = match language {
        Asking::InfluxQl => {
            let conditions: Vec<String> = before
                .map(|other| {
                    let or_none = if other.is_optional { "|" } else { "" };
                    format!("\"{0}\" =~ /^(${0}{or_none})$/", other.tag)
                })
                .collect();
            let conditions = conditions.join(" AND ");
            let conditions = if conditions.is_empty() { conditions } else { format!(" WHERE {conditions}") };
            format!("SHOW TAG VALUES FROM \"{from}\" WITH KEY = \"{tag}\"{conditions}")
        }
        Asking::Flux => {
            let conditions = before.map(|other| {
                let tag = other.tag;
                let or_none =
                    if other.is_optional { format!("not exists r[\"{tag}\"] or ") } else { String::new() };
                format!(" and ({or_none}r[\"{tag}\"] =~ /^${{{tag}:regex}}$/)")
            });
            let conditions: String = conditions.collect();
            format!(
                "import \"influxdata/influxdb/schema\"\nschema.tagValues(bucket: v.defaultBucket, tag: \"{tag}\", \
                 predicate: (r) => r._measurement == \"{from}\"{conditions})"
            )
        }
    };
    let all = (!choice.is_one).then(|| Current { text: "All".into(), value: "$__all".into() });
    Variable {
        name: tag.into(),
        label: choice.label.into(),
        r#type: VariableType::Query,
        query,
        datasource: Some(data_source()),
        hide: 0,
        refresh: 2,
        sort: 1,
        multi: !choice.is_one,
        include_all: !choice.is_one,
        all_value: (!choice.is_one).then(|| ".*".into()),
        current: all,
    }
}

fn panel(board: &Board, graph: &Graph, place: Place, id: u32, language: Asking) -> PanelModel {
    let Place { x, y, w, h } = place;
    let (options, custom) = drawn(graph);
    let queries: Vec<(String, Option<String>)> = match language {
        Asking::InfluxQl => {
            let query = |asked| influxql::query::<Grafana>(board, graph.draw, asked);
            graph.queries.iter().map(|asked| (query(asked), Some(alias(asked.by)))).collect()
        }
        Asking::Flux => {
            let lines =
                graph.queries.iter().flat_map(|asked| asked.lines.iter().map(move |line| (asked, line)));
            lines.map(|(asked, line)| (fluxql::query(board, graph.draw, asked, line), None)).collect()
        }
    };
    let format = if graph.draw == Draw::Top { "table" } else { "time_series" };
    let targets = queries.into_iter().zip('A'..).map(|((query, alias), name)| Target {
        ref_id: name.into(),
        datasource: data_source(),
        query,
        raw_query: alias.is_some().then_some(true),
        result_format: alias.is_some().then(|| format.into()),
        alias: alias.filter(|_| graph.draw != Draw::Top),
    });
    PanelModel {
        id,
        r#type: match graph.draw {
            Draw::Lines | Draw::Stacked => PanelType::Timeseries,
            Draw::Number => PanelType::Stat,
            Draw::Top => PanelType::Table,
        },
        title: graph.title.clone(),
        description: graph.help.into(),
        datasource: data_source(),
        grid_pos: GridPos { x: 2 * x, y: 2 * y, w: 2 * w, h: 2 * h },
        // The interval of the default configuration: shorter moments would be without a number.
        interval: "10s".into(),
        targets: targets.collect(),
        field_config: FieldConfig {
            defaults: FieldDefaults {
                unit: unit(graph.unit).into(),
                min: (graph.unit != Unit::Nanos).then_some(0.0),
                thresholds: thresholds(graph.marks),
                color: FieldColor {
                    mode: if graph.draw == Draw::Number { "thresholds" } else { "palette-classic" }.into(),
                },
                custom,
            },
            overrides: Vec::new(),
        },
        options,
        transformations: transformations(graph.draw),
    }
}

/// What a line is called: what it is, and the values of its tags.
fn alias(by: &[&str]) -> String {
    std::iter::once("$col".to_owned())
        .chain(by.iter().map(|tag| format!("$tag_{tag}")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What the plugin of a panel is told, and how its fields are drawn.
fn drawn(graph: &Graph) -> (serde_json::Value, serde_json::Value) {
    match graph.draw {
        Draw::Lines | Draw::Stacked => {
            let is_stacked = graph.draw == Draw::Stacked;
            let options = json!({
                "legend": { "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": true,
                            "sortBy": "Max", "sortDesc": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            });
            let custom = json!({
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": if is_stacked { 40 } else { 0 },
                "showPoints": "never",
                "spanNulls": true,
                "stacking": { "mode": if is_stacked { "normal" } else { "none" }, "group": "A" },
                "thresholdsStyle": { "mode": if graph.marks.is_some() { "dashed" } else { "off" } },
            });
            (options, custom)
        }
        Draw::Number => {
            let options = json!({
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "textMode": "auto",
            });
            (options, json!({}))
        }
        Draw::Top => {
            let custom = json!({ "align": "auto", "cellOptions": { "type": "auto" } });
            (json!({ "showHeader": true, "cellHeight": "sm" }), custom)
        }
    }
}

/// A table has no use for the time.
fn transformations(draw: Draw) -> Vec<Transformation> {
    if draw != Draw::Top {
        return Vec::new();
    }
    let hidden =
        json!({ "excludeByName": { "Time": true, "_field": true }, "indexByName": {}, "renameByName": {} });
    vec![Transformation { id: "organize".into(), options: hidden }]
}

fn thresholds(marks: Option<[f64; 2]>) -> Thresholds {
    let first = Step { color: "green".into(), value: None };
    let marks = marks.into_iter().flatten().zip(["orange", "red"]);
    let marks = marks.map(|(value, color)| Step { color: color.into(), value: Some(value) });
    Thresholds { mode: "absolute".into(), steps: std::iter::once(first).chain(marks).collect() }
}

/// A unit by Grafana's name.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => "percent",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "binBps",
        Unit::PerSecond => "cps",
        Unit::Micros => "µs",
        Unit::Nanos => "ns",
        Unit::Seconds => "s",
        Unit::Count => "short",
    }
}
