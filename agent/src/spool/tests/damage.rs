//! Files of a spool that somebody or something changed.

use super::*;

/// A spool of some segments, and its points.
fn spool() -> (Simulated, Points) {
    let folder = Simulated::default();
    let mut log = Log::open(Box::new(folder.clone()), LIMITS).unwrap();
    let mut all = Points::new();
    for i in 0..10 {
        all.extend(append(&mut log, &texts(i * 12..i * 12 + 12)));
    }
    log.done(Some(0..9)).unwrap();
    all = all.split_off(&9);
    assert!((4..10).contains(&folder.files().len()), "{:?}", folder.files());
    (folder, all)
}

/// What can be read is right, what cannot be is said, and the spool goes on. Returns how many points are lost.
fn holds(folder: &Simulated, all: &Points, what: &str) -> u64 {
    let mut log = Log::open(Box::new(folder.clone()), LIMITS).unwrap();
    let (read, lost) = read_all(&mut log);
    let n_lost = lost.iter().map(|range| range.end - range.start).sum::<u64>();
    // A cursor that is no more begins with the oldest segment.
    let is_whole_again = read.len() as u64 + n_lost >= all.len() as u64;
    assert!(is_whole_again, "{what}: {} read, {n_lost} lost of {}", read.len(), all.len());
    for (number, text) in all {
        match read.get(number) {
            Some(read) => assert_eq!(read, text, "{what}"),
            None => assert!(
                lost.iter().any(|range| range.contains(number)),
                "{what}: {number} is not said to be lost"
            ),
        }
    }
    assert!(lost.iter().all(|range| range.clone().all(|number| !read.contains_key(&number))), "{what}");
    // Once they were said, they are not missing any more.
    assert_eq!(read_all(&mut log).1, [], "{what}");
    let more = append(&mut log, &texts(0..20));
    assert!(*more.keys().next().unwrap() >= 120, "{what}: {more:?}");
    drop(log);
    let mut log = Log::open(Box::new(folder.after_a_kill()), LIMITS).unwrap();
    let (again, lost_again) = read_all(&mut log);
    // What is damaged stays so until all before it is done.
    assert!(
        lost_again.into_iter().flatten().all(|number| lost.iter().any(|range| range.contains(&number))),
        "{what}"
    );
    assert!(more.iter().all(|(number, text)| again.get(number) == Some(text)), "{what}");
    n_lost
}

#[test]
fn every_byte_of_every_file_is_changed() {
    let (folder, all) = spool();
    assert_eq!(holds(&folder.after_a_kill(), &all, "nothing"), 0);
    let (mut n_changes, mut most) = (0, 0);
    for (name, len) in folder.files() {
        for at in 0..len {
            let changed = folder.after_a_kill();
            let bit = 1 << (at % 8);
            changed.change(&name, |bytes| bytes[at] ^= bit);
            let lost = holds(&changed, &all, &format!("{name}: byte {at}"));
            // A record has up to seven.
            assert!(lost <= 7, "{name}: byte {at}: {lost} are lost");
            assert!(name != "cursor" || lost == 0, "the cursor loses none");
            n_changes += 1;
            most = most.max(lost);
        }
    }
    assert!(n_changes > 10_000 && most == 7, "{n_changes} {most}");
}

#[test]
fn every_file_is_cut_off_everywhere() {
    let (folder, all) = spool();
    for (name, len) in folder.files() {
        for to in 0..len {
            let cut = folder.after_a_kill();
            cut.change(&name, |bytes| bytes.truncate(to));
            let lost = holds(&cut, &all, &format!("{name} ends at {to}"));
            assert!(name != "cursor" || lost == 0);
        }
    }
}

#[test]
fn every_file_is_removed_or_is_something_else() {
    use crate::spool::files::SpoolFolder as _;
    let (folder, all) = spool();
    for (name, _) in folder.files() {
        let without = folder.after_a_kill();
        without.remove(&name).unwrap();
        holds(&without, &all, &format!("no {name}"));
        for byte in [0, b'S', 0xff] {
            let other = folder.after_a_kill();
            other.change(&name, |bytes| bytes.fill(byte));
            holds(&other, &all, &format!("{name} is full of {byte}"));
        }
    }
    let beside = folder.after_a_kill();
    for name in ["lost+found", "00000000000000000001.log.bak", "1.log", "99999999999999999999.log"] {
        drop(beside.create(name).unwrap());
    }
    holds(&beside, &all, "strange files");
    assert_eq!(beside.files().iter().filter(|(name, _)| !name.starts_with("000000")).count(), 4, "they stay");
}
