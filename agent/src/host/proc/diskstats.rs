//! `/proc/diskstats`: what each disk and partition has done since it appeared.
//!
//! Source: [Documentation/admin-guide/iostats.rst](https://docs.kernel.org/admin-guide/iostats.html). Not procfs's parser:
//! that one copies the name on every line, most of which belong to devices that never did anything.

/// What a sector counts for here, whatever the disk's own sectors are.
pub(crate) const SECTOR_BYTES: u64 = 512;

/// Columns of a line since Linux 2.6, of a partition's since 2.6.25; those before had seven.
const N_COLUMNS: usize = 14;

/// A line: a disk or a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskLine<'a> {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// The kernel's name of it: `sda1`.
    pub(crate) name: &'a str,
    pub(crate) counters: DiskCounters,
    /// Since Linux 4.18.
    pub(crate) discards: Option<Discards>,
}

/// The counters that every line has: totals since the device appeared, but for `in_progress`. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskCounters {
    /// Reads that completed.
    pub(crate) reads: u64,
    /// Reads that were merged with a neighbour before they went out.
    pub(crate) merged_reads: u64,
    /// Sectors read, of [`SECTOR_BYTES`] each.
    pub(crate) sectors_read: u64,
    /// Time that all reads took, added up.
    pub(crate) read_time: u64,
    /// Writes that completed.
    pub(crate) writes: u64,
    /// Writes that were merged with a neighbour.
    pub(crate) merged_writes: u64,
    /// Sectors written.
    pub(crate) sectors_written: u64,
    /// Time that all writes took, added up.
    pub(crate) write_time: u64,
    /// Requests in flight right now.
    pub(crate) in_progress: u64,
    /// Time in which at least one request was in flight.
    pub(crate) io_time: u64,
    /// The same, times the number of requests in flight.
    pub(crate) weighted_io_time: u64,
}

/// Discards (TRIM) since the device appeared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Discards {
    /// Discards that completed.
    pub(crate) completed: u64,
    /// Sectors discarded, of [`SECTOR_BYTES`] each.
    pub(crate) sectors: u64,
}

/// A line; `None` when it is malformed or [too short](is_short).
pub(crate) fn parse_line(line: &str) -> Option<DiskLine<'_>> {
    let mut columns = line.split_ascii_whitespace();
    let major = columns.next()?.parse().ok()?;
    let minor = columns.next()?.parse().ok()?;
    let name = columns.next()?;
    let mut next = || columns.next()?.parse::<u64>().ok();
    let counters = DiskCounters {
        reads: next()?,
        merged_reads: next()?,
        sectors_read: next()?,
        read_time: next()?,
        writes: next()?,
        merged_writes: next()?,
        sectors_written: next()?,
        write_time: next()?,
        in_progress: next()?,
        io_time: next()?,
        weighted_io_time: next()?,
    };
    let mut discards = || {
        let (completed, _merged, sectors) = (next()?, next()?, next()?);
        Some(Discards { completed, sectors })
    };
    let discards = discards();
    Some(DiskLine { major, minor, name, counters, discards })
}

/// Whether a line has fewer columns than [`parse_line`] needs, as those of partitions before Linux 2.6.25.
pub(crate) fn is_short(line: &str) -> bool {
    line.split_ascii_whitespace().nth(N_COLUMNS - 1).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counters_by_their_place() {
        let line = "   8       1 sda1 1 2 3 4 5 6 7 8 9 10 11";
        let counters = DiskCounters {
            reads: 1,
            merged_reads: 2,
            sectors_read: 3,
            read_time: 4,
            writes: 5,
            merged_writes: 6,
            sectors_written: 7,
            write_time: 8,
            in_progress: 9,
            io_time: 10,
            weighted_io_time: 11,
        };
        let old = DiskLine { major: 8, minor: 1, name: "sda1", counters, discards: None };
        assert_eq!(parse_line(line), Some(old));
        let discards = Some(Discards { completed: 12, sectors: 14 });
        let new = format!("{line} 12 13 14 15");
        assert_eq!(parse_line(&new), Some(DiskLine { discards, ..old }), "since Linux 4.18");
        assert_eq!(parse_line(&format!("{new} 16 17")), parse_line(&new), "since Linux 5.5");
    }

    #[test]
    fn a_line_that_lacks_columns_is_told_from_a_malformed_one() {
        for (line, short) in [
            ("3 1 hda1 35486 38030 38030 38030", true),
            ("", true),
            ("8 0 sda 1 2 3 4 5 6 7 8 9 ten 11", false),
            ("8 0 sda 1 2 3 4 5 6 7 8 9 10 -1", false),
            ("x 0 sda 1 2 3 4 5 6 7 8 9 10 11", false),
        ] {
            assert_eq!((parse_line(line), is_short(line)), (None, short), "{line}");
        }
    }
}
