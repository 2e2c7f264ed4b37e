//! Tokens of operators: what is stored of one, and its secret.
//!
//! What always holds: a secret carries a sum over itself, so that what was made up, or copied in part, is known to be none without
//! looking anywhere; the sum is no proof, the stored hash is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::scope::Scope;
use crate::id::{TokenId, TokenName, sha256_hex};
use crate::time::Timestamp;

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RevokedToken"))]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// What the audit calls who presents it.
    pub name: TokenName,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[serde(default)]
    pub revoked_at: Option<Timestamp>,
    /// When it was last used; it may have been an hour later.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Whether it works.
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// What an operator presents. It has no `Display`, its `Debug` hides it, and only its hash is stored.
pub struct TokenSecret(String);

impl TokenSecret {
    /// How every secret begins.
    pub const PREFIX: &'static str = "tf-admin-";
    /// Digits of the random part, and of the sum.
    const RANDOM: usize = 48;
    const SUM: usize = 8;

    /// A new secret of 192 random bits.
    pub fn new(random: [u8; 24]) -> Self {
        let random = hex::encode(random);
        Self(format!("{}{random}{}", Self::PREFIX, Self::sum(&random)))
    }

    /// What somebody presented; none if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(Self::PREFIX)?;
        let is_hex = body.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if body.len() != Self::RANDOM.saturating_add(Self::SUM) || !is_hex {
            return None;
        }
        let (random, sum) = body.split_at_checked(Self::RANDOM)?;
        (sum == Self::sum(random)).then(|| Self(text.to_owned()))
    }

    fn sum(random: &str) -> String {
        sha256_hex(&[Self::PREFIX.as_bytes(), random.as_bytes()]).chars().take(Self::SUM).collect()
    }

    /// What is stored in its place.
    pub fn hash(&self) -> String {
        sha256_hex(&[self.0.as_bytes()])
    }

    /// Hands the secret out; once, when the token is made.
    pub fn reveal(self) -> String {
        self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_is_hidden_and_known_by_its_sum() {
        let secret = TokenSecret::new([7; 24]);
        assert_eq!(format!("{secret:?}"), "TokenSecret(..)");
        let (hash, text) = (secret.hash(), secret.reveal());
        assert_eq!(TokenSecret::parse(&text).unwrap().hash(), hash);
        for place in TokenSecret::PREFIX.len()..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[place] = if wrong[place] == b'0' { b'1' } else { b'0' };
            assert!(TokenSecret::parse(&String::from_utf8(wrong).unwrap()).is_none(), "{place}");
        }
        for wrong in ["", "tf-admin-", &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase(), &format!(" {text}")] {
            assert!(TokenSecret::parse(wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_made_up_is_none(body in "[0-9a-f]{56}|\\PC{0,70}") {
            // One in four thousand million has its sum right by chance.
            let text = format!("{}{body}", TokenSecret::PREFIX);
            prop_assert!(TokenSecret::parse(&text).is_none());
        }
    }

    #[test]
    fn a_token_works_until_it_ends() {
        let at = Timestamp::from_millis;
        let token = |revoked_at| TokenRecord {
            id: TokenId::parse("t").unwrap(),
            name: TokenName::parse("kim").unwrap(),
            scopes: vec![Scope::Read],
            created_at: at(0),
            created_by: "root".to_owned(),
            expires_at: at(100),
            revoked_at,
            last_used_at: None,
        };
        assert!(token(None).works(at(99)));
        assert!(!token(None).works(at(100)));
        assert!(!token(Some(at(1))).works(at(2)));
    }
}
