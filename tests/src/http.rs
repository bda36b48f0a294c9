//! Requests of the tests' own, to servers that are started for them on free ports of the loopback interface.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{Skip, pause, wait_for};

/// A start takes about 1 s, and several times that on a busy machine.
pub const START_LIMIT: Duration = Duration::from_secs(60);
/// For one request of a test.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// An answer of a server.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// A port that nothing listens on now. It can be taken before it is used; a test that meets that says so and fails.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("cannot bind a loopback port");
    listener.local_addr().expect("a bound socket has an address")
}

/// One request over a connection of its own, in HTTP/1.0, so that the answer ends with the connection.
///
/// # Errors
/// The system's, or an answer without a status.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    basic_auth: Option<&str>,
    body: &str,
) -> std::io::Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.0\r\n");
    head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
    if let Some(user) = basic_auth {
        head.push_str("Authorization: Basic ");
        head.push_str(user);
        head.push_str("\r\n");
    }
    send(address, &head, body.as_bytes())
}

/// Sends the lines of a head, to which the length is added, and a body, and reads until the connection ends.
///
/// # Errors
/// As of [`request`].
pub fn send(address: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, REQUEST_LIMIT)?;
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status in `{head}`")))?;
    Ok(Answer { status, body: body.to_owned() })
}

/// Writes texts of line protocol over one connection, and tries again what is refused for now.
///
/// # Panics
/// When the server answers anything else, or not at all.
pub fn write_lines(address: SocketAddr, database: &str, bodies: impl Iterator<Item = impl AsRef<[u8]>>) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    for body in bodies {
        let body = body.as_ref();
        let head = format!(
            "POST /write?db={database} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        loop {
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
            match status_of_next(&mut answers) {
                204 => break,
                503 => pause(Duration::from_millis(20)),
                other => panic!("answered {other}"),
            }
        }
    }
}

/// The status of an answer, whose body is read to its end.
///
/// # Panics
/// When it is none.
pub fn status_of_next(answers: &mut BufReader<TcpStream>) -> u16 {
    let (mut first, mut length) = (String::new(), 0);
    answers.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let Some((key, value)) = line.trim().split_once(": ") else { break };
        if key.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
    }
    answers.read_exact(&mut vec![0; length]).unwrap();
    first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(&first)
}

/// A text in gzip, as small as it gets.
///
/// # Panics
/// Never: memory takes what is written.
#[must_use]
pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text).and_then(|()| packed.finish()).expect("memory")
}

/// A text as it may stand in a query.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Starts a server, which logs to a file, and waits until it answers.
///
/// # Errors
/// Skips the test when the program is not installed; `package` is Debian's.
///
/// # Panics
/// When it does not start; the message has the end of its log.
pub fn start(
    command: &mut Command,
    package: &str,
    log: &Path,
    mut is_up: impl FnMut() -> bool,
) -> Result<Child, Skip> {
    let program = command.get_program().to_string_lossy().into_owned();
    let log_file =
        std::fs::File::create(log).unwrap_or_else(|error| panic!("cannot create {}: {error}", log.display()));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Skip::because(format!("{program} is not installed: apt-get install {package}")));
        }
        Err(error) => panic!("cannot start {program}: {error}"),
    };
    wait_for(
        || {
            let ended = child.try_wait().unwrap_or_else(|error| panic!("cannot wait for {program}: {error}"));
            if let Some(status) = ended {
                panic!("{program} ended with {status}: {}", tail(log));
            }
            is_up()
        },
        START_LIMIT,
        &format!("{program} to answer"),
    );
    Ok(child)
}

fn tail(path: &Path) -> String {
    let log = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
