//! Errors that cross dialects: whose they are, in which words each client is told, what is tried elsewhere, and what they say of a
//! candidate's health.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::future::ready;

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::outside::{Script, Simulation, secret};
use tokens_forge::account::{AttemptStatus, Receipt};
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::dialect::EndpointPath;
use tokens_forge::money::Money;
use tokens_forge::relay::{Incoming, ReplyBody, RequestHead, serve};
use tokens_forge::routing::health::HealthStatus;

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
/// The channels, each with a backup of its kind on a host of its own.
const CHANNELS: [&str; 4] = ["openai", "native", "anthropic", "gemini"];

const CHAT_ANSWER: &str = r#"{"id":"c1","model":"up","created":1,"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;

fn catalog() -> Catalog {
    let mut channels = json!({});
    let mut models = json!({});
    for name in CHANNELS {
        let dialect = if name == "native" { "openai" } else { name };
        for host in [name.to_owned(), format!("{name}-backup")] {
            channels[&host] = json!({"dialect": dialect, "base_url": format!("https://{host}.example.com/v1"), "secrets": ["K"],
                "first_byte_timeout_ms": 30_000, "idle_timeout_ms": 30_000, "responses": name == "native"});
        }
        models[name] = json!({"name": "M", "family": "f", "kind": "chat", "context_length": 100_000, "max_output_tokens": 1000, "routes": {
            "official": {"bucket": "credit", "price": {"input": "1", "output": "2"}, "candidates": [
                {"channel": name, "upstream_model": "up-2026", "tier": 0},
                {"channel": format!("{name}-backup"), "upstream_model": "up-2026", "tier": 1}]}}});
    }
    models["voice"] = json!({"name": "V", "family": "f", "kind": "speech", "routes": {
        "official": {"bucket": "credit", "price": {"characters": "15"}, "candidates": [{"channel": "openai", "upstream_model": "up-2026"}]}}});
    models["single"] = json!({"name": "S", "family": "f", "kind": "chat", "context_length": 100_000, "max_output_tokens": 1000, "routes": {
        "official": {"bucket": "credit", "price": {"input": "1", "output": "2"}, "candidates": [{"channel": "anthropic", "upstream_model": "up-2026"}]}}});
    let document =
        json!({"version": 3, "buckets": {"credit": {"label": "C", "currency": "USD"}}, "channels": channels, "models": models});
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

fn simulation() -> Simulation {
    Simulation::ready(catalog(), &["credit"], json!({}))
}

struct ToldError {
    status: u16,
    headers: Vec<(&'static str, String)>,
    text: String,
}

impl ToldError {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

fn ask(simulation: &mut Simulation, path: &str, body: &Value) -> ToldError {
    let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
    let incoming =
        Incoming { called: EndpointPath::at(path).unwrap(), head, body: ready(Ok(body.to_string().into_bytes().into())) };
    let future = serve(simulation.outside(), incoming);
    let told = simulation.run(async move {
        let reply = future.await;
        let mut bytes = Vec::new();
        match reply.body {
            ReplyBody::Full(full) => bytes = full,
            ReplyBody::Stream(mut stream) => {
                while let Some(piece) = stream.next().await {
                    bytes.extend(piece.unwrap());
                }
            }
        }
        ToldError { status: reply.status, headers: reply.headers, text: String::from_utf8(bytes).unwrap() }
    });
    simulation.settle_down();
    told
}

/// Path and body of a client's request.
fn request(client: &str, model: &str, stream: bool) -> (String, Value) {
    match client {
        "chat" => (
            CHAT.to_owned(),
            json!({"model": model, "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}),
        ),
        "responses" => {
            (RESPONSES.to_owned(), json!({"model": model, "stream": stream, "max_output_tokens": 50, "input": "hello"}))
        }
        "messages" => (
            MESSAGES.to_owned(),
            json!({"model": model, "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}),
        ),
        _ => {
            let action = if stream { "streamGenerateContent" } else { "generateContent" };
            let body = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 50}});
            (format!("/v1beta/models/{model}:{action}"), body)
        }
    }
}

fn last_receipt(simulation: &Simulation) -> Receipt {
    simulation.world.memory.borrow().receipts().pop().unwrap().1
}

/// That nobody but the first candidate was asked, nothing was charged, and no candidate is worse than before.
fn is_the_clients_own(simulation: &Simulation, what: &str) {
    assert_eq!(simulation.world.calls.borrow().len(), 1, "{what}: nobody else is asked");
    assert!(is_well(simulation), "{what}: nobody's health suffers");
    assert_eq!(last_receipt(simulation).charge, Money::ZERO, "{what}");
}

fn is_well(simulation: &Simulation) -> bool {
    simulation.world.health.borrow().candidates.values().all(|health| health.last_failure.is_none() && health.lone.is_empty())
}

/// An error as a channel's provider tells it, as a plain body.
fn spoken(channel: &str, status: u16, kind: &str, code: Value, message: &str) -> String {
    match channel {
        "anthropic" => json!({"type": "error", "error": {"type": kind, "message": message}}),
        "gemini" => json!({"error": {"code": status, "message": message, "status": kind}}),
        _ => json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
    }
    .to_string()
}

/// The same as an event of a stream.
fn event(channel: &str, client: &str, error: &str) -> String {
    match channel {
        "anthropic" => format!("event: error\ndata: {error}\n\n"),
        "native" if client == "responses" => {
            let mut event: Value = serde_json::from_str(error).unwrap();
            event["type"] = json!("error");
            format!("event: error\ndata: {event}\n\n")
        }
        _ => format!("data: {error}\n\n"),
    }
}

fn full_context(channel: &str) -> String {
    let openai = "This model's maximum context length is 128000 tokens. However, your messages resulted in 130543 tokens. Please reduce the length of the messages.";
    match channel {
        "anthropic" => {
            spoken(channel, 400, "invalid_request_error", Value::Null, "prompt is too long: 130543 tokens > 128000 maximum")
        }
        "gemini" => spoken(
            channel,
            400,
            "INVALID_ARGUMENT",
            Value::Null,
            "The input token count (130543) exceeds the maximum number of tokens allowed (128000).",
        ),
        _ => spoken(channel, 400, "invalid_request_error", json!("context_length_exceeded"), openai),
    }
}

/// That a client is told of a full context as its main programs recognise it.
fn recognises(client: &str, answer: &Value) -> bool {
    let error = &answer["error"];
    let message = error["message"].as_str().unwrap_or_default();
    match client {
        "messages" => {
            (&answer["type"], &error["type"]) == (&json!("error"), &json!("invalid_request_error"))
                && message == "prompt is too long: 130543 tokens > 128000 maximum"
        }
        "generate" => {
            (&error["code"], &error["status"]) == (&json!(400), &json!("INVALID_ARGUMENT"))
                && message == "The input token count (130543) exceeds the maximum number of tokens allowed (128000)."
        }
        _ => {
            (&error["type"], &error["code"]) == (&json!("invalid_request_error"), &json!("context_length_exceeded"))
                && (message.contains("maximum context length is 128000 tokens") || message.contains("exceeds the context window"))
        }
    }
}

#[test]
fn a_full_context_is_the_clients_400_in_its_own_words_from_every_channel() {
    for client in ["chat", "responses", "messages", "generate"] {
        for channel in CHANNELS {
            let error = full_context(channel);
            for (way, stream, script) in [
                ("status 400", false, Script::Status(400, error.clone().leak())),
                ("status 400 to a stream", true, Script::Status(400, error.clone().leak())),
                ("status 500", false, Script::Status(500, error.clone().leak())),
                ("in place of an answer", false, Script::Status(200, error.clone().leak())),
                ("as the first event", true, Script::Pieces(vec![event(channel, client, &error).leak()])),
                ("in place of a stream", true, Script::Status(200, error.clone().leak())),
            ] {
                let mut simulation = simulation();
                simulation.script(&format!("{channel}.example.com"), script);
                let (path, body) = request(client, channel, stream);
                let told = ask(&mut simulation, &path, &body);
                let what = format!("{client} over {channel}, {way}: {}", told.text);
                assert_eq!(told.status, 400, "{what}");
                assert!(recognises(client, &told.json()), "{what}");
                is_the_clients_own(&simulation, &what);
            }
        }
    }
}

#[test]
fn a_filtered_or_wrong_request_is_the_clients_wherever_the_error_stands() {
    for client in ["chat", "responses", "messages", "generate"] {
        for channel in CHANNELS {
            let kind = if channel == "gemini" { "INVALID_ARGUMENT" } else { "invalid_request_error" };
            for (code, message) in
                [(json!("content_filter"), "Output blocked by content filtering policy"), (json!(null), "The field is wrong.")]
            {
                let error = spoken(channel, 400, kind, code, message);
                for (stream, script) in [
                    (false, Script::Status(400, error.clone().leak())),
                    (false, Script::Status(200, error.clone().leak())),
                    (true, Script::Pieces(vec![event(channel, client, &error).leak()])),
                ] {
                    let mut simulation = simulation();
                    simulation.script(&format!("{channel}.example.com"), script);
                    let (path, body) = request(client, channel, stream);
                    let told = ask(&mut simulation, &path, &body);
                    let what = format!("{client} over {channel}: {}", told.text);
                    let answer = told.json();
                    let expected = if client == "generate" { "INVALID_ARGUMENT" } else { "invalid_request_error" };
                    let kind = if client == "generate" { &answer["error"]["status"] } else { &answer["error"]["type"] };
                    assert_eq!((told.status, kind), (400, &json!(expected)), "{what}");
                    is_the_clients_own(&simulation, &what);
                }
            }
        }
    }
}

#[test]
fn trouble_in_place_of_an_answer_goes_to_the_next_candidate() {
    for (kind, code, failure) in [
        ("rate_limit_error", json!("rate_limit_exceeded"), "load"),
        ("server_error", json!("server_is_overloaded"), "load"),
        ("insufficient_quota", json!("insufficient_quota"), "credential"),
        ("authentication_error", json!("invalid_api_key"), "credential"),
        ("server_error", json!(null), "unreadable"),
    ] {
        let error = spoken("openai", 200, kind, code, "trouble");
        for (stream, script) in [
            (false, Script::Status(200, error.clone().leak())),
            (true, Script::Pieces(vec![event("openai", "chat", &error).leak()])),
        ] {
            let mut simulation = simulation();
            simulation.script("openai.example.com", script);
            let answer = if stream {
                "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
            } else {
                CHAT_ANSWER
            };
            simulation.script(
                "openai-backup.example.com",
                if stream { Script::Pieces(vec![answer]) } else { Script::Status(200, answer) },
            );
            let (path, body) = request("chat", "openai", stream);
            let told = ask(&mut simulation, &path, &body);
            assert_eq!(told.status, 200, "{kind}: {}", told.text);
            assert_eq!(last_receipt(&simulation).attempts[0].error.as_deref(), Some(failure), "{kind}");
        }
    }
}

#[test]
fn the_gateways_own_account_is_never_the_clients_trouble() {
    for (status, kind, code, message) in [
        (
            429,
            "insufficient_quota",
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        (402, "unknown_error", "invalid_request_error", "Insufficient Balance"),
        (400, "invalid_request_error", "billing_hard_limit_reached", "Billing hard limit has been reached"),
        (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-...cret"),
        (403, "permission_error", "unsupported_country_region_territory", "Country, region, or territory not supported"),
    ] {
        for client in ["chat", "responses", "messages", "generate"] {
            let mut simulation = simulation();
            let error = spoken("openai", status, kind, json!(code), message);
            for host in ["openai.example.com", "openai-backup.example.com"] {
                simulation.script(host, Script::Status(status, error.clone().leak()));
            }
            let (path, body) = request(client, "openai", false);
            let told = ask(&mut simulation, &path, &body);
            assert_eq!((told.status, told.header("x-should-retry")), (502, Some("false")), "{client} {status}: {}", told.text);
            assert!(
                !told.text.contains("sk-") && !told.text.contains("illing") && !told.text.contains("insufficient_quota"),
                "{}",
                told.text
            );
            assert!(told.text.to_lowercase().contains("no_route_available"), "{}", told.text);
        }
    }
}

#[test]
fn only_busy_providers_are_worth_coming_back_for() {
    let rate = spoken("openai", 429, "requests", json!("rate_limit_exceeded"), "Slow down.");
    let busy = spoken("openai", 503, "server_error", json!("overloaded"), "Overloaded.");
    let broken = spoken("openai", 500, "server_error", json!(null), "Oops.");
    for (first, second, client, status, code) in [
        ((429, &rate), (429, &rate), "chat", 429, "upstream_rate_limited"),
        ((429, &rate), (429, &rate), "messages", 429, "rate_limit_error"),
        ((503, &busy), (503, &busy), "chat", 429, "upstream_overloaded"),
        ((503, &busy), (529, &busy), "responses", 429, "upstream_overloaded"),
        ((503, &busy), (529, &busy), "messages", 529, "overloaded_error"),
        ((503, &busy), (503, &busy), "generate", 429, "RESOURCE_EXHAUSTED"),
        ((429, &rate), (503, &busy), "chat", 429, "upstream_rate_limited"),
        ((429, &rate), (500, &broken), "chat", 502, "no_route_available"),
        ((500, &broken), (500, &broken), "messages", 502, "api_error"),
    ] {
        let mut simulation = simulation();
        simulation.script("openai.example.com", Script::Status(first.0, first.1.clone().leak()));
        simulation.script("openai-backup.example.com", Script::Status(second.0, second.1.clone().leak()));
        let (path, body) = request(client, "openai", false);
        let told = ask(&mut simulation, &path, &body);
        let answer = told.json();
        let word = match client {
            "messages" => &answer["error"]["type"],
            "generate" => &answer["error"]["status"],
            _ => &answer["error"]["code"],
        };
        assert_eq!((told.status, word), (status, &json!(code)), "{}", told.text);
        assert_eq!(told.header("retry-after").is_some(), status != 502 || first.0 == 429, "{client} {status}");
        assert_eq!(told.header("x-should-retry"), None, "another try may fare better");
    }
}

#[test]
fn a_count_that_fails_is_estimated_and_says_nothing_about_the_model() {
    for (script, why) in [
        (Script::Status(404, r#"{"detail":"Not Found"}"#), "404"),
        (
            Script::Status(404, r#"{"type":"error","error":{"type":"not_found_error","message":"model: up-2026"}}"#),
            "404 of the model",
        ),
        (Script::Status(405, "Method Not Allowed"), "405"),
        (Script::Status(400, "no"), "400 of somebody else"),
        (Script::Status(401, "{}"), "401"),
        (Script::Status(429, "{}"), "429"),
        (Script::Status(500, "oops"), "500"),
        (Script::Status(529, "{}"), "529"),
        (Script::Status(200, "<html>"), "HTML"),
        (Script::Status(200, "{}"), "no count"),
        (Script::Status(200, ""), "nothing"),
        (Script::Broken(vec!["{\"input"]), "broken"),
        (Script::Refused, "refused"),
        (Script::Hangs, "silent"),
    ] {
        let mut simulation = simulation();
        simulation.script("anthropic.example.com", script);
        let body = json!({"model": "anthropic", "messages": [{"role": "user", "content": "How is the weather in Oslo?"}]});
        let told = ask(&mut simulation, COUNT, &body);
        assert_eq!(told.status, 200, "{why}: {}", told.text);
        assert!(told.json()["input_tokens"].as_u64().unwrap() > 5, "{why}: {}", told.text);
        assert!(simulation.world.health.borrow().candidates.is_empty(), "{why}");
        assert!(simulation.world.cooling.borrow().is_empty(), "{why}");
        assert_eq!(simulation.world.calls.borrow().len(), 1, "{why}");
        let receipt = last_receipt(&simulation);
        assert_eq!(receipt.charge, Money::ZERO, "{why}");
        let (failed, estimated) = (&receipt.attempts[0], &receipt.attempts[1]);
        assert_eq!(
            (failed.status, estimated.status, estimated.dispatched),
            (AttemptStatus::Failed, AttemptStatus::Answered, false),
            "{why}"
        );
        let message = estimated.message.as_deref().unwrap();
        assert_eq!(
            Some(message),
            failed.message.as_ref().map(|failed| format!("the gateway estimated it: {failed}")).as_deref(),
            "{why}"
        );
    }
    let mut simulation = simulation();
    simulation.script("gemini.example.com", Script::Status(404, "{}"));
    let told =
        ask(&mut simulation, "/v1beta/models/gemini:countTokens", &json!({"contents": [{"parts": [{"text": "hello there"}]}]}));
    assert!(told.status == 200 && told.json()["totalTokens"].as_u64().unwrap() > 0, "{}", told.text);
    assert!(simulation.world.health.borrow().candidates.is_empty());
}

#[test]
fn what_is_wrong_with_a_request_to_count_is_told() {
    let mut simulation = simulation();
    let error = spoken("anthropic", 400, "invalid_request_error", Value::Null, "messages: roles must alternate");
    simulation.script("anthropic.example.com", Script::Status(400, error.leak()));
    let told = ask(&mut simulation, COUNT, &json!({"model": "anthropic", "messages": [{"role": "user", "content": "x"}]}));
    assert_eq!((told.status, &told.json()["error"]["message"]), (400, &json!("messages: roles must alternate")));
}

#[test]
fn a_place_that_a_channel_does_not_have_says_nothing_about_the_model() {
    for (model, path, body) in [
        ("native", RESPONSES, json!({"model": "native", "input": "hello"})),
        ("openai", "/v1/completions", json!({"model": "openai", "prompt": "hello", "max_tokens": 5})),
    ] {
        for script in [
            Script::Status(404, "404 page not found"),
            Script::Status(
                404,
                r#"{"error":{"message":"This is a chat model and not supported in the v1/completions endpoint.","type":"invalid_request_error","param":"model","code":null}}"#,
            ),
            Script::Status(405, "Method Not Allowed"),
            Script::Status(501, ""),
            Script::Status(200, "<html>Not here</html>"),
        ] {
            let mut simulation = simulation();
            for host in [format!("{model}.example.com"), format!("{model}-backup.example.com")] {
                simulation.script(&host, script.clone());
            }
            let told = ask(&mut simulation, path, &body);
            assert_eq!(told.status, 502, "{script:?}: {}", told.text);
            assert_eq!(simulation.world.calls.borrow().len(), 2, "{script:?}: another channel may have it");
            assert!(is_well(&simulation), "{path} {script:?}");
        }
        // That the model is not known is known wherever it is asked for.
        let mut simulation = simulation();
        let unknown = spoken(
            "openai",
            404,
            "invalid_request_error",
            json!("model_not_found"),
            "The model `up-2026` does not exist or you do not have access to it.",
        );
        simulation.script(&format!("{model}.example.com"), Script::Status(404, unknown.leak()));
        simulation.script(&format!("{model}-backup.example.com"), Script::Status(404, "{}"));
        assert_eq!(ask(&mut simulation, path, &body).status, 502);
        assert!(!is_well(&simulation), "{path}");
    }
    // Where the probe request is asked, too, it is the model's.
    let mut simulation = simulation();
    simulation.script("openai.example.com", Script::Status(404, "{}"));
    simulation.script("openai-backup.example.com", Script::Status(200, CHAT_ANSWER));
    let (path, body) = request("responses", "openai", false);
    assert_eq!(ask(&mut simulation, &path, &body).status, 200);
    assert!(!is_well(&simulation), "its account knows of it");
    assert!(
        simulation.world.health.borrow().candidates.values().all(|health| health.status != HealthStatus::Down),
        "and nobody else"
    );
}

#[test]
fn what_the_client_named_itself_is_its_own_error() {
    let file = json!({"model": "native", "input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/file-abc123.pdf"}]}]});
    let image = json!({"model": "anthropic", "max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]}]});
    let video = json!({"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": "https://www.youtube.com/watch?v=7qk2", "mimeType": "image/png"}}]}]});
    let voice = json!({"model": "voice", "input": "hello", "voice": "my-own"});
    for (channel, path, body, status, error) in [
        (
            "native",
            RESPONSES,
            file,
            404,
            spoken("native", 404, "invalid_request_error", Value::Null, "No such File object: file-abc123"),
        ),
        (
            "anthropic",
            MESSAGES,
            image,
            404,
            spoken("anthropic", 404, "not_found_error", Value::Null, "https://example.com/a.png was not found"),
        ),
        (
            "gemini",
            "/v1beta/models/gemini:generateContent",
            video,
            403,
            spoken(
                "gemini",
                403,
                "PERMISSION_DENIED",
                Value::Null,
                "You do not have permission to access the File 7qk2 or it may not exist.",
            ),
        ),
        (
            "openai",
            "/v1/audio/speech",
            voice,
            404,
            spoken("openai", 404, "invalid_request_error", json!("voice_not_found"), "A voice named my-own was not found"),
        ),
    ] {
        let mut simulation = simulation();
        simulation.script(&format!("{channel}.example.com"), Script::Status(status, error.leak()));
        let told = ask(&mut simulation, path, &body);
        assert_eq!(told.status, status, "{channel}: {}", told.text);
        is_the_clients_own(&simulation, &told.text);
    }
    // In another dialect it is a 404 of that.
    let mut simulation = simulation();
    let error = spoken(
        "gemini",
        403,
        "PERMISSION_DENIED",
        Value::Null,
        "You do not have permission to access the image at https://example.com/a.png or it may not exist.",
    );
    simulation.script("gemini.example.com", Script::Status(403, error.leak()));
    let body = json!({"model": "gemini", "max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]}]});
    let told = ask(&mut simulation, MESSAGES, &body);
    assert_eq!((told.status, &told.json()["error"]["type"]), (404, &json!("not_found_error")), "{}", told.text);
    is_the_clients_own(&simulation, &told.text);
}

#[test]
fn an_error_in_the_middle_of_a_stream_has_the_clients_code() {
    let begun =
        "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345678\"}}]}\n\n";
    for (kind, code, message, words) in [
        (
            "invalid_request_error",
            "context_length_exceeded",
            "secret",
            ["context_length_exceeded", "context_length_exceeded", "invalid_request_error", "INVALID_ARGUMENT"],
        ),
        (
            "requests",
            "rate_limit_exceeded",
            "secret",
            ["rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"],
        ),
        ("server_error", "overloaded", "secret", ["server_error", "server_error", "overloaded_error", "UNAVAILABLE"]),
        ("insufficient_quota", "insufficient_quota", "secret", ["server_error", "server_error", "api_error", "UNAVAILABLE"]),
        ("server_error", "", "secret", ["upstream_cut", "upstream_cut", "api_error", "UNAVAILABLE"]),
    ] {
        for (client, word) in ["chat", "responses", "messages", "generate"].into_iter().zip(words) {
            let mut simulation = simulation();
            let error = event("openai", client, &spoken("openai", 200, kind, json!(code), message));
            simulation.script("openai.example.com", Script::Pieces(vec![begun, error.leak()]));
            let (path, body) = request(client, "openai", true);
            let told = ask(&mut simulation, &path, &body);
            let last = told.text.rsplit("data: ").next().unwrap_or_default();
            assert_eq!(told.status, 200, "{}", told.text);
            assert!(told.text.contains(&format!("\"{word}\"")), "{client} {code}: {last}");
            assert!(!told.text.contains("secret") && !told.text.contains("\"insufficient_quota\""), "{}", told.text);
            let receipt = last_receipt(&simulation);
            assert_eq!(receipt.error.as_ref().map(|error| error.code.as_str()), Some("upstream_cut"), "{client} {code}");
            assert_eq!(is_well(&simulation), code == "context_length_exceeded", "{client} {code}");
        }
    }
}

#[test]
fn an_error_of_the_clients_own_dialect_passes_as_it_is() {
    let mut simulation = simulation();
    let error =
        r#"{"error":{"message":"Too much of it.","type":"odd_type","param":"messages[3]","code":"context_length_exceeded"}}"#;
    simulation.script("openai.example.com", Script::Status(400, error));
    let (path, body) = request("chat", "openai", false);
    let answer = ask(&mut simulation, &path, &body).json();
    let mut error = answer["error"].clone();
    error.as_object_mut().unwrap().remove("metadata");
    assert_eq!(
        error,
        json!({"message": "Too much of it.", "type": "odd_type", "param": "messages[3]", "code": "context_length_exceeded"})
    );
    // What upstream called it is told beside what the client knows.
    let mut simulation = self::simulation();
    let error =
        spoken("anthropic", 400, "invalid_request_error", Value::Null, "prompt is too long: 130543 tokens > 128000 maximum");
    simulation.script("anthropic.example.com", Script::Status(400, error.leak()));
    let (path, body) = request("chat", "single", false);
    let answer = ask(&mut simulation, &path, &body).json();
    assert_eq!(
        (&answer["error"]["code"], &answer["error"]["metadata"]["provider_type"]),
        (&json!("context_length_exceeded"), &json!("invalid_request_error"))
    );
}
