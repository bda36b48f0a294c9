//! `[[outputs.kafka]]` against a real broker: what its own consumer reads, and what is in it after either of them was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use seismograf::outputs::Output as _;
use seismograf::outputs::kafka::{Kafka as Output, Options};
use seismograf::point::{FieldValue, Point, Timestamp};
use seismograf_tests::http::{free_address, request};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::kafka::{Certificate, Consumer, Kafka, Message, PARTITIONS, PASSWORD, USER};
use seismograf_tests::odd;
use seismograf_tests::remote_write::Receiver;
use seismograf_tests::running::Running;
use seismograf_tests::suite::{Outcome, extra};
use seismograf_tests::writers::{Writers, value_of};
use seismograf_tests::{needs, number, pause, wait_for};
use serde_json::Value;

use crate::outputs::{value, write};

/// The suite, which a machine may have no broker for.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        extra("kafka::its_own_consumer_reads_what_was_written", formats),
        extra("kafka::json_and_remote_write_are_what_others_read", payloads),
        extra("kafka::each_point_is_there_once_and_in_order_when_either_is_killed", kills),
    ]
}

const LIMIT: Duration = Duration::from_secs(60);
/// `SEISMOGRAF_KAFKA_KILLS=20` is the whole of it.
const N_KILLS: u64 = 4;

fn options(broker: &Kafka) -> Options {
    Options {
        brokers: vec![broker.address().to_string()],
        routing_tag: "host".into(),
        idempotent_writes: true,
        ..Options::default()
    }
}

/// Now, in nanoseconds.
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

fn points(n: i64) -> Vec<Point> {
    let start = now();
    let point = |i: i64| {
        let host = format!("node-{}", i % 50);
        Point::new("m", Timestamp(start + i)).tag("host", host).field("f", i).field("s", "a, \"b\"=c\\")
    };
    (0..n).map(point).collect()
}

/// The messages of a topic, by our own consumer.
fn messages(broker: &Kafka, topic: &str) -> Vec<Message> {
    Consumer::connect(broker.address()).unwrap().messages(topic)
}

/// A certificate for `localhost` that is its own authority, as files.
fn certificate(directory: &Path) -> (Certificate, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (authority, both) = (directory.join("ca.pem"), directory.join("broker.pem"));
    std::fs::write(&authority, made.cert.pem()).unwrap();
    std::fs::write(&both, format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())).unwrap();
    (Certificate { key_and_certificate: both }, authority.display().to_string())
}

/// Codecs, formats, users and refusals, with one broker.
fn formats() -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, authority) = certificate(directory.path());
    let broker = Kafka::start(Some(&certificate))?;
    codecs(&broker);
    users(&broker, &authority);
    refusals(&broker);
    topics(&broker);
    Ok(())
}

/// Kafka's own consumer unpacks each codec, and reads keys and lines as they were.
fn codecs(broker: &Kafka) {
    const N: i64 = 3_000;
    for (codec, name) in [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4")] {
        let options = Options { compression_codec: codec, topic: format!("codec-{name}"), ..options(broker) };
        let said = || {
            let output = Output::new(options.clone()).unwrap();
            let said = seismograf_tests::runtime().block_on(output.check());
            said[0].1.clone().unwrap_or_else(|error| panic!("{error}"))
        };
        let before = said();
        assert!(
            before.contains(&format!("topic `codec-{name}` is not there")),
            "looking makes none: {before}"
        );
        let (left, counts) = write(Output::new(options.clone()).unwrap(), points(N));
        let after = said();
        assert!(after.starts_with("answers (Kafka") && !after.contains("not there"), "{after}");
        assert_eq!(
            (left, value(&counts.written), value(&counts.losses.rejected)),
            (0, N as u64, 0),
            "{name}"
        );
    }
    let mut seen = BTreeMap::new();
    for name in ["none", "gzip", "snappy", "lz4"] {
        let read = broker.console_consumer(&format!("codec-{name}"), N as usize);
        assert_eq!(read.len(), N as usize, "{name}");
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for (key, line) in &read {
            let rest =
                line.strip_prefix(&format!("m,host={key} f=")).unwrap_or_else(|| panic!("{key}: {line}"));
            let (f, rest) =
                rest.split_once("i,s=\"a, \\\"b\\\"=c\\\\\" ").unwrap_or_else(|| panic!("{line}"));
            let (f, _): (i64, i64) = (f.parse().unwrap(), rest.parse().unwrap());
            assert!(last.insert(key.clone(), f).is_none_or(|before| before < f), "{key}: {f} comes late");
            *seen.entry(f).or_insert(0) += 1;
        }
    }
    assert!(seen.keys().copied().eq(0..N) && seen.values().all(|n| *n == 4), "each once in each topic");
    println!(
        "kafka: {N} messages by each of 4 codecs read by Kafka's own consumer, in the order of each key"
    );

    // Partitions are those that Sarama chooses, and times are the points'.
    let read = messages(broker, "codec-none");
    assert_eq!(read.iter().map(|message| message.partition).collect::<BTreeSet<_>>().len(), PARTITIONS);
    for message in &read {
        let sum = message
            .key
            .bytes()
            .fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        assert_eq!(message.partition, (sum.cast_signed() % PARTITIONS as i32).abs(), "{}", message.key);
        let time: i64 = message.value.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(message.time_ms, time / 1_000_000);
        assert!(message.value.ends_with('\n') && message.producer >= 0);
    }
}

/// TLS, and each way to say who somebody is.
fn users(broker: &Kafka, authority: &str) {
    const N: i64 = 100;
    let secure = |mechanism: &str, password: &str| {
        let mut options = Options {
            brokers: vec![broker.secure_address()],
            topic: format!("user{}", mechanism.to_lowercase()),
            sasl_username: USER.into(),
            sasl_password: password.into(),
            sasl_mechanism: mechanism.into(),
            max_retry: 0,
            metadata_retry_max: 1,
            ..options(broker)
        };
        options.tls.tls_ca = authority.into();
        options
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let (left, counts) = write(Output::new(secure(mechanism, PASSWORD)).unwrap(), points(N));
        assert_eq!((left, value(&counts.written)), (0, N as u64), "{mechanism}");
        assert_eq!(messages(broker, &format!("user{}", mechanism.to_lowercase())).len(), N as usize);
        let (left, counts) = write(Output::new(secure(mechanism, "wrong")).unwrap(), points(N));
        assert_eq!(
            (left, value(&counts.written), value(&counts.losses.rejected)),
            (N as usize, 0, 0),
            "{mechanism}"
        );
    }
    let reason = |options: Options| {
        let runtime = seismograf_tests::runtime();
        let output = Output::new(options).unwrap();
        let answers = runtime.block_on(seismograf::outputs::Output::check(&output));
        answers[0].1.clone().unwrap_err()
    };
    let wrong = reason(secure("SCRAM-SHA-512", "wrong"));
    println!("kafka: a wrong password: {wrong}");
    assert!(wrong.contains("check `sasl_username`, `sasl_password`"), "{wrong}");
    let mut foreign = secure("PLAIN", PASSWORD);
    foreign.tls.tls_ca = String::new();
    foreign.tls.tls_server_name = "localhost".into();
    let foreign = reason(foreign);
    println!("kafka: a foreign authority: {foreign}");
    assert!(foreign.contains("authorit") || foreign.contains("CA"), "{foreign}");
}

/// What the broker refuses is a line, never its batch.
fn refusals(broker: &Kafka) {
    const N: i64 = 500;
    let mut points = points(N);
    // Larger than the broker takes, and not larger than the options say.
    points[17].set_field("s", "x".repeat(1_500_000));
    // Later than an hour from now, which it does not take either.
    points[300].time = Timestamp(now() + 86_400_000_000_000);
    points[301].time = Timestamp(now() + 86_400_000_000_000);
    let options = Options { topic: "refused".into(), max_message_bytes: 4_000_000, ..options(broker) };
    let (left, counts) = write(Output::new(options).unwrap(), points);
    assert_eq!((left, value(&counts.losses.rejected), value(&counts.written)), (0, 3, N as u64 - 3));
    let read = messages(broker, "refused");
    let numbers: BTreeSet<&str> =
        read.iter().map(|message| message.value.split(['=', ',']).nth(3).unwrap()).collect();
    assert_eq!((read.len(), numbers.len()), (N as usize - 3, N as usize - 3), "each once");
    println!("kafka: of {N} lines the broker refuses 3, and has all others once");
}

/// Topics by tag and measurement; one that cannot be holds no other up.
fn topics(broker: &Kafka) {
    let point = |i: i64| {
        let point = Point::new(["cpu", "mem"][i as usize % 2], Timestamp(now() + i)).field("f", i);
        if i % 3 == 0 {
            point.tag("to", "by-tag")
        } else if i % 3 == 1 {
            point.tag("to", "not a topic")
        } else {
            point
        }
    };
    let mut options =
        Options { topic_tag: "to".into(), exclude_topic_tag: true, topic: "rest".into(), ..options(broker) };
    options.topic_suffix.method = "measurement".into();
    options.topic_suffix.separator = "_".into();
    let (left, counts) = write(Output::new(options).unwrap(), (0..300).map(point).collect());
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (100, 200, 0));
    for (topic, measurement) in
        [("by-tag_cpu", "cpu"), ("by-tag_mem", "mem"), ("rest_cpu", "cpu"), ("rest_mem", "mem")]
    {
        let read = messages(broker, topic);
        assert_eq!(read.len(), 50, "{topic}");
        assert!(
            read.iter().all(|message| message.value.starts_with(&format!("{measurement} f="))),
            "{topic}"
        );
    }
}

/// Each message is an object that a parser reads, or a body that a real Prometheus takes from who hands it on.
fn payloads() -> Outcome {
    let broker = Kafka::start(None)?;
    json(&broker);
    let prometheus = Receiver::start()?;
    remote_write(&broker, &prometheus);
    Ok(())
}

fn json(broker: &Kafka) {
    const N: usize = 1_000;
    let (seed, start) = (u64::from(std::process::id()), now());
    let points = odd::points(seed, N, |i| Timestamp(start + i));
    let options = Options {
        topic: "json".into(),
        data_format: "json".into(),
        json_timestamp_units: Duration::from_nanos(1),
        ..options(broker)
    };
    let (left, counts) = write(Output::new(options).unwrap(), points.clone());
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, N as u64, 0));
    let mut read = BTreeMap::new();
    for message in messages(broker, "json") {
        let object: Value = serde_json::from_slice(&message.bytes).unwrap();
        assert!(read.insert(object["timestamp"].as_i64().unwrap(), object).is_none(), "{}", message.value);
    }
    assert_eq!(read.len(), N, "seed {seed}");
    for point in points {
        let object = &read[&point.time.0];
        let tags: serde_json::Map<String, Value> =
            odd::sanitized_tags(&point).into_iter().map(|(key, value)| (key, value.into())).collect();
        assert_eq!(
            (&object["name"], &object["tags"]),
            (&odd::sanitized(&point.measurement).into(), &tags.into())
        );
        assert_eq!(object["fields"].as_object().unwrap().len(), point.fields.len());
        for (key, value) in &point.fields {
            let read = &object["fields"][odd::sanitized(key)];
            match value {
                FieldValue::Int(value) => assert_eq!(read.as_i64(), Some(*value)),
                FieldValue::UInt(value) => assert_eq!(read.as_u64(), Some(*value)),
                FieldValue::Float(value) => assert_eq!(read.as_f64(), Some(*value)),
                FieldValue::Bool(value) => assert_eq!(read.as_bool(), Some(*value)),
                FieldValue::Text(value) => assert_eq!(read.as_str(), Some(value.as_str())),
            }
        }
    }
    println!("kafka: {N} odd points are equal in JSON, seed {seed}");
}

fn remote_write(broker: &Kafka, prometheus: &Receiver) {
    const N: i64 = 500;
    let start_ms = now() / 1_000_000 - N * 1_000;
    let point = |i: i64| {
        let point = Point::new("m", Timestamp((start_ms + i * 1_000) * 1_000_000));
        point.tag("host", format!("node-{}", i % 50)).field("f", i)
    };
    let options = Options {
        topic: "remote-write".into(),
        data_format: "prometheusremotewrite".into(),
        ..options(broker)
    };
    let (left, counts) = write(Output::new(options).unwrap(), (0..N).map(point).collect());
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, N as u64, 0));
    for message in messages(broker, "remote-write") {
        let answer = prometheus.take(&message.bytes);
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    let mut read = BTreeMap::new();
    for (labels, samples) in prometheus.series("m_f") {
        read.extend(samples.into_iter().map(|(time, value)| (time, (labels["host"].clone(), value))));
    }
    let expected = (0..N).map(|i| (start_ms + i * 1_000, (format!("node-{}", i % 50), i as f64)));
    assert!(read == expected.collect(), "{read:?}");
    println!("kafka: {N} messages in remote write, handed on, are equal in Prometheus");
}

fn config(listen: SocketAddr, broker: SocketAddr, directory: &Path) -> String {
    format!(
        r#"[agent]
  omit_hostname = true
  interval = "250ms"
  flush_interval = "100ms"
  metric_buffer_limit = 20000
  metric_batch_size = 500
  buffer_strategy = "disk_write_through"
  buffer_directory = "{}"
[[inputs.influxdb_listener]]
  service_address = "{listen}"
[[outputs.kafka]]
  brokers = ["{broker}"]
  topic = "points"
  routing_tag = "host"
  idempotent_writes = true
  namedrop = ["seismograf"]
[[outputs.file]]
  files = ["{{points}}"]
  namepass = ["seismograf"]
  buffer_strategy = "memory"
"#,
        directory.display()
    )
}

/// One client for each host, which numbers its points and sends none of them again. Times are those of now: a broker that restarts
/// forgets producers whose last message is a day old.
fn writers(address: SocketAddr, n: usize, start: i64) -> Writers<(usize, u64)> {
    Writers::start(address, n, |host| {
        let mut next = 0;
        move || {
            pause(Duration::from_millis(2));
            let numbers = next..next + 5;
            next += 5;
            let line = |n: u64| {
                format!("oracle,host=node-{host} n={n}i,v={}i {}\n", value_of(n), start + n.cast_signed())
            };
            (numbers.clone().map(|n| (host, n)).collect(), numbers.map(line).collect())
        }
    })
}

/// Host and number of a message.
fn parsed(message: &Message) -> (usize, u64) {
    let host = message.key.strip_prefix("node-").unwrap().parse().unwrap();
    let (_, rest) = message.value.split_once(" n=").unwrap();
    (host, rest.split_once('i').unwrap().0.parse().unwrap())
}

/// Broker and agent are killed in turn, at any moment.
fn kills() -> Outcome {
    const HOSTS: usize = 4;
    needs(&["influxd"])?;
    let n_kills = number("SEISMOGRAF_KAFKA_KILLS", N_KILLS);
    let seed = number("SEISMOGRAF_SEED", fastrand::u64(..1 << 32));
    let mut random = fastrand::Rng::with_seed(seed);
    println!("kafka: seed {seed}");
    let mut broker = Kafka::start(None)?;
    let (listen, directory) = (free_address(), tempfile::tempdir().unwrap());
    let mut agent = Running::start(&config(listen, broker.address(), directory.path()))?;
    wait_for(|| agent.log().contains("listen"), LIMIT, &agent.log());
    let start = now();
    let clients = writers(listen, HOSTS, start);
    let mut kills = [0; 2];
    for kill in 0..n_kills {
        pause(Duration::from_millis(random.u64(300..1_500)));
        if kill % 2 == 0 {
            broker.kill();
            pause(Duration::from_millis(random.u64(1..500)));
            broker.resume();
        } else {
            agent.kill();
            agent.resume();
        }
        kills[usize::from(kill % 2 == 1)] += 1;
    }
    let before = clients.n_acknowledged();
    wait_for(|| clients.n_acknowledged() > before + 100, LIMIT, &agent.log());
    let (acknowledged, n_refused) = clients.end();
    let output = "seismograf,output=kafka";
    wait_for(|| !agent.lines(output).is_empty() && agent.count(output, "spooled") == 0, LIMIT, &agent.log());
    let (is_success, _) = agent.stop();
    assert!(is_success, "{}", agent.log());

    let read = messages(&broker, "points");
    let mut times: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    let (mut last, mut late) = (BTreeMap::<usize, u64>::new(), 0);
    for message in &read {
        let (host, n) = parsed(message);
        assert!(message.value.contains(&format!(",v={}i ", value_of(n))), "{}", message.value);
        *times.entry((host, n)).or_default() += 1;
        late += usize::from(last.insert(host, n).is_some_and(|before| before >= n));
    }
    let lost = acknowledged.iter().filter(|point| !times.contains_key(point)).count();
    let doubled = times.values().filter(|n| **n > 1).count();
    println!(
        "kafka: {} kills of the broker and {} of the agent: {} points acknowledged, {n_refused} not, {} messages, {lost} lost, {doubled} doubled, {late} out of order",
        kills[0],
        kills[1],
        acknowledged.len(),
        read.len()
    );
    assert!(acknowledged.len() > 1_000, "{}", acknowledged.len());
    assert_eq!((lost, doubled, late), (0, 0, 0), "{}", agent.log());
    read_back(&read, start)
}

/// A consumer writes them into influxd, where they read back equal.
fn read_back(read: &[Message], start: i64) -> Outcome {
    let influxd = Influxd::start(Setup::default())?;
    assert_eq!(influxd.query("", "CREATE DATABASE db").status, 200);
    for messages in read.chunks(2_000) {
        let body: String = messages.iter().map(|message| message.value.as_str()).collect();
        assert_eq!(request(influxd.address(), "POST", "/write?db=db", None, &body).unwrap().status, 204);
    }
    let mut stored = BTreeSet::new();
    for series in influxd.series("db", "SELECT n, v FROM oracle GROUP BY host") {
        let host: usize =
            series["tags"]["host"].as_str().unwrap().strip_prefix("node-").unwrap().parse().unwrap();
        for row in series["values"].as_array().unwrap() {
            let [n, v] = [1, 2].map(|i| row[i].as_u64().unwrap());
            assert_eq!((row[0].as_i64().unwrap(), v), (start + n.cast_signed(), value_of(n)));
            stored.insert((host, n));
        }
    }
    let expected: BTreeSet<(usize, u64)> = read.iter().map(parsed).collect();
    assert_eq!(stored.len(), expected.len());
    assert!(stored == expected, "what was read back differs");
    println!("kafka: {} points read back equal from influxd", stored.len());
    Ok(())
}
