//! The status page: how everything is, 90 days of every route, and incidents.

use askama::Template;

use crate::pages::chart;
use crate::pages::frame::{self, Document, FEED_PATH, Section, model_path};
use crate::pages::markup::element_id;
use crate::pages::view::{Day, PageContext, StatusPage, StatusRoute};
use crate::pages::words;
use crate::routing::health::HealthStatus as Health;

#[derive(Template)]
#[template(path = "status.html", config = "src/pages/askama.toml")]
struct HealthStatus<'a> {
    frame: Document<'a>,
    page: &'a StatusPage,
}

/// The page as HTML.
pub fn status(site: &PageContext, page: &StatusPage) -> String {
    let frame = Document {
        site,
        title: "Status".to_owned(),
        description: "How every route of every model is now, and how it was in the last 90 days.",
        section: Section::Status,
    };
    frame::rendered(&HealthStatus { frame, page })
}

/// The days that were not good, newest first.
fn troubled(route: &StatusRoute) -> Vec<&Day> {
    route.days.iter().rev().filter(|day| matches!(day.worst, Health::Degraded | Health::Down)).collect()
}
