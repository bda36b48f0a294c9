//! Lines as points again, for the outputs that write something else than lines.

use bytes::Bytes;

use crate::parsers::line_protocol::{Precision, parse};
use crate::point::{Point, Timestamp};

/// The points of encoded lines, and how many lines cannot be read: those of a spool of another version, perhaps.
pub(super) fn points(lines: &[Bytes]) -> (Vec<Point>, u64) {
    let now = Timestamp::now();
    let mut unreadable = 0;
    let point = |line: &Bytes| {
        let text = std::str::from_utf8(line).ok()?;
        parse(text, Precision::Nanoseconds).next()?.ok().map(|line| line.point(now))
    };
    let points = lines.iter().filter_map(|line| {
        let point = point(line);
        unreadable += u64::from(point.is_none());
        point
    });
    (points.collect(), unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_the_same_point_and_what_is_no_line_is_counted() {
        let point = Point::new("m x", Timestamp(7)).tag("t", "a,b").field("u", u64::MAX).field("s", "a\nb");
        let format = crate::line_protocol::Format { uint_support: true, ..Default::default() };
        let mut line = Vec::new();
        format.encode(&point, &mut line, &mut Vec::new()).unwrap();
        let lines = [Bytes::from(line), Bytes::from_static(b"m f=\n"), Bytes::from_static(b"\xff\n")];
        assert_eq!(points(&lines), (vec![point], 2));
    }
}
