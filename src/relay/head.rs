//! What is read of a request before anything else of it: what is called, and what its head says.
//!
//! What always holds: these are texts as they came. Nothing here is checked yet, and nothing decides.

use std::net::IpAddr;

use crate::dialect::{EndpointPath, headers};
use crate::routing::health::CandidateId;

/// Headers in which clients name the session of a request: OpenRouter's, Claude Code's, Codex' of now and before, opencode's.
const SESSION: [&str; 6] =
    ["x-session-id", "x-claude-code-session-id", "session-id", "session_id", "x-session-affinity", "x-opencode-session"];

/// A request with its head read, and its body still on the way.
pub struct Incoming<B> {
    /// What was called.
    pub called: EndpointPath,
    /// What its head says.
    pub head: RequestHead,
    /// The body.
    pub body: B,
}

/// What the head of a request says.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    /// What the caller presented.
    pub credential: Option<String>,
    /// Where a credential was found that nobody reads there; looked for where none was presented.
    pub misplaced: Option<Misplaced>,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// The site of the page that called, where that is another than the gateway's own.
    pub site: Option<String>,
    /// `x-tf-route`.
    pub route: Option<String>,
    /// `x-tf-run`.
    pub run: Option<String>,
    /// `x-tf-fit`.
    pub fit: Option<String>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Whether it was presented as Google's clients do.
    pub is_google: bool,
    /// The session, where a header names it.
    pub session: Option<String>,
    /// What the body is.
    pub content_type: Option<String>,
    /// Headers that go up as they came, to channels of the dialect that has them.
    pub passed: Vec<(&'static str, String)>,
    /// Whether a Gemini client left out `alt=sse`, and so wants a list.
    pub is_list: bool,
    /// The only candidate to ask, where the gateway itself probes it.
    pub probed: Option<CandidateId>,
}

impl RequestHead {
    /// Reads the headers of a request, which `get` knows by their names in lower case, and its query. Answers it with the header in which a
    /// key was presented.
    pub fn read(get: impl Fn(&str) -> Option<String>, query: &[(String, String)]) -> (Self, Option<&'static str>) {
        let (presented_in, credential) = headers::presented(&get).unzip();
        let head = Self {
            misplaced: if credential.is_none() { misplaced(&get, query) } else { None },
            credential,
            address: get("cf-connecting-ip").and_then(|text| text.parse().ok()),
            site: None,
            route: get("x-tf-route"),
            run: get("x-tf-run"),
            fit: get("x-tf-fit"),
            idempotency_key: get("idempotency-key"),
            is_google: get("x-goog-api-key").is_some(),
            session: SESSION.into_iter().find_map(|name| get(name).filter(|value| !value.is_empty())),
            content_type: get("content-type"),
            passed: headers::PASSED.into_iter().filter_map(|name| Some((name, get(name)?))).collect(),
            is_list: false,
            probed: None,
        };
        (head, presented_in)
    }
}

/// Where a credential stands that is not read there.
fn misplaced(get: impl Fn(&str) -> Option<String>, query: &[(String, String)]) -> Option<Misplaced> {
    let is_key = |(name, value): &(String, String)| name == "key" && (value.starts_with("sk-") || value.starts_with("AIza"));
    if get("authorization").is_some_and(|value| !value.is_empty()) {
        Some(Misplaced::Scheme)
    } else if get("api-key").is_some() {
        Some(Misplaced::Header)
    } else {
        query.iter().any(is_key).then_some(Misplaced::Query)
    }
}

/// A place in which a credential was found that nobody reads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// In `Authorization`, without `Bearer` before it.
    Scheme,
    /// In a header of another gateway's.
    Header,
    /// In the address.
    Query,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)], query: &[(&str, &str)]) -> (RequestHead, Option<&'static str>) {
        let get = |name: &str| headers.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        RequestHead::read(get, &query)
    }

    #[test]
    fn a_credential_where_nobody_reads_it_is_noticed() {
        for (headers, query, expected) in [
            (&[("authorization", "sk-tf-1")][..], &[][..], Some(Misplaced::Scheme)),
            (&[("authorization", ""), ("api-key", "sk-tf-1")], &[], Some(Misplaced::Header)),
            (&[], &[("key", "sk-tf-1")], Some(Misplaced::Query)),
            (&[], &[("key", "AIza1")], Some(Misplaced::Query)),
            (&[], &[("key", "other"), ("api", "sk-tf-1")], None),
        ] {
            assert_eq!(read(headers, query).0.misplaced, expected, "{headers:?} {query:?}");
        }
    }

    #[test]
    fn what_is_read_is_what_was_sent() {
        let headers = [
            ("x-api-key", "k"),
            ("x-session-id", ""),
            ("session_id", "s"),
            ("anthropic-beta", "b"),
            ("cookie", "c"),
            ("x-tf-run", "r"),
            ("cf-connecting-ip", "::1"),
            ("openai-organization", "o"),
        ];
        let (head, presented_in) = read(&headers, &[]);
        assert_eq!((head.credential.as_deref(), presented_in, head.is_google), (Some("k"), Some("x-api-key"), false));
        assert_eq!((head.session.as_deref(), head.run.as_deref(), head.route.as_deref()), (Some("s"), Some("r"), None));
        assert_eq!(head.passed, [("anthropic-beta", "b".to_owned())]);
        assert_eq!(head.address, "::1".parse().ok());
        assert_eq!(read(&[("cf-connecting-ip", "nowhere")], &[]).0.address, None);
    }
}
