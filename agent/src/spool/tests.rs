//! The spool over files that are damaged, that fail, and that lose what was not synced.

mod crashes;
mod damage;
pub(crate) mod simulated;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use self::simulated::Simulated;
use super::files::Folder;
use super::log::{Found, Limits, Log, Loss, Payload};

const LIMITS: Limits = Limits { bytes: 1 << 30, age: Duration::ZERO, segment_bytes: 2_000, sync: true };

/// Points by their number. A point is a text with a newline at its end.
type Points = BTreeMap<u64, String>;

fn payload(points: &[String]) -> Payload {
    Payload { count: u32::try_from(points.len()).unwrap(), bytes: points.concat().into_bytes() }
}

/// The points of what was read.
fn points(found: &Found) -> Points {
    let mut points = Points::new();
    for record in &found.records {
        let text = std::str::from_utf8(&record.bytes).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        assert_eq!(lines.len(), record.count as usize);
        points.extend((record.first..).zip(lines).map(|(number, line)| (number, line.to_owned())));
    }
    points
}

/// Everything that is not done.
fn read_all(log: &mut Log) -> (Points, Vec<Range<u64>>) {
    let found = log.read(log.pending().start, u64::MAX, u64::MAX).unwrap();
    let mut points = points(&found);
    points.retain(|number, _| !log.is_done(*number));
    (points, log.take_lost().into_iter().map(|(_, range)| range).collect())
}

/// Appends points in records of up to seven.
fn append(log: &mut Log, texts: &[String]) -> Points {
    let payloads: Vec<Payload> = texts.chunks(7).map(payload).collect();
    let first = log.append(&payloads, 5).unwrap();
    (first..).zip(texts.iter().cloned()).collect()
}

fn texts(range: Range<u64>) -> Vec<String> {
    range.map(|i| format!("m,a=b f={i}i,s=\"SGr1{}\" {i}\n", "x".repeat((i % 50) as usize))).collect()
}

#[test]
fn what_is_appended_is_read_until_it_is_done_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Log::open(Box::new(Folder::lock(directory.path()).unwrap().unwrap()), LIMITS).unwrap();
    let mut log = open();
    let mut all = append(&mut log, &texts(0..100));
    assert!(Folder::lock(directory.path()).unwrap().is_none(), "it is taken");
    assert_eq!(read_all(&mut log), (all.clone(), vec![]));
    drop(log);
    let mut log = open();
    all.extend(append(&mut log, &texts(100..300)));
    let names = || std::fs::read_dir(directory.path()).unwrap().count();
    assert!(names() > 8, "{}", names());
    log.done([20..150, 0..10]).unwrap();
    all.retain(|number, _| *number >= 10 && !(20..150).contains(number));
    assert_eq!(log.pending(), 10..300);
    assert_eq!(read_all(&mut log), (all.clone(), vec![]));
    drop(log);
    let mut log = open();
    assert_eq!((read_all(&mut log), log.len()), ((all.clone(), vec![]), 160), "what is done is remembered");
    drop(log);
    // Unless the file is gone: then it comes again, which a server takes for the same points.
    std::fs::remove_file(directory.path().join("done")).unwrap();
    let mut log = open();
    assert_eq!(read_all(&mut log).0.len(), 290);
    log.done(Some(10..280)).unwrap();
    assert!(names() <= 3, "{}", names());
    log.done(Some(280..300)).unwrap();
    assert_eq!((read_all(&mut log), log.pending()), ((Points::new(), vec![]), 300..300));
    log.close().unwrap();
    drop(log);
    assert_eq!(open().pending(), 300..300);
}

#[test]
fn it_is_read_from_anywhere_and_in_parts() {
    let mut log = Log::open(Box::new(Simulated::default()), LIMITS).unwrap();
    let all = append(&mut log, &texts(0..500));
    for from in [0, 3, 499, 250, 251, 7] {
        let found = log.read(from, 1, u64::MAX).unwrap();
        assert_eq!(found.records.len(), 1);
        assert!(points(&found).contains_key(&from), "{from}");
        assert_eq!(
            points(&found),
            all.range(found.records[0].first..found.next).map(|(n, t)| (*n, t.clone())).collect()
        );
    }
    let (mut read, mut next) = (Points::new(), 0);
    while next < 500 {
        let found = log.read(next, 40, u64::MAX).unwrap();
        assert!(found.next - next >= 40 || found.next == 500);
        read.extend(points(&found));
        next = found.next;
        // Meanwhile more comes.
        if next < 200 {
            append(&mut log, &texts(0..10));
        }
    }
    assert_eq!(read.range(..500).collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
}

#[test]
fn the_oldest_make_room_for_new_ones_and_are_said() {
    let limits = Limits { bytes: 10_000, ..LIMITS };
    let mut log = Log::open(Box::new(Simulated::default()), limits).unwrap();
    let mut removed = Vec::new();
    for i in 0..100 {
        log.append(&[payload(&texts(i * 5..i * 5 + 5))], 0).unwrap();
        removed.extend(log.take_lost());
        assert!(log.bytes() <= 10_000);
        if i == 50 {
            let start = log.pending().start;
            log.done(Some(start + 1..start + 3)).unwrap();
        }
    }
    let (left, lost) = read_all(&mut log);
    assert_eq!(lost, []);
    let n_removed: u64 = removed.iter().map(|(_, range)| range.end - range.start).sum();
    assert_eq!(n_removed + left.len() as u64, 498);
    assert!(left.len() > 50, "{}", left.len());
    assert!(removed.windows(2).all(|pair| pair[0].1.end <= pair[1].1.start));
    assert!(removed.iter().all(|(loss, _)| *loss == Loss::Overflow));
    // Less than one record.
    log.limit(Limits { bytes: 10, ..LIMITS });
    assert_eq!(log.append(&[payload(&texts(0..5))], 0).unwrap(), 500);
    assert_eq!(log.take_lost().last().unwrap().1.end, 500);
    assert_eq!(read_all(&mut log).0.len(), 5, "the newest stay");
}

#[test]
fn what_is_too_old_is_removed() {
    let limits = Limits { age: Duration::from_secs(60), segment_bytes: 1, ..LIMITS };
    let mut log = Log::open(Box::new(Simulated::default()), limits).unwrap();
    for now in (1_000..1_100).step_by(10) {
        log.append(&[payload(&texts(0..5))], now).unwrap();
    }
    let earlier = log.take_lost();
    log.append(&[], 1_115).unwrap();
    let expired = |range| (Loss::Expired, range);
    assert_eq!(earlier, [0..5, 5..10, 10..15].map(expired), "those of 1,000 to 1,020");
    assert_eq!(log.take_lost(), [15..20, 20..25, 25..30].map(expired), "and to 1,050");
    assert_eq!(log.pending(), 30..50);
}

#[test]
fn what_is_too_old_is_removed_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { age: Duration::from_secs(60), segment_bytes: 1, ..LIMITS };
    let open = || Log::open(Box::new(Folder::lock(directory.path()).unwrap().unwrap()), limits).unwrap();
    let mut log = open();
    for now in [1_000, 1_010, 1_020] {
        log.append(&[payload(&texts(0..5))], now).unwrap();
    }
    drop(log);
    let files = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
    segments.sort();
    for (path, at) in segments.iter().zip([1_000, 1_010, 1_020]) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(at)).unwrap();
    }
    let mut log = open();
    log.append(&[payload(&texts(0..5))], 1_075).unwrap();
    assert_eq!(log.take_lost(), [0..5, 5..10].map(|range| (Loss::Expired, range)));
    assert_eq!(log.pending(), 10..20);
}
