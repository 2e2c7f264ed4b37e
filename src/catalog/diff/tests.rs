//! Every field has its sentence, and catalogues that differ have at least one.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::UpstreamHosts;

fn document() -> Value {
    json!({
        "version": 7,
        "buckets": {"credit": {"label": "Official credit", "currency": "USD"}, "wallet": {"label": "Wallet", "currency": "CNY"}},
        "channels": {
            "main": {"dialect": "openai", "base_url": "https://main.example/v1", "secrets": ["KEY_1", "KEY_2"]},
            "pool": {"dialect": "openai", "base_url": "https://pool.example/v1", "secrets": ["POOL"], "first_byte_timeout_ms": 30000}
        },
        "models": {
            "gpt": {
                "name": "GPT", "family": "gpt", "kind": "chat", "context_length": 400000, "max_output_tokens": 128000, "aliases": ["gpt-x", "gpt-y"],
                "routes": {"official": {
                    "bucket": "credit",
                    "price": {"input": "1.25", "cached_input": "0.5", "output": "10", "tiers": [{"above": 200000, "input": "2.5"}]},
                    "candidates": [
                        {"channel": "main", "upstream_model": "gpt-1", "weight": 3}, {"channel": "main", "upstream_model": "gpt-2"},
                        {"channel": "pool", "upstream_model": "gpt", "tier": 1}
                    ]
                }}
            },
            "paint": {
                "name": "Paint", "family": "p", "kind": "image",
                "routes": {"official": {"bucket": "credit", "price": {"images": "0.04"}, "candidates": [{"channel": "main", "upstream_model": "paint"}]}}
            }
        }
    })
}

fn catalog(document: &Value) -> Catalog {
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

/// The sentences between the sample and the sample with one value replaced; null takes it out.
fn changed(pointer: &str, value: &Value) -> Vec<Change> {
    let old = document();
    let mut new = old.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match new.pointer_mut(parent).unwrap() {
        Value::Object(fields) if value.is_null() => drop(fields.remove(name)),
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value.clone())),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
        other => panic!("{other}"),
    }
    changes(Some(&catalog(&old)), &catalog(&new))
}

#[test]
fn every_field_has_its_sentence() {
    use ChangeKind::{Added, Aliases, Bucket, Candidates, Channel, ChargePolicy, Limits, Other, Price, Removed};
    let official = "/models/gpt/routes/official";
    let at = |path: &str| format!("{official}{path}");
    let routed = json!({"bucket": "wallet", "price": {"input": "4.5", "output": "36"}, "candidates": [{"channel": "pool", "upstream_model": "gpt"}]});
    let table = [
        (at("/price/input"), json!("1.10"), Price, "gpt, official: input 1.25 -> 1.10 USD per million tokens (-12 %)"),
        (at("/price/cached_input"), json!("1"), Price, "gpt, official: cached_input 0.5 -> 1.0 USD per million tokens (+100 %)"),
        (
            at("/price/cached_input"),
            json!(null),
            Price,
            "gpt, official: cached_input 0.50 -> 1.25 (no rate of its own) USD per million tokens (+150 %)",
        ),
        (at("/price/searches"), json!("0.01"), Price, "gpt, official: searches no rate -> 0.01 USD per search"),
        (
            at("/price/tiers/0/input"),
            json!("2"),
            Price,
            "gpt, official: above 200000 input tokens, input 2.5 -> 2.0 USD per million tokens (-20 %)",
        ),
        (
            at("/price/tiers/0/output"),
            json!("15"),
            Price,
            "gpt, official: above 200000 input tokens, output 10 (no rate of its own) -> 15 USD per million tokens (+50 %)",
        ),
        (at("/price/tiers"), json!(null), Price, "gpt, official: above 200000 input tokens, no other rates any more"),
        (at("/price"), json!(null), Price, "gpt, official: price removed, so that it is not sold any more"),
        (
            "/models/paint/routes/official/price/images".into(),
            json!("0"),
            Price,
            "paint, official: images 0.04 -> 0.00 USD per image (-100 %)",
        ),
        (at("/candidates/0/weight"), json!(4), Candidates, "gpt, official: primary main/gpt-1, weight 3 -> 4"),
        (at("/candidates/2/tier"), json!(2), Candidates, "gpt, official: pool/gpt moved from tier 1 to tier 2"),
        (
            "/models/gpt/routes/routed".into(),
            routed,
            Added,
            "gpt: routed route added, paid by wallet; input 4.5, output 36 CNY per million tokens; served by pool/gpt",
        ),
        ("/models/paint".into(), json!(null), Removed, "model paint removed"),
        ("/models/gpt/name".into(), json!("G"), Other, "gpt: name \u{201c}GPT\u{201d} -> \u{201c}G\u{201d}"),
        ("/models/gpt/family".into(), json!("g"), Other, "gpt: family \u{201c}gpt\u{201d} -> \u{201c}g\u{201d}"),
        ("/models/gpt/context_length".into(), json!(500000), Limits, "gpt: context 400000 tokens -> 500000 tokens"),
        ("/models/gpt/max_output_tokens".into(), json!(64000), Limits, "gpt: output at most 128000 tokens -> 64000 tokens"),
        ("/models/gpt/aliases".into(), json!(["gpt-x", "gpt-y", "gpt-z"]), Aliases, "gpt: alias gpt-z added"),
        ("/models/gpt/aliases".into(), json!(null), Aliases, "gpt: alias gpt-x, gpt-y removed"),
        ("/models/gpt/aliases".into(), json!(["gpt-y", "gpt-x"]), Aliases, "gpt: aliases in another order: gpt-y, gpt-x"),
        (
            "/channels/new".into(),
            json!({"dialect": "anthropic", "base_url": "https://a.example/v1", "secrets": ["A"]}),
            Added,
            "channel new added: anthropic at https://a.example/v1",
        ),
        ("/channels/pool/dialect".into(), json!("gemini"), Channel, "channel pool: dialect openai -> gemini"),
        (
            "/channels/pool/base_url".into(),
            json!("https://b.example/v1"),
            Channel,
            "channel pool: address https://pool.example/v1 -> https://b.example/v1",
        ),
        (
            "/channels/main/secrets".into(),
            json!(["KEY_2", "KEY_1"]),
            Channel,
            "channel main: credentials KEY_1, KEY_2 -> KEY_2, KEY_1",
        ),
        ("/channels/pool/first_byte_timeout_ms".into(), json!(10000), Limits, "channel pool: time to first byte 30 s -> 10 s"),
        ("/channels/pool/idle_timeout_ms".into(), json!(1500), Limits, "channel pool: silence at most 60 s -> 1500 ms"),
        (
            "/channels/pool/on_client_gone".into(),
            json!("drain"),
            Channel,
            "channel pool: when a client leaves, the call is cancelled -> read to its end",
        ),
        (
            "/channels/pool/output_limit_field".into(),
            json!("max_tokens"),
            Channel,
            "channel pool: output is limited by either field -> max_tokens",
        ),
        ("/channels/pool/responses".into(), json!(true), Channel, "channel pool: serves responses itself: no -> yes"),
        (
            "/channels/pool/stream_usage".into(),
            json!(false),
            Channel,
            "channel pool: is asked for the usage of streams: yes -> no",
        ),
        (
            "/channels/pool/thoughts".into(),
            json!("all"),
            Channel,
            "channel pool: thoughts that go back to it: as its models tell -> all",
        ),
        ("/channels/pool/unknown_tools".into(), json!(true), Channel, "channel pool: takes tools that nobody knows: no -> yes"),
        (
            "/channels/pool/reasoning_tokens".into(),
            json!("outside"),
            Channel,
            "channel pool: reasoning tokens are as its totals tell -> beside the completion",
        ),
        ("/buckets/wallet".into(), json!(null), Removed, "bucket wallet removed"),
        ("/buckets/wallet/label".into(), json!("W"), Bucket, "bucket wallet: label \u{201c}Wallet\u{201d} -> \u{201c}W\u{201d}"),
        ("/channels/pool/probe_daily_cap".into(), json!("0.5"), Limits, "channel pool: probes may cost in a day 0.05 -> 0.5"),
        (
            "/buckets/wallet/usd".into(),
            json!("0.14"),
            Bucket,
            "bucket wallet: a unit is about worth in US dollars not told -> 0.14",
        ),
        ("/buckets/wallet/currency".into(), json!("EUR"), Bucket, "bucket wallet: currency CNY -> EUR"),
        ("/buckets/third".into(), json!({"label": "T", "currency": "EUR"}), Added, "bucket third added, in EUR"),
        (
            "/charge_policy".into(),
            json!({"upstream_cut": "usage"}),
            ChargePolicy,
            "charge policy: a stream that upstream cut short costs nothing -> what arrived",
        ),
        ("/hold_timeout_ms".into(), json!(600_000), Limits, "holds: time-out 900 s -> 600 s"),
        (
            "/browser_origins".into(),
            json!(["https://app.example", "*"]),
            Other,
            "pages of other sites: may call with any key: none -> https://app.example, *",
        ),
        ("/output_floor_tokens".into(), json!(512), Limits, "limits fitted to a balance: tokens at least 4096 -> 512"),
        (
            "/buckets/credit/top_up_url".into(),
            json!("https://pay.example/"),
            Bucket,
            "bucket credit: topped up at no page -> https://pay.example/",
        ),
    ];
    for (pointer, value, kind, text) in table {
        let found = changed(&pointer, &value);
        let [change] = found.as_slice() else { panic!("{pointer}: {found:?}") };
        assert_eq!((change.kind, change.text.as_str()), (kind, text), "{pointer}");
        assert_eq!(change.model.is_some(), pointer.starts_with("/models"), "{pointer}");
    }
}

#[test]
fn a_change_of_more_than_one_thing_is_told_in_order() {
    let texts = |pointer: &str, value: Value| changed(pointer, &value).into_iter().map(|change| change.text).collect::<Vec<_>>();
    let candidates = json!([{"channel": "pool", "upstream_model": "gpt"}, {"channel": "main", "upstream_model": "gpt-1", "tier": 1, "weight": 3},
        {"channel": "pool", "upstream_model": "gpt-9", "tier": 1, "weight": 2}]);
    assert_eq!(
        texts("/models/gpt/routes/official/candidates", candidates),
        [
            "gpt, official: pool/gpt moved from tier 1 to tier 0",
            "gpt, official: main/gpt-1 moved from tier 0 to tier 1",
            "gpt, official: backup pool/gpt-9 added in tier 1, weight 2",
            "gpt, official: primary main/gpt-2 removed from tier 0",
        ]
    );
    let swapped = json!([{"channel": "main", "upstream_model": "gpt-2"}, {"channel": "main", "upstream_model": "gpt-1", "weight": 3},
        {"channel": "pool", "upstream_model": "gpt", "tier": 1}]);
    assert_eq!(
        texts("/models/gpt/routes/official/candidates", swapped),
        ["gpt, official: candidates in another order: main/gpt-2, main/gpt-1, pool/gpt"]
    );
    assert_eq!(
        texts("/models/paint/routes/official/bucket", json!("wallet")),
        ["paint, official: paid by credit -> wallet", "paint, official: images 0.04 USD -> 0.04 CNY per image"]
    );
    assert_eq!(
        texts(
            "/models/paint/routes",
            json!({"routed": {"bucket": "wallet", "candidates": [{"channel": "main", "upstream_model": "p"}]}})
        ),
        [
            "paint: official route removed",
            "paint: routed route added, paid by wallet; without a price, so that it is not sold; served by main/p",
        ]
    );
}

#[test]
fn the_first_catalogue_is_all_new() {
    let texts: Vec<String> = changes(None, &catalog(&document())).into_iter().map(|change| change.text).collect();
    assert_eq!(
        texts,
        [
            "model gpt added: chat, 400000 tokens of context, 128000 of output, also called gpt-x, gpt-y",
            "gpt: official route added, paid by credit; input 1.25, cached_input 0.5, output 10 USD per million tokens; \
             above 200000 input tokens, input 2.5 USD per million tokens; served by main/gpt-1, then main/gpt-2, then pool/gpt",
            "model paint added: image, 65536 tokens of context, 16384 of output",
            "paint: official route added, paid by credit; images 0.04 USD per image; served by main/paint",
            "channel main added: openai at https://main.example/v1",
            "channel pool added: openai at https://pool.example/v1",
            "bucket credit added, in USD",
            "bucket wallet added, in CNY",
        ]
    );
}

#[test]
fn percents_are_rounded_to_the_nearest_and_halves_away_from_zero() {
    let table = [
        ("1", "1", None),
        ("0", "1", None),
        ("1.25", "1.1", Some("-12 %")),
        ("2", "2.01", Some("+1 %")),
        ("2", "1.99", Some("-1 %")),
        ("2", "2.009", Some("less than +1 %")),
        ("2", "1.991", Some("less than -1 %")),
        ("200", "203", Some("+2 %")),
        ("200", "197", Some("-2 %")),
        ("0.000000001", "9007199.254740991", Some("+900719925474099000 %")),
        ("3", "0", Some("-100 %")),
    ];
    for (old, new, text) in table {
        let read = |text: &str| crate::money::Money::parse(text).unwrap();
        assert_eq!(price::percent(read(old), read(new)).as_deref(), text, "{old} -> {new}");
    }
}

#[test]
fn a_kind_that_is_not_known_yet_is_another() {
    let text = r#"{"model": "m", "kind": "of tomorrow", "text": "m: something"}"#;
    assert_eq!(serde_json::from_str::<Change>(text).unwrap().kind, ChangeKind::Other);
}

fn candidate() -> impl Strategy<Value = Value> {
    (prop::sample::select(vec!["main", "pool"]), prop::sample::select(vec!["a", "b"]), 0..2_u8, 1..3_u32).prop_map(
        |(channel, model, tier, weight)| json!({"channel": channel, "upstream_model": model, "tier": tier, "weight": weight}),
    )
}

fn some<T: std::fmt::Debug + Clone + 'static>(values: Vec<T>) -> impl Strategy<Value = T> {
    prop::sample::select(values)
}

fn route() -> impl Strategy<Value = Value> {
    let rate = || some(vec![json!("1"), json!("2.5")]);
    let other = || some(vec![json!(null), json!("0"), json!("2.5")]);
    let tiers = some(vec![
        json!([]),
        json!([{"above": 5, "input": "3"}]),
        json!([{"above": 5, "output": "3"}, {"above": 9, "input": "1"}]),
    ]);
    let price = (rate(), rate(), other(), other(), tiers)
        .prop_map(|(input, output, cached, search, tiers)| json!({"input": input, "output": output, "cached_input": cached, "searches": search, "tiers": tiers}));
    (some(vec!["credit", "wallet"]), prop::option::of(price), prop::collection::vec(candidate(), 1..4))
        .prop_map(|(bucket, price, candidates)| json!({"bucket": bucket, "price": price, "candidates": candidates}))
        .prop_map(|mut route| {
            if route["price"].is_null() {
                route.as_object_mut().unwrap().remove("price");
            }
            route
        })
}

fn documents() -> impl Strategy<Value = Value> {
    let channel = || {
        let names = some(vec![json!(["A"]), json!(["A", "B"]), json!(["B", "A"])]);
        (some(vec!["openai", "anthropic"]), names, 1..3_u32, some(vec!["cancel", "drain"]), any::<bool>()).prop_map(
            |(dialect, secrets, ms, gone, usage)| {
                json!({"dialect": dialect, "base_url": "https://c.example", "secrets": secrets, "first_byte_timeout_ms": ms,
                "idle_timeout_ms": 3 - ms, "on_client_gone": gone, "stream_usage": usage})
            },
        )
    };
    let model = || {
        let aliases = some(vec![json!([]), json!(["x"]), json!(["x", "y"]), json!(["y", "x"])]);
        let routes = (prop::option::of(route()), prop::option::of(route()));
        (some(vec!["N", "M"]), 9..11_u64, aliases, routes).prop_map(|(name, context, aliases, (official, routed))| {
            let routes = [("official", official), ("routed", routed)].into_iter().filter_map(|(kind, route)| Some((kind.to_owned(), route?)));
            json!({"name": name, "family": "f", "kind": "chat", "context_length": context, "max_output_tokens": 5, "aliases": aliases,
                "routes": Value::Object(routes.collect())})
        })
    };
    let models = (prop::option::of(model()), prop::option::of(model()));
    (1..3_u64, channel(), channel(), models, some(vec!["USD", "EUR"]), some(vec!["free", "usage"])).prop_map(
        |(version, main, pool, (m, n), currency, cut)| {
            // Only one of the two may have the aliases.
            let n = n.map(|mut n| {
                n["aliases"] = json!([]);
                n
            });
            let models = [("m", m), ("n", n)].into_iter().filter_map(|(name, model)| Some((name.to_owned(), model?)));
            json!({"version": version, "channels": {"main": main, "pool": pool}, "models": Value::Object(models.collect()),
            "buckets": {"credit": {"label": "C", "currency": "USD"}, "wallet": {"label": "W", "currency": currency}},
            "charge_policy": {"upstream_cut": cut}, "hold_timeout_ms": version * 1000, "output_floor_tokens": version,
            "browser_origins": if version == 1 { json!([]) } else { json!(["https://app.example"]) }})
        },
    )
}

/// All of a catalogue but its version.
fn is_same(a: &Catalog, b: &Catalog) -> bool {
    (&a.buckets, &a.channels, &a.models) == (&b.buckets, &b.channels, &b.models)
        && (a.upstream_cut, a.hold_timeout_ms, a.output_floor_tokens)
            == (b.upstream_cut, b.hold_timeout_ms, b.output_floor_tokens)
        && a.browser_origins == b.browser_origins
}

/// The same document with one part of the other in its place, so that pairs differ in little too.
fn graft(into: &Value, from: &Value, at: &str) -> Value {
    let mut grafted = into.clone();
    if let (Some(to), Some(from)) = (grafted.pointer_mut(at), from.pointer(at)) {
        *to = from.clone();
    }
    grafted
}

proptest! {
    #[test]
    fn catalogues_that_differ_have_a_change_and_equal_ones_none(
        a in documents(),
        b in documents(),
        at in some(vec!["", "/version", "/channels/pool", "/models/m/aliases", "/models/n/routes/routed", "/models/m/routes/official/price",
            "/models/m/routes/official/candidates", "/models/m/name", "/buckets/wallet", "/charge_policy"]),
    ) {
        let (old, new) = (catalog(&a), catalog(&graft(&a, &b, at)));
        let found = changes(Some(&old), &new);
        prop_assert_eq!(found.is_empty(), is_same(&old, &new), "{:?}", found);
        prop_assert_eq!(changes(Some(&new), &old).is_empty(), found.is_empty());
        prop_assert!(changes(Some(&old), &catalog(&a)).is_empty());
    }
}
