//! What each CPU is doing, as the programs keep it, mapped into the agent: who has to be interrupted for a write-back.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use seismograf_ebpf::abi::{Cpu, CpuState};

use crate::host::file::KernelFile;

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

/// The states in the map `CPUS`, to be read: of each CPU the page that has it, and not its rows, which would count as the
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
        let state = |cpu: usize| Mapped::map(map.as_fd(), cpu * size_of::<Cpu>(), size_of::<CpuState>());
        let cpus: io::Result<_> = (0..n as usize).map(state).collect();
        Ok(Self { cpus: cpus? })
    }

    /// Whether a CPU has anything that a write-back would bring: rows, or, where the running task is charged, a task that runs.
    pub(super) fn has_news(&self, cpu: u32, charges: bool) -> bool {
        // One that nobody knew of when this was mapped has.
        let Some(state) = self.cpus.get(cpu as usize) else { return true };
        let task = state.word(offset_of!(CpuState, task));
        let is_running = task == 0 || task != state.word(offset_of!(CpuState, idle));
        state.word(offset_of!(CpuState, waiting)) != 0 || charges && is_running
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
    fn a_cpu_that_is_idle_and_has_no_rows_has_no_news() {
        let states = [
            // Rows, nothing known, an idle task, a task, an idle task and rows.
            [1, 0, 0],
            [0, 0, 0],
            [0, 7, 7],
            [0, 8, 7],
            [1, 7, 7],
        ];
        let mut file = tempfile::tempfile().unwrap();
        for state in states {
            let mut entry: Vec<u8> = state.into_iter().flat_map(u64::to_ne_bytes).collect();
            entry.resize(size_of::<Cpu>(), 0);
            file.write_all(&entry).unwrap();
        }
        let states = CpuStates::map(&file, 5).unwrap();
        let news = |charges| (0..6).map(|cpu| states.has_news(cpu, charges)).collect::<Vec<_>>();
        assert_eq!(news(true), [true, true, false, true, true, true]);
        assert_eq!(news(false), [true, false, false, false, true, true]);
    }
}
