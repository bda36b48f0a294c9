use std::time::Duration;

use rstest::rstest;
use tokio::time::Instant;

use super::*;
use crate::outputs::prometheus_client::names::Sanitization;
use crate::outputs::prometheus_client::samples::{MetricVersion, Naming};
use crate::parsers::exposition::{self, parse};
use crate::point::{Point, Timestamp};

const TEXT: PageWriter = PageWriter { format: Format::Text, takes_utf8: false, export_timestamp: false };
const OPEN: PageWriter = PageWriter { format: Format::OpenMetrics("1.0.0"), ..TEXT };

fn page(naming: &Naming, writer: PageWriter, points: &[Point]) -> String {
    let mut collection = Collection::new(1 << 20, Duration::ZERO);
    for sample in points.iter().flat_map(|point| naming.samples(point)) {
        collection.add(sample, Instant::now()).unwrap();
    }
    writer.page(&collection)
}

fn point(measurement: &'static str) -> Point {
    Point::new(measurement, Timestamp(1_500_000_000)).tag("host", "h")
}

#[test]
fn types_are_what_fields_are() {
    let points = [
        point("net").tag("interface", "eth0").field("bytes_recv", 7_u64).field("speed", 1_000_i64),
        point("other_total").field("value", 1.5),
    ];
    let text = "\
# HELP net_bytes_recv Telegraf collected metric
# TYPE net_bytes_recv counter
net_bytes_recv{host=\"h\",interface=\"eth0\"} 7
# HELP net_speed Telegraf collected metric
# TYPE net_speed gauge
net_speed{host=\"h\",interface=\"eth0\"} 1000
# HELP other_total Telegraf collected metric
# TYPE other_total untyped
other_total{host=\"h\"} 1.5
";
    assert_eq!(page(&Naming::default(), TEXT, &points), text);
    let open = text.replace(" counter\n", " unknown\n").replace("untyped", "unknown");
    let open = open.replace("} 7\n", "} 7.0\n").replace("} 1000\n", "} 1000.0\n");
    assert_eq!(page(&Naming::default(), OPEN, &points), format!("{open}# EOF\n"));
}

#[test]
fn a_counter_of_open_metrics_is_described_without_its_ending() {
    let points = [point("requests_total").field("counter", 3.0)];
    let expected = "\
# HELP requests Telegraf collected metric
# TYPE requests counter
requests_total{host=\"h\"} 3.0 1.500
# EOF
";
    let writer = PageWriter { export_timestamp: true, ..OPEN };
    assert_eq!(page(&Naming::default(), writer, &points), expected);
}

#[rstest]
#[case(1_f64, "1", "1.0")]
#[case(0.000_1, "0.0001", "0.0001")]
#[case(0.000_01, "1e-05", "1e-05")]
#[case(144_320.0, "144320", "144320.0")]
#[case(17_560_473.0, "1.7560473e+07", "1.7560473e+07")]
#[case(1e6, "1e+06", "1e+06")]
#[case(-1e100, "-1e+100", "-1e+100")]
#[case(f64::INFINITY, "+Inf", "+Inf")]
#[case(f64::NAN, "NaN", "NaN")]
fn numbers_are_written_as_gos(#[case] value: f64, #[case] text: &str, #[case] open: &str) {
    for (writer, expected) in [(TEXT, text), (OPEN, open)] {
        let mut page = String::new();
        writer.push_number(&mut page, value);
        assert_eq!(page, expected);
    }
}

/// What the input `prometheus` makes of a page becomes the same page.
#[rstest]
#[case(MetricVersion::V1)]
#[case(MetricVersion::V2)]
fn histograms_and_summaries_go_through(#[case] version: MetricVersion) {
    let points = match version {
        MetricVersion::V1 => vec![
            Point::new("wait", Timestamp(0))
                .field("0.1", 3.0)
                .field("+Inf", 5.0)
                .field("count", 5.0)
                .field("sum", 0.75),
            Point::new("rpc", Timestamp(0)).field("0.5", 2.0).field("count", 7.0).field("sum", 9.0),
        ],
        MetricVersion::V2 => {
            let metric = || Point::new("prometheus", Timestamp(0));
            vec![
                metric().field("wait_count", 5.0).field("wait_sum", 0.75),
                metric().tag("le", "0.1").field("wait_bucket", 3.0),
                metric().field("rpc_count", 7.0).field("rpc_sum", 9.0),
                metric().tag("quantile", "0.5").field("rpc", 2.0),
            ]
        }
    };
    let expected = "\
# HELP rpc Telegraf collected metric
# TYPE rpc summary
rpc{quantile=\"0.5\"} 2
rpc_sum 9
rpc_count 7
# HELP wait Telegraf collected metric
# TYPE wait histogram
wait_bucket{le=\"0.1\"} 3
wait_bucket{le=\"+Inf\"} 5
wait_sum 0.75
wait_count 5
";
    assert_eq!(page(&Naming { version, ..Naming::default() }, TEXT, &points), expected);
}

#[test]
fn names_of_any_character_are_quoted_for_those_who_can_read_them() {
    let naming = Naming { sanitization: Sanitization::Utf8, version: MetricVersion::V2, ..Naming::default() };
    let points = [point("größe").tag("a.b", "c").field("x", 1_i64)];
    let quoted = page(&naming, PageWriter { takes_utf8: true, ..TEXT }, &points);
    assert!(
        quoted.contains("# TYPE \"größe_x\" untyped\n{\"größe_x\",\"a.b\"=\"c\",host=\"h\"} 1\n"),
        "{quoted}"
    );
    let escaped = page(&naming, TEXT, &points);
    assert!(escaped.contains("# TYPE gr__e_x untyped\ngr__e_x{a_b=\"c\",host=\"h\"} 1\n"), "{escaped}");
}

#[test]
fn whatever_is_in_the_schema_is_a_page_that_parses() {
    let mut points = Vec::new();
    for measurement in crate::schema::MEASUREMENTS {
        let mut point = point(measurement.name).tag("a-b", "x\"y\\z\n");
        for field in measurement.fields {
            point.set_field(field.name, 1_i64);
        }
        points.push(point);
    }
    for version in [MetricVersion::V1, MetricVersion::V2] {
        let naming = Naming { version, string_as_label: true, ..Naming::default() };
        for (writer, format) in [(TEXT, exposition::Format::Text), (OPEN, exposition::Format::OpenMetrics)] {
            let page = page(&naming, writer, &points);
            let samples: Vec<_> = parse(&page, format).collect::<Result<_, _>>().expect(&page);
            assert!(samples.len() > 300, "{}", samples.len());
        }
    }
}
