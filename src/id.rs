//! Names and ids: newtypes that can only be made by parsing, so that a string is never taken for another kind of name.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::time::Timestamp;

/// Characters of ids that we or an operator choose; they are safe in a URL path and in a header.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Characters of model names: as above, with the separators that providers use.
fn is_name(byte: u8) -> bool {
    is_plain(byte) || matches!(byte, b'/' | b':' | b'@' | b'+')
}

/// What an id of these characters looks like.
#[cfg(test)]
fn pattern(allowed: fn(u8) -> bool) -> &'static str {
    if allowed(b'/') { "^[A-Za-z0-9._/:@+-]+$" } else { "^[A-Za-z0-9._-]+$" }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $allowed:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[cfg_attr(test, schemars(extend("minLength" = 1, "maxLength" = $max, "pattern" = pattern($allowed))))]
        pub struct $name(String);

        impl $name {
            /// Reads the id; none if it is empty, too long or has other characters.
            pub fn parse(text: &str) -> Option<Self> {
                let fits = (1..=$max).contains(&text.len()) && text.bytes().all($allowed);
                fits.then(|| Self(text.to_owned()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                let parsed = Self::parse(&text);
                parsed.ok_or_else(|| format!("is not a valid name: 1 to {} characters, ASCII letters, digits and - _ . (in model names also / : @ +)", $max))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id!(/** Who pays. */ AccountId, 64, is_plain);
text_id!(/** A group of keys in an account. */ ProjectId, 64, is_plain);
text_id!(/** The public id of an API key; not its secret. */ KeyId, 64, is_plain);
text_id!(/** Requests of one long task. */ RunId, 128, is_plain);
text_id!(/** One balance of an account: `credit` or `wallet`. */ BucketId, 32, is_plain);
text_id!(/** One upstream that can be called. */ ChannelId, 64, is_plain);
text_id!(/** The public name of a model, or an alias of it. */ ModelName, 128, is_name);
text_id!(/** The name of a Worker secret, never its value. */ SecretName, 64, is_plain);
text_id!(/** One request, and its receipt. */ RequestId, 64, is_plain);
text_id!(/** The SHA-256 of an API key's secret, in hex. */ KeyHash, 64, is_plain);
text_id!(/** An order of a top-up. */ OrderId, 64, is_plain);
text_id!(/** A redeem code, without what would redeem it. */ CodeId, 64, is_plain);
text_id!(/** A token of an operator, without its secret. */ TokenId, 64, is_plain);
text_id!(/** What the audit calls who presents a token. */ TokenName, 64, is_plain);
text_id!(/** A session of the pages. */ SessionId, 64, is_plain);

/// No id of an answer is longer, the provider's own id of a response within it included.
const LONGEST_ANSWER_ID: usize = 512;

impl RequestId {
    /// A new id: `gen-` and a ULID, so that ids sort by the time of the request.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(format!("{}{}", Self::MARK, sortable(now, random)))
    }

    /// Reads an id that was made here; none of any other.
    pub fn own(text: &str) -> Option<Self> {
        let ulid = text.strip_prefix(Self::MARK)?;
        let is_ulid = ulid.len() == Self::ULID && ulid.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        Self::parse(text).filter(|_| is_ulid)
    }

    /// The request that an id belongs to which the gateway gave an answer, or something in it: `gen-...` itself,
    /// `chatcmpl-gen-...`, `msg_gen-...`, `resp_gen-..._resp_abc_tf0`. Where another gateway of this kind stands behind this one,
    /// its id comes after ours, so the first counts. None of an id that was made elsewhere, or is longer than any of ours.
    pub fn of_answer(id: &str) -> Option<Self> {
        if id.len() > LONGEST_ANSWER_ID {
            return None;
        }
        id.match_indices(Self::MARK).find_map(|(at, _)| {
            let (before, from) = id.split_at_checked(at)?;
            let (request, after) = Self::leading(from)?;
            let is_alone = before.is_empty() || before.ends_with(['-', '_']);
            Some(request).filter(|_| is_alone && (after.is_empty() || after.starts_with('_')))
        })
    }

    /// An id that was made here at the beginning of a text, and what comes after it.
    pub fn leading(text: &str) -> Option<(Self, &str)> {
        let (id, rest) = text.split_at_checked(Self::MARK.len().saturating_add(Self::ULID))?;
        Some((Self::own(id)?, rest))
    }

    /// How every id begins.
    pub const MARK: &'static str = "gen-";
    /// How long a ULID is.
    const ULID: usize = 26;
}

impl AccountId {
    /// A new id for an account that was not given one.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(format!("acct-{}", sortable(now, random)))
    }
}

impl ProjectId {
    /// A new id for a project.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(format!("proj-{}", sortable(now, random)))
    }

    /// The project that every account starts with.
    pub fn first() -> Self {
        Self("default".to_owned())
    }
}

impl KeyId {
    /// A new id for a key.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(format!("key-{}", sortable(now, random)))
    }
}

impl OrderId {
    /// A new id for an order.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(format!("order-{}", sortable(now, random)))
    }
}

impl RunId {
    /// A new id for a run that was not given one.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(format!("run-{}", sortable(now, random)))
    }
}

impl CodeId {
    /// A new id for a redeem code.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(format!("code-{}", sortable(now, random)))
    }
}

impl TokenId {
    /// A new id for a token.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(format!("token-{}", sortable(now, random)))
    }
}

impl SessionId {
    /// A new id for a session.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(sortable(now, random))
    }
}

fn sortable(now: Timestamp, random: u128) -> String {
    let millis = u64::try_from(now.millis()).unwrap_or(0);
    ulid::Ulid::from_parts(millis, random).to_string().to_ascii_lowercase()
}

/// The secret that a caller presents. It has no `Display`, its `Debug` hides it, and only its hash is stored.
pub struct KeySecret(String);

impl KeySecret {
    /// How every secret begins.
    pub const PREFIX: &'static str = "sk-tf-";

    /// A new secret of 192 random bits.
    pub fn new(random: [u8; 24]) -> Self {
        Self(format!("{}{}", Self::PREFIX, hex::encode(random)))
    }

    /// What a caller sent; none if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(Self::PREFIX)?;
        let fits = body.len() == 48 && body.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(text.to_owned()))
    }

    /// What is stored in its place.
    pub fn hash(&self) -> KeyHash {
        KeyHash(sha256_hex(&[self.0.as_bytes()]))
    }

    /// Hands the secret out; once, when the key is made.
    pub fn reveal(self) -> String {
        self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(..)")
    }
}

/// Reads a whole number as it is written: one without a sign or zeros before it.
pub fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

/// The SHA-256 of the parts, one after the other, in hex.
pub fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_refuse_what_could_be_something_else() {
        for text in ["", "a b", "a/b", "ä", "a\n", "x".repeat(65).as_str(), "a\u{0}"] {
            assert_eq!(AccountId::parse(text), None, "{text:?}");
        }
        assert!(ModelName::parse("openai/gpt-5.5:beta").is_some());
    }

    #[test]
    fn a_number_is_read_as_it_is_written_alone() {
        for text in ["", "+1", "01", "00", "-0", " 1", "1 ", "1.0", "1e3", "0x1", "\u{661}", "18446744073709551616"] {
            assert_eq!(number::<u64>(text), None, "{text:?}");
        }
        assert_eq!((number("0"), number("18446744073709551615")), (Some(0), Some(u64::MAX)));
        assert_eq!(number("-5"), Some(-5_i64));
    }

    #[test]
    fn request_ids_sort_by_time() {
        let early = RequestId::new(Timestamp::from_millis(1_000), u128::MAX);
        let late = RequestId::new(Timestamp::from_millis(1_001), 0);
        assert!(early < late, "{early} {late}");
    }

    #[test]
    fn the_id_of_an_answer_tells_its_request() {
        let own = "gen-01j00000000000000000000000";
        for prefix in ["", "chatcmpl-", "cmpl-", "msg_", "resp_", "modr-", "rs_", "call_"] {
            for rest in ["", "_0", "_resp_68ab_tf0123456789abcdef", "_gen-01zzzzzzzzzzzzzzzzzzzzzzzz", "_ä"] {
                let id = format!("{prefix}{own}{rest}");
                assert_eq!(RequestId::of_answer(&id).unwrap().as_str(), own, "{id}");
            }
        }
        assert_eq!(
            RequestId::of_answer(&format!("gen-1_gen-gen_{own}")).unwrap().as_str(),
            own,
            "what is none of ours is passed over"
        );
        for other in [
            "",
            "gen-",
            "gen-1",
            "chatcmpl-abc",
            "msg_01AbC",
            "resp_68ab_tf0123456789abcdef",
            "gen-01J00000000000000000000000",
            "gen-01j0000000000000000000000ä",
            "ägen-01j00000000000000000000000",
            "oxygen-01j00000000000000000000000",
            "gen-01j000000000000000000000000",
            "gen-01j00000000000000000000000-0",
            format!("{own}_{}", "x".repeat(LONGEST_ANSWER_ID)).as_str(),
        ] {
            assert_eq!(RequestId::of_answer(other), None, "{other}");
        }
        let new = RequestId::new(Timestamp::from_millis(1_000), 7);
        assert_eq!(RequestId::of_answer(&format!("chatcmpl-{new}")), Some(new));
    }

    proptest! {
        #[test]
        fn any_text_is_looked_at_without_harm(text in "\\PC*|[gen_0-9a-z-]{0,80}|(gen-|_|-|0{26}|ä){0,9}") {
            let found = RequestId::of_answer(&text);
            prop_assert!(found.is_none_or(|id| text.contains(id.as_str()) && RequestId::own(id.as_str()).is_some()));
        }
    }

    #[test]
    fn a_secret_is_hidden_and_hashed() {
        let secret = KeySecret::new([7; 24]);
        assert_eq!(format!("{secret:?}"), "KeySecret(..)");
        let hash = secret.hash();
        let text = secret.reveal();
        assert_eq!(KeySecret::parse(&text).unwrap().hash(), hash);
        assert!(KeySecret::parse("sk-tf-short").is_none());
        assert!(KeySecret::parse("sk-other-07070707070707070707070707070707070707070707").is_none());
    }
}
