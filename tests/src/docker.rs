//! A real docker daemon of the test's own: with its own data, socket and network namespace.
//!
//! Containers are made through the API itself, from an image of a static busybox. The daemon runs with `live-restore`, so
//! that they outlive it. Everything that was started is ended by its process id, and what was mounted is unmounted.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Skip, needs, run, terminate, try_run, wait_for};

/// For a start or an end on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// The image's name.
pub const IMAGE: &str = "bb:1";
/// What can be run in it.
const PROGRAMS: &[&str] = &["cat", "dd", "false", "nc", "sh", "sleep", "true"];

/// A running daemon. Dropping it ends it and its containers.
pub struct Docker {
    directory: tempfile::TempDir,
    child: Option<Child>,
    network: String,
    /// Keeps a mount namespace in which the root directory is a mount, where it is none outside: without, docker cannot
    /// change the root.
    root: Option<Child>,
}

impl Docker {
    /// Starts a daemon, and gives it the image.
    ///
    /// # Errors
    /// Skips the test when docker is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Result<Self, Skip> {
        needs(&["dockerd", "containerd", "runc", "busybox", "ip", "nsenter", "tar"])?;
        // A socket's path has a hundred bytes at the most.
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let network = format!("sg-docker-{}", std::process::id());
        let _ = try_run("ip", &["netns", "delete", &network]);
        run("ip", &["netns", "add", &network]);
        let root = own_root(directory.path());
        let mut docker = Self { directory, child: None, network, root };
        docker.resume();
        docker.import();
        Ok(docker)
    }

    /// Starts a daemon that was stopped or killed, over the same data.
    ///
    /// # Panics
    /// When it does not start; the message has the end of its log.
    pub fn resume(&mut self) {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        // A killed one leaves these, and would take itself for running.
        let _ = std::fs::remove_file(at("pid"));
        let _ = std::fs::remove_file(at("socket"));
        let log = std::fs::File::options().create(true).append(true).open(at("log")).unwrap();
        let mut command = Command::new("nsenter");
        if let Some(root) = &self.root {
            command.args(["--target", &root.id().to_string(), "--mount", "--root", "--wd"]);
        }
        let child = command
            .arg(format!("--net=/var/run/netns/{}", self.network))
            .args([
                "dockerd",
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
                "--pidfile",
                &at("pid"),
            ])
            .args(["--host", &format!("unix://{}", at("socket")), "--live-restore", "--iptables=false"])
            .args(["--bip", "10.213.7.1/24"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let mut is_up = || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("dockerd ended with {status}:\n{}", &log[log.len().saturating_sub(2000)..]);
            }
            request(&self.socket(), "GET", "/_ping", b"").is_ok_and(|(status, _)| status == 200)
        };
        let deadline = std::time::Instant::now() + LIMIT;
        while !is_up() {
            assert!(std::time::Instant::now() < deadline, "dockerd does not answer");
            crate::pause(Duration::from_millis(20));
        }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// The disk that its containers are on; `None` where it is none that I/O can be limited on.
    #[must_use]
    pub fn disk(&self) -> Option<String> {
        use std::os::unix::fs::MetadataExt as _;
        let device = std::fs::metadata(self.directory.path()).unwrap().dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let device = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        let disk = if device.join("partition").exists() { device.parent()? } else { &device };
        let path = format!("/dev/{}", disk.file_name()?.to_str()?);
        Path::new(&path).exists().then_some(path)
    }

    /// The section of the agent's configuration.
    #[must_use]
    pub fn section(&self) -> String {
        format!("[[inputs.docker]]\nendpoint = \"unix://{}\"\n", self.socket().display())
    }

    /// The daemon's process.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("dockerd does not run").id()
    }

    /// The processes of this daemon: itself, and its containerd.
    #[must_use]
    pub fn daemons(&self) -> Vec<u32> {
        let ours = self.directory.path().display().to_string();
        processes(|arguments| {
            let program =
                arguments.first().map_or("", |program| program.rsplit('/').next().unwrap_or_default());
            matches!(program, "dockerd" | "containerd")
                && arguments.iter().any(|argument| argument.contains(&ours))
        })
    }

    /// Sends the daemon a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call on our own child, which is not reaped before this.
        let result = unsafe { libc::kill(self.pid().cast_signed(), signal) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// Kills the daemon; its containers live on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("dockerd does not run");
        child.kill().unwrap();
        child.wait().unwrap();
        wait_for(|| self.daemons().is_empty(), LIMIT, "containerd to end with dockerd");
    }

    /// Asks the daemon; gives the answer.
    ///
    /// # Panics
    /// When it answers with an error.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let (status, answer) = request(&self.socket(), method, path, &body).unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!((200..300).contains(&status), "{method} {path}: {status}: {text}");
        serde_json::from_slice(&answer).unwrap_or(Value::Null)
    }

    /// Makes a container and starts it; gives its id. `more` goes into the request.
    ///
    /// # Panics
    /// When the daemon refuses.
    pub fn run(&self, name: &str, command: &str, more: &Value) -> String {
        let mut body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", command]});
        if let Some(more) = more.as_object() {
            body.as_object_mut().unwrap().extend(more.clone());
        }
        let made = self.ask("POST", &format!("/containers/create?name={name}"), &body);
        let id = made["Id"].as_str().unwrap().to_owned();
        self.ask("POST", &format!("/containers/{id}/start"), &Value::Null);
        id
    }

    /// What the daemon itself says of a container's figures, at once.
    #[must_use]
    pub fn stats(&self, id: &str) -> Value {
        self.ask("GET", &format!("/containers/{id}/stats?stream=false&one-shot=true"), &Value::Null)
    }

    fn import(&self) {
        let image = self.directory.path().join("image");
        std::fs::create_dir_all(image.join("bin")).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        std::fs::copy(busybox.unwrap(), image.join("bin/busybox")).unwrap();
        for program in PROGRAMS {
            std::os::unix::fs::symlink("busybox", image.join("bin").join(program)).unwrap();
        }
        let archive = self.directory.path().join("image.tar").display().to_string();
        run("tar", &["-C", &image.display().to_string(), "-cf", &archive, "."]);
        let archive = std::fs::read(archive).unwrap();
        let (name, tag) = IMAGE.split_once(':').unwrap();
        let path = format!("/images/create?fromSrc=-&repo={name}&tag={tag}");
        let (status, answer) = request(&self.socket(), "POST", &path, &archive).unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }

    fn end(&mut self) {
        let ours = self.directory.path().display().to_string();
        if self.child.is_some() {
            self.signal(libc::SIGCONT);
        }
        // A container ends with its first process, which is the child of its shim.
        let shims = || processes(|arguments| arguments.iter().any(|argument| argument.contains(&ours)));
        for shim in shims() {
            let children =
                std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap_or_default();
            let name = std::fs::read_to_string(format!("/proc/{shim}/comm")).unwrap_or_default();
            if name.starts_with("containerd-shim") {
                children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).for_each(kill);
            }
        }
        let start = std::time::Instant::now();
        while shims().len() > 2 && start.elapsed() < LIMIT && self.child.is_some() {
            crate::pause(Duration::from_millis(50));
        }
        if let Some(mut child) = self.child.take() {
            terminate(&mut child);
        }
        shims().into_iter().for_each(kill);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts =
            mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|at| at.starts_with(&ours));
        for at in mounts.collect::<Vec<_>>().into_iter().rev() {
            let _ = try_run("umount", &["--lazy", at]);
        }
        if let Some(mut root) = self.root.take() {
            terminate(&mut root);
        }
        let _ = try_run("ip", &["netns", "delete", &self.network]);
    }
}

/// A process in a mount namespace in which `/` is a mount, when it is none here.
fn own_root(directory: &Path) -> Option<Child> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    if mounts.lines().any(|line| line.split(' ').nth(4) == Some("/")) {
        return None;
    }
    let root = directory.join("root");
    std::fs::create_dir(&root).unwrap();
    let script = format!("mount --rbind / {0} && exec chroot {0} sleep 100000", root.display());
    let mut unshare = Command::new("unshare");
    let child = unshare.args(["--mount", "--propagation", "unchanged", "sh", "-c", &script]).spawn().unwrap();
    let is_there =
        || std::fs::read_link(format!("/proc/{}/root", child.id())).is_ok_and(|at| at.ends_with("root"));
    wait_for(is_there, LIMIT, "a root directory that is a mount");
    Some(child)
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.end();
    }
}

fn kill(pid: u32) {
    // SAFETY: a system call; the process is one of this daemon's, found by its own directory a moment ago.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

/// The processes whose arguments match.
fn processes(matches: impl Fn(&[String]) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<u32> = pids
        .filter(|pid: &u32| {
            let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments =
                text.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned());
            matches(&arguments.collect::<Vec<_>>())
        })
        .collect();
    found.sort_unstable();
    found
}

/// One request over a connection of its own, in HTTP/1.0, so that the answer ends with the connection.
fn request(socket: &Path, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut head = String::new();
    let kind = if body.first() == Some(&b'{') { "application/json" } else { "application/x-tar" };
    let length = body.len();
    write!(
        head,
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let status =
        String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("no HTTP status"))?;
    Ok((status, answer.split_off((end + 4).min(answer.len()))))
}
