//! The page in Chromium.

use std::time::{Duration, Instant};

use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::chromium::{Chromium, Page};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{Skip, pause};
use serde_json::{Value, json};

use super::Served;
use crate::clients::clients;
use crate::pictures;
use crate::troubles::{TROUBLES, Troubles, seen_soon};

/// From the begin to the first place.
const FIRST_LIMIT: Duration = Duration::from_secs(3);
/// What the agent may take while nobody looks, of 5 s.
const HIDDEN_LIMIT: Duration = Duration::from_millis(10);
/// After so long a trouble is not seen at all.
const UNSEEN: Duration = Duration::from_secs(60);
/// Before the picture of the documentation is taken, for its sparklines.
const PICTURE_PAUSE: Duration = Duration::from_secs(45);

pub(super) fn in_a_browser() -> Outcome {
    let served = Served::start("127.0.0.1:0")?;
    let mut browser = Chromium::start()?;
    let page = browser.open(&served.url);
    browser.wait_for(&page, "document.querySelectorAll('#rows tr').length > 2");
    // The second view, by its key: containers.
    browser.press(&page, "2");
    browser
        .wait_for(&page, "document.querySelector('#views [aria-pressed=true]').textContent == 'Containers'");

    let id = format!("{:032x}{:032x}", std::process::id(), 0x5e15);
    let uid = format!("5e15e7e0-2222-4333-8444-{:012x}", std::process::id());
    let cgroup = Cgroup::of_container("serve", &uid, &id);
    let mut workers: Vec<Worker> = (0..2).map(|_| Worker::start(&cgroup, "", &["spin", "60000"])).collect();
    let short = &id[..12];
    // It is there, and rests.
    browser.wait_for(&page, "document.querySelector('#machine li') != null");
    let start = Instant::now();
    workers.iter_mut().for_each(Worker::go);
    let is_first = format!("document.querySelector('#rows tr th')?.textContent.includes('{short}') ?? false");
    browser.wait_for(&page, &is_first);
    let took = start.elapsed();
    println!("serve: first of the containers {:.2} s after it began to burn", took.as_secs_f64());
    assert!(took < FIRST_LIMIT, "{took:?}");
    by_the_keyboard(&mut browser, &page, short);
    without_barriers(&mut browser, &page)?;
    hidden(&served, &mut browser, &page);
    assert_clean(&browser.events, &served.url);
    Ok(())
}

/// The keyboard alone finds a row, opens and closes its detail, sorts, and pauses.
fn by_the_keyboard(browser: &mut Chromium, page: &Page, name: &str) {
    browser.press(page, "/");
    assert_eq!(browser.evaluate(page, "document.activeElement.id"), "filter");
    browser.of(page, "Input.insertText", &json!({ "text": name }));
    browser.wait_for(page, "document.querySelectorAll('#rows tr').length == 1");
    browser.press(page, "Enter");
    browser.press(page, "ArrowDown");
    let is_focused = format!("document.activeElement.dataset.row?.includes('{name}') ?? false");
    browser.wait_for(page, &is_focused);
    browser.press(page, "Enter");
    browser.wait_for(
        page,
        "document.getElementById('detail').open && document.querySelectorAll('#detail-rows tr').length > 5",
    );
    browser.press(page, "Escape");
    browser.wait_for(page, "!document.getElementById('detail').open");
    // New figures leave it where it is.
    browser.wait_for(page, "histories.values().next().value.length > 3");
    browser.wait_for(page, &is_focused);
    browser.press(page, "Escape");
    browser.wait_for(page, "filter === ''");
    for (key, sorted) in [(">", "cpu"), ("n", "name"), ("b", "busy")] {
        browser.press(page, key);
        browser.wait_for(page, &format!("document.querySelector('[aria-sort]').dataset.key === '{sorted}'"));
    }
    for state in ["paused", "live"] {
        browser.press(page, "p");
        browser.wait_for(page, &format!("document.getElementById('state').textContent === '{state}'"));
    }
    // What has no key of its own is reached by Tab.
    browser.evaluate(page, "document.activeElement.blur()");
    let n_stops =
        browser.evaluate(page, "document.querySelectorAll('button, input').length").as_u64().unwrap();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..n_stops {
        browser.press(page, "Tab");
        let stop = "document.activeElement.closest('#tools, thead, tbody')?.tagName ?? ''";
        reached.insert(browser.evaluate(page, stop).as_str().unwrap().to_owned());
    }
    for part in ["DIV", "THEAD", "TBODY"] {
        assert!(reached.contains(part), "Tab does not reach {part}: {reached:?}");
    }
}

/// What axe-core calls serious or critical, in light and dark, of the rows and of one in detail.
fn without_barriers(browser: &mut Chromium, page: &Page) -> Result<(), Skip> {
    let axe = match clients("node_modules/axe-core/axe.min.js") {
        Ok(path) => std::fs::read_to_string(path).unwrap(),
        Err(skip) => {
            println!("serve: barriers are not looked for: {skip:?}");
            return Ok(());
        }
    };
    browser.evaluate(page, &format!("{axe}; 0"));
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(page, scheme);
        backs.push(browser.evaluate(page, "getComputedStyle(document.body).backgroundColor"));
        for is_open in [false, true] {
            let change =
                if is_open { "open(document.querySelector('#rows button').dataset.row)" } else { "0" };
            browser.evaluate(page, &format!("{change}; 0"));
            let run = "axe.run(document).then(found => ({ n: found.passes.length, \
                found: found.violations.map(({ id, impact, nodes }) => [impact, id, nodes.length, nodes[0].html]) }))";
            let answer = browser.evaluate(page, run);
            let n_passed = answer["n"].as_u64().unwrap();
            println!(
                "serve: axe-core, {scheme}, detail {is_open}: {n_passed} rules held, broken: {}",
                answer["found"]
            );
            assert!(n_passed > 15, "{answer}");
            for found in answer["found"].as_array().unwrap() {
                assert!(found[0] != "serious" && found[0] != "critical", "{scheme}: {found}");
            }
            browser.evaluate(page, "document.getElementById('detail').close()");
        }
    }
    assert_ne!(backs[0], backs[1], "dark is as light");
    Ok(())
}

/// Each of four troubles comes first in its column, with its number beside its name.
pub(super) fn four_troubles() -> Outcome {
    let (_troubles, served, mut browser, page) = seen_soon(shown)?;
    browser.press(&page, "b");
    if pictures::are_asked_for() {
        pause(PICTURE_PAUSE);
    }
    browser.resize(&page, (1280, 400));
    pictures::keep("serve.png", &browser.picture(&page));
    assert_clean(&browser.events, served.url.split('?').next().unwrap());
    Ok(())
}

/// The four, who serves them, and the page that shows them.
type Shown = (Troubles, Served, Chromium, Page);

/// Once each has been shown, with the seconds that took.
fn shown() -> Result<(Shown, f64), Skip> {
    let mut browser = Chromium::start()?;
    let mut troubles = Troubles::new()?;
    // With a token, which the page hands on.
    let served = Served::start("0.0.0.0:0")?;
    let page = browser.open(&served.url);
    browser.wait_for(&page, "document.querySelectorAll('#rows tr').length > 2");
    browser.press(&page, "/");
    browser.of(&page, "Input.insertText", &json!({ "text": "/shop/" }));
    browser.press(&page, "Enter");
    let start = Instant::now();
    troubles.go()?;
    let mut left: Vec<_> = troubles.told().collect();
    assert!(left.len() >= TROUBLES.len() - 1);
    while !left.is_empty() {
        pause(Duration::from_millis(100));
        left.retain(|(row, key, title)| {
            let look = format!(
                "document.querySelector('#head [data-key={key}] button').click(); \
                 (() => {{ const first = document.querySelector('#rows tr'); return first && [first.querySelector('button').dataset.row, \
                 [...first.querySelectorAll('th .warn, th .critical')].map(why => why.textContent)]; }})()"
            );
            let first = browser.evaluate(&page, &look);
            let why = first[1].as_array().into_iter().flatten().filter_map(Value::as_str);
            let why: Vec<&str> = why.filter(|why| why.starts_with(title)).collect();
            let is_seen = first[0].as_str().is_some_and(|name| name == *row) && !why.is_empty();
            if is_seen {
                println!(
                    "serve: {row} is first in {key} after {:.1} s: {}",
                    start.elapsed().as_secs_f64(),
                    why[0]
                );
            }
            !is_seen
        });
        assert!(start.elapsed() < UNSEEN, "not seen: {left:?}");
    }
    Ok(((troubles, served, browser, page), start.elapsed().as_secs_f64()))
}

/// A page that is hidden asks for nothing, and goes on when it is shown again.
fn hidden(served: &Served, browser: &mut Chromium, page: &Page) {
    let shown = served.cpu_time(Duration::from_secs(3));
    let other = browser.open("about:blank");
    browser.of(&other, "Page.bringToFront", &json!({}));
    browser.wait_for(page, "document.hidden && source === null");
    // The last gather may be under way.
    pause(Duration::from_secs(2));
    let hidden = served.cpu_time(Duration::from_secs(5));
    println!(
        "serve: CPU time of the agent: {shown:?} in 3 s of a page that is shown, {hidden:?} in 5 s of one that is hidden"
    );
    assert!(hidden < HIDDEN_LIMIT, "{hidden:?}");
    browser.of(page, "Page.bringToFront", &json!({}));
    browser.evaluate(page, "histories.clear()");
    browser.wait_for(page, "!document.hidden && histories.size > 0");
}

/// No error on the page, and no request to anybody else.
fn assert_clean(events: &[Value], url: &str) {
    let mut n_requests = 0;
    for event in events {
        let params = &event["params"];
        match event["method"].as_str().unwrap() {
            "Runtime.exceptionThrown" => panic!("{params}"),
            "Runtime.consoleAPICalled" => assert_ne!(params["type"], "error", "{params}"),
            "Log.entryAdded" => assert_ne!(params["entry"]["level"], "error", "{params}"),
            "Network.requestWillBeSent" => {
                let asked = params["request"]["url"].as_str().unwrap();
                assert!(
                    asked.starts_with(url) || asked.starts_with("data:") || asked == "about:blank",
                    "{asked}"
                );
                n_requests += 1;
            }
            _ => {}
        }
    }
    println!("serve: {n_requests} requests, all to the agent, and no error");
    assert!(n_requests > 1, "no request was seen: this shows nothing");
}
