//! What each program did and cost, and what maps take, by the kernel's own account.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::Map;
use aya::programs::{Program, ProgramInfo};

use crate::host::file::KernelFile;

/// What one program did so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The program.
    pub program: &'static str,
    /// Calls that the kernel left out because the program was at work on that CPU (`recursion_misses`, since Linux 5.12).
    /// `None` where its hook is called with interrupts off: nothing comes between.
    pub missed_runs: Option<u64>,
    /// What it cost, where that is asked for.
    pub cost: Option<Cost>,
}

/// Cost of one program so far; zeros unless the option `probe_costs` is on or another process has the kernel count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Nanoseconds that it ran, since the kernel began to count them.
    pub run_time_ns: u64,
    /// How often it ran.
    pub runs: u64,
}

/// What the names of programs begin with that can interrupt themselves.
const NESTING_AREAS: [&str; 3] = ["blkio_", "net_", "tcp_"];
/// What a map takes of kernel memory, in proc(5) `PID/fdinfo`.
const MEMORY_KEY: &str = "memlock:";

/// A program, and the file that says which of its calls were left out.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: &'static str,
    misses: Option<KernelFile>,
}

impl Watched {
    pub(super) fn new(name: &'static str, program: Option<&Program>) -> Self {
        let nests = NESTING_AREAS.iter().any(|area| name.starts_with(area));
        let misses = match program {
            Some(Program::BtfTracePoint(program)) if nests => {
                program.fd().ok().map(|fd| fdinfo(fd.as_fd().as_raw_fd()))
            }
            _ => None,
        };
        Self { name, misses }
    }

    /// What it did, and what it cost where `with_cost`.
    pub(super) fn activity(&mut self, program: Option<&Program>, with_cost: bool) -> Activity {
        let cost = with_cost.then(|| info(program?)).flatten().map(|info| {
            let run_time_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
            Cost { run_time_ns, runs: info.run_count() }
        });
        let missed_runs = self.misses.as_mut().map(|file| value(file, "recursion_misses:"));
        Activity { program: self.name, missed_runs, cost }
    }
}

fn info(program: &Program) -> Option<ProgramInfo> {
    match program {
        Program::BtfTracePoint(program) => program.info().ok(),
        Program::CgroupSkb(program) => program.info().ok(),
        _ => None,
    }
}

/// The size of a map.
pub(super) fn map_bytes(map: &Map) -> u64 {
    let data = match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::RingBuf(data) | Map::PerCpuHashMap(data) => data,
        _ => return 0,
    };
    value(&mut fdinfo(data.fd().as_fd().as_raw_fd()), MEMORY_KEY)
}

/// What the kernel itself says of a map or program (proc(5) `PID/fdinfo`).
fn fdinfo(fd: i32) -> KernelFile {
    KernelFile::new(format!("/proc/self/fdinfo/{fd}").into())
}

/// A value of it; 0 where it does not say.
fn value(fdinfo: &mut KernelFile, key: &str) -> u64 {
    fdinfo
        .read()
        .ok()
        .and_then(|info| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()))
        .unwrap_or(0)
}
