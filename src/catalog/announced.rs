//! Which catalogue is in use when another is announced: a copy that switches by the clock, without asking anybody.
//!
//! What always holds: before its time an announced catalogue is not in use, from its time on it is, and then the one before it is
//! never in use again; one whose version is not above the running one has been overtaken and is never in use.
//!
//! Deliberately absent: where the copies come from, and how the announced one becomes the published one.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::version::Catalog;
use crate::time::Timestamp;

/// A catalogue with the document that it was read from.
#[derive(Debug, Clone)]
pub struct Published {
    /// What it says.
    pub catalog: Rc<Catalog>,
    /// The text.
    pub document: Rc<str>,
}

/// A catalogue that is to take effect at a time, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Announcement {
    /// When.
    pub effective_at: Timestamp,
    /// Its version; the document says the same.
    pub version: u64,
    /// Who announced it.
    #[serde(default)]
    pub author: Option<String>,
    /// For whom, as the client said it.
    #[serde(default)]
    pub on_behalf_of: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// The whole of it.
    pub document: Box<RawValue>,
}

impl Announcement {
    /// Whether its time has come.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.effective_at <= now
    }
}

/// What is in use, and what will be.
#[derive(Debug)]
pub struct Standing {
    running: Published,
    next: Option<(Timestamp, Published)>,
}

impl Standing {
    /// The running catalogue, with the one that is announced.
    pub fn new(running: Published, next: Option<(Timestamp, Published)>) -> Self {
        let next = next.filter(|(_, next)| next.catalog.version > running.catalog.version);
        Self { running, next }
    }

    /// The catalogue that is in use now.
    pub fn at(&mut self, now: Timestamp) -> &Rc<Catalog> {
        if let Some((_, due)) = self.next.take_if(|(from, _)| *from <= now) {
            self.running = due;
        }
        &self.running.catalog
    }

    /// The one that is announced, and from when; none once it is in use.
    pub fn next(&mut self, now: Timestamp) -> Option<(Timestamp, &Rc<Catalog>)> {
        self.at(now);
        self.next.as_ref().map(|(from, next)| (*from, &next.catalog))
    }

    /// The one that was read from this document, so that it need not be read again.
    pub fn read_from(&self, document: &str) -> Option<&Published> {
        let known = [Some(&self.running), self.next.as_ref().map(|(_, next)| next)];
        known.into_iter().flatten().find(|published| *published.document == *document)
    }

    /// Announces this, or nothing.
    pub fn announce(&mut self, next: Option<(Timestamp, Published)>) {
        self.next = next.filter(|(_, next)| next.catalog.version > self.running.catalog.version);
    }

    /// Publishes this now. What is announced stays, unless it has been overtaken.
    pub fn publish(&mut self, running: Published) {
        self.running = running;
        let next = self.next.take();
        self.announce(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::UpstreamHosts;

    fn published(version: u64) -> Published {
        let document = format!(r#"{{"version": {version}, "buckets": {{}}, "channels": {{}}, "models": {{}}}}"#);
        Published {
            catalog: Rc::new(Catalog::parse(&document, UpstreamHosts::Public).unwrap()),
            document: document.as_str().into(),
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_announced_catalogue_is_in_use_from_its_time_on_and_for_good() {
        let mut standing = Standing::new(published(1), Some((at(1_000), published(2))));
        for (now, version, next) in [(0, 1, Some(2)), (999, 1, Some(2)), (1_000, 2, None), (1_001, 2, None), (999, 2, None)] {
            assert_eq!(standing.at(at(now)).version, version, "at {now}");
            assert_eq!(standing.next(at(now)).map(|(_, next)| next.version), next, "at {now}");
        }
    }

    #[test]
    fn an_overtaken_announcement_is_never_in_use() {
        let overtaken = || Some((at(1_000), published(2)));
        let mut replaced = Standing::new(published(1), overtaken());
        replaced.publish(published(3));
        let mut late = Standing::new(published(3), None);
        late.announce(overtaken());
        for standing in [&mut replaced, &mut late, &mut Standing::new(published(2), overtaken())] {
            let before = standing.at(at(0)).version;
            assert_eq!(standing.at(at(2_000)).version, before);
        }
    }

    #[test]
    fn a_publication_keeps_what_is_announced_above_it_and_a_withdrawal_ends_it() {
        let mut standing = Standing::new(published(1), Some((at(1_000), published(5))));
        standing.publish(published(3));
        assert_eq!(standing.at(at(999)).version, 3);
        assert_eq!(standing.next(at(999)).map(|(from, next)| (from, next.version)), Some((at(1_000), 5)));
        standing.announce(None);
        assert_eq!(standing.at(at(1_000)).version, 3);
    }

    #[test]
    fn documents_that_are_known_are_found_again() {
        let standing = Standing::new(published(1), Some((at(1_000), published(2))));
        for version in [1, 2] {
            let known = standing.read_from(&published(version).document).unwrap();
            assert_eq!(known.catalog.version, version);
        }
        assert!(standing.read_from(&published(3).document).is_none());
    }

    #[test]
    fn an_announcement_is_stored_with_its_document_as_it_is() {
        let text = r#"{"effective_at":"2027-01-01T00:00:00Z","version":2,"document":{"version": 2,  "models":{}}}"#;
        let read: Announcement = serde_json::from_str(text).unwrap();
        assert_eq!(read.document.get(), r#"{"version": 2,  "models":{}}"#);
        assert!(read.is_due(read.effective_at) && !read.is_due(read.effective_at.plus(-1)));
    }
}
