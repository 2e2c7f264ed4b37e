//! The home page: what this is, how it is right now, and how to make the first call.

use askama::Template;

use crate::pages::frame::{self, Document, Section};
use crate::pages::snippet::Snippets;
use crate::pages::view::{HomePage, PageContext};
use crate::pages::words;

#[derive(Template)]
#[template(path = "home.html", config = "src/pages/askama.toml")]
struct Home<'a> {
    frame: Document<'a>,
    page: &'a HomePage,
    snippets: Option<Snippets>,
}

/// The page as HTML.
pub fn home(site: &PageContext, page: &HomePage) -> String {
    let frame = Document {
        site,
        title: "AI models with explained prices".to_owned(),
        description: "An OpenAI-compatible gateway whose catalogue tells the truth and whose money is explained.",
        section: Section::Home,
    };
    let snippets = page.example.as_ref().map(|(id, kind)| Snippets::new(&site.origin, id, *kind));
    frame::rendered(&Home { frame, page, snippets })
}
