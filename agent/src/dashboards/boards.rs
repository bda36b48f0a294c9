//! The dashboards: the one table that Chronograf's and Grafana's files are made from.

mod agent;
mod choices;
mod cluster;
mod neighbours;
mod node;
mod pods;
mod units;

use super::board::Board;

/// Every dashboard.
pub const BOARDS: &[Board] =
    &[cluster::BOARD, node::BOARD, pods::BOARD, units::BOARD, neighbours::BOARD, agent::BOARD];
