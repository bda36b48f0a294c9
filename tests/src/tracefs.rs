//! Events of the kernel as it traces them itself (`Documentation/trace/ftrace.rst`): each single one, with its time.

use std::fs;
use std::path::PathBuf;

use crate::{run, try_run};

/// A buffer of events of its own; gone when it is dropped.
pub struct Trace {
    mount: tempfile::TempDir,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was, by the kernel's monotonic clock.
    pub time_ns: u64,
    /// Its name.
    pub name: String,
    /// What it prints after its name.
    pub text: String,
}

impl Trace {
    /// Traces these events (`block/block_rq_issue`) from now on, as far as the filter lets them through.
    pub fn start(events: &[&str], filter: &str) -> Self {
        let mount = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tracefs", "none", mount.path().to_str().unwrap()]);
        let trace = Self { mount };
        fs::create_dir(trace.file("")).unwrap();
        trace.write("trace_clock", "mono");
        trace.write("buffer_size_kb", "8192");
        for event in events {
            trace.write(&format!("events/{event}/filter"), filter);
            trace.write(&format!("events/{event}/enable"), "1");
        }
        trace
    }

    /// A file of this buffer.
    fn file(&self, name: &str) -> PathBuf {
        self.mount.path().join(format!("instances/seismograf-{}", std::process::id())).join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.file(name);
        fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// What was traced so far, by time.
    ///
    /// # Panics
    /// When events were lost, or a line is not `TASK-PID [CPU] FLAGS SECONDS.MICROSECONDS: NAME: TEXT`.
    pub fn events(&self) -> Vec<Event> {
        let text = fs::read_to_string(self.file("trace")).unwrap();
        let event = |line: &str| -> Option<Event> {
            let mut parts = line.splitn(3, ": ");
            let (head, name, text) = (parts.next()?, parts.next()?, parts.next()?);
            let (seconds, fraction) = head.rsplit(' ').next()?.split_once('.')?;
            let time_ns =
                seconds.parse::<u64>().ok()? * 1_000_000_000 + fraction.parse::<u64>().ok()? * 1_000;
            Some(Event { time_ns, name: name.to_owned(), text: text.to_owned() })
        };
        assert!(!text.contains("LOST"), "the buffer was too small");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut events: Vec<Event> =
            lines.map(|line| event(line).unwrap_or_else(|| panic!("no event: {line}"))).collect();
        events.sort_by_key(|event| event.time_ns);
        events
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.file(""));
        let _ = try_run("umount", &[self.mount.path().to_str().unwrap()]);
    }
}
