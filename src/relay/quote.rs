//! What the attempts of a request can cost: a hold for each row of attempts that one bucket pays, and the limits that keep them
//! within it.
//!
//! What always holds: an attempt with the limit that an amount pays for costs no more than that amount.

use std::borrow::Cow;

use crate::account::Wanted;
use crate::catalog::{Catalog, Model, ModelKind};
use crate::dialect::{Endpoint, Envelope, Request};
use crate::id::BucketId;
use crate::money::{Money, affordable_output, worst_cost};
use crate::refusal::Refusal;
use crate::routing::Planned;
use crate::usage::{Class, Classes, Most};

/// What `,"max_completion_tokens":100000000` adds to a body, rounded up.
const LIMIT_BYTES: u64 = 40;

/// Attempts in a row that one bucket pays: one hold covers them.
#[derive(Debug)]
pub struct Leg {
    /// The bucket.
    pub bucket: BucketId,
    /// Its currency.
    pub currency: String,
    /// What the dearest of them can cost.
    pub quote: Money,
    /// What the first of them can cost with the smallest limit that its output may be fitted to. Others that cost more are not
    /// tried where there is no room for them.
    pub least: Money,
    /// What a limit on tokens counts beforehand: the input, estimated, and the output that the request allows itself. Output
    /// that it does not limit counts when it has come.
    pub tokens: u64,
    /// The attempts in order.
    pub attempts: Vec<Quoted>,
    pub(super) choices: u64,
}

/// An attempt with its bounds and what it can cost within them.
#[derive(Debug, Clone)]
pub struct Quoted {
    /// The attempt.
    pub planned: Planned,
    /// The most that it can use.
    pub most: Most,
    /// How many tokens each answer may have; upstream is told.
    pub output_limit: u64,
    /// How many it may have as far as client and model say.
    pub wanted: u64,
    /// The smallest limit that it may be fitted to.
    pub floor: u64,
    /// The cost of the most.
    pub quote: Money,
    /// The same with the smallest limit.
    pub least: Money,
    /// Whether tools that the provider runs are left out of the request: they are only offered, and have no price here.
    pub leaves_out_hosted: bool,
}

impl Quoted {
    /// The same with the limit that an amount pays for.
    fn within(&self, amount: Money, choices: u64) -> Self {
        let affordable = affordable_output(&self.planned.price, &self.most, amount).checked_div(choices).unwrap_or(0);
        let output_limit = affordable.max(self.floor).min(self.wanted);
        let most = Most { output: output_limit.saturating_mul(choices), ..self.most };
        // What more than nothing pays for can be counted.
        let quote = worst_cost(&self.planned.price, &most).unwrap_or(amount);
        Self { most, output_limit, quote, ..self.clone() }
    }
}

impl Leg {
    /// The hold that it needs.
    pub fn wanted(&self) -> Wanted {
        Wanted { bucket: self.bucket.clone(), currency: self.currency.clone(), least: self.least, most: self.quote }
    }

    /// Whether its hold may be less than what the attempts can cost with the limits that they want.
    pub fn is_fitting(&self) -> bool {
        self.least < self.quote
    }

    /// The attempts that an amount covers, with the limits that it pays for.
    pub fn within(&self, amount: Money) -> Cow<'_, [Quoted]> {
        let covered = self.attempts.iter().filter(|quoted| quoted.least <= amount);
        match amount < self.quote {
            true => covered.map(|quoted| quoted.within(amount, self.choices)).collect(),
            false => Cow::Borrowed(&self.attempts),
        }
    }

    /// The attempts that it does not cover.
    pub fn beyond(&self, amount: Money) -> impl Iterator<Item = &Quoted> {
        self.attempts.iter().filter(move |quoted| quoted.least > amount)
    }

    /// How many output tokens, for each answer, an amount can pay for: of the first attempt, or of the dearest where all are to be
    /// covered.
    pub fn affordable_output(&self, amount: Money) -> u64 {
        let of = |quoted: &Quoted| {
            // The limit itself has to fit into the request that asks for it.
            let most = Most { input: quoted.most.input.saturating_add(LIMIT_BYTES), ..quoted.most };
            let tokens = affordable_output(&quoted.planned.price, &most, amount).checked_div(self.choices).unwrap_or(0);
            tokens.min(quoted.planned.model.max_output_tokens)
        };
        // Where the others need not be covered, they do not count.
        match self.is_fitting() {
            true => self.measure().map_or(0, of),
            false => self.attempts.iter().map(of).min().unwrap_or(0),
        }
    }

    /// The attempt that has to be covered: the first that is expected to answer. Where none is, the first.
    fn measure(&self) -> Option<&Quoted> {
        self.attempts.iter().find(|quoted| quoted.planned.is_expected).or(self.attempts.first())
    }
}

/// What the legs of a request depend on beside it.
pub(super) struct Legs<'a> {
    pub catalog: &'a Catalog,
    /// The smallest limit that output may be fitted to, where it may be.
    pub floor: Option<u64>,
    pub estimated_input: u64,
}

impl Legs<'_> {
    pub fn of(&self, attempts: Vec<Planned>, request: &Request<'_>) -> Result<Vec<Leg>, Refusal> {
        let envelope = &request.envelope;
        let mut legs: Vec<Leg> = Vec::new();
        for planned in attempts {
            let quoted = quoted(planned, request, self.floor)?;
            match legs.last_mut().filter(|leg| leg.bucket == quoted.planned.bucket) {
                Some(leg) => {
                    leg.quote = leg.quote.max(quoted.quote);
                    leg.attempts.push(quoted);
                    leg.least = if self.floor.is_some() { leg.measure().map_or(leg.least, |of| of.least) } else { leg.quote };
                }
                None => {
                    let bucket = quoted.planned.bucket.clone();
                    let output = envelope.output_limit.map_or(0, |_| quoted.most.output);
                    legs.push(Leg {
                        currency: self.catalog.buckets.get(&bucket).map(|bucket| bucket.currency.clone()).unwrap_or_default(),
                        bucket,
                        quote: quoted.quote,
                        least: quoted.least,
                        tokens: self.estimated_input.saturating_add(output),
                        attempts: vec![quoted],
                        choices: envelope.choices,
                    });
                }
            }
        }
        Ok(legs)
    }
}

/// The classes that a chat uses only if it asks for them. Where one of them costs more than the others of its side, a request
/// without it is not held to that.
fn unasked(kind: ModelKind, envelope: &Envelope) -> Classes {
    let optional = [Class::CacheWrite, Class::CacheWrite1h, Class::AudioInput, Class::AudioOutput, Class::ImageOutput];
    let is_chat = kind == ModelKind::Chat && !envelope.has_media;
    optional.into_iter().filter(|class| is_chat && !envelope.needs.contains(class)).collect()
}

fn quoted(planned: Planned, request: &Request<'_>, floor: Option<u64>) -> Result<Quoted, Refusal> {
    let (model, envelope) = (&planned.model, &request.envelope);
    let is_translated = request.endpoint.asked_of(&planned.channel).is_some_and(|way| way.is_translated);
    let leaves_out_hosted = envelope.is_hosted_offered && (is_translated || !planned.price.covers(Class::Searches));
    let (searches, rounds) = if leaves_out_hosted { (0, 0) } else { (envelope.searches, envelope.rounds) };
    // A token of text is at least a byte; what is referred to rather than sent is bounded by the context alone.
    let input = match (model.kind, envelope.has_media) {
        (ModelKind::Chat, true) => model.context_length,
        (ModelKind::Chat, false) => request.bytes.min(model.context_length),
        // Of other kinds one request has many inputs, each with the context for itself.
        (_, has_media) => {
            let bytes = request.bytes.saturating_add(envelope.read_again);
            bytes.max(if has_media { model.context_length } else { 0 })
        }
    };
    // What the provider's own tools find goes in again, with the whole conversation.
    let input = if rounds > 0 { model.context_length.saturating_mul(rounds.saturating_add(1)) } else { input };
    let asked = envelope.output_limit.or(envelope.default_output);
    let wanted = asked.unwrap_or_else(|| default_output_limit(model, input));
    let wanted = if floor.is_some() { wanted.min(model.max_output_tokens.max(1)) } else { wanted };
    let floor = floor.map_or(wanted, |floor| floor.max(envelope.least_output).min(wanted));
    let is_transcription = matches!(request.endpoint, Endpoint::Transcriptions | Endpoint::AudioTranslations);
    if is_transcription && envelope.is_bytes && planned.price.basis().is_none() {
        let message = "This model is charged by tokens, which only `json` tells.";
        return Err(Refusal::invalid("response_format", message));
    }
    let most_with = |limit: u64| match request.endpoint.is_free() {
        true => Most::default(),
        false => Most {
            input,
            output: limit.saturating_mul(envelope.choices),
            images: envelope.choices,
            seconds: envelope.seconds,
            characters: envelope.unreported.characters,
            searches,
            unasked: unasked(model.kind, envelope),
        },
    };
    let cost = |limit: u64| {
        worst_cost(&planned.price, &most_with(limit))
            .map_err(|_| Refusal::invalid("max_tokens", "The request could cost more than can be counted."))
    };
    let (quote, least, most) = (cost(wanted)?, cost(floor)?, most_with(wanted));
    Ok(Quoted { planned, most, output_limit: wanted, wanted, floor, quote, least, leaves_out_hosted })
}

/// The limit that upstream is told where the client names none: what the model can write and its context still holds.
/// Some servers refuse a limit beyond that.
fn default_output_limit(model: &Model, input_tokens: u64) -> u64 {
    let room = model.context_length.saturating_sub(input_tokens).max(model.context_length / 4);
    model.max_output_tokens.min(room).max(1)
}
