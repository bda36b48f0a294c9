//! `seismograf migrate`: what becomes of a Telegraf configuration, and its split between this agent and Telegraf.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::print;
use crate::cli::{MigrateArgs, SourceArgs};
use crate::config::env::Environment;
use crate::config::loader::{self, Named, STDIN};
use crate::config::migration::{Migration, Side};
use crate::exit::Exit;
use crate::service::logging;

/// Where Telegraf's packages have its configuration.
const PLACES: [&str; 2] = ["/etc/telegraf/telegraf.conf", "/etc/telegraf/telegraf.d"];
/// The mode of a file that is made of none, since it may have passwords.
const DEFAULT_MODE: u32 = 0o640;

/// Prints the table, and writes the files that were asked for.
///
/// # Errors
/// What keeps the configuration from being used, or a file from being written.
pub fn run(args: &MigrateArgs, source: &SourceArgs) -> anyhow::Result<Exit> {
    let filters = [&source.input_filter, &source.output_filter, &source.section_filter];
    if filters.iter().any(|filter| !filter.is_empty()) {
        bail!(
            "filters have no meaning for `migrate`: each section goes to one of the two agents, or to both"
        );
    }
    let named = source.config.iter().chain(&source.config_directory).chain(&args.files);
    let mut named: Vec<PathBuf> = named.cloned().collect();
    if named.is_empty() {
        named = PLACES.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    }
    if named.is_empty() {
        bail!("there is no {} and no {}: name the files", PLACES[0], PLACES[1]);
    }
    let Named { sources, below, warnings } = loader::sources(&named)?;
    for warning in warnings {
        logging::complain(&warning);
    }
    let lookup = |name: &str| std::env::var(name).ok();
    let environment = Environment { old_behavior: source.old_env_behavior, ..Environment::strict(&lookup) };
    let migration = Migration::of(&sources, &environment)?;
    print(&migration.to_string())?;
    if let Some(directory) = &args.split {
        let origins: Vec<&Path> = sources.iter().map(|source| source.path.as_path()).collect();
        print(&split(&migration, &origins, &below, directory)?)?;
    }
    Ok(Exit::Ok)
}

/// A file to write.
struct New<'a> {
    path: PathBuf,
    text: String,
    origin: &'a Path,
}

/// Writes the files of both sides; what was written, and what to do with it.
fn split(
    migration: &Migration,
    origins: &[&Path],
    below: &[PathBuf],
    directory: &Path,
) -> anyhow::Result<String> {
    let mut said = String::from("\n");
    let mut sides = Vec::new();
    for (side, name) in [(Side::Here, "seismograf"), (Side::Telegraf, "telegraf")] {
        if !migration.has_input(side) {
            said += &match side {
                Side::Here => "nothing is written for this agent: it would have no input\n".to_owned(),
                Side::Telegraf => {
                    "nothing is written for Telegraf: it would have no input, and can be stopped\n".to_owned()
                }
            };
            continue;
        }
        let root = directory.join(name);
        if root.exists() {
            bail!(
                "{} is there already: nothing is written; remove it, or name another directory",
                root.display()
            );
        }
        let texts = migration.texts(side).into_iter().zip(below).zip(origins);
        let mut files: Vec<New<'_>> = texts
            .filter_map(|((text, below), origin)| {
                Some(New { path: root.join(renamed(side, below)), text: text?, origin })
            })
            .collect();
        if let (Side::Here, Some(first), Some(addition)) = (side, files.first_mut(), migration.addition()) {
            if !first.text.ends_with('\n') {
                first.text.push('\n');
            }
            first.text += addition;
        }
        let paths: BTreeSet<&PathBuf> = files.iter().map(|file| &file.path).collect();
        if paths.len() < files.len() {
            bail!("two of the files have one name: nothing is written; name a directory that has them all");
        }
        sides.push(files);
    }
    for file in sides.iter().flatten() {
        write(file).with_context(|| format!("cannot write {}", file.path.display()))?;
        said += &format!("written: {}\n", file.path.display());
        if file.path.starts_with(directory.join("seismograf")) && !is_for_all(&file.path) {
            said += "    not readable for all, as what it was made of: the systemd service of this agent has a user of its own\n";
        }
    }
    if migration.has_input(Side::Telegraf) {
        for (text, origin) in migration.texts(Side::Telegraf).iter().zip(origins) {
            if text.is_none() {
                said += &format!("nothing of it stays with Telegraf: {}\n", origin.display());
            }
        }
    }
    Ok(said)
}

/// The name of a file on a side: this agent's service reads `seismograf.conf`, and the directory `conf.d`.
fn renamed(side: Side, below: &Path) -> PathBuf {
    let mut parts = below.components();
    let first =
        parts.next().map(|first| first.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let first = match (first.as_str(), side) {
        (STDIN, Side::Telegraf) => "telegraf.conf",
        (STDIN | "telegraf.conf", Side::Here) => "seismograf.conf",
        ("telegraf.d", Side::Here) => "conf.d",
        (other, _) => other,
    };
    // Joined whole, an empty rest would make a directory of it.
    std::iter::once(first.as_ref()).chain(parts.as_path()).collect()
}

fn is_for_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0)
}

/// Writes a file with the mode, and as far as may be the owner, of what it was made of.
fn write(file: &New<'_>) -> std::io::Result<()> {
    let origin = std::fs::metadata(file.origin).ok().filter(std::fs::Metadata::is_file);
    let mode = origin.as_ref().map_or(DEFAULT_MODE, |origin| origin.mode() & 0o777);
    if let Some(parent) = file.path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // Nobody else reads it before it has its owner.
    let mut new = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.path)?;
    if let Some(origin) = &origin {
        // Only root may give a file away.
        let _ = std::os::unix::fs::fchown(&new, Some(origin.uid()), Some(origin.gid()));
    }
    new.write_all(file.text.as_bytes())?;
    new.set_permissions(std::fs::Permissions::from_mode(mode))
}
