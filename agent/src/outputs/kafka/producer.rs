//! A producer: sends records of a topic to the leaders of their partitions, each once where it is idempotent.
//!
//! Records of a partition go one batch after the other, in their order; partitions go side by side. An idempotent producer
//! numbers its records in each partition, and the broker takes no number twice. So a batch of which nobody knows whether it was
//! stored (its connection broke, its answer was late) is kept as it was sent, and sent again like that: the broker stores it, or
//! says that it has it. Where there is a journal, so it is with what an agent had sent that was killed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::task::JoinSet;

use super::answer::{self, Rule};
use super::cluster::{Cluster, Trouble};
use super::connection::{BrokerReach, Connection, LIMIT};
use super::journal::{Journal, Next, Resumed, Sent, State};
use super::partition;
use super::records::{self, Codec, HEAD, Record, Stamp};

/// How long a broker may wait for its replicas.
const REPLICAS_LIMIT: Duration = Duration::from_secs(10);
/// What is said where nobody will know what became of some records.
const GONE: &str =
    "records that may be stored or not are no longer there to be sent again: some may be stored twice";
/// From one try to the next, as Sarama's.
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// The options that say how records are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) codec: Codec,
    /// 0, 1 or -1 for all replicas.
    pub(super) acks: i16,
    pub(super) is_idempotent: bool,
    pub(super) max_retry: u32,
    /// The most bytes of a batch, before it is packed.
    pub(super) max_bytes: usize,
}

/// What became of records. All others are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SendOutcome {
    /// Records that are not stored, by their number.
    pub(super) left: BTreeSet<usize>,
    /// Why.
    pub(super) trouble: Option<Trouble>,
    /// Records that no broker will take, with the reason.
    pub(super) refused: BTreeMap<usize, String>,
}

pub(super) struct Producer {
    settings: Settings,
    pub(super) cluster: Cluster,
    /// The number that brokers know this producer by, and its epoch.
    id: Option<(i64, i16)>,
    /// By topic and partition.
    sequences: BTreeMap<(String, i32), Sequence>,
    journal: Option<Journal>,
    /// What the agent before had sent, where nothing came again of it yet.
    recalled: BTreeMap<(String, i32), Sent>,
    has_recalled: bool,
}

/// The records that a partition has of this producer.
#[derive(Debug, Default)]
struct Sequence {
    /// The number of the next one.
    next: i32,
    /// A batch that may be stored or not.
    doubt: Option<SentBatch>,
    /// For the journal.
    sent: Sent,
}

impl Sequence {
    /// So many are stored. After the largest number comes 0.
    fn advance(&mut self, n: usize) {
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        self.next = self.next.wrapping_add(n) & i32::MAX;
        self.doubt = None;
    }
}

/// A batch as it is sent.
#[derive(Clone, Debug)]
struct SentBatch {
    /// What its records have.
    values: Vec<Bytes>,
    encoded: Bytes,
}

/// What is left to send of a partition.
#[derive(Debug, Default)]
struct Part {
    /// Numbers of records.
    queue: VecDeque<usize>,
    /// At most so many at a time; 0 is no limit.
    most: usize,
    /// So many of them are on their way.
    sent: usize,
    /// Records of a batch that may be stored, which waits for its others.
    held: VecDeque<usize>,
}

/// What a broker answers for each partition that it was sent, or why it does not.
type Answered = (i32, Option<Connection>, Result<Vec<PartitionProduceResponse>, String>);

impl Producer {
    pub(super) fn new(settings: Settings, cluster: Cluster) -> Self {
        let (sequences, recalled) = Default::default();
        Self { settings, cluster, id: None, sequences, journal: None, recalled, has_recalled: false }
    }

    /// Goes on with what is in a directory, where the records that are handed out again have been before; and writes it there.
    pub(super) fn keep_in(&mut self, directory: &Path) {
        self.journal = self.settings.is_idempotent.then(|| Journal::new(directory));
    }

    /// Takes up what the agent before had sent.
    async fn recall(&mut self) {
        let Some(journal) = self.journal.as_ref().filter(|_| !self.has_recalled) else { return };
        if let Some(State { id, epoch, sent }) = journal.read().await {
            (self.id, self.recalled) = (Some((id, epoch)), sent);
        }
        self.has_recalled = true;
    }

    /// Writes down what is about to be sent.
    async fn note(&mut self) -> Result<(), Trouble> {
        let (Some(journal), Some((id, epoch))) = (&mut self.journal, self.id) else { return Ok(()) };
        let known = self.sequences.iter().map(|(at, sequence)| (at.clone(), sequence.sent.clone()));
        let sent = known.chain(self.recalled.clone()).collect();
        journal.write(&State { id, epoch, sent }).await.map_err(Trouble::of_all)
    }

    /// Leaves out what is stored, and goes on with the batches that may be.
    fn resume(&mut self, topic: &str, records: &[Record], parts: &mut BTreeMap<i32, Part>) {
        let Some((producer_id, epoch)) = self.id else { return };
        for (partition, part) in parts.iter_mut() {
            let at = (topic.to_owned(), *partition);
            let Some(mut sent) = self.recalled.remove(&at) else { continue };
            let Resumed { stored, next } = sent.resume(part.queue.iter().map(|i| &records[*i].value[..]));
            part.queue.drain(..stored);
            let mut sequence = Sequence { next: sent.first, ..Sequence::default() };
            match next {
                Next::Wait => {
                    part.held = std::mem::take(&mut part.queue);
                    self.recalled.insert(at, sent);
                    continue;
                }
                Next::Last => {
                    let chosen = || part.queue.iter().take(sent.last).map(|i| &records[*i]);
                    let stamp = Stamp { producer_id, epoch, sequence: sent.first };
                    let encoded = records::batch(chosen(), self.settings.codec, stamp);
                    let values = chosen().map(|record| record.value.clone()).collect();
                    sequence.doubt = Some(SentBatch { values, encoded });
                }
                Next::New => sequence.advance(sent.last),
                Next::Gone => {
                    tracing::warn!(topic, partition, "{GONE}");
                    return self.renew();
                }
            }
            sequence.sent = sent;
            self.sequences.insert(at, sequence);
        }
    }

    /// Sends the records of a topic.
    pub(super) async fn send(&mut self, topic: &str, records: &[Record]) -> SendOutcome {
        let mut outcome = SendOutcome::default();
        let mut parts = BTreeMap::new();
        let sent = async {
            self.recall().await;
            self.divide(topic, records, &mut parts).await?;
            self.resume(topic, records, &mut parts);
            self.send_parts(topic, records, &mut parts, &mut outcome.refused).await
        };
        outcome.trouble = sent.await.err();
        outcome.left = if parts.is_empty() && outcome.trouble.is_some() {
            (0..records.len()).collect()
        } else {
            parts.into_values().flat_map(|part| part.queue.into_iter().chain(part.held)).collect()
        };
        if outcome.trouble.is_none() && !outcome.left.is_empty() {
            let reason = "the rest of a batch that the agent before had sent is not there yet";
            outcome.trouble = Some(Trouble::of_all(reason));
        }
        outcome
    }

    /// Says which partition has which records.
    async fn divide(
        &mut self,
        topic: &str,
        records: &[Record],
        parts: &mut BTreeMap<i32, Part>,
    ) -> Result<(), Trouble> {
        let n = i32::try_from(self.cluster.leaders(topic).await?.len()).unwrap_or(i32::MAX);
        for (i, record) in records.iter().enumerate() {
            // A record without a key goes anywhere, and there again when it is sent again.
            let key = record.key.as_ref().map_or(&record.value[..], String::as_bytes);
            parts.entry(partition::of_key(key, n)).or_default().queue.push_back(i);
        }
        Ok(())
    }

    /// Sends until nothing is left, or it was tried often enough.
    async fn send_parts(
        &mut self,
        topic: &str,
        records: &[Record],
        parts: &mut BTreeMap<i32, Part>,
        refused: &mut BTreeMap<usize, String>,
    ) -> Result<(), Trouble> {
        let mut failures = 0;
        while parts.values().any(|part| !part.queue.is_empty()) {
            let mut exchange = Exchange::default();
            match self.exchange(topic, records, parts).await {
                Ok(answers) => {
                    for answered in answers {
                        self.take_answers(topic, parts, answered, refused, &mut exchange);
                    }
                }
                Err(trouble) => exchange.trouble = Some(trouble),
            }
            if exchange.has_lost_producer {
                self.renew();
            }
            let silent = parts.iter().find(|(_, part)| part.sent > 0).map(|(partition, _)| *partition);
            let trouble = exchange.trouble.or_else(|| {
                silent.map(|n| Trouble::of_all(format!("topic `{topic}`: partition {n} got no answer")))
            });
            parts.values_mut().for_each(|part| part.sent = 0);
            let Some(trouble) = trouble else { continue };
            // Whatever it is, somebody else may lead the partition by now.
            self.cluster.forget(topic);
            failures += 1;
            if failures > self.settings.max_retry || exchange.is_final || trouble.is_topic {
                return Err(trouble);
            }
            tokio::time::sleep(RETRY_WAIT).await;
        }
        Ok(())
    }

    /// Sends the next batch of each partition, to all brokers at once, and waits for their answers.
    async fn exchange(
        &mut self,
        topic: &str,
        records: &[Record],
        parts: &mut BTreeMap<i32, Part>,
    ) -> Result<Vec<Answered>, Trouble> {
        let leaders = self.cluster.leaders(topic).await?;
        if self.settings.is_idempotent {
            if parts.iter().any(|(partition, part)| self.is_gone(topic, *partition, part, records)) {
                // Such as from a buffer that was full. Nobody will know what became of it.
                tracing::warn!(topic, "{GONE}");
                self.renew();
            }
            if self.id.is_none() {
                self.id = Some(self.cluster.producer_id().await?);
            }
        }
        let mut by_broker: BTreeMap<i32, Vec<PartitionProduceData>> = BTreeMap::new();
        let mut orphan = None;
        for (partition, part) in parts.iter_mut().filter(|(_, part)| !part.queue.is_empty()) {
            let leader = usize::try_from(*partition).ok().and_then(|at| leaders.get(at).copied().flatten());
            let Some(leader) = leader else {
                orphan = Some(format!("topic `{topic}`: partition {partition} has no leader"));
                continue;
            };
            let batch = self.batch(topic, *partition, part, records);
            let data = PartitionProduceData::default().with_index(*partition).with_records(Some(batch));
            by_broker.entry(leader).or_default().push(data);
        }
        if !by_broker.is_empty() {
            self.note().await?;
        }
        let mut requests = JoinSet::new();
        for (broker, data) in by_broker {
            let (connection, reach) = (self.cluster.take(broker), self.cluster.reach.clone());
            let address = self.cluster.address(broker).unwrap_or_default().to_owned();
            let acks = self.settings.acks;
            let name = TopicName(StrBytes::from_string(topic.to_owned()));
            requests.spawn(async move {
                let (connection, answered) = ask(connection, &address, &reach, name, data, acks).await;
                (broker, connection, answered)
            });
        }
        let mut answers = requests.join_all().await;
        answers.extend(orphan.map(|reason| (-1, None, Err(reason))));
        Ok(answers)
    }

    /// Whether the records of a batch in doubt are not the first ones that are to be sent.
    fn is_gone(&self, topic: &str, partition: i32, part: &Part, records: &[Record]) -> bool {
        let sequence = self.sequences.get(&(topic.to_owned(), partition));
        sequence.and_then(|sequence| sequence.doubt.as_ref()).is_some_and(|doubt| {
            let mut values = part.queue.iter().map(|i| &records[*i].value).zip(&doubt.values);
            !part.queue.is_empty() && (doubt.values.len() > part.queue.len() || values.any(|(a, b)| a != b))
        })
    }

    /// The next batch of a partition: the one in doubt, else as many records as go into one.
    fn batch(&mut self, topic: &str, partition: i32, part: &mut Part, records: &[Record]) -> Bytes {
        let n = self.fitting(part, records);
        let sequence = self.sequences.entry((topic.to_owned(), partition)).or_default();
        if let Some(doubt) = &sequence.doubt {
            part.sent = doubt.values.len();
            return doubt.encoded.clone();
        }
        part.sent = n;
        let chosen = || part.queue.iter().take(n).map(|i| &records[*i]);
        let stamp = match self.id {
            Some((producer_id, epoch)) => Stamp { producer_id, epoch, sequence: sequence.next },
            None => Stamp::NONE,
        };
        let encoded = records::batch(chosen(), self.settings.codec, stamp);
        if self.id.is_some() {
            sequence.sent.push(sequence.next, chosen().map(|record| &record.value[..]));
            let values = chosen().map(|record| record.value.clone()).collect();
            sequence.doubt = Some(SentBatch { values, encoded: encoded.clone() });
        }
        encoded
    }

    /// How many records of a partition go into its next batch.
    fn fitting(&self, part: &Part, records: &[Record]) -> usize {
        let mut size = HEAD;
        let fits = |i: &&usize| {
            size += records[**i].size();
            size <= self.settings.max_bytes
        };
        let most = if part.most == 0 { usize::MAX } else { part.most };
        part.queue.iter().take_while(fits).count().clamp(1, most)
    }

    /// Takes the answers of one broker.
    fn take_answers(
        &mut self,
        topic: &str,
        parts: &mut BTreeMap<i32, Part>,
        (broker, connection, answered): Answered,
        refused: &mut BTreeMap<usize, String>,
        exchange: &mut Exchange,
    ) {
        if let Some(connection) = connection {
            self.cluster.give_back(broker, connection);
        }
        let answers = match answered {
            Ok(answers) => answers,
            Err(reason) => return exchange.fail(Trouble::of_all(reason)),
        };
        for answer in answers {
            let Some(part) = parts.get_mut(&answer.index).filter(|part| part.sent > 0) else { continue };
            let sequence = self.sequences.entry((topic.to_owned(), answer.index)).or_default();
            settle(sequence, part, &answer, refused, exchange, topic);
            part.sent = 0;
        }
    }

    /// Begins as another producer, whose records have their numbers from 0.
    fn renew(&mut self) {
        self.id = None;
        self.sequences.clear();
        self.recalled.clear();
    }
}

/// What came of one exchange.
#[derive(Debug, Default)]
struct Exchange {
    /// Why something has to be sent again.
    trouble: Option<Trouble>,
    /// There is no use in that now.
    is_final: bool,
    /// The brokers do not know this producer any more.
    has_lost_producer: bool,
}

impl Exchange {
    /// What is about more than the topic is said first.
    fn fail(&mut self, trouble: Trouble) {
        if self.trouble.as_ref().is_none_or(|other| other.is_topic) {
            self.trouble = Some(trouble);
        }
    }
}

/// Does what an answer about a partition asks for.
fn settle(
    sequence: &mut Sequence,
    part: &mut Part,
    answer: &PartitionProduceResponse,
    refused: &mut BTreeMap<usize, String>,
    exchange: &mut Exchange,
    topic: &str,
) {
    let n = part.sent.min(part.queue.len());
    let words = |message: Option<&StrBytes>| answer::reason(answer.error_code, message.map(StrBytes::as_str));
    let reason = words(answer.error_message.as_ref());
    let trouble = |is_topic| Trouble { reason: format!("topic `{topic}`: {reason}"), is_topic };
    let rule = answer::rule(answer.error_code);
    match rule {
        Rule::Stored => {
            sequence.advance(n);
            part.queue.drain(..n);
            // What was too large may be so again: it grows slowly.
            part.most = part.most.saturating_mul(2);
        }
        Rule::Elsewhere | Rule::Again => exchange.fail(trouble(false)),
        Rule::NewProducer => {
            tracing::warn!(
                topic,
                partition = answer.index,
                reason,
                "Kafka does not take this producer's records any more"
            );
            exchange.has_lost_producer = true;
            exchange.fail(trouble(false));
        }
        Rule::Halve | Rule::Refused => {
            // Nothing of it is stored.
            sequence.doubt = None;
            sequence.sent.withdraw();
            let named = answer.record_errors.iter().filter_map(|error| {
                let i = usize::try_from(error.batch_index).ok().filter(|i| *i < n)?;
                Some((part.queue[i], words(error.batch_index_error_message.as_ref())))
            });
            let mut bad: BTreeMap<usize, String> =
                if rule == Rule::Halve { BTreeMap::new() } else { named.collect() };
            if n == 1 {
                bad.entry(part.queue[0]).or_insert(reason);
            }
            if bad.is_empty() {
                part.most = n / 2;
            }
            part.queue.retain(|i| !bad.contains_key(i));
            refused.extend(bad);
        }
        Rule::Topic | Rule::Person => {
            exchange.is_final = true;
            exchange.fail(trouble(rule == Rule::Topic));
        }
    }
}

/// Has a broker take batches. Returns the connection where it can be used again.
async fn ask(
    connection: Option<Connection>,
    address: &str,
    reach: &BrokerReach,
    topic: TopicName,
    data: Vec<PartitionProduceData>,
    acks: i16,
) -> (Option<Connection>, Result<Vec<PartitionProduceResponse>, String>) {
    let mut connection = match connection {
        Some(connection) => connection,
        None => match Connection::open(address, reach).await {
            Ok(connection) => connection,
            Err(reason) => return (None, Err(reason)),
        },
    };
    let partitions: Vec<i32> = data.iter().map(|data| data.index).collect();
    let timeout_ms = i32::try_from(REPLICAS_LIMIT.as_millis()).unwrap_or(i32::MAX);
    let request = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(vec![TopicProduceData::default().with_name(topic).with_partition_data(data)]);
    let answered = if acks == 0 {
        // The broker says nothing, not even that it failed.
        let stored = |index| PartitionProduceResponse::default().with_index(index);
        connection.tell(&request).await.map(|()| partitions.into_iter().map(stored).collect())
    } else {
        let answer = connection.call(&request, REPLICAS_LIMIT + LIMIT).await;
        answer
            .map(|answer| answer.responses.into_iter().flat_map(|topic| topic.partition_responses).collect())
    };
    match answered {
        Ok(answers) => (Some(connection), Ok(answers)),
        Err(reason) => (None, Err(format!("{address}: {reason}"))),
    }
}

#[cfg(test)]
mod tests;
