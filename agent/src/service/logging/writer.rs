//! Writes the log on a thread of its own, so that who logs never waits for who reads.
//!
//! As long as lines are taken, a line is written when the call returns. A pipe whose reader stopped and a file of a hung mount
//! hold up one line for [`PATIENCE`]; the next [`CAPACITY`] wait in memory, and what comes then is lost, and counted.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use jiff::Timestamp;

use crate::service::journal;
use crate::service::rotation::RotatingFile;

/// How long a line may take.
const PATIENCE: Duration = Duration::from_millis(200);
/// Lines that wait at most.
const CAPACITY: usize = 1_000;

/// Where lines go.
pub(super) enum Sink {
    Stderr,
    /// The standard error, where journald reads it.
    Journal,
    File(RotatingFile),
}

impl Sink {
    pub(super) fn standard_error() -> Self {
        if journal::reads(io::stderr()) { Self::Journal } else { Self::Stderr }
    }

    fn write(&mut self, line: &str) {
        if let Self::File(file) = self
            && file.write_all(line.as_bytes()).is_ok()
        {
            if let Some(error) = file.take_problem() {
                let _ = writeln!(file, "{} W! [agent] cannot rotate the log: {error}", Timestamp::now());
            }
            return;
        }
        // There is nowhere to report a failure of this.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

/// What hands lines to the thread that writes them, which ends with this.
pub(super) struct Writer {
    lines: SyncSender<String>,
    /// One for each line that was written.
    written: Receiver<()>,
    /// Lines that were handed over and not written yet.
    waiting: usize,
    /// Lines that were lost and not told of yet.
    lost: u64,
    /// Whether the lines are for the journal.
    pub(super) is_journal: bool,
}

impl Writer {
    pub(super) fn new(sink: Sink) -> Self {
        let is_journal = matches!(sink, Sink::Journal);
        let (lines, receive) = sync_channel(CAPACITY);
        let (done, written) = channel();
        std::thread::spawn(move || write_all(sink, &receive, &done));
        Self { lines, written, waiting: 0, lost: 0, is_journal }
    }

    /// Writes a line. `told` makes one that says how many were lost before it.
    pub(super) fn write(&mut self, line: String, told: impl FnOnce(u64) -> String) {
        self.take_back();
        if self.lost > 0 && self.waiting == 0 {
            let lost = std::mem::take(&mut self.lost);
            self.hand_over(told(lost));
        }
        self.hand_over(line);
    }

    fn hand_over(&mut self, line: String) {
        // Only the first line of those that wait is worth a wait: by then it is known that nobody takes them.
        let is_first = self.waiting == 0;
        if self.lines.try_send(line).is_err() {
            self.lost += 1;
            return;
        }
        self.waiting += 1;
        if is_first && self.written.recv_timeout(PATIENCE).is_ok() {
            self.waiting -= 1;
        }
    }

    /// Notes what was written meanwhile.
    fn take_back(&mut self) {
        self.waiting -= self.written.try_iter().count();
    }
}

/// Writes the lines, until nobody hands over more.
fn write_all(mut sink: Sink, lines: &Receiver<String>, done: &Sender<()>) {
    for line in lines {
        sink.write(&line);
        // Nobody listens once the log goes elsewhere; what waits is still written.
        let _ = done.send(());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::time::Instant;

    use super::*;
    use crate::service::rotation::Rotation;

    #[test]
    fn a_reader_that_stops_holds_up_one_line_and_every_lost_line_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let reader = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap();
        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::empty()).unwrap();
        let mut writer = Writer::new(Sink::File(RotatingFile::open(&path, Rotation::default()).unwrap()));
        let told = |lost| format!("lost {lost}\n");
        const N: u64 = 5_000;
        let start = Instant::now();
        for n in 0..N {
            writer.write(format!("{n} {}\n", "x".repeat(90)), told);
        }
        assert!(start.elapsed() < PATIENCE * 5, "{:?}", start.elapsed());
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let mut seen = 0;
        // The pipe, what waits in memory, and nothing behind it.
        while seen < N - writer.lost {
            let line = lines.next().unwrap();
            assert!(line.starts_with(&format!("{seen} ")), "{line}");
            seen += 1;
        }
        // The thread may not have said so of the last one yet.
        while writer.waiting > 0 {
            writer.written.recv().unwrap();
            writer.waiting -= 1;
        }
        writer.write("last\n".into(), told);
        drop(writer);
        let rest: Vec<String> = lines.collect();
        let (lines, told) = rest.split_at(rest.len() - 2);
        seen += lines.len() as u64;
        assert!(seen > CAPACITY as u64 && seen < N, "{seen}");
        assert_eq!(told, [format!("lost {}", N - seen), "last".into()]);
    }
}
