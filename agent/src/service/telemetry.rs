//! The agent's own telemetry: what became of the points, and the resources of the process.
//!
//! The pipeline and the senders increase the counters. The pipeline publishes them as the measurement `seismograf`, and
//! `[[inputs.internal]]` under Telegraf's names. All count since the start of the process, across reloads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::pulse::Pulse;
use crate::point::{Point, Timestamp};
use crate::schema::losses::{CountedLoss, InputLosses, ListenerLosses, OutputLosses};

/// What became of one output's points, since the start.
#[derive(Debug, Default)]
pub struct OutputCounts {
    /// Received.
    pub taken: AtomicU64,
    /// Removed by the output's filters.
    pub filtered: AtomicU64,
    /// Stored by the other side.
    pub written: AtomicU64,
    /// What is in neither.
    pub losses: OutputLosses,
    /// In the buffer and the spool now.
    pub waiting: AtomicU64,
    /// Those of them that are in the spool.
    pub kept: AtomicU64,
    /// Bytes of the spool; 0 without one.
    pub spool_bytes: AtomicU64,
    /// What leaves no room in the buffer.
    pub occupied: AtomicU64,
    /// The limit of the buffer.
    pub limit: AtomicU64,
    /// On the way to the buffer.
    pub coming: AtomicU64,
    /// Told whenever any of these three may leave more room.
    pub changed: Notify,
    /// Failed writes.
    pub failed_writes: AtomicU64,
    /// All writes.
    pub writes: AtomicU64,
    /// How long they took in total, in nanoseconds.
    pub write_time_ns: AtomicU64,
    /// Bytes of the points that were encoded.
    pub encoded_bytes: AtomicU64,
    /// Points that could not be encoded.
    pub unencodable: AtomicU64,
    /// How long their filters and their encoding took in total, in nanoseconds.
    pub encode_time_ns: AtomicU64,
}

impl OutputCounts {
    /// Increases a counter. Everything runs on one thread; atomics only allow sharing.
    pub fn add(&self, counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets a value.
    pub fn set(&self, value: &AtomicU64, n: u64) {
        value.store(n, Ordering::Relaxed);
    }

    /// Points are on the way to the buffer.
    pub fn sent(&self, n: u64) {
        self.coming.fetch_add(n, Ordering::Relaxed);
    }

    /// Points arrived at the buffer.
    pub fn arrived(&self, n: u64) {
        let coming = self.coming.load(Ordering::Relaxed);
        self.coming.store(coming.saturating_sub(n), Ordering::Relaxed);
    }

    /// How many points of inputs that can wait the output takes now. One half of the buffer is for those that cannot.
    pub fn room(&self) -> usize {
        let value = |of: &AtomicU64| usize::try_from(of.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let taken = value(&self.occupied).saturating_add(value(&self.coming));
        value(&self.limit).div_ceil(2).saturating_sub(taken)
    }
}

/// What one input did, since the start.
#[derive(Debug, Default)]
pub struct InputCounts {
    /// Points gathered, after the input's filters.
    pub gathered: AtomicU64,
    /// Gathers.
    pub gathers: AtomicU64,
    /// How long they took in total, in nanoseconds.
    pub gather_time_ns: AtomicU64,
    /// Gathers that were incomplete.
    pub errors: AtomicU64,
    /// What it lost.
    pub losses: InputLosses,
    /// Failed starts.
    pub startup_errors: AtomicU64,
    /// Whether its task goes on.
    pub pulse: Pulse,
    /// Series now, rows `other` included; only with a limit.
    pub series: AtomicU64,
    /// The limit that is met first; 0 is none.
    pub series_limit: AtomicU64,
    /// Points beyond it, which were added up in rows `other`.
    pub collapsed: AtomicU64,
}

/// What came in at one socket, since the start.
#[derive(Debug, Default)]
pub struct ListenerCounts {
    /// Datagrams that were taken.
    pub datagrams: AtomicU64,
    /// Valid lines.
    pub points: AtomicU64,
    /// What is no point.
    pub losses: ListenerLosses,
    /// Connections that were accepted.
    pub connections: AtomicU64,
    /// Connections and requests that were turned away.
    pub refused: AtomicU64,
}

/// A plugin with its counters.
#[derive(Debug)]
pub struct Entry<C> {
    /// Its name in tags: the alias or the plugin's name, with a number when that is taken.
    pub name: String,
    /// The plugin.
    pub plugin: &'static str,
    /// Its alias.
    pub alias: Option<String>,
    /// Its counters.
    pub counts: Arc<C>,
    /// Whether it runs; one that has ended still counts in the sums.
    runs: AtomicBool,
}

impl<C> Entry<C> {
    /// Marks it as ended.
    pub fn ended(&self) {
        self.runs.store(false, Ordering::Relaxed);
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.runs.load(Ordering::Relaxed)
    }
}

/// All plugins of a kind.
#[derive(Debug)]
struct Register<C>(Mutex<Vec<Arc<Entry<C>>>>);

impl<C> Default for Register<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C: Default> Register<C> {
    /// Registers a plugin that starts; one that ran before under the same name continues its counters.
    fn begin(&self, plugin: &'static str, alias: Option<&str>) -> Arc<Entry<C>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = alias.unwrap_or(plugin);
        let mut name = wanted.to_owned();
        // Two with the same name would be one series.
        for n in 2.. {
            match entries.iter().find(|entry| entry.name == name) {
                Some(entry) if !entry.runs() && entry.plugin == plugin && entry.alias.as_deref() == alias => {
                    entry.runs.store(true, Ordering::Relaxed);
                    return Arc::clone(entry);
                }
                Some(_) => name = format!("{wanted}#{n}"),
                None => break,
            }
        }
        let alias = alias.map(str::to_owned);
        let entry = Entry { name, plugin, alias, counts: Arc::default(), runs: AtomicBool::new(true) };
        let entry = Arc::new(entry);
        entries.push(Arc::clone(&entry));
        entry
    }

    fn all(&self) -> Vec<Arc<Entry<C>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The counters of the whole process.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// Reloads that were applied.
    pub reloads: AtomicU64,
    /// Reloads that failed; the previous configuration stayed in force.
    pub reload_errors: AtomicU64,
    inputs: Register<InputCounts>,
    outputs: Register<OutputCounts>,
    listeners: Register<ListenerCounts>,
    /// What inputs said of themselves at their last gather, by name.
    said: Mutex<BTreeMap<String, Vec<Point>>>,
}

impl Telemetry {
    /// The counters of an input that starts.
    pub fn input(&self, plugin: &'static str, alias: Option<&str>) -> Arc<Entry<InputCounts>> {
        self.inputs.begin(plugin, alias)
    }

    /// Counts a failed start.
    pub fn input_cannot_start(&self, plugin: &'static str, alias: Option<&str>) {
        let entry = self.input(plugin, alias);
        entry.counts.startup_errors.fetch_add(1, Ordering::Relaxed);
        // When it does start, it continues these counters.
        entry.ended();
    }

    /// The counters of an output that starts.
    pub fn output(&self, plugin: &'static str, alias: Option<&str>) -> Arc<Entry<OutputCounts>> {
        self.outputs.begin(plugin, alias)
    }

    /// The counters of a socket that an input listens on.
    pub fn listener(&self, plugin: &'static str, address: &str) -> Arc<Entry<ListenerCounts>> {
        self.listeners.begin(plugin, Some(address))
    }

    /// All inputs that ever ran.
    #[must_use]
    pub fn inputs(&self) -> Vec<Arc<Entry<InputCounts>>> {
        self.inputs.all()
    }

    /// All outputs that ever ran.
    #[must_use]
    pub fn outputs(&self) -> Vec<Arc<Entry<OutputCounts>>> {
        self.outputs.all()
    }

    /// Which input's task is stuck, in words. A gather that hangs is none: its task goes on, and has said so.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Option<String> {
        self.inputs().iter().filter(|entry| entry.runs()).find_map(|entry| {
            let late = entry.counts.pulse.overdue(now)?.as_secs_f64().ceil();
            Some(format!("input {}: a gather is overdue by {late} s: its task is stuck", entry.name))
        })
    }

    /// Remembers what an input said of itself.
    pub(crate) fn remember(&self, input: &str, points: Vec<Point>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !points.is_empty() || said.contains_key(input) {
            said.insert(input.to_owned(), points);
        }
    }

    /// [`Self::points`], and what inputs said of themselves at their last gather.
    #[must_use]
    pub fn all_points(&self, time: Timestamp) -> Vec<Point> {
        let mut points = self.points(time);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |name: &String| self.inputs().iter().any(|entry| entry.name == *name && entry.runs());
        points.extend(said.iter().filter(|(name, _)| running(name)).flat_map(|(_, points)| points.clone()));
        points
    }

    /// The points about the agent at `time`.
    #[must_use]
    pub fn points(&self, time: Timestamp) -> Vec<Point> {
        let inputs = self.inputs();
        let sum = |of: fn(&InputCounts) -> &AtomicU64| {
            inputs.iter().map(|entry| value(of(&entry.counts))).sum::<u64>()
        };
        let outputs = self.outputs();
        let mut agent = Point::new("seismograf", time)
            .tag("part", "agent")
            .field("gathered", sum(|counts| &counts.gathered))
            .field("gather_errors", sum(|counts| &counts.errors))
            .field("reloads", value(&self.reloads))
            .field("reload_errors", value(&self.reload_errors));
        let losses = inputs.iter().flat_map(|entry| entry.counts.losses.each());
        set_losses(&mut agent, losses.chain(outputs.iter().flat_map(|entry| entry.counts.losses.each())));
        if let Some(bytes) = rss_bytes() {
            agent.set_field("rss_bytes", bytes);
        }
        agent.set_field("cpu_ns", cpu_ns());
        let mut points = vec![agent];
        let is_limited =
            |entry: &&Arc<Entry<InputCounts>>| entry.runs() && value(&entry.counts.series_limit) > 0;
        points.extend(inputs.iter().filter(is_limited).map(|entry| of_input(entry, time)));
        points.extend(outputs.iter().filter(|entry| entry.runs()).map(|entry| of_output(entry, time)));
        let listeners = self.listeners.all();
        points.extend(listeners.iter().filter(|entry| entry.runs()).map(|entry| of_listener(entry, time)));
        points
    }
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Adds the losses that a point's part tells of; those of several plugins are summed up.
fn set_losses(point: &mut Point, losses: impl Iterator<Item = (&'static CountedLoss, u64)>) {
    let part = point.tag_value("part").unwrap_or_default().to_owned();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (loss, n) in losses.filter(|(loss, _)| loss.part == part) {
        *sums.entry(loss.field.name).or_default() += n;
    }
    sums.into_iter().for_each(|(field, n)| point.set_field(field, n));
}

fn of_input(entry: &Entry<InputCounts>, time: Timestamp) -> Point {
    let counts = &entry.counts;
    Point::new("seismograf", time)
        .tag("part", "input")
        .tag("input", entry.name.clone())
        .field("series", value(&counts.series))
        .field("series_limit", value(&counts.series_limit))
        .field("collapsed", value(&counts.collapsed))
}

fn of_output(entry: &Entry<OutputCounts>, time: Timestamp) -> Point {
    let counts = &entry.counts;
    let mut point = Point::new("seismograf", time)
        .tag("part", "output")
        .tag("output", entry.name.clone())
        .field("taken", value(&counts.taken))
        .field("written", value(&counts.written))
        .field("waiting", value(&counts.waiting))
        .field("spooled", value(&counts.kept))
        .field("spool_bytes", value(&counts.spool_bytes))
        .field("failed_writes", value(&counts.failed_writes));
    set_losses(&mut point, counts.losses.each());
    point
}

fn of_listener(entry: &Entry<ListenerCounts>, time: Timestamp) -> Point {
    let counts = &entry.counts;
    let mut point = Point::new("seismograf", time)
        .tag("part", "listener")
        .tag("input", entry.plugin)
        .tag("address", entry.name.clone())
        .field("datagrams", value(&counts.datagrams))
        .field("points", value(&counts.points))
        .field("connections", value(&counts.connections))
        .field("refused", i64::try_from(value(&counts.refused)).unwrap_or(i64::MAX));
    set_losses(&mut point, counts.losses.each());
    point
}

/// Resident memory of this process (proc(5) `PID/statm`).
fn rss_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// CPU time of this process.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::FieldValue;

    #[test]
    fn counts_each_output_and_each_socket_by_itself() {
        let telemetry = Telemetry::default();
        let socket = telemetry.listener("socket_listener", "udp://[::]:8094");
        socket.counts.points.store(9, Ordering::Relaxed);
        let (a, b) = (telemetry.output("influxdb", None), telemetry.output("file", Some("mine")));
        a.counts.add(&a.counts.written, 3);
        b.counts.set(&b.counts.waiting, 7);
        let points = telemetry.points(Timestamp(5));
        assert_eq!(points.len(), 4);
        assert_eq!(points[3].tag_value("address"), Some("udp://[::]:8094"));
        assert_eq!(points[3].field_value("points"), Some(&FieldValue::UInt(9)));
        assert_eq!(points[1].tag_value("output"), Some("influxdb"));
        assert_eq!(points[1].field_value("written"), Some(&FieldValue::UInt(3)));
        assert_eq!(points[2].tag_value("output"), Some("mine"));
        assert_eq!(points[2].field_value("waiting"), Some(&FieldValue::UInt(7)));
        for point in &points {
            assert_eq!(crate::schema::check(point), Ok(()));
        }
    }

    #[test]
    fn one_that_starts_again_continues_and_a_second_one_has_its_own_name() {
        let telemetry = Telemetry::default();
        let first = telemetry.output("file", None);
        assert_eq!(telemetry.output("file", None).name, "file#2");
        first.ended();
        assert_eq!(telemetry.points(Timestamp(0)).len(), 2);
        let again = telemetry.output("file", None);
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(telemetry.outputs().len(), 2);
    }

    #[test]
    fn whatever_is_counted_as_lost_is_published_in_its_part() {
        let telemetry = Telemetry::default();
        // So many that a sum with anything else shows.
        let lose = |counter: &AtomicU64, n: u64| counter.store(n, Ordering::Relaxed);
        let (input, output) = (telemetry.input("mem", None), telemetry.output("file", None));
        let socket = telemetry.listener("socket_listener", "udp://[::]:8094");
        // Without `..`: a counter that is new has to be named here.
        let InputLosses { missed, unread } = &input.counts.losses;
        let OutputLosses { rejected, overflowed, damaged, expired, ended } = &output.counts.losses;
        let ListenerLosses { malformed, overflow } = &socket.counts.losses;
        let all = [missed, unread, rejected, overflowed, damaged, expired, ended, malformed, overflow];
        all.iter().zip(1000..).for_each(|(counter, n)| lose(counter, n));
        let points = telemetry.points(Timestamp(0));
        let told = points.iter().flat_map(|point| &point.fields);
        let told = told.filter(|(_, value)| matches!(value, FieldValue::UInt(1000..=1008))).count();
        assert_eq!(told, all.len(), "{points:?}");
        for point in &points {
            assert_eq!(crate::schema::check(point), Ok(()));
        }
    }

    #[test]
    fn knows_the_resources_of_the_process() {
        let points = Telemetry::default().points(Timestamp(0));
        let field = |name: &str| match points[0].field_value(name) {
            Some(FieldValue::UInt(value)) => *value,
            other => panic!("{name}: {other:?}"),
        };
        assert!(field("rss_bytes") > 1 << 20);
        assert!(field("cpu_ns") > 0);
    }
}
