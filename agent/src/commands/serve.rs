//! `seismograf serve`: who uses the machine, as a page for a browser on it. Read-only.
//!
//! One page, embedded, which asks for nothing but its own figures; they come as server-sent events. What is gathered is what
//! `top` gathers, and only while a page is open and to be seen.

mod access;
mod answer;
mod frames;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::access::Access;
use self::answer::Site;
use self::frames::Frames;
use self::server::{MAX_WATCHERS, Watcher};
use super::looking::{Looking, add_probes};
use super::{host, interrupted};
use crate::cli::ServeArgs;
use crate::config::Config;
use crate::exit::Exit;
use crate::inputs::Shared;
use crate::views::sampler::Sampler;

/// From the first gather to the second: rates need two.
const SOON: Duration = Duration::from_millis(300);
/// While nobody watches, what the inputs do between gathers goes on.
const LONG: Duration = Duration::from_secs(3_600);

/// `seismograf serve`
///
/// # Errors
/// An address that cannot be listened on, or an input that cannot start.
pub async fn run(mut config: Config, args: &ServeArgs) -> anyhow::Result<Exit> {
    let listener = TcpListener::bind(args.listen).await.with_context(|| in_words(args.listen))?;
    let address = listener.local_addr()?;
    let access = Access::new(address)?;
    add_probes(&mut config);
    let shared = Shared::looking(host());
    let mut looking = Looking::start(config, args.interval, &shared)?;
    looking.sharpen();
    looking.stand_in(&shared);
    // For the person, and for who started it for a person.
    println!("{}", access.url());
    let (join, joins) = mpsc::channel(MAX_WATCHERS);
    tokio::select! {
        () = interrupted() => {}
        () = server::accept(listener, Site::new(access), join) => {}
        () = show(looking, joins) => {}
    }
    Ok(Exit::Ok)
}

fn in_words(address: SocketAddr) -> String {
    format!("cannot listen on {address}: use another one by --listen, or end what listens there")
}

/// Gathers while somebody watches, and sends what there is to see.
async fn show(mut looking: Looking, mut joins: mpsc::Receiver<Watcher>) {
    loop {
        let first = loop {
            tokio::select! {
                joined = joins.recv() => match joined {
                    Some(first) => break first,
                    None => return,
                },
                () = looking.wait(Instant::now() + LONG) => {}
            }
        };
        let mut watchers = vec![first];
        // What was long ago says nothing of now.
        let mut sampler = Sampler::default();
        let mut at = Instant::now();
        let mut interval = SOON.min(looking.interval);
        while !watchers.is_empty() {
            tokio::select! {
                joined = joins.recv() => {
                    watchers.extend(joined);
                    continue;
                }
                () = looking.wait(at) => {}
            }
            at = (at + interval).max(Instant::now());
            interval = looking.interval;
            sampler.push(looking.gather().await);
            let mut frames = Frames::new(&sampler);
            watchers.retain(|watcher| watcher.show(&mut frames));
        }
    }
}
