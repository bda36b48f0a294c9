//! What an event or a span of the log has.

use std::fmt;

use serde_json::Value;
use tracing::Level;
use tracing::field::{Field, Visit};

/// The source of lines that are of no plugin.
pub(super) const AGENT: &str = "agent";

/// The plugin of a span.
pub(super) struct Plugin {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) alias: String,
    pub(super) level: Option<Level>,
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.name)?;
        if self.alias.is_empty() { Ok(()) } else { write!(f, "::{}", self.alias) }
    }
}

/// The fields of an event or a span, with the message apart.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    /// In the order of the code, which is by importance.
    pub(super) others: Vec<(&'static str, Value)>,
}

impl Fields {
    pub(super) fn take(&mut self, key: &str) -> String {
        match self.others.iter_mut().find(|(name, _)| *name == key) {
            Some((_, Value::String(text))) => std::mem::take(text),
            _ => String::new(),
        }
    }

    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        // The origin of the `log` crate's messages; level and target are shown anyway.
        if !field.name().starts_with("log.") {
            self.others.push((field.name(), value.into()));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.set(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.set(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
}
