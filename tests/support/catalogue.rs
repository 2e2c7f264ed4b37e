//! Where the catalogue is kept, in memory: the published one and the announced one in KV, every version in the history.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::value::RawValue;
use tokens_forge::catalog::{Announcement, Catalog, Published, Standing};
use tokens_forge::id::{KeyHash, ModelName};
use tokens_forge::key::KeyRecord;
use tokens_forge::ports::{
    Announced, Announcements, Publication, Publishing, Runtime, Settings, Sold, Unavailable, VersionRow, Versions,
};
use tokens_forge::routing::health::{Board, HealthView};
use tokens_forge::time::Timestamp;

use super::database::{Database, most};
use super::outside::{Outside, Yield};

/// What was announced stays beside what is published for this long.
const KEPT_MS: i64 = 300_000;

type Found<T> = Result<T, Unavailable>;

/// A version of the history with its document.
pub type Stored = (VersionRow, String);

/// What KV has.
#[derive(Default)]
pub struct Kv {
    pub catalog: Option<String>,
    pub next: Option<Announcement>,
    pub keys: BTreeMap<KeyHash, KeyRecord>,
    pub health: HealthView,
    pub board: Rc<Board>,
}

/// What this isolate has read.
#[derive(Default)]
pub struct Read {
    parsed: RefCell<HashMap<String, Rc<Catalog>>>,
    standing: RefCell<Option<Standing>>,
}

fn version_of(document: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(document).ok()?.get("version")?.as_u64()
}

impl Database {
    /// The newest document of the history that runs, or ran.
    fn newest(&self, now: Timestamp) -> Option<String> {
        let ran = |row: &VersionRow| row.withdrawn_at.is_none() && row.effective_at.is_none_or(|from| from <= now);
        self.versions.values().rev().find(|(row, _)| ran(row)).map(|(_, document)| document.clone())
    }

    /// The newest announcement, whether it was withdrawn, due or neither.
    fn newest_announced(&self) -> Option<&Stored> {
        self.versions.values().rev().find(|(row, _)| row.effective_at.is_some())
    }

    /// Marks announcements whose time has not come as withdrawn: all, or those below a version.
    fn mark_withdrawn(&mut self, below: Option<u64>, now: Timestamp) -> Vec<u64> {
        let is_ahead = |row: &VersionRow| row.withdrawn_at.is_none() && row.effective_at.is_some_and(|from| from > now);
        let ahead = self
            .versions
            .values_mut()
            .map(|(row, _)| row)
            .filter(|row| is_ahead(row) && below.is_none_or(|below| row.version < below));
        ahead.map(|row| (row.withdrawn_at = Some(now), row.version).1).collect()
    }
}

fn standing((row, document): &Stored) -> Option<Announcement> {
    let effective_at = row.effective_at.filter(|_| row.withdrawn_at.is_none())?;
    Some(Announcement {
        effective_at,
        version: row.version,
        author: row.author.clone(),
        on_behalf_of: row.on_behalf_of.clone(),
        reason: row.reason.clone(),
        document: RawValue::from_string(document.clone()).ok()?,
    })
}

/// A publication as the history has it.
fn stored(publication: &Publication, published_at: Timestamp) -> (u64, Stored) {
    let Publication { catalog, document, effective_at, author, on_behalf_of, reason, changes } = publication.clone();
    let row = VersionRow {
        version: catalog.version,
        published_at,
        effective_at,
        withdrawn_at: None,
        author: Some(author),
        on_behalf_of,
        reason,
        changes: Some(changes),
    };
    (catalog.version, (row, document))
}

impl Outside {
    fn check(&self, document: &str) -> Found<Published> {
        let mut parsed = self.0.read.parsed.borrow_mut();
        if !parsed.contains_key(document) {
            let catalog = Catalog::parse(document, self.hosts());
            let catalog = catalog.map_err(|faults| Unavailable(format!("the published catalogue is faulty: {faults:?}")))?;
            parsed.insert(document.to_owned(), Rc::new(catalog));
        }
        Ok(Published { catalog: Rc::clone(&parsed[document]), document: document.into() })
    }

    async fn newest(&self) -> Found<Option<String>> {
        let now = self.now();
        Ok(self.database().await?.newest(now))
    }

    /// The document that is published: KV's, or if it has none or fails, the newest of the history.
    async fn published(&self) -> Found<Option<String>> {
        match self.kv().map(|kv| kv.catalog.clone()) {
            Ok(Some(document)) => Ok(Some(document)),
            not_there => match (self.newest().await, not_there) {
                (Ok(document), _) => Ok(document),
                (Err(_), Ok(none)) => Ok(none),
                (Err(_), Err(error)) => Err(error),
            },
        }
    }

    /// What KV says is announced, or where KV fails, the history.
    async fn next(&self) -> Option<Announcement> {
        let of_kv = self.kv().map(|kv| kv.next.clone());
        match of_kv {
            Ok(next) => next,
            Err(_) => self.database().await.ok()?.newest_announced().and_then(standing),
        }
    }

    async fn renew(&self) -> Found<Standing> {
        let document = self.published().await;
        let next = self.next().await;
        let next = next.and_then(|next| Some((next.effective_at, self.check(next.document.get()).ok()?)));
        let nothing = || Unavailable(Unavailable::NO_CATALOG.to_owned());
        let running = match document.and_then(|document| self.check(&document.ok_or_else(nothing)?)) {
            Err(error) if error.0 != Unavailable::NO_CATALOG => {
                self.log(&error.0);
                self.newest().await?.ok_or_else(nothing).and_then(|document| self.check(&document))
            }
            read => read,
        };
        match (running, next) {
            (Ok(running), next) => Ok(Standing::new(running, next)),
            (Err(_), Some((from, first))) if from <= self.now() => Ok(Standing::new(first, None)),
            (Err(error), _) => Err(error),
        }
    }

    /// Puts a publication where isolates look, unless a later one is there.
    async fn put(&self, publication: &Publication) -> Found<()> {
        let (row, document) = stored(publication, self.now()).1;
        Yield(false).await;
        if let Some(announcement) = standing(&(row.clone(), document.clone())) {
            self.kv()?.next = Some(announcement);
            self.history(|database| drop(database.mark_withdrawn(Some(row.version), row.published_at))).await;
            let later = self.database().await.ok().and_then(|database| database.newest_announced().cloned());
            if let Some(later) = later.filter(|(later, _)| later.version > row.version).as_ref().and_then(standing) {
                self.kv()?.next = Some(later);
            }
        } else {
            self.kv()?.catalog = Some(document);
            let later = self.newest().await.ok().flatten().filter(|newest| version_of(newest) > Some(row.version));
            if let Some(later) = later {
                self.kv()?.catalog = Some(later);
            }
        }
        Ok(())
    }

    async fn history(&self, write: impl FnOnce(&mut Database)) {
        match self.database().await {
            Ok(mut database) => write(&mut database),
            Err(error) => self.log(&format!("catalogue history: {}", error.0)),
        }
    }
}

impl Sold for Outside {
    /// What was read before is used where nothing can be read.
    async fn catalog(&self) -> Found<Rc<Catalog>> {
        Yield(false).await;
        if let Some(given) = &self.0.given {
            return Ok(Rc::clone(given));
        }
        let renewed = self.renew().await;
        let mut standing = self.0.read.standing.borrow_mut();
        match (renewed, standing.is_some()) {
            (Ok(renewed), _) => *standing = Some(renewed),
            (Err(error), false) => return Err(error),
            (Err(_), true) => {}
        }
        Ok(Rc::clone(standing.as_mut().unwrap().at(self.now())))
    }
}

impl Announcements for Outside {
    async fn announced(&self) -> Option<Announced> {
        self.catalog().await.ok()?;
        let mut standing = self.0.read.standing.borrow_mut();
        let (effective_at, catalog) = standing.as_mut()?.next(self.now())?;
        Some(Announced { effective_at, version: catalog.version, catalog: Rc::clone(catalog) })
    }
}

impl Versions for Outside {
    async fn catalog_versions(&self, model: Option<&ModelName>, after: Option<u64>, limit: u32) -> Found<Vec<VersionRow>> {
        let database = self.database().await?;
        let of_model = |row: &VersionRow| {
            let mut row = row.clone();
            if let (Some(changes), Some(_)) = (&mut row.changes, model) {
                changes.retain(|change| change.model.as_ref() == model);
            }
            row
        };
        let changes_it = |row: &VersionRow| row.changes.as_ref().is_some_and(|changes| !changes.is_empty());
        let rows = database.versions.values().rev().map(|(row, _)| of_model(row));
        let rows = rows.filter(|row| after.is_none_or(|after| row.version < after));
        let rows = rows.filter(|row| model.is_none() || row.withdrawn_at.is_none() && changes_it(row));
        Ok(rows.take(most(limit)).collect())
    }

    async fn catalog_version(&self, version: u64) -> Found<Option<(VersionRow, String)>> {
        Ok(self.database().await?.versions.get(&version).cloned())
    }

    async fn newest_catalog_version(&self) -> u64 {
        let newest = self.database().await.ok().and_then(|database| database.versions.keys().next_back().copied());
        newest.unwrap_or(0).max(self.next().await.map_or(0, |next| next.version))
    }
}

impl Publishing for Outside {
    /// The newest of what KV has published, what was announced and is due, and the history.
    async fn catalog_document(&self) -> Found<Option<String>> {
        let (published, next, history) = (self.published().await, self.next().await, self.newest().await);
        let now = self.now();
        let due = next.filter(|next| next.is_due(now)).map(|next| next.document.get().to_owned());
        let due = due.filter(|document| self.check(document).is_ok());
        let known = [published?, history.unwrap_or_default(), due];
        Ok(known.into_iter().flatten().max_by_key(|document| version_of(document)))
    }

    async fn publish_catalog(&self, publication: Publication, raised: Option<Publication>) -> Found<bool> {
        if (publication.effective_at.is_some() || raised.is_some())
            && let Some(running) = self.catalog_document().await?
        {
            // KV has what runs, before it loses what was announced and is due.
            let mut kv = self.kv()?;
            if kv.catalog.as_deref().and_then(version_of) < version_of(&running) {
                kv.catalog = Some(running);
            }
        }
        let all: Vec<Publication> = raised.into_iter().chain([publication]).collect();
        let mut is_taken = false;
        let now = self.now();
        self.history(|database| {
            let first = all.iter().map(|publication| publication.catalog.version).min();
            is_taken = database.versions.keys().next_back().copied() >= first;
            if !is_taken {
                database.versions.extend(all.iter().map(|publication| stored(publication, now)));
            }
        })
        .await;
        if is_taken {
            return Ok(false);
        }
        for place in 0..all.len() {
            if let Err(error) = self.put(&all[place]).await {
                let lost = |database: &mut Database| {
                    for lost in &all[place..] {
                        database.versions.remove(&lost.catalog.version);
                    }
                };
                self.history(lost).await;
                return Err(error);
            }
        }
        Ok(true)
    }

    /// The history decides, as far as it knows of it.
    async fn announcement(&self) -> Found<Option<Announcement>> {
        let seen = self.next().await;
        let known = match self.database().await.map(|database| database.newest_announced().cloned()) {
            Ok(Some(row)) if seen.as_ref().is_none_or(|seen| seen.version <= row.0.version) => standing(&row),
            _ => seen,
        };
        Ok(known.filter(|known| !known.is_due(self.now())))
    }

    async fn withdraw_announced(&self) -> Found<Vec<u64>> {
        let now = self.now();
        let known = self.next().await.filter(|next| !next.is_due(now));
        self.kv()?.next = None;
        let mut versions = self.database().await?.mark_withdrawn(None, now);
        if let Some(known) = known
            && !versions.contains(&known.version)
            && self.catalog_version(known.version).await?.is_none()
        {
            versions.push(known.version);
        }
        Ok(versions)
    }

    async fn move_announced(&self) -> Found<()> {
        let now = self.now();
        let Some(next) = self.next().await.filter(|next| next.is_due(now)) else { return Ok(()) };
        let (running, announced, is_withdrawn) = {
            let database = self.database().await?;
            let stands = |row: &&VersionRow| row.withdrawn_at.is_none();
            let rows = || database.versions.values().map(|(row, _)| row).filter(stands);
            let is_due = |row: &&VersionRow| row.effective_at.is_none_or(|from| from <= now);
            let newest = |due: bool| rows().filter(|row| is_due(row) == due).map(|row| row.version).max().unwrap_or(0);
            let stored = database.versions.get(&next.version);
            (newest(true), newest(false), stored.is_some_and(|(row, _)| row.withdrawn_at.is_some()))
        };
        if announced > next.version {
            return Ok(());
        }
        if is_withdrawn || running > next.version {
            self.kv()?.next = None;
            return Ok(());
        }
        if let Err(error) = self.check(next.document.get()) {
            self.log(&format!("version {} was announced and is not used: {}", next.version, error.0));
            if let Some((row, _)) = self.database().await?.versions.get_mut(&next.version) {
                row.withdrawn_at = Some(now);
            }
            self.kv()?.next = None;
            return Ok(());
        }
        let published = self.kv()?.catalog.as_deref().and_then(version_of);
        if published.is_none_or(|published| published < next.version) {
            self.kv()?.catalog = Some(next.document.get().to_owned());
            // The history may have missed the announcement.
            let row = VersionRow {
                version: next.version,
                published_at: now,
                effective_at: Some(next.effective_at),
                withdrawn_at: None,
                author: next.author,
                on_behalf_of: next.on_behalf_of,
                reason: next.reason,
                changes: None,
            };
            let mut database = self.database().await?;
            database.versions.entry(next.version).or_insert_with(|| (row, next.document.get().to_owned()));
        } else if next.effective_at.plus(KEPT_MS) <= now {
            self.kv()?.next = None;
        }
        Ok(())
    }
}
