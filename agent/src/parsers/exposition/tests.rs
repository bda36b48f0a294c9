use rstest::rstest;

use super::*;

fn samples(page: &str, format: Format) -> Vec<Sample<'_>> {
    parse(page, format).collect::<Result<_, _>>().unwrap()
}

/// `family part labels value time`
fn shown(page: &str, format: Format) -> Vec<String> {
    let shown = |sample: Sample<'_>| {
        let labels: Vec<String> =
            sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let time = sample.time.map_or(String::new(), |time| format!(" @{}", time.0));
        let (family, kind, part) = (sample.family, sample.family_type, sample.part);
        format!("{family} {kind:?} {part:?} [{}] {}{time}", labels.join(","), sample.value)
    };
    samples(page, format).into_iter().map(shown).collect()
}

fn error(page: &str, format: Format) -> String {
    parse(page, format).find_map(Result::err).map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn samples_belong_to_the_family_whose_type_came_before() {
    let page = "\
# HELP h some help {\"}
# TYPE h histogram
h_bucket{a=\"1\",le=\"0.5\"} 1
h_bucket{a=\"1\",le=\"+Inf\",} 2
h_sum{a=\"1\"} 2.5
h_count{a=\"1\"} 2
# TYPE s summary
s{quantile=\"0.5\"} NaN
s_sum 3
h_count{a=\"2\"} 7
# TYPE c_total counter
c_total 1
c_total_count 4
#no comment of any meaning
alone 5 1000
alone_sum -Inf
";
    assert_eq!(
        shown(page, Format::Text),
        [
            "h Histogram Bucket [a=1,le=0.5] 1",
            "h Histogram Bucket [a=1,le=+Inf] 2",
            "h Histogram Sum [a=1] 2.5",
            "h Histogram Count [a=1] 2",
            "s Summary Value [quantile=0.5] NaN",
            "s Summary Sum [] 3",
            "h Histogram Count [a=2] 7",
            "c_total Counter Value [] 1",
            "c_total_count Untyped Value [] 4",
            "alone Untyped Value [] 5 @1000000000",
            "alone_sum Untyped Value [] -inf",
        ]
    );
}

#[test]
fn openmetrics_has_its_own_suffixes_types_and_times() {
    let page = "\
# TYPE c counter
# UNIT c_seconds seconds
# TYPE c_seconds counter
c_total 1 # {trace_id=\"KOO5S4vxi0o\"} 0.67 1520879607.789
c_seconds_total{a=\"b # c\"} 5 1520879607.5
c_seconds_created{a=\"b # c\"} 1520430000.123
# TYPE i info
i_info{version=\"1\"} 1
# TYPE st stateset
st{st=\"on\"} 1
st{st=\"off\"} 0
# TYPE g gaugehistogram
g_bucket{le=\"+Inf\"} 3 # {} 4
g_gcount 3
g_gsum 12
# TYPE u unknown
u 1
# EOF
nonsense
";
    assert_eq!(
        shown(page, Format::OpenMetrics),
        [
            "c Counter Value [] 1",
            "c_seconds Counter Value [a=b # c] 5 @1520879607500000000",
            "c_seconds Counter Created [a=b # c] 1520430000.123",
            "i Info Value [version=1] 1",
            "st StateSet Value [st=on] 1",
            "st StateSet Value [st=off] 0",
            "g GaugeHistogram Bucket [le=+Inf] 3",
            "g GaugeHistogram Count [] 3",
            "g GaugeHistogram Sum [] 12",
            "u Untyped Value [] 1",
        ]
    );
    let units: Vec<_> = samples(page, Format::OpenMetrics).iter().map(|sample| sample.unit).collect();
    assert_eq!(&units[..3], [None, Some("seconds"), Some("seconds")]);
}

#[rstest]
#[case::escapes(r#"m{a="x\"y\\z\nw",b="\d"} 1"#, "m Untyped Value [a=x\"y\\z\nw,b=\\d] 1")]
#[case::blanks("\t m \t{ a = \"1\" , b=\"2\" , }\t7 \t12\t\r", "m Untyped Value [a=1,b=2] 7 @12000000")]
#[case::no_labels("m{} +Inf", "m Untyped Value [] inf")]
#[case::name_in_braces("{\"a.b\", \"c d\"=\"e\"} 1", "a.b Untyped Value [c d=e] 1")]
#[case::colons("a:b 1e3 -5", "a:b Untyped Value [] 1000 @-5000000")]
#[case::not_ascii("m{a=\"ü}\"} 0x1p-2", "")]
fn odd_lines(#[case] page: &str, #[case] expected: &str) {
    if expected.is_empty() {
        assert_eq!(error(page, Format::Text), "line 1: `0x1p-2` is not a value");
    } else {
        assert_eq!(shown(page, Format::Text), [expected]);
    }
}

#[rstest]
#[case("m", "`` is not a value")]
#[case("m x", "`x` is not a value")]
#[case("m 1 x", "`x` is not a time in milliseconds")]
#[case("m 1 2 3", "`2 3` is not a time in milliseconds")]
#[case("m 1 9223372036854775807", "is not a time")]
#[case("m{a=\"b\"", "do not end with `}`")]
#[case("m{a=\"b", "a quote is not closed")]
#[case("m{a=b} 1", "`b} 1` is not in quotes")]
#[case("m{a} 1", "the label `a` has no value")]
#[case("m{a=\"1\" b=\"2\"} 1", "do not end with `}`")]
#[case("m{a=\"1\",a=\"2\"} 1", "a label comes twice")]
#[case("m{1a=\"1\"} 1", "`1a=\"1\"} 1` is not a label")]
#[case("m{\"n\"} 1", "two names")]
#[case("1m 1", "`1m` is not a metric's name")]
#[case("<html>", "`<html>` is not a metric's name")]
#[case("{} 1", "`` is not a metric's name")]
fn a_line_that_is_none_is_told_by_its_number(#[case] line: &str, #[case] what: &str) {
    let page = format!("# a comment\n{line}\nok 1");
    let error = error(&page, Format::Text);
    assert!(error.starts_with("line 2: ") && error.contains(what), "{error}");
    let last = parse(&page, Format::Text).last().unwrap().unwrap();
    assert_eq!(last.family, "ok", "what follows is read");
}

#[rstest]
#[case("m 1 # {a=\"b\"", "line 1: the labels do not end")]
#[case("m 1 # x", "line 1: an exemplar does not begin with `{`")]
#[case("m 1 # {} x", "line 1: ` x` is not the value of an exemplar")]
#[case("m 1 1e300", "line 1: `1e300` is not a time in seconds")]
#[case("m 1\n", "line 2: the page ends without `# EOF`")]
fn openmetrics_that_is_none(#[case] page: &str, #[case] what: &str) {
    assert!(error(page, Format::OpenMetrics).starts_with(what), "{}", error(page, Format::OpenMetrics));
}

#[test]
fn many_labels_take_no_more_than_linear_time() {
    let labels: String = (0..20_000).map(|n| format!("l{n}=\"\",")).collect();
    assert_eq!(samples(&format!("m{{{labels}}} 1"), Format::Text)[0].labels.len(), 20_000);
    assert_eq!(error(&format!("m{{{labels}l7=\"\"}} 1"), Format::Text), "line 1: a label comes twice");
}

#[test]
fn what_is_remembered_of_a_page_has_a_bound() {
    let labels = |n: usize| (0..n).map(|n| format!("l{n}=\"\",")).collect::<String>();
    assert_eq!(samples(&format!("a{{{}}} 1", labels(30_000)), Format::Text)[0].labels.len(), 30_000);
    let said = error(&format!("a{{{}}} 1", labels(30_001)), Format::Text);
    assert_eq!(said, "line 1: it has more than 30000 labels");
    let types = |n: usize| (0..n).map(|n| format!("# TYPE f{n} gauge\n")).collect::<String>();
    assert_eq!(error(&types(50_000), Format::Text), "");
    assert_eq!(error(&types(50_001), Format::Text), "line 50001: there are more than 50000 families");
}
