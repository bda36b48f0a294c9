//! Programs at a cgroup that are not the agent's: as an owner attaches one who does not know of others, or a policy.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use aya::Ebpf;
use aya::programs::CgroupSkb;

use crate::Skip;

/// `BPF_PROG_ATTACH` of bpf(2) (`include/uapi/linux/bpf.h`).
const BPF_PROG_ATTACH: i64 = 8;
/// `BPF_PROG_DETACH`, likewise.
const BPF_PROG_DETACH: i64 = 9;
/// `BPF_F_ALLOW_MULTI`, likewise: beside the programs of others.
const ALLOW_MULTI: u32 = 2;

/// Lets every packet pass.
pub const PASS: &str = "bench_skb_empty";
/// Refuses every packet.
pub const REFUSE: &str = "bench_skb_refuse";
/// Refuses one packet of a hundred.
pub const LOSE: &str = "bench_skb_lose";

/// Which packets (`enum bpf_attach_type`).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    /// Those that come in.
    In = 0,
    /// Those that go out.
    Out = 1,
}

/// The part of `union bpf_attr` of the two commands.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// A program, attached; dropped, it is detached.
pub struct AttachedProgram {
    directory: File,
    ebpf: Ebpf,
    name: &'static str,
    direction: Direction,
    flags: u32,
}

impl AttachedProgram {
    /// Attaches one to the cgroup of a directory, which lets no other one beside it there.
    ///
    /// # Errors
    /// Skips where there is no object to load.
    pub fn exclusive(cgroup: &Path, name: &'static str) -> Result<Self, Skip> {
        Self::attach(cgroup, name, Direction::Out, 0)
    }

    /// Attaches one as a policy is, such as those of systemd.
    ///
    /// # Errors
    /// Skips where there is no object to load.
    pub fn policy(cgroup: &Path, name: &'static str, direction: Direction) -> Result<Self, Skip> {
        Self::attach(cgroup, name, direction, ALLOW_MULTI)
    }

    fn attach(cgroup: &Path, name: &'static str, direction: Direction, flags: u32) -> Result<Self, Skip> {
        let mut ebpf = Ebpf::load(&object()?).unwrap();
        let program: &mut CgroupSkb = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
        let attached = Self { directory: File::open(cgroup).unwrap(), ebpf, name, direction, flags };
        assert_eq!(attached.call(BPF_PROG_ATTACH), 0, "{}", std::io::Error::last_os_error());
        Ok(attached)
    }

    fn call(&self, command: i64) -> i64 {
        let program: &CgroupSkb = self.ebpf.program(self.name).unwrap().try_into().unwrap();
        let attach = Attach {
            target_fd: self.directory.as_raw_fd().cast_unsigned(),
            attach_bpf_fd: program.fd().unwrap().as_fd().as_raw_fd().cast_unsigned(),
            attach_type: self.direction as u32,
            attach_flags: self.flags,
        };
        // SAFETY: the kernel only reads the structure, and both descriptors are open.
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attach, size_of::<Attach>()) }
    }
}

impl Drop for AttachedProgram {
    fn drop(&mut self) {
        self.flags = 0;
        // Nothing takes it away but this: an attached program outlives its descriptors.
        self.call(BPF_PROG_DETACH);
    }
}

/// The object with the tests' programs beside the agent's.
///
/// # Errors
/// Skips where there is none.
pub fn object() -> Result<Vec<u8>, Skip> {
    let object = std::env::var_os("SEISMOGRAF_BENCH_OBJECT").ok_or_else(|| {
        Skip::because(
            "SEISMOGRAF_BENCH_OBJECT is not set: run it by `cargo xtask e2e` or `cargo xtask bench`",
        )
    })?;
    Ok(std::fs::read(object).unwrap())
}
