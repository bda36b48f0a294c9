//! What the probes and the agent share: the records of the ring buffer and the limits.
#![no_std]
