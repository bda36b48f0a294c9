//! The values in a cgroup file, by the shape of its text. Pure.
//!
//! A file has the first of these shapes that fits all of its lines:
//!
//! | text | keys |
//! |---|---|
//! | one value | none |
//! | lines of one value; one line of values | `0`, `1` … |
//! | lines of words and a value | the words, joined by dots |
//! | lines of a name and `k=v` | `name.k` |
//! | one line of `k=v` | `k` |

use crate::point::FieldValue;

/// The values of a text with their keys; `None` when no shape fits. An empty text has no values.
pub(super) fn parse(text: &str) -> Option<Vec<(String, FieldValue)>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    // Without the final newline, the file is truncated.
    let lines: Vec<&str> = text.strip_suffix('\n')?.split('\n').collect();
    single(&lines)
        .or_else(|| value_lines(&lines))
        .or_else(|| value_line(&lines))
        .or_else(|| keyed_lines(&lines))
        .or_else(|| named_pairs(&lines))
        .or_else(|| pairs(&lines))
}

fn single(lines: &[&str]) -> Option<Vec<(String, FieldValue)>> {
    let [line] = lines else { return None };
    Some(vec![(String::new(), value(line)?)])
}

fn value_lines(lines: &[&str]) -> Option<Vec<(String, FieldValue)>> {
    numbered(lines.iter().copied())
}

/// The kernel ends some lines with a blank.
fn value_line(lines: &[&str]) -> Option<Vec<(String, FieldValue)>> {
    let [line] = lines else { return None };
    numbered(line.strip_suffix(' ').unwrap_or(line).split(' '))
}

fn numbered<'a>(values: impl Iterator<Item = &'a str>) -> Option<Vec<(String, FieldValue)>> {
    values.enumerate().map(|(n, text)| Some((n.to_string(), value(text)?))).collect()
}

fn keyed_lines(lines: &[&str]) -> Option<Vec<(String, FieldValue)>> {
    let keyed = |line: &&str| {
        let (keys, last) = line.rsplit_once(' ')?;
        keys.split(' ').all(is_key).then_some(())?;
        Some((keys.replace(' ', "."), value(last)?))
    };
    lines.iter().map(keyed).collect()
}

fn named_pairs(lines: &[&str]) -> Option<Vec<(String, FieldValue)>> {
    let mut values = Vec::new();
    for line in lines {
        let (name, pairs) = line.split_once(' ').filter(|(name, _)| is_key(name))?;
        for text in pairs.split(' ') {
            let (key, value) = pair(text)?;
            values.push((format!("{name}.{key}"), value));
        }
    }
    Some(values)
}

fn pairs(lines: &[&str]) -> Option<Vec<(String, FieldValue)>> {
    let [line] = lines else { return None };
    let pairs = line.strip_suffix(' ').unwrap_or(line).split(' ');
    pairs.map(|text| pair(text).map(|(key, value)| (key.to_owned(), value))).collect()
}

fn pair(text: &str) -> Option<(&str, FieldValue)> {
    let (key, text) = text.split_once('=').filter(|(key, _)| is_key(key))?;
    Some((key, value(text)?))
}

fn is_key(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b":_.".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

/// A value is `max`, or made of digits, dashes and dots: an integer where it can be, else a fraction, else a text such as
/// `0-3`. It is of one type for as long as the kernel writes it the same way, which it does.
fn value(text: &str) -> Option<FieldValue> {
    if text == "max" {
        return Some(FieldValue::Int(i64::MAX));
    }
    let is_part = |byte: u8| byte.is_ascii_digit() || b"-.".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_part) {
        return None;
    }
    let integer = text.parse().ok().map(FieldValue::Int);
    let fraction = || text.parse().ok().filter(|fraction: &f64| fraction.is_finite()).map(FieldValue::Float);
    Some(integer.or_else(fraction).unwrap_or_else(|| text.into()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parsed(text: &str) -> Option<String> {
        let entry = |(key, value): (String, FieldValue)| match value {
            FieldValue::Int(value) => format!("{key}={value}i"),
            FieldValue::Float(value) => format!("{key}={value}"),
            FieldValue::Text(value) => format!("{key}={value:?}"),
            other => panic!("{other:?}"),
        };
        parse(text).map(|values| values.into_iter().map(entry).collect::<Vec<_>>().join(","))
    }

    #[rstest]
    #[case::single("4096\n", "=4096i")]
    #[case::negative("-1\n", "=-1i")]
    #[case::fraction("0.50\n", "=0.5")]
    #[case::max("max\n", "=9223372036854775807i")]
    #[case::above_int64("18446744073709551615\n", "=18446744073709552000")]
    #[case::range("0-3\n", "=\"0-3\"")]
    #[case::dots("..\n", "=\"..\"")]
    #[case::no_number(&format!("{}\n", "9".repeat(400)), &format!("=\"{}\"", "9".repeat(400)))]
    #[case::value_lines("1\n22\n333\n", "0=1i,1=22i,2=333i")]
    #[case::value_line("1 22 333 \n", "0=1i,1=22i,2=333i")]
    #[case::cpu_max("max 100000\n", "0=9223372036854775807i,1=100000i")]
    #[case::cpu_max_set("50000 100000\n", "0=50000i,1=100000i")]
    #[case::keyed("usage_usec 5\nuser_usec 3\n", "usage_usec=5i,user_usec=3i")]
    #[case::one_keyed("populated 1\n", "populated=1i")]
    #[case::blkio("8:0 Read 1\n8:0 Write 2\nTotal 3\n", "8:0.Read=1i,8:0.Write=2i,Total=3i")]
    #[case::numeric_keys("1 2\n3 4\n", "1=2i,3=4i")]
    #[case::throttle("8:0 max\n", "8:0=9223372036854775807i")]
    #[case::pressure(
        "some avg10=0.00 avg60=1.25 total=7\nfull avg10=0.00 avg60=0.00 total=0\n",
        "some.avg10=0,some.avg60=1.25,some.total=7i,full.avg10=0,full.avg60=0,full.total=0i"
    )]
    #[case::io_stat(
        "259:0 rbytes=1 wbytes=2\n8:0 rbytes=3\n",
        "259:0.rbytes=1i,259:0.wbytes=2i,8:0.rbytes=3i"
    )]
    #[case::io_max("8:0 rbps=2097152 wiops=max\n", "8:0.rbps=2097152i,8:0.wiops=9223372036854775807i")]
    #[case::pairs("total=12 N0=5 N1=7\n", "total=12i,N0=5i,N1=7i")]
    #[case::one_pair("total=12 \n", "total=12i")]
    #[case::empty("", "")]
    fn files_of_each_shape(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parsed(text).as_deref(), Some(expected));
    }

    #[rstest]
    #[case::not_ended("5")]
    #[case::words("cpu io memory pids\n")]
    #[case::word("domain\n")]
    #[case::list("0-3,7\n")]
    #[case::io_stat_of_no_device("8:0 \n")]
    #[case::io_stat_of_one_device("8:0 rbytes=1\n8:16 \n")]
    #[case::dash_in_a_key("a-b 1\n")]
    #[case::mixed("1\nkey 2\n")]
    #[case::two_blanks("key  2\n")]
    #[case::blank_at_the_start(" 1\n")]
    #[case::empty_line("\n")]
    #[case::empty_value("k=\n")]
    #[case::pair_lines("total=1 N0=1\nfile=2 N0=2\n")]
    #[case::carriage_return("1\r\n")]
    fn files_of_no_shape(#[case] text: &str) {
        assert_eq!(parsed(text), None);
    }
}
