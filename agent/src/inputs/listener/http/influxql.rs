//! The little of InfluxQL that clients ask before they write.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What any other statement is answered.
const NO_QUERIES: &str = "points are taken here and passed on, and there is nothing to be queried: ask the InfluxDB that they are written to";
/// Names that are remembered.
const MAX_NAMES: usize = 1_000;

/// The databases that there seem to be: those that were created or written to.
#[derive(Debug, Default)]
pub(super) struct Databases(BTreeSet<String>);

impl Databases {
    /// Remembers a name.
    pub(super) fn add(&mut self, name: &str) {
        if !name.is_empty() && self.0.len() < MAX_NAMES && !self.0.contains(name) {
            self.0.insert(name.to_owned());
        }
    }

    /// All names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Answers a query: a result for each statement, as influxd does.
    pub(super) fn answer(&mut self, query: &str) -> Value {
        let results = statements(query).into_iter().enumerate().map(|(id, words)| {
            let mut result = json!({ "statement_id": id });
            match self.result(&words) {
                Ok(series) if series.is_null() => {}
                Ok(series) => result["series"] = series,
                Err(error) => result["error"] = error.into(),
            }
            result
        });
        json!({ "results": results.collect::<Vec<_>>() })
    }

    /// The series of a statement's result, or why there are none.
    fn result(&mut self, words: &[String]) -> Result<Value, String> {
        let keywords: Vec<String> = words.iter().take(3).map(|word| word.to_uppercase()).collect();
        let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
        match keywords.as_slice() {
            ["CREATE", "DATABASE", _] => {
                self.add(&words[2]);
                Ok(Value::Null)
            }
            ["CREATE" | "ALTER", "RETENTION", "POLICY"] => Ok(Value::Null),
            ["SHOW", "DATABASES"] => {
                let names: Vec<Value> = self.names().map(|name| json!([name])).collect();
                Ok(json!([{ "name": "databases", "columns": ["name"], "values": names }]))
            }
            ["SHOW", "RETENTION", "POLICIES"] => {
                let columns = ["name", "duration", "shardGroupDuration", "replicaN", "default"];
                Ok(json!([{ "columns": columns }]))
            }
            ["SHOW", "MEASUREMENTS", ..] | ["SHOW", "SERIES", ..] | ["SHOW", "USERS"] => Ok(Value::Null),
            _ => Err(NO_QUERIES.into()),
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
        let answer = databases.answer(query);
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
    }
}
