//! docs/overhead.md: the tables between its marks are made of what was measured.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::plot;

/// What a test left of one part.
#[derive(Deserialize)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    unit: String,
    bars: Vec<(String, f64)>,
}

/// Puts the tables in `measured` in place of those before, and draws them.
pub(super) fn write(measured: &Path, docs: &Path) -> anyhow::Result<()> {
    let path = docs.join("overhead.md");
    let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for entry in fs::read_dir(measured)? {
        let file = entry?.path();
        let Some(name) = file.file_stem().and_then(|name| name.to_str()) else { continue };
        let table: Table = serde_json::from_slice(&fs::read(&file)?)
            .with_context(|| format!("{} is no table", file.display()))?;
        let drawing = format!("overhead-{name}.svg");
        fs::write(docs.join(&drawing), plot::bars(&table.unit, &table.bars))?;
        text = replaced(&text, name, &format!("{}\n![{name}]({drawing})\n", markdown(&table)))?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn markdown(table: &Table) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = vec!["---".to_owned(); table.columns.len()];
    let rows: String = table.rows.iter().map(|row| line(row)).collect();
    format!("{}{}{rows}", line(&table.columns), line(&rule))
}

/// The text with another part between the marks of that name.
fn replaced(text: &str, name: &str, part: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- measured: {name} -->\n"), format!("<!-- end: {name} -->\n"));
    let Some((before, rest)) = text.split_once(&begin) else { bail!("docs/overhead.md has no {begin:?}") };
    let Some((_, after)) = rest.split_once(&end) else { bail!("docs/overhead.md has no {end:?}") };
    Ok(format!("{before}{begin}{part}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_new() {
        let text = "a\n<!-- measured: x -->\nold\n<!-- end: x -->\nb\n";
        let table = Table {
            columns: vec!["c".into()],
            rows: vec![vec!["1".into()]],
            unit: String::new(),
            bars: Vec::new(),
        };
        let expected = "a\n<!-- measured: x -->\n| c |\n| --- |\n| 1 |\n<!-- end: x -->\nb\n";
        assert_eq!(replaced(text, "x", &markdown(&table)).unwrap(), expected);
        assert!(replaced(text, "y", "").is_err());
    }
}
