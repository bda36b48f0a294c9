//! Numbers as people read them: short, with a unit.

use crate::schema::views::{Column, Unit};

/// The text of a value; `-` for nothing.
#[must_use]
pub fn value(unit: Unit, value: Option<f64>) -> String {
    let Some(value) = value else { return "-".into() };
    match unit {
        Unit::Percent => format!("{value:.1}"),
        Unit::Bytes | Unit::BytesPerSecond => bytes(value),
        Unit::PerSecond | Unit::Count => count(value),
        Unit::Micros => micros(value),
    }
}

/// The same where no title says the unit.
#[must_use]
pub fn with_unit(unit: Unit, value: f64) -> String {
    let text = self::value(unit, Some(value));
    match unit {
        Unit::Percent => format!("{text}%"),
        Unit::BytesPerSecond | Unit::PerSecond => format!("{text}/s"),
        Unit::Bytes | Unit::Micros | Unit::Count => text,
    }
}

/// The characters that a column needs.
#[must_use]
pub fn width(column: &Column) -> usize {
    // Of a machine with 128 CPUs; else seven characters, and a blank.
    let needed = if column.unit == Unit::Percent { "12800.0".len() } else { " 1023KiB".len() };
    needed.max(column.title.len())
}

/// Bytes with a unit, in at most seven characters; `-` for zero.
#[must_use]
pub fn bytes(value: f64) -> String {
    scaled(value, &["B", "KiB", "MiB", "GiB", "TiB"], 1024.0)
}

/// A count with a unit.
#[must_use]
pub fn count(value: f64) -> String {
    scaled(value, &["", "k", "M", "G"], 1000.0)
}

/// A time in microseconds.
#[must_use]
pub fn micros(value: f64) -> String {
    scaled(value, &["us", "ms", "s"], 1000.0)
}

fn scaled(mut value: f64, units: &[&str], step: f64) -> String {
    let mut unit = 0;
    if value < 0.05 {
        return "-".into();
    }
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}{}", units[unit])
    } else {
        format!("{value:.1}{}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::schema::views::{VIEWS, View};

    #[rstest]
    #[case(Unit::Percent, 12_800.0, "12800.0", "12800.0%")]
    #[case(Unit::Percent, 0.0, "0.0", "0.0%")]
    #[case(Unit::Bytes, 0.0, "-", "-")]
    #[case(Unit::Bytes, 1023.0 * 1024.0, "1023KiB", "1023KiB")]
    #[case(Unit::BytesPerSecond, 1_610_612.0, "1.5MiB", "1.5MiB/s")]
    #[case(Unit::PerSecond, 999_999.0, "1000k", "1000k/s")]
    #[case(Unit::Micros, 12_500.0, "12.5ms", "12.5ms")]
    #[case(Unit::Count, 42.0, "42", "42")]
    fn a_value_is_short(#[case] unit: Unit, #[case] number: f64, #[case] short: &str, #[case] long: &str) {
        assert_eq!(value(unit, Some(number)), short);
        assert_eq!(with_unit(unit, number), long);
        assert_eq!(value(unit, None), "-");
    }

    #[test]
    fn every_column_has_room_for_its_values() {
        for column in VIEWS.iter().flat_map(View::columns) {
            for number in [0.0, 99.95, 999.96, 1023.96, 12_800.0, 1_048_575.0, 9.999e9] {
                let text = value(column.unit, Some(number));
                let fits = column.unit == Unit::Percent && number > 12_800.0 || text.len() <= width(column);
                assert!(fits, "{}: {text}", column.key);
            }
        }
    }
}
