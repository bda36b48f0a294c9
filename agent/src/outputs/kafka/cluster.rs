//! The brokers of a cluster: which one leads each partition of a topic, and the connections to them.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{InitProducerIdRequest, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::answer::{self, Rule};
use super::connection::{BrokerReach, Connection, LIMIT};
use crate::outputs::trial;

/// More connections than these are not kept from one write to the next.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// How often brokers are asked about a topic that is not ready, and how long it is waited in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) tries: u32,
    pub(super) first: Duration,
    /// Each wait is twice the one before it, up to this; `None` leaves them equal.
    pub(super) most: Option<Duration>,
}

impl Patience {
    fn wait(&self, n: u32) -> Duration {
        match self.most {
            None => self.first,
            Some(most) => self.first.saturating_mul(1 << n.min(16)).min(most),
        }
    }
}

/// Why something cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// It is about the topic alone.
    pub(super) is_topic: bool,
}

impl Trouble {
    pub(super) fn of_all(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_topic: false }
    }
}

/// The leader of each partition, in their order; `None` where there is none now.
pub(super) type Leaders = Vec<Option<i32>>;

pub(super) struct Cluster {
    pub(super) reach: BrokerReach,
    /// Where to ask first.
    bootstrap: Vec<String>,
    patience: Patience,
    addresses: BTreeMap<i32, String>,
    connections: BTreeMap<i32, Connection>,
    topics: BTreeMap<String, Leaders>,
}

impl Cluster {
    pub(super) fn new(reach: BrokerReach, bootstrap: Vec<String>, patience: Patience) -> Self {
        let (addresses, connections, topics) = Default::default();
        Self { reach, bootstrap, patience, addresses, connections, topics }
    }

    /// Who leads the partitions of a topic, as far as is known.
    ///
    /// # Errors
    /// No broker says so, or the topic is not there.
    pub(super) async fn leaders(&mut self, topic: &str) -> Result<Leaders, Trouble> {
        if !self.topics.contains_key(topic) {
            self.ask(topic).await?;
        }
        Ok(self.topics.get(topic).cloned().unwrap_or_default())
    }

    /// Has the next one who wants to know ask again.
    pub(super) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// The address of a broker.
    pub(super) fn address(&self, broker: i32) -> Option<&str> {
        self.addresses.get(&broker).map(String::as_str)
    }

    /// The connection to a broker, if there is one; whoever takes it gives it back when it can be used again.
    pub(super) fn take(&mut self, broker: i32) -> Option<Connection> {
        self.connections.remove(&broker)
    }

    pub(super) fn give_back(&mut self, broker: i32, connection: Connection) {
        if self.connections.len() < MAX_CONNECTIONS {
            self.connections.insert(broker, connection);
        }
    }

    /// A number under which a broker knows this producer, and its epoch.
    ///
    /// # Errors
    /// None gives one.
    pub(super) async fn producer_id(&mut self) -> Result<(i64, i16), Trouble> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let mut reasons = Vec::new();
        for (broker, address) in self.addresses.clone() {
            let asked = async {
                let mut connection = match self.take(broker) {
                    Some(connection) => connection,
                    None => Connection::open(&address, &self.reach).await?,
                };
                let answer =
                    connection.call(&request, LIMIT).await.map_err(|error| format!("{address}: {error}"))?;
                self.give_back(broker, connection);
                match answer.error_code {
                    0 => Ok((answer.producer_id.0, answer.producer_epoch)),
                    code => Err(format!("{address}: {}", answer::reason(code, None))),
                }
            };
            match asked.await {
                Ok(id) => return Ok(id),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(Trouble::of_all(reasons.join("; ")))
    }

    /// Asks for a topic until it is ready, or patience is at its end.
    async fn ask(&mut self, topic: &str) -> Result<(), Trouble> {
        let mut n = 0;
        loop {
            let trouble = match self.metadata(Some(topic), true).await {
                Err(reason) => Trouble::of_all(reason),
                Ok(answer) => match leaders(&answer, topic) {
                    Ok(leaders) => {
                        self.topics.insert(topic.to_owned(), leaders);
                        return Ok(());
                    }
                    Err((trouble, true)) => trouble,
                    Err((trouble, false)) => return Err(trouble),
                },
            };
            if n >= self.patience.tries {
                return Err(trouble);
            }
            tokio::time::sleep(self.patience.wait(n)).await;
            n += 1;
        }
    }

    /// What the brokers say of themselves, and of a topic; none is made.
    ///
    /// # Errors
    /// No broker answers, or none would take a message to the topic: why, and what to do.
    pub(super) async fn describe(&mut self, topic: Option<&str>) -> Result<String, String> {
        let answer = self.metadata(topic, false).await?;
        description(&answer, topic)
    }

    /// Asks the brokers about a topic, which they may make, or about themselves alone; the first that answers is enough.
    ///
    /// # Errors
    /// None does, and why.
    async fn metadata(&mut self, topic: Option<&str>, may_make: bool) -> Result<MetadataResponse, String> {
        let name = |topic: &str| Some(TopicName(StrBytes::from_string(topic.to_owned())));
        let topics = topic.map(|topic| MetadataRequestTopic::default().with_name(name(topic)));
        let request = MetadataRequest::default()
            .with_topics(Some(topics.into_iter().collect()))
            .with_allow_auto_topic_creation(may_make);
        let mut reasons = Vec::new();
        // Those that are connected, then those that are known, and at last those of the options.
        let mut candidates: Vec<(Option<i32>, String)> = Vec::new();
        let (connected, others): (Vec<_>, Vec<_>) =
            self.addresses.iter().partition(|(broker, _)| self.connections.contains_key(*broker));
        let known =
            connected.into_iter().chain(others).map(|(broker, address)| (Some(*broker), address.clone()));
        candidates.extend(known);
        candidates.extend(self.bootstrap.iter().map(|address| (None, address.clone())));
        for (broker, address) in candidates {
            match self.metadata_of(broker, &address, &request).await {
                Ok(answer) => return Ok(answer),
                Err(reason) if reasons.contains(&reason) => {}
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }

    async fn metadata_of(
        &mut self,
        broker: Option<i32>,
        address: &str,
        request: &MetadataRequest,
    ) -> Result<MetadataResponse, String> {
        let mut connection = match broker.and_then(|broker| self.take(broker)) {
            Some(connection) => connection,
            None => Connection::open(address, &self.reach).await?,
        };
        let answer = connection.call(request, LIMIT).await.map_err(|error| format!("{address}: {error}"))?;
        if let Some(broker) = broker {
            self.give_back(broker, connection);
        }
        if answer.brokers.is_empty() {
            return Err(format!("{address}: it knows of no broker yet"));
        }
        let address = |host: &str, port: i32| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        self.addresses = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, address(broker.host.as_str(), broker.port)))
            .collect();
        self.connections.retain(|broker, _| self.addresses.contains_key(broker));
        Ok(answer)
    }
}

/// What an answer says, for a person.
///
/// # Errors
/// No message to the topic would be taken: why, and what to do.
fn description(answer: &MetadataResponse, topic: Option<&str>) -> Result<String, String> {
    let cluster = answer.cluster_id.as_ref().map_or("", StrBytes::as_str);
    let about = format!("answers (Kafka, cluster {cluster}, {} brokers)", answer.brokers.len());
    let Some(topic) = topic else { return Ok(about) };
    let is_missing = answer.topics.iter().any(|found| found.error_code == answer::UNKNOWN_TOPIC);
    match leaders(answer, topic) {
        Ok(_) => Ok(about),
        Err(_) if is_missing => Ok(format!(
            "{about}; topic `{topic}` is not there: the first message makes it where `auto.create.topics.enable` is set, \
             else create it"
        )),
        Err((trouble, _)) => Err(trial::refused(&about, &trouble.reason)),
    }
}

/// The leaders that an answer names for a topic.
///
/// # Errors
/// Why it names none, and whether asking again may help.
fn leaders(answer: &MetadataResponse, topic: &str) -> Result<Leaders, (Trouble, bool)> {
    let found =
        answer.topics.iter().find(|found| found.name.as_ref().is_some_and(|name| name.as_str() == topic));
    let about_topic = |reason: &str| Trouble { reason: format!("topic `{topic}`: {reason}"), is_topic: true };
    let Some(found) = found else { return Err((about_topic("the broker says nothing of it"), true)) };
    match answer::rule(found.error_code) {
        Rule::Stored => {}
        rule => {
            let may_help = matches!(rule, Rule::Elsewhere | Rule::Again);
            return Err((about_topic(&answer::reason(found.error_code, None)), may_help));
        }
    }
    let n = found.partitions.iter().map(|partition| partition.partition_index + 1).max().unwrap_or(0);
    let mut leaders: Leaders = vec![None; usize::try_from(n).unwrap_or(0)];
    for partition in &found.partitions {
        let leader = Some(partition.leader_id.0).filter(|leader| *leader >= 0);
        let place = usize::try_from(partition.partition_index).ok().and_then(|place| leaders.get_mut(place));
        if let Some(place) = place {
            *place = leader;
        }
    }
    if leaders.iter().all(Option::is_none) {
        return Err((about_topic("none of its partitions has a leader"), true));
    }
    Ok(leaders)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};

    use super::*;

    fn answer(code: i16, partitions: &[(i32, i32)]) -> MetadataResponse {
        let partition = |(index, leader): &(i32, i32)| {
            let partition = MetadataResponsePartition::default().with_partition_index(*index);
            partition.with_leader_id((*leader).into())
        };
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
            .with_error_code(code)
            .with_partitions(partitions.iter().map(partition).collect());
        MetadataResponse::default().with_topics(vec![topic])
    }

    #[test]
    fn leaders_are_in_the_order_of_their_partitions() {
        let found = leaders(&answer(0, &[(2, 7), (0, 5), (1, -1)]), "t");
        assert_eq!(found, Ok(vec![Some(5), None, Some(7)]));
    }

    #[rstest::rstest]
    #[case(3, &[], true, "topic `t`: UnknownTopicOrPartition (3): the broker makes no topics by itself")]
    #[case(5, &[], true, "topic `t`: LeaderNotAvailable")]
    #[case(29, &[], false, "topic `t`: TopicAuthorizationFailed")]
    #[case(17, &[], false, "topic `t`: InvalidTopicException")]
    #[case(0, &[(0, -1)], true, "topic `t`: none of its partitions has a leader")]
    #[case(0, &[], true, "topic `t`: none of its partitions has a leader")]
    fn a_topic_that_is_not_ready_is_said(
        #[case] code: i16,
        #[case] partitions: &[(i32, i32)],
        #[case] may_help: bool,
        #[case] reason: &str,
    ) {
        let (trouble, helps) = leaders(&answer(code, partitions), "t").unwrap_err();
        assert!(trouble.reason.starts_with(reason) && trouble.is_topic, "{trouble:?}");
        assert_eq!(helps, may_help);
    }

    #[rstest::rstest]
    #[case(0, &[(0, 5)], Ok("answers (Kafka, cluster c, 1 brokers)"))]
    #[case(3, &[], Ok("topic `t` is not there: the first message makes it"))]
    #[case(29, &[], Err("but takes no points: topic `t`: TopicAuthorizationFailed"))]
    #[case(0, &[(0, -1)], Err("none of its partitions has a leader"))]
    fn a_person_is_told_whether_messages_would_be_taken(
        #[case] code: i16,
        #[case] partitions: &[(i32, i32)],
        #[case] expected: Result<&str, &str>,
    ) {
        let broker = kafka_protocol::messages::metadata_response::MetadataResponseBroker::default();
        let answer = answer(code, partitions)
            .with_cluster_id(Some(StrBytes::from_static_str("c")))
            .with_brokers(vec![broker]);
        match (description(&answer, Some("t")), expected) {
            (Ok(said), Ok(expected)) | (Err(said), Err(expected)) => {
                assert!(said.contains(expected), "{said}");
            }
            (said, _) => panic!("{said:?}"),
        }
    }

    #[test]
    fn waits_are_equal_or_double() {
        let ms = Duration::from_millis;
        let equal = Patience { tries: 3, first: ms(250), most: None };
        let doubled = Patience { most: Some(ms(600)), ..equal };
        assert_eq!([0, 1, 2].map(|n| equal.wait(n)), [ms(250); 3]);
        assert_eq!([0, 1, 2].map(|n| doubled.wait(n)), [ms(250), ms(500), ms(600)]);
    }
}
