//! HTTP clients, for the outputs and for the inputs that query an API: Telegraf's TLS options, responses of bounded size,
//! errors with their causes.
//!
//! Owns no connection and no address; the caller adds its own timeouts and headers.

use std::sync::Arc;

use crate::options::OptionError;
use crate::options::tls::Tls;
use reqwest::{Certificate, ClientBuilder, Identity, Response, tls};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

/// The agent's own `User-Agent`.
pub(crate) const USER_AGENT: &str = concat!("Seismograf/", env!("CARGO_PKG_VERSION"));

/// A client that trusts the authorities that the options name. Redirects are not followed: a POST would become a GET, which
/// looks like success, and a token could be sent to a foreign server.
///
/// `is_tls` is whether TLS will be used: without it the system's CA certificates are not read, and an image may have none.
///
/// # Errors
/// The option that cannot be used; the message names the file.
pub(crate) fn client(tls: &Tls, is_tls: bool) -> Result<ClientBuilder, OptionError> {
    // In tests it may be installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = ClientBuilder::new()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tls_version_min(minimum(&tls.tls_min_version)?);
    if !is_tls {
        return Ok(client.tls_certs_only([]));
    }
    if tls.insecure_skip_verify {
        return Ok(identified(client.tls_certs_only([]), tls)?.tls_danger_accept_invalid_certs(true));
    }
    if !tls.tls_server_name.is_empty() {
        return Ok(client.tls_backend_preconfigured(renamed(tls)?));
    }
    let client = match tls.tls_ca.as_str() {
        "" => client,
        path => {
            let pem = read("tls_ca", path)?;
            let authorities = Certificate::from_pem_bundle(&pem);
            let authorities = authorities.map_err(|error| no_pem("tls_ca", path, &error))?;
            if authorities.is_empty() {
                return Err(no_pem("tls_ca", path, &"it contains no certificate"));
            }
            client.tls_certs_only(authorities)
        }
    };
    identified(client, tls)
}

/// Builds a client.
///
/// # Errors
/// Names `option`, the one that needs the system's CA certificates, usually the URL.
pub(crate) fn build(client: ClientBuilder, option: &'static str) -> Result<reqwest::Client, OptionError> {
    client.build().map_err(|error| {
        OptionError::local(
            option,
            format!("{}; the image or system needs its CA certificates, or set `tls_ca`", chain(&error)),
        )
    })
}

/// Adds the client certificate, if one is configured.
fn identified(client: ClientBuilder, tls: &Tls) -> Result<ClientBuilder, OptionError> {
    let Some((cert, key)) = own_files(tls)? else { return Ok(client) };
    let mut pem = read("tls_cert", cert)?;
    pem.push(b'\n');
    pem.extend(read("tls_key", key)?);
    let identity = Identity::from_pem(&pem).map_err(|error| no_pem("tls_cert", cert, &error))?;
    Ok(client.identity(identity))
}

/// The files of the client's certificate and key.
fn own_files(tls: &Tls) -> Result<Option<(&str, &str)>, OptionError> {
    if !tls.tls_key_pwd.is_empty() {
        let what = "encrypted keys are not supported: decrypt the key (openssl pkey) and remove this option";
        return Err(OptionError::new("tls_key_pwd", what));
    }
    match (tls.tls_cert.as_str(), tls.tls_key.as_str()) {
        ("", "") => Ok(None),
        ("", _) => {
            Err(OptionError::new("tls_key", "needs `tls_cert`, the certificate that it is the key to"))
        }
        (_, "") => Err(OptionError::new("tls_cert", "needs `tls_key`, its key")),
        files => Ok(Some(files)),
    }
}

fn minimum(version: &str) -> Result<tls::Version, OptionError> {
    match version {
        "" | "TLS10" | "TLS11" | "TLS12" => Ok(tls::Version::TLS_1_2),
        "TLS13" => Ok(tls::Version::TLS_1_3),
        other => Err(OptionError::new("tls_min_version", format!("`{other}`: must be TLS12 or TLS13"))),
    }
}

fn read(option: &'static str, path: &str) -> Result<Vec<u8>, OptionError> {
    std::fs::read(path).map_err(|error| OptionError::local(option, format!("cannot read {path}: {error}")))
}

fn no_pem(option: &'static str, path: &str, error: &dyn std::fmt::Display) -> OptionError {
    OptionError::new(option, format!("{path} is not a usable PEM file: {error}"))
}

/// A TLS configuration that expects another name in the certificate than the URL's.
fn renamed(tls: &Tls) -> Result<rustls::ClientConfig, OptionError> {
    let wrong = |error: &dyn std::fmt::Display| OptionError::new("tls_server_name", error.to_string());
    let mut roots = RootCertStore::empty();
    if tls.tls_ca.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        for certificate in CertificateDer::pem_slice_iter(&read("tls_ca", &tls.tls_ca)?) {
            let certificate = certificate.map_err(|error| no_pem("tls_ca", &tls.tls_ca, &error))?;
            roots.add(certificate).map_err(|error| no_pem("tls_ca", &tls.tls_ca, &error))?;
        }
    }
    let verifier = Renamed {
        inner: WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|error| wrong(&error))?,
        name: ServerName::try_from(tls.tls_server_name.clone()).map_err(|error| wrong(&error))?,
    };
    let versions: &[&rustls::SupportedProtocolVersion] = match minimum(&tls.tls_min_version)? {
        tls::Version::TLS_1_3 => &[&rustls::version::TLS13],
        _ => rustls::ALL_VERSIONS,
    };
    let config = rustls::ClientConfig::builder_with_protocol_versions(versions)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((cert, key)) = own_files(tls)? else { return Ok(config.with_no_client_auth()) };
    let pem = read("tls_cert", cert)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| no_pem("tls_cert", cert, &error))?;
    let key_der = PrivateKeyDer::from_pem_slice(&read("tls_key", key)?);
    let key_der = key_der.map_err(|error| no_pem("tls_key", key, &error))?;
    config.with_client_auth_cert(chain, key_der).map_err(|error| no_pem("tls_cert", cert, &error))
}

/// Verifies a certificate as usual, but against another name.
#[derive(Debug)]
struct Renamed {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Renamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _url_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Why a response body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than expected of any server.
    #[error("the answer is larger than {}", size(*.0))]
    TooLarge(usize),
    /// The connection broke.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// A size as a person reads it.
fn size(bytes: usize) -> String {
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
    .replace(".0 ", " ")
}

/// A response's body.
///
/// # Errors
/// It is larger than `limit` bytes, which are the most that are held in memory; or the connection broke.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge(limit));
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(BodyError::TooLarge(limit)),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(BodyError::Broken(chain(&error))),
        }
    }
}

/// An error with its causes, which reqwest's own message leaves out.
#[must_use]
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        let part = error.to_string();
        // Wrappers repeat the message of what they wrap.
        if !text.contains(&part) && part != "client error (Connect)" {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn tls(set: impl FnOnce(&mut Tls)) -> Tls {
        let mut tls = Tls::default();
        set(&mut tls);
        tls
    }

    #[rstest]
    #[case(tls(|tls| tls.tls_ca = "/nonexistent".into()), "`tls_ca`: cannot read /nonexistent: No such file")]
    #[case(tls(|tls| tls.tls_ca = "/proc/version".into()), "`tls_ca`: /proc/version is not a usable PEM file")]
    #[case(tls(|tls| tls.tls_cert = "/a".into()), "`tls_cert`: needs `tls_key`")]
    #[case(tls(|tls| tls.tls_key = "/a".into()), "`tls_key`: needs `tls_cert`")]
    #[case(tls(|tls| tls.tls_key_pwd = "secret".into()), "`tls_key_pwd`: encrypted keys")]
    #[case(tls(|tls| tls.tls_min_version = "SSL3".into()), "`tls_min_version`: `SSL3`: must be TLS12 or TLS13")]
    #[case(tls(|tls| tls.tls_server_name = "a b".into()), "`tls_server_name`: invalid")]
    fn rejects_what_it_cannot_use(#[case] tls: Tls, #[case] expected: &str) {
        let error = client(&tls, true).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn without_tls_no_authority_is_needed() {
        assert!(build(client(&Tls::default(), false).unwrap(), "url").is_ok());
        assert!(build(client(&tls(|tls| tls.insecure_skip_verify = true), true).unwrap(), "url").is_ok());
    }
}
