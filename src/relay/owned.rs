//! What a request names that a provider keeps: whose it is, and so who can be asked.
//!
//! What always holds: nothing is named to a provider that was not made for the same account with the same credential.

use std::rc::Rc;

use subtle::ConstantTimeEq;

use super::prepare::Seal;
use crate::catalog::Channel;
use crate::dialect::openai::responses::{Named, kept_elsewhere, not_ours, unsealed};
use crate::id::{AccountId, ChannelId, SecretName};
use crate::refusal::Refusal;

/// More references than this are a mistake: each is proven by every credential that may have made it.
const MOST: usize = 4_096;

/// A channel and its credential.
pub type Maker = (ChannelId, SecretName);

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owned {
    /// Who alone can go on from what it refers to.
    pub maker: Option<Maker>,
    /// Thoughts that only their maker can read, by the client's ids; sorted.
    thoughts: Vec<(String, Maker)>,
}

/// What is sealed of an item: who made it, where.
pub fn sealed_item(account: &AccountId, channel: &ChannelId, item: &str) -> String {
    format!("{account}\n{channel}\nitem {item}")
}

impl Owned {
    /// Finds who made what is named. `maker` is known already of the response that the request goes on from.
    pub fn of(
        named: &Named,
        mut maker: Option<Maker>,
        (channels, account, seal): (&[Rc<Channel>], &AccountId, Seal<'_>),
    ) -> Result<Self, Refusal> {
        if named.references.len().saturating_add(named.thoughts.len()) > MOST {
            return Err(Refusal::invalid("input", format!("`input` refers to more than {MOST} items that a provider keeps.")));
        }
        let mut last = maker.clone();
        let mut find = |id: &str| {
            let found = maker_of(id, last.as_ref(), (channels, account, seal));
            last = found.clone().or(last.take());
            found
        };
        for (path, id) in &named.references {
            let found = find(id).ok_or_else(|| not_ours(path))?;
            if maker.as_ref().is_some_and(|known| *known != found) {
                return Err(kept_elsewhere(path));
            }
            maker = Some(found);
        }
        let mut thoughts: Vec<_> = named.thoughts.iter().filter_map(|id| Some((id.clone(), find(id)?))).collect();
        thoughts.sort();
        Ok(Self { maker, thoughts })
    }

    /// The thoughts that a channel and credential made.
    pub fn thoughts_of(&self, channel: &ChannelId, secret: &SecretName) -> Vec<String> {
        let is_own = |maker: &Maker| maker.0 == *channel && maker.1 == *secret;
        self.thoughts.iter().filter(|(_, maker)| is_own(maker)).map(|(id, _)| id.clone()).collect()
    }
}

/// Who made an item for this account, by its id; most likely who made the last one.
fn maker_of(id: &str, last: Option<&Maker>, (channels, account, seal): (&[Rc<Channel>], &AccountId, Seal<'_>)) -> Option<Maker> {
    let (item, proof) = unsealed(id)?;
    let is_made = |(channel, secret): &(&ChannelId, &SecretName)| {
        // A credential that is not set proves nothing.
        let expected = seal(secret, &sealed_item(account, channel, item));
        expected.is_some_and(|expected| bool::from(expected.as_bytes().ct_eq(proof.as_bytes())))
    };
    let all = channels.iter().flat_map(|channel| channel.secrets.iter().map(|secret| (&channel.id, secret)));
    let is_there = |maker: &&Maker| channels.iter().any(|channel| channel.id == maker.0 && channel.secrets.contains(&maker.1));
    let first = last.filter(is_there).map(|(channel, secret)| (channel, secret));
    first.into_iter().chain(all).find(is_made).map(|(channel, secret)| (channel.clone(), secret.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, UpstreamHosts};
    use crate::dialect::openai::responses::with_seal;
    use crate::id::sha256_hex;
    use serde_json::json;

    fn channels() -> Vec<Rc<Channel>> {
        let channel = |secrets: &[&str]| json!({"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": secrets});
        let document =
            json!({"version": 1, "buckets": {}, "models": {}, "channels": {"a": channel(&["K1", "K2"]), "b": channel(&["K3"])}});
        let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
        catalog.channels.values().cloned().collect()
    }

    fn seal(secret: &SecretName, text: &str) -> Option<String> {
        (secret.as_str() != "UNSET").then(|| sha256_hex(&[secret.as_str().as_bytes(), text.as_bytes()])[..16].to_owned())
    }

    fn account(name: &str) -> AccountId {
        AccountId::parse(name).unwrap()
    }

    fn made(by: &str, (channel, secret): (&str, &str), item: &str) -> String {
        let channel = ChannelId::parse(channel).unwrap();
        let proof = seal(&SecretName::parse(secret).unwrap(), &sealed_item(&account(by), &channel, item)).unwrap();
        with_seal(item, &proof)
    }

    fn of(references: &[String], thoughts: &[String]) -> Result<Owned, Refusal> {
        let place = |(at, id): (usize, &String)| (format!("input[{at}].id"), id.clone());
        let named = Named { references: references.iter().enumerate().map(place).collect(), thoughts: thoughts.to_vec() };
        Owned::of(&named, None, (&channels(), &account("own"), &seal))
    }

    #[test]
    fn only_what_was_made_for_the_same_account_is_asked_of_who_made_it() {
        let own = of(&[made("own", ("a", "K2"), "msg_1"), made("own", ("a", "K2"), "msg_2")], &[]).unwrap();
        assert_eq!(own.maker.map(|(channel, secret)| format!("{channel} {secret}")).as_deref(), Some("a K2"));
        let sealed = made("own", ("a", "K2"), "msg_1");
        for foreign in [
            "msg_1".to_owned(),
            made("other", ("a", "K2"), "msg_1"),
            made("own", ("c", "K2"), "msg_1"),
            sealed.replace("msg_1", "msg_2"),
            format!("{}0", &sealed[..sealed.len() - 1]).replace("00", "0f"),
            with_seal("msg_1", "0000000000000000"),
        ] {
            let refusal = of(std::slice::from_ref(&foreign), &[]).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("input[0].id"), "{foreign}");
            assert!(refusal.next_step.contains("store"), "{}", refusal.next_step);
        }
        let two = [made("own", ("a", "K2"), "msg_1"), made("own", ("b", "K3"), "msg_2")];
        assert_eq!(of(&two, &[]).unwrap_err().param.as_deref(), Some("input[1].id"), "nobody has both");
    }

    #[test]
    fn thoughts_go_to_who_made_them_and_pin_nobody() {
        let (first, second) = (made("own", ("a", "K1"), "rs_1"), made("own", ("b", "K3"), "rs_2"));
        let own = of(&[], &[first.clone(), second.clone(), "rs_3".to_owned(), made("other", ("a", "K1"), "rs_4")]).unwrap();
        let thoughts = |channel: &str, secret: &str| {
            own.thoughts_of(&ChannelId::parse(channel).unwrap(), &SecretName::parse(secret).unwrap())
        };
        assert_eq!((thoughts("a", "K1"), thoughts("b", "K3"), thoughts("a", "K2")), (vec![first], vec![second], vec![]));
        assert_eq!(own.maker, None);
    }

    #[test]
    fn too_many_references_are_a_mistake() {
        let many: Vec<String> = (0..=MOST).map(|at| format!("msg_{at}")).collect();
        assert_eq!(of(&many, &[]).unwrap_err().param.as_deref(), Some("input"));
    }
}
