//! `seismograf config check`: what is wrong with a configuration.

use anyhow::Context as _;

use super::print;
use crate::config::Config;
use crate::exit::Exit;

/// Checks what loading a configuration does not: whether its outputs can be built.
///
/// # Errors
/// An output that cannot use its options.
pub fn check(config: &Config) -> anyhow::Result<Exit> {
    for section in &config.outputs {
        let built = section.options.clone().build();
        built.with_context(|| format!("{}: output `{}`", section.place, section.options.name()))?;
    }
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let inputs = names(config.inputs.iter().map(|section| section.options.name()).collect());
    let outputs = names(config.outputs.iter().map(|section| section.options.name()).collect());
    print(&format!("fine: inputs {inputs}; outputs {outputs}\n"))
}
