//! The signature of webhooks: `t=<seconds>,v1=<hex>`, an HMAC with SHA-256 over the time, a dot and the body. Stripe's scheme,
//! which we use for our own messages too.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::time::Timestamp;

/// The signature of a body at some seconds since 1970, in hex. None for a secret that cannot be a key.
pub fn mac(secret: &str, seconds: &str, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(hex::encode(mac.finalize().into_bytes()))
}

/// What goes into the header of a message of ours.
pub fn signature(secret: &str, at: Timestamp, body: &[u8]) -> Option<String> {
    let seconds = at.millis().div_euclid(1000).to_string();
    Some(format!("t={seconds},v1={}", mac(secret, &seconds, body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_ours_is_signed() {
        // printf '1800000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected = "t=1800000000,v1=440dfbb83aabca24d9e5027629cfd81cb45254690f8d410bb28f1cc17c990dbc";
        assert_eq!(signature("secret", Timestamp::from_millis(1_800_000_000_123), br#"{"a":1}"#).unwrap(), expected);
    }
}
