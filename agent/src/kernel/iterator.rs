//! BPF iterators: a program that the kernel calls for each of its objects of a kind, whenever the agent asks for it.
//!
//! By bpf(2) itself: aya attaches no iterator to a cgroup, and goes over the objects of a link only once.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::Path;

use aya::Btf as AyaBtf;
use aya::maps::Map;
use aya::programs::Program;
use aya_obj::generated::{bpf_attach_type, bpf_cmd};

use super::held::Held;
use super::plan::{GroupState, Hook};
use super::refusal::{off, refused};
use super::syscall::{bpf, raw};
use super::tables::Mapped;

/// A cgroup, and all below it (`enum bpf_cgroup_iter_order` of `include/uapi/linux/bpf.h`).
const DESCENDANTS_PRE: u32 = 2;

/// An iterator of the BPF object.
pub(super) struct IteratorPlan {
    /// The program.
    pub(super) program: &'static str,
    /// What it goes over, as the kernel calls it: `bpf_iter_` and this is a function in the kernel's type information.
    pub(super) target: &'static str,
    /// The map that it fills, with one entry.
    pub(super) map: &'static str,
    /// How long the entry is.
    pub(super) map_bytes: usize,
}

/// One that is attached.
#[derive(Debug)]
pub(super) struct KernelIterator {
    link: OwnedFd,
    map: Mapped,
}

impl KernelIterator {
    /// Loads and attaches it; `root` is the directory of the cgroup to begin at, where it goes over cgroups.
    ///
    /// # Errors
    /// What the kernel does not take.
    pub(super) fn load(
        plan: &IteratorPlan,
        root: Option<&Path>,
        held: &mut Held,
        btf: &AyaBtf,
    ) -> Result<Self, GroupState> {
        let refused = |error: &(dyn std::error::Error + 'static)| refused(plan.program, error);
        held.load(plan.program, Hook::Iterator(plan.target), Some(btf))?;
        let (Some(Map::Array(map)), Some(Program::Iter(program))) =
            (held.ebpf.map(plan.map), held.program(plan.program))
        else {
            return Err(off(
                format!("the BPF object has no map {}", plan.map),
                "build it anew: cargo xtask build",
            ));
        };
        let program = program.fd().map_err(|error| refused(&error))?;
        let attached = Mapped::map(map.fd().as_fd(), 0, plan.map_bytes).and_then(|map| {
            let root = root.map(File::open).transpose()?;
            let link = attach(program.as_fd(), root.as_ref().map(|root| root.as_fd()))?;
            Ok(Self { link, map })
        });
        attached.map_err(|error| refused(&error))
    }

    /// Has the kernel go over all of them now. Returns the entry of the map as it is then.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn run(&self) -> io::Result<&Mapped> {
        let mut attributes = IterCreate { link_fd: raw(&self.link), flags: 0 };
        // SAFETY: the attributes of the command.
        let iterator = unsafe { opened(bpf_cmd::BPF_ITER_CREATE, &mut attributes) }?;
        // The program writes nothing to it: the first read goes over all, and has the end.
        while rustix::io::read(&iterator, &mut [0_u8; 64])? > 0 {}
        Ok(&self.map)
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

fn attach(program: BorrowedFd<'_>, root: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let info = root.map(|root| CgroupInfo { order: DESCENDANTS_PRE, cgroup_fd: raw(&root), cgroup_id: 0 });
    let mut attributes = LinkCreate {
        prog_fd: raw(&program),
        target_fd: 0,
        attach_type: bpf_attach_type::BPF_TRACE_ITER as u32,
        flags: 0,
        iter_info: info.as_ref().map_or(0, |info| std::ptr::from_ref(info) as u64),
        iter_info_len: if info.is_some() { size_of::<CgroupInfo>() as u32 } else { 0 },
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
