//! Gathers and prints: a table, line protocol or JSON.
//!
//! Takes built inputs and writes to a stream; knows nothing of the configuration. The table is made of the same points that
//! the outputs would get.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::layout::Screen;
use super::table::DumpTable;
use crate::cli::{Format, Sort};
use crate::commands::looking::Looking;
use crate::inputs::{self, Gathered};
use crate::line_protocol;
use crate::point::{FieldValue, Point};

/// What to dump.
pub(crate) struct Request {
    /// What is gathered.
    pub looking: Looking,
    /// How many gathers; `None` until interrupted.
    pub count: Option<u64>,
    /// How to print.
    pub format: Format,
    /// What the rows of a table are sorted by.
    pub sort: Sort,
    /// Where a table is drawn; asked for each time, since a window changes.
    pub screen: fn() -> Screen,
}

/// Gathers and prints until `count` is reached, the reader is gone, or `shutdown` completes.
///
/// # Errors
/// The stream cannot be written to.
pub(crate) async fn run(
    request: Request,
    shutdown: impl Future<Output = ()>,
    out: &mut impl Write,
) -> io::Result<()> {
    tokio::select! {
        () = shutdown => Ok(()),
        printed = print(request, out) => printed,
    }
}

async fn print(mut request: Request, out: &mut impl Write) -> io::Result<()> {
    // Rates and percentages need two readings: the table does not show the first one.
    let mut table = (request.format == Format::Table).then(|| DumpTable::new(request.sort));
    let mut at = Instant::now();
    let mut printed = 0;
    if table.is_none() {
        at += request.looking.interval;
    }
    while request.count.is_none_or(|count| printed < count) {
        request.looking.wait(at).await;
        at = (at + request.looking.interval).max(Instant::now());
        let points = request.looking.gather().await;
        let written = match &mut table {
            None => {
                printed += 1;
                print_points(&points, request.format, out)
            }
            Some(table) => match table.render(points, (request.screen)()) {
                Some(text) => {
                    printed += 1;
                    out.write_all(text.as_bytes())
                }
                None => Ok(()),
            },
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            other => other?,
        }
    }
    Ok(())
}

fn print_points(points: &[Point], format: Format, out: &mut impl Write) -> io::Result<()> {
    // In one piece: the standard output would be written to line by line.
    let mut text = Vec::new();
    for point in points {
        if format == Format::Json {
            serde_json::to_writer(&mut text, &json_of(point))?;
            text.push(b'\n');
        } else {
            // What has no field that can be written makes no line.
            line_protocol::encode(point, &mut text);
        }
    }
    out.write_all(&text)
}

fn json_of(point: &Point) -> Value {
    let tags = point.tags.iter().map(|(key, value)| (key.to_string(), Value::from(value.as_str()))).collect();
    let fields = point.fields.iter().map(|(key, value)| (key.to_string(), json_value(value))).collect();
    json!({
        "measurement": point.measurement,
        "tags": Value::Object(tags),
        "fields": Value::Object(fields),
        "time": point.time.0,
    })
}

fn json_value(value: &FieldValue) -> Value {
    match value {
        FieldValue::Int(value) => Value::from(*value),
        FieldValue::UInt(value) => Value::from(*value),
        // A value that JSON cannot express becomes null.
        FieldValue::Float(value) => Value::from(*value),
        FieldValue::Text(value) => Value::from(value.as_str()),
        FieldValue::Bool(value) => Value::from(*value),
    }
}

/// The format of Telegraf's `--test`: unsigned integers as such, and fields sorted by key.
const TEST_LINES: line_protocol::Format =
    line_protocol::Format { uint_support: true, sort_fields: true, omit_timestamp: false, max_line_bytes: 0 };

/// Gathers once and prints as Telegraf's `--test` does: `> ` before each line.
///
/// Inputs that need two readings are read twice, half a second or `wait` apart; the others listen meanwhile. Returns how many
/// inputs failed.
///
/// # Errors
/// The stream cannot be written to.
pub(crate) async fn test(mut request: Request, wait: Duration, out: &mut impl Write) -> io::Result<usize> {
    let mut first_reading = Duration::ZERO;
    for (input, common) in request.looking.inputs.iter_mut().filter(|(input, _)| input.needs_two_readings()) {
        let span = inputs::span(input.name(), common);
        // Errors are reported with the second reading.
        let first = input.gather_within(Gathered::first_reading(), common.interval);
        let _ = first.instrument(span).await;
        first_reading = inputs::FIRST_READING;
    }
    request.looking.wait(Instant::now() + wait.max(first_reading)).await;
    let mut line = Vec::new();
    for point in request.looking.gather().await {
        line.clear();
        line.extend(b"> ");
        if TEST_LINES.encode(&point, &mut line, &mut Vec::new()).is_ok() {
            out.write_all(&line)?;
        }
    }
    out.flush()?;
    Ok(request.looking.failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::offloaded::Offloaded;
    use crate::inputs::{GatherError, Input};
    use crate::options::common::InputCommon;
    use crate::point::Timestamp;
    use crate::service::turns::Turns;

    /// Has another value at each gather.
    struct Twice(u64);

    #[async_trait::async_trait]
    impl Input for Twice {
        fn name(&self) -> &'static str {
            "twice"
        }

        fn needs_two_readings(&self) -> bool {
            self.0 < 10
        }

        async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
            self.0 += 1;
            gathered.push(Point::new("m", Timestamp(7_000_000_000)).field("n", self.0).field("a", 1_i64));
            if self.0 == 11 { Err(GatherError::Counted) } else { Ok(()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_prints_telegrafs_lines() {
        let common = InputCommon::default();
        let turns = Turns::default();
        let input = |n| (Offloaded::new(Box::new(Twice(n)), &turns), common.clone());
        let inputs = vec![input(0), input(10)];
        let request = Request {
            looking: Looking::new(inputs, [("host".into(), "h".into())].into(), Duration::ZERO),
            count: Some(1),
            format: Format::Line,
            sort: Sort::Busy,
            screen: || Screen::of_text(true),
        };
        let mut out = Vec::new();
        let start = Instant::now();
        let failed = test(request, Duration::from_secs(3), &mut out).await.unwrap();
        assert_eq!(failed, 1, "the second one says that it is incomplete");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "> m,host=h a=1i,n=2u 7000000000\n> m,host=h a=1i,n=11u 7000000000\n"
        );
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[test]
    fn json_has_every_part_of_a_point() {
        let point = Point::new("m", Timestamp(7)).tag("a", "x \"y\"").field("f", f64::NAN).field("n", 3_i64);
        let line = json_of(&point).to_string();
        assert_eq!(line, r#"{"fields":{"f":null,"n":3},"measurement":"m","tags":{"a":"x \"y\""},"time":7}"#);
    }
}
