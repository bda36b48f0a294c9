//! What each CPU is doing, as the programs keep it, mapped into the agent: who has to be interrupted for a write-back.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use seismograf_ebpf::abi::{Cpu, CpuState, Marks};

use crate::host::file::KernelFile;

/// Those that the scheduler's tick is kept from; empty or `(null)` where there are none.
const NOHZ_FULL_CPUS: &str = "/sys/devices/system/cpu/nohz_full";
/// The map with an entry of each CPU: what it is doing, and its rows of CPU time.
pub(super) const CPUS: &str = "CPUS";
/// That with its rows of waiting for it.
pub(super) const RUNQUEUES: &str = "RUNQUEUES";
/// The CPUs that there can be, such as `0-3` (`Documentation/admin-guide/cputopology.rst`).
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// How many entries a table needs: one for each CPU that there can be, by its number.
///
/// # Errors
/// When the list of CPUs cannot be read.
pub fn entries() -> io::Result<u32> {
    let list = std::fs::read_to_string(POSSIBLE_CPUS)?;
    highest(&list).map(|highest| highest + 1).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The last number of a list such as `0,2-5`.
fn highest(list: &str) -> Option<u32> {
    numbers(list)?.last().copied()
}

/// The numbers of such a list.
fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

/// The CPUs that are to run a single task without end (`nohz_full=` on the kernel's command line); none before they can be.
pub(super) fn nohz_full() -> Vec<u32> {
    std::fs::read_to_string(NOHZ_FULL_CPUS).ok().and_then(|list| numbers(&list)).unwrap_or_default()
}

/// The CPUs that are online.
#[derive(Debug)]
pub(super) struct OnlineCpus(KernelFile);

impl OnlineCpus {
    /// Where the kernel lists them.
    pub(super) const PATH: &str = "/sys/devices/system/cpu/online";

    pub(super) fn new() -> Self {
        Self(KernelFile::new(Self::PATH.into()))
    }

    /// Their numbers now.
    pub(super) fn read(&mut self) -> io::Result<Vec<u32>> {
        numbers(&self.0.read()?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// What a gather has to do about a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing.
    None,
    /// It is idle, or to be left alone, and all that it has can be read where it is.
    Read,
    /// A write-back: what it has is not to be had from elsewhere.
    Call,
}

/// States and marks in the map `CPUS`, to be read: of each CPU the page that has them, and not its rows, which would count as the
/// agent's memory.
#[derive(Debug)]
pub(super) struct CpuStates {
    cpus: Vec<Mapped>,
}

/// A part of a map, to be read.
#[derive(Debug)]
pub(super) struct Mapped {
    start: NonNull<u8>,
    bytes: usize,
    /// Where the part is in the pages.
    at: usize,
}

// SAFETY: the memory is shared with the kernel in any case, and every access is atomic.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl CpuStates {
    /// Maps the states of `n` CPUs.
    pub(super) fn map(map: impl AsFd, n: u32) -> io::Result<Self> {
        let state = |cpu: usize| Mapped::map(map.as_fd(), cpu * size_of::<Cpu>(), offset_of!(Cpu, rows));
        let cpus: io::Result<_> = (0..n as usize).map(state).collect();
        Ok(Self { cpus: cpus? })
    }

    /// What there is to do about a CPU. `charges` says that the running task is charged, and so known; `is_nohz_full` that it can
    /// be looked at.
    pub(super) fn news(&self, cpu: u32, charges: bool, is_nohz_full: bool) -> News {
        // One that nobody knew of when this was mapped has.
        let Some(entry) = self.cpus.get(cpu as usize) else { return News::Call };
        let is_marked = |field: usize| entry.word(offset_of!(Cpu, marks) + field) != 0;
        let has_rows = entry.state(offset_of!(CpuState, waiting)) != 0;
        let task = entry.state(offset_of!(CpuState, task));
        let is_idle = task != 0 && task == entry.state(offset_of!(CpuState, idle));
        // A key can have several rows there, by level, and nobody could tell them apart when they leave.
        let has_levels = is_marked(offset_of!(Marks, blkio)) || is_marked(offset_of!(Marks, net));
        let is_left_alone = charges && !has_levels && (is_idle || task != 0 && is_nohz_full);
        if !has_rows && (!charges || is_idle) {
            News::None
        } else if is_left_alone {
            News::Read
        } else {
            News::Call
        }
    }

    /// The task that a CPU runs, and its run time when it was switched in.
    pub(super) fn slice(&self, cpu: u32) -> Option<(u64, u64)> {
        let entry = self.cpus.get(cpu as usize)?;
        Some((entry.state(offset_of!(CpuState, task)), entry.state(offset_of!(CpuState, task_in_ns))))
    }

    /// What the program `look` has left of a CPU: the cgroup of the task that was running, and its nanoseconds.
    pub(super) fn looked(&self, cpu: u32) -> Option<(u64, u64)> {
        let entry = self.cpus.get(cpu as usize)?;
        Some((entry.state(offset_of!(CpuState, looked_cgroup)), entry.state(offset_of!(CpuState, looked_ns))))
    }
}

impl Mapped {
    /// Maps so many bytes of a map, from `offset` on.
    pub(super) fn map(map: BorrowedFd<'_>, offset: usize, length: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let at = offset % page;
        let bytes = (at + length).next_multiple_of(page);
        // SAFETY: a new mapping, which nothing else knows of.
        let start =
            unsafe { mmap(null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, map, (offset - at) as u64) }?;
        Ok(Self { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, bytes, at })
    }

    /// A word of the state of a CPU, where this is its entry.
    fn state(&self, field: usize) -> u64 {
        self.word(offset_of!(Cpu, state) + field)
    }

    /// A word of it, at a multiple of its size.
    pub(super) fn word(&self, offset: usize) -> u64 {
        let at = self.at + offset;
        assert!(
            at + size_of::<u64>() <= self.bytes && at.is_multiple_of(size_of::<u64>()),
            "no word of the map"
        );
        // SAFETY: within the mapping, which lasts as long as `self`, and aligned. The kernel writes it at any time, a whole word
        // at a time.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(at).cast()) }.load(Ordering::Relaxed)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping, which nobody has any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_cpu_is_the_highest() {
        assert_eq!(["0\n", "0-3\n", "0,2-5\n", "\n"].map(highest), [Some(0), Some(3), Some(5), None]);
    }

    #[test]
    fn a_list_has_numbers_and_ranges() {
        assert_eq!(numbers("0\n"), Some(vec![0]));
        assert_eq!(numbers("0,2-5,8\n"), Some(vec![0, 2, 3, 4, 5, 8]));
        assert_eq!(["", "x", "1-", "-2"].map(numbers), [None, None, None, None]);
        assert!(!OnlineCpus::new().read().unwrap().is_empty());
    }

    #[test]
    fn a_cpu_is_called_where_that_is_needed() {
        use News::{Call, None, Read};
        // Rows, task, idle task; and whether one of them is of block I/O.
        let states = [
            ([1, 0, 0], false),
            ([0, 0, 0], false),
            ([0, 7, 7], false),
            ([0, 8, 7], false),
            ([1, 8, 7], false),
            ([1, 7, 7], false),
            ([1, 7, 7], true),
        ];
        let mut file = tempfile::tempfile().unwrap();
        for (state, blkio) in states {
            let mut entry: Vec<u8> = state.into_iter().flat_map(u64::to_ne_bytes).collect();
            entry.resize(size_of::<Cpu>(), 0);
            entry[offset_of!(Cpu, marks) + offset_of!(Marks, blkio)] = u8::from(blkio);
            file.write_all(&entry).unwrap();
        }
        let states = CpuStates::map(&file, 7).unwrap();
        let news =
            |charges, nohz_full| (0..8).map(|cpu| states.news(cpu, charges, nohz_full)).collect::<Vec<_>>();
        assert_eq!(news(true, false), [Call, Call, None, Call, Call, Read, Call, Call]);
        assert_eq!(news(true, true), [Call, Call, None, Read, Read, Read, Call, Call]);
        // Then nobody knows what runs.
        assert_eq!(news(false, true), [Call, None, None, None, Call, Call, Call, Call]);
    }
}
