//! The provider's list of its models: where it is, how it is read, and whether a model is in it.
//!
//! What always holds: a page is asked of the channel's own host, whatever upstream wrote in the page before. What is no list is
//! never taken for an empty one.
//!
//! Deliberately absent: what else a list tells, such as prices and limits: the catalogue says those.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::catalog::{Channel, Dialect};

/// No list needs more pages: what is not complete by then says only what is there, not what is missing.
pub const MOST_PAGES: usize = 10;
/// The longest lists of today, with the descriptions of hundreds of models, are about a quarter of this.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// A longer id is none.
const LONGEST_ID: usize = 256;
/// A longer mark of the next page is none either.
const LONGEST_TOKEN: usize = 2_048;
/// So many near names are told.
const MOST_NEAR: usize = 3;
/// What differs more than this is another name.
const LEAST_LIKENESS: f64 = 0.75;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingPage {
    /// The ids, without `models/` in front.
    pub ids: Vec<String>,
    /// The address of the next page; none is the end.
    pub next: Option<String>,
}

/// Why an answer is no list of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAList {
    /// It is longer than any list.
    TooLong,
    /// It cannot be read as JSON.
    NotJson,
    /// It is JSON, and has no list of models where the dialect has it.
    NoModels,
}

impl fmt::Display for NotAList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "its list of models is too long to be one",
            Self::NotJson => "its list of models is not JSON",
            Self::NoModels => "its list of models names no models",
        })
    }
}

/// A list, in any dialect; members that are not looked at may be anything.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    models: Option<&'a RawValue>,
    #[serde(borrow)]
    has_more: Option<&'a RawValue>,
    #[serde(borrow)]
    last_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "nextPageToken")]
    next_token: Option<&'a RawValue>,
    #[serde(borrow)]
    next_page_token: Option<&'a RawValue>,
}

/// One model of a list.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    aliases: Option<&'a RawValue>,
}

/// Where the list begins. Cohere has its own in its first version only, also beside endpoints of the second.
/// <https://docs.cohere.com/reference/list-models>
pub fn first_page(channel: &Channel) -> String {
    let base = channel.base_url.as_str().trim_end_matches('/');
    match channel.dialect {
        Dialect::Openai => format!("{base}/models"),
        Dialect::Anthropic => format!("{base}/models?limit=1000"),
        Dialect::Gemini => format!("{base}/models?pageSize=1000"),
        Dialect::Cohere => {
            let first = base.strip_suffix("/v2").map_or_else(|| base.to_owned(), |host| format!("{host}/v1"));
            format!("{first}/models?page_size=1000")
        }
    }
}

/// Reads the page that was answered at `url`. An empty list is a list: a server may have no model now.
pub fn read_page(dialect: Dialect, bytes: &[u8], url: &str) -> Result<ListingPage, NotAList> {
    if bytes.len() > MOST_BYTES {
        return Err(NotAList::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NotAList::NotJson)?;
    let wire = match serde_json::from_str::<&RawValue>(text).map_err(|_| NotAList::NotJson)?.get() {
        // Together answers the bare list.
        list if list.starts_with('[') => Wire { data: serde_json::from_str(list).ok(), ..Wire::default() },
        object if object.starts_with('{') => serde_json::from_str(object).map_err(|_| NotAList::NoModels)?,
        _ => return Err(NotAList::NoModels),
    };
    let list = match dialect {
        Dialect::Openai | Dialect::Anthropic => wire.data,
        Dialect::Gemini | Dialect::Cohere => wire.models,
    };
    let list = list.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok()).ok_or(NotAList::NoModels)?;
    let ids: Vec<String> = list.iter().flat_map(|entry| ids_of(dialect, entry)).collect();
    if ids.is_empty() && !list.is_empty() {
        return Err(NotAList::NoModels);
    }
    Ok(ListingPage { ids, next: next_page(dialect, &wire, url) })
}

/// The id of one entry, and its other names where it tells them. What has none is passed over.
fn ids_of(dialect: Dialect, entry: &RawValue) -> Vec<String> {
    // An entry that is a list would be read as its members in their order.
    let entry = Some(entry.get()).filter(|json| json.starts_with('{'));
    let entry: Entry<'_> = entry.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let id = match dialect {
        Dialect::Openai | Dialect::Anthropic => entry.id,
        Dialect::Gemini | Dialect::Cohere => entry.name,
    };
    // Mistral's.
    let aliases = entry.aliases.and_then(|json| serde_json::from_str::<Vec<String>>(json.get()).ok()).unwrap_or_default();
    let is_id = |id: &String| (1..=LONGEST_ID).contains(&id.len()) && !id.contains(char::is_control);
    text(id).into_iter().chain(aliases).map(|id| bare(&id).to_owned()).filter(is_id).collect()
}

fn text(json: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(json?.get()).ok()
}

fn bare(id: &str) -> &str {
    id.strip_prefix("models/").unwrap_or(id)
}

/// The address of the page after this one: the same, with the mark that the page gave.
fn next_page(dialect: Dialect, page: &Wire<'_>, url: &str) -> Option<String> {
    let (name, mark) = match dialect {
        Dialect::Openai | Dialect::Anthropic => {
            let has_more = page.has_more.is_some_and(|json| json.get() == "true");
            let name = if dialect == Dialect::Openai { "after" } else { "after_id" };
            (name, text(page.last_id).filter(|_| has_more))
        }
        Dialect::Gemini => ("pageToken", text(page.next_token)),
        Dialect::Cohere => ("page_token", text(page.next_page_token)),
    };
    let mark = mark.filter(|mark| (1..=LONGEST_TOKEN).contains(&mark.len()))?;
    let mut next = Url::parse(url).ok()?;
    let kept: Vec<(String, String)> =
        next.query_pairs().filter(|(other, _)| *other != name).map(|(k, v)| (k.into(), v.into())).collect();
    next.query_pairs_mut().clear().extend_pairs(kept).append_pair(name, &mark);
    // A server that does not know the mark would give the same page for ever.
    Some(next.to_string()).filter(|next| next != url)
}

/// Whether a model is in a list, in letters of either case: providers answer to both. Anthropic lists snapshots and not their aliases: `claude-sonnet-4-5` is there as
/// `claude-sonnet-4-5-20250929`, and `claude-opus-4-0` as `claude-opus-4-20250514`.
pub fn is_listed(dialect: Dialect, ids: &[String], wanted: &str) -> bool {
    let wanted = bare(wanted);
    if ids.iter().any(|id| bare(id).eq_ignore_ascii_case(wanted)) {
        return true;
    }
    let stem = wanted.strip_suffix("-latest").or_else(|| wanted.strip_suffix("-0")).unwrap_or(wanted);
    let is_date = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_snapshot = |id: &String| id.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_date);
    dialect == Dialect::Anthropic && ids.iter().any(is_snapshot)
}

/// Ids that look like the wanted one, nearest first, at most three. What only adds to it, or leaves off its end, comes first.
pub fn near(ids: &[String], wanted: &str) -> Vec<String> {
    let wanted = bare(wanted);
    let last = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
    let mut near: Vec<(bool, f64, &str)> = ids
        .iter()
        .map(|id| {
            let id = bare(id);
            // Some have the maker in front: `openai/gpt-5.5`.
            let (short, short_wanted) = (last(id), last(wanted));
            let likeness = strsim::jaro_winkler(id, wanted).max(strsim::jaro_winkler(&short, &short_wanted));
            (short.starts_with(&short_wanted) || short_wanted.starts_with(&short), likeness, id)
        })
        .filter(|(_, likeness, _)| *likeness > LEAST_LIKENESS)
        .collect();
    near.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| b.1.total_cmp(&a.1)).then_with(|| a.2.cmp(b.2)));
    near.dedup_by(|a, b| a.2 == b.2);
    near.into_iter().take(MOST_NEAR).map(|(_, _, id)| id.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, UpstreamHosts};
    use serde_json::json;

    const OPENAI: &str = include_str!("../../tests/golden/openai/models.json");
    const ANTHROPIC: &str = include_str!("../../tests/golden/anthropic/models.json");
    const GEMINI: &str = include_str!("../../tests/golden/gemini/models.json");
    const COHERE: &str = include_str!("../../tests/golden/cohere/models.json");
    const MISTRAL: &str = include_str!("../../tests/golden/mistral/models.json");
    const TOGETHER: &str = include_str!("../../tests/golden/together/models.json");

    fn channel(dialect: &str, url: &str) -> Channel {
        let route = json!({"bucket": "b", "price": {"input": "1", "output": "1"}, "candidates": [{"channel": "c", "upstream_model": "u"}]});
        let model = json!({"name": "M", "family": "f", "kind": "chat", "context_length": 9, "max_output_tokens": 9, "routes": {"official": route}});
        let rank = json!({"name": "M", "family": "f", "kind": "rerank", "routes": {"official": {"bucket": "b", "price": {"searches": "1"},
            "candidates": [{"channel": "c", "upstream_model": "u"}]}}});
        let document = json!({"version": 1, "buckets": {"b": {"label": "B", "currency": "USD"}},
            "channels": {"c": {"dialect": dialect, "base_url": url, "secrets": ["K"]}},
            "models": {"m": if dialect == "cohere" { rank } else { model }}});
        let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
        Channel::clone(catalog.channels.values().next().unwrap())
    }

    fn read(dialect: Dialect, page: &str) -> Result<ListingPage, NotAList> {
        read_page(dialect, page.as_bytes(), "https://provider.example/v1/models?limit=1000")
    }

    fn ids(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_provider_is_asked_where_its_list_is() {
        for (dialect, base, url) in [
            ("openai", "https://api.openai.com/v1", "https://api.openai.com/v1/models"),
            ("openai", "https://pool.example/api/v1/", "https://pool.example/api/v1/models"),
            ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1/models?limit=1000"),
            (
                "gemini",
                "https://generativelanguage.googleapis.com/v1beta",
                "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000",
            ),
            ("cohere", "https://api.cohere.com/v2", "https://api.cohere.com/v1/models?page_size=1000"),
            ("cohere", "https://ranker.example/v1", "https://ranker.example/v1/models?page_size=1000"),
        ] {
            assert_eq!(first_page(&channel(dialect, base)), url);
        }
    }

    #[test]
    fn every_providers_list_is_read() {
        let at = "https://provider.example/v1/models";
        for (dialect, page, expected, next) in [
            (Dialect::Openai, OPENAI, &["gpt-5.5", "gpt-5.5-2026-04-01", "text-embedding-3-small"][..], None),
            (Dialect::Openai, MISTRAL, &["mistral-large-2411", "mistral-large-latest"], None),
            (Dialect::Openai, TOGETHER, &["Austism/chronos-hermes-13b"], None),
            (
                Dialect::Anthropic,
                ANTHROPIC,
                &["claude-opus-4-6", "claude-sonnet-4-5-20250929", "claude-opus-4-20250514"],
                Some(format!("{at}?limit=1000&after_id=claude-opus-4-20250514")),
            ),
            (
                Dialect::Gemini,
                GEMINI,
                &["gemini-2.5-flash", "gemini-embedding-001"],
                Some(format!("{at}?limit=1000&pageToken=Ch5tb2RlbHMvZ2VtaW5pLWVtYmVkZGluZy0wMDE%3D")),
            ),
            (
                Dialect::Cohere,
                COHERE,
                &["rerank-v3.5", "command-a-03-2025"],
                Some(format!("{at}?limit=1000&page_token=eyJwYWdlIjoxfQ%3D%3D")),
            ),
        ] {
            assert_eq!(read(dialect, page), Ok(ListingPage { ids: ids(expected), next }), "{dialect:?}");
        }
    }

    #[test]
    fn a_next_page_replaces_the_mark_of_the_last_and_stays_at_its_host() {
        let page = r#"{"models":[{"name":"a"}],"nextPageToken":"https://evil.example/&pageSize=1"}"#;
        let url = "https://provider.example/v1beta/models?pageSize=1000&pageToken=first";
        let next = read_page(Dialect::Gemini, page.as_bytes(), url).unwrap().next.unwrap();
        assert_eq!(
            next,
            "https://provider.example/v1beta/models?pageSize=1000&pageToken=https%3A%2F%2Fevil.example%2F%26pageSize%3D1"
        );
        // The same mark again would be the same page again.
        assert_eq!(read_page(Dialect::Gemini, page.as_bytes(), &next).unwrap().next, None);
    }

    #[test]
    fn a_list_ends_where_it_says_so() {
        for page in [
            r#"{"data":[{"id":"a"}],"has_more":false,"last_id":"a"}"#,
            r#"{"data":[{"id":"a"}],"has_more":true,"last_id":null}"#,
            r#"{"data":[{"id":"a"}],"has_more":"true","last_id":"a"}"#,
            r#"{"data":[{"id":"a"}],"last_id":"a"}"#,
        ] {
            assert_eq!(read(Dialect::Anthropic, page), Ok(ListingPage { ids: ids(&["a"]), next: None }), "{page}");
        }
        for page in [r#"{"models":[{"name":"a"}],"nextPageToken":""}"#, r#"{"models":[{"name":"a"}],"nextPageToken":7}"#] {
            assert_eq!(read(Dialect::Gemini, page), Ok(ListingPage { ids: ids(&["a"]), next: None }), "{page}");
        }
        let long = format!(r#"{{"models":[],"next_page_token":"{}"}}"#, "x".repeat(3_000));
        assert_eq!(read(Dialect::Cohere, &long), Ok(ListingPage { ids: vec![], next: None }));
    }

    #[test]
    fn entries_that_name_nothing_are_passed_over() {
        let long = "x".repeat(300);
        let page = format!(
            r#"{{"data":[null,5,"a",["b"],{{}},{{"id":5}},{{"id":""}},{{"id":"{long}"}},{{"id":"x\ny"}},{{"id":"a","aliases":"b"}},{{"id":"models/g"}}]}}"#
        );
        assert_eq!(read(Dialect::Openai, &page).unwrap().ids, ids(&["a", "g"]));
        assert_eq!(read(Dialect::Openai, r#"{"object":"list","data":[]}"#), Ok(ListingPage { ids: vec![], next: None }));
    }

    #[test]
    fn what_is_no_list_is_not_an_empty_one() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let deep_member = format!(r#"{{"data":{deep}}}"#);
        for (page, error) in [
            ("", NotAList::NotJson),
            ("<html><body>Sign in</body></html>", NotAList::NotJson),
            (r#"{"data":[{"id":"a"}"#, NotAList::NotJson),
            (r#"{"data":[{"id":"a"}]} and more"#, NotAList::NotJson),
            ("null", NotAList::NoModels),
            ("\"gpt-5.5\"", NotAList::NoModels),
            ("{}", NotAList::NoModels),
            (r#"{"error":{"message":"no"}}"#, NotAList::NoModels),
            (r#"{"data":null}"#, NotAList::NoModels),
            (r#"{"data":{"id":"a"}}"#, NotAList::NoModels),
            (r#"{"data":[{"name":"a"}]}"#, NotAList::NoModels),
            (r#"{"models":[{"name":"a"}]}"#, NotAList::NoModels),
            (r#"{"data":[{"id":"a"}],"data":[]}"#, NotAList::NoModels),
            (r#"[[["a"]]]"#, NotAList::NoModels),
            (deep.as_str(), NotAList::NoModels),
            (deep_member.as_str(), NotAList::NoModels),
        ] {
            assert_eq!(read(Dialect::Openai, page), Err(error), "{:.60}", page);
        }
        assert_eq!(read_page(Dialect::Openai, &[b'{', 0xff], "https://x.example/"), Err(NotAList::NotJson));
        let huge = format!(r#"{{"data":[{{"id":"a"}}],"x":"{}"}}"#, "x".repeat(10 * 1024 * 1024));
        assert_eq!(read(Dialect::Openai, &huge), Err(NotAList::TooLong));
    }

    #[test]
    fn a_model_is_listed_by_its_id() {
        let all = ids(&["gpt-5.5", "models/gemini-2.5-flash", "claude-sonnet-4-5-20250929", "claude-opus-4-20250514"]);
        for (wanted, is_there) in [
            ("gpt-5.5", true),
            ("gemini-2.5-flash", true),
            ("models/gemini-2.5-flash", true),
            ("claude-sonnet-4-5-20250929", true),
            ("GPT-5.5", true),
            ("models/Gemini-2.5-Flash", true),
            ("gpt-5", false),
            ("", false),
            ("claude-sonnet-4-5", false),
        ] {
            assert_eq!(is_listed(Dialect::Openai, &all, wanted), is_there, "{wanted}");
        }
    }

    #[test]
    fn anthropics_aliases_are_listed_as_their_snapshots() {
        let all = ids(&["claude-sonnet-4-5-20250929", "claude-opus-4-20250514", "claude-3-7-sonnet-20250219"]);
        for (wanted, is_there) in [
            ("claude-sonnet-4-5", true),
            ("claude-opus-4-0", true),
            ("claude-3-7-sonnet-latest", true),
            ("claude-sonnet-4", false),
            ("claude-opus-4-1", false),
            ("claude", false),
            ("claude-sonnet-4-5-20250930", false),
        ] {
            assert_eq!(is_listed(Dialect::Anthropic, &all, wanted), is_there, "{wanted}");
        }
    }

    #[test]
    fn near_ids_are_told_nearest_first() {
        let all = ids(&[
            "gpt-5.5-mini",
            "gpt-5.5-2026-05-01",
            "gpt-5.5",
            "gpt-5.4-2026-04-01",
            "openai/gpt-4o",
            "models/gemini-2.5-flash",
            "gemini-2.5-flash",
            "whisper-1",
        ]);
        for (wanted, expected) in [
            ("gpt-5.5-2026-04-01", &["gpt-5.5", "gpt-5.5-2026-05-01", "gpt-5.4-2026-04-01"][..]),
            ("gpt-4o", &["openai/gpt-4o", "gpt-5.5", "gpt-5.4-2026-04-01"]),
            ("gemini-2.5-flash-001", &["gemini-2.5-flash"]),
            ("zzz", &[]),
        ] {
            assert_eq!(near(&all, wanted), ids(expected), "{wanted}");
        }
    }
}
