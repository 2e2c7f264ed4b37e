//! Sessions of the pages that were ended: which ones, from when on, and how much is noted of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use support::memory::Memory;
use tokens_forge::account::{Answer, Command, SESSION_MS, Session, SessionEnd, marks};
use tokens_forge::id::{KeyId, SessionId};
use tokens_forge::time::Timestamp;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

fn session(id: &str, key: &str, began_ms: i64) -> Session {
    Session { id: SessionId::parse(id).unwrap(), key: KeyId::parse(key).unwrap(), began_at: at(began_ms) }
}

fn end(memory: &mut Memory, end: SessionEnd, ms: i64) {
    assert_eq!(memory.command(Command::EndSessions(end), at(ms)), Answer::Done);
}

fn is_ended(memory: &Memory, session: &Session) -> bool {
    marks(session).iter().any(|mark| memory.ended.get(mark).is_some_and(|until| *until >= session.began_at))
}

#[test]
fn a_session_a_key_and_an_account_end_what_they_have() {
    let all = [session("s1", "k1", 0), session("s2", "k1", 1), session("s3", "k2", 2)];
    for (what, expected) in [
        (SessionEnd::Of(all[0].clone()), [true, false, false]),
        (SessionEnd::OfKey(all[0].key.clone()), [true, true, false]),
        (SessionEnd::OfAccount, [true, true, true]),
    ] {
        let mut memory = Memory::default();
        end(&mut memory, what.clone(), 10);
        end(&mut memory, what, 11);
        assert_eq!(all.each_ref().map(|session| is_ended(&memory, session)), expected);
        assert_eq!(memory.ended.len(), 1, "again is the same");
        assert!(!is_ended(&memory, &session("s4", "k1", 12)), "one that begins later lives");
    }
}

#[test]
fn one_that_began_by_another_clock_ends_too() {
    let (mut memory, ahead) = (Memory::default(), session("s", "k", 5_000));
    end(&mut memory, SessionEnd::Of(ahead.clone()), 0);
    assert!(is_ended(&memory, &ahead));
}

#[test]
fn what_is_noted_is_bounded_and_goes() {
    let mut memory = Memory::default();
    let one = |n: i64| session(&format!("s{n}"), if n % 2 == 0 { "even" } else { "odd" }, n);
    for n in 0..1_000 {
        end(&mut memory, SessionEnd::Of(one(n)), n);
    }
    assert!(memory.ended.len() <= 202, "{}", memory.ended.len());
    assert!((0..1_000).all(|n| is_ended(&memory, &one(n))), "each of them has ended all the same");
    assert!(!is_ended(&memory, &session("other", "third", 0)), "and no other key's");
    end(&mut memory, SessionEnd::OfAccount, 2 * SESSION_MS);
    assert_eq!(memory.ended.len(), 1, "what no living session is about is gone");
}
