//! Who calls: the key of what was presented, what is wrong with what is none, and whether a page of another site may call with it.
//!
//! What always holds: nothing of what was presented is repeated; who came with too many keys that nobody has is refused before
//! anything is looked up.

use std::net::IpAddr;

use super::gate;
use super::head::{Misplaced, RequestHead};
use crate::catalog::Catalog;
use crate::dialect::EndpointPath;
use crate::id::{KeyHash, KeySecret};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::ports::{Gates, Keys, Ports, Sold};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// How to present a key.
const HOW: &str = "Send `Authorization: Bearer sk-tf-...` (or `x-api-key`, or `x-goog-api-key`).";

/// How keys of other providers begin. The longer ones stand first.
const OTHERS: [(&str, &str); 9] = [
    ("sk-ant-", "Anthropic"),
    ("sk-or-", "OpenRouter"),
    ("sk-proj-", "OpenAI"),
    ("sk-svcacct-", "OpenAI"),
    ("AIza", "Google"),
    ("gsk_", "Groq"),
    ("xai-", "xAI"),
    ("hf_", "Hugging Face"),
    ("sk-", "another provider"),
];

/// The hash of the key that a request presents.
pub fn presented(head: &RequestHead) -> Result<KeyHash, Refusal> {
    match head.misplaced {
        Some(place) if head.credential.is_none() => Err(misplaced(place)),
        _ => credential_hash(head.credential.as_deref()),
    }
}

/// The hash of a credential that may be one of our keys.
pub fn credential_hash(credential: Option<&str>) -> Result<KeyHash, Refusal> {
    let credential = credential.ok_or_else(no_key)?;
    KeySecret::parse(credential).map(|secret| secret.hash()).ok_or_else(|| not_a_key(credential))
}

/// The key of a hash, if it still works. Who comes with keys that nobody has is counted by address.
pub async fn known_key<P: Keys + Gates>(
    ports: &P,
    (hash, address): (&KeyHash, Option<IpAddr>),
    now: Timestamp,
) -> Result<KeyRecord, Refusal> {
    let is_remembered = ports.remembers(hash);
    if !is_remembered {
        gate::open(ports, Gate::Stranger, &gate::by_address(address))?;
    }
    match ports.key(hash).await? {
        None if !is_remembered => Err(gate::missed(ports, Gate::Stranger, &gate::by_address(address), unknown()).await),
        key => valid_key(key, now),
    }
}

/// The record of a key that is neither unknown, revoked nor expired. The account object has the last word on each request.
pub fn valid_key(key: Option<KeyRecord>, now: Timestamp) -> Result<KeyRecord, Refusal> {
    let key = key.ok_or_else(unknown)?;
    let ended = match (key.revoked_at, key.policy.expires_at) {
        (Some(at), _) => Some(format!("This API key was revoked at {at}.")),
        (None, Some(at)) if key.policy.is_expired(now) => Some(format!("This API key expired at {at}.")),
        _ => None,
    };
    match ended {
        Some(message) => Err(Refusal::new(Code::InvalidApiKey, message, "Use another key, or create one.")),
        None => Ok(key),
    }
}

/// Errors where a key has had too much of what costs it nothing.
pub async fn let_in<P: Ports>(ports: &P, called: &EndpointPath, key: &KeyRecord) -> Result<(), Refusal> {
    gate::open(ports, Gate::Refused, key.id.as_str())?;
    if called.endpoint.is_free() { gate::pass(ports, Gate::Free, key.id.as_str()).await } else { Ok(()) }
}

fn refused(message: impl Into<String>, next_step: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidApiKey, message, next_step)
}

fn misplaced(place: Misplaced) -> Refusal {
    let message = match place {
        Misplaced::Scheme => "`Authorization` has no `Bearer` before the API key.",
        Misplaced::Header => "The API key was sent in `api-key`, a header that is not read here.",
        Misplaced::Query => "The API key was sent in the address, where logs would keep it; it is not read there.",
    };
    refused(message, HOW)
}

/// No API key was sent.
fn no_key() -> Refusal {
    refused("No API key was sent.", HOW)
}

/// What was presented cannot be a key of this gateway.
fn not_a_key(credential: &str) -> Refusal {
    let is_quote = |letter: char| matches!(letter, '"' | '\'' | '`' | '“' | '”' | '‘' | '’');
    let begins = |start: &str| credential.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    if credential.is_empty() {
        return refused("The API key that was sent is empty.", "Check that the variable that holds the key is set.");
    }
    if begins("bearer ") || begins("bearer:") {
        let next_step = "Give the client the key alone; it writes `Bearer` itself.";
        return refused("The API key itself begins with `Bearer`.", next_step);
    }
    if credential.starts_with(is_quote) || credential.ends_with(is_quote) {
        return refused("The API key was sent with quotation marks around it.", "Send it without them.");
    }
    if begins("$") || begins("%") || begins("{") || begins("<") || begins("your") || credential.ends_with("...") {
        let next_step = "Put the key itself there; it begins with `sk-tf-`.";
        return refused("In place of the API key, a placeholder or the name of a variable was sent.", next_step);
    }
    if credential.chars().any(char::is_whitespace) {
        return refused("The API key has white space in it.", "Copy it again, as one word in one line.");
    }
    if begins(KeySecret::PREFIX) {
        let whole = KeySecret::PREFIX.len().saturating_add(48);
        let message =
            format!("This is not a whole API key: keys have {whole} characters, and {} were sent.", credential.chars().count());
        let next_step = "Copy the whole key, or create one.";
        return match credential.len() == whole {
            true => refused("This API key has letters that no key has.", next_step),
            false => refused(message, next_step),
        };
    }
    if let Some((_, provider)) = OTHERS.iter().find(|(start, _)| credential.starts_with(start)) {
        let message = format!("This is an API key of {provider}, and not of this gateway.");
        return refused(message, "Send a key of this gateway; it begins with `sk-tf-`.");
    }
    unknown()
}

/// A key that nobody has.
fn unknown() -> Refusal {
    let next_step = "Check that the whole key was copied, and that it is for this gateway.";
    refused("This API key is not known.", next_step)
}

/// From where a key may be used. The catalogue is looked up only for a page of another site.
pub async fn check_place<P: Sold>(ports: &P, head: &RequestHead, key: &KeyRecord) -> Result<(), Refusal> {
    check_address(head, key)?;
    match head.site {
        Some(_) => check_site(head, key, &*ports.catalog().await?),
        None => Ok(()),
    }
}

/// A key with a list of addresses works from those alone.
pub fn check_address(head: &RequestHead, key: &KeyRecord) -> Result<(), Refusal> {
    if key.policy.allows_address(head.address) {
        return Ok(());
    }
    let next_step = "Call from an allowed address, or ask the key's owner to allow this one.";
    Err(Refusal::new(Code::IpNotAllowed, "This key may not be used from this address.", next_step).limit("key"))
}

/// A page of another site calls only where the key or the catalogue names that site. Callers that are no page say no site.
pub fn check_site(head: &RequestHead, key: &KeyRecord, catalog: &Catalog) -> Result<(), Refusal> {
    let Some(site) = &head.site else { return Ok(()) };
    if key.policy.browser_origins.allows(site) || catalog.browser_origins.allows(site) {
        return Ok(());
    }
    let message = format!("This key may not be used by pages of `{}`.", site.chars().take(100).collect::<String>());
    let next_step = "Ask the key's owner to add this origin to its `browser_origins`, or call from a server.";
    Err(Refusal::new(Code::OriginNotAllowed, message, next_step).limit("key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_key_is_told_and_the_key_is_not() {
        let key = format!("sk-tf-{}", "0".repeat(48));
        for (credential, told) in [
            (String::new(), "is empty"),
            (format!("Bearer {key}"), "begins with `Bearer`"),
            (format!("bearer {key}"), "begins with `Bearer`"),
            (format!("\"{key}\""), "quotation marks"),
            (format!("'{key}'"), "quotation marks"),
            (format!("“{key}”"), "quotation marks"),
            (format!("{key} {key}"), "white space"),
            (format!("sk-tf-{}\n{}", "0".repeat(24), "0".repeat(24)), "white space"),
            ("$OPENAI_API_KEY".to_owned(), "name of a variable"),
            ("<your key>".to_owned(), "placeholder"),
            ("YOUR_API_KEY".to_owned(), "placeholder"),
            ("sk-tf-...".to_owned(), "placeholder"),
            ("sk-tf-0123456789".to_owned(), "keys have 54 characters, and 16 were sent"),
            (format!("sk-tf-{}", "g".repeat(48)), "letters that no key has"),
            ("sk-ant-api03-abcdef".to_owned(), "key of Anthropic"),
            ("sk-or-v1-abcdef".to_owned(), "key of OpenRouter"),
            ("sk-proj-abcdef".to_owned(), "key of OpenAI"),
            ("AIzaSyAbcdef".to_owned(), "key of Google"),
            ("sk-0123456789abcdef".to_owned(), "key of another provider"),
            ("an-admin-token".to_owned(), "is not known"),
            ("ä".to_owned(), "is not known"),
        ] {
            let refusal = not_a_key(&credential);
            assert!(refusal.message.contains(told), "{credential}: {}", refusal.message);
            assert!(refusal.code == Code::InvalidApiKey && !refusal.next_step.is_empty());
            assert!(!refusal.told().contains("0000") && !refusal.told().contains("abcdef"), "{}", refusal.told());
        }
    }

    #[test]
    fn a_credential_where_nobody_looks_is_told() {
        for (place, told) in
            [(Misplaced::Scheme, "no `Bearer`"), (Misplaced::Header, "`api-key`"), (Misplaced::Query, "in the address")]
        {
            let head = RequestHead { misplaced: Some(place), ..RequestHead::default() };
            assert!(presented(&head).unwrap_err().message.contains(told));
        }
        assert_eq!(presented(&RequestHead::default()).unwrap_err(), no_key());
        let key = KeySecret::new([7; 24]).reveal();
        let head = RequestHead { misplaced: Some(Misplaced::Query), credential: Some(key), ..RequestHead::default() };
        assert!(presented(&head).is_ok(), "what is where it belongs counts");
    }
}
