use rstest::rstest;

use super::*;
use crate::point::FieldValue;

fn points(text: &str) -> Vec<Point> {
    let point = |line: Line<'_>| {
        let point = line.point(Timestamp(7));
        assert_eq!(line.outline(text).point(text, Timestamp(7)), point, "by its outline");
        point
    };
    parse(text, Precision::default()).map(|line| point(line.unwrap())).collect()
}

fn error(line: &str) -> String {
    let error = parse(line, Precision::default()).find_map(Result::err);
    error.map(|error| error.reason.to_string()).unwrap_or_default()
}

fn point() -> Point {
    Point::new("m", Timestamp(7)).field("f", 1.0)
}

#[test]
fn every_kind_of_value() {
    let text = "m,a=1,b=2 i=-7i,u=7u,f=1.5e3,g=-.5,h=1.,t=t,T=TRUE,n=F,s=\"x y\" 12";
    let expected = Point::new("m", Timestamp(12)).tag("a", "1").tag("b", "2");
    let expected = expected.field("i", -7_i64).field("u", 7_u64).field("f", 1500.0).field("g", -0.5);
    let expected = expected.field("h", 1.0).field("t", true).field("T", true).field("n", false);
    assert_eq!(points(text), [expected.field("s", "x y")]);
}

#[rstest]
#[case::measurement(r"a\,b\ c\=d f=1", Point::new("a,b c=d", Timestamp(7)).field("f", 1.0))]
#[case::tags(r"m,a\,b\=c=\ d\,e f=1", point().tag("a,b=c", " d,e"))]
#[case::backslashes(r"m,a\b=c\d f=1", point().tag(r"a\b", r"c\d"))]
#[case::field_key(r#"m a\ b\,c\=d\"=1"#, Point::new("m", Timestamp(7)).field("a b,c=d\"", 1.0))]
#[case::text(r#"m f="a\"b\\c\d,e=f g""#, Point::new("m", Timestamp(7)).field("f", r#"a"b\c\d,e=f g"#))]
#[case::not_ascii("zürich,tag=é\\ 🦀 f=\"ß\"", Point::new("zürich", Timestamp(7)).tag("tag", "é 🦀").field("f", "ß"))]
#[case::quotes_in_tags("m,a=\"b\" f=1", point().tag("a", "\"b\""))]
#[case::blanks(" \t m f=1  \t 7  ", point())]
#[case::carriage_return("m f=1 7\r\n", point())]
#[case::unsorted_tags("m,b=2,a=1 f=1", point().tag("b", "2").tag("a", "1"))]
fn escapes_and_blanks(#[case] text: &str, #[case] expected: Point) {
    assert_eq!(points(text), [expected]);
}

#[test]
fn of_several_fields_of_one_key_the_last_counts() {
    let points = points("m a=1,b=2,a=3i,c=4,b=5");
    let fields = [("a", FieldValue::Int(3)), ("c", 4.0.into()), ("b", 5.0.into())];
    assert_eq!(points[0].fields, fields.map(|(key, value)| (key.into(), value)));
}

#[test]
fn quoted_line_feeds_are_text_and_lines_keep_their_numbers() {
    let text = "# comment\n\nm f=\"a\nb\" 1\n  \nbad\n#x\nm f=1 2";
    let lines: Vec<_> = parse(text, Precision::default()).collect();
    let numbers: Vec<_> =
        lines.iter().map(|line| line.as_ref().map(|l| l.number).map_err(|e| e.number)).collect();
    assert_eq!(numbers, [Ok(3), Err(6), Ok(8)]);
    assert_eq!(points("m f=\"a\nb\" 7")[0].field_value("f"), Some(&"a\nb".into()));
    let error = lines[1].as_ref().unwrap_err();
    assert_eq!(error.to_string(), "unable to parse 'bad': missing fields");
}

#[rstest]
#[case(",a=1 f=1", "missing measurement")]
#[case("m", "missing fields")]
#[case("m,a=1", "missing fields")]
#[case("m,a f=1", "missing tag value")]
#[case("m,a= f=1", "missing tag value")]
#[case("m,=1 f=1", "missing tag key")]
#[case("m, f=1", "missing tag key")]
#[case("m,a=b=c f=1", "invalid tag format")]
#[case("m,a=1,a=2 f=1", "duplicate tags")]
#[case("m,a=1,b=1,a=2 f=1", "duplicate tags")]
#[case("m f", "invalid field format")]
#[case("m f=1,", "invalid field format")]
#[case("m =1", "missing field key")]
#[case("m f=1,=2", "missing field key")]
#[case("m f=", "missing field value")]
#[case("m f=,g=1", "missing field value")]
#[case("m f=\"a", "unbalanced quotes")]
#[case("m f=-", "invalid number")]
#[case("m f=1.2.3", "invalid number")]
#[case("m f=.", "invalid number")]
#[case("m f=1i2", "invalid number")]
#[case("m f=1.5i", "invalid number")]
#[case("m f=-1u", "invalid number")]
#[case("m f=NaN", "invalid number")]
#[case("m f=1e", "invalid float")]
#[case("m f=1e999", "invalid float")]
#[case("m f=inf", "invalid boolean")]
#[case("m f=tRUE", "invalid boolean")]
#[case("m f=abc", "invalid boolean")]
#[case("m f=1 x", "bad timestamp")]
#[case("m f=1 1.5", "bad timestamp")]
#[case("m f=1 1 2", "point is invalid")]
#[case("m f=1 -", "strconv.ParseInt: parsing \"-\": invalid syntax")]
#[case("m f=1 9223372036854775808", "strconv.ParseInt: parsing \"9223372036854775808\": value out of range")]
#[case("m f=1 9223372036854775807", "time outside range -9223372036854775806 - 9223372036854775806")]
fn errors_are_influxds(#[case] line: &str, #[case] expected: &str) {
    assert_eq!(error(line), expected);
}

#[test]
fn keys_are_as_long_as_in_influxd() {
    let measurement = "m".repeat(65_535);
    assert_eq!(error(&format!("{measurement}m f=1")), "max key length exceeded: 65536 > 65535");
    assert_eq!(error(&format!("{measurement} f=1")), "max key length exceeded: 65540 > 65535");
    assert_eq!(error(&format!("{} f=1", &measurement[..65_530])), "");
}

#[rstest]
#[case("ns", 3)]
#[case("u", 3_000)]
#[case("ms", 3_000_000)]
#[case("s", 3_000_000_000)]
#[case("m", 180_000_000_000)]
#[case("h", 10_800_000_000_000)]
#[case("bogus", 3)]
fn times_are_in_the_precision(#[case] precision: &str, #[case] expected: i64) {
    let precision = Precision::of_write(precision);
    let line = parse("m f=1 3", precision).next().unwrap().unwrap();
    assert_eq!(line.time_or(Timestamp(0)), Timestamp(expected));
    let line = parse("m f=1", precision).next().unwrap().unwrap();
    let now = line.time_or(Timestamp(1_700_000_000_123_456_789)).0;
    assert_eq!((line.time(), now % precision.nanoseconds()), (None, 0), "rounded down");
    assert_eq!(Precision::of_v2_write("h"), None);
}
