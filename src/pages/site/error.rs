//! The page that says why there is no other, and where to go.

use askama::Template;

use crate::pages::frame::{self, Document, Section};
use crate::pages::view::{ErrorPage, PageContext};
use crate::pages::words;

#[derive(Template)]
#[template(path = "error.html", config = "src/pages/askama.toml")]
struct Error<'a> {
    frame: Document<'a>,
    page: &'a ErrorPage,
    heading: &'static str,
    usual: &'static str,
}

/// The page as HTML.
pub fn error(site: &PageContext, page: &ErrorPage) -> String {
    let (heading, usual) = meaning(page.status);
    let frame = Document { site, title: heading.to_owned(), description: heading, section: Section::Other };
    frame::rendered(&Error { frame, page, heading, usual })
}

/// What a status means to a reader.
const fn meaning(status: u16) -> (&'static str, &'static str) {
    match status {
        404 => ("There is no such page", "The address may be mistyped, or the model may have left the catalogue."),
        401 | 403 => ("This page is not for you", "Sign in with a key that may see it."),
        405 => ("This page cannot be asked that way", "Open it as a page, without sending anything to it."),
        503 => ("This page is not available right now", "Something that it needs does not answer. Try again in a minute."),
        400..=499 => ("That request cannot be answered", "Something in the address or in what was sent is not right."),
        _ => ("Something went wrong here", "The fault is ours. Try again; if it stays, tell the operator the request's id."),
    }
}
