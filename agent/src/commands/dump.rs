//! `seismograf dump`: gathers and prints, without any output.

mod layout;
pub(super) mod print;
mod raw;
mod table;

use std::time::Duration;

use anyhow::bail;

use self::layout::Screen;
use self::print::Request;
use super::looking::{Looking, is_unicode};
use super::{host, interrupted};
use crate::cli::{DumpArgs, Format, Sort};
use crate::config::Config;
use crate::exit::Exit;
use crate::inputs::Shared;
use crate::inputs::ebpf::Ebpf;
use crate::plugins::InputOptions;

/// `seismograf dump`
///
/// # Errors
/// An input that cannot start, or a standard output that cannot be written to.
pub async fn run(config: Config, args: &DumpArgs) -> anyhow::Result<Exit> {
    use std::io::IsTerminal as _;
    let stdout = std::io::stdout();
    if args.raw {
        let mut options = config.inputs.into_iter().filter_map(|section| match section.options {
            InputOptions::Ebpf(options) => Some(options),
            _ => None,
        });
        let Some(options) = options.next() else { bail!("--raw needs [[inputs.ebpf]] in the configuration") };
        let ebpf = Ebpf::new(options, &Shared::looking(host()))?;
        if let Some((_, why, advice)) = ebpf.report().off().first()
            && !ebpf.report().is_any_on()
        {
            bail!("--raw has nothing to print, since no probe is on: {why}; {advice}");
        }
        raw::run(ebpf, args.interval, args.count, interrupted(), &mut stdout.lock()).await?;
        return Ok(Exit::Ok);
    }
    let is_terminal = stdout.is_terminal();
    let format = args.format.unwrap_or(if is_terminal { Format::Table } else { Format::Line });
    let mut request = request(config, args.interval, args.count, format)?;
    request.sort = args.sort;
    if is_terminal && format == Format::Table {
        request.screen = terminal;
        print!("\x1b[2J");
    }
    print::run(request, interrupted(), &mut stdout.lock()).await?;
    Ok(Exit::Ok)
}

/// Starts the inputs of a configuration, for a dump.
///
/// # Errors
/// An input that cannot start.
pub(super) fn request(
    config: Config,
    interval: Duration,
    count: Option<u64>,
    format: Format,
) -> anyhow::Result<Request> {
    let mut looking = Looking::start(config, interval, &Shared::looking(host()))?;
    if format == Format::Table {
        looking.sharpen();
    }
    let screen = || Screen::of_text(is_unicode());
    Ok(Request { looking, count, format, sort: Sort::Busy, screen })
}

/// The terminal as it is now.
fn terminal() -> Screen {
    let (width, height) = match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    };
    Screen { width, height: Some(height), is_unicode: is_unicode() }
}
