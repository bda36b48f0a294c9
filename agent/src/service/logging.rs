//! The log: one line per event, in Telegraf's format, to the standard error or to a file.
//!
//! ```text
//! 2024-01-01T00:00:00Z E! [inputs.cpu] gather is incomplete error=cannot read /proc/stat
//! ```
//!
//! In brackets is the plugin that was active ([`plugin`]), or `agent`. In systemd's journal, which has times of its own, a line
//! begins with its priority. With `logformat = "structured"` a line is a JSON object.
//! [`LogHandle::change`] changes target and format of the running agent, after a reload.

mod fields;
mod line;
mod writer;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Span, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use self::fields::{AGENT, Fields, Plugin};
use self::line::{source, structured, text, time};
use self::writer::{Sink, Writer};
use super::journal;
use super::rotation::{RotatingFile, Rotation};

/// Overrides the levels, in tracing-subscriber's syntax: `seismograf=debug`.
pub const VARIABLE: &str = "SEISMOGRAF_LOG";

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot log to {path}: {error}")]
pub struct LogError {
    /// The file.
    pub path: PathBuf,
    /// The system's error.
    pub error: io::Error,
}

/// The options of `[agent]` about the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Log at debug level.
    pub debug: bool,
    /// Log only errors; overrides `debug`.
    pub quiet: bool,
    /// The file to log to; the standard error when unset.
    pub file: Option<PathBuf>,
    /// When the file becomes an archive and a new file is started.
    pub rotation: Rotation,
    /// The format of a line.
    pub format: LogFormat,
    /// The key of the message in structured lines.
    pub message_key: String,
    /// The time zone: an IANA name, `local`, or empty for UTC.
    pub timezone: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            debug: false,
            quiet: false,
            file: None,
            // Telegraf's default; without a size or an interval there are no archives.
            rotation: Rotation { max_archives: Some(5), ..Rotation::default() },
            format: LogFormat::Text,
            message_key: "msg".into(),
            timezone: String::new(),
        }
    }
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `2024-01-01T00:00:00Z E! [inputs.cpu] text`
    #[default]
    Text,
    /// One JSON object.
    Structured,
}

/// The settings of the log.
#[derive(Clone, Debug, Default)]
pub struct LogSettings {
    /// The options of `[agent]`.
    pub options: LogOptions,
    /// The highest `log_level` of any plugin.
    pub plugins: Option<Level>,
}

impl LogSettings {
    /// The level outside of plugins with their own. `quiet` overrides `debug`, as in Telegraf.
    fn level(&self) -> Level {
        match (self.options.quiet, self.options.debug) {
            (true, _) => Level::ERROR,
            (false, true) => Level::DEBUG,
            (false, false) => Level::INFO,
        }
    }
}

/// A handle to change the log while it is in use.
#[derive(Clone)]
pub struct LogHandle(Arc<Mutex<State>>);

impl LogHandle {
    /// Applies `settings`; on an error nothing changes.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn change(&self, settings: LogSettings) -> Result<(), LogError> {
        let state = State::new(settings)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }
}

/// Until this is dropped, lines go elsewhere.
pub(crate) struct Diverted(Arc<Mutex<State>>);

impl Drop for Diverted {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).diverted = None;
    }
}

impl LogHandle {
    /// Hands lines over that would go to a terminal, where something else is drawn.
    pub(crate) fn divert(&self, to: impl Fn(String) + Send + 'static) -> Diverted {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.settings.options.file.is_none() && io::stderr().is_terminal() {
            state.diverted = Some(Box::new(to));
        }
        Diverted(Arc::clone(&self.0))
    }
}

/// Sets up logging for the whole process.
///
/// Messages of the probes and of libraries that use the `log` crate go here too.
///
/// # Errors
/// The file cannot be written to.
pub fn start(settings: LogSettings) -> Result<LogHandle, LogError> {
    let (subscriber, handle) = subscriber(State::new(settings)?);
    // Only the first call in a process has an effect: tests call this repeatedly.
    let _ = subscriber.try_init();
    Ok(handle)
}

/// Runs `work` with a log to the standard error, for the time before the configuration of the log is known.
pub fn with_early<T>(debug: bool, quiet: bool, work: impl FnOnce() -> T) -> T {
    let settings =
        LogSettings { options: LogOptions { debug, quiet, ..LogOptions::default() }, plugins: None };
    let state =
        State { settings, zone: TimeZone::UTC, writer: Writer::new(Sink::standard_error()), diverted: None };
    tracing::subscriber::with_default(subscriber(state).0, work)
}

/// The span of a plugin's work: `kind` is `inputs` or `outputs`.
pub fn plugin(kind: &str, name: &str, alias: Option<&str>, level: Option<Level>) -> Span {
    let level = level.map(|level| level.as_str()).unwrap_or_default();
    // At the level that is always enabled.
    tracing::error_span!("plugin", kind, name, alias = alias.unwrap_or_default(), level)
}

/// Says on the standard error what keeps the agent from running; the log may not be set up yet, and a person may be waiting.
pub fn complain(text: &str) {
    let text = format!("{text}\n");
    let is_journal = journal::reads(io::stderr());
    let text = if is_journal { journal::with_priority(Level::ERROR, &text) } else { text };
    // There is nowhere to report a failure of this.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The time zone of `log_with_timezone`.
///
/// # Errors
/// The system does not know the zone.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        "local" | "Local" => Ok(TimeZone::system()),
        name => TimeZone::get(name).map_err(|_| {
            format!("the system has no time zone `{name}`: use a name such as Europe/Berlin, or local")
        }),
    }
}

fn subscriber(state: State) -> (impl Subscriber + Send + Sync + 'static, LogHandle) {
    let state = Arc::new(Mutex::new(state));
    let filter = EnvFilter::try_from_env(VARIABLE).ok();
    let layer = LogLayer { state: Arc::clone(&state), levels: filter.is_none() };
    (Registry::default().with(filter).with(layer), LogHandle(state))
}

/// For tests: a log to a file, for as long as the guard lives and on this thread alone.
#[cfg(test)]
pub(crate) fn to_file(path: &Path) -> tracing::subscriber::DefaultGuard {
    use tracing::{Dispatch, subscriber::NoSubscriber};
    // As long as there is just one subscriber, tracing asks the thread that comes to a line first whether anybody wants it, and
    // remembers the answer: another test, without a log, would silence the line here.
    static SECOND: std::sync::LazyLock<Dispatch> =
        std::sync::LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
    std::sync::LazyLock::force(&SECOND);
    let log = LogOptions { file: Some(path.to_owned()), ..LogOptions::default() };
    let state = State::new(LogSettings { options: log, plugins: None });
    tracing::subscriber::set_default(subscriber(state.unwrap()).0)
}

/// What is needed to write a line.
struct State {
    settings: LogSettings,
    zone: TimeZone,
    writer: Writer,
    /// Who takes the lines instead.
    diverted: Option<Box<dyn Fn(String) + Send>>,
}

impl State {
    fn new(settings: LogSettings) -> Result<Self, LogError> {
        let sink = match &settings.options.file {
            None => Sink::standard_error(),
            Some(path) => {
                let file = open(path, settings.options.rotation);
                Sink::File(file.map_err(|error| LogError { path: path.clone(), error })?)
            }
        };
        // The configuration was checked already; if the zone is gone, UTC will do.
        let zone = zone(&settings.options.timezone).unwrap_or(TimeZone::UTC);
        Ok(Self { settings, zone, writer: Writer::new(sink), diverted: None })
    }

    /// Makes a line of an event and writes it.
    fn write(&mut self, metadata: &Metadata<'_>, plugin: Option<&Plugin>, fields: Fields) {
        let Self { settings, zone, writer, diverted } = self;
        let (options, is_journal) = (&settings.options, writer.is_journal);
        let line = |level: Level, source: &str, plugin: Option<&Plugin>, fields: Fields| {
            let now = Timestamp::now();
            let line = match options.format {
                LogFormat::Text if is_journal => text(level, source, &fields),
                LogFormat::Text => format!("{} {}", time(now, zone), text(level, source, &fields)),
                LogFormat::Structured => structured(now, &options.message_key, level, plugin, fields),
            };
            if is_journal { journal::with_priority(level, &line) } else { line }
        };
        let source = source(metadata, plugin);
        if let Some(divert) = diverted {
            divert(line(*metadata.level(), &source, plugin, fields));
            return;
        }
        writer.write(line(*metadata.level(), &source, plugin, fields), |lost| {
            let message = "the log is not whole: what takes it stood still".into();
            let fields = Fields { message, others: vec![("lost_lines", lost.into())] };
            line(Level::WARN, AGENT, None, fields)
        });
    }
}

/// The directory of a log file, if it is not there.
#[must_use]
pub fn missing_directory(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir())
}

/// Why a log file cannot be where it is configured to be. A directory is made for it, and no more than one: Telegraf makes all
/// that a typo asks for.
#[must_use]
pub fn misplaced(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some(format!("{} is a directory: name a file in it", path.display()));
    }
    let missing = missing_directory(missing_directory(path)?)?;
    Some(format!("there is no directory {}: create it, or correct the path", missing.display()))
}

fn open(path: &Path, rotation: Rotation) -> io::Result<RotatingFile> {
    if let Some(what) = misplaced(path) {
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    if let Some(directory) = missing_directory(path) {
        std::fs::create_dir(directory)?;
    }
    RotatingFile::open(path, rotation)
}

/// Turns events into lines.
struct LogLayer {
    state: Arc<Mutex<State>>,
    /// Whether the settings' levels apply; otherwise the filter before this layer has decided.
    levels: bool,
}

impl LogLayer {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether some plugin could log an event of this kind.
    fn could_be(&self, metadata: &Metadata<'_>) -> bool {
        if !self.levels {
            return true;
        }
        let most = self.with(|state| state.settings.plugins.max(Some(state.settings.level())));
        // Libraries at debug level would drown the agent's own lines.
        let is_own = metadata.target().starts_with("seismograf") || metadata.target() == "log";
        let most = if is_own { most } else { most.min(Some(Level::INFO)) };
        Some(*metadata.level()) <= most
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.could_be(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.could_be(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let most = self.with(|state| state.settings.plugins.max(Some(state.settings.level())));
        self.levels.then(|| most.map_or(LevelFilter::INFO, LevelFilter::from_level))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "plugin" {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let [kind, name, alias, level] = ["kind", "name", "alias", "level"].map(|key| fields.take(key));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Plugin { kind, name, alias, level: level.parse().ok() });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context
            .event_scope(event)
            .and_then(|mut scope| scope.find(|span| span.extensions().get::<Plugin>().is_some()));
        let extensions = span.as_ref().map(|span| span.extensions());
        let plugin = extensions.as_ref().and_then(|extensions| extensions.get::<Plugin>());
        self.with(|state| {
            let level = plugin.and_then(|plugin| plugin.level).unwrap_or_else(|| state.settings.level());
            if self.levels && *metadata.level() > level {
                return;
            }
            state.write(metadata, plugin, fields);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is logged to a file by `work`.
    pub(super) fn logged(
        options: LogOptions,
        plugins: Option<Level>,
        work: impl FnOnce(&LogHandle),
    ) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/agent.log");
        let settings = LogSettings { options: LogOptions { file: Some(path.clone()), ..options }, plugins };
        let (subscriber, handle) = subscriber(State::new(settings).unwrap());
        tracing::subscriber::with_default(subscriber, || work(&handle));
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_have_telegrafs_format() {
        let lines = logged(LogOptions::default(), None, |_| {
            tracing::error!(n = 3, why = "no such", "lost");
            let span = plugin("inputs", "cpu", Some("mine"), None);
            span.in_scope(|| tracing::warn!(path = "/proc", "slow"));
            tracing::debug!("not enabled");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok() && time.len() == "2024-01-01T00:00:00Z".len(), "{time}");
        assert_eq!(rest, "E! [agent] lost n=3 why=\"no such\"");
        assert!(lines[1].ends_with(" W! [inputs.cpu::mine] slow path=/proc"), "{lines:?}");
    }

    #[test]
    fn a_plugin_may_have_a_level_of_its_own() {
        let lines = logged(
            LogOptions { quiet: true, debug: true, ..LogOptions::default() },
            Some(Level::DEBUG),
            |_| {
                tracing::info!("a");
                plugin("inputs", "cpu", None, Some(Level::DEBUG)).in_scope(|| tracing::debug!("b"));
                plugin("inputs", "mem", None, None).in_scope(|| tracing::warn!("c"));
                plugin("outputs", "file", None, Some(Level::ERROR)).in_scope(|| tracing::error!("d"));
            },
        );
        let ends: Vec<_> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(ends, ["D! [inputs.cpu] b", "E! [outputs.file] d"]);
    }

    #[test]
    fn structured_lines_are_json() {
        let log = LogOptions {
            format: LogFormat::Structured,
            message_key: "message".into(),
            ..LogOptions::default()
        };
        let lines = logged(log, None, |_| {
            plugin("outputs", "influxdb", Some("a"), None)
                .in_scope(|| tracing::error!(points = 7, ok = false, "lost"));
        });
        let mut line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let time = line.as_object_mut().unwrap().remove("time").unwrap();
        assert!(time.as_str().unwrap().parse::<Timestamp>().is_ok());
        let expected = serde_json::json!({"level": "ERROR", "message": "lost", "category": "outputs",
            "plugin": "influxdb", "alias": "a", "points": 7, "ok": false});
        assert_eq!(line, expected);
    }

    #[test]
    fn times_are_in_the_configured_zone() {
        assert!(zone("Nowhere/Else").unwrap_err().contains("Nowhere/Else"));
        assert!(zone("local").is_ok());
        let Ok(_) = zone("Asia/Tokyo") else { return };
        let lines =
            logged(LogOptions { timezone: "Asia/Tokyo".into(), ..LogOptions::default() }, None, |_| {
                tracing::info!("x");
            });
        assert!(lines[0].contains("+09:00 I! [agent] x"), "{lines:?}");
    }

    #[test]
    fn the_log_can_be_changed_and_stays_when_it_cannot() {
        let lines = logged(LogOptions::default(), None, |handle| {
            let file = handle.0.lock().unwrap().settings.options.file.clone();
            let bad = LogOptions { file: Some("/proc/none/at/log".into()), ..LogOptions::default() };
            let error = handle.change(LogSettings { options: bad, plugins: None }).unwrap_err();
            assert!(
                error.to_string().starts_with(
                    "cannot log to /proc/none/at/log: there is no directory /proc/none: create it"
                ),
                "{error}"
            );
            assert!(misplaced(Path::new("/proc")).is_some() && misplaced(Path::new("log")).is_none());
            tracing::info!("a");
            let quiet = LogOptions { file, quiet: true, ..LogOptions::default() };
            handle.change(LogSettings { options: quiet, plugins: None }).unwrap();
            tracing::info!("b");
            tracing::error!("c");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("] a") && lines[1].ends_with("] c"), "{lines:?}");
    }
}
