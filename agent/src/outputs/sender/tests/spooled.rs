//! A sender with a spool.

use std::path::Path;

use super::*;
use crate::service::receipt::Receipt;
use crate::spool::files::{Folder, SpoolFolder};
use crate::spool::log::{Limits, Log};
use crate::spool::tests::simulated::Simulated;

const LIMITS: Limits = Limits { bytes: 1 << 30, age: Duration::ZERO, segment_bytes: 20_000, sync: true };
/// Points in memory.
const LIMIT: usize = 200;

fn folder(path: &Path) -> Box<dyn SpoolFolder> {
    Box::new(Folder::lock(path).unwrap().unwrap())
}

/// A sender, its counts, and where to send points to.
fn start(
    server: &Shared,
    folder: Box<dyn SpoolFolder>,
    limits: Limits,
) -> (tokio::task::JoinHandle<usize>, Arc<OutputCounts>, mpsc::Sender<Message>) {
    let log = Log::open(folder, limits).unwrap();
    start_with(server, |sender| sender.with_spool(log))
}

fn start_with(
    server: &Shared,
    with_spool: impl FnOnce(Sender) -> Sender,
) -> (tokio::task::JoinHandle<usize>, Arc<OutputCounts>, mpsc::Sender<Message>) {
    let common = OutputCommon {
        metric_batch_size: 20,
        metric_buffer_limit: LIMIT,
        flush_interval: Duration::from_millis(50),
        ..OutputCommon::default()
    };
    let counts = Arc::new(OutputCounts::default());
    let sender = with_spool(Sender::new(Box::new(server.clone()), common, Arc::clone(&counts)));
    let (send, receive) = mpsc::channel(4);
    (tokio::spawn(sender.run(receive)), counts, send)
}

async fn wait_for(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time");
}

/// Sends points and waits until they are on the disk. Returns whether they are.
async fn send_kept(send: &mpsc::Sender<Message>, range: std::ops::Range<i64>) -> bool {
    let points =
        range.map(|i| Point::new("m", Timestamp(i)).tag("db", ["a", "b"][i as usize % 2]).field("f", i));
    let (receipt, kept) = Receipt::new();
    send.send(Message::Received(Arc::new(points.collect()), [receipt].into())).await.unwrap();
    kept.await.unwrap()
}

fn stored(server: &Shared) -> Vec<i64> {
    server.with(|server| {
        assert!(server.stored.values().all(|n| *n == 1), "{:?}", server.stored);
        server.stored.keys().copied().collect()
    })
}

#[tokio::test]
async fn an_outage_of_many_buffers_loses_nothing_over_a_restart() {
    let (server, directory) = (Shared::default(), tempfile::tempdir().unwrap());
    server.with(|server| server.down_for = usize::MAX);
    let (task, counts, send) = start(&server, folder(directory.path()), LIMITS);
    for i in 0..40 {
        assert!(send_kept(&send, i * 50..i * 50 + 50).await);
    }
    assert_eq!(
        (value(&counts.waiting), value(&counts.kept), value(&counts.losses.overflowed)),
        (2_000, 2_000, 0)
    );
    assert!(counts.room() > 0, "the disk has room");
    drop(send);
    assert_eq!(task.await.unwrap(), 0, "all is on the disk");
    assert!(stored(&server).is_empty());

    server.with(|server| server.down_for = 1);
    let (task, counts, send) = start(&server, folder(directory.path()), LIMITS);
    assert!(send_kept(&send, 2_000..2_100).await);
    wait_for(|| value(&counts.written) == 2_100).await;
    assert_eq!(stored(&server), (0..2_100).collect::<Vec<_>>());
    wait_for(|| value(&counts.kept) == 0).await;
    drop(send);
    assert_eq!(task.await.unwrap(), 0);

    let (task, counts, send) = start(&server, folder(directory.path()), LIMITS);
    drop(send);
    assert_eq!((task.await.unwrap(), value(&counts.written)), (0, 0), "none is written again");
}

#[tokio::test]
async fn what_is_new_does_not_wait_for_all_that_is_old() {
    let (server, directory) = (Shared::default(), tempfile::tempdir().unwrap());
    server.with(|server| server.down_for = usize::MAX);
    let (_task, counts, send) = start(&server, folder(directory.path()), LIMITS);
    for i in 0..100 {
        assert!(send_kept(&send, i * 50..i * 50 + 50).await);
    }
    server.with(|server| (server.down_for, server.takes) = (0, Duration::from_millis(3)));
    wait_for(|| server.with(|server| server.stored.len() > 400)).await;
    let early = stored(&server);
    assert!(early.contains(&0) && early.iter().any(|i| *i >= 4_900), "{early:?}");
    wait_for(|| value(&counts.written) == 5_000).await;
    assert_eq!(stored(&server).len(), 5_000);
}

#[tokio::test]
async fn a_route_that_is_missing_holds_up_no_other() {
    let (server, directory) = (Shared::default(), tempfile::tempdir().unwrap());
    server.with(|server| server.missing = ["a".to_owned()].into());
    let (task, counts, send) = start(&server, folder(directory.path()), LIMITS);
    for i in 0..40 {
        assert!(send_kept(&send, i * 20..i * 20 + 20).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    wait_for(|| value(&counts.written) == 400).await;
    // What was written is taken off a moment later.
    wait_for(|| value(&counts.kept) == 400).await;
    server.with(|server| server.missing.clear());
    wait_for(|| value(&counts.written) == 800).await;
    drop(send);
    assert_eq!((task.await.unwrap(), stored(&server).len()), (0, 800));
}

#[tokio::test]
async fn a_full_spool_loses_the_oldest_and_says_how_many() {
    let (server, directory) = (Shared::default(), tempfile::tempdir().unwrap());
    server.with(|server| server.down_for = usize::MAX);
    let limits = Limits { bytes: 30_000, segment_bytes: 3_000, ..LIMITS };
    let (task, counts, send) = start(&server, folder(directory.path()), limits);
    for i in 0..60 {
        assert!(send_kept(&send, i * 50..i * 50 + 50).await);
    }
    let overflowed = value(&counts.losses.overflowed);
    assert!(overflowed > 500 && value(&counts.spool_bytes) <= 30_000, "{overflowed}");
    server.with(|server| server.down_for = 0);
    wait_for(|| value(&counts.written) + overflowed >= 3_000).await;
    drop(send);
    assert_eq!(task.await.unwrap(), 0);
    assert_eq!(
        (value(&counts.written), stored(&server).len() as u64),
        (3_000 - overflowed, 3_000 - overflowed)
    );
    assert_eq!(value(&counts.losses.overflowed), overflowed);
}

#[tokio::test]
async fn a_disk_that_fails_is_done_without_until_it_works() {
    const ENOSPC: i32 = 28;
    let server = Shared::default();
    let disk = Simulated::default();
    let (task, counts, send) = start(&server, Box::new(disk.clone()), LIMITS);
    let mut next = 0;
    let mut range = || {
        next += 10;
        next - 10..next
    };
    let mut n_refused = 0;
    for i in 0..6 {
        disk.fail(disk.n_calls() + 1 + i % 3, ENOSPC);
        n_refused += usize::from(!send_kept(&send, range()).await);
        while !send_kept(&send, range()).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(n_refused >= 3, "{n_refused}");
    let n = u64::try_from(range().start).unwrap();
    wait_for(|| value(&counts.written) == n).await;
    drop(send);
    assert_eq!(task.await.unwrap(), 0);
    assert_eq!(stored(&server).len() as u64, n, "each once, whether it was on the disk or not");
}

#[tokio::test]
async fn a_disk_that_never_works_is_memory() {
    let server = Shared::default();
    let disk = Simulated::default();
    let (task, counts, send) = start(&server, Box::new(disk.clone()), LIMITS);
    disk.end(0);
    server.with(|server| server.down_for = 3);
    for i in 0..10 {
        send.send(points(i * 10..i * 10 + 10)).await.unwrap();
    }
    wait_for(|| value(&counts.written) == 100).await;
    server.with(|server| server.down_for = usize::MAX);
    for i in 0..10 {
        send.send(points(100 + i * 50..150 + i * 50)).await.unwrap();
    }
    wait_for(|| value(&counts.losses.overflowed) == 300).await;
    assert!(value(&counts.waiting) <= LIMIT as u64);
    drop(send);
    assert_eq!(task.await.unwrap(), LIMIT, "what was in memory alone");
}

#[tokio::test]
async fn lines_that_a_server_drops_without_naming_them_are_found_and_set_aside() {
    let (server, directory) = (Shared::default(), tempfile::tempdir().unwrap());
    server.with(|server| (server.drops, server.poison) = (true, [3, 18, 77].into()));
    let (task, counts, send) = start(&server, folder(directory.path()), LIMITS);
    assert!(send_kept(&send, 0..100).await);
    wait_for(|| value(&counts.written) == 97).await;
    assert_eq!(value(&counts.losses.rejected), 3);
    drop(send);
    assert_eq!(task.await.unwrap(), 0);
    let text = std::fs::read_to_string(directory.path().join("rejected")).unwrap();
    let lines: BTreeSet<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["m f=18i 18", "m f=3i 3", "m f=77i 77"].into(), "{text}");
    let n = server.with(|server| server.requests.len());
    assert!(n <= 10 + 2 * 3 * 5, "{n} requests");
}

#[tokio::test]
async fn points_are_kept_while_the_output_connects() {
    let (server, directory) = (Shared::default(), tempfile::tempdir().unwrap());
    server.with(|server| server.takes = Duration::from_secs(3_600));
    let (task, counts, send) = start(&server, folder(directory.path()), LIMITS);
    for i in 0..3 {
        let kept = send_kept(&send, i * 10..i * 10 + 10);
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), kept).await, Ok(true));
    }
    assert_eq!((value(&counts.kept), value(&counts.written)), (30, 0));
    task.abort();
}

#[tokio::test]
async fn a_disk_that_does_not_work_at_the_start_is_memory_until_it_does() {
    const EROFS: i32 = 30;
    let server = Shared::default();
    let disk = Simulated::default();
    server.with(|server| server.down_for = usize::MAX);
    let (task, _, send) = start(&server, Box::new(disk.clone()), LIMITS);
    assert!(send_kept(&send, 0..30).await);
    drop(send);
    assert_eq!(task.await.unwrap(), 0);

    server.with(|server| server.down_for = 0);
    let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let opener: crate::outputs::spooler::Opener = {
        let works = Arc::clone(&works);
        Arc::new(move || match works.load(Ordering::Relaxed) {
            true => Ok(Log::open(Box::new(disk.clone()), LIMITS)?),
            false => Err(std::io::Error::from_raw_os_error(EROFS).into()),
        })
    };
    let error = opener().err().unwrap();
    let (task, counts, send) = start_with(&server, |sender| sender.with_unopened_spool(opener, &error));
    assert!(!send_kept(&send, 30..60).await, "nobody is told that it is kept");
    wait_for(|| value(&counts.written) == 30).await;
    works.store(true, Ordering::Relaxed);
    wait_for(|| value(&counts.written) == 60).await;
    assert!(send_kept(&send, 60..70).await, "it is open");
    wait_for(|| value(&counts.written) == 70).await;
    drop(send);
    assert_eq!((task.await.unwrap(), stored(&server).len()), (0, 70));
}

#[tokio::test]
async fn a_route_that_is_missing_holds_up_no_other_on_the_disk() {
    let (server, directory) = (Shared::default(), tempfile::tempdir().unwrap());
    server.with(|server| server.down_for = usize::MAX);
    let (task, counts, send) = start(&server, folder(directory.path()), LIMITS);
    for i in 0..100 {
        assert!(send_kept(&send, i * 40..i * 40 + 40).await);
    }
    server.with(|server| (server.down_for, server.missing) = (0, ["a".to_owned()].into()));
    wait_for(|| value(&counts.written) == 2_000).await;
    // What was written is taken off a moment later.
    wait_for(|| value(&counts.kept) == 2_000).await;
    server.with(|server| server.missing.clear());
    wait_for(|| value(&counts.kept) == 0).await;
    drop(send);
    assert_eq!((task.await.unwrap(), stored(&server).len()), (0, 4_000));
}
