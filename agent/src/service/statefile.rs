//! The `statefile` of `[agent]`: what is remembered from one run to the next, a JSON object with a key for each plugin, as
//! Telegraf writes it. Keys of others are kept.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value};

/// It names what runs on the host: for the agent alone, and a group that may read its logs.
const MODE: u32 = 0o640;

/// Reads what was remembered under a key; `None` where there is no file yet, or nothing of that key.
///
/// # Errors
/// The file cannot be read, or is something else.
pub(crate) fn load(path: &Path, key: &str) -> anyhow::Result<Option<Value>> {
    Ok(read(path)?.remove(key))
}

/// Remembers a state under a key. The file is replaced as a whole, so that it is never half of one.
///
/// # Errors
/// The file cannot be written, or is something else.
pub(crate) fn save(path: &Path, key: &str, state: Value) -> anyhow::Result<()> {
    let mut all = read(path)?;
    all.insert(key.to_owned(), state);
    let written = || format!("cannot write the statefile {}", path.display());
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(MODE);
    let mut file = options.open(&new).with_context(written)?;
    file.write_all(&serde_json::to_vec(&all)?).and_then(|()| file.sync_all()).with_context(written)?;
    std::fs::rename(&new, path).with_context(written)
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the statefile {}", path.display()));
        }
    };
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is no statefile: name another one, or remove it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_remembered_beside_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert_eq!(load(&path, "ebpf").unwrap(), None);
        std::fs::write(&path, r#"{"inputs.tail": {"offset": 7}}"#).unwrap();
        save(&path, "ebpf", Value::from(1)).unwrap();
        assert_eq!(load(&path, "ebpf").unwrap(), Some(Value::from(1)));
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
        assert_eq!(mode & 0o037, 0, "{mode:o}");
        assert_eq!(load(&path, "inputs.tail").unwrap().unwrap()["offset"], 7);
        std::fs::write(&path, "not json").unwrap();
        for error in [load(&path, "ebpf").unwrap_err(), save(&path, "ebpf", Value::Null).unwrap_err()] {
            assert!(error.to_string().starts_with(&format!("{} is no statefile", path.display())), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not json", "it is not ours to overwrite");
    }
}
