//! The session of the pages: a key that was pasted once, remembered by a signed cookie.
//!
//! What always holds: the cookie holds the key's hash and not the key, so that nobody can call a model with it; it is ours or it
//! counts for nothing; key and session are looked up on every page, so that a revoked key and signing out end a session at once.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::account::SESSION_MS;
use crate::id::{KeyHash, SessionId};
use crate::operator::weakness;
use crate::ports::Records;
use crate::time::Timestamp;

const SECURE_NAME: &str = "__Host-tf-session";
const NAME: &str = "tf-session";

/// How long a session lasts, in seconds.
pub const LIFETIME_S: i64 = SESSION_MS.div_euclid(1000);

/// The secret that sessions are signed with. Without one of its own that is not weak nobody can sign in, and it says why: who
/// has a cookie could try out without asking anybody what a weak one is.
pub fn secret<P: Records>(ports: &P) -> Result<String, &'static str> {
    let secret = ports.setting("SESSION_SECRET").ok_or("is not set")?.trim().to_owned();
    let is_another = super::operator::ROOTS.iter().any(|root| ports.setting(root).is_some_and(|root| root.trim() == secret));
    let why = weakness(&secret).or_else(|| is_another.then_some("is the operator's token"));
    why.map_or(Ok(secret), Err)
}

/// What a cookie says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The hash of the key.
    pub hash: KeyHash,
    /// The session.
    pub id: SessionId,
    /// When it began.
    pub began_at: Timestamp,
    /// The last end of sessions that its account had noted then; none in cookies from before this was told.
    pub known: Option<Timestamp>,
}

/// The cookie of a new session, as a `Set-Cookie` header has it.
pub fn cookie(secret: &str, told: &Told, origin: &str) -> String {
    let Told { hash, id, began_at, known } = told;
    let text = match known {
        Some(known) => format!("3.{hash}.{id}.{}.{}", began_at.millis(), known.millis()),
        None => format!("2.{hash}.{id}.{}", began_at.millis()),
    };
    set(origin, &format!("{text}.{}", signature(secret, &text).unwrap_or_default()), LIFETIME_S)
}

/// The cookie that ends a session.
pub fn ended(origin: &str) -> String {
    set(origin, "", 0)
}

fn set(origin: &str, value: &str, seconds: i64) -> String {
    let secure = if is_secure(origin) { "; Secure" } else { "" };
    format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", name(origin))
}

fn is_secure(origin: &str) -> bool {
    origin.starts_with("https://")
}

/// Browsers take the first name only from a secure page of this very host; on plain http, for development, it cannot be set.
fn name(origin: &str) -> &'static str {
    if is_secure(origin) { SECURE_NAME } else { NAME }
}

/// Whose session this is, by the `Cookie` header; none if there is no session, or it is over or not ours.
pub fn told(secret: &str, cookies: &str, origin: &str, now: Timestamp) -> Option<Told> {
    let of_name =
        |pair: &str| pair.trim().split_once('=').filter(|(name_, _)| *name_ == name(origin)).map(|(_, value)| value.to_owned());
    let value = cookies.split(';').find_map(of_name)?;
    let (text, proof) = value.rsplit_once('.')?;
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
    lives.then_some(Told { hash, id, began_at, known })
}

/// An HMAC-SHA-256 in hex. The secret signs nothing else in these words.
fn signature(secret: &str, text: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(b"tokens-forge session\n");
    mac.update(text.as_bytes());
    Some(hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeySecret;

    const SITE: &str = "https://gateway.example";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    fn presented(set: &str) -> String {
        format!("theme=dark; {}; other=1", set.split(';').next().unwrap())
    }

    fn of(secret: &KeySecret) -> Told {
        Told { hash: secret.hash(), id: SessionId::parse("01j").unwrap(), began_at: at(0), known: Some(at(-5)) }
    }

    #[test]
    fn a_session_is_the_hash_of_a_key_until_its_end() {
        let secret = KeySecret::new([7; 24]);
        let set = cookie("s", &of(&secret), SITE);
        assert!(
            set.starts_with("__Host-tf-session=3.")
                && set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
        );
        let cookies = presented(&set);
        assert_eq!(told("s", &cookies, SITE, at(LIFETIME_S - 1)), Some(of(&secret)));
        assert_eq!(told("s", &cookies, SITE, at(LIFETIME_S)), None, "it is over");
        assert_eq!(told("t", &cookies, SITE, at(0)), None, "it is not ours");
        let plain = cookie("s", &of(&secret), "http://127.0.0.1:8787");
        assert!(plain.starts_with("tf-session=") && !plain.contains("Secure"));
        assert_eq!(told("s", &presented(&plain), SITE, at(0)), None, "one of another host's plain page counts for nothing");
        assert!(ended(SITE).contains("Max-Age=0"));
        assert!(!set.contains(&secret.reveal()));
    }

    #[test]
    fn a_cookie_of_before_is_a_session_still() {
        let before = Told { known: None, ..of(&KeySecret::new([7; 24])) };
        let set = cookie("s", &before, SITE);
        assert!(set.starts_with("__Host-tf-session=2."));
        assert_eq!(told("s", &presented(&set), SITE, at(1)), Some(before));
    }

    #[test]
    fn a_cookie_that_was_changed_counts_for_nothing() {
        let set = presented(&cookie("s", &of(&KeySecret::new([7; 24])), SITE));
        for place in 30..set.len() - 10 {
            let mut changed = set.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(told("s", &String::from_utf8(changed).unwrap(), SITE, at(0)), None, "{place}");
        }
        for hostile in
            ["", "=", "__Host-tf-session", "__Host-tf-session=", "__Host-tf-session=2.a.b.c", "__Host-tf-session=....."]
        {
            assert_eq!(told("s", hostile, SITE, at(0)), None, "{hostile}");
        }
    }
}
