//! Which of the two formats a page is in.

/// The two formats; they differ in the names of samples, the unit of times, and a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Text,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}
