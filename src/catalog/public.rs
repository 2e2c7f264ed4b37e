//! What customers see of what the operator wrote for himself: the names of channels and the ids of models upstream.
//!
//! What always holds: a channel is shown under its label, or else under an alias made from its id, which stays the same when
//! the channel leaves the catalogue; a model's id upstream is shown only where the channel says so, and is the model's public
//! name everywhere else. Every customer's view asks here; the operator's views do not.
//!
//! Deliberately absent: secrets' names and weights. No customer sees them in any form.

use std::borrow::Cow;

use super::channel::Channel;
use super::model::{Candidate, Model};
use super::version::Catalog;
use crate::id::sha256_hex;

/// How every alias begins; no label may.
pub(super) const ALIAS: &str = "channel-";
const DIGITS: usize = 6;
/// What came before the ids that are near a vanished one, in words about health that earlier versions stored.
const NEAR: &str = "; it has ";

/// A candidate and the model that it serves, by the names that the catalogue or a receipt has for them.
#[derive(Debug, Clone, Copy)]
pub struct NamedCandidate<'a> {
    /// The channel's id.
    pub channel: &'a str,
    /// The model's id upstream.
    pub upstream_model: &'a str,
    /// The model's public name.
    pub model: &'a str,
}

/// The name of a channel without a label.
pub fn alias(id: &str) -> String {
    let hash = sha256_hex(&[b"channel:", id.as_bytes()]);
    format!("{ALIAS}{}", hash.get(..DIGITS).unwrap_or_default())
}

impl Channel {
    /// What customers call it.
    pub fn shown(&self) -> Cow<'_, str> {
        match &self.label {
            Some(label) => Cow::Borrowed(label),
            None => Cow::Owned(alias(self.id.as_str())),
        }
    }

    /// Whether a request means it by a name: its label where it has one, or else its alias or its id.
    pub fn is_called(&self, name: &str) -> bool {
        match &self.label {
            // Who tries names must not find out which it has for the operator.
            Some(label) => label == name,
            None => self.id.as_str() == name || (name.starts_with(ALIAS) && alias(self.id.as_str()) == name),
        }
    }
}

impl Catalog {
    /// What customers call a channel, in the catalogue or not any more.
    pub fn shown_channel(&self, id: &str) -> String {
        self.channel_of(id).map_or_else(|| alias(id), |channel| channel.shown().into_owned())
    }

    /// What customers see in place of a model's id upstream: the id itself, or the model's public name.
    pub fn shown_upstream<'a>(&self, named: NamedCandidate<'a>) -> &'a str {
        if self.shows_upstream(named.channel) { named.upstream_model } else { named.model }
    }

    /// Words about a candidate as customers read them.
    pub fn shown_text(&self, text: &str, named: NamedCandidate<'_>) -> String {
        let text = replaced(text, named.channel, &self.shown_channel(named.channel));
        if self.shows_upstream(named.channel) {
            return text;
        }
        let text = text.split_once(NEAR).map_or(text.as_str(), |(text, _)| text);
        replaced(text, named.upstream_model, named.model)
    }

    /// The public name of the model that a candidate serves, where the catalogue has it; of several the first.
    pub fn model_served(&self, channel: &str, upstream_model: &str) -> Option<&str> {
        let is_it = |candidate: &Candidate| candidate.channel.as_str() == channel && candidate.upstream_model == upstream_model;
        let serves = |model: &Model| model.routes.iter().flat_map(|route| &route.candidates).any(is_it);
        self.models.values().find(|model| serves(model)).map(|model| model.id.as_str())
    }
}

/// A text with a name replaced wherever it stands as a word of its own.
pub fn replaced(text: &str, name: &str, by: &str) -> String {
    if name.is_empty() || name == by {
        return text.to_owned();
    }
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    let mut before: Option<char> = None;
    while let Some((lead, after)) = rest.split_once(name) {
        let left = lead.chars().next_back().or(before);
        let is_word = !left.is_some_and(is_inside) && !after.chars().next().is_some_and(is_inside);
        out.push_str(lead);
        out.push_str(if is_word { by } else { name });
        before = name.chars().next_back();
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::UpstreamHosts;
    use serde_json::json;

    fn catalog(open: serde_json::Value) -> Catalog {
        let mut channel = json!({"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": ["K"]});
        let closed = channel.clone();
        for (name, value) in open.as_object().unwrap() {
            channel[name] = value.clone();
        }
        let candidates = json!([{"channel": "open", "upstream_model": "x-1"}, {"channel": "closed", "upstream_model": "y-1"}]);
        let document = json!({
            "version": 1, "buckets": {"credit": {"label": "Credit", "currency": "USD"}},
            "channels": {"open": channel, "closed": closed},
            "models": {"m": {"name": "M", "family": "f", "kind": "chat", "context_length": 9, "max_output_tokens": 9,
                "routes": {"official": {"bucket": "credit", "price": {"input": "1", "output": "1"}, "candidates": candidates}}}},
        });
        Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
    }

    #[test]
    fn a_channel_has_its_label_or_an_alias_that_does_not_change() {
        let catalog = catalog(json!({"label": "Main line"}));
        assert_eq!(catalog.shown_channel("open"), "Main line");
        assert_eq!(catalog.shown_channel("closed"), alias("closed"));
        assert_eq!(catalog.shown_channel("gone"), alias("gone"), "one that left the catalogue");
        assert_eq!((alias("closed").len(), alias("closed") == alias("closed"), alias("a") == alias("b")), (14, true, false));
    }

    #[test]
    fn a_request_means_a_channel_by_its_label_or_where_it_has_none_by_alias_or_id() {
        let catalog = catalog(json!({"label": "Main line"}));
        let (open, closed) = (alias("open"), alias("closed"));
        for (id, name, is_meant) in [
            ("open", "Main line", true),
            ("open", "open", false),
            ("open", open.as_str(), false),
            ("open", closed.as_str(), false),
            ("closed", closed.as_str(), true),
            ("closed", "closed", true),
            ("closed", "Main line", false),
        ] {
            let channel = catalog.channel_of(id).unwrap();
            assert_eq!(channel.is_called(name), is_meant, "{id} {name}");
        }
    }

    #[test]
    fn an_id_upstream_is_shown_only_where_the_channel_says_so() {
        let catalog = catalog(json!({"shows_upstream_models": true}));
        for (channel, upstream_model, shown) in [("open", "x-1", "x-1"), ("closed", "y-1", "m"), ("gone", "z-1", "m")] {
            assert_eq!(catalog.shown_upstream(NamedCandidate { channel, upstream_model, model: "m" }), shown, "{channel}");
        }
        let named = |channel, upstream_model| NamedCandidate { channel, upstream_model, model: "m" };
        let text = "open: `y-1` is not y-10; it has y-2";
        assert_eq!(catalog.shown_text(text, named("closed", "y-1")), "open: `m` is not y-10");
        let shown = format!("{}: `y-1` is not y-10; it has y-2", alias("open"));
        assert_eq!(catalog.shown_text(text, named("open", "y-1")), shown);
    }

    #[test]
    fn a_name_is_replaced_only_as_a_word() {
        for (text, expected) in [
            ("a pool failed", "a X failed"),
            ("pool", "X"),
            ("pool/pool-2, whirlpool, pools", "X/X-2, whirlpool, pools"),
            ("nothing of it", "nothing of it"),
            ("poolpool pool", "poolpool X"),
        ] {
            assert_eq!(replaced(text, "pool", "X"), expected, "{text}");
        }
        assert_eq!(replaced("text", "", "X"), "text");
    }
}
