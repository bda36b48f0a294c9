//! Whether a server's certificate is trusted, and in words of a person why not.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// What begins the text of an error of ours; [`chain`](super::chain) takes it away again.
pub(super) const PREFIX: &str = "unexpected error: ";

/// Verifies certificates by authorities. A certificate that `tls_ca` itself names is trusted for its name, whatever it says about
/// being one of an authority: that is how `openssl req -x509` makes them.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` checks no certificate, but still who has its key.
    authorities: Option<Authorities>,
    provider: CryptoProvider,
}

#[derive(Debug)]
struct Authorities {
    inner: Arc<WebPkiServerVerifier>,
    /// Where they come from, for messages.
    source: String,
    named: Vec<CertificateDer<'static>>,
    /// The name that a certificate must have in place of the URL's.
    name: Option<ServerName<'static>>,
}

impl Verifier {
    /// Trusts what `inner` does, and the certificates that are `named` in `source`.
    pub(super) fn new(
        inner: Arc<WebPkiServerVerifier>,
        source: String,
        named: Vec<CertificateDer<'static>>,
        name: Option<ServerName<'static>>,
    ) -> Self {
        let provider = rustls::crypto::ring::default_provider();
        Self { authorities: Some(Authorities { inner, source, named, name }), provider }
    }

    /// Trusts everybody.
    pub(super) fn unchecked(provider: CryptoProvider) -> Self {
        Self { authorities: None, provider }
    }
}

impl Authorities {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, CertificateError> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        let error = match verified {
            Ok(verified) => return Ok(verified),
            Err(Error::InvalidCertificate(error)) => error,
            Err(error) => return Err(CertificateError::Other(rustls::OtherError(Arc::new(error)))),
        };
        // The times are checked before anything else is minded, and purposes and names hold for this certificate too.
        let is_final = matches!(
            error,
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. }
                | CertificateError::InvalidPurpose
                | CertificateError::InvalidPurposeContext { .. }
                | CertificateError::BadEncoding
        );
        if is_final || !self.named.iter().any(|named| named == end_entity) {
            return Err(error);
        }
        let Ok(parsed) = ParsedCertificate::try_from(end_entity) else { return Err(error) };
        match rustls::client::verify_server_name(&parsed, name) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(Error::InvalidCertificate(error)) => Err(error),
            Err(_) => Err(error),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        url_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        let name = authorities.name.as_ref().unwrap_or(url_name);
        let verified = authorities.verify(end_entity, intermediates, name, ocsp_response, now);
        verified.map_err(|error| Error::General(words(&error, &authorities.source, name)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with a server's certificate, and what to do.
fn words(error: &CertificateError, source: &str, name: &ServerName<'_>) -> String {
    let at = |time: &UnixTime| {
        let time = i64::try_from(time.as_secs()).ok().and_then(|at| Timestamp::from_second(at).ok());
        time.map_or_else(String::new, |time| time.to_string())
    };
    let debug = format!("{error:?}");
    let what = match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("is no longer valid, since {}: make a new one", at(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            return format!(
                "the server's certificate is not valid yet, but from {}: check the clocks of both hosts",
                at(not_before)
            );
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            return format!(
                "the server's certificate is not signed by any of {source}: put its issuer's certificate into \
                 `tls_ca`; `openssl s_client -showcerts -connect {}:PORT` shows them",
                name.to_str()
            );
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "names no server (a subjectAltName is needed, a common name is not enough): make one that does"
                .into()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let for_name = name.to_str();
            format!(
                "is for {} and not for {for_name}: set `tls_server_name` to a name that it has, or make another",
                presented.join(", ")
            )
        }
        _ if debug.contains("UnsupportedCertVersion") => {
            "is of version 1 of X.509, which names no server: make one of version 3".into()
        }
        _ if debug.contains("CaUsedAsEndEntity") => format!(
            "is that of an authority (CA:TRUE), and {source} does not name exactly this one: put it there, or make \
             another"
        ),
        _ => format!("is refused ({debug}): make another"),
    };
    format!("the server's certificate {what}: `{}`", openssl(name))
}

/// The command that makes a certificate for a name, which `tls_ca` can name itself.
fn openssl(name: &ServerName<'_>) -> String {
    let kind = if matches!(name, ServerName::IpAddress(_)) { "IP" } else { "DNS" };
    let name = name.to_str();
    format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN={name} -addext subjectAltName={kind}:{name} \
         -keyout key.pem -out cert.pem"
    )
}
