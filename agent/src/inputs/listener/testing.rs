//! A started input, for the tests of those that listen.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;

use crate::host::Host;
use crate::inputs::{Gathered, Input, InputPlugin, Shared};
use crate::point::{FieldValue, Point, Timestamp};

/// A started input, and what it shares.
pub(in super::super) struct Started {
    pub(in super::super) input: Box<dyn Input>,
    pub(in super::super) shared: Arc<Shared>,
}

pub(in super::super) fn build<O: InputPlugin + Clone>(
    options: &O,
    shared: &Arc<Shared>,
) -> Result<Box<dyn Input>, String> {
    Box::new(options.clone()).build(shared).map_err(|error| error.to_string())
}

/// A text in gzip.
pub(in super::super) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(text, Compression::best()).read_to_end(&mut packed).unwrap();
    packed
}

/// The names of points.
pub(in super::super) fn names(points: &[Point]) -> String {
    points.iter().map(|point| &*point.measurement).collect::<Vec<_>>().join(" ")
}

impl Started {
    pub(in super::super) fn new<O: InputPlugin + Clone>(options: &O) -> Self {
        let shared = Shared::new(Host::default());
        Self { input: build(options, &shared).unwrap(), shared }
    }

    fn figures(&self) -> Point {
        let points = self.shared.telemetry.points(Timestamp(0));
        let listener = points.into_iter().find(|point| point.tag_value("part") == Some("listener")).unwrap();
        assert_eq!(crate::schema::check(&listener), Ok(()));
        listener
    }

    /// The address that it got.
    pub(in super::super) fn address(&self) -> String {
        let figures = self.figures();
        figures.tag_value("address").unwrap().split_once("://").unwrap().1.replace("[::]", "127.0.0.1")
    }

    pub(in super::super) fn count(&self, of: &str) -> u64 {
        match self.figures().field_value(of) {
            Some(FieldValue::UInt(n)) => *n,
            Some(FieldValue::Int(n)) => u64::try_from(*n).unwrap(),
            other => panic!("{of}: {other:?}"),
        }
    }

    /// Gathers once.
    pub(in super::super) async fn gather(&mut self) -> Vec<Point> {
        let mut gathered = Gathered::at(Timestamp(0));
        self.input.gather(&mut gathered).await.unwrap();
        gathered.points
    }

    /// Gathers until there are so many points.
    pub(in super::super) async fn points(&mut self, n: usize) -> Vec<Point> {
        let mut points = Vec::new();
        let all = async {
            while points.len() < n {
                points.extend(self.gather().await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let limit = tokio::time::timeout(Duration::from_secs(10), all).await;
        assert!(limit.is_ok(), "{} of {n} points", points.len());
        points
    }
}
