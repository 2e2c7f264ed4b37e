//! What is not there, where something is not: the model, what the client's own request refers to, or neither.
//!
//! A client can name what does not exist: a file, a response, a container, a voice, the address of an image. That says nothing
//! about the model, and nobody else would find it either. It is told by upstream's code and field, by an id in its words that
//! stands in the request, or by what it calls the thing, if the request has a place for one.

use super::spelled;
use crate::dialect::format::UpstreamError;

/// What must be known of the request.
pub trait Asked {
    /// Whether a text stands anywhere in it.
    fn has_text(&self, text: &str) -> bool;
    /// Whether a member of this name is anywhere in it.
    fn has_member(&self, name: &str) -> bool;
}

const MODEL_CODES: [&str; 4] = ["model_not_found", "invalid_model", "unknown_model", "deploymentnotfound"];
/// Words that say it behind the model's name, and by themselves.
const GONE_WORDS: [&str; 3] = ["not exist", "doesn't exist", "not found"];
const MODEL_WORDS: [&str; 7] = [
    "no such model",
    "unknown model",
    "not a valid model",
    "invalid model",
    "not found the model",
    "model not exist",
    "no endpoints found for",
];
/// What a code calls a thing that requests refer to, before `_not_found`.
const CODE_THINGS: [&str; 11] =
    ["response", "file", "container", "item", "conversation", "voice", "prompt", "vector_store", "image", "thread", "assistant"];
const MISSING_WORDS: [&str; 12] = [
    "not found",
    "no such",
    "not exist",
    "doesn't exist",
    "not be found",
    "could not find",
    "cannot find",
    "unable to find",
    "expired",
    "deleted",
    "failed to download",
    "failed to fetch",
];
/// What things are called, with the members by which a request refers to them.
const THINGS: [(&[&str], &[&str]); 10] = [
    (&["previous response", "previous_response", "response with id"], &["previous_response_id"]),
    (&["item with id", "item_reference"], &["input"]),
    (&["file"], &["file_id", "file_ids", "file", "file_data", "file_url", "fileData", "fileUri", "file_uri"]),
    (&["container"], &["container", "container_id"]),
    (&["conversation"], &["conversation"]),
    (&["vector store", "vector_store"], &["vector_store_ids"]),
    (&["prompt with id", "prompt template"], &["prompt"]),
    (&["cached content", "cachedcontent"], &["cachedContent", "cached_content"]),
    (&["voice"], &["voice", "voice_id", "voiceName"]),
    (&["image", "url"], &["image_url", "url", "images", "source"]),
];
/// How ids begin that providers give.
const ID_STARTS: [&str; 14] = [
    "file-",
    "file_",
    "files/",
    "resp_",
    "rs_",
    "msg_",
    "fc_",
    "call_",
    "cntr_",
    "container_",
    "vs_",
    "conv_",
    "pmpt_",
    "https://",
];

/// An error is about no more ids than this.
const MOST_IDS: usize = 8;

/// Whether it says that the model is not there.
pub fn is_of_the_model(error: &UpstreamError, model: &str) -> bool {
    let is_code = |text: &Option<String>| text.as_deref().is_some_and(|text| MODEL_CODES.contains(&spelled(text).as_str()));
    let words = error.message.to_lowercase();
    if is_code(&error.code) || is_code(&error.kind) || words.starts_with("model:") {
        return true;
    }
    let named =
        [words.find("model"), words.find(&model.to_lowercase()).filter(|_| !model.is_empty())].into_iter().flatten().min();
    let gone = GONE_WORDS.iter().filter_map(|known| words.find(known)).min();
    // "The voice does not exist for this model" is not about the model.
    let is_gone = named.zip(gone).is_some_and(|(named, gone)| named < gone);
    is_gone || MODEL_WORDS.iter().any(|known| words.contains(known))
}

/// Whether it says that nobody serves what the request needs of the model, such as tools: the model itself is there.
pub fn is_of_a_feature(error: &UpstreamError) -> bool {
    error.message.to_lowercase().contains("no endpoints found that")
}

/// Whether it is about something that the client's request refers to.
pub fn is_of_the_request(error: &UpstreamError, request: &impl Asked, model: &str) -> bool {
    if is_of_the_model(error, model) {
        return false;
    }
    let field = error.param.as_deref().and_then(|param| param.split(['.', '[']).next()).filter(|name| !name.is_empty());
    if field.is_some_and(|name| name != "model" && request.has_member(name)) {
        return true;
    }
    let code = error.code.as_deref().map(spelled).unwrap_or_default();
    let thing = code.strip_suffix("_not_found").unwrap_or_default();
    if CODE_THINGS.iter().any(|known| thing.ends_with(known)) {
        return true;
    }
    let words = error.message.to_lowercase();
    if !MISSING_WORDS.iter().any(|known| words.contains(known)) {
        return false;
    }
    let ids = error.message.split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '(' | ')' | ',' | ';'));
    let ids = ids.map(|word| word.trim_end_matches(['.', ':', '!'])).filter(|word| is_id(word) && *word != model);
    // The whole request is looked through for each.
    ids.take(MOST_IDS).any(|id| request.has_text(id))
        || THINGS.iter().any(|(names, members)| {
            names.iter().any(|name| words.contains(name)) && members.iter().any(|member| request.has_member(member))
        })
}

/// Whether a word is an id or an address, and no word of a language.
fn is_id(word: &str) -> bool {
    let has_start = ID_STARTS.iter().any(|start| word.starts_with(start));
    let is_odd =
        word.len() >= 8 && word.bytes().any(|byte| byte.is_ascii_digit()) && word.bytes().any(|byte| byte.is_ascii_alphabetic());
    (has_start || is_odd && !word.contains('/')) && word.len() >= 5
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request(&'static str);

    impl Asked for Request {
        fn has_text(&self, text: &str) -> bool {
            self.0.contains(text)
        }
        fn has_member(&self, name: &str) -> bool {
            self.0.contains(&format!("\"{name}\":"))
        }
    }

    fn error(message: &str, param: &str, code: &str) -> UpstreamError {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        UpstreamError { message: message.to_owned(), kind: None, param: given(param), code: given(code), retry_after_s: None }
    }

    #[test]
    fn what_the_client_named_is_its_own() {
        for (message, param, code, request) in [
            ("Item with id 'rs_0ae9604d' not found.", "input", "", r#"{"input":[{"type":"item_reference","id":"rs_0ae9604d"}]}"#),
            (
                "Previous response with id 'resp_1' not found.",
                "previous_response_id",
                "previous_response_not_found",
                r#"{"previous_response_id":"resp_1_tf00"}"#,
            ),
            ("Previous response with id 'resp_1' not found.", "", "", r#"{"previous_response_id":"resp_1_tf00"}"#),
            ("No such File object: file-abc", "", "", r#"{"input":[{"type":"input_file","file_id":"file-abc"}]}"#),
            (
                "File not found: file_011CNha8iCJcU1wXNR6q4V8w",
                "",
                "not_found_error",
                r#"{"source":{"type":"file","file_id":"file_011CNha8iCJcU1wXNR6q4V8w"}}"#,
            ),
            (
                "You do not have permission to access the File 7qk2 or it may not exist.",
                "",
                "PERMISSION_DENIED",
                r#"{"fileData":{"fileUri":"https://x/v1beta/files/7qk2"}}"#,
            ),
            (
                "Container with id 'cntr_68' not found.",
                "",
                "",
                r#"{"tools":[{"type":"code_interpreter","container":"cntr_68"}]}"#,
            ),
            ("A voice for the voice_id my-own was not found", "", "voice_not_found", r#"{"voice":"my-own"}"#),
            ("Voice my-own does not exist", "", "", r#"{"voice":"my-own"}"#),
            ("The voice my-own does not exist for this model.", "", "", r#"{"voice":"my-own"}"#),
            ("https://example.com/a1.png could not be found", "", "", r#"{"image_url":{"url":"https://example.com/a1.png"}}"#),
            ("CachedContent not found (or permission denied)", "", "", r#"{"cachedContent":"cachedContents/x"}"#),
        ] {
            assert!(is_of_the_request(&error(message, param, code), &Request(request), "up-1"), "{message}");
        }
    }

    #[test]
    fn the_model_and_the_place_are_not() {
        let request = Request(r#"{"model":"gpt-5.5-x1","input":"where is up-2026-01-01? not_found_error","file_id":"file-abc"}"#);
        for (message, param, code) in [
            ("The model `up-2026-01-01` does not exist or you do not have access to it.", "", "model_not_found"),
            ("The model `up-2026-01-01` does not exist.", "model", ""),
            ("model: up-2026-01-01", "", "not_found_error"),
            (
                "models/up-2026-01-01 is not found for API version v1beta, or is not supported for generateContent.",
                "",
                "NOT_FOUND",
            ),
            ("The API deployment for this resource does not exist.", "", "DeploymentNotFound"),
            ("No endpoints found for up-2026-01-01.", "", "404"),
            ("Not found the model up-2026-01-01 or Permission denied", "", "resource_not_found_error"),
            ("Resource not found", "", "resource_not_found"),
            ("Not Found", "", ""),
            ("404 page not found", "", ""),
            ("Unknown request URL: POST /v1/responses. Please check the URL for typos.", "", "unknown_url"),
            ("the provider gave no readable reason", "", ""),
        ] {
            assert!(!is_of_the_request(&error(message, param, code), &request, "up-2026-01-01"), "{message}");
        }
    }

    #[test]
    fn an_unknown_model_is_told_from_an_unknown_endpoint() {
        for (message, code, is_model) in [
            ("The model does not exist or you do not have access to it.", "model_not_found", true),
            ("model: not found", "not_found_error", true),
            ("models/up is not found for API version v1beta, or is not supported for generateContent.", "NOT_FOUND", true),
            ("The API deployment for this resource does not exist.", "DeploymentNotFound", true),
            ("No endpoints found for up.", "404", true),
            ("Not Found", "", false),
            (
                "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?",
                "",
                false,
            ),
            ("the provider gave no readable reason", "", false),
            ("No endpoints found that support tool use.", "404", false),
        ] {
            assert_eq!(is_of_the_model(&error(message, "", code), "up"), is_model, "{message}");
        }
        assert!(is_of_a_feature(&error("No endpoints found that support image input", "", "404")));
    }
}
