//! A process that is killed, a machine that loses its power, and a disk that fails, at every call.

use super::*;

/// What a run has done, as somebody knows who was told.
#[derive(Default)]
struct Told {
    /// On the disk, by what the spool said.
    appended: Points,
    /// Done.
    done: Vec<u64>,
    /// Removed to make room.
    removed: Vec<Range<u64>>,
    errors: usize,
}

/// Appends, reads and settles until something does not work, or goes on where `goes_on`.
fn run(folder: &Simulated, limits: Limits, steps: u64, goes_on: bool) -> Told {
    let mut told = Told::default();
    let Ok(mut log) = Log::open(Box::new(folder.clone()), limits) else { return told };
    let mut next = 0;
    for step in 0..steps {
        let n = 1 + step % 9;
        let texts = texts(next..next + n);
        match log.append(&texts.chunks(4).map(payload).collect::<Vec<_>>(), 5) {
            Ok(first) => {
                told.appended.extend((first..).zip(texts));
                next += n;
            }
            Err(_) => told.errors += 1,
        }
        if step % 3 == 2 && told.errors < 2 {
            let start = log.pending().start;
            let range = start..(start + 7).min(log.pending().end);
            told.done.extend(range.clone());
            told.errors += usize::from(log.done([range]).is_err());
        }
        // And some of the newest.
        if step % 4 == 3 && told.errors < 2 {
            let end = log.pending().end;
            let range = end.saturating_sub(4).max(log.pending().start)..end;
            told.done.extend(range.clone());
            told.errors += usize::from(log.done([range]).is_err());
        }
        if told.errors > 0 && !goes_on {
            break;
        }
    }
    told.removed.extend(log.take_lost().into_iter().map(|(_, range)| range));
    told
}

/// What was said to be on the disk is there, as it was, or was said to be done or removed.
fn check(folder: &Simulated, limits: Limits, told: &Told, what: &str) {
    let mut log = Log::open(Box::new(folder.clone()), limits).unwrap();
    let (read, lost) = read_all(&mut log);
    let is_gone =
        |number: &u64| told.done.contains(number) || told.removed.iter().any(|range| range.contains(number));
    for (number, text) in &told.appended {
        match read.get(number) {
            Some(read) => assert_eq!(read, text, "{what}: {number}"),
            None => assert!(is_gone(number), "{what}: {number} is lost; {lost:?}"),
        }
    }
    // Nor is it said of others, but of those that were under way.
    let is_there = |number: &u64| told.appended.contains_key(number) && !is_gone(number);
    assert!(!lost.iter().cloned().flatten().any(|number| is_there(&number)), "{what}: {lost:?}");
}

#[test]
fn killed_at_every_call() {
    let folder = Simulated::default();
    run(&folder, LIMITS, 60, false);
    let n_calls = folder.n_calls();
    assert!(n_calls > 150, "{n_calls}");
    for call in 1..=n_calls {
        let folder = Simulated::default();
        folder.end(call);
        let told = run(&folder, LIMITS, 60, false);
        check(&folder.after_a_kill(), LIMITS, &told, &format!("killed at {call}"));
    }
}

#[test]
fn power_lost_at_every_call_with_any_sectors_left() {
    let seed = fastrand::u64(..);
    fastrand::seed(seed);
    let folder = Simulated::default();
    run(&folder, LIMITS, 60, false);
    let n_calls = folder.n_calls();
    for call in 1..=n_calls {
        let folder = Simulated::default();
        folder.end(call);
        let told = run(&folder, LIMITS, 60, false);
        for i in 0..60 {
            check(&folder.after_a_power_loss(), LIMITS, &told, &format!("seed {seed}: lost at {call}, {i}"));
        }
    }
}

#[test]
fn a_disk_that_fails_at_every_call_and_then_works_again() {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    let limits = Limits { bytes: 9_000, ..LIMITS };
    let folder = Simulated::default();
    run(&folder, limits, 90, true);
    for call in 1..=folder.n_calls() {
        for errno in [EIO, ENOSPC] {
            let folder = Simulated::default();
            folder.fail(call, errno);
            let told = run(&folder, limits, 90, true);
            let what = format!("error {errno} at {call}");
            assert!(told.errors <= 1, "{what}: it works again");
            check(&folder.after_a_kill(), limits, &told, &what);
            for _ in 0..3 {
                check(&folder.after_a_power_loss(), limits, &told, &what);
            }
        }
    }
}

/// A machine without power forgets numbers that were not synced, and what was done of them may be all that it still has.
#[test]
fn numbers_that_are_given_out_again_are_of_points_that_are_not_done() {
    let seed = fastrand::u64(..);
    fastrand::seed(seed);
    let mut n_again = 0;
    for i in 0..3_000 {
        let first = Simulated::default();
        let mut log = Log::open(Box::new(first.clone()), Limits { sync: false, ..LIMITS }).unwrap();
        append(&mut log, &texts(0..60));
        log.done([10..12, 25..60]).unwrap();
        let second = first.after_a_power_loss();
        if i % 3 == 0 {
            // A full disk, which also a file that begins anew meets.
            second.fail(second.n_calls() + fastrand::u64(1..6), 28);
        }
        let Ok(mut log) = Log::open(Box::new(second.clone()), LIMITS) else { continue };
        // It has room again.
        second.fail(0, 0);
        let told = append(&mut log, &texts(1_000..1_040));
        n_again += usize::from(told.keys().any(|number| (25..60).contains(number)));
        let third = if i % 2 == 0 { second.after_a_power_loss() } else { second.after_a_kill() };
        let (read, _) = read_all(&mut Log::open(Box::new(third), LIMITS).unwrap());
        for (number, text) in &told {
            assert_eq!(read.get(number), Some(text), "seed {seed}, {i}: {number}");
        }
    }
    assert!(n_again > 100, "{n_again}");
}
