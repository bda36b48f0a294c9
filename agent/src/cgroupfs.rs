//! The figures of one cgroup from the files of cgroupfs, v1 and v2, and the way from a container's id to its cgroup.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst and Documentation/admin-guide/cgroup-v1. What a file does not say, or
//! a kernel does not have, is `None`. Nothing here is added up or named. All inputs of a process share one [`Cgroupfs`],
//! and files that several ask for in the same gather are read once.

pub mod reader;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::reader::Reader;
use crate::host::Host;
use crate::identity::path;
use crate::point::Timestamp;
use crate::probes::support::{Hierarchies, HierarchyId};

/// How often the hierarchies are walked for containers that have no path yet, at the most.
const WALK_PERIOD: Duration = Duration::from_secs(1);
/// What a cgroup did is forgotten when nobody asked for so long.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// All of the memory figures of a cgroup that rests are read this often.
const REST_PERIOD: Duration = Duration::from_secs(60);
/// How deep a walk goes.
const WALK_DEPTH: usize = 32;
/// What v1 says where there is no limit: the largest whole page.
const V1_NO_LIMIT: u64 = 0x7fff_ffff_ffff_f000;
/// Ticks of `cpuacct.stat` in a second: `USER_HZ`, which Linux has fixed for all architectures that BPF runs on.
const USER_HZ: u64 = 100;

/// Memory of a cgroup and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whether the figures are those of v1's controller.
    pub is_v1: bool,
    /// `memory.usage_in_bytes`, `memory.current`: bytes, page cache included.
    pub usage: u64,
    /// `memory.max_usage_in_bytes`, `memory.peak` (since Linux 5.19).
    pub max_usage: Option<u64>,
    /// `memory.limit_in_bytes`, `memory.max`; `None` without a limit.
    pub limit: Option<u64>,
    /// `memory.failcnt`: how often the limit was hit; v1 alone.
    pub fail_count: Option<u64>,
    /// Processes killed for want of memory since the cgroup was made (`memory.oom_control`, since Linux 4.13;
    /// `memory.events`).
    pub oom_kills: Option<u64>,
    stat: String,
}

impl Memory {
    /// The lines of `memory.stat`: key, and bytes or a count.
    pub fn stat(&self) -> impl Iterator<Item = (&str, u64)> {
        key_values(&self.stat)
    }

    /// One line of `memory.stat`.
    #[must_use]
    pub fn stat_value(&self, key: &str) -> Option<u64> {
        value(&self.stat, key)
    }

    /// A line of `memory.stat` that has everything below the cgroup too, by its key under v1 and under v2.
    #[must_use]
    pub fn total(&self, v1: &str, v2: &str) -> Option<u64> {
        self.stat_value(if self.is_v1 { v1 } else { v2 })
    }

    /// Anonymous memory.
    #[must_use]
    pub fn rss(&self) -> Option<u64> {
        self.total("total_rss", "anon")
    }

    /// What the kubelet evicts by: all but the page cache that is not in use, which can be had back at any time.
    #[must_use]
    pub fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.total("total_inactive_file", "inactive_file").unwrap_or(0))
    }
}

/// CPU time of a cgroup and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Nanoseconds.
    pub usage_ns: u64,
    /// Of these in user mode; in steps of 10 ms under v1.
    pub user_ns: Option<u64>,
    /// Of these in the kernel, likewise.
    pub system_ns: Option<u64>,
    /// Nanoseconds on each CPU, by its number; empty under v2.
    pub per_cpu_ns: Vec<u64>,
}

/// What a CPU quota did to a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Enforcement periods in which it ran.
    pub nr_periods: u64,
    /// Of these, the ones in which the quota was used up.
    pub nr_throttled: u64,
    /// How long its CPUs were kept from it, in nanoseconds, added up.
    pub throttled_ns: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst): one line of such a file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Share of the last 10 s in which tasks stood still, in percent.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// Time in which tasks stood still, in microseconds.
    pub total_us: u64,
}

/// The resources of pressure stall information, and their files.
const RESOURCES: [(&str, &str); 3] =
    [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("io", "io.pressure")];

impl Pressure {
    /// Nothing stood still for the last five minutes.
    fn is_still(&self) -> bool {
        self.avg10 == 0.0 && self.avg60 == 0.0 && self.avg300 == 0.0
    }

    /// Reads a file: `some` (at least one task stood still), and where there is one `full` (all of them did).
    #[must_use]
    pub fn parse(text: &str) -> Vec<(&'static str, Self)> {
        text.lines().filter_map(Self::parse_line).collect()
    }

    /// Reads a line: `some avg10=0.12 avg60=0.05 avg300=0.01 total=11220657`; `None` when it is malformed.
    #[must_use]
    pub fn parse_line(line: &str) -> Option<(&'static str, Self)> {
        let (kind, values) = line.split_once(' ')?;
        let kind = ["some", "full"].into_iter().find(|known| *known == kind)?;
        let mut pressure = Self::default();
        for value in values.split_ascii_whitespace() {
            match value.split_once('=')? {
                ("avg10", value) => pressure.avg10 = value.parse().ok()?,
                ("avg60", value) => pressure.avg60 = value.parse().ok()?,
                ("avg300", value) => pressure.avg300 = value.parse().ok()?,
                ("total", value) => pressure.total_us = value.parse().ok()?,
                _ => {}
            }
        }
        Some((kind, pressure))
    }
}

/// Block I/O of a cgroup and everything below it, on one device, since the cgroup was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIo {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Bytes, by [`IO_KINDS`].
    pub bytes: [Option<u64>; IO_KINDS.len()],
    /// Operations, likewise.
    pub operations: [Option<u64>; IO_KINDS.len()],
}

/// What of a cgroup changes only while its processes run (or, under v2, while their pages are written back).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// CPU time.
    pub cpu: Option<Cpu>,
    /// What the CPU quota did; `None` where there is no `cpu` controller.
    pub throttling: Option<Throttling>,
    /// Block I/O.
    pub blkio: Option<Vec<DeviceIo>>,
}

/// The kinds of block I/O that v1 tells apart. v2 has no `sync`, `async` and `total`.
pub const IO_KINDS: [&str; 6] = ["read", "write", "sync", "async", "discard", "total"];

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
    /// Container id to the path of its own cgroup.
    containers: HashMap<String, Arc<str>>,
    walked: Option<Instant>,
    memory: HashMap<String, KnownMemory>,
    pressure: HashMap<String, KnownPressure>,
    readers: Vec<(HierarchyId, Reader)>,
    activities: HashMap<String, Known>,
    /// When those that nobody asks for any more were forgotten last.
    swept: Option<Instant>,
}

/// Memory of a cgroup, as it was read last.
#[derive(Debug)]
struct KnownMemory {
    memory: Option<Arc<Memory>>,
    /// The gather that it was last asked for in.
    time: Timestamp,
    /// When all of it was read.
    read: Instant,
    is_used: bool,
}

/// Pressure of a cgroup by [`RESOURCES`], as it was read last.
#[derive(Debug, Default)]
struct KnownPressure {
    kinds: [Option<Vec<(&'static str, Pressure)>>; RESOURCES.len()],
    is_used: bool,
}

/// What a cgroup did, as it was read last.
#[derive(Debug)]
struct Known {
    activity: Arc<Activity>,
    /// Whether it had not run since it was read before; what its requests still did then is in.
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

    /// Forgets what nobody asks for any more.
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
    /// The hierarchies of this host; nothing is read but where they are.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self::of(Hierarchies::read(host))
    }

    /// The same, of hierarchies that are known already.
    pub(crate) fn of(hierarchies: Hierarchies) -> Self {
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

    /// The path of a container's own cgroup, from the hierarchies' root; `None` when there is none now.
    ///
    /// One that is not known is looked for on disk, at most once a second.
    #[must_use]
    pub fn container(&self, id: &str, now: Instant) -> Option<Arc<str>> {
        let mut state = self.state();
        let exists = |path: &str| self.directory(self.memory, path).is_some_and(|path| path.is_dir());
        match state.containers.get(id) {
            Some(path) if exists(path) => return Some(Arc::clone(path)),
            _ if state.walked.is_some_and(|walked| now.duration_since(walked) < WALK_PERIOD) => return None,
            _ => {}
        }
        state.walked = Some(now);
        state.containers.clear();
        if let Some(root) = self.hierarchies.mount(self.memory) {
            walk(root, "", 0, &mut state.containers);
        }
        state.containers.get(id).cloned()
    }

    /// The directory of a cgroup in a hierarchy.
    fn directory(&self, hierarchy: HierarchyId, path: &str) -> Option<PathBuf> {
        Some(self.hierarchies.mount(hierarchy)?.join(path.trim_start_matches('/')))
    }

    /// Memory of a cgroup that several inputs ask for; `time` is that of the gather, in which it is read once.
    ///
    /// Of one that `rests`, which means that it did not run since the gather before, and whose usage is the same, the rest is
    /// read once a minute: nothing can have changed but how the kernel sorted its page cache.
    #[must_use]
    pub fn memory(&self, path: &str, time: Timestamp, rests: bool) -> Option<Arc<Memory>> {
        let (mut state, now) = (self.state(), Instant::now());
        state.sweep(now);
        if let Some(known) = state.memory.get_mut(path) {
            known.is_used = true;
            if known.time == time {
                return known.memory.clone();
            }
            known.time = time;
            let usage = known.memory.as_ref().map(|memory| memory.usage);
            if rests && usage.is_some() && now.duration_since(known.read) < REST_PERIOD {
                let memory = known.memory.clone();
                if self.read_memory_usage(&mut state, path) == usage {
                    return memory;
                }
            }
        }
        let memory = self.read_memory(&mut state, path).map(Arc::new);
        let known = KnownMemory { memory: memory.clone(), time, read: now, is_used: true };
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

    /// Memory of a cgroup that nobody else asks for, read now.
    #[must_use]
    pub fn memory_now(&self, path: &str) -> Option<Memory> {
        self.read_memory(&mut self.state(), path)
    }

    /// What a cgroup uses of memory, read now; limits and what came of them are left out, which is two thirds of the cost.
    #[must_use]
    pub fn memory_in_use(&self, path: &str) -> Option<Memory> {
        let mut state = self.state();
        let usage = self.read_memory_usage(&mut state, path)?;
        let mut files = state.files(&self.hierarchies, self.memory, path)?;
        let is_v1 = self.memory != HierarchyId::UNIFIED;
        Some(Memory { is_v1, usage, stat: files.text("memory.stat")?.to_owned(), ..Memory::default() })
    }

    /// CPU time of a cgroup in nanoseconds, by one file.
    #[must_use]
    pub fn cpu_usage_ns(&self, path: &str) -> Option<u64> {
        let mut state = self.state();
        let mut files = state.files(&self.hierarchies, self.cpuacct, path)?;
        if self.cpuacct == HierarchyId::UNIFIED {
            return Some(files.value("cpu.stat", "usage_usec")?.saturating_mul(1_000));
        }
        files.number("cpuacct.usage")
    }

    fn read_memory(&self, state: &mut State, path: &str) -> Option<Memory> {
        let mut files = state.files(&self.hierarchies, self.memory, path)?;
        if self.memory == HierarchyId::UNIFIED {
            // The root has no `memory.current`: its figures are the machine's, and `mem` has those.
            return Some(Memory {
                is_v1: false,
                usage: files.number("memory.current")?,
                max_usage: files.number("memory.peak"),
                limit: files.number("memory.max"),
                fail_count: None,
                oom_kills: files.value("memory.events", "oom_kill"),
                stat: files.text("memory.stat")?.to_owned(),
            });
        }
        let usage = files.number("memory.usage_in_bytes")?;
        let stat = files.text("memory.stat")?.to_owned();
        // The lowest limit of the cgroup and those above it. Where there is none, two files need not be opened.
        let has_limit = value(&stat, "hierarchical_memory_limit").is_none_or(|limit| limit < V1_NO_LIMIT);
        let mut limited = |file| has_limit.then(|| files.number(file)).flatten();
        Some(Memory {
            is_v1: true,
            usage,
            limit: limited("memory.limit_in_bytes").filter(|limit| *limit < V1_NO_LIMIT),
            fail_count: limited("memory.failcnt"),
            max_usage: files.number("memory.max_usage_in_bytes"),
            oom_kills: files.value("memory.oom_control", "oom_kill"),
            stat,
        })
    }

    /// CPU time, throttling and block I/O of a cgroup; `None` when it is gone.
    ///
    /// Of one under v1 that did not run for two readings nothing is read but its CPU time.
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
            // Under v2's block I/O, pages are written back on a cgroup's account while it sleeps.
            if is_idle && known.was_idle && self.blkio != HierarchyId::UNIFIED {
                return Some(Arc::clone(&known.activity));
            }
        }
        let activity = Arc::new(Activity {
            cpu: match per_cpu_ns {
                Some(per_cpu_ns) => state
                    .files(&self.hierarchies, self.cpuacct, path)
                    .and_then(|mut files| v1_cpu(&mut files, per_cpu_ns)),
                None => Some(self.read_cpu(&mut state, path)?),
            },
            throttling: self.read_throttling(&mut state, path),
            blkio: self.read_blkio(&mut state, path),
        });
        if self.cpuacct != HierarchyId::UNIFIED {
            let known = Known { activity: Arc::clone(&activity), was_idle: is_idle, is_used: true };
            put(&mut state.activities, path, known);
        }
        Some(activity)
    }

    fn read_cpu(&self, state: &mut State, path: &str) -> Option<Cpu> {
        let mut files = state.files(&self.hierarchies, self.cpuacct, path)?;
        if self.cpuacct != HierarchyId::UNIFIED {
            let per_cpu_ns = per_cpu(&mut files)?;
            return v1_cpu(&mut files, per_cpu_ns);
        }
        let stat = files.text("cpu.stat")?;
        let ns = |key: &str| value(stat, key).map(|us| us.saturating_mul(1_000));
        Some(Cpu {
            usage_ns: ns("usage_usec")?,
            user_ns: ns("user_usec"),
            system_ns: ns("system_usec"),
            per_cpu_ns: Vec::new(),
        })
    }

    /// What its CPU quota did to a cgroup.
    #[must_use]
    pub fn throttling(&self, path: &str) -> Option<Throttling> {
        self.read_throttling(&mut self.state(), path)
    }

    fn read_throttling(&self, state: &mut State, path: &str) -> Option<Throttling> {
        let mut files = state.files(&self.hierarchies, self.cpu, path)?;
        let stat = files.text("cpu.stat")?;
        let throttled_ns = match value(stat, "throttled_usec") {
            Some(us) => us.saturating_mul(1_000),
            None => value(stat, "throttled_time")?,
        };
        Some(Throttling {
            nr_periods: value(stat, "nr_periods")?,
            nr_throttled: value(stat, "nr_throttled")?,
            throttled_ns,
        })
    }

    /// Pressure stall information of a cgroup in cgroup2: resource and kinds, where something ever stood still.
    /// Since Linux 4.20; without `CONFIG_PSI` there is none.
    ///
    /// Of one that `rests`, only `io` is read again once its averages are 0: what does not run waits neither for a CPU nor
    /// for memory, but it can hang in a request.
    #[must_use]
    pub fn pressure(&self, path: &str, rests: bool) -> Vec<(&'static str, Vec<(&'static str, Pressure)>)> {
        let mut state = self.state();
        state.sweep(Instant::now());
        let known = state.pressure.remove_entry(path);
        let (key, mut known) = known.unwrap_or_else(|| (path.to_owned(), KnownPressure::default()));
        let mut pressures = Vec::new();
        for (known, (resource, file)) in known.kinds.iter_mut().zip(RESOURCES) {
            let is_still = |kinds: &Vec<(_, Pressure)>| kinds.iter().all(|(_, pressure)| pressure.is_still());
            if !(rests && resource != "io" && known.as_ref().is_some_and(is_still)) {
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

    /// Closes what is kept open of cgroups that are gone, and forgets their figures.
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

    /// The processes of a cgroup itself, by the ids that they have here: one that this process's PID namespace does not
    /// show is left out.
    #[must_use]
    pub fn processes(&self, path: &str) -> Vec<u32> {
        let mut state = self.state();
        let files = state.files(&self.hierarchies, self.memory, path);
        let text = files.and_then(|files| files.into_text("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).collect()
    }
}

/// Replaces an entry, or makes it; a key is made for a new one alone.
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

fn v1_cpu(files: &mut Files<'_>, per_cpu_ns: Vec<u64>) -> Option<Cpu> {
    let stat = files.text("cpuacct.stat")?;
    let ns = |key: &str| value(stat, key).map(|ticks| ticks.saturating_mul(1_000_000_000 / USER_HZ));
    Some(Cpu {
        usage_ns: per_cpu_ns.iter().fold(0, |sum, ns| sum.saturating_add(*ns)),
        user_ns: ns("user"),
        system_ns: ns("system"),
        per_cpu_ns,
    })
}

/// A line of v2's `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn io_stat(line: &str) -> Option<DeviceIo> {
    let mut words = line.split_ascii_whitespace();
    let mut io = DeviceIo { device: device(words.next()?)?, ..DeviceIo::default() };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let (kind, is_bytes) = match key {
            "rbytes" => (0, true),
            "wbytes" => (1, true),
            "dbytes" => (4, true),
            "rios" => (0, false),
            "wios" => (1, false),
            "dios" => (4, false),
            _ => continue,
        };
        let amounts = if is_bytes { &mut io.bytes } else { &mut io.operations };
        amounts[kind] = value.parse().ok();
    }
    Some(io)
}

/// Adds one of v1's files: lines such as `8:0 Read 4096`, and at the end `Total 4096`.
fn add_io(
    devices: &mut Vec<DeviceIo>,
    text: &str,
    amounts: impl Fn(&mut DeviceIo) -> &mut [Option<u64>; IO_KINDS.len()],
) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(number), Some(kind), Some(amount)) =
            (words.next().and_then(device), words.next(), words.next())
        else {
            continue;
        };
        let Some(kind) = IO_KINDS.iter().position(|name| kind.eq_ignore_ascii_case(name)) else { continue };
        let at = devices.iter().position(|known| known.device == number).unwrap_or_else(|| {
            devices.push(DeviceIo { device: number, ..DeviceIo::default() });
            devices.len() - 1
        });
        amounts(&mut devices[at])[kind] = amount.parse().ok();
    }
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Notes the own cgroup of every container below `directory`; parents come before what is nested in them.
fn walk(directory: &Path, at: &str, depth: usize, containers: &mut HashMap<String, Arc<str>>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = format!("{at}/{}", entry.file_name().to_string_lossy());
        if let Some(id) = path::parse(&path).container_id {
            containers.entry(id).or_insert_with(|| path.as_str().into());
        }
        if depth < WALK_DEPTH {
            walk(&entry.path(), &path, depth + 1, containers);
        }
    }
}

/// The files of one cgroup in one hierarchy.
struct Files<'a> {
    reader: &'a mut Reader,
    path: &'a str,
}

impl<'a> Files<'a> {
    /// A file's text; `None` when it is not there, or the cgroup is gone.
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
}

fn key_values(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.parse().ok()?))
    })
}

fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests;
