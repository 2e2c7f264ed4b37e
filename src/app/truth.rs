//! The truth rate as it is told.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::catalog::{Model, RouteKind};
use crate::routing::health::Board;
use crate::time::Timestamp;
use crate::truth::{DAYS, Missed, Truth};

/// Of each route of a model; in JSON by its kind.
#[derive(Debug, Clone)]
pub struct TruthByRoute(Vec<(RouteKind, TruthView)>);

/// Of one route.
#[derive(Debug, Clone, Serialize)]
pub struct TruthView {
    /// Over how long, such as `30d`.
    pub window: String,
    /// Promises that count.
    pub callable: u64,
    /// Those of them that were kept.
    pub answered: u64,
    /// From 0 to 1, as a decimal, rounded down; none where nothing was promised.
    pub rate: Option<String>,
    /// The last that were not kept.
    pub misses: Vec<MissView>,
}

/// A promise that was not kept.
#[derive(Debug, Clone, Serialize)]
pub struct MissView {
    /// When the request ended, to the second.
    pub at: Timestamp,
    /// Why.
    pub reason: Missed,
}

impl Serialize for TruthByRoute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (kind, truth) in &self.0 {
            map.serialize_entry(kind.as_str(), truth)?;
        }
        map.end()
    }
}

/// Of each route of a model.
pub fn of_model(model: &Model, board: &Board) -> TruthByRoute {
    TruthByRoute(model.routes.iter().map(|route| (route.kind, of_route(&board.truth(&model.id, route.kind)))).collect())
}

/// Of one route.
pub fn of_route(truth: &Truth) -> TruthView {
    TruthView {
        window: format!("{DAYS}d"),
        callable: truth.callable,
        answered: truth.answered,
        rate: truth.rate(),
        misses: truth.misses.iter().map(|miss| MissView { at: miss.at.to_second(), reason: miss.reason }).collect(),
    }
}
