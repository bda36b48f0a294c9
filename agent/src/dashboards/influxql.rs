//! InfluxQL of a description's queries. Pure.

use std::fmt::Write as _;

use super::board::{Asked, Board, Draw, How, Line, Only};
use super::names::chosen;

/// How who shows a dashboard writes what differs from moment to moment.
pub(super) trait Dialect {
    /// What is before the name of a measurement: a database and policy, or nothing.
    const SOURCE: &'static str;
    /// The condition on the time.
    const TIME: &'static str;
    /// The time from one point to the next.
    const INTERVAL: &'static str;

    /// A variable within a regular expression.
    fn variable(name: &str) -> String;
}

/// A query as one statement.
pub(super) fn query<D: Dialect>(board: &Board, draw: Draw, asked: &Asked) -> String {
    let source = format!("{}\"{}\"", D::SOURCE, asked.from);
    let kept = format!("FROM {source} WHERE {}", conditions::<D>(board, asked));
    let by: Vec<String> = asked.by.iter().map(|tag| format!("\"{tag}\"")).collect();
    if let [Line { name, field, how: How::Groups, .. }] = asked.lines[..] {
        let one = format!("SELECT last(\"{field}\") AS \"one\" {kept} GROUP BY {}", by.join(", "));
        return format!("SELECT count(\"one\") AS \"{name}\" FROM ({one})");
    }
    let moment = format!("time({})", D::INTERVAL);
    if draw != Draw::Top {
        let groups = std::iter::once(&moment).chain(&by).cloned().collect::<Vec<_>>().join(", ");
        return format!("{} GROUP BY {groups} fill(none)", numbers::<D>(&asked.lines, &kept, &moment));
    }
    // The twenty groups with the largest of these numbers.
    let (by, name) = (by.join(", "), asked.lines.first().map_or("", |line| line.name));
    let times = format!("{} GROUP BY {moment}, {by} fill(none)", numbers::<D>(&asked.lines, &kept, &moment));
    let function = if asked.lines.iter().any(|line| line.how == How::Max) { "max" } else { "mean" };
    let groups =
        format!("SELECT {function}(\"{name}\") AS \"{name}\" FROM ({times}) WHERE {} GROUP BY {by}", D::TIME);
    format!("SELECT top(\"{name}\", {by}, 20) AS \"{name}\" FROM ({groups})")
}

/// The numbers of each moment, up to how they are grouped.
fn numbers<D: Dialect>(lines: &[Line], kept: &str, moment: &str) -> String {
    let named = |number: String, name: &str| format!("{number} AS \"{name}\"");
    if !lines.iter().any(is_of_each) {
        let all = lines.iter().map(|line| {
            let number = match line.how {
                How::Max => format!("max(\"{}\")", line.field),
                How::Rest => format!("100 - mean(\"{}\")", line.field),
                _ => format!("mean(\"{}\")", line.field),
            };
            named(scaled(number, line.scale), line.name)
        });
        return format!("SELECT {} {kept}", all.collect::<Vec<_>>().join(", "));
    }
    // Of each series first: what is added up, or compared with what was before, is one series.
    let fields = lines.iter().flat_map(|line| [(line, Some(line.field)), (line, line.of)]);
    let each = fields.filter_map(|(line, field)| {
        let field = field?;
        let number = match line.how {
            How::Rate | How::HighestRate => format!("non_negative_derivative(max(\"{field}\"), 1s)"),
            _ => format!("mean(\"{field}\")"),
        };
        Some(named(number, field))
    });
    let all = lines.iter().map(|line| {
        let all = if line.how == How::HighestRate { "max" } else { "sum" };
        let part = scaled(format!("{all}(\"{}\")", line.field), line.scale);
        let of = line.of.map(|whole| format!(" / sum(\"{whole}\")")).unwrap_or_default();
        named(part + &of, line.name)
    });
    let (each, all) = (each.collect::<Vec<_>>().join(", "), all.collect::<Vec<_>>().join(", "));
    format!("SELECT {all} FROM (SELECT {each} {kept} GROUP BY {moment}, *) WHERE {}", D::TIME)
}

/// Whether a line's numbers are made of each series first.
pub(super) fn is_of_each(line: &Line) -> bool {
    matches!(line.how, How::Rate | How::HighestRate | How::Sum)
}

pub(super) fn scaled(number: String, scale: f64) -> String {
    if scale == 1.0 {
        number
    } else if scale < 1.0 {
        // 1e-7 has no exact value, and its inverse does.
        format!("{number} / {:.0}", 1.0 / scale)
    } else {
        format!("{number} * {scale:.0}")
    }
}

fn conditions<D: Dialect>(board: &Board, asked: &Asked) -> String {
    let mut text = D::TIME.to_owned();
    for choice in chosen(board, asked.from) {
        let (tag, value) = (choice.tag, D::variable(choice.tag));
        let or_none = if choice.is_optional { "|" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, " AND \"{tag}\" =~ /^({value}{or_none})$/");
    }
    for only in &asked.only {
        let _ = match only {
            Only::Is(tag, value) => write!(text, " AND \"{tag}\" = '{value}'"),
            Only::Has(tag) => write!(text, " AND \"{tag}\" != ''"),
            Only::Lacks(tag) => write!(text, " AND \"{tag}\" = ''"),
        };
    }
    text
}
