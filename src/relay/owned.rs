//! What a request names that a provider keeps: whose it is, and so who can be asked.
//!
//! What always holds: nothing is named to a provider that was not made for the same account with the same credential. Who made
//! something is found with no more proofs than there are references and credentials, one time each; thoughts, which pin nobody, are
//! proven only by the credential that is asked, once something was set aside for that.

use std::rc::Rc;

use subtle::ConstantTimeEq;

use crate::catalog::Channel;
use crate::dialect::bounds::MOST_REFERENCES;
use crate::dialect::openai::responses::{NamedItems, kept_elsewhere, not_ours, untagged};
use crate::id::{AccountId, ChannelId, SecretName};
use crate::ports::Signer;
use crate::refusal::Refusal;

/// Who makes tags, and so can prove them: see [`crate::ports::Upstream::signer`].
pub type Signers<'a> = &'a dyn Fn(&SecretName) -> Option<Signer>;

/// A channel and its credential.
pub type Provenance = (ChannelId, SecretName);

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owned {
    /// Who alone can go on from what it refers to.
    pub maker: Option<Provenance>,
    /// Thoughts that only their maker can read, by the client's ids, whoever that is; sorted.
    thoughts: Vec<String>,
}

/// What is tagged of an item: who made it, where.
pub fn tagged_item(account: &AccountId, channel: &ChannelId, item: &str) -> String {
    format!("{account}\n{channel}\nitem {item}")
}

impl Owned {
    /// Finds who made what is named. `maker` is known already of the response that the request goes on from.
    pub fn of(
        named: &NamedItems,
        maker: Option<Provenance>,
        (channels, account, signers): (&[Rc<Channel>], &AccountId, Signers<'_>),
    ) -> Result<Self, Refusal> {
        if named.references.len().saturating_add(named.thoughts.len()) > MOST_REFERENCES {
            let message = format!("`input` refers to more than {MOST_REFERENCES} items that a provider keeps.");
            return Err(Refusal::invalid("input", message));
        }
        let mut known = maker.map(|(channel, secret)| {
            let signer = signers(&secret);
            ((channel, secret), signer)
        });
        for (path, id) in &named.references {
            if let Some(((channel, _), signer)) = &known
                && signer.as_ref().is_some_and(|signer| is_made(id, (account, channel), signer))
            {
                continue;
            }
            let found = maker_of(id, (channels, account, signers)).ok_or_else(|| not_ours(path))?;
            // What two have made nobody can go on from.
            if known.is_some() {
                return Err(kept_elsewhere(path));
            }
            known = Some(found);
        }
        let mut thoughts = named.thoughts.clone();
        thoughts.sort();
        Ok(Self { maker: known.map(|(maker, _)| maker), thoughts })
    }

    /// The thoughts that were made for an account over a channel with the credential whose `signer` is asked for.
    pub fn thoughts_of(&self, place: (&AccountId, &ChannelId), signer: impl FnOnce() -> Option<Signer>) -> Vec<String> {
        if self.thoughts.is_empty() {
            return Vec::new();
        }
        // A credential that is not set proves nothing.
        let Some(signer) = signer() else { return Vec::new() };
        self.thoughts.iter().filter(|id| is_made(id, place, &signer)).cloned().collect()
    }
}

/// Whether an item was made for an account over a channel, with the credential of a signer.
fn is_made(id: &str, (account, channel): (&AccountId, &ChannelId), signer: &Signer) -> bool {
    untagged(id).is_some_and(|(item, proof)| {
        let expected = signer(&tagged_item(account, channel, item));
        bool::from(expected.as_bytes().ct_eq(proof.as_bytes()))
    })
}

/// Who made an item for this account, by its id.
fn maker_of(
    id: &str,
    (channels, account, signers): (&[Rc<Channel>], &AccountId, Signers<'_>),
) -> Option<(Provenance, Option<Signer>)> {
    untagged(id)?;
    let all = channels.iter().flat_map(|channel| channel.secrets.iter().map(|secret| (&channel.id, secret)));
    let mut proven = all.filter_map(|(channel, secret)| {
        let signer = signers(secret).filter(|signer| is_made(id, (account, channel), signer))?;
        Some(((channel.clone(), secret.clone()), Some(signer)))
    });
    proven.next()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::catalog::{Catalog, UpstreamHosts};
    use crate::dialect::openai::responses::with_tag;
    use crate::id::sha256_hex;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// As many channels with as many credentials each, of which none is another's.
    fn channels(of: &[(&str, &[&str])]) -> Vec<Rc<Channel>> {
        let channel = |(id, secrets): &(&str, &[&str])| {
            ((*id).to_owned(), json!({"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": secrets}))
        };
        let all: serde_json::Map<String, Value> = of.iter().map(channel).collect();
        let document = json!({"version": 1, "buckets": {}, "models": {}, "channels": all});
        let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
        catalog.channels.values().cloned().collect()
    }

    fn two() -> Vec<Rc<Channel>> {
        channels(&[("a", &["K1", "K2"]), ("b", &["K3"])])
    }

    fn signer(secret: &SecretName) -> Option<Signer> {
        let secret = secret.as_str().to_owned();
        (secret != "UNSET").then(|| Rc::new(move |text: &str| proof(&secret, text)) as Signer)
    }

    fn proof(secret: &str, text: &str) -> String {
        sha256_hex(&[secret.as_bytes(), text.as_bytes()])[..16].to_owned()
    }

    fn account(name: &str) -> AccountId {
        AccountId::parse(name).unwrap()
    }

    fn channel(id: &str) -> ChannelId {
        ChannelId::parse(id).unwrap()
    }

    fn made(by: &str, (at, secret): (&str, &str), item: &str) -> String {
        with_tag(item, &proof(secret, &tagged_item(&account(by), &channel(at), item)))
    }

    fn naming(references: &[String], thoughts: &[String]) -> NamedItems {
        let place = |(at, id): (usize, &String)| (format!("input[{at}].id"), id.clone());
        NamedItems { references: references.iter().enumerate().map(place).collect(), thoughts: thoughts.to_vec() }
    }

    fn of(references: &[String], thoughts: &[String]) -> Result<Owned, Refusal> {
        Owned::of(&naming(references, thoughts), None, (&two(), &account("own"), &signer))
    }

    #[test]
    fn only_what_was_made_for_the_same_account_is_asked_of_who_made_it() {
        let own = of(&[made("own", ("a", "K2"), "msg_1"), made("own", ("a", "K2"), "msg_2")], &[]).unwrap();
        assert_eq!(own.maker.map(|(channel, secret)| format!("{channel} {secret}")).as_deref(), Some("a K2"));
        let tagged = made("own", ("a", "K2"), "msg_1");
        for foreign in [
            "msg_1".to_owned(),
            made("other", ("a", "K2"), "msg_1"),
            made("own", ("c", "K2"), "msg_1"),
            tagged.replace("msg_1", "msg_2"),
            format!("{}0", &tagged[..tagged.len() - 1]).replace("00", "0f"),
            with_tag("msg_1", "0000000000000000"),
        ] {
            let refusal = of(std::slice::from_ref(&foreign), &[]).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("input[0].id"), "{foreign}");
            assert!(refusal.next_step.contains("store"), "{}", refusal.next_step);
            let refusal = of(&[tagged.clone(), foreign.clone()], &[]).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("input[1].id"), "{foreign}");
        }
        let two = [made("own", ("a", "K2"), "msg_1"), made("own", ("b", "K3"), "msg_2")];
        assert_eq!(of(&two, &[]).unwrap_err().param.as_deref(), Some("input[1].id"), "nobody has both");
    }

    #[test]
    fn what_the_maker_of_the_response_did_not_make_is_refused() {
        let maker = Some((channel("a"), SecretName::parse("K2").unwrap()));
        let of = |id: String| {
            Owned::of(&naming(&[id], &[]), maker.clone(), (&two(), &account("own"), &signer)).map(|owned| owned.maker)
        };
        assert_eq!(of(made("own", ("a", "K2"), "msg_1")).unwrap(), maker);
        let elsewhere = of(made("own", ("b", "K3"), "msg_1")).unwrap_err();
        let nowhere = of(made("other", ("a", "K2"), "msg_1")).unwrap_err();
        assert_ne!(elsewhere.message, nowhere.message);
    }

    #[test]
    fn thoughts_go_to_who_made_them_and_pin_nobody() {
        let (first, second) = (made("own", ("a", "K1"), "rs_1"), made("own", ("b", "K3"), "rs_2"));
        let foreign = ["rs_3".to_owned(), made("other", ("a", "K1"), "rs_4"), made("own", ("b", "K1"), "rs_5")];
        let own = of(&[], &[&[second.clone(), first.clone()][..], &foreign].concat()).unwrap();
        let thoughts = |at: &str, secret: &str| {
            own.thoughts_of((&account("own"), &channel(at)), || signer(&SecretName::parse(secret).unwrap()))
        };
        assert_eq!((thoughts("a", "K1"), thoughts("b", "K3"), thoughts("a", "K2")), (vec![first], vec![second], vec![]));
        assert_eq!(thoughts("a", "UNSET"), Vec::<String>::new());
        assert_eq!(own.maker, None);
    }

    #[test]
    fn too_many_references_are_a_mistake() {
        let many: Vec<String> = (0..=MOST_REFERENCES).map(|at| format!("msg_{at}")).collect();
        assert_eq!(of(&many, &[]).unwrap_err().param.as_deref(), Some("input"));
        assert_eq!(of(&[], &many).unwrap_err().param.as_deref(), Some("input"));
    }

    /// Counts how often a credential is made ready and how many proofs are made with all of them.
    #[derive(Default)]
    struct Counted {
        signers: Cell<usize>,
        proofs: Rc<Cell<usize>>,
    }

    impl Counted {
        fn signer(&self, secret: &SecretName) -> Option<Signer> {
            self.signers.set(self.signers.get() + 1);
            let (proofs, own) = (Rc::clone(&self.proofs), signer(secret)?);
            Some(Rc::new(move |text: &str| {
                proofs.set(proofs.get() + 1);
                own(text)
            }))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// However many channels and credentials there are, each reference is proven once more than there are credentials at most.
        #[test]
        fn proofs_grow_with_references_and_with_credentials_and_never_with_both(
            shape in prop::collection::vec(1_usize..16, 1..24),
            references in prop::collection::vec((0_usize..400, 0_usize..4), 0..60),
            alike in any::<bool>(),
            thoughts in prop::collection::vec((0_usize..400, 0_usize..4), 0..60),
        ) {
            let named: Vec<(String, Vec<String>)> = shape.iter().enumerate()
                .map(|(at, many)| (format!("c{at}"), (0..*many).map(|number| format!("K{at}_{number}")).collect()))
                .collect();
            let all: Vec<(&str, &str)> =
                named.iter().flat_map(|(id, secrets)| secrets.iter().map(move |secret| (id.as_str(), secret.as_str()))).collect();
            let lists: Vec<Vec<&str>> = named.iter().map(|(_, secrets)| secrets.iter().map(String::as_str).collect()).collect();
            let shape: Vec<(&str, &[&str])> = named.iter().zip(&lists).map(|((id, _), list)| (id.as_str(), list.as_slice())).collect();
            let channels = channels(&shape);
            let id = |(number, (by, kind)): (usize, &(usize, usize))| match kind {
                0 => format!("rs_{number}"),
                1 => with_tag(&format!("rs_{number}"), "0123456789abcdef"),
                2 => made("other", all[by % all.len()], &format!("rs_{number}")),
                _ => made("own", all[if alike { 0 } else { by % all.len() }], &format!("rs_{number}")),
            };
            let thoughts: Vec<String> = thoughts.iter().enumerate().map(id).collect();
            // With those alone that are proven nothing ends the search early.
            let references: Vec<String> = references.iter().enumerate().filter(|(_, of)| !alike || of.1 == 3).map(id).collect();
            let counted = Counted::default();
            let named = naming(&references, &thoughts);
            let owned = Owned::of(&named, None, (&channels, &account("own"), &|secret| counted.signer(secret)));
            prop_assert!(counted.proofs.get() <= references.len() + 2 * all.len(), "{} proofs", counted.proofs.get());
            prop_assert!(counted.signers.get() <= 2 * all.len());
            let Ok(owned) = owned else { return Ok(()) };
            prop_assert!(!references.is_empty() || counted.proofs.get() == 0, "thoughts cost nothing before one is asked");
            for (at, secret) in &all {
                let asked = Counted::default();
                let own = owned.thoughts_of((&account("own"), &channel(at)), || asked.signer(&SecretName::parse(secret).unwrap()));
                prop_assert!(asked.proofs.get() <= thoughts.len() && asked.signers.get() <= 1);
                let expected = |id: &&String| untagged(id).is_some_and(|(item, _)| **id == made("own", (at, secret), item));
                let mut expected: Vec<String> = thoughts.iter().filter(expected).cloned().collect();
                expected.sort();
                prop_assert_eq!(own, expected);
            }
        }
    }
}
