//! The same points under the names, labels, units and types of other programs, so that dashboards and rules for those go on. Pure.
//!
//! A table for each program says which of its metrics is made of what, and which cannot be, and why: `docs/prometheus.md` is made
//! of it, and an end-to-end test holds it against the program's own page.

mod cadvisor;
mod node_exporter;
mod table;

use std::fmt::Write as _;

pub(super) use self::table::Profile;
use super::conventions;
use crate::schema::ValueType;

/// All profiles.
pub(super) const PROFILES: [&Profile; 2] = [&cadvisor::PROFILE, &node_exporter::PROFILE];

/// The profile of this name.
pub(super) fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.into_iter().find(|profile| profile.name == name)
}

/// The documentation of all profiles: `docs/prometheus.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = "\
# Names of other programs

<!-- Made from agent/src/outputs/prometheus_client/profile. After a change there: UPDATE_DOCS=1 cargo test -p seismograf docs_ -->

`profile` of `[[outputs.prometheus_client]]` has the page of another program: what the inputs gather, under that program's \
names, labels, units and types, so that its dashboards and recording rules go on. Without it, names are Telegraf's. Labels are \
that program's alone: `host` and the global tags are left out, since Prometheus adds its `instance`. Several of these outputs, \
at addresses of their own, give several pages.
"
    .to_owned();
    for profile in PROFILES {
        // Writing to a string cannot fail.
        let _ =
            writeln!(page, "\n## `profile = \"{}\"`\n\n{}\n\n{}", profile.name, profile.title, profile.needs);
        page.push_str("\n| metric | type | made of | |\n|---|---|---|---|\n");
        for source in profile.sources {
            for metric in source.metrics {
                let labels: Vec<String> =
                    metric.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
                let labels =
                    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                let kind = match metric.value_type {
                    ValueType::Counter => "counter",
                    ValueType::Gauge => "gauge",
                    ValueType::Untyped => "untyped",
                };
                let (name, of) = (metric.name, metric.value.shown());
                let _ = writeln!(
                    page,
                    "| `{name}{labels}` | {kind} | `{}`: {of} | {} |",
                    source.measurement, metric.help
                );
            }
        }
        page.push_str("\nNot given:\n\n| metric | why |\n|---|---|\n");
        for (name, why) in profile.left_out {
            let _ = writeln!(page, "| `{name}` | {why} |");
        }
    }
    conventions::markdown(&mut page);
    page
}

#[cfg(test)]
mod tests;
