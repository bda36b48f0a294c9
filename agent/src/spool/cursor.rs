//! The cursor: what of a spool is done, in a file of two slots that are written in turn, so that one of them is always whole.

use std::io;

use super::files::{SpoolFile, SpoolFolder};
use super::record::{checksum, u32_at, u64_at};

/// The file.
pub(super) const NAME: &str = "cursor";
/// Where the second slot is: a damaged block of the disk is not both.
const SECOND: u64 = 4096;
const LEN: usize = 48;
const MAGIC: [u8; 8] = *b"SGcurs01";

/// What it says.
///
/// | bytes | |
/// |---|---|
/// | 0..8 | `SGcurs01` |
/// | 8..16 | how often it was written |
/// | 16..24 | the spool's salt |
/// | 24..32 | `done` |
/// | 32..40 | `end` |
/// | 40..44 | 0 |
/// | 44..48 | CRC-32C of what stands before |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Distinguishes this spool from all others.
    pub(super) salt: u64,
    /// All points before this one are done.
    pub(super) done: u64,
    /// The number after the last point that is on the disk.
    pub(super) end: u64,
}

pub(super) struct Cursor {
    file: Box<dyn SpoolFile>,
    generation: u64,
}

impl Cursor {
    /// Opens the file, or makes it. Returns the latest position that is whole, if any.
    pub(super) fn open(folder: &dyn SpoolFolder, is_there: bool) -> io::Result<(Self, Option<Position>)> {
        let file = if is_there { folder.open(NAME)? } else { folder.create(NAME)? };
        let mut latest: Option<(u64, Position)> = None;
        for at in [0, SECOND] {
            let mut bytes = [0; LEN];
            if file.read_at(&mut bytes, at)? == LEN
                && let Some(slot) = decode(&bytes)
                && latest.is_none_or(|(generation, _)| slot.0 > generation)
            {
                latest = Some(slot);
            }
        }
        let generation = latest.map_or(0, |(generation, _)| generation);
        Ok((Self { file, generation }, latest.map(|(_, position)| position)))
    }

    /// Writes a position. A process that ends has written it; a machine that does needs [`Self::sync`].
    pub(super) fn write(&mut self, position: Position) -> io::Result<()> {
        let generation = self.generation + 1;
        self.file.write_at(&encode(generation, position), (generation % 2) * SECOND)?;
        self.generation = generation;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

fn encode(generation: u64, Position { salt, done, end }: Position) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    for (i, value) in [generation, salt, done, end].into_iter().enumerate() {
        bytes[8 + 8 * i..16 + 8 * i].copy_from_slice(&value.to_le_bytes());
    }
    let crc = checksum(0, &bytes[..44]);
    bytes[44..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// How often the cursor was written, and the position.
fn decode(bytes: &[u8; LEN]) -> Option<(u64, Position)> {
    let is_whole = bytes[..8] == MAGIC && u32_at(bytes, 44) == checksum(0, &bytes[..44]);
    let position = Position { salt: u64_at(bytes, 16), done: u64_at(bytes, 24), end: u64_at(bytes, 32) };
    (is_whole && position.done <= position.end).then(|| (u64_at(bytes, 8), position))
}
