//! Sessions of the pages: a key that was pasted once, remembered by a signed text that the browser keeps.
//!
//! What always holds: the text holds the key's hash and not the key, so that nobody can call a model with it; it is ours or it
//! counts for nothing; key and session are looked up on every page, so that a revoked key and signing out end a session at once.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::ask::command;
use super::operator::ROOTS;
use crate::account::{AccountAnswer, Command, Query, SESSION_MS, Session, SessionEnd};
use crate::id::{AccountId, KeyHash, KeySecret, SessionId};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::operator::weakness;
use crate::ports::{Accounts, Gates, Keys, Runtime, Settings};
use crate::refusal::{Code, Refusal};
use crate::relay::{gate, known_key, valid_key};
use crate::time::Timestamp;

/// How long a session lasts, in seconds.
pub const LIFETIME_S: i64 = SESSION_MS.div_euclid(1000);

/// The secret that sessions are signed with. Without one of its own that is not weak nobody can sign in, and it says why: who
/// has a signed text could try out without asking anybody what a weak one is.
pub fn secret<P: Settings>(ports: &P) -> Result<String, &'static str> {
    let secret = ports.setting("SESSION_SECRET").ok_or("is not set")?.trim().to_owned();
    let is_another = ROOTS.iter().any(|root| ports.setting(root).is_some_and(|root| root.trim() == secret));
    let why = weakness(&secret).or_else(|| is_another.then_some("is the operator's token"));
    why.map_or(Ok(secret), Err)
}

/// What the browser keeps of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionToken {
    /// The hash of the key.
    pub hash: KeyHash,
    /// The session.
    pub id: SessionId,
    /// When it began.
    pub began_at: Timestamp,
    /// The last end of sessions that its account had noted then; none in texts from before this was noted.
    pub known: Option<Timestamp>,
}

impl SessionToken {
    /// As a signed text.
    pub fn signed(&self, secret: &str) -> String {
        let Self { hash, id, began_at, known } = self;
        let text = match known {
            Some(known) => format!("3.{hash}.{id}.{}.{}", began_at.millis(), known.millis()),
            None => format!("2.{hash}.{id}.{}", began_at.millis()),
        };
        format!("{text}.{}", signature(secret, &text).unwrap_or_default())
    }

    /// Reads a signed text; none if it is not ours or the session is over.
    pub fn read(secret: &str, signed: &str, now: Timestamp) -> Option<Self> {
        let (text, proof) = signed.rsplit_once('.')?;
        if !bool::from(signature(secret, text)?.as_bytes().ct_eq(proof.as_bytes())) {
            return None;
        }
        let mut parts = text.split('.');
        let has_known = match parts.next()? {
            "2" => false,
            "3" => true,
            _ => return None,
        };
        let (hash, id) = (KeyHash::parse(parts.next()?)?, SessionId::parse(parts.next()?)?);
        let began_at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        let known = if has_known { Some(Timestamp::from_millis(parts.next()?.parse().ok()?)) } else { None };
        let lives = parts.next().is_none() && now < began_at.plus(SESSION_MS);
        lives.then_some(Self { hash, id, began_at, known })
    }
}

/// An HMAC-SHA-256 in hex. The secret signs nothing else in these words.
fn signature(secret: &str, text: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(b"tokens-forge session\n");
    mac.update(text.as_bytes());
    Some(hex::encode(mac.finalize().into_bytes()))
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// The key, as the account knows it now.
    pub key: KeyRecord,
    /// The session.
    pub session: Session,
}

/// Whose session it is, if key and session still work: the account is asked for both at once. An error is that it could not be
/// asked now.
pub async fn current<P: Runtime + Accounts + Keys + Gates>(
    ports: &P,
    token: SessionToken,
    address: Option<IpAddr>,
) -> Result<Option<OpenSession>, Refusal> {
    match looked_up(ports, token, address).await {
        Err(refusal) if refusal.code != Code::RateLimitExceeded && refusal.status() < 500 => Ok(None),
        signed_in => signed_in,
    }
}

async fn looked_up<P: Runtime + Accounts + Keys + Gates>(
    ports: &P,
    token: SessionToken,
    address: Option<IpAddr>,
) -> Result<Option<OpenSession>, Refusal> {
    let copy = known_key(ports, (&token.hash, address), ports.now()).await?;
    gate::pass(ports, Gate::Read, copy.account.as_str()).await?;
    let session = Session { id: token.id, key: copy.id.clone(), began_at: token.began_at, known: token.known };
    match ports.command(&copy.account, Command::Read(Query::Session(session.clone()))).await? {
        AccountAnswer::Key(record) => {
            let key = valid_key(Some(*record), ports.now())?;
            Ok(key.policy.allows_address(address).then_some(OpenSession { key, session }))
        }
        _ => Ok(None),
    }
}

/// Begins a session for a key that works and may be used from here; none for any other, which counts as a guess.
pub async fn sign_in<P: Runtime + Accounts + Keys + Gates>(
    ports: &P,
    pasted: &str,
    address: Option<IpAddr>,
) -> Result<Option<SessionToken>, Refusal> {
    let hash = KeySecret::parse(pasted).map(|secret| secret.hash());
    let account = match &hash {
        Some(hash) => account_of(ports, hash, address).await?,
        None => None,
    };
    let Some((hash, account)) = hash.zip(account) else {
        gate::pass(ports, Gate::Guess, &format!("key {}", gate::by_address(address))).await?;
        return Ok(None);
    };
    let known = match ports.command(&account, Command::Read(Query::LastEnd)).await? {
        AccountAnswer::LastEnd(known) => Some(known),
        _ => None,
    };
    let now = ports.now();
    Ok(Some(SessionToken { hash, id: SessionId::new(now, ports.random()), began_at: now, known }))
}

/// The account of a key that works from here. An error is that there were too many requests.
async fn account_of<P: Runtime + Keys + Gates>(
    ports: &P,
    hash: &KeyHash,
    address: Option<IpAddr>,
) -> Result<Option<AccountId>, Refusal> {
    let found = async {
        let copy = known_key(ports, (hash, address), ports.now()).await?;
        gate::pass(ports, Gate::Read, copy.account.as_str()).await?;
        valid_key(ports.current_key(&copy).await?, ports.now())
    };
    match found.await {
        Ok(key) => Ok(Some(key).filter(|key| key.policy.allows_address(address)).map(|key| key.account)),
        Err(refusal) if refusal.code == Code::RateLimitExceeded => Err(refusal),
        Err(_) => Ok(None),
    }
}

/// Ends a session where it counts, in the account; or every session of its key.
pub async fn sign_out<P: Accounts>(ports: &P, signed_in: &OpenSession, is_all: bool) -> Result<(), Refusal> {
    let OpenSession { key, session } = signed_in;
    let end = if is_all { SessionEnd::OfKey(key.id.clone()) } else { SessionEnd::Of(session.clone()) };
    command(ports, &key.account, Command::EndSessions(end)).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    fn of(secret: &KeySecret) -> SessionToken {
        SessionToken { hash: secret.hash(), id: SessionId::parse("01j").unwrap(), began_at: at(0), known: Some(at(-5)) }
    }

    #[test]
    fn a_session_is_the_hash_of_a_key_until_its_end() {
        let secret = KeySecret::new([7; 24]);
        let signed = of(&secret).signed("s");
        assert!(signed.starts_with("3."));
        assert_eq!(SessionToken::read("s", &signed, at(LIFETIME_S - 1)), Some(of(&secret)));
        assert_eq!(SessionToken::read("s", &signed, at(LIFETIME_S)), None, "it is over");
        assert_eq!(SessionToken::read("t", &signed, at(0)), None, "it is not ours");
        assert!(!signed.contains(&secret.reveal()));
    }

    #[test]
    fn a_text_of_before_is_a_session_still() {
        let before = SessionToken { known: None, ..of(&KeySecret::new([7; 24])) };
        let signed = before.signed("s");
        assert!(signed.starts_with("2."));
        assert_eq!(SessionToken::read("s", &signed, at(1)), Some(before));
    }

    #[test]
    fn a_text_that_was_changed_counts_for_nothing() {
        let signed = of(&KeySecret::new([7; 24])).signed("s");
        for place in 0..signed.len() {
            let mut changed = signed.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(SessionToken::read("s", &String::from_utf8(changed).unwrap(), at(0)), None, "{place}");
        }
        for hostile in ["", "2.a.b.c", "....."] {
            assert_eq!(SessionToken::read("s", hostile, at(0)), None, "{hostile}");
        }
    }
}
