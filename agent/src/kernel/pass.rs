//! What one pass of the kernel over all cgroups has of each: how much memory it uses, without a file of each, and where
//! `cpu_source = "kernel"` how long it ran, without a program at each switch.
//!
//! Since Linux 6.1.

use std::io;
use std::mem::offset_of;
use std::path::Path;

use aya::Btf as AyaBtf;
use seismograf_ebpf::abi::{self, ABSENT, CgroupFigures, PASS_CGROUPS};

use super::held::Held;
use super::iterator::{IteratorPlan, KernelIterator};
use super::plan::GroupState;
use super::tables::Mapped;

const PLAN: IteratorPlan =
    IteratorPlan { program: "cgroup_pass", target: "cgroup", map: "PASS", map_bytes: size_of::<abi::Pass>() };

/// What a pass has of each cgroup, by its id.
#[derive(Debug, Default)]
pub struct Figures {
    sorted: Vec<CgroupFigures>,
    /// Cgroups that there was no room for.
    n_left_out: usize,
}

impl Figures {
    /// Bytes that a cgroup uses; `None` for one that the pass did not come to, or without the controller of memory.
    #[must_use]
    pub fn memory_bytes(&self, cgroup: u64) -> Option<u64> {
        let at = self.sorted.binary_search_by_key(&cgroup, |figures| figures.cgroup).ok()?;
        let pages = self.sorted[at].pages;
        (pages != ABSENT).then(|| pages * rustix::param::page_size() as u64)
    }

    /// Each cgroup that the kernel adds up CPU time of, and the nanoseconds that its tasks have run so far.
    pub fn run_times(&self) -> impl Iterator<Item = (u64, u64)> {
        self.sorted.iter().map(|figures| (figures.cgroup, figures.run_ns)).filter(|(_, run_ns)| *run_ns > 0)
    }

    /// Cgroups that there was no room for.
    #[must_use]
    pub fn n_left_out(&self) -> usize {
        self.n_left_out
    }

    fn read(&mut self, pass: &Mapped) {
        let n = pass.word(offset_of!(abi::Pass, n)) as usize;
        let figures = |i: usize| {
            let at = offset_of!(abi::Pass, cgroups) + i * size_of::<CgroupFigures>();
            let word = |offset: usize| pass.word(at + offset);
            CgroupFigures {
                cgroup: word(offset_of!(CgroupFigures, cgroup)),
                pages: word(offset_of!(CgroupFigures, pages)),
                run_ns: word(offset_of!(CgroupFigures, run_ns)),
            }
        };
        self.n_left_out = n.saturating_sub(PASS_CGROUPS);
        self.sorted.clear();
        self.sorted.extend((0..n.min(PASS_CGROUPS)).map(figures));
        self.sorted.sort_unstable_by_key(|figures| figures.cgroup);
    }
}

/// The iterator over the cgroups of a hierarchy.
#[derive(Debug)]
pub(super) struct Pass {
    iterator: KernelIterator,
    figures: Figures,
}

impl Pass {
    /// Loads and attaches it, for the hierarchy that is mounted at `root`.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub(super) fn load(held: &mut Held, btf: &AyaBtf, root: &Path) -> Result<Self, GroupState> {
        let iterator = KernelIterator::load(&PLAN, Some(root), held, btf)?;
        Ok(Self { iterator, figures: Figures::default() })
    }

    /// Has the kernel go over all cgroups now.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn run(&mut self) -> io::Result<&Figures> {
        self.figures.read(self.iterator.run()?);
        Ok(&self.figures)
    }

    /// What the latest run had; nothing before the first.
    pub(super) fn latest(&self) -> &Figures {
        &self.figures
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    use super::*;

    /// A pass over so many cgroups, of which these are the first.
    fn pass(n: u64, cgroups: &[[u64; 3]]) -> Mapped {
        let mut file = tempfile::tempfile().unwrap();
        for word in [n].iter().chain(cgroups.iter().flatten()) {
            file.write_all(&word.to_ne_bytes()).unwrap();
        }
        file.set_len(size_of::<abi::Pass>() as u64).unwrap();
        Mapped::map(file.as_fd(), 0, size_of::<abi::Pass>()).unwrap()
    }

    #[test]
    fn figures_are_found_by_the_id_of_the_cgroup() {
        let pass = pass(3, &[[30, 1, 700], [7, 2, 0], [20, ABSENT, 9], [99, 99, 99]]);
        let mut figures = Figures::default();
        for _ in 0..2 {
            figures.read(&pass);
            let page = rustix::param::page_size() as u64;
            let found = [7, 20, 30, 99, 0].map(|cgroup| figures.memory_bytes(cgroup));
            assert_eq!(found, [Some(2 * page), None, Some(page), None, None]);
            assert_eq!(figures.run_times().collect::<Vec<_>>(), [(20, 9), (30, 700)]);
            assert_eq!(figures.n_left_out(), 0);
        }
    }

    #[test]
    fn it_is_known_how_many_found_no_room() {
        let mut figures = Figures::default();
        figures.read(&pass(PASS_CGROUPS as u64 + 3, &[[1, 1, 1]]));
        assert_eq!((figures.sorted.len(), figures.n_left_out()), (PASS_CGROUPS, 3));
    }
}
