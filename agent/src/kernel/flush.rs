//! The write-back: has every CPU hand its cache to the ring buffer, by programs that are run on demand.

use std::io;

use aya::programs::links::FdLink;
use aya::programs::{Program, ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use seismograf_ebpf::abi::{FLUSH_LEVEL_BUSY, FLUSH_RING_FULL};

use super::held::Held;

/// A full ring is emptied and the program run again; each time at least one row gets through.
const RING_FULL_TRIES: usize = 10_000;
/// A busy level is one whose program was interrupted by the flush: by the next try it is done.
const BUSY_TRIES: usize = 8;
/// The tracepoint that tells of each step of a CPU on its way down, on that CPU (`include/trace/events/cpuhp.h`).
const CPU_IS_LEAVING: &str = "cpuhp_exit";

/// Why the cache could not be written back.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The list of CPUs cannot be read.
    #[error("cannot read {path}: {error}")]
    Cpus {
        /// The file.
        path: &'static str,
        /// The system's error.
        error: io::Error,
    },
    /// A program was not run.
    #[error("cannot run {program} on CPU {cpu}: {error}")]
    Run {
        /// The program.
        program: &'static str,
        /// The CPU.
        cpu: u32,
        /// The kernel's error.
        error: ProgramError,
    },
}

/// Has a program run on each CPU that goes offline, too; `None` where the kernel does not take it. Without it nothing is lost.
pub(super) fn attach(name: &'static str, program: &mut RawTracePoint) -> Option<FdLink> {
    let attached = program.attach(CPU_IS_LEAVING).and_then(|link| program.take_link(link));
    if let Err(error) = &attached {
        tracing::warn!(%error, name, "what a CPU has counted when it goes offline waits until it is back");
    }
    Some(attached.ok()?.into())
}

/// Runs each of `programs` on every CPU, and calls `drain` whenever the ring is full, and at the end.
pub(super) fn flush(
    held: &Held,
    programs: &[&'static str],
    mut drain: impl FnMut(),
) -> Result<(), FlushError> {
    let cpus = aya::util::online_cpus().map_err(|(path, error)| FlushError::Cpus { path, error })?;
    let mut result = Ok(());
    for name in programs {
        for &cpu in &cpus {
            if let Err(error) = run_until_empty(held, name, cpu, &mut drain) {
                result = Err(error);
            }
        }
    }
    drain();
    result
}

/// Runs one program on one CPU until its cache is written back.
fn run_until_empty(
    held: &Held,
    name: &'static str,
    cpu: u32,
    drain: &mut impl FnMut(),
) -> Result<(), FlushError> {
    let Some(Program::RawTracePoint(program)) = held.program(name) else { return Ok(()) };
    let (mut full, mut busy) = (0, 0);
    loop {
        match program.test_run(RawTracePointRunOptions { cpu: Some(cpu), ..Default::default() }) {
            Ok(answer) if answer.return_value & FLUSH_RING_FULL != 0 && full < RING_FULL_TRIES => {
                full += 1;
                drain();
            }
            Ok(answer) if answer.return_value & FLUSH_LEVEL_BUSY != 0 && busy < BUSY_TRIES => busy += 1,
            Ok(_) => return Ok(()),
            // A CPU that went offline in the meantime keeps its cache until it is back.
            Err(error) if is_offline(&error) => return Ok(()),
            Err(error) => return Err(FlushError::Run { program: name, cpu, error }),
        }
    }
}

fn is_offline(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENXIO))
}
