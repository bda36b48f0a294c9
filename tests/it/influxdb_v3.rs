//! `[[outputs.influxdb_v3]]` against a stand-in with the answers that InfluxDB 3 documents: that server is no package of Debian's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf::outputs::influxdb_v3::{InfluxdbV3, Options};
use seismograf::point::{Point, Timestamp};
use seismograf_tests::standin::{Reply, Standin};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{pause, trial};

use crate::outputs::{numbers, value, write};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("influxdb_v3::lines_that_it_names_are_all_that_is_lost", named_lines),
        trial("influxdb_v3::several_batches_are_under_way", in_flight),
    ]
}

fn output(url: &str) -> InfluxdbV3 {
    let options = Options {
        urls: vec![url.into()],
        token: "a token".into(),
        database: "d".into(),
        ..Options::default()
    };
    InfluxdbV3::new(options).unwrap()
}

/// Of 1,000 lines each one that the server names is dropped, and all others are stored; its limits are kept to.
fn named_lines() -> Outcome {
    const LINES: i64 = 1_000;
    const MOST_LINES: usize = 600;
    // Every other one: more than the server lists.
    let is_bad = |line: &str| ["1i ", "3i ", "5i ", "7i ", "9i "].iter().any(|end| line.contains(end));
    let n_bad = LINES as u64 / 2;
    let n_requests = Arc::new(AtomicUsize::new(0));
    let server = Standin::start({
        let n_requests = Arc::clone(&n_requests);
        move |request| {
            let lines = request.lines();
            match n_requests.fetch_add(1, Ordering::Relaxed) {
                0 => Reply::too_many(1),
                _ if lines.len() > MOST_LINES => Reply::too_large(),
                _ if lines.iter().any(|line| is_bad(line)) => Reply::partly_stored(&lines, is_bad),
                _ => Reply::stored(),
            }
        }
    });
    let points = || (0..LINES).map(|i| Point::new("m", Timestamp(i)).field("f", i)).collect();
    let (left, counts) = write(output(&server.url()), points());
    let requests = server.requests();
    println!(
        "influxdb_v3: {} lines stored and {} refused, in {} requests",
        value(&counts.written),
        value(&counts.losses.rejected),
        requests.len()
    );
    assert_eq!((left, value(&counts.losses.rejected)), (0, n_bad));
    assert_eq!(value(&counts.written), LINES as u64 - n_bad);
    // Those that the server takes whole are the last of each part.
    let taken = numbers(&server, |lines| lines.len() <= MOST_LINES && !lines.iter().any(|line| is_bad(line)));
    assert_eq!(taken.len() as u64, LINES as u64 - n_bad, "a line was sent again");
    assert!(requests.len() < 20, "{}: lines are named, and none is looked for", requests.len());
    for request in &requests {
        let target = &request.target;
        assert!(target.starts_with("/api/v3/write_lp?"), "{target}");
        for parameter in ["db=d", "precision=nanosecond", "accept_partial=true", "no_sync=false"] {
            assert!(target.contains(parameter), "{target}");
        }
        assert_eq!(request.headers["authorization"], "Bearer a token");
    }
    Ok(())
}

/// A server that answers once a second, as InfluxDB 3 does, takes several batches in that time.
fn in_flight() -> Outcome {
    let server = Standin::start(|_| {
        pause(Duration::from_secs(1));
        Reply::stored()
    });
    let points = (0..8_000).map(|i| Point::new("m", Timestamp(i)).field("f", i)).collect();
    let start = Instant::now();
    let (left, counts) = write(output(&server.url()), points);
    let took = start.elapsed();
    println!("influxdb_v3: 8 batches in {took:?}, at one answer a second");
    assert_eq!((left, value(&counts.written)), (0, 8_000));
    assert!(took < Duration::from_secs(5), "{took:?}");
    Ok(())
}
