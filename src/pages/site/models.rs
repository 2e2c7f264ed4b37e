//! The list of models: a filter that is a plain form, and a card for each model that it leaves.

use askama::Template;

use crate::catalog::RouteKind;
use crate::pages::filter::{KINDS, ModelOrder};
use crate::pages::frame::{self, Document, Section, model_path};
use crate::pages::search;
use crate::pages::view::{ModelsPage, PageContext, Route};
use crate::pages::{chart, words};

/// The routes and the orders, as the form offers them.
const ROUTES: [RouteKind; 2] = [RouteKind::Official, RouteKind::Routed];
const SORTS: [(ModelOrder, &str); 3] =
    [(ModelOrder::Name, "Name"), (ModelOrder::Price, "Input price"), (ModelOrder::FirstByte, "First byte")];

#[derive(Template)]
#[template(path = "models.html", config = "src/pages/askama.toml")]
struct Models<'a> {
    frame: Document<'a>,
    page: &'a ModelsPage,
}

/// The page as HTML.
pub fn models(site: &PageContext, page: &ModelsPage) -> String {
    let frame = Document {
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
