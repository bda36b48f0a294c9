//! What `seismograf migrate` prints: a table of the sections, and a summary.

use std::fmt;

use unicode_width::UnicodeWidthStr as _;

use super::{Goes, Migration, Part, Row, Side, Verdict};

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Warned => "same, with a warning",
            Self::NotHere => "not here",
        }
    }
}

impl Goes {
    fn words(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Here => "seismograf",
            Self::Telegraf => "telegraf",
            Self::Nowhere => "-",
        }
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["PLACE", "SECTION", "HERE", "GOES TO"].map(str::to_owned);
        let cells = |row: &Row| {
            [row.place.to_string(), row.header.clone(), row.verdict.words().into(), row.goes.words().into()]
        };
        let rows: Vec<_> = self.rows.iter().map(cells).collect();
        let width =
            |column: usize| rows.iter().chain([&head]).map(|row| row[column].width()).max().unwrap_or(0);
        let widths = [0, 1, 2].map(width);
        let line = |f: &mut fmt::Formatter<'_>, row: &[String; 4]| {
            for (cell, width) in row.iter().zip(widths) {
                write!(f, "{cell}{}  ", " ".repeat(width - cell.width()))?;
            }
            writeln!(f, "{}", row[3])
        };
        line(f, &head)?;
        for (row, cells) in self.rows.iter().zip(&rows) {
            line(f, cells)?;
            for note in &row.notes {
                writeln!(f, "    {note}")?;
            }
        }
        writeln!(f, "\n{}", self.summary())?;
        for remark in &self.remarks {
            writeln!(f, "{remark}")?;
        }
        if self.addition().is_some() {
            writeln!(
                f,
                "not in these files: [[inputs.ebpf]], the exact figures of every container, pod and unit; `--split` adds it to \
                 this agent's"
            )?;
        }
        Ok(())
    }
}

impl Migration {
    fn summary(&self) -> String {
        let n = |of: &dyn Fn(&Row) -> bool| self.rows.iter().filter(|row| of(row)).count();
        let verdicts = [Verdict::Same, Verdict::Warned, Verdict::NotHere];
        let verdicts =
            verdicts.map(|v| format!("{} {}", n(&|row| row.verdict == v), v.words().replace(',', "")));
        let inputs = |side| n(&|row| row.part == Part::Input && row.goes.is_for(side));
        let (here, telegraf) = (inputs(Side::Here), inputs(Side::Telegraf));
        let end = match (here, telegraf) {
            (0, 0) => "",
            (_, 0) => ": Telegraf can be stopped",
            (0, _) => ": nothing comes here",
            _ => "",
        };
        format!(
            "{} sections: {}.\n{here} of {} inputs come here, {telegraf} stay with Telegraf{end}.",
            self.rows.len(),
            verdicts.join(", "),
            here + telegraf
        )
    }
}
