//! A connection to a broker: TCP or TLS, the versions that both sides have, and who the client is; then one request after the
//! other.
//!
//! Source: <https://kafka.apache.org/protocol.html>. Messages are the crate `kafka-protocol`'s.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answer;
use super::sasl::{Mechanism, Scram, plain};
use crate::http;
use crate::options::secret::Secret;
use crate::options::tls::Tls;
use crate::service::off_thread;

/// How long a connection may take until it can be used, and an answer beyond what the request itself gives the broker.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer: that about a topic of many thousand partitions has a few MB.
const MAX_ANSWER: usize = 16 << 20;
/// The error of a broker that does not have the version of the question for versions; its answer is of the first version.
const UNSUPPORTED_VERSION: i16 = 35;

/// How brokers are reached.
#[derive(Clone, Debug)]
pub(super) struct BrokerReach {
    pub(super) client_id: String,
    pub(super) tls: Option<Tls>,
    pub(super) sasl: Option<Sasl>,
    /// From one probe of an idle connection to the next; zero leaves it to the system.
    pub(super) keep_alive: Duration,
}

/// Who the client is.
#[derive(Clone, Debug)]
pub(super) struct Sasl {
    pub(super) mechanism: Mechanism,
    pub(super) user: Secret,
    pub(super) password: Secret,
}

/// A request, its answer, and the newest version of both that is spoken here.
pub(super) trait Call: Encodable + HeaderVersion {
    const KEY: ApiKey;
    const NEWEST: i16;
    type Answer: Decodable + HeaderVersion;
}

macro_rules! calls {
    ($($request:ident => $answer:ident, $key:ident, $newest:literal;)*) => {
        $(impl Call for $request {
            const KEY: ApiKey = ApiKey::$key;
            const NEWEST: i16 = $newest;
            type Answer = $answer;
        })*
    };
}

calls! {
    ApiVersionsRequest => ApiVersionsResponse, ApiVersions, 3;
    MetadataRequest => MetadataResponse, Metadata, 12;
    InitProducerIdRequest => InitProducerIdResponse, InitProducerId, 4;
    // From 13 on topics have ids in place of names.
    ProduceRequest => ProduceResponse, Produce, 12;
    SaslHandshakeRequest => SaslHandshakeResponse, SaslHandshake, 1;
    SaslAuthenticateRequest => SaslAuthenticateResponse, SaslAuthenticate, 2;
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that can be used. After an error it cannot.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    client_id: StrBytes,
    /// The oldest and the newest version that the broker has of each request.
    versions: BTreeMap<i16, (i16, i16)>,
    n: i32,
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// Why not, with the address.
    pub(super) async fn open(address: &str, reach: &BrokerReach) -> Result<Self, String> {
        let opened = tokio::time::timeout(LIMIT, Self::try_open(address, reach)).await;
        let opened = opened.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        opened.map_err(|error| format!("{address}: {error}"))
    }

    async fn try_open(address: &str, reach: &BrokerReach) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        // Requests are written whole.
        let _ = stream.set_nodelay(true);
        if !reach.keep_alive.is_zero() {
            use rustix::net::sockopt;
            let set = sockopt::set_socket_keepalive(&stream, true)
                .and_then(|()| sockopt::set_tcp_keepidle(&stream, reach.keep_alive))
                .and_then(|()| sockopt::set_tcp_keepintvl(&stream, reach.keep_alive));
            set.map_err(|error| format!("`keep_alive_period`: {error}"))?;
        }
        let stream: Box<dyn Stream> = match &reach.tls {
            None => Box::new(stream),
            Some(tls) => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let name = host.trim_matches(['[', ']']).to_owned();
                let name =
                    rustls::pki_types::ServerName::try_from(name).map_err(|error| error.to_string())?;
                let tls = tls.clone();
                // The files are read for each connection, so that they may be replaced.
                let config = off_thread::run(move || http::tls_config(&tls)).await;
                let config = config.map_err(|error| error.to_string())?;
                let connector = tokio_rustls::TlsConnector::from(config);
                let stream = connector.connect(name, stream).await;
                Box::new(stream.map_err(|error| http::without_prefix(&error.to_string()))?)
            }
        };
        let client_id = StrBytes::from_string(reach.client_id.clone());
        let mut connection = Self { stream, client_id, versions: BTreeMap::new(), n: 0 };
        connection.agree().await?;
        if let Some(sasl) = &reach.sasl {
            connection.authenticate(sasl).await?;
        }
        Ok(connection)
    }

    /// Asks for the versions.
    async fn agree(&mut self) -> Result<(), String> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("seismograf"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut answer = self.call_version(&request, 3, LIMIT).await?;
        if answer.error_code == UNSUPPORTED_VERSION {
            answer = self.call_version(&request, 0, LIMIT).await?;
        }
        if answer.error_code != 0 {
            return Err(answer::reason(answer.error_code, None));
        }
        self.versions =
            answer.api_keys.iter().map(|key| (key.api_key, (key.min_version, key.max_version))).collect();
        Ok(())
    }

    async fn authenticate(&mut self, Sasl { mechanism, user, password }: &Sasl) -> Result<(), String> {
        let request =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism.name()));
        let answer = self.call(&request, LIMIT).await?;
        if answer.error_code != 0 {
            let offered: Vec<&str> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
            let reason = answer::reason(answer.error_code, None);
            let (name, offered) = (mechanism.name(), offered.join(", "));
            return Err(format!("`sasl_mechanism` {name}: {reason}; the broker has: {offered}"));
        }
        if *mechanism == Mechanism::Plain {
            return self.step(plain(user, password)).await.map(drop);
        }
        let nonce: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        let mut scram = Scram::new(*mechanism, user, password, nonce);
        let challenge = self.step(scram.first()).await?;
        // It can take a while.
        let (scram, second) = off_thread::run(move || {
            let second = scram.second(&challenge);
            (scram, second)
        })
        .await;
        let last = self.step(second?).await?;
        scram.finish(&last)
    }

    async fn step(&mut self, message: Vec<u8>) -> Result<Bytes, String> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        let answer = self.call(&request, LIMIT).await?;
        match answer.error_code {
            0 => Ok(answer.auth_bytes),
            code => Err(answer::reason(code, answer.error_message.as_ref().map(StrBytes::as_str))),
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The broker has no version of it that is spoken here, the connection broke, or it took too long.
    pub(super) async fn call<C: Call>(&mut self, request: &C, limit: Duration) -> Result<C::Answer, String> {
        let version = self.version::<C>()?;
        self.call_version(request, version, limit).await
    }

    /// Sends a request to which there is no answer.
    ///
    /// # Errors
    /// As those of [`call`](Self::call).
    pub(super) async fn tell<C: Call>(&mut self, request: &C) -> Result<(), String> {
        let version = self.version::<C>()?;
        let sent = tokio::time::timeout(LIMIT, self.send(request, version)).await;
        sent.unwrap_or_else(|_| Err("it takes nothing".to_owned()))
    }

    fn version<C: Call>(&self) -> Result<i16, String> {
        let known = self.versions.get(&(C::KEY as i16));
        let (oldest, newest) = known.copied().ok_or_else(|| format!("the broker has no {:?}", C::KEY))?;
        let version = newest.min(C::NEWEST);
        if version < oldest {
            return Err(format!(
                "the broker has versions {oldest} to {newest} of {:?}, and here it is {}",
                C::KEY,
                C::NEWEST
            ));
        }
        Ok(version)
    }

    async fn call_version<C: Call>(
        &mut self,
        request: &C,
        version: i16,
        limit: Duration,
    ) -> Result<C::Answer, String> {
        let called = async {
            self.send(request, version).await?;
            self.receive::<C>(version).await
        };
        tokio::time::timeout(limit, called).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn send<C: Call>(&mut self, request: &C, version: i16) -> Result<(), String> {
        self.n = self.n.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(C::KEY as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.n)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::from(&[0; 4][..]);
        header
            .encode(&mut frame, C::header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(|error| format!("cannot encode {:?}: {error}", C::KEY))?;
        let length = i32::try_from(frame.len() - 4).map_err(|_| "the request is too long".to_owned())?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let sent = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        sent.await.map_err(broken)
    }

    async fn receive<C: Call>(&mut self, version: i16) -> Result<C::Answer, String> {
        let length = self.stream.read_i32().await.map_err(broken)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_ANSWER);
        let length = length.ok_or("it answers in no way that Kafka does: is this the right port?")?;
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await.map_err(broken)?;
        let mut answer = Bytes::from(answer);
        let garbled =
            |error: &dyn std::fmt::Display| format!("cannot read its answer to {:?}: {error}", C::KEY);
        // A broker without the version answers the first question in its oldest form.
        let is_oldest =
            C::KEY == ApiKey::ApiVersions && answer.get(4..6) == Some(&UNSUPPORTED_VERSION.to_be_bytes());
        let version = if is_oldest { 0 } else { version };
        let header = ResponseHeader::decode(&mut answer, C::Answer::header_version(version));
        let header = header.map_err(|error| garbled(&error))?;
        if header.correlation_id != self.n {
            return Err(garbled(&"it is to another request"));
        }
        C::Answer::decode(&mut answer, version).map_err(|error| garbled(&error))
    }
}

fn broken(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => error.to_string(),
    }
}
