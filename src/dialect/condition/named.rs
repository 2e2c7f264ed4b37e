//! Whether an error names the gateway's credential: only then it is certain that it is about that, and not about what was asked.

use super::{Condition, spelled};
use crate::dialect::format::UpstreamError;

/// Codes and types that mean the credential or the account behind it, and nothing that a request can ask for.
const CODES: [&str; 10] = [
    "authentication_error",
    "invalid_authentication_error",
    "invalid_api_key",
    "incorrect_api_key",
    "api_key_invalid",
    "api_key_expired",
    "unauthenticated",
    "account_deactivated",
    "401",
    "402",
];
/// The same in words, in lower case.
const WORDS: [&str; 5] = ["api key", "api_key", "apikey", "credential", "authentication token"];

/// Whether an error is certain to be about the credential or the account that it belongs to.
pub fn names_the_credential(error: &UpstreamError, status: u16) -> bool {
    let is_code = |text: &Option<String>| text.as_deref().is_some_and(|text| CODES.contains(&spelled(text).as_str()));
    let words = error.message.to_lowercase();
    matches!(status, 401 | 402)
        || Condition::of(error, status) == Some(Condition::Quota)
        || is_code(&error.code)
        || is_code(&error.kind)
        || WORDS.iter().any(|known| words.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_the_credential_is_certain_to_be_about_it() {
        let error = |code: &str, message: &str| UpstreamError {
            code: Some(code.to_owned()).filter(|code| !code.is_empty()),
            message: message.to_owned(),
            ..UpstreamError::default()
        };
        for (status, code, message, is_named) in [
            (401, "", "", true),
            (402, "", "", true),
            (429, "insufficient_quota", "You exceeded your current quota", true),
            (400, "API_KEY_INVALID", "API key not valid. Please pass a valid API key.", true),
            (403, "invalid_api_key", "", true),
            (403, "permission_error", "Your API key does not have permission to use the specified resource.", true),
            (403, "permission_error", "This model's beta is not for your organization.", false),
            (403, "", "<html>Forbidden</html>", false),
            (403, "PERMISSION_DENIED", "You do not have permission to access the File or it may not exist.", false),
            (429, "rate_limit_exceeded", "Slow down", false),
        ] {
            assert_eq!(names_the_credential(&error(code, message), status), is_named, "{status} {code} {message}");
        }
    }
}
