//! The view models: plain data that `api` fills and pages show.
//!
//! What always holds: money is decimal text with its unit and currency beside it, shares are 0 to 1, durations are
//! milliseconds, and what is not known is `None`, never a zero.
//!
//! Deliberately absent: escaping and formatting; a view model holds texts as they are.

use crate::catalog::{ModelKind, RouteKind};
use crate::routing::health::HealthStatus;
use crate::time::Timestamp;
use crate::truth::Truth;

use super::filter::ModelFilter;

/// What every page knows of the request that asked for it.
#[derive(Debug, Clone)]
pub struct PageContext {
    /// Scheme and host, without a slash at the end.
    pub origin: String,
    /// The path of this page.
    pub path: String,
    /// When the page was made.
    pub now: Timestamp,
    /// Who is signed in.
    pub session: Option<SignedIn>,
    /// Whether signing in is possible at all.
    pub can_sign_in: bool,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// What the key is called.
    pub key_label: String,
    /// The account's id.
    pub account: String,
}

/// The home page.
#[derive(Debug, Clone)]
pub struct HomePage {
    /// Models that can be called now.
    pub models_callable: u64,
    /// Models in the catalogue.
    pub models: u64,
    /// Routes that are up.
    pub routes_up: u64,
    /// Routes in the catalogue.
    pub routes: u64,
    /// The median time to the first byte over the last half hour.
    pub first_byte_ms: Option<u64>,
    /// The model of the first call's example: id and kind, one that can be called now.
    pub example: Option<(String, ModelKind)>,
}

/// The list of models.
#[derive(Debug, Clone)]
pub struct ModelsPage {
    /// What was asked for.
    pub filter: ModelFilter,
    /// Every family of the catalogue, for the filter.
    pub families: Vec<String>,
    /// Models in the catalogue.
    pub total: usize,
    /// What the filter leaves, in its order.
    pub models: Vec<Model>,
}

/// A model.
#[derive(Debug, Clone)]
pub struct Model {
    /// The public name that a client asks for.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Who made it, or the line that it belongs to.
    pub family: String,
    /// What it does.
    pub kind: ModelKind,
    /// Tokens that it takes in; zero if that says nothing.
    pub context_length: u64,
    /// Tokens that it writes at most; zero if it writes none.
    pub max_output_tokens: u64,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Whether it can be called.
    pub availability: Availability,
    /// The ways to it, in order of preference.
    pub routes: Vec<Route>,
    /// Changes that are published and not yet in effect.
    pub announced: Vec<Version>,
}

/// Whether one key, or a key that may do everything, can call a model now.
#[derive(Debug, Clone)]
pub struct Availability {
    /// The answer.
    pub is_callable: bool,
    /// The label of the key that this is about; none is about a key with both routes and enough balance.
    pub key_label: Option<String>,
    /// Why not, or what limits it.
    pub reasons: Vec<Reason>,
    /// The balance that would pay.
    pub payer: Option<Payer>,
    /// The channel that would be asked first.
    pub channel: Option<String>,
}

/// A reason, with what would change it.
#[derive(Debug, Clone)]
pub struct Reason {
    /// As in refusals.
    pub code: String,
    /// In words.
    pub message: String,
    /// What to do.
    pub next_step: String,
}

/// The balance that would pay for a call.
#[derive(Debug, Clone)]
pub struct Payer {
    /// Which one.
    pub bucket: Bucket,
    /// What is available of it, as a decimal; none if nobody is signed in.
    pub available: Option<String>,
    /// Whether that is enough for a call; none if nobody is signed in.
    pub is_affordable: Option<bool>,
}

/// A balance of accounts.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// As in the catalogue.
    pub id: String,
    /// What people call it.
    pub label: String,
    /// ISO 4217.
    pub currency: String,
}

/// A route of a model.
#[derive(Debug, Clone)]
pub struct Route {
    /// Official or routed.
    pub kind: RouteKind,
    /// The balance that pays for it.
    pub bucket: Bucket,
    /// What it costs, the most important first.
    pub prices: Vec<PriceRow>,
    /// How many percent cheaper than the official route it is; negative if dearer; none where they cannot be compared.
    pub saving_percent: Option<i32>,
    /// Whether the key may use it.
    pub is_allowed: bool,
    /// Whether it can be called now.
    pub is_callable: bool,
    /// Its health.
    pub status: HealthStatus,
    /// Since when its health is this.
    pub since: Option<Timestamp>,
    /// How it is, in one sentence.
    pub sentence: String,
    /// How often "callable" came true.
    pub truth: Truth,
    /// Who serves it, in the order of tiers.
    pub candidates: Vec<Candidate>,
    /// The last day by the hour, oldest first.
    pub hours: Vec<ChartPoint>,
    /// The last thirty days by the day, oldest first; empty in lists.
    pub days: Vec<ChartPoint>,
}

/// One line of a price.
#[derive(Debug, Clone)]
pub struct PriceRow {
    /// What is counted: "Input", "Cached input", "Output".
    pub class: String,
    /// The price of a unit in the bucket's currency, as a decimal.
    pub amount: String,
    /// The unit: "per 1M tokens", "per image".
    pub unit: String,
    /// When the row applies, if not always: "above 200,000 tokens".
    pub tier: Option<String>,
    /// Whether it is one of the one or two rows that a list shows.
    pub is_headline: bool,
}

/// A channel with the model's id there, in a tier of a route.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The channel.
    pub channel: String,
    /// The model's id there.
    pub upstream_model: String,
    /// 0 is primary, higher ones are backups.
    pub tier: u8,
    /// Its health.
    pub status: HealthStatus,
    /// Since when its health is this.
    pub since: Option<Timestamp>,
    /// How the last probe went.
    pub last_probe: Option<Probe>,
    /// What went wrong last.
    pub last_failure: Option<FailureView>,
    /// Time to the first byte over the last half hour.
    pub first_byte: Percentiles,
    /// Time to the whole answer over the last half hour.
    pub latency: Percentiles,
    /// Share of time in which it was not down.
    pub uptime: Uptimes,
    /// Attempts of the last half hour.
    pub requests: u64,
    /// How many of them failed.
    pub failures: u64,
    /// Since when the provider's own list does not name the model.
    pub missing: Option<Missing>,
}

/// How a probe went.
#[derive(Debug, Clone)]
pub struct Probe {
    /// When.
    pub at: Timestamp,
    /// Whether it went well.
    pub is_ok: bool,
    /// How far it looked: "connection", "credential", "answer".
    pub level: String,
    /// How long it took.
    pub latency_ms: u64,
    /// What it found, in words.
    pub words: String,
}

/// What went wrong.
#[derive(Debug, Clone)]
pub struct FailureView {
    /// When.
    pub at: Timestamp,
    /// What kind, in words: "No answer in time".
    pub kind: String,
    /// In words.
    pub message: String,
}

/// That the provider's own list does not name a model.
#[derive(Debug, Clone)]
pub struct Missing {
    /// Since when.
    pub since: Timestamp,
    /// What it names instead that is near.
    pub near: Vec<String>,
}

/// A distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Percentiles {
    /// The median.
    pub p50: Option<u64>,
    /// What nine of ten stay below.
    pub p90: Option<u64>,
    /// What 99 of 100 stay below.
    pub p99: Option<u64>,
}

/// Shares of time in which something was not down, 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uptimes {
    /// Over five minutes.
    pub m5: Option<f64>,
    /// Over thirty minutes.
    pub m30: Option<f64>,
    /// Over a day.
    pub d1: Option<f64>,
    /// Over thirty days.
    pub d30: Option<f64>,
}

/// An hour or a day of history.
#[derive(Debug, Clone)]
pub struct ChartPoint {
    /// When it began.
    pub start: Timestamp,
    /// How long it is.
    pub seconds: u32,
    /// Attempts in it.
    pub requests: u64,
    /// How many of them failed.
    pub failures: u64,
    /// The share of the time in which it was not down, 0 to 1.
    pub uptime: Option<f64>,
    /// The worst status in it.
    pub worst: HealthStatus,
    /// Time to the first byte.
    pub first_byte: Percentiles,
}

/// The page of one model.
#[derive(Debug, Clone)]
pub struct ModelPage {
    /// The model, with all its history.
    pub model: Model,
    /// Versions of the catalogue that changed it, newest first.
    pub versions: Vec<Version>,
}

/// A version of the catalogue, as far as it is about one model.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its number.
    pub version: u64,
    /// When it was published.
    pub published_at: Timestamp,
    /// When it takes effect.
    pub effective_at: Timestamp,
    /// What it changed, each in words.
    pub changes: Vec<String>,
}

/// The status page.
#[derive(Debug, Clone)]
pub struct StatusPage {
    /// How everything is.
    pub status: HealthStatus,
    /// The same in one sentence.
    pub sentence: String,
    /// Every model with its routes.
    pub models: Vec<StatusModel>,
    /// Incidents that have not ended, newest first.
    pub current: Vec<Incident>,
    /// Incidents of the last 14 days that have ended, newest first.
    pub past: Vec<Incident>,
}

/// A model on the status page.
#[derive(Debug, Clone)]
pub struct StatusModel {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its routes.
    pub routes: Vec<StatusRoute>,
}

/// A route on the status page.
#[derive(Debug, Clone)]
pub struct StatusRoute {
    /// Official or routed.
    pub kind: RouteKind,
    /// Its health.
    pub status: HealthStatus,
    /// Since when its health is this.
    pub since: Option<Timestamp>,
    /// How often "callable" came true.
    pub truth: Truth,
    /// The share of attempts that went well over all days.
    pub uptime: Option<f64>,
    /// The last 90 days, oldest first.
    pub days: Vec<Day>,
}

/// A day of a route, in UTC.
#[derive(Debug, Clone)]
pub struct Day {
    /// Its midnight.
    pub date: Timestamp,
    /// The share of attempts that went well.
    pub uptime: Option<f64>,
    /// The worst that its health was.
    pub worst: HealthStatus,
    /// How long it was down.
    pub down_minutes: u32,
}

/// A time in which something was not up.
#[derive(Debug, Clone)]
pub struct Incident {
    /// Its id; stays the same while it goes on.
    pub id: String,
    /// What it is about: a route of a model, or a channel with a model's id there.
    pub subject: String,
    /// The models that it touches.
    pub models: Vec<String>,
    /// How bad it was.
    pub status: HealthStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why, in words.
    pub cause: String,
}

/// The page to sign in on.
#[derive(Debug, Clone)]
pub struct LoginPage {
    /// Why the last try did not work.
    pub error: Option<String>,
    /// What the cookie holds, as a sentence.
    pub cookie_holds: String,
    /// When the cookie ends, as a sentence.
    pub cookie_ends: String,
}

/// A page that says why there is no other.
#[derive(Debug, Clone)]
pub struct ErrorPage {
    /// The HTTP status.
    pub status: u16,
    /// What happened, for people; none has the usual words of the status.
    pub message: Option<String>,
    /// The request's id, to ask the operator about.
    pub request_id: Option<String>,
}
