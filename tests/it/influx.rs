//! From points to a real InfluxDB, and back.

use libtest_mimic::Trial;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::trial;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("influx::server_keeps_its_data_over_a_restart", server_keeps_its_data_over_a_restart)]
}

fn server_keeps_its_data_over_a_restart() -> Outcome {
    let mut server = Influxd::start(Setup::default())?;
    assert_eq!(server.query("", "CREATE DATABASE d").status, 200);
    server.stop();
    server.resume()?;
    let databases = server.series("", "SHOW DATABASES");
    assert!(databases[0]["values"].as_array().is_some_and(|names| names.iter().any(|name| name[0] == "d")));
    Ok(())
}
