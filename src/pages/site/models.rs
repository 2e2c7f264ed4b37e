//! The list of models: a filter that is a plain form, and a card for each model that it leaves.

use askama::Template;

use crate::catalog::RouteKind;
use crate::pages::filter::{KINDS, Sort};
use crate::pages::frame::{self, Frame, Section, model_path};
use crate::pages::search;
use crate::pages::view::{ModelsPage, Route, Site};
use crate::pages::{chart, words};

/// The routes and the orders, as the form offers them.
const ROUTES: [RouteKind; 2] = [RouteKind::Official, RouteKind::Routed];
const SORTS: [(Sort, &str); 3] = [(Sort::Name, "Name"), (Sort::Price, "Input price"), (Sort::FirstByte, "First byte")];

#[derive(Template)]
#[template(path = "models.html", config = "src/pages/askama.toml")]
struct Models<'a> {
    frame: Frame<'a>,
    page: &'a ModelsPage,
}

/// The page as HTML.
pub fn models(site: &Site, page: &ModelsPage) -> String {
    let frame = Frame {
        site,
        title: "Models".to_owned(),
        description: "Every model with its prices, its health now, and whether it can be called.",
        section: Section::Models,
    };
    frame::rendered(&Models { frame, page })
}

/// The unit of all prices that a card shows, if it is one.
fn shared_unit(route: &Route) -> Option<&str> {
    let mut units = route.prices.iter().filter(|row| row.is_headline).map(|row| row.unit.as_str());
    let first = units.next()?;
    units.all(|unit| unit == first).then_some(first)
}
