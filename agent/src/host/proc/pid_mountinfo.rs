//! proc(5) `PID/mountinfo`, and `PID/mounts` for kernels that lack it: the mounts of a mount namespace.
//!
//! In bytes, since a path need not be UTF-8. Not procfs's parser: that one keeps no order of the options, leaves blanks
//! escaped, and refuses the whole table for one line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// A line of `mountinfo`, since Linux 2.6.26:
///
/// ```text
/// 36    35     98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
/// mount parent id   root  point options               type  source    options of the file system
/// ```
///
/// What the kernel escapes is escaped still, see [`unescape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MountLine<'a> {
    /// The mount's own number.
    pub(crate) mount: &'a [u8],
    /// The number of the mount that it is mounted on.
    pub(crate) parent: &'a [u8],
    /// The file system's device number, `major:minor`.
    pub(crate) id: &'a [u8],
    /// What of the file system is mounted: the path in it, or a text such as `net:[4026531840]`.
    pub(crate) root: &'a [u8],
    /// Where.
    pub(crate) point: &'a [u8],
    /// Options of the mount, between commas.
    pub(crate) options: Option<&'a [u8]>,
    pub(crate) fstype: &'a [u8],
    /// The device, or whatever is mounted instead.
    pub(crate) source: &'a [u8],
    /// Options of the file system, between commas.
    pub(crate) super_options: Option<&'a [u8]>,
}

/// A line of `mounts`, in the format of fstab(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FstabLine<'a> {
    /// The device, or whatever is mounted instead.
    pub(crate) source: &'a [u8],
    /// Where.
    pub(crate) point: &'a [u8],
    pub(crate) fstype: &'a [u8],
    /// Options of the mount and the file system together, between commas.
    pub(crate) options: &'a [u8],
}

/// A line of `mountinfo`; `None` when it is malformed.
pub(crate) fn parse_line(line: &[u8]) -> Option<MountLine<'_>> {
    let separator = line.windows(3).position(|window| window == b" - ")?;
    let (mount, filesystem) = (&line[..separator], &line[separator + 3..]);
    // Blanks are escaped, so that an empty column is one.
    let mut mount = mount.split(|byte| *byte == b' ');
    let mut filesystem = filesystem.split(|byte| *byte == b' ');
    Some(MountLine {
        mount: mount.next()?,
        parent: mount.next()?,
        id: mount.next()?,
        root: mount.next()?,
        point: mount.next()?,
        options: mount.next(),
        fstype: filesystem.next()?,
        source: filesystem.next()?,
        super_options: filesystem.next(),
    })
}

/// A line of `mounts`; `None` when it is malformed.
pub(crate) fn parse_fstab_line(line: &[u8]) -> Option<FstabLine<'_>> {
    let mut columns = line.split(|byte| *byte == b' ');
    Some(FstabLine {
        source: columns.next()?,
        point: columns.next()?,
        fstype: columns.next()?,
        options: columns.next()?,
    })
}

/// A path or a device without the kernel's escapes: three octal digits for blank, tab, newline, backslash and `#`.
pub(crate) fn unescape(bytes: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escape = match rest {
            [b'\\', digits @ ..] => digits.get(..3).and_then(|digits| {
                let digits = std::str::from_utf8(digits).ok()?;
                u8::from_str_radix(digits, 8).ok()
            }),
            _ => None,
        };
        path.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { &rest[4..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn optional_fields_are_skipped() {
        for fields in ["", " shared:1", " shared:1 master:2 unbindable"] {
            let line = format!("36 35 98:0 /a /b rw,noatime{fields} - ext3 /dev/root rw,errors=continue");
            let expected = MountLine {
                mount: b"36",
                parent: b"35",
                id: b"98:0",
                root: b"/a",
                point: b"/b",
                options: Some(b"rw,noatime"),
                fstype: b"ext3",
                source: b"/dev/root",
                super_options: Some(b"rw,errors=continue"),
            };
            assert_eq!(parse_line(line.as_bytes()), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_has_no_name_is_an_empty_column() {
        let line = parse_line(b"1 0 0:51 / /x rw - tmpfs  rw").unwrap();
        assert_eq!(
            (line.fstype, line.source, line.super_options),
            (&b"tmpfs"[..], &b""[..], Some(&b"rw"[..]))
        );
        let line = parse_fstab_line(b" /x tmpfs rw 0 0").unwrap();
        assert_eq!((line.source, line.point), (&b""[..], &b"/x"[..]));
    }

    #[test]
    fn malformed_lines_are_none() {
        for line in [
            "x",
            "1 0 8:1 / / rw ext4 /dev/sda1 rw",
            "1 0 8:1 - ext4 /dev/sda1",
            "1 0 8:1 / / rw - ext4",
            " - ",
        ] {
            assert_eq!(parse_line(line.as_bytes()), None, "{line}");
        }
        assert_eq!(parse_fstab_line(b"\xff\xfe / ext4"), None);
    }

    #[test]
    fn escapes_are_undone() {
        for (escaped, plain) in [
            (r"/a\040b\011c\134d\043", "/a b\tc\\d#"),
            (r"/a\04", r"/a\04"),
            (r"/\999x", r"/\999x"),
            (r"/x\", r"/x\"),
        ] {
            assert_eq!(unescape(escaped.as_bytes()), Path::new(plain));
        }
        assert_eq!(unescape(b"/\\777\xff"), PathBuf::from(OsString::from_vec(b"/\\777\xff".to_vec())));
    }
}
