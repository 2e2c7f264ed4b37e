//! A wrong address: which endpoint its caller means, and which base URL leads there.
//!
//! Clients add their own path to a base URL, and people leave out its version, give it twice, or paste a whole path. The end of
//! what arrives still shows the endpoint. What always holds: nothing is answered at another address than its own; only endpoints
//! that a key's holder can call are named, and nothing of what they would answer.

use super::table::{self, About, Row, Who};
use crate::catalog::Dialect;
use crate::refusal::{Code, Refusal};

/// Longer paths, and those of more parts, are not looked at.
const LONGEST_PATH: usize = 400;
const MOST_PARTS: usize = 16;
/// So much of a path is repeated, in characters.
const SHOWN: usize = 120;

/// A request that cannot be answered where it arrived.
#[derive(Debug, Clone, Copy)]
pub struct WrongAddress<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// Without a slash at its end.
    pub path: &'a str,
    /// Scheme and host of the gateway.
    pub origin: &'a str,
    /// Whose client it is, by its headers.
    pub speaks: Dialect,
}

/// What a client is told, in its own dialect; none if nothing shows what it means. `refusal` is what it would be told otherwise.
pub fn advise(address: WrongAddress<'_>, refusal: &Refusal) -> Option<(Dialect, Refusal)> {
    if refusal.param.as_deref() == Some(table::ACTION) {
        return None;
    }
    if address.path.len() > LONGEST_PATH || address.path.starts_with("/admin") || address.path.starts_with("/webhooks") {
        return None;
    }
    let lower = address.path.to_ascii_lowercase();
    let is_unknown = refusal.code == Code::NotFound;
    let of_method = |row: &Row| row.method == address.method;
    let found = intended(address.path, address.path, of_method);
    // A path that is known has its letters right, and asks for a method.
    let found = found.or_else(|| is_unknown.then(|| intended(&lower, address.path, of_method)).flatten());
    let found = found.or_else(|| is_unknown.then(|| intended(&lower, address.path, |_| true)).flatten());
    let Some(row) = found else {
        return is_base(&lower).then(|| (address.speaks, base(address)));
    };
    let dialect = match row.about {
        About::Openai => Dialect::Openai,
        About::Anthropic => Dialect::Anthropic,
        About::Gemini => Dialect::Gemini,
        _ => address.speaks,
    };
    let what = if is_unknown { format!("There is nothing at `{}`.", shown(address.path)) } else { refusal.message.clone() };
    let message = format!("{what} This endpoint is {} {}{}.", row.method, address.origin, row.path);
    let told = Refusal::new(refusal.code, message, set_base(dialect, address.origin));
    Some((dialect, Refusal { facts: refusal.facts.clone(), ..told }))
}

/// What is told to a program that asks for a page for people: clients without the version in their base URL get there.
pub fn page_for_people(address: WrongAddress<'_>) -> (Dialect, Refusal) {
    let (path, origin) = (shown(address.path), address.origin);
    let message = format!("`{path}` is a page for people. The models for programs are at {origin}/v1{path}.");
    (address.speaks, Refusal::new(Code::NotFound, message, set_base(address.speaks, origin)))
}

/// Which base URL a kind of client needs.
fn set_base(dialect: Dialect, origin: &str) -> String {
    match dialect {
        Dialect::Anthropic => format!("Set the base URL of Anthropic clients to `{origin}`, with nothing behind it."),
        Dialect::Gemini => format!("Set the base URL of Gemini clients to `{origin}`, with nothing behind it."),
        Dialect::Openai | Dialect::Cohere => format!("Set the base URL of OpenAI clients to `{origin}/v1`."),
    }
}

/// The endpoint that the longest end of a path names, with or without a version before it. `path` itself is none.
fn intended(ends: &str, path: &str, fits: impl Fn(&Row) -> bool) -> Option<&'static Row> {
    let parts: Vec<&str> = ends.split('/').filter(|part| !part.is_empty()).collect();
    if parts.len() > MOST_PARTS {
        return None;
    }
    (0..parts.len()).find_map(|start| {
        let end = parts.get(start..)?.join("/");
        let versions = if end.contains(':') { ["/", "/v1beta/", "/v1/"] } else { ["/", "/v1/", "/v1beta/"] };
        versions.into_iter().find_map(|version| {
            let known = format!("{version}{end}");
            let mut rows = table::at(&known).filter(|row| row.who == Who::Key && known != path);
            rows.find(|row| fits(row) && row.answer.status != table::SWITCHING)
        })
    })
}

/// Whether a path is a base URL's with nothing behind it.
fn is_base(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| matches!(last, "v1" | "v1beta"))
}

fn base(address: WrongAddress<'_>) -> Refusal {
    let message = format!("`{}` is a base URL: nothing is answered there but what clients add to it.", shown(address.path));
    let next_step = format!(
        "{} The endpoints behind it are in GET {}/openapi.json.",
        set_base(address.speaks, address.origin),
        address.origin
    );
    Refusal::new(Code::NotFound, message, next_step)
}

fn shown(path: &str) -> String {
    path.chars().filter(|letter| !letter.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{Anthropic, Gemini, Openai};

    const ORIGIN: &str = "https://gateway.example";

    fn told(method: &str, path: &str, speaks: Dialect) -> Option<(Dialect, String)> {
        let refusal = table::find(method, path).unwrap_err();
        let advised = advise(WrongAddress { method, path, origin: ORIGIN, speaks }, &refusal);
        advised.map(|(dialect, told)| {
            assert_eq!((told.code, &told.facts), (refusal.code, &refusal.facts), "it stays the same refusal");
            (dialect, told.told())
        })
    }

    #[test]
    fn a_wrong_base_url_says_which_one_is_right() {
        for (method, path, endpoint, dialect) in [
            // Without a version.
            ("POST", "/chat/completions", "/v1/chat/completions", Openai),
            ("POST", "/completions", "/v1/completions", Openai),
            ("POST", "/responses", "/v1/responses", Openai),
            ("POST", "/embeddings", "/v1/embeddings", Openai),
            ("POST", "/audio/speech", "/v1/audio/speech", Openai),
            ("POST", "/messages", "/v1/messages", Anthropic),
            ("POST", "/messages/count_tokens", "/v1/messages/count_tokens", Anthropic),
            ("POST", "/models/gemini-3-pro:generateContent", "/v1beta/models/{model}:generateContent", Gemini),
            ("POST", "/models/a/b:streamGenerateContent", "/v1beta/models/{model}:streamGenerateContent", Gemini),
            // Twice.
            ("POST", "/v1/v1/chat/completions", "/v1/chat/completions", Openai),
            ("POST", "/v1/v1/messages", "/v1/messages", Anthropic),
            ("POST", "/v1beta/v1beta/models/x:generateContent", "/v1beta/models/{model}:generateContent", Gemini),
            ("POST", "/v1/v1beta/models/x:countTokens", "/v1beta/models/{model}:countTokens", Gemini),
            ("GET", "/v1/v1/models", "/v1/models", Openai),
            ("POST", "/v1//chat/completions", "/v1/chat/completions", Openai),
            // A whole path.
            ("POST", "/v1/chat/completions/chat/completions", "/v1/chat/completions", Openai),
            ("POST", "/v1/chat/completions/v1/chat/completions", "/v1/chat/completions", Openai),
            ("GET", "/v1/chat/completions/models", "/v1/models", Openai),
            ("POST", "/v1/messages/v1/messages", "/v1/messages", Anthropic),
            ("POST", "/v1/responses/responses", "/v1/responses", Openai),
            ("POST", "/v1/models/chat/completions", "/v1/chat/completions", Openai),
            // As other gateways have it.
            ("POST", "/api/v1/chat/completions", "/v1/chat/completions", Openai),
            ("GET", "/api/v1/models", "/v1/models", Openai),
            ("GET", "/api/v1/credits", "/v1/credits", Openai),
            ("POST", "/openai/v1/responses", "/v1/responses", Openai),
            ("POST", "/openai/deployments/gpt-5.5/chat/completions", "/v1/chat/completions", Openai),
            ("POST", "/anthropic/v1/messages", "/v1/messages", Anthropic),
            ("POST", "/v1/openai/chat/completions", "/v1/chat/completions", Openai),
            ("POST", "/v1beta/openai/chat/completions", "/v1/chat/completions", Openai),
            // In capitals, and by another method.
            ("POST", "/V1/Chat/Completions", "/v1/chat/completions", Openai),
            ("GET", "/chat/completions", "/v1/chat/completions", Openai),
            ("GET", "/V1/MODELS", "/v1/models", Openai),
        ] {
            let (spoken, text) = told(method, path, Openai).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(spoken, dialect, "{path}");
            assert!(text.contains(&format!(" {ORIGIN}{endpoint}. ")), "{path}: {text}");
            let base =
                if dialect == Openai { format!("OpenAI clients to `{ORIGIN}/v1`.") } else { format!(" clients to `{ORIGIN}`,") };
            assert!(text.contains(&base), "{path}: {text}");
        }
    }

    #[test]
    fn headers_say_who_asks_where_the_path_does_not() {
        for speaks in [Openai, Anthropic, Gemini] {
            assert_eq!(told("GET", "/v1/v1/models", speaks).unwrap().0, speaks);
            assert!(told("GET", "/v1", speaks).unwrap().1.contains("base URL"));
        }
        assert!(told("GET", "/api/v1", Openai).unwrap().1.contains("/openapi.json"));
    }

    #[test]
    fn what_shows_nothing_gets_no_advice() {
        let long = format!("/{}chat/completions", "a/".repeat(300));
        let many = format!("/{}chat/completions", "a/".repeat(20));
        for (method, path) in [
            ("GET", "/nothing"),
            ("GET", "/v1/files"),
            ("GET", "/v1/chat"),
            ("GET", "/v1/responses/resp_1"),
            // Another method is the whole mistake.
            ("GET", "/v1/chat/completions"),
            ("GET", "/v1beta/models/x:generateContent"),
            ("POST", "/v1/models"),
            ("DELETE", "/v1/runs/a"),
            // What only the operator may call is not named.
            ("GET", "/admin/v1/nothing"),
            ("POST", "/admin/v1/chat/completions"),
            ("GET", "/webhooks/models"),
            ("GET", "/accounts"),
            ("GET", "/v1/v1/catalog"),
            ("POST", &long),
            ("POST", &many),
        ] {
            assert_eq!(told(method, path, Openai), None, "{path}");
        }
    }
}
