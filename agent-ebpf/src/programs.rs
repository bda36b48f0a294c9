//! The probes, by area, and what they share.
//!
//! ```text
//! hook -> program -> cache slot of this CPU -> (eviction, write-back) -> ring buffer
//!                                           \-> overflow, when neither has room
//! ```

mod blkio;
mod cache;
mod cpu;
mod flush;
mod iterators;
mod kernel;
mod lifecycle;
mod look;
mod net;
mod oom;
mod packet;
mod pass;
mod processes;
mod runqueue;
mod sums;
mod tcp;

#[cfg(feature = "bench")]
mod bench;
