//! The cookie that keeps a session of the pages.

use crate::app::session::{LIFETIME_S, SessionToken};
use crate::time::Timestamp;

const SECURE_NAME: &str = "__Host-tf-session";
const NAME: &str = "tf-session";

/// The cookie of a new session, as a `Set-Cookie` header has it.
pub fn begun(secret: &str, token: &SessionToken, origin: &str) -> String {
    set(origin, &token.signed(secret), LIFETIME_S)
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

/// The session in a `Cookie` header; none if there is no session, or it is over or not ours.
pub fn read(secret: &str, cookies: &str, origin: &str, now: Timestamp) -> Option<SessionToken> {
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.into_iter().find(|(known, _)| *known == name(origin))?;
    SessionToken::read(secret, value, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{KeySecret, SessionId};

    const SITE: &str = "https://gateway.example";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    fn presented(set: &str) -> String {
        format!("theme=dark; {}; other=1", set.split(';').next().unwrap())
    }

    #[test]
    fn a_cookie_is_for_this_host_alone_and_for_no_script() {
        let secret = KeySecret::new([7; 24]);
        let token =
            SessionToken { hash: secret.hash(), id: SessionId::parse("01j").unwrap(), began_at: at(0), known: Some(at(-5)) };
        let set = begun("s", &token, SITE);
        assert!(
            set.starts_with("__Host-tf-session=3.")
                && set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
        );
        let cookies = presented(&set);
        assert_eq!(read("s", &cookies, SITE, at(LIFETIME_S - 1)), Some(token.clone()));
        assert_eq!(read("s", &cookies, SITE, at(LIFETIME_S)), None, "it is over");
        assert_eq!(read("t", &cookies, SITE, at(0)), None, "it is not ours");
        let plain = begun("s", &token, "http://127.0.0.1:8787");
        assert!(plain.starts_with("tf-session=") && !plain.contains("Secure"));
        assert_eq!(read("s", &presented(&plain), SITE, at(0)), None, "one of another host's plain page counts for nothing");
        assert!(ended(SITE).contains("Max-Age=0"));
        for hostile in
            ["", "=", "__Host-tf-session", "__Host-tf-session=", "__Host-tf-session=2.a.b.c", "__Host-tf-session=....."]
        {
            assert_eq!(read("s", hostile, SITE, at(0)), None, "{hostile}");
        }
    }
}
