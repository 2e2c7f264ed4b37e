//! Answers in JSON.

use serde::Serialize;

use crate::refusal::Refusal;
use crate::relay::Reply;

/// It is so.
pub fn ok(value: &impl Serialize) -> Result<Reply, Refusal> {
    with_status(200, value)
}

/// Something was made.
pub fn made(value: &impl Serialize) -> Result<Reply, Refusal> {
    with_status(201, value)
}

fn with_status(status: u16, value: &impl Serialize) -> Result<Reply, Refusal> {
    let body = serde_json::to_string(value).map_err(|error| Refusal::unavailable(error.to_string()))?;
    Ok(Reply::json(status, body))
}
