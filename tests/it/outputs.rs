//! What each output makes of its options, against the real peers: InfluxDB, VictoriaMetrics, and files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf::options::common::OutputCommon;
use seismograf::options::secret::Secret;
use seismograf::outputs::sender::{Message, Sender};
use seismograf::outputs::{Output, influxdb, influxdb_v2};
use seismograf::point::{Point, Timestamp};
use seismograf::service::telemetry::OutputCounts;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::running::{OUTPUT, Running};
use seismograf_tests::standin::{Reply, Request, Standin};
use seismograf_tests::suite::Outcome;
use seismograf_tests::victoria::Victoria;
use seismograf_tests::{trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("outputs::each_has_its_own_filters_and_names", each_has_its_own_filters),
        trial("outputs::points_go_to_the_database_and_policy_of_their_tags", databases_and_policies_by_tag),
        trial("outputs::a_database_that_is_missing_holds_no_other_up", missing_database_holds_no_other_up),
        trial("outputs::over_a_unix_socket", over_a_unix_socket),
        trial("outputs::over_udp_long_points_are_split_and_whole_again", over_udp),
        trial("outputs::through_a_proxy_of_the_option_and_of_the_environment", through_a_proxy),
        trial("outputs::a_user_in_the_url_is_used_and_not_shown", user_in_the_url),
        trial("outputs::a_request_says_what_the_options_say", request_says_what_the_options_say),
        trial("outputs::v2_answers_lose_no_point_but_the_one_that_is_minded", v2_answers),
        trial("outputs::v2_a_wrong_token_is_said_and_loses_nothing", v2_wrong_token),
        trial("outputs::v2_a_rate_limit_is_kept", v2_rate_limit),
        trial("outputs::files_are_rotated_and_packed_and_no_line_is_lost", files_are_rotated_and_packed),
    ]
}

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Writes points through an output of the agent, without the agent around it. Returns how many lines are left over.
pub(crate) fn write(output: impl Output + 'static, points: Vec<Point>) -> (usize, Arc<OutputCounts>) {
    write_with(OutputCommon::default(), output, points)
}

/// [`write`], with the options that all outputs have.
pub(crate) fn write_with(
    common: OutputCommon,
    output: impl Output + 'static,
    points: Vec<Point>,
) -> (usize, Arc<OutputCounts>) {
    let _ = seismograf::service::logging::start(seismograf::service::logging::LogSettings::default());
    let counts = Arc::new(OutputCounts::default());
    let common = OutputCommon { metric_buffer_limit: 1_000_000, ..common };
    let sender = Sender::new(Box::new(output), common, Arc::clone(&counts));
    let runtime = seismograf_tests::runtime();
    let left = runtime.block_on(async {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        send.send(Message::Points(Arc::new(points))).await.unwrap();
        drop(send);
        sender.run(receive).await
    });
    (left, counts)
}

pub(crate) fn v1(url: &str, set: impl FnOnce(&mut influxdb::Options)) -> influxdb::Influxdb {
    let mut options = influxdb::Options { urls: vec![url.into()], ..influxdb::Options::default() };
    set(&mut options);
    influxdb::Influxdb::new(options).unwrap()
}

pub(crate) fn v2(url: &str, set: impl FnOnce(&mut influxdb_v2::Options)) -> influxdb_v2::InfluxdbV2 {
    let mut options = influxdb_v2::Options {
        urls: vec![url.into()],
        token: "a token".into(),
        organization: "o".into(),
        bucket: "b".into(),
        ..influxdb_v2::Options::default()
    };
    set(&mut options);
    influxdb_v2::InfluxdbV2::new(options).unwrap()
}

fn each_has_its_own_filters() -> Outcome {
    let (influxd, victoria) = (Influxd::start(Setup::default())?, Victoria::start()?);
    let mut agent = Running::start(&format!(
        r#"[agent]
  interval = "200ms"
  flush_interval = "500ms"
  precision = "1ms"
  hostname = "h"
[[inputs.mem]]
[[inputs.system]]
[[outputs.influxdb]]
  urls = ["{}"]
  database = "metrics"
  namepass = ["mem"]
  fieldinclude = ["total", "free"]
  influx_uint_support = false
[[outputs.influxdb_v2]]
  urls = ["{}"]
  bucket = "metrics"
  namedrop = ["mem", "seismograf"]
  name_prefix = "v2_"
  metric_batch_size = 3
[[outputs.file]]
  files = ["{{points}}"]
[[outputs.file]]
  files = ["{{directory}}/other"]
  name_override = "renamed"
  tagexclude = ["host"]
  namepass = ["system"]
  fieldexclude = ["uptime_format"]
  influx_sort_fields = true
  influx_omit_timestamp = true
  influx_uint_support = true
"#,
        influxd.url(),
        victoria.url()
    ))?;
    wait_for(|| influxd.count("metrics", "mem", "total") >= 8, LIMIT, "points in InfluxDB");
    let (well, _) = agent.stop();
    assert!(well, "{}", agent.log());
    let expected = agent.times("mem", "total");
    assert_eq!(influxd.times("metrics", "mem", "total"), expected);
    let names = influxd.series("metrics", "SHOW FIELD KEYS");
    let fields: Vec<&str> =
        names[0]["values"].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap()).collect();
    assert_eq!((names.len(), fields), (1, vec!["free", "total"]));

    let uptime = victoria.series("v2_system_uptime");
    let read: Vec<i64> = uptime[0].1.keys().map(|ms| ms * 1_000_000).collect();
    assert_eq!(read, agent.times("system", "uptime"));
    let all = victoria.series(".*");
    assert!(all.iter().all(|(labels, _)| labels["__name__"].starts_with("v2_system_")), "{all:?}");

    let other = std::fs::read_to_string(agent.directory().join("other")).unwrap();
    println!(
        "outputs: {} of mem, {} of system; the other file: {:?}",
        expected.len(),
        read.len(),
        other.lines().next()
    );
    for line in other.lines() {
        let (name, fields) = line.split_once(' ').unwrap();
        assert_eq!(name, "renamed");
        let keys: Vec<&str> = fields.split(',').map(|field| field.split_once('=').unwrap().0).collect();
        assert!(keys.is_sorted() && !fields.contains(' '), "{line}");
    }
    let in_it = |line: &&String| !line.contains("uptime_format=");
    assert_eq!(other.lines().count(), agent.lines("system,").iter().filter(in_it).count());
    Ok(())
}

/// `n` points of three databases and two policies, one of which is the default.
fn tagged(n: i64) -> Vec<Point> {
    let point = |i: i64| {
        let mut point = Point::new("m", Timestamp(1_700_000_000_000_000_000 + i)).tag("t", "x").field("f", i);
        if i % 3 > 0 {
            point.set_tag("db", ["", "one", "the \"other\""][i as usize % 3]);
        }
        if i % 2 > 0 {
            point.set_tag("policy", "short");
        }
        point
    };
    (0..n).map(point).collect()
}

fn databases_and_policies_by_tag() -> Outcome {
    const N: i64 = 3_000;
    let server = Influxd::start(Setup::default())?;
    // A policy cannot be made by a write, as a database can.
    for database in ["rest", "one", "the \"other\""] {
        let quoted = database.replace('"', "\\\"");
        for statement in [
            format!("CREATE DATABASE \"{quoted}\""),
            format!("CREATE RETENTION POLICY short ON \"{quoted}\" DURATION 0s REPLICATION 1"),
        ] {
            assert_eq!(server.query("", &statement).status, 200);
        }
    }
    let output = v1(&server.url(), |options| {
        options.database = "rest".into();
        options.database_tag = "db".into();
        options.exclude_database_tag = true;
        options.retention_policy_tag = "policy".into();
    });
    let (left, counts) = write(output, tagged(N));
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, N as u64, 0));
    for (rest, database) in [(0, "rest"), (1, "one"), (2, "the \"other\"")] {
        for (odd, policy) in [(0, "autogen"), (1, "short")] {
            let rows = server.series(database, &format!("SELECT f, db, \"policy\", t FROM {policy}.m"));
            let rows = rows[0]["values"].as_array().unwrap();
            let values: Vec<i64> = rows.iter().map(|row| row[1].as_i64().unwrap()).collect();
            let expected: Vec<i64> = (0..N).filter(|i| i % 3 == rest && i % 2 == odd).collect();
            assert_eq!(values, expected, "{database} {policy}");
            for row in rows {
                assert!(row[2].is_null(), "the tag of the database is not left out: {row}");
                assert_eq!(row[3].as_str(), (odd == 1).then_some("short"));
                assert_eq!(row[4].as_str(), Some("x"));
            }
        }
    }
    Ok(())
}

fn missing_database_holds_no_other_up() -> Outcome {
    let server = Influxd::start(Setup::default())?;
    for database in ["telegraf", "one"] {
        assert_eq!(server.query("", &format!("CREATE DATABASE {database}")).status, 200);
    }
    let output = v1(&server.url(), |options| {
        options.database_tag = "db".into();
        options.skip_database_creation = true;
    });
    let (left, counts) = write(output, tagged(3_000));
    // What is left over is of the database that is missing, and is not lost: it waits.
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (1_000, 2_000, 0));
    assert_eq!(server.count("telegraf", "m", "f"), 1_000);
    assert_eq!(server.count("one", "m", "f"), 1_000);
    Ok(())
}

fn over_a_unix_socket() -> Outcome {
    let server = Influxd::start(Setup::default())?;
    let (left, counts) = write(v1(&server.unix_url(), |_| ()), tagged(2_500));
    assert_eq!((left, value(&counts.written)), (0, 2_500));
    assert_eq!(server.count("telegraf", "m", "f"), 2_500);
    Ok(())
}

fn over_udp() -> Outcome {
    const N: i64 = 100;
    let server = Influxd::start(Setup { udp_database: "udp".into(), ..Setup::default() })?;
    let long = |i: i64| {
        let point = Point::new("long", Timestamp(1_700_000_000_000_000_000 + i)).tag("t", "x");
        (0..20).fold(point, |point, n| point.field(format!("field_{n}"), i * n))
    };
    let mut points: Vec<Point> = (0..N).map(long).collect();
    points.push(Point::new("too_long", Timestamp(1)).field("s", "x".repeat(200)));
    let (left, counts) = write(v1(&server.udp_url(), |options| options.udp_payload = 128), points);
    println!("outputs: UDP: {} lines sent for {N} points", value(&counts.written));
    assert_eq!((left, value(&counts.losses.rejected)), (0, 1), "the one that fits into no packet");
    assert!(value(&counts.written) > 2 * N as u64, "nothing was split");
    wait_for(|| server.count("udp", "long", "field_19") == N as u64, LIMIT, "the points");
    let rows = server.series("udp", "SELECT * FROM long");
    let columns = rows[0]["columns"].as_array().unwrap();
    let rows = rows[0]["values"].as_array().unwrap();
    assert_eq!(rows.len(), N as usize, "lines of one point are one again");
    for (i, row) in (0..N).zip(rows) {
        for (column, value) in columns.iter().zip(row.as_array().unwrap()) {
            if let Some(n) = column.as_str().unwrap().strip_prefix("field_") {
                assert_eq!(value.as_i64(), Some(i * n.parse::<i64>().unwrap()));
            }
        }
    }
    Ok(())
}

fn through_a_proxy() -> Outcome {
    // Nobody can look this name up but the proxy.
    const URL: &str = "http://influxdb.invalid:8086";
    let server = Influxd::start(Setup::default())?;
    let proxy = Standin::proxy(server.address());
    let (left, counts) = write(v1(URL, |options| options.http_proxy = proxy.url()), tagged(10));
    assert_eq!((left, value(&counts.written)), (0, 10));
    assert_eq!(server.count("telegraf", "m", "f"), 10);
    let targets: Vec<String> = proxy.requests().into_iter().map(|request| request.target).collect();
    assert!(targets.iter().all(|target| target.starts_with(URL)), "{targets:?}");

    let config = format!(
        "[agent]\n interval = \"200ms\"\n flush_interval = \"200ms\"\n[[inputs.mem]]\n[[outputs.influxdb]]\n urls = [\"{URL}\"]\n database = \"env\"\n"
    );
    let mut agent = Running::start_with(&config, &[("http_proxy", proxy.url().as_str()), ("no_proxy", "")])?;
    wait_for(|| server.count("env", "mem", "total") > 0, LIMIT, "points through the proxy");
    assert!(agent.stop().0, "{}", agent.log());
    Ok(())
}

fn user_in_the_url() -> Outcome {
    let server = Influxd::start(Setup { auth: true, ..Setup::default() })?;
    let url = server.url().replace("http://", "http://admin:secret@");
    let output = v1(&url, |_| ());
    assert_eq!(output.place(), format!("{}/", server.url()));
    let (left, counts) = write(output, tagged(10));
    assert_eq!((left, value(&counts.written)), (0, 10));
    Ok(())
}

fn request_says_what_the_options_say() -> Outcome {
    let server = Standin::start(|_| Reply::stored());
    let point = || vec![Point::new("m", Timestamp(7)).field("f", u64::MAX)];
    let header = |pairs: &[(&str, &str)]| -> BTreeMap<String, Secret> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    };
    let (left, _) = write(
        v2(&format!("{}/prefix?x=1", server.url()), |options| {
            options.organization = "my org".into();
            options.bucket = "a&b".into();
            options.user_agent = "me".into();
            options.http_headers = header(&[("X-Tenant", "7")]);
            options.influx_uint_support = true;
        }),
        point(),
    );
    assert_eq!(left, 0);
    let (left, _) = write(
        v1(&server.url(), |options| {
            options.skip_database_creation = true;
            options.retention_policy = "p".into();
            options.write_consistency = "all".into();
            options.content_encoding = "identity".into();
            options.username = "u".into();
            options.password = "p".into();
            options.http_headers = header(&[("Host", "db.example.com"), ("Authorization", "Bearer x")]);
            options.influx_omit_timestamp = true;
        }),
        point(),
    );
    assert_eq!(left, 0);
    let [of_v2, of_v1] = <[_; 2]>::try_from(server.requests()).unwrap();
    assert_eq!(of_v2.target, "/prefix/api/v2/write?x=1&bucket=a%26b&org=my+org");
    assert_eq!(of_v2.headers["authorization"], "Token a token");
    assert_eq!(of_v2.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(of_v2.headers["content-encoding"], "gzip");
    assert_eq!((of_v2.headers["user-agent"].as_str(), of_v2.headers["x-tenant"].as_str()), ("me", "7"));
    assert_eq!(of_v2.lines(), ["m f=18446744073709551615u 7"]);
    assert_eq!(of_v1.target, "/write?db=telegraf&rp=p&consistency=all");
    assert_eq!(of_v1.headers["host"], "db.example.com");
    assert_eq!(of_v1.headers["authorization"], "Bearer x", "a header wins over the user");
    assert!(!of_v1.headers.contains_key("content-encoding"));
    assert!(of_v1.headers["user-agent"].starts_with("Seismograf/"));
    assert_eq!(of_v1.lines(), ["m f=9223372036854775807i"]);
    Ok(())
}

/// The numbers of the lines that a stand-in took, each as often as it did.
pub(crate) fn numbers(server: &Standin, is_taken: impl Fn(&[String]) -> bool) -> Vec<i64> {
    let requests = server.requests().into_iter().map(|request| request.lines());
    let lines = requests.filter(|lines| is_taken(lines)).flatten();
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

fn v2_answers() -> Outcome {
    const POISON: &str = " f=13i ";
    const MOST_LINES: usize = 300;
    let is_poisoned = |lines: &[String]| lines.iter().any(|line| line.contains(POISON));
    let poisoned = |lines: &[String]| lines.iter().find(|line| line.contains(POISON)).cloned();
    let n_requests = Arc::new(AtomicUsize::new(0));
    let server = Standin::start({
        let n_requests = Arc::clone(&n_requests);
        move |request| {
            let lines = request.lines();
            match n_requests.fetch_add(1, Ordering::Relaxed) {
                0 => Reply::too_many(3),
                1 => Reply::unavailable(),
                2 => Reply::no_bucket("b"),
                _ if lines.len() > MOST_LINES => Reply::too_large(),
                _ => poisoned(&lines).map_or_else(Reply::stored, |line| Reply::bad_line(&line)),
            }
        }
    });
    let mut agent = Running::start(&format!(
        "[agent]\n interval = \"100ms\"\n flush_interval = \"200ms\"\n hostname = \"h\"\n precision = \"1ms\"\n[[inputs.mem]]\n[[outputs.influxdb_v2]]\n urls = [\"{}\"]\n bucket = \"b\"\n[[outputs.file]]\n files = [\"{{points}}\"]\n",
        server.url()
    ))?;
    for text in
        ["write limit exceeded", "service unavailable", "create it there, or check `bucket`", "writes again"]
    {
        agent.wait_for_log(text);
    }
    assert!(agent.stop().0, "{}", agent.log());
    let requests = server.requests();
    let wait = requests[1].at - requests[0].at;
    println!("outputs: v2: {wait:?} after a 429 that asks for 3 s");
    assert!(wait >= Duration::from_secs(3), "{wait:?}");
    // Every point of the file is at the server, once.
    let stored = requests[3..].iter().map(Request::lines).filter(|lines| lines.len() <= MOST_LINES);
    let stored = sorted_lines(&stored.flatten().collect::<Vec<_>>().join("\n"));
    let written = sorted_lines(&std::fs::read_to_string(agent.points()).unwrap());
    assert!(stored == written, "{} lines stored of {}", stored.len(), written.len());

    // Too large and poisoned: halved until they pass, or stand alone.
    let points = (0..1_000).map(|i| Point::new("m", Timestamp(i)).field("f", i)).collect();
    let before = server.requests().len();
    let (left, counts) = write(v2(&server.url(), |_| ()), points);
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, 999, 1));
    let taken = numbers(&server, |lines| {
        lines[0].starts_with("m ") && lines.len() <= MOST_LINES && !is_poisoned(lines)
    });
    println!("outputs: v2: {} requests for 1000 lines with a poisoned one", server.requests().len() - before);
    assert_eq!(taken.len(), 999, "a line was taken twice");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), (0..1_000).filter(|i| *i != 13).collect());
    Ok(())
}

fn v2_wrong_token() -> Outcome {
    let is_right = Arc::new(AtomicBool::new(false));
    let server = Standin::start({
        let is_right = Arc::clone(&is_right);
        move |_| if is_right.load(Ordering::Relaxed) { Reply::stored() } else { Reply::unauthorized() }
    });
    let mut agent = Running::start(&format!(
        "[agent]\n interval = \"100ms\"\n flush_interval = \"200ms\"\n hostname = \"h\"\n[[inputs.mem]]\n[[outputs.influxdb_v2]]\n urls = [\"{}\"]\n token = \"hush\"\n alias = \"influxdb\"\n[[outputs.file]]\n files = [\"{{points}}\"]\n",
        server.url()
    ))?;
    agent.wait_for_log("unauthorized access; check `token`");
    wait_for(|| agent.count(OUTPUT, "waiting") > 4, LIMIT, "a count of what waits");
    assert_eq!(agent.count(OUTPUT, "written"), 0);
    let before = server.requests().len();
    is_right.store(true, Ordering::Relaxed);
    agent.wait_for_log("writes again");
    assert!(agent.stop().0, "{}", agent.log());
    let stored: BTreeSet<String> = server.requests()[before..].iter().flat_map(Request::lines).collect();
    let written = sorted_lines(&std::fs::read_to_string(agent.points()).unwrap());
    assert!(stored.iter().eq(&written), "{} lines stored of {}", stored.len(), written.len());
    assert!(!agent.log().contains("hush"), "the token is in the log: {}", agent.log());
    Ok(())
}

fn v2_rate_limit() -> Outcome {
    const LINE: u64 = 8;
    const LINES: i64 = 30;
    let server = Standin::start(|_| Reply::stored());
    let points = (10..10 + LINES).map(|i| Point::new("m", Timestamp(i)).field("f", 1.0)).collect();
    let start = Instant::now();
    let (left, counts) = write(
        v2(&server.url(), |options| {
            options.rate_limit = 10 * LINE;
            options.rate_limit_period = Duration::from_millis(500);
        }),
        points,
    );
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, LINES as u64, 0));
    let requests = server.requests();
    for first in &requests {
        let within =
            |other: &&Request| other.at >= first.at && other.at - first.at < Duration::from_millis(400);
        let lines: usize = requests.iter().filter(within).map(|request| request.lines().len()).sum();
        assert!(lines <= 10, "{lines} lines in a period");
    }
    println!("outputs: v2: {LINES} lines in {:?}, at 10 in 500 ms", start.elapsed());
    assert_eq!(numbers(&server, |_| true), (10..10 + LINES).collect::<Vec<_>>());
    Ok(())
}

fn files_are_rotated_and_packed() -> Outcome {
    let mut agent = Running::start(
        r#"[agent]
  interval = "50ms"
  flush_interval = "50ms"
  hostname = "h"
[[inputs.mem]]
[[outputs.file]]
  files = ["{points}"]
[[outputs.file]]
  files = ["{directory}/archive/rotated.lp", "{directory}/packed.gz"]
  use_batch_format = true
  rotation_max_size = "2KB"
  rotation_max_archives = -1
  compression_algorithm = "gzip"
[[outputs.file]]
  files = ["{directory}/few.lp"]
  rotation_interval = "100ms"
  rotation_max_archives = 2
"#,
    )?;
    // One of a section's files cannot be written to at first; the others do not wait for it, nor get lines twice.
    agent.wait_for_log("archive/rotated.lp: No such file");
    let directory = agent.directory().to_owned();
    std::fs::create_dir(directory.join("archive")).unwrap();
    wait_for(
        || archives(&directory.join("archive"), "rotated.").len() > 3,
        LIMIT,
        "archives of a packed file",
    );
    wait_for(|| archives(&directory, "few.").len() == 3, LIMIT, "archives of a file by its age");
    let age = Instant::now();
    wait_for(
        || {
            let n = archives(&directory, "few.").len();
            // While one is renamed and another one removed there are more or fewer for a moment.
            assert!((2..=4).contains(&n), "{n} files");
            age.elapsed() > Duration::from_secs(1)
        },
        LIMIT,
        "several rotations more",
    );
    assert!(agent.stop().0, "{}", agent.log());
    assert_eq!(archives(&directory, "few.").len(), 3);
    let unpacked = |paths: Vec<PathBuf>| -> Vec<String> {
        let mut text = String::new();
        for path in paths {
            let packed = std::fs::read(path).unwrap();
            if packed.is_empty() {
                // Begun, and nothing came any more.
                continue;
            }
            flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
        }
        sorted_lines(&text)
    };
    let written = sorted_lines(&std::fs::read_to_string(agent.points()).unwrap());
    let rotated = archives(&directory.join("archive"), "rotated.");
    println!("outputs: file: {} lines, in {} packed files", written.len(), rotated.len());
    for paths in [rotated, archives(&directory, "packed.")] {
        let lines = unpacked(paths);
        assert!(lines == written, "{} lines of {}", lines.len(), written.len());
    }
    Ok(())
}

fn sorted_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// The files of a directory whose names begin so.
fn archives(directory: &Path, stem: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(stem));
    paths
}
