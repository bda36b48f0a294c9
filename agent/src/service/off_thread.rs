//! Work that can block, away from the thread of the runtime, which waits for nothing.
//!
//! A file of a hung mount, a pipe whose reader stopped and a name that no server resolves hold up nothing but a thread that was
//! made for them. One that hangs for ever is left behind: the process ends without it.

use tokio::task::JoinHandle;

/// Runs `work` on another thread, which logs as this one does. Dropping the handle leaves the work alone.
///
/// Must be called within the runtime, and `work` is within it too.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let (log, span) = (tracing::dispatcher::get_default(Clone::clone), tracing::Span::current());
    tokio::task::spawn_blocking(move || tracing::dispatcher::with_default(&log, || span.in_scope(work)))
}

/// Runs `work` on another thread and waits for it.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(spawn(work)).await
}

/// Waits for work; a panic goes on here.
pub(crate) async fn finished<T>(work: impl Future<Output = Result<T, tokio::task::JoinError>>) -> T {
    match work.await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only when the runtime ends, and this task with it.
        Err(_) => std::future::pending().await,
    }
}
