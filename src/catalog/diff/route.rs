//! What changed of the routes of a model: who pays, and who serves.

use std::collections::{BTreeMap, VecDeque};

use super::change::{ChangeKind, Changes};
use super::price;
use crate::catalog::model::{Candidate, Route, RouteKind};
use crate::catalog::version::Catalog;

/// A route, in the words of a sentence.
fn subject(changes: &Changes, route: &Route) -> String {
    let model = changes.model.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{model}, {}", route.kind.as_str())
}

/// The currency of a route.
fn currency<'a>(catalog: &'a Catalog, route: &Route) -> &'a str {
    catalog.buckets.get(&route.bucket).map_or("", |bucket| bucket.currency.as_str())
}

/// A route that was not there.
pub fn added(changes: &mut Changes, route: &Route, catalog: &Catalog) {
    let sold = match &route.price {
        Some(price) => price::whole(price, currency(catalog, route)),
        None => "without a price, so that it is not sold".to_owned(),
    };
    let kind = route.kind.as_str();
    let added =
        |names: Vec<String>| format!("{kind} route added, paid by {}; {sold}; served by {}", route.bucket, names.join(", then "));
    let names = route.candidates.iter().map(name).collect();
    let shown = route.candidates.iter().map(|candidate| shown(catalog, candidate)).collect();
    changes.note_both(ChangeKind::Added, added(names), added(shown));
}

/// What changed of each route.
pub fn routes(changes: &mut Changes, (old, new): (&[Route], &[Route]), catalogs: (&Catalog, &Catalog)) {
    for kind in [RouteKind::Official, RouteKind::Routed] {
        let of = |routes: &'_ [Route]| routes.iter().position(|route| route.kind == kind);
        match (of(old).and_then(|at| old.get(at)), of(new).and_then(|at| new.get(at))) {
            (Some(before), Some(after)) => route(changes, (before, after), catalogs),
            (None, Some(after)) => added(changes, after, catalogs.1),
            (Some(_), None) => changes.note(ChangeKind::Removed, format!("{} route removed", kind.as_str())),
            (None, None) => {}
        }
    }
}

fn route(changes: &mut Changes, (before, after): (&Route, &Route), catalogs: (&Catalog, &Catalog)) {
    let Route { kind: _, bucket, price, candidates } = after;
    let route = subject(changes, after);
    let model = std::mem::replace(&mut changes.subject, route);
    changes.value(ChangeKind::Bucket, "paid by", (&before.bucket, bucket), ToString::to_string);
    let currencies = (currency(catalogs.0, before), currency(catalogs.1, after));
    match (&before.price, price) {
        (Some(old), Some(new)) => price::prices(changes, (old, new), currencies),
        (None, Some(new)) => changes.note(ChangeKind::Price, format!("now sold, {}", price::whole(new, currencies.1))),
        (Some(_), None) => changes.note(ChangeKind::Price, "price removed, so that it is not sold any more"),
        (None, None) => {}
    }
    self::candidates(changes, (&before.candidates, candidates), catalogs);
    changes.subject = model;
}

fn name(candidate: &Candidate) -> String {
    format!("{}/{}", candidate.channel, candidate.upstream_model)
}

fn role(candidate: &Candidate) -> &'static str {
    if candidate.tier == 0 { "primary" } else { "backup" }
}

/// A candidate as customers know it.
fn shown(catalog: &Catalog, candidate: &Candidate) -> String {
    let channel = catalog.shown_channel(candidate.channel.as_str());
    match catalog.shows_upstream(candidate.channel.as_str()) {
        true => format!("{channel}/{}", candidate.upstream_model),
        false => channel,
    }
}

/// Who came, who went, who stands elsewhere. One that is named twice is matched in the order of the tiers. Weights are the
/// operator's own.
fn candidates(changes: &mut Changes, (old, new): (&[Candidate], &[Candidate]), catalogs: (&Catalog, &Catalog)) {
    let kind = ChangeKind::Candidates;
    let mut left: BTreeMap<String, VecDeque<&Candidate>> = BTreeMap::new();
    for candidate in old {
        left.entry(name(candidate)).or_default().push_back(candidate);
    }
    let known = changes.found.len();
    for candidate in new {
        let Candidate { channel: _, upstream_model: _, tier, weight } = candidate;
        let (role, name, shown) = (role(candidate), name(candidate), shown(catalogs.1, candidate));
        let before = left.get_mut(&name).and_then(VecDeque::pop_front);
        let Some(before) = before else {
            let share = if *weight == 1 { String::new() } else { format!(", weight {weight}") };
            let added = |name: &str| format!("{role} {name} added in tier {tier}");
            changes.note_both(kind, added(&name) + &share, added(&shown));
            continue;
        };
        if before.tier != *tier {
            let moved = |name: &str| format!("{name} moved from tier {} to tier {tier}", before.tier);
            changes.note_both(kind, moved(&name), moved(&shown));
        }
        changes.value(kind, &format!("{role} {name}, weight"), (&before.weight, weight), ToString::to_string);
    }
    for candidate in left.values().flatten() {
        let removed = |name: &str| format!("{} {name} removed from tier {}", role(candidate), candidate.tier);
        changes.note_both(kind, removed(&name(candidate)), removed(&shown(catalogs.0, candidate)));
    }
    if changes.found.len() == known && old != new {
        let order = |names: Vec<String>| format!("candidates in another order: {}", names.join(", "));
        let public = new.iter().map(|candidate| shown(catalogs.1, candidate)).collect();
        changes.note_both(kind, order(new.iter().map(name).collect()), order(public));
    }
}
