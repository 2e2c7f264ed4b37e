//! The catalogue that runs, the one that is announced, and all that ran.

use std::rc::Rc;

use super::unavailable::Unavailable;
use crate::catalog::{self, Announcement, Catalog};
use crate::id::ModelName;
use crate::time::Timestamp;

/// What is announced, for pages.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Announcements {
    /// The catalogue that is announced, for pages: a copy that may be some minutes old. None once it is in use.
    async fn announced(&self) -> Option<Announced>;
}

/// Versions that ran, or are to run.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Versions {
    /// Versions of the catalogue, newest first, below `after`. With a model only those that changed it, with these changes, and
    /// without those that were withdrawn.
    async fn catalog_versions(
        &self,
        model: Option<&ModelName>,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<VersionRow>, Unavailable>;
    /// One version with its document.
    async fn catalog_version(&self, version: u64) -> Result<Option<(VersionRow, String)>, Unavailable>;
    /// The newest version that was ever published or announced, as far as it is known.
    async fn newest_catalog_version(&self) -> u64;
}

/// Publishing.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Publishing {
    /// The catalogue's document that runs now, as far as KV or the history know it.
    async fn catalog_document(&self) -> Result<Option<String>, Unavailable>;
    /// Publishes a checked catalogue now, or announces it, in the place of what was announced before; and first of all what is
    /// announced again above it. False where a version of theirs, or a later one, is another's by now: nothing happens.
    async fn publish_catalog(&self, publication: Publication, raised: Option<Publication>) -> Result<bool, Unavailable>;
    /// The announcement that stands, due or not, as the history and KV know it now.
    async fn announcement(&self) -> Result<Option<Announcement>, Unavailable>;
    /// Withdraws every announcement whose time has not come; their versions.
    async fn withdraw_announced(&self) -> Result<Vec<u64>, Unavailable>;
    /// Makes the announcement that is due the published catalogue. Again, or at the same time as another, is the same.
    async fn move_announced(&self) -> Result<(), Unavailable>;
}

/// A catalogue on its way to become the running one.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Checked, under its version.
    pub catalog: Rc<Catalog>,
    /// The text that it was read from, with that version.
    pub document: String,
    /// From when it is to run; none is now.
    pub effective_at: Option<Timestamp>,
    /// Who publishes it.
    pub author: String,
    /// For whom, as the client says it.
    pub on_behalf_of: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// From the one that ran before.
    pub changes: Vec<catalog::Change>,
}

/// A catalogue that is not in use yet.
#[derive(Debug, Clone)]
pub struct Announced {
    /// From when it is in use.
    pub effective_at: Timestamp,
    /// Its version.
    pub version: u64,
    /// What it says.
    pub catalog: Rc<Catalog>,
}

/// A version of the catalogue in the history. Rows of the first versions of this program know neither author nor changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The version.
    pub version: u64,
    /// When it was published or announced.
    pub published_at: Timestamp,
    /// From when it was to run, if it was announced.
    pub effective_at: Option<Timestamp>,
    /// When it was withdrawn or replaced, before it ran.
    pub withdrawn_at: Option<Timestamp>,
    /// Who published it.
    pub author: Option<String>,
    /// For whom, as the client said it.
    pub on_behalf_of: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// From the one that ran before.
    pub changes: Option<Vec<catalog::Change>>,
}

impl VersionRow {
    /// From when it ran, or is to run.
    pub fn runs_from(&self) -> Timestamp {
        self.effective_at.unwrap_or(self.published_at)
    }
}
