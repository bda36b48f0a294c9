//! Why a line is refused, in influxd's words, and the limits that are among the reasons.

/// influxd's limit for measurement and tags, and for these with a field's key.
pub(super) const MAX_KEY_BYTES: usize = 65_535;
/// The two lowest values and the highest one mean something else inside influxd.
pub(super) const TIMES: std::ops::RangeInclusive<i64> = i64::MIN + 2..=i64::MAX - 1;

/// What is wrong with a line, in influxd's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum Reason {
    #[error("missing measurement")]
    MissingMeasurement,
    #[error("missing fields")]
    MissingFields,
    #[error("missing tag key")]
    MissingTagKey,
    #[error("missing tag value")]
    MissingTagValue,
    #[error("invalid tag format")]
    InvalidTagFormat,
    #[error("duplicate tags")]
    DuplicateTags,
    #[error("missing field key")]
    MissingFieldKey,
    #[error("missing field value")]
    MissingFieldValue,
    #[error("invalid field format")]
    InvalidFieldFormat,
    #[error("invalid value: field-key={0}")]
    InvalidValue(String),
    #[error("unbalanced quotes")]
    UnbalancedQuotes,
    #[error("invalid number")]
    InvalidNumber,
    #[error("invalid float")]
    InvalidFloat,
    #[error("unable to parse integer {0}: strconv.ParseInt: parsing \"{0}\": value out of range")]
    IntegerOutOfRange(String),
    #[error("unable to parse unsigned {0}: strconv.ParseUint: parsing \"{0}\": value out of range")]
    UnsignedOutOfRange(String),
    #[error("invalid boolean")]
    InvalidBoolean,
    #[error("bad timestamp")]
    BadTimestamp,
    #[error("strconv.ParseInt: parsing \"{0}\": invalid syntax")]
    NoTimestamp(String),
    #[error("strconv.ParseInt: parsing \"{0}\": value out of range")]
    TimestampOutOfRange(String),
    #[error("time outside range {} - {}", TIMES.start(), TIMES.end())]
    TimeOutOfRange,
    #[error("point is invalid")]
    InvalidPoint,
    #[error("max key length exceeded: {0} > {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
}
