//! The `seismograf` command: arguments, logging, configuration, run, exit code; nothing else.

fn main() {}
