//! Where a message of a stream ends: Telegraf's splitting strategies.

use serde::Deserialize;

/// Where a message ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// At each of these bytes.
    Delimiter(Vec<u8>),
    /// After so many bytes.
    Length(usize),
    /// After as many bytes as its header says.
    Header(LengthField),
}

/// Where a message has its length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LengthField {
    /// Bytes before it.
    pub offset: usize,
    /// Its own bytes, up to 8.
    pub bytes: usize,
    /// `be` or `le`; empty means `be`.
    pub endianness: String,
    /// Bytes of the header, which the length does not count.
    pub header_length: usize,
}

impl LengthField {
    /// The length that a header has; `None` when it is too large for any buffer.
    fn read(&self, header: &[u8]) -> Option<usize> {
        let field = header.get(self.offset..self.offset + self.bytes)?;
        let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        let length =
            if self.endianness == "le" { field.iter().rev().fold(0, add) } else { field.iter().fold(0, add) };
        usize::try_from(length).ok()
    }
}

/// A message at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Where its text begins and ends.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where the next one begins.
    pub(super) next: usize,
}

impl Framing {
    /// Whether many messages can be taken as one text.
    pub(super) fn is_lines(&self) -> bool {
        matches!(self, Self::Delimiter(delimiter) if delimiter == b"\n")
    }

    /// The first message of a buffer, if it is there as a whole. The first `known` bytes were looked at before.
    pub(super) fn first(&self, buffer: &[u8], known: usize) -> Option<Message> {
        match self {
            Self::Delimiter(delimiter) => {
                let from = known.saturating_sub(delimiter.len() - 1);
                let rest = buffer.get(from..)?;
                let end = from + rest.windows(delimiter.len()).position(|part| part == delimiter)?;
                Some(Message { start: 0, end, next: end + delimiter.len() })
            }
            Self::Length(length) => {
                (buffer.len() >= *length).then_some(Message { start: 0, end: *length, next: *length })
            }
            Self::Header(field) => {
                let start = field.header_length;
                if buffer.len() < start {
                    return None;
                }
                let end = start.checked_add(field.read(&buffer[..start])?)?;
                (buffer.len() >= end).then_some(Message { start, end, next: end })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of all messages, and what is left.
    fn messages(framing: &Framing, mut buffer: &[u8]) -> (Vec<String>, usize) {
        let mut texts = Vec::new();
        while let Some(message) = framing.first(buffer, 0) {
            texts.push(String::from_utf8_lossy(&buffer[message.start..message.end]).into_owned());
            buffer = &buffer[message.next..];
        }
        (texts, buffer.len())
    }

    #[test]
    fn messages_end_where_the_strategy_says() {
        let field = |endianness: &str| {
            let endianness = endianness.to_owned();
            Framing::Header(LengthField { offset: 1, bytes: 2, endianness, header_length: 4 })
        };
        let cases: [(Framing, &[u8]); 5] = [
            (Framing::Delimiter(vec![b'\n']), b"ab\ncd\nx"),
            (Framing::Delimiter(b"\r\n".to_vec()), b"ab\r\ncd\r\nx"),
            (Framing::Length(2), b"abcdx"),
            (field("be"), b"_\x00\x02_ab_\x00\x02_cdx"),
            (field("le"), b"_\x02\x00_ab_\x02\x00_cdx"),
        ];
        for (framing, bytes) in cases {
            assert_eq!(messages(&framing, bytes), (vec!["ab".into(), "cd".into()], 1), "{framing:?}");
        }
    }

    #[test]
    fn a_delimiter_that_comes_in_two_parts_is_found() {
        let framing = Framing::Delimiter(b"\r\n".to_vec());
        assert_eq!(framing.first(b"ab\r", 0), None);
        assert_eq!(framing.first(b"ab\r\n", 3), Some(Message { start: 0, end: 2, next: 4 }));
    }
}
