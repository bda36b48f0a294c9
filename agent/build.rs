//! Embeds the BPF object that `cargo xtask build` made.
//!
//! Without one (a plain `cargo check` or `cargo test`) the agent carries an empty object, builds all the same, and says at
//! start that its probes are missing.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Where `cargo xtask build` leaves the object, from the workspace's root.
const OBJECT: &str = "target/bpf/seismograf.o";

fn main() {
    println!("cargo::rerun-if-env-changed=SEISMOGRAF_BPF_OBJECT");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let standard = manifest.parent().unwrap_or(Path::new("")).join(OBJECT);
    let object = env::var_os("SEISMOGRAF_BPF_OBJECT").map_or(standard, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    let bytes = fs::read(&object).unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("seismograf.o");
    if let Err(error) = fs::write(&out, bytes) {
        println!("cargo::error=cannot write {}: {error}", out.display());
    }
}
