//! How many processes are in which state, in one pass of the kernel over all tasks, without a file of each.

use std::io;
use std::mem::offset_of;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aya::Btf as AyaBtf;
use seismograf_ebpf::abi::{self, PROCESS_STATE_SETS, PROCESS_STATES};

use super::held::Held;
use super::iterator::{IteratorPlan, KernelIterator};
use super::plan::GroupState;
use super::tables::Mapped;

const PLAN: IteratorPlan = IteratorPlan {
    program: "process_pass",
    target: "task",
    map: "PROCESSES",
    map_bytes: size_of::<abi::Processes>(),
};

/// The iterator over tasks.
///
/// It goes over those of the agent's PID namespace, but has their numbers in the host's.
#[derive(Debug)]
pub struct ProcessPass(Mutex<KernelIterator>);

/// The iterator of whoever has probes, for whoever counts processes.
#[derive(Debug, Default)]
pub struct OfferedPass(Mutex<Weak<ProcessPass>>);

impl OfferedPass {
    /// From now on it is this one, for as long as its owner has it.
    pub fn offer(&self, pass: &Arc<ProcessPass>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(pass);
    }

    /// The one that is there.
    #[must_use]
    pub fn get(&self) -> Option<Arc<ProcessPass>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }
}

/// How many processes and threads there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessCounts {
    /// How many processes are in each state, by the letter of proc(5) `PID/stat`.
    pub states: Vec<(u8, u64)>,
    /// How many threads they have.
    pub threads: u64,
    /// Process 1 is among them: there are kernels that hide it from programs.
    pub has_init: bool,
}

impl ProcessPass {
    /// Loads and attaches it.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub(super) fn load(held: &mut Held, btf: &AyaBtf) -> Result<Self, GroupState> {
        Ok(Self(Mutex::new(KernelIterator::load(&PLAN, None, held, btf)?)))
    }

    /// Has the kernel count now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn run(&self) -> io::Result<ProcessCounts> {
        // The map has room for one pass at a time.
        let iterator = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ProcessCounts::read(iterator.run()?))
    }
}

impl ProcessCounts {
    fn read(processes: &Mapped) -> Self {
        let mut states: Vec<_> = PROCESS_STATES.iter().map(|letter| (*letter, 0)).collect();
        for set in 0..PROCESS_STATE_SETS {
            let n = processes.word(offset_of!(abi::Processes, states) + set * size_of::<u64>());
            let highest = usize::BITS - set.leading_zeros();
            states[highest as usize].1 += n;
        }
        let threads = processes.word(offset_of!(abi::Processes, threads));
        Self { states, threads, has_init: processes.word(offset_of!(abi::Processes, first)) == 1 }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn each_count_has_the_letter_of_its_state() {
        // One process without any bit, two with the lowest, ten with the two lowest, and so on; and five threads.
        let mut words = [0_u64; size_of::<abi::Processes>() / 8];
        for (set, n) in [(0, 1), (1, 2), (2, 3), (3, 10), (4, 4), (0x20, 5), (0x7f, 6), (0x80, 7)] {
            words[set] = n;
        }
        words[PROCESS_STATE_SETS..].copy_from_slice(&[5, 1]);
        let mut file = tempfile::tempfile().unwrap();
        words.iter().for_each(|word| file.write_all(&word.to_ne_bytes()).unwrap());
        let entry = Mapped::map(file.as_fd(), 0, size_of::<abi::Processes>()).unwrap();
        let n = [1, 2, 13, 4, 0, 0, 5, 6, 7];
        let states = b"RSDTtXZPI".iter().copied().zip(n).collect();
        assert_eq!(ProcessCounts::read(&entry), ProcessCounts { states, threads: 5, has_init: true });
    }
}
