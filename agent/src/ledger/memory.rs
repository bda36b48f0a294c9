//! Page faults: what the files of a cgroup had last, so that its row goes on with it when the cgroup is gone.

use serde::{Deserialize, Serialize};

use super::sums::Accumulate;

/// Page faults since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFaults {
    /// All of them.
    pub all: u64,
    /// Those that had to read from a disk.
    pub major: u64,
}

impl PageFaults {
    /// Takes over a later reading. Where it is a difference of two files it can be a few too low.
    pub fn raise(&mut self, reading: Self) {
        self.all = self.all.max(reading.all);
        self.major = self.major.max(reading.major);
    }
}

impl Accumulate for PageFaults {
    fn add(&mut self, other: &Self) {
        self.all += other.all;
        self.major += other.major;
    }
}
