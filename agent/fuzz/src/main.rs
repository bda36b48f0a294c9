//! libFuzzer around the targets of `seismograf::fuzzing`; `cargo xtask fuzz` starts it, for one target at a time.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use seismograf::fuzzing::{Target, chosen};

/// Where the seeds of the target are to be left, beside those that a corpus has.
const SEEDS: &str = "SEISMOGRAF_FUZZ_SEEDS";

fn target() -> &'static Target {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        chosen().unwrap_or_else(|error| {
            eprintln!("{error}");
            std::process::exit(2)
        })
    })
}

fn leave_seeds(directory: &Path) {
    for (n, seed) in target().seeds.iter().enumerate() {
        let path = directory.join(format!("own-{n}"));
        if let Err(error) = std::fs::write(&path, seed) {
            eprintln!("cannot write {}: {error}", path.display());
        }
    }
}

fuzz_target!(
    init: {
        if let Some(directory) = std::env::var_os(SEEDS) {
            leave_seeds(Path::new(&directory));
        }
    },
    |bytes: &[u8]| (target().run)(bytes)
);
