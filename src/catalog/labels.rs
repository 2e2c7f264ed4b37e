//! The check of names: what customers call channels, which secrets these may name, and at which hosts they may be.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::channel::Channel;
use super::fault::{Checker, Fault};
use super::hosts::{self, Hosted, UpstreamHosts};
use super::public::ALIAS;
use super::raw::MAX_LABEL;
use super::secrets;
use super::version::Catalog;
use crate::id::ChannelId;

/// Each label is one channel's, and nobody takes it for another's id or alias.
pub(super) fn check(check: &mut Checker, channels: &BTreeMap<ChannelId, Rc<Channel>>) {
    for channel in channels.values() {
        let path = format!("channels.{}.label", channel.id);
        let others = || channels.values().filter(|other| other.id != channel.id);
        let Some(label) = channel.label.as_deref() else { continue };
        // It travels in a response header.
        let is_plain = label.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && label.trim() == label;
        if !(1..=MAX_LABEL).contains(&label.len()) || !is_plain {
            check.fault(path, format!("must be 1 to {MAX_LABEL} characters of printable ASCII, without a space at either end"));
        } else if label.starts_with(ALIAS) {
            check.fault(path, format!("must not begin with `{ALIAS}`, as the aliases of channels without a label do"));
        } else if let Some(other) = others().find(|other| other.id.as_str() == label) {
            check.fault(path, format!("is the id of another channel, `{}`", other.id));
        } else if let Some(other) = others().find(|other| other.label.as_deref() == Some(label)) {
            check.fault(path, format!("is also the label of `{}`", other.id));
        }
    }
}

impl Catalog {
    /// What a catalogue that is published anew may not have, and one that runs already goes on with: names of secrets that are
    /// none or not meant for channels (`declared` lists those that do not say so themselves), hosts that look private, and aliases
    /// that are equal.
    pub fn unfit_names(&self, declared: &str, allowed: UpstreamHosts) -> Vec<Fault> {
        let mut faults = Vec::new();
        for channel in self.channels.values() {
            for (i, secret) in channel.secrets.iter().enumerate() {
                if let Some(message) = secrets::fault(declared, secret.as_str()) {
                    faults.push(Fault { path: format!("channels.{}.secrets[{i}]", channel.id), message });
                }
            }
            if allowed == UpstreamHosts::Public {
                faults.extend(unfit_host(channel));
            }
            let others = self.channels.values().filter(|other| other.id > channel.id && other.label.is_none());
            let equal = others.filter(|_| channel.label.is_none()).find(|other| other.shown() == channel.shown());
            if let Some(other) = equal {
                let message = format!("has to be set: without it the alias is that of `{}`", other.id);
                faults.push(Fault { path: format!("channels.{}.label", channel.id), message });
            }
        }
        faults
    }
}

/// What is wrong with where a channel is, unless the operator says that it is meant.
fn unfit_host(channel: &Channel) -> Option<Fault> {
    let (hosted, host) = (hosts::hosted(&channel.base_url), hosts::spelled(&channel.base_url));
    if hosted == Hosted::Public || channel.allow_host.as_deref() == Some(host.as_str()) {
        return None;
    }
    let message = format!("{}. If it is meant, add `\"allow_host\": \"{host}\"` to the channel", hosts::reason(hosted));
    Some(Fault { path: format!("channels.{}.base_url", channel.id), message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::UpstreamHosts;
    use serde_json::json;

    fn parse(channels: &serde_json::Value) -> Result<Catalog, Vec<Fault>> {
        let document = json!({"version": 1, "buckets": {"credit": {"label": "Credit", "currency": "USD"}}, "channels": channels, "models": {}});
        Catalog::parse(&document.to_string(), UpstreamHosts::Public)
    }

    fn channel(label: Option<&str>, secret: &str) -> serde_json::Value {
        json!({"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": [secret], "label": label})
    }

    #[test]
    fn labels_are_printed_and_taken_for_nothing_else() {
        for (label, fault) in [
            ("Main line", None),
            ("a", None),
            ("b", Some("is the id of another channel")),
            ("Other", Some("is also the label of")),
            ("channel-1", Some("must not begin with")),
            ("", Some("must be 1 to 64")),
            (" x", Some("must be 1 to 64")),
            ("gr\u{f6}\u{df}e", Some("must be 1 to 64")),
            ("a\nb", Some("must be 1 to 64")),
        ] {
            let mut channels = json!({"a": channel(Some(label), "K"), "b": channel(Some("Other"), "K")});
            // Of two equal labels each is told.
            channels["b"]["shows_upstream_models"] = true.into();
            let told = parse(&channels).err().map(|faults| faults[0].to_string());
            assert_eq!(told.is_some(), fault.is_some(), "{label}: {told:?}");
            assert!(told.unwrap_or_default().contains(fault.unwrap_or_default()), "{label}");
        }
    }

    #[test]
    fn secrets_are_those_that_were_meant_for_channels() {
        for (name, is_one) in [
            ("OPENAI_API_KEY", true),
            ("UPSTREAM_K2", true),
            ("OTHER_API_KEY", false),
            ("ADMIN_TOKEN", false),
            ("K", false),
            ("sk-proj-1", false),
            ("pool_key", false),
            ("1K", false),
            ("AIzaSy", false),
        ] {
            let catalog = parse(&json!({"a": channel(None, name)})).unwrap();
            let faults = catalog.unfit_names("OPENAI_API_KEY,ADMIN_TOKEN", UpstreamHosts::Public);
            assert_eq!(faults.is_empty(), is_one, "{name}");
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let is_readable = secrets::read(name).is_some_and(|known| known.as_str() == name);
            assert!(is_readable || !told.concat().contains(name), "{name} is not repeated: {told:?}");
        }
    }

    #[test]
    fn a_host_that_looks_private_needs_a_word_of_its_own() {
        for (url, word, is_fit) in [
            ("https://api.example.com/v1", None, true),
            ("https://10.0.0.1.nip.io/v1", None, false),
            ("https://10.0.0.1.nip.io/v1", Some("10.0.0.1.nip.io"), true),
            ("https://10.0.0.1.nip.io/v1", Some("nip.io"), false),
            ("https://10.0.0.1.nip.io/v1", Some("10.0.0.2.nip.io"), false),
            ("https://api.example.com:6379/v1", None, false),
            ("https://api.example.com:6379/v1", Some("api.example.com"), false),
            ("https://api.example.com:6379/v1", Some("api.example.com:6379"), true),
        ] {
            let mut channel = channel(None, "UPSTREAM_K");
            channel["base_url"] = url.into();
            channel["allow_host"] = word.into();
            let catalog = parse(&json!({"a": channel})).unwrap();
            let faults = catalog.unfit_names("", UpstreamHosts::Public);
            assert_eq!(faults.is_empty(), is_fit, "{url} {word:?}: {faults:?}");
            assert!(catalog.unfit_names("", UpstreamHosts::Any).is_empty(), "in development it is anywhere");
        }
        // No word helps where the address itself is private.
        let mut channel = channel(None, "UPSTREAM_K");
        (channel["base_url"], channel["allow_host"]) = ("https://10.0.0.1".into(), "10.0.0.1".into());
        assert!(parse(&json!({"a": channel})).is_err());
    }

    #[test]
    fn a_pasted_key_is_repeated_in_no_fault() {
        let key = "sk-proj-T3BlbkFJ0123456789abcdef";
        for (field, value) in [
            ("secrets", json!(key)),
            ("secrets", json!([key])),
            ("secrets", json!([format!("{key} ")])),
            ("secrets", json!([[key]])),
            ("secrets", json!({ "a": key })),
            ("dialect", json!(key)),
            ("base_url", json!(format!("https://a.example/v1?key={key}"))),
            ("label", json!([key])),
            (key, json!("x")),
        ] {
            let mut channel = channel(None, "UPSTREAM_K");
            channel[field] = value.clone();
            let found = parse(&json!({"a": channel}));
            let faults = found.map(|catalog| catalog.unfit_names("", UpstreamHosts::Public)).unwrap_or_else(|faults| faults);
            assert!(!faults.is_empty(), "{value}");
            assert!(faults.iter().all(|fault| !fault.to_string().contains("T3BlbkFJ")), "{faults:?}");
        }
    }
}
