//! `cargo xtask dist --check-reproducible`: the same bytes from two directories.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::pack::{Artefacts, make};
use crate::build::Profile;
use crate::command::{command, git, output, run_quietly, workspace};

/// Makes everything here and in a copy of the source elsewhere, and compares the sums.
pub(super) fn check(profile: Profile) -> anyhow::Result<()> {
    let here = sums(&make(&workspace(), profile)?)?;
    let copy = std::env::temp_dir().join(format!("seismograf-dist-{}", std::process::id()));
    let result = copy_source(&copy).and_then(|()| sums(&make(&copy, profile)?));
    let _ = std::fs::remove_dir_all(&copy);
    let there = result?;
    let mut differ = false;
    for ((name, one), (_, other)) in here.iter().zip(&there) {
        let is_same = one == other;
        differ |= !is_same;
        println!("{}  {one}  {name}", if is_same { "same" } else { "DIFFERS" });
    }
    if differ || here.len() != there.len() {
        bail!("two builds from two directories differ");
    }
    println!("{} artefacts are the same from two directories", here.len());
    Ok(())
}

/// Copies the files that git knows, as they are now, and has git take the copy for the same commit.
fn copy_source(to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    let copy = "git -c safe.directory='*' ls-files -z | xargs -0 cp --parents --preserve=mode -t \"$0\"";
    run_quietly(command("sh").args(["-c", copy]).arg(to).current_dir(workspace()))?;
    let git = git(&["rev-parse", "--absolute-git-dir"]).context("there is no commit to copy")?;
    std::fs::write(to.join(".git"), format!("gitdir: {git}\n"))?;
    Ok(())
}

/// The name of each artefact, and of the binary, with its sum.
fn sums(made: &Artefacts) -> anyhow::Result<Vec<(String, String)>> {
    let files = made.packages().into_iter().chain([made.binary.as_path()]);
    let sums = output(command("sha256sum").args(files))?;
    let pairs = sums.lines().filter_map(|line| line.split_once("  "));
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    Ok(pairs.map(|(sum, path)| (name(path), sum.to_owned())).collect())
}
