//! Administration of the catalogue: publishing it now or at a time, and the history of its versions.
//!
//! What always holds: the running catalogue stays when there is a fault; every publication has a version of its own, above all
//! that were ever published or announced, and the one that is announced has the highest.
//!
//! What is announced undoes what it does not have, and nothing that whoever announced it might not have changed: channels and the
//! rest of a document are two parts (see [`Scope`]), and a part that it left as it was stays, at its time, as it is then.
//!
//! Deliberately absent: merging within a part. A document is published as a whole.

use std::rc::Rc;

use serde::Serialize;
use serde_json::{Value, json};

use super::audit;
use super::page::{Page, Part, wrong_after};
use super::principal::{Principal, Signature, missing};
use super::use_case::UseCase;
use crate::account::{ActKind, By};
use crate::catalog::{Announcement, Catalog, Change, changes, secrets};
use crate::dialect::{Edit, Object};
use crate::id::{ModelName, number};
use crate::operator::{Operator, Scope};
use crate::ports::{Accounts, Publication, Publishing, Runtime, Settings, VersionRow, Versions};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// So many changes of a publication the audit tells; the version itself has all of them.
const MOST_TOLD: usize = 20;
/// So many faults of a document are told.
const MOST_FAULTS: usize = 100;

/// How a catalogue is to be published.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    by: By,
    effective_at: Option<Timestamp>,
    is_dry_run: bool,
}

impl PublishRequest {
    /// From a time on, or now; a dry run only says what would be.
    pub fn new(
        who: &Principal,
        signature: Signature,
        (effective_at, now): (Option<Timestamp>, Timestamp),
        is_dry_run: bool,
    ) -> Result<Self, Refusal> {
        let operator = who.operator(UseCase::PublishCatalogue)?;
        if effective_at.is_some_and(|at| at <= now) {
            let message = "`effective_at` is past; without it the catalogue takes effect now.";
            return Err(Refusal::invalid("effective_at", message));
        }
        Ok(Self { by: signature.by(operator)?, effective_at, is_dry_run })
    }
}

/// What a publication came to, or would come to.
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// Of the catalogue that it made.
    pub version: u64,
    /// How many it has.
    pub models: usize,
    /// How many it has.
    pub channels: usize,
    /// Whether it differs from the one that runs.
    pub changed: bool,
    /// From the one that runs, in words.
    pub changes: Vec<String>,
    /// From when on; none where nothing changes.
    pub effective_at: Option<Timestamp>,
    /// Nothing was published.
    pub dry_run: bool,
    /// What is no fault, and will hardly be meant.
    pub warnings: Vec<String>,
    /// What is announced and stays; left out where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced: Option<Beside>,
}

/// An announcement that stays beside what is published before its time.
#[derive(Debug, Clone, Serialize)]
pub struct Beside {
    /// Its version, above the one that is published.
    pub version: u64,
    /// From when it is in use.
    pub effective_at: Timestamp,
}

/// An announcement that was withdrawn.
#[derive(Debug, Clone, Serialize)]
pub struct Withdrawn {
    /// Its version.
    pub version: u64,
    /// It is.
    pub withdrawn: bool,
}

/// A version of the catalogue. The first versions of this program noted neither author nor changes.
#[derive(Debug, Clone, Serialize)]
pub struct Version {
    /// Its number.
    pub version: u64,
    /// When it was published or announced.
    pub published_at: Timestamp,
    /// From when it ran, or is to run.
    pub effective_at: Timestamp,
    /// When it was withdrawn or replaced, before it ran.
    pub withdrawn_at: Option<Timestamp>,
    /// Who published it.
    pub author: Option<String>,
    /// For whom, as the client said it.
    pub on_behalf_of: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// From the one that ran before.
    pub changes: Option<Vec<Change>>,
    /// The whole of it; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Value>,
}

impl Version {
    fn of(row: VersionRow, document: Option<Value>) -> Self {
        let effective_at = row.runs_from();
        let VersionRow { version, published_at, withdrawn_at, author, on_behalf_of, reason, changes, .. } = row;
        Self { version, published_at, effective_at, withdrawn_at, author, on_behalf_of, reason, changes, document }
    }
}

/// The document of the running catalogue.
pub async fn show<P: Publishing>(ports: &P, who: &Principal) -> Result<String, Refusal> {
    who.operator(UseCase::ShowCatalogue)?;
    let none = || Refusal::new(Code::NotFound, "No catalogue has been published.", "Publish one with PUT /admin/v1/catalog.");
    ports.catalog_document().await?.ok_or_else(none)
}

fn parse<P: Settings>(ports: &P, text: &str) -> Result<Catalog, Refusal> {
    let checked = Catalog::parse(text, ports.hosts());
    let declared = ports.setting(secrets::DECLARED).unwrap_or_default();
    // What runs already goes on to: a name is refused only where it is new.
    let unfit = |catalog: &Catalog| match catalog.unfit_sizes() {
        sizes if sizes.is_empty() => catalog.unfit_names(&declared, ports.hosts()),
        sizes => sizes,
    };
    let checked = checked.and_then(|catalog| match unfit(&catalog) {
        unfit if unfit.is_empty() => Ok(catalog),
        unfit => Err(unfit),
    });
    checked.map_err(|faults| {
        let message = format!(
            "The catalogue has {} fault(s), so the running one stays. The first: {}.",
            faults.len(),
            faults.first().map(ToString::to_string).unwrap_or_default()
        );
        Refusal::new(Code::InvalidCatalog, message, "Correct every fault in `metadata.faults` and publish again.")
            .fact("faults", json!(faults.iter().take(MOST_FAULTS).collect::<Vec<_>>()))
    })
}

/// A document that was published or announced; none where it is none any more.
fn readable<P: Settings>(ports: &P, text: &str) -> Option<Catalog> {
    Catalog::parse(text, ports.hosts()).ok()
}

/// The catalogue under another version, with its text.
fn versioned(catalog: Catalog, text: &str, version: u64) -> (Rc<Catalog>, String) {
    let edited = Object::parse(text).map(|object| object.edited(&[Edit::Set("version", version.to_string())]));
    (Rc::new(catalog.with_version(version)), edited.unwrap_or_else(|| text.to_owned()))
}

/// Checks a catalogue as a whole and publishes or announces it.
pub async fn publish<P: Runtime + Accounts + Settings + Versions + Publishing>(
    ports: &P,
    who: &Principal,
    request: PublishRequest,
    text: &str,
) -> Result<Published, Refusal> {
    let who = who.operator(UseCase::PublishCatalogue)?;
    let catalog = parse(ports, text)?;
    let document = ports.catalog_document().await?;
    let announced = ports.announcement().await?;
    let running = document.as_deref().and_then(|document| readable(ports, document));
    let before = document.as_deref().zip(running.as_ref());
    check_scopes(who, before, (text, &catalog))?;
    let replaced = announced.as_ref().filter(|_| request.effective_at.is_some()).map(|announced| announced.document.get());
    if let Some((replaced, read)) = replaced.and_then(|text| Some(text).zip(readable(ports, text))) {
        // Whose place it takes is undone.
        check_scopes(who, Some((replaced, &read)), (text, &catalog))?;
    }
    let is_changed = document.as_deref() != Some(text);
    // A copy of the running one may be a minute old; the history knows better.
    let newest = running.as_ref().map_or(0, |running| running.version).max(ports.newest_catalog_version().await);
    let version = if is_changed { catalog.version.max(newest.saturating_add(1)) } else { catalog.version };
    let (catalog, document) = versioned(catalog, text, version);
    let changes = changes(running.as_ref(), &catalog);
    let effective_at = request.effective_at.unwrap_or_else(|| ports.now());
    let mut answer = Published {
        version,
        models: catalog.models.len(),
        channels: catalog.channels.len(),
        changed: is_changed,
        changes: changes.iter().map(|change| change.text.clone()).collect(),
        effective_at: is_changed.then_some(effective_at),
        dry_run: request.is_dry_run,
        warnings: warnings(ports, &catalog),
        announced: None,
    };
    // One that is announced is replaced by another, and stays beside what is published now.
    let beside = announced.filter(|_| request.effective_at.is_none());
    let raised = match &beside {
        Some(announced) if is_changed => raised(ports, announced, before, (&document, &catalog))?,
        _ => None,
    };
    let mut beside = beside.map(|beside| (beside.version, beside));
    if is_changed && !request.is_dry_run {
        if let (Some((version, _)), Some(raised)) = (&mut beside, &raised) {
            *version = raised.catalog.version;
        }
        let PublishRequest { by, effective_at, .. } = request;
        let what = published(version, effective_at, &changes);
        let By { author, on_behalf_of, reason } = by.clone();
        let publication = Publication { catalog, document, effective_at, author, on_behalf_of, reason, changes };
        if !ports.publish_catalog(publication, raised).await? {
            return Err(overtaken());
        }
        audit::note(ports, ActKind::Catalog, by, what).await;
    }
    answer.announced = beside.map(|(version, announced)| Beside { version, effective_at: announced.effective_at });
    Ok(answer)
}

fn overtaken() -> Refusal {
    let message = "Another catalogue was published or announced at the same time.";
    Refusal::new(Code::Conflict, message, "Read GET /admin/v1/catalog, make your change in it, and publish it again.")
}

/// Errors unless who publishes may change what differs: where channels are and what they get is another matter than prices.
fn check_scopes(who: &Operator, before: Option<(&str, &Catalog)>, (text, catalog): (&str, &Catalog)) -> Result<(), Refusal> {
    let has_channels = before.is_some_and(|(_, before)| before.channels == catalog.channels);
    if !has_channels && !who.may(Scope::Channels) {
        return Err(missing(who, &[Scope::Channels]));
    }
    let has_rest = before.is_some_and(|(before, _)| rest_of(before) == rest_of(text));
    if !has_rest && !who.may(Scope::Catalog) {
        return Err(missing(who, &[Scope::Catalog]));
    }
    Ok(())
}

/// A document without its channels and its version, which every publication raises.
fn rest_of(document: &str) -> Option<Value> {
    let mut rest: Value = serde_json::from_str(document).ok()?;
    for name in ["channels", "version"] {
        rest.as_object_mut()?.shift_remove(name);
    }
    Some(rest)
}

/// What is no fault, and will hardly be meant: channels without a credential that is set.
fn warnings<P: Settings>(ports: &P, catalog: &Catalog) -> Vec<String> {
    let named = catalog.channels.values().flat_map(|channel| channel.secrets.iter().map(move |secret| (secret, &channel.id)));
    let absent = named.filter(|(secret, _)| ports.setting(secret.as_str()).is_none());
    let told = absent.map(|(secret, channel)| {
        format!("channel {channel}: the secret {secret} is not set. Set it with `npx wrangler secret put {secret}`")
    });
    told.collect()
}

/// What a publication is, in words, with the first of its changes.
fn published(version: u64, effective_at: Option<Timestamp>, changes: &[Change]) -> String {
    let how = effective_at.map_or_else(|| "published".to_owned(), |at| format!("announced for {at}"));
    let first: Vec<&str> = changes.iter().take(MOST_TOLD).map(|change| change.text.as_str()).collect();
    let rest = match changes.len().saturating_sub(first.len()) {
        0 => String::new(),
        rest => format!("; and {rest} more"),
    };
    format!("catalogue version {version} {how}: {}{rest}", first.join("; "))
}

/// What is announced, above a catalogue that is published before its time, with what it will change then. None where it cannot be
/// read: it would not take effect, and its time will tell.
fn raised<P: Settings>(
    ports: &P,
    announced: &Announcement,
    before: Option<(&str, &Catalog)>,
    (document, now): (&str, &Catalog),
) -> Result<Option<Publication>, Refusal> {
    let text = announced.document.get();
    let Some(catalog) = readable(ports, text) else { return Ok(None) };
    let text = beside((text, &catalog), before, document);
    let catalog = Catalog::parse(&text, ports.hosts()).map_err(|faults| {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        let message = format!("What is announced for {} does not go with it: {first}.", announced.effective_at);
        Refusal::new(Code::InvalidCatalog, message, "Announce it anew with this change in it, or withdraw it, and publish again.")
            .fact("faults", json!(faults.iter().take(MOST_FAULTS).collect::<Vec<_>>()))
    })?;
    let (catalog, document) = versioned(catalog, &text, now.version.saturating_add(1));
    Ok(Some(Publication {
        changes: changes(Some(now), &catalog),
        catalog,
        document,
        effective_at: Some(announced.effective_at),
        author: announced.author.clone().unwrap_or_else(|| Operator::ROOT.to_owned()),
        on_behalf_of: announced.on_behalf_of.clone(),
        reason: announced.reason.clone(),
    }))
}

/// What is announced, with `now` in force at its time and not what it was compared with: a part that it does not change then, be it
/// the channels or the rest, is as it is in `now`.
fn beside((announced, catalog): (&str, &Catalog), before: Option<(&str, &Catalog)>, now: &str) -> String {
    let Some((before, read)) = before else { return announced.to_owned() };
    let with_channels_of = |document: &str, other: &str| {
        let channels = Object::parse(other).and_then(|other| other.get("channels").map(ToOwned::to_owned));
        Object::parse(document).zip(channels).map(|(document, channels)| document.edited(&[Edit::Set("channels", channels)]))
    };
    let (has_channels, has_rest) = (read.channels == catalog.channels, rest_of(before) == rest_of(announced));
    let edited = match (has_channels, has_rest) {
        (true, true) => Some(now.to_owned()),
        (true, false) => with_channels_of(announced, now),
        (false, true) => with_channels_of(now, announced),
        (false, false) => None,
    };
    edited.unwrap_or_else(|| announced.to_owned())
}

fn nothing_announced() -> Refusal {
    let next_step = "Announce one with PUT /admin/v1/catalog?effective_at=...";
    Refusal::new(Code::NotFound, "No catalogue is announced.", next_step)
}

/// Withdraws what is announced.
pub async fn withdraw<P: Runtime + Accounts + Settings + Publishing>(
    ports: &P,
    who: &Principal,
    signature: Signature,
) -> Result<Withdrawn, Refusal> {
    let who = who.operator(UseCase::WithdrawAnnounced)?;
    let by = signature.by(who)?;
    if let Some(announced) = ports.announcement().await? {
        let text = announced.document.get();
        let running = ports.catalog_document().await?;
        let before = running.as_deref().and_then(|document| Some(document).zip(readable(ports, document)));
        // What would change is not going to; what cannot be read would change nothing.
        if let Some(catalog) = readable(ports, text) {
            check_scopes(who, before.as_ref().map(|(text, read)| (*text, read)), (text, &catalog))?;
        }
    }
    let versions = ports.withdraw_announced().await?;
    match versions.iter().max() {
        Some(version) => {
            audit::note(ports, ActKind::Catalog, by, format!("catalogue version {version} withdrawn")).await;
            Ok(Withdrawn { version: *version, withdrawn: true })
        }
        None => Err(nothing_announced()),
    }
}

fn no_version() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such version of the catalogue.", "List them with GET /admin/v1/catalog/versions.")
}

/// Versions, newest first; with a model only those that changed it.
pub async fn versions<P: Versions>(
    ports: &P,
    who: &Principal,
    model: Option<&str>,
    part: Part,
) -> Result<Page<Version>, Refusal> {
    who.operator(UseCase::ListVersions)?;
    let after = part.after.map(|text| number(&text).ok_or_else(wrong_after)).transpose()?;
    let no_model = || Refusal::invalid("model", "`model` is not a name that a model can have.");
    let model = model.map(|name| ModelName::parse(name).ok_or_else(no_model)).transpose()?;
    let rows = ports.catalog_versions(model.as_ref(), after, part.limit).await?;
    Ok(Page::of(rows, part.limit, |row| row.version.to_string()).map(|row| Version::of(row, None)))
}

/// One version with its document.
pub async fn version<P: Versions>(ports: &P, who: &Principal, version: &str) -> Result<Version, Refusal> {
    who.operator(UseCase::ShowVersion)?;
    found(ports, number(version).ok_or_else(no_version)?).await
}

/// The version that is announced.
pub async fn announced<P: Versions + Publishing>(ports: &P, who: &Principal) -> Result<Version, Refusal> {
    who.operator(UseCase::ShowAnnounced)?;
    let announced = ports.announcement().await?.ok_or_else(nothing_announced)?;
    found(ports, announced.version).await
}

async fn found<P: Versions>(ports: &P, version: u64) -> Result<Version, Refusal> {
    let (row, document) = ports.catalog_version(version).await?.ok_or_else(no_version)?;
    let document = serde_json::from_str(&document).map_err(|error| Refusal::unavailable(error.to_string()))?;
    Ok(Version::of(row, Some(document)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::UpstreamHosts;

    fn document(version: u64, host: &str, price: &str) -> String {
        let route = json!({"bucket": "b", "price": {"input": price, "output": "1"}, "candidates": [{"channel": "a", "upstream_model": "m", "tier": 0}]});
        json!({"version": version, "buckets": {"b": {"label": "B", "currency": "USD"}},
            "channels": {"a": {"dialect": "openai", "base_url": format!("https://{host}.example.com"), "secrets": ["UPSTREAM_K"]}},
            "models": {"m": {"name": "M", "family": "f", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "routes": {"official": route}}}})
        .to_string()
    }

    fn read(text: &str) -> Catalog {
        Catalog::parse(text, UpstreamHosts::Public).unwrap()
    }

    /// Where its channel is, and its price, that it has at its time.
    fn at_its_time(announced: (&str, &str), before: (&str, &str), now: (&str, &str)) -> (bool, bool) {
        let [announced, before, now] = [(3, announced), (2, before), (4, now)].map(|(n, (host, price))| document(n, host, price));
        let then = beside((&announced, &read(&announced)), Some((&before, &read(&before))), &now);
        let then_read = read(&then);
        (then_read.channels == read(&now).channels, rest_of(&then) == rest_of(&now))
    }

    #[test]
    fn what_is_announced_undoes_no_part_that_it_did_not_change() {
        let before = ("old", "1");
        for (announced, now, expected) in [
            // A price was announced, and a channel moves meanwhile: it stays moved.
            (("old", "2"), ("new", "1"), (true, false)),
            // A channel was announced, and a price changes meanwhile: it stays changed.
            (("new", "1"), ("old", "2"), (false, true)),
            (("old", "2"), ("old", "3"), (true, false)),
            (("new", "1"), ("newer", "1"), (false, true)),
            (("new", "2"), ("newer", "3"), (false, false)),
            (("old", "1"), ("newer", "3"), (true, true)),
        ] {
            assert_eq!(at_its_time(announced, before, now), expected, "{announced:?} beside {now:?}");
        }
        let announced = document(3, "old", "2");
        assert_eq!(beside((&announced, &read(&announced)), None, &document(4, "new", "1")), announced);
    }

    #[test]
    fn what_takes_a_place_needs_the_scopes_of_what_it_undoes() {
        let (announced, text) = (document(3, "new", "1"), document(3, "old", "2"));
        let prices = Operator::of(
            &serde_json::from_value(json!({"id": "1", "name": "prices", "scopes": ["catalog"], "created_by": "root",
                "created_at": "2026-12-01T00:00:00Z", "expires_at": "2027-12-01T00:00:00Z"}))
            .unwrap(),
        );
        let check = |before: &str| check_scopes(&prices, Some((before, &read(before))), (&text, &read(&text)));
        assert!(check(&document(2, "old", "1")).is_ok());
        assert_eq!(check(&announced).unwrap_err().code, Code::Forbidden);
    }
}
