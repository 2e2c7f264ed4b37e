//! From a body and a key to a plan with its quotes; what the route explanation shows and the relay runs.

use std::collections::BTreeMap;
use std::rc::Rc;

use subtle::ConstantTimeEq;

use super::caller::{check_address, check_site};
use super::head::RequestHead;
use super::owned::{Owned, Provenance, Signers};
use super::prepared::{Prepared, Preparing, asking};
use super::quote::Legs;
use crate::account::Facts;
use crate::catalog::{Catalog, Channel, Dialect, Fit, RouteKind};
use crate::dialect::openai::responses::{TAG, with_tag};
use crate::dialect::{Endpoint, Request, Way};
use crate::id::{AccountId, ChannelId, RequestId, RunId};
use crate::key::KeyRecord;
use crate::refusal::{Code, Refusal};
use crate::routing::health::Witness;
use crate::routing::{Ask, Plan, PlanInput, ProviderPreferences, asked_model, plan};
use crate::time::Timestamp;
use crate::usage::Class;

/// The caller's own key for a request is no longer than this.
const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// Plans a request for a key, with the hold that each leg needs.
pub fn prepare<'a>(
    preparing: &'a Preparing,
    key: &KeyRecord,
    body: &'a [u8],
    now: Timestamp,
    signers: Signers<'_>,
) -> Result<Prepared<'a>, Refusal> {
    check_address(&preparing.head, key)?;
    check_site(&preparing.head, key, &preparing.catalog)?;
    check_head(&preparing.head)?;
    let mut request = Request::read(&preparing.called, body, preparing.head.content_type.as_deref())?;
    let catalog = &preparing.catalog;
    if request.envelope.models.is_empty() {
        request.envelope.models.push(default_model(&request, catalog, key)?);
    }
    let channels = channels(&request, catalog);
    let previous = request.envelope.previous_response.as_deref();
    let previous = previous.map(|id| maker_of(id, &channels, &key.account, signers)).transpose()?;
    let (previous, maker) = previous.map_or((None, None), |(id, maker)| (Some(id), Some(maker)));
    let owned = Owned::of(&request.named_items(), maker, (&channels, &key.account, signers))?;
    let fits = fits(&request, &preparing.head, key)?;
    let mut ask = ask(&request, preparing, &channels, owned.maker.as_ref())?;
    // Where limits are fitted, one above the model's own is as well.
    ask.output_limit = ask.output_limit.filter(|_| !fits);
    let session = request.envelope.session.as_ref().or(preparing.head.session.as_ref());
    let seed = match (session, &request.envelope.prefix) {
        (Some(session), _) => format!("{}/{session}", key.account),
        // A conversation without a name is known by how it begins.
        (None, Some(prefix)) => format!("{}/begins {prefix}", key.account),
        (None, None) => preparing.request.to_string(),
    };
    let by = Some(Witness::of(&key.account));
    let input = PlanInput { catalog, policy: &key.policy, ask: &ask, health: &preparing.health, by, now, seed: &seed };
    let Plan { attempts, left_out, first_choice } = plan(input)?;
    let facts =
        Facts { stream: request.envelope.stream, ..asking(preparing.facts(key, None), catalog, request.envelope.models.first()) };
    let first = attempts.first().map(|planned| &planned.model);
    let estimated_input = first.map_or(0, |model| request.estimated_tokens(&model.family).min(model.context_length));
    let legs = Legs { catalog, floor: fits.then_some(catalog.output_floor_tokens), estimated_input }.of(attempts, &request)?;
    let catalog = Rc::clone(catalog);
    let early = preparing.early.clone();
    let head = &preparing.head;
    Ok(Prepared { facts, request, head, catalog, legs, left_out, first_choice, estimated_input, seed, previous, owned, early })
}

/// Whether the output limit may be fitted to the balance: the request says, or else the key.
fn fits(request: &Request<'_>, head: &RequestHead, key: &KeyRecord) -> Result<bool, Refusal> {
    let unknown = || Refusal::invalid("x-tf-fit", "`x-tf-fit` must be `balance` or `never`.");
    let told = head.fit.as_deref().map(|text| Fit::parse(text).ok_or_else(unknown)).transpose()?;
    let fit = request.envelope.fit.or(told).unwrap_or(key.policy.fit);
    Ok(fit == Fit::Balance && request.endpoint.limit_member().is_some())
}

/// What the planner is asked.
fn ask(
    request: &Request<'_>,
    preparing: &Preparing,
    channels: &[Rc<Channel>],
    maker: Option<&Provenance>,
) -> Result<Ask, Refusal> {
    let envelope = &request.envelope;
    let route = preparing.head.route.as_deref().map(|text| {
        RouteKind::parse(text).ok_or_else(|| Refusal::invalid("x-tf-route", "`x-tf-route` must be `official` or `routed`."))
    });
    let provider = envelope.provider.as_deref().map(|json| {
        // A list would be read as the fields in their order.
        if !json.starts_with('{') {
            return Err(Refusal::invalid("provider", "`provider` must be an object."));
        }
        serde_json::from_str::<ProviderPreferences>(json)
            .map_err(|error| Refusal::invalid("provider", format!("`provider` is not valid: {error}.")))
    });
    let endpoint = request.endpoint;
    let not_here = || {
        let message = format!("No provider of this model can be asked at {}.", endpoint.name());
        Refusal::new(Code::InvalidRequest, message, "Use another endpoint or another model.").param("model")
    };
    // A translation is the same for every channel of a dialect: a request is not written once for each channel that there is.
    let mut checked: BTreeMap<&'static str, Result<(), Refusal>> = BTreeMap::new();
    let mut check = |dialect: Dialect, way: Way| match way.is_translated {
        true => checked.entry(dialect.as_str()).or_insert_with(|| request.check(way)).clone(),
        false => request.check(way),
    };
    let mut unable = |channel: &Rc<Channel>| {
        let way = endpoint.asked_of(channel);
        // Where nobody counts, the gateway does.
        if way.is_none() && endpoint.is_free() {
            return None;
        }
        let known = match &envelope.unknown_tool {
            Some(path) if !channel.unknown_tools => Err(unknown_tool(path)),
            _ => Ok(()),
        };
        let checked = known.and(way.ok_or_else(not_here)).and_then(|way| check(channel.dialect, way));
        checked.err().map(|refusal| (channel.id.clone(), refusal))
    };
    Ok(Ask {
        models: envelope.models.clone(),
        kinds: endpoint.kinds(),
        route: route.transpose()?,
        provider: provider.transpose()?.unwrap_or_default(),
        output_limit: envelope.output_limit,
        needs: envelope
            .needs
            .iter()
            .copied()
            .filter(|class| !(envelope.is_hosted_offered && *class == Class::Searches))
            .collect(),
        spared: channels.iter().filter(|channel| forgets_marks(endpoint, channel)).flat_map(spared).collect(),
        unable: channels.iter().filter_map(&mut unable).collect(),
        pinned: maker.cloned(),
        probed: preparing.head.probed.clone(),
    })
}

/// Whether a translation leaves out which prefixes are to be cached: their provider caches by itself, and has no price for it.
fn forgets_marks(endpoint: Endpoint, channel: &Channel) -> bool {
    channel.dialect != Dialect::Anthropic && endpoint.asked_of(channel).is_some_and(|way| way.is_translated)
}

/// What such a channel is not asked for.
fn spared(channel: &Rc<Channel>) -> [(ChannelId, Class); 2] {
    [Class::CacheWrite, Class::CacheWrite1h].map(|class| (channel.id.clone(), class))
}

/// Nobody can say what it costs.
fn unknown_tool(path: &str) -> Refusal {
    let message = format!("`{path}` is a tool that is not known here, so nobody can say what it costs.");
    let next_step = "Leave it out, or ask the operator whether a channel of this model takes it.";
    Refusal { next_step: next_step.to_owned(), ..Refusal::invalid(path, message) }
}

/// The first model of the endpoint's kind that the key may call, for requests that name none.
fn default_model(request: &Request<'_>, catalog: &Catalog, key: &KeyRecord) -> Result<String, Refusal> {
    let kinds = request.endpoint.kinds();
    let of_kind = catalog.models.values().find(|model| kinds.contains(&model.kind) && key.policy.allows_model(&model.id));
    of_kind.map(|model| model.id.to_string()).ok_or_else(|| {
        let message = "No model was named, and there is none of this kind that the key may call.";
        Refusal::new(Code::ModelNotFound, message, "Choose a name from GET /v1/models.").param("model")
    })
}

/// The channels that could serve a request, each once.
fn channels(request: &Request<'_>, catalog: &Catalog) -> Vec<Rc<Channel>> {
    let models = request.envelope.models.iter().filter_map(|name| asked_model(catalog, name));
    let candidates = models.flat_map(|model| &model.routes).flat_map(|route| &route.candidates);
    let mut channels: Vec<Rc<Channel>> = Vec::new();
    for channel in candidates.filter_map(|candidate| catalog.channel(&candidate.channel)) {
        if !channels.iter().any(|known| known.id == channel.id) {
            channels.push(Rc::clone(channel));
        }
    }
    channels
}

/// What is tagged of a response: who made it, where.
pub fn tagged(account: &AccountId, channel: &ChannelId, response: &str) -> String {
    format!("{account}\n{channel}\n{response}")
}

/// The id of a response as its client gets it: the request, so that its receipt is found by it; the provider's own id; who made it.
pub fn tagged_id(request: &RequestId, response: &str, proof: &str) -> String {
    format!("resp_{request}_{}", with_tag(response, proof))
}

/// The provider's own id in what stands before the tag. Ids that were given before they named a request have nothing else.
fn providers_id(id: &str) -> &str {
    let named = id.strip_prefix("resp_").and_then(RequestId::leading);
    named.and_then(|(_, rest)| rest.strip_prefix('_')).unwrap_or(id)
}

/// The provider's own id of a response, and the channel and credential that made it for this account. Nobody else can go on
/// from it, whatever they know.
fn maker_of(
    id: &str,
    channels: &[Rc<Channel>],
    account: &AccountId,
    signers: Signers<'_>,
) -> Result<(String, Provenance), Refusal> {
    let unknown = || {
        // Whoever goes on from a translated answer can do so by its items.
        let message = match !id.contains(TAG) && RequestId::of_answer(id).is_some() {
            true => {
                "The response that `previous_response_id` names was translated, and no provider keeps it. Send the whole conversation in `input`: its items, or references to them (`item_reference`)."
            }
            false => {
                "The response that `previous_response_id` names was not made by this account over a channel that serves this model now. Send the whole conversation in `input` instead."
            }
        };
        let next_step = "Send the whole conversation in `input`, without `previous_response_id`.";
        Refusal::new(Code::InvalidRequest, message, next_step).param("previous_response_id")
    };
    let (response, proof) = id.rsplit_once(TAG).ok_or_else(unknown)?;
    let response = providers_id(response);
    for channel in channels {
        for secret in &channel.secrets {
            // A credential that is not set proves nothing.
            let Some(signer) = signers(secret) else { continue };
            let expected = signer(&tagged(account, &channel.id, response));
            if bool::from(expected.as_bytes().ct_eq(proof.as_bytes())) {
                return Ok((response.to_owned(), (channel.id.clone(), secret.clone())));
            }
        }
    }
    Err(unknown())
}

fn check_head(head: &RequestHead) -> Result<(), Refusal> {
    if head.run.as_deref().is_some_and(|run| RunId::parse(run).is_none()) {
        return Err(Refusal::invalid("x-tf-run", "`x-tf-run` must be 1 to 128 ASCII letters, digits and - _ . characters."));
    }
    check_idempotency_key(head.idempotency_key.as_deref())
}

/// Whether a caller's own key for a request is one.
pub fn check_idempotency_key(key: Option<&str>) -> Result<(), Refusal> {
    let is_key =
        |key: &str| (1..=LONGEST_IDEMPOTENCY_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_some_and(|key| !is_key(key)) {
        return Err(Refusal::invalid(
            "Idempotency-Key",
            "`Idempotency-Key` must be 1 to 255 printable ASCII characters without spaces.",
        ));
    }
    Ok(())
}
