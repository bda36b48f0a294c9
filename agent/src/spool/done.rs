//! The ranges of points that are done behind the first one that is not, so that they are not sent again after a restart.
//!
//! They stand in a file in no order, each with a checksum of its own, so that whatever is lost of it costs no other range. It is
//! never synced: what is not remembered is sent again. It begins anew with each opening of the spool, without numbers that a
//! machine without power has forgotten: these are given out again, for other points.

use std::io;
use std::ops::Range;

use super::files::{SpoolFile, SpoolFolder};
use super::ranges::Ranges;
use super::record::{checksum, u32_at, u64_at};

/// The file, and its successor.
const NAME: &str = "done";
const NEXT: &str = "done.next";
/// Of a range: start, end, and CRC-32C of both with the spool's salt before them.
const LEN: usize = 20;
/// The file begins anew when it has more bytes than this, and twice what its ranges take.
const MAX_BYTES: u64 = 64 << 10;

/// The file.
pub(super) struct Done {
    salt: u64,
    /// `None` where there is no range yet, or it could not be made.
    file: Option<Box<dyn SpoolFile>>,
    at: u64,
}

impl Done {
    /// Reads the ranges; what of them is damaged, or cannot be read, is left out.
    pub(super) fn read(folder: &dyn SpoolFolder, salt: u64) -> Ranges {
        let mut ranges = Ranges::default();
        let Ok(file) = folder.open(NAME) else { return ranges };
        let mut piece = vec![0; LEN << 10];
        for at in (0_u64..).step_by(piece.len()) {
            let n = file.read_at(&mut piece, at).unwrap_or(0);
            let entries = piece[..n].chunks_exact(LEN);
            entries.filter_map(|entry| decode(salt, entry)).for_each(|range| ranges.insert(range));
            if n < piece.len() {
                break;
            }
        }
        ranges
    }

    /// Begins the file anew with these ranges; without any there is none. That is on the disk with the folder's names.
    ///
    /// # Errors
    /// The one that is there can neither be replaced nor removed.
    pub(super) fn begin(folder: &dyn SpoolFolder, salt: u64, ranges: &Ranges) -> io::Result<Self> {
        let mut done = Self { salt, file: None, at: 0 };
        if ranges.count() == 0 || done.anew(folder, ranges).is_err() {
            match folder.remove(NAME) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(done)
    }

    /// Adds ranges; `all` has them too.
    pub(super) fn add(
        &mut self,
        folder: &dyn SpoolFolder,
        ranges: impl Iterator<Item = Range<u64>>,
        all: &Ranges,
    ) {
        let text: Vec<u8> = ranges.flat_map(|range| encode(self.salt, &range)).collect();
        if text.is_empty() {
            return;
        }
        let needed = (all.count() * LEN) as u64;
        let is_long = self.at + text.len() as u64 > MAX_BYTES.max(2 * needed);
        let written = match &mut self.file {
            Some(file) if !is_long => file.write_at(&text, self.at).map(|()| self.at += text.len() as u64),
            _ => self.anew(folder, all),
        };
        if let Err(error) = written {
            tracing::debug!(%error, "what is done out of order is not remembered over a restart");
        }
    }

    fn anew(&mut self, folder: &dyn SpoolFolder, ranges: &Ranges) -> io::Result<()> {
        let text: Vec<u8> = ranges.iter().flat_map(|range| encode(self.salt, &range)).collect();
        let mut file = folder.create(NEXT)?;
        file.write_at(&text, 0)?;
        folder.rename(NEXT, NAME)?;
        (self.file, self.at) = (Some(file), text.len() as u64);
        Ok(())
    }
}

fn encode(salt: u64, range: &Range<u64>) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&range.start.to_le_bytes());
    bytes[8..16].copy_from_slice(&range.end.to_le_bytes());
    let crc = checksum(salt, &bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(salt: u64, bytes: &[u8]) -> Option<Range<u64>> {
    let is_whole = u32_at(bytes, 16) == checksum(salt, &bytes[..16]);
    is_whole.then(|| u64_at(bytes, 0)..u64_at(bytes, 8))
}
