use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rstest::rstest;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

fn tls(set: impl FnOnce(&mut Tls)) -> Tls {
    let mut tls = Tls::default();
    set(&mut tls);
    tls
}

#[rstest]
#[case(tls(|tls| tls.tls_ca = "/nonexistent".into()), "`tls_ca`: cannot read /nonexistent: No such file")]
#[case(tls(|tls| tls.tls_ca = "/proc/version".into()), "`tls_ca`: /proc/version has no certificate (`-----BEGIN")]
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

/// A certificate as a server has it, with its key.
struct Made {
    pem: String,
    config: Arc<ServerConfig>,
}

/// A self-signed certificate for `names`, as `openssl req -x509` makes it: one of an authority.
fn self_signed(names: &[&str], set: impl FnOnce(&mut CertificateParams)) -> Made {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    set(&mut params);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.der().clone()], der).unwrap();
    Made { pem: made.pem(), config: Arc::new(config) }
}

/// Answers every request with 204, for as long as the test runs. Returns its port.
pub(super) fn serve(config: &Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, config) = (listener.local_addr().unwrap().port(), Arc::clone(config));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut request = [0; 4096];
            // A client that refuses the certificate goes away.
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 204 \r\nConnection: close\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    port
}

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The status that a server with this certificate gives to a client whose `tls_ca` is `ca`, or why there is none.
async fn ask(server: &Made, ca: &str, host: &str, set: impl FnOnce(&mut Tls)) -> Result<u16, String> {
    let directory = tempfile::tempdir().unwrap();
    let ca = file(directory.path(), "ca.pem", ca).display().to_string();
    let port = serve(&server.config);
    let options = tls(|tls| {
        tls.tls_ca = ca.clone();
        set(tls);
    });
    let client = client(&options, true).unwrap().resolve("db.example", ([127, 0, 0, 1], port).into());
    let answer = build(client, "url").unwrap().get(format!("https://{host}:{port}/")).send().await;
    answer.map(|answer| answer.status().as_u16()).map_err(|error| chain(&error).replace(&ca, "CA"))
}

const OPENSSL: &str = "`openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=db.example -addext \
    subjectAltName=DNS:db.example -keyout key.pem -out cert.pem`";

#[tokio::test]
async fn a_self_signed_certificate_that_tls_ca_names_is_trusted_for_its_name() {
    let made = self_signed(&["db.example", "127.0.0.1"], |_| ());
    assert_eq!(ask(&made, &made.pem, "db.example", |_| ()).await, Ok(204));
    assert_eq!(ask(&made, &made.pem, "127.0.0.1", |_| ()).await, Ok(204));
    let renamed = |tls: &mut Tls| tls.tls_server_name = "db.example".into();
    assert_eq!(ask(&made, &made.pem, "localhost", renamed).await, Ok(204));
    let plain = self_signed(&["db.example"], |params| params.is_ca = IsCa::NoCa);
    assert_eq!(ask(&plain, &plain.pem, "db.example", |_| ()).await, Ok(204));
    // Among others.
    assert_eq!(ask(&made, &format!("{}{}", plain.pem, made.pem), "db.example", |_| ()).await, Ok(204));
}

#[tokio::test]
async fn other_certificates_are_refused_with_the_reason_and_what_to_do() {
    let of_other = self_signed(&["other.example"], |_| ());
    let error = ask(&of_other, &of_other.pem, "db.example", |_| ()).await.unwrap_err();
    assert!(error.contains("the server's certificate is for") && error.contains("other.example"), "{error}");
    assert!(error.ends_with(OPENSSL), "{error}");

    let nameless = self_signed(&[], |_| ());
    let error = ask(&nameless, &nameless.pem, "db.example", |_| ()).await.unwrap_err();
    assert!(
        error.contains("names no server (a subjectAltName is needed") && error.ends_with(OPENSSL),
        "{error}"
    );

    let old = self_signed(&["db.example"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let error = ask(&old, &old.pem, "db.example", |_| ()).await.unwrap_err();
    assert!(
        error.contains("no longer valid, since 2020-01-01T00:00:00Z") && error.ends_with(OPENSSL),
        "{error}"
    );

    let early = self_signed(&["db.example"], |params| params.not_before = rcgen::date_time_ymd(4000, 1, 1));
    let error = ask(&early, &early.pem, "db.example", |_| ()).await.unwrap_err();
    assert!(error.contains("not valid yet, but from 4000-01-01"), "{error}");

    // Another key under the same name.
    let (made, other) = (self_signed(&["db.example"], |_| ()), self_signed(&["db.example"], |_| ()));
    let error = ask(&made, &other.pem, "db.example", |_| ()).await.unwrap_err();
    assert!(error.contains("`tls_ca` (CA)") && !error.contains("unexpected error"), "{error}");
    assert_eq!(ask(&made, &other.pem, "db.example", |tls| tls.insecure_skip_verify = true).await, Ok(204));
}

/// The client's own certificate is for the server to look at.
#[test]
fn a_client_certificate_of_version_1_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls");
    let [cert, key] = ["client-v1.pem", "client-v1.key"].map(|name| data.join(name).display().to_string());
    let with = |cert: &str, key: &str| {
        let options = tls(|tls| {
            (tls.tls_cert, tls.tls_key) = (cert.into(), key.into());
            tls.insecure_skip_verify = true;
        });
        trust::config(&options).map_err(|error| error.to_string())
    };
    assert!(with(&cert, &key).unwrap().client_auth_cert_resolver.has_certs());
    let error = with(&key, &key).unwrap_err();
    assert!(error.starts_with(&format!("`tls_cert`: {key} has no certificate (`-----BEGIN CERT")), "{error}");
    let error = with(&cert, &cert).unwrap_err();
    assert!(error.starts_with(&format!("`tls_key`: {cert} has no key that can be used")), "{error}");
    assert!(error.contains(&format!("`openssl pkey -in {cert} -out {cert}.pem`")), "{error}");
    let (made, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let pem = CertificateParams::new(vec![]).unwrap().self_signed(&made).unwrap().pem();
    let cert = file(directory.path(), "cert", &pem).display().to_string();
    let key = file(directory.path(), "key", &other.serialize_pem()).display().to_string();
    let error = with(&cert, &key).unwrap_err();
    assert_eq!(error, format!("`tls_key`: {key} is not the key of the certificate in {cert}"));
}

#[tokio::test]
async fn certificates_that_are_replaced_are_taken_up_and_broken_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let _log = crate::service::logging::to_file(&log);
    let [old, new] = [(); 2].map(|()| self_signed(&["127.0.0.1"], |_| ()));
    let ca = file(directory.path(), "ca.pem", &old.pem);
    let url = format!("https://127.0.0.1:{}/", serve(&new.config));
    let options = tls(|tls| tls.tls_ca = ca.display().to_string());
    let of = options.clone();
    let renewed =
        renewed::RenewedClient::new(&options, false, move || build(client(&of, true)?, "url")).unwrap();
    let is_answered = async || renewed.get().await.unwrap().get(&url).send().await.is_ok();
    assert!(!is_answered().await, "signed by another");
    std::fs::write(&ca, &new.pem).unwrap();
    renewed.forget_look();
    assert!(is_answered().await);
    for _ in 0..3 {
        std::fs::write(&ca, "broken").unwrap();
        renewed.forget_look();
        assert!(is_answered().await, "the old one stays");
    }
    let log = std::fs::read_to_string(log).unwrap();
    let counts = ["are taken up", "cannot be used: the old ones stay"].map(|text| log.matches(text).count());
    assert_eq!(counts, [1, 1], "{log}");
}
