//! `[[inputs.swap]]`: swap space, from sysinfo(2), and traffic to and from it, from proc(5) `vmstat`.
//!
//! sysinfo(2) is about the machine, in a container too, whatever `HOST_PROC` says.

use std::sync::Arc;

use serde::Deserialize;

use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError, read_again};
use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::vmstat;

/// The section `[[inputs.swap]]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {}

/// Bytes of a page in `vmstat`: Telegraf's constant, also where pages are larger.
const PAGE_BYTES: u64 = 4096;

/// The input.
#[derive(Debug)]
pub(super) struct Swap {
    vmstat: KernelFile,
}

impl Swap {
    /// An input that reads `vmstat` of this host.
    #[must_use]
    pub(super) fn new(_: Options, host: &Host) -> Self {
        Self { vmstat: KernelFile::new(host.proc("vmstat")) }
    }

    /// Bytes swapped in and out since boot; 0 where the kernel has no such line, as one without swap.
    fn read_traffic(&mut self) -> Result<(u64, u64), GatherError> {
        let text = read_again(&mut self.vmstat)?;
        let swapped = vmstat::swapped(&text).map_err(|line| GatherError::Malformed {
            path: self.vmstat.path().to_owned(),
            what: line.to_owned(),
        })?;
        let bytes = |pages: u64| pages.saturating_mul(PAGE_BYTES);
        Ok((bytes(swapped.pages_in), bytes(swapped.pages_out)))
    }
}

/// Used bytes, and what they are of the total in percent.
fn space(total: u64, free: u64) -> (u64, f64) {
    let used = total.saturating_sub(free);
    let percent = if total == 0 { 0.0 } else { used as f64 / total as f64 * 100.0 };
    (used, percent)
}

impl InputPlugin for Options {
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Swap::new(*self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for Swap {
    fn name(&self) -> &'static str {
        "swap"
    }

    /// Adds two points, as Telegraf does: how full it is, and the traffic.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let info = rustix::system::sysinfo();
        let unit = u64::from(info.mem_unit);
        let (total, free) = (info.totalswap.saturating_mul(unit), info.freeswap.saturating_mul(unit));
        let (used, used_percent) = space(total, free);
        let mut point = gathered.point("swap");
        point.set_field("total", total);
        point.set_field("used", used);
        point.set_field("free", free);
        point.set_field("used_percent", used_percent);
        gathered.push(point);

        let (bytes_in, bytes_out) = self.read_traffic()?;
        gathered.push(gathered.point("swap").field("in", bytes_in).field("out", bytes_out));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, gather, write};
    use super::*;
    use crate::point::FieldValue;

    #[tokio::test]
    async fn matches_telegraf() {
        // How much swap there is comes from this machine, and is left to the end-to-end tests.
        let traffic = |rounds: Vec<Vec<testing::Line>>| -> Vec<testing::Line> {
            rounds.into_iter().flatten().filter(|(_, fields)| fields.contains_key("in")).collect()
        };
        for case in testing::CASES {
            let expected = testing::expected(case, "swap");
            assert!(expected.iter().all(|round| round.len() == 2), "{case}");
            let actual = testing::replay(case, expected.len(), |host| Swap::new(Options {}, host)).await;
            assert!(actual.iter().all(|round| round.len() == 2), "{case}");
            assert_eq!(traffic(actual), traffic(expected), "{case}");
        }
    }

    #[tokio::test]
    async fn a_page_counts_4096_bytes() {
        let root = tempfile::tempdir().unwrap();
        for (vmstat, bytes_in, bytes_out) in [
            ("pgpgin 9\npswpin 3\npswpout 5\npswpinx 7\n", 3 * 4096, 5 * 4096),
            ("nr_free_pages 1\n", 0, 0),
            ("pswpin 18446744073709551615\n", u64::MAX, 0),
        ] {
            write(root.path(), "proc/vmstat", vmstat);
            let points = gather(&mut Swap::new(Options {}, &Host::at(root.path()))).await.unwrap();
            assert_eq!(points.len(), 2);
            let fields: Vec<_> = points[0]
                .fields
                .iter()
                .map(|(key, value)| (&**key, crate::schema::Kind::of(value)))
                .collect();
            use crate::schema::Kind::{Float, UInt};
            assert_eq!(fields, [("total", UInt), ("used", UInt), ("free", UInt), ("used_percent", Float)]);
            assert_eq!(points[1].field_value("in"), Some(&FieldValue::UInt(bytes_in)));
            assert_eq!(points[1].field_value("out"), Some(&FieldValue::UInt(bytes_out)));
        }
    }

    #[test]
    fn used_is_what_is_not_free() {
        assert_eq!(space(0, 0), (0, 0.0));
        assert_eq!(space(400, 100), (300, 75.0));
        assert_eq!(space(1, 2), (0, 0.0), "made up, as in some containers");
    }

    #[tokio::test]
    async fn what_vmstat_does_not_say_costs_only_the_traffic() {
        let root = tempfile::tempdir().unwrap();
        let mut input = Swap::new(Options {}, &Host::at(root.path()));
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert!(error.contains("/proc/vmstat: No such file"), "{error}");
        assert_eq!(points.len(), 1);
        write(root.path(), "proc/vmstat", "pswpin many\npswpout 1\n");
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert!(error.ends_with("/proc/vmstat: pswpin many"), "{error}");
        assert_eq!(points.len(), 1);
    }
}
