//! What this isolate remembers: copies of the catalogue, of keys and of health. Plain values, shared by its requests.
//!
//! What always holds: nothing about money depends on how old a copy is; the account object has the last word.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::catalog::{Catalog, Published, Standing};
use crate::id::{KeyHash, SecretName};
use crate::key::KeyRecord;
use crate::ports::Kept;
use crate::routing::health::{Board, CandidateId, HealthView, Observation, StatusChange};
use crate::time::{MINUTE_MS, Timestamp};

/// A copy is as good as new for this long, in milliseconds.
const FRESH_MS: u64 = 30_000;
/// A key's copy is used while it is renewed for this long.
const USABLE_MS: u64 = MINUTE_MS.unsigned_abs();
/// What pages show of the history may be so old, in milliseconds.
const SHOWN_MS: u64 = 5_000;
/// While one request makes a page anew, others are shown the last one for this long, in milliseconds.
const ANEW_MS: u64 = 1_000;
/// Pages of more bytes together than this are forgotten all at once.
const MOST_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// A key that nobody has is not looked up again for this long, in milliseconds.
const UNKNOWN_MS: u64 = 30_000;
/// More keys than this are forgotten all at once.
const MOST_KEYS: usize = 2_000;

thread_local! {
    static CATALOG: RefCell<Option<Copied<Standing>>> = const { RefCell::new(None) };
    static KEYS: RefCell<HashMap<KeyHash, Copied<KeyRecord>>> = RefCell::new(HashMap::new());
    static UNKNOWN: RefCell<HashMap<KeyHash, Timestamp>> = RefCell::new(HashMap::new());
    static COOLING: RefCell<HashMap<SecretName, Timestamp>> = RefCell::new(HashMap::new());
    static BOARD: RefCell<Copied<Rc<Board>>> = RefCell::new(Copied { value: Rc::default(), at: Timestamp::from_millis(0) });
    static PAGES: RefCell<HashMap<String, Shown>> = RefCell::new(HashMap::new());
    static CHANGES: RefCell<Option<Copied<Rc<Changes>>>> = const { RefCell::new(None) };
    static HEALTH: RefCell<Copied<Rc<HealthView>>> = RefCell::new(Copied { value: Rc::default(), at: Timestamp::from_millis(0) });
}

/// By `channel/upstream_model`.
type Changes = BTreeMap<String, Vec<StatusChange>>;

struct Copied<T> {
    value: T,
    at: Timestamp,
}

struct Shown {
    page: Kept,
    at: Timestamp,
    /// When somebody began to make it anew.
    anew_at: Timestamp,
}

/// How good a copy is.
pub enum Age<T> {
    /// As good as new.
    Fresh(T),
    /// Good enough while it is renewed.
    Stale(T),
    /// Only if nothing better can be had.
    Old(T),
    /// There is none.
    Missing,
}

/// The catalogue that is in use. It is renewed behind the requests, however old the copy is; one that was announced is in use from
/// its time on, without being renewed.
pub fn catalog(now: Timestamp) -> Age<Rc<Catalog>> {
    CATALOG.with_borrow_mut(|copy| match copy {
        None => Age::Missing,
        Some(copy) if now.since(copy.at) < FRESH_MS => Age::Fresh(Rc::clone(copy.value.at(now))),
        Some(copy) => {
            // The one that is told it is stale renews it; the others go on.
            copy.at = now;
            Age::Stale(Rc::clone(copy.value.at(now)))
        }
    })
}

/// The catalogue that is announced, and from when.
pub fn announced(now: Timestamp) -> Option<(Timestamp, Rc<Catalog>)> {
    CATALOG.with_borrow_mut(|copy| copy.as_mut()?.value.next(now).map(|(from, next)| (from, Rc::clone(next))))
}

/// What is known already of this document.
pub fn read_from(document: &str) -> Option<Published> {
    CATALOG.with_borrow(|copy| copy.as_ref()?.value.read_from(document).cloned())
}

/// Uses these catalogues from now on.
pub fn put_standing(standing: Standing, now: Timestamp) {
    CATALOG.with_borrow_mut(|copy| *copy = Some(Copied { value: standing, at: now }));
}

/// Uses this catalogue from now on. What is announced stays so.
pub fn put_catalog(published: Published, now: Timestamp) {
    CATALOG.with_borrow_mut(|copy| match copy {
        Some(copy) => {
            copy.value.publish(published);
            copy.at = now;
        }
        None => *copy = Some(Copied { value: Standing::new(published, None), at: now }),
    });
}

/// Notes what is announced, or that nothing is. An isolate that has no catalogue yet reads both when it needs one.
pub fn put_announced(next: Option<(Timestamp, Published)>) {
    CATALOG.with_borrow_mut(|copy| {
        if let Some(copy) = copy {
            copy.value.announce(next);
        }
    });
}

/// The key of this hash.
pub fn key(hash: &KeyHash, now: Timestamp) -> Age<KeyRecord> {
    KEYS.with_borrow_mut(|keys| match keys.get_mut(hash) {
        None => Age::Missing,
        Some(copy) => match now.since(copy.at) {
            age if age < FRESH_MS => Age::Fresh(copy.value.clone()),
            age if age < USABLE_MS => Age::Stale(copy.value.clone()),
            _ => Age::Old(copy.value.clone()),
        },
    })
}

/// Remembers a key.
pub fn put_key(record: &KeyRecord, now: Timestamp) {
    KEYS.with_borrow_mut(|keys| {
        if keys.len() >= MOST_KEYS {
            keys.clear();
        }
        keys.insert(record.hash.clone(), Copied { value: record.clone(), at: now });
    });
    UNKNOWN.with_borrow_mut(|unknown| unknown.remove(&record.hash));
}

/// Remembers that nobody has a key, and forgets whoever had it.
pub fn put_unknown(hash: &KeyHash, now: Timestamp) {
    KEYS.with_borrow_mut(|keys| keys.remove(hash));
    UNKNOWN.with_borrow_mut(|unknown| {
        if unknown.len() >= MOST_KEYS {
            unknown.clear();
        }
        unknown.insert(hash.clone(), now);
    });
}

/// Whether nobody had a key, some seconds ago.
pub fn is_unknown(hash: &KeyHash, now: Timestamp) -> bool {
    UNKNOWN.with_borrow(|unknown| unknown.get(hash).is_some_and(|at| now.since(*at) < UNKNOWN_MS))
}

/// Whether it is known whose a key is, or that it is nobody's.
pub fn remembers(hash: &KeyHash, now: Timestamp) -> bool {
    KEYS.with_borrow(|keys| keys.contains_key(hash)) || is_unknown(hash, now)
}

/// Until when a credential rests; none if it does not.
pub fn cooling(secret: &SecretName, now: Timestamp) -> Option<Timestamp> {
    COOLING.with_borrow(|cooling| cooling.get(secret).copied()).filter(|until| *until > now)
}

/// Lets a credential rest, in this isolate. There are as many as the catalogue names.
pub fn cool_down(secret: &SecretName, until: Timestamp) {
    COOLING.with_borrow_mut(|cooling| cooling.insert(secret.clone(), until));
}

/// What is known of the candidates, and whether it is to be renewed.
pub fn health(now: Timestamp) -> (Rc<HealthView>, bool) {
    HEALTH.with_borrow_mut(|copy| {
        let is_stale = now.since(copy.at) >= FRESH_MS;
        if is_stale {
            copy.at = now;
        }
        (Rc::clone(&copy.value), is_stale)
    })
}

/// What the last round came to, and whether it is to be read again.
pub fn board(now: Timestamp) -> (Rc<Board>, bool) {
    BOARD.with_borrow(|copy| (Rc::clone(&copy.value), now.since(copy.at) >= FRESH_MS))
}

/// Shows this board from now on, unless a later one is known.
pub fn put_board(board: Rc<Board>, now: Timestamp) -> Rc<Board> {
    BOARD.with_borrow_mut(|copy| {
        copy.at = now;
        if board.at >= copy.value.at {
            copy.value = board;
        }
        Rc::clone(&copy.value)
    })
}

/// How the status of candidates changed, as it was read some seconds ago.
pub fn changes(now: Timestamp) -> Option<Rc<Changes>> {
    CHANGES.with_borrow(|copy| copy.as_ref().filter(|copy| now.since(copy.at) < SHOWN_MS).map(|copy| Rc::clone(&copy.value)))
}

/// Remembers how they changed.
pub fn put_changes(changes: Rc<Changes>, now: Timestamp) -> Rc<Changes> {
    CHANGES.with_borrow_mut(|copy| *copy = Some(Copied { value: Rc::clone(&changes), at: now }));
    changes
}

/// A page that was made some seconds ago. When it is too old, one asks in vain and makes it anew, and others see it meanwhile: not
/// everybody who waits for a page makes it.
pub fn page(address: &str, now: Timestamp) -> Option<Kept> {
    PAGES.with_borrow_mut(|pages| {
        let shown = pages.get_mut(address)?;
        let is_made_anew = now.since(shown.at) < 2 * SHOWN_MS && now.since(shown.anew_at) < ANEW_MS;
        if now.since(shown.at) < SHOWN_MS || is_made_anew {
            return Some(shown.page.clone());
        }
        shown.anew_at = now;
        None
    })
}

/// Remembers a page.
pub fn put_page(address: String, page: Kept, now: Timestamp) {
    PAGES.with_borrow_mut(|pages| {
        let bytes = pages.values().fold(page.body.len(), |sum, shown| sum.saturating_add(shown.page.body.len()));
        if bytes > MOST_PAGE_BYTES {
            pages.clear();
        }
        pages.insert(address, Shown { page, at: now, anew_at: Timestamp::default() });
    });
}

/// Takes over what others saw later.
pub fn merge_health(other: &HealthView) {
    HEALTH.with_borrow_mut(|copy| Rc::make_mut(&mut copy.value).merge(other));
}

/// Notes what this isolate saw. Requests that plan by the view share it: it is copied when there is news, and only then.
pub fn observe(candidate: &CandidateId, seen: Observation, now: Timestamp) {
    HEALTH.with_borrow_mut(|copy| {
        if copy.value.is_news(candidate, &seen, now) {
            Rc::make_mut(&mut copy.value).observe(candidate, seen, now);
        }
    });
}
