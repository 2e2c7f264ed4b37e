use super::*;
use crate::catalog::Dialect;
use crate::dialect::read_error;
use serde_json::json;

fn of(dialect: Dialect, status: u16, body: &str) -> Option<Condition> {
    Condition::of(&read_error(dialect, body), status)
}

fn openai(status: u16, message: &str, kind: &str, code: impl Into<serde_json::Value>) -> Option<Condition> {
    of(
        Dialect::Openai,
        status,
        &json!({"error": {"message": message, "type": kind, "param": null, "code": code.into()}}).to_string(),
    )
}

fn anthropic(status: u16, kind: &str, message: &str) -> Option<Condition> {
    of(Dialect::Anthropic, status, &json!({"type": "error", "error": {"type": kind, "message": message}}).to_string())
}

fn gemini(code: u16, status: &str, message: &str) -> Option<Condition> {
    of(Dialect::Gemini, code, &json!({"error": {"code": code, "status": status, "message": message}}).to_string())
}

fn is_too_long(condition: Option<Condition>) -> bool {
    matches!(condition, Some(Condition::TooLong(_)))
}

#[test]
fn a_full_context_is_known_by_its_code_or_by_any_providers_words() {
    assert!(is_too_long(openai(400, "Too much.", "invalid_request_error", "context_length_exceeded")));
    assert!(is_too_long(openai(200, "Too much.", "invalid_request_error", "context_length_exceeded")));
    assert!(is_too_long(anthropic(400, "invalid_request_error", "prompt is too long: 213456 tokens > 200000 maximum")));
    let limit = "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length";
    assert!(is_too_long(anthropic(400, "invalid_request_error", limit)));
    let count = "The input token count (1196265) exceeds the maximum number of tokens allowed (1048576).";
    assert!(is_too_long(gemini(400, "INVALID_ARGUMENT", count)));
    for (status, message) in [
        (
            400,
            "This model's maximum context length is 4096 tokens. However, you requested 5048 tokens (3000 in the messages, 2048 in the completion).",
        ),
        (400, "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"),
        (400, "This endpoint's maximum context length is 131072 tokens. However, you requested about 200000 tokens."),
        (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
        (400, "Please reduce the length of the messages or completion."),
        (400, "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)"),
        (400, "invalid params, context window exceeds limit (2013)"),
        (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        (400, "Range of input length should be [1, 129024]"),
        (413, "Please reduce the length of the messages or completion. Current length is 9001 while limit is 8192"),
        // Some tell it as if it were the server's fault.
        (500, "the request exceeds the available context size, try increasing it"),
        (503, "Requested token count exceeds the model's maximum context length of 131072 tokens."),
        (200, "Your input exceeds the context window of this model. Please adjust your input and try again."),
    ] {
        assert!(is_too_long(openai(status, message, "BadRequestError", 400)), "{message}");
    }
}

#[test]
fn tokens_in_a_while_are_no_full_context() {
    let said = "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 40000. The input or output tokens must be reduced in order to run successfully.";
    assert_eq!(openai(429, said, "tokens", "rate_limit_exceeded"), Some(Condition::RateLimited));
    assert_eq!(openai(413, said, "tokens", "rate_limit_exceeded"), Some(Condition::RateLimited));
    let said =
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000.";
    assert_eq!(openai(400, said, "invalid_request_error", "invalid_value"), Some(Condition::Invalid));
}

#[test]
fn each_condition_is_known_in_each_dialect() {
    use Condition::{Authentication, Filtered, Invalid, NotFound, Overloaded, Quota, RateLimited};
    for (seen, expected) in [
        (openai(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded"), RateLimited),
        (openai(429, "", "", ""), RateLimited),
        (openai(200, "slow", "", 429), RateLimited),
        (
            openai(
                429,
                "You exceeded your current quota, please check your plan and billing details.",
                "insufficient_quota",
                "insufficient_quota",
            ),
            Quota,
        ),
        (openai(402, "Insufficient Balance", "unknown_error", "invalid_request_error"), Quota),
        (openai(429, "Your account is suspended", "exceeded_current_quota_error", json!(null)), Quota),
        (openai(503, "The engine is currently overloaded, please try again later.", "server_error", "overloaded"), Overloaded),
        (openai(503, "", "", ""), Overloaded),
        (openai(429, "busy", "engine_overloaded_error", json!(null)), Overloaded),
        (openai(200, "The server is overloaded", "server_error", json!(null)), Overloaded),
        (
            openai(
                400,
                "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "",
                "content_filter",
            ),
            Filtered,
        ),
        (
            openai(
                400,
                "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
                "invalid_request_error",
                "invalid_prompt",
            ),
            Filtered,
        ),
        (openai(400, "Content Exists Risk", "invalid_request_error", "invalid_request_error"), Filtered),
        (
            openai(403, "x requires moderation on y. Your input was flagged for \"violence\". No credits were charged.", "", 403),
            Filtered,
        ),
        (openai(401, "Incorrect API key provided", "invalid_request_error", "invalid_api_key"), Authentication),
        (openai(200, "no", "authentication_error", json!(null)), Authentication),
        (openai(404, "The API deployment for this resource does not exist.", "", "DeploymentNotFound"), NotFound),
        (openai(404, "", "", ""), NotFound),
        (openai(400, "Invalid model: x", "invalid_model", "1500"), NotFound),
        (openai(400, "Invalid 'temperature'", "invalid_request_error", "decimal_above_max_value"), Invalid),
        (openai(422, "Field required", "", ""), Invalid),
        (openai(200, "Invalid 'temperature'", "invalid_request_error", json!(null)), Invalid),
        (anthropic(429, "rate_limit_error", "Number of request tokens has exceeded your per-minute rate limit"), RateLimited),
        (anthropic(529, "overloaded_error", "Overloaded"), Overloaded),
        (anthropic(200, "overloaded_error", "Overloaded"), Overloaded),
        (anthropic(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."), Quota),
        (anthropic(400, "invalid_request_error", "Output blocked by content filtering policy"), Filtered),
        (anthropic(401, "authentication_error", "invalid x-api-key"), Authentication),
        (anthropic(404, "not_found_error", "model: x"), NotFound),
        (anthropic(400, "invalid_request_error", "messages: roles must alternate"), Invalid),
        (
            gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."),
            RateLimited,
        ),
        (gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), Overloaded),
        (gemini(403, "PERMISSION_DENIED", "Permission denied"), Authentication),
        (gemini(404, "NOT_FOUND", "models/x is not found"), NotFound),
        (gemini(400, "INVALID_ARGUMENT", "Invalid value"), Invalid),
        (gemini(200, "INVALID_ARGUMENT", "Invalid value"), Invalid),
    ] {
        assert_eq!(seen, Some(expected));
    }
}

#[test]
fn what_is_unclear_is_no_condition() {
    for (seen, what) in [
        (openai(500, "The server had an error while processing your request.", "server_error", json!(null)), "500"),
        (openai(200, "The server had an error while processing your request.", "server_error", json!(null)), "200"),
        (openai(200, "Cannot serve this", "", json!(null)), "no code"),
        (openai(500, "Invalid request", "invalid_request_error", json!(null)), "whose fault a 500 is, its type does not say"),
        (openai(405, "Method Not Allowed", "", json!(null)), "405"),
        (of(Dialect::Openai, 502, "<html>overlo</html>"), "HTML"),
        (of(Dialect::Openai, 200, ""), "nothing"),
    ] {
        assert_eq!(seen, None, "{what}");
    }
}

#[test]
fn clients_recognise_a_full_context_in_their_own_words() {
    let size = Size { input: Some(213_456), output: None, most: Some(200_000) };
    let told = |client, size| Condition::TooLong(size).told(client, "secret", None);
    assert_eq!(told(Client::Messages, size).message, "prompt is too long: 213456 tokens > 200000 maximum");
    let chat = told(Client::Chat, size);
    assert_eq!(
        (chat.status, chat.kind, chat.code, chat.param),
        (400, "invalid_request_error", Some("context_length_exceeded"), Some("messages"))
    );
    assert!(
        chat.message.starts_with(
            "This model's maximum context length is 200000 tokens. However, your messages resulted in 213456 tokens."
        )
    );
    let responses = told(Client::Responses, size);
    assert_eq!((responses.code, responses.param), (Some("context_length_exceeded"), Some("input")));
    assert!(responses.message.starts_with("Your input exceeds the context window of this model"));
    let gemini = told(Client::Generate, size);
    assert_eq!((gemini.status, gemini.kind), (400, "INVALID_ARGUMENT"));
    assert_eq!(gemini.message, "The input token count (213456) exceeds the maximum number of tokens allowed (200000).");
    // Whatever upstream told of it, each client's main programs find the words that they look for, and none of upstream's.
    for size in [
        size,
        Size::default(),
        Size { input: None, ..size },
        Size { most: None, ..size },
        Size { input: Some(150_000), output: Some(64_000), most: Some(200_000) },
        Size { input: Some(250_000), output: Some(64_000), most: Some(200_000) },
    ] {
        for (client, words) in [
            (Client::Messages, &["prompt is too long"][..]),
            (Client::Chat, &["exceeds the context window", "maximum context length is"]),
            (Client::Responses, &["exceeds the context window"]),
            (Client::Generate, &["input token count"]),
        ] {
            let message = told(client, size).message;
            assert!(words.iter().any(|known| message.contains(known)) && !message.contains("secret"), "{client:?} {message}");
        }
    }
    let fits = Size { input: Some(150_000), output: Some(64_000), most: Some(200_000) };
    let limit = "input length and `max_tokens` exceed context limit: 150000 + 64000 > 200000, decrease input length or `max_tokens` and try again";
    assert!(told(Client::Messages, fits).message.starts_with(limit));
}

#[test]
fn every_clients_words_are_read_as_the_same_condition_again() {
    let dialects = [
        (Client::Chat, Dialect::Openai),
        (Client::Responses, Dialect::Openai),
        (Client::Messages, Dialect::Anthropic),
        (Client::Generate, Dialect::Gemini),
    ];
    for (client, dialect) in dialects {
        for condition in [
            Condition::TooLong(Size { input: Some(9_000), output: None, most: Some(8_000) }),
            Condition::Filtered,
            Condition::Invalid,
            Condition::RateLimited,
            Condition::Overloaded,
            Condition::NotFound,
        ] {
            let told = condition.told(client, "The field is wrong.", Some(7));
            let error = json!({"error": {"type": told.kind, "status": told.kind, "code": told.code, "message": told.message}});
            assert_eq!(of(dialect, told.status, &error.to_string()), Some(condition), "{client:?}");
        }
    }
}

#[test]
fn the_gateways_own_trouble_is_never_told_as_the_clients() {
    for client in [Client::Chat, Client::Responses, Client::Messages, Client::Generate] {
        for condition in [Condition::Quota, Condition::Authentication] {
            let told = condition.told(client, "Your credit balance is too low", None);
            assert!(told.status >= 500 && !told.message.contains("credit") && !told.word().contains("quota"), "{told:?}");
            assert!(!told.word().contains("auth"), "{told:?}");
        }
    }
}

#[test]
fn a_rate_limit_says_when_to_come_back() {
    assert!(Condition::RateLimited.told(Client::Responses, "", Some(7)).message.contains("try again in 7 s"));
    assert_eq!(Condition::RateLimited.told(Client::Responses, "", None).word(), "rate_limit_exceeded");
    assert_eq!(Condition::Overloaded.told(Client::Messages, "", None).word(), "overloaded_error");
    assert_eq!(Condition::RateLimited.told(Client::Generate, "", None).word(), "RESOURCE_EXHAUSTED");
}
