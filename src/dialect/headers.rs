//! The headers of each dialect's servers, and those that their clients send.
//!
//! What always holds: of a client's headers only those go up that stand here, to channels of the dialect that has them.

use crate::catalog::Dialect;

/// The header of a credential, and what stands before the credential in it.
pub type CredentialHeader = (&'static str, &'static str);

/// The headers of a dialect's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Where they want the credential.
    pub credential: CredentialHeader,
    /// One that they insist on, with what they are told where the client says nothing.
    pub required: Option<(&'static str, &'static str)>,
    /// Those of the client that go up as they came.
    pub passed: &'static [&'static str],
}

/// Every header of a client that may go up.
pub const PASSED: [&str; 3] = ["anthropic-version", "anthropic-beta", "openai-beta"];

/// The headers in which clients present a key, the first one first.
pub const PRESENTED: [CredentialHeader; 3] = [("authorization", "Bearer "), ("x-api-key", ""), ("x-goog-api-key", "")];

/// Those of a dialect. Sources: OpenAI's, Anthropic's, Google's and Cohere's API references, authentication.
pub const fn of(dialect: Dialect) -> Headers {
    let (credential, required, passed): (_, _, &[&str]) = match dialect {
        Dialect::Openai => (("authorization", "Bearer "), None, &["openai-beta"]),
        Dialect::Cohere => (("authorization", "Bearer "), None, &[]),
        Dialect::Anthropic => {
            (("x-api-key", ""), Some(("anthropic-version", "2023-06-01")), &["anthropic-version", "anthropic-beta"])
        }
        Dialect::Gemini => (("x-goog-api-key", ""), None, &[]),
    };
    Headers { credential, required, passed }
}

/// The key that a client presents and the header it stands in: that of the first header which has one. `Authorization` counts only with
/// `Bearer`, in any case.
pub fn presented(get: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    PRESENTED.into_iter().find_map(|(name, prefix)| {
        let value = get(name)?;
        let scheme = prefix.trim_end();
        if scheme.is_empty() {
            return Some((name, value));
        }
        let (given, key) = value.split_once(' ').unwrap_or((&value, ""));
        given.eq_ignore_ascii_case(scheme).then(|| (name, key.trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_header_with_a_key_counts() {
        let of = |headers: &[(&str, &str)]| {
            let get = |name: &str| headers.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
            presented(get)
        };
        let found = |name, key: &str| Some((name, key.to_owned()));
        for (headers, expected) in [
            (&[("authorization", "Bearer a"), ("x-api-key", "b")][..], found("authorization", "a")),
            (&[("authorization", "bEARER   a ")], found("authorization", "a")),
            (&[("authorization", "Bearer"), ("x-api-key", "b")], found("authorization", "")),
            (&[("authorization", "Basic a"), ("x-api-key", "b"), ("x-goog-api-key", "c")], found("x-api-key", "b")),
            (&[("authorization", "sk-1"), ("x-goog-api-key", "c")], found("x-goog-api-key", "c")),
            (&[("x-api-key", "")], found("x-api-key", "")),
            (&[("authorization", "Basic a")], None),
            (&[], None),
        ] {
            assert_eq!(of(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_goes_up_belongs_to_one_dialect() {
        let all = [Dialect::Openai, Dialect::Anthropic, Dialect::Gemini, Dialect::Cohere].map(of);
        let mut passed: Vec<&str> = all.iter().flat_map(|headers| headers.passed.iter().copied()).collect();
        passed.sort_unstable();
        let mut expected = PASSED;
        expected.sort_unstable();
        assert_eq!(passed, expected);
        for headers in all {
            assert!(PRESENTED.contains(&headers.credential) && !headers.passed.contains(&headers.credential.0));
        }
    }
}
