use rstest::rstest;

use super::*;

fn point(measurement: &'static str) -> Point {
    Point::new(measurement, Timestamp(0)).tag("host", "h")
}

fn shown(naming: &Naming, point: &Point) -> Vec<String> {
    let shown = |sample: &Sample<'_>| {
        let value = match sample.number {
            Number::Value(value) => value.to_string(),
            other => format!("{other:?}"),
        };
        format!("{}{{{}}} {value} {:?}", sample.name, sample.labels, sample.value_type)
    };
    naming.samples(point).iter().map(shown).collect()
}

fn naming(version: MetricVersion) -> Naming {
    Naming { version, string_as_label: true, ..Naming::default() }
}

#[rstest]
#[case(point("cpu").field("time_idle", 42.0), &["cpu_time_idle{host=\"h\"} 42 Counter"])]
#[case(point("foreign").field("a-b", 1_i64), &["foreign_a_b{host=\"h\"} 1 Untyped"])]
#[case(point("requests").field("counter", 42.0), &["requests{host=\"h\"} 42 Counter"])]
#[case(point("load").field("gauge", 42.0), &["load{host=\"h\"} 42 Gauge"])]
#[case(point("load").field("value", 42.0), &["load{host=\"h\"} 42 Untyped"])]
#[case(point("m").field("value", 1.0).field("counter", 2.0), &["m{host=\"h\"} 1 Untyped", "m_counter{host=\"h\"} 2 Untyped"])]
#[case(point("m").field("ok", true).field("n", 1_i64), &["m_n{host=\"h\"} 1 Untyped"])]
#[case(point("m").field("count", 1_i64).field("sum", 2_i64).field("max", 3_i64), &["m_count{host=\"h\"} 1 Untyped", "m_sum{host=\"h\"} 2 Untyped", "m_max{host=\"h\"} 3 Untyped"])]
#[case(point("9m").field("n", 1_i64), &[])]
fn version_1(#[case] point: Point, #[case] expected: &[&str]) {
    assert_eq!(shown(&naming(MetricVersion::V1), &point), expected);
}

#[rstest]
#[case(point("cpu").field("time_idle", 42.0), &["cpu_time_idle{host=\"h\"} 42 Counter"])]
#[case(point("m").field("value", 1.0), &["m_value{host=\"h\"} 1 Untyped"])]
#[case(point("m").field("ok", true), &["m_ok{host=\"h\"} 1 Untyped"])]
#[case(point("prometheus").field("cpu_time_idle", 42.0), &["cpu_time_idle{host=\"h\"} 42 Untyped"])]
#[case(point("prometheus").field("requests_total", 42.0), &["requests_total{host=\"h\"} 42 Counter"])]
#[case(point("prometheus").field("a_count", 42.0), &["a_count{host=\"h\"} 42 Untyped"])]
#[case(point("prometheus").field("a_count", 2.0).field("a_sum", 3.0), &["a{host=\"h\"} Count(2.0) Untyped", "a{host=\"h\"} Sum(3.0) Untyped"])]
#[case(point("prometheus").tag("le", "0.5").field("a_bucket", 2.0), &["a{host=\"h\"} Bucket { bound: 0.5, count: 2.0 } Untyped"])]
#[case(point("prometheus").tag("le", "0.5").field("a", 2.0), &["a{host=\"h\",le=\"0.5\"} 2 Untyped"])]
#[case(point("prometheus").tag("quantile", "0.5").field("a", 2.0), &["a{host=\"h\"} Quantile { quantile: 0.5, value: 2.0 } Untyped"])]
#[case(point("9m").field("n", 1_i64), &["m_n{host=\"h\"} 1 Untyped"])]
fn version_2(#[case] point: Point, #[case] expected: &[&str]) {
    assert_eq!(shown(&naming(MetricVersion::V2), &point), expected);
}

#[rstest]
#[case(MetricVersion::V1, "b=\"text\",host=\"h\",state=\"up\"")]
#[case(MetricVersion::V2, "b=\"tag\",host=\"h\",state=\"up\"")]
fn texts_are_labels(#[case] version: MetricVersion, #[case] expected: &str) {
    let point = point("m").tag("b", "tag").field("b", "text").field("state", "up").field("n", 1_i64);
    let sample = naming(version).samples(&point).remove(0);
    assert_eq!(&*sample.labels, expected);
    // In version 1 a series stays the same when a text changes.
    assert_eq!(&*sample.key == "b=\"tag\",host=\"h\"", version == MetricVersion::V1, "{}", sample.key);
    let plain = Naming { string_as_label: false, ..naming(version) };
    assert_eq!(&*plain.samples(&point)[0].labels, "b=\"tag\",host=\"h\"");
}

#[test]
fn types_that_are_named_win() {
    let patterns =
        |list: &[&str]| Patterns::new(&list.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let naming = Naming { counters: patterns(&["m_*"]), gauges: patterns(&["m_b"]), ..Naming::default() };
    let point = point("m").field("a", 1_i64).field("b", 1_i64);
    let types: Vec<ValueType> = naming.samples(&point).iter().map(|sample| sample.value_type).collect();
    assert_eq!(types, [ValueType::Counter, ValueType::Gauge]);
}
