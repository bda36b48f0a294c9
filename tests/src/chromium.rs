//! A real browser without a window, driven by its own protocol over a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::{Skip, has};

/// For one answer, and for one condition on a page.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the browser reads commands, and where it writes answers.
const PIPES: [i32; 2] = [3, 4];

/// A running browser. Dropping it ends the process and removes its profile.
pub struct Chromium {
    child: Child,
    commands: std::io::PipeWriter,
    answers: Receiver<Value>,
    n_commands: u64,
    /// What pages told, in their order.
    pub events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts one.
    ///
    /// # Errors
    /// Skips the test when it is not installed: it is large, so that no test installs it.
    pub fn start() -> Result<Self, Skip> {
        if !has("chromium") {
            return Err(Skip::because(
                "chromium is not installed: apt-get install --no-install-recommends chromium",
            ));
        }
        let profile = tempfile::tempdir().unwrap();
        let (read_commands, commands) = std::io::pipe().unwrap();
        let (answers, write_answers) = std::io::pipe().unwrap();
        // Whoever looks has a machine of their own; here it is the one that the tests keep busy.
        let mut command = Command::new("nice");
        command.args(["-n", "-15", "chromium"]);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-pipe",
        ]);
        // It would ask its makers for lists and updates.
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--window-size=1280,720", "--hide-scrollbars"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ends: [OwnedFd; 2] = [read_commands.into(), write_answers.into()];
        let numbers = ends.each_ref().map(AsRawFd::as_raw_fd);
        // SAFETY: after the fork, and before the program, only dup2 and fcntl are called, which may be called there. A number that
        // is one of the two already would be overwritten, so both are moved above them first.
        unsafe {
            command.pre_exec(move || {
                let above = numbers.map(|fd| libc::fcntl(fd, libc::F_DUPFD, 10));
                for (from, to) in above.into_iter().zip(PIPES) {
                    if from < 0 || libc::dup2(from, to) < 0 || libc::close(from) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start chromium: {error}"));
        drop(ends);
        let (send, receive) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                if send.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, commands, answers: receive, n_commands: 0, events: Vec::new(), _profile: profile })
    }

    /// Opens a page of its own, in front of others, and gives what stands for it; all it does is told from the start.
    pub fn open(&mut self, url: &str) -> Page {
        let target =
            self.call(None, "Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].take();
        let attach = json!({ "targetId": target, "flatten": true });
        let session =
            self.call(None, "Target.attachToTarget", &attach)["sessionId"].as_str().unwrap().to_owned();
        let page = Page { session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.of(&page, &format!("{domain}.enable"), &json!({}));
        }
        self.of(&page, "Page.navigate", &json!({ "url": url }));
        page
    }

    /// A command for a page.
    pub fn of(&mut self, page: &Page, method: &str, params: &Value) -> Value {
        self.call(Some(&page.session), method, params)
    }

    /// The value of an expression on a page, or of what it promises.
    pub fn evaluate(&mut self, page: &Page, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.of(page, "Runtime.evaluate", &params);
        assert!(answer.get("exceptionDetails").is_none(), "{expression:.500}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true on a page.
    pub fn wait_for(&mut self, page: &Page, expression: &str) {
        let deadline = Instant::now() + LIMIT;
        while self.evaluate(page, expression) != Value::Bool(true) {
            assert!(Instant::now() < deadline, "timed out waiting for {expression}");
            crate::pause(Duration::from_millis(20));
        }
    }

    /// Presses a key, by the name that pages know: `a`, `Enter`, `ArrowDown`.
    pub fn press(&mut self, page: &Page, key: &str) {
        let (number, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            _ => (0, key),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let params = json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": number });
            self.of(page, "Input.dispatchKeyEvent", &params);
        }
    }

    /// Gives a page another size.
    pub fn resize(&mut self, page: &Page, (width, height): (u32, u32)) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.of(page, "Emulation.setDeviceMetricsOverride", &params);
    }

    /// Has a page shown as somebody has it who likes it `light` or `dark`.
    pub fn prefer(&mut self, page: &Page, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.of(page, "Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// A picture of what a page shows, as PNG.
    pub fn picture(&mut self, page: &Page) -> Vec<u8> {
        let shot = self.of(page, "Page.captureScreenshot", &json!({ "format": "png" }));
        BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    fn call(&mut self, session: Option<&str>, method: &str, params: &Value) -> Value {
        self.n_commands += 1;
        let mut command = json!({ "id": self.n_commands, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let answer = self.answers.recv_timeout(LIMIT);
            let mut answer =
                answer.unwrap_or_else(|error| panic!("{method}: no answer of chromium: {error}"));
            if answer["id"] == self.n_commands {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
            if answer.get("method").is_some() {
                self.events.push(answer);
            }
        }
    }
}

/// A page of a browser.
pub struct Page {
    session: String,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
