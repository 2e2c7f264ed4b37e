//! The page of one model: whether it can be called, the tree of its routes, prices, history, and calls to copy.

use askama::Template;

use crate::pages::chart::{self, Plot};
use crate::pages::frame::{self, Document, Section};
use crate::pages::snippet::Snippets;
use crate::pages::view::{Candidate, ChartPoint, FailureView, Model, ModelPage, PageContext, Route};
use crate::pages::words;

#[derive(Template)]
#[template(path = "model.html", config = "src/pages/askama.toml")]
struct ModelTemplate<'a> {
    frame: Document<'a>,
    page: &'a ModelPage,
    model: &'a Model,
    snippets: Snippets,
    routes: Vec<RouteShown<'a>>,
    failures: Vec<FailureShown<'a>>,
}

struct RouteShown<'a> {
    route: &'a Route,
    /// Candidates by tier: the tier's word, and who is in it.
    tiers: Vec<(String, Vec<&'a Candidate>)>,
    histories: Vec<History<'a>>,
}

/// A stretch of time, as charts and as numbers.
struct History<'a> {
    name: &'static str,
    column: &'static str,
    points: &'a [ChartPoint],
    /// Latency and uptime.
    plots: [Plot; 2],
}

struct FailureShown<'a> {
    route: &'a Route,
    candidate: &'a Candidate,
    failure: &'a FailureView,
}

/// The page as HTML.
pub fn model(site: &PageContext, page: &ModelPage) -> String {
    let model = &page.model;
    let frame = Document {
        site,
        title: format!("{} ({})", model.name, model.id),
        description: "Whether this model can be called now, over which routes and channels, and at which price.",
        section: Section::Models,
    };
    let snippets = Snippets::new(&site.origin, &model.id, model.kind);
    let routes = model.routes.iter().map(shown).collect();
    frame::rendered(&ModelTemplate { frame, page, model, snippets, routes, failures: failures(model) })
}

fn shown(route: &Route) -> RouteShown<'_> {
    let mut tiers: Vec<(u8, Vec<&Candidate>)> = Vec::new();
    for candidate in &route.candidates {
        match tiers.last_mut() {
            Some((tier, members)) if *tier == candidate.tier => members.push(candidate),
            _ => tiers.push((candidate.tier, vec![candidate])),
        }
    }
    let histories =
        [("Last day, by the hour", "Hour (UTC)", &route.hours), ("Last 30 days, by the day", "Day (UTC)", &route.days)];
    RouteShown {
        route,
        tiers: tiers.into_iter().map(|(tier, members)| (words::tier(tier), members)).collect(),
        histories: histories.into_iter().map(|(name, column, points)| history(name, column, points)).collect(),
    }
}

fn history<'a>(name: &'static str, column: &'static str, points: &'a [ChartPoint]) -> History<'a> {
    History { name, column, points, plots: [chart::latency(points), chart::uptime(points)] }
}

/// The last failure of each candidate, newest first.
fn failures(model: &Model) -> Vec<FailureShown<'_>> {
    let mut failures: Vec<FailureShown<'_>> = Vec::new();
    for route in &model.routes {
        for candidate in &route.candidates {
            failures.extend(candidate.last_failure.as_ref().map(|failure| FailureShown { route, candidate, failure }));
        }
    }
    failures.sort_by_key(|shown| std::cmp::Reverse(shown.failure.at));
    failures
}
