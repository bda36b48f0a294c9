//! What `cargo xtask bench` measures, as tables in files, of which it makes docs/overhead.md.

use std::path::PathBuf;

use serde::Serialize;

/// The variable that names the directory of the tables; where it is not set, nothing is measured.
pub const DIRECTORY: &str = "SEISMOGRAF_REPORT";

/// A table, and what of it is drawn.
#[derive(Debug, Default, Serialize)]
pub struct Table {
    /// The heads of the columns.
    pub columns: Vec<String>,
    /// The cells of each row, as text.
    pub rows: Vec<Vec<String>>,
    /// What the bars of the drawing are of.
    pub unit: String,
    /// Each bar.
    pub bars: Vec<(String, f64)>,
}

impl Table {
    /// One without rows.
    #[must_use]
    pub fn new(columns: &[&str], unit: &str) -> Self {
        Self {
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            unit: unit.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[String]) {
        assert_eq!(cells.len(), self.columns.len());
        println!("bench: {}", cells.join(" | "));
        self.rows.push(cells.to_vec());
    }

    /// Adds a bar to the drawing.
    pub fn bar(&mut self, label: impl Into<String>, value: f64) {
        self.bars.push((label.into(), value));
    }

    /// Leaves it for the report.
    pub fn write(&self, name: &str) {
        let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.json")), serde_json::to_vec_pretty(self).unwrap())
            .unwrap();
    }
}

/// The middle one of some samples, and the first and third quarter.
#[must_use]
pub fn quartiles(samples: &[f64]) -> [f64; 3] {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| sorted[((sorted.len() - 1) as f64 * share).round() as usize])
}
