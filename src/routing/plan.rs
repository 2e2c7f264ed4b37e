//! The plan: the ordered attempts that a request would make, with a reason for each candidate taken or left out.

use std::rc::Rc;

use super::ask::{Ask, Sort};
use super::attempt::FailureKind;
use super::ceiling::{Ceiling, FirstChoice};
use super::credentials::hash;
use super::health::{CandidateId, Health, HealthStatus, HealthView, Witness};
use super::planned::{LeftOut, Planned};
use super::refusals::{
    class_unpriced, crossing_not_allowed, model_not_allowed, model_not_found, no_channel_left, no_such_route, not_there_any_more,
    over_output, route_not_allowed, too_dear, unpriced, wrong_kind,
};
use crate::catalog::{Candidate, Catalog, Channel, Model, Route, RouteKind};
use crate::id::BucketId;
use crate::key::Policy;
use crate::money::{Money, Price};
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::usage::Class;

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
    /// Who asks: what this account alone has met counts for it.
    pub by: Option<Witness>,
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
    /// What would serve if everything were as it should be: what falling back is compared with.
    pub first_choice: Option<FirstChoice>,
}

/// Decides who serves a request, in which order.
///
/// Errors when nothing can be tried: with why the request cannot be said to a channel that could have served it, else with the
/// refusal of the first model asked for.
pub fn plan(input: PlanInput<'_>) -> Result<Plan, Refusal> {
    let mut planner = Planner { input, attempts: Vec::new(), left_out: Vec::new(), refusal: None, unable: None, bucket: None };
    for asked in &input.ask.models {
        planner.model(asked);
    }
    let Planner { mut attempts, mut left_out, refusal, unable, .. } = planner;
    let first_choice = attempts.first().map(FirstChoice::of);
    if let Some((first, ceiling)) = first_choice.as_ref().zip(Ceiling::of(input.policy, input.ask)) {
        left_out.extend(ceiling.leave_out(&mut attempts, first, input.catalog));
    }
    // What rests goes last, in its order: it may still be the only one that answers.
    attempts.sort_by_key(|planned| planned.is_resting);
    if input.ask.provider.allow_fallbacks == Some(false) {
        attempts.truncate(1);
    }
    if attempts.is_empty() {
        return Err(unable.or(refusal).unwrap_or_else(|| model_not_found(input.catalog, "")));
    }
    Ok(Plan { attempts, left_out, first_choice })
}

struct Planner<'a> {
    input: PlanInput<'a>,
    attempts: Vec<Planned>,
    left_out: Vec<LeftOut>,
    /// Of the first model that was left out.
    refusal: Option<Refusal>,
    /// Why the first channel was left out that the request cannot be said to.
    unable: Option<Refusal>,
    /// The bucket that pays first; another one is a crossing, also for a fallback model.
    bucket: Option<BucketId>,
}

impl<'a> Planner<'a> {
    fn leave_out(&mut self, model: &str, route: Option<RouteKind>, refusal: Refusal) {
        let reason = refusal.message.clone();
        let code = Some(refusal.code.row().code);
        let next_step = Some(refusal.next_step.clone());
        self.left_out.push(LeftOut { model: model.to_owned(), route, channel: None, reason, code, next_step });
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
            return self.leave_out(asked, None, wrong_kind(model));
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
                    if self.candidates(model, route, &price) {
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
            let total = |kind: &RouteKind| model.route(*kind).and_then(|route| route.price.as_ref()).map(compared);
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
        let is_asked = |class: Class| {
            let channels = route.candidates.iter().map(|candidate| &candidate.channel);
            channels.into_iter().any(|channel| !ask.spares(channel, class))
        };
        if let Some(class) = ask.needs.iter().find(|class| !price.covers(**class) && is_asked(**class)) {
            return Err(class_unpriced(&model.id, *class));
        }
        let over = |limit: Option<Money>, class| limit.is_some_and(|limit| dearest(price, class) > limit);
        let max = ask.provider.max_price.unwrap_or_default();
        if over(max.prompt, Class::Input) || over(max.completion, Class::Output) {
            return Err(too_dear(kind));
        }
        Ok((route, Rc::new(price.clone())))
    }

    /// Plans a route's candidates. Whether the route was one to ask: also where its channels cannot serve this request, since
    /// another balance does not pay for that unless the key allows it.
    fn candidates(&mut self, model: &Rc<Model>, route: &Route, price: &Rc<Price>) -> bool {
        let mut taken: Vec<Planned> = Vec::new();
        let mut is_unable = false;
        for candidate in &route.candidates {
            let Some(channel) = self.input.catalog.channel(&candidate.channel) else { continue };
            let is_probed_elsewhere = self.input.ask.probed.as_ref().is_some_and(|probed| *probed != CandidateId::of(candidate));
            let elsewhere = is_probed_elsewhere.then_some(Excluded::Unwanted("the probe is about another candidate"));
            if let Some(excluded) = elsewhere.or_else(|| self.excluded(channel)) {
                let (reason, code, next_step) = match excluded {
                    Excluded::Unwanted(reason) => (reason.to_owned(), None, None),
                    Excluded::Refused(no) => {
                        is_unable = true;
                        let why = (no.message.clone(), Some(no.code.row().code), Some(no.next_step.clone()));
                        self.unable.get_or_insert(*no);
                        why
                    }
                };
                self.left_out.push(LeftOut {
                    model: model.id.to_string(),
                    route: Some(route.kind),
                    channel: Some(channel.shown().into_owned()),
                    reason,
                    code,
                    next_step,
                });
                continue;
            }
            let health = self.input.health.told_to(&CandidateId::of(candidate), self.input.by, self.input.now);
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
                is_expected: health.is_expected_to_answer(self.input.now),
                reason: reason(candidate, &health, resting),
            });
        }
        if taken.is_empty() {
            let is_pinned = self.input.ask.pinned.is_some();
            let nowhere = if is_pinned { not_there_any_more(&model.id) } else { no_channel_left(&model.id) };
            self.refusal.get_or_insert(nowhere);
        }
        let preferences = &self.input.ask.provider;
        let order = |planned: &Planned| {
            let place = preferences.order.iter().position(|name| planned.channel.is_called(name));
            (place.unwrap_or(usize::MAX), planned.candidate.tier)
        };
        if taken.len() > 1 {
            // Smallest draw first; for positive numbers the order of the bits is the order of the numbers.
            taken.sort_by_cached_key(|planned| (order(planned), draw(self.input.seed, &planned.candidate).to_bits()));
        }
        let is_asked = is_unable || !taken.is_empty();
        self.attempts.extend(taken);
        is_asked
    }

    /// Why a channel is not asked, if it is not.
    fn excluded(&self, channel: &Channel) -> Option<Excluded> {
        let Ask { provider, unable, pinned, .. } = self.input.ask;
        let listed = |list: &[String]| list.iter().any(|listed| channel.is_called(listed));
        if listed(&provider.ignore) {
            return Some(Excluded::Unwanted("the request ignores this channel"));
        }
        if !provider.only.is_empty() && !listed(&provider.only) {
            return Some(Excluded::Unwanted("the request allows only other channels"));
        }
        if pinned.as_ref().is_some_and(|(id, secret)| *id != channel.id || !channel.secrets.contains(secret)) {
            return Some(Excluded::Unwanted("what the request continues was made elsewhere"));
        }
        let no = unable.iter().find(|(id, _)| *id == channel.id);
        no.map(|(_, refusal)| Excluded::Refused(Box::new(refusal.clone())))
    }
}

/// Why a channel is not asked.
enum Excluded {
    /// The request does not want it.
    Unwanted(&'static str),
    /// It cannot serve the request.
    Refused(Box<Refusal>),
}

/// The model that a request means by a name, with or without a route.
pub fn asked_model<'a>(catalog: &'a Catalog, asked: &str) -> Option<&'a Rc<Model>> {
    catalog.model(split_route(asked).0)
}

/// Splits `gpt-5.5:official` into the name and the route.
fn split_route(asked: &str) -> (&str, Option<RouteKind>) {
    let asked = asked.trim();
    let kind = |suffix: &str| {
        [RouteKind::Official, RouteKind::Routed].into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(suffix))
    };
    match asked.rsplit_once(':').map(|(name, suffix)| (name, kind(suffix))) {
        Some((name, Some(kind))) => (name, Some(kind)),
        _ => (asked, None),
    }
}

/// Weighted rendezvous hashing: each candidate draws a number from the seed, the smallest goes first, and a weight of three
/// draws smallest three times as often as a weight of one. Sessions keep their candidate when others come and go.
fn draw(seed: &str, candidate: &Candidate) -> f64 {
    let bits = hash(&[seed, candidate.channel.as_str(), &candidate.upstream_model]);
    let (high, low) = (u32::try_from(bits >> 16).unwrap_or(0), u32::try_from(bits & 0xffff).unwrap_or(0));
    let unit = (f64::from(high) + (f64::from(low) + 0.5) / 65_536.0) / 4_294_967_296.0;
    -unit.ln() / f64::from(candidate.weight)
}

/// What routes are compared by: input and output, or the count that is charged instead.
fn compared(price: &Price) -> i64 {
    let classes = [price.basis().unwrap_or(Class::Input), Class::Output, Class::Searches];
    classes.into_iter().filter_map(|class| price.rate(class, 0)).fold(0, |sum, rate| sum.saturating_add(rate.nanos()))
}

/// The most that a class costs, in a request of any size.
fn dearest(price: &Price, class: Class) -> Money {
    let sizes = price.tiers.iter().map(|tier| tier.above.saturating_add(1)).chain([0]);
    sizes.filter_map(|size| price.rate(class, size)).max().unwrap_or_default()
}

fn reason(candidate: &Candidate, health: &Health, resting: bool) -> String {
    let role = match candidate.tier {
        0 => "primary channel".to_owned(),
        tier => format!("backup channel of tier {tier}"),
    };
    let is_load = health.last_failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Load);
    match (resting, health.status) {
        (true, HealthStatus::Down) => format!("{role}, tried last because it is down"),
        (true, _) if is_load => format!("{role}, tried last because it asked for fewer requests"),
        (true, _) => format!("{role}, tried last for a minute because it failed"),
        (false, HealthStatus::Down) => format!("{role}, due to be tried again after it was down"),
        (false, _) => role,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{ModelKind, UpstreamHosts};
    use crate::id::{ChannelId, SecretName};
    use crate::refusal::Code;
    use crate::routing::ask::{MaxPrice, ProviderPreferences};
    use crate::routing::health::Observation;
    use serde_json::json;

    fn catalog() -> Catalog {
        let channel = json!({"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": ["K"]});
        let mut anthropic = channel.clone();
        anthropic["dialect"] = json!("anthropic");
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
            "channels": {"a": channel, "b": anthropic, "c": channel, "d": channel},
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
                by: None,
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
            let seen =
                Observation::Failed { kind: FailureKind::Credential, message: String::new(), retry_after_s: None, by: None };
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
    fn a_fallback_costs_at_most_so_many_times_the_first_choice() {
        let ceiling = |text: &str| serde_json::from_value(json!(text)).ok();
        let mut case = case(&["m1:official", "m1:routed", "m2"]);
        case.policy.cross_routes = true;
        // Dollars and yuan: nobody says what they are worth.
        case.policy.fallback_ceiling = ceiling("1000");
        assert_eq!(case.channels(), ["a", "b"]);
        let left_out = case.plan().unwrap().left_out;
        assert_eq!(left_out[0].code, Some("fallback_too_dear"));
        for (bucket, usd) in [("credit", "1"), ("wallet", "0.14")] {
            let id = BucketId::parse(bucket).unwrap();
            case.catalog.buckets.get_mut(&id).unwrap().usd = Money::parse(usd).ok();
        }
        assert_eq!(case.channels().len(), 5, "1 and 2 yuan are less than 2 and 2 dollars");
        case.policy.fallback_ceiling = ceiling("0.1");
        assert_eq!(case.channels(), ["a", "b"], "half the input is 0.07 times, and the output 0.14");
        case.policy.fallback_ceiling = None;
        case.ask.provider.fallback_ceiling = ceiling("0.14");
        assert_eq!(case.channels().len(), 5, "the request may say so, too");
        case.policy.fallback_ceiling = ceiling("0.01");
        assert_eq!(case.channels(), ["a", "b"], "the smaller of both holds");
        // What is tried first because the first choice rests is compared with it all the same.
        case.fail("a");
        case.fail("b");
        assert_eq!(case.channels(), ["a", "b"]);
    }

    #[test]
    fn what_has_no_price_is_refused_by_its_name() {
        for class in
            [Class::AudioInput, Class::AudioOutput, Class::ImageOutput, Class::CacheWrite, Class::CacheWrite1h, Class::Searches]
        {
            let mut case = case(&["m1"]);
            case.ask.needs = vec![Class::Reasoning, class];
            let refusal = case.plan().unwrap_err();
            assert_eq!(refusal.code, Code::ModelUnpriced);
            assert!(refusal.message.contains(&format!("`{}`", class.name())), "{}", refusal.message);
        }
    }

    #[test]
    fn a_model_of_another_kind_is_refused_with_its_endpoint() {
        let mut case = case(&["m1"]);
        case.ask.kinds = &[ModelKind::Embedding, ModelKind::Rerank];
        let refusal = case.plan().unwrap_err();
        assert_eq!((refusal.code, refusal.param.as_deref()), (Code::InvalidRequest, Some("model")));
        assert!(refusal.next_step.contains("/v1/chat/completions"), "{}", refusal.next_step);
        case.ask.kinds = &[ModelKind::Chat];
        assert_eq!(case.channels(), ["a", "b"]);
    }

    #[test]
    fn a_channel_that_cannot_be_told_is_left_out_with_the_reason() {
        let mut case = case(&["m1"]);
        let no = Refusal::invalid("logit_bias", "`logit_bias` has no counterpart.");
        let channel = |id: &str| ChannelId::parse(id).unwrap();
        case.ask.unable = vec![(channel("b"), no.clone())];
        assert_eq!(case.channels(), ["a"]);
        let left_out = &case.plan().unwrap().left_out[0];
        assert_eq!((left_out.channel.as_deref(), left_out.reason.as_str()), (Some("channel-5230db"), no.message.as_str()));
        assert_eq!(left_out.code, Some("invalid_request"));
        let other = Refusal::invalid("other", "`other` neither.");
        case.ask.unable.extend(["a", "c", "d"].map(|id| (channel(id), other.clone())));
        assert_eq!(case.plan().unwrap_err().param.as_deref(), Some("other"), "the first candidate's reason");
        case.ask.provider.ignore = vec!["a".to_owned()];
        assert_eq!(case.plan().unwrap_err(), no);
    }

    #[test]
    fn what_a_route_cannot_serve_is_not_paid_from_another_balance_unasked() {
        let mut case = case(&["m1"]);
        let no = Refusal::invalid("n", "`n` has no counterpart.");
        case.ask.unable = ["a", "b"].map(|id| (ChannelId::parse(id).unwrap(), no.clone())).to_vec();
        assert_eq!(case.plan().unwrap_err(), no);
        case.policy.cross_routes = true;
        assert_eq!(case.channels().len(), 2);
        // Who leaves a route out has chosen the other one.
        case.policy.cross_routes = false;
        case.ask.provider.ignore = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(case.channels().len(), 2);
    }

    #[test]
    fn a_pinned_request_goes_to_its_channel_or_nowhere() {
        let mut case = case(&["m1"]);
        let pin = |channel: &str, secret: &str| Some((ChannelId::parse(channel).unwrap(), SecretName::parse(secret).unwrap()));
        case.ask.pinned = pin("b", "K");
        assert_eq!(case.channels(), ["b"]);
        case.ask.models = vec!["m1:official".to_owned()];
        case.ask.unable = vec![(ChannelId::parse("z").unwrap(), Refusal::invalid("x", "No channel here speaks it."))];
        for gone in [pin("c", "K"), pin("z", "K"), pin("b", "OLD")] {
            case.ask.pinned = gone;
            let refusal = case.plan().unwrap_err();
            assert_eq!((refusal.code, refusal.param.as_deref()), (Code::InvalidRequest, Some("previous_response_id")));
        }
        // There, but unable: that is the reason, whatever other routes say.
        case.ask.models = vec!["m1".to_owned()];
        case.policy.routes.reverse();
        case.ask.pinned = pin("b", "K");
        case.ask.unable = vec![(ChannelId::parse("b").unwrap(), Refusal::invalid("seed", "`seed` has no counterpart."))];
        assert_eq!(case.plan().unwrap_err().param.as_deref(), Some("seed"));
    }

    #[test]
    fn the_dearest_tier_counts_against_a_limit() {
        let price: Price =
            serde_json::from_str(r#"{"input": "1", "output": "2", "tiers": [{"above": 9, "input": "3"}]}"#).unwrap();
        assert_eq!(
            (dearest(&price, Class::Input).to_string(), dearest(&price, Class::Output).to_string()),
            ("3".into(), "2".into())
        );
        assert_eq!(compared(&price), 3_000_000_000);
        assert_eq!(compared(&serde_json::from_str(r#"{"images": "0.04"}"#).unwrap()), 40_000_000);
        assert_eq!(compared(&serde_json::from_str(r#"{"searches": "0.002"}"#).unwrap()), 2_000_000);
    }
}
