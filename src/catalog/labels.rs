//! The check of names: what customers call channels, and what names of secrets look like.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::check::{Checker, Fault};
use super::public::ALIAS;
use super::{Catalog, Channel};
use crate::id::ChannelId;

const MAX_LABEL: usize = 64;

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
    /// none, since a key that was pasted in place of its name would be stored with every attempt, and aliases that are equal.
    pub fn unfit_names(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for channel in self.channels.values() {
            let named = channel.secrets.iter().enumerate();
            for (i, _) in named.filter(|(_, secret)| !is_secret_name(secret.as_str())) {
                // What stands there may be a key, so it is not repeated.
                faults.push(Fault { path: format!("channels.{}.secrets[{i}]", channel.id), message: NO_NAME.to_owned() });
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

const NO_NAME: &str = "must be the name of a secret, such as POOL_KEY_1: capital letters, digits and _, with a letter first. Store the \
                       key itself with `npx wrangler secret put NAME`";

fn is_secret_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.bytes().all(is_allowed)
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
    fn names_of_secrets_look_like_names() {
        for (name, is_one) in [
            ("OPENAI_API_KEY", true),
            ("K", true),
            ("K2", true),
            ("sk-proj-1", false),
            ("pool_key", false),
            ("1K", false),
            ("AIzaSy", false),
        ] {
            let faults = parse(&json!({"a": channel(None, name)})).unwrap().unfit_names();
            assert_eq!(faults.is_empty(), is_one, "{name}");
            assert!(is_one || !faults[0].to_string().contains(name), "{name} is not repeated");
        }
    }
}
