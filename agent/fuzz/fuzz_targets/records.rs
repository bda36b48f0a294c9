//! Any bytes as a record of the ring buffer: none is read past, which the address sanitizer sees.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seismograf::kernel::records::Record;

fuzz_target!(|bytes: &[u8]| {
    if let Some(Record::Cgroup { path, .. }) = Record::decode(bytes) {
        assert!(path.len() < bytes.len());
    }
});
