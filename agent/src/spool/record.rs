//! Records: the bytes of some points, with their numbers, as they stand in a segment.

/// The length of a record's header.
pub(super) const HEADER: usize = 32;
/// What each begins with.
pub(super) const MAGIC: [u8; 4] = *b"SGr1";
/// The longest payload: what a wrong length could have read.
pub(super) const MAX_PAYLOAD: usize = 64 << 20;

/// What stands before the payload. All numbers are little-endian.
///
/// | bytes | |
/// |---|---|
/// | 0..4 | `SGr1` |
/// | 4..8 | how many points it has |
/// | 8..16 | the number of the first; each has the next one |
/// | 16..20 | the length of the payload |
/// | 20..24 | when it was written, in seconds since 1970 |
/// | 24..28 | CRC-32C of the payload |
/// | 28..32 | CRC-32C of the spool's salt and what stands before |
///
/// With the salt, what somebody sends as a string is never taken for a record where a damaged file is searched for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) len: u32,
    pub(super) written: u32,
    pub(super) crc: u32,
}

impl Header {
    pub(super) fn of(first: u64, count: u32, payload: &[u8], written: u32) -> Option<Self> {
        let len = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD)?;
        Some(Self { first, count, len, written, crc: crc32c::crc32c(payload) })
    }

    /// The number after its last point.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    pub(super) fn encode(&self, salt: u64) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.len.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.written.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.crc.to_le_bytes());
        let crc = checksum(salt, &bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when it is none, or damaged.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        if bytes[..4] != MAGIC || u32_at(bytes, 28) != checksum(salt, &bytes[..28]) {
            return None;
        }
        let header = Self {
            first: u64_at(bytes, 8),
            count: u32_at(bytes, 4),
            len: u32_at(bytes, 16),
            written: u32_at(bytes, 20),
            crc: u32_at(bytes, 24),
        };
        (header.len as usize <= MAX_PAYLOAD).then_some(header)
    }
}

/// CRC-32C of some bytes of a spool with this salt.
pub(super) fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}

/// The four bytes at a place within `bytes`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

/// The eight bytes at a place within `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
