//! From the command line to a configuration: which files, in which order, and the default if there are none.
//!
//! The only part of `config` that reads files and the environment; parsing them is `file`'s.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::env::{Environment, Mode};
use super::file;
use super::found;
use super::notes::Problems;
use super::reading::Source;
use super::reading::{Depth, PluginFilter, Reading};
use super::sample;
use super::{Config, Place};
use crate::cli::SourceArgs;
use crate::host::Host;
use crate::service::logging::LogSettings;
use crate::service::privilege;

/// The name that stands for the standard input.
pub(crate) const STDIN: &str = "-";
/// The name of the default configuration in messages.
pub(crate) const DEFAULT: &str = "default";

/// What a configuration is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To gather and write: there must be inputs and outputs, whose options can all be used.
    Run,
    /// To see whether it could run, on the machine that it is for.
    CheckElsewhere,
    /// To gather and print: outputs are not used.
    Print,
    /// To look at what it names: what cannot be used is found out then.
    Examine,
}

/// Loads the configuration that the command line names, or the one in a standard place, or the default; again at each reload.
pub struct Loader {
    args: SourceArgs,
    purpose: Purpose,
    /// The standard input, which can be read only once.
    stdin: Option<Vec<u8>>,
    /// A file was loaded before: if it is gone, that is an error, not a reason for the default.
    had_file: bool,
}

impl Loader {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(args: SourceArgs, purpose: Purpose) -> Self {
        Self { args, purpose, stdin: None, had_file: false }
    }

    /// Loads it.
    ///
    /// # Errors
    /// A file that cannot be read, and everything that is wrong in a file.
    pub fn load(&mut self) -> Result<Config, Problems> {
        let variable = |name: &str| std::env::var(name).ok();
        let mut named = self.args.config.clone();
        named.extend(self.args.config_directory.iter().cloned());
        if named.is_empty() {
            named = standard(&variable, Path::new("/"));
        }
        let mut unread = Vec::new();
        let (paths, warnings) = files_of(&named, &mut unread);
        let mut sources = Vec::new();
        for path in paths {
            match self.text(&path) {
                Ok(text) => sources.push(Source { path, text }),
                Err(problem) => unread.push(problem),
            }
        }
        if sources.is_empty() && unread.is_empty() {
            if self.had_file || !named.is_empty() {
                return Err(Problems::one(format!("there is no configuration file{}", in_places(&named))));
            }
            if self.purpose == Purpose::Run {
                return Err(Problems::one(nowhere(&variable)));
            }
            let found = found::sections(&Host::from_variables(variable));
            sources.push(Source { path: DEFAULT.into(), text: sample::without_outputs() + &found });
        } else {
            self.had_file = true;
        }
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = Host::from_variables(variable);
        let mut reading = self.reading(&host, &variable, &hostname);
        // What is missing may be in the file that could not be read.
        reading.needs_inputs &= unread.is_empty();
        reading.needs_outputs &= unread.is_empty();
        let loaded = file::load(&sources, &reading);
        if !unread.is_empty() {
            let (found, advice) =
                loaded.err().map(|problems| (problems.all, problems.advice)).unwrap_or_default();
            return Err(Problems { all: unread.into_iter().chain(found).collect(), advice });
        }
        let mut config = loaded?;
        config.warnings.splice(0..0, warnings);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }

    fn reading<'a>(
        &self,
        host: &'a Host,
        variable: &'a dyn Fn(&str) -> Option<String>,
        hostname: &'a str,
    ) -> Reading<'a> {
        let args = &self.args;
        Reading {
            filter: PluginFilter { inputs: args.input_filter.clone(), outputs: args.output_filter.clone() },
            environment: Environment {
                lookup: variable,
                mode: if args.non_strict_env_handling { Mode::NonStrict } else { Mode::Strict },
                old_behavior: args.old_env_behavior,
                requires: true,
            },
            hostname,
            depth: match self.purpose {
                Purpose::Run | Purpose::Print => Depth::Here(host),
                Purpose::CheckElsewhere => Depth::Elsewhere,
                Purpose::Examine => Depth::Text,
            },
            skips_unknown: args.skip_unknown_plugins,
            without_unknown: format!(
                "to start the rest: {} --skip-unknown-plugins (or skip_unknown_plugins = true below [agent])",
                command_line(args)
            ),
            needs_inputs: self.purpose != Purpose::Examine,
            needs_outputs: matches!(self.purpose, Purpose::Run | Purpose::CheckElsewhere),
        }
    }

    /// The files and directories that the command line names, and that are read again at a reload.
    #[must_use]
    pub fn named(&self) -> Vec<PathBuf> {
        let named = self.args.config.iter().chain(&self.args.config_directory);
        named.filter(|path| *path != Path::new(STDIN)).cloned().collect()
    }

    fn text(&mut self, path: &Path) -> Result<String, (Place, String)> {
        if path != Path::new(STDIN) {
            return decode(path, bytes_of(path)?);
        }
        if let Some(bytes) = &self.stdin {
            return decode(path, bytes.clone());
        }
        decode(path, self.stdin.insert(bytes_of(path)?).clone())
    }

    /// The settings of the log.
    #[must_use]
    pub fn log_settings(&self, config: &Config) -> LogSettings {
        config.log_settings(self.args.debug, self.args.quiet)
    }
}

/// What a file has, or the standard input.
fn bytes_of(path: &Path) -> Result<Vec<u8>, (Place, String)> {
    let read = || {
        if path != Path::new(STDIN) {
            return std::fs::read(path);
        }
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let place = Place { file: path.to_owned(), ..Place::default() };
    read().map_err(|error| (place, format!("cannot be read: {}", why(&error))))
}

/// Why something cannot be read.
fn why(error: &std::io::Error) -> String {
    why_for(error, privilege::confinement().is_some())
}

/// Likewise. A link that leads elsewhere since the start is out of reach of an agent that confined itself, and the system's
/// words for it are those for a wrong mode.
fn why_for(error: &std::io::Error, is_confined: bool) -> String {
    if is_confined && error.kind() == std::io::ErrorKind::PermissionDenied {
        format!("what it names now is out of reach, since {}", privilege::ADVICE)
    } else {
        error.to_string()
    }
}

/// The files that are named, and those in the directories that are.
#[derive(Default)]
pub(crate) struct Named {
    /// In their order.
    pub(crate) sources: Vec<Source>,
    /// Of each, its path below what was named, with the name of that.
    pub(crate) below: Vec<PathBuf>,
    /// About directories.
    pub(crate) warnings: Vec<String>,
}

/// Reads them.
///
/// # Errors
/// What cannot be read.
pub(crate) fn sources(named: &[PathBuf]) -> Result<Named, Problems> {
    let (mut unread, mut found) = (Vec::new(), Named::default());
    for root in named {
        let (paths, warnings) = files_of(std::slice::from_ref(root), &mut unread);
        found.warnings.extend(warnings);
        for path in paths {
            match bytes_of(&path).and_then(|bytes| decode(&path, bytes)) {
                Ok(text) => {
                    let parent = root.parent().unwrap_or(Path::new(""));
                    found.below.push(path.strip_prefix(parent).unwrap_or(&path).to_owned());
                    found.sources.push(Source { path, text });
                }
                Err(problem) => unread.push(problem),
            }
        }
    }
    if !unread.is_empty() {
        return Err(Problems { all: unread, advice: String::new() });
    }
    if found.sources.is_empty() {
        return Err(Problems::one(format!("there is no configuration file{}", in_places(named))));
    }
    Ok(found)
}

/// A file's text; another encoding than UTF-8 is named, with its first place and what to do.
fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, (Place, String)> {
    let place = |line, column| Place { file: path.to_owned(), line, column };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let text = "is UTF-16 text: save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW";
        return Err((place(0, 0), text.into()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let byte = error.as_bytes()[valid];
        let text = format!(
            "the byte {byte:#04x} is not UTF-8: save the file as UTF-8; of Latin-1 text: iconv -f ISO-8859-1 -t UTF-8 OLD > NEW"
        );
        (place(line, column), text)
    })
}

/// The files that are named, and those in the directories that are; warnings about some, and problems.
fn files_of(named: &[PathBuf], unread: &mut Vec<(Place, String)>) -> (Vec<PathBuf>, Vec<String>) {
    let (mut paths, mut warnings) = (Vec::new(), Vec::new());
    for path in named {
        let place = Place { file: path.clone(), ..Place::default() };
        if path.to_string_lossy().contains("://") {
            let text = "a configuration is read from a file: download this one, and name the file";
            unread.push((place, text.into()));
        } else if !path.is_dir() {
            paths.push(path.clone());
        } else {
            match files_in(path) {
                Ok(found) => {
                    paths.extend(found.0);
                    warnings.extend(found.1);
                }
                Err(error) => unread.push((place, format!("the directory cannot be read: {}", why(&error)))),
            }
        }
    }
    (paths, warnings)
}

/// The command that starts the agent with this configuration.
fn command_line(args: &SourceArgs) -> String {
    let quoted = |text: String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
        if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    let path = |flag: &str, path: &PathBuf| format!(" --{flag} {}", quoted(path.display().to_string()));
    let list = |flag: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!(" --{flag} {}", quoted(names.join(":"))),
    };
    let config: String = args.config.iter().map(|file| path("config", file)).collect();
    let directories: String =
        args.config_directory.iter().map(|file| path("config-directory", file)).collect();
    let (inputs, outputs) =
        (list("input-filter", &args.input_filter), list("output-filter", &args.output_filter));
    let environment = if args.non_strict_env_handling { " --non-strict-env-handling" } else { "" };
    format!("seismograf{config}{directories}{inputs}{outputs}{environment}")
}

fn in_places(named: &[PathBuf]) -> String {
    let named: Vec<String> = named.iter().map(|path| path.display().to_string()).collect();
    if named.is_empty() { " any more".into() } else { format!(": looked in {}", named.join(", ")) }
}

/// What a run without any configuration is told: the default has no output.
fn nowhere(variable: &dyn Fn(&str) -> Option<String>) -> String {
    let places = places(variable, Path::new("/"));
    let places: Vec<String> = places.iter().map(|(file, _)| file.display().to_string()).collect();
    format!(
        "there is no configuration file: looked in {}, as $TELEGRAF_CONFIG_PATH is not set; name one with --config, write one with \
         `seismograf config default`, or see figures without one: `seismograf top`, `seismograf dump`",
        places.join(", ")
    )
}

/// The files of which the first one that exists is the configuration when none is named: our own, then Telegraf's, each with
/// the directory beside it.
fn places(variable: &dyn Fn(&str) -> Option<String>, root: &Path) -> Vec<(PathBuf, Option<PathBuf>)> {
    let home = variable("HOME").filter(|home| !home.is_empty());
    let home = home.map(|home| PathBuf::from(home).join(".telegraf/telegraf.conf"));
    let places = [
        Some((root.join("etc/seismograf/seismograf.conf"), Some(root.join("etc/seismograf/conf.d")))),
        home.map(|file| (file, None)),
        Some((root.join("etc/telegraf/telegraf.conf"), Some(root.join("etc/telegraf/telegraf.d")))),
    ];
    places.into_iter().flatten().collect()
}

/// Where to look for a configuration when none is named: `$TELEGRAF_CONFIG_PATH`, or else the first of [`places`].
fn standard(variable: &dyn Fn(&str) -> Option<String>, root: &Path) -> Vec<PathBuf> {
    if let Some(path) = variable("TELEGRAF_CONFIG_PATH").filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let found = places(variable, root).into_iter().find(|(file, _)| file.exists());
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
pub(crate) fn files_in(directory: &Path) -> std::io::Result<(Vec<PathBuf>, Vec<String>)> {
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
        Loader::new(
            SourceArgs {
                config: config.iter().map(|path| path.to_path_buf()).collect(),
                ..SourceArgs::default()
            },
            Purpose::Print,
        )
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
        write("etc/seismograf/conf.d/a.conf");
        assert_eq!(places(None), ["etc/seismograf/seismograf.conf", "etc/seismograf/conf.d"]);
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
        assert!(error(&[&missing]).starts_with(&format!("{}: cannot be read: ", missing.display())));
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
        // Every file that cannot be read is named, and what is wrong in those that can.
        let other = root.path().join("other");
        std::fs::write(&other, "[agent]\nintervall = 1").unwrap();
        let all = error(&[&missing, Path::new("https://x/y"), &other]);
        assert_eq!(all.lines().count(), 3, "{all}");
        assert!(all.contains("unknown option `intervall`"), "{all}");
    }

    #[test]
    fn text_of_another_encoding_is_named_with_its_place_and_what_to_do() {
        let said = |bytes: &[u8]| {
            let (place, text) = decode(Path::new("a.conf"), bytes.to_vec()).unwrap_err();
            format!("{place}: {text}")
        };
        let utf16: Vec<u8> = "\u{feff}[agent]".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(said(&utf16).starts_with("a.conf: is UTF-16 text: save it as UTF-8"), "{}", said(&utf16));
        let utf16: Vec<u8> = "\u{feff}[agent]".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(said(&utf16).starts_with("a.conf: is UTF-16 text"), "{}", said(&utf16));
        let latin1 = said(b"[global_tags]\n  \xc3\xa4 = \"K\xf6ln\"\n");
        assert!(
            latin1.starts_with("a.conf:2:9: the byte 0xf6 is not UTF-8: save the file as UTF-8"),
            "{latin1}"
        );
        assert_eq!(decode(Path::new("a"), "\u{feff}ä".into()).as_deref(), Ok("\u{feff}ä"));
    }

    #[test]
    fn what_an_agent_that_confined_itself_cannot_read_is_out_of_reach() {
        let denied = std::io::Error::from_raw_os_error(libc::EACCES);
        let said = why_for(&denied, true);
        assert!(said.starts_with("what it names now is out of reach, since the agent gave up"), "{said}");
        assert_eq!(why_for(&denied, false), denied.to_string());
        let gone = std::io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(why_for(&gone, true), gone.to_string());
    }

    #[test]
    fn a_run_without_a_configuration_is_told_where_one_was_looked_for() {
        let said = nowhere(&|name| (name == "HOME").then(|| "/home/a".to_owned()));
        let places =
            "/etc/seismograf/seismograf.conf, /home/a/.telegraf/telegraf.conf, /etc/telegraf/telegraf.conf";
        assert!(said.starts_with(&format!("there is no configuration file: looked in {places}")), "{said}");
    }

    #[test]
    fn the_command_that_is_told_can_be_pasted() {
        let args = SourceArgs {
            config: vec!["/etc/a b.conf".into(), "it's".into()],
            config_directory: vec!["/etc/d".into()],
            input_filter: vec!["cpu".into(), "mem".into()],
            ..SourceArgs::default()
        };
        let expected = "seismograf --config '/etc/a b.conf' --config 'it'\\''s' --config-directory /etc/d --input-filter cpu:mem";
        assert_eq!(command_line(&args), expected);
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
