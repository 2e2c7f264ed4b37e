//! What requests say, read once: bodies of JSON, parts of lists, who signs.

use serde::de::DeserializeOwned;

use super::request::Request;
use crate::account::{JournalFilter, Listed};
use crate::app::catalog::PublishRequest;
use crate::app::spend::SpendQuery;
use crate::app::{Part, Principal, Signature};
use crate::body::Arriving;
use crate::id::number;
use crate::ports::Dimension;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

const DEFAULT_LIMIT: u32 = 20;
/// Rows in a part of a list.
pub const MOST_ROWS: u32 = 100;

/// Reads a body of JSON; nothing is an empty object.
pub async fn json<T: DeserializeOwned>(body: impl Arriving) -> Result<T, Refusal> {
    let body = body.await?;
    let body = if body.trim_ascii().is_empty() { b"{}".as_slice() } else { &body };
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::new(Code::InvalidJson, "The request body is not UTF-8.", "Send JSON in UTF-8."))?;
    serde_json::from_str(text).map_err(|error| {
        let code = if error.is_data() { Code::InvalidRequest } else { Code::InvalidJson };
        Refusal::new(code, format!("The request body is not valid: {error}."), "Correct the field and send the request again.")
    })
}

/// Reads `limit` and `after`.
pub fn part<B>(request: &Request<B>) -> Result<Part, Refusal> {
    part_of(request, MOST_ROWS)
}

/// The same where a part is smaller.
pub fn part_of<B>(request: &Request<B>, most: u32) -> Result<Part, Refusal> {
    let limit = match request.param("limit") {
        None => DEFAULT_LIMIT,
        Some(text) => number(text)
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| Refusal::invalid("limit", format!("`limit` must be a whole number from 1 to {most}.")))?,
    };
    Ok(Part { limit, after: request.param("after").map(ToOwned::to_owned) })
}

/// Who does something and why, where there is no body to say so.
pub fn signature<B>(request: &Request<B>) -> Signature {
    let text = |name: &str| request.param(name).map(ToOwned::to_owned);
    Signature { author: text("author"), reason: text("reason") }
}

/// What was asked for of the journal.
pub fn filter<B>(request: &Request<B>, listed: Listed) -> Result<JournalFilter, Refusal> {
    let text = |name: &str| request.param(name).map(ToOwned::to_owned);
    Ok(JournalFilter {
        listed,
        key: text("key"),
        project: text("project"),
        model: text("model"),
        route: text("route"),
        bucket: text("bucket"),
        status: text("status"),
        run: text("run"),
        kind: text("kind").map(|kind| if kind == "charge" { "receipt".to_owned() } else { kind }),
        subject: None,
        since: moment(request, "since")?,
        until: moment(request, "until")?,
    })
}

/// What was asked for of the sums of days.
pub fn spend_query<B>(request: &Request<B>) -> Result<SpendQuery, Refusal> {
    let day = |name: &str| {
        let wrong = || Refusal::invalid(name, format!("`{name}` must be a day such as 2026-12-31."));
        let at = |text: &str| Timestamp::parse(&format!("{text}T00:00:00Z"));
        request.param(name).map(|text| at(text).ok_or_else(wrong)).transpose()
    };
    let (date, until, since) = (day("date")?, day("until")?, day("since")?);
    let filter = |dimension: Dimension| Some((dimension, request.param(dimension.as_str())?.to_owned()));
    let filters = Dimension::ALL.into_iter().filter(|dimension| *dimension != Dimension::Day).filter_map(filter);
    Ok(SpendQuery { date, since, until, by: request.param("by").map(ToOwned::to_owned), filters: filters.collect() })
}

/// How a catalogue is to be published. A parameter that is none is refused: who misspells the time does not want it now.
pub fn publish_request<B>(who: &Principal, request: &Request<B>, now: Timestamp) -> Result<PublishRequest, Refusal> {
    const KNOWN: [&str; 4] = ["author", "reason", "effective_at", "dry_run"];
    if let Some((name, _)) = request.query.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
        let message = format!("`{name}` is not a parameter of a publication; these are: {}.", KNOWN.join(", "));
        return Err(Refusal::invalid(name, message));
    }
    let effective_at = moment(request, "effective_at")?;
    let is_dry_run = match request.param("dry_run") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Refusal::invalid("dry_run", "`dry_run` must be `true` or `false`.")),
    };
    PublishRequest::new(who, signature(request), (effective_at, now), is_dry_run)
}

/// Reads a time.
pub fn moment<B>(request: &Request<B>, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let wrong = || Refusal::invalid(name, format!("`{name}` must be a time in RFC 3339, such as 2026-12-31T00:00:00Z."));
    request.param(name).map(|text| Timestamp::parse(text).ok_or_else(wrong)).transpose()
}
