//! Where the catalogue is kept: the published one in KV under `catalog`, the announced one under `catalog:next`, and every version
//! in D1.
//!
//! What always holds: an isolate that has read both runs by the clock and needs neither until it renews them. What is announced
//! becomes the published one only if the history says that it was neither withdrawn nor replaced, since a location may see what KV
//! had a minute ago. Every step can be done again.

use std::rc::Rc;

use futures_util::future::join;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;

use super::bound::{number, text};
use super::outside::{Fetched, Outside, failed};
use super::{cache, clock};
use crate::catalog::{Announcement, Catalog, Change, Published, Standing};
use crate::id::ModelName;
use crate::ports::{
    Announced, Announcements, Publication, Publishing, Runtime, Settings, Sold, Unavailable, VersionRow, Versions,
};
use crate::time::Timestamp;

const CATALOG_KEY: &str = "catalog";
const NEXT_KEY: &str = "catalog:next";
/// What was announced stays beside what is published for this long: a location that still has the catalogue of before from KV runs
/// by this, and does not fall back.
const KEPT_MS: i64 = 300_000;

/// Reads the catalogue that is published now and the one that is announced, and keeps what is new of them.
pub async fn renew(outside: &Outside) -> Fetched<Rc<Catalog>> {
    let (document, next) = join(published(outside), next(outside)).await;
    let now = clock::now();
    let next = next.and_then(|next| match check(outside, next.document.get()) {
        Ok(catalog) => Some((next.effective_at, catalog)),
        Err(error) => {
            if next.is_due(now) {
                outside.log(&format!("the announced catalogue is not used: {}", error.0));
            }
            None
        }
    });
    let running = match document.and_then(|document| checked(outside, document)) {
        Err(error) if error.0 != Unavailable::NO_CATALOG => {
            // What stands in KV cannot be read: the history has the last one that could.
            outside.log(&error.0);
            checked(outside, newest(outside).await?)
        }
        read => read,
    };
    let mut standing = match (running, next) {
        (Ok(running), next) => Standing::new(running, next),
        // The first catalogue of all may be an announced one.
        (Err(_), Some((from, first))) if from <= now => Standing::new(first, None),
        (Err(error), _) => return Err(error),
    };
    let catalog = Rc::clone(standing.at(now));
    cache::put_standing(standing, now);
    Ok(catalog)
}

/// The document that is published: KV's, or if it has none or fails, the newest of the history.
async fn published(outside: &Outside) -> Fetched<Option<String>> {
    match outside.kv_text(CATALOG_KEY).await {
        Ok(Some(document)) => Ok(Some(document)),
        not_there => {
            if let Err(error) = &not_there {
                outside.log(&format!("kv: {}", error.0));
            }
            match (newest(outside).await, not_there) {
                (Ok(document), _) => Ok(document),
                // A new deployment has neither: no catalogue is an answer while KV gives one.
                (Err(_), Ok(none)) => Ok(none),
                (Err(_), Err(error)) => Err(error),
            }
        }
    }
}

/// What KV says is announced, or where KV fails, the history.
async fn next(outside: &Outside) -> Option<Announcement> {
    let read = match outside.kv_text(NEXT_KEY).await {
        Ok(text) => text.map(|text| serde_json::from_str(&text).map_err(failed)).transpose(),
        Err(_) => newest_announced(outside).await.map(|row| row.and_then(AnnouncedRow::standing)),
    };
    read.unwrap_or_else(|error| {
        outside.log(&format!("announced catalogue: {}", error.0));
        None
    })
}

fn checked(outside: &Outside, document: Option<String>) -> Fetched<Published> {
    check(outside, &document.ok_or_else(|| Unavailable(Unavailable::NO_CATALOG.to_owned()))?)
}

/// Reads a document, unless it is one of those in use.
fn check(outside: &Outside, document: &str) -> Fetched<Published> {
    if let Some(known) = cache::read_from(document) {
        return Ok(known);
    }
    let catalog = Catalog::parse(document, outside.hosts()).map_err(|faults| {
        Unavailable(format!("the published catalogue is faulty: {}", faults.first().map(ToString::to_string).unwrap_or_default()))
    })?;
    Ok(Published { catalog: Rc::new(catalog), document: document.into() })
}

/// The newest document of the history that runs, or ran.
async fn newest(outside: &Outside) -> Fetched<Option<String>> {
    let statement = "SELECT document AS doc FROM catalog_versions
        WHERE withdrawn_at IS NULL AND (effective_at IS NULL OR effective_at <= CAST(?1 AS INTEGER)) ORDER BY version DESC LIMIT 1";
    Ok(outside.texts(statement, &[number(clock::now().millis())]).await?.into_iter().next())
}

fn version_of(document: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    serde_json::from_str::<Versioned>(document).ok().map(|document| document.version)
}

/// The document that runs now: the newest of what KV has published, what was announced and is due, and the history.
async fn document(outside: &Outside) -> Fetched<Option<String>> {
    let ((published, next), history) = join(join(published(outside), next(outside)), newest(outside)).await;
    let now = clock::now();
    let due = next.filter(|next| next.is_due(now)).map(|next| next.document.get().to_owned());
    let due = due.filter(|document| check(outside, document).is_ok());
    let known = [published?, history.unwrap_or_default(), due];
    // Of equals the last counts; what cannot be read is better than nothing.
    Ok(known.into_iter().flatten().max_by_key(|document| version_of(document)))
}

/// The newest version that was ever published or announced.
async fn newest_version(outside: &Outside) -> u64 {
    let statement = "SELECT CAST(COALESCE(MAX(version), 0) AS TEXT) AS doc FROM catalog_versions";
    let (newest, next) = join(outside.d1::<u64>(statement, &[]), next(outside)).await;
    let newest = newest.inspect_err(|error| outside.log(&format!("catalogue history: {}", error.0)));
    let newest = newest.ok().and_then(|rows| rows.first().copied()).unwrap_or(0);
    newest.max(next.map_or(0, |next| next.version))
}

/// Publishes or announces. The history gives each version out once; where it cannot, KV alone has the word, and the history lags
/// behind.
async fn publish(outside: &Outside, publication: &Publication, raised: Option<&Publication>) -> Fetched<bool> {
    if publication.effective_at.is_some() || raised.is_some() {
        publish_running(outside).await?;
    }
    match claim(outside, publication, raised).await {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(error) => outside.log(&format!("catalogue history: {}", error.0)),
    }
    // What is announced first: should the publication fail, it is none the worse.
    let mut all = raised.into_iter().chain([publication]);
    while let Some(next) = all.next() {
        if let Err(error) = put(outside, next).await {
            for lost in std::iter::once(next).chain(all) {
                give_back(outside, lost.catalog.version).await;
            }
            return Err(error);
        }
    }
    Ok(true)
}

/// Puts a publication where isolates look, unless a later one is there.
async fn put(outside: &Outside, publication: &Publication) -> Fetched<()> {
    let Publication { catalog, document, effective_at, .. } = publication;
    let (published, version) = (Published { catalog: Rc::clone(catalog), document: document.as_str().into() }, catalog.version);
    if let Some(from) = *effective_at {
        let announcement = Announcement {
            effective_at: from,
            version,
            author: Some(publication.author.clone()),
            on_behalf_of: publication.on_behalf_of.clone(),
            reason: publication.reason.clone(),
            document: RawValue::from_string(document.clone()).map_err(failed)?,
        };
        outside.kv_put(NEXT_KEY, &serde_json::to_string(&announcement).map_err(failed)?).await?;
        cache::put_announced(Some((from, published)));
        if let Err(error) = mark_withdrawn(outside, Some(version)).await {
            outside.log(&format!("catalogue history: {}", error.0));
        }
        // One that took a later version at the same time may have been here first.
        let later = newest_announced(outside).await.ok().flatten().filter(|row| row.version > version);
        if let Some(later) = later.and_then(AnnouncedRow::standing) {
            outside.kv_put(NEXT_KEY, &serde_json::to_string(&later).map_err(failed)?).await?;
        }
    } else {
        outside.kv_put(CATALOG_KEY, document).await?;
        cache::put_catalog(published, clock::now());
        let later = newest(outside).await.ok().flatten().filter(|newest| version_of(newest) > Some(version));
        if let Some(later) = later {
            outside.kv_put(CATALOG_KEY, &later).await?;
        }
    }
    Ok(())
}

/// Makes sure that KV has what runs, before it loses what was announced and is due.
async fn publish_running(outside: &Outside) -> Fetched<()> {
    let (running, published) = join(document(outside), outside.kv_text(CATALOG_KEY)).await;
    let Some(running) = running? else { return Ok(()) };
    let published = published?.as_deref().and_then(version_of);
    if published < version_of(&running) { outside.kv_put(CATALOG_KEY, &running).await } else { Ok(()) }
}

/// Notes a publication, and what is announced above it, under their versions, in one statement. False, and nothing is noted, where
/// the history has one of these or a later one.
async fn claim(outside: &Outside, publication: &Publication, raised: Option<&Publication>) -> Fetched<bool> {
    let statement =
        "INSERT INTO catalog_versions (version, published_at, document, author, reason, effective_at, changes, on_behalf_of)
        SELECT value->>'version', CAST(?1 AS INTEGER), CASE key WHEN 0 THEN ?3 ELSE ?4 END, value->>'author', value->>'reason',
          value->>'effective_at', value->>'changes', value->>'on_behalf_of' FROM json_each(?2)
        WHERE NOT EXISTS (SELECT 1 FROM catalog_versions WHERE version >= CAST(?5 AS INTEGER)) RETURNING CAST(version AS TEXT) AS doc";
    let row = |publication: &Publication| {
        let Publication { catalog, effective_at, author, on_behalf_of, reason, changes, .. } = publication;
        json!({"version": catalog.version, "author": author, "reason": reason, "effective_at": effective_at.map(Timestamp::millis),
            "changes": changes, "on_behalf_of": on_behalf_of})
    };
    let rows: Vec<Value> = [publication].into_iter().chain(raised).map(row).collect();
    let values = [
        number(clock::now().millis()),
        Value::from(rows).to_string().into(),
        publication.document.as_str().into(),
        text(raised.map(|raised| raised.document.as_str())),
        number(publication.catalog.version),
    ];
    Ok(!outside.texts(statement, &values).await?.is_empty())
}

/// Removes from the history what was noted and never came where isolates look: it does not run.
async fn give_back(outside: &Outside, version: u64) {
    let statement = "DELETE FROM catalog_versions WHERE version = CAST(?1 AS INTEGER)";
    if let Err(error) = outside.texts(statement, &[number(version)]).await {
        outside.log(&format!("catalogue history: {}", error.0));
    }
}

/// Marks announcements whose time has not come as withdrawn: all, or those below a version.
async fn mark_withdrawn(outside: &Outside, below: Option<u64>) -> Fetched<Vec<u64>> {
    let statement = "UPDATE catalog_versions SET withdrawn_at = CAST(?1 AS INTEGER)
        WHERE withdrawn_at IS NULL AND effective_at > CAST(?1 AS INTEGER) AND (?2 IS NULL OR version < CAST(?2 AS INTEGER))
        RETURNING CAST(version AS TEXT) AS doc";
    outside.d1(statement, &[number(clock::now().millis()), below.map_or(JsValue::NULL, number)]).await
}

/// Withdraws what is announced. First where isolates look; if the history then fails, the same again does the rest.
async fn withdraw(outside: &Outside) -> Fetched<Vec<u64>> {
    let known = next(outside).await.filter(|next| !next.is_due(clock::now()));
    outside.kv_delete(NEXT_KEY).await?;
    cache::put_announced(None);
    let mut versions = mark_withdrawn(outside, None).await?;
    // A location may see for a minute what was withdrawn already; only what the history does not know is news.
    if let Some(known) = known
        && !versions.contains(&known.version)
        && outside.catalog_version(known.version).await?.is_none()
    {
        versions.push(known.version);
    }
    Ok(versions)
}

/// An announcement of the history.
#[derive(Deserialize)]
struct AnnouncedRow {
    version: u64,
    effective_at: i64,
    withdrawn: u8,
    author: Option<String>,
    on_behalf_of: Option<String>,
    reason: Option<String>,
    document: String,
}

impl AnnouncedRow {
    /// The announcement, unless it was withdrawn.
    fn standing(self) -> Option<Announcement> {
        let document = RawValue::from_string(self.document).ok().filter(|_| self.withdrawn == 0)?;
        let (effective_at, version) = (Timestamp::from_millis(self.effective_at), self.version);
        let Self { author, on_behalf_of, reason, .. } = self;
        Some(Announcement { effective_at, version, author, on_behalf_of, reason, document })
    }
}

async fn newest_announced(outside: &Outside) -> Fetched<Option<AnnouncedRow>> {
    let statement = "SELECT json_object('version', version, 'effective_at', effective_at, 'withdrawn', withdrawn_at IS NOT NULL,
        'author', author, 'on_behalf_of', on_behalf_of, 'reason', reason, 'document', document) AS doc
        FROM catalog_versions WHERE effective_at IS NOT NULL ORDER BY version DESC LIMIT 1";
    Ok(outside.d1(statement, &[]).await?.into_iter().next())
}

/// The announcement whose time has not come. The history decides, as far as it knows of it.
async fn announcement(outside: &Outside) -> Fetched<Option<Announcement>> {
    let (row, seen) = join(newest_announced(outside), next(outside)).await;
    let known = match row {
        Ok(Some(row)) if seen.as_ref().is_none_or(|seen| seen.version <= row.version) => row.standing(),
        Ok(_) => seen,
        Err(error) => {
            outside.log(&format!("catalogue history: {}", error.0));
            seen
        }
    };
    Ok(known.filter(|known| !known.is_due(clock::now())))
}

/// Makes what is announced and due the published catalogue. What is removed of it is removed some minutes later.
async fn take_over(outside: &Outside) -> Fetched<()> {
    let now = clock::now();
    let Some(next) = next(outside).await.filter(|next| next.is_due(now)) else { return Ok(()) };
    let statement = "SELECT json_array(COALESCE(MAX(CASE WHEN effective_at IS NULL OR effective_at <= CAST(?2 AS INTEGER) THEN version END), 0),
        COALESCE(MAX(CASE WHEN effective_at > CAST(?2 AS INTEGER) THEN version END), 0),
        EXISTS (SELECT 1 FROM catalog_versions WHERE version = CAST(?1 AS INTEGER) AND withdrawn_at IS NOT NULL)) AS doc
        FROM catalog_versions WHERE withdrawn_at IS NULL";
    let rows: Vec<(u64, u64, u8)> = outside.d1(statement, &[number(next.version), number(now.millis())]).await?;
    let (running, announced, withdrawn) = rows.first().copied().unwrap_or_default();
    if announced > next.version {
        // Another one stands under this name by now, which this location does not see yet.
        return Ok(());
    }
    if withdrawn != 0 || running > next.version {
        return outside.kv_delete(NEXT_KEY).await;
    }
    if let Err(error) = check(outside, next.document.get()) {
        outside.log(&format!("version {} was announced and is not used: {}", next.version, error.0));
        let statement = "UPDATE catalog_versions SET withdrawn_at = CAST(?2 AS INTEGER) WHERE version = CAST(?1 AS INTEGER)";
        outside.texts(statement, &[number(next.version), number(now.millis())]).await?;
        return outside.kv_delete(NEXT_KEY).await;
    }
    let published = outside.kv_text(CATALOG_KEY).await?.as_deref().and_then(version_of);
    if published.is_none_or(|published| published < next.version) {
        outside.kv_put(CATALOG_KEY, next.document.get()).await?;
        // The history may have missed the announcement.
        let statement =
            "INSERT OR IGNORE INTO catalog_versions (version, published_at, document, author, reason, effective_at, on_behalf_of)
            VALUES (CAST(?1 AS INTEGER), CAST(?2 AS INTEGER), ?3, ?4, ?5, CAST(?6 AS INTEGER), ?7)";
        let Announcement { effective_at, version, author, on_behalf_of, reason, document } = &next;
        let values = [
            number(version),
            number(now.millis()),
            document.get().into(),
            text(author.as_deref()),
            text(reason.as_deref()),
            number(effective_at.millis()),
            text(on_behalf_of.as_deref()),
        ];
        return outside.texts(statement, &values).await.map(|_| ());
    }
    if next.effective_at.plus(KEPT_MS) <= now { outside.kv_delete(NEXT_KEY).await } else { Ok(()) }
}

/// A row of the history as SQL gives it.
#[derive(Deserialize)]
struct Row {
    version: u64,
    published_at: i64,
    effective_at: Option<i64>,
    withdrawn_at: Option<i64>,
    author: Option<String>,
    on_behalf_of: Option<String>,
    reason: Option<String>,
    changes: Option<Vec<Change>>,
    #[serde(default)]
    document: String,
}

impl Row {
    fn read(self) -> (VersionRow, String) {
        let row = VersionRow {
            version: self.version,
            published_at: Timestamp::from_millis(self.published_at),
            effective_at: self.effective_at.map(Timestamp::from_millis),
            withdrawn_at: self.withdrawn_at.map(Timestamp::from_millis),
            author: self.author,
            on_behalf_of: self.on_behalf_of,
            reason: self.reason,
            changes: self.changes,
        };
        (row, self.document)
    }
}

const FIELDS: &str =
    "'version', version, 'published_at', published_at, 'effective_at', effective_at, 'withdrawn_at', withdrawn_at,
    'author', author, 'on_behalf_of', on_behalf_of, 'reason', reason, 'changes', json(changes)";

impl Publishing for Outside {
    async fn catalog_document(&self) -> Fetched<Option<String>> {
        document(self).await
    }

    async fn publish_catalog(&self, publication: Publication, raised: Option<Publication>) -> Fetched<bool> {
        publish(self, &publication, raised.as_ref()).await
    }

    async fn announcement(&self) -> Fetched<Option<Announcement>> {
        announcement(self).await
    }

    async fn withdraw_announced(&self) -> Fetched<Vec<u64>> {
        withdraw(self).await
    }

    async fn move_announced(&self) -> Fetched<()> {
        take_over(self).await
    }
}

impl Versions for Outside {
    async fn newest_catalog_version(&self) -> u64 {
        newest_version(self).await
    }

    async fn catalog_versions(&self, model: Option<&ModelName>, after: Option<u64>, limit: u32) -> Fetched<Vec<VersionRow>> {
        let statement = format!(
            "SELECT json_object({FIELDS}) AS doc FROM catalog_versions
             WHERE (?1 IS NULL OR version < CAST(?1 AS INTEGER)) AND (?2 IS NULL OR (withdrawn_at IS NULL
               AND EXISTS (SELECT 1 FROM json_each(changes) WHERE value->>'model' = ?2)))
             ORDER BY version DESC LIMIT CAST(?3 AS INTEGER)"
        );
        let values = [after.map_or(JsValue::NULL, number), text(model.map(ModelName::as_str)), number(limit)];
        let rows: Vec<Row> = self.d1(&statement, &values).await?;
        let of_model = |mut row: VersionRow| {
            if let (Some(changes), Some(_)) = (&mut row.changes, model) {
                changes.retain(|change| change.model.as_ref() == model);
            }
            row
        };
        Ok(rows.into_iter().map(|row| of_model(row.read().0)).collect())
    }

    async fn catalog_version(&self, version: u64) -> Fetched<Option<(VersionRow, String)>> {
        let statement = format!(
            "SELECT json_object({FIELDS}, 'document', document) AS doc FROM catalog_versions WHERE version = CAST(?1 AS INTEGER)"
        );
        let rows: Vec<Row> = self.d1(&statement, &[number(version)]).await?;
        Ok(rows.into_iter().next().map(Row::read))
    }
}

impl Announcements for Outside {
    async fn announced(&self) -> Option<Announced> {
        self.catalog().await.ok()?;
        let (effective_at, catalog) = cache::announced(clock::now())?;
        Some(Announced { effective_at, version: catalog.version, catalog })
    }
}
