//! Members of a request that chat completions share with the legacy completions and with responses.

use serde::Deserialize;

use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::json::{Edit, Object};
use crate::refusal::Refusal;

/// Service tiers that cost no more than the price says.
pub const SERVICE_TIERS: [&str; 3] = ["\"auto\"", "\"default\"", "\"flex\""];

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Requests of one cache key, or of one user, are of one session unless the client says otherwise.
pub fn read_session(fields: &Fields<'_, '_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    for name in ["prompt_cache_key", "user"] {
        if envelope.session.is_none() {
            envelope.session = fields.read(name, "a string")?;
        }
    }
    Ok(())
}

/// Whether the client wants usage at the end of its stream.
pub fn include_usage(object: &Object<'_>) -> Result<bool, Refusal> {
    let what = "an object whose `include_usage` is a boolean";
    // A list would be read as the fields in their order.
    if object.get("stream_options").is_some_and(|json| json.starts_with('[')) {
        return Err(Refusal::invalid("stream_options", format!("`stream_options` must be {what}.")));
    }
    let options = Fields(object).read::<StreamOptions>("stream_options", what)?;
    Ok(options.and_then(|options| options.include_usage).unwrap_or(false))
}

/// Upstream is always asked for the usage of a stream.
pub fn ask_for_usage(request: &Object<'_>) -> Edit {
    let include = [Edit::Set("include_usage", "true".to_owned())];
    let options = request.get("stream_options").and_then(Object::parse);
    let options = options.map_or_else(|| "{\"include_usage\":true}".to_owned(), |options| options.edited(&include));
    Edit::Set("stream_options", options)
}
