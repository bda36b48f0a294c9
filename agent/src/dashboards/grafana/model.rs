//! The form of Grafana's dashboards: its JSON model, as far as these files use it. Nothing else is taken when they are read.

use serde::{Deserialize, Serialize};

/// A dashboard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrafanaDashboard {
    /// What an import asks for.
    #[serde(rename = "__inputs")]
    pub inputs: Vec<Input>,
    /// What has to be installed.
    #[serde(rename = "__requires")]
    pub requires: Vec<Requirement>,
    /// Its id, which is the database's.
    pub id: Option<u64>,
    /// Its name in addresses, of up to forty characters.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// What it shows.
    pub description: String,
    /// What it is found by.
    pub tags: Vec<String>,
    /// Whether it can be changed.
    pub editable: bool,
    /// The version of this form.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// Its own version.
    pub version: u32,
    /// How often it is drawn anew.
    pub refresh: String,
    /// What time it shows.
    pub time: TimeRange,
    /// `browser`, or a time zone.
    pub timezone: String,
    /// 1 has the line under the mouse in all panels.
    #[serde(rename = "graphTooltip")]
    pub graph_tooltip: u32,
    /// Its variables.
    pub templating: Templating,
    /// What is marked in all panels.
    pub annotations: Annotations,
    /// Other dashboards.
    pub links: Vec<Link>,
    /// Its panels.
    pub panels: Vec<PanelModel>,
}

/// What an import asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Input {
    /// What stands for it: `DS_INFLUXDB`.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// What it is for.
    pub description: String,
    /// `datasource`.
    pub r#type: String,
    /// The kind of data source.
    pub plugin_id: String,
    /// Its name for people.
    pub plugin_name: String,
}

/// What has to be installed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// `grafana`, `datasource` or `panel`.
    pub r#type: String,
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The lowest version.
    pub version: String,
}

/// From when to when.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeRange {
    /// The begin.
    pub from: String,
    /// The end.
    pub to: String,
}

/// The variables.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Templating {
    /// In their order.
    pub list: Vec<Variable>,
}

/// A variable.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Variable {
    /// Its name in queries.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// Where its values come from.
    pub r#type: VariableType,
    /// The query of its values; the kind of data source.
    pub query: String,
    /// The data source that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<DataSource>,
    /// 0: it is shown with its name.
    pub hide: u32,
    /// 1 asks when the dashboard is loaded, 2 whenever the time changes.
    pub refresh: u32,
    /// 1 is by the alphabet.
    pub sort: u32,
    /// Whether several values can be chosen.
    pub multi: bool,
    /// Whether all can.
    pub include_all: bool,
    /// What stands for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_value: Option<String>,
    /// What is chosen at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Current>,
}

/// Where a variable's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VariableType {
    /// The data sources there are.
    Datasource,
    /// A query.
    Query,
}

/// What is chosen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    /// For people.
    pub text: String,
    /// The value; `$__all` is all.
    pub value: String,
}

/// A data source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Its kind.
    pub r#type: String,
    /// Which one.
    pub uid: String,
}

/// What is marked in all panels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotations {
    /// Nothing.
    pub list: Vec<()>,
}

/// Other dashboards.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Link {
    /// What is shown.
    pub title: String,
    /// `dashboards`: those with a tag.
    pub r#type: String,
    /// What is drawn.
    pub icon: String,
    /// More about it.
    pub tooltip: String,
    /// Where to, of a link.
    pub url: String,
    /// The tags.
    pub tags: Vec<String>,
    /// Whether it is a list.
    pub as_dropdown: bool,
    /// Whether it opens another window.
    pub target_blank: bool,
    /// Whether the variables go with it.
    pub include_vars: bool,
    /// Whether the time goes with it.
    pub keep_time: bool,
}

/// A panel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PanelModel {
    /// Its number.
    pub id: u32,
    /// Which plugin draws it.
    pub r#type: PanelType,
    /// Its title.
    pub title: String,
    /// What it says.
    pub description: String,
    /// The data source.
    pub datasource: DataSource,
    /// Its place.
    pub grid_pos: GridPos,
    /// The shortest time from one point to the next.
    pub interval: String,
    /// Its queries.
    pub targets: Vec<Target>,
    /// How its fields are drawn.
    pub field_config: FieldConfig,
    /// What its plugin is told.
    pub options: serde_json::Value,
    /// What becomes of the answers.
    pub transformations: Vec<Transformation>,
}

/// Which plugin draws a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PanelType {
    /// Lines and areas.
    Timeseries,
    /// A number.
    Stat,
    /// A table.
    Table,
}

/// A place: columns of 24, and rows.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridPos {
    /// From the left.
    pub x: u32,
    /// From above.
    pub y: u32,
    /// Columns.
    pub w: u32,
    /// Rows.
    pub h: u32,
}

/// A query of a panel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// Its name in the panel.
    pub ref_id: String,
    /// The data source.
    pub datasource: DataSource,
    /// The query.
    pub query: String,
    /// InfluxQL: written as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_query: Option<bool>,
    /// InfluxQL: `time_series` or `table`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_format: Option<String>,
    /// InfluxQL: what lines are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// How fields are drawn.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldConfig {
    /// Of all.
    pub defaults: FieldDefaults,
    /// Of some.
    pub overrides: Vec<()>,
}

/// How all fields are drawn.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldDefaults {
    /// The unit, by Grafana's name.
    pub unit: String,
    /// The lowest number of the axis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// From where numbers are marked.
    pub thresholds: Thresholds,
    /// How colours are chosen.
    pub color: FieldColor,
    /// What the plugin is told.
    pub custom: serde_json::Value,
}

/// From where numbers are marked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// `absolute`.
    pub mode: String,
    /// In rising order; the first has no number.
    pub steps: Vec<Step>,
}

/// From this number on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The colour.
    pub color: String,
    /// The number.
    pub value: Option<f64>,
}

/// How colours are chosen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldColor {
    /// `palette-classic` or `thresholds`.
    pub mode: String,
}

/// What becomes of the answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transformation {
    /// Which.
    pub id: String,
    /// How.
    pub options: serde_json::Value,
}
