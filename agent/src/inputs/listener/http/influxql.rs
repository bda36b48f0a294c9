//! The little of InfluxQL that clients ask before they write.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What any other statement is answered.
const NO_QUERIES: &str = "points are taken here and passed on, and there is nothing to be queried: ask the InfluxDB that they are written to";
/// Bytes of a database's or a retention policy's name: influxd's limit.
pub(super) const MAX_NAME: usize = 255;
/// What influxd says of a longer one.
pub(super) const NAME_TOO_LONG: &str = "name too long";
/// Names that are remembered, and that one answer has.
const MAX_NAMES: usize = 1_000;
/// Bytes of all of them.
const MAX_NAME_BYTES: usize = 64 << 10;
/// Statements of a query: each has a result of its own, which is longer than the statement.
const MAX_STATEMENTS: usize = 100;

/// The databases that there seem to be: those that were created or written to.
#[derive(Debug, Default)]
pub(super) struct Databases {
    names: BTreeSet<String>,
    /// Of all names.
    bytes: usize,
}

impl Databases {
    /// Remembers a name.
    pub(super) fn add(&mut self, name: &str) {
        let has_room = self.names.len() < MAX_NAMES && self.bytes + name.len() <= MAX_NAME_BYTES;
        if has_room && (1..=MAX_NAME).contains(&name.len()) && !self.names.contains(name) {
            self.names.insert(name.to_owned());
            self.bytes += name.len();
        }
    }

    /// All names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Answers a query: a result for each statement, as influxd does.
    ///
    /// # Errors
    /// It has too many statements.
    pub(super) fn answer(&mut self, query: &str) -> Result<Value, String> {
        let statements = statements(query);
        if statements.len() > MAX_STATEMENTS {
            return Err(format!(
                "error parsing query: more than {MAX_STATEMENTS} statements: send fewer at once"
            ));
        }
        let mut n_left = MAX_NAMES;
        let results = statements.into_iter().enumerate().map(|(id, words)| {
            let mut result = json!({ "statement_id": id });
            match self.result(&words, &mut n_left) {
                Ok(series) if series.is_null() => {}
                Ok(series) => result["series"] = series,
                Err(error) => result["error"] = error.into(),
            }
            result
        });
        Ok(json!({ "results": results.collect::<Vec<_>>() }))
    }

    /// The series of a statement's result, or why there are none; `n_left` names have room in the answer.
    fn result(&mut self, words: &[String], n_left: &mut usize) -> Result<Value, &'static str> {
        let keywords: Vec<String> = words.iter().take(3).map(|word| word.to_uppercase()).collect();
        let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
        match keywords.as_slice() {
            ["CREATE", "DATABASE", _] if words[2].len() > MAX_NAME => Err(NAME_TOO_LONG),
            ["CREATE", "DATABASE", _] => {
                self.add(&words[2]);
                Ok(Value::Null)
            }
            ["CREATE" | "ALTER", "RETENTION", "POLICY"] => Ok(Value::Null),
            ["SHOW", "DATABASES"] => {
                let n_names = self.names.len();
                *n_left = n_left.checked_sub(n_names).ok_or("the answer is too long: ask for them once")?;
                let names: Vec<Value> = self.names().map(|name| json!([name])).collect();
                Ok(json!([{ "name": "databases", "columns": ["name"], "values": names }]))
            }
            ["SHOW", "RETENTION", "POLICIES"] => {
                let columns = ["name", "duration", "shardGroupDuration", "replicaN", "default"];
                Ok(json!([{ "columns": columns }]))
            }
            ["SHOW", "MEASUREMENTS", ..] | ["SHOW", "SERIES", ..] | ["SHOW", "USERS"] => Ok(Value::Null),
            _ => Err(NO_QUERIES),
        }
    }
}

/// The words of each statement; a name in quotes is one word, without them.
fn statements(query: &str) -> Vec<Vec<String>> {
    let (mut statements, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut quote = None;
    let mut chars = query.chars();
    let end_word = |word: &mut String, words: &mut Vec<String>| {
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', Some(_)) => word.extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => quote = Some(c),
            (';', None) => {
                end_word(&mut word, &mut words);
                statements.push(std::mem::take(&mut words));
            }
            (c, None) if c.is_whitespace() => end_word(&mut word, &mut words),
            (c, None) => word.push(c),
        }
    }
    end_word(&mut word, &mut words);
    statements.push(words);
    statements.retain(|words| !words.is_empty());
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_has_a_result() {
        let mut databases = Databases::default();
        databases.add("written");
        let query = "CREATE DATABASE \"my; \\\"db\\\"\" WITH DURATION 1d; create database plain;show databases;\
            SELECT * FROM cpu;; SHOW RETENTION POLICIES ON plain; SHOW MEASUREMENTS";
        let answer = databases.answer(query).unwrap();
        assert_eq!(answer["results"][0], json!({ "statement_id": 0 }));
        assert_eq!(answer["results"][1], json!({ "statement_id": 1 }));
        let values = json!([["my; \"db\""], ["plain"], ["written"]]);
        let series = json!([{ "name": "databases", "columns": ["name"], "values": values }]);
        assert_eq!(answer["results"][2], json!({ "statement_id": 2, "series": series }));
        assert_eq!(answer["results"][3], json!({ "statement_id": 3, "error": NO_QUERIES }));
        assert_eq!(answer["results"][4]["series"][0]["columns"][0], "name");
        assert_eq!(answer["results"][5], json!({ "statement_id": 5 }));
        assert_eq!(answer["results"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn names_have_a_bound() {
        let mut databases = Databases::default();
        (0..2 * MAX_NAMES).for_each(|n| databases.add(&n.to_string()));
        databases.add("");
        assert_eq!(databases.names().count(), MAX_NAMES);
        let mut databases = Databases::default();
        let long = |n: usize| format!("{n:0MAX_NAME$}");
        (0..MAX_NAMES).for_each(|n| databases.add(&long(n)));
        let bytes: usize = databases.names().map(str::len).sum();
        assert!(bytes <= MAX_NAME_BYTES && bytes > MAX_NAME_BYTES / 2, "{bytes}");
        let mut databases = Databases::default();
        databases.add(&"x".repeat(MAX_NAME + 1));
        assert_eq!(databases.names().count(), 0);
        let answer = databases.answer(&format!("CREATE DATABASE {}", "x".repeat(MAX_NAME + 1))).unwrap();
        assert_eq!(answer["results"][0], json!({ "statement_id": 0, "error": "name too long" }));
    }

    #[test]
    fn an_answer_has_a_bound() {
        let mut databases = Databases::default();
        let error = databases.answer(&"x;".repeat(MAX_STATEMENTS + 1)).unwrap_err();
        assert_eq!(error, "error parsing query: more than 100 statements: send fewer at once");
        (0..MAX_NAMES).for_each(|n| databases.add(&format!("{n:060}")));
        let answer = databases.answer(&"SHOW DATABASES;;".repeat(MAX_STATEMENTS)).unwrap();
        assert_eq!(answer["results"][0]["series"][0]["values"].as_array().unwrap().len(), MAX_NAMES);
        assert_eq!(answer["results"][99]["error"], "the answer is too long: ask for them once");
        assert!(answer.to_string().len() < 100_000);
    }
}
