//! What the input makes of what is sent to it; by real sockets.

use std::io::Write as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use super::*;
use crate::inputs::Gathered;
use crate::inputs::listener::testing::{Started, build, gzip, names};
use crate::point::Timestamp;

fn options(service_address: &str) -> Options {
    Options { service_address: service_address.into(), ..Options::default() }
}

#[tokio::test]
async fn datagrams_are_texts_whose_good_lines_are_kept() {
    let mut started = Started::new(&options("udp://127.0.0.1:0"));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = started.address();
    for text in ["a f=1 1\nbad\nb f=2 2", "c f=\"x\ny\" 3\n", "", "no line"] {
        socket.send_to(text.as_bytes(), &address).unwrap();
    }
    assert_eq!(names(&started.points(3).await), "a b c");
    while started.count("datagrams") < 4 {
        started.points(0).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(["points", "malformed", "overflow"].map(|of| started.count(of)), [3, 2, 0]);
}

#[tokio::test]
async fn what_the_kernel_drops_is_counted() {
    const N: u64 = 5_000;
    let mut started = Started::new(&options("udp://127.0.0.1:0"));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = started.address();
    // Nobody reads meanwhile: this is the thread of the runtime.
    for n in 0..N {
        socket.send_to(format!("m f={n} {n}").as_bytes(), &address).unwrap();
    }
    let all = async {
        while started.count("datagrams") + started.count("overflow") < N {
            started.points(0).await;
            let mut gathered = Gathered::at(Timestamp(0));
            started.input.gather(&mut gathered).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
    assert!(started.count("overflow") > 0);
    assert_eq!(started.count("datagrams") + started.count("overflow"), N);
    assert_eq!(started.count("points"), started.count("datagrams"));
}

#[tokio::test]
async fn a_stream_gives_lines_and_its_last_one_needs_no_end() {
    let mut started = Started::new(&options("tcp://127.0.0.1:0"));
    let mut stream = std::net::TcpStream::connect(started.address()).unwrap();
    stream.write_all(b"a f=1 1\nb f=\"open 2\nc f=").unwrap();
    assert_eq!(names(&started.points(1).await), "a");
    stream.write_all(b"3 3\nd f=4 4").unwrap();
    drop(stream);
    assert_eq!(names(&started.points(2).await), "c d");
    assert_eq!(["points", "malformed", "connections"].map(|of| started.count(of)), [3, 1, 1]);
}

#[tokio::test]
async fn a_line_without_an_end_closes_its_connection_alone() {
    let mut started = Started::new(&options("tcp://127.0.0.1:0"));
    let address = started.address();
    let mut endless = std::net::TcpStream::connect(&address).unwrap();
    endless.set_nonblocking(true).unwrap();
    let mut good = std::net::TcpStream::connect(&address).unwrap();
    let closed = async {
        loop {
            match endless.write(&[b'x'; 4096]) {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                _ => {
                    started.points(0).await;
                    started.input.gather(&mut Gathered::at(Timestamp(0))).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
    good.write_all(b"a f=1 1\n").unwrap();
    assert_eq!(names(&started.points(1).await), "a");
}

#[tokio::test]
async fn packed_and_framed_streams_are_read() {
    let packed = gzip(b"a f=1 1\nb f=2 2\n");
    let gzip = Options { content_encoding: "gzip".into(), ..options("tcp://127.0.0.1:0") };
    let null = Options { splitting_strategy: "null".into(), ..options("tcp://127.0.0.1:0") };
    let field = framing::LengthField { bytes: 1, header_length: 1, ..Default::default() };
    let length = Options {
        splitting_strategy: "variable length".into(),
        splitting_length_field: field,
        ..options("tcp://127.0.0.1:0")
    };
    for (options, bytes) in
        [(gzip, packed), (null, b"a f=1 1\0b f=2 2\0".to_vec()), (length, b"\x07a f=1 1\x07b f=2 2".to_vec())]
    {
        let mut started = Started::new(&options);
        std::net::TcpStream::connect(started.address()).unwrap().write_all(&bytes).unwrap();
        assert_eq!(names(&started.points(2).await), "a b", "{options:?}");
    }
}

#[tokio::test]
async fn a_stream_of_junk_leaves_others_their_turn_and_says_once_why_it_was_closed() {
    const N: u64 = 1 << 18;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let _log = crate::service::logging::to_file(&path);
    let packed = Options { content_encoding: "gzip".into(), ..options("tcp://127.0.0.1:0") };
    let mut started = Started::new(&packed);
    let address = started.address();
    started.gather().await;
    // All of it comes with one read.
    let bomb = gzip(&format!("{}\n", "x".repeat(63)).as_bytes().repeat(N as usize));
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    std::net::TcpStream::connect(&address).unwrap().write_all(&bomb).unwrap();
    let all = async {
        while started.count("malformed") < N {
            let before = started.count("malformed");
            tokio::task::yield_now().await;
            assert!(started.count("malformed") - before <= N / 4);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    for _ in 0..3 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"this is \x1b no gzip").await.unwrap();
        let closed = tokio::io::AsyncReadExt::read_u8(&mut stream);
        tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap().unwrap_err();
    }
    let log = std::fs::read_to_string(&path).unwrap();
    assert_eq!(log.matches("closed for what was sent connections=1 why=").count(), 1, "{log}");
    assert_eq!(log.matches("closed for what was sent").count(), 1, "{log}");
    assert_eq!(log.matches("lines are no line protocol malformed=").count(), 1, "{log}");
    assert!(log.contains(r#" error="unable to parse 'xxx"#), "{log}");
}

#[tokio::test]
async fn connections_have_a_limit_and_sources() {
    let mut started = Started::new(&Options { max_connections: 1, ..options("tcp://127.0.0.1:0") });
    let address = started.address();
    let mut first = std::net::TcpStream::connect(&address).unwrap();
    first.write_all(b"a f=1 1\n").unwrap();
    started.points(1).await;
    std::net::TcpStream::connect(&address).unwrap().write_all(b"b f=1 1\n").unwrap();
    first.write_all(b"c f=1 1\n").unwrap();
    assert_eq!(names(&started.points(1).await), "c");
    while started.count("refused") == 0 {
        started.points(0).await;
        tokio::task::yield_now().await;
    }
    let elsewhere = Options { allowed_sources: vec!["10.0.0.1".into()], ..options("udp://127.0.0.1:0") };
    let mut started = Started::new(&elsewhere);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"a f=1 1", started.address()).unwrap();
    while started.count("refused") == 0 {
        started.input.gather(&mut Gathered::at(Timestamp(0))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(started.count("points"), 0);
}

#[tokio::test]
async fn unix_sockets_of_a_crash_are_replaced_and_others_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for scheme in ["unix", "unixgram"] {
        let path = directory.path().join(scheme);
        let options =
            Options { socket_mode: "0600".into(), ..options(&format!("{scheme}://{}", path.display())) };
        // A socket that is dropped leaves its file behind.
        if scheme == "unix" {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        } else {
            drop(UnixDatagram::bind(&path).unwrap());
        }
        let mut started = Started::new(&options);
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o777, 0o600);
        let refused = build(&options, &Shared::new(Host::default())).err().unwrap();
        assert!(refused.contains("another process listens on"), "{refused}");
        if scheme == "unix" {
            UnixStream::connect(&path).unwrap().write_all(b"a f=1 1\n").unwrap();
        } else {
            UnixDatagram::unbound().unwrap().send_to(b"a f=1 1", &path).unwrap();
        }
        assert_eq!(names(&started.points(1).await), "a");
        drop(started);
        let removed = async {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), removed).await.expect("it is removed at the end");
        std::fs::write(&path, "no socket").unwrap();
        let refused = build(&options, &Shared::new(Host::default())).err().unwrap();
        assert!(refused.contains("no socket: remove it"), "{refused}");
    }
}

#[tokio::test]
async fn a_successor_gets_the_same_socket_and_a_second_one_is_refused() {
    let mut started = Started::new(&options("tcp://127.0.0.1:0"));
    let same = options("tcp://127.0.0.1:0");
    let error = build(&same, &started.shared).err().unwrap();
    assert!(error.contains("is listened on by another plugin"), "{error}");
    started.points(0).await;
    started.input.gather(&mut Gathered::at(Timestamp(0))).await.unwrap();
    let address = started.address();
    let successor = build(&Options { max_connections: 5, ..same }, &started.shared).unwrap();
    let before = std::mem::replace(&mut started.input, successor);
    before.queue().unwrap().close();
    drop(before);
    std::net::TcpStream::connect(&address).unwrap().write_all(b"a f=1 1\n").unwrap();
    assert_eq!(names(&started.points(1).await), "a");
    assert_eq!((started.address(), started.count("connections")), (address, 1));
    let taken = build(&options(&format!("tcp://{}", started.address())), &Shared::new(Host::default()));
    let error = taken.err().unwrap();
    assert!(error.contains("another process listens on") && error.contains("ss -lntup"), "{error}");
}

#[test]
fn options_that_cannot_be_used_are_told() {
    let case = |change: fn(&mut Options), option: &str| {
        let mut options = options("tcp://:8094");
        change(&mut options);
        assert_eq!(options.setup().err().unwrap().option, option);
    };
    case(|o| o.service_address = String::new(), "service_address");
    case(|o| o.data_format = "json".into(), "data_format");
    case(|o| o.socket_mode = "rw".into(), "socket_mode");
    case(|o| o.content_encoding = "zlib".into(), "content_encoding");
    case(|o| o.allowed_sources = vec!["here".into()], "allowed_sources");
    case(|o| o.splitting_strategy = "lines".into(), "splitting_strategy");
    case(|o| o.splitting_strategy = "delimiter".into(), "splitting_delimiter");
    case(|o| o.splitting_strategy = "fixed length".into(), "splitting_length");
    case(|o| o.splitting_strategy = "variable length".into(), "splitting_length_field");
    case(|o| o.influx_timestamp_precision = Duration::from_secs(60), "influx_timestamp_precision");
    case(|o| o.server_tls.tls_cert = "/a".into(), "tls_cert");
    case(|o| o.server_tls.tls_allowed_cacerts = vec!["/a".into()], "tls_allowed_cacerts");
    let mut udp = options("udp://:8094");
    udp.max_connections = 7;
    udp.socket_mode = "0600".into();
    let remarks: Vec<&str> = udp.without_effect().iter().map(|remark| remark.option).collect();
    assert_eq!(remarks, ["max_connections", "socket_mode"]);
}
