//! The session of the pages: a key that was pasted once, remembered by a signed cookie.
//!
//! What always holds: the cookie holds the key's hash and not the key, so that nobody can call a model with it; it is ours or it
//! counts for nothing; the key is looked up on every page, so that a revoked one ends its session.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::id::KeyHash;
use crate::ports::Records;
use crate::time::Timestamp;

/// How long a session lasts, in seconds.
pub const LIFETIME_S: i64 = 12 * 3600;
const SECURE_NAME: &str = "__Host-tf-session";
const NAME: &str = "tf-session";

/// The secret that sessions are signed with: its own, or else the operator's token. Without either nobody can sign in.
pub fn secret<P: Records>(ports: &P) -> Option<String> {
    ports.setting("SESSION_SECRET").or_else(|| ports.setting("ADMIN_TOKEN"))
}

/// The cookie of a new session, as a `Set-Cookie` header has it.
pub fn cookie(secret: &str, hash: &KeyHash, origin: &str, now: Timestamp) -> String {
    let end = now.millis().div_euclid(1000).saturating_add(LIFETIME_S);
    let text = format!("1.{hash}.{end}");
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

/// The hash of the key whose session this is, by the `Cookie` header; none if there is no session, or it is over or not ours.
pub fn key_hash(secret: &str, cookies: &str, origin: &str, now: Timestamp) -> Option<KeyHash> {
    let of_name =
        |pair: &str| pair.trim().split_once('=').filter(|(name_, _)| *name_ == name(origin)).map(|(_, value)| value.to_owned());
    let value = cookies.split(';').find_map(of_name)?;
    let (text, proof) = value.rsplit_once('.')?;
    if !bool::from(signature(secret, text)?.as_bytes().ct_eq(proof.as_bytes())) {
        return None;
    }
    let (hash, end) = text.strip_prefix("1.")?.split_once('.')?;
    let end: i64 = end.parse().ok()?;
    (now.millis().div_euclid(1000) < end).then(|| KeyHash::parse(hash)).flatten()
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

    #[test]
    fn a_session_is_the_hash_of_a_key_until_its_end() {
        let secret = KeySecret::new([7; 24]);
        let set = cookie("s", &secret.hash(), SITE, at(0));
        assert!(
            set.starts_with("__Host-tf-session=1.")
                && set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
        );
        let cookies = presented(&set);
        assert_eq!(key_hash("s", &cookies, SITE, at(LIFETIME_S - 1)), Some(secret.hash()));
        assert_eq!(key_hash("s", &cookies, SITE, at(LIFETIME_S)), None, "it is over");
        assert_eq!(key_hash("t", &cookies, SITE, at(0)), None, "it is not ours");
        let plain = cookie("s", &secret.hash(), "http://127.0.0.1:8787", at(0));
        assert!(plain.starts_with("tf-session=") && !plain.contains("Secure"));
        assert_eq!(key_hash("s", &presented(&plain), SITE, at(0)), None, "one of another host's plain page counts for nothing");
        assert!(ended(SITE).contains("Max-Age=0"));
        assert!(!set.contains(&secret.reveal()));
    }

    #[test]
    fn a_cookie_that_was_changed_counts_for_nothing() {
        let set = presented(&cookie("s", &KeySecret::new([7; 24]).hash(), SITE, at(0)));
        for place in 30..set.len() - 10 {
            let mut changed = set.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(key_hash("s", &String::from_utf8(changed).unwrap(), SITE, at(0)), None, "{place}");
        }
        for hostile in
            ["", "=", "__Host-tf-session", "__Host-tf-session=", "__Host-tf-session=1.a.b.c", "__Host-tf-session=....."]
        {
            assert_eq!(key_hash("s", hostile, SITE, at(0)), None, "{hostile}");
        }
    }
}
