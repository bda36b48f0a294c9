//! TLS of a server: its certificate, and which certificates clients must have.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use tokio_rustls::TlsAcceptor;

use crate::options::OptionError;
use crate::options::tls::ServerTls;

/// What takes connections with TLS; `None` where the options ask for none.
///
/// # Errors
/// The option that cannot be used; the message names the file.
pub(crate) fn acceptor(tls: &ServerTls) -> Result<Option<TlsAcceptor>, OptionError> {
    if !tls.tls_key_pwd.is_empty() {
        let what = "encrypted keys are not supported: decrypt the key (openssl pkey) and remove this option";
        return Err(OptionError::new("tls_key_pwd", what));
    }
    let versions = versions(tls)?;
    match (tls.tls_cert.as_str(), tls.tls_key.as_str()) {
        ("", "") if tls.tls_allowed_cacerts.is_empty() => return Ok(None),
        ("", "") => {
            let what = "needs `tls_cert` and `tls_key`: without them there is no TLS";
            return Err(OptionError::new("tls_allowed_cacerts", what));
        }
        ("", _) => {
            return Err(OptionError::new(
                "tls_key",
                "needs `tls_cert`, the certificate that it is the key to",
            ));
        }
        (_, "") => return Err(OptionError::new("tls_cert", "needs `tls_key`, its key")),
        _ => {}
    }
    // In tests it may be installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = rustls::ServerConfig::builder_with_protocol_versions(&versions);
    let builder = match verifier(tls)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = certificates("tls_cert", &tls.tls_cert)?;
    let key = PrivateKeyDer::from_pem_slice(&read("tls_key", &tls.tls_key)?);
    let key = key.map_err(|error| no_pem("tls_key", &tls.tls_key, &error))?;
    let config = builder.with_single_cert(chain, key);
    let config = config.map_err(|error| no_pem("tls_cert", &tls.tls_cert, &error))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn versions(tls: &ServerTls) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, OptionError> {
    let level = |option: &'static str, text: &str, default: u8| match text {
        "" => Ok(default),
        "TLS10" | "TLS11" | "TLS12" => Ok(2),
        "TLS13" => Ok(3),
        other => Err(OptionError::new(option, format!("`{other}`: must be TLS12 or TLS13"))),
    };
    let min = level("tls_min_version", &tls.tls_min_version, 2)?;
    let max = level("tls_max_version", &tls.tls_max_version, 3)?;
    if min > max {
        return Err(OptionError::new("tls_max_version", "is below `tls_min_version`"));
    }
    let all = [(2, &rustls::version::TLS12), (3, &rustls::version::TLS13)];
    Ok(all.into_iter().filter(|(level, _)| (min..=max).contains(level)).map(|(_, version)| version).collect())
}

fn verifier(tls: &ServerTls) -> Result<Option<Arc<dyn ClientCertVerifier>>, OptionError> {
    const OPTION: &str = "tls_allowed_cacerts";
    if tls.tls_allowed_cacerts.is_empty() {
        if !tls.tls_allowed_dns_names.is_empty() {
            let what = "needs `tls_allowed_cacerts`: without them clients are not asked for a certificate";
            return Err(OptionError::new("tls_allowed_dns_names", what));
        }
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for path in &tls.tls_allowed_cacerts {
        for certificate in certificates(OPTION, path)? {
            roots.add(certificate).map_err(|error| no_pem(OPTION, path, &error))?;
        }
    }
    let inner = WebPkiClientVerifier::builder(Arc::new(roots)).build();
    let inner = inner.map_err(|error| OptionError::new(OPTION, error.to_string()))?;
    if tls.tls_allowed_dns_names.is_empty() {
        return Ok(Some(inner));
    }
    let name = |name: &String| ServerName::try_from(name.clone());
    let names = tls.tls_allowed_dns_names.iter().map(name).collect::<Result<Vec<_>, _>>();
    let names = names.map_err(|error| OptionError::new("tls_allowed_dns_names", error.to_string()))?;
    Ok(Some(Arc::new(Named { inner, names })))
}

fn read(option: &'static str, path: &str) -> Result<Vec<u8>, OptionError> {
    std::fs::read(path).map_err(|error| OptionError::local(option, format!("cannot read {path}: {error}")))
}

fn certificates(option: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, OptionError> {
    let pem = read(option, path)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| no_pem(option, path, &error))?;
    if found.is_empty() { Err(no_pem(option, path, &"it contains no certificate")) } else { Ok(found) }
}

fn no_pem(option: &'static str, path: &str, error: &dyn std::fmt::Display) -> OptionError {
    OptionError::new(option, format!("{path} is not a usable PEM file: {error}"))
}

/// Verifies a client's certificate as usual, and that it is for one of these names.
#[derive(Debug)]
struct Named {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
        let is_for = |name| rustls::client::verify_server_name(&parsed, name).is_ok();
        if self.names.iter().any(is_for) {
            return Ok(verified);
        }
        Err(rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName))
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
