//! The journal of systemd: whether the standard error goes there, and lines with the priorities that it sorts by.

use std::os::fd::AsFd;

use tracing::Level;

/// Where journald says which file is its own: `DEVICE:INODE`.
const VARIABLE: &str = "JOURNAL_STREAM";

/// Whether what is written to this file goes to the journal, which has a time and a priority of its own for each line.
#[must_use]
pub fn reads(file: impl AsFd) -> bool {
    let Ok(stream) = std::env::var(VARIABLE) else { return false };
    // The variable is inherited, also by what is started with another standard error.
    rustix::fs::fstat(file).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The text with the priority of syslog(3) before each line.
#[must_use]
pub fn with_priority(level: Level, text: &str) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    text.split_inclusive('\n').map(|line| format!("<{priority}>{line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_priority() {
        assert_eq!(with_priority(Level::WARN, "a\nb\n"), "<4>a\n<4>b\n");
        assert_eq!(with_priority(Level::ERROR, "a"), "<3>a");
        assert_eq!(with_priority(Level::INFO, "a\n"), "<6>a\n");
        assert_eq!(with_priority(Level::DEBUG, "a\n"), "<7>a\n");
    }
}
