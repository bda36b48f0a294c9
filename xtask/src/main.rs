//! `cargo xtask`: set up, build, test and measure Seismograf.

fn main() {}
