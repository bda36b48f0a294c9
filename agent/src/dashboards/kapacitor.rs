//! TICKscripts for Kapacitor, one a task. Pure.

use std::fmt::Write as _;

use super::alerts::{Alert, Kind};

/// The database that the scripts read.
pub const DATABASE: &str = "telegraf";
/// Its retention policy.
pub const POLICY: &str = "autogen";
/// Where alerts go: handlers for mail, chat or a pager are defined for the topic.
const TOPIC: &str = "seismograf";

/// The script of an alert.
pub(super) fn script(alert: &Alert) -> String {
    let Alert { file, help, message, from, by, kind } = alert;
    let quoted = |tag: &&str| if *tag == "*" { "*".to_owned() } else { format!("'{tag}'") };
    let by: Vec<String> = by.iter().map(quoted).collect();
    let by = by.join(", ");
    let mut script = format!(
        "// {help}\n//\n// kapacitor define seismograf_{file} -tick {file}.tick && kapacitor enable seismograf_{file}\n\
         // Who is told: kapacitor define-topic-handler, for the topic '{TOPIC}'.\n\n\
         dbrp \"{DATABASE}\".\"{POLICY}\"\n\n"
    );
    let ending = format!(
        "        .id('{{{{ .TaskName }}}}/{{{{ .Group }}}}')\n        .message('{message}')\n        \
         .stateChangesOnly()\n        .topic('{TOPIC}')\n"
    );
    // Writing to a string cannot fail.
    let _ = match kind {
        Kind::Silence => write!(
            script,
            "var silence = 1m\n\nstream\n    |from()\n        .measurement('{from}')\n        .groupBy({by})\n    \
             |deadman(0.0, silence)\n{ending}"
        ),
        Kind::Above { .. } | Kind::Lost(..) => {
            let (warning, critical) = match kind {
                Kind::Above { warning, critical, .. } => (*warning, *critical),
                _ => (None, 0.0),
            };
            let marks = warning.map(|mark| format!("var warning = {mark:.1}\n")).unwrap_or_default();
            let warn =
                warning.map(|_| "        .warn(lambda: float(\"number\") > warning)\n").unwrap_or_default();
            write!(
                script,
                "{marks}var critical = {critical:.1}\n\nbatch\n    |query('''{}''')\n        .period(5m)\n        \
                 .every(1m)\n        .groupBy({by})\n    |alert()\n{warn}        \
                 .crit(lambda: float(\"number\") > critical)\n{ending}",
                query(alert)
            )
        }
    };
    script
}

/// What a task asks for, to which Kapacitor adds time and groups.
fn query(alert: &Alert) -> String {
    let source = format!("\"{DATABASE}\".\"{POLICY}\".\"{}\"", alert.from);
    match alert.kind {
        Kind::Silence => format!("SELECT * FROM {source}"),
        Kind::Lost(losses, part) => {
            let fields = losses.iter().filter(|loss| loss.part == part);
            let spreads: Vec<String> =
                fields.map(|loss| format!("spread(\"{}\")", loss.field.name)).collect();
            let number = spreads.join(" + ");
            format!("SELECT {number} AS \"number\" FROM {source} WHERE (\"part\" = '{part}')")
        }
        Kind::Above { number, only: "", .. } => format!("SELECT {number} AS \"number\" FROM {source}"),
        // A quote at the end would be taken for one of those around the query.
        Kind::Above { number, only, .. } => {
            format!("SELECT {number} AS \"number\" FROM {source} WHERE ({only})")
        }
    }
}
