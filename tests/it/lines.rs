//! The parser of line protocol, with a real influxd as its judge: both take the same lines, refuse the same ones in the same
//! words, and read the same points from them.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Trial;
use seismograf::parsers::line_protocol::{self, Line, Precision, Value};
use seismograf_tests::http::{Answer, request};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::trial;
use serde_json::Value as Json;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("lines::influxd_reads_generated_lines_alike", generated_lines)]
}

/// How many lines are generated; by default few enough for every run.
const N_LINES: &str = "SEISMOGRAF_JUDGED_LINES";
const DEFAULT_N_LINES: usize = 3_000;
const LINES_PER_REQUEST: usize = 100;

fn generated_lines() -> Outcome {
    let influxd = Influxd::start(Setup::default())?;
    let n_lines = std::env::var(N_LINES).map_or(DEFAULT_N_LINES, |n| n.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("lines: seed {seed}");
    let mut generator = Generator { random: fastrand::Rng::with_seed(seed), n_lines: 0 };
    let mut sum = Verdict::default();
    for n in 0..n_lines.div_ceil(LINES_PER_REQUEST) {
        let text: String = (0..LINES_PER_REQUEST).map(|_| generator.line() + "\n").collect();
        let verdict = judge(&influxd, &format!("d{n}"), &text);
        sum.n_taken += verdict.n_taken;
        sum.n_refused += verdict.n_refused;
    }
    println!("lines: influxd and the parser took {} lines alike, and refused {}", sum.n_taken, sum.n_refused);
    let few = n_lines / 10;
    assert!(sum.n_taken > few && sum.n_refused > few, "the generator is at fault: {sum:?}");
    Ok(())
}

#[derive(Debug, Default)]
struct Verdict {
    n_taken: usize,
    n_refused: usize,
}

/// Has both read a text into a database of its own.
fn judge(influxd: &Influxd, database: &str, text: &str) -> Verdict {
    assert_eq!(influxd.query("", &format!("CREATE DATABASE {database}")).status, 200);
    let path = format!("/write?db={database}&precision=ms");
    let answer = request(influxd.address(), "POST", &path, None, text).unwrap();
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for line in line_protocol::parse(text, Precision::Milliseconds) {
        match line {
            Ok(line) => taken.push(line),
            Err(error) => refused.push(error.to_string()),
        }
    }
    if answer.status == 500 {
        // influxd has let a line pass that its storage cannot read, and has dropped the whole request.
        assert!(answer.body.contains("engine: ") && !refused.is_empty(), "{answer:?}");
        return Verdict::default();
    }
    if answer.body.contains("field type conflict") {
        // One line has a key twice, with values of two types: influxd says that alone.
        return Verdict::default();
    }
    assert_same(&errors(&refused.join("\n")), &errors(&refusal(&answer)), text);
    let (mut ours, theirs) = (ours(&taken), theirs(influxd, database));
    // A measurement with an escape that it does not need is stored, and influxd itself does not find its values again.
    ours.retain(|(name, _), _| {
        theirs.keys().any(|(known, _)| known == name) || !name.contains(['=', '"', '\\'])
    });
    assert_same(&Vec::from_iter(ours), &Vec::from_iter(theirs), text);
    assert_eq!(influxd.query("", &format!("DROP DATABASE {database}")).status, 200);
    Verdict { n_taken: taken.len(), n_refused: refused.len() }
}

fn errors(text: &str) -> Vec<&str> {
    text.split("\nunable to parse '").collect()
}

/// Shows the first difference alone.
fn assert_same<T: PartialEq + std::fmt::Debug>(ours: &[T], theirs: &[T], text: &str) {
    for n in 0..ours.len().max(theirs.len()) {
        assert_eq!(ours.get(n), theirs.get(n), "of {text:?}");
    }
}

/// What influxd says of the lines that it refuses.
fn refusal(answer: &Answer) -> String {
    if answer.status == 204 {
        return String::new();
    }
    assert_eq!(answer.status, 400, "{}", answer.body);
    let body: Json = serde_json::from_str(&answer.body).unwrap();
    let error = body["error"].as_str().unwrap();
    let error = error.strip_prefix("partial write: ").unwrap_or(error);
    error.strip_suffix(" dropped=0").unwrap_or(error).to_owned()
}

/// Points by measurement and tags: the time where the line has one, and the fields.
type Points = BTreeMap<(String, BTreeMap<String, String>), (Option<i64>, BTreeMap<String, Json>)>;

fn ours(lines: &[Line<'_>]) -> Points {
    let point = |line: &Line<'_>| {
        let tags = line.tags().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        let fields = line.fields().map(|(key, value)| {
            let value = match value {
                Value::Int(value) => value.into(),
                Value::UInt(value) => value.into(),
                Value::Float(value) => Json::from(value),
                Value::Text(text) => text.into(),
                Value::Bool(value) => value.into(),
            };
            // An empty key, which a tab lets pass, has this name in influxd's answer.
            (if key.is_empty() { "val0".to_owned() } else { key.into_owned() }, value)
        });
        let time = line.time().map(|time| time.0).filter(|time| is_own(*time));
        ((line.measurement().into_owned(), tags), (time, fields.collect()))
    };
    let mut points: Points = lines.iter().map(point).collect();
    points.values_mut().for_each(|(_, fields)| fields.values_mut().for_each(normalize));
    points
}

/// In InfluxDB's JSON a whole fraction looks like an integer. Of a text with something behind its closing quote influxd takes
/// the last byte away, be it a part of a character.
fn normalize(value: &mut Json) {
    if let Some(float) = value.as_f64() {
        *value = float.into();
    }
    if let Some(text) = value.as_str().and_then(|text| text.strip_suffix(char::REPLACEMENT_CHARACTER)) {
        *value = text.into();
    }
}

fn theirs(influxd: &Influxd, database: &str) -> Points {
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    let names = influxd.series(database, "SHOW MEASUREMENTS");
    let names = names.first().map_or(&[][..], |series| series["values"].as_array().unwrap());
    // One statement for each: in a common one a field has one type, and values of others are left out.
    let select = |name: &Json| {
        let name = text(&name[0]).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("SELECT * FROM \"{name}\" GROUP BY *")
    };
    let query: Vec<String> = names.iter().map(select).collect();
    if query.is_empty() {
        return Points::new();
    }
    let answer = influxd.query(database, &query.join(";"));
    let body: Json = serde_json::from_str(&answer.body).unwrap();
    let results = body["results"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!(results.len(), query.len(), "{answer:?}");
    let mut points = Points::new();
    for series in results.iter().filter_map(|result| result["series"].as_array()).flatten() {
        let tags = series["tags"].as_object().into_iter().flatten();
        let tags: BTreeMap<String, String> = tags.map(|(key, value)| (key.clone(), text(value))).collect();
        let columns: Vec<String> = series["columns"].as_array().unwrap().iter().map(text).collect();
        let values = series["values"].as_array().unwrap();
        assert_eq!(values.len(), 1, "each line is a series of its own: {series}");
        let row = columns.into_iter().zip(values[0].as_array().unwrap());
        let mut fields: BTreeMap<String, Json> =
            row.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, value.clone())).collect();
        let time = fields.remove("time").and_then(|time| time.as_i64()).unwrap();
        fields.values_mut().for_each(normalize);
        points.insert((text(&series["name"]), tags), (is_own(time).then_some(time), fields));
    }
    points
}

/// Times that lines have, in milliseconds: few, since each week of InfluxDB's is a folder of its own.
const TIMES: [i64; 6] = [0, 1, -1, 1_700_000_000_123, 9_223_372_036_854, -9_223_372_036_854];

fn is_own(nanoseconds: i64) -> bool {
    TIMES.iter().any(|time| time * 1_000_000 == nanoseconds)
}

/// Makes lines, most of them with something odd in them.
struct Generator {
    random: fastrand::Rng,
    n_lines: usize,
}

impl Generator {
    /// A line that begins with a measurement of its own, so that it is a series of its own whatever becomes of it.
    fn line(&mut self) -> String {
        self.n_lines += 1;
        let mut line = format!("m{}", self.n_lines) + self.name();
        for key in self.keys() {
            line += &format!(
                ",t{key}{}={}{}",
                self.name(),
                self.one_of(&["v", "v", "x y", "\"", "ü"]).replace(' ', "\\ "),
                self.name()
            );
        }
        line += self.one_of(&[" ", " ", " ", " ", " ", " ", "  ", " \t", "\\ "]);
        let mut keys = self.keys();
        if self.random.u8(..8) > 0 {
            keys.insert(7);
        }
        let fields: Vec<String> =
            keys.into_iter().map(|key| format!("f{key}{}={}", self.name(), self.value())).collect();
        line += &fields.join(",");
        if self.random.bool() {
            line += self.one_of(&[" ", " ", "  ", " \t"]);
            line += &TIMES[self.random.usize(..TIMES.len())].to_string();
            line += self.one_of(&["", "", "", "", "", "", " ", " x", ".0", "\t"]);
        }
        if self.random.u8(..4) == 0 { self.damaged(&line) } else { line }
    }

    /// Up to three different numbers, in any order.
    fn keys(&mut self) -> BTreeSet<u8> {
        (0..self.random.usize(..4)).map(|_| self.random.u8(..5)).collect()
    }

    /// The rest of a name: mostly nothing.
    fn name(&mut self) -> &'static str {
        match self.random.u8(..30) {
            0 => self.one_of(&["a b", ",", "=", "\"", "\\"]),
            1..4 => self.one_of(&["\\,", "\\ ", "\\=", "\\\"", "\\\\", "\\x", "é"]),
            _ => "",
        }
    }

    fn value(&mut self) -> &'static str {
        const VALID: &[&str] = &[
            "1",
            "-1",
            "1i",
            "-7i",
            "007i",
            "1.5",
            ".5",
            "5.",
            "-.5",
            "1e3",
            "1E-3",
            "1.e+3",
            "-1e-30",
            "9223372036854775807i",
            "-9223372036854775808i",
            "123456789012345678901234567890",
            "t",
            "T",
            "true",
            "True",
            "TRUE",
            "f",
            "F",
            "false",
            "False",
            "FALSE",
            "\"\"",
            "\"a\"",
            "\"a b,c=d\"",
            "\"a\\\"b\"",
            "\"a\\\\\"",
            "\"\\n\\x\"",
            "\"a\nb\"",
            "\"é🦀\"",
        ];
        const INVALID: &[&str] = &[
            "1e400",
            "1e",
            "-",
            ".",
            "1.2.3",
            "1i2",
            "1.5i",
            "--1",
            "+1",
            "1-1",
            "0x1",
            "NaN",
            "nan",
            "inf",
            "9223372036854775808i",
            "tRUE",
            "yes",
            "\"a\"b",
            "\"a",
            "a\"",
            "",
        ];
        if self.random.u8(..8) == 0 { self.one_of(INVALID) } else { self.one_of(VALID) }
    }

    fn one_of(&mut self, all: &[&'static str]) -> &'static str {
        all[self.random.usize(..all.len())]
    }

    /// The line with a character taken out, put in, or doubled, behind its measurement.
    fn damaged(&mut self, line: &str) -> String {
        let mut characters: Vec<char> = line.chars().collect();
        let start = 1 + self.n_lines.to_string().len();
        let at = self
            .random
            .usize(start..characters.len().max(start + 1))
            .min(characters.len() - 1)
            .max(start.min(characters.len() - 1));
        match self.random.u8(..3) {
            0 => drop(characters.remove(at)),
            1 => characters.insert(
                at,
                self.one_of(&["\\", "\"", ",", "=", " ", "i", "\t", "#", "e"]).chars().next().unwrap(),
            ),
            _ => characters.insert(at, characters[at]),
        }
        characters.into_iter().collect()
    }
}
