//! The terminal: taken over for the time of the screen, and given back whatever happens.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use anyhow::{Context as _, bail};
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// The other screen, no cursor, and presses of the mouse. Its every move would be a message on a slow line.
const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[?1000h\x1b[?1006h";
/// The same back.
const GIVE_BACK: &str = "\x1b[?1006l\x1b[?1000l\x1b[?25h\x1b[?1049l";

/// A terminal that is given back when this is dropped.
pub(super) struct Taken {
    pub(super) screen: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

/// Fails where nothing can be drawn.
pub(super) fn check(term: Option<&str>) -> anyhow::Result<()> {
    let instead = "`seismograf dump` prints the same as text";
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("top needs a terminal, for its input and its output; {instead}");
    }
    match term {
        None | Some("" | "dumb") => {
            bail!("this terminal cannot be drawn on (TERM is {:?}); {instead}", term.unwrap_or(""))
        }
        Some(_) => Ok(()),
    }
}

impl Taken {
    /// Takes the terminal over. A panic gives it back first, so that its message can be read.
    pub(super) fn take() -> anyhow::Result<Self> {
        enable_raw_mode().context("cannot set up the terminal")?;
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            hook(panic);
        }));
        let taken =
            write(TAKE).and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout()))));
        match taken {
            Ok(screen) => Ok(Self { screen }),
            Err(error) => {
                give_back();
                Err(error).context("cannot draw on the terminal")
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back; more than once does no harm.
pub(super) fn give_back() {
    // There is nowhere to report a failure of this.
    let _ = write(GIVE_BACK);
    let _ = disable_raw_mode();
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
