//! Any text as a configuration: what is wrong with it has a line of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seismograf::config::env::Environment;
use seismograf::config::file::{PluginFilter, load};
use seismograf::config::reader::Source;

fuzz_target!(|text: &str| {
    let source = Source { path: "telegraf.conf".into(), text: text.to_owned() };
    let lookup = |name: &str| (name.len() % 2 == 0).then(|| "10s".to_owned());
    let environment = Environment::strict(&lookup);
    if let Err(problems) = load(&[source], &PluginFilter::default(), &environment, "host") {
        assert!(!problems.0.is_empty());
        for (place, _) in &problems.0 {
            assert!((1..=text.lines().count() + 1).contains(&place.line), "{place}");
        }
    }
});
