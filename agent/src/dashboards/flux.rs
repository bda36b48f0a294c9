//! Flux of a description's queries, as Grafana runs it. Pure.

use std::fmt::Write as _;

use super::board::{Asked, Board, Draw, How, Line, Only};
use super::names::chosen;

/// The query of one line.
pub(super) fn query(board: &Board, draw: Draw, asked: &Asked, line: &Line) -> String {
    let fields = std::iter::once(line.field).chain(line.of).map(|field| format!("r._field == \"{field}\""));
    let fields: Vec<String> = fields.collect();
    let fields = if fields.len() > 1 { format!("({})", fields.join(" or ")) } else { fields.join("") };
    let mut text = format!(
        "from(bucket: v.defaultBucket)\n  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)\n  \
         |> filter(fn: (r) => r._measurement == \"{}\" and {fields})",
        asked.from
    );
    for choice in chosen(board, asked.from) {
        let tag = choice.tag;
        let or_none = if choice.is_optional { format!("not exists r[\"{tag}\"] or ") } else { String::new() };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  |> filter(fn: (r) => {or_none}r[\"{tag}\"] =~ /^${{{tag}:regex}}$/)");
    }
    for only in &asked.only {
        let _ = match only {
            Only::Is(tag, value) => write!(text, "\n  |> filter(fn: (r) => r[\"{tag}\"] == \"{value}\")"),
            Only::Has(tag) => write!(text, "\n  |> filter(fn: (r) => exists r[\"{tag}\"])"),
            Only::Lacks(tag) => write!(text, "\n  |> filter(fn: (r) => not exists r[\"{tag}\"])"),
        };
    }
    text += &numbers(line, asked.by);
    if draw == Draw::Top {
        let function = if line.how == How::Max { "max" } else { "mean" };
        let _ = write!(
            text,
            "{}\n  |> {function}()\n  |> group()\n  |> sort(columns: [\"_value\"], desc: true)\n  |> limit(n: 20)",
            group(&[], asked.by)
        );
    }
    let _ = write!(text, "\n  |> set(key: \"_field\", value: \"{}\")", line.name);
    text
}

fn group(more: &[&str], by: &[&str]) -> String {
    let columns: Vec<String> = more.iter().chain(by).map(|tag| format!("\"{tag}\"")).collect();
    format!("\n  |> group(columns: [{}])", columns.join(", "))
}

/// From the numbers of each series to those of the groups.
fn numbers(line: &Line, by: &[&str]) -> String {
    let every = |function: &str| {
        format!("\n  |> aggregateWindow(every: v.windowPeriod, fn: {function}, createEmpty: false)")
    };
    let group = |more: &[&str]| group(more, by);
    let mapped = |value: &str| format!("\n  |> map(fn: (r) => ({{r with _value: {value}}}))");
    let made = match line.how {
        How::Rate | How::HighestRate => {
            let rate = "\n  |> derivative(unit: 1s, nonNegative: true)";
            let all = if line.how == How::Rate { "sum" } else { "max" };
            format!("{}{rate}{}{}", every("max"), group(&["_field"]), every(all))
        }
        How::Sum => format!("{}{}{}", every("mean"), group(&["_field"]), every("sum")),
        How::Mean => format!("{}{}", group(&["_field"]), every("mean")),
        How::Max => format!("{}{}", group(&["_field"]), every("max")),
        How::Rest => format!("{}{}{}", group(&["_field"]), every("mean"), mapped("100.0 - r._value")),
        How::Groups => format!("{}\n  |> last()\n  |> group()\n  |> count()", group(&[])),
    };
    let scale = line.scale;
    match line.of {
        Some(whole) => {
            let columns =
                "\n  |> pivot(rowKey: [\"_time\"], columnKey: [\"_field\"], valueColumn: \"_value\")";
            let (part, none) = (line.field, "exists r[\"");
            let both = format!(
                "\n  |> filter(fn: (r) => {none}{part}\"] and {none}{whole}\"] and r[\"{whole}\"] > 0.0)"
            );
            let value = mapped(&format!("r[\"{part}\"] * {scale:.1} / r[\"{whole}\"]"));
            let columns_left = format!("\n  |> drop(columns: [\"{part}\", \"{whole}\"])");
            format!("{made}{}{columns}{both}{value}{columns_left}", group(&["_field"]))
        }
        None if scale == 1.0 => made,
        None if scale < 1.0 => {
            format!("{made}{}", mapped(&format!("float(v: r._value) / {:.1}", 1.0 / scale)))
        }
        None => format!("{made}{}", mapped(&format!("float(v: r._value) * {scale:.1}"))),
    }
}
