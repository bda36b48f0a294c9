//! Odd points: what is hard to write, and to read, in all their names and values; the same for every store that is to give them
//! back.

use seismograf::point::{Point, Timestamp};

/// What can stand in a name or a value, the worst of it often.
const PIECES: &[&str] = &[
    ",",
    " ",
    "=",
    "\"",
    "\\",
    "\n",
    "\r",
    "\t",
    "'",
    "#",
    "ü",
    "東京",
    "🦀",
    "a",
    "b",
    "0",
    "i",
    "\u{7f}",
    ",x=y f=1i 1\n",
    "\\,",
    "\\ ",
    "\\=",
    "\\\"",
];

/// A name or a value.
pub fn text(random: &mut fastrand::Rng) -> String {
    (0..1 + random.usize(..6)).map(|_| PIECES[random.usize(..PIECES.len())]).collect()
}

/// `n` points of [`N_MEASUREMENTS`], each at a time of its own. A field is named after its type, so that no two points differ in
/// it.
#[must_use]
pub fn points(seed: u64, n: usize, time: impl Fn(i64) -> Timestamp) -> Vec<Point> {
    let mut random = fastrand::Rng::with_seed(seed);
    let point = |i: usize| {
        let kind = i % N_MEASUREMENTS;
        let measurement = format!("m{kind}{}", ["", " x", ",y", "=z", "\n", "\"q", "ü"][kind]);
        let mut point = Point::new(measurement, time(i.cast_signed() as i64));
        for _ in 0..random.usize(..4) {
            point.set_tag(format!("t{}", text(&mut random)), text(&mut random));
        }
        point.set_field("i", random.i64(..));
        point.set_field("f", (random.f64() - 0.5) * 10_f64.powi(random.i32(-200..200)));
        point.set_field("b", random.bool());
        let suffix = ["", ",", " ", "=", "\"", "\n"][random.usize(..6)];
        point.set_field(format!("s{suffix}"), text(&mut random));
        point
    };
    (0..n).map(point).collect()
}

/// How many measurements the points have.
pub const N_MEASUREMENTS: usize = 7;

/// A name as the agent promises to send it: line ends in letters, and no backslash before a special character or the end.
#[must_use]
pub fn sanitized(name: &str) -> String {
    let mut name = name.to_owned();
    for special in [",", "=", " ", "\""] {
        while name.contains(&format!("\\{special}")) {
            name = name.replace(&format!("\\{special}"), special);
        }
    }
    let name = name.trim_end_matches('\\');
    name.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

/// The tags that a point has as it is sent: none whose value is empty then, and of several keys that are the same then the first.
#[must_use]
pub fn sanitized_tags(point: &Point) -> Vec<(String, String)> {
    let tags = point.tags.iter().map(|(key, value)| (sanitized(key), sanitized(value)));
    let mut tags: Vec<_> = tags.filter(|(_, value)| !value.is_empty()).collect();
    tags.sort_by(|(a, _), (b, _)| a.cmp(b));
    tags.dedup_by(|(a, _), (b, _)| a == b);
    tags
}
