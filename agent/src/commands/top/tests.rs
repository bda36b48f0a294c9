use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Modifier;
use ratatui_crossterm::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use rstest::rstest;

use super::app::{App, Mode, Position, SortBy};
use super::canvas::Look;
use super::draw::draw;
use super::keys::{Then, handle};
use super::palette::Palette;
use crate::inputs::latencies::RowLatencies;
use crate::ledger::histogram::Histogram;
use crate::point::{Name, Point, Timestamp};
use crate::schema::views::view;

const SECOND: i64 = 1_000_000_000;

/// So many rows: `/r000` uses the least CPU, and the last one is throttled.
fn gather(second: i64, n_rows: i64) -> Vec<Point> {
    let time = Timestamp(second * SECOND);
    let mut points = vec![
        Point::new("cpu", time).tag("host", "h").tag("cpu", "cpu-total").field("usage_idle", 60.0),
        Point::new("system", time).tag("host", "h").field("n_cpus", 8_i64).field("load1", 1.25),
    ];
    for row in 0..n_rows {
        let name = format!("/r{row:03}");
        let mut cpu =
            Point::new("cgroup_cpu", time).tag("cgroup", &name).field("usage_ns", second * row * 10_000_000);
        if row == 0 {
            cpu.set_field("nr_periods", 10 * second);
            cpu.set_field("nr_throttled", 9 * second);
        }
        points.push(cpu);
    }
    points
}

fn app(n_rows: i64) -> App {
    let mut app = App::new(view("all").unwrap(), SortBy::Busy, String::new());
    for second in 1..5 {
        app.push(gather(second, n_rows), Vec::new());
    }
    app
}

fn look(is_unicode: bool) -> Look {
    Look { palette: Palette::of(None), is_unicode }
}

fn drawn(app: &mut App, width: u16, height: u16) -> (Buffer, Vec<String>) {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(app, &mut buffer, look(true));
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    let lines = (0..height).map(line).collect();
    (buffer, lines)
}

fn press(app: &mut App, keys: &str) -> Then {
    let press = |app: &mut App, c| {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            '\x08' => KeyCode::Backspace,
            'v' => KeyCode::Down,
            '^' => KeyCode::Up,
            '→' => KeyCode::Right,
            c => KeyCode::Char(c),
        };
        handle(app, &Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    };
    keys.chars().map(|c| press(app, c)).last().unwrap()
}

fn click(app: &mut App, column: u16, row: u16) -> Then {
    let kind = MouseEventKind::Down(MouseButton::Left);
    handle(app, &Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
}

/// The names, in the order of the screen.
fn names(lines: &[String]) -> Vec<&str> {
    let rows = lines[3..lines.len() - 1].iter();
    rows.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("/r"))).collect()
}

#[test]
fn eighty_columns_show_the_machine_the_busiest_first_and_what_is_marked() {
    let mut app = app(30);
    let (_, lines) = drawn(&mut app, 80, 24);
    assert_eq!(lines[0], "cpu 40.0% of 8 CPUs  load 1.25  records -/s  h");
    assert!(lines[1].starts_with(" All  Containers  Pods "), "{}", lines[1]);
    assert!(lines[2].starts_with("   NAME (100% = 1 CPU)") && lines[2].contains("CPU%"), "{}", lines[2]);
    assert_eq!(names(&lines)[..2], ["/r029", "/r028"]);
    assert!(lines[3].contains(" 29.0 "), "{}", lines[3]);
    assert!(lines[23].starts_with("? help  / filter"), "{}", lines[23]);
    press(&mut app, "n");
    let (_, lines) = drawn(&mut app, 80, 24);
    assert!(lines[3].starts_with("!! /r000"), "{}", lines[3]);
    assert_eq!(lines[23], "/r000:  THROT% 90.0%", "why it is marked");
}

#[rstest]
#[case::rows("")]
#[case::filter("/r01")]
#[case::nothing("/none\n")]
#[case::no_pods("p")]
#[case::help("?")]
#[case::log("l")]
#[case::detail("\n")]
fn any_size_is_drawn(
    #[case] keys: &str,
    #[values(true, false)] is_unicode: bool,
    #[values(0, 40)] n_rows: i64,
) {
    let mut app = app(n_rows);
    app.logged("2026-01-01T00:00:00Z W! [inputs.ebpf] probe is off why=\"no\"\n".to_owned());
    if !keys.is_empty() {
        press(&mut app, keys);
    }
    for (width, height) in [(0, 0), (1, 1), (2, 2), (10, 3), (40, 10), (80, 24), (79, 5), (200, 50), (100, 2)]
    {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        draw(&mut app, &mut buffer, look(is_unicode));
        let text: String = buffer.content.iter().map(ratatui_core::buffer::Cell::symbol).collect();
        assert!(is_unicode || text.is_ascii(), "{text}");
    }
}

#[test]
fn rows_are_sorted_by_keys_and_by_clicks_at_titles() {
    let mut app = app(5);
    let sorted = |app: &mut App| names(&drawn(app, 80, 24).1).join(" ");
    assert_eq!(sorted(&mut app), "/r004 /r003 /r002 /r001 /r000");
    press(&mut app, "n");
    assert_eq!(sorted(&mut app), "/r000 /r001 /r002 /r003 /r004");
    press(&mut app, ">");
    assert_eq!((app.sort, sorted(&mut app).starts_with("/r004")), (SortBy::Column("cpu"), true));
    press(&mut app, "<");
    assert_eq!(app.sort, SortBy::Column("oom_kills"), "round about");
    // A column for which there is no room is shown while it is what rows are sorted by.
    while app.sort != SortBy::Column("throttled") {
        press(&mut app, ">");
    }
    let lines = drawn(&mut app, 80, 24).1;
    assert!(
        lines[2].ends_with("THROT%") && lines[3].ends_with("90.0") && lines[3].contains("/r000"),
        "{lines:?}"
    );
    let title = lines[2].find("CPU%").unwrap() as u16;
    assert_eq!(click(&mut app, title, 2), Then::Draw);
    assert_eq!(app.sort, SortBy::Column("cpu"));
    click(&mut app, 4, 2);
    assert_eq!(app.sort, SortBy::Name);
    click(&mut app, 7, 1);
    assert_eq!(app.view.key, "containers");
}

#[test]
fn a_filter_is_typed_applied_and_taken_away() {
    let mut app = app(30);
    press(&mut app, "/R02");
    let lines = drawn(&mut app, 80, 24).1;
    assert_eq!(names(&lines).len(), 10);
    assert_eq!(lines[23], "/R02_");
    press(&mut app, "7\n");
    assert_eq!(names(&drawn(&mut app, 80, 24).1), ["/r027"]);
    app.push(gather(9, 30), Vec::new());
    assert_eq!(app.rows().len(), 1, "also in the next gather");
    press(&mut app, "/x\x1b");
    assert_eq!(app.filter, "R027", "as it was");
    press(&mut app, "\x1b");
    assert_eq!(app.rows().len(), 30);
    assert_eq!(press(&mut app, "/q"), Then::Draw, "a letter of the filter");
}

#[test]
fn the_selected_row_stays_selected_and_in_sight() {
    let mut app = app(100);
    press(&mut app, "vvv");
    assert_eq!(app.selected.as_deref(), Some("/r096"));
    press(&mut app, "n");
    let (buffer, lines) = drawn(&mut app, 80, 24);
    let reversed = |y: u16| buffer[(10, y)].modifier.contains(Modifier::REVERSED);
    let selected: Vec<&String> = (3..23).filter(|y| reversed(*y)).map(|y| &lines[usize::from(y)]).collect();
    assert!(matches!(selected[..], [line] if line.contains("/r096")), "{selected:?}");
    press(&mut app, "^");
    assert_eq!(app.selected.as_deref(), Some("/r095"));
    // A click selects, a second one opens.
    drawn(&mut app, 80, 24);
    click(&mut app, 10, 5);
    let name = app.selected.clone().unwrap();
    click(&mut app, 10, 5);
    assert_eq!((app.mode.clone(), app.selected.as_ref()), (Mode::Detail, Some(&name)));
    // The first row follows the order, also after it was looked at alone.
    press(&mut app, "\n");
    assert_eq!((app.mode.clone(), app.selected.as_ref()), (Mode::Rows, Some(&name)));
    app.select(0);
    press(&mut app, "\n\n");
    assert_eq!((app.mode.clone(), app.selected.as_ref()), (Mode::Rows, None));
}

#[test]
fn detail_has_every_column_and_the_histograms_of_the_row_alone() {
    let mut app = app(3);
    let latencies = |name: &str, bucket: usize| {
        let mut reads = Histogram::default();
        let mut counts = [0; seismograf_ebpf::abi::BUCKETS];
        counts[bucket] = 1500;
        reads.add(&counts);
        RowLatencies { tags: vec![("cgroup".into(), Name::new(name))], reads, ..RowLatencies::default() }
    };
    press(&mut app, "\n");
    app.push(gather(5, 3), vec![latencies("/r002", 10), latencies("/r001", 3)]);
    let lines = drawn(&mut app, 80, 24).1;
    assert_eq!(lines[2], "/r002");
    let text = lines.join("\n");
    for column in app.view.columns() {
        assert!(text.contains(column.title), "{}: {text}", column.key);
    }
    assert!(
        text.contains("reads, p99 1.0ms") && text.contains("<1.0ms █") && text.contains("1.5k"),
        "{text}"
    );
    assert!(!text.contains("<8.2us"), "of another row: {text}");
    app.push(gather(6, 0), Vec::new());
    assert!(drawn(&mut app, 80, 24).1.join("\n").contains("not there any more"));
    press(&mut app, "\x1b");
    assert_eq!(app.mode, Mode::Rows);
}

#[test]
fn keys_quit_pause_and_steer_a_replay() {
    let mut app = app(3);
    assert_eq!(press(&mut app, "→"), Then::Nothing, "not in a replay");
    press(&mut app, " ");
    assert!(app.is_paused && drawn(&mut app, 80, 24).1[1].ends_with("PAUSED"));
    app.replay = Some(Position { at: 1, n_gathers: 9, speed: 2.0, damage: Some("x".into()) });
    let line = drawn(&mut app, 100, 24).1[1].clone();
    assert!(line.ends_with("1970-01-01 00:00:04 2/9 x2  DAMAGED  PAUSED"), "{line}");
    assert_eq!(press(&mut app, "→"), Then::Step(1));
    assert_eq!(press(&mut app, "]"), Then::Step(60));
    assert_eq!(press(&mut app, "$"), Then::Go(usize::MAX));
    assert_eq!(press(&mut app, "+"), Then::Faster(2.0));
    assert_eq!(press(&mut app, "g14:05\n"), Then::Seek(50_700));
    assert_eq!(press(&mut app, "g25:05\n"), Then::Draw, "no such time");
    assert_eq!(press(&mut app, "q"), Then::Quit);
    for mode in [Mode::Help, Mode::Filter(String::new()), Mode::Detail, Mode::Jump(String::new())] {
        app.mode = mode;
        let event = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!(handle(&mut app, &event), Then::Quit);
    }
}
