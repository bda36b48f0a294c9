//! Work that can block and comes often: one thread does it, piece after piece, as long as none is slow.
//!
//! All that is due at a time is done in one go, and handed over together: two changes of thread, not two for each piece. A piece
//! that is slow keeps its thread, and the others get another one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::off_thread;

/// How long a piece may hold up the others. The slowest input of a machine with a thousand containers takes a part of this.
const TURN: Duration = Duration::from_millis(200);

/// Does a piece of work, and gives what hands its result over.
type Piece = Box<dyn FnOnce() -> HandOver + Send>;
type HandOver = Box<dyn FnOnce() + Send>;

/// The queue of such work.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    pieces: VecDeque<(u64, Piece)>,
    /// What is done, and not handed over yet.
    done: Vec<HandOver>,
    /// How many pieces there were; each has its number.
    n_pieces: u64,
    /// The piece that is under way, or was the last one.
    current: u64,
    /// How many threads there were; the last one takes the pieces, if it `works`.
    n_threads: u64,
    works: bool,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

/// A piece of work that was given to a thread; dropping it leaves the work alone.
pub(crate) struct Turn<T> {
    turns: Turns,
    number: u64,
    result: oneshot::Receiver<std::thread::Result<T>>,
}

/// With this a piece of work says that it waits for something, and is not to hold up others.
pub(crate) struct Waiting {
    turns: Turns,
    number: u64,
}

impl Waiting {
    /// The others go on.
    pub(crate) fn pass_on(&self) {
        self.turns.pass_on(self.number);
    }
}

impl Turns {
    /// Has `work` done on another thread, which logs as this one does. Must be called within the runtime.
    pub(crate) fn give<T: Send + 'static>(
        &self,
        work: impl FnOnce(Waiting) -> T + Send + 'static,
    ) -> Turn<T> {
        let (log, span) = (tracing::dispatcher::get_default(Clone::clone), tracing::Span::current());
        let (send, result) = oneshot::channel();
        let mut queue = self.lock();
        queue.n_pieces += 1;
        let number = queue.n_pieces;
        let waiting = Waiting { turns: self.clone(), number };
        let piece = move || {
            let work = || tracing::dispatcher::with_default(&log, || span.in_scope(|| work(waiting)));
            let given = catch_unwind(AssertUnwindSafe(work));
            // Nobody may be interested any more.
            Box::new(move || drop(send.send(given))) as HandOver
        };
        queue.pieces.push_back((number, Box::new(piece)));
        if !queue.works {
            self.start(&mut queue);
        }
        Turn { turns: self.clone(), number, result }
    }

    fn start(&self, queue: &mut Queue) {
        queue.n_threads += 1;
        queue.works = true;
        let (turns, thread) = (self.clone(), queue.n_threads);
        drop(off_thread::spawn(move || turns.work(thread)));
    }

    /// Does what is in the queue, until it is empty or another thread has taken over.
    fn work(&self, thread: u64) {
        while let Some(piece) = self.next(thread) {
            let done = piece();
            let mut queue = self.lock();
            if queue.n_threads != thread {
                drop(queue);
                return done();
            }
            queue.done.push(done);
        }
    }

    fn next(&self, thread: u64) -> Option<Piece> {
        let mut queue = self.lock();
        if queue.n_threads != thread {
            return None;
        }
        let next = queue.pieces.pop_front();
        if let Some((number, piece)) = next {
            queue.current = number;
            return Some(piece);
        }
        queue.works = false;
        hand_over(queue);
        None
    }

    /// Has another thread go on with the queue, where this piece is under way. Returns whether it is, or was.
    fn pass_on(&self, number: u64) -> bool {
        let mut queue = self.lock();
        if queue.current == number && queue.works {
            queue.works = false;
            // Its thread is none of ours any more.
            queue.n_threads += 1;
            if !queue.pieces.is_empty() {
                self.start(&mut queue);
            }
        }
        let was_started = queue.current >= number;
        hand_over(queue);
        was_started
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hand_over(mut queue: MutexGuard<'_, Queue>) {
    let done = std::mem::take(&mut queue.done);
    drop(queue);
    done.into_iter().for_each(|hand_over| hand_over());
}

impl<T> Turn<T> {
    /// What the work gave, however long it takes. Can be dropped and called again.
    pub(crate) async fn result(&mut self) -> T {
        let mut has_turn = true;
        loop {
            tokio::select! {
                given = &mut self.result => return match given {
                    Ok(Ok(given)) => given,
                    Ok(Err(panic)) => resume_unwind(panic),
                    // Only when the runtime ends, and this task with it.
                    Err(_) => std::future::pending().await,
                },
                () = tokio::time::sleep(TURN), if has_turn => has_turn = !self.turns.pass_on(self.number),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn what_is_due_together_is_done_on_one_thread_in_order() {
        let turns = Turns::default();
        let (send, order) = mpsc::channel();
        let mut given: Vec<_> = (0..20)
            .map(|i| {
                let send = send.clone();
                turns.give(move |_| {
                    send.send(i).unwrap();
                    thread::current().id()
                })
            })
            .collect();
        let mut threads = Vec::new();
        for turn in &mut given {
            threads.push(turn.result().await);
        }
        threads.dedup();
        assert_eq!((threads.len(), order.try_iter().collect::<Vec<_>>()), (1, (0..20).collect()));
        assert_ne!(threads[0], thread::current().id());
    }

    #[tokio::test]
    async fn those_that_hang_hold_up_no_other_and_end_when_they_end() {
        let turns = Turns::default();
        let start = std::time::Instant::now();
        let mut open = Vec::new();
        let mut hung = Vec::new();
        let mut fine = Vec::new();
        for i in 0..3 {
            let (send, gate) = mpsc::channel::<()>();
            open.push(send);
            hung.push(turns.give(move |_| gate.recv().is_ok()));
            fine.push(turns.give(move |_| i));
        }
        for (i, turn) in fine.iter_mut().enumerate() {
            // Whoever waits has the slow ones pass on; the gatherers wait for all.
            let waits = hung.iter_mut().map(|turn| Box::pin(turn.result()));
            let mut waits: Vec<_> = waits.collect();
            let all = std::future::poll_fn(|context| {
                for wait in &mut waits {
                    assert!(wait.as_mut().poll(context).is_pending());
                }
                std::task::Poll::<()>::Pending
            });
            tokio::select! {
                given = turn.result() => assert_eq!(given, i),
                () = all => {}
            }
        }
        assert!(start.elapsed() < TURN * 10, "{:?}", start.elapsed());
        for send in open {
            send.send(()).unwrap();
        }
        for turn in &mut hung {
            assert!(turn.result().await);
        }
    }

    #[tokio::test]
    #[should_panic(expected = "as expected")]
    async fn a_panic_goes_on_where_the_result_is_waited_for() {
        let turns = Turns::default();
        let mut failing = turns.give(|_| -> () { panic!("as expected") });
        assert_eq!(turns.give(|_| 7).result().await, 7, "the next one has its turn");
        failing.result().await;
    }
}
