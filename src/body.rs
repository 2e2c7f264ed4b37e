//! Bodies of requests while they are here, and the room that they and other things take of an isolate.
//!
//! What always holds: what something takes is counted before its memory is, and given back with it; one sender alone cannot take
//! all of it; small bodies have room of their own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{IntoFuture, Ready};
use std::ops::Deref;
use std::rc::Rc;

use crate::limits::{EARNED_BYTES, EARNED_SMALL_BYTES, FIRST_BYTES, Pool, SMALL_BYTES};
use crate::refusal::{Code, Refusal};

/// A body on its way in. It is read when somebody waits for it, and not before.
pub trait Arriving: IntoFuture<Output = Result<Body, Refusal>> {
    /// The same, in the room of who is known by now to have sent it.
    #[must_use]
    fn within(self, place: BodyRoom) -> Self;
}

/// One that is here already, with the room that it has.
impl Arriving for Ready<Result<Body, Refusal>> {
    fn within(self, _place: BodyRoom) -> Self {
        self
    }
}

/// A body that has arrived.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    _place: Option<BodyRoom>,
}

impl Body {
    /// With the room that was made for it.
    pub fn new(bytes: Vec<u8>, place: BodyRoom) -> Self {
        Self { bytes, _place: Some(place) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, _place: None }
    }
}

impl Deref for Body {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Rc<str>, usize>,
}

thread_local! {
    static TAKEN: RefCell<HashMap<Pool, Taken>> = RefCell::default();
}

/// What one thing takes of a pool.
#[derive(Debug)]
pub struct Room {
    pool: Pool,
    whose: Rc<str>,
    /// What it leaves free for others.
    left: usize,
    taken: usize,
}

impl Room {
    /// Of this sender; it takes nothing yet.
    pub fn of(pool: Pool, whose: &str) -> Self {
        Self { pool, whose: whose.into(), left: 0, taken: 0 }
    }

    /// Takes so much in all; false if there is not so much, and then it has what it had.
    pub fn make(&mut self, wanted: usize) -> bool {
        let (most, most_of_one) = self.pool.most();
        TAKEN.with_borrow_mut(|pools| {
            let pool = pools.entry(self.pool).or_default();
            let others = pool.all.saturating_sub(self.taken);
            let own = pool.by.get(&self.whose).map_or(0, |of_sender| of_sender.saturating_sub(self.taken));
            let (all, of_sender) = (others.saturating_add(wanted), own.saturating_add(wanted));
            if wanted > self.taken && (all > most.saturating_sub(self.left) || of_sender > most_of_one) {
                return false;
            }
            pool.all = all;
            if of_sender == 0 {
                pool.by.remove(&self.whose);
            } else {
                pool.by.insert(Rc::clone(&self.whose), of_sender);
            }
            self.taken = wanted;
            true
        })
    }
}

/// The room of a body.
#[derive(Debug)]
pub struct BodyRoom {
    /// Of its first bytes, which everybody has room for who is not there too often.
    small: Room,
    /// Of the rest.
    large: Room,
}

impl BodyRoom {
    /// Of an account. Until it has had an answer, it leaves some room to those that have.
    pub fn of(account: &str, is_earning: bool) -> Self {
        let (mut small, mut large) = (Room::of(Pool::Small, account), Room::of(Pool::Bodies, account));
        if !is_earning {
            (small.left, large.left) = (EARNED_SMALL_BYTES, EARNED_BYTES);
        }
        Self { small, large }
    }

    /// Of who is not asked for an account: operators, and small requests.
    pub fn of_sender(sender: &str) -> Self {
        Self::of(sender, false)
    }

    /// Of an address, where a body is read of whom nothing is known.
    pub fn of_stranger(address: &str) -> Self {
        Self { small: Room::of(Pool::Strangers, address), large: Room::of(Pool::Strangers, address) }
    }

    /// Takes what a body of so many bytes needs; false if there is not so much.
    pub fn hold(&mut self, bytes: usize) -> bool {
        let first = bytes.min(SMALL_BYTES);
        self.small.make(first) && self.large.make(bytes.saturating_sub(first))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.make(0);
    }
}

/// There is no room for one more.
pub fn no_room() -> Refusal {
    let message = "The gateway is taking in as many large requests as it has room for.";
    Refusal::new(Code::Unavailable, message, "Send the request again in a few seconds.").retry_after(2)
}

/// The capacity that a buffer grows to for what arrives: twice as much each time, but no more than was announced, or than there
/// may be.
pub fn grown(capacity: usize, needed: usize, most: usize) -> usize {
    if needed <= capacity {
        return capacity;
    }
    let twice = capacity.saturating_mul(2).max(FIRST_BYTES);
    needed.max(twice.min(most))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;
    const ALL: usize = Pool::Bodies.most().0;
    const OF_ONE: usize = Pool::Bodies.most().1;

    fn room(whose: &str) -> Room {
        Room::of(Pool::Bodies, whose)
    }

    fn taken(pool: Pool) -> (usize, usize) {
        TAKEN.with_borrow(|pools| pools.get(&pool).map_or((0, 0), |pool| (pool.all, pool.by.len())))
    }

    #[test]
    fn one_sender_leaves_room_for_the_others_and_small_bodies_have_their_own() {
        let mut big = BodyRoom::of("a", true);
        assert!(big.hold(OF_ONE + SMALL_BYTES));
        let mut more = BodyRoom::of("a", true);
        assert!(more.hold(SMALL_BYTES), "a small one");
        assert!(!more.hold(SMALL_BYTES + MIB));
        let (mut other, mut third) = (BodyRoom::of("b", true), BodyRoom::of("c", true));
        assert!(other.hold(ALL - OF_ONE + SMALL_BYTES));
        assert!(third.hold(SMALL_BYTES) && !third.hold(MIB));
        drop(other);
        assert!(third.hold(MIB));
        // Other things have their own room.
        assert!(Room::of(Pool::Remembered, "c").make(MIB));
        drop((big, more, third));
        assert_eq!((taken(Pool::Bodies), taken(Pool::Small)), ((0, 0), (0, 0)));
    }

    #[test]
    fn who_has_paid_nothing_leaves_room_for_who_has_however_many_they_are() {
        let mut strangers: Vec<BodyRoom> = (0..100).map(|number| BodyRoom::of(&number.to_string(), false)).collect();
        for place in &mut strangers {
            while place.hold(place.large.taken + SMALL_BYTES + MIB) {}
        }
        assert_eq!(taken(Pool::Bodies).0, ALL - EARNED_BYTES);
        let mut more: Vec<BodyRoom> = (0..1_000).map(|number| BodyRoom::of(&format!("more {number}"), false)).collect();
        more.retain_mut(|place| place.hold(SMALL_BYTES));
        assert_eq!(taken(Pool::Small).0, Pool::Small.most().0 - EARNED_SMALL_BYTES);
        let mut customer = BodyRoom::of("customer", true);
        assert!(customer.hold(EARNED_BYTES + SMALL_BYTES) && !customer.hold(EARNED_BYTES + SMALL_BYTES + MIB));
        // And who has paid does not have to be the first: what is left counts as it is.
        drop(strangers);
        assert!(customer.hold(OF_ONE + SMALL_BYTES));
        assert!(!BodyRoom::of("stranger", false).hold(SMALL_BYTES + MIB));
    }

    #[test]
    fn small_bodies_have_an_end_and_strangers_take_nothing_from_customers() {
        for (place, pool) in [
            ((|account| BodyRoom::of(account, true)) as fn(&str) -> BodyRoom, Pool::Small),
            (BodyRoom::of_stranger, Pool::Strangers),
        ] {
            let (all, of_one) = pool.most();
            let mut held = Vec::new();
            let mut fill = |whose: &str| {
                let before = held.len();
                while held.len() < 10_000 {
                    let mut one = place(whose);
                    if !one.hold(SMALL_BYTES) {
                        break;
                    }
                    held.push(one);
                }
                held.len() - before
            };
            assert_eq!(fill("a"), of_one / SMALL_BYTES);
            assert!(fill("b") > 0, "others have room");
            for number in 0..8 {
                fill(&number.to_string());
            }
            assert!(taken(pool).0 <= all);
            let mut customer = BodyRoom::of("customer", true);
            assert_eq!(customer.hold(MIB), pool == Pool::Strangers);
        }
    }

    #[test]
    fn a_body_gives_its_room_back() {
        let mut place = BodyRoom::of("a", false);
        assert!(place.hold(MIB));
        let body = Body::new(vec![1, 2], place);
        assert_eq!((&*body, taken(Pool::Bodies)), ([1, 2].as_slice(), (MIB - SMALL_BYTES, 1)));
        drop(body);
        assert_eq!((taken(Pool::Bodies), taken(Pool::Small)), ((0, 0), (0, 0)));
    }

    #[test]
    fn buffers_grow_with_what_arrives_and_not_with_what_was_announced() {
        let announced = 42 * MIB;
        assert_eq!(grown(0, 1, announced), FIRST_BYTES);
        assert_eq!(grown(0, 1, 10), 10);
        assert_eq!(grown(MIB, MIB, announced), MIB);
        assert_eq!(grown(32 * MIB, 32 * MIB + 1, announced), 42 * MIB);
        assert_eq!(grown(MIB, 5 * MIB, announced), 5 * MIB);
        // Who sends more than was announced gets what is needed.
        assert_eq!(grown(10, 11, 10), 11);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_the_sum_of_what_is_held(steps in prop::collection::vec((0_usize..6, 0_usize..64), 1..60)) {
            let mut rooms: Vec<Room> = (0..6).map(|number| room(["a", "b", "c"][number % 3])).collect();
            for (place, mib) in steps {
                let before = rooms[place].taken;
                let has_grown = mib * MIB > before;
                let made = rooms[place].make(mib * MIB);
                prop_assert_eq!(rooms[place].taken, if made { mib * MIB } else { before });
                prop_assert!(made || has_grown, "less is always possible");
                let sum: usize = rooms.iter().map(|room| room.taken).sum();
                prop_assert_eq!(taken(Pool::Bodies).0, sum);
                prop_assert!(sum <= ALL);
                for whose in ["a", "b", "c"] {
                    let of_one: usize = rooms.iter().filter(|room| &*room.whose == whose).map(|room| room.taken).sum();
                    prop_assert!(of_one <= OF_ONE);
                }
            }
            drop(rooms);
            prop_assert_eq!(taken(Pool::Bodies), (0, 0));
        }
    }
}
