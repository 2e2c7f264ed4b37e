//! The plan: the ordered attempts that a request would make, with a reason for each candidate taken or left out.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use super::draw;
use super::health::{CandidateId, HealthView, Status};
use crate::catalog::{Candidate, Catalog, Channel, Model, ModelKind, Route, RouteKind};
use crate::id::{BucketId, ChannelId, ModelName};
use crate::key::Policy;
use crate::money::{Money, Price};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::usage::Class;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ask {
    /// The model, then the fallbacks; each may end in `:official` or `:routed`.
    pub models: Vec<String>,
    /// The route that the request insists on.
    pub route: Option<RouteKind>,
    /// What it prefers among channels.
    pub provider: ProviderPreferences,
    /// How many tokens each answer may have, where the request says.
    pub output_limit: Option<u64>,
    /// What models the endpoint asks; empty is any.
    pub kinds: &'static [ModelKind],
    /// Classes of usage beyond plain text that the request may have; each needs a price.
    pub needs: Vec<Class>,
    /// Channels that cannot be asked this request, and why.
    pub unable: Vec<(ChannelId, Refusal)>,
    /// The only channel that can serve it: it goes on from what that one keeps.
    pub pinned: Option<ChannelId>,
}

/// The `provider` object of a request, as OpenRouter has it; names are those of channels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderPreferences {
    /// Channels to try first, in this order.
    pub order: Vec<String>,
    /// The only channels to use; empty is all.
    pub only: Vec<String>,
    /// Channels not to use.
    pub ignore: Vec<String>,
    /// Whether more than one candidate may be tried.
    pub allow_fallbacks: Option<bool>,
    /// `price`: the cheapest route first.
    pub sort: Option<Sort>,
    /// What a million tokens may cost at most, in the bucket's currency.
    pub max_price: Option<MaxPrice>,
}

/// What the cheapest route is preferred by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The price of input and output together, where the routes have one currency.
    Price,
}

/// A limit on prices per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaxPrice {
    /// Of input.
    pub prompt: Option<Money>,
    /// Of output.
    pub completion: Option<Money>,
}

/// All that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// What is sold.
    pub catalog: &'a Catalog,
    /// What the key may do.
    pub policy: &'a Policy,
    /// What is asked for.
    pub ask: &'a Ask,
    /// What is known of the candidates.
    pub health: &'a HealthView,
    /// The time.
    pub now: Timestamp,
    /// Equal seeds choose equal candidates within a tier: the session, or else the request.
    pub seed: &'a str,
}

/// The attempts in order.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What will be tried, first things first; never empty.
    pub attempts: Vec<Planned>,
    /// What will not, and why.
    pub left_out: Vec<LeftOut>,
}

/// One attempt that would be made.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The model that would answer.
    pub model: Rc<Model>,
    /// Over this route.
    pub route: RouteKind,
    /// Paid by this balance.
    pub bucket: BucketId,
    /// At this price.
    pub price: Rc<Price>,
    /// By this candidate.
    pub candidate: Candidate,
    /// On this channel.
    pub channel: Rc<Channel>,
    /// Which is believed to be.
    pub health: Status,
    /// Whether it is tried last because of that.
    pub is_resting: bool,
    /// Why it stands here.
    pub reason: String,
}

impl Planned {
    /// What its health is kept under.
    pub fn candidate_id(&self) -> CandidateId {
        CandidateId::of(&self.candidate)
    }
}

/// Something that would not be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The model.
    pub model: String,
    /// The route, where one was looked at.
    pub route: Option<RouteKind>,
    /// The channel, where one was looked at.
    pub channel: Option<String>,
    /// Why.
    pub reason: String,
    /// The refusal's code, where the whole model or route is left out.
    pub code: Option<&'static str>,
}

/// Decides who serves a request, in which order.
///
/// Errors with the refusal of the first model asked for when nothing can be tried.
pub fn plan(input: PlanInput<'_>) -> Result<Plan, Refusal> {
    let mut planner = Planner { input, attempts: Vec::new(), left_out: Vec::new(), refusal: None, bucket: None };
    for asked in &input.ask.models {
        planner.model(asked);
    }
    let Planner { mut attempts, left_out, refusal, .. } = planner;
    // What rests goes last, in its order: it may still be the only one that answers.
    attempts.sort_by_key(|planned| planned.is_resting);
    if input.ask.provider.allow_fallbacks == Some(false) {
        attempts.truncate(1);
    }
    if attempts.is_empty() {
        return Err(refusal.unwrap_or_else(|| model_not_found(input.catalog, "")));
    }
    Ok(Plan { attempts, left_out })
}

struct Planner<'a> {
    input: PlanInput<'a>,
    attempts: Vec<Planned>,
    left_out: Vec<LeftOut>,
    /// Of the first model that was left out.
    refusal: Option<Refusal>,
    /// The bucket that pays first; another one is a crossing, also for a fallback model.
    bucket: Option<BucketId>,
}

impl<'a> Planner<'a> {
    fn leave_out(&mut self, model: &str, route: Option<RouteKind>, refusal: Refusal) {
        let reason = refusal.message.clone();
        let code = Some(refusal.code.row().code);
        self.left_out.push(LeftOut { model: model.to_owned(), route, channel: None, reason, code });
        self.refusal.get_or_insert(refusal);
    }

    fn model(&mut self, asked: &str) {
        let (name, suffix) = split_route(asked);
        let Some(model) = self.input.catalog.model(name) else {
            return self.leave_out(asked, None, model_not_found(self.input.catalog, name));
        };
        if !self.input.policy.allows_model(&model.id) {
            return self.leave_out(asked, None, model_not_allowed(&model.id));
        }
        if !self.input.ask.kinds.is_empty() && !self.input.ask.kinds.contains(&model.kind) {
            return self.leave_out(asked, None, wrong_endpoint(model));
        }
        if let Some(limit) = self.input.ask.output_limit.filter(|limit| *limit > model.max_output_tokens) {
            return self.leave_out(asked, None, over_output(model, limit));
        }
        let wanted = suffix.or(self.input.ask.route);
        for kind in self.route_order(model, wanted) {
            match self.usable_route(model, kind) {
                Err(refusal) => self.leave_out(model.id.as_str(), Some(kind), refusal),
                Ok((route, price)) => {
                    let crossing = self.bucket.as_ref().is_some_and(|first| *first != route.bucket);
                    if crossing && !self.input.policy.cross_routes {
                        self.leave_out(model.id.as_str(), Some(kind), crossing_not_allowed(kind, &route.bucket));
                        continue;
                    }
                    let before = self.attempts.len();
                    self.candidates(model, route, &price);
                    if self.attempts.len() > before {
                        self.bucket.get_or_insert_with(|| route.bucket.clone());
                    }
                }
            }
        }
        if wanted.is_none() && model.routes.is_empty() {
            self.leave_out(asked, None, unpriced(&model.id));
        }
    }

    /// The kinds of route to look at. One that the key does not have is looked at too, so that the reason is told.
    fn route_order(&self, model: &Model, wanted: Option<RouteKind>) -> Vec<RouteKind> {
        if let Some(kind) = wanted {
            return vec![kind];
        }
        let mut kinds: Vec<RouteKind> = Vec::new();
        for kind in self.input.policy.routes.iter().copied().chain(model.routes.iter().map(|route| route.kind)) {
            if model.route(kind).is_some() && !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let currency = |kind: &RouteKind| {
            let bucket = model.route(*kind).and_then(|route| self.input.catalog.buckets.get(&route.bucket));
            bucket.map(|bucket| bucket.currency.as_str())
        };
        // Prices in different currencies say nothing about each other.
        let is_one_currency = kinds.windows(2).all(|pair| matches!(pair, [a, b] if currency(a) == currency(b)));
        if self.input.ask.provider.sort == Some(Sort::Price) && is_one_currency {
            let total = |kind: &RouteKind| model.route(*kind).and_then(|route| route.price.as_ref()).map(price_of_both);
            kinds.sort_by_key(|kind| total(kind).unwrap_or(i64::MAX));
        }
        kinds
    }

    fn usable_route<'m>(&self, model: &'m Model, kind: RouteKind) -> Result<(&'m Route, Rc<Price>), Refusal> {
        let Some(route) = model.route(kind) else { return Err(no_such_route(model, kind)) };
        if !self.input.policy.routes.contains(&kind) {
            return Err(route_not_allowed(kind));
        }
        let Some(price) = &route.price else { return Err(unpriced(&model.id)) };
        let ask = self.input.ask;
        if let Some(class) = ask.needs.iter().find(|class| !price.covers(**class)) {
            return Err(class_unpriced(&model.id, *class));
        }
        let over = |limit: Option<Money>, rate: Money| limit.is_some_and(|limit| rate > limit);
        let max = ask.provider.max_price.unwrap_or_default();
        let rate = |class| price.rate(class, 0).unwrap_or_default();
        if over(max.prompt, rate(Class::Input)) || over(max.completion, rate(Class::Output)) {
            return Err(too_dear(kind));
        }
        Ok((route, Rc::new(price.clone())))
    }

    fn candidates(&mut self, model: &Rc<Model>, route: &Route, price: &Rc<Price>) {
        let preferences = &self.input.ask.provider;
        let mut taken: Vec<Planned> = Vec::new();
        let mut refused: Option<Refusal> = None;
        for candidate in &route.candidates {
            let name = candidate.channel.as_str();
            let listed = |list: &[String]| list.iter().any(|listed| listed == name);
            let unable = self.input.ask.unable.iter().find(|(channel, _)| *channel == candidate.channel);
            let excluded = if listed(&preferences.ignore) {
                Some("the request ignores this channel".to_owned())
            } else if !preferences.only.is_empty() && !listed(&preferences.only) {
                Some("the request allows only other channels".to_owned())
            } else if self.input.ask.pinned.as_ref().is_some_and(|pinned| *pinned != candidate.channel) {
                Some("the request goes on from a response of another channel".to_owned())
            } else if let Some((_, refusal)) = unable {
                refused.get_or_insert_with(|| refusal.clone());
                Some(format!("it cannot be asked this: {}", refusal.message))
            } else {
                None
            };
            if let Some(reason) = excluded {
                self.left_out.push(LeftOut {
                    model: model.id.to_string(),
                    route: Some(route.kind),
                    channel: Some(name.to_owned()),
                    reason,
                    code: None,
                });
                continue;
            }
            let Some(channel) = self.input.catalog.channel(&candidate.channel) else { continue };
            let health = self.input.health.of(&CandidateId::of(candidate));
            let resting = !health.is_ready(self.input.now);
            taken.push(Planned {
                model: Rc::clone(model),
                route: route.kind,
                bucket: route.bucket.clone(),
                price: Rc::clone(price),
                candidate: candidate.clone(),
                channel: Rc::clone(channel),
                health: health.status,
                is_resting: resting,
                reason: reason(candidate, resting, health.status),
            });
        }
        if taken.is_empty() {
            self.refusal.get_or_insert_with(|| refused.unwrap_or_else(|| no_channel_left(&model.id)));
        }
        let order = |planned: &Planned| {
            let place = preferences.order.iter().position(|name| name == planned.candidate.channel.as_str());
            (place.unwrap_or(usize::MAX), planned.candidate.tier)
        };
        if taken.len() > 1 {
            // Smallest draw first; for positive numbers the order of the bits is the order of the numbers.
            taken.sort_by_cached_key(|planned| (order(planned), drawn(self.input.seed, &planned.candidate).to_bits()));
        }
        self.attempts.extend(taken);
    }
}

/// The model that a request means by a name, with or without a route.
pub fn asked_model<'a>(catalog: &'a Catalog, asked: &str) -> Option<&'a Rc<Model>> {
    catalog.model(split_route(asked).0)
}

/// Splits `gpt-5.5:official` into the name and the route.
fn split_route(asked: &str) -> (&str, Option<RouteKind>) {
    match asked.rsplit_once(':').map(|(name, suffix)| (name, RouteKind::parse(suffix))) {
        Some((name, Some(kind))) => (name, Some(kind)),
        _ => (asked, None),
    }
}

/// Weighted rendezvous hashing: each candidate draws a number from the seed, the smallest goes first, and a weight of three
/// draws smallest three times as often as a weight of one. Sessions keep their candidate when others come and go.
fn drawn(seed: &str, candidate: &Candidate) -> f64 {
    -draw::unit(&[seed, candidate.channel.as_str(), &candidate.upstream_model]).ln() / f64::from(candidate.weight)
}

fn price_of_both(price: &Price) -> i64 {
    let rate = |class| price.rate(class, 0).unwrap_or_default().nanos();
    rate(Class::Input).saturating_add(rate(Class::Output))
}

fn reason(candidate: &Candidate, resting: bool, status: Status) -> String {
    let role = match candidate.tier {
        0 => "primary channel".to_owned(),
        tier => format!("backup channel of tier {tier}"),
    };
    match (resting, status) {
        (true, Status::Down) => format!("{role}, tried last because it is down"),
        (true, _) => format!("{role}, tried last because it asked for fewer requests"),
        (false, Status::Down) => format!("{role}, due to be tried again after it was down"),
        (false, _) => role,
    }
}

fn model_not_found(catalog: &Catalog, name: &str) -> Refusal {
    let near = catalog.near_names(name);
    let hint = if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(", ")) };
    let next_step = "Choose a name from GET /v1/models.";
    Refusal::new(Code::ModelNotFound, format!("There is no model `{}`.{hint}", shorten(name)), next_step)
        .param("model")
        .fact("near", near)
}

fn model_not_allowed(name: &ModelName) -> Refusal {
    let next_step = "Use a model from GET /v1/models with this key, or ask the key's owner to allow this one.";
    Refusal::new(Code::ModelNotAllowed, format!("This key may not call `{name}`."), next_step).param("model").limit("key")
}

fn over_output(model: &Model, limit: u64) -> Refusal {
    let most = model.max_output_tokens;
    let message = format!("`max_tokens` is {limit}, but `{}` answers with at most {most} tokens.", model.id);
    Refusal::new(Code::InvalidRequest, message, format!("Ask for at most {most} tokens, or leave the limit out."))
        .param("max_tokens")
}

fn route_not_allowed(kind: RouteKind) -> Refusal {
    let next_step = "Leave the route to the key, or ask the key's owner to allow it.";
    Refusal::new(Code::RouteNotAllowed, format!("This key may not use {} routes.", kind.as_str()), next_step).limit("key")
}

fn crossing_not_allowed(kind: RouteKind, bucket: &BucketId) -> Refusal {
    let message =
        format!("The {} route is paid by `{bucket}`, and this key does not cross from one balance to another.", kind.as_str());
    Refusal::new(Code::RouteNotAllowed, message, "Ask for that route by name, or allow `cross_routes` on the key.").limit("key")
}

fn no_such_route(model: &Model, kind: RouteKind) -> Refusal {
    let kinds: Vec<&str> = model.routes.iter().map(|route| route.kind.as_str()).collect();
    let message = format!("`{}` has no {} route.", model.id, kind.as_str());
    Refusal::new(Code::ModelNotFound, message, format!("It is served by: {}.", kinds.join(", "))).param("model")
}

fn unpriced(name: &ModelName) -> Refusal {
    let message = format!("`{name}` has no price at the moment, so it cannot be called.");
    Refusal::new(Code::ModelUnpriced, message, "Choose another model, or try again when it has been priced.")
        .param("model")
        .retry_after(60)
}

fn class_unpriced(name: &ModelName, class: Class) -> Refusal {
    let class = class.name();
    let message = format!("`{name}` has no price for `{class}` on this route, and the request asks for it.");
    Refusal::new(Code::ModelUnpriced, message, "Send the request without it, or choose another model.")
        .fact("needs", class)
        .retry_after(60)
}

fn wrong_endpoint(model: &Model) -> Refusal {
    let message = format!("`{}` is a model of kind `{}`, which this endpoint does not ask.", model.id, model.kind.as_str());
    let next_step = format!("Send the request to {}, or choose another model.", model.kind.endpoint());
    Refusal::new(Code::InvalidRequest, message, next_step).param("model")
}

fn too_dear(kind: RouteKind) -> Refusal {
    let message = format!("The {} route costs more than the request's `provider.max_price`.", kind.as_str());
    Refusal::new(Code::InvalidRequest, message, "Raise `provider.max_price`, or choose a cheaper model.")
        .param("provider.max_price")
}

fn no_channel_left(name: &ModelName) -> Refusal {
    let message = format!("The request's `provider` preferences leave no channel for `{name}`.");
    Refusal::new(Code::InvalidRequest, message, "Loosen `provider.only` or `provider.ignore`.").param("provider")
}

/// Names come from callers and may be of any length.
fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::UpstreamHosts;
    use crate::routing::attempt::FailureKind;
    use crate::routing::health::Observation;
    use serde_json::json;

    fn catalog() -> Catalog {
        let channel = json!({"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": ["K"]});
        let model = |routes: serde_json::Value| json!({"name": "M", "family": "gpt", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "routes": routes});
        let route = |bucket: &str, input: &str, candidates: serde_json::Value| json!({"bucket": bucket, "price": {"input": input, "output": "2"}, "candidates": candidates});
        let both = json!({
            "official": route("credit", "2", json!([{"channel": "a", "upstream_model": "m"}, {"channel": "b", "upstream_model": "m", "tier": 1}])),
            "routed": route("wallet", "1", json!([{"channel": "c", "upstream_model": "m", "weight": 3}, {"channel": "d", "upstream_model": "m"}])),
        });
        let mut unpriced = both.clone();
        unpriced["official"]["price"] = serde_json::Value::Null;
        unpriced["routed"]["price"] = serde_json::Value::Null;
        let document = json!({
            "version": 1,
            "buckets": {"credit": {"label": "C", "currency": "USD"}, "wallet": {"label": "W", "currency": "CNY"}},
            "channels": {"a": channel, "b": channel, "c": channel, "d": channel},
            "models": {"m1": model(both), "m2": model(json!({"routed": route("wallet", "1", json!([{"channel": "c", "upstream_model": "m2"}]))})), "free": model(unpriced)},
        });
        Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
    }

    struct Case {
        catalog: Catalog,
        policy: Policy,
        ask: Ask,
        health: HealthView,
        seed: String,
    }

    fn case(models: &[&str]) -> Case {
        let ask = Ask { models: models.iter().map(ToString::to_string).collect(), ..Ask::default() };
        Case { catalog: catalog(), policy: Policy::default(), ask, health: HealthView::default(), seed: "s".to_owned() }
    }

    impl Case {
        fn plan(&self) -> Result<Plan, Refusal> {
            plan(PlanInput {
                catalog: &self.catalog,
                policy: &self.policy,
                ask: &self.ask,
                health: &self.health,
                now: Timestamp::from_millis(1_000_000),
                seed: &self.seed,
            })
        }

        fn channels(&self) -> Vec<String> {
            self.plan().unwrap().attempts.iter().map(|planned| planned.candidate.channel.to_string()).collect()
        }

        fn code(&self) -> Code {
            self.plan().unwrap_err().code
        }

        fn fail(&mut self, channel: &str) {
            let id = CandidateId { channel: crate::id::ChannelId::parse(channel).unwrap(), upstream_model: "m".to_owned() };
            let seen = Observation::Failed { kind: FailureKind::Credential, message: String::new(), retry_after_s: None };
            self.health.observe(&id, seen, Timestamp::from_millis(999_999));
        }
    }

    #[test]
    fn the_keys_first_route_serves_and_the_other_bucket_is_left_out() {
        let case = case(&["m1"]);
        assert_eq!(case.channels(), ["a", "b"]);
        let left_out = case.plan().unwrap().left_out;
        assert_eq!(left_out.len(), 1);
        assert_eq!(left_out[0].code, Some("route_not_allowed"));
    }

    #[test]
    fn crossing_needs_the_keys_consent() {
        let mut case = case(&["m1"]);
        case.policy.cross_routes = true;
        let channels = case.channels();
        assert_eq!(channels[..2], ["a", "b"]);
        assert_eq!(channels.len(), 4);
    }

    #[test]
    fn a_fallback_model_is_no_way_around_consent() {
        let mut case = case(&["m1:official", "m1:routed", "m2"]);
        assert_eq!(case.channels(), ["a", "b"]);
        case.policy.cross_routes = true;
        assert_eq!(case.channels().len(), 5);
    }

    #[test]
    fn a_suffix_or_a_header_chooses_the_route() {
        let mut case = case(&["m1:routed"]);
        assert!(case.channels().iter().all(|channel| ["c", "d"].contains(&channel.as_str())));
        case.ask.models = vec!["m1".to_owned()];
        case.ask.route = Some(RouteKind::Routed);
        assert_eq!(case.channels().len(), 2);
    }

    #[test]
    fn every_no_has_its_own_code() {
        assert_eq!(case(&["m9"]).code(), Code::ModelNotFound);
        assert_eq!(case(&["free"]).code(), Code::ModelUnpriced);
        assert_eq!(case(&["m2:official"]).code(), Code::ModelNotFound);
        let mut case = case(&["m1"]);
        case.policy.models = vec!["m2".to_owned()];
        assert_eq!(case.code(), Code::ModelNotAllowed);
        case.policy = Policy { routes: vec![RouteKind::Routed], ..Policy::default() };
        case.ask.route = Some(RouteKind::Official);
        assert_eq!(case.code(), Code::RouteNotAllowed);
        case.ask.route = None;
        case.policy.routes = vec![];
        assert_eq!(case.code(), Code::RouteNotAllowed);
    }

    #[test]
    fn a_fallback_model_is_checked_like_the_first() {
        let mut case = case(&["m1", "m2"]);
        case.policy.models = vec!["m2".to_owned()];
        let plan = case.plan().unwrap();
        assert!(plan.attempts.iter().all(|planned| planned.model.id.as_str() == "m2"));
        assert_eq!(plan.left_out[0].code, Some("model_not_allowed"));
    }

    #[test]
    fn what_is_down_goes_last_and_is_never_ruled_out() {
        let mut case = case(&["m1"]);
        case.fail("a");
        assert_eq!(case.channels(), ["b", "a"]);
        case.fail("b");
        assert_eq!(case.channels(), ["a", "b"]);
    }

    #[test]
    fn weights_share_a_tier_and_a_session_stays() {
        let mut case = case(&["m1:routed"]);
        let mut first = 0;
        for session in 0..1000 {
            case.seed = format!("session {session}");
            let channels = case.channels();
            assert_eq!(channels, case.channels(), "the same session chooses the same");
            first += usize::from(channels[0] == "c");
        }
        assert!((690..=810).contains(&first), "three in four: {first}");
    }

    #[test]
    fn the_requests_preferences_count() {
        let mut case = case(&["m1"]);
        case.ask.provider.order = vec!["b".to_owned()];
        assert_eq!(case.channels(), ["b", "a"]);
        case.ask.provider.allow_fallbacks = Some(false);
        assert_eq!(case.channels(), ["b"]);
        case.ask.provider = ProviderPreferences { ignore: vec!["a".to_owned()], ..Default::default() };
        assert_eq!(case.channels(), ["b"]);
        case.ask.provider = ProviderPreferences { only: vec!["c".to_owned()], ..Default::default() };
        assert_eq!(case.channels(), ["c"], "a route without a channel left does not choose the balance");
        case.ask.provider = ProviderPreferences { only: vec!["z".to_owned()], ..Default::default() };
        assert_eq!(case.code(), Code::InvalidRequest);
        case.ask.provider = ProviderPreferences { sort: Some(Sort::Price), ..Default::default() };
        assert_eq!(case.channels()[0], "a", "dollars are not compared with yuan");
        let max_price = MaxPrice { prompt: Some(Money::parse("1.5").unwrap()), completion: None };
        case.ask.provider = ProviderPreferences { max_price: Some(max_price), ..Default::default() };
        assert!(["c", "d"].contains(&case.channels()[0].as_str()));
    }

    #[test]
    fn audio_without_a_price_is_refused() {
        let mut case = case(&["m1"]);
        case.ask.needs = vec![Class::AudioOutput];
        assert_eq!(case.code(), Code::ModelUnpriced);
    }
}
