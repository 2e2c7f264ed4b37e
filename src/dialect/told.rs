//! Errors in the events of a stream, such as clients may read them: every text in them is told with discretion, and no time to wait
//! is beyond the bound.
//!
//! What always holds: an event is gone through once, however deep what stands in it is; what tells no error is not looked into.

use std::borrow::Cow;

use super::bounds::next_quote;
use super::discreet::Discretion;
use super::json::{Edit, Object, may_have, quoted, text_of};
use super::waits::{self, ScanPlace};

/// Members of which an event of an answer has one. What has none and says something is an error, whatever it is called.
const ANSWERS: [&str; 7] = ["choices", "candidates", "response", "delta", "content_block", "item", "part"];
/// Members that say something where no answer is.
const SAYS: [&str; 3] = ["message", "detail", "msg"];
/// The same as they stand in an event: looked for in every one.
const SAYS_IN_JSON: [&str; 3] = ["\"message\"", "\"detail\"", "\"msg\""];
/// What Google's clients know details of errors by.
const KIND: &str = "@type";
const KINDS: &str = "type.googleapis.com/";

/// Where an event of a stream tells an error, its data as they may be read; none where nothing changes.
pub fn told_event(name: Option<&str>, data: &str, discretion: &Discretion) -> Option<String> {
    let is_named = name.is_some_and(|name| name.trim().eq_ignore_ascii_case("error"));
    // Nearly no event has one.
    if !is_named && !may_have(data, "error") && !SAYS_IN_JSON.iter().any(|name| data.contains(name)) {
        return None;
    }
    let event = Object::parse(data)?;
    let has_error = event.given("error").is_some();
    let is_error = is_named || event.get("type").and_then(text_of).is_some_and(|kind| kind == "error");
    let is_answer = ANSWERS.iter().any(|name| event.given(name).is_some());
    let says = || has_error || SAYS.iter().any(|name| event.get(name).is_some_and(|json| json.starts_with('"')));
    if is_error || !is_answer && says() {
        return told(data, None, discretion);
    }
    let mut edits = told_error(&event, discretion);
    if has_error {
        let beside = waits::BESIDE.into_iter().filter_map(|name| {
            let told = told(event.get(name)?, waits::most_of(name), discretion)?;
            Some(Edit::Set(name, told))
        });
        edits.extend(beside);
    }
    for name in ["response", "message"] {
        let Some(inner) = event.get(name).and_then(Object::parse) else { continue };
        let within = told_error(&inner, discretion);
        if !within.is_empty() {
            edits.push(Edit::Set(name, inner.edited(&within)));
        }
    }
    (!edits.is_empty()).then(|| event.edited(&edits))
}

fn told_error(object: &Object<'_>, discretion: &Discretion) -> Vec<Edit> {
    let error = object.get("error").and_then(|json| told(json, None, discretion));
    error.map(|json| Edit::Set("error", json)).into_iter().collect()
}

/// A JSON text with every string in it as it may be read, and no time to wait beyond the bound; none where nothing changes. `most`
/// is what it may be where it is such a time itself.
fn told(json: &str, most: Option<u64>, discretion: &Discretion) -> Option<String> {
    let bytes = json.as_bytes();
    let (mut place, mut is_kind) = (ScanPlace::before(most), false);
    let (mut out, mut copied, mut at) = (String::new(), 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let from = at;
        at = at.saturating_add(1);
        let told = match byte {
            b'"' => {
                at = next_quote(bytes, at)?.saturating_add(1);
                let said = text(json.get(from..at)?);
                if json.get(at..)?.trim_ascii_start().starts_with(':') {
                    place.name(&said);
                    is_kind = said == KIND;
                    continue;
                }
                let most = place.value();
                if std::mem::take(&mut is_kind) && is_google_kind(&said) {
                    continue;
                }
                let told = most.and_then(|most| waits::bounded_text(&said, most)).unwrap_or_else(|| {
                    let told = discretion(&said);
                    google_wait(&told).unwrap_or(told)
                });
                (told != *said).then(|| quoted(&told))
            }
            b'{' | b'[' => {
                place.enter(*byte == b'{');
                continue;
            }
            b'}' | b']' => {
                place.leave();
                continue;
            }
            // Numbers, true, false, null.
            byte if byte.is_ascii_alphanumeric() || *byte == b'-' => {
                let is_in = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                at = at.saturating_add(bytes.get(at..)?.iter().take_while(is_in).count());
                place.value().and_then(|most| waits::bounded_number(json.get(from..at)?, most))
            }
            _ => continue,
        };
        if let Some(told) = told {
            out.push_str(json.get(copied..from)?);
            out.push_str(&told);
            copied = at;
        }
    }
    out.push_str(json.get(copied..)?);
    (copied > 0).then_some(out)
}

/// What a string in JSON says. Halves of letters, which no reader of ours takes, are told as what they are to others.
fn text(json: &str) -> Cow<'_, str> {
    let lenient = || {
        let mut pieces = json.split("\\u");
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let is_half = piece.get(..2).is_some_and(|head| {
                head.starts_with(['d', 'D']) && head.ends_with(|c: char| matches!(c, '8' | '9' | 'a'..='f' | 'A'..='F'))
            });
            out.push_str(if is_half { "\\ufffd" } else { "\\u" });
            out.push_str(if is_half { piece.get(4..).unwrap_or_default() } else { piece });
        }
        text_of(&out).map(|text| Cow::Owned(text.into_owned()))
    };
    text_of(json).or_else(lenient).unwrap_or_default()
}

/// Whether a text names a kind of details in Google's way: it says nothing of who answers.
fn is_google_kind(text: &str) -> bool {
    let kind = text.strip_prefix(KINDS);
    kind.is_some_and(|kind| {
        kind.starts_with("google.rpc.") && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    })
}

/// A time such as Google writes it, `86400s`, whatever the member is called, within the bound; none where it is.
fn google_wait(text: &str) -> Option<String> {
    let is_one = text.strip_suffix('s').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    if is_one { waits::bounded_duration(text) } else { None }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::super::discreet::{without_credential, without_names};
    use super::*;

    const SECRET: &str = "sk-live/AbCdEf+0123456789=wxyz";

    fn discretion() -> Discretion {
        Rc::new(|text| without_names(&without_credential(text, SECRET)))
    }

    #[test]
    fn an_error_in_a_stream_is_told_in_the_same_way_and_nothing_else_changes() {
        for (event, told) in [
            (
                r#"{"id":"x", "error":{"message":"no \"key\" sk-live\/AbCdEf+0123456789=wxyz at https:\/\/a.example.com\/v1","code":"n", "n":1.0}}"#,
                Some(r#"{"id":"x", "error":{"message":"no \"key\" [credential] at [address]","code":"n", "n":1.0}}"#),
            ),
            (
                r#"{"type":"error","message":"in org-AbC123def456","sequence_number":3}"#,
                Some(r#"{"type":"error","message":"in [account]","sequence_number":3}"#),
            ),
            (
                r#"{"type":"response.failed","response":{"output":[{"text":"at https://a.example.com"}],"error":{"message":"at a.example.com"}}}"#,
                Some(
                    r#"{"type":"response.failed","response":{"output":[{"text":"at https://a.example.com"}],"error":{"message":"at [address]"}}}"#,
                ),
            ),
            (
                r#"{"error":{"code":429,"details":[{"@type":"type.x","retryDelay":"999999s"},{"retryDelay":"7s"}]}}"#,
                Some(r#"{"error":{"code":429,"details":[{"@type":"type.x","retryDelay":"3600s"},{"retryDelay":"7s"}]}}"#),
            ),
            (
                r#"{"error":{"message":"busy","retry_after":86400,"retry_after_ms": "86400000", "n":86400,"metadata":{"headers":{"Retry-After":["86400"]},"retry\u005fafter_seconds":9e9}}}"#,
                Some(
                    r#"{"error":{"message":"busy","retry_after":3600,"retry_after_ms": "3600000", "n":86400,"metadata":{"headers":{"Retry-After":["3600"]},"retry\u005fafter_seconds":3600}}}"#,
                ),
            ),
            (
                r#"{"type":"error","message":"busy","retry_after":86400,"retryAfterMs":60000,"limit":86400}"#,
                Some(r#"{"type":"error","message":"busy","retry_after":3600,"retryAfterMs":60000,"limit":86400}"#),
            ),
            (
                r#"{"error":{"message":"at a.example.com","retry_delay":{"seconds":86400,"nanos":1},"see":"https://a.example.com"},"retry-after":"1d"}"#,
                Some(
                    r#"{"error":{"message":"at [address]","retry_delay":{"seconds":3600,"nanos":1},"see":"[address]"},"retry-after":"3600s"}"#,
                ),
            ),
            (
                r#"{"type":"response.failed","response":{"metadata":{"retry_after":"86400"},"error":{"retry_after":86400}}}"#,
                Some(
                    r#"{"type":"response.failed","response":{"metadata":{"retry_after":"86400"},"error":{"retry_after":3600}}}"#,
                ),
            ),
            (r#"{"error":{"message":"busy","retry_after":30,"retry_after_ms":"30000","retry_delay":"12.5s"}}"#, None),
            (r#"{"choices":[{"delta":{"content":"no error"}}],"retry_after":86400}"#, None),
            (r#"{"choices":[{"delta":{"content":"an error at https://a.example.com"}}]}"#, None),
            (r#"{"error":null,"choices":[]}"#, None),
            (r#"{"error":{"message":"plain words"}}"#, None),
        ] {
            assert_eq!(told_event(None, event, &discretion()).as_deref(), told, "{event}");
        }
    }

    #[test]
    fn an_error_is_known_by_its_name_and_by_what_it_says() {
        const SAID: &str = "upstream https://10.0.0.1/x failed";
        for (name, event, is_told) in [
            (Some("error"), r#"{"code":"500","message":"SAID"}"#, true),
            (Some("Error "), r#"{"reason":["SAID"]}"#, true),
            (Some("error"), r#"{"choices":[],"reason":"SAID"}"#, true),
            (None, r#"{"\u0065rror":{"message":"SAID"}}"#, true),
            (None, r#"{"err\u006fr":"SAID","choices":[]}"#, true),
            (None, r#"{"type":"\u0065rror","why":"SAID"}"#, true),
            (None, r#"{"code":"500","message":"SAID"}"#, true),
            (None, r#"{"type":"server","message":"x","more":{"said":"SAID"}}"#, true),
            (None, r#"{"detail":"SAID"}"#, true),
            (None, r#"{"error":true,"reason":"SAID"}"#, true),
            (None, r#"{"type":"response.failed","response":{"\u0065rror":{"message":"SAID"}}}"#, true),
            (None, r#"{"choices":[{"delta":{"content":"SAID"}}],"message":"m","error":null}"#, false),
            (None, r#"{"type":"message_start","message":{"role":"assistant","content":"SAID"}}"#, false),
            (None, r#"{"type":"response.output_text.delta","delta":"SAID \"error\" \"message\""}"#, false),
            (Some("message"), r#"{"candidates":[{"content":"SAID"}]}"#, false),
        ] {
            let event = event.replace("SAID", SAID);
            let told = told_event(name, &event, &discretion());
            assert_eq!(told, is_told.then(|| event.replace("https://10.0.0.1/x", "[address]")), "{event}");
        }
    }

    #[test]
    fn times_to_wait_are_bounded_in_every_form_and_the_rest_of_them_is_told_with_discretion() {
        for (wait, told) in [
            ("{\"seconds\":86400,\"nanos\":5}", Some("{\"seconds\":3600,\"nanos\":5}")),
            ("{\"seconds\":\"86400\"}", Some("{\"seconds\":\"3600\"}")),
            ("{\"ms\":86400,\"minutes\":61 ,\"hours\" : 2}", Some("{\"ms\":86400,\"minutes\":60 ,\"hours\" : 1}")),
            ("{\"seconds\":60}", None),
            ("[\"86400\", 5]", Some("[\"3600\", 5]")),
            ("[[86400]]", None),
            ("[{\"seconds\":86400}]", None),
            ("{\"a\":{\"seconds\":86400}}", None),
            ("{\"a\":[1],\"seconds\":86400}", Some("{\"a\":[1],\"seconds\":3600}")),
            ("[[1],{\"a\":1},86400]", Some("[[1],{\"a\":1},3600]")),
            (
                "{\"retry_after\":{\"retry_in\":86400},\"seconds\":86400}",
                Some("{\"retry_after\":{\"retry_in\":3600},\"seconds\":3600}"),
            ),
            ("null,\"n\":86400", None),
            ("true,\"n\":[86400]", None),
            (
                "{\"seconds\":86400,\"via\":\"https://10.0.0.1/x sk-abc12345678\"}",
                Some("{\"seconds\":3600,\"via\":\"[address] [credential]\"}"),
            ),
            ("[\"at https://10.0.0.1/x\",[[\"10.0.0.1\"]]]", Some("[\"at [address]\",[[\"[address]\"]]]")),
            ("\"86400 at https://10.0.0.1/x\"", Some("\"86400 at [address]\"")),
            ("\"\\ud800 https://10.0.0.1/x \\\\u\"", Some("\"\u{fffd} [address] \\\\u\"")),
            ("-86400", None),
            ("1.5E9", Some("3600")),
        ] {
            for (before, after) in
                [("{\"error\":{\"retry_after\":", "}}"), ("{\"error\":{},\"choices\":[],\"retry_after\":", "}")]
            {
                let event = format!("{before}{wait}{after}");
                let expected = told.map(|told| format!("{before}{told}{after}"));
                assert_eq!(told_event(None, &event, &discretion()), expected, "{event}");
            }
        }
    }

    /// Far deeper than any stack: nothing here calls itself for what stands in a value.
    #[test]
    fn no_depth_is_too_deep_and_what_is_around_it_is_told() {
        const DEEP: usize = 50_000;
        for (open, close) in
            [("[", "]"), ("{\"retry_after\":", "}"), ("[{\"retry_after\":[", "]}]"), ("{\"error\":", "}"), ("{\"a\":[", "]}")]
        {
            for inner in ["1", "{}"] {
                let deep = format!("{}{inner}{}", open.repeat(DEEP), close.repeat(DEEP));
                for (before, after) in
                    [("{\"error\":", ",\"retry_after\":1}"), ("{\"error\":{\"retry_after\":", "},\"retry_after\":1}")]
                {
                    let event = format!("{before}{deep}{after}");
                    assert_eq!(told_event(None, &event, &discretion()), None, "{open}");
                    let event = event.replace(",\"retry_after\":1}", ",\"retry_after\":86400,\"at\":\"10.0.0.1\"}");
                    let told = told_event(None, &event, &discretion()).unwrap();
                    assert!(told == event.replace("86400", "3600").replace("10.0.0.1", "[address]"), "{open}");
                }
            }
        }
    }

    #[test]
    fn kinds_of_details_stay_where_they_are_ones() {
        let event = |kind: &str| {
            format!("{{\"error\":{{\"details\":[{{\"@type\":\"{kind}\"}},\"type.googleapis.com/google.rpc.Help\"]}}}}")
        };
        for (kind, told) in [
            ("type.googleapis.com/google.rpc.RetryInfo", "type.googleapis.com/google.rpc.RetryInfo"),
            ("type.googleapis.com/google.rpc.RetryInfo at https://10.0.0.1/", "[address] at [address]"),
            ("type.example.com/google.rpc.RetryInfo", "[address]"),
        ] {
            let expected = event(told).replace("\"type.googleapis.com/google.rpc.Help\"", "\"[address]\"");
            assert_eq!(told_event(None, &event(kind), &discretion()).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn an_error_event_stays_json(words in ".{0,60}", host in "[a-z]{1,8}\\.(com|io|internal)") {
            let event = serde_json::json!({"error": {"message": format!("{words} {host} {words}")}}).to_string();
            let told = told_event(None, &event, &discretion()).unwrap_or(event);
            let value: serde_json::Value = serde_json::from_str(&told).unwrap();
            let named = format!(" {host} ");
            prop_assert!(!value["error"]["message"].as_str().unwrap().contains(&named));
        }
    }
}
