//! Which credential of a channel is used.
//!
//! The rules: equal seeds choose equal credentials, so that a session stays where the provider caches its prompts; other
//! seeds spread evenly; when credentials come and go, only those seeds move that have to. One that was refused cools down
//! and goes last until then.
//!
//! Deliberately absent: any way to rule a credential out. When all cool down, the one that is ready soonest is tried first.

use sha2::{Digest, Sha256};

use super::attempt::FailureKind;
use crate::id::SecretName;
use crate::time::{HOUR_MS, Timestamp};

/// How long a credential cools down when upstream names no time, in milliseconds: after too many requests, and after it was not
/// accepted, which seldom mends itself.
const LOAD_MS: i64 = 30_000;
const REFUSED_MS: i64 = 600_000;
/// A time that upstream names counts up to this.
const LONGEST_MS: i64 = HOUR_MS;

/// The credentials in the order in which to try them: the ready ones as the seed has it, then those that cool down, soonest
/// first.
pub fn order(
    secrets: &[SecretName],
    seed: &str,
    cooling: impl Fn(&SecretName) -> Option<Timestamp>,
    now: Timestamp,
) -> Vec<SecretName> {
    let key = |secret: &SecretName| (cooling(secret).filter(|until| *until > now), hash(&[seed, secret.as_str()]));
    let mut ordered = secrets.to_vec();
    // None, which is ready, sorts before every time.
    ordered.sort_by_cached_key(key);
    ordered
}

/// How long a credential cools down after a failure, in milliseconds; none where the failure was not about the credential.
pub fn cool_down(kind: FailureKind, retry_after_s: Option<u64>) -> Option<i64> {
    let default = match kind {
        FailureKind::Load => LOAD_MS,
        FailureKind::Credential => REFUSED_MS,
        _ => return None,
    };
    let named = retry_after_s.map(|s| i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(1000).min(LONGEST_MS));
    Some(named.unwrap_or(default))
}

/// 48 bits that depend on every part and nothing else: for rendezvous hashing, where each candidate draws a number from the
/// seed and the smallest goes first.
pub(super) fn hash(parts: &[&str]) -> u64 {
    let mut hasher = Sha256::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hasher.update(b"\n");
        }
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(6).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn secrets(count: usize) -> Vec<SecretName> {
        (0..count).map(|i| SecretName::parse(&format!("KEY_{i}")).unwrap()).collect()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn ready(_: &SecretName) -> Option<Timestamp> {
        None
    }

    #[test]
    fn sessions_share_the_credentials_and_stay() {
        let secrets = secrets(4);
        let mut first: BTreeMap<String, u32> = BTreeMap::new();
        for session in 0..4_000 {
            let seed = format!("session {session}");
            let ordered = order(&secrets, &seed, ready, at(0));
            assert_eq!(ordered, order(&secrets, &seed, ready, at(9)), "the same session, the same order");
            assert_eq!(ordered.len(), 4);
            *first.entry(ordered[0].to_string()).or_default() += 1;
        }
        assert!(first.len() == 4 && first.values().all(|share| (850..=1_150).contains(share)), "a quarter each: {first:?}");
    }

    #[test]
    fn only_sessions_of_a_credential_that_went_move() {
        let (four, three) = (secrets(4), secrets(3));
        let mut moved = 0;
        for session in 0..1_000 {
            let seed = format!("session {session}");
            let (before, after) = (order(&four, &seed, ready, at(0)), order(&three, &seed, ready, at(0)));
            let left: Vec<SecretName> = before.iter().filter(|secret| **secret != four[3]).cloned().collect();
            assert_eq!(left, after);
            moved += usize::from(before[0] == four[3]);
        }
        assert!((180..=320).contains(&moved), "those of the fourth: {moved}");
    }

    #[test]
    fn what_cools_down_goes_last_soonest_first_and_is_never_ruled_out() {
        let secrets = secrets(3);
        let until = |times: [i64; 3]| {
            let secrets = secrets.clone();
            move |secret: &SecretName| secrets.iter().zip(times).find(|(known, _)| *known == secret).map(|(_, time)| at(time))
        };
        let names = |times, now| order(&secrets, "s", until(times), at(now)).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names([300, 0, 200], 100), ["KEY_1", "KEY_2", "KEY_0"]);
        assert_eq!(names([300, 150, 200], 100), ["KEY_1", "KEY_2", "KEY_0"], "all of them: the soonest first");
        assert_eq!(names([300, 150, 200], 300), names([0, 0, 0], 300), "over, so the session is back where it was");
        assert!(order(&[], "s", ready, at(0)).is_empty());
    }

    #[test]
    fn only_load_and_refusals_cool_a_credential_down() {
        for (kind, retry_after_s, expected) in [
            (FailureKind::Load, None, Some(30_000)),
            (FailureKind::Load, Some(7), Some(7_000)),
            (FailureKind::Credential, None, Some(600_000)),
            (FailureKind::Credential, Some(60), Some(60_000)),
            (FailureKind::Load, Some(u64::MAX), Some(3_600_000)),
            (FailureKind::Server, Some(60), None),
            (FailureKind::Timeout, None, None),
            (FailureKind::NotConfigured, None, None),
        ] {
            assert_eq!(cool_down(kind, retry_after_s), expected, "{kind:?} {retry_after_s:?}");
        }
    }
}
