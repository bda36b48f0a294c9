//! Reads a segment: its records in their order, past whatever is damaged.

use std::io;

use super::files::SpoolFile;
use super::record::{HEADER, Header, MAGIC, checksum, u32_at, u64_at};

/// The length of a segment's header.
pub(super) const SEGMENT_HEADER: usize = 32;
const SEGMENT_MAGIC: [u8; 8] = *b"SGspool1";
const SUFFIX: &str = ".log";
/// What is read at a time.
const WINDOW: usize = 256 << 10;

/// The name of the segment whose first point has this number.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The number of a segment's first point; `None` for another file.
pub(super) fn first(name: &str) -> Option<u64> {
    let number = name.strip_suffix(SUFFIX)?;
    (number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.parse().ok())?
}

/// What a segment begins with: `SGspool1`, the salt, the number of the first point, four bytes of 0, and CRC-32C of all that.
pub(super) fn header(salt: u64, first: u64) -> [u8; SEGMENT_HEADER] {
    let mut bytes = [0; SEGMENT_HEADER];
    bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
    bytes[8..16].copy_from_slice(&salt.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.to_le_bytes());
    let crc = checksum(0, &bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The salt in a segment's header, if it is whole.
///
/// # Errors
/// The file cannot be read, or another version of the agent wrote it in another way.
pub(super) fn salt(file: &dyn SpoolFile) -> io::Result<Option<u64>> {
    let mut bytes = [0; SEGMENT_HEADER];
    let n = file.read_at(&mut bytes, 0)?;
    let is_whole = n == SEGMENT_HEADER && u32_at(&bytes, 28) == checksum(0, &bytes[..28]);
    if is_whole && bytes[..7] == SEGMENT_MAGIC[..7] && bytes[7] != SEGMENT_MAGIC[7] {
        let text = "another version of the agent wrote it: start that one until all is written, or name another directory";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok((is_whole && bytes[..8] == SEGMENT_MAGIC).then(|| u64_at(&bytes, 8)))
}

/// A record as it was written.
pub(super) struct Record {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

/// Reads a segment from its beginning.
pub(super) struct Reader {
    file: Box<dyn SpoolFile>,
    salt: u64,
    /// The number after the segment's last point, where it is known. What stands behind it was never acknowledged.
    end: u64,
    at: u64,
    /// The number of the next point.
    next: u64,
    window: Vec<u8>,
    /// Where the window begins in the file.
    window_at: u64,
}

impl Reader {
    pub(super) fn new(file: Box<dyn SpoolFile>, salt: u64, first: u64, end: u64) -> Self {
        let at = SEGMENT_HEADER as u64;
        Self { file, salt, end, at, next: first, window: Vec::new(), window_at: 0 }
    }

    /// The number of the point that comes next, if nothing is damaged.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    /// More may have been written behind it since.
    pub(super) fn extend(&mut self, end: u64) {
        if end != self.end {
            self.end = end;
            self.window.clear();
        }
    }

    /// The next record that is whole; its number is higher than that of the point that was to come, where others are damaged.
    /// `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let len = header.len as usize;
            let from = self.at + HEADER as u64;
            let payload = self.bytes(from, len)?;
            if payload.len() < len {
                // Cut off. What is behind it can only be within it.
                return Ok(None);
            }
            let (is_whole, payload) = (crc32c::crc32c(payload) == header.crc, payload.to_vec());
            self.at = from + len as u64;
            if is_whole && header.first >= self.next {
                self.next = header.end();
                return Ok(Some(Record { header, payload }));
            }
        }
    }

    /// The header at, or after, the place where one has to be.
    fn header(&mut self) -> io::Result<Option<Header>> {
        loop {
            let (salt, next, end) = (self.salt, self.next, self.end);
            let fits = move |header: &Header| header.first >= next && header.end() <= end && header.count > 0;
            let bytes = self.bytes(self.at, HEADER)?;
            if bytes.len() < HEADER {
                return Ok(None);
            }
            match Header::decode(bytes, salt) {
                Some(header) if fits(&header) => return Ok(Some(header)),
                // Whole, but of a write that failed, and behind the end: or one that was there before.
                Some(header) if header.first >= end => return Ok(None),
                _ => {}
            }
            // The next place where one may begin.
            self.at += 1;
            loop {
                let bytes = self.bytes(self.at, WINDOW / 2)?;
                match memchr::memmem::find(bytes, &MAGIC) {
                    Some(found) => {
                        self.at += found as u64;
                        break;
                    }
                    None if bytes.len() < WINDOW / 2 => return Ok(None),
                    None => self.at += (bytes.len() - MAGIC.len() + 1) as u64,
                }
            }
        }
    }

    /// The `len` bytes at a place; fewer at the end of the file.
    fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let has = |window: &[u8], window_at: u64| {
            at >= window_at && at + len as u64 <= window_at + window.len() as u64
        };
        if !has(&self.window, self.window_at) {
            let left = usize::try_from(self.file.size()?.saturating_sub(at)).unwrap_or(usize::MAX);
            self.window.resize(left.min(len.max(WINDOW)), 0);
            let n = self.file.read_at(&mut self.window, at)?;
            self.window.truncate(n);
            self.window_at = at;
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX).min(self.window.len());
        let end = (start + len).min(self.window.len());
        Ok(&self.window[start..end])
    }
}

/// Any bytes as a segment, and as changes of one, as a fuzzer has them.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz {
    use std::time::SystemTime;

    use super::*;

    struct Bytes(Vec<u8>);

    impl SpoolFile for Bytes {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn modified(&self) -> io::Result<SystemTime> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
            let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
            let n = rest.len().min(into.len());
            into[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }

        fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sync(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn truncate(&mut self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn records(bytes: Vec<u8>, salt: u64) -> Vec<Record> {
        let mut reader = Reader::new(Box::new(Bytes(bytes)), salt, 0, u64::MAX);
        std::iter::from_fn(|| reader.next().ok().flatten()).collect()
    }

    /// A panic is a record that was never written.
    pub(crate) fn parse_any(bytes: &[u8]) {
        records([&header(0, 0), bytes].concat(), 0);
        const SALT: u64 = 0x5a17;
        let (mut text, mut written, mut next) = (header(SALT, 0).to_vec(), Vec::new(), 0);
        for (i, payload) in bytes.chunks(19).enumerate() {
            let Some(header) = Header::of(next, 1 + i as u32 % 3, payload, 7) else { return };
            text.extend_from_slice(&header.encode(SALT));
            text.extend_from_slice(payload);
            written.push((header, payload.to_vec()));
            next = header.end();
        }
        // Somewhere within, as the input says.
        for (i, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte > 0xc0) {
            let at = (i * 251 + usize::from(*byte)) % text.len();
            text[at] ^= byte;
        }
        text.truncate(text.len() - bytes.first().map_or(0, |n| usize::from(n % 8)));
        for record in records(text, SALT) {
            assert!(written.contains(&(record.header, record.payload)), "{:?}", record.header);
        }
    }
}
