//! How much memory every cgroup uses, by one pass of the kernel over them instead of a file of each.
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
use seismograf_ebpf::abi::{self, MEMORY_CGROUPS, MemoryUsage};

use super::syscall::{bpf, raw};
use super::tables::Mapped;

/// The program.
pub(super) const PROGRAM: &str = "memory_pass";
/// The kernel's function that stands for the iterator in its type information.
pub(super) const FUNCTION: &str = "bpf_iter_cgroup";
/// What it goes over, as aya calls it.
pub(super) const TARGET: &str = "cgroup";
/// The map that a pass fills.
pub(super) const MAP: &str = "MEMORY";
/// A cgroup, and all below it (`enum bpf_cgroup_iter_order` of `include/uapi/linux/bpf.h`).
const DESCENDANTS_PRE: u32 = 2;

/// How much memory each cgroup uses, by its id.
#[derive(Debug, Default)]
pub struct MemoryUsages {
    /// Ids and bytes, by id.
    sorted: Vec<(u64, u64)>,
}

impl MemoryUsages {
    /// Bytes that a cgroup uses; `None` for one that the pass did not come to.
    #[must_use]
    pub fn bytes(&self, cgroup: u64) -> Option<u64> {
        let at = self.sorted.binary_search_by_key(&cgroup, |(id, _)| *id).ok()?;
        Some(self.sorted[at].1)
    }

    fn read(&mut self, pass: &Mapped) {
        let page = rustix::param::page_size() as u64;
        let n = (pass.word(offset_of!(abi::MemoryPass, n)) as usize).min(MEMORY_CGROUPS);
        let usage = |i: usize| {
            let at = offset_of!(abi::MemoryPass, cgroups) + i * size_of::<MemoryUsage>();
            let word = |offset: usize| pass.word(at + offset);
            (word(offset_of!(MemoryUsage, cgroup)), word(offset_of!(MemoryUsage, pages)) * page)
        };
        self.sorted.clear();
        self.sorted.extend((0..n).map(usage));
        self.sorted.sort_unstable();
    }
}

/// The iterator over the cgroups of a hierarchy.
#[derive(Debug)]
pub(super) struct Pass {
    link: OwnedFd,
    pass: Mapped,
    usages: MemoryUsages,
}

impl Pass {
    /// Attaches the program to the hierarchy that is mounted at `root`.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub(super) fn new(program: &Iter, map: &MapData, root: &Path) -> io::Result<Self> {
        let pass = Mapped::map(map.fd().as_fd(), 0, size_of::<abi::MemoryPass>())?;
        let (program, root) = (program.fd().map_err(io::Error::other)?, File::open(root)?);
        Ok(Self { link: attach(program.as_fd(), root.as_fd())?, pass, usages: MemoryUsages::default() })
    }

    /// Has the kernel go over all cgroups now.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn run(&mut self) -> io::Result<&MemoryUsages> {
        let mut attributes = IterCreate { link_fd: raw(&self.link), flags: 0 };
        // SAFETY: the attributes of the command.
        let iterator = unsafe { opened(bpf_cmd::BPF_ITER_CREATE, &mut attributes) }?;
        // The program writes nothing to it: the first read goes over all, and has the end.
        while rustix::io::read(&iterator, &mut [0_u8; 64])? > 0 {}
        self.usages.read(&self.pass);
        Ok(&self.usages)
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

    #[test]
    fn usages_are_found_by_the_id_of_the_cgroup() {
        let mut file = tempfile::tempfile().unwrap();
        for word in [3_u64, 30, 1, 7, 2, 20, 0, 99, 99] {
            file.write_all(&word.to_ne_bytes()).unwrap();
        }
        file.set_len(size_of::<abi::MemoryPass>() as u64).unwrap();
        let pass = Mapped::map(file.as_fd(), 0, size_of::<abi::MemoryPass>()).unwrap();
        let mut usages = MemoryUsages::default();
        for _ in 0..2 {
            usages.read(&pass);
            let page = rustix::param::page_size() as u64;
            let found = [7, 20, 30, 99, 0].map(|cgroup| usages.bytes(cgroup));
            assert_eq!(found, [Some(2 * page), Some(0), Some(page), None, None]);
        }
    }
}
