//! What one pass of the kernel over all cgroups has of each: how much memory it uses, without a file of each, and where
//! `cpu_source = "kernel"` how long it ran, without a program at each switch.
//!
//! Since Linux 6.1. aya attaches no iterator to a cgroup, so that is done here, by bpf(2).

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::Path;

use aya::maps::MapData;
use aya::programs::Iter;
use aya_obj::generated::{bpf_attach_type, bpf_cmd};
use seismograf_ebpf::abi::{self, ABSENT, CgroupFigures, PASS_CGROUPS};

use super::syscall::{bpf, raw};
use super::tables::Mapped;

/// The program.
pub(super) const PROGRAM: &str = "cgroup_pass";
/// The kernel's function that stands for the iterator in its type information.
pub(super) const FUNCTION: &str = "bpf_iter_cgroup";
/// What it goes over, as aya calls it.
pub(super) const TARGET: &str = "cgroup";
/// The map that a pass fills.
pub(super) const MAP: &str = "PASS";
/// A cgroup, and all below it (`enum bpf_cgroup_iter_order` of `include/uapi/linux/bpf.h`).
const DESCENDANTS_PRE: u32 = 2;

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
    link: OwnedFd,
    pass: Mapped,
    figures: Figures,
}

impl Pass {
    /// Attaches the program to the hierarchy that is mounted at `root`.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub(super) fn new(program: &Iter, map: &MapData, root: &Path) -> io::Result<Self> {
        let pass = Mapped::map(map.fd().as_fd(), 0, size_of::<abi::Pass>())?;
        let (program, root) = (program.fd().map_err(io::Error::other)?, File::open(root)?);
        Ok(Self { link: attach(program.as_fd(), root.as_fd())?, pass, figures: Figures::default() })
    }

    /// Has the kernel go over all cgroups now.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn run(&mut self) -> io::Result<&Figures> {
        let mut attributes = IterCreate { link_fd: raw(&self.link), flags: 0 };
        // SAFETY: the attributes of the command.
        let iterator = unsafe { opened(bpf_cmd::BPF_ITER_CREATE, &mut attributes) }?;
        // The program writes nothing to it: the first read goes over all, and has the end.
        while rustix::io::read(&iterator, &mut [0_u8; 64])? > 0 {}
        self.figures.read(&self.pass);
        Ok(&self.figures)
    }

    /// What the latest run had; nothing before the first.
    pub(super) fn latest(&self) -> &Figures {
        &self.figures
    }
}

/// The part of `union bpf_attr` of `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    padding: u32,
}

/// The part of `union bpf_iter_link_info` of cgroups.
#[repr(C)]
struct CgroupInfo {
    order: u32,
    cgroup_fd: u32,
    cgroup_id: u64,
}

/// The part of `union bpf_attr` of `BPF_ITER_CREATE`.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

fn attach(program: BorrowedFd<'_>, root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let info = CgroupInfo { order: DESCENDANTS_PRE, cgroup_fd: raw(&root), cgroup_id: 0 };
    let mut attributes = LinkCreate {
        prog_fd: raw(&program),
        target_fd: 0,
        attach_type: bpf_attach_type::BPF_TRACE_ITER as u32,
        flags: 0,
        iter_info: (&raw const info) as u64,
        iter_info_len: size_of::<CgroupInfo>() as u32,
        padding: 0,
    };
    // SAFETY: the attributes of the command, and `info` lives as long.
    unsafe { opened(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }
}

/// Calls bpf(2) for something that is a file descriptor.
///
/// # Safety
/// As of [`bpf`].
unsafe fn opened<T>(command: bpf_cmd, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise; the descriptor is a new one, which nobody else has.
    unsafe { Ok(OwnedFd::from_raw_fd(bpf(command, attributes)?)) }
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
