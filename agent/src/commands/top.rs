//! `seismograf top`: who uses the machine, on a screen; live, or from a recording.
//!
//! Three threads: the runtime's gathers, as for `dump`; one draws (`screen`); one waits for keys.

mod app;
mod canvas;
mod detail;
mod draw;
mod history;
mod keys;
mod pages;
mod palette;
mod places;
mod record;
mod replay;
mod screen;
mod terminal;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use self::app::{App, SortBy};
use self::canvas::Look;
use self::palette::Palette;
use self::record::Recording;
use self::replay::Replay;
use self::screen::{Message, Source, TopScreen};
use self::terminal::Taken;
use super::looking::{Looking, add_probes, is_unicode};
use super::{host, interrupted};
use crate::cli::TopArgs;
use crate::config::Config;
use crate::exit::Exit;
use crate::inputs::Shared;
use crate::schema::views::view;
use crate::service::logging::LogHandle;
use crate::service::off_thread;

/// How long the screen has to end after a signal.
const END_LIMIT: Duration = Duration::from_secs(1);

/// `seismograf top`
///
/// # Errors
/// No terminal, an input that cannot start, a recording that cannot be written.
pub async fn run(mut config: Config, args: &TopArgs, log: LogHandle) -> anyhow::Result<Exit> {
    terminal::check(std::env::var("TERM").ok().as_deref())?;
    let app = app(args)?;
    let mut recording = args.record.as_deref().map(Recording::create).transpose()?;
    let (messages, receive) = channel();
    let to_screen = messages.clone();
    // A terminal shows the one or the other.
    let _log = log.divert(move |line| drop(to_screen.send(Message::Logged(line))));
    add_probes(&mut config);
    let shared = Shared::looking(host());
    let mut looking = Looking::start(config, args.interval, &shared)?;
    looking.sharpen();
    looking.stand_in(&shared);
    let screen = TopScreen { app, source: Source::Live(shared), look: look() };
    let gathering = gather(&mut looking, &messages, &mut recording);
    show(screen, receive, &messages, gathering).await
}

/// Shows a recording; needs neither a configuration nor privileges.
///
/// # Errors
/// No terminal, or a file that is no recording.
pub async fn replay(args: &TopArgs, file: &Path) -> anyhow::Result<Exit> {
    terminal::check(std::env::var("TERM").ok().as_deref())?;
    let app = app(args)?;
    let replay = Replay::open(file)?;
    let (messages, receive) = channel();
    let source = Source::Recorded { replay, at: 0, speed: 1.0, due: Instant::now() };
    show(TopScreen { app, source, look: look() }, receive, &messages, std::future::pending()).await
}

/// Draws until somebody has seen enough, a signal comes, or `meanwhile` ends.
async fn show(
    screen: TopScreen,
    receive: Receiver<Message>,
    messages: &Sender<Message>,
    meanwhile: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Exit> {
    let mut hangup = signal(SignalKind::hangup())?;
    let taken = Taken::take()?;
    screen::read_events(messages.clone());
    let (done, is_done) = oneshot::channel();
    let drawing = std::thread::spawn(move || {
        let shown = screen.run(taken, &receive);
        // Whether it is waited for or not.
        let _ = done.send(());
        shown
    });
    let ended = tokio::select! {
        ended = meanwhile => ended,
        _ = is_done => Ok(()),
        () = interrupted() => Ok(()),
        _ = hangup.recv() => Ok(()),
    };
    finish(drawing, messages).await?;
    ended.map(|()| Exit::Ok)
}

fn app(args: &TopArgs) -> anyhow::Result<App> {
    let (Some(view), Some(sort)) = (view(&args.view), SortBy::named(&args.sort)) else {
        bail!("there is no view `{}`, or no column `{}`", args.view, args.sort);
    };
    Ok(App::new(view, sort, args.filter.clone().unwrap_or_default()))
}

fn look() -> Look {
    Look { palette: Palette::of(std::env::var_os("NO_COLOR").as_deref()), is_unicode: is_unicode() }
}

/// Gathers for ever, or until the recording cannot be written.
async fn gather(
    looking: &mut Looking,
    messages: &Sender<Message>,
    recording: &mut Option<Recording>,
) -> anyhow::Result<()> {
    let mut at = tokio::time::Instant::now();
    loop {
        looking.wait(at).await;
        at = (at + looking.interval).max(tokio::time::Instant::now());
        let mut points = looking.gather().await;
        if let Some(mut taken) = recording.take() {
            // A disk that takes its time holds up no drawing.
            let written;
            (points, taken, written) = off_thread::run(move || {
                let written = taken.add(&points);
                (points, taken, written)
            })
            .await;
            written?;
            *recording = Some(taken);
        }
        if messages.send(Message::Gathered(points)).is_err() {
            return Ok(());
        }
    }
}

/// Ends the screen, and gives the terminal back if that hangs.
async fn finish(
    drawing: std::thread::JoinHandle<std::io::Result<()>>,
    messages: &Sender<Message>,
) -> anyhow::Result<()> {
    let _ = messages.send(Message::End);
    let joined = off_thread::spawn(move || drawing.join());
    match tokio::time::timeout(END_LIMIT, joined).await {
        Ok(Ok(Ok(shown))) => Ok(shown?),
        _ => {
            terminal::give_back();
            Ok(())
        }
    }
}
