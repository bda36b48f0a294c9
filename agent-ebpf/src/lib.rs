//! What the probes and the agent share: the records of the ring buffer and their limits, and the kernel fields that are read.
//!
//! Compiled twice, for the kernel and for the host, from the one toolchain run that also embeds the object into
//! the agent: the layout cannot drift, and `abi` asserts it as well.
#![no_std]

pub mod abi;
pub mod fields;
