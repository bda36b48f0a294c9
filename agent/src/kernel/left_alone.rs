//! CPUs that a gather leaves alone: what they have is read where it is, in the kernel's tables.
//!
//! A write-back would wake an idle CPU, and interrupt one that is to run a single task without end (`nohz_full`). What is read
//! stays in its slot: `early` keeps apart what is new.

use aya::maps::{Array, Map, MapData, MapError};
use aya::programs::{Program, RawTracePointRunOptions, TestRun as _};
use aya::{Ebpf, Pod};
use seismograf_ebpf::abi::{self, LOOK_ARGUMENT};

use super::early::{Running, Seen};
use super::held::Held;
use super::tables::{CPUS, CpuStates, RUNQUEUES};

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
    /// With those CPUs that run a single task without end, where [`PROGRAM`] is loaded.
    pub(super) fn new(nohz_full: Vec<u32>) -> Self {
        Self { nohz_full, ..Self::default() }
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
        mut read: impl FnMut(Seen),
    ) -> Result<(), (u32, MapError)> {
        let mut result = Ok(());
        for &cpu in &self.cpus {
            let rows = entry::<abi::Cpu>(held.ebpf.map(CPUS), cpu).and_then(|entry| {
                let Some(Entry(entry)) = entry else { return Ok(0) };
                if self.is_nohz_full(cpu) {
                    read(Seen::Running(running(held, states, cpu, &entry)));
                }
                rows(&held.ebpf, cpu, &entry, &mut read)
            });
            match rows {
                Ok(n) if n > MAX_ROWS => self.crowded.push(cpu),
                Ok(_) => {}
                Err(error) => result = Err((cpu, error)),
            }
        }
        result
    }
}

/// Reads the rows of a CPU. Returns how many there are.
fn rows(ebpf: &Ebpf, cpu: u32, entry: &abi::Cpu, read: &mut impl FnMut(Seen)) -> Result<usize, MapError> {
    let mut n = 0;
    let mut seen = |row| {
        read(row);
        n += 1;
    };
    entry.rows.iter().filter(|row| row.cgroup != 0).for_each(|row| seen(Seen::Cpu(*row)));
    if entry.marks.runqueue != 0
        && let Some(Entry(entry)) = self::entry::<abi::Runqueue>(ebpf.map(RUNQUEUES), cpu)?
    {
        entry.rows.iter().filter(|row| row.cgroup != 0).for_each(|row| seen(Seen::Runqueue(*row)));
    }
    Ok(n)
}

/// What a CPU runs since its entry was read; nothing new where that is something else by now, whose time is in a row soon.
fn running(held: &Held, states: &CpuStates, cpu: u32, entry: &abi::Cpu) -> Running {
    let slice = (entry.state.task, entry.state.task_in_ns);
    let (cgroup, run_ns) = look(held, cpu)
        .and_then(|()| states.looked(cpu))
        .filter(|_| states.slice(cpu) == Some(slice))
        .unwrap_or_default();
    Running { cpu, slice, cgroup, run_ns }
}

/// Has the program leave in a CPU's entry how long its task has run.
fn look(held: &Held, cpu: u32) -> Option<()> {
    let Some(Program::RawTracePoint(program)) = held.program(PROGRAM) else { return None };
    let mut args = [0; 12];
    args[LOOK_ARGUMENT] = u64::from(cpu);
    let looked = program.test_run(RawTracePointRunOptions { args, cpu: None }).ok()?;
    (looked.return_value != 0).then_some(())
}

fn entry<T>(map: Option<&Map>, cpu: u32) -> Result<Option<Entry<T>>, MapError>
where
    Entry<T>: Pod,
{
    let Some(map) = map else { return Ok(None) };
    Array::<&MapData, Entry<T>>::try_from(map)?.get(&cpu, 0).map(Some)
}
