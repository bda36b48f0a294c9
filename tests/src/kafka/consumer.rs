//! A consumer: all messages of a topic, partition by partition, as the broker has them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use kafka_protocol::records::RecordBatchDecoder;

/// With names of topics, and before numbers were packed.
const FETCH: i16 = 11;
const METADATA: i16 = 8;
const LIMIT: Duration = Duration::from_secs(10);
/// The bytes of a batch before those that its length counts.
const BATCH_HEAD: usize = 12;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Of the topic.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// The producer that numbered it; -1 where it was not numbered.
    pub producer: i64,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// As text; empty where there is none.
    pub key: String,
    /// As text.
    pub value: String,
    /// The same as it is.
    pub bytes: Bytes,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

/// A connection to a broker.
pub struct Consumer {
    stream: TcpStream,
}

impl Consumer {
    /// Connects; `None` while nobody listens.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        Some(Self { stream })
    }

    /// Whether the broker knows of itself, and so takes messages.
    #[must_use]
    pub fn has_broker(&mut self) -> bool {
        self.metadata(&[]).is_some_and(|answer| !answer.brokers.is_empty())
    }

    /// How many partitions a topic has; 0 where it is not there.
    #[must_use]
    pub fn n_partitions(&mut self, topic: &str) -> usize {
        let answer = self.metadata(&[topic]);
        answer.and_then(|answer| answer.topics.first().map(|topic| topic.partitions.len())).unwrap_or(0)
    }

    /// All messages of a topic, from each partition in its order.
    ///
    /// # Panics
    /// The broker does not answer, or they are packed.
    #[must_use]
    pub fn messages(&mut self, topic: &str) -> Vec<Message> {
        let n = i32::try_from(self.n_partitions(topic)).unwrap();
        (0..n).flat_map(|partition| self.of_partition(topic, partition)).collect()
    }

    /// How many messages a topic has.
    ///
    /// # Panics
    /// The broker does not answer.
    #[must_use]
    pub fn n_messages(&mut self, topic: &str) -> u64 {
        let n = i32::try_from(self.n_partitions(topic)).unwrap();
        (0..n).map(|partition| self.fetch(topic, partition, 0, 1).high_watermark.cast_unsigned()).sum()
    }

    /// Has the broker make a topic, as it makes one that is written to.
    ///
    /// # Panics
    /// The broker does not answer.
    pub fn make_topic(&mut self, topic: &str) {
        let topics = vec![MetadataRequestTopic::default().with_name(Some(name(topic)))];
        let request =
            MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(true);
        let _: MetadataResponse = self.call(ApiKey::Metadata, METADATA, &request).expect("no answer");
    }

    fn fetch(&mut self, topic: &str, partition: i32, from: i64, max_bytes: i32) -> PartitionData {
        let part = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(from)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(max_bytes);
        let topics = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![part]);
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(0)
            .with_max_bytes(max_bytes)
            .with_session_epoch(-1)
            .with_topics(vec![topics]);
        let mut answer: FetchResponse = self.call(ApiKey::Fetch, FETCH, &request).expect("no answer");
        assert_eq!(answer.error_code, 0);
        let data = answer.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, 0, "{topic} {partition}");
        data
    }

    fn of_partition(&mut self, topic: &str, partition: i32) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::new();
        loop {
            let next = messages.last().map_or(0, |message| message.offset + 1);
            let data = self.fetch(topic, partition, next, 8 << 20);
            let before = messages.len();
            let mut rest = data.records.clone().unwrap_or_default();
            while let Some(batch) = whole_batch(&mut rest) {
                messages
                    .extend(decoded(partition, batch).into_iter().filter(|message| message.offset >= next));
            }
            if messages.len() == before {
                assert!(next >= data.high_watermark, "{next} of {}", data.high_watermark);
                return messages;
            }
        }
    }

    fn metadata(&mut self, topics: &[&str]) -> Option<MetadataResponse> {
        let topic = |topic: &&str| MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request = MetadataRequest::default()
            .with_topics(Some(topics.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(false);
        self.call(ApiKey::Metadata, METADATA, &request)
    }

    fn call<Q: Encodable + HeaderVersion, A: Decodable + HeaderVersion>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Q,
    ) -> Option<A> {
        let mut frame = BytesMut::from(&[0; 4][..]);
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        header.encode(&mut frame, Q::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = i32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).ok()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).ok()?;
        let mut answer = Bytes::from(answer);
        ResponseHeader::decode(&mut answer, A::header_version(version)).ok()?;
        A::decode(&mut answer, version).ok()
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Takes the next batch off; the last one of an answer may be cut off.
fn whole_batch(rest: &mut Bytes) -> Option<Bytes> {
    let length = rest.get(8..BATCH_HEAD)?;
    let length = BATCH_HEAD + u32::from_be_bytes(length.try_into().ok()?) as usize;
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn decoded(partition: i32, mut batch: Bytes) -> Vec<Message> {
    let text = |bytes: Option<&Bytes>| {
        bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let records = RecordBatchDecoder::decode(&mut batch).expect("a batch that cannot be read").records;
    let message = |record: kafka_protocol::records::Record| Message {
        partition,
        offset: record.offset,
        producer: record.producer_id,
        time_ms: record.timestamp,
        key: text(record.key.as_ref()),
        value: text(record.value.as_ref()),
        bytes: record.value.clone().unwrap_or_default(),
        headers: record
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_ref())))
            .collect(),
    };
    records.into_iter().filter(|record| !record.control).map(message).collect()
}
