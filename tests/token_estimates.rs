//! Estimates of tokens against the counts of real tokenizers, kept in `tests/golden/tokens`: texts of many kinds, none of which
//! the weights were calibrated with.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use tokens_forge::dialect::tokens::{Counter, estimate};

const FAMILIES: [&str; 8] = ["gpt", "claude", "claude-3", "gemini", "llama", "qwen", "deepseek", "mistral"];

/// How far an estimate may be from the real count, in percent, by kind of text.
const BOUNDS: [(&str, u64); 19] = [
    ("arabic", 18),
    ("base64", 12),
    ("chinese", 12),
    ("emoji", 12),
    ("english", 12),
    ("french", 12),
    ("german", 18),
    ("hexadecimal", 12),
    ("japanese", 20),
    ("javascript", 12),
    ("json", 12),
    ("korean", 25),
    ("log", 12),
    ("markdown", 12),
    ("numbers", 12),
    ("python", 12),
    ("russian", 12),
    ("rust", 12),
    ("spanish", 20),
];
/// How far the mean over all kinds may be, by family.
const MEAN_BOUND: u64 = 7;

/// Texts and what they count, by kind.
fn golden() -> BTreeMap<String, (String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tokens");
    let read = |path: std::path::PathBuf| {
        let kind = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let golden: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        (kind, (golden["text"].as_str().unwrap().to_owned(), golden["tokens"].clone()))
    };
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

/// By how much an estimate is off, in thousandths of the real count.
fn error(family: &str, text: &str, real: u64) -> u64 {
    let mut counter = Counter::new(family);
    counter.push(text);
    assert_eq!(estimate(family, text), counter.tokens());
    counter.tokens().abs_diff(real) * 1000 / real
}

#[test]
fn estimates_are_near_the_counts_of_real_tokenizers() {
    let golden = golden();
    assert_eq!(golden.len(), BOUNDS.len());
    let mut far = Vec::new();
    for family in FAMILIES {
        let mut sum = 0;
        for (kind, bound) in BOUNDS {
            let (text, tokens) = &golden[kind];
            let error = error(family, text, tokens[family].as_u64().unwrap());
            println!("{family} {kind} {error}");
            sum += error;
            if error > bound * 10 {
                far.push(format!("{family}, {kind}: {} % where {bound} % is allowed", error / 10));
            }
        }
        let mean = sum / BOUNDS.len() as u64;
        println!("{family} mean {mean}");
        if mean > MEAN_BOUND * 10 {
            far.push(format!("{family}, mean: {} % where {MEAN_BOUND} % is allowed", mean / 10));
        }
    }
    assert!(far.is_empty(), "{}", far.join("\n"));
}

#[test]
fn estimates_are_nearer_than_four_bytes_a_token() {
    for family in FAMILIES {
        let sums = golden().values().fold((0, 0), |(model, bytes), (text, tokens)| {
            let real = tokens[family].as_u64().unwrap();
            let by_bytes = u64::try_from(text.len()).unwrap().div_ceil(4);
            (model + error(family, text, real), bytes + by_bytes.abs_diff(real) * 1000 / real)
        });
        assert!(sums.0 * 3 < sums.1, "{family}: {sums:?}");
    }
}
