//! Kept answers: sealing what a client may refer to later, and putting it in place of the references.
//!
//! What always holds: an answer is sealed with a key that is made of the caller's own API key, which is nowhere stored, so that
//! nobody reads it at rest, and no other key of the account; what is asked of the account is asked once for a request that
//! refers to something, and never for any other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::head::RequestHead;
use crate::account::{KeptItems, LONGEST_KEPT};
use crate::dialect::openai::responses::{not_kept, references, resolved as with_items};
use crate::dialect::{Endpoint, EndpointPath};
use crate::id::{AccountId, RequestId};
use crate::key::KeyRecord;
use crate::ports::Ports;
use crate::refusal::{Code, Refusal};

/// What the sealing keys are made for.
const PURPOSE: &[u8] = b"tokens-forge: kept answers, 1";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// References to more answers than this are a mistake.
const MOST_ANSWERS: usize = 2_000;
/// After which pauses an answer is asked for again whose request is still to be settled, in milliseconds. A client may be faster
/// than the settlement.
const PAUSES_MS: [u32; 6] = [25, 50, 100, 300, 700, 1_500];

/// Seals answers for the holder of one API key, and opens them.
#[derive(Clone)]
pub struct Keeper {
    root: [u8; 32],
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper(..)")
    }
}

fn derived(secret: &[u8], text: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(text);
    Some(mac.finalize().into_bytes().into())
}

impl Keeper {
    /// For what the caller presented.
    pub fn new(credential: &str) -> Option<Self> {
        derived(credential.as_bytes(), PURPOSE).map(|root| Self { root })
    }

    /// Every answer has a key of its own.
    fn cipher(&self, request: &RequestId) -> Option<ChaCha20Poly1305> {
        let key = derived(&self.root, request.as_str().as_bytes())?;
        ChaCha20Poly1305::new_from_slice(&key).ok()
    }

    /// Seals the items of an answer; none if they are too long to be kept.
    pub fn seal(&self, (account, request): (&AccountId, &RequestId), random: u128, items: &str) -> Option<String> {
        let sealed_bytes = items.len().checked_add(NONCE_BYTES)?.checked_add(TAG_BYTES)?.checked_mul(2)?;
        if sealed_bytes > LONGEST_KEPT {
            return None;
        }
        let nonce: [u8; NONCE_BYTES] = *random.to_le_bytes().first_chunk()?;
        let payload = Payload { msg: items.as_bytes(), aad: account.as_str().as_bytes() };
        let sealed = self.cipher(request)?.encrypt(&Nonce::from(nonce), payload).ok()?;
        Some(hex::encode(nonce) + &hex::encode(sealed))
    }

    /// Opens what was sealed for this key, account and request.
    pub fn open(&self, (account, request): (&AccountId, &RequestId), sealed: &str) -> Option<String> {
        let bytes = hex::decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: account.as_str().as_bytes() };
        let items = self.cipher(request)?.decrypt(&Nonce::from(*nonce), payload).ok()?;
        String::from_utf8(items).ok()
    }
}

/// The body with the items that it refers to, where the gateway wrote them; the body itself where it refers to none.
pub async fn resolved<'a, P: Ports>(
    ports: &P,
    (called, head): (&EndpointPath, &RequestHead),
    key: &KeyRecord,
    body: &'a [u8],
) -> Result<Cow<'a, [u8]>, Refusal> {
    if !matches!(called.endpoint, Endpoint::Responses | Endpoint::ResponsesCount) {
        return Ok(Cow::Borrowed(body));
    }
    let references = references(body);
    let Some(first) = references.first() else { return Ok(Cow::Borrowed(body)) };
    let requests: BTreeSet<RequestId> = references.iter().map(|reference| reference.request.clone()).collect();
    if requests.len() > MOST_ANSWERS {
        return Err(Refusal::invalid("input", format!("`input` refers to more than {MOST_ANSWERS} answers.")));
    }
    let keeper = head.credential.as_deref().and_then(Keeper::new);
    let keeper = keeper.ok_or_else(|| not_kept(&format!("input[{}].id", first.place)))?;
    let kept = opened(ports, &keeper, key, requests.into_iter().collect()).await?;
    Ok(Cow::Owned(with_items(body, &references, &kept)?.into_bytes()))
}

/// The answers to these requests, as far as they are kept.
async fn opened<P: Ports>(
    ports: &P,
    keeper: &Keeper,
    key: &KeyRecord,
    mut asked: Vec<RequestId>,
) -> Result<BTreeMap<RequestId, String>, Refusal> {
    let mut found = BTreeMap::new();
    for pause_ms in PAUSES_MS.into_iter().map(Some).chain([None]) {
        let answers = ports.kept(&key.account, std::mem::take(&mut asked)).await?;
        for (request, kept) in answers {
            match kept {
                KeptItems::Open => asked.push(request),
                KeptItems::Sealed(sealed) => {
                    let items = keeper.open((&key.account, &request), &sealed);
                    found.extend(items.map(|items| (request, items)));
                }
            }
        }
        match (asked.first(), pause_ms) {
            (None, _) => break,
            (Some(_), Some(ms)) => ports.sleep(ms).await,
            (Some(request), None) => return Err(still_open(request)),
        }
    }
    Ok(found)
}

fn still_open(request: &RequestId) -> Refusal {
    let message = format!("An item that `input` refers to is of an answer that is not settled yet: that of {request}.");
    Refusal::new(Code::Unavailable, message, "Send the request again in a few seconds, when that answer has ended.")
        .retry_after(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (AccountId, RequestId) {
        (AccountId::parse("acct").unwrap(), RequestId::parse("gen-1").unwrap())
    }

    #[test]
    fn only_the_same_key_account_and_request_open_what_was_sealed() {
        let (account, request) = names();
        let keeper = Keeper::new("sk-tf-1").unwrap();
        let items = "[{\"id\":\"msg_1\",\"text\":\"Größe\"}]";
        let sealed = keeper.seal((&account, &request), 7, items).unwrap();
        assert_eq!(keeper.open((&account, &request), &sealed).as_deref(), Some(items));
        assert!(!sealed.contains("msg"));
        assert_eq!(Keeper::new("sk-tf-2").unwrap().open((&account, &request), &sealed), None);
        assert_eq!(keeper.open((&AccountId::parse("other").unwrap(), &request), &sealed), None);
        assert_eq!(keeper.open((&account, &RequestId::parse("gen-2").unwrap()), &sealed), None);
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let (account, request) = names();
        let keeper = Keeper::new("sk-tf-1").unwrap();
        let sealed = keeper.seal((&account, &request), u128::MAX, "[]").unwrap();
        for at in 0..sealed.len() {
            let mut spoiled = sealed.clone().into_bytes();
            spoiled[at] = if spoiled[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(keeper.open((&account, &request), std::str::from_utf8(&spoiled).unwrap()), None, "{at}");
        }
        for broken in ["", "0", "zz", &sealed[..24], &sealed[..sealed.len() - 2]] {
            assert_eq!(keeper.open((&account, &request), broken), None, "{broken}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let (account, request) = names();
        let keeper = Keeper::new("sk-tf-1").unwrap();
        let longest = LONGEST_KEPT / 2 - NONCE_BYTES - TAG_BYTES;
        let sealed = keeper.seal((&account, &request), 1, &"x".repeat(longest));
        assert_eq!(sealed.map(|sealed| sealed.len()), Some(LONGEST_KEPT));
        assert_eq!(keeper.seal((&account, &request), 1, &"x".repeat(longest + 1)), None);
    }

    #[test]
    fn a_keeper_does_not_show_its_key() {
        assert_eq!(format!("{:?}", Keeper::new("sk-tf-1").unwrap()), "Keeper(..)");
    }
}
