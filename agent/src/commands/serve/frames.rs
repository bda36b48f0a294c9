//! What the page is sent: the views once, and at each gather the rows of the one that it shows. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::schema::views::{BUSY, Column, Level, VIEWS, View, of_rows};
use crate::views::machine::Machine;
use crate::views::sampler::Sampler;
use crate::views::table::{Order, Row};

/// Rows that are sent, the busiest first; no person looks at more.
const MAX_ROWS: usize = 2_000;

/// The view of this key, else the first.
pub(super) fn view(key: &str) -> &'static View {
    of_rows().find(|view| view.key == key).unwrap_or(&VIEWS[0])
}

/// The event that says which views and columns there are.
pub(super) fn views() -> Bytes {
    let column = |column: &Column| {
        let [warn, critical] = column
            .thresholds
            .map_or([Value::Null, Value::Null], |marks| [json!(marks.warn), json!(marks.critical)]);
        json!({
            "key": column.key, "title": column.title, "unit": column.unit.name(), "help": column.help,
            "warn": warn, "critical": critical,
        })
    };
    let views = of_rows().map(|view| {
        let columns: Vec<Value> = view.columns().map(column).collect();
        json!({ "key": view.key, "title": view.title, "help": view.help, "columns": columns })
    });
    event("views", &views.collect())
}

fn event(name: &str, data: &Value) -> Bytes {
    // JSON has no line ends of its own.
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// The events of one gather, each made when somebody watches its view.
pub(super) struct Frames<'a> {
    sampler: &'a Sampler,
    made: HashMap<&'static str, Option<Bytes>>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(sampler: &'a Sampler) -> Self {
        Self { sampler, made: HashMap::new() }
    }

    /// The event with the rows of a view; `None` after the first gather, which has no rates.
    pub(super) fn rows(&mut self, view: &'static View) -> Option<Bytes> {
        self.made.entry(view.key).or_insert_with(|| rows(self.sampler, view)).clone()
    }
}

fn rows(sampler: &Sampler, view: &'static View) -> Option<Bytes> {
    let mut table = sampler.table(view)?;
    table.sort(Order::Weighted(BUSY));
    let row =
        |row: &Row| json!([row.name, row.values.iter().map(|value| value.map(short)).collect::<Vec<_>>()]);
    let rows: Vec<Value> = table.rows.iter().take(MAX_ROWS).map(row).collect();
    let data = json!({
        "time": sampler.time()?.0 / 1_000_000,
        "machine": machine(&Machine::of(sampler)),
        "left": table.rows.len().saturating_sub(MAX_ROWS),
        "rows": rows,
    });
    Some(event("rows", &data))
}

/// The machine's line: what a column says, its title, unit, value, and how bad that is.
fn machine(machine: &Machine) -> Vec<Value> {
    let columns = VIEWS.iter().filter(|view| view.key == "machine").flat_map(View::columns);
    let columns = columns.filter_map(|column| Some((column, machine.value(column.key)?)));
    columns
        .map(|(column, value)| {
            json!([column.help, column.title, column.unit.name(), short(value), mark(column.level(value))])
        })
        .collect()
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Fine => "",
        Level::Warn => "warn",
        Level::Critical => "critical",
    }
}

/// Four digits: more is not drawn.
fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Point, Timestamp};

    fn data(frame: &Bytes, name: &str) -> Value {
        let text = std::str::from_utf8(frame).unwrap();
        let data =
            text.strip_prefix(&format!("event: {name}\ndata: ")).unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'));
        serde_json::from_str(data).unwrap()
    }

    #[test]
    fn the_busiest_row_is_first_and_has_a_value_for_each_column() {
        let mut sampler = Sampler::default();
        for second in 1..3 {
            let point = |name: &'static str, busy: i64| {
                Point::new("cgroup_cpu", Timestamp(second * 1_000_000_000))
                    .tag("container_name", name)
                    .field("usage_ns", second * busy)
            };
            assert!(Frames::new(&sampler).rows(view("all")).is_none());
            sampler.push(vec![point("calm\n", 1_000_000), point("busy", 500_000_000)]);
        }
        let frame = Frames::new(&sampler).rows(view("containers")).unwrap();
        let rows = data(&frame, "rows");
        assert_eq!((&rows["time"], &rows["left"]), (&json!(2_000), &json!(0)));
        let cpu: Vec<(&str, f64)> = rows["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row[0].as_str().unwrap(), row[1][0].as_f64().unwrap()))
            .collect();
        assert_eq!(cpu, [("busy", 50.0), ("calm\n", 0.1)]);
        let views = data(&views(), "views");
        let columns = views[0]["columns"].as_array().unwrap().len();
        assert_eq!(rows["rows"][0][1].as_array().unwrap().len(), columns);
        assert!(views.as_array().unwrap().iter().all(|view| view["key"] != "machine"));
    }

    #[test]
    fn numbers_have_four_digits() {
        let shorts = [123_456.0, 0.123_456, -1.234_56, 0.0, f64::NAN, 7.0].map(short);
        assert_eq!(shorts, [123_500.0, 0.1235, -1.235, 0.0, 0.0, 7.0]);
    }
}
