//! Any bytes as a cgroup's path. `{A}` and the like stand for ids, as in `testdata/cgroup-paths.txt`: a mutation seldom
//! makes 64 digits.

#![no_main]

#[path = "../../src/identity/path/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;
use seismograf::identity::path::{parse, parse_record};

fuzz_target!(|bytes: &[u8]| {
    invariants::check(&invariants::fill(&String::from_utf8_lossy(bytes)));
    let _ = parse_record(bytes);
});
