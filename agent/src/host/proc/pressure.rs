//! Pressure stall information: for how long tasks stalled because a resource was busy. `/proc/pressure/*` for the machine, and
//! with the same lines `*.pressure` for a cgroup.
//!
//! Source: [Documentation/accounting/psi.rst](https://docs.kernel.org/accounting/psi.html), since Linux 4.20, where the kernel
//! was built and booted with it. Not procfs's parser: that one has single precision, and refuses a file without `full`, which
//! `cpu` has since Linux 5.13.

/// Pressure stall information of one kind: a line of such a file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Share of the last 10 s in which tasks stalled, in percent.
    pub(crate) avg10: f64,
    /// Of the last minute.
    pub(crate) avg60: f64,
    /// Of the last five minutes.
    pub(crate) avg300: f64,
    /// Time in which tasks stalled since boot, or since the cgroup was made, in microseconds.
    pub(crate) total_us: u64,
}

impl Pressure {
    /// Nothing stalled for the last five minutes.
    pub(crate) fn is_zero(&self) -> bool {
        self.avg10 == 0.0 && self.avg60 == 0.0 && self.avg300 == 0.0
    }

    /// Reads a file: `some` (at least one task stalled), and where there is one `full` (all of them did).
    #[must_use]
    pub(crate) fn parse(text: &str) -> Vec<(&'static str, Self)> {
        text.lines().filter_map(Self::parse_line).collect()
    }

    /// Reads a line: `some avg10=0.12 avg60=0.05 avg300=0.01 total=11220657`; `None` when it is malformed.
    #[must_use]
    pub(crate) fn parse_line(line: &str) -> Option<(&'static str, Self)> {
        let (kind, values) = line.split_once(' ')?;
        let kind = ["some", "full"].into_iter().find(|known| *known == kind)?;
        let mut pressure = Self::default();
        for value in values.split_ascii_whitespace() {
            match value.split_once('=')? {
                ("avg10", value) => pressure.avg10 = value.parse().ok()?,
                ("avg60", value) => pressure.avg60 = value.parse().ok()?,
                ("avg300", value) => pressure.avg300 = value.parse().ok()?,
                ("total", value) => pressure.total_us = value.parse().ok()?,
                _ => {}
            }
        }
        Some((kind, pressure))
    }
}
