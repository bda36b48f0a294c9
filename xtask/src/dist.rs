//! `cargo xtask dist`: what others install, in target/dist: a tarball, a `.deb`, an `.rpm`, a bill of materials, and their sums.
//!
//! Everything is made of one tree of files (`stage`), and of the commit's time instead of the clock's, so that the same commit
//! gives the same bytes. `cargo-deb` and `cargo-generate-rpm` pack it as `agent/Cargo.toml` says.

mod crates;
mod guest;
mod lifecycle;
mod pack;
mod release;
mod reproducible;
mod roots;
mod sbom;
mod stage;
mod tools;

use std::path::PathBuf;

use crate::build::Profile;
use crate::command::workspace;

/// What to do about packages.
#[derive(clap::Args)]
pub(crate) struct DistArgs {
    /// Make everything twice, from two directories, and compare.
    #[arg(long)]
    check_reproducible: bool,
    /// Pack the developer's build of the agent: sooner there, and larger.
    #[arg(long, global = true)]
    fast: bool,
    #[command(subcommand)]
    check: Option<Check>,
}

#[derive(clap::Subcommand)]
enum Check {
    /// Install, run, upgrade and remove what was made, in systems of their own: Debian 12 and 13 with their systemd, and an RPM
    /// database.
    Test {
        /// `lintian`, `sbom`, `rpm`, `bookworm`, `trixie`, `readme`; all of them by default.
        suites: Vec<String>,
    },
}

/// Makes packages, or tests them.
pub(crate) fn dist(args: &DistArgs) -> anyhow::Result<()> {
    let profile = if args.fast { Profile::Fast } else { Profile::Release };
    match &args.check {
        Some(Check::Test { suites }) => lifecycle::test(profile, suites),
        None if args.check_reproducible => reproducible::check(profile),
        None => {
            let made = pack::make(&workspace(), profile)?;
            for artefact in made.packages() {
                let size = std::fs::metadata(artefact)?.len();
                println!("{:5.1} MB  {}", size as f64 / 1e6, artefact.display());
            }
            Ok(())
        }
    }
}

/// Makes packages of the developer's build. Returns the `.deb`.
pub(crate) fn package() -> anyhow::Result<PathBuf> {
    Ok(pack::make(&workspace(), Profile::Fast)?.deb)
}
