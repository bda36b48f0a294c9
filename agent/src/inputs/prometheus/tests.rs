//! Saved pages, and what Telegraf printed for each; and targets of every kind of behaviour, over real sockets.

mod options;
mod pages;
mod targets;
