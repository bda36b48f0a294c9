//! From the command line to a configuration: which files, in which order, and the default if there are none.
//!
//! The only part of `config` that reads files and the environment; parsing them is `file`'s.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::Config;
use super::env::{Environment, Mode};
use super::file::{self, PluginFilter};
use super::found;
use super::reader::Source;
use super::sample::DEFAULT_CONFIG;
use crate::cli::SourceArgs;
use crate::host::Host;
use crate::service::logging::LogSettings;

/// The name that stands for the standard input.
const STDIN: &str = "-";
/// The name of the default configuration in messages.
pub(crate) const DEFAULT: &str = "default";

/// Loads the configuration that the command line names, or the one in a standard place, or the default; again at each reload.
pub struct Loader {
    args: SourceArgs,
    /// The standard input, which can be read only once.
    stdin: Option<String>,
    /// A file was loaded before: if it is gone, that is an error, not a reason for the default.
    had_file: bool,
}

impl Loader {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(args: SourceArgs) -> Self {
        Self { args, stdin: None, had_file: false }
    }

    /// Loads it.
    ///
    /// # Errors
    /// A file that cannot be read, and everything that is wrong in a file.
    pub fn load(&mut self) -> anyhow::Result<Config> {
        let variable = |name: &str| std::env::var(name).ok();
        let (mut paths, mut warnings) = (Vec::new(), Vec::new());
        let mut named = self.args.config.clone();
        named.extend(self.args.config_directory.iter().cloned());
        if named.is_empty() {
            named = standard(&variable, Path::new("/"));
        }
        for path in &named {
            if path.to_string_lossy().contains("://") {
                bail!(
                    "{}: a configuration is read from a file: download this one, and name the file",
                    path.display()
                );
            }
            if !path.is_dir() {
                paths.push(path.clone());
                continue;
            }
            let found = files_in(path);
            let found = found.with_context(|| format!("cannot read the directory {}", path.display()))?;
            paths.extend(found.0);
            warnings.extend(found.1);
        }
        let mut sources = Vec::new();
        for path in paths {
            let text = self.text(&path)?;
            sources.push(Source { path, text });
        }
        if sources.is_empty() {
            if self.had_file || !named.is_empty() {
                bail!("there is no configuration file{}", in_places(&named));
            }
            let found = found::sections(&Host::from_variables(variable));
            sources.push(Source { path: DEFAULT.into(), text: DEFAULT_CONFIG.to_owned() + &found });
        } else {
            self.had_file = true;
        }
        let filter =
            PluginFilter { inputs: self.args.input_filter.clone(), outputs: self.args.output_filter.clone() };
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let environment = Environment {
            lookup: &variable,
            mode: if self.args.non_strict_env_handling { Mode::NonStrict } else { Mode::Strict },
            old_behavior: self.args.old_env_behavior,
        };
        let mut config = file::load(&sources, &filter, &environment, &hostname)?;
        config.warnings.splice(0..0, warnings);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }

    fn text(&mut self, path: &Path) -> anyhow::Result<String> {
        if path != Path::new(STDIN) {
            return std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        }
        match &self.stdin {
            Some(text) => Ok(text.clone()),
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
                Ok(self.stdin.insert(text).clone())
            }
        }
    }

    /// The settings of the log.
    #[must_use]
    pub fn log_settings(&self, config: &Config) -> LogSettings {
        config.log_settings(self.args.debug, self.args.quiet)
    }
}

fn in_places(named: &[PathBuf]) -> String {
    let named: Vec<String> = named.iter().map(|path| path.display().to_string()).collect();
    if named.is_empty() { " any more".into() } else { format!(": looked in {}", named.join(", ")) }
}

/// Where to look for a configuration when none is named: `$TELEGRAF_CONFIG_PATH`, our own place, then Telegraf's, each with the
/// directory beside it.
fn standard(variable: &dyn Fn(&str) -> Option<String>, root: &Path) -> Vec<PathBuf> {
    if let Some(path) = variable("TELEGRAF_CONFIG_PATH").filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let home = variable("HOME").filter(|home| !home.is_empty());
    let home = home.map(|home| PathBuf::from(home).join(".telegraf/telegraf.conf"));
    let places = [
        Some((root.join("etc/seismograf/seismograf.conf"), Some(root.join("etc/seismograf/seismograf.d")))),
        home.map(|file| (file, None)),
        Some((root.join("etc/telegraf/telegraf.conf"), Some(root.join("etc/telegraf/telegraf.d")))),
    ];
    let found = places.into_iter().flatten().find(|(file, _)| file.exists());
    found
        .into_iter()
        .flat_map(|(file, directory)| [Some(file), directory.filter(|d| d.is_dir())])
        .flatten()
        .collect()
}

/// The configuration files below a directory, in Telegraf's order, and a warning for each directory that cannot be read.
///
/// # Errors
/// The directory itself cannot be read.
pub(super) fn files_in(directory: &Path) -> std::io::Result<(Vec<PathBuf>, Vec<String>)> {
    /// Telegraf accepts names of at least this length: one letter before `.conf`.
    const MIN_NAME: usize = 6;
    let (mut files, mut warnings) = (Vec::new(), Vec::new());
    let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // Links to directories are not followed. Links to files are: a ConfigMap is mounted as links into a directory whose name
        // starts with two dots.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if name.starts_with("..") {
                continue;
            }
            match files_in(&path) {
                Ok((more_files, more_warnings)) => {
                    files.extend(more_files);
                    warnings.extend(more_warnings);
                }
                Err(error) => warnings.push(format!("cannot read the directory {}: {error}", path.display())),
            }
        } else if name.len() >= MIN_NAME && name.ends_with(".conf") {
            files.push(path);
        }
    }
    Ok((files, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loader(config: &[&Path]) -> Loader {
        Loader::new(SourceArgs {
            config: config.iter().map(|path| path.to_path_buf()).collect(),
            ..SourceArgs::default()
        })
    }

    #[test]
    fn standard_places_are_ours_then_telegrafs() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home").display().to_string();
        let places = |named: Option<&str>| {
            let variable = |name: &str| match name {
                "HOME" => Some(home.clone()),
                "TELEGRAF_CONFIG_PATH" => named.map(str::to_owned),
                _ => None,
            };
            let paths = standard(&variable, root.path());
            paths
                .iter()
                .map(|path| path.strip_prefix(root.path()).unwrap_or(path).display().to_string())
                .collect::<Vec<_>>()
        };
        let write = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        assert!(places(None).is_empty());
        write("etc/telegraf/telegraf.conf");
        assert_eq!(places(None), ["etc/telegraf/telegraf.conf"]);
        write("etc/telegraf/telegraf.d/a.conf");
        assert_eq!(places(None), ["etc/telegraf/telegraf.conf", "etc/telegraf/telegraf.d"]);
        write("home/.telegraf/telegraf.conf");
        assert_eq!(places(None), ["home/.telegraf/telegraf.conf"]);
        write("etc/seismograf/seismograf.conf");
        assert_eq!(places(None), ["etc/seismograf/seismograf.conf"]);
        assert_eq!(places(Some("/x.conf")), ["/x.conf"]);
        assert_eq!(places(Some("")), ["etc/seismograf/seismograf.conf"]);
    }

    #[test]
    fn files_and_directories_are_read_in_their_order() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("d");
        for (path, text) in [
            ("d/b.conf", "[[inputs.mem]]"),
            ("d/a/z.conf", "[[inputs.cpu]]"),
            ("d/..data/x.conf", "broken"),
            ("d/.conf", "broken"),
            ("d/x.conf.bak", "broken"),
            ("first.conf", "[[inputs.system]]"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("b.conf", directory.join("c.conf")).unwrap();
        // A link back up is not followed.
        std::os::unix::fs::symlink("..", directory.join("loop")).unwrap();
        let config = loader(&[&directory, &root.path().join("first.conf")]).load().unwrap();
        let names: Vec<&str> = config.inputs.iter().map(|section| section.options.name()).collect();
        assert_eq!(names, ["cpu", "mem", "mem", "system"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing.conf");
        let error = |paths: &[&Path]| format!("{:#}", loader(paths).load().unwrap_err());
        assert!(error(&[&missing]).starts_with(&format!("cannot read {}: ", missing.display())));
        assert!(
            error(&[root.path()]).contains("there is no configuration file"),
            "{}",
            error(&[root.path()])
        );
        let url = error(&[Path::new("https://example.org/telegraf.conf")]);
        assert!(
            url.starts_with("https://example.org/telegraf.conf: a configuration is read from a file"),
            "{url}"
        );
        std::fs::write(&missing, [b'#', 0xff]).unwrap();
        assert!(error(&[&missing]).contains("UTF-8"));
    }

    #[test]
    fn a_file_that_disappears_is_not_replaced_by_the_default() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.conf");
        std::fs::write(&file, "[[inputs.mem]]").unwrap();
        let mut loader = loader(&[root.path()]);
        assert!(loader.load().is_ok());
        std::fs::remove_file(&file).unwrap();
        assert!(loader.load().is_err());
    }
}
