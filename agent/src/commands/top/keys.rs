//! What keys and the mouse do.
//!
//! Pure: changes what is shown, and says what is left to others.

use ratatui_crossterm::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::app::{App, Mode, SortBy};
use super::places::Place;
use crate::schema::views::{of_rows, view};

/// What is left to do after an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Then {
    /// Nothing has changed.
    Nothing,
    /// What is shown has changed.
    Draw,
    /// The person has seen enough.
    Quit,
    /// In a replay: so many gathers further.
    Step(isize),
    /// In a replay: to the gather of this place, or the last one.
    Go(usize),
    /// In a replay: to this time of the day, in seconds.
    Seek(u32),
    /// In a replay: faster by this factor.
    Faster(f64),
}

/// The keys, for people.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("1-5, a c p w u, Tab", "all rows, containers, pods, workloads, units"),
    ("< >", "sort by the column to the left or right; b busiest, n name; or click at a title"),
    ("Up Down PgUp PgDn Home", "select a row; wheel and click do, too"),
    ("Enter", "the selected row in detail; Esc back"),
    ("/", "only rows with this in their name; Esc all"),
    ("Space", "pause and go on"),
    ("l", "what was logged"),
    ("q, Ctrl-C", "quit"),
];

/// Those of a replay.
pub(super) const REPLAY_KEYS: &[(&str, &str)] = &[
    ("Left Right", "the gather before or after; [ ] a minute of them"),
    ("g", "go to a time of the day (UTC): 14:05 or 14:05:30"),
    ("0 $", "the first, the last"),
    ("+ -", "twice as fast, half as fast"),
];

/// Does what an event asks for.
pub(super) fn handle(app: &mut App, event: &Event) -> Then {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => self::key(app, *key),
        Event::Mouse(event) => mouse(app, *event),
        Event::Resize(..) => Then::Draw,
        _ => Then::Nothing,
    }
}

fn key(app: &mut App, key: KeyEvent) -> Then {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Then::Quit } else { Then::Nothing };
    }
    match app.mode {
        Mode::Filter(_) => typed_filter(app, key.code),
        Mode::Jump(_) => typed_time(app, key.code),
        Mode::Rows => in_rows(app, key.code),
        Mode::Detail | Mode::Help | Mode::Log => in_page(app, key.code),
    }
}

fn typed_filter(app: &mut App, code: KeyCode) -> Then {
    let Mode::Filter(before) = &mut app.mode else { return Then::Nothing };
    match code {
        KeyCode::Char(c) => app.filter.push(c),
        KeyCode::Backspace => {
            app.filter.pop();
        }
        KeyCode::Esc => {
            app.filter = std::mem::take(before);
            app.mode = Mode::Rows;
        }
        KeyCode::Enter => app.mode = Mode::Rows,
        _ => return Then::Nothing,
    }
    (app.selected, app.scrolled) = (None, 0);
    app.arrange();
    Then::Draw
}

fn typed_time(app: &mut App, code: KeyCode) -> Then {
    let Mode::Jump(text) = &mut app.mode else { return Then::Nothing };
    match code {
        KeyCode::Char(c) if c.is_ascii_digit() || c == ':' => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Esc => app.mode = Mode::Rows,
        KeyCode::Enter => {
            let time = time_of_day(text);
            app.mode = Mode::Rows;
            return time.map_or(Then::Draw, Then::Seek);
        }
        _ => return Then::Nothing,
    }
    Then::Draw
}

/// The seconds of `14:05` or `14:05:30`.
fn time_of_day(text: &str) -> Option<u32> {
    let parts: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    match parts[..] {
        [hours @ 0..24, minutes @ 0..60] => Some(3600 * hours + 60 * minutes),
        [hours @ 0..24, minutes @ 0..60, seconds @ 0..60] => Some(3600 * hours + 60 * minutes + seconds),
        _ => None,
    }
}

/// In the rows and in every page.
fn everywhere(app: &mut App, code: KeyCode) -> Then {
    match code {
        KeyCode::Char('q') => Then::Quit,
        KeyCode::Char(' ') => {
            app.is_paused = !app.is_paused;
            Then::Draw
        }
        _ if app.replay.is_some() => in_replay(app, code),
        _ => Then::Nothing,
    }
}

fn in_replay(app: &mut App, code: KeyCode) -> Then {
    const MINUTE: isize = 60;
    match code {
        KeyCode::Left => Then::Step(-1),
        KeyCode::Right => Then::Step(1),
        KeyCode::Char('[') => Then::Step(-MINUTE),
        KeyCode::Char(']') => Then::Step(MINUTE),
        KeyCode::Char('0') => Then::Go(0),
        KeyCode::Char('$') => Then::Go(usize::MAX),
        KeyCode::Char('+') => Then::Faster(2.0),
        KeyCode::Char('-') => Then::Faster(0.5),
        KeyCode::Char('g') if app.mode == Mode::Rows => {
            app.mode = Mode::Jump(String::new());
            Then::Draw
        }
        _ => Then::Nothing,
    }
}

fn in_page(app: &mut App, code: KeyCode) -> Then {
    match code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace => app.close(),
        KeyCode::Char('?' | 'h') if app.mode == Mode::Help => app.mode = Mode::Rows,
        KeyCode::Char('l') if app.mode == Mode::Log => app.mode = Mode::Rows,
        _ => return everywhere(app, code),
    }
    Then::Draw
}

fn in_rows(app: &mut App, code: KeyCode) -> Then {
    let page = app.places.n_rows().max(2) as isize - 1;
    match code {
        KeyCode::Char('?' | 'h') => app.mode = Mode::Help,
        KeyCode::Char('l') => app.mode = Mode::Log,
        KeyCode::Char('/') => app.mode = Mode::Filter(app.filter.clone()),
        KeyCode::Esc => {
            app.filter.clear();
            app.show(app.view);
        }
        KeyCode::Enter => app.open(),
        KeyCode::Up | KeyCode::Char('k') => app.move_by(-1),
        KeyCode::Down | KeyCode::Char('j') => app.move_by(1),
        KeyCode::PageUp => app.move_by(-page),
        KeyCode::PageDown => app.move_by(page),
        KeyCode::Home => app.select(0),
        KeyCode::End => app.select(usize::MAX),
        KeyCode::Char('<' | ',') => app.sort_next(-1),
        KeyCode::Char('>' | '.') => app.sort_next(1),
        KeyCode::Char('b') => app.sort_by(SortBy::Busy),
        KeyCode::Char('n') => app.sort_by(SortBy::Name),
        KeyCode::Tab => app.next_view(1),
        KeyCode::BackTab => app.next_view(-1),
        KeyCode::Char(c) => {
            let Some(wanted) = of_rows().zip('1'..).find(|(view, n)| c == *n || view.key.starts_with(c))
            else {
                return everywhere(app, code);
            };
            app.show(wanted.0);
        }
        _ => return everywhere(app, code),
    }
    Then::Draw
}

fn mouse(app: &mut App, event: MouseEvent) -> Then {
    const WHEEL: isize = 3;
    if app.mode != Mode::Rows {
        return Then::Nothing;
    }
    match event.kind {
        MouseEventKind::ScrollDown => app.move_by(WHEEL),
        MouseEventKind::ScrollUp => app.move_by(-WHEEL),
        MouseEventKind::Down(MouseButton::Left) => match app.places.at(event.row, event.column) {
            Some(Place::Title(Some(key))) => app.sort_by(SortBy::Column(key)),
            Some(Place::Title(None)) => app.sort_by(SortBy::Name),
            Some(Place::View(key)) => app.show(view(key).unwrap_or(app.view)),
            // A second click opens it.
            Some(Place::Row(at)) if app.selected.is_some() && app.cursor() == at => app.open(),
            Some(Place::Row(at)) => app.select_at(at),
            None => return Then::Nothing,
        },
        _ => return Then::Nothing,
    }
    Then::Draw
}
