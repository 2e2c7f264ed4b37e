//! An account with a request of each kind, and what its receipts come to: what reports are held against.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokens_forge::money::Money;

use crate::gateway::{ANSWER, Answered, Gateway, chat};
use crate::support::outside::Script;

const REASONING: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":16,"completion_tokens_details":{"reasoning_tokens":6}}}"#;
const CACHED: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}"#;

pub struct Varied {
    pub account: String,
    pub key: String,
    pub secret: String,
    /// Oldest first.
    pub receipts: Vec<Value>,
}

impl Gateway {
    /// An account with one in each bucket, and a request of each kind.
    pub fn varied(&mut self) -> Varied {
        let account = self.account(&[("credit", "1"), ("wallet", "1")]);
        let (key, secret) = self.key(&account, &json!({"cross_routes": true}));
        let mut receipts = Vec::new();
        for (host, scripts, fields) in [
            ("main", vec![], json!({"model": "one"})),
            ("pool", vec![], json!({"model": "both:routed"})),
            ("main", vec![], json!({"model": "both"})),
            ("main", vec![Script::Status(503, "{}")], json!({"model": "two"})),
            ("main", vec![Script::Status(503, "{}"), Script::Status(200, ANSWER)], json!({"model": "again"})),
            ("main", vec![Script::Status(200, REASONING)], json!({"model": "one"})),
            ("main", vec![Script::Status(200, CACHED)], json!({"model": "one"})),
            ("main", vec![Script::Status(400, r#"{"error":{"message":"no","code":"x"}}"#)], json!({"model": "one"})),
            ("main", vec![], json!({"model": "no-such-model"})),
            ("main", vec![], json!({"model": "one"})),
        ] {
            for script in scripts {
                self.script(host, script);
            }
            self.advance(1);
            let answered = self.chat(&secret, &fields);
            receipts.push(self.receipt(&secret, &answered));
        }
        Varied { account, key, secret, receipts }
    }

    /// Every row of a list, page by page.
    pub fn all(&mut self, credential: &str, path: &str, limit: u32) -> Vec<Value> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let mark = if path.contains('?') { '&' } else { '?' };
            let page = self.get(credential, &format!("{path}{mark}limit={limit}{after}")).ok();
            rows.extend(page["data"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return rows };
            after = format!("&after={}", percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC));
        }
    }

    /// A request that is answered with what this model is.
    pub fn in_run(&mut self, secret: &str, fields: &Value, run: &str) -> Answered {
        let mut call = chat(secret, fields);
        call.head.run = Some(run.to_owned());
        self.send(call)
    }
}

pub fn nanos(value: &Value) -> i64 {
    Money::parse(value.as_str().unwrap_or_else(|| panic!("{value} is no amount"))).unwrap().nanos()
}

pub fn decimal(nanos: i64) -> String {
    Money::from_nanos(nanos).unwrap().to_string()
}

pub fn total<'a>(amounts: impl IntoIterator<Item = &'a Value>) -> String {
    decimal(amounts.into_iter().map(nanos).sum())
}

/// What a receipt is told apart by.
pub fn dimension(receipt: &Value, name: &str) -> Value {
    let or = |field: &str, other: Value| if receipt[field].is_null() { other } else { receipt[field].clone() };
    match name {
        "day" => json!(receipt["closed_at"].as_str().unwrap()[..10]),
        "model" => or("model", or("counted_as", receipt["requested_model"].clone())),
        "route" | "bucket" => or(name, json!("")),
        "cause" if receipt["fallbacks"] != 0 => json!("fallback"),
        "cause" if receipt["retries"] != 0 => json!("retry"),
        "cause" => json!("direct"),
        _ => receipt[name].clone(),
    }
}

/// The columns of sums that are counted.
const COUNTED: [&str; 10] = [
    "requests",
    "unpaid",
    "retries",
    "fallbacks",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "charge",
    "input_charge",
];

/// The sums of receipts by some dimensions.
pub fn grouped<'a>(by: &[&str], receipts: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, Value> {
    let mut groups: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for receipt in receipts {
        let name: Vec<Value> = by.iter().map(|name| dimension(receipt, name)).collect();
        groups.entry(json!(name).to_string()).or_default().push(receipt);
    }
    let sums = |group: Vec<&Value>| {
        let sum = |of: &dyn Fn(&Value) -> u64| group.iter().map(|receipt| of(receipt)).sum::<u64>();
        let used = |names: &'static [&'static str]| {
            sum(&|receipt| names.iter().map(|name| receipt["usage"][name].as_u64().unwrap_or(0)).sum())
        };
        let field = |name: &'static str| sum(&|receipt| receipt[name].as_u64().unwrap());
        json!({
            "requests": group.len(), "unpaid": sum(&|receipt| u64::from(receipt["charge"] == "0")), "retries": field("retries"),
            "fallbacks": field("fallbacks"), "input_tokens": used(&["input", "cached_input", "cache_write", "audio_input"]),
            "cached_tokens": used(&["cached_input"]), "output_tokens": used(&["output", "reasoning", "audio_output"]),
            "reasoning_tokens": used(&["reasoning"]), "charge": total(group.iter().map(|receipt| &receipt["charge"])),
            "input_charge": total(group.iter().map(|receipt| &receipt["input_charge"])),
        })
    };
    groups.into_iter().map(|(name, group)| (name, sums(group))).collect()
}

/// The rows of an answer in the same shape.
pub fn summed<'a>(by: &[&str], rows: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, Value> {
    let mut sums = BTreeMap::new();
    for row in rows {
        let name: Vec<&Value> = by.iter().map(|name| &row[name]).collect();
        let counted: serde_json::Map<String, Value> =
            COUNTED.iter().map(|name| ((*name).to_owned(), row[name].clone())).collect();
        assert!(sums.insert(json!(name).to_string(), Value::Object(counted)).is_none(), "each once: {row}");
    }
    sums
}
