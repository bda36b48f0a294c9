//! What a measurement is made of: the types of the schema's tables, and short constructors for their rows.
//!
//! Owns the shape of a table's row; which measurements there are is in the files beside this one.

use crate::point::FieldValue;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`FieldValue::Int`].
    Int,
    /// [`FieldValue::UInt`]; an integer on the wire, unless `influx_uint_support` is set.
    UInt,
    /// [`FieldValue::Float`].
    Float,
    /// [`FieldValue::Text`].
    Text,
    /// [`FieldValue::Bool`].
    Bool,
}

impl Kind {
    /// The type of a value.
    #[must_use]
    pub fn of(value: &FieldValue) -> Self {
        match value {
            FieldValue::Int(_) => Self::Int,
            FieldValue::UInt(_) => Self::UInt,
            FieldValue::Float(_) => Self::Float,
            FieldValue::Text(_) => Self::Text,
            FieldValue::Bool(_) => Self::Bool,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::UInt => "unsigned",
            Self::Float => "float",
            Self::Text => "string",
            Self::Bool => "boolean",
        }
    }
}

/// A measurement: what one kind of point contains.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// The input that gathers it, as in `[[inputs.NAME]]`.
    pub input: &'static str,
    /// What it is, and where it comes from.
    pub help: &'static str,
    /// Its tags, besides `host` and the global ones.
    pub tags: &'static [Tag],
    /// Its fields.
    pub fields: &'static [Field],
}

impl Measurement {
    /// Whether it is this agent's, and Telegraf has none of that name.
    pub(crate) fn is_own(&self) -> bool {
        self.input == "ebpf"
    }
}

/// A tag of a measurement. One with a name in angle brackets stands for any: `<property>`.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Its key; `*` stands for any.
    pub name: &'static str,
    /// What it means, and when it is present.
    pub help: &'static str,
}

/// A field of a measurement. One with a name in angle brackets stands for any, of its type: `<file>`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its unit; empty for a text.
    pub unit: &'static str,
    /// What it counts, since when, and its source.
    pub help: &'static str,
}

pub(super) const fn tag(name: &'static str, help: &'static str) -> Tag {
    Tag { name, help }
}

pub(super) const fn int(name: &'static str, unit: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::Int, unit, help }
}

pub(super) const fn uint(name: &'static str, unit: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::UInt, unit, help }
}

pub(super) const fn float(name: &'static str, unit: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::Float, unit, help }
}

pub(super) const fn text(name: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::Text, unit: "", help }
}

pub(super) const fn boolean(name: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::Bool, unit: "", help }
}
