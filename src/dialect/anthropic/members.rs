//! Members of a request, read the same by who passes it on and by who translates it; and the refusal of one that is wrong.
//!
//! What always holds: a refusal names the member by its path.

use super::wire::{given, list, member, text};
use crate::dialect::json::Object;
use crate::dialect::talk::Cache;
use crate::refusal::Refusal;

/// What was read, or why it cannot be.
pub type Outcome<T> = Result<T, Refusal>;

/// A member that is wrong, and why.
pub fn refused(path: &str, why: &str) -> Refusal {
    Refusal::invalid(path, format!("`{path}` {why}."))
}

/// What no other dialect has.
pub fn untranslatable(path: &str) -> Refusal {
    refused(path, "has no counterpart at the provider that serves this request")
}

/// An object that must be one.
pub fn object_at<'a>(json: &'a str, path: &str) -> Outcome<Object<'a>> {
    Object::parse(json).ok_or_else(|| refused(path, "must be an object"))
}

/// The members of a list; none where it is not there.
pub fn members_of<'a>(request: &Object<'a>, name: &str) -> Outcome<Vec<&'a str>> {
    let Some(json) = given(request, name) else { return Ok(Vec::new()) };
    list(json).ok_or_else(|| refused(name, "must be a list"))
}

/// What a block asks the provider to keep.
pub fn cache(block: &Object<'_>) -> Option<Cache> {
    let control = given(block, "cache_control").and_then(Object::parse)?;
    let is_hour = member(&control, "ttl").is_some_and(|ttl| ttl == "1h");
    Some(if is_hour { Cache::Hour } else { Cache::FiveMinutes })
}

/// `metadata.user_id`.
pub fn user_id(object: &Object<'_>) -> Result<Option<String>, Refusal> {
    let Some(metadata) = given(object, "metadata") else { return Ok(None) };
    let wrong = || Refusal::invalid("metadata", "`metadata` must be an object whose `user_id` is a string.");
    let metadata = Object::parse(metadata).ok_or_else(wrong)?;
    let Some(user) = given(&metadata, "user_id") else { return Ok(None) };
    text(user).map(|user| Some(user.into_owned())).ok_or_else(wrong)
}

/// What has a price that the catalogue cannot express.
pub fn no_price(param: &str) -> Refusal {
    Refusal::invalid(param, format!("What `{param}` asks for has no price here, so it cannot be served."))
}
