//! Sessions of the pages that were ended: which ones, from when on, and how much is noted of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use proptest::prelude::*;
use support::tables::Tables;
use tokens_forge::account::{AccountAnswer, AccountStore, Command, SESSION_MS, Session, SessionEnd, marks};
use tokens_forge::id::{KeyId, SessionId};
use tokens_forge::time::Timestamp;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

fn session(id: &str, key: &str, began_ms: i64) -> Session {
    Session { id: SessionId::parse(id).unwrap(), key: KeyId::parse(key).unwrap(), began_at: at(began_ms), known: None }
}

fn end(memory: &mut Tables, end: SessionEnd, ms: i64) {
    assert_eq!(memory.command(Command::EndSessions(end), at(ms)), AccountAnswer::Done);
}

fn is_ended(memory: &Tables, session: &Session) -> bool {
    marks(session).iter().any(|mark| memory.ended.get(mark).is_some_and(|until| *until > session.known()))
}

#[test]
fn a_session_a_key_and_an_account_end_what_they_have() {
    let all = [session("s1", "k1", 0), session("s2", "k1", 1), session("s3", "k2", 2)];
    for (what, expected) in [
        (SessionEnd::Of(all[0].clone()), [true, false, false]),
        (SessionEnd::OfKey(all[0].key.clone()), [true, true, false]),
        (SessionEnd::OfAccount, [true, true, true]),
    ] {
        let mut memory = Tables::default();
        end(&mut memory, what.clone(), 10);
        end(&mut memory, what, 11);
        assert_eq!(all.each_ref().map(|session| is_ended(&memory, session)), expected);
        assert_eq!(memory.ended.len(), 1, "again is the same");
        assert!(!is_ended(&memory, &session("s4", "k1", 12)), "one that begins later lives");
    }
}

#[test]
fn one_that_began_by_another_clock_ends_too() {
    let (mut memory, ahead) = (Tables::default(), session("s", "k", 5_000));
    end(&mut memory, SessionEnd::Of(ahead.clone()), 0);
    assert!(is_ended(&memory, &ahead));
}

#[test]
fn what_is_noted_is_bounded_and_goes() {
    let mut memory = Tables::default();
    let one = |n: i64| session(&format!("s{n}"), if n % 2 == 0 { "even" } else { "odd" }, n);
    for n in 0..1_000 {
        end(&mut memory, SessionEnd::Of(one(n)), n);
    }
    assert!(memory.ended.len() <= 202, "{}", memory.ended.len());
    assert!((0..1_000).all(|n| is_ended(&memory, &one(n))), "each of them has ended all the same");
    assert!(!is_ended(&memory, &session("other", "third", 0)), "and no other key's");
    end(&mut memory, SessionEnd::OfAccount, 3 * SESSION_MS);
    assert_eq!(memory.ended.len(), 1, "what no living session is about is gone");
}

/// A session that begins now, by a clock of its own.
fn begin(memory: &Tables, id: &str, key: &str, began_ms: i64) -> Session {
    Session { known: Some(memory.last_end().unwrap()), ..session(id, key, began_ms) }
}

proptest! {
    /// Sessions begin by clocks that are ahead or behind, the account's own clock goes back, ends come in the same instant: exactly
    /// those sessions have ended that had begun before an end that is about them.
    #[test]
    fn whatever_clocks_say_what_began_before_an_end_has_ended_and_what_began_after_it_lives(
        steps in proptest::collection::vec((0_u8..5, 0_usize..3, -5_000_i64..5_000, -20_i64..40), 1..80),
    ) {
        let keys = ["k1", "k2", "k3"];
        let (mut memory, mut now) = (Tables::default(), 0);
        let mut sessions: Vec<(Session, bool)> = Vec::new();
        for (number, (what, which, skew, passes)) in steps.into_iter().enumerate() {
            now += passes;
            match what {
                0..=2 => sessions.push((begin(&memory, &format!("s{number}"), keys[which], now + skew), false)),
                3 if !sessions.is_empty() => {
                    let place = which % sessions.len();
                    end(&mut memory, SessionEnd::Of(sessions[place].0.clone()), now);
                    sessions[place].1 = true;
                }
                3 => {}
                _ if which == 0 => {
                    end(&mut memory, SessionEnd::OfAccount, now);
                    sessions.iter_mut().for_each(|(_, is_over)| *is_over = true);
                }
                _ => {
                    end(&mut memory, SessionEnd::OfKey(KeyId::parse(keys[which]).unwrap()), now);
                    sessions.iter_mut().filter(|(of, _)| of.key.as_str() == keys[which]).for_each(|(_, is_over)| *is_over = true);
                }
            }
            for (session, is_over) in &sessions {
                prop_assert_eq!(is_ended(&memory, session), *is_over, "{:?} after step {}", session, number);
            }
        }
    }
}

#[test]
fn a_session_that_was_stored_before_is_read() {
    let stored = r#"{"id":"s","key":"k","began_at":"2027-01-15T08:00:00Z"}"#;
    let read: Session = serde_json::from_str(stored).unwrap();
    assert_eq!((read.known, read.known()), (None, read.began_at.plus(-1)));
}
