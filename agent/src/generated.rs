//! Holds a generated document against the code that it is made from.

/// Fails where the document is another one than `expected`; with `UPDATE_DOCS` set it is written instead. `path` is that from the
/// folder of the agent's package.
pub(crate) fn assert_current(path: &str, expected: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "stale: UPDATE_DOCS=1 cargo test -p seismograf docs_ rewrites {}",
        path.display()
    );
}
