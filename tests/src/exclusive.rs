//! A program at the root cgroup that lets no other one beside it, as an owner attaches it who does not know of others.

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
/// `BPF_CGROUP_INET_EGRESS`, likewise.
const EGRESS: u32 = 1;
/// The program of the benchmark's object that lets every packet pass.
pub const PROGRAM: &str = "bench_skb_empty";

/// The part of `union bpf_attr` of the two commands.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// The program, attached; dropped, it is detached.
pub struct Exclusive {
    directory: File,
    ebpf: Ebpf,
}

impl Exclusive {
    /// Attaches it to the cgroup at `mount`.
    ///
    /// # Errors
    /// Skips where there is no object to load.
    pub fn attach(mount: &Path) -> Result<Self, Skip> {
        let object = std::env::var_os("SEISMOGRAF_BENCH_OBJECT").ok_or_else(|| {
            Skip::because("SEISMOGRAF_BENCH_OBJECT is not set: run it by `cargo xtask e2e`")
        })?;
        let mut ebpf = Ebpf::load(&std::fs::read(object).unwrap()).unwrap();
        let program: &mut CgroupSkb = ebpf.program_mut(PROGRAM).unwrap().try_into().unwrap();
        program.load().unwrap();
        let exclusive = Self { directory: File::open(mount).unwrap(), ebpf };
        assert_eq!(exclusive.call(BPF_PROG_ATTACH), 0, "{}", std::io::Error::last_os_error());
        Ok(exclusive)
    }

    fn call(&self, command: i64) -> i64 {
        let program: &CgroupSkb = self.ebpf.program(PROGRAM).unwrap().try_into().unwrap();
        let attach = Attach {
            target_fd: self.directory.as_raw_fd().cast_unsigned(),
            attach_bpf_fd: program.fd().unwrap().as_fd().as_raw_fd().cast_unsigned(),
            attach_type: EGRESS,
            attach_flags: 0,
        };
        // SAFETY: the kernel only reads the structure, and both descriptors are open.
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attach, size_of::<Attach>()) }
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        // Nothing takes it away but this: an attached program outlives its descriptors.
        self.call(BPF_PROG_DETACH);
    }
}
