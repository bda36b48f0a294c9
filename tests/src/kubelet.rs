//! A stand-in for the kubelet: what a real one answered, over TLS, to clients with the token; and everything that can go
//! wrong with it.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// The recorded responses of a real kubelet.
const PODS: &str = include_str!("../../agent/testdata/kubelet/pods.json");
const SUMMARY: &str = include_str!("../../agent/testdata/kubelet/stats-summary.json");
const UNAUTHORIZED: &str = include_str!("../../agent/testdata/kubelet/401.http");
const FORBIDDEN: &str = include_str!("../../agent/testdata/kubelet/403.http");

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It takes this long for each answer.
    Slow(Duration),
    /// It knows no token.
    Unauthorized,
    /// The token has no rights.
    Forbidden,
    /// The connection is closed in the middle of a response.
    Half,
    /// Answers of 50 MB, whose length it does not say.
    Large,
    /// Answers that are no JSON.
    Garbage,
    /// Somebody else's certificate.
    WrongCertificate,
}

/// A stand-in for the kubelet's read-only port: the recorded answers over plain HTTP, for every client. It serves until the
/// process ends.
pub fn serve_read_only(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = String::new();
            let mut lines = BufReader::new(&stream);
            while lines.read_line(&mut head).is_ok_and(|n| n > 2) {}
            let body = match head.split(' ').nth(1) {
                Some("/pods" | "/pods/") => PODS,
                Some("/stats/summary") => SUMMARY,
                _ => "",
            };
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
}

/// A stand-in that is serving, or down.
pub struct Kubelet {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// The authority to believe, as a PEM file.
    ca: tempfile::NamedTempFile,
    listening: Option<JoinHandle<()>>,
}

struct State {
    pods: String,
    summary: String,
    tokens: Vec<String>,
    fault: Option<Fault>,
    is_down: bool,
    own: Arc<ServerConfig>,
    wrong: Arc<ServerConfig>,
    connections: Vec<TcpStream>,
    n_pods: u64,
    n_summaries: u64,
}

impl Kubelet {
    /// Starts one on a free port of the loopback interface, with the recorded answers, for the bearer of `token`.
    pub fn start(token: &str) -> Self {
        let (own, pem) = certificate();
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(pem.as_bytes()).unwrap();
        let state = Arc::new(Mutex::new(State {
            pods: PODS.into(),
            summary: SUMMARY.into(),
            tokens: vec![token.into()],
            fault: None,
            is_down: false,
            own,
            wrong: certificate().0,
            connections: Vec::new(),
            n_pods: 0,
            n_summaries: 0,
        }));
        let mut kubelet = Self { address: (Ipv4Addr::LOCALHOST, 0).into(), state, ca, listening: None };
        kubelet.resume();
        kubelet
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority that its certificate is signed by, as a PEM file.
    pub fn ca(&self) -> &Path {
        self.ca.path()
    }

    /// Has something go wrong from now on, or nothing; open connections are closed.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state.lock().unwrap();
        state.fault = fault;
        state.hang_up();
    }

    /// Takes these tokens from now on.
    pub fn set_tokens(&self, tokens: &[&str]) {
        self.state.lock().unwrap().tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    /// Changes the answer to `/pods`, from the recorded one.
    pub fn set_pods(&self, change: impl FnOnce(&mut Vec<Value>)) {
        self.state.lock().unwrap().pods = changed(PODS, "items", change);
    }

    /// Changes the pods of `/stats/summary`, from the recorded ones.
    pub fn set_summary(&self, change: impl FnOnce(&mut Vec<Value>)) {
        self.state.lock().unwrap().summary = changed(SUMMARY, "pods", change);
    }

    /// How often the pods and the summary were requested.
    pub fn requests(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (state.n_pods, state.n_summaries)
    }

    /// Ends it, as when a kubelet restarts or dies: nothing listens any more.
    pub fn stop(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        {
            let mut state = self.state.lock().unwrap();
            state.is_down = true;
            state.hang_up();
        }
        // Wakes the thread, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        listening.join().unwrap();
    }

    /// Starts it again, on the same port.
    pub fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        self.state.lock().unwrap().is_down = false;
        let state = Arc::clone(&self.state);
        self.listening = Some(std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let config = {
                    let mut locked = state.lock().unwrap();
                    if locked.is_down {
                        return;
                    }
                    locked.connections.push(stream.try_clone().unwrap());
                    let is_wrong = locked.fault == Some(Fault::WrongCertificate);
                    Arc::clone(if is_wrong { &locked.wrong } else { &locked.own })
                };
                let state = Arc::clone(&state);
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    // A client that hangs up, or does not believe the certificate, ends it.
                    let _ = serve(StreamOwned::new(connection, stream), &state);
                });
            }
        }));
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    fn hang_up(&mut self) {
        for connection in self.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// A certificate of its own for the loopback address, as a server's configuration and as PEM.
fn certificate() -> (Arc<ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
    let chain = vec![CertificateDer::clone(made.cert.der())];
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (Arc::new(config), made.cert.pem())
}

fn changed(recorded: &str, list: &str, change: impl FnOnce(&mut Vec<Value>)) -> String {
    let mut answer: Value = serde_json::from_str(recorded).unwrap();
    change(answer[list].as_array_mut().unwrap());
    answer.to_string()
}

/// Answers requests until the connection ends.
fn serve(stream: impl Read + Write, state: &Mutex<State>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let (body, fault, is_known) = {
            let mut state = state.lock().unwrap();
            let body = if head.starts_with("GET /pods ") {
                state.n_pods += 1;
                state.pods.clone()
            } else if head.starts_with("GET /stats/summary ") {
                state.n_summaries += 1;
                state.summary.clone()
            } else {
                panic!("unexpected request to a kubelet: {head}");
            };
            let token = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
            let is_known = token.is_some_and(|token| state.tokens.iter().any(|known| known == token));
            (body, state.fault, is_known)
        };
        let stream = stream.get_mut();
        let answer = match fault {
            _ if !is_known => recorded(UNAUTHORIZED),
            Some(Fault::Unauthorized) => recorded(UNAUTHORIZED),
            Some(Fault::Forbidden) => recorded(FORBIDDEN),
            Some(Fault::Half) => {
                let answer = ok(&body);
                stream.write_all(&answer.as_bytes()[..answer.len() / 2])?;
                stream.flush()?;
                state.lock().unwrap().hang_up();
                return Ok(());
            }
            Some(Fault::Large) => {
                large(stream)?;
                continue;
            }
            Some(Fault::Garbage) => ok("<html>kubelet</html>"),
            Some(Fault::Slow(time)) => {
                crate::pause(time);
                ok(&body)
            }
            Some(Fault::WrongCertificate) | None => ok(&body),
        };
        stream.write_all(answer.as_bytes())?;
        stream.flush()?;
    }
}

fn ok(body: &str) -> String {
    let mut answer = String::with_capacity(body.len() + 100);
    let _ = write!(
        answer,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    answer
}

/// A real kubelet's response over HTTP/2, written as HTTP/1.1.
fn recorded(answer: &str) -> String {
    answer.replacen("HTTP/2", "HTTP/1.1", 1)
}

/// 50 MB in chunks of 64 KiB: JSON so far, with no end in sight.
fn large(stream: &mut impl Write) -> io::Result<()> {
    const CHUNK: usize = 1 << 16;
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let chunk = format!("{CHUNK:x}\r\n{}\r\n", " ".repeat(CHUNK));
    for _ in 0..50_000_000 / CHUNK {
        stream.write_all(chunk.as_bytes())?;
    }
    stream.write_all(b"0\r\n\r\n")?;
    stream.flush()
}
