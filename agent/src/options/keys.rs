//! The keys of an option struct, from the type itself.
//!
//! serde's derive passes the names of a struct's fields to the deserializer; this one takes them, and reads nothing.

use std::cell::Cell;

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The names of a struct's fields, as serde reads them; none for any other type.
#[must_use]
pub(crate) fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    let keys = Cell::new(&[] as &[&str]);
    // It always fails: there is nothing to read.
    let _ = T::deserialize(Fields(&keys));
    keys.get()
}

struct Fields<'a>(&'a Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("there is nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.set(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        timeout: String,
        #[serde(rename = "type")]
        kind: Vec<String>,
    }

    #[test]
    fn they_are_those_that_a_file_has() {
        assert_eq!(keys::<Options>(), ["timeout", "type"]);
        assert!(keys::<Vec<String>>().is_empty());
    }
}
