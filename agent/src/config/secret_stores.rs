//! Secret stores, `@{store:key}` in an option that is a secret: Telegraf's kinds `systemd` and `docker`.
//!
//! Each is a directory with a file for each key. They are read with the configuration, so at the start and at each reload.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Value;

use super::entry::{Entry, Found, RawSection};
use super::notes::Notes;
use super::reading::{Depth, Reading};
use super::section::{Owner, read_options};
use super::telegraf;
use crate::options::nearest;

/// The kinds that are here.
pub(super) const NAMES: &[&str] = &["docker", "systemd"];
/// The credentials of a service (systemd.exec(5) `LoadCredential=`).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Where docker mounts the secrets of a service.
const DOCKER_SECRETS: &str = "/run/secrets";
/// Telegraf's, for credentials.
const DEFAULT_PREFIX: &str = "telegraf.";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StoreOptions {
    id: String,
    path: String,
    prefix: Option<String>,
    dynamic: bool,
}

/// A directory of secrets.
struct Store {
    id: String,
    /// `None` where it is another machine's.
    directory: Option<PathBuf>,
    prefix: String,
}

/// Puts secrets in the place of references to them. Returns the directories that they are in.
pub(super) fn resolve(
    stores: &[Found],
    sections: &mut [&mut Vec<Found>],
    reading: &Reading<'_>,
    notes: &mut Notes,
) -> Vec<PathBuf> {
    let stores = read(stores, reading, notes);
    for (section, _) in sections.iter_mut().flat_map(|sections| sections.iter_mut()) {
        let owner = Owner::Plugin { kind: section.kind, name: section.name.clone() };
        let secrets =
            section.entries.iter_mut().filter(|entry| telegraf::SECRETS.contains(&entry.key.as_str()));
        for Entry { key, place, value, .. } in secrets {
            let Some(text) = value.as_str() else { continue };
            match replaced(text, &stores) {
                Ok(text) => *value = Value::String(text),
                Err(problem) => notes.problem(place, format!("`{key}` of {owner}: {problem}")),
            }
        }
    }
    stores.into_iter().filter_map(|store| store.directory).collect()
}

fn read(sections: &[Found], reading: &Reading<'_>, notes: &mut Notes) -> Vec<Store> {
    let mut stores: Vec<Store> = Vec::new();
    for (section, _) in sections {
        match store(section, reading, notes) {
            Ok(Some(store)) if stores.iter().any(|other| other.id == store.id) => {
                let problem =
                    format!("there are two secret stores `{}`: each needs an `id` of its own", store.id);
                notes.problem(&section.place, problem);
            }
            Ok(store) => stores.extend(store),
            Err(problem) => {
                notes.problem(&section.place, format!("secret store `{}`: {problem}", section.name));
            }
        }
    }
    stores
}

/// The store of a section; `None` when its options have problems, which are said.
fn store(section: &RawSection, reading: &Reading<'_>, notes: &mut Notes) -> Result<Option<Store>, String> {
    let owner = Owner::Plugin { kind: section.kind, name: section.name.clone() };
    let Some(options) = read_options::<StoreOptions>(&section.entries, &owner, notes) else {
        return Ok(None);
    };
    if !is_name(&options.id) {
        return Err(format!("`id` is \"{}\": it must be letters, digits and underscores", options.id));
    }
    if options.dynamic {
        let text = "`dynamic` has no effect: secrets are read at the start and at each reload";
        notes.warning(&section.place, format!("secret store `{}`: {text}", section.name));
    }
    let is_docker = section.name == "docker";
    let default = || match is_docker {
        true => Some(DOCKER_SECRETS.into()),
        false => (reading.environment.lookup)(CREDENTIALS).filter(|path| !path.is_empty()),
    };
    let path = Some(options.path).filter(|path| !path.is_empty()).or_else(default);
    let is_here = matches!(reading.depth, Depth::Here(_));
    if is_here && path.is_none() {
        return Err(format!(
            "`path` is not set, and neither is {CREDENTIALS}, as `LoadCredential=` of a unit sets it"
        ));
    }
    let prefix =
        if is_docker { String::new() } else { options.prefix.unwrap_or_else(|| DEFAULT_PREFIX.into()) };
    Ok(Some(Store { id: options.id, directory: path.filter(|_| is_here).map(PathBuf::from), prefix }))
}

/// A text with its secrets in place.
fn replaced(text: &str, stores: &[Store]) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("@{") {
        out.push_str(before);
        let reference = after.split_once('}').and_then(|(inner, end)| Some((inner.split_once(':')?, end)));
        match reference.filter(|((id, key), _)| is_name(id) && is_name(key)) {
            Some(((id, key), end)) => {
                out.push_str(&secret(id, key, stores)?);
                rest = end;
            }
            None => {
                out.push_str("@{");
                rest = after;
            }
        }
    }
    Ok(out + rest)
}

fn secret(id: &str, key: &str, stores: &[Store]) -> Result<String, String> {
    let Some(store) = stores.iter().find(|store| store.id == id) else {
        let ids: Vec<&str> = stores.iter().map(|store| store.id.as_str()).collect();
        return Err(format!(
            "there is no secret store `{id}`{}: it is the `id` of a [[secretstores.systemd]] or [[secretstores.docker]]",
            nearest(id, &ids)
        ));
    };
    let Some(directory) = &store.directory else { return Ok(format!("@{id}:{key}")) };
    let path = directory.join(format!("{}{key}", store.prefix));
    read_secret(&path)
        .map_err(|error| format!("cannot read the secret `{key}` of `{id}`: {}: {error}", path.display()))
}

/// The text of a file, without the newline that an editor puts at its end.
fn read_secret(path: &Path) -> std::io::Result<String> {
    let mut text = std::fs::read_to_string(path)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::env::Environment;
    use crate::config::file;
    use crate::config::notes::Problems;
    use crate::config::reading::Source;
    use crate::host::Host;
    use crate::plugins::OutputOptions;

    fn load(text: &str, credentials: Option<&Path>) -> Result<Config, Problems> {
        let source = Source { path: "a.conf".into(), text: text.into() };
        let lookup =
            |name: &str| (name == CREDENTIALS).then(|| credentials.map(|path| path.display().to_string()))?;
        let host = Host::default();
        let reading =
            Reading { depth: Depth::Here(&host), ..Reading::of_text(Environment::strict(&lookup), "h") };
        file::load(&[source], &reading)
    }

    fn output(stores: &str, password: &str) -> String {
        format!(
            "{stores}\n[[outputs.influxdb]]\nurls = [\"http://a:1\"]\nusername = \"u\"\npassword = \"{password}\"\n"
        )
    }

    #[test]
    fn a_reference_is_the_text_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("telegraf.one"), "hunter2\n").unwrap();
        std::fs::write(directory.path().join("two"), "x\r\n").unwrap();
        let stores = format!(
            "[[secretstores.systemd]]\nid = \"s\"\n[[secretstores.docker]]\nid = \"d\"\npath = \"{}\"\n",
            directory.path().display()
        );
        let config = load(&output(&stores, "a@{s:one}-@{d:two}@{no}@{"), Some(directory.path())).unwrap();
        let OutputOptions::Influxdb(options) = &config.outputs[0].options else { panic!() };
        assert_eq!(options.password.expose(), "ahunter2-x@{no}@{");
        assert_eq!(config.secret_directories, [directory.path(), directory.path()]);
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[rstest::rstest]
    #[case(
        "[[secretstores.systemd]]\nid = \"s\"",
        "@{s:one}",
        "a.conf:1:1: secret store `systemd`: `path` is not set"
    )]
    #[case(
        "[[secretstores.docker]]\nid = \"s\"\npath = \"/nowhere\"",
        "@{s:one}",
        "a.conf:7:1: `password` of output `influxdb`: cannot read the secret `one` of `s`: /nowhere/one: No such file"
    )]
    #[case(
        "[[secretstores.docker]]\nid = \"store\"",
        "@{stor:one}",
        "there is no secret store `stor`: did you mean `store`?"
    )]
    #[case("[[secretstores.docker]]\nid = \"a b\"", "", "`id` is \"a b\"")]
    #[case(
        "[[secretstores.docker]]\nid = \"s\"\npaht = \"/x\"",
        "",
        "unknown option `paht` of secretstore `docker`: did you mean `path`?"
    )]
    #[case(
        "[[secretstores.docker]]\nid = \"s\"\n[[secretstores.docker]]\nid = \"s\"",
        "",
        "a.conf:3:1: there are two secret stores `s`"
    )]
    #[case("[[secretstores.os]]\nid = \"s\"", "", "`secretstores.os` is not part of this agent")]
    fn what_is_wrong_has_its_place(#[case] stores: &str, #[case] password: &str, #[case] expected: &str) {
        let problems = load(&output(stores, password), None).unwrap_err().to_string();
        assert!(problems.contains(expected), "{problems}");
    }

    #[test]
    fn another_machine_s_secrets_are_not_looked_for() {
        let source = Source {
            path: "a.conf".into(),
            text: output("[[secretstores.systemd]]\nid = \"s\"", "@{s:one}"),
        };
        let reading = Reading::of_text(Environment::strict(&|_| None), "h");
        assert!(file::load(&[source], &reading).unwrap().secret_directories.is_empty());
    }
}
