//! The credentials of a channel: which is tried first, and how long one rests that was refused.
//!
//! What always holds: every credential is in the order, so that the last one is never ruled out.

use super::attempt::FailureKind;
use super::draw;
use crate::id::SecretName;
use crate::time::Timestamp;

/// How long a credential rests after 429 where upstream names no time, in milliseconds.
const LOAD_MS: i64 = 30_000;
/// And after it was refused.
const REFUSED_MS: i64 = 600_000;
/// No longer than this, whatever upstream says.
const LONGEST_MS: i64 = 3_600_000;

/// The credentials in the order in which to try them: those that are ready as the seed draws them, then those that rest, by
/// `cooling` until when, the soonest first. Equal seeds draw equal orders, also when others come and go.
pub fn order(
    secrets: &[SecretName],
    seed: &str,
    cooling: impl Fn(&SecretName) -> Option<Timestamp>,
    now: Timestamp,
) -> Vec<SecretName> {
    let until = |secret: &SecretName| cooling(secret).filter(|until| *until > now).map_or(0, Timestamp::millis);
    let mut order = secrets.to_vec();
    if order.len() > 1 {
        order.sort_by_cached_key(|secret| (until(secret), draw::unit(&[seed, secret.as_str()]).to_bits()));
    }
    order
}

/// How long a credential rests after a failure, in milliseconds; none if the failure says nothing of it.
pub fn cool_down(kind: FailureKind, retry_after_s: Option<u64>) -> Option<i64> {
    let without_word = match kind {
        FailureKind::Load => LOAD_MS,
        FailureKind::Credential => REFUSED_MS,
        _ => return None,
    };
    let told = retry_after_s.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000));
    Some(told.unwrap_or(without_word).clamp(1, LONGEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Vec<SecretName> {
        serde_json::from_str(r#"["A","B","C"]"#).unwrap()
    }

    fn names(order: &[SecretName]) -> String {
        order.iter().map(SecretName::as_str).collect()
    }

    #[test]
    fn sessions_share_them_out_and_keep_their_own() {
        let now = Timestamp::from_millis(1);
        let mut first = std::collections::BTreeMap::<String, u32>::new();
        for session in 0..3_000 {
            let seed = format!("s{session}");
            let of = || names(&order(&secrets(), &seed, |_| None, now));
            assert_eq!(of(), of());
            *first.entry(of()[..1].to_owned()).or_default() += 1;
        }
        assert!(first.len() == 3 && first.values().all(|count| (850..1150).contains(count)), "{first:?}");
    }

    #[test]
    fn one_that_rests_goes_last_and_none_is_ruled_out() {
        let now = Timestamp::from_millis(1_000);
        let at = |secret: &SecretName| match secret.as_str() {
            "A" => Some(Timestamp::from_millis(9_000)),
            "B" => Some(Timestamp::from_millis(5_000)),
            _ => Some(Timestamp::from_millis(900)),
        };
        assert_eq!(names(&order(&secrets(), "s", at, now)), "CBA");
    }

    #[test]
    fn only_what_concerns_the_credential_lets_it_rest() {
        assert_eq!(cool_down(FailureKind::Load, Some(7)), Some(7_000));
        assert_eq!(cool_down(FailureKind::Load, None), Some(LOAD_MS));
        assert_eq!(cool_down(FailureKind::Credential, None), Some(REFUSED_MS));
        assert_eq!(cool_down(FailureKind::Load, Some(u64::MAX)), Some(LONGEST_MS));
        for kind in [FailureKind::Server, FailureKind::Timeout, FailureKind::NotFound, FailureKind::NotConfigured] {
            assert_eq!(cool_down(kind, Some(7)), None);
        }
    }
}
