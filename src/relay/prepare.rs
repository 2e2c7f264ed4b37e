//! From a body and a key to a plan with its quotes; what the route explanation shows and the relay runs.

use std::net::IpAddr;
use std::rc::Rc;

use crate::account::Facts;
use crate::catalog::{Catalog, Model, ModelKind, RouteKind};
use crate::dialect::envelope::Envelope;
use crate::dialect::estimated_tokens;
use crate::id::{BucketId, RequestId, RunId};
use crate::key::KeyRecord;
use crate::money::{Money, affordable_output, worst_cost};
use crate::refusal::{Code, Refusal};
use crate::routing::health::HealthView;
use crate::routing::{Ask, Plan, PlanInput, Planned, ProviderPreferences, plan};
use crate::time::Timestamp;
use crate::usage::{Class, Most};

/// The caller's own key for a request is no longer than this.
const LONGEST_IDEMPOTENCY_KEY: usize = 255;
/// What `,"max_completion_tokens":100000000` adds to a body, rounded up.
const LIMIT_BYTES: u64 = 40;

/// A request before its body is looked at.
pub struct Preparing {
    /// Its id.
    pub request: RequestId,
    /// When it arrived.
    pub arrived: Timestamp,
    /// Such as `/v1/chat/completions`.
    pub endpoint: &'static str,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// `x-tf-route`.
    pub route: Option<String>,
    /// `x-tf-run`.
    pub run: Option<String>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// What is sold.
    pub catalog: Rc<Catalog>,
    /// What is known of the candidates.
    pub health: HealthView,
}

/// A request that can be run.
pub struct Prepared<'a> {
    /// What is known of it.
    pub facts: Facts,
    /// What was read of its body.
    pub envelope: Envelope<'a>,
    /// What is sold.
    pub catalog: Rc<Catalog>,
    /// The attempts, by the holds that they need.
    pub legs: Vec<Leg>,
    /// What will not be tried, and why.
    pub left_out: Vec<crate::routing::LeftOut>,
}

/// Attempts in a row that one bucket pays: one hold covers them.
#[derive(Debug)]
pub struct Leg {
    /// The bucket.
    pub bucket: BucketId,
    /// What the dearest of them can cost.
    pub quote: Money,
    /// What a limit on tokens counts beforehand: the input, estimated, and the output that the request allows itself. Output
    /// that it does not limit counts when it has come.
    pub tokens: u64,
    /// The attempts in order.
    pub attempts: Vec<Quoted>,
    choices: u64,
}

/// An attempt with its bounds and what it can cost within them.
#[derive(Debug)]
pub struct Quoted {
    /// The attempt.
    pub planned: Planned,
    /// How many tokens can go in.
    pub input_tokens: u64,
    /// How many tokens each answer may have; upstream is told.
    pub output_limit: u64,
    /// How many tokens can come out.
    pub output_tokens: u64,
    /// The cost of both.
    pub quote: Money,
}

impl Leg {
    /// How many output tokens, for each answer, of the dearest attempt an amount can pay for.
    pub fn affordable_output(&self, amount: Money) -> u64 {
        let of = |quoted: &Quoted| {
            // The limit itself has to fit into the request that asks for it.
            let input = quoted.input_tokens.saturating_add(LIMIT_BYTES);
            let most = Most { input, ..Most::default() };
            let tokens = affordable_output(&quoted.planned.price, &most, amount).checked_div(self.choices).unwrap_or(0);
            tokens.min(quoted.planned.model.max_output_tokens)
        };
        self.attempts.iter().map(of).min().unwrap_or(0)
    }
}

impl Preparing {
    /// What is known of the request; the model only if the body can be read.
    pub fn facts(&self, key: &KeyRecord, body: Option<&[u8]>) -> Facts {
        let envelope = body.and_then(|body| Envelope::parse(body).ok());
        let model = envelope.as_ref().and_then(|envelope| envelope.models.first()).map(|name| shown(name));
        Facts {
            request: self.request.clone(),
            created_at: self.arrived,
            account: key.account.clone(),
            project: key.project.clone(),
            key: key.id.clone(),
            key_label: key.label.clone(),
            run: self.run.as_deref().and_then(RunId::parse),
            endpoint: self.endpoint.to_owned(),
            stream: envelope.is_some_and(|envelope| envelope.stream),
            requested_model: model.unwrap_or_default(),
            catalog_version: self.catalog.version,
        }
    }
}

/// Plans a request for a key, with the hold that each leg needs.
pub fn prepare<'a>(preparing: &Preparing, key: &KeyRecord, body: &'a [u8], now: Timestamp) -> Result<Prepared<'a>, Refusal> {
    if !key.policy.allows_address(preparing.address) {
        let next_step = "Call from an allowed address, or ask the key's owner to allow this one.";
        return Err(Refusal::new(Code::IpNotAllowed, "This key may not be used from this address.", next_step).limit("key"));
    }
    check_headers(preparing)?;
    let envelope = Envelope::parse(body)?;
    let route = preparing.route.as_deref().map(|text| {
        RouteKind::parse(text).ok_or_else(|| Refusal::invalid("x-tf-route", "`x-tf-route` must be `official` or `routed`."))
    });
    let provider = envelope.provider.map(|json| {
        // A list would be read as the fields in their order.
        if !json.starts_with('{') {
            return Err(Refusal::invalid("provider", "`provider` must be an object."));
        }
        serde_json::from_str::<ProviderPreferences>(json)
            .map_err(|error| Refusal::invalid("provider", format!("`provider` is not valid: {error}.")))
    });
    let audio = [(envelope.audio_input, Class::AudioInput), (envelope.audio_output, Class::AudioOutput)];
    let ask = Ask {
        models: envelope.models.clone(),
        route: route.transpose()?,
        provider: provider.transpose()?.unwrap_or_default(),
        output_limit: envelope.output_limit,
        kinds: &[ModelKind::Chat],
        needs: audio.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, class)| class).collect(),
        ..Ask::default()
    };
    let seed = match &envelope.session {
        Some(session) => format!("{}/{session}", key.account),
        None => preparing.request.to_string(),
    };
    let input =
        PlanInput { catalog: &preparing.catalog, policy: &key.policy, ask: &ask, health: &preparing.health, now, seed: &seed };
    let Plan { attempts, left_out } = plan(input)?;
    let facts = Facts {
        stream: envelope.stream,
        requested_model: envelope.models.first().map(|name| shown(name)).unwrap_or_default(),
        ..preparing.facts(key, None)
    };
    let legs = legs(attempts, &envelope)?;
    Ok(Prepared { facts, envelope, catalog: Rc::clone(&preparing.catalog), legs, left_out })
}

fn check_headers(preparing: &Preparing) -> Result<(), Refusal> {
    if preparing.run.as_deref().is_some_and(|run| RunId::parse(run).is_none()) {
        return Err(Refusal::invalid("x-tf-run", "`x-tf-run` must be 1 to 128 ASCII letters, digits and - _ . characters."));
    }
    check_idempotency_key(preparing.idempotency_key.as_deref())
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

fn legs(attempts: Vec<Planned>, envelope: &Envelope<'_>) -> Result<Vec<Leg>, Refusal> {
    let mut legs: Vec<Leg> = Vec::new();
    for planned in attempts {
        let quoted = quoted(planned, envelope)?;
        match legs.last_mut().filter(|leg| leg.bucket == quoted.planned.bucket) {
            Some(leg) => {
                leg.quote = leg.quote.max(quoted.quote);
                leg.attempts.push(quoted);
            }
            None => {
                let output = envelope.output_limit.unwrap_or(0).saturating_mul(envelope.choices);
                legs.push(Leg {
                    bucket: quoted.planned.bucket.clone(),
                    quote: quoted.quote,
                    tokens: estimated_input(envelope, &quoted.planned.model).saturating_add(output),
                    attempts: vec![quoted],
                    choices: envelope.choices,
                });
            }
        }
    }
    Ok(legs)
}

fn quoted(planned: Planned, envelope: &Envelope<'_>) -> Result<Quoted, Refusal> {
    let model = &planned.model;
    // A token of text is at least a byte; what is referred to rather than sent is bounded by the context alone.
    let input_tokens = if envelope.has_media { model.context_length } else { envelope.bytes.min(model.context_length) };
    let output_limit = envelope.output_limit.unwrap_or_else(|| default_output_limit(model, input_tokens));
    let output_tokens = output_limit.saturating_mul(envelope.choices);
    let most = Most { input: input_tokens, output: output_tokens, ..Most::default() };
    let quote = worst_cost(&planned.price, &most)
        .map_err(|_| Refusal::invalid("max_tokens", "The request could cost more than can be counted."))?;
    Ok(Quoted { planned, input_tokens, output_limit, output_tokens, quote })
}

/// The limit that upstream is told where the client names none: what the model can write and its context still holds.
/// Some servers refuse a limit beyond that.
fn default_output_limit(model: &Model, input_tokens: u64) -> u64 {
    let room = model.context_length.saturating_sub(input_tokens).max(model.context_length / 4);
    model.max_output_tokens.min(room).max(1)
}

/// What went in, as far as it can be told without a tokenizer.
pub fn estimated_input(envelope: &Envelope<'_>, model: &Model) -> u64 {
    estimated_tokens(envelope.text_bytes).min(model.context_length)
}

/// A name from a caller, as it may stand in headers and rows.
fn shown(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(128).collect()
}
