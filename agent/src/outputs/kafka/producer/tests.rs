//! A producer against a broker that does what a test says, and counts as Kafka's do.

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{BatchIndexAndErrorMessage, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, InitProducerIdResponse, MetadataResponse, ProduceResponse, RequestHeader,
    ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, decode_request_header_from_buffer};
use kafka_protocol::records::RecordBatchDecoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::cluster::Patience;
use super::*;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;

/// What a broker does with a request to produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Take,
    /// It does not take it, and says this.
    Refuse(i16),
    /// It takes it, and says this.
    TakeAndSay(i16),
    /// It takes it, and the connection breaks before the answer.
    TakeAndBreak,
    /// The connection breaks.
    Break,
    /// It has forgotten all producers, and takes it if it can.
    Forget,
}

#[derive(Default)]
struct State {
    /// What it does with the next requests; it takes the later ones.
    acts: VecDeque<Act>,
    /// By chance, what it does with one in two requests.
    random: Option<(fastrand::Rng, Vec<Act>)>,
    /// By partition, what it has.
    logs: BTreeMap<i32, Vec<String>>,
    /// By producer and partition: the last batches that it took, as their first number and how many.
    batches: BTreeMap<(i64, i32), VecDeque<(i32, i32)>>,
    n_producers: i64,
    n_requests: usize,
    /// Records that it names as ones that it will never take.
    minds: BTreeSet<String>,
    names_them: bool,
    /// Batches of more records than this are too large; 0 is no limit.
    most: usize,
}

impl State {
    /// As Kafka does: <https://github.com/apache/kafka/blob/4.1.1/storage/src/main/java/org/apache/kafka/storage/internals/log/ProducerStateEntry.java>.
    fn take(&mut self, partition: i32, records: &[kafka_protocol::records::Record]) -> i16 {
        const REMEMBERED: usize = 5;
        let first = &records[0];
        let batch = (first.sequence, records.len() as i32);
        if first.producer_id >= 0 {
            let known = self.batches.entry((first.producer_id, partition)).or_default();
            if known.contains(&batch) {
                return 0;
            }
            let expected = known.back().map_or(0, |(first, n)| first + n);
            if batch.0 != expected {
                return if known.is_empty() { 59 } else { 45 };
            }
            known.push_back(batch);
            if known.len() > REMEMBERED {
                known.pop_front();
            }
        }
        let values =
            records.iter().map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap());
        self.logs.entry(partition).or_default().extend(values);
        0
    }

    fn act(&mut self) -> Act {
        self.n_requests += 1;
        let by_chance = |(random, acts): &mut (fastrand::Rng, Vec<Act>)| {
            if random.bool() { acts[random.usize(..acts.len())] } else { Act::Take }
        };
        let act = self.acts.pop_front();
        act.or_else(|| self.random.as_mut().map(by_chance)).unwrap_or(Act::Take)
    }

    fn answer(
        &mut self,
        act: Act,
        partition: i32,
        records: &[kafka_protocol::records::Record],
    ) -> PartitionProduceResponse {
        let answer = PartitionProduceResponse::default().with_index(partition);
        if self.most > 0 && records.len() > self.most {
            return answer.with_error_code(10);
        }
        let value = |i: usize| String::from_utf8(records[i].value.clone().unwrap().to_vec()).unwrap();
        let bad = (0..records.len()).filter(|i| self.minds.contains(&value(*i)));
        let bad: Vec<_> =
            bad.map(|i| BatchIndexAndErrorMessage::default().with_batch_index(i as i32)).collect();
        if !bad.is_empty() {
            let named = if self.names_them { bad } else { Vec::new() };
            return answer.with_error_code(87).with_record_errors(named);
        }
        match act {
            Act::Refuse(code) => answer.with_error_code(code),
            Act::TakeAndSay(code) => {
                let taken = self.take(partition, records);
                answer.with_error_code(if taken == 0 { code } else { taken })
            }
            _ => {
                let taken = self.take(partition, records);
                answer.with_error_code(taken)
            }
        }
    }
}

#[derive(Clone, Default)]
struct Broker(Arc<Mutex<State>>);

impl Broker {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    /// Listens, and answers each connection.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.serve(connection, address.port()).await });
            }
        });
        address.to_string()
    }

    async fn serve(self, mut connection: TcpStream, port: u16) {
        while let Ok(length) = connection.read_i32().await {
            let mut request = vec![0; length as usize];
            if connection.read_exact(&mut request).await.is_err() {
                return;
            }
            let mut request = Bytes::from(request);
            let header = decode_request_header_from_buffer(&mut request).unwrap();
            let Some(answer) = self.answer(&header, request, port) else { return };
            let answer = [&(answer.len() as i32).to_be_bytes(), &answer[..]].concat();
            // Whoever asked may be gone.
            let _ = connection.write_all(&answer).await;
        }
    }

    fn answer(&self, header: &RequestHeader, mut request: Bytes, port: u16) -> Option<Bytes> {
        let version = header.request_api_version;
        let key = ApiKey::try_from(header.request_api_key).unwrap();
        Some(match key {
            ApiKey::ApiVersions => {
                let newest = [(ApiKey::Metadata, 12), (ApiKey::Produce, 9), (ApiKey::InitProducerId, 4)];
                let api = |(key, newest): (ApiKey, i16)| {
                    ApiVersion::default()
                        .with_api_key(key as i16)
                        .with_min_version(3)
                        .with_max_version(newest)
                };
                encoded(
                    header,
                    version,
                    &ApiVersionsResponse::default().with_api_keys(newest.map(api).into()),
                )
            }
            ApiKey::Metadata => {
                let broker = MetadataResponseBroker::default().with_node_id(1.into()).with_port(port.into());
                let broker = broker.with_host(StrBytes::from_static_str("127.0.0.1"));
                let partition =
                    |n| MetadataResponsePartition::default().with_partition_index(n).with_leader_id(1.into());
                let topic = MetadataResponseTopic::default()
                    .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
                    .with_partitions((0..PARTITIONS).map(partition).collect());
                let answer = MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]);
                encoded(header, version, &answer)
            }
            ApiKey::InitProducerId => {
                let id = self.with(|state| {
                    state.n_producers += 1;
                    state.n_producers
                });
                encoded(header, version, &InitProducerIdResponse::default().with_producer_id(id.into()))
            }
            ApiKey::Produce => self.produced(header, &mut request)?,
            other => panic!("{other:?}"),
        })
    }

    fn produced(&self, header: &RequestHeader, request: &mut Bytes) -> Option<Bytes> {
        let version = header.request_api_version;
        let request = ProduceRequest::decode(request, version).unwrap();
        self.with(|state| {
            let act = state.act();
            if act == Act::Break {
                return None;
            }
            if act == Act::Forget {
                state.batches.clear();
            }
            let data = request.topic_data.into_iter().flat_map(|topic| topic.partition_data);
            let answers = data.map(|data| {
                let records = RecordBatchDecoder::decode(&mut data.records.unwrap()).unwrap().records;
                state.answer(act, data.index, &records)
            });
            let answers: Vec<_> = answers.collect();
            let topic = TopicProduceResponse::default()
                .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
                .with_partition_responses(answers);
            let answer = ProduceResponse::default().with_responses(vec![topic]);
            (act != Act::TakeAndBreak).then(|| encoded(header, version, &answer))
        })
    }
}

fn encoded<A: Encodable + HeaderVersion>(header: &RequestHeader, version: i16, answer: &A) -> Bytes {
    let mut bytes = BytesMut::new();
    let head = ResponseHeader::default().with_correlation_id(header.correlation_id);
    head.encode(&mut bytes, A::header_version(version)).unwrap();
    answer.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn producer(address: &str, is_idempotent: bool) -> Producer {
    let reach = BrokerReach { client_id: "t".into(), tls: None, sasl: None, keep_alive: Duration::ZERO };
    let patience = Patience { tries: 1, first: Duration::from_millis(1), most: None };
    let settings =
        Settings { codec: Codec::None, acks: -1, is_idempotent, max_retry: 1, max_bytes: 1_000_000 };
    Producer::new(settings, Cluster::new(reach, vec![address.to_owned()], patience))
}

/// Records with numbers, of some keys.
fn records(numbers: impl Iterator<Item = usize>) -> Vec<Record> {
    let record = |n: usize| Record {
        key: Some(format!("key-{}", n % 7)),
        value: Bytes::from(format!("key-{} {n}", n % 7)),
        ..Record::default()
    };
    numbers.map(record).collect()
}

/// Sends as a sender does, up to `batch` records at a time: those that are left go first. Returns how many were refused.
async fn send_all(producer: &mut Producer, n: usize, batch: usize) -> usize {
    let (mut waiting, mut n_refused) = (records(0..n), 0);
    while !waiting.is_empty() {
        let taken = waiting[..batch.min(waiting.len())].to_vec();
        let outcome = producer.send(TOPIC, &taken).await;
        n_refused += outcome.refused.len();
        assert_eq!(outcome.left.is_empty(), outcome.trouble.is_none(), "{outcome:?}");
        let left: Vec<Record> = outcome.left.iter().map(|i| taken[*i].clone()).collect();
        waiting.splice(..taken.len(), left);
    }
    n_refused
}

/// How many records there are, each once and in the order of its key.
fn once_in_order(broker: &Broker) -> usize {
    broker.with(|state| {
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        for value in state.logs.values().flatten() {
            let (key, n) = value.split_once(' ').unwrap();
            let n = n.parse().unwrap();
            let before = last.insert(key.to_owned(), n);
            assert!(before.is_none_or(|before| before < n), "{value} after {before:?}");
        }
        state.logs.values().map(Vec::len).sum()
    })
}

#[tokio::test]
async fn each_record_is_there_once_and_in_order_whatever_a_broker_does() {
    // Connections that break before and after a batch is taken, timeouts, another leader, too few replicas.
    let acts = vec![
        Act::Break,
        Act::TakeAndBreak,
        Act::TakeAndSay(7),
        Act::TakeAndSay(20),
        Act::Refuse(6),
        Act::Refuse(19),
        Act::Refuse(-1),
        Act::TakeAndSay(46),
    ];
    for seed in 0..20 {
        let broker = Broker::default();
        broker.with(|state| state.random = Some((fastrand::Rng::with_seed(seed), acts.clone())));
        let mut producer = producer(&broker.start().await, true);
        assert_eq!(send_all(&mut producer, 2_000, 100).await, 0);
        assert_eq!(once_in_order(&broker), 2_000, "seed {seed}");
        broker.with(|state| assert_eq!(state.n_producers, 1));
    }
}

/// What a spool hands out again: from a cursor on that is some writes behind, since the agent was killed.
struct Spool {
    records: Vec<Record>,
    is_done: Vec<bool>,
    /// Where the cursor was after each write, the last few.
    cursors: VecDeque<usize>,
    /// What was handed out before.
    seen: usize,
}

impl Spool {
    fn open(&self) -> Vec<usize> {
        (0..self.records.len()).filter(|i| !self.is_done[*i]).collect()
    }

    fn settle(&mut self, numbers: &[usize], outcome: &SendOutcome) {
        let done = numbers.iter().enumerate().filter(|(i, _)| !outcome.left.contains(i));
        done.for_each(|(_, number)| self.is_done[*number] = true);
        let cursor = self.open().first().copied().unwrap_or(self.records.len());
        self.cursors.push_back(cursor);
        if self.cursors.len() > 3 {
            self.cursors.pop_front();
        }
    }

    fn kill(&mut self) {
        let cursor = self.cursors.front().copied().unwrap_or(0);
        self.is_done[cursor..].fill(false);
        self.cursors = [cursor].into();
    }
}

#[tokio::test]
async fn each_record_is_there_once_when_the_agent_is_killed() {
    const N: usize = 1_000;
    let acts = vec![Act::Break, Act::TakeAndBreak, Act::TakeAndSay(7), Act::Refuse(6)];
    let mut n_kills = 0;
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (broker, directory) = (Broker::default(), tempfile::tempdir().unwrap());
        broker.with(|state| state.random = Some((fastrand::Rng::with_seed(seed), acts.clone())));
        let address = broker.start().await;
        let mut spool =
            Spool { records: records(0..N), is_done: vec![false; N], cursors: VecDeque::new(), seen: 0 };
        while !spool.open().is_empty() {
            let mut producer = producer(&address, true);
            producer.keep_in(directory.path());
            for _ in 0..random.usize(1..6) {
                // What there is at a flush; whole batches of what there is again.
                let open = spool.open();
                let is_again = open.first().is_some_and(|first| *first < spool.seen);
                let n = if is_again { 100 } else { random.usize(10..100) };
                let numbers: Vec<usize> = open.into_iter().take(n).collect();
                spool.seen = spool.seen.max(numbers.last().map_or(0, |last| last + 1));
                let taken: Vec<Record> = numbers.iter().map(|n| spool.records[*n].clone()).collect();
                let limit = Duration::from_micros(random.u64(1_000..300_000));
                let sent = tokio::time::timeout(limit, producer.send(TOPIC, &taken)).await;
                match sent {
                    Ok(outcome) => spool.settle(&numbers, &outcome),
                    Err(_) => break,
                }
            }
            spool.kill();
            n_kills += 1;
            // The threads of an agent that is killed end with it; here they have to be waited for.
            drop(producer);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(once_in_order(&broker), N, "seed {seed}");
        broker.with(|state| assert_eq!(state.n_producers, 1, "seed {seed}"));
    }
    assert!(n_kills > 16, "{n_kills}");
}

#[tokio::test]
async fn without_numbers_an_answer_that_is_lost_doubles_a_batch() {
    let broker = Broker::default();
    broker.with(|state| state.acts.push_back(Act::TakeAndBreak));
    let mut producer = producer(&broker.start().await, false);
    send_all(&mut producer, 100, 100).await;
    broker.with(|state| {
        assert_eq!(state.logs.values().map(Vec::len).sum::<usize>(), 200);
        assert_eq!(state.n_producers, 0);
    });
}

#[tokio::test]
async fn a_producer_that_brokers_have_forgotten_begins_anew() {
    let broker = Broker::default();
    broker.with(|state| state.acts.extend([Act::Take, Act::Forget]));
    let mut producer = producer(&broker.start().await, true);
    send_all(&mut producer, 300, 100).await;
    assert_eq!(once_in_order(&broker), 300);
    broker.with(|state| assert_eq!(state.n_producers, 2));
}

#[tokio::test]
async fn records_that_are_gone_before_it_is_known_what_became_of_them_take_another_producer() {
    let broker = Broker::default();
    broker.with(|state| state.acts.extend([Act::TakeAndBreak, Act::Break]));
    let mut producer = producer(&broker.start().await, true);
    let outcome = producer.send(TOPIC, &records(0..100)).await;
    assert_eq!(outcome.left.len(), 100);
    let outcome = producer.send(TOPIC, &records(50..200)).await;
    assert_eq!(outcome, SendOutcome::default());
    broker.with(|state| {
        assert_eq!(state.n_producers, 2);
        // 50 of them twice, since nobody can know.
        assert_eq!(state.logs.values().map(Vec::len).sum::<usize>(), 250);
    });
}

#[rstest::rstest]
#[case::named(true)]
#[case::not_named(false)]
#[tokio::test]
async fn records_that_a_broker_minds_are_found_and_all_others_are_there(#[case] names_them: bool) {
    let broker = Broker::default();
    let minds = records([3, 4, 250, 777].into_iter()).into_iter();
    broker.with(|state| {
        state.minds = minds.map(|record| String::from_utf8(record.value.to_vec()).unwrap()).collect();
        state.names_them = names_them;
    });
    let mut producer = producer(&broker.start().await, true);
    assert_eq!(send_all(&mut producer, 1_000, 500).await, 4);
    assert_eq!(once_in_order(&broker), 996);
    broker.with(|state| assert!(state.n_requests < 60, "{}", state.n_requests));
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_in_parts() {
    let broker = Broker::default();
    broker.with(|state| state.most = 10);
    let mut producer = producer(&broker.start().await, true);
    assert_eq!(send_all(&mut producer, 1_000, 500).await, 0);
    assert_eq!(once_in_order(&broker), 1_000);
}

#[rstest::rstest]
#[case(29, true, "TopicAuthorizationFailed")]
#[case(31, false, "ClusterAuthorizationFailed")]
#[tokio::test]
async fn what_a_person_has_to_put_right_is_said_and_waits(
    #[case] code: i16,
    #[case] is_topic: bool,
    #[case] words: &str,
) {
    let broker = Broker::default();
    broker.with(|state| state.acts.push_back(Act::Refuse(code)));
    let mut producer = producer(&broker.start().await, true);
    let outcome = producer.send(TOPIC, &records(0..100)).await;
    let trouble = outcome.trouble.unwrap();
    assert!(trouble.reason.contains(words) && trouble.is_topic == is_topic, "{trouble:?}");
    assert_eq!(outcome.left.len(), 100);
    broker.with(|state| assert_eq!(state.n_requests, 1, "it is not tried again at once"));
    assert_eq!(producer.send(TOPIC, &records(0..100)).await, SendOutcome::default());
    assert_eq!(once_in_order(&broker), 100);
}

#[test]
fn numbers_go_on_at_0_after_the_largest() {
    let mut sequence = Sequence { next: i32::MAX - 1, ..Sequence::default() };
    sequence.advance(2);
    assert_eq!(sequence.next, 0);
    sequence.advance(3);
    assert_eq!(sequence.next, 3);
}

#[tokio::test]
async fn nobody_there_is_said_with_all_addresses() {
    let mut producer = producer("127.0.0.1:9", true);
    let outcome = producer.send(TOPIC, &records(0..3)).await;
    let trouble = outcome.trouble.unwrap();
    assert!(trouble.reason.starts_with("127.0.0.1:9: ") && !trouble.is_topic, "{trouble:?}");
    assert_eq!(outcome.left.len(), 3);
}
