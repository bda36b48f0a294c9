//! A spool: a bounded queue of encoded points on a disk, of one output.
//!
//! Points are numbered as they are appended. They stand in records, each with its number and its own checksum, in segments that
//! are named after their first number. A cursor says before which number all are done, and a file which others are. So whatever
//! is damaged or missing, the numbers say exactly how many points that is, and only those are lost:
//!
//! ```text
//! cursor                        done = 1250, end = 2100, twice
//! done                          1800..1950
//! 00000000000000001000.log      1000..1100  1100..1180  1180..1300 ...
//! 00000000000000001800.log      1800..1950  1950..2100
//! ```
//!
//! What is appended is on the disk (fdatasync(2)) before that is said. A file whose sync failed is not appended to again. Nothing
//! here knows what points are, or waits for anyone but the disk.

mod cursor;
mod done;
pub mod files;
pub mod log;
pub(crate) mod ranges;
mod record;
mod segment;

/// Whether a directory is a spool.
pub(crate) fn is_spool(directory: &std::path::Path) -> bool {
    directory.join(cursor::NAME).is_file()
}

#[cfg(test)]
pub(crate) mod tests;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use segment::fuzz::parse_any;
