//! Calls from web pages of other sites: the preflight by which a browser asks whether it may, and the headers by which it lets
//! the page read the answer.
//!
//! What always holds: a preflight has no key, so that it decides nothing; the request itself is refused where neither its key nor
//! the catalogue names its site ([`crate::relay::check_place`]), so that every answer may be read by who sent the request. A page
//! never gets what a cookie would open: browsers are not told that they may send one. Administration, payment providers'
//! messages and the pages of this site are not for other sites.

use super::table;
use crate::relay::{Reply, ReplyBody};

/// How long a browser remembers what it was told, in seconds; browsers shorten it by themselves.
const REMEMBERED_S: &str = "7200";
/// What a browser names is not repeated beyond this.
const LONGEST_ORIGIN: usize = 300;
const LONGEST_HEADERS: usize = 2_000;

/// What a browser asks for before it sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// `Access-Control-Request-Method`.
    pub method: String,
    /// `Access-Control-Request-Headers`.
    pub headers: Option<String>,
}

/// Whether a path is where programs call, here or at other gateways, which have `api` before the version.
pub fn is_for_programs(path: &str) -> bool {
    let mut parts = path.split('/').skip(1).peekable();
    parts.next_if_eq(&"api");
    parts.next().is_some_and(|version| matches!(version, "v1" | "v1beta"))
}

/// Whether pages of other sites may read what a path answers: what programs call, and that there is nothing at a path.
pub fn is_open(path: &str) -> bool {
    let is_private = ["/admin", "/webhooks"].into_iter().any(|private| path.starts_with(private));
    is_for_programs(path) || !is_private && table::at(path).next().is_none()
}

/// The answer to a preflight.
pub fn allowed(preflight: &Preflight, origin: &str, path: &str) -> Reply {
    let mut methods: Vec<&str> = table::methods(path);
    let asked = preflight.method.as_str();
    // What is wrong with an address or a method, its caller reads in the answer to the request itself.
    if is_token(asked) && !methods.contains(&asked) {
        methods.push(asked);
    }
    let headers = preflight.headers.as_deref().filter(|headers| headers.len() <= LONGEST_HEADERS);
    let headers = headers.filter(|headers| headers.split(',').all(|name| is_token(name.trim())));
    let reply = empty(204)
        .header("access-control-allow-methods", methods.join(", "))
        .header("access-control-max-age", REMEMBERED_S)
        .header("vary", "origin, access-control-request-method, access-control-request-headers");
    let reply = match headers {
        Some(headers) => reply.header("access-control-allow-headers", headers),
        None => reply,
    };
    named(reply, origin)
}

/// Lets the page that sent a request read its answer, with every header that is the gateway's.
pub fn readable(reply: Reply, origin: &str) -> Reply {
    let is_ours = |name: &str| name.starts_with("x-") || matches!(name, "retry-after" | "request-id" | "allow" | "link");
    let ours: Vec<&str> = reply.headers.iter().map(|(name, _)| *name).filter(|name| is_ours(name)).collect();
    let exposed = ours.join(", ");
    let reply = named(reply, origin).header("vary", "origin");
    if exposed.is_empty() { reply } else { reply.header("access-control-expose-headers", exposed) }
}

fn named(reply: Reply, origin: &str) -> Reply {
    let is_one = origin.len() <= LONGEST_ORIGIN && origin.bytes().all(|byte| byte.is_ascii_graphic());
    if is_one { reply.header("access-control-allow-origin", origin) } else { reply }
}

/// The answer to OPTIONS at a path that is known; none if it is not.
pub fn options(path: &str) -> Option<Reply> {
    let methods = table::methods(path);
    (!methods.is_empty()).then(|| empty(204).header("allow", methods.join(", ")))
}

/// An answer to GET as one to HEAD: the same without its body.
pub fn without_body(mut reply: Reply) -> Reply {
    let body = std::mem::replace(&mut reply.body, ReplyBody::Full(Vec::new()));
    match body {
        ReplyBody::Full(bytes) => reply.header("content-length", bytes.len().to_string()),
        ReplyBody::Stream(_) => reply,
    }
}

fn empty(status: u16) -> Reply {
    let mut reply = Reply::full(status, "", Vec::new());
    reply.headers.retain(|(name, _)| *name != "content-type");
    reply
}

/// Whether a text can be the name of a header or a method.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn asked(headers: &str) -> Preflight {
        Preflight { method: "POST".to_owned(), headers: Some(headers.to_owned()) }
    }

    #[test]
    fn a_preflight_is_told_what_may_be_sent() {
        let reply = allowed(&asked("authorization,content-type, x-stainless-os"), "https://app.example", "/v1/chat/completions");
        assert_eq!(reply.status, 204);
        for (name, value) in [
            ("access-control-allow-origin", "https://app.example"),
            ("access-control-allow-methods", "POST, OPTIONS"),
            ("access-control-allow-headers", "authorization,content-type, x-stainless-os"),
            ("access-control-max-age", "7200"),
        ] {
            assert_eq!(header(&reply, name), Some(value), "{name}");
        }
        assert_eq!(header(&reply, "access-control-allow-credentials"), None);
        assert_eq!(
            header(&allowed(&asked("a"), "https://a.example", "/v1/runs"), "access-control-allow-methods"),
            Some("GET, HEAD, POST, OPTIONS")
        );
        for headers in ["a\r\nset-cookie: x", "a;b", "", &"a,".repeat(2_000)] {
            assert_eq!(
                header(&allowed(&asked(headers), "null", "/v1/models"), "access-control-allow-headers"),
                None,
                "{headers:?}"
            );
        }
        for origin in ["https://a\nb", "ä", &"a".repeat(301)] {
            assert_eq!(header(&allowed(&asked("a"), origin, "/v1/models"), "access-control-allow-origin"), None, "{origin:?}");
        }
    }

    #[test]
    fn a_page_reads_the_headers_that_are_ours() {
        let reply = Reply::json(429, "{}".to_owned()).header("retry-after", "2").header("x-tf-route", "official");
        let reply = readable(reply, "https://app.example");
        assert_eq!(header(&reply, "vary"), Some("origin"));
        assert_eq!(header(&reply, "access-control-expose-headers"), Some("x-content-type-options, retry-after, x-tf-route"));
    }

    #[test]
    fn head_is_get_without_a_body() {
        let reply = without_body(Reply::json(200, "{\"a\":1}".to_owned()));
        assert_eq!((header(&reply, "content-length"), header(&reply, "content-type")), (Some("7"), Some("application/json")));
        assert!(matches!(reply.body, ReplyBody::Full(bytes) if bytes.is_empty()));
    }

    #[test]
    fn only_what_programs_call_is_for_other_sites() {
        for (path, expected) in [
            ("/v1/chat/completions", true),
            ("/v1beta/models/x:generateContent", true),
            ("/v1", true),
            ("/api/v1/chat/completions", true),
            ("/v10/chat", false),
            ("/v1beta1", false),
            ("/admin/v1/accounts", false),
            ("/webhooks/stripe", false),
            ("/login", false),
            ("", false),
        ] {
            assert_eq!(is_for_programs(path), expected, "{path}");
        }
        for (path, expected) in
            [("/chat/completions", true), ("/models", false), ("/healthz", false), ("/admin/v1/x", false), ("/webhooks", false)]
        {
            assert_eq!(is_open(path), expected, "{path}");
        }
    }
}
