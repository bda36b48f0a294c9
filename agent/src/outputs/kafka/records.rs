//! A batch of records as Kafka keeps it in its log: format 2, for Kafka 0.11 and later. Pure.
//!
//! Source: <https://kafka.apache.org/documentation/#recordbatch>.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;

use crate::outputs::compress::gzip;

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Milliseconds since the Unix epoch.
    pub(super) time_ms: i64,
    pub(super) key: Option<String>,
    pub(super) value: Bytes,
    /// Names and values.
    pub(super) headers: Vec<(String, String)>,
}

impl Record {
    /// At most so many bytes of a batch, before they are packed: its texts, and the numbers before each.
    pub(super) fn size(&self) -> usize {
        const NUMBER: usize = 5;
        let header = |(name, value): &(String, String)| name.len() + value.len() + 2 * NUMBER;
        let headers: usize = self.headers.iter().map(header).sum();
        // Its length, attributes, time, place, and the lengths of key, value and headers.
        let numbers = 5 * NUMBER + 1 + 10;
        numbers + self.key.as_ref().map_or(0, String::len) + self.value.len() + headers
    }
}

/// The bytes of a batch before its records.
pub(super) const HEAD: usize = 61;

/// How a batch is packed. There is no zstd without C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
}

impl Codec {
    /// The codec of Telegraf's number for it, which is Kafka's.
    pub(super) fn of_number(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            _ => return None,
        })
    }

    fn pack(self, records: Vec<u8>) -> Vec<u8> {
        match self {
            Self::None => records,
            Self::Gzip => gzip(&[records], Compression::default()),
            Self::Snappy => snappy(&records),
            Self::Lz4 => lz4(&records),
        }
    }
}

/// Blocks of snappy as Java's library frames them: <https://github.com/xerial/snappy-java#compatibility-notes>.
fn snappy(text: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 32 << 10;
    let mut packed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in text.chunks(BLOCK) {
        // It fails on blocks of 4 GiB alone.
        let block = encoder.compress_vec(block).unwrap_or_default();
        packed.extend_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes());
        packed.extend_from_slice(&block);
    }
    packed
}

fn lz4(text: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    // Writing to memory does not fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

/// Who sends a batch, and which one of that sender's it is, for a broker that takes each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    /// The number of the first record among those of this producer in the partition.
    pub(super) sequence: i32,
}

impl Stamp {
    /// Nobody in particular.
    pub(super) const NONE: Self = Self { producer_id: -1, epoch: -1, sequence: -1 };
}

/// Encodes records, of which there is at least one.
pub(super) fn batch<'a>(
    records: impl Iterator<Item = &'a Record> + Clone,
    codec: Codec,
    stamp: Stamp,
) -> Bytes {
    let times = || records.clone().map(|record| record.time_ms);
    let (first, last) = (times().next().unwrap_or(0), times().max().unwrap_or(0));
    let mut body = Vec::new();
    let mut count = 0;
    for (offset, record) in (0_i32..).zip(records.clone()) {
        put_record(&mut body, record, record.time_ms.wrapping_sub(first), offset);
        count = offset + 1;
    }
    let body = codec.pack(body);
    // What the checksum is of.
    let mut checked = Vec::with_capacity(body.len() + HEAD);
    checked.extend_from_slice(&(codec as i16).to_be_bytes());
    checked.extend_from_slice(&(count - 1).to_be_bytes());
    checked.extend_from_slice(&first.to_be_bytes());
    checked.extend_from_slice(&last.to_be_bytes());
    checked.extend_from_slice(&stamp.producer_id.to_be_bytes());
    checked.extend_from_slice(&stamp.epoch.to_be_bytes());
    checked.extend_from_slice(&stamp.sequence.to_be_bytes());
    checked.extend_from_slice(&count.to_be_bytes());
    checked.extend_from_slice(&body);

    let mut batch = Vec::with_capacity(checked.len() + 21);
    // The broker numbers them.
    batch.extend_from_slice(&0_i64.to_be_bytes());
    let length = i32::try_from(checked.len() + 9).unwrap_or(i32::MAX);
    batch.extend_from_slice(&length.to_be_bytes());
    // The leader's epoch, which the broker sets, and the version of the format.
    batch.extend_from_slice(&(-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch.into()
}

fn put_record(out: &mut Vec<u8>, record: &Record, time: i64, offset: i32) {
    let mut body = vec![0];
    put_number(&mut body, time);
    put_number(&mut body, offset.into());
    put_text(&mut body, record.key.as_ref().map(String::as_bytes));
    put_text(&mut body, Some(&record.value));
    put_length(&mut body, record.headers.len());
    for (name, value) in &record.headers {
        put_text(&mut body, Some(name.as_bytes()));
        put_text(&mut body, Some(value.as_bytes()));
    }
    put_length(out, body.len());
    out.extend_from_slice(&body);
}

fn put_text(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        None => put_number(out, -1),
        Some(text) => {
            put_length(out, text.len());
            out.extend_from_slice(text);
        }
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_number(out, i64::try_from(length).unwrap_or(i64::MAX));
}

/// Seven bits a byte, the lowest first; numbers below 0 are between those above it.
fn put_number(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use kafka_protocol::records::{Compression as Kind, RecordBatchDecoder};
    use rstest::rstest;

    use super::*;

    fn records(n: i64) -> Vec<Record> {
        let record = |i: i64| Record {
            // Days apart, and not in their order.
            time_ms: 1_700_000_000_000 + (i * 7 % 5) * 5 * 86_400_000,
            key: (i % 3 > 0).then(|| format!("node-{i}")),
            value: format!("m,host=node-{i} f={i}i {i}\n").into(),
            headers: if i % 2 == 0 { vec![("name".into(), "m".into())] } else { Vec::new() },
        };
        (0..n).map(record).collect()
    }

    /// What another implementation reads; it unpacks nothing here but what it is handed.
    #[rstest]
    #[case(Codec::None)]
    #[case(Codec::Gzip)]
    #[case(Codec::Snappy)]
    #[case(Codec::Lz4)]
    fn another_decoder_reads_what_was_encoded(#[case] codec: Codec) {
        let records = records(5_000);
        let stamp = Stamp { producer_id: 7, epoch: 3, sequence: 4_711 };
        let mut bytes = batch(records.iter(), codec, stamp);
        let unpack = |packed: &mut Bytes, kind: Kind| -> anyhow::Result<Bytes> {
            assert_eq!(kind as i16, codec as i16);
            let mut text = Vec::new();
            use std::io::Read as _;
            match kind {
                Kind::None => text = packed.to_vec(),
                Kind::Gzip => drop(flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text)?),
                Kind::Snappy => {
                    let mut rest = &packed[16..];
                    while let Some((length, more)) = rest.split_first_chunk::<4>() {
                        let (block, after) = more.split_at(u32::from_be_bytes(*length) as usize);
                        text.extend(snap::raw::Decoder::new().decompress_vec(block)?);
                        rest = after;
                    }
                }
                Kind::Lz4 => drop(lz4_flex::frame::FrameDecoder::new(&packed[..]).read_to_end(&mut text)?),
                Kind::Zstd => unreachable!(),
            }
            Ok(text.into())
        };
        let read = RecordBatchDecoder::decode_with_custom_compression(&mut bytes, Some(unpack)).unwrap();
        assert_eq!(read.records.len(), records.len());
        for (i, (read, record)) in read.records.iter().zip(&records).enumerate() {
            assert_eq!((read.producer_id, read.producer_epoch), (7, 3));
            assert_eq!((read.offset, read.sequence), (i as i64, 4_711 + i as i32));
            assert_eq!(read.timestamp, record.time_ms);
            assert_eq!(read.key.as_deref(), record.key.as_ref().map(String::as_bytes));
            assert_eq!(read.value.as_ref(), Some(&record.value));
            let headers: Vec<(String, String)> = read
                .headers
                .iter()
                .map(|(k, v)| (k.to_string(), String::from_utf8(v.clone().unwrap().to_vec()).unwrap()))
                .collect();
            assert_eq!(headers, record.headers);
        }
        assert!(bytes.is_empty());
    }

    #[test]
    fn a_record_takes_no_more_than_is_said() {
        for record in records(50) {
            let size = batch(std::iter::once(&record), Codec::None, Stamp::NONE).len();
            assert!(size <= HEAD + record.size(), "{size}: {record:?}");
        }
    }

    #[rstest]
    #[case(0, &[0])]
    #[case(-1, &[1])]
    #[case(1, &[2])]
    #[case(-64, &[0x7f])]
    #[case(64, &[0x80, 1])]
    #[case(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])]
    fn numbers_are_short(#[case] number: i64, #[case] expected: &[u8]) {
        let mut bytes = Vec::new();
        put_number(&mut bytes, number);
        assert_eq!(bytes, expected);
    }
}
