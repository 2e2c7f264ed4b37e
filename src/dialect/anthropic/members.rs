//! Members of a request, read the same by who passes it on and by who translates it.

use crate::dialect::conversation::Cache;
use crate::dialect::json::{Object, text_of};
use crate::dialect::node::Node;
use crate::refusal::Refusal;

/// What a block asks the provider to keep.
pub fn cache(block: &Node<'_>) -> Option<Cache> {
    let control = block.object("cache_control").ok().flatten()?;
    let is_hour = control.maybe_text("ttl").is_some_and(|ttl| ttl == "1h");
    Some(if is_hour { Cache::Hour } else { Cache::FiveMinutes })
}

/// `metadata.user_id`.
pub fn user_id(object: &Object<'_>) -> Result<Option<String>, Refusal> {
    let Some(metadata) = object.given("metadata") else { return Ok(None) };
    let wrong = || Refusal::invalid("metadata", "`metadata` must be an object whose `user_id` is a string.");
    let metadata = Object::parse(metadata).ok_or_else(wrong)?;
    let Some(user) = metadata.given("user_id") else { return Ok(None) };
    text_of(user).map(|user| Some(user.into_owned())).ok_or_else(wrong)
}

/// What has a price that the catalogue cannot express.
pub fn no_price(param: &str) -> Refusal {
    Refusal::invalid(param, format!("What `{param}` asks for has no price here, so it cannot be served."))
}
