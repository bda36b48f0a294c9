//! The thread that draws: takes gathers, keys and lines of the log as they come, so that nothing that gathers holds up a key.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use ratatui_crossterm::crossterm::event::{self, Event};

use super::app::{App, Mode, Position};
use super::canvas::Look;
use super::draw::draw;
use super::keys::{self, Then};
use super::replay::Replay;
use super::terminal::Taken;
use crate::inputs::Shared;
use crate::point::Point;

/// What the screen is told.
pub(super) enum Message {
    /// A key, the mouse, another size.
    Event(Event),
    /// The points of a gather.
    Gathered(Vec<Point>),
    /// A line of the log.
    Logged(String),
    /// To end.
    End,
}

/// Where the gathers come from.
pub(super) enum Source {
    /// From now on, as messages.
    Live(Arc<Shared>),
    /// From a recording.
    Recorded { replay: Replay, at: usize, speed: f64, due: Instant },
}

/// The longest step of a replay: a gap in a recording is not waited for.
const LONGEST_STEP: Duration = Duration::from_secs(5);

/// Reads keys on a thread of its own, which is left behind: the terminal gives no answer until a key is pressed.
pub(super) fn read_events(messages: Sender<Message>) {
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if messages.send(Message::Event(event)).is_err() {
                break;
            }
        }
        // The terminal is gone.
        let _ = messages.send(Message::End);
    });
}

/// The screen.
pub(super) struct TopScreen {
    pub(super) app: App,
    pub(super) source: Source,
    pub(super) look: Look,
}

impl TopScreen {
    /// Shows what comes until somebody has seen enough.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub(super) fn run(mut self, mut terminal: Taken, messages: &Receiver<Message>) -> std::io::Result<()> {
        if let Source::Recorded { replay, at, .. } = &self.source {
            let at = *at;
            if let Some(damage) = replay.damage() {
                self.app.logged(format!("W! [top] the recording is not whole: {damage}"));
            }
            self.go(at);
        }
        self.draw(&mut terminal)?;
        loop {
            let message = match self.wait() {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => messages.recv_timeout(wait),
            };
            let mut has_changed = match message {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => self.play(),
                Ok(message) => match self.take(message) {
                    Some(has_changed) => has_changed,
                    None => return Ok(()),
                },
            };
            // What came meanwhile is drawn at once.
            while let Ok(message) = messages.try_recv() {
                match self.take(message) {
                    Some(more) => has_changed |= more,
                    None => return Ok(()),
                }
            }
            if has_changed {
                self.draw(&mut terminal)?;
            }
        }
    }

    fn draw(&mut self, terminal: &mut Taken) -> std::io::Result<()> {
        let Self { app, look, .. } = self;
        terminal.screen.draw(|frame| draw(app, frame.buffer_mut(), *look)).map(drop)
    }

    /// Whether anything changed; `None` is the end.
    fn take(&mut self, message: Message) -> Option<bool> {
        match message {
            Message::End => return None,
            Message::Logged(line) => self.app.logged(line),
            Message::Gathered(points) => {
                if self.app.is_paused {
                    return Some(false);
                }
                let latencies = match &self.source {
                    Source::Live(shared) => shared.latencies.rows(),
                    Source::Recorded { .. } => Vec::new(),
                };
                self.app.push(points, latencies);
            }
            Message::Event(event) => match keys::handle(&mut self.app, &event) {
                Then::Quit => return None,
                Then::Nothing => return Some(false),
                Then::Draw => {}
                then => self.steer(&then),
            },
        }
        if let Source::Live(shared) = &self.source {
            shared.latencies.want(self.app.mode == Mode::Detail);
        }
        Some(true)
    }

    /// How long there is nothing to do; `None` until a message comes.
    fn wait(&self) -> Option<Duration> {
        match &self.source {
            Source::Recorded { replay, at, due, .. } if !self.app.is_paused && at + 1 < replay.len() => {
                Some(due.saturating_duration_since(Instant::now()))
            }
            _ => None,
        }
    }

    /// Shows the next gather, if it is due. At the end the last one stays.
    fn play(&mut self) -> bool {
        let Source::Recorded { replay, at, due, .. } = &self.source else { return false };
        let (at, is_due) = (*at, *due <= Instant::now() && at + 1 < replay.len());
        if is_due {
            self.go(at + 1);
        }
        is_due
    }

    /// Does what a key of a replay asks for.
    fn steer(&mut self, then: &Then) {
        let Source::Recorded { replay, at, speed, .. } = &mut self.source else { return };
        let (replay, at) = (&*replay, *at);
        let to = match then {
            Then::Step(gathers) => at.saturating_add_signed(*gathers),
            Then::Go(to) => *to,
            Then::Seek(second) => replay.seek(at, *second),
            Then::Faster(factor) => {
                *speed = (*speed * factor).clamp(1.0 / 16.0, 256.0);
                at
            }
            Then::Nothing | Then::Draw | Then::Quit => return,
        };
        // Who goes to a moment wants to look at it.
        self.app.is_paused |= !matches!(then, Then::Faster(_));
        self.go(to);
    }

    /// Shows a gather of the recording.
    fn go(&mut self, to: usize) {
        let Source::Recorded { replay, at, speed, due } = &mut self.source else { return };
        let to = to.min(replay.len() - 1);
        if to != *at + 1 || self.app.time().is_none() {
            // Rates need the one before, and sparklines some more.
            self.app.forget();
            for before in to.saturating_sub(super::history::N_SHOWN)..to {
                self.app.push(replay.points(before), Vec::new());
            }
        }
        if to != *at || self.app.time() != Some(replay.time(to)) {
            self.app.push(replay.points(to), Vec::new());
        }
        let next = replay.time(to + 1).0 - replay.time(to).0;
        let step = Duration::from_nanos(next.max(0).unsigned_abs()).min(LONGEST_STEP);
        (*at, *due) = (to, Instant::now() + step.div_f64(*speed));
        self.app.replay = Some(Position {
            at: to,
            n_gathers: replay.len(),
            speed: *speed,
            damage: replay.damage().map(str::to_owned),
        });
    }
}
