//! What each code of a broker's answer to a batch means, and what is done about it. Pure.
//!
//! Source: <https://kafka.apache.org/protocol.html#protocol_error_codes>.

use kafka_protocol::ResponseError as Code;
use kafka_protocol::error::ParseResponseErrorCode as _;

/// `UNKNOWN_TOPIC_OR_PARTITION`: the topic is not there.
pub(super) const UNKNOWN_TOPIC: i16 = 3;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The batch is stored, by this request or by an earlier one.
    Stored,
    /// Another broker may be the one to ask: the brokers are asked which, and the batch is sent again as it is.
    Elsewhere,
    /// The batch is sent again as it is, after a while.
    Again,
    /// The broker does not know this producer, or not this batch as its next one: a new producer sends it.
    NewProducer,
    /// The batch is too large; it is sent in halves, and a record that is alone is refused.
    Halve,
    /// Some of the records will never be taken: those that the answer names, else they are looked for by halving.
    Refused,
    /// Nothing of the topic is taken until a person has done something; other topics can be written.
    Topic,
    /// Nothing is taken until a person has done something.
    Person,
}

/// The rule for a code; `None` for those that no answer to a batch has.
pub(super) fn rule(code: i16) -> Rule {
    let Some(code) = code.err() else { return Rule::Stored };
    match code {
        // The broker took it before, and has forgotten under which number.
        Code::DuplicateSequenceNumber => Rule::Stored,
        Code::NotLeaderOrFollower
        | Code::LeaderNotAvailable
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopicId
        | Code::InconsistentTopicId
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::ListenerNotFound
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::KafkaStorageError
        | Code::NetworkException
        | Code::ElectionNotNeeded
        | Code::EligibleLeadersNotAvailable
        | Code::NewLeaderElected => Rule::Elsewhere,
        Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping
        | Code::ProducerFenced => Rule::NewProducer,
        Code::MessageTooLarge | Code::RecordListTooLarge => Rule::Halve,
        Code::InvalidRecord | Code::InvalidTimestamp | Code::UnsupportedForMessageFormat => Rule::Refused,
        Code::InvalidTopicException | Code::TopicAuthorizationFailed | Code::PolicyViolation => Rule::Topic,
        Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSaslMechanism
        | Code::IllegalSaslState
        | Code::SecurityDisabled
        | Code::UnsupportedVersion
        | Code::UnsupportedCompressionType
        | Code::InvalidRequiredAcks
        | Code::InvalidRequest => Rule::Person,
        // Timeouts, too few replicas, a broker that starts, quotas, and what is not known yet: the points are worth more than
        // the request.
        _ => Rule::Again,
    }
}

/// A code in words, with what to do where that is known.
pub(super) fn reason(code: i16, message: Option<&str>) -> String {
    let name = match code.err() {
        Some(error) => format!("{error} ({code})"),
        None => "no error".to_owned(),
    };
    let what = match code.err() {
        Some(Code::TopicAuthorizationFailed) => {
            "the user may not write to the topic: allow it (kafka-acls --add --producer)"
        }
        Some(Code::ClusterAuthorizationFailed) => {
            "the user may not write with `idempotent_writes`: allow IdempotentWrite on the cluster, or switch it off"
        }
        Some(Code::SaslAuthenticationFailed) => "check `sasl_username`, `sasl_password` and `sasl_mechanism`",
        Some(Code::UnknownTopicOrPartition) => {
            "the broker makes no topics by itself: create it (kafka-topics --create --topic)"
        }
        Some(Code::InvalidTopicException) => {
            "a topic has up to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`"
        }
        Some(Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend) => {
            "fewer replicas are there than the topic's min.insync.replicas asks for"
        }
        Some(Code::UnsupportedCompressionType) => "the topic does not take this `compression_codec`",
        Some(Code::InvalidTimestamp) => {
            "the time is too far from the broker's: raise message.timestamp.before.max.ms and after.max.ms there, or set \
             `producer_timestamp = \"now\"`"
        }
        Some(Code::MessageTooLarge) => "raise max.message.bytes of the topic",
        _ => "",
    };
    let message = message.filter(|message| !message.is_empty());
    [Some(name.as_str()), message, (!what.is_empty()).then_some(what)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code that Kafka's documentation has for a request to produce, and those of its connection.
    #[rstest::rstest]
    #[case(0, Rule::Stored)]
    #[case(46, Rule::Stored)]
    #[case(3, Rule::Elsewhere)]
    #[case(5, Rule::Elsewhere)]
    #[case(6, Rule::Elsewhere)]
    #[case(8, Rule::Elsewhere)]
    #[case(9, Rule::Elsewhere)]
    #[case(13, Rule::Elsewhere)]
    #[case(56, Rule::Elsewhere)]
    #[case(72, Rule::Elsewhere)]
    #[case(74, Rule::Elsewhere)]
    #[case(75, Rule::Elsewhere)]
    #[case(100, Rule::Elsewhere)]
    #[case(103, Rule::Elsewhere)]
    #[case(-1, Rule::Again)]
    #[case(2, Rule::Again)]
    #[case(7, Rule::Again)]
    #[case(14, Rule::Again)]
    #[case(15, Rule::Again)]
    #[case(16, Rule::Again)]
    #[case(19, Rule::Again)]
    #[case(20, Rule::Again)]
    #[case(51, Rule::Again)]
    #[case(89, Rule::Again)]
    #[case(4_711, Rule::Again)]
    #[case(45, Rule::NewProducer)]
    #[case(47, Rule::NewProducer)]
    #[case(49, Rule::NewProducer)]
    #[case(59, Rule::NewProducer)]
    #[case(90, Rule::NewProducer)]
    #[case(10, Rule::Halve)]
    #[case(18, Rule::Halve)]
    #[case(32, Rule::Refused)]
    #[case(43, Rule::Refused)]
    #[case(87, Rule::Refused)]
    #[case(17, Rule::Topic)]
    #[case(29, Rule::Topic)]
    #[case(44, Rule::Topic)]
    #[case(21, Rule::Person)]
    #[case(31, Rule::Person)]
    #[case(33, Rule::Person)]
    #[case(34, Rule::Person)]
    #[case(35, Rule::Person)]
    #[case(42, Rule::Person)]
    #[case(53, Rule::Person)]
    #[case(54, Rule::Person)]
    #[case(58, Rule::Person)]
    #[case(76, Rule::Person)]
    fn each_code_has_its_rule(#[case] code: i16, #[case] expected: Rule) {
        assert_eq!(rule(code), expected, "{}", reason(code, None));
    }

    #[test]
    fn a_reason_has_the_code_the_brokers_words_and_what_to_do() {
        let said = reason(29, Some("no"));
        assert!(said.starts_with("TopicAuthorizationFailed (29): no: the user may not write"), "{said}");
        assert_eq!(reason(7, Some("")), "RequestTimedOut (7)");
    }
}
