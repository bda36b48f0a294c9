//! From the points of two gathers to the rows that people look at.
//!
//! Pure: points in, numbers and their texts out. Which rows and columns there are is `schema::views`; `dump`, `top` and
//! `serve` draw what is made here.

pub mod fit;
pub mod format;
pub mod machine;
mod name;
pub mod sampler;
pub mod table;
