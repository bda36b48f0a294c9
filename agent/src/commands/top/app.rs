//! What the screen shows, and what keys and the mouse do to it.
//!
//! Pure: gathers and events in; what is left to do for others out. How it is drawn is in `draw`.

use super::history::History;
use super::places::Places;
use crate::inputs::latencies::RowLatencies;
use crate::point::{Point, Timestamp};
use crate::schema::views::{BUSY, Column, View, of_rows};
use crate::views::machine::Machine;
use crate::views::sampler::Sampler;
use crate::views::table::{Order, Row, Table};

/// What is on the screen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Mode {
    /// The rows.
    #[default]
    Rows,
    /// The rows, while a filter is typed. The one before is kept.
    Filter(String),
    /// The rows, while a time is typed to go to.
    Jump(String),
    /// One row.
    Detail,
    /// The keys.
    Help,
    /// What was logged.
    Log,
}

/// What a person wants rows sorted by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SortBy {
    Busy,
    Name,
    Column(&'static str),
}

impl SortBy {
    /// From its name on the command line.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "busy" => Some(Self::Busy),
            "name" => Some(Self::Name),
            key => {
                let mut columns = of_rows().flat_map(View::columns);
                columns.find(|column| column.key == key).map(|column| Self::Column(column.key))
            }
        }
    }

    fn order(self) -> Order {
        match self {
            Self::Busy => Order::Weighted(BUSY),
            Self::Name => Order::Name,
            Self::Column(key) => Order::Column(key),
        }
    }

    /// Its column.
    pub(super) fn column(self) -> Option<&'static str> {
        if let Self::Column(key) = self { Some(key) } else { None }
    }
}

/// Where a replay is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Position {
    /// From 0.
    pub(super) at: usize,
    pub(super) n_gathers: usize,
    /// How many times faster than it was.
    pub(super) speed: f64,
    /// What is wrong with the file.
    pub(super) damage: Option<String>,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct App {
    pub(super) view: &'static View,
    pub(super) sort: SortBy,
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) is_paused: bool,
    /// The row that is selected; the first one where there is none.
    pub(super) selected: Option<String>,
    /// Rows above the first one that is shown.
    pub(super) scrolled: usize,
    /// Sorted and filtered; `None` until there are rates.
    pub(super) table: Option<Table>,
    /// Rows before the filter.
    pub(super) n_rows: usize,
    pub(super) machine: Machine,
    pub(super) history: History,
    /// The values of the row in detail, gather by gather.
    pub(super) trend: Vec<Vec<Option<f64>>>,
    pub(super) latencies: Vec<RowLatencies>,
    /// What was logged, the latest last.
    pub(super) log: Vec<String>,
    pub(super) replay: Option<Position>,
    /// Where the last drawing put what can be clicked at.
    pub(super) places: Places,
    sampler: Sampler,
}

impl App {
    pub(super) fn new(view: &'static View, sort: SortBy, filter: String) -> Self {
        Self {
            view,
            sort,
            filter,
            mode: Mode::Rows,
            is_paused: false,
            selected: None,
            scrolled: 0,
            table: None,
            n_rows: 0,
            machine: Machine::default(),
            history: History::default(),
            trend: Vec::new(),
            latencies: Vec::new(),
            log: Vec::new(),
            replay: None,
            places: Places::default(),
            sampler: Sampler::default(),
        }
    }

    /// Takes the points of the next gather.
    pub(super) fn push(&mut self, points: Vec<Point>, latencies: Vec<RowLatencies>) {
        self.sampler.push(points);
        self.latencies = latencies;
        self.history.push(&self.sampler);
        self.machine = Machine::of(&self.sampler);
        self.arrange();
        if self.mode == Mode::Detail
            && let Some(row) = self.row()
        {
            let values = row.values.clone();
            self.trend.push(values);
            let too_many = self.trend.len().saturating_sub(super::history::N_KEPT);
            self.trend.drain(..too_many);
        }
    }

    /// Forgets all gathers, for those of another time.
    pub(super) fn forget(&mut self) {
        self.sampler = Sampler::default();
        self.history = History::default();
        self.trend.clear();
    }

    /// When the last gather was.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.sampler.time()
    }

    /// Makes the rows again, after anything that they depend on has changed.
    pub(super) fn arrange(&mut self) {
        let mut table = self.sampler.table(self.view);
        self.n_rows = table.as_ref().map_or(0, |table| table.rows.len());
        if let Some(table) = &mut table {
            let filter = self.filter.to_lowercase();
            if !filter.is_empty() {
                table.rows.retain(|row| row.name.to_lowercase().contains(&filter));
            }
            table.sort(self.sort.order());
        }
        self.table = table;
    }

    /// The rows, sorted and filtered.
    pub(super) fn rows(&self) -> &[Row] {
        self.table.as_ref().map_or(&[], |table| &table.rows)
    }

    /// The place of the selected row.
    pub(super) fn cursor(&self) -> usize {
        let selected = self.selected.as_deref();
        self.rows().iter().position(|row| Some(row.name.as_str()) == selected).unwrap_or(0)
    }

    /// The selected row; in detail that and no other, even if it is gone.
    pub(super) fn row(&self) -> Option<&Row> {
        match (&self.mode, &self.selected) {
            (Mode::Detail, Some(name)) => self.rows().iter().find(|row| row.name == *name),
            _ => self.rows().get(self.cursor()),
        }
    }

    /// Selects the row at a place, or the nearest one.
    pub(super) fn select(&mut self, at: usize) {
        let last = self.rows().len().saturating_sub(1);
        // The first one follows the order, so that whatever is worst stays in sight.
        self.selected = (at > 0).then(|| self.rows().get(at.min(last)).map(|row| row.name.clone())).flatten();
    }

    /// Selects the row at a place that a person pointed at.
    pub(super) fn select_at(&mut self, at: usize) {
        self.selected = self.rows().get(at).map(|row| row.name.clone());
    }

    /// Selects a row so many places further.
    pub(super) fn move_by(&mut self, rows: isize) {
        self.select(self.cursor().saturating_add_signed(rows));
    }

    /// Shows another view.
    pub(super) fn show(&mut self, view: &'static View) {
        self.view = view;
        (self.selected, self.scrolled) = (None, 0);
        self.arrange();
    }

    /// Shows the view so many places further.
    pub(super) fn next_view(&mut self, step: isize) {
        let views: Vec<&'static View> = of_rows().collect();
        let at = views.iter().position(|view| view.key == self.view.key).unwrap_or(0);
        let next = (at as isize + step).rem_euclid(views.len() as isize) as usize;
        self.show(views[next]);
    }

    /// Sorts otherwise.
    pub(super) fn sort_by(&mut self, sort: SortBy) {
        self.sort = sort;
        self.scrolled = 0;
        self.arrange();
    }

    /// Sorts by the column so many places further.
    pub(super) fn sort_next(&mut self, step: isize) {
        let columns: Vec<&'static Column> = self.view.columns().collect();
        let at = self.sort.column().and_then(|key| self.view.column(key));
        let next = match at {
            Some(at) => (at as isize + step).rem_euclid(columns.len() as isize) as usize,
            None if step > 0 => 0,
            None => columns.len() - 1,
        };
        self.sort_by(SortBy::Column(columns[next].key));
    }

    /// Shows the selected row alone.
    pub(super) fn open(&mut self) {
        if let Some(row) = self.rows().get(self.cursor()) {
            let (name, values) = (row.name.clone(), row.values.clone());
            self.selected = Some(name);
            self.trend = vec![values];
            self.mode = Mode::Detail;
        }
    }

    /// Shows the rows again; one that was the first follows the order again.
    pub(super) fn close(&mut self) {
        let was_alone = std::mem::replace(&mut self.mode, Mode::Rows) == Mode::Detail;
        if was_alone {
            self.select(self.cursor());
        }
    }

    /// Takes what was logged.
    pub(super) fn logged(&mut self, line: String) {
        const N_LINES: usize = 200;
        if self.log.len() == N_LINES {
            self.log.remove(0);
        }
        self.log.push(line);
    }
}
