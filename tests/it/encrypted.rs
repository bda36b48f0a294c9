//! Listeners with TLS: who is let in, by curl and by rustls, with certificates made for the test.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use seismograf_tests::http::free_address;
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{needs, trial, try_run, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("encrypted::who_has_the_certificates_is_let_in", certificates)]
}

const LIMIT: Duration = Duration::from_secs(30);

/// A certificate authority of the test.
pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate for a name or address, and its key, as `FILE.pem` and `FILE.key`.
pub(crate) fn certify(directory: &Path, file: &str, name: &str, issuer: &CertifiedIssuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    std::fs::write(directory.join(format!("{file}.pem")), certificate.pem()).unwrap();
    std::fs::write(directory.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

/// Writes a point by curl. Returns the status; 0 when there was no answer.
fn post(url: &str, directory: &Path, args: &[&str]) -> u16 {
    let in_directory = |arg: &&str| match arg.rsplit_once('.') {
        Some((_, "pem" | "key")) => directory.join(arg).display().to_string(),
        _ => (*arg).to_owned(),
    };
    let args: Vec<String> = args.iter().map(in_directory).collect();
    let mut all = vec!["-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}"];
    all.extend(args.iter().map(String::as_str));
    all.extend(["--data-binary", "m,by=curl f=1i 1", url]);
    let output = try_run("curl", &all);
    let status = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    println!("encrypted: {args:?}: {status} {}", String::from_utf8_lossy(&output.stderr).trim());
    status
}

/// Sends a line by TCP with TLS.
fn send(address: SocketAddr, authority: &Path, line: &str) -> std::io::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::from(address.ip());
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(address)?);
    stream.write_all(line.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()?;
    let _ = stream.read(&mut [0]);
    Ok(())
}

fn certificates() -> Outcome {
    needs(&["curl"])?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    std::fs::write(at("ours.pem"), ours.pem()).unwrap();
    std::fs::write(at("theirs.pem"), theirs.pem()).unwrap();
    for (file, name, issuer) in [
        ("server", "127.0.0.1", &ours),
        ("app", "app.example", &ours),
        ("other", "other.example", &ours),
        ("stranger", "app.example", &theirs),
    ] {
        certify(directory.path(), file, name, issuer);
    }
    let [open, mutual, tcp] = [(); 3].map(|()| free_address());
    let directory_name = directory.path().display();
    let server =
        format!("tls_cert = \"{directory_name}/server.pem\"\n  tls_key = \"{directory_name}/server.key\"");
    let config = format!(
        r#"[agent]
  hostname = "h"
  interval = "500ms"
  flush_interval = "500ms"
[[inputs.influxdb_listener]]
  service_address = "{open}"
  tls_min_version = "TLS13"
  {server}
[[inputs.influxdb_v2_listener]]
  service_address = "{mutual}"
  tls_allowed_cacerts = ["{directory_name}/ours.pem"]
  tls_allowed_dns_names = ["app.example"]
  {server}
[[inputs.socket_listener]]
  service_address = "tcp://{tcp}"
  {server}
[[outputs.file]]
  files = ["{{points}}"]
"#
    );
    let agent = Running::start(&config)?;
    for address in [open, mutual, tcp] {
        wait_for(|| TcpStream::connect(address).is_ok(), LIMIT, "the listeners");
    }
    let curl = |url: &str, args: &[&str]| post(url, directory.path(), args);

    let url = format!("https://{open}/write?db=d");
    assert_eq!(curl(&url, &["--cacert", "ours.pem"]), 204);
    assert_eq!(curl(&url, &["--cacert", "theirs.pem"]), 0, "a client that does not know the authority");
    assert_eq!(curl(&url, &["--cacert", "ours.pem", "--tls-max", "1.2"]), 0, "too old a version");
    assert_eq!(curl(&format!("http://{open}/write?db=d"), &[]), 0, "no TLS");

    let url = format!("https://{mutual}/api/v2/write?bucket=b");
    let with = |name: &str| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        curl(&url, &["--cacert", "ours.pem", "--cert", &certificate, "--key", &key])
    };
    assert_eq!(with("app"), 204);
    assert_eq!(with("other"), 0, "a name that is not allowed");
    assert_eq!(with("stranger"), 0, "another authority");
    assert_eq!(curl(&url, &["--cacert", "ours.pem"]), 0, "no certificate");

    send(tcp, &at("ours.pem"), "m,by=tcp f=2i 2\n").unwrap();
    let error = send(tcp, &at("theirs.pem"), "m,by=tcp f=3i 3\n").unwrap_err();
    println!("encrypted: by TCP with another authority: {error}");
    let mut plain = TcpStream::connect(tcp).unwrap();
    let _ = plain.write_all(b"m,by=tcp f=4i 4\n");

    // The good ones go on, and of the others nothing came in.
    send(tcp, &at("ours.pem"), "m,by=tcp f=5i 5\n").unwrap();
    wait_for(|| agent.lines("m,by=tcp").len() >= 2, LIMIT, "the points by TCP");
    wait_for(|| agent.lines("m,by=curl").len() >= 2, LIMIT, "the points by HTTP");
    let mut lines = agent.lines("m,");
    lines.sort();
    let expected = [
        "m,by=curl,host=h f=1i 1",
        "m,by=curl,host=h f=1i 1",
        "m,by=tcp,host=h f=2i 2",
        "m,by=tcp,host=h f=5i 5",
    ];
    assert_eq!(lines, expected, "{}", agent.log());
    println!("encrypted: the log:\n{}", agent.log());
    Ok(())
}
