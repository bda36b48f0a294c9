//! A measured point: what every input makes and every output takes.
//!
//! Owns the shape (measurement, tags, fields, time), not its text form (`line_protocol`) and not its
//! vocabulary (`schema`). Built by the inputs, after ledger and identity; nothing here touches the system.

pub mod list;
mod name;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::list::{Entry, List, Spare};
pub use self::name::Name;

/// Tags that many points have: those of an input, and those of all.
pub type Tags = BTreeMap<Name, Name>;

/// Wall-clock time in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time now.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Rounded to the nearest multiple of `precision`, halves up, as Telegraf does.
    ///
    /// A precision of zero leaves the time as it is.
    #[must_use]
    pub fn rounded(self, precision: Duration) -> Self {
        let unit = i64::try_from(precision.as_nanos()).unwrap_or(i64::MAX);
        if unit <= 1 {
            return self;
        }
        let rest = self.0.rem_euclid(unit);
        let down = self.0 - rest;
        Self(if rest >= unit - rest { down.saturating_add(unit) } else { down })
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let nanos = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()),
            Err(before) => i64::try_from(before.duration().as_nanos()).map(|nanos| -nanos),
        };
        Self(nanos.unwrap_or(i64::MAX))
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// A signed count.
    Int(i64),
    /// An unsigned count; on the wire an integer, capped at `i64::MAX` (Telegraf's default).
    UInt(u64),
    /// A floating-point number; the encoder drops those that are not finite.
    Float(f64),
    /// A string.
    Text(Name),
    /// A boolean.
    Bool(bool),
}

macro_rules! field_value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for FieldValue {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}
field_value_from!(i64 => Int, i32 => Int, u64 => UInt, u32 => UInt, f64 => Float, Name => Text, String => Text, bool => Bool);

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::Text(Name::new(text))
    }
}

impl Entry for (Name, Name) {
    fn spare() -> &'static Spare<Self> {
        static SPARE: Spare<(Name, Name)> = Spare::new();
        &SPARE
    }
}

impl Entry for (Name, FieldValue) {
    fn spare() -> &'static Spare<Self> {
        static SPARE: Spare<(Name, FieldValue)> = Spare::new();
        &SPARE
    }
}

/// One point: a measurement, its identity (tags), what was measured (fields), and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The measurement's name.
    pub measurement: Name,
    /// Tags in the order they were added; keys are unique, the encoder sorts them.
    pub tags: List<(Name, Name)>,
    /// Fields in the order they were added; keys are unique.
    pub fields: List<(Name, FieldValue)>,
    /// When it was measured.
    pub time: Timestamp,
}

/// So many are compared one by one rather than sorted.
const MAX_FEW: usize = 8;

impl Point {
    /// A point without tags and fields.
    pub fn new(measurement: impl Into<Name>, time: Timestamp) -> Self {
        Self { measurement: measurement.into(), tags: List::new(), fields: List::new(), time }
    }

    /// Sets a tag; one of the same key is replaced.
    pub fn set_tag(&mut self, key: impl Into<Name>, value: impl Into<Name>) {
        let (key, value) = (key.into(), value.into());
        match self.tags.iter_mut().find(|(k, _)| *k == key) {
            Some(tag) => tag.1 = value,
            None => self.tags.push((key, value)),
        }
    }

    /// Sets a field; one of the same key is replaced.
    pub fn set_field(&mut self, key: impl Into<Name>, value: impl Into<FieldValue>) {
        let (key, value) = (key.into(), value.into());
        match self.fields.iter_mut().find(|(k, _)| *k == key) {
            Some(field) => field.1 = value,
            None => self.fields.push((key, value)),
        }
    }

    /// Of several fields of one key keeps the last. For where fields are pushed, since setting each looks at all of them.
    pub fn keep_last_of_each_field(&mut self) {
        let fields = &mut self.fields;
        // As nearly always: few, and each once.
        let is_new = |at: usize| fields[..at].iter().all(|(key, _)| *key != fields[at].0);
        if fields.len() <= MAX_FEW && (1..fields.len()).all(is_new) {
            return;
        }
        let mut order: Vec<usize> = (0..fields.len()).collect();
        order.sort_by(|a, b| fields[*a].0.cmp(&fields[*b].0));
        let replaced = order.windows(2).filter(|pair| fields[pair[0]].0 == fields[pair[1]].0);
        let replaced: BTreeSet<usize> = replaced.map(|pair| pair[0]).collect();
        if !replaced.is_empty() {
            let mut at = 0..;
            fields.retain(|_| at.next().is_some_and(|at| !replaced.contains(&at)));
        }
    }

    /// Sets a tag, for chaining.
    #[must_use]
    pub fn tag(mut self, key: impl Into<Name>, value: impl Into<Name>) -> Self {
        self.set_tag(key, value);
        self
    }

    /// Sets a field, for chaining.
    #[must_use]
    pub fn field(mut self, key: impl Into<Name>, value: impl Into<FieldValue>) -> Self {
        self.set_field(key, value);
        self
    }

    /// The value of a tag.
    #[must_use]
    pub fn tag_value(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The value of a field.
    #[must_use]
    pub fn field_value(&self, key: &str) -> Option<&FieldValue> {
        self.fields.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocations::allocations;

    #[test]
    fn a_point_allocates_nothing_once_another_was_dropped() {
        let names =
            ["container_name", "namespace", "pod_name", "a_key_that_is_longer_than_what_stands_in_a_name"];
        let value = Name::new("a value that is longer than what stands in a name");
        let make = || {
            let mut point = Point::new("cgroup_cpu", Timestamp(7));
            names.iter().for_each(|name| point.set_tag(*name, &value));
            names.iter().for_each(|name| point.set_field(*name, 1_i64));
            point
        };
        // Other tests take of the same memory at the same time.
        let mut rounds = (0..100).map(|_| allocations(make));
        assert!(rounds.any(|n| n == 0));
    }

    #[test]
    fn rounds_to_the_nearest_multiple() {
        let second = Duration::from_secs(1);
        assert_eq!(Timestamp(1_499_999_999).rounded(second), Timestamp(1_000_000_000));
        assert_eq!(Timestamp(1_500_000_000).rounded(second), Timestamp(2_000_000_000));
        assert_eq!(Timestamp(-1).rounded(second), Timestamp(0));
        assert_eq!(Timestamp(7).rounded(Duration::ZERO), Timestamp(7));
    }

    #[test]
    fn of_fields_that_were_pushed_the_last_of_a_key_is_kept() {
        let mut point = Point::new("m", Timestamp(0));
        point.fields = ["b", "a", "b", "c", "a", "b"]
            .into_iter()
            .zip(0..)
            .map(|(k, n)| (k.into(), FieldValue::Int(n)))
            .collect();
        point.keep_last_of_each_field();
        let kept: Vec<_> = point.fields.iter().map(|(key, value)| (&**key, value.clone())).collect();
        assert_eq!(kept, [("c", FieldValue::Int(3)), ("a", FieldValue::Int(4)), ("b", FieldValue::Int(5))]);
    }

    #[test]
    fn a_key_is_set_once() {
        let mut point = Point::new("m", Timestamp(0)).tag("a", "1").field("f", 1_i64);
        point.set_tag("a", "2");
        point.set_field("f", 2_i64);
        assert_eq!(point.tags, [("a".into(), "2".into())]);
        assert_eq!(point.fields, [("f".into(), FieldValue::Int(2))]);
    }
}
