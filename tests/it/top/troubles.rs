//! What the screen says of four troubles at once.

use std::time::{Duration, Instant};

use seismograf::schema::views::view;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, pause, svg};

use super::{SIZE, SOON, Top};
use crate::pictures;
use crate::troubles::{Troubles, seen_soon};

pub(super) fn four_troubles_are_marked_and_said() -> Outcome {
    let (_troubles, top) = seen_soon(shown)?;
    top.terminal.press(&["b"]);
    picture(&top);
    // One that reads, by how long that took, from the kernel's own histogram.
    top.terminal.resize(SIZE);
    sort_by(&top, None, "read");
    top.wait_for_rows("what reads first", |rows| {
        rows.first().is_some_and(|first| first.contains("/shop/db"))
    });
    top.terminal.press(&["Enter"]);
    top.wait_for("reads, p99 ");
    println!("top: in detail:\n{}", top.terminal.text());
    top.terminal.press(&["Escape"]);
    top.terminal.press(&["q"]);
    top.wait_for("exit 0");
    Ok(())
}

/// The four, a screen that has shown each of them, and after how many seconds it had.
fn shown() -> Result<((Troubles, Top), f64), Skip> {
    let mut troubles = Troubles::new()?;
    let top = Top::start(SIZE, "LC_ALL=C.UTF-8", "--filter /shop/")?;
    top.wait_for("NAME");
    let since = Instant::now();
    troubles.go()?;
    let mut column = None;
    for (row, key, title) in troubles.told() {
        column = Some(sort_by(&top, column, key));
        // First in its column, marked, and the foot says why, of the row that is selected.
        let is_so = || {
            let (rows, foot) = (top.rows(), top.terminal.lines(&[]).pop()?);
            let first =
                rows.into_iter().next().filter(|first| first.contains(row) && first[..3].contains('!'))?;
            (foot.contains(&format!("{row}:")) && foot.contains(title)).then_some((first, foot))
        };
        let shown = std::iter::repeat_with(is_so).find_map(|shown| {
            assert!(
                since.elapsed() < SOON,
                "{row} is not first and marked in {key}:\n{}",
                top.terminal.text()
            );
            pause(Duration::from_millis(50));
            shown
        });
        let (first, foot) = shown.unwrap();
        let seconds = since.elapsed().as_secs_f64();
        println!("top: {key}, {seconds:.1} s after all began: {first}\n  {foot}");
    }
    Ok(((troubles, top), since.elapsed().as_secs_f64()))
}

/// Presses the key for the next column as often as it takes; `from` is the place of the one before.
fn sort_by(top: &Top, from: Option<usize>, key: &str) -> usize {
    let view = view("all").unwrap();
    let to = view.column(key).unwrap();
    let n = view.columns().count();
    let steps = from.map_or(to + 1, |from| (to + n - from) % n);
    for _ in 0..steps {
        top.terminal.enter(">");
    }
    let title = view.columns().nth(to).unwrap().title;
    top.wait_for(title);
    to
}

/// The picture of the README, when it is asked for.
fn picture(top: &Top) {
    top.wait_for_rows("the busiest first", |rows| rows.first().is_some_and(|first| first.contains("/shop/")));
    top.terminal.resize((120, 11));
    let bars = |row: &String| row.chars().filter(|c| ('▁'..='█').contains(c)).count();
    top.wait_for_rows("sparklines", |rows| rows.len() >= 6 && rows.iter().any(|row| bars(row) >= 10));
    let picture = svg::of_terminal(&top.terminal.lines(&["-e"]), 120);
    assert!(picture.starts_with("<svg") && picture.contains("/shop/report") && picture.ends_with("</svg>\n"));
    pictures::keep("top.svg", picture.as_bytes());
}
