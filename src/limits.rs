//! What anybody may have of the gateway without paying for it: bytes, times, and how often. One table, from which the doors
//! refuse and the documentation is checked.
//!
//! What always holds: a gate counts for one subject, so that what one caller does closes it for nobody else; what rests in
//! memory is bounded, whoever fills it.
//!
//! Deliberately absent: limits that somebody has set for a key or an account. The account counts those exactly.

use std::collections::HashMap;

use crate::time::{MINUTE_MS, Timestamp};

/// The largest body of a request to a model: 30 MB of images are 40 MB of base64.
pub const ASKED_BYTES: usize = 42 * 1024 * 1024;
/// The largest catalogue: D1, which keeps its history, takes 2,000,000 bytes in a row.
pub const CATALOG_BYTES: usize = 1_900_000;
/// The largest message of a payment provider.
pub const MESSAGE_BYTES: usize = 256 * 1024;
/// The largest body of everything else.
pub const SAID_BYTES: usize = 64 * 1024;

/// A body up to this takes no room from large ones, so that small requests are served however full it is.
pub const SMALL_BYTES: usize = 64 * 1024;
/// A buffer begins with so much.
pub const FIRST_BYTES: usize = 4 * 1024;

/// What an isolate has only so much of, and what shares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pool {
    /// Bytes of bodies beyond the first, and of frames that wait. They stand in memory twice on their way: once here, and once where the
    /// platform sends them from, of 128 MB in all.
    Bodies,
    /// The first bytes of each body.
    Small,
    /// Bodies that are read before it is known whose they are: of forms to sign in, and of payment providers.
    Strangers,
    /// Bytes that WebSockets remember between their requests.
    Remembered,
    /// WebSockets that are open.
    Sockets,
}

/// Of the bodies' room, only for accounts with an answer that was paid not long ago: who has paid nothing here leaves it free.
pub const EARNED_BYTES: usize = 18 * MIB;
/// The same of the room for first bytes.
pub const EARNED_SMALL_BYTES: usize = 4 * MIB;
/// For so long, in milliseconds.
const EARNED_MS: u64 = 600_000;

impl Pool {
    /// How much there is in all, and how much of it one sender may have.
    pub const fn most(self) -> (usize, usize) {
        match self {
            Self::Bodies => (60 * MIB, ASKED_BYTES),
            Self::Small => (12 * MIB, 6 * MIB),
            Self::Strangers => (4 * MIB, MIB),
            Self::Remembered => (32 * MIB, 16 * MIB),
            Self::Sockets => (4_000, 200),
        }
    }
}

const MIB: usize = 1024 * 1024;

/// A body of which nothing arrives for this long is given up.
pub const STALLED_MS: u32 = 20_000;
/// And one that is not whole after this long.
pub const ARRIVED_MS: u32 = 300_000;
/// A body waits this long for others to leave room for it.
pub const ROOM_MS: u32 = 5_000;

/// Something that is counted before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// An API key that nobody has was looked up; by address.
    Stranger,
    /// Something secret was guessed wrongly: a key at sign-in, a code, the operator's token, a signature; by address or account.
    Guess,
    /// A request of a key was refused that had not earned it; by key.
    Refused,
    /// Something is worked out that costs nothing: counting tokens, explaining a request, opening a run; by key.
    Free,
    /// An account's records are read; by account.
    Read,
    /// A page is made anew; by address.
    Page,
    /// An order of a top-up is made; by account.
    Order,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The name of the platform's binding that counts.
    pub binding: &'static str,
    /// So many in a minute, for each subject and location.
    pub most: u32,
    /// Then none for so many seconds.
    pub rest_s: u32,
    /// Of what there were too many.
    pub what: &'static str,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Stranger, Self::Guess, Self::Refused, Self::Free, Self::Read, Self::Page, Self::Order];

    /// The table.
    pub const fn row(self) -> Row {
        let (binding, most, rest_s, what) = match self {
            Self::Stranger => ("STRANGERS", 60, 10, "requests with API keys that are not known came from this address"),
            Self::Guess => ("GUESSES", 20, 60, "wrong secrets came from here"),
            Self::Refused => ("REFUSALS", 300, 10, "requests of this API key were refused"),
            Self::Free => ("FREE_CALLS", 600, 10, "requests that cost nothing were made with this API key"),
            Self::Read => ("READS", 1_200, 10, "reads of records were made for this account"),
            Self::Page => ("PAGES", 300, 10, "pages were asked for from this address"),
            Self::Order => ("ORDERS", 30, 60, "orders were made for this account"),
        };
        Row { binding, most, rest_s, what }
    }
}

/// Subjects that rest are forgotten, all at once, when there are more than this.
const MOST_RESTING: usize = 4_096;
/// Keys whose requests are counted, and accounts with an answer, are forgotten, all at once, when there are more than this.
const MOST_COUNTED: usize = 4_096;

/// What an isolate remembers of its gates, so that who rests costs neither a look-up nor a count.
#[derive(Debug, Default)]
pub struct Memory {
    resting: HashMap<(Gate, String), Timestamp>,
    counted: HashMap<String, Counted>,
    answered: HashMap<String, Timestamp>,
}

/// What became of a key's requests in a minute.
#[derive(Debug, Clone, Copy)]
struct Counted {
    since: Timestamp,
    granted: u32,
    refused: u32,
}

impl Memory {
    /// For how many seconds more a subject rests at a gate; none if it does not.
    pub fn rest(&self, gate: Gate, subject: &str, now: Timestamp) -> Option<u64> {
        if self.resting.is_empty() {
            return None;
        }
        let until = self.resting.get(&(gate, subject.to_owned()))?;
        Some(until.since(now).div_ceil(1_000)).filter(|seconds| *seconds > 0)
    }

    /// Closes a gate for a subject, for as long as its row says.
    pub fn close(&mut self, gate: Gate, subject: &str, now: Timestamp) {
        if self.resting.len() >= MOST_RESTING {
            self.resting.retain(|_, until| *until > now);
        }
        if self.resting.len() >= MOST_RESTING {
            self.resting.clear();
        }
        let until = now.plus(i64::from(gate.row().rest_s).saturating_mul(1_000));
        self.resting.insert((gate, subject.to_owned()), until);
    }

    /// Notes that a request of an account's key was answered.
    pub fn granted(&mut self, (account, key): (&str, &str), now: Timestamp) {
        let counted = self.counted(key, now);
        counted.granted = counted.granted.saturating_add(1);
        if self.answered.len() >= MOST_COUNTED && !self.answered.contains_key(account) {
            self.answered.clear();
        }
        self.answered.insert(account.to_owned(), now);
    }

    /// Whether an account had an answer not long ago.
    pub fn is_earning(&self, account: &str, now: Timestamp) -> bool {
        self.answered.get(account).is_some_and(|at| now.since(*at) < EARNED_MS)
    }

    /// Notes that a request of a key was refused. Whether the gate has to count it: it does not as long as more of the key's
    /// requests are paid for than are refused.
    pub fn refused(&mut self, key: &str, now: Timestamp) -> bool {
        let counted = self.counted(key, now);
        counted.refused = counted.refused.saturating_add(1);
        counted.refused > counted.granted
    }

    fn counted(&mut self, key: &str, now: Timestamp) -> &mut Counted {
        if self.counted.len() >= MOST_COUNTED && !self.counted.contains_key(key) {
            self.counted.clear();
        }
        let anew = Counted { since: now, granted: 0, refused: 0 };
        let counted = self.counted.entry(key.to_owned()).or_insert(anew);
        if now.since(counted.since) >= MINUTE_MS.unsigned_abs() {
            *counted = anew;
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn the_binding_counts_what_the_table_says() {
        let manifest: String = include_str!("../wrangler.toml").split_whitespace().collect();
        for (place, gate) in Gate::ALL.into_iter().enumerate() {
            let Row { binding, most, rest_s, .. } = gate.row();
            let namespace = 1_001 + place;
            let written =
                format!("[[ratelimits]]name=\"{binding}\"namespace_id=\"{namespace}\"simple={{limit={most},period=60}}");
            assert!(manifest.contains(&written), "{written}");
            assert!((1..=60).contains(&rest_s), "who is let through again can find the gate open");
        }
    }

    #[test]
    fn the_documentation_says_what_the_table_says() {
        let docs = include_str!("../docs/reference/limits.md");
        for gate in Gate::ALL {
            let Row { most, rest_s, .. } = gate.row();
            let grouped = if most < 1_000 { most.to_string() } else { format!("{},{:03}", most / 1_000, most % 1_000) };
            assert!(docs.contains(&format!("| {grouped} a minute | {rest_s} s |")), "{gate:?}");
        }
        let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
        for said in [
            mib(ASKED_BYTES),
            mib(Pool::Bodies.most().0),
            mib(EARNED_BYTES),
            mib(EARNED_SMALL_BYTES),
            mib(Pool::Small.most().0),
            mib(Pool::Small.most().1),
            mib(Pool::Strangers.most().0),
            mib(Pool::Strangers.most().1),
            mib(Pool::Remembered.most().0),
            mib(Pool::Remembered.most().1),
            "4,000".to_owned(),
            "200".to_owned(),
            "1,900,000 bytes".to_owned(),
            "64 KiB".to_owned(),
            "256 KiB".to_owned(),
        ] {
            assert!(docs.contains(&said), "{said}");
        }
    }

    #[test]
    fn a_gate_is_closed_for_its_subject_and_its_time() {
        let mut memory = Memory::default();
        assert_eq!(memory.rest(Gate::Stranger, "a", at(0)), None);
        memory.close(Gate::Stranger, "a", at(0));
        assert_eq!(memory.rest(Gate::Stranger, "a", at(0)), Some(10));
        assert_eq!(memory.rest(Gate::Stranger, "a", at(9_001)), Some(1));
        assert_eq!(memory.rest(Gate::Stranger, "a", at(10_000)), None);
        assert_eq!(memory.rest(Gate::Stranger, "b", at(0)), None);
        assert_eq!(memory.rest(Gate::Guess, "a", at(0)), None);
    }

    #[test]
    fn who_rests_is_forgotten_before_the_memory_grows() {
        let mut memory = Memory::default();
        for number in 0..3 * MOST_RESTING {
            memory.close(Gate::Stranger, &number.to_string(), at(0));
            memory.granted((&number.to_string(), &number.to_string()), at(0));
            assert!(memory.resting.len() <= MOST_RESTING && memory.counted.len() <= MOST_COUNTED);
            assert!(memory.answered.len() <= MOST_COUNTED);
        }
        // Those that do not rest any more go first.
        let mut memory = Memory::default();
        for number in 0..MOST_RESTING {
            memory.close(Gate::Stranger, &number.to_string(), at(if number == 0 { 5_000 } else { 0 }));
        }
        memory.close(Gate::Stranger, "new", at(11_000));
        assert_eq!(memory.resting.len(), 2);
    }

    #[test]
    fn refusals_count_only_beyond_what_was_granted_in_the_same_minute() {
        let mut memory = Memory::default();
        for _ in 0..3 {
            memory.granted(("a", "k"), at(0));
        }
        let counts: Vec<bool> = (0..5).map(|_| memory.refused("k", at(100))).collect();
        assert_eq!(counts, [false, false, false, true, true]);
        assert!(memory.refused("other", at(100)));
        memory.granted(("a", "k"), at(59_999));
        assert!(memory.refused("k", at(59_999)), "of one minute still");
        assert!(memory.refused("k", at(60_000)), "of the next: nothing was granted in it");
    }

    #[test]
    fn an_answer_counts_for_its_account_and_not_for_ever() {
        let mut memory = Memory::default();
        assert!(!memory.is_earning("a", at(0)));
        memory.granted(("a", "k"), at(0));
        assert!(memory.is_earning("a", at(599_999)) && !memory.is_earning("b", at(0)));
        assert!(!memory.is_earning("a", at(600_000)));
    }
}
