//! Unpacking what comes in, a bounded piece at a time.

use std::io::{self, Write as _};

use flate2::write::{MultiGzDecoder, ZlibDecoder};

/// Packed bytes that are unpacked at once. They become at most a thousand times as many.
const PIECE: usize = 1 << 10;

/// What unpacking a stream keeps: its last 32 KiB, as many for what comes out, and its tables.
pub(in super::super) const STATE: usize = 80 << 10;

/// How bytes are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Packing {
    #[default]
    None,
    Gzip,
    Zlib,
}

/// Unpacks a stream of bytes.
#[derive(Debug)]
pub(in super::super) enum Inflate {
    None,
    /// Any number of members.
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
}

impl Inflate {
    pub(in super::super) fn new(packing: Packing) -> Self {
        match packing {
            Packing::None => Self::None,
            Packing::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Packing::Zlib => Self::Zlib(Box::new(ZlibDecoder::new(Vec::new()))),
        }
    }

    /// Unpacks some of `packed`, which is shortened by what was used; gives what it became, which may be nothing yet.
    ///
    /// # Errors
    /// The bytes are not of that format.
    pub(in super::super) fn some(&mut self, packed: &mut &[u8]) -> io::Result<Vec<u8>> {
        let (piece, unpacked) = match self {
            Self::None => return Ok(std::mem::take(packed).to_vec()),
            Self::Gzip(decoder) => {
                let used = decoder.write(&packed[..packed.len().min(PIECE)])?;
                (used, std::mem::take(decoder.get_mut()))
            }
            Self::Zlib(decoder) => {
                let used = decoder.write(&packed[..packed.len().min(PIECE)])?;
                (used, std::mem::take(decoder.get_mut()))
            }
        };
        if piece == 0 && unpacked.is_empty() && !packed.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes after the end of the packed ones"));
        }
        *packed = &packed[piece..];
        Ok(unpacked)
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// The end is missing.
    pub(in super::super) fn end(self) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zlib(decoder) => decoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::Compression;
    use flate2::read::ZlibEncoder;

    use super::*;
    use crate::inputs::listener::testing::gzip;

    /// What it becomes, and the longest piece.
    fn unpacked(packing: Packing, packed: &[u8], step: usize) -> io::Result<(Vec<u8>, usize)> {
        let (mut inflate, mut all, mut longest) = (Inflate::new(packing), Vec::new(), 0);
        for mut part in packed.chunks(step) {
            while !part.is_empty() {
                let some = inflate.some(&mut part)?;
                longest = longest.max(some.len());
                all.extend(some);
            }
        }
        all.extend(inflate.end()?);
        Ok((all, longest))
    }

    #[test]
    fn members_follow_each_other_in_pieces_of_any_size() {
        let packed = [gzip(b"one\n"), gzip(b""), gzip(b"two\n")].concat();
        for step in 1..=packed.len() {
            assert_eq!(unpacked(Packing::Gzip, &packed, step).unwrap().0, b"one\ntwo\n", "{step}");
        }
        assert_eq!(unpacked(Packing::None, b"plain", 2).unwrap().0, b"plain");
        let mut zlib = Vec::new();
        ZlibEncoder::new(&b"three"[..], Compression::fast()).read_to_end(&mut zlib).unwrap();
        assert_eq!(unpacked(Packing::Zlib, &zlib, 3).unwrap().0, b"three");
    }

    #[test]
    fn what_is_not_packed_or_breaks_off_is_an_error() {
        assert!(unpacked(Packing::Gzip, b"m f=1 1\nm f=2 2\n", 64).is_err());
        let packed = gzip(b"some text that is long enough");
        assert!(unpacked(Packing::Gzip, &packed[..packed.len() - 9], 64).is_err());
        assert!(unpacked(Packing::Gzip, &[&packed[..], b"rest that is nothing"].concat(), 64).is_err());
    }

    #[test]
    fn a_bomb_comes_in_pieces() {
        let bomb = gzip(&vec![b'\n'; 64 << 20]);
        let (all, longest) = unpacked(Packing::Gzip, &bomb, bomb.len()).unwrap();
        assert_eq!(all.len(), 64 << 20);
        assert!(bomb.len() < 100_000 && longest <= 2 << 20, "{longest}");
    }
}
