//! Bodies and files as gzip and zlib streams.

use std::io::{self, BufWriter, Write};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Lines are short: an encoder gets so many bytes of them at a time.
const AT_A_TIME: usize = 16 << 10;

/// Compresses what the parts are together with gzip.
pub(super) fn gzip(parts: &[impl AsRef<[u8]>], level: Compression) -> Vec<u8> {
    let packed = written(GzEncoder::new(Vec::new(), level), parts).and_then(GzEncoder::finish);
    // Writing into memory does not fail.
    packed.unwrap_or_default()
}

/// Compresses what the parts are together with zlib.
pub(super) fn zlib(parts: &[impl AsRef<[u8]>], level: Compression) -> Vec<u8> {
    let packed = written(ZlibEncoder::new(Vec::new(), level), parts).and_then(ZlibEncoder::finish);
    packed.unwrap_or_default()
}

fn written<W: Write>(encoder: W, parts: &[impl AsRef<[u8]>]) -> io::Result<W> {
    let mut encoder = BufWriter::with_capacity(AT_A_TIME, encoder);
    parts.iter().try_for_each(|part| encoder.write_all(part.as_ref()))?;
    encoder.into_inner().map_err(io::IntoInnerError::into_error)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    #[test]
    fn parts_are_one_stream() {
        // One that is longer than what the encoder gets at a time, and none at all.
        let long = "x".repeat(3 * AT_A_TIME);
        for parts in [&["a\n", &long, "", "b\n"][..], &[]] {
            for level in [0, 1, 9].map(Compression::new) {
                let (gzip, zlib) = (gzip(parts, level), zlib(parts, level));
                let decoders: [Box<dyn Read>; 2] =
                    [Box::new(GzDecoder::new(&gzip[..])), Box::new(ZlibDecoder::new(&zlib[..]))];
                for mut decoder in decoders {
                    let mut text = String::new();
                    decoder.read_to_string(&mut text).unwrap();
                    assert_eq!(text, parts.concat());
                }
            }
        }
    }
}
