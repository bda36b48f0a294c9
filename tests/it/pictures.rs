//! The pictures of the documentation, drawn by tests from what they see.

use std::path::{Path, PathBuf};

/// Most bytes of one: it is in the repository for ever.
const MAX_BYTES: usize = 150 << 10;

/// Whether the pictures are to be drawn anew.
pub(crate) fn are_asked_for() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

/// Puts a picture into `docs`, where that is asked for.
pub(crate) fn keep(name: &str, picture: &[u8]) {
    println!("a picture of {} bytes: {name}", picture.len());
    assert!((1_000..MAX_BYTES).contains(&picture.len()), "{name}: {} bytes", picture.len());
    if are_asked_for() {
        std::fs::write(repository("docs").join(name), picture).unwrap();
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
