//! What a producer has sent, in a file beside the spool: so that an agent that was killed goes on as the same producer.
//!
//! Before a batch is sent, the file has its number and a digest of each of its records. What the spool hands out again after a
//! kill is held against that: records of earlier batches are stored, since the next batch was sent only then; the last batch is
//! sent again as it was, and the broker knows whether it has it.
//!
//! The file must never be older than what was sent: a number that is used twice is a batch that the broker takes for one that
//! it has. It is not synced, so it counts for this boot of the machine alone; and one that cannot be replaced is removed. Without
//! it a producer begins anew, and what was in doubt may be stored twice.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use crate::service::off_thread;

/// Records that are remembered of a partition besides those of its last batch: more than the spool hands out twice.
const MAX_DIGESTS: usize = 4096;
/// What the file begins with.
const HEAD: &[u8] = b"seismograf kafka 1\n";
/// What tells this boot of the machine from others.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What a partition was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// The number of the first record of the last batch.
    pub(super) first: i32,
    /// How many records that has.
    pub(super) last: usize,
    /// Digests of records, the oldest first; those of the last batch come last.
    digests: VecDeque<u64>,
    /// So many records of the last batch were there when the others were waited for.
    waited: usize,
}

/// How a partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resumed {
    /// So many of its first records are stored.
    pub(super) stored: usize,
    pub(super) next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Records of earlier batches may follow; or those of the last one, of which not all are there.
    Wait,
    /// The last batch, as it was; its records come next.
    Last,
    /// A batch that was never sent.
    New,
    /// The last batch, of which not all records are there, nor come.
    Gone,
}

impl Sent {
    /// A batch is about to be sent.
    pub(super) fn push<'a>(&mut self, first: i32, values: impl Iterator<Item = &'a [u8]>) {
        let before = self.digests.len();
        self.digests.extend(values.map(digest));
        (self.first, self.last) = (first, self.digests.len() - before);
        let excess = before.saturating_sub(MAX_DIGESTS);
        self.digests.drain(..excess);
    }

    /// The last batch is refused: nothing of it is stored.
    pub(super) fn withdraw(&mut self) {
        self.digests.truncate(self.digests.len() - self.last);
        self.last = 0;
    }

    /// Finds the first records that are handed out again among those that were sent. All stay known: they may come once more.
    pub(super) fn resume<'a>(&mut self, values: impl Iterator<Item = &'a [u8]>) -> Resumed {
        let found: Vec<u64> = values.map(digest).collect();
        let total = self.digests.len();
        let is_here = |at: &usize| self.digests.range(*at..).zip(&found).all(|(a, b)| a == b);
        let Some(at) = (0..total).find(is_here) else { return Resumed { stored: 0, next: Next::New } };
        let settled = total - self.last;
        if at > settled {
            // A part of the last batch is done with, so it is stored.
            self.first = self.first.wrapping_add(i32::try_from(self.last).unwrap_or(i32::MAX)) & i32::MAX;
            self.last = 0;
        }
        let settled = total - self.last;
        let stored = (settled - at).min(found.len());
        let rest = found.len() - stored;
        let next = match () {
            () if stored < settled - at || (rest == 0 && self.last > 0) => Next::Wait,
            () if self.last == 0 => Next::New,
            () if rest >= self.last => Next::Last,
            () if rest > self.waited => Next::Wait,
            () => Next::Gone,
        };
        self.waited = rest;
        Resumed { stored, next }
    }
}

/// FNV-1a, 64 bits.
fn digest(value: &[u8]) -> u64 {
    value
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// All that is to be known of a producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) id: i64,
    pub(super) epoch: i16,
    /// By topic and partition.
    pub(super) sent: BTreeMap<(String, i32), Sent>,
}

impl State {
    fn encode(&self, boot: &str) -> Vec<u8> {
        let mut out = HEAD.to_vec();
        put(&mut out, boot.len());
        out.extend_from_slice(boot.as_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        put(&mut out, self.sent.len());
        for ((topic, partition), sent) in &self.sent {
            put(&mut out, topic.len());
            out.extend_from_slice(topic.as_bytes());
            out.extend_from_slice(&partition.to_le_bytes());
            out.extend_from_slice(&sent.first.to_le_bytes());
            put(&mut out, sent.last);
            put(&mut out, sent.digests.len());
            sent.digests.iter().for_each(|digest| out.extend_from_slice(&digest.to_le_bytes()));
        }
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// `None` when the text is none, is damaged, or is of another boot.
    fn decode(text: &[u8], boot: &str) -> Option<Self> {
        let (text, sum) = text.split_last_chunk::<4>()?;
        if crc32c::crc32c(text) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = text.strip_prefix(HEAD)?;
        let length = number(&mut rest)?;
        rest = rest.get(..length)?.eq(boot.as_bytes()).then(|| rest.get(length..))??;
        let mut state = Self {
            id: i64::from_le_bytes(take(&mut rest)?),
            epoch: i16::from_le_bytes(take(&mut rest)?),
            ..Self::default()
        };
        for _ in 0..number(&mut rest)? {
            let length = number(&mut rest)?;
            let (topic, after) = rest.split_at_checked(length)?;
            rest = after;
            let partition = i32::from_le_bytes(take(&mut rest)?);
            let (first, last) = (i32::from_le_bytes(take(&mut rest)?), number(&mut rest)?);
            let n = number(&mut rest)?;
            let digests = (0..n).map(|_| take(&mut rest).map(u64::from_le_bytes)).collect::<Option<_>>()?;
            let sent = Sent { first, last: last.min(n), digests, waited: 0 };
            state.sent.insert((String::from_utf8(topic.to_vec()).ok()?, partition), sent);
        }
        rest.is_empty().then_some(state)
    }
}

fn put(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take(rest)?)).ok()
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    has_failed: bool,
}

impl Journal {
    pub(super) fn new(directory: &Path) -> Self {
        Self { path: directory.join("producer"), has_failed: false }
    }

    /// What the last producer left, if it left anything that counts.
    pub(super) async fn read(&self) -> Option<State> {
        let path = self.path.clone();
        off_thread::run(move || State::decode(&std::fs::read(path).ok()?, &boot()?)).await
    }

    /// Replaces what the file has, or removes the file: that is said once, and costs nothing but what it is for.
    ///
    /// # Errors
    /// It can be neither replaced nor removed: nothing may be sent.
    pub(super) async fn write(&mut self, state: &State) -> Result<(), String> {
        let (path, state) = (self.path.clone(), state.clone());
        let written = off_thread::run(move || {
            let error = match replace(&path, &state) {
                Ok(()) => return Ok(None),
                Err(error) => error,
            };
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(Some(error)),
            }
        });
        let path = self.path.display();
        match written.await {
            Ok(None) => self.has_failed = false,
            Ok(Some(error)) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    let path = path.to_string();
                    tracing::warn!(path, %error, "cannot write down what is sent: if the agent is killed, some of it is sent twice");
                }
            }
            Err(error) => {
                return Err(format!("{path} is old and can be neither replaced nor removed: {error}"));
            }
        }
        Ok(())
    }
}

fn boot() -> Option<String> {
    std::fs::read_to_string(BOOT).ok()
}

fn replace(path: &Path, state: &State) -> io::Result<()> {
    let boot = boot().ok_or_else(|| io::Error::other("this boot of the machine has no name"))?;
    let new = path.with_extension("new");
    std::fs::write(&new, state.encode(&boot))?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
        numbers.map(|n| format!("m f={n}i {n}\n").into_bytes()).collect()
    }

    /// Batches of 10, 20 and 30 records were sent.
    fn sent() -> Sent {
        let mut sent = Sent::default();
        for (first, numbers) in [(0, 0..10), (10, 10..30), (30, 30..60)] {
            sent.push(first, values(numbers).iter().map(Vec::as_slice));
        }
        sent
    }

    #[rstest::rstest]
    #[case::from_the_start(0..100, 30, Next::Last)]
    #[case::within_a_batch(15..100, 15, Next::Last)]
    #[case::the_last_one(30..60, 0, Next::Last)]
    #[case::not_all_of_it(30..50, 0, Next::Wait)]
    #[case::within_the_last_one(40..70, 20, Next::New)]
    #[case::nothing_of_it(60..70, 0, Next::New)]
    #[case::some_at_first(0..20, 20, Next::Wait)]
    #[case::up_to_the_last_one(20..30, 10, Next::Wait)]
    fn what_comes_again_is_found(
        #[case] numbers: std::ops::Range<u32>,
        #[case] stored: usize,
        #[case] next: Next,
    ) {
        let resumed = sent().resume(values(numbers).iter().map(Vec::as_slice));
        assert_eq!(resumed, Resumed { stored, next });
    }

    #[test]
    fn it_goes_on_where_it_waited() {
        let mut sent = sent();
        let mut resume = |numbers| sent.resume(values(numbers).iter().map(Vec::as_slice));
        assert_eq!(resume(5..20), Resumed { stored: 15, next: Next::Wait });
        assert_eq!(resume(20..40), Resumed { stored: 10, next: Next::Wait });
        assert_eq!(resume(30..50), Resumed { stored: 0, next: Next::Wait });
        assert_eq!(resume(30..61), Resumed { stored: 0, next: Next::Last });
        assert_eq!((sent.first, sent.last), (30, 30));
    }

    #[test]
    fn what_does_not_come_is_not_waited_for() {
        let mut sent = sent();
        let mut resume = |numbers| sent.resume(values(numbers).iter().map(Vec::as_slice)).next;
        assert_eq!([resume(30..50), resume(30..50)], [Next::Wait, Next::Gone]);
    }

    #[test]
    fn a_batch_that_is_refused_is_forgotten() {
        let mut sent = sent();
        sent.withdraw();
        let resumed = sent.resume(values(25..40).iter().map(Vec::as_slice));
        assert_eq!(resumed, Resumed { stored: 5, next: Next::New });
    }

    #[test]
    fn a_file_that_is_damaged_anywhere_is_none() {
        let sent =
            BTreeMap::from([(("topic".to_owned(), 3), sent()), (("t".to_owned(), 0), Sent::default())]);
        let state = State { id: 4_711, epoch: 2, sent };
        let text = state.encode("this");
        assert_eq!(State::decode(&text, "this"), Some(state));
        assert_eq!(State::decode(&text, "that"), None, "of another boot it may be old");
        for i in 0..text.len() {
            let mut damaged = text.clone();
            damaged[i] ^= 0x10;
            assert_eq!(State::decode(&damaged, "this"), None, "{i}");
            assert_eq!(State::decode(&text[..i], "this"), None, "{i}");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_replaced_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(directory.path());
        let state = State { id: 1, ..State::default() };
        assert_eq!((journal.write(&state).await, journal.read().await), (Ok(()), Some(state.clone())));
        // Something that is no file has the name of the new one.
        std::fs::create_dir(directory.path().join("producer.new")).unwrap();
        assert_eq!((journal.write(&state).await, journal.read().await), (Ok(()), None));
        std::fs::create_dir(directory.path().join("producer")).unwrap();
        let error = journal.write(&state).await.unwrap_err();
        assert!(error.contains("producer is old and can be neither replaced nor removed"), "{error}");
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut sent = Sent::default();
        for n in 0..100 {
            sent.push(n * 100, values(0..100).iter().map(Vec::as_slice));
        }
        assert_eq!(sent.digests.len(), MAX_DIGESTS + 100);
    }
}
