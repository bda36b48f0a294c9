use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::left_out::LEFT_OUT;
use super::names::{has_tag, measurement};
use super::*;
use crate::schema::MEASUREMENTS;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dashboards")
}

/// Every generated kind of file below a directory.
fn written(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            written(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "json" || ending == "tick") {
            found.push(path);
        }
    }
}

#[test]
fn docs_dashboards_are_current() {
    let (directory, files) = (directory(), files());
    let expected: BTreeSet<PathBuf> = files.iter().map(|(path, _)| directory.join(path)).collect();
    assert_eq!(expected.len(), files.len(), "two files of one name");
    let mut found = Vec::new();
    written(&directory, &mut found);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        for (path, text) in &files {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        found
            .iter()
            .filter(|path| !expected.contains(*path))
            .for_each(|path| std::fs::remove_file(path).unwrap());
        return;
    }
    let stale = "stale: UPDATE_DOCS=1 cargo test -p seismograf docs_ rewrites";
    for (path, text) in &files {
        let path = directory.join(path);
        assert!(
            std::fs::read_to_string(&path).is_ok_and(|there| there == *text),
            "{stale} {}",
            path.display()
        );
    }
    for path in found {
        assert!(expected.contains(&path), "{stale} {}", path.display());
    }
}

/// Every query of every board, with where it is.
fn queries() -> Vec<(String, Graph, Asked)> {
    let mut all = Vec::new();
    for board in BOARDS {
        for graph in board.graphs() {
            let place = format!("{}: {}", board.file, graph.title);
            all.extend(graph.queries.iter().map(|asked| (place.clone(), graph.clone(), asked.clone())));
        }
    }
    all
}

fn fields(asked: &Asked) -> impl Iterator<Item = &'static str> {
    asked.lines.iter().flat_map(|line| std::iter::once(line.field).chain(line.of))
}

#[test]
fn every_query_names_what_the_schema_has() {
    for (place, _, asked) in queries() {
        let measurement = measurement(asked.from).unwrap_or_else(|| panic!("{place}: no {}", asked.from));
        for field in fields(&asked) {
            let has = measurement.fields.iter().any(|known| known.name == field);
            assert!(has, "{place}: {} has no field {field}", asked.from);
        }
        for tag in asked.by.iter().copied().chain(asked.only.iter().map(Only::tag)) {
            assert!(has_tag(asked.from, tag), "{place}: {} has no tag {tag}", asked.from);
        }
    }
    for alert in ALERTS {
        let measurement = measurement(alert.from).unwrap();
        if let AlertKind::Above { fields, number, .. } = alert.kind {
            for name in fields {
                assert!(measurement.fields.iter().any(|field| field.name == *name), "{}: {name}", alert.file);
                assert!(number.contains(&format!("\"{name}\"")), "{}: {name}", alert.file);
            }
        }
        let named = alert.by.iter().filter(|tag| **tag != "*");
        named.for_each(|tag| assert!(has_tag(alert.from, tag), "{}: {tag}", alert.file));
    }
}

#[test]
fn lines_of_a_query_are_made_alike_and_each_has_a_name() {
    for (place, graph, asked) in queries() {
        let is_of_each = influxql::is_of_each(&asked.lines[0]);
        assert!(asked.lines.iter().all(|line| influxql::is_of_each(line) == is_of_each), "{place}");
        let names: BTreeSet<&str> = asked.lines.iter().map(|line| line.name).collect();
        assert_eq!(names.len(), asked.lines.len(), "{place}");
        assert!(graph.draw != Draw::Top || !asked.by.is_empty(), "{place}");
        assert!(graph.marks.is_none_or(|[warning, critical]| warning <= critical), "{place}");
    }
    for board in BOARDS {
        let graphs = board.graphs();
        let titles: BTreeSet<&str> = graphs.iter().map(|graph| graph.title.as_str()).collect();
        assert_eq!(titles.len(), graphs.len(), "{}: a title is there twice", board.file);
    }
    for columns in BOARDS.iter().flat_map(|board| board.items).filter_map(|item| match item {
        Item::Columns(columns) => Some(columns),
        Item::Panels(_) => None,
    }) {
        let view = crate::schema::views::view(columns.view).unwrap();
        assert!(columns.keys.iter().all(|key| view.column(key).is_some()), "{columns:?}");
    }
}

#[test]
fn every_loss_of_the_kernel_side_wakes_somebody_or_is_told_by_another() {
    /// Lost together with what the alert has; the last two are no loss of an amount.
    const TOLD_BY_ANOTHER: &[&str] = &[
        "overflow_ns",
        "overflow_wait_ns",
        "overflow_waits",
        "overflow_bytes",
        "overflow_errors",
        "overflow_time_ns",
        "overflow_rx_bytes",
        "overflow_tx_bytes",
        "overflow_tx_dropped_bytes",
        "overflow_tx_dropped_packets",
        "overflow_tcp_retransmits",
        "overflow_host_rx_bytes",
        "overflow_host_tx_bytes",
        "refused",
        "missed_runs",
    ];
    let alert = ALERTS.iter().find(|alert| alert.file == "agent_loss").unwrap();
    let AlertKind::Above { fields, .. } = alert.kind else { panic!("{alert:?}") };
    for loss in crate::schema::losses::LOSSES {
        let name = loss.field.name;
        assert!(fields.contains(&name) != TOLD_BY_ANOTHER.contains(&name), "{name}: in the alert or here");
    }
}

#[test]
fn every_field_is_shown_or_left_out_for_a_reason() {
    let mut shown: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, _, asked) in queries() {
        shown.entry(asked.from).or_default().extend(fields(&asked));
    }
    let mut missing = Vec::new();
    for measurement in MEASUREMENTS {
        let left: Vec<_> = LEFT_OUT.iter().filter(|(name, ..)| *name == measurement.name).collect();
        let names = |field: &str| left.iter().any(|(_, fields, _)| fields.contains(&field));
        for field in measurement.fields {
            let is_shown = shown.get(measurement.name).is_some_and(|fields| fields.contains(field.name));
            assert!(!(is_shown && names(field.name)), "{} {} is shown", measurement.name, field.name);
            if !is_shown && !names(field.name) && !names("*") {
                missing.push(format!("{} {}", measurement.name, field.name));
            }
        }
    }
    assert!(missing.is_empty(), "in no dashboard, and not said why: {missing:#?}");
    for (name, fields, why) in LEFT_OUT {
        let measurement = measurement(name).unwrap_or_else(|| panic!("no {name}"));
        let has = |field: &&str| *field == "*" || measurement.fields.iter().any(|own| own.name == *field);
        assert!(fields.iter().all(has) && why.len() > 5, "{name}: {fields:?}");
    }
}

/// A file as it is written, read as nothing but its form.
fn read<T: serde::de::DeserializeOwned>(path: &str) -> T {
    let text = std::fs::read_to_string(directory().join(path)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether no two places have a square in common, and none is outside.
fn assert_apart(places: &[[u32; 4]], columns: u32) {
    let mut taken = BTreeSet::new();
    for [x, y, w, h] in places {
        assert!(*w > 0 && *h > 0 && x + w <= columns);
        for square in (*x..x + w).flat_map(|x| (*y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(square), "{square:?} is taken twice");
        }
    }
}

#[test]
fn chronografs_files_have_the_form_of_its_import() {
    for board in BOARDS {
        let file: chronograf::File = read(&format!("chronograf/{}.json", board.file));
        let dashboard = file.dashboard;
        assert_apart(
            &dashboard.cells.iter().map(|cell| [cell.x, cell.y, cell.w, cell.h]).collect::<Vec<_>>(),
            12,
        );
        let cells: BTreeSet<&str> = dashboard.cells.iter().map(|cell| cell.i.as_str()).collect();
        assert_eq!(cells.len(), dashboard.cells.len());
        let variables: BTreeSet<&str> =
            dashboard.templates.iter().map(|template| template.temp_var.as_str()).collect();
        let ids: BTreeSet<&str> = dashboard.templates.iter().map(|template| template.id.as_str()).collect();
        assert!(variables.len() == dashboard.templates.len() && ids.len() == variables.len());
        assert!(variables.contains(":env:") && variables.contains(":host:"), "{variables:?}");
        for cell in &dashboard.cells {
            assert!(cell.colors.iter().all(|color| color.hex.len() == 7 && color.hex.starts_with('#')));
            for query in &cell.queries {
                assert!(
                    query.query == query.query_config.raw_text && query.query.contains(":dashboardTime:")
                );
                // Every variable that is used is one of the file's, or Chronograf's own.
                let own = [":dashboardTime:", ":interval:"];
                let words = query.query.split([' ', '(', ')', '/', '|', '.', '$', '^', ',']);
                let used =
                    words.filter(|word| word.len() > 2 && word.starts_with(':') && word.ends_with(':'));
                for variable in used {
                    assert!(
                        variables.contains(variable) || own.contains(&variable),
                        "{variable}: {}",
                        query.query
                    );
                }
            }
        }
    }
}

#[test]
fn canned_layouts_have_their_form_and_a_measurement_each() {
    let layouts = chronograf::layouts(BOARDS);
    assert!(layouts.len() > 5);
    for layout in layouts {
        let layout: chronograf::Layout = read(&format!("chronograf/canned/{}.json", layout.measurement));
        assert!(layout.app == "seismograf" && measurement(&layout.measurement).is_some());
        for cell in &layout.cells {
            for query in &cell.queries {
                let from = format!("FROM \":db:\".\":rp:\".\"{}\"", layout.measurement);
                assert!(query.query.ends_with(&from), "{}", query.query);
            }
        }
    }
}

#[test]
fn grafanas_files_have_the_form_of_its_model() {
    let mut uids = BTreeSet::new();
    for (language, board) in
        ["influxql", "flux"].into_iter().flat_map(|language| BOARDS.iter().map(move |b| (language, b)))
    {
        let dashboard: grafana::GrafanaDashboard = read(&format!("grafana/{language}/{}.json", board.file));
        assert!(dashboard.uid.len() <= 40 && uids.insert(dashboard.uid.clone()), "{}", dashboard.uid);
        let of = |panel: &grafana::PanelModel| {
            let place = panel.grid_pos;
            [place.x, place.y, place.w, place.h]
        };
        assert_apart(&dashboard.panels.iter().map(of).collect::<Vec<_>>(), 24);
        let ids: BTreeSet<u32> = dashboard.panels.iter().map(|panel| panel.id).collect();
        assert_eq!(ids.len(), dashboard.panels.len());
        for panel in &dashboard.panels {
            let names: BTreeSet<&str> = panel.targets.iter().map(|target| target.ref_id.as_str()).collect();
            assert!(names.len() == panel.targets.len() && !names.is_empty(), "{}", panel.title);
            assert_eq!(panel.targets.iter().all(|target| target.raw_query.is_some()), language == "influxql");
            let steps = &panel.field_config.defaults.thresholds.steps;
            assert!(steps[0].value.is_none() && steps[1..].iter().all(|step| step.value.is_some()));
        }
        let text =
            std::fs::read_to_string(directory().join(format!("grafana/{language}/{}.json", board.file)))
                .unwrap();
        for variable in &dashboard.templating.list {
            let is_used = text.contains(&format!("${}", variable.name))
                || text.contains(&format!("${{{}", variable.name));
            assert!(is_used, "{}: {} is not used", board.file, variable.name);
        }
    }
}

#[test]
fn numbers_are_small_and_graphs_are_large_and_none_are_over_each_other() {
    let graph = |draw| Graph {
        title: String::new(),
        help: "",
        draw,
        unit: Unit::Count,
        queries: Vec::new(),
        marks: None,
    };
    let graphs = [Draw::Number, Draw::Number, Draw::Lines, Draw::Lines, Draw::Top, Draw::Lines, Draw::Number]
        .map(graph);
    let places: Vec<[u32; 4]> = layout::places(&graphs).iter().map(|(_, p)| [p.x, p.y, p.w, p.h]).collect();
    let expected =
        [[0, 0, 2, 2], [2, 0, 2, 2], [0, 2, 4, 4], [4, 2, 4, 4], [8, 2, 4, 4], [0, 6, 4, 4], [0, 10, 2, 2]];
    assert_eq!(places, expected);
}
