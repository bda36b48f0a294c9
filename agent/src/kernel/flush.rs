//! The write-back: has every CPU that has something to say hand its caches to the ring buffer, by a program that is run on
//! demand. One that is idle is left alone, where its rows can be read where they are.

use std::io;

use aya::maps::MapError;
use aya::programs::links::FdLink;
use aya::programs::{Program, ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use seismograf_ebpf::abi::{FLUSH_ARGUMENT, FLUSH_CHARGES, FLUSH_LEVEL_BUSY, FLUSH_RING_FULL};

use super::early::Seen;
use super::held::Held;
use super::left_alone::LeftAlone;
use super::tables::{CpuStates, News, OnlineCpus};

/// A full ring is emptied and the program run again; each time at least one row gets through.
const RING_FULL_TRIES: usize = 10_000;
/// A busy level is one whose program was interrupted by the flush: by the next try it is done.
const BUSY_TRIES: usize = 8;
/// The tracepoint that tells of each step of a CPU on its way down, on that CPU (`include/trace/events/cpuhp.h`).
const CPU_IS_LEAVING: &str = "cpuhp_exit";
/// The program in its forms, of which the first is used that the kernel takes.
pub(super) const PROGRAMS: [&str; 2] = ["flush_typed", "flush"];

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
    /// The program was not run.
    #[error("cannot run the write-back on CPU {cpu}: {error}")]
    Run {
        /// The CPU.
        cpu: u32,
        /// The kernel's error.
        error: ProgramError,
    },
    /// Its rows were not read.
    #[error("cannot read the rows of CPU {cpu}, which was left alone: {error}")]
    Read {
        /// The CPU.
        cpu: u32,
        /// The kernel's error.
        error: MapError,
    },
}

/// Has the program run on each CPU that goes offline, too; `None` where the kernel does not take it. Without it nothing is lost.
pub(super) fn attach(program: &mut RawTracePoint) -> Option<FdLink> {
    let attached = program.attach(CPU_IS_LEAVING).and_then(|link| program.take_link(link));
    if let Err(error) = &attached {
        tracing::warn!(%error, "what a CPU has counted when it goes offline waits until it is back");
    }
    Some(attached.ok()?.into())
}

/// What is known of CPUs.
pub(super) struct Cpus {
    pub(super) online: OnlineCpus,
    /// What each is doing; `None` where it cannot be mapped.
    pub(super) states: Option<CpuStates>,
    pub(super) left_alone: LeftAlone,
}

impl Cpus {
    /// Runs the program where it is needed, and calls `drain` whenever the ring is full, and at the end. Where nothing is known
    /// of them, that is on every CPU. `charges` says that the CPU probe is on.
    pub(super) fn flush(
        &mut self,
        program: &Program,
        charges: bool,
        mut drain: impl FnMut(),
    ) -> Result<(), FlushError> {
        let Self { online, states, left_alone } = self;
        let cpus = online.read().map_err(|error| FlushError::Cpus { path: OnlineCpus::PATH, error })?;
        left_alone.begin();
        let mut result = Ok(());
        if let Program::RawTracePoint(program) = program {
            for cpu in cpus {
                let is_nohz_full = left_alone.is_nohz_full(cpu);
                let news = |states: &CpuStates| states.news(cpu, charges, is_nohz_full);
                let is_left = match states.as_ref().map_or(News::Call, news) {
                    News::None => true,
                    News::Read => left_alone.leave(cpu),
                    News::Call => false,
                };
                if !is_left && let Err(error) = run_until_empty(program, cpu, charges, &mut drain) {
                    result = Err(error);
                }
            }
        }
        drain();
        result
    }

    /// Reads what the CPUs have that the latest write-back has left alone.
    pub(super) fn read(&mut self, held: &Held, read: impl FnMut(Seen)) -> Result<(), FlushError> {
        let Some(states) = &self.states else { return Ok(()) };
        let read = self.left_alone.read(held, states, read);
        read.map_err(|(cpu, error)| FlushError::Read { cpu, error })
    }
}

/// Runs the program on one CPU until its caches are written back.
fn run_until_empty(
    program: &RawTracePoint,
    cpu: u32,
    charges: bool,
    drain: &mut impl FnMut(),
) -> Result<(), FlushError> {
    let mut args = [0; 12];
    args[FLUSH_ARGUMENT] = if charges { FLUSH_CHARGES } else { 0 };
    let (mut full, mut busy) = (0, 0);
    loop {
        match program.test_run(RawTracePointRunOptions { args, cpu: Some(cpu) }) {
            Ok(answer) if answer.return_value & FLUSH_RING_FULL != 0 && full < RING_FULL_TRIES => {
                full += 1;
                drain();
            }
            Ok(answer) if answer.return_value & FLUSH_LEVEL_BUSY != 0 && busy < BUSY_TRIES => busy += 1,
            Ok(_) => return Ok(()),
            // A CPU that went offline in the meantime keeps its cache until it is back.
            Err(error) if is_offline(&error) => return Ok(()),
            Err(error) => return Err(FlushError::Run { cpu, error }),
        }
    }
}

fn is_offline(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENXIO))
}
