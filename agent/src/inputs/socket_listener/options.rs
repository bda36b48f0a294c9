//! The section `[[inputs.socket_listener]]`: from Telegraf's options to what the input works with.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use super::datagrams::Datagrams;
use super::framing::{Framing, LengthField};
use super::streams::Streams;
use crate::inputs::listener::address;
use crate::inputs::listener::inflate::Packing;
use crate::listen::address::{Address, Transport};
use crate::listen::bind::Wishes;
use crate::listen::connections::{Admission, Capacity};
use crate::listen::tls::acceptor;
use crate::options::OptionError;
use crate::options::tls::ServerTls;
use crate::parsers::line_protocol::Precision;

/// Telegraf's, for the longest message of a stream.
const MAX_MESSAGE: usize = 64 << 10;
/// Bytes that a datagram may unpack to, where the option does not say.
const MAX_UNPACKED: usize = 8 << 20;

/// The section `[[inputs.socket_listener]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketListenerOptions {
    /// `udp://:8094`, `tcp://127.0.0.1:8094`, `unix:///path`, `unixgram:///path`.
    pub service_address: String,
    /// The mode of a socket's file, in octal.
    pub socket_mode: String,
    /// Connections at a time; 0 means 1,024, with room for a new one in place of the most idle one.
    pub max_connections: usize,
    /// A connection that sends nothing for so long is closed; 0 means never.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub read_timeout: Duration,
    /// The kernel's buffer for datagrams, and the longest message of a stream if it is above 64 KiB; 0 means the default.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size")]
    pub read_buffer_size: usize,
    /// After how long without data TCP asks whether the peer is there; 0 means never.
    #[serde(deserialize_with = "deserialize_some")]
    pub keep_alive_period: Option<Duration>,
    /// `identity` or `gzip`; for datagrams also `zlib` and `auto`.
    pub content_encoding: String,
    /// Bytes that a datagram may unpack to; 0 means 8 MiB.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size")]
    pub max_decompression_size: usize,
    /// Addresses of senders; empty means all.
    pub allowed_sources: Vec<String>,
    /// `newline`, `null`, `delimiter`, `fixed length`, `variable length`.
    pub splitting_strategy: String,
    /// With `delimiter`: the bytes, in hexadecimal digits.
    pub splitting_delimiter: String,
    /// With `fixed length`: bytes of a message.
    pub splitting_length: usize,
    /// With `variable length`: where the length is.
    pub splitting_length_field: LengthField,
    /// `influx`.
    pub data_format: String,
    /// The unit of times: 1ns, 1us, 1ms or 1s.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub influx_timestamp_precision: Duration,
    /// TLS of streams.
    pub server_tls: ServerTls,
}

fn deserialize_some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    crate::options::duration::deserialize(deserializer).map(Some)
}

/// What the options say.
pub(super) enum SocketSetup {
    Streams(Streams, Wishes),
    Datagrams(Datagrams, Wishes),
}

impl SocketSetup {
    pub(super) fn wishes(&self) -> &Wishes {
        match self {
            Self::Streams(_, wishes) | Self::Datagrams(_, wishes) => wishes,
        }
    }
}

impl SocketListenerOptions {
    /// Checks the options; nothing is bound.
    ///
    /// # Errors
    /// The one that cannot be used, and what to do.
    pub(super) fn setup(&self) -> Result<SocketSetup, OptionError> {
        if self.service_address.is_empty() {
            return Err(OptionError::new("service_address", "is missing: write it as \"udp://:8094\""));
        }
        let address = address(&self.service_address)?;
        if !matches!(self.data_format.as_str(), "" | "influx") {
            let what = format!("`{}`: line protocol is read, which is \"influx\"", self.data_format);
            return Err(OptionError::new("data_format", what));
        }
        let precision = self.precision()?;
        let sources = self.sources()?;
        let mode = self.mode()?;
        let framing = self.framing()?;
        let tls = acceptor(&self.server_tls)?;
        let wishes = Wishes { buffer: self.read_buffer_size, mode };
        let packing = self.packing(address.transport())?;
        if address.transport() == Transport::Datagram {
            let max_unpacked = match self.max_decompression_size {
                0 => MAX_UNPACKED,
                bytes => bytes,
            };
            return Ok(SocketSetup::Datagrams(
                Datagrams { packing, precision, max_unpacked, sources },
                wishes,
            ));
        }
        let admission = Admission {
            capacity: match self.max_connections {
                0 => Capacity::default(),
                max => Capacity::Refuse(max),
            },
            sources,
            tls,
            keep_alive: self.keep_alive_period,
        };
        let max_message = self.read_buffer_size.max(MAX_MESSAGE);
        let (packing, read_timeout) = (packing.unwrap_or_default(), self.read_timeout);
        Ok(SocketSetup::Streams(
            Streams { admission, framing, packing, precision, read_timeout, max_message },
            wishes,
        ))
    }

    fn precision(&self) -> Result<Precision, OptionError> {
        match self.influx_timestamp_precision.as_nanos() {
            0 | 1 => Ok(Precision::Nanoseconds),
            1_000 => Ok(Precision::Microseconds),
            1_000_000 => Ok(Precision::Milliseconds),
            1_000_000_000 => Ok(Precision::Seconds),
            _ => Err(OptionError::new("influx_timestamp_precision", "must be 1ns, 1us, 1ms or 1s")),
        }
    }

    fn sources(&self) -> Result<Vec<IpAddr>, OptionError> {
        let parse = |text: &String| {
            text.parse::<IpAddr>()
                .map_err(|_| OptionError::new("allowed_sources", format!("`{text}` is no IP address")))
        };
        self.allowed_sources.iter().map(parse).collect()
    }

    fn mode(&self) -> Result<Option<u32>, OptionError> {
        if self.socket_mode.is_empty() {
            return Ok(None);
        }
        let mode = u32::from_str_radix(&self.socket_mode, 8).ok().filter(|mode| *mode <= 0o7777);
        let what = || format!("`{}`: write it in octal digits, such as \"0660\"", self.socket_mode);
        mode.map(Some).ok_or_else(|| OptionError::new("socket_mode", what()))
    }

    /// `None` means that each datagram shows it.
    fn packing(&self, transport: Transport) -> Result<Option<Packing>, OptionError> {
        match (self.content_encoding.as_str(), transport) {
            ("" | "identity", _) => Ok(Some(Packing::None)),
            ("gzip", _) => Ok(Some(Packing::Gzip)),
            ("zlib", Transport::Datagram) => Ok(Some(Packing::Zlib)),
            ("auto", Transport::Datagram) => Ok(None),
            (other, Transport::Datagram) => {
                let what = format!("`{other}`: it must be identity, gzip, zlib or auto");
                Err(OptionError::new("content_encoding", what))
            }
            (other, Transport::Stream) => {
                let what = format!("`{other}`: of a stream it must be identity or gzip");
                Err(OptionError::new("content_encoding", what))
            }
        }
    }

    fn framing(&self) -> Result<Framing, OptionError> {
        match self.splitting_strategy.as_str() {
            "" | "newline" => Ok(Framing::Delimiter(vec![b'\n'])),
            "null" => Ok(Framing::Delimiter(vec![0])),
            "delimiter" => self.delimiter().map(Framing::Delimiter),
            "fixed length" if self.splitting_length > 0 => Ok(Framing::Length(self.splitting_length)),
            "fixed length" => Err(OptionError::new("splitting_length", "must be 1 or more")),
            "variable length" => {
                let field = self.splitting_length_field.clone();
                let is_within =
                    field.offset.checked_add(field.bytes).is_some_and(|end| end <= field.header_length);
                if !(1..=8).contains(&field.bytes) || !is_within {
                    let what = "needs `bytes` from 1 to 8, and `header_length` of at least `offset` and `bytes` together";
                    return Err(OptionError::new("splitting_length_field", what));
                }
                if !matches!(field.endianness.as_str(), "" | "be" | "le") {
                    return Err(OptionError::new("splitting_length_field", "needs `endianness` be or le"));
                }
                Ok(Framing::Header(field))
            }
            other => {
                let what = format!(
                    "`{other}`: it must be newline, null, delimiter, fixed length or variable length"
                );
                Err(OptionError::new("splitting_strategy", what))
            }
        }
    }

    fn delimiter(&self) -> Result<Vec<u8>, OptionError> {
        let text = self.splitting_delimiter.trim();
        let digits: String = text.trim_start_matches("0x").chars().filter(|c| !c.is_whitespace()).collect();
        let pairs = (0..digits.len()).step_by(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            let what = "needs the delimiter's bytes in hexadecimal digits, such as \"0d0a\"";
            OptionError::new("splitting_delimiter", what)
        })
    }

    /// Options that do nothing with this address.
    pub(super) fn without_effect(&self) -> Vec<OptionError> {
        let Ok(address) = Address::parse(&self.service_address) else { return Vec::new() };
        let is_stream = address.transport() == Transport::Stream;
        let is_unix = matches!(address, Address::Unix { .. });
        let stream_only: [(&'static str, bool); 5] = [
            ("max_connections", self.max_connections > 0),
            ("read_timeout", !self.read_timeout.is_zero()),
            ("keep_alive_period", self.keep_alive_period.is_some()),
            ("splitting_strategy", !self.splitting_strategy.is_empty()),
            ("tls_cert", !self.server_tls.tls_cert.is_empty()),
        ];
        let stream_only = stream_only.into_iter().filter(|(_, is_set)| *is_set && !is_stream);
        let mut remarks: Vec<OptionError> = stream_only
            .map(|(option, _)| {
                OptionError::new(option, "has no effect: it is about connections, and datagrams have none")
            })
            .collect();
        if is_stream && self.max_decompression_size > 0 {
            remarks.push(OptionError::new("max_decompression_size", "has no effect: it is about datagrams"));
        }
        if !is_unix && !self.socket_mode.is_empty() {
            remarks.push(OptionError::new("socket_mode", "has no effect: only a unix socket has a file"));
        }
        remarks
    }
}
