//! A real terminal: a tmux server of the test's own, with one pane.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::{Skip, has};

/// The server; ended when it is dropped.
pub struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// Starts one that runs a command. `socket` is of this server alone: the one before may still be going.
    ///
    /// # Errors
    /// Skips the test when tmux is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(socket: PathBuf, (width, height): (usize, usize), command: &str) -> Result<Self, Skip> {
        if !has("tmux") {
            return Err(Skip::because("tmux is not installed"));
        }
        let terminal = Self { socket };
        let (width, height) = (width.to_string(), height.to_string());
        let session = ["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, command];
        let started = terminal.tmux().args(session).output().unwrap();
        assert!(started.status.success(), "{started:?}");
        Ok(terminal)
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).env_remove("TMUX");
        // tmux itself draws in UTF-8, whatever the agent's locale is.
        tmux.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        tmux
    }

    fn run(&self, args: &[&str]) -> Output {
        self.tmux().args(args).output().unwrap()
    }

    /// What the terminal shows; with `-J`, what it wrapped is one line, and with `-e`, it has its colours.
    pub fn lines(&self, options: &[&str]) -> Vec<String> {
        let shown = self.run(&[&["capture-pane", "-p"], options].concat());
        String::from_utf8(shown.stdout).unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// All of that as one text.
    pub fn text(&self) -> String {
        self.lines(&[]).join("\n")
    }

    /// Presses keys, by tmux's names: `a`, `Enter`, `C-c`.
    pub fn press(&self, keys: &[&str]) {
        let sent = self.run(&[&["send-keys"], keys].concat());
        assert!(sent.status.success(), "{sent:?}");
    }

    /// Types a text.
    pub fn enter(&self, text: &str) {
        self.press(&["-l", text]);
    }

    /// Presses the left button of the mouse at a column and a line, from 0, as a terminal reports it.
    pub fn click(&self, column: usize, line: usize) {
        self.enter(&format!("\x1b[<0;{};{}M", column + 1, line + 1));
    }

    /// Gives the terminal another size.
    pub fn resize(&self, (width, height): (usize, usize)) {
        let (width, height) = (width.to_string(), height.to_string());
        let resized = self.run(&["resize-window", "-x", &width, "-y", &height]);
        assert!(resized.status.success(), "{resized:?}");
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}
