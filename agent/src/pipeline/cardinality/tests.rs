use std::collections::BTreeSet;

use super::*;
use crate::point::FieldValue;

/// What others send, in batches: the series that come out, and the sum of `v`.
fn pass(guard: &mut Guard, points: impl Iterator<Item = Point>) -> (BTreeSet<String>, i64, InputCounts) {
    let counts = InputCounts::default();
    let (mut series, mut sum, mut times) = (BTreeSet::new(), 0, BTreeSet::new());
    let mut points = points.peekable();
    while points.peek().is_some() {
        let batch: Vec<Point> = points.by_ref().take(100).collect();
        for point in guard.pass(batch, Times::Unique, |(key, _)| key == "host", &counts) {
            let mut tags: Vec<String> =
                point.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            tags.sort();
            let name = format!("{} {}", point.measurement, tags.join(" "));
            assert!(times.insert((name.clone(), point.time)), "{name} twice at {:?}", point.time);
            series.insert(name);
            let Some(FieldValue::Int(v)) = point.field_value("v") else { panic!("{point:?}") };
            sum += v;
        }
    }
    (series, sum, counts)
}

fn points(n: usize, point: impl Fn(usize) -> Point) -> impl Iterator<Item = Point> {
    (0..n).map(move |i| point(i).tag("host", "h").field("v", 1_i64))
}

fn named(name: impl Into<Name>, i: usize) -> Point {
    // Each has a time that others have too, or a known series would be overwritten here.
    Point::new(name, Timestamp(i as i64))
}

fn guard(limit: usize) -> Guard {
    Guard::new(limit, &Places::new(0, 1)).unwrap()
}

#[test]
fn beyond_the_limit_series_become_one_and_sums_hold() {
    let mut guard = guard(160);
    let of = |i: usize| named("m", i).tag("service", format!("s{}", i % 4)).tag("id", format!("{i}"));
    let (series, sum, counts) = pass(&mut guard, points(10_000, of));
    assert!(series.len() <= 160, "{}", series.len());
    assert_eq!(sum, 10_000);
    for service in 0..4 {
        assert!(series.contains(&format!("m host=h id=other service=s{service}")), "{series:?}");
    }
    let series = counts.series.load(Ordering::Relaxed);
    assert!(series > 140 && series <= 160, "{series}");
    assert_eq!(counts.collapsed.load(Ordering::Relaxed), 10_000 - 150);
    // What was there before goes on as it was, whatever the order of its tags.
    let again = |i: usize| named("m", i).tag("id", format!("{i}")).tag("service", format!("s{}", i % 4));
    let (series, ..) = pass(&mut guard, points(150, again));
    assert_eq!(series.len(), 150);
    assert!(series.iter().all(|name| !name.contains("other")));
}

#[test]
fn where_two_tags_or_names_grow_the_limit_holds_too() {
    let two = |i: usize| named("m", i).tag("id", format!("{i}")).tag("request", format!("r{i}"));
    let names = |i: usize| named(format!("m{i}"), i).tag("id", format!("{i}"));
    let keys = |i: usize| named("m", i).tag(format!("k{i}"), "v");
    for (of, what) in [(&two as &dyn Fn(usize) -> Point, "tags"), (&names, "names"), (&keys, "keys")] {
        let mut guard = guard(160);
        let (series, sum, _) = pass(&mut guard, points(10_000, of));
        assert!(series.len() <= 160, "{what}: {}", series.len());
        assert_eq!(sum, 10_000, "{what}");
        assert!(series.iter().all(|name| name.contains("host=h")), "{what}");
    }
}

#[test]
fn points_of_a_gather_are_added_up_at_their_time() {
    let mut guard = guard(16);
    let of = |i: usize| named("m", 7).tag("id", format!("{i}"));
    let gather = |guard: &mut Guard| {
        let points = points(100, of).collect();
        guard.pass(points, Times::OfPoints, |(key, _)| key == "host", &InputCounts::default())
    };
    for _ in 0..2 {
        let points = gather(&mut guard);
        let other = points.iter().find(|point| point.tag_value("id") == Some("other")).unwrap();
        assert_eq!((points.len(), other.time), (14, Timestamp(7)));
        assert_eq!(other.field_value("v"), Some(&FieldValue::Int(87)));
    }
}

#[test]
fn an_input_that_grows_leaves_the_others_their_share() {
    let places = Places::new(320, 2);
    let [mut wild, mut calm] = [(); 2].map(|()| Guard::new(0, &places).unwrap());
    let of = |i: usize| named("m", i).tag("id", format!("{i}"));
    let (wild_series, ..) = pass(&mut wild, points(5_000, of));
    let (calm_series, ..) = pass(&mut calm, points(70, of));
    assert!(wild_series.len() > 200, "{}", wild_series.len());
    assert_eq!(calm_series.len(), 70);
    assert!(calm_series.iter().all(|name| !name.contains("other")));
    let (calm_series, ..) = pass(&mut calm, points(5_000, of));
    assert!(wild_series.len() + calm_series.len() <= 320);
}

#[test]
fn a_reload_keeps_what_is_known_under_its_new_limit() {
    let of = |i: usize| named("m", i).tag("id", format!("{i}"));
    let mut first = guard(160);
    pass(&mut first, points(100, of));
    let places = Places::new(50, 1);
    let mut second = Guard::with(Some(first), 0, &places).unwrap();
    let (series, ..) = pass(&mut second, points(101, of));
    assert_eq!(series.len(), 101);
    assert!(series.contains("m host=h id=other"), "the places are taken: {series:?}");
    let mut third = Guard::with(Some(second), 0, &Places::new(1_000, 1)).unwrap();
    let (series, ..) = pass(&mut third, points(500, of));
    assert_eq!(series.len(), 500);
    assert!(Guard::with(Some(third), 0, &Places::new(0, 1)).is_none());
}

#[test]
fn the_log_says_once_which_tag_grows() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    {
        let _log = crate::service::logging::to_file(&log);
        let of =
            |i: usize| named("requests", i).tag("service", format!("s{}", i % 4)).tag("id", format!("{i}"));
        pass(&mut guard(160), points(5_000, of));
    }
    let text = std::fs::read_to_string(log).unwrap();
    assert_eq!(text.matches("more series than `metric_series_limit`").count(), 1, "{text}");
    assert!(text.contains("measurement=requests") && text.contains("tag=id"), "{text}");
}
