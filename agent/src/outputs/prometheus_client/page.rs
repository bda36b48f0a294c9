//! A collection as a page: Prometheus' text format 0.0.4, or OpenMetrics 1.0. Pure.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::accept::Format;
use super::collection::{Collection, Distribution, MetricFamily, Series, SeriesValue};
use super::names::{escaped, escaped_labels, is_legacy, push_name};
use crate::schema::ValueType;

/// A number of a sample.
#[derive(Clone, Copy)]
enum Shown {
    Value(f64),
    /// Of something that is counted one by one.
    Count(f64),
}

/// Writes pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageWriter {
    pub(super) format: Format,
    /// The reader takes names in quotes.
    pub(super) takes_utf8: bool,
    /// Samples have their times.
    pub(super) export_timestamp: bool,
}

impl PageWriter {
    /// The page of a collection.
    pub(super) fn page(self, collection: &Collection) -> String {
        let mut page = String::with_capacity(collection.bytes());
        for (name, family) in collection.families() {
            self.family(&mut page, name, family);
        }
        if self.format.is_open_metrics() {
            page.push_str("# EOF\n");
        }
        page
    }

    fn family(self, page: &mut String, name: &str, family: &MetricFamily) {
        let name = if self.takes_utf8 { Cow::Borrowed(name) } else { escaped(name) };
        let is_open = self.format.is_open_metrics();
        let (kind, described) = match (family.distribution(), family.value_type) {
            (Some(kind), _) => (kind, &*name),
            // There the name of a counter ends so, or it is none.
            (None, ValueType::Counter) if is_open => match name.strip_suffix("_total") {
                Some(base) => ("counter", base),
                None => ("unknown", &*name),
            },
            (None, ValueType::Counter) => ("counter", &*name),
            (None, ValueType::Gauge) => ("gauge", &*name),
            (None, ValueType::Untyped) => (if is_open { "unknown" } else { "untyped" }, &*name),
        };
        for (word, text) in [("HELP", &*family.help), ("TYPE", kind)] {
            page.push_str("# ");
            page.push_str(word);
            page.push(' ');
            push_name(page, described);
            page.push(' ');
            push_help(page, text, is_open);
            page.push('\n');
        }
        for series in family.series() {
            match &series.value {
                SeriesValue::Single(value) => self.sample(page, &name, series, None, Shown::Value(*value)),
                SeriesValue::Many(of) => self.distribution(page, &name, series, (of, kind == "histogram")),
            }
        }
    }

    fn distribution(
        self,
        page: &mut String,
        name: &str,
        series: &Series,
        (of, is_histogram): (&Distribution, bool),
    ) {
        if is_histogram {
            let bucket = format!("{name}_bucket");
            for (bound, count) in &of.buckets {
                self.sample(page, &bucket, series, Some(("le", *bound)), Shown::Count(*count));
            }
            if of.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
                self.sample(page, &bucket, series, Some(("le", f64::INFINITY)), Shown::Count(of.count));
            }
        } else {
            for (quantile, value) in &of.quantiles {
                self.sample(page, name, series, Some(("quantile", *quantile)), Shown::Value(*value));
            }
        }
        self.sample(page, &format!("{name}_sum"), series, None, Shown::Value(of.sum));
        self.sample(page, &format!("{name}_count"), series, None, Shown::Count(of.count));
    }

    fn sample(self, page: &mut String, name: &str, series: &Series, part: Option<(&str, f64)>, value: Shown) {
        let labels =
            if self.takes_utf8 { Cow::Borrowed(&*series.labels) } else { escaped_labels(&series.labels) };
        let is_quoted = !is_legacy(name);
        if !is_quoted {
            page.push_str(name);
        }
        if is_quoted || !labels.is_empty() || part.is_some() {
            page.push('{');
            if is_quoted {
                push_name(page, name);
            }
            let mut comma = if is_quoted { "," } else { "" };
            if !labels.is_empty() {
                page.push_str(comma);
                page.push_str(&labels);
                comma = ",";
            }
            if let Some((label, at)) = part {
                page.push_str(comma);
                page.push_str(label);
                page.push_str("=\"");
                self.push_number(page, at);
                page.push('"');
            }
            page.push('}');
        }
        page.push(' ');
        match value {
            Shown::Value(value) => self.push_number(page, value),
            // Writing to a string cannot fail.
            Shown::Count(count) => drop(write!(page, "{count}")),
        }
        if self.export_timestamp {
            page.push(' ');
            let millis = series.time.0.div_euclid(1_000_000);
            // Writing to a string cannot fail.
            let _ = match self.format {
                Format::Text => write!(page, "{millis}"),
                Format::OpenMetrics(_) => {
                    write!(page, "{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000))
                }
            };
        }
        page.push('\n');
    }

    /// A number as Go writes it. In OpenMetrics it has a point or an exponent.
    fn push_number(self, page: &mut String, value: f64) {
        let start = page.len();
        push_go_float(page, value);
        let written = &page[start..];
        if self.format.is_open_metrics() && !written.contains(['.', 'e', 'I', 'N']) {
            page.push_str(".0");
        }
    }
}

/// With the fewest digits that say which it is, and with an exponent below 1e-4 and from 1e6 on.
fn push_go_float(text: &mut String, value: f64) {
    if value.is_nan() {
        return text.push_str("NaN");
    }
    if value.is_infinite() {
        return text.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    let exponential = format!("{value:e}");
    let (digits, exponent) = exponential.split_once('e').unwrap_or((&exponential, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Writing to a string cannot fail.
    let _ = if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(text, "{digits}e{sign}{:02}", exponent.abs())
    } else {
        write!(text, "{value}")
    };
}

fn push_help(page: &mut String, help: &str, is_open: bool) {
    for c in help.chars() {
        match c {
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            '"' if is_open => page.push_str("\\\""),
            c => page.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
