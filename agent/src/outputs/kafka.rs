//! `[[outputs.kafka]]`: messages to a topic of Kafka, one for each point.
//!
//! Brokers are reached by `connection`, with the messages of the crate `kafka-protocol`; who leads a partition is `cluster`'s,
//! and that a message is stored once is `producer`'s. Lines of a batch are of one topic, which is their route.

mod answer;
mod cluster;
mod connection;
mod headers;
mod journal;
mod options;
mod partition;
mod producer;
mod records;
mod sasl;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use tokio::sync::Mutex;

use self::cluster::Cluster;
use self::headers::Headers;
use self::options::Suffix;
pub use self::options::{KafkaOptions as Options, TopicSuffix};
use self::producer::{Producer, SendOutcome};
use self::records::{HEAD, Record};
use super::batch::{Encoding, RouteTag};
use super::{Answer, Blame, Output, OutputPlugin};
use crate::options::OptionError;
use crate::parsers::line_protocol::{Line, Precision, parse};
use crate::point::Timestamp;
use crate::serializers::json::Json;
use crate::serializers::prometheus_remote_write::PrometheusRemoteWrite;
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// What a message has of its point.
#[derive(Clone, Copy, Debug)]
enum Payload {
    Line,
    Json(Json),
    RemoteWrite(PrometheusRemoteWrite),
}

impl Payload {
    fn new(options: &Options) -> Result<Self, OptionError> {
        match options.data_format.as_str() {
            "" | "influx" => Ok(Self::Line),
            "json" => Ok(Self::Json(Json::new(options.json_timestamp_units))),
            "prometheusremotewrite" => Ok(Self::RemoteWrite(PrometheusRemoteWrite {
                string_as_label: options.prometheus_string_as_label,
            })),
            other => {
                let what = format!("`{other}` is not here: there are influx, json and prometheusremotewrite");
                Err(OptionError::new("data_format", what))
            }
        }
    }

    fn value(self, text: &Bytes, line: Option<&Line<'_>>, now: Timestamp) -> Bytes {
        match (self, line) {
            (Self::Json(json), Some(line)) => json.point(&line.point(now)).into(),
            (Self::RemoteWrite(format), Some(line)) => format.batch(&[line.point(now)]).into(),
            _ => text.clone(),
        }
    }
}

/// A client of a cluster.
pub struct Kafka {
    options: Options,
    suffix: Suffix,
    payload: Payload,
    headers: Headers,
    has_metric_time: bool,
    max_message_bytes: usize,
    producer: Mutex<Producer>,
}

impl Kafka {
    /// Checks the options; no broker is contacted.
    ///
    /// # Errors
    /// An option that cannot be used.
    pub fn new(options: Options) -> Result<Self, OptionError> {
        let cluster = Cluster::new(options.reach()?, options.addresses()?, options.patience()?);
        let settings = options.settings()?;
        Ok(Self {
            suffix: options.suffix()?,
            payload: Payload::new(&options)?,
            headers: options.all_headers()?,
            has_metric_time: options.has_metric_time()?,
            max_message_bytes: settings.max_bytes,
            producer: Mutex::new(Producer::new(settings, cluster)),
            options,
        })
    }

    /// The topic of a route.
    fn topic(&self, route: &[Option<String>]) -> String {
        let parts = route.iter().skip(usize::from(!self.options.topic_tag.is_empty()));
        let tagged = if self.options.topic_tag.is_empty() { None } else { route.first() };
        let topic = tagged.and_then(Option::as_ref).unwrap_or(&self.options.topic);
        // A tag that a point does not have adds nothing, nor its separator.
        let added = parts.flatten().map(|part| [self.options.topic_suffix.separator.as_str(), part].concat());
        std::iter::once(topic.clone()).chain(added).collect()
    }

    fn record(&self, text: &Bytes, now: Timestamp) -> Record {
        let line = std::str::from_utf8(text).ok();
        let line = line.and_then(|line| parse(line, Precision::Nanoseconds).next()?.ok());
        let time = line.as_ref().and_then(Line::time).filter(|_| self.has_metric_time);
        // Kafka has no times before its epoch.
        let time = time.filter(|time| time.0 >= 0).unwrap_or(now);
        let value = self.payload.value(text, line.as_ref(), now);
        let Options { routing_tag, routing_key, .. } = &self.options;
        let tagged = line.as_ref().filter(|_| !routing_tag.is_empty());
        let key =
            tagged.and_then(|line| headers::tag(line, routing_tag)).or_else(|| match routing_key.as_str() {
                "" => None,
                "random" => Some(partition::random_key(text)),
                key => Some(key.to_owned()),
            });
        let headers = line.filter(|_| !self.headers.is_empty()).map(|line| self.headers.of(&line));
        Record { time_ms: time.0 / 1_000_000, key, value, headers: headers.unwrap_or_default() }
    }

    /// Lines whose message is longer than any may be.
    fn too_long(&self, records: &[Record]) -> BTreeMap<usize, String> {
        let long =
            records.iter().enumerate().filter(|(_, record)| HEAD + record.size() > self.max_message_bytes);
        let reason = |size: usize| {
            format!("a message of {size} bytes: max_message_bytes is {}", self.max_message_bytes)
        };
        long.map(|(i, record)| (i, reason(HEAD + record.size()))).collect()
    }
}

impl OutputPlugin for Options {
    fn files(&self) -> Files {
        Files::read_all(self.tls.files())
    }

    fn budget(&self) -> Budget {
        Budget { connections: cluster::MAX_CONNECTIONS as u64, ..Budget::default() }
    }

    fn remarks(&self) -> Vec<OptionError> {
        self.own_remarks()
    }

    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError> {
        Ok(vec![Box::new(Kafka::new(*self)?)])
    }
}

#[async_trait::async_trait]
impl Output for Kafka {
    fn place(&self) -> String {
        format!("kafka {}", self.options.brokers.join(", "))
    }

    fn destination(&self) -> String {
        let Options { brokers, topic, topic_tag, topic_suffix, .. } = &self.options;
        let TopicSuffix { method, keys, separator } = topic_suffix;
        format!("kafka {} {topic} {topic_tag} {method} {} {separator}", brokers.join(" "), keys.join(" "))
    }

    fn encoding(&self) -> Encoding {
        let Options { topic_tag, exclude_topic_tag, topic_suffix, .. } = &self.options;
        let mut route = Vec::new();
        if !topic_tag.is_empty() {
            route.push(RouteTag { key: topic_tag.clone(), exclude: *exclude_topic_tag });
        }
        if self.suffix == Suffix::Tags {
            route.extend(topic_suffix.keys.iter().map(|key| RouteTag { key: key.clone(), exclude: false }));
        }
        Encoding {
            format: self.options.format(),
            route,
            by_measurement: self.suffix == Suffix::Measurement,
            in_order: true,
            ..Encoding::default()
        }
    }

    fn keep_state(&mut self, directory: &Path) {
        self.producer.get_mut().keep_in(directory);
    }

    async fn write(&self, route: &[Option<String>], lines: &[Bytes]) -> Answer {
        let now = Timestamp::now();
        let records: Vec<Record> = lines.iter().map(|line| self.record(line, now)).collect();
        let too_long = self.too_long(&records);
        if !too_long.is_empty() {
            let reason = "some messages are too long".to_owned();
            return Answer::Rejected { reason, blame: Blame::Lines(too_long) };
        }
        let outcome = self.producer.lock().await.send(&self.topic(route), &records).await;
        let SendOutcome { left, trouble, refused } = outcome;
        let (reason, route_only) =
            trouble.map(|trouble| (trouble.reason, trouble.is_topic)).unwrap_or_default();
        if left.is_empty() && refused.is_empty() {
            Answer::STORED
        } else if left.len() == lines.len() {
            Answer::Retry { reason, after: None, route_only }
        } else {
            Answer::Partly { left, rejected: refused, reason, after: None, route_only }
        }
    }

    async fn check(&self) -> Vec<(String, Result<String, String>)> {
        // One that is put together of a point's tags or name has no name yet.
        let is_fixed = self.suffix == Suffix::None && self.options.topic_tag.is_empty();
        let topic = is_fixed.then_some(self.options.topic.as_str());
        let found = self.producer.lock().await.cluster.describe(topic).await;
        vec![(self.place(), found)]
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn kafka(options: Options) -> Kafka {
        Kafka::new(options).unwrap()
    }

    fn suffix(method: &str, keys: &[&str]) -> TopicSuffix {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        TopicSuffix { method: method.into(), keys, separator: "__".into() }
    }

    #[rstest]
    #[case(Options { brokers: Vec::new(), ..Options::default() }, "`brokers`: has none")]
    #[case(Options { brokers: vec!["h".into()], ..Options::default() }, "`brokers`: `h` is not an address")]
    #[case(Options { compression_codec: 4, ..Options::default() }, "`compression_codec`: 4, zstd, is not here")]
    #[case(Options { required_acks: 2, ..Options::default() }, "`required_acks`: is -1 for all replicas")]
    #[case(Options { idempotent_writes: true, required_acks: 1, ..Options::default() }, "`idempotent_writes`: needs")]
    #[case(Options { max_retry: -1, ..Options::default() }, "`max_retry`: is a number of tries")]
    #[case(Options { topic_suffix: suffix("name", &[]), ..Options::default() }, "`topic_suffix`: there is no method `name`")]
    #[case(Options { producer_timestamp: "then".into(), ..Options::default() }, "`producer_timestamp`: there is no `then`")]
    #[case(Options { metadata_retry_type: "x".into(), ..Options::default() }, "`metadata_retry_type`: there is no `x`")]
    #[case(Options { sasl_mechanism: "GSSAPI".into(), ..Options::default() }, "`sasl_mechanism`: `GSSAPI` is not here")]
    #[case(Options { data_format: "graphite".into(), ..Options::default() }, "`data_format`: `graphite` is not here")]
    fn rejects_what_it_cannot_use(#[case] options: Options, #[case] expected: &str) {
        let error = Kafka::new(options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected), "{error}");
    }

    /// As Telegraf names them.
    #[test]
    fn a_topic_is_of_a_tag_and_has_a_suffix() {
        let topic = |options: Options, tags: &[(&'static str, &'static str)]| {
            let kafka = kafka(options);
            let point = crate::point::Point::new("cpu", Timestamp(0));
            let point = tags.iter().fold(point, |point, (key, value)| point.tag(*key, *value));
            kafka.topic(&kafka.encoding().route(&mut std::borrow::Cow::Owned(point)))
        };
        let plain = || Options { topic: "t".into(), ..Options::default() };
        assert_eq!(topic(plain(), &[]), "t");
        let tagged = || Options { topic_tag: "to".into(), ..plain() };
        assert_eq!(topic(tagged(), &[("to", "x")]), "x");
        assert_eq!(topic(tagged(), &[]), "t");
        let by_name = Options { topic_suffix: suffix("measurement", &[]), ..tagged() };
        assert_eq!(topic(by_name, &[("to", "x")]), "x__cpu");
        let by_tags = || Options { topic_suffix: suffix("tags", &["foo", "bar"]), ..plain() };
        assert_eq!(topic(by_tags(), &[("foo", "1"), ("bar", "2")]), "t__1__2");
        assert_eq!(topic(by_tags(), &[("bar", "2")]), "t__2");
        assert_eq!(topic(by_tags(), &[]), "t");
    }

    #[test]
    fn a_message_has_key_time_and_headers_of_its_point() {
        let line = Bytes::from_static(b"cpu,host=a f=1i 1700000000123456789\n");
        let now = Timestamp(1_800_000_000_000_000_000);
        let options =
            || Options { routing_tag: "host".into(), routing_key: "k".into(), ..Options::default() };
        let named = Options { metric_name_header: "name".into(), ..options() };
        let record = kafka(named).record(&line, now);
        let expected = Record {
            time_ms: 1_700_000_000_123,
            key: Some("a".into()),
            value: line.clone(),
            headers: vec![("name".into(), "cpu".into())],
        };
        assert_eq!(record, expected);
        let other = Bytes::from_static(b"cpu f=1i -5\n");
        let record = kafka(options()).record(&other, now);
        assert_eq!(
            (record.time_ms, record.key.as_deref()),
            (1_800_000_000_000, Some("k")),
            "a time before 1970"
        );
        let late =
            Options { producer_timestamp: "now".into(), routing_key: "random".into(), ..Options::default() };
        let late = kafka(late);
        assert_eq!(late.record(&line, now).time_ms, 1_800_000_000_000);
        assert_eq!(late.record(&line, now).key, late.record(&line, now).key);
        let json = kafka(Options { data_format: "json".into(), ..options() }).record(&line, now);
        assert_eq!(
            json.value,
            "{\"fields\":{\"f\":1},\"name\":\"cpu\",\"tags\":{\"host\":\"a\"},\"timestamp\":1700000000}\n"
        );
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_named_and_nothing_is_sent() {
        let kafka = kafka(Options { max_message_bytes: 200, ..Options::default() });
        let long = Bytes::from(format!("m f=\"{}\" 1\n", "x".repeat(200)));
        let answer = kafka.write(&[], &[Bytes::from_static(b"m f=1i 1\n"), long]).await;
        let Answer::Rejected { blame: Blame::Lines(lines), .. } = answer else { panic!("{answer:?}") };
        assert_eq!(lines.keys().copied().collect::<Vec<_>>(), [1]);
        assert!(lines[&1].contains("max_message_bytes is 200"), "{lines:?}");
    }

    #[test]
    fn what_is_said_of_options_at_a_risk() {
        let said =
            |options: Options| options.remarks().iter().map(|remark| remark.option).collect::<Vec<_>>();
        assert_eq!(said(Options::default()), [] as [&str; 0]);
        assert_eq!(said(Options { required_acks: 0, ..Options::default() }), ["required_acks"]);
        let open = Options { sasl_username: "u".into(), sasl_password: "p".into(), ..Options::default() };
        assert_eq!(said(open.clone()), ["sasl_password"]);
        assert_eq!(said(Options { enable_tls: Some(true), ..open }), [] as [&str; 0]);
    }

    #[test]
    fn what_waits_for_one_topic_never_goes_to_another() {
        let destination = |options: Options| kafka(options).destination();
        let plain = destination(Options::default());
        for other in [
            Options { brokers: vec!["a:1".into()], ..Options::default() },
            Options { topic: "other".into(), ..Options::default() },
            Options { topic_tag: "t".into(), ..Options::default() },
            Options { topic_suffix: suffix("measurement", &[]), ..Options::default() },
        ] {
            assert_ne!(destination(other.clone()), plain, "{other:?}");
        }
        assert_eq!(destination(Options { idempotent_writes: true, ..Options::default() }), plain);
    }
}
