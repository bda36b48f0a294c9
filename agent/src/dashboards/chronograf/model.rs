//! The form of Chronograf's files.
//!
//! The types are those of Chronograf's own API, as its published `swagger.json` and what its export writes have them; nothing
//! else is taken when they are read.

use serde::{Deserialize, Serialize};

/// A file as Chronograf exports and imports it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// About the file.
    pub meta: Meta,
    /// The dashboard.
    pub dashboard: Dashboard,
}

/// About a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Meta {
    /// The version whose form it has.
    pub chronograf_version: String,
    /// The sources that it speaks of by their ids.
    pub sources: NoSources,
}

/// No source is spoken of: whoever imports the file chooses one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSources {}

/// A dashboard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    /// Its id, which an import replaces.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of an organization; the default one's where it is empty.
    pub organization: String,
    /// Its cells.
    pub cells: Vec<Cell>,
    /// Its template variables.
    pub templates: Vec<Template>,
}

/// A cell of a dashboard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cell {
    /// Its id.
    pub i: String,
    /// Columns from the left, of twelve.
    pub x: u32,
    /// Rows from above.
    pub y: u32,
    /// Columns.
    pub w: u32,
    /// Rows.
    pub h: u32,
    /// Its title.
    pub name: String,
    /// What it shows.
    pub queries: Vec<CellQuery>,
    /// How its axes are.
    pub axes: Axes,
    /// How it is drawn.
    pub r#type: CellType,
    /// Its colours, and from where.
    pub colors: Vec<Color>,
    /// Where its legend is; nowhere while it is empty.
    pub legend: NoLegend,
    /// How a table is.
    pub table_options: TableOptions,
    /// The columns of a table.
    pub field_options: Vec<FieldOption>,
    /// How times are written.
    pub time_format: String,
    /// How numbers are written.
    pub decimal_places: DecimalPlaces,
    /// A text instead of a graph.
    pub note: String,
    /// When it is shown.
    pub note_visibility: NoteVisibility,
}

/// A legend that is not there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoLegend {}

/// When a note is shown.
#[derive(Debug, Serialize, Deserialize)]
pub enum NoteVisibility {
    /// Always.
    #[serde(rename = "default")]
    Default,
    /// Without data.
    #[serde(rename = "showWhenNoData")]
    ShowWhenNoData,
}

/// How a cell is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellType {
    /// Lines.
    Line,
    /// Areas, one on the other.
    LineStacked,
    /// The last number.
    SingleStat,
    /// A table.
    Table,
}

/// A query of a cell.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CellQuery {
    /// The query.
    pub query: String,
    /// The same as its own editor has it.
    pub query_config: QueryConfig,
    /// The source; whichever is looked at where it is empty.
    pub source: String,
    /// The language.
    pub r#type: Language,
}

/// A query's language.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// InfluxQL.
    Influxql,
    /// Flux.
    Flux,
}

/// What the editor of queries knows of one: its text alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct QueryConfig {
    /// Empty, as is whatever the text says.
    pub database: String,
    /// Likewise.
    pub measurement: String,
    /// Likewise.
    pub retention_policy: String,
    /// Likewise.
    pub fields: Vec<String>,
    /// Likewise.
    pub tags: std::collections::BTreeMap<String, Vec<String>>,
    /// Likewise.
    pub group_by: GroupBy,
    /// Likewise.
    pub are_tags_accepted: bool,
    /// The query.
    pub raw_text: String,
    /// Likewise empty.
    pub range: Option<()>,
    /// Likewise.
    pub shifts: Option<()>,
}

/// How the editor of queries groups.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupBy {
    /// By time.
    pub time: String,
    /// By tags.
    pub tags: Vec<String>,
}

/// The axes of a cell.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axes {
    /// From left to right.
    pub x: Axis,
    /// From below.
    pub y: Axis,
    /// The other one.
    pub y2: Axis,
}

/// An axis.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// From where to where; by the numbers where empty.
    pub bounds: [String; 2],
    /// Its title.
    pub label: String,
    /// Before each number.
    pub prefix: String,
    /// After each number.
    pub suffix: String,
    /// Whether numbers are shortened by 1,000 or 1,024.
    pub base: Base,
    /// Its scale.
    pub scale: Scale,
}

/// What numbers are shortened by.
#[derive(Debug, Serialize, Deserialize)]
pub enum Base {
    /// By 1,000.
    #[serde(rename = "10")]
    Ten,
    /// By 1,024.
    #[serde(rename = "2")]
    Two,
    /// Not at all.
    #[serde(rename = "raw")]
    Raw,
}

/// The scale of an axis.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Linear.
    Linear,
    /// Logarithmic.
    Log,
}

/// A colour, and what it is of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Color {
    /// Its id; `base` for the first.
    pub id: String,
    /// What is coloured.
    pub r#type: ColorType,
    /// `#rrggbb`.
    pub hex: String,
    /// Its name.
    pub name: String,
    /// From which number on.
    pub value: String,
}

/// What is coloured.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorType {
    /// A number.
    Text,
    /// Lines.
    Scale,
}

/// How a table is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TableOptions {
    /// A row for each time.
    pub vertical_time_axis: bool,
    /// The column that it is sorted by.
    pub sort_by: FieldOption,
    /// What becomes of long texts.
    pub wrapping: String,
    /// Whether the first column stays.
    pub fix_first_column: bool,
}

/// A column of a table.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FieldOption {
    /// Its name.
    pub internal_name: String,
    /// Its name for people, where that is another one.
    pub display_name: String,
    /// Whether it is shown.
    pub visible: bool,
}

/// How numbers are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DecimalPlaces {
    /// Whether they have so many places.
    pub is_enforced: bool,
    /// How many.
    pub digits: u32,
}

/// A template variable.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Template {
    /// Its id.
    pub id: String,
    /// What is replaced: `:env:`.
    pub temp_var: String,
    /// What can be chosen; asked for when the dashboard is shown.
    pub values: Vec<TemplateValue>,
    /// Where the values come from.
    pub r#type: TemplateType,
    /// What it is called.
    pub label: String,
    /// The query that gives the values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<TemplateQuery>,
}

/// Where a variable's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TemplateType {
    /// The databases of the server.
    Databases,
    /// A query of the person's.
    Influxql,
    /// What a person writes.
    Text,
}

/// A value of a variable.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TemplateValue {
    /// The value.
    pub value: String,
    /// How it is written into a query.
    pub r#type: TemplateValueType,
    /// Whether it is chosen.
    pub selected: bool,
}

/// How a value is written into a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TemplateValueType {
    /// Within double quotes.
    Database,
    /// As it is.
    Influxql,
    /// As it is.
    Constant,
}

/// The query that gives a variable's values.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TemplateQuery {
    /// The query.
    pub influxql: String,
    /// Empty, since the query says it.
    pub measurement: String,
    /// Likewise.
    pub tag_key: String,
    /// Likewise.
    pub field_key: String,
}

/// A canned layout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Its id.
    pub id: String,
    /// It is shown for hosts that write this measurement.
    pub measurement: String,
    /// What it is a part of.
    pub app: String,
    /// Whether Chronograf places the cells.
    pub autoflow: bool,
    /// Its cells.
    pub cells: Vec<LayoutCell>,
}

/// A cell of a canned layout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutCell {
    /// Columns from the left, of twelve.
    pub x: u32,
    /// Rows from above.
    pub y: u32,
    /// Columns.
    pub w: u32,
    /// Rows.
    pub h: u32,
    /// Its id.
    pub i: String,
    /// Its title.
    pub name: String,
    /// What it shows.
    pub queries: Vec<LayoutQuery>,
    /// How it is drawn.
    pub r#type: CellType,
}

/// A query of a canned layout, to which Chronograf adds the time, the host, and how it is grouped by time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutQuery {
    /// Up to its conditions.
    pub query: String,
    /// The title of its axis.
    pub label: String,
    /// What it is grouped by.
    pub groupbys: Vec<String>,
    /// Its conditions.
    pub wheres: Vec<String>,
}
