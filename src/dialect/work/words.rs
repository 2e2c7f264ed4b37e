//! The same of what upstream says of an error: however odd its words are, making them such as may be read takes no more work than
//! their bytes.

use std::rc::Rc;

use serde_json::json;

use super::{MUCH, Measured, growth, tell, work};
use crate::dialect::discreet::{Discretion, without_credential, without_host, without_names};
use crate::dialect::told::told_event;

/// What a text can have very much of.
const PIECES: [&str; 30] = [
    "a=",
    "a:",
    "A.",
    "a.",
    "1.",
    "a/",
    "sk-a/",
    "sk-",
    "_",
    "*",
    "**a ",
    "-",
    "::",
    "a::",
    "1:",
    "@",
    "a@",
    "://",
    "a://",
    "[",
    "a://]",
    "]",
    "é",
    "org/",
    "project:1 ",
    "localhost",
    "10.0.0.1-",
    "api.example.com",
    "retry_after",
    "x x",
];

fn told(text: &str) {
    let discretion: Discretion = Rc::new(|text: &str| {
        without_host(&without_names(&without_credential(text, "sk-live-0123456789abcdef")), "llm.api.example.com")
    });
    discretion(text);
    let waits: Vec<_> = text.split(' ').map(|word| json!({"retry_after": [word, 1], "retry_delay": {"seconds": 1}})).collect();
    told_event(
        None,
        &json!({"type": "error", "message": text, "error": {"message": text, "details": waits}}).to_string(),
        &discretion,
    );
    told_event(Some("error"), &json!({"error": {"retry_after": text}}).to_string(), &discretion);
}

/// What stands in itself, with what closes it.
const NESTS: [(&str, &str); 9] = [
    ("[", "]"),
    ("[[", ",1]]"),
    ("{\"a\":", "}"),
    ("{\"error\":", "}"),
    ("{\"message\":", "}"),
    ("{\"retry_after\":", "}"),
    ("[{\"retry_after\":[", "]}]"),
    ("{\"retry_after\":{\"seconds\":", "},\"seconds\":5}"),
    ("{\"response\":{\"error\":", "}}"),
];

#[test]
fn words_take_no_more_work_than_their_bytes() {
    let mut found = Vec::new();
    for one in PIECES {
        for other in ["", "a", ".", " ", "api.example.com"] {
            let of = |much: usize| {
                let text = format!("{}{}", one.repeat(much), other.repeat(much));
                let work = work(|| told(&text));
                Measured { work, bytes: text.len(), is_served: true }
            };
            found.push((growth([of(1), of(MUCH[0]), of(MUCH[1])]), format!("{one:?} {other:?}")));
        }
    }
    tell_each(found);
}

#[test]
fn nests_take_no_more_work_than_their_bytes() {
    let mut found = Vec::new();
    let discretion: Discretion = Rc::new(|text: &str| without_names(text));
    for (open, close) in NESTS {
        for inner in ["1", "86400", "\"10.0.0.1\""] {
            for (before, after) in [
                ("{\"error\":", "}"),
                ("{\"error\":{},\"choices\":[],\"retry_after\":", "}"),
                ("{\"error\":{\"retry_after\":", "}}"),
            ] {
                let of = |much: usize| {
                    let event = format!("{before}{}{inner}{}{after}", open.repeat(much), close.repeat(much));
                    let work = work(|| drop(told_event(None, &event, &discretion)));
                    Measured { work, bytes: event.len(), is_served: true }
                };
                found.push((growth([of(1), of(MUCH[0]), of(MUCH[1])]), format!("{before} {open} {inner}")));
            }
        }
    }
    tell_each(found);
}

/// Each byte is looked at by every form of a credential and of a host.
fn tell_each(found: Vec<((f64, f64), String)>) {
    tell(found.into_iter().map(|((taken, growth), what)| ((taken / FORMS, growth), what)).collect());
}

/// So many forms are looked for, one after the other.
const FORMS: f64 = 30.0;
