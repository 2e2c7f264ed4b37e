//! What the tests of pages share: a catalogue like a real one, and one in which every text is hostile.

use super::filter::ModelFilter;
use super::view::*;
use crate::catalog::{ModelKind, RouteKind};
use crate::routing::health::HealthStatus;
use crate::time::Timestamp;
use crate::truth::{Miss, Missed, Truth};

const HOUR: i64 = 3_600_000;

pub fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T13:20:07Z").unwrap()
}

fn before(hours: i64) -> Timestamp {
    now().plus(-hours * HOUR)
}

pub fn site(path: &str) -> PageContext {
    PageContext {
        origin: "https://forge.example".to_owned(),
        path: path.to_owned(),
        now: now(),
        session: None,
        can_sign_in: true,
    }
}

pub fn signed_in(path: &str) -> PageContext {
    let session = SignedIn { key_label: "ci-pipeline".to_owned(), account: "acct-demo".to_owned() };
    PageContext { session: Some(session), ..site(path) }
}

fn bucket(kind: RouteKind) -> Bucket {
    let (id, label, currency) = match kind {
        RouteKind::Official => ("credit", "Official credit", "USD"),
        RouteKind::Routed => ("wallet", "Routed wallet", "CNY"),
    };
    Bucket { id: id.to_owned(), label: label.to_owned(), currency: currency.to_owned() }
}

fn row(class: &str, amount: &str, is_headline: bool) -> PriceRow {
    let unit = "per 1M tokens".to_owned();
    PriceRow { class: class.to_owned(), amount: amount.to_owned(), unit, tier: None, is_headline }
}

/// A series that looks like traffic: a daily wave, one bad stretch, and one gap.
fn points(count: i64, seconds: u32, base: u64) -> Vec<ChartPoint> {
    let step = i64::from(seconds) * 1000;
    let start = now().millis().div_euclid(step) * step - (count - 1) * step;
    (0..count)
        .map(|at| {
            let wave = base + (u64::try_from(at).unwrap() * 37 + 11) % 97 * base / 200;
            let is_bad = at == count * 2 / 3;
            let is_gap = at == count / 4;
            let failures = if is_bad { 41 } else { 0 };
            let known = (!is_gap).then_some(if is_bad { wave * 2 } else { wave });
            ChartPoint {
                start: Timestamp::from_millis(start + at * step),
                seconds,
                requests: if is_gap { 0 } else { 1180 + u64::try_from(at).unwrap() * 7 },
                failures,
                uptime: (!is_gap).then_some(if is_bad { 0.9712 } else { 1.0 }),
                worst: if is_gap {
                    HealthStatus::Unknown
                } else if is_bad {
                    HealthStatus::Down
                } else {
                    HealthStatus::Up
                },
                first_byte: Percentiles { p50: known, p90: known.map(|ms| ms * 19 / 10), p99: known.map(|ms| ms * 4) },
            }
        })
        .collect()
}

fn candidate(channel: &str, upstream_model: &str, tier: u8, status: HealthStatus) -> Candidate {
    let times = |p50| Percentiles { p50: Some(p50), p90: Some(p50 * 2), p99: Some(p50 * 5) };
    let is_troubled = status != HealthStatus::Up;
    Candidate {
        channel: channel.to_owned(),
        upstream_model: upstream_model.to_owned(),
        tier,
        status,
        since: Some(before(31)),
        last_probe: Some(Probe {
            at: now().plus(-47_000),
            is_ok: !is_troubled,
            level: "credential".to_owned(),
            latency_ms: 212,
            words: if is_troubled { "It answers with status 503." } else { "It knows the credential and the model." }.to_owned(),
        }),
        last_failure: is_troubled.then(|| FailureView {
            at: now().plus(-190_000),
            kind: "No answer in time".to_owned(),
            message: "No first byte within 30 s.".to_owned(),
        }),
        first_byte: times(412),
        latency: times(3120),
        uptime: Uptimes { m5: Some(1.0), m30: Some(1.0), d1: Some(0.999_96), d30: Some(0.9987) },
        requests: 28_412,
        failures: if is_troubled { 97 } else { 0 },
        missing: None,
    }
}

/// What promises came to: all kept, some missed for every reason, and none made.
fn truth(status: HealthStatus) -> Truth {
    let misses = Missed::ALL.iter().zip(1..).map(|(reason, hours)| Miss { at: before(hours * 7), reason: *reason });
    match status {
        HealthStatus::Up => Truth { callable: 18_204, answered: 18_204, misses: Vec::new() },
        HealthStatus::Unknown => Truth::default(),
        HealthStatus::Degraded | HealthStatus::Down => Truth { callable: 9_412, answered: 9_371, misses: misses.collect() },
    }
}

fn route(kind: RouteKind, status: HealthStatus, prices: Vec<PriceRow>, candidates: Vec<Candidate>) -> Route {
    Route {
        kind,
        bucket: bucket(kind),
        prices,
        saving_percent: (kind == RouteKind::Routed).then_some(50),
        is_allowed: true,
        is_callable: status != HealthStatus::Down,
        status,
        since: Some(before(31)),
        sentence: match status {
            HealthStatus::Up => "The primary answers; a backup stands by.",
            HealthStatus::Degraded => "The primary is slow or fails at times; requests go on to the backup.",
            HealthStatus::Down => "No channel of this route answers.",
            HealthStatus::Unknown => "Nothing was asked of it yet.",
        }
        .to_owned(),
        truth: truth(status),
        candidates,
        hours: points(24, 3600, 380),
        days: points(30, 86_400, 410),
    }
}

fn model(id: &str, name: &str, kind: ModelKind, routes: Vec<Route>) -> Model {
    let payer = routes.first().map(|route| Payer { bucket: route.bucket.clone(), available: None, is_affordable: None });
    let channel = routes.first().and_then(|route| route.candidates.first()).map(|candidate| candidate.channel.clone());
    let is_callable = routes.iter().any(|route| route.is_callable);
    Model {
        id: id.to_owned(),
        name: name.to_owned(),
        family: name.split([' ', '-']).next().unwrap().to_lowercase(),
        kind,
        context_length: 400_000,
        max_output_tokens: 128_000,
        aliases: vec![format!("{id}-latest")],
        availability: Availability { is_callable, key_label: None, reasons: Vec::new(), payer, channel },
        routes,
        announced: Vec::new(),
    }
}

pub fn models() -> Vec<Model> {
    let mut rows = vec![row("Input", "1.25", true), row("Output", "10", true), row("Cached input", "0.125", false)];
    rows.push(PriceRow { tier: Some("above 200,000 tokens".to_owned()), ..row("Input", "2.5", false) });
    let mut pool = candidate("pool-eu", "gpt-5.5-preview", 0, HealthStatus::Degraded);
    pool.missing = Some(Missing { since: before(53), near: vec!["gpt-5.5".to_owned(), "gpt-5.5-mini".to_owned()] });
    let gpt = vec![
        route(
            RouteKind::Official,
            HealthStatus::Up,
            rows,
            vec![candidate("openai-main", "gpt-5.5-2026-04-01", 0, HealthStatus::Up)],
        ),
        route(
            RouteKind::Routed,
            HealthStatus::Degraded,
            vec![row("Input", "4.5", true), row("Output", "36", true)],
            vec![
                pool,
                candidate("pool-us", "gpt-5.5", 0, HealthStatus::Up),
                candidate("openai-main", "gpt-5.5-2026-04-01", 1, HealthStatus::Up),
                candidate("far-away", "gpt-5.5", 2, HealthStatus::Unknown),
            ],
        ),
    ];
    let claude = candidate("anthropic-main", "claude-sonnet-4-6", 0, HealthStatus::Up);
    let claude = vec![route(
        RouteKind::Official,
        HealthStatus::Up,
        vec![row("Input", "3", true), row("Output", "15", true)],
        vec![claude],
    )];
    let mut down = candidate("pool-eu", "qwen3-max", 0, HealthStatus::Down);
    down.first_byte = Percentiles::default();
    let qwen =
        vec![route(RouteKind::Routed, HealthStatus::Down, vec![row("Input", "6", true), row("Output", "24", true)], vec![down])];
    let mut quick = candidate("openai-main", "text-embedding-3-large", 0, HealthStatus::Up);
    quick.first_byte.p50 = Some(88);
    let embedding = vec![route(RouteKind::Official, HealthStatus::Up, vec![row("Input", "0.13", true)], vec![quick])];
    let mut gpt = model("gpt-5.5", "GPT-5.5", ModelKind::Chat, gpt);
    gpt.announced = versions().into_iter().take(1).collect();
    let mut qwen = model("qwen3-max", "Qwen3 Max", ModelKind::Chat, qwen);
    qwen.availability.reasons = vec![Reason {
        code: "no_route_available".to_owned(),
        message: "No channel of its route answers.".to_owned(),
        next_step: "Wait until one does, or choose another model.".to_owned(),
    }];
    vec![
        gpt,
        model("anthropic/claude-sonnet-4.6", "Claude Sonnet 4.6", ModelKind::Chat, claude),
        qwen,
        model("text-embedding-3-large", "Text Embedding 3 Large", ModelKind::Embedding, embedding),
    ]
}

fn versions() -> Vec<Version> {
    let version = |version, hours, changes: &[&str]| Version {
        version,
        published_at: before(hours + 26),
        effective_at: before(hours),
        changes: changes.iter().map(|text| (*text).to_owned()).collect(),
    };
    vec![
        version(8, -60, &["Routed input from 4.5 to 4.2 CNY per 1M tokens"]),
        version(7, 300, &["Official output from 12 to 10 USD per 1M tokens", "Backup far-away added to the routed route"]),
        version(3, 2100, &["Model added"]),
    ]
}

pub fn home() -> HomePage {
    HomePage {
        models_callable: 3,
        models: 4,
        routes_up: 3,
        routes: 5,
        first_byte_ms: Some(412),
        example: Some(("gpt-5.5".to_owned(), ModelKind::Chat)),
    }
}

pub fn models_page(filter: ModelFilter) -> ModelsPage {
    let families = vec!["claude".to_owned(), "gpt".to_owned(), "qwen3".to_owned(), "text".to_owned()];
    ModelsPage { families, total: 4, models: filter.apply(models()), filter }
}

pub fn model_page(is_signed_in: bool) -> ModelPage {
    let mut model = models().remove(0);
    if is_signed_in {
        model.availability.key_label = Some("ci-pipeline".to_owned());
        if let Some(payer) = &mut model.availability.payer {
            payer.available = Some("12.340518".to_owned());
            payer.is_affordable = Some(true);
        }
        model.routes[1].is_allowed = false;
    }
    ModelPage { model, versions: versions() }
}

fn days(trouble: usize) -> Vec<Day> {
    let midnight = now().millis().div_euclid(24 * HOUR) * 24 * HOUR;
    (0_usize..90)
        .map(|at| {
            let (worst, uptime, down_minutes) = match at {
                0..12 => (HealthStatus::Unknown, None, 0),
                _ if trouble > 0 && at % 31 == 7 => (HealthStatus::Down, Some(0.9821), 26),
                _ if trouble > 0 && at % 17 == 3 => (HealthStatus::Degraded, Some(0.9993), 0),
                _ => (HealthStatus::Up, Some(1.0), 0),
            };
            let back = i64::try_from(89 - at).unwrap();
            Day { date: Timestamp::from_millis(midnight - back * 24 * HOUR), uptime, worst, down_minutes }
        })
        .collect()
}

fn incident(id: &str, status: HealthStatus, started: i64, ended: Option<i64>) -> Incident {
    Incident {
        id: id.to_owned(),
        subject: "Routed route of GPT-5.5".to_owned(),
        models: vec!["gpt-5.5".to_owned()],
        status,
        started_at: before(started),
        ended_at: ended.map(before),
        cause: "pool-eu gave no first byte within 30 s; requests went on to pool-us.".to_owned(),
    }
}

pub fn status() -> StatusPage {
    let lanes = models().into_iter().map(|model| StatusModel {
        id: model.id,
        name: model.name,
        routes: model
            .routes
            .into_iter()
            .map(|route| StatusRoute {
                kind: route.kind,
                status: route.status,
                since: route.since,
                truth: route.truth,
                uptime: Some(if route.status == HealthStatus::Up { 1.0 } else { 0.998_73 }),
                days: days(usize::from(route.status != HealthStatus::Up)),
            })
            .collect(),
    });
    StatusPage {
        status: HealthStatus::Degraded,
        sentence: "3 of 4 models can be called; 2 of 5 routes have trouble.".to_owned(),
        models: lanes.collect(),
        current: vec![incident("inc-7", HealthStatus::Degraded, 31, None)],
        past: vec![
            incident("inc-5", HealthStatus::Down, 120, Some(119)),
            incident("inc-4", HealthStatus::Degraded, 200, Some(190)),
        ],
    }
}

pub fn login(error: Option<&str>) -> LoginPage {
    LoginPage {
        error: error.map(str::to_owned),
        cookie_holds: "A cookie holds the key’s id, sealed by this site. The key itself is not in it.".to_owned(),
        cookie_ends: "It ends 12 hours after you signed in, or when you sign out.".to_owned(),
    }
}

/// Markup, quotes, an address that is a script, characters of control and direction, and no place to break.
pub fn hostile() -> String {
    format!("<script>alert(1)</script>\"' onload=x javascript:alert(1) {{{{7}}}} &amp;\u{202e}\u{0}`]( {}", "W".repeat(200))
}

pub fn hostile_models() -> Vec<Model> {
    let mut models = models();
    for (at, model) in models.iter_mut().enumerate() {
        model.id = format!("{}{at}", hostile());
        for text in [&mut model.name, &mut model.family] {
            *text = hostile();
        }
        model.aliases = vec![hostile()];
        let reason = Reason { code: hostile(), message: hostile(), next_step: hostile() };
        let payer = model.routes.first().map(|route| Payer {
            bucket: route.bucket.clone(),
            available: Some(hostile()),
            is_affordable: Some(false),
        });
        model.availability = Availability {
            is_callable: false,
            key_label: Some(hostile()),
            reasons: vec![reason],
            payer,
            channel: Some(hostile()),
        };
        model.announced = hostile_versions();
        model.routes.iter_mut().for_each(spoil);
    }
    models
}

fn spoil(route: &mut Route) {
    route.bucket = Bucket { id: hostile(), label: hostile(), currency: hostile() };
    route.sentence = hostile();
    for row in &mut route.prices {
        *row = PriceRow { class: hostile(), amount: hostile(), unit: hostile(), tier: Some(hostile()), is_headline: true };
    }
    for candidate in &mut route.candidates {
        (candidate.channel, candidate.upstream_model) = (hostile(), hostile());
        candidate.last_failure = Some(FailureView { at: now(), kind: hostile(), message: hostile() });
        candidate.last_probe = Some(Probe { at: now(), is_ok: false, level: hostile(), latency_ms: u64::MAX, words: hostile() });
        candidate.missing = Some(Missing { since: now(), near: vec![hostile()] });
    }
}

fn hostile_versions() -> Vec<Version> {
    let mut versions = versions();
    for version in &mut versions {
        version.changes = vec![hostile()];
    }
    versions
}

pub fn hostile_model_page() -> ModelPage {
    ModelPage { model: hostile_models().remove(0), versions: hostile_versions() }
}

pub fn hostile_status() -> StatusPage {
    let mut page = status();
    page.sentence = hostile();
    for model in &mut page.models {
        (model.id, model.name) = (hostile(), hostile());
    }
    for (at, incident) in page.current.iter_mut().chain(&mut page.past).enumerate() {
        (incident.id, incident.subject, incident.cause) = (format!("{at}{}", hostile()), hostile(), hostile());
        incident.models = vec![hostile()];
    }
    page
}

pub fn hostile_site(path: &str) -> PageContext {
    PageContext { session: Some(SignedIn { key_label: hostile(), account: hostile() }), path: hostile(), ..site(path) }
}

/// Every page in every state that looks different, by name.
pub fn pages() -> Vec<(&'static str, String)> {
    use super::site::{error, home, login, model, models, status};
    let filtered = ModelFilter::read([("q", hostile().as_str()), ("family", "<b>"), ("max_price", "\"")].into_iter());
    let failed = ErrorPage { status: 404, message: None, request_id: Some("gen-01jd".to_owned()) };
    let spoiled = ErrorPage { status: 500, message: Some(hostile()), request_id: Some(hostile()) };
    let no_call = HomePage { example: None, first_byte_ms: None, ..home_page() };
    let hostile_home = HomePage { example: Some((hostile(), ModelKind::Chat)), ..home_page() };
    let hostile_list = ModelsPage { families: vec![hostile()], total: 4, models: hostile_models(), filter: filtered.clone() };
    let closed = PageContext { can_sign_in: false, ..site("/login") };
    let bare = Model { routes: Vec::new(), aliases: Vec::new(), ..model_page(false).model };
    let quiet = StatusPage { models: Vec::new(), current: Vec::new(), past: Vec::new(), ..status_page() };
    vec![
        ("home", home::home(&site("/"), &home_page())),
        ("home-nothing-callable", home::home(&signed_in("/"), &no_call)),
        ("home-hostile", home::home(&hostile_site("/"), &hostile_home)),
        ("models", models::models(&site("/models"), &models_page(ModelFilter::default()))),
        ("models-empty", models::models(&signed_in("/models"), &models_page(filtered))),
        ("models-hostile", models::models(&hostile_site("/models"), &hostile_list)),
        ("model", model::model(&site("/models/gpt-5.5"), &model_page(false))),
        ("model-signed-in", model::model(&signed_in("/models/gpt-5.5"), &model_page(true))),
        ("model-bare", model::model(&site("/models/x"), &ModelPage { model: bare, versions: Vec::new() })),
        ("model-hostile", model::model(&hostile_site("/models/x"), &hostile_model_page())),
        ("status", status::status(&site("/status"), &status_page())),
        ("status-quiet", status::status(&signed_in("/status"), &quiet)),
        ("status-hostile", status::status(&hostile_site("/status"), &hostile_status())),
        ("login", login::login(&site("/login"), &login_page(None))),
        ("login-failed", login::login(&signed_in("/login"), &login_page(Some("There is no such key.")))),
        ("login-hostile", login::login(&hostile_site("/login"), &login_page(Some(&hostile())))),
        ("login-off", login::login(&closed, &login_page(None))),
        ("error", error::error(&site("/x"), &failed)),
        ("error-hostile", error::error(&hostile_site("/x"), &spoiled)),
    ]
}

use self::{home as home_page, login as login_page, status as status_page};
