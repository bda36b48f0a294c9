//! The figures of one cgroup from the files of cgroupfs, v1 and v2.
//!
//! Owns what is read when, and what need not be read again for an idle cgroup. Nothing here is added up or named. All inputs
//! of a process share one [`Cgroupfs`], and files that several of them need in the same gather are read once.

pub(crate) mod figures;
pub(crate) mod reader;
pub(crate) mod rest;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::figures::{Activity, Cpu, DeviceIo, Memory, RESOURCES, Throttling, add_io, io_stat, value};
use self::reader::Reader;
use self::rest::Rest;
use super::hierarchies::{Hierarchies, HierarchyId};
use super::proc::pressure::Pressure;
use crate::point::Timestamp;

/// What v1 reports without a limit: the largest multiple of a page.
const V1_NO_LIMIT: u64 = 0x7fff_ffff_ffff_f000;
/// A cgroup's figures are forgotten when they were not used for this long.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// How long after a stall has begun its averages are not 0 any more: the kernel takes them every two seconds (`PSI_FREQ` in
/// `kernel/sched/psi.c`).
const STALL_SHOWS: Duration = Duration::from_secs(4);

/// The cgroups of this machine as cgroupfs shows them.
#[derive(Debug)]
pub struct Cgroupfs {
    hierarchies: Hierarchies,
    memory: HierarchyId,
    cpu: HierarchyId,
    cpuacct: HierarchyId,
    blkio: HierarchyId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    memory: HashMap<String, KnownMemory>,
    pressure: HashMap<String, KnownPressure>,
    readers: Vec<(HierarchyId, Reader)>,
    activities: HashMap<String, KnownActivity>,
    /// When unused figures were last forgotten.
    swept: Option<Instant>,
}

/// Memory of a cgroup, as last read.
#[derive(Debug)]
struct KnownMemory {
    memory: Option<Arc<Memory>>,
    rest: Rest,
    is_used: bool,
}

/// Pressure of a cgroup by [`RESOURCES`], as last read.
#[derive(Debug, Default)]
struct KnownPressure {
    kinds: [Option<Vec<(&'static str, Pressure)>>; RESOURCES.len()],
    /// Since when it has been idle.
    idle_since: Option<Instant>,
    /// Whether all that came of what it did before it was idle is in `kinds`.
    is_settled: bool,
    is_used: bool,
}

/// What a cgroup did, as last read.
#[derive(Debug)]
struct KnownActivity {
    activity: Arc<Activity>,
    /// Whether it had not run since the reading before; what its pending requests still did then is included.
    was_idle: bool,
    is_used: bool,
}

impl State {
    /// The files of a cgroup in a hierarchy.
    fn files<'a>(
        &'a mut self,
        hierarchies: &Hierarchies,
        id: HierarchyId,
        path: &'a str,
    ) -> Option<Files<'a>> {
        let at = match self.readers.iter().position(|(known, _)| *known == id) {
            Some(at) => at,
            None => {
                self.readers.push((id, Reader::new(hierarchies.mount(id)?)));
                self.readers.len() - 1
            }
        };
        Some(Files { reader: &mut self.readers[at].1, path })
    }

    /// Forgets unused figures.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) > SWEEP_PERIOD) {
            self.swept = Some(now);
            self.activities.retain(|_, known| std::mem::replace(&mut known.is_used, false));
            self.memory.retain(|_, known| std::mem::replace(&mut known.is_used, false));
            self.pressure.retain(|_, known| std::mem::replace(&mut known.is_used, false));
        }
    }
}

impl Cgroupfs {
    /// The cgroups of some hierarchies; nothing is read yet.
    #[must_use]
    pub fn new(hierarchies: Hierarchies) -> Self {
        let controller = |name| hierarchies.of_controller(name);
        let (memory, cpu, cpuacct) = (controller("memory"), controller("cpu"), controller("cpuacct"));
        let blkio = controller("blkio");
        Self { hierarchies, memory, cpu, cpuacct, blkio, state: Mutex::default() }
    }

    /// Where the hierarchies are.
    #[must_use]
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of a cgroup that several inputs need; `time` is that of the gather, in which it is read once.
    ///
    /// If the cgroup `is_idle`, which means that it did not run since the gather before, and its usage is unchanged, the rest
    /// is read until the kernel has added up all that it did, and then once a minute: nothing can have changed but how the kernel
    /// sorted its page cache. `usage` is what it uses now, where that is known; else it is read.
    #[must_use]
    pub fn memory(
        &self,
        path: &str,
        time: Timestamp,
        is_idle: bool,
        usage: Option<u64>,
    ) -> Option<Arc<Memory>> {
        let mut state = self.state();
        state.sweep(Instant::now());
        let mut rest = Rest::new(time);
        if let Some(known) = state.memory.get_mut(path) {
            known.is_used = true;
            if known.rest.asked() == time {
                return known.memory.clone();
            }
            known.rest = known.rest.asked_at(time, is_idle);
            rest = known.rest;
            let before = known.memory.as_ref().map(|memory| memory.usage);
            if before.is_some() && rest.holds() {
                let memory = known.memory.clone();
                if usage.or_else(|| self.read_memory_usage(&mut state, path)) == before {
                    return memory;
                }
            }
        }
        let all = Besides { peak: true, oom_kills: true };
        let memory = self.read_memory(&mut state, path, all).map(Arc::new);
        let known = KnownMemory { memory: memory.clone(), rest: rest.once_read(), is_used: true };
        put(&mut state.memory, path, known);
        memory
    }

    fn read_memory_usage(&self, state: &mut State, path: &str) -> Option<u64> {
        let file = match self.memory == HierarchyId::UNIFIED {
            true => "memory.current",
            false => "memory.usage_in_bytes",
        };
        state.files(&self.hierarchies, self.memory, path)?.number(file)
    }

    /// Memory of a cgroup that no other input needs, read now: without its peak.
    #[must_use]
    pub fn memory_now(&self, path: &str, with_oom_kills: bool) -> Option<Memory> {
        self.read_memory(&mut self.state(), path, Besides { peak: false, oom_kills: with_oom_kills })
    }

    /// How much memory a cgroup uses, in bytes.
    #[must_use]
    pub fn memory_usage(&self, path: &str) -> Option<u64> {
        self.read_memory_usage(&mut self.state(), path)
    }

    /// How many of a cgroup's processes were OOM-killed.
    #[must_use]
    pub fn oom_kills(&self, path: &str) -> Option<u64> {
        let mut state = self.state();
        state.files(&self.hierarchies, self.memory, path)?.oom_kills(self.memory != HierarchyId::UNIFIED)
    }

    /// Memory in use by a cgroup, read now; limits and their consequences, two thirds of the cost, are left out.
    #[must_use]
    pub fn memory_in_use(&self, path: &str) -> Option<Memory> {
        let mut state = self.state();
        let usage = self.read_memory_usage(&mut state, path)?;
        let mut files = state.files(&self.hierarchies, self.memory, path)?;
        let is_v1 = self.memory != HierarchyId::UNIFIED;
        Some(Memory { is_v1, usage, stat: files.text("memory.stat")?.to_owned(), ..Memory::default() })
    }

    /// CPU time of a cgroup in nanoseconds, from one file.
    #[must_use]
    pub fn cpu_usage_ns(&self, path: &str) -> Option<u64> {
        let mut state = self.state();
        let mut files = state.files(&self.hierarchies, self.cpuacct, path)?;
        if self.cpuacct == HierarchyId::UNIFIED {
            return Some(files.value("cpu.stat", "usage_usec")?.saturating_mul(1_000));
        }
        files.number("cpuacct.usage")
    }

    /// Block I/O of a cgroup and everything below it, by device; one that it has not used may be missing.
    #[must_use]
    pub fn blkio(&self, path: &str) -> Option<Vec<DeviceIo>> {
        self.read_blkio(&mut self.state(), path)
    }

    fn read_memory(&self, state: &mut State, path: &str, besides: Besides) -> Option<Memory> {
        let mut files = state.files(&self.hierarchies, self.memory, path)?;
        if self.memory == HierarchyId::UNIFIED {
            // The root has no `memory.current`: its figures are those of the machine, which `mem` has.
            return Some(Memory {
                is_v1: false,
                usage: files.number("memory.current")?,
                max_usage: besides.peak.then(|| files.number("memory.peak")).flatten(),
                limit: files.number("memory.max"),
                fail_count: None,
                oom_kills: besides.oom_kills.then(|| files.oom_kills(false)).flatten(),
                stat: files.text("memory.stat")?.to_owned(),
            });
        }
        let usage = files.number("memory.usage_in_bytes")?;
        let stat = files.text("memory.stat")?.to_owned();
        // The lowest limit of the cgroup and those above it. Without one, two files need not be opened.
        let has_limit = value(&stat, "hierarchical_memory_limit").is_none_or(|limit| limit < V1_NO_LIMIT);
        let mut limited = |file| has_limit.then(|| files.number(file)).flatten();
        Some(Memory {
            is_v1: true,
            usage,
            limit: limited("memory.limit_in_bytes").filter(|limit| *limit < V1_NO_LIMIT),
            fail_count: limited("memory.failcnt"),
            max_usage: besides.peak.then(|| files.number("memory.max_usage_in_bytes")).flatten(),
            oom_kills: besides.oom_kills.then(|| files.oom_kills(true)).flatten(),
            stat,
        })
    }

    /// CPU time, throttling and block I/O of a cgroup; `None` when it is gone.
    ///
    /// Under v1, only the CPU time is read of a cgroup that did not run for two readings.
    #[must_use]
    pub fn activity(&self, path: &str, now: Instant) -> Option<Arc<Activity>> {
        let mut state = self.state();
        state.sweep(now);
        let per_cpu_ns = if self.cpuacct == HierarchyId::UNIFIED {
            None
        } else {
            Some(per_cpu(&mut state.files(&self.hierarchies, self.cpuacct, path)?)?)
        };
        let mut is_idle = false;
        if let (Some(per_cpu_ns), Some(known)) = (&per_cpu_ns, state.activities.get_mut(path)) {
            known.is_used = true;
            is_idle = known.activity.cpu.as_ref().is_some_and(|cpu| cpu.per_cpu_ns == *per_cpu_ns);
            // v2 charges a cgroup for pages that are written back while it sleeps.
            if is_idle && known.was_idle && self.blkio != HierarchyId::UNIFIED {
                return Some(Arc::clone(&known.activity));
            }
        }
        let activity = Arc::new(Activity {
            cpu: match per_cpu_ns {
                Some(per_cpu_ns) => state
                    .files(&self.hierarchies, self.cpuacct, path)
                    .and_then(|mut files| Some(Cpu::of_v1(files.text("cpuacct.stat")?, per_cpu_ns))),
                None => Some(self.read_cpu(&mut state, path)?),
            },
            throttling: self.read_throttling(&mut state, path),
            blkio: self.read_blkio(&mut state, path),
        });
        if self.cpuacct != HierarchyId::UNIFIED {
            let known = KnownActivity { activity: Arc::clone(&activity), was_idle: is_idle, is_used: true };
            put(&mut state.activities, path, known);
        }
        Some(activity)
    }

    fn read_cpu(&self, state: &mut State, path: &str) -> Option<Cpu> {
        let mut files = state.files(&self.hierarchies, self.cpuacct, path)?;
        if self.cpuacct != HierarchyId::UNIFIED {
            let per_cpu_ns = per_cpu(&mut files)?;
            return Some(Cpu::of_v1(files.text("cpuacct.stat")?, per_cpu_ns));
        }
        Cpu::of_v2(files.text("cpu.stat")?)
    }

    /// How its CPU quota throttled a cgroup.
    #[must_use]
    pub fn throttling(&self, path: &str) -> Option<Throttling> {
        self.read_throttling(&mut self.state(), path)
    }

    fn read_throttling(&self, state: &mut State, path: &str) -> Option<Throttling> {
        let mut files = state.files(&self.hierarchies, self.cpu, path)?;
        Throttling::parse(files.text("cpu.stat")?)
    }

    /// Pressure stall information of a cgroup in cgroup2: resource and kinds, where anything ever stalled. Since Linux 4.20;
    /// empty without `CONFIG_PSI`.
    ///
    /// If the cgroup `is_idle`, which means that nothing in it has run since the reading before, files whose averages are 0 are
    /// not read again: what does not run waits neither for a CPU nor for memory. It can hang in a request, but not begin one, so
    /// `io` is read until such a hang would show.
    #[must_use]
    pub fn pressure(
        &self,
        path: &str,
        is_idle: bool,
        now: Instant,
    ) -> Vec<(&'static str, Vec<(&'static str, Pressure)>)> {
        let mut state = self.state();
        state.sweep(now);
        let known = state.pressure.remove_entry(path);
        let (key, mut known) = known.unwrap_or_else(|| (path.to_owned(), KnownPressure::default()));
        let was_settled = known.is_settled;
        known.idle_since = known.idle_since.filter(|_| is_idle).or(is_idle.then_some(now));
        known.is_settled = known.idle_since.is_some_and(|since| now.duration_since(since) >= STALL_SHOWS);
        let mut pressures = Vec::new();
        for (known, (resource, file)) in known.kinds.iter_mut().zip(RESOURCES) {
            let is_zero = |kinds: &Vec<(_, Pressure)>| kinds.iter().all(|(_, pressure)| pressure.is_zero());
            let is_over = is_idle && (resource != "io" || was_settled);
            if !(is_over && known.as_ref().is_some_and(is_zero)) {
                let files = state.files(&self.hierarchies, HierarchyId::UNIFIED, path);
                *known = files.and_then(|mut files| files.text(file).map(Pressure::parse));
            }
            if let Some(kinds) = known
                && kinds.iter().any(|(_, pressure)| pressure.total_us > 0)
            {
                pressures.push((resource, kinds.clone()));
            }
        }
        known.is_used = true;
        state.pressure.insert(key, known);
        pressures
    }

    /// By device; one that the cgroup has not used may be missing.
    fn read_blkio(&self, state: &mut State, path: &str) -> Option<Vec<DeviceIo>> {
        let mut files = state.files(&self.hierarchies, self.blkio, path)?;
        if self.blkio == HierarchyId::UNIFIED {
            return Some(files.text("io.stat")?.lines().filter_map(io_stat).collect());
        }
        // The throttling policy sees every request. Where it is not built in, BFQ sees those of its devices.
        let policies = [
            ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
            ("blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"),
        ];
        policies.into_iter().find_map(|(bytes, operations)| {
            let mut devices = Vec::new();
            add_io(&mut devices, files.text(bytes)?, |device| &mut device.bytes);
            add_io(&mut devices, files.text(operations)?, |device| &mut device.operations);
            Some(devices)
        })
    }

    /// Closes the files of removed cgroups, and forgets their figures.
    pub fn forget<'a>(&self, paths: impl Iterator<Item = &'a str>) {
        let mut state = self.state();
        for path in paths {
            state.memory.remove(path);
            state.pressure.remove(path);
            state.activities.remove(path);
            for (_, reader) in &mut state.readers {
                reader.forget(path);
            }
        }
    }

    /// The processes in a cgroup itself, by their ids in this process's PID namespace; those outside of it are left out.
    #[must_use]
    pub fn processes(&self, path: &str) -> Vec<u32> {
        let mut state = self.state();
        let files = state.files(&self.hierarchies, self.memory, path);
        let text = files.and_then(|files| files.into_text("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).collect()
    }
}

/// Replaces or adds an entry; only a new one needs a key of its own.
fn put<V>(map: &mut HashMap<String, V>, key: &str, value: V) {
    match map.get_mut(key) {
        Some(before) => *before = value,
        None => {
            map.insert(key.to_owned(), value);
        }
    }
}

/// v1's CPU time on each CPU. `cpuacct.usage` is the sum, and would be one more file to read.
fn per_cpu(files: &mut Files<'_>) -> Option<Vec<u64>> {
    let text = files.text("cpuacct.usage_percpu")?.split_ascii_whitespace();
    Some(text.map_while(|ns| ns.parse().ok()).collect())
}

/// The files of one cgroup in one hierarchy.
struct Files<'a> {
    reader: &'a mut Reader,
    path: &'a str,
}

impl<'a> Files<'a> {
    /// A file's text; `None` when it does not exist, or the cgroup is gone.
    fn text(&mut self, file: &str) -> Option<&str> {
        self.reader.read(self.path, file)
    }

    fn into_text(self, file: &str) -> Option<&'a str> {
        self.reader.read(self.path, file)
    }

    /// A file that is one number; `None` also for `max`.
    fn number(&mut self, file: &str) -> Option<u64> {
        self.text(file)?.trim_end().parse().ok()
    }

    /// One line of a file of keys and values.
    fn value(&mut self, file: &str, key: &str) -> Option<u64> {
        value(self.text(file)?, key)
    }

    fn oom_kills(&mut self, is_v1: bool) -> Option<u64> {
        self.value(if is_v1 { "memory.oom_control" } else { "memory.events" }, "oom_kill")
    }
}

/// What is read of a cgroup's memory besides what it has now.
#[derive(Clone, Copy)]
struct Besides {
    peak: bool,
    oom_kills: bool,
}

/// Parses any text as each file of a cgroup, as a fuzzer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse_any(text: &str) {
    let _ = (Cpu::of_v1(text, Vec::new()), Cpu::of_v2(text), Throttling::parse(text), value(text, "a"));
    let mut devices = Vec::new();
    add_io(&mut devices, text, |device| &mut device.bytes);
    devices.extend(text.lines().filter_map(io_stat));
}

#[cfg(test)]
mod tests;
