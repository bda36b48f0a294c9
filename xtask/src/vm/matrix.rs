//! What the agent did on each kernel, as a table: `docs/kernels.md` has it between two marks. What a run measured takes the place
//! of what an earlier one had of the same boot, and the rest stays.

use anyhow::{Context as _, bail};

use crate::command::workspace;
use crate::platform::Platform;

const DOCUMENT: &str = "docs/kernels.md";
const BEGIN: &str = "<!-- What `cargo xtask vm` measured, and writes. -->\n";
const END: &str = "<!-- End of what it writes. -->\n";
/// The last but one line that a machine prints, from here on: what goes into the table.
const REPORT: &str = "table: ";
/// The table's head.
const HEAD: &str = "| kernel | cgroups, boot | off | CPU against the kernel: a spinner, a fork storm | 2,000 direct writes of 4 KiB | 2,000 datagrams; 200 of six fragments |\n|---|---|---|---|---|---|\n";
/// How each way to boot is called there.
const BOOTS: [(&str, &str); 8] = [
    ("", "v2"),
    ("layout=v1", "v1"),
    ("layout=hybrid", "hybrid"),
    ("lockdown=integrity", "v2, lockdown `integrity`"),
    ("lockdown=confidentiality", "v2, lockdown `confidentiality`"),
    ("no_btf", "v2, no BTF"),
    ("cpu_kernel", "v2, `cpu_source = \"kernel\"`"),
    ("sched_ext", "v2, an extensible scheduler"),
];

/// One kernel, booted in one way.
pub(super) struct Cell {
    /// `Linux 6.1 (bookworm)`.
    kernel: String,
    boot: &'static str,
    /// The columns as the machine wrote them: what is off, CPU, disks, network.
    figures: [String; 4],
}

impl Cell {
    /// From what the machine reported.
    ///
    /// # Errors
    ///
    /// No report for the table, or another number of columns.
    pub(super) fn new(
        suite: &str,
        platform: Platform,
        options: &str,
        reports: &[String],
    ) -> anyhow::Result<Self> {
        let line = reports
            .iter()
            .find_map(|line| line.split_once(REPORT))
            .with_context(|| format!("{suite} {options} reported nothing for the table"))?;
        // `vm: 6.1.0-50-cloud-amd64: `
        let release = line.0.split(": ").nth(1).unwrap_or_default();
        let version = release.split('.').take(2).collect::<Vec<_>>().join(".");
        let figures: Vec<String> = line.1.split('|').map(|column| column.trim().to_owned()).collect();
        let figures = figures.try_into().map_err(|all| anyhow::anyhow!("not four columns: {all:?}"))?;
        let (_, boot) = BOOTS
            .into_iter()
            .find(|(known, _)| *known == options)
            .with_context(|| format!("no name for a boot with {options:?}"))?;
        let kernel = match platform {
            Platform::Amd64 => format!("{version} ({suite})"),
            Platform::Arm64 => format!("{version} ({suite}, arm64)"),
        };
        Ok(Self { kernel, boot, figures })
    }
}

/// Puts these into the document's table.
pub(super) fn write(cells: &[Cell]) -> anyhow::Result<()> {
    let path = workspace().join(DOCUMENT);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    std::fs::write(&path, with_rows(&text, cells)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{DOCUMENT} has these figures now");
    Ok(())
}

/// The document with the rows of these kernels, in the place of what it had of them.
fn with_rows(text: &str, cells: &[Cell]) -> anyhow::Result<String> {
    let Some((before, rest)) = text.split_once(BEGIN) else { bail!("{DOCUMENT} has no line {BEGIN:?}") };
    let Some((table, after)) = rest.split_once(END) else { bail!("{DOCUMENT} has no line {END:?}") };
    let is_new = |row: &&str| {
        cells.iter().any(|cell| row.starts_with(&format!("| {} | {} |", cell.kernel, cell.boot)))
    };
    let mut rows: Vec<String> =
        table.lines().skip(HEAD.lines().count()).filter(|row| !is_new(row)).map(str::to_owned).collect();
    rows.extend(
        cells
            .iter()
            .map(|Cell { kernel, boot, figures }| format!("| {kernel} | {boot} | {} |", figures.join(" | "))),
    );
    rows.sort_by_key(|row| order(row));
    Ok(format!("{before}{BEGIN}{HEAD}{}\n{END}{after}", rows.join("\n")))
}

/// What rows are sorted by: x86-64 before arm64, older kernels first, and of one kernel as [`BOOTS`] has them.
fn order(row: &str) -> (bool, Vec<u32>, Option<usize>) {
    let mut columns = row.trim_start_matches("| ").split(" | ");
    let (kernel, boot) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
    let version = kernel.split(' ').next().unwrap_or_default();
    let version = version.split('.').filter_map(|part| part.parse().ok()).collect();
    (kernel.contains("arm64"), version, BOOTS.iter().position(|(_, name)| *name == boot))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(suite: &str, platform: Platform, release: &str, options: &str, figures: &str) -> Cell {
        let reports = [
            format!("vm: {release}: cpu: spinner: kernel 1 ns"),
            format!("vm: {release}: table: {figures}"),
            format!("vm: {release}: pass"),
        ];
        Cell::new(suite, platform, options, &reports).unwrap()
    }

    #[test]
    fn new_rows_take_the_place_of_the_old_ones() {
        let cells = [
            cell("trixie", Platform::Amd64, "6.12.9-amd64", "", "none | 2 | exact | exact"),
            cell("bookworm", Platform::Arm64, "6.1.0-50-cloud-arm64", "layout=hybrid", "none | 1 | a | b"),
            cell("bullseye", Platform::Amd64, "5.10.0-1", "layout=v1", "net | 3 | exact | off"),
        ];
        let old = "| 6.12 (trixie) | hybrid | kept |\n| 6.12 (trixie) | v2 | old |\n| 6.1 (bookworm) | v2 | kept |\n";
        let text = with_rows(&format!("a\n{BEGIN}{HEAD}{old}{END}b\n"), &cells).unwrap();
        let expected = "| 5.10 (bullseye) | v1 | net | 3 | exact | off |\n\
                        | 6.1 (bookworm) | v2 | kept |\n\
                        | 6.12 (trixie) | v2 | none | 2 | exact | exact |\n\
                        | 6.12 (trixie) | hybrid | kept |\n\
                        | 6.1 (bookworm, arm64) | hybrid | none | 1 | a | b |\n";
        assert_eq!(text, format!("a\n{BEGIN}{HEAD}{expected}{END}b\n"));
    }

    #[test]
    fn a_report_that_is_short_of_a_column_is_refused() {
        let reports = ["vm: 6.1.0: table: none | exact".to_owned()];
        assert!(Cell::new("bookworm", Platform::Amd64, "", &reports).is_err());
        assert!(Cell::new("bookworm", Platform::Amd64, "", &[]).is_err());
    }
}
