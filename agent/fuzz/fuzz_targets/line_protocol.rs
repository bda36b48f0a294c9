//! Any text as line protocol: what is taken makes a point, what is refused is told with its number and its text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seismograf::parsers::line_protocol::{Precision, parse};
use seismograf::point::Timestamp;

fuzz_target!(|text: &str| {
    let n_lines = text.split('\n').count();
    for line in parse(text, Precision::Milliseconds) {
        match line {
            Ok(line) => {
                assert!((1..=n_lines).contains(&line.number) && text.contains(line.text));
                let n_fields = line.fields().count();
                assert!(n_fields > 0);
                let point = line.point(Timestamp(7));
                assert!((1..=n_fields).contains(&point.fields.len()));
                assert_eq!(point.tags.len(), line.tags().count());
            }
            Err(error) => {
                assert!((1..=n_lines).contains(&error.number) && text.contains(error.text));
                assert!(error.to_string().starts_with("unable to parse '"));
            }
        }
    }
});
