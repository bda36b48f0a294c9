//! A text that comes in pieces: where its last whole line ends.

use super::scan::is_simple;

/// Goes over a text piece by piece, by the rules of [`line_end`](super::scan::line_end), and looks at no byte twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Splitter {
    has_blank: bool,
    is_quoted: bool,
    is_escaped: bool,
    /// More `=` than commas.
    open: isize,
}

impl Splitter {
    /// Goes on with the next piece; gives what of it belongs to whole lines. What follows may go on in the piece after it.
    pub(crate) fn whole_lines(&mut self, piece: &[u8]) -> usize {
        let mut whole = 0;
        if !self.is_quoted
            && !self.is_escaped
            && is_simple(piece)
            && let Some(last) = memchr::memrchr(b'\n', piece)
        {
            *self = Self::default();
            whole = last + 1;
        }
        let start = whole;
        for (at, &byte) in piece.iter().enumerate().skip(start) {
            if std::mem::take(&mut self.is_escaped) {
                continue;
            }
            match byte {
                b'\\' => self.is_escaped = true,
                b'\n' if !self.is_quoted => {
                    *self = Self::default();
                    whole = at + 1;
                }
                b' ' => self.has_blank = true,
                b'=' if self.has_blank && !self.is_quoted => self.open += 1,
                b',' if self.has_blank && !self.is_quoted => self.open -= 1,
                b'"' if self.has_blank && self.open > 0 => self.is_quoted = !self.is_quoted,
                _ => {}
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Precision, parse};
    use super::*;

    #[test]
    fn a_text_in_pieces_has_the_lines_of_the_whole() {
        const ALPHABET: &[u8] = b"m,t=a \\\n\"1";
        let mut random = fastrand::Rng::with_seed(1);
        let mut n_lines = 0;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.usize(..60)).map(|_| ALPHABET[random.usize(..10)]).collect();
            let text = String::from_utf8(bytes).unwrap();
            let of = |text: &str| {
                let lines = parse(text, Precision::default());
                lines
                    .map(|line| line.map_or_else(|e| e.text.to_owned(), |l| l.text.to_owned()))
                    .collect::<Vec<_>>()
            };
            let (mut splitter, mut tail, mut lines) = (Splitter::default(), String::new(), Vec::new());
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.usize(1..=rest.len()));
                let whole = splitter.whole_lines(piece.as_bytes());
                if whole > 0 {
                    lines.extend(of(&format!("{tail}{}", &piece[..whole])));
                    tail.clear();
                }
                tail.push_str(&piece[whole..]);
                rest = after;
            }
            lines.extend(of(&tail));
            assert_eq!(lines, of(&text), "{text:?}");
            n_lines += lines.len();
        }
        assert!(n_lines > 50_000, "{n_lines}");
    }
}
