//! Any text as a page of metrics: each line gives one sample or one error with its number, and no more.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seismograf::parsers::exposition::{Format, parse};

fuzz_target!(|text: &str| {
    for format in [Format::Text, Format::OpenMetrics] {
        let n_lines = text.split('\n').count();
        let mut n = 0;
        for sample in parse(text, format) {
            n += 1;
            match sample {
                Ok(sample) => {
                    let mut names: Vec<_> = sample.labels.iter().map(|(name, _)| name).collect();
                    names.sort();
                    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
                }
                Err(error) => assert!((1..=n_lines).contains(&error.number), "{error}"),
            }
        }
        // OpenMetrics has one more for a page without an end.
        assert!(n <= n_lines + 1);
    }
});
