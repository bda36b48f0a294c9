//! A stand-in for an InfluxDB 2 server, which is not among Debian's packages: takes requests, keeps what they say, and
//! answers as configured, with the bodies that InfluxDB documents.
//!
//! It shows what the agent does with an answer, and nothing about a real server. Source of the answers:
//! <https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite>.
//!
//! It can also stand for a proxy: requests go on to another server then, with all that they say, and some of the answers are
//! broken on the way back.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

/// For one request to come whole.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST`
    pub method: String,
    /// The request target: a path with its query, or a whole URL from a client that uses this as a proxy.
    pub target: String,
    /// The headers, with their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as it was sent.
    pub body: Vec<u8>,
    /// When it was there.
    pub at: Instant,
}

impl Request {
    /// The lines of the body, decompressed if it is compressed.
    ///
    /// # Panics
    /// When the body is no text.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut text = String::new();
        if self.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
            flate2::read::GzDecoder::new(self.body.as_slice()).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(self.body.clone()).unwrap();
        }
        text.lines().map(str::to_owned).collect()
    }
}

/// An answer of InfluxDB 2.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    retry_after: Option<u32>,
    body: String,
}

impl Reply {
    /// The lines are stored.
    #[must_use]
    pub fn stored() -> Self {
        Self { status: 204, retry_after: None, body: String::new() }
    }

    /// A line is not acceptable.
    #[must_use]
    pub fn bad_line(line: &str) -> Self {
        Self::error(400, "invalid", &format!("unable to parse '{line}': missing field value"))
    }

    /// The token is none.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::error(401, "unauthorized", "unauthorized access")
    }

    /// The bucket is not there.
    #[must_use]
    pub fn no_bucket(bucket: &str) -> Self {
        Self::error(404, "not found", &format!("bucket \"{bucket}\" not found"))
    }

    /// The body is too large.
    #[must_use]
    pub fn too_large() -> Self {
        Self::error(413, "request too large", "cannot read data: points in batch is too large")
    }

    /// Not before so many seconds.
    #[must_use]
    pub fn too_many(retry_after: u32) -> Self {
        let error = Self::error(429, "too many requests", "write limit exceeded");
        Self { retry_after: Some(retry_after), ..error }
    }

    /// Not now.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::error(503, "unavailable", "service unavailable")
    }

    /// InfluxDB 3 stored all lines of a request but those that `is_bad`, of which it lists a hundred at most. Source:
    /// <https://docs.influxdata.com/influxdb3/core/write-data/http-api/v3-write-lp/>.
    #[must_use]
    pub fn partly_stored(lines: &[String], is_bad: impl Fn(&str) -> bool) -> Self {
        let bad = lines.iter().zip(1..).filter(|(line, _)| is_bad(line));
        let unstored = |(line, n): (&String, usize)| json!({ "original_line": line, "line_number": n, "error_message": format!("line {n} is bad") });
        let data: Vec<_> = bad.map(unstored).take(100).collect();
        let body = json!({ "error": "partial write of line protocol occurred", "data": data });
        Self { status: 400, retry_after: None, body: body.to_string() }
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        Self { status, retry_after: None, body: json!({ "code": code, "message": message }).to_string() }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, body, .. } = self;
        let length = body.len();
        let retry_after =
            self.retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 {status} \r\n{retry_after}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Response {
    /// These bytes, and then the connection ends.
    Bytes(Vec<u8>),
    /// These bytes, and then the last one again and again.
    Endless(Vec<u8>),
    /// Nothing, and the connection stays.
    Silence,
    /// The connection is reset.
    Reset,
}

/// What a proxy does in place of its work.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The server gets the request all the same, and its answer is lost.
    pub is_applied: bool,
    /// What comes back.
    pub response: Response,
}

/// What is done with a request.
type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// A running stand-in. Dropping it ends it.
pub struct Standin {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Standin {
    /// Answers each request as `reply` has it.
    pub fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(move |request| Response::Bytes(reply(request).bytes())))
    }

    /// Answers each request with these bytes, whatever it stands for.
    pub fn answering(bytes: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(move |request| Response::Bytes(bytes(request))))
    }

    /// Hands each request on to a server, whatever name it is for.
    pub fn proxy(server: SocketAddr) -> Self {
        Self::faulty_proxy(server, |_| None)
    }

    /// Likewise, but for those that have a fault.
    pub fn faulty_proxy(
        server: SocketAddr,
        fault: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Arc::new(move |request| match fault(request) {
            None => Response::Bytes(forward(request, server)),
            Some(Fault { is_applied, response }) => {
                if is_applied {
                    forward(request, server);
                }
                response
            }
        }))
    }

    fn serve(handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (requests, is_over) = (Arc::clone(&requests), Arc::clone(&is_over));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
                    // One that breaks off is the agent's to report.
                    std::thread::spawn(move || answer(stream, &*handler, &requests));
                }
            }
        });
        Self { address, requests, is_over, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    ///
    /// # Panics
    /// When the stand-in has failed.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request of a connection of its own; the requests that came are counted when they are answered.
fn answer(stream: TcpStream, handler: &Handler, requests: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        // It was opened for a request that was not sent.
        return Ok(());
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = Request { method, target, headers, body, at: Instant::now() };
    let response = handler(&request);
    requests.lock().unwrap().push(request);
    match response {
        Response::Bytes(bytes) => {
            (&stream).write_all(&bytes)?;
            stream.shutdown(Shutdown::Write)
        }
        Response::Endless(bytes) => {
            (&stream).write_all(&bytes)?;
            let more = vec![*bytes.last().expect("something to repeat"); 4096];
            // Until the other side has enough.
            loop {
                (&stream).write_all(&more)?;
            }
        }
        // Until the other side gives up.
        Response::Silence => reader.read(&mut [0]).map(drop),
        // With nothing to send left, closing it would be an orderly end.
        Response::Reset => {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).map_err(Into::into)
        }
    }
}

fn forward(request: &Request, server: SocketAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).unwrap();
    let mut head = format!("{} {} HTTP/1.0\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(&request.body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread, so that it sees it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
