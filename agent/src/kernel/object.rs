//! The BPF object, as `cargo xtask build` made it and `build.rs` embedded it.

/// The object's bytes, aligned as an ELF reader needs them; empty in a build without it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/seismograf.o"));
