//! `seismograf config check`: what is wrong with a configuration.

use super::print;
use crate::config::Config;
use crate::exit::Exit;

/// Says what a configuration has. Loading it has checked all that a start does, short of contacting anybody.
///
/// # Errors
/// The standard output cannot be written to.
pub fn check(config: &Config) -> anyhow::Result<Exit> {
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let inputs = names(config.inputs.iter().map(|section| section.options.name()).collect());
    let outputs = names(config.outputs.iter().map(|section| section.options.name()).collect());
    print(&format!("fine: inputs {inputs}; outputs {outputs}\n"))
}
