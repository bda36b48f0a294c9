//! The kernel's side: the BPF object, what is loaded of it, and what leaves the ring buffer.
//!
//! The one place that trusts the ABI. `plan` lists the programs, `load` loads and attaches them with the field
//! offsets that `offsets` finds in the kernel's own type information (`btf`) and `fold` puts into the instructions, `flush` has
//! their caches written back, and `drain` empties the ring buffer into `records`. What these mean is `ledger`'s.

pub mod activity;
pub mod btf;
pub mod cpu_source;
pub mod drain;
pub mod early;
pub mod flush;
pub mod fold;
pub mod held;
mod iterator;
mod left_alone;
pub mod load;
mod loader;
pub mod object;
pub mod offsets;
pub mod pass;
pub mod pins;
pub mod plan;
pub mod processes;
mod query;
pub mod records;
mod refusal;
pub mod ring;
mod syscall;
pub mod tables;
