//! The section `[[outputs.kafka]]`: Telegraf's options.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::cluster::Patience;
use super::connection::{BrokerReach, Sasl};
use super::headers::Headers;
use super::producer::Settings;
use super::records::Codec;
use super::sasl::Mechanism;
use crate::line_protocol::Format;
use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::Tls;

/// The section `[[outputs.kafka]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaOptions {
    /// Brokers to ask for all others: `host:port`.
    pub brokers: Vec<String>,
    /// The topic to write to.
    pub topic: String,
    /// A tag whose value is the topic of its point, in place of `topic`; empty means none.
    pub topic_tag: String,
    /// Leave that tag out of the messages.
    pub exclude_topic_tag: bool,
    /// What is added to the topic.
    pub topic_suffix: TopicSuffix,
    /// A tag whose value is the key of the message, by which its partition is chosen; empty means none.
    pub routing_tag: String,
    /// The key of messages without that tag; `random` is another one for each message.
    pub routing_key: String,
    /// What brokers know the agent by.
    pub client_id: String,
    /// 0 none, 1 gzip, 2 snappy, 3 LZ4.
    pub compression_codec: i64,
    /// Kafka stores no message twice.
    pub idempotent_writes: bool,
    /// -1 waits for all replicas, 1 for the leader, 0 for nothing.
    pub required_acks: i64,
    /// How often a batch is sent again before the points wait for the next flush.
    pub max_retry: i64,
    /// The most bytes of a message, and of a batch.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size_or::<_, DEFAULT_MESSAGE>")]
    pub max_message_bytes: u32,
    /// `metric` or `now`.
    pub producer_timestamp: String,
    /// A header with the measurement's name; empty means none.
    pub metric_name_header: String,
    /// Headers of each message: text with `{{ .Name }}` for the measurement and `{{ .Tag "key" }}` for a tag.
    pub headers: BTreeMap<String, Secret>,
    /// Whether TLS is used; without it, it is where one of its options is set.
    pub enable_tls: Option<bool>,
    /// From one probe of an idle connection to the next; zero leaves it to the system.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub keep_alive_period: Duration,
    /// The user; empty means none.
    pub sasl_username: Secret,
    /// The password.
    pub sasl_password: Secret,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: String,
    /// How often brokers are asked about a topic that is not ready; 0 means 3.
    pub metadata_retry_max: i64,
    /// `constant` or `exponential`.
    pub metadata_retry_type: String,
    /// The wait in between, the first one where it is exponential; 0 means 250 ms.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub metadata_retry_backoff: Duration,
    /// The longest wait where it is exponential; 0 means no limit.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub metadata_retry_max_duration: Duration,
    /// `influx`, `json` or `prometheusremotewrite`.
    pub data_format: String,
    /// The unit of times in `json`.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 1>")]
    pub json_timestamp_units: Duration,
    /// Texts become labels in `prometheusremotewrite`.
    pub prometheus_string_as_label: bool,
    /// The maximum length of a line, with its newline; 0 means no limit.
    pub influx_max_line_bytes: usize,
    /// Fields are sorted by key.
    pub influx_sort_fields: bool,
    /// Unsigned integers are written as such.
    pub influx_uint_support: bool,
    /// Points are written without a timestamp.
    pub influx_omit_timestamp: bool,
    /// For `enable_tls`.
    pub tls: Tls,
}

/// The table `topic_suffix`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicSuffix {
    /// `measurement`, `tags`, or empty for none.
    pub method: String,
    /// The tags.
    pub keys: Vec<String>,
    /// What is between the parts.
    pub separator: String,
}

/// The longest message, as in Telegraf.
const DEFAULT_MESSAGE: u32 = 1_000_000;

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: vec!["localhost:9092".into()],
            topic: "telegraf".into(),
            topic_tag: String::new(),
            exclude_topic_tag: false,
            topic_suffix: TopicSuffix::default(),
            routing_tag: String::new(),
            routing_key: String::new(),
            client_id: "Telegraf".into(),
            compression_codec: 0,
            idempotent_writes: false,
            required_acks: -1,
            max_retry: 3,
            max_message_bytes: DEFAULT_MESSAGE,
            producer_timestamp: "metric".into(),
            metric_name_header: String::new(),
            headers: BTreeMap::new(),
            enable_tls: None,
            keep_alive_period: Duration::ZERO,
            sasl_username: Secret::default(),
            sasl_password: Secret::default(),
            sasl_mechanism: String::new(),
            metadata_retry_max: 0,
            metadata_retry_type: "constant".into(),
            metadata_retry_backoff: Duration::ZERO,
            metadata_retry_max_duration: Duration::ZERO,
            data_format: "influx".into(),
            json_timestamp_units: Duration::from_secs(1),
            prometheus_string_as_label: false,
            influx_max_line_bytes: 0,
            influx_sort_fields: false,
            influx_uint_support: false,
            influx_omit_timestamp: false,
            tls: Tls::default(),
        }
    }
}

/// What `topic_suffix` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    None,
    Measurement,
    Tags,
}

impl KafkaOptions {
    pub(super) fn suffix(&self) -> Result<Suffix, OptionError> {
        match self.topic_suffix.method.as_str() {
            "" => Ok(Suffix::None),
            "measurement" => Ok(Suffix::Measurement),
            "tags" => Ok(Suffix::Tags),
            other => {
                let what = format!("there is no method `{other}`: there are measurement and tags");
                Err(OptionError::new("topic_suffix", what))
            }
        }
    }

    pub(super) fn format(&self) -> Format {
        Format {
            uint_support: self.influx_uint_support,
            omit_timestamp: self.influx_omit_timestamp,
            sort_fields: self.influx_sort_fields,
            max_line_bytes: self.influx_max_line_bytes,
        }
    }

    /// The brokers' addresses.
    pub(super) fn addresses(&self) -> Result<Vec<String>, OptionError> {
        if self.brokers.is_empty() {
            return Err(OptionError::new("brokers", "has none: write them as host:9092"));
        }
        let is_address = |text: &str| {
            let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
        };
        match self.brokers.iter().find(|address| !is_address(address)) {
            None => Ok(self.brokers.clone()),
            Some(wrong) => {
                let what = format!("`{wrong}` is not an address of a broker: write it as host:9092");
                Err(OptionError::new("brokers", what))
            }
        }
    }

    pub(super) fn settings(&self) -> Result<Settings, OptionError> {
        let codec = Codec::of_number(self.compression_codec).ok_or_else(|| {
            let what = match self.compression_codec {
                4 => "4, zstd, is not here, since it takes a library in C: 1 is gzip, 2 snappy, 3 LZ4"
                    .to_owned(),
                other => format!("there is no {other}: 0 is none, 1 gzip, 2 snappy, 3 LZ4"),
            };
            OptionError::new("compression_codec", what)
        })?;
        let acks = i16::try_from(self.required_acks).ok().filter(|acks| (-1..=1).contains(acks));
        let acks = acks.ok_or_else(|| {
            OptionError::new("required_acks", "is -1 for all replicas, 1 for the leader, or 0 for none")
        })?;
        if self.idempotent_writes && acks != -1 {
            return Err(OptionError::new("idempotent_writes", "needs `required_acks = -1`"));
        }
        let max_retry = u32::try_from(self.max_retry);
        let max_retry =
            max_retry.map_err(|_| OptionError::new("max_retry", "is a number of tries, from 0 on"))?;
        let (is_idempotent, max_bytes) = (self.idempotent_writes, self.max_message_bytes as usize);
        Ok(Settings { codec, acks, is_idempotent, max_retry, max_bytes })
    }

    pub(super) fn patience(&self) -> Result<Patience, OptionError> {
        let tries = u32::try_from(self.metadata_retry_max);
        let tries =
            tries.map_err(|_| OptionError::new("metadata_retry_max", "is a number of tries, from 0 on"))?;
        let most = match self.metadata_retry_type.to_lowercase().as_str() {
            "" | "constant" => None,
            "exponential" if self.metadata_retry_max_duration.is_zero() => Some(Duration::MAX),
            "exponential" => Some(self.metadata_retry_max_duration),
            other => {
                let what = format!("there is no `{other}`: there are constant and exponential");
                return Err(OptionError::new("metadata_retry_type", what));
            }
        };
        let first = self.metadata_retry_backoff;
        let first = if first.is_zero() { Duration::from_millis(250) } else { first };
        Ok(Patience { tries: if tries == 0 { 3 } else { tries }, first, most })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.enable_tls.or(self.tls.tls_enable).unwrap_or_else(|| self.tls != Tls::default())
    }

    pub(super) fn reach(&self) -> Result<BrokerReach, OptionError> {
        let has_user = !self.sasl_username.is_empty() || !self.sasl_mechanism.is_empty();
        let mechanism = Mechanism::new(&self.sasl_mechanism)?;
        let sasl = has_user.then(|| Sasl {
            mechanism,
            user: self.sasl_username.clone(),
            password: self.sasl_password.clone(),
        });
        let tls = self.is_tls().then(|| self.tls.clone());
        if let Some(tls) = &tls {
            crate::http::tls_config(tls)?;
        }
        let client_id = match self.client_id.as_str() {
            "" => "Telegraf".to_owned(),
            id => id.to_owned(),
        };
        Ok(BrokerReach { client_id, tls, sasl, keep_alive: self.keep_alive_period })
    }

    /// Whether the time of a message is its point's.
    pub(super) fn has_metric_time(&self) -> Result<bool, OptionError> {
        match self.producer_timestamp.as_str() {
            "" | "metric" => Ok(true),
            "now" => Ok(false),
            other => {
                let what = format!("there is no `{other}`: there are metric and now");
                Err(OptionError::new("producer_timestamp", what))
            }
        }
    }

    pub(super) fn all_headers(&self) -> Result<Headers, OptionError> {
        let mut all = Headers::new(&self.headers)?;
        if !self.metric_name_header.is_empty() {
            all.add_name(&self.metric_name_header);
        }
        Ok(all)
    }

    /// Options that do nothing, or not what they seem to.
    pub(super) fn own_remarks(&self) -> Vec<OptionError> {
        let mut remarks = Vec::new();
        if self.is_tls() && self.tls.insecure_skip_verify {
            remarks.push(OptionError::new("insecure_skip_verify", crate::options::tls::UNCHECKED));
        }
        let mut say = |applies: bool, option, what: &str| {
            if applies {
                remarks.push(OptionError::new(option, what));
            }
        };
        say(
            !self.is_tls() && self.tls != Tls::default(),
            "enable_tls",
            "is off, and options of TLS have no effect without it",
        );
        say(
            !self.is_tls() && !self.sasl_password.is_empty() && self.sasl_mechanism.is_empty(),
            "sasl_password",
            "is sent as it is, for everybody on the way to read: use TLS, or `sasl_mechanism = \"SCRAM-SHA-512\"`",
        );
        say(
            self.required_acks == 0,
            "required_acks",
            "0 waits for no answer: what a broker does not store is lost, and nobody says so",
        );
        say(
            self.topic_suffix.method == "tags" && self.topic_suffix.keys.is_empty(),
            "topic_suffix",
            "has no `keys`, so nothing is added",
        );
        remarks
    }
}
