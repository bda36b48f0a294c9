//! From Telegraf's TLS options to a TLS configuration: which authorities are trusted, and the client's own certificate.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};

use super::verifier::Verifier;
use crate::options::OptionError;
use crate::options::tls::Tls;

/// How a file of certificates begins, and how one of another kind is converted.
const CERTIFICATES: &str = "has no certificate (`-----BEGIN CERTIFICATE-----`); one in DER is converted by `openssl x509 -inform der -in FILE -out FILE.pem`";
/// The same of keys.
const KEYS: &str = "has no key that can be used (`-----BEGIN PRIVATE KEY-----`); one that is encrypted or of another form is converted by `openssl pkey -in FILE -out FILE.pem`";

const ONLY_TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The configuration of a client.
///
/// # Errors
/// The option that cannot be used; the message names the file, what is wrong with it, and what to do.
pub(super) fn config(tls: &Tls) -> Result<ClientConfig, OptionError> {
    let versions = versions(tls)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_protocol_versions(versions)
        .map_err(|error| OptionError::new("tls_min_version", error.to_string()))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier(tls)?));
    Ok(match identity(tls)? {
        None => builder.with_no_client_auth(),
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
    })
}

/// The versions of TLS that are offered.
///
/// # Errors
/// There is no such version.
pub(super) fn versions(
    tls: &Tls,
) -> Result<&'static [&'static rustls::SupportedProtocolVersion], OptionError> {
    match tls.tls_min_version.as_str() {
        "" | "TLS10" | "TLS11" | "TLS12" => Ok(rustls::ALL_VERSIONS),
        "TLS13" => Ok(ONLY_TLS13),
        other => Err(OptionError::new("tls_min_version", format!("`{other}`: must be TLS12 or TLS13"))),
    }
}

fn verifier(tls: &Tls) -> Result<Verifier, OptionError> {
    let name = match tls.tls_server_name.as_str() {
        "" => None,
        name => {
            let name = ServerName::try_from(name.to_owned());
            Some(name.map_err(|error| OptionError::new("tls_server_name", error.to_string()))?)
        }
    };
    if tls.insecure_skip_verify {
        return Ok(Verifier::unchecked(ring::default_provider()));
    }
    let mut roots = RootCertStore::empty();
    let (source, named) = match tls.tls_ca.as_str() {
        "" => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            ("the system's authorities".to_owned(), Vec::new())
        }
        path => {
            let named = certificates("tls_ca", path)?;
            let (_, unusable) = roots.add_parsable_certificates(named.iter().cloned());
            if unusable == named.len() {
                return Err(OptionError::new("tls_ca", format!("{path}: no certificate in it can be read")));
            }
            (format!("`tls_ca` ({path})"), named)
        }
    };
    if roots.is_empty() {
        let what =
            "is empty, and this system has no CA certificates: install ca-certificates, or name a file";
        return Err(OptionError::local("tls_ca", what));
    }
    let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::new(ring::default_provider()));
    let inner = inner.build().map_err(|error| OptionError::new("tls_ca", error.to_string()))?;
    Ok(Verifier::new(inner, source, named, name))
}

/// The client's own certificate, of any version of X.509: only the server looks at what it says.
fn identity(tls: &Tls) -> Result<Option<CertifiedKey>, OptionError> {
    let Some((cert, key)) = own_files(tls)? else { return Ok(None) };
    let chain = certificates("tls_cert", cert)?;
    let der = PrivateKeyDer::from_pem_slice(&read("tls_key", key)?);
    let der = der.map_err(|_| OptionError::new("tls_key", format!("{key} {}", how(KEYS, key))))?;
    let signer = ring::sign::any_supported_type(&der);
    let signer = signer.map_err(|error| OptionError::new("tls_key", format!("{key}: {error}")))?;
    let identity = CertifiedKey::new(chain, signer);
    match identity.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(OptionError::new("tls_key", format!("{key} is not the key of the certificate in {cert}")))
        }
        // What it does not understand it cannot compare.
        _ => Ok(Some(identity)),
    }
}

fn certificates(option: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, OptionError> {
    let text = read(option, path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(OptionError::new(option, format!("{path} {}", how(CERTIFICATES, path)))),
        Err(error) => Err(OptionError::new(option, format!("{path} is damaged: {error}"))),
    }
}

fn how(text: &str, path: &str) -> String {
    text.replace("FILE", path)
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

fn read(option: &'static str, path: &str) -> Result<Vec<u8>, OptionError> {
    std::fs::read(path).map_err(|error| OptionError::local(option, format!("cannot read {path}: {error}")))
}
