//! The check of names: what customers call channels, and what names of secrets look like.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::check::{Checker, Fault};
use super::public::ALIAS;
use super::{Catalog, Channel};
use crate::id::ChannelId;

const MAX_LABEL: usize = 64;

/// Each label is one channel's, and nobody takes it for another's id or alias.
pub(super) fn labels(check: &mut Checker, channels: &BTreeMap<ChannelId, Rc<Channel>>) {
    for channel in channels.values() {
        let path = format!("channels.{}.label", channel.id);
        let others = || channels.values().filter(|other| other.id != channel.id);
        let Some(label) = channel.label.as_deref() else {
            if let Some(other) = others().find(|other| other.label.is_none() && other.shown() == channel.shown()) {
                check.fault(path, format!("has to be set: without one its alias is that of `{}`", other.id));
            }
            continue;
        };
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
    /// Names of secrets that are none: a key that was pasted in place of its name would be stored with every attempt. Asked of
    /// what is published anew, since what runs already must go on to.
    pub fn unfit_secrets(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for channel in self.channels.values() {
            let named = channel.secrets.iter().enumerate();
            for (i, _) in named.filter(|(_, secret)| !is_secret_name(secret.as_str())) {
                // What stands there may be a key, so it is not repeated.
                let message =
                    "must be the name of a secret, such as POOL_KEY_1: capital letters, digits and _, with a letter first. \
                               A key itself is stored under its name with `wrangler secret put NAME`"
                        .to_owned();
                faults.push(Fault { path: format!("channels.{}.secrets[{i}]", channel.id), message });
            }
        }
        faults
    }
}

fn is_secret_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.bytes().all(is_allowed)
}
