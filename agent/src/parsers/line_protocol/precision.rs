//! The unit in which a text has its times.

/// The unit of the times in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nanoseconds, which is also what a request without a precision means.
    #[default]
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes; in version 1 only.
    Minutes,
    /// Hours; in version 1 only.
    Hours,
}

impl Precision {
    /// The parameter `precision` of `/write`. Like influxd 1, takes any other text for nanoseconds.
    #[must_use]
    pub fn of_write(text: &str) -> Self {
        match text {
            "u" | "us" | "µ" => Self::Microseconds,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            _ => Self::Nanoseconds,
        }
    }

    /// The parameter `precision` of `/api/v2/write`; `None` for a text that influxd 2 refuses.
    #[must_use]
    pub fn of_v2_write(text: &str) -> Option<Self> {
        match text {
            "" | "ns" => Some(Self::Nanoseconds),
            "us" => Some(Self::Microseconds),
            "ms" => Some(Self::Milliseconds),
            "s" => Some(Self::Seconds),
            _ => None,
        }
    }

    /// How many nanoseconds one unit has.
    #[must_use]
    pub fn nanoseconds(self) -> i64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Minutes => 60_000_000_000,
            Self::Hours => 3_600_000_000_000,
        }
    }
}
