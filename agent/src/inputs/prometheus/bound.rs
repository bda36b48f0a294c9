//! Bounds of buckets and quantiles as Telegraf writes them: the shortest decimal that is the same number, in Go's format `g`.

use std::fmt::Write as _;

/// `0.005`, `1e+06`, `+Inf`
pub(super) fn shown(bound: f64) -> String {
    if bound.is_nan() {
        return "NaN".into();
    }
    if bound.is_infinite() {
        return if bound > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    // Rust's shortest digits are Go's.
    let scientific = format!("{bound:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return bound.to_string();
    }
    let mut text = digits.to_owned();
    // Writing to a string cannot fail.
    let _ = write!(text, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case(0.0, "0")]
    #[case(0.005, "0.005")]
    #[case(0.0001, "0.0001")]
    #[case(0.00001, "1e-05")]
    #[case(8.999999999999998, "8.999999999999998")]
    #[case(-2.5, "-2.5")]
    #[case(100_000.0, "100000")]
    #[case(1_000_000.0, "1e+06")]
    #[case(1_048_576.0, "1.048576e+06")]
    #[case(1e21, "1e+21")]
    #[case(1.5e-300, "1.5e-300")]
    #[case(f64::INFINITY, "+Inf")]
    #[case(f64::NEG_INFINITY, "-Inf")]
    #[case(f64::NAN, "NaN")]
    fn as_go_does(#[case] bound: f64, #[case] expected: &str) {
        assert_eq!(super::shown(bound), expected);
    }
}
