//! The machine in one line: CPU, memory, load, records, losses.

use super::format::{bytes, count};
use super::sampler::Sampler;
use super::table::Table;
use crate::schema::views::{Level, view};

/// The machine and the agent at one moment.
#[derive(Debug, Default)]
pub struct Machine {
    machine: Option<Table>,
    agent: Option<Table>,
    host: Option<String>,
}

impl Machine {
    /// What the last gathers say.
    #[must_use]
    pub fn of(sampler: &Sampler) -> Self {
        let table = |key| view(key).and_then(|view| sampler.table(view));
        let host = sampler.host().map(str::to_owned);
        Self { machine: table("machine"), agent: table("agent"), host }
    }

    /// A column of the machine, or of the agent.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<f64> {
        let of = |table: &Option<Table>| {
            let table = table.as_ref()?;
            table.value(table.rows.first()?, key)
        };
        of(&self.machine).or_else(|| of(&self.agent))
    }

    /// The machine, in parts: CPU, memory, load, records, and the host's name.
    #[must_use]
    pub fn heading(&self) -> Vec<String> {
        let value = |key| self.value(key);
        let mut parts = Vec::new();
        if let Some(busy) = value("busy") {
            let of = value("cpus").map(|n| format!(" of {n} CPUs")).unwrap_or_default();
            parts.push(format!("cpu {busy:.1}%{of}"));
        }
        if let (Some(used), Some(total)) = (value("used"), value("total")) {
            parts.push(format!("mem {} of {}", bytes(used), bytes(total)));
        }
        if let Some(load) = value("load") {
            parts.push(format!("load {load:.2}"));
        }
        parts.push(format!("records {}/s", count(value("records").unwrap_or(0.0))));
        parts.extend(self.host.clone());
        parts
    }

    /// Whether the kernel had no room for some amounts.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        ["lost_cpu", "lost_io", "lost_net"].iter().any(|key| self.value(key).is_some_and(|lost| lost > 0.0))
    }

    /// How bad the worst of the machine's own values is.
    #[must_use]
    pub fn level(&self) -> Level {
        let of = |table: &Table| Some(table.rows.first()?.level(table.view));
        self.machine.as_ref().and_then(of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Point, Timestamp};

    #[test]
    fn the_heading_says_of_how_many_cpus_the_machine_is_and_what_was_lost() {
        let mut sampler = Sampler::default();
        for second in 0..2 {
            let point = |measurement: &'static str| {
                Point::new(measurement, Timestamp(second * 1_000_000_000)).tag("host", "h")
            };
            let cpu = |name, idle: f64| point("cpu").tag("cpu", name).field("usage_idle", idle);
            let part = |part: &'static str, field: &'static str| {
                point("seismograf").tag("part", part).field(field, 5 * second)
            };
            sampler.push(vec![
                cpu("cpu0", 10.0),
                cpu("cpu-total", 50.0),
                point("system").field("n_cpus", 2_i64).field("load1", 1.5),
                part("ring", "records"),
                part("net", "overflow_tx_bytes"),
            ]);
        }
        let machine = Machine::of(&sampler);
        assert_eq!(machine.heading(), ["cpu 50.0% of 2 CPUs", "load 1.50", "records 5/s", "h"]);
        assert!(machine.has_losses());
        assert!(!Machine::default().has_losses());
        assert_eq!(Machine::default().heading(), ["records -/s"]);
    }
}
