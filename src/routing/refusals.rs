//! Why a model or a route is left out, in words for who asked, with what to do about it.

use crate::catalog::{Catalog, Model, RouteKind};
use crate::id::{BucketId, ModelName};
use crate::refusal::{Code, Refusal};
use crate::usage::Class;

/// There is no model of this name; which ones look like it.
pub fn model_not_found(catalog: &Catalog, name: &str) -> Refusal {
    let near = catalog.near_names(name);
    let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    let hint = match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => format!(" Did you mean {only}?"),
        Some((last, others)) => format!(" Did you mean {} or {last}?", others.join(", ")),
    };
    let next_step = "Choose a name from GET /v1/models.";
    Refusal::new(Code::ModelNotFound, format!("There is no model `{}`.{hint}", shorten(name)), next_step)
        .param("model")
        .fact("near", near)
}

pub(super) fn model_not_allowed(name: &ModelName) -> Refusal {
    let next_step = "Use a model from GET /v1/models with this key, or ask the key's owner to allow this one.";
    Refusal::new(Code::ModelNotAllowed, format!("This key may not call `{name}`."), next_step).param("model").limit("key")
}

pub(super) fn over_output(model: &Model, limit: u64) -> Refusal {
    let most = model.max_output_tokens;
    let message = format!("`max_tokens` is {limit}, but `{}` answers with at most {most} tokens.", model.id);
    Refusal::new(Code::InvalidRequest, message, format!("Ask for at most {most} tokens, or leave the limit out."))
        .param("max_tokens")
}

pub(super) fn route_not_allowed(kind: RouteKind) -> Refusal {
    let next_step = "Leave the route to the key, or ask the key's owner to allow it.";
    Refusal::new(Code::RouteNotAllowed, format!("This key may not use {} routes.", kind.as_str()), next_step).limit("key")
}

pub(super) fn crossing_not_allowed(kind: RouteKind, bucket: &BucketId) -> Refusal {
    let message =
        format!("The {} route is paid by `{bucket}`, and this key does not cross from one balance to another.", kind.as_str());
    Refusal::new(Code::RouteNotAllowed, message, "Ask for that route by name, or allow `cross_routes` on the key.").limit("key")
}

pub(super) fn no_such_route(model: &Model, kind: RouteKind) -> Refusal {
    let kinds: Vec<&str> = model.routes.iter().map(|route| route.kind.as_str()).collect();
    let message = format!("`{}` has no {} route.", model.id, kind.as_str());
    Refusal::new(Code::ModelNotFound, message, format!("It is served by: {}.", kinds.join(", "))).param("model")
}

pub(super) fn unpriced(name: &ModelName) -> Refusal {
    let message = format!("`{name}` has no price at the moment, so it cannot be called.");
    Refusal::new(Code::ModelUnpriced, message, "Choose another model, or try again when it has been priced.")
        .param("model")
        .retry_after(60)
}

pub(super) fn class_unpriced(name: &ModelName, class: Class) -> Refusal {
    let message = format!("`{name}` has no price for `{}` on this route, so a request with it cannot be served.", class.name());
    let param = match class {
        Class::AudioInput | Class::AudioOutput | Class::ImageOutput => "modalities",
        Class::CacheWrite | Class::CacheWrite1h => "cache_control",
        _ => "model",
    };
    Refusal::new(Code::ModelUnpriced, message, "Send the request without it, or choose another model.")
        .param(param)
        .retry_after(60)
        .fact("class", class.name())
}

pub(super) fn wrong_kind(model: &Model) -> Refusal {
    let (kind, endpoint) = (model.kind.as_str(), model.kind.endpoint());
    let message = format!("`{}` is a model of the kind `{kind}`, which this endpoint does not serve.", model.id);
    Refusal::new(Code::InvalidRequest, message, format!("Send the request to {endpoint}, or choose another model."))
        .param("model")
}

pub(super) fn not_there_any_more(name: &ModelName) -> Refusal {
    let message = format!("The channel that keeps the response that this request continues does not serve `{name}` now.");
    let next_step = "Send the whole conversation as `input`, without `previous_response_id`.";
    Refusal::new(Code::InvalidRequest, message, next_step).param("previous_response_id")
}

pub(super) fn too_dear(kind: RouteKind) -> Refusal {
    let message = format!("The {} route costs more than the request's `provider.max_price`.", kind.as_str());
    Refusal::new(Code::InvalidRequest, message, "Raise `provider.max_price`, or choose a cheaper model.")
        .param("provider.max_price")
}

pub(super) fn no_channel_left(name: &ModelName) -> Refusal {
    let message = format!("The request's `provider` preferences leave no channel for `{name}`.");
    Refusal::new(Code::InvalidRequest, message, "Loosen `provider.only` or `provider.ignore`.").param("provider")
}

/// Names come from callers and may be of any length.
fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}
