//! Bars, as an SVG that reads on light and dark pages.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 400.0;
const ROW: f64 = 22.0;
const TOP: f64 = 30.0;
/// What the longest bar leaves for its number.
const NUMBER: f64 = 80.0;

/// A bar for each value, the longest as long as there is room.
pub(super) fn bars(unit: &str, bars: &[(String, f64)]) -> String {
    let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + ROW * bars.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#888\">\n<text x=\"{LABEL}\" y=\"18\">{}</text>\n",
        escaped(unit)
    );
    for (row, (label, value)) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let length = (WIDTH - LABEL - NUMBER) * value.max(0.0) / most;
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LABEL}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" fill=\"#4c8bf5\"/><text x=\"{:.1}\" y=\"{}\">{value:.1}</text>",
            LABEL - 8.0,
            y + 14.0,
            escaped(label),
            y + 3.0,
            ROW - 7.0,
            LABEL + length + 6.0,
            y + 14.0,
        );
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_takes_the_room_and_none_goes_left() {
        let svg = bars("ns", &[("a<b".into(), 10.0), ("c".into(), -1.0)]);
        assert!(
            svg.contains("width=\"380.0\"") && svg.contains("width=\"0.0\"") && svg.contains("a&lt;b"),
            "{svg}"
        );
    }
}
