//! What changed from one catalogue to the next, in sentences for people.
//!
//! What always holds: two catalogues that differ in anything but their version give at least one change, equal ones none; the
//! order is fixed: models by name, then channels, buckets, and what is said of the whole. Every field is taken apart by name, so
//! that a new field does not compile before it has a sentence.
//!
//! Deliberately absent: values of secrets, which the catalogue does not have; and a judgement of what a change is good for.

mod change;
mod price;
mod route;

pub use change::{Change, ChangeKind};

use std::fmt::Display;
use std::rc::Rc;

use change::{Changes, names, pairs};

use super::channel::{Channel, OnClientGone, ReasoningTokens, Thoughts};
use super::model::Model;
use super::version::{Bucket, Catalog, CutPolicy};
use crate::id::{BucketId, ModelName};

/// What is in the new catalogue and was not in the old one, or otherwise; without an old one, all that there is.
pub fn changes(old: Option<&Catalog>, new: &Catalog) -> Vec<Change> {
    let nothing = Catalog::nothing();
    let old = old.unwrap_or(&nothing);
    // The aliases are those of the models, which tell of them.
    let Catalog {
        version: _,
        buckets,
        channels,
        models,
        upstream_cut,
        browser_origins,
        hold_timeout_ms,
        output_floor_tokens,
        aliases: _,
        folded: _,
    } = new;
    let mut found = Vec::new();
    for (before, after) in pairs(&old.models, models) {
        match (before, after) {
            (Some(before), Some(after)) => found.extend(model(before, after, (old, new))),
            (None, Some(after)) => found.extend(new_model(after, new)),
            (Some(before), None) => {
                let mut changes = Changes::of(String::new(), Some(before.id.clone()));
                changes.say(ChangeKind::Removed, format!("model {} removed", before.id));
                found.extend(changes.found);
            }
            (None, None) => {}
        }
    }
    for (before, after) in pairs(&old.channels, channels) {
        found.extend(channel(before.map(Rc::as_ref), after.map(Rc::as_ref)));
    }
    for id in names(&old.buckets, buckets) {
        found.extend(bucket(id, old.buckets.get(id), buckets.get(id)));
    }
    let mut changes = Changes::of("charge policy".to_owned(), None);
    let cut = |policy: &CutPolicy| match policy {
        CutPolicy::Free => "nothing".to_owned(),
        CutPolicy::Usage => "what arrived".to_owned(),
    };
    changes.value(ChangeKind::ChargePolicy, "a stream that upstream cut short costs", (&old.upstream_cut, upstream_cut), cut);
    changes.subject = "holds".to_owned();
    changes.value(ChangeKind::Limits, "time-out", (&old.hold_timeout_ms, hold_timeout_ms), |ms| duration(*ms));
    changes.subject = "limits fitted to a balance".to_owned();
    changes.value(ChangeKind::Limits, "tokens at least", (&old.output_floor_tokens, output_floor_tokens), u64::to_string);
    changes.subject = "pages of other sites".to_owned();
    changes.value(ChangeKind::Other, "may call with any key:", (&old.browser_origins, browser_origins), |origins| {
        if origins.is_empty() { "none".to_owned() } else { list(origins.as_slice()) }
    });
    found.extend(changes.found);
    found
}

fn new_model(after: &Model, new: &Catalog) -> Vec<Change> {
    let mut changes = Changes::of(after.id.to_string(), Some(after.id.clone()));
    let kind = after.kind.as_str();
    let sizes = format!("{} tokens of context, {} of output", after.context_length, after.max_output_tokens);
    let also = if after.aliases.is_empty() { String::new() } else { format!(", also called {}", list(&after.aliases)) };
    changes.say(ChangeKind::Added, format!("model {} added: {kind}, {sizes}{also}", after.id));
    for route in &after.routes {
        route::added(&mut changes, route, new);
    }
    changes.found
}

/// What changed of one model; `catalogs` are the old and the new one, which know the currencies.
fn model(before: &Model, after: &Model, catalogs: (&Catalog, &Catalog)) -> Vec<Change> {
    let Model { id, name, family, kind, context_length, max_output_tokens, aliases, routes } = after;
    let mut changes = Changes::of(id.to_string(), Some(id.clone()));
    changes.value(ChangeKind::Other, "kind", (&before.kind, kind), |kind| kind.as_str().to_owned());
    changes.value(ChangeKind::Other, "name", (&before.name, name), |text| quoted(text));
    changes.value(ChangeKind::Other, "family", (&before.family, family), |text| quoted(text));
    changes.value(ChangeKind::Limits, "context", (&before.context_length, context_length), |count| format!("{count} tokens"));
    changes.value(ChangeKind::Limits, "output at most", (&before.max_output_tokens, max_output_tokens), |count| {
        format!("{count} tokens")
    });
    let added: Vec<&ModelName> = aliases.iter().filter(|alias| !before.aliases.contains(alias)).collect();
    let removed: Vec<&ModelName> = before.aliases.iter().filter(|alias| !aliases.contains(alias)).collect();
    for (aliases, what) in [(&added, "added"), (&removed, "removed")] {
        if !aliases.is_empty() {
            changes.note(ChangeKind::Aliases, format!("alias {} {what}", list(aliases)));
        }
    }
    if added.is_empty() && removed.is_empty() && *aliases != before.aliases {
        changes.note(ChangeKind::Aliases, format!("aliases in another order: {}", list(aliases)));
    }
    route::routes(&mut changes, (&before.routes, routes), catalogs);
    changes.found
}

fn channel(before: Option<&Channel>, after: Option<&Channel>) -> Vec<Change> {
    let Some(id) = after.or(before).map(|channel| &channel.id) else { return Vec::new() };
    let mut changes = Changes::of(format!("channel {id}"), None);
    match (before, after) {
        (Some(before), Some(after)) => channel_fields(&mut changes, before, after),
        (Some(_), None) => changes.say(ChangeKind::Removed, format!("channel {id} removed")),
        (None, Some(after)) => {
            let dialect = after.dialect.as_str();
            changes.say(ChangeKind::Added, format!("channel {id} added: {dialect} at {}", after.base_url));
        }
        (None, None) => {}
    }
    changes.found
}

fn channel_fields(changes: &mut Changes, before: &Channel, after: &Channel) {
    let Channel {
        id: _,
        label,
        shows_upstream_models,
        dialect,
        base_url,
        allow_host,
        secrets,
        first_byte_timeout_ms,
        idle_timeout_ms,
        on_client_gone,
        output_limit_field,
        responses,
        stream_usage,
        reasoning_tokens,
        thoughts,
        unknown_tools,
        probe_daily_cap,
    } = after;
    let kind = ChangeKind::Channel;
    changes.value(kind, "customers call it", (&before.label, label), |label| {
        label.as_deref().map_or_else(|| "by an alias".to_owned(), quoted)
    });
    let shows = (&before.shows_upstream_models, shows_upstream_models);
    changes.value(kind, "customers see the ids of its models:", shows, yes_or_no);
    changes.value(kind, "dialect", (&before.dialect, dialect), |dialect| dialect.as_str().to_owned());
    changes.value(kind, "address", (&before.base_url, base_url), ToString::to_string);
    changes.value(kind, "host that is meant although it looks private:", (&before.allow_host, allow_host), |host| {
        host.as_deref().map_or_else(|| "none".to_owned(), quoted)
    });
    changes.value(kind, "credentials", (&before.secrets, secrets), |secrets| list(secrets));
    let time = |ms: &u32| duration(i64::from(*ms));
    changes.value(ChangeKind::Limits, "time to first byte", (&before.first_byte_timeout_ms, first_byte_timeout_ms), time);
    changes.value(ChangeKind::Limits, "silence at most", (&before.idle_timeout_ms, idle_timeout_ms), time);
    changes.value(kind, "when a client leaves, the call is", (&before.on_client_gone, on_client_gone), |gone| match gone {
        OnClientGone::Cancel => "cancelled".to_owned(),
        OnClientGone::Drain => "read to its end".to_owned(),
    });
    changes.value(kind, "output is limited by", (&before.output_limit_field, output_limit_field), |field| {
        field.map_or("either field", |field| field.name()).to_owned()
    });
    changes.value(kind, "serves responses itself:", (&before.responses, responses), yes_or_no);
    changes.value(kind, "is asked for the usage of streams:", (&before.stream_usage, stream_usage), yes_or_no);
    changes.value(kind, "reasoning tokens are", (&before.reasoning_tokens, reasoning_tokens), |place| match place {
        None => "as its totals tell".to_owned(),
        Some(ReasoningTokens::Inside) => "inside the completion".to_owned(),
        Some(ReasoningTokens::Outside) => "beside the completion".to_owned(),
    });
    changes.value(kind, "thoughts that go back to it:", (&before.thoughts, thoughts), |thoughts| match thoughts {
        None => "as its models tell".to_owned(),
        Some(Thoughts::Own) => "its own".to_owned(),
        Some(Thoughts::All) => "all".to_owned(),
        Some(Thoughts::None) => "none".to_owned(),
    });
    changes.value(kind, "takes tools that nobody knows:", (&before.unknown_tools, unknown_tools), yes_or_no);
    let cap = (&before.probe_daily_cap, probe_daily_cap);
    changes.value(ChangeKind::Limits, "probes may cost in a day", cap, ToString::to_string);
}

fn bucket(id: &BucketId, before: Option<&Bucket>, after: Option<&Bucket>) -> Vec<Change> {
    let mut changes = Changes::of(format!("bucket {id}"), None);
    match (before, after) {
        (Some(before), Some(Bucket { label, currency, usd, top_up_url })) => {
            changes.value(ChangeKind::Bucket, "currency", (&before.currency, currency), Clone::clone);
            changes.value(ChangeKind::Bucket, "label", (&before.label, label), |text| quoted(text));
            changes.value(ChangeKind::Bucket, "a unit is about worth in US dollars", (&before.usd, usd), |usd| {
                usd.map_or_else(|| "not told".to_owned(), |usd| usd.to_string())
            });
            changes.value(ChangeKind::Bucket, "topped up at", (&before.top_up_url, top_up_url), |url| {
                url.clone().unwrap_or_else(|| "no page".to_owned())
            });
        }
        (Some(_), None) => changes.say(ChangeKind::Removed, format!("bucket {id} removed")),
        (None, Some(after)) => changes.say(ChangeKind::Added, format!("bucket {id} added, in {}", after.currency)),
        (None, None) => {}
    }
    changes.found
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As values are shown.
fn yes_or_no(is_so: &bool) -> String {
    if *is_so { "yes" } else { "no" }.to_owned()
}

fn list(names: &[impl Display]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    format!("\u{201c}{text}\u{201d}")
}

/// Seconds where it is whole ones, else milliseconds.
fn duration(ms: i64) -> String {
    match (ms.checked_rem(1000), ms.checked_div(1000)) {
        (Some(0), Some(seconds)) => format!("{seconds} s"),
        _ => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests;
