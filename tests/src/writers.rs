//! Clients that write to an agent without end, and what of it was acknowledged: that must not be lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::request;
use crate::pause;

/// What is written for a number, so that one that was stored can be checked.
#[must_use]
pub fn value_of(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9) % 1_000_003
}

/// Clients that write, each point of which has a key of its own.
pub struct Writers<K> {
    ends: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<K>>>,
    n_refused: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl<K: Send + 'static> Writers<K> {
    /// Starts `n` of them. `client` makes for each what gives its next points: their keys, and the lines.
    #[must_use]
    pub fn start<W>(address: SocketAddr, n: usize, client: impl Fn(usize) -> W) -> Self
    where
        W: FnMut() -> (Vec<K>, String) + Send + 'static,
    {
        let (ends, acknowledged, n_refused) = (Arc::default(), Arc::default(), Arc::default());
        let mut writers = Self { ends, acknowledged, n_refused, threads: Vec::new() };
        for i in 0..n {
            let ends = Arc::clone(&writers.ends);
            let (acknowledged, n_refused) =
                (Arc::clone(&writers.acknowledged), Arc::clone(&writers.n_refused));
            let mut next = client(i);
            writers.threads.push(std::thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    let (keys, body) = next();
                    match request(address, "POST", "/write?db=x", None, &body) {
                        Ok(answer) if answer.status == 204 => acknowledged.lock().unwrap().extend(keys),
                        _ => {
                            n_refused.fetch_add(keys.len() as u64, Ordering::Relaxed);
                            pause(Duration::from_millis(5));
                        }
                    }
                }
            }));
        }
        writers
    }

    /// How many points were acknowledged so far.
    #[must_use]
    pub fn n_acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// How many were not, so far.
    #[must_use]
    pub fn n_refused(&self) -> u64 {
        self.n_refused.load(Ordering::Relaxed)
    }

    /// Ends them; what was acknowledged, and how many points were not.
    #[must_use]
    pub fn end(mut self) -> (Vec<K>, u64) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        (acknowledged, self.n_refused())
    }
}
