//! From the value of a file to an option's type, and in a person's words why it does not fit.
//!
//! serde's own messages speak of Rust's types. This deserializer takes what serde expects, and says it as one writes it.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use toml::Value;

use super::nearest;

/// Reads an option's type from a value.
///
/// # Errors
/// What is wrong, and what to write; the value itself is not repeated, since it may be a secret.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(Written(value)).map_err(|Misfit(text)| text)
}

/// Why a value does not fit.
#[derive(Debug)]
struct Misfit(String);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misfit {}

impl Error for Misfit {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("must be {}", words(&expected.to_string())))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("must be {}", words(&expected.to_string())))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self(format!("there is no `{variant}`{}; there are: {}", nearest(variant, known), known.join(", ")))
    }
}

/// What serde expects, as a person writes it. What an option's own visitor expects is in such words already.
fn words(expected: &str) -> String {
    let whole = |least: &dyn fmt::Display, most: &dyn fmt::Display| {
        format!("a whole number from {least} to {most}, without quotes")
    };
    match expected {
        "a boolean" => "true or false, without quotes".into(),
        "a string" => "text in quotes".into(),
        "a sequence" => "a list, such as [\"a\", \"b\"]".into(),
        "a map" => "a table, such as { key = \"value\" }".into(),
        "i32" => whole(&i32::MIN, &i32::MAX),
        "i64" => whole(&i64::MIN, &i64::MAX),
        "u8" => whole(&0, &u8::MAX),
        "u16" => whole(&0, &u16::MAX),
        "u32" => whole(&0, &u32::MAX),
        "u64" | "usize" => whole(&0, &i64::MAX),
        own => own.to_owned(),
    }
}

/// A value of a file.
#[derive(Clone, Copy)]
struct Written<'a>(&'a Value);

impl<'de> IntoDeserializer<'de, Misfit> for Written<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Written<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Datetime(_) => Err(Misfit::invalid_type(Unexpected::Other("date"), &visitor)),
            Value::Array(values) => visitor.visit_seq(SeqDeserializer::new(values.iter().map(Written))),
            Value::Table(table) => {
                let entries = table.iter().map(|(key, value)| (key.as_str(), Written(value)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(StrDeserializer::new(text)),
            _ => Err(Misfit(format!("must be one of these, in quotes: {}", known.join(", ")))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A number for which Telegraf takes its default when it is 0.
pub(crate) fn number_or<
    'de,
    D: Deserializer<'de>,
    T: serde::Deserialize<'de> + From<u8> + PartialEq,
    const DEFAULT: u8,
>(
    deserializer: D,
) -> Result<T, D::Error> {
    let number = T::deserialize(deserializer)?;
    Ok(if number == T::from(0) { T::from(DEFAULT) } else { number })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use rstest::rstest;
    use serde::Deserialize;

    use super::*;
    use crate::options::duration;
    use crate::options::secret::Secret;

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        Whole,
        Split,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        switch: bool,
        text: String,
        level: i32,
        archives: i64,
        port: u16,
        version: u8,
        size: u32,
        bytes: u64,
        length: usize,
        kind: Kind,
        kinds: Vec<Kind>,
        names: Vec<String>,
        headers: BTreeMap<String, Secret>,
        maybe: Option<bool>,
        #[serde(deserialize_with = "duration::deserialize")]
        timeout: Duration,
        #[serde(deserialize_with = "duration::deserialize_size")]
        limit: u32,
    }

    #[rstest]
    #[case("switch = \"yes\"", "must be true or false, without quotes")]
    #[case("maybe = 1", "must be true or false, without quotes")]
    #[case("text = 7", "must be text in quotes")]
    #[case("text = 1979-05-27", "must be text in quotes")]
    #[case("level = \"1\"", "must be a whole number from -2147483648 to 2147483647, without quotes")]
    #[case("level = 1.5", "must be a whole number from -2147483648 to 2147483647, without quotes")]
    #[case("port = 65536", "must be a whole number from 0 to 65535, without quotes")]
    #[case("version = -1", "must be a whole number from 0 to 255, without quotes")]
    #[case("size = -1", "must be a whole number from 0 to 4294967295, without quotes")]
    #[case("size = 4294967296", "must be a whole number from 0 to 4294967295, without quotes")]
    #[case("bytes = -1", "must be a whole number from 0 to 9223372036854775807, without quotes")]
    #[case("length = []", "must be a whole number from 0 to 9223372036854775807, without quotes")]
    #[case(
        "archives = true",
        "must be a whole number from -9223372036854775808 to 9223372036854775807, without quotes"
    )]
    #[case("kind = \"splits\"", "there is no `splits`: did you mean `split`?; there are: whole, split")]
    #[case("kind = 1", "must be one of these, in quotes: whole, split")]
    #[case("kinds = [\"nothing\"]", "there is no `nothing`; there are: whole, split")]
    #[case("kinds = \"whole\"", "must be a list, such as [\"a\", \"b\"]")]
    #[case("names = [1]", "must be text in quotes")]
    #[case("headers = \"a\"", "must be a table, such as { key = \"value\" }")]
    #[case("timeout = true", "must be a duration such as \"10s\", or a number of seconds")]
    #[case("timeout = -1", "a duration cannot be negative")]
    #[case("limit = 0.5", "must be a size such as \"1MiB\", or a number of bytes")]
    #[case("limit = \"8GiB\"", "8589934592 bytes are out of range")]
    fn a_value_that_does_not_fit_is_told_as_one_writes_it(#[case] text: &str, #[case] expected: &str) {
        let value = Value::Table(text.parse().unwrap());
        assert_eq!(read::<Options>(&value).unwrap_err(), expected);
    }

    #[test]
    fn what_fits_is_read() {
        let text =
            "kind = \"split\"\nkinds = [\"whole\"]\nmaybe = false\nheaders = { a = \"b\" }\nlimit = \"1KiB\"";
        let options: Options = read(&Value::Table(text.parse().unwrap())).unwrap();
        assert!(matches!((options.kind, options.kinds.as_slice()), (Kind::Split, [Kind::Whole])));
        assert_eq!((options.maybe, options.limit, options.headers["a"].expose()), (Some(false), 1024, "b"));
    }
}
