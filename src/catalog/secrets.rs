//! Which secrets a channel may name, and what looks like a key that was pasted somewhere.
//!
//! What always holds: a channel gets only what was meant for channels, by its name or by the operator's list; the gateway's own
//! secrets are never among it, whatever a list says; what looks like a key is not repeated.

use crate::id::SecretName;

/// How names begin that are for channels.
pub const MARK: &str = "UPSTREAM_";
/// The variable with the names of others that are, separated by commas.
pub const DECLARED: &str = "UPSTREAM_SECRETS";
/// What stands in the place of a name that is none, since it may be a key.
const NO_NAME: &str = "NOT_A_NAME";
/// How the names of the gateway's own secrets, settings and bindings begin.
const OWN: [&str; 15] = [
    "ADMIN_",
    "STRIPE_",
    "SESSION_",
    "ALERT_",
    "TOPUP_",
    "ALLOW_",
    "PUBLIC_",
    "TF_",
    "CLOUDFLARE_",
    "CF_",
    "WRANGLER_",
    DECLARED,
    "ACCOUNTS",
    "CONFIG",
    "DB",
];
const SHORTEST: usize = 3;
const LONGEST: usize = 64;
/// How keys begin, of providers and of others whose keys are at hand. The longer ones stand first.
const KEYS: [&str; 29] = [
    "github_pat_",
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "AIza",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "glpat-",
    "gsk_",
    "xai-",
    "eyJ",
    "hf_",
    "xoxb-",
    "xoxp-",
    "whsec_",
    "nvapi-",
    "r8_",
    "pplx-",
    "fw_",
    "tgp_",
    "csk-",
    "jina_",
    "tvly-",
    "tf-admin-",
];
/// Every key has a run of so many letters and digits, with digits among them if it is short; words that people choose have not,
/// behind such a beginning.
const RUN: usize = 8;
const LONG_RUN: usize = 20;
/// A part of a name that is longer is no word, if it has digits.
const LONGEST_WORD: usize = 16;

/// Whether a text is a name that a secret for channels can have.
pub fn is_name(text: &str) -> bool {
    (SHORTEST..=LONGEST).contains(&text.len()) && is_shaped(text)
}

/// Whether a text looks like the name of a variable, and not like a key.
fn is_shaped(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_word = |part: &str| part.len() <= LONGEST_WORD || !part.bytes().any(|byte| byte.is_ascii_digit());
    let begins = text.starts_with(|first: char| first.is_ascii_uppercase());
    begins && text.bytes().all(is_allowed) && text.split('_').all(is_word) && !looks_like_key(text)
}

/// Whether a name is the gateway's own.
pub fn is_own(name: &str) -> bool {
    let is_of = |own: &str| if own.ends_with('_') { name.starts_with(own) } else { name == own };
    OWN.iter().any(|own| is_of(own)) || name == "ADMIN_TOKEN"
}

/// Whether a channel may name this secret, beside what the operator declared.
pub fn allows(declared: &str, name: &str) -> bool {
    let is_declared = || declared.split(',').any(|listed| listed.trim() == name);
    is_name(name) && !is_own(name) && (name.starts_with(MARK) || is_declared())
}

/// What the catalogue goes on with of a text that names a secret; a placeholder where it may be a key. None where it never was
/// one that could be read.
pub(super) fn read(text: &str) -> Option<SecretName> {
    let name = SecretName::parse(text)?;
    if is_shaped(text) { Some(name) } else { SecretName::parse(NO_NAME) }
}

/// What is wrong with a name that is published anew; what may be a key is not repeated.
pub(super) fn fault(declared: &str, name: &str) -> Option<String> {
    if allows(declared, name) {
        return None;
    }
    if name == NO_NAME || !is_shaped(name) {
        return Some(WANTED.to_owned());
    }
    if is_own(name) {
        return Some(format!("`{name}` is a secret of the gateway's own, which no channel gets"));
    }
    Some(format!(
        "`{name}` is not meant for channels: begin its name with {MARK}, or list it in the variable {DECLARED} (wrangler.toml)"
    ))
}

/// What a list of secrets has to have.
pub(super) const WANTED: &str = "must be the name of a secret, such as UPSTREAM_POOL_1: capital letters, digits and _, with a letter first, \
                          3 to 64 in all. Store the key itself with `npx wrangler secret put NAME`; if it was pasted here, it is not \
                          repeated, and should be replaced";

/// Whether a word looks like a key.
fn looks_like_key(word: &str) -> bool {
    let rest = KEYS.iter().find_map(|begin| word.strip_prefix(begin));
    let has_digit = |run: &str| run.bytes().any(|byte| byte.is_ascii_digit());
    let is_run = |run: &str| run.len() >= LONG_RUN || run.len() >= RUN && has_digit(run);
    rest.is_some_and(|rest| rest.split(|letter: char| !letter.is_ascii_alphanumeric()).any(is_run))
}

/// A text with what looks like a key taken out.
pub(super) fn masked(text: &str) -> String {
    let is_of_key = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|letter: char| !is_of_key(letter)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = after;
        if looks_like_key(word) {
            shown.push_str("[key]");
            // A token of three parts has dots between them.
            rest = rest.trim_start_matches(|letter| letter == '.' || is_of_key(letter));
        } else {
            shown.push_str(word);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str = "OPENAI_API_KEY, POOL_1,ADMIN_TOKEN,STRIPE_SECRET_KEY,,UPSTREAM_SECRETS,pool";

    #[test]
    fn channels_get_what_was_meant_for_them() {
        for (name, expected) in [
            ("UPSTREAM_X", true),
            ("UPSTREAM_", true),
            ("OPENAI_API_KEY", true),
            ("POOL_1", true),
            ("POOL_2", false),
            ("OPENAI_API_KE", false),
            ("OPENAI_API_KEY_2", false),
            ("pool", false),
            ("", false),
            ("K", false),
            ("UPSTREAM_SECRETS", false),
            ("UPSTREAM_x", false),
            ("upstream_X", false),
            (" UPSTREAM_X", false),
        ] {
            assert_eq!(allows(LIST, name), expected, "{name}");
        }
        assert!(!allows("", "OPENAI_API_KEY"), "nothing is declared by itself");
    }

    #[test]
    fn the_gateways_own_are_never_among_it() {
        for name in [
            "ADMIN_TOKEN",
            "ADMIN_TOKEN_NEXT",
            "SESSION_SECRET",
            "STRIPE_SECRET_KEY",
            "STRIPE_WEBHOOK_SECRET",
            "ALERT_WEBHOOK_SECRET",
            "ALERT_WEBHOOK_URL",
            "TOPUP_RETURN_URL",
            "CLOUDFLARE_API_TOKEN",
            "ALLOW_PRIVATE_UPSTREAMS",
            "UPSTREAM_SECRETS",
            "ACCOUNTS",
            "CONFIG",
        ] {
            assert!(is_own(name) && !allows(name, name), "{name}");
            assert!(fault(name, name).unwrap().contains("own"), "{name}");
        }
    }

    /// Made up, in the form that each provider's keys have.
    fn pasted() -> Vec<String> {
        let tail = "T3BlbkFJabcdef0123456789";
        let begins = KEYS.iter().map(|begin| format!("{begin}{tail}"));
        let others =
            ["AKIAIOSFODNN7EXAMPLE", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "sk-proj-PASTED123", "0123456789abcdef0123456789abcdef"];
        begins.chain(others.map(ToOwned::to_owned)).collect()
    }

    #[test]
    fn a_pasted_key_is_no_name_and_is_not_repeated() {
        for key in pasted() {
            assert!(!is_name(&key) && !allows(&key, &key), "{key}");
            assert!(!fault("", &key).unwrap().contains(&key), "{key}");
            assert!(read(&key).is_none_or(|name| name.as_str() == NO_NAME), "{key}");
        }
        assert_eq!(fault("", NO_NAME).unwrap(), WANTED);
        assert_eq!(read("OPENAI_API_KEY").unwrap().as_str(), "OPENAI_API_KEY");
        assert_eq!(read("K").unwrap().as_str(), "K", "what runs already goes on under its name");
    }

    #[test]
    fn keys_are_taken_out_of_texts_and_names_are_not() {
        for key in pasted().into_iter().filter(|key| looks_like_key(key)) {
            for around in ["", "`", "\"", " ", "channels.x."] {
                let text = format!("{around}{key}{around}");
                assert!(!masked(&text).contains(&key), "{text}");
            }
        }
        for text in [
            "models.xai-grok-4-fast-0709.routes",
            "channels.sk-pool.base_url: is not a URL",
            "must be 1 to 16 candidates",
            "models.gpt-5.5-2026-04-01: Ünïcode 大",
            "",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_listed_the_gateways_own_stay(list in "[A-Z_,]{0,60}", rest in "[A-Z0-9_]{0,20}", own in 0..OWN.len()) {
            let name = format!("{}{rest}", OWN[own]);
            if is_own(&name) {
                prop_assert!(!allows(&format!("{list},{name}"), &name), "{}", name);
            }
        }

        #[test]
        fn any_text_is_masked_without_harm(text in "\\PC{0,80}") {
            prop_assert!(masked(&text).len() <= text.len().max(5).saturating_mul(2));
        }
    }
}
