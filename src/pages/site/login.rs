//! The page to sign in on: a key is pasted, or the page says that nobody can sign in here.

use askama::Template;

use crate::pages::frame::{self, Document, Section};
use crate::pages::view::{LoginPage, PageContext};
use crate::pages::words;

#[derive(Template)]
#[template(path = "login.html", config = "src/pages/askama.toml")]
struct Login<'a> {
    frame: Document<'a>,
    page: &'a LoginPage,
}

/// The page as HTML. What it offers depends on [`PageContext::can_sign_in`] and on who is signed in.
pub fn login(site: &PageContext, page: &LoginPage) -> String {
    let frame = Document {
        site,
        title: "Sign in".to_owned(),
        description: "Sign in with an API key to see what it can call.",
        section: Section::Other,
    };
    frame::rendered(&Login { frame, page })
}
