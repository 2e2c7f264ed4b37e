//! The truth rate as JSON.

use serde_json::{Value, json};

use crate::catalog::Model;
use crate::routing::health::Board;
use crate::truth::{DAYS, Miss, Truth};

/// Of each route of a model, by its kind.
pub fn of_model(model: &Model, board: &Board) -> Value {
    let of_route =
        |route: &crate::catalog::Route| (route.kind.as_str().to_owned(), of_route(&board.truth(&model.id, route.kind)));
    Value::Object(model.routes.iter().map(of_route).collect())
}

/// Of one route.
pub fn of_route(truth: &Truth) -> Value {
    let miss = |miss: &Miss| json!({"at": miss.at.to_second(), "reason": miss.reason});
    json!({
        "window": format!("{DAYS}d"), "callable": truth.callable, "answered": truth.answered, "rate": truth.rate(),
        "misses": truth.misses.iter().map(miss).collect::<Vec<_>>(),
    })
}
