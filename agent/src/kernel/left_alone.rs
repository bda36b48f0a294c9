//! CPUs that a gather leaves alone: what they have is read where it is, in the kernel's tables.
//!
//! A write-back would wake an idle CPU, and interrupt one that is to run a single task without end (`nohz_full`). What is read
//! stays in its slot: [`super::early`] keeps apart what is new.

use aya::maps::{Array, Map, MapData, MapError};
use aya::programs::{Program, RawTracePointRunOptions, TestRun as _};
use aya::{Ebpf, Pod};
use seismograf_ebpf::abi::{self, CpuRow, Kind, LOOK_ARGUMENT};

use super::held::Held;
use super::records::Record;
use super::tables::{CPUS, CpuStates, RUNQUEUES, nohz_full};

/// The program that looks at the task of another CPU.
pub(super) const PROGRAM: &str = "look";
/// A CPU with more rows is called once, and has none then: to remember what was read of them costs more.
const MAX_ROWS: usize = 32;

/// Which CPUs are left alone.
#[derive(Debug, Default)]
pub(super) struct LeftAlone {
    /// Those that run a single task without end, where that can be looked at.
    nohz_full: Vec<u32>,
    /// Those that the latest write-back has left alone, and that have something to be read.
    cpus: Vec<u32>,
    /// Those of them that had too many rows.
    crowded: Vec<u32>,
}

/// An entry of a table, in a type of this crate so that aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Entry<T>(T);
// SAFETY: integers: any bytes are one.
unsafe impl Pod for Entry<abi::Cpu> {}
// SAFETY: as above.
unsafe impl Pod for Entry<abi::Runqueue> {}

impl LeftAlone {
    /// Has those left alone that run a single task without end; `load` loads the program that looks at it.
    pub(super) fn leave_busy(&mut self, load: impl FnOnce() -> bool) {
        let cpus = nohz_full();
        if !cpus.is_empty() && load() {
            self.nohz_full = cpus;
        }
    }

    /// Whether a CPU may be left alone that runs a task.
    pub(super) fn is_nohz_full(&self, cpu: u32) -> bool {
        self.nohz_full.contains(&cpu)
    }

    /// Begins a write-back.
    pub(super) fn begin(&mut self) {
        self.cpus.clear();
    }

    /// Leaves a CPU alone; `false` for one that had too many rows at the time before.
    pub(super) fn leave(&mut self, cpu: u32) -> bool {
        let crowded = self.crowded.iter().position(|crowded| *crowded == cpu);
        match crowded {
            Some(at) => drop(self.crowded.swap_remove(at)),
            None => self.cpus.push(cpu),
        }
        crowded.is_none()
    }

    /// Reads what those have that were left alone.
    ///
    /// # Errors
    /// Which CPU's table the kernel does not let be read; the others are read all the same.
    pub(super) fn read(
        &mut self,
        held: &Held,
        states: &CpuStates,
        mut read: impl FnMut(Record<'static>),
    ) -> Result<(), (u32, MapError)> {
        let mut result = Ok(());
        for &cpu in &self.cpus {
            let running = || self.nohz_full.contains(&cpu).then(|| running(held, states, cpu)).flatten();
            match rows(&held.ebpf, cpu, running, &mut read) {
                Ok(n) if n > MAX_ROWS => self.crowded.push(cpu),
                Ok(_) => {}
                Err(error) => result = Err((cpu, error)),
            }
        }
        result
    }
}

/// The cgroup of the task that a CPU runs, and the nanoseconds since it was switched in.
fn running(held: &Held, states: &CpuStates, cpu: u32) -> Option<(u64, u64)> {
    let Some(Program::RawTracePoint(program)) = held.program(PROGRAM) else { return None };
    let mut args = [0; 12];
    args[LOOK_ARGUMENT] = u64::from(cpu);
    let looked = program.test_run(RawTracePointRunOptions { args, cpu: None }).ok()?;
    if looked.return_value == 0 { None } else { states.looked(cpu) }
}

/// Reads the rows of a CPU, with the time of the task that runs. Returns how many there are.
///
/// First the rows: a task that is switched out before it is looked at has its time in the row that is read next.
fn rows(
    ebpf: &Ebpf,
    cpu: u32,
    running: impl FnOnce() -> Option<(u64, u64)>,
    read: &mut impl FnMut(Record<'static>),
) -> Result<usize, MapError> {
    let mut n = 0;
    let Some(Entry(entry)) = entry::<abi::Cpu>(ebpf.map(CPUS), cpu)? else { return Ok(0) };
    let mut running = running();
    for mut row in entry.rows.into_iter().filter(|row| row.cgroup != 0) {
        if let Some((_, run_ns)) = running.take_if(|(cgroup, _)| *cgroup == row.cgroup) {
            row.run_ns += run_ns;
        }
        read(Record::Cpu(row));
        n += 1;
    }
    if let Some((cgroup, run_ns)) = running {
        read(Record::Cpu(CpuRow { kind: Kind::Cpu as u32, cpu, cgroup, run_ns, switches: 0 }));
    }
    if entry.marks.runqueue == 0 {
        return Ok(n);
    }
    let Some(Entry(entry)) = self::entry::<abi::Runqueue>(ebpf.map(RUNQUEUES), cpu)? else { return Ok(n) };
    for row in entry.rows.into_iter().filter(|row| row.cgroup != 0) {
        read(Record::Runqueue(row));
        n += 1;
    }
    Ok(n)
}

fn entry<T>(map: Option<&Map>, cpu: u32) -> Result<Option<Entry<T>>, MapError>
where
    Entry<T>: Pod,
{
    let Some(map) = map else { return Ok(None) };
    Array::<&MapData, Entry<T>>::try_from(map)?.get(&cpu, 0).map(Some)
}
