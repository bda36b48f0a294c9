//! What the points of one gather are made of, besides the totals of the rows.
//!
//! Pure: plain values and references to the accounts. Nothing is read once it is there.

use seismograf_ebpf::abi;

use super::accounts::Accounts;
use super::fields::integer;
use super::host_totals::HostTotals;
use super::naming::Naming;
use crate::identity::names::Names;
use crate::kernel::activity::Activity;
use crate::kernel::drain;
use crate::kernel::plan::Report;
use crate::point::{Point, Timestamp};
use crate::schema::losses::{LOSSES, Lost};

/// Everything that was counted, at the time of one gather.
pub(super) struct Snapshot<'a> {
    pub(super) time: Timestamp,
    /// Only what goes on from one run to the next is wanted.
    pub(super) is_only: bool,
    /// CPUs that there can be.
    pub(super) n_cpus: usize,
    pub(super) report: &'a Report,
    pub(super) accounts: &'a Accounts,
    pub(super) naming: &'a Naming,
    /// Where names come from, if there is such a source.
    pub(super) names: Option<&'a Names>,
    /// Owners whose rows wait for a name.
    pub(super) n_waiting: usize,
    /// The totals of the host when the probes started.
    pub(super) host_at_start: &'a HostTotals,
    /// The totals of the host now.
    pub(super) host: &'a HostTotals,
    pub(super) overflow: &'a abi::Overflow,
    pub(super) ring: drain::Counts,
    /// What each probe did.
    pub(super) programs: &'a [Activity],
}

impl Snapshot<'_> {
    /// A point of the input about itself.
    pub(super) fn part(&self, part: &'static str) -> Point {
        Point::new("seismograf", self.time).tag("part", part)
    }

    /// Adds what was lost, as far as this part tells of it.
    pub(super) fn set_losses(&self, point: &mut Point, part: &str) {
        let undecodable = self.ring.undecodable;
        let missed_runs = self.programs.iter().filter_map(|program| program.missed_runs).sum();
        let lost = Lost { overflow: self.overflow, undecodable, missed_runs };
        for loss in LOSSES.iter().filter(|loss| loss.part == part) {
            point.set_field(loss.field.name, integer((loss.count)(&lost)));
        }
    }
}
