//! A request as the endpoints get it.

use super::browser::Preflight;
use crate::catalog::Dialect;
use crate::relay::RequestHead;

/// A request with its headers read, and its body still on the way.
pub struct Request<B> {
    /// `GET`, `POST`, ...
    pub method: String,
    /// As it came, without the query.
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// What its head says to every endpoint.
    pub head: RequestHead,
    /// `Accept`.
    pub accept: Option<String>,
    /// `Cookie`.
    pub cookies: Option<String>,
    /// `Origin`: the site of the page that sent it.
    pub from: Option<String>,
    /// What a browser asks before it sends the request itself.
    pub preflight: Option<Preflight>,
    /// The header that the credential came in.
    pub presented_in: Option<&'static str>,
    /// `Stripe-Signature`.
    pub signature: Option<String>,
    /// The scheme and host that were called.
    pub origin: String,
    /// The body.
    pub body: B,
}

impl<B> Request<B> {
    /// A query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The site of the page that sent it, where that is another than this one.
    pub fn foreign(&self) -> Option<String> {
        self.from.clone().filter(|from| *from != self.origin)
    }

    /// Whether a person looks at the answer in a browser.
    pub fn is_for_people(&self) -> bool {
        self.accept.as_deref().is_some_and(|accept| accept.contains("text/html"))
    }

    /// The dialect of clients that send such headers, where the path tells nothing.
    pub fn speaks(&self) -> Dialect {
        let has_version = self.head.passed.iter().any(|(name, _)| *name == "anthropic-version");
        if self.head.is_google || self.path.starts_with("/v1beta/") {
            Dialect::Gemini
        } else if has_version || self.presented_in == Some("x-api-key") {
            Dialect::Anthropic
        } else {
            Dialect::Openai
        }
    }

    /// The dialect that the client speaks, where it does not ask a model.
    pub fn dialect(&self) -> Dialect {
        let is_models = self.path.starts_with("/v1/models");
        if self.path.starts_with("/v1beta/") || is_models && self.head.is_google {
            Dialect::Gemini
        } else if is_models && self.head.passed.iter().any(|(name, _)| *name == "anthropic-version") {
            Dialect::Anthropic
        } else {
            Dialect::Openai
        }
    }
}
