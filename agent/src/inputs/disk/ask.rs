//! Asks file systems for their space, and does not wait for those that hang.
//!
//! statfs(2) on a network mount whose server is down sleeps in the kernel until it is back, and nothing can interrupt that.
//! So one blocking task asks all mounts in turn. When it makes no progress it is abandoned: it keeps its thread until the
//! call returns, and another task goes on with the rest. The file system is asked again only then, so that a dead server
//! holds one thread, and not one more with each gather.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::StatVfs;
use tokio::task::JoinHandle;

use super::mounts::Mount;

/// How long one file system may take. A local one takes microseconds, a server on the other side of the world a fraction of
/// a second; and the usual interval of 10 s must have room for several that begin to hang.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What statvfs(3) returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) block_size: u64,
    pub(super) blocks: u64,
    pub(super) blocks_free: u64,
    /// Free for users other than root.
    pub(super) blocks_available: u64,
    pub(super) inodes: u64,
    pub(super) inodes_free: u64,
}

impl Space {
    /// Bytes.
    pub(super) fn total(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size)
    }

    /// Bytes that users other than root may still write.
    pub(super) fn free(&self) -> u64 {
        self.blocks_available.saturating_mul(self.block_size)
    }

    /// Bytes in use; what is reserved for root is neither used nor free.
    pub(super) fn used(&self) -> u64 {
        self.blocks.saturating_sub(self.blocks_free).saturating_mul(self.block_size)
    }

    /// 0 where a file system claims more free inodes than it has.
    pub(super) fn inodes_used(&self) -> u64 {
        self.inodes.saturating_sub(self.inodes_free)
    }
}

fn statfs(path: &Path) -> io::Result<Space> {
    Ok(rustix::fs::statvfs(path)?.into())
}

impl From<StatVfs> for Space {
    fn from(stat: StatVfs) -> Self {
        Self {
            // The unit of the numbers of blocks. `f_bsize` is the best size of a read, which FUSE and virtiofs have larger.
            block_size: stat.f_frsize,
            blocks: stat.f_blocks,
            blocks_free: stat.f_bfree,
            blocks_available: stat.f_bavail,
            inodes: stat.f_files,
            inodes_free: stat.f_ffree,
        }
    }
}

type Statfs = dyn Fn(&Path) -> io::Result<Space> + Send + Sync;

/// Asks, and remembers which file systems have not answered yet.
pub(super) struct Asker {
    statfs: Arc<Statfs>,
    timeout: Duration,
    /// By the id of the file system: the task that waits for it.
    hung: HashMap<String, JoinHandle<()>>,
    /// Paths without permission, each of which was logged once.
    forbidden: Arc<Mutex<HashSet<PathBuf>>>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker")
            .field("timeout", &self.timeout)
            .field("hung", &self.hung)
            .finish_non_exhaustive()
    }
}

impl Default for Asker {
    fn default() -> Self {
        Self::with(statfs, TIMEOUT)
    }
}

/// The progress of a task.
#[derive(Default)]
struct Progress {
    answers: Vec<Option<Space>>,
    /// Set when nobody waits for this task any more.
    is_abandoned: bool,
}

impl Asker {
    pub(super) fn with(
        statfs: impl Fn(&Path) -> io::Result<Space> + Send + Sync + 'static,
        timeout: Duration,
    ) -> Self {
        Self { statfs: Arc::new(statfs), timeout, hung: HashMap::new(), forbidden: Arc::default() }
    }

    /// The space of each mount, asked at the path beside it, in their order; `None` where there was no answer.
    ///
    /// Takes at most two timeouts for each file system that begins to hang, and nothing for one that still does.
    pub(super) async fn ask(&mut self, mounts: &[(Mount, PathBuf)]) -> Vec<Option<Space>> {
        self.hung.retain(|_, task| !task.is_finished());
        let mut answers = Vec::with_capacity(mounts.len());
        while answers.len() < mounts.len() {
            let rest = &mounts[answers.len()..];
            let (mut task, progress) = self.start(rest);
            let is_stuck = self.is_stuck(&mut task, &progress, rest.len()).await;
            answers.append(&mut locked(&progress).answers);
            if is_stuck && let Some((mount, path)) = mounts.get(answers.len()) {
                tracing::warn!(
                    path = %path.display(), fstype = mount.fstype, device = mount.device,
                    "the file system does not respond: left out until it does"
                );
                self.hung.insert(mount.id.clone(), task);
                answers.push(None);
            } else {
                // All there, unless the runtime shuts down.
                answers.resize(mounts.len(), None);
            }
        }
        answers
    }

    /// Starts a task that asks these, without those that are still being waited for.
    fn start(&self, mounts: &[(Mount, PathBuf)]) -> (JoinHandle<()>, Arc<Mutex<Progress>>) {
        let paths =
            mounts.iter().map(|(mount, path)| (!self.hung.contains_key(&mount.id)).then(|| path.clone()));
        let paths: Vec<_> = paths.collect();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let (statfs, shared) = (Arc::clone(&self.statfs), Arc::clone(&progress));
        let forbidden = Arc::clone(&self.forbidden);
        let task = tokio::task::spawn_blocking(move || {
            for path in paths {
                let answer = path.and_then(|path| {
                    statfs(&path)
                        .inspect_err(|error| {
                            if error.kind() == io::ErrorKind::PermissionDenied
                                && locked(&forbidden).insert(path.clone())
                            {
                                tracing::warn!(
                                    path = %path.display(), %error,
                                    "no space known: it needs the capability DAC_READ_SEARCH and `privileges = \"keep\"` in [agent], or leave it out by ignore_fs"
                                );
                            } else {
                                tracing::debug!(path = %path.display(), %error, "no space known");
                            }
                        })
                        .ok()
                });
                let mut progress = locked(&shared);
                if progress.is_abandoned {
                    return;
                }
                progress.answers.push(answer);
            }
        });
        (task, progress)
    }

    /// Waits until the task is done, or has made no progress for as long as the timeout; then it is abandoned.
    async fn is_stuck(&self, task: &mut JoinHandle<()>, progress: &Mutex<Progress>, n_mounts: usize) -> bool {
        let mut n_seen = 0;
        while tokio::time::timeout(self.timeout, &mut *task).await.is_err() {
            let mut progress = locked(progress);
            if progress.answers.len() == n_mounts {
                return false;
            }
            if progress.answers.len() == n_seen {
                // Under the lock, so that an answer that comes now is either taken or dropped.
                progress.is_abandoned = true;
                return true;
            }
            n_seen = progress.answers.len();
        }
        false
    }
}

/// What is locked. It would be whole after a panic too.
fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn mounts(points: &[(&str, &str)]) -> Vec<(Mount, PathBuf)> {
        let mount = |(id, point): &(&str, &str)| {
            let (id, point, device, fstype) =
                ((*id).to_owned(), PathBuf::from(point), String::new(), "nfs".to_owned());
            (Mount { id, point: point.clone(), device, fstype, options: vec![] }, point)
        };
        points.iter().map(mount).collect()
    }

    const SPACE: Space =
        Space { block_size: 1, blocks: 2, blocks_free: 1, blocks_available: 1, inodes: 1, inodes_free: 3 };

    /// Waits until so many calls were made, and the calls before are answered. The clock stands still while a call is made.
    async fn called(calls: &AtomicUsize, n: usize) {
        let start = std::time::Instant::now();
        while calls.load(Ordering::SeqCst) < n {
            assert!(start.elapsed() < Duration::from_secs(30), "call {n} was never made");
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass, and whoever waited for it go on.
    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_mount_costs_only_itself() {
        let server = Arc::new((Mutex::new(false), Condvar::new()));
        let n_hung = Arc::new(AtomicUsize::new(0));
        let (up, hung) = (Arc::clone(&server), Arc::clone(&n_hung));
        let statfs = move |path: &Path| {
            if path.starts_with("/dead") {
                hung.fetch_add(1, Ordering::SeqCst);
                drop(up.1.wait_while(up.0.lock().unwrap(), |is_up| !*is_up).unwrap());
            }
            if path.starts_with("/gone") { Err(io::ErrorKind::NotFound.into()) } else { Ok(SPACE) }
        };
        let mut asker = Asker::with(statfs, TIMEOUT);
        // `/dead/2` is another mount of the same file system, `/dead/3` one of another.
        let list = [
            ("1", "/"),
            ("2", "/dead/1"),
            ("1", "/b"),
            ("2", "/dead/2"),
            ("3", "/dead/3"),
            ("4", "/gone"),
            ("5", "/c"),
        ];
        let list = mounts(&list);
        let alive = [Some(SPACE), None, Some(SPACE), None, None, None, Some(SPACE)];
        let two_timeouts_each = async {
            for n in 1..=2 {
                called(&n_hung, n).await;
                // In the first there was progress: the mount before answered.
                pass(TIMEOUT).await;
                pass(TIMEOUT).await;
            }
        };
        let (answers, ()) = tokio::join!(asker.ask(&list), two_timeouts_each);
        assert_eq!(answers, alive);
        // Those that still hang take no time at all.
        assert_eq!(asker.ask(&list).await, alive);
        assert_eq!(n_hung.load(Ordering::SeqCst), 2, "one call for each file system, and no more");
        *server.0.lock().unwrap() = true;
        server.1.notify_all();
        let start = std::time::Instant::now();
        while asker.ask(&list).await.iter().flatten().count() < 6 {
            assert!(start.elapsed() < Duration::from_secs(30), "not asked again");
        }
        assert!(asker.hung.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_moving_walk_is_waited_for() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (receiver, n_calls) = (Mutex::new(receiver), Arc::new(AtomicUsize::new(0)));
        let calls = Arc::clone(&n_calls);
        let statfs = move |_: &Path| {
            calls.fetch_add(1, Ordering::SeqCst);
            receiver.lock().unwrap().recv().unwrap();
            Ok(SPACE)
        };
        let mut asker = Asker::with(statfs, TIMEOUT);
        let list: Vec<_> = (0..10).map(|id| (id.to_string(), format!("/{id}"))).collect();
        let list: Vec<_> = list.iter().map(|(id, point)| (id.as_str(), point.as_str())).collect();
        let list = mounts(&list);
        // Each call takes less than the timeout, all together more.
        let slow_answers = async {
            for n in 1..=10 {
                called(&n_calls, n).await;
                pass(TIMEOUT * 9 / 10).await;
                sender.send(()).unwrap();
            }
        };
        let (answers, ()) = tokio::join!(asker.ask(&list), slow_answers);
        assert_eq!(answers, vec![Some(SPACE); 10]);
    }

    #[test]
    fn blocks_are_counted_in_fragments() {
        let root = rustix::fs::statvfs("/").unwrap();
        let virtiofs = StatVfs { f_bsize: 1 << 20, f_frsize: 4096, f_blocks: 100, f_bavail: 10, ..root };
        let space = Space::from(virtiofs);
        assert_eq!((space.total(), space.free()), (409_600, 40_960));
    }

    #[test]
    fn odd_numbers_do_not_wrap() {
        let odd = Space { block_size: u64::MAX, blocks: 2, blocks_free: 3, ..SPACE };
        assert_eq!((odd.total(), odd.used(), odd.free(), odd.inodes_used()), (u64::MAX, 0, u64::MAX, 0));
    }
}
