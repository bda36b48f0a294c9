//! What a person would see: a dashboard of Chronograf's, drawn from the answers to its queries.
//!
//! Chronograf itself cannot be had everywhere; a page of this test draws the file's cells at their places, with uPlot.

use seismograf::dashboards::chronograf;
use seismograf_tests::chromium::Chromium;
use serde_json::{Value, json};

use super::{chronografs, files};
use crate::clients::clients;
use crate::pictures;

/// The dashboard, and its size: what is at the top of it.
const FILE: &str = "chronograf/cluster.json";
const SIZE: (u32, u32) = (1200, 710);

/// Draws it; `series` are the answers to a query.
pub(super) fn draw(series: impl Fn(&str) -> Vec<Value>) {
    let (file, browser) = (clients("node_modules/uplot/dist"), Chromium::start());
    let (uplot, mut browser) = match (file, browser) {
        (Ok(uplot), Ok(browser)) => (uplot, browser),
        (Err(skip), _) | (_, Err(skip)) => {
            println!("dashboards: no picture is drawn: {skip:?}");
            return;
        }
    };
    let found = files::<chronograf::File>("chronograf").into_iter().find(|(name, _)| name == FILE).unwrap();
    let dashboard = found.1.dashboard;
    let cells: Vec<Value> = dashboard
        .cells
        .iter()
        .map(|cell| {
            // Each moment has as many gathers, one a second, as the others.
            let asked = |query: &str| chronografs(query, &dashboard.templates).replace("2500ms", "5s");
            let queries = cell.queries.iter().map(|query| asked(&query.query));
            let answers: Vec<Value> = queries.flat_map(|query| series(&query)).collect();
            let axis = &cell.axes.y;
            json!({
                "name": cell.name, "type": cell.r#type, "series": answers,
                "x": cell.x, "y": cell.y, "w": cell.w, "h": cell.h, "base": axis.base, "suffix": axis.suffix,
            })
        })
        .collect();
    let of_uplot = |name: &str| std::fs::read_to_string(uplot.join(name)).unwrap();
    let page = include_str!("page.html")
        .replace("UPLOT_CSS", &of_uplot("uPlot.min.css"))
        .replace("UPLOT_JS", &of_uplot("uPlot.iife.min.js"))
        .replace("CELLS", &Value::from(cells).to_string());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("page.html");
    std::fs::write(&path, page).unwrap();
    let page = browser.open("about:blank");
    browser.resize(&page, SIZE);
    browser.of(&page, "Page.navigate", &json!({ "url": format!("file://{}", path.display()) }));
    browser
        .wait_for(&page, "document.readyState === 'complete' && document.querySelector('section') !== null");
    let drawn = browser.evaluate(&page, "[drawn, cells.length]");
    assert_eq!(drawn[0], drawn[1], "cells without anything to see: {drawn}");
    let errors = browser.events.iter().filter(|event| event["method"] == "Runtime.exceptionThrown");
    assert_eq!(errors.count(), 0, "{:?}", browser.events);
    println!("dashboards: {} cells of {FILE} drawn", drawn[0]);
    pictures::keep("dashboard.png", &browser.picture(&page));
}
