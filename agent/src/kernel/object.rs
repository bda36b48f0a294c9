//! The BPF object, as `cargo xtask build` made it and `build.rs` embedded it.

use aya_obj::{Map, Object};
use seismograf_ebpf::abi::TABLES;

/// Kinds of maps (`enum bpf_map_type` of `include/uapi/linux/bpf.h`).
const ARRAY: u32 = 2;
const PERCPU_ARRAY: u32 = 6;
const RING: u32 = 27;
/// What an array takes whole ones of.
const PAGE: u64 = 4096;

/// The object's bytes, aligned as an ELF reader needs them; empty in a build without it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/seismograf.o"));

/// Bytes of kernel memory that the maps take on a machine on which there can be so many CPUs, with a ring buffer of this size.
#[must_use]
pub fn map_bytes(ring_bytes: u32, cpus: u64) -> u64 {
    let Ok(object) = Object::parse(OBJECT) else { return 0 };
    let bytes = |(name, map): (&String, &Map)| {
        let (mut entries, value) =
            (u64::from(map.max_entries()), u64::from(map.value_size()).next_multiple_of(8));
        if TABLES.contains(&name.as_str()) {
            entries = cpus;
        }
        match map.map_type() {
            ARRAY => (entries * value).next_multiple_of(PAGE),
            PERCPU_ARRAY => entries * value * cpus,
            RING => u64::from(ring_bytes).next_power_of_two() + 3 * PAGE,
            _ => 0,
        }
    };
    object.maps.iter().map(bytes).sum()
}
