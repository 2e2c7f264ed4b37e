//! What all pages share: the document around them, where the files are that they need, and what a browser may do with them.
//!
//! What always holds: a page that cannot be rendered becomes a short page that says so; the style sheet and the script are
//! asked for with their version, so that a browser may keep them for as long as it likes.
//!
//! Deliberately absent: the files themselves, which the platform answers.

use askama::DynTemplate;

use super::markup;
use super::view::PageContext;

/// The Content-Security-Policy of every page: nothing inline, nothing from elsewhere.
pub const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                       form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Where the Atom feed of incidents is.
pub const FEED_PATH: &str = "/status.atom";

/// Where the style sheet is. The platform answers it, as it does the script and the picture: see `scripts/assets.mjs`.
const STYLE: (&str, u64) = ("/style.css", version(include_bytes!("assets/style.css")));
/// Where the script is.
const SCRIPT: (&str, u64) = ("/script.js", version(include_bytes!("assets/script.js")));

/// A number that changes when a file does, FNV-1a: it tells versions apart, and keeps nobody from anything. It is computed when
/// this is compiled, so that the file itself does not become part of the Worker.
const fn version(mut file: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    while let [byte, rest @ ..] = file {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
        file = rest;
    }
    hash
}

fn address((path, version): (&str, u64)) -> String {
    format!("{path}?v={version:016x}")
}

/// Where a model's page is.
pub fn model_path(id: &str) -> String {
    format!("/models/{}", markup::url_part(id))
}

/// Which part of the site a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The home page.
    Home,
    /// The models.
    Models,
    /// The status.
    Status,
    /// What is in no menu.
    Other,
}

/// The document around a page.
#[derive(Debug)]
pub struct Document<'a> {
    /// What is known of the request.
    pub site: &'a PageContext,
    /// The page's title, without the site's name.
    pub title: String,
    /// What the page is, in one sentence.
    pub description: &'static str,
    /// Where in the menu it is.
    pub section: Section,
}

impl Document<'_> {
    /// The menu: address, word, and whether the page is there.
    pub fn menu(&self) -> [(&'static str, &'static str, bool); 2] {
        [("/models", "Models", self.section == Section::Models), ("/status", "Status", self.section == Section::Status)]
    }

    /// Where the style sheet is.
    pub fn style(&self) -> String {
        address(STYLE)
    }

    /// Where the script is.
    pub fn script(&self) -> String {
        address(SCRIPT)
    }
}

/// What stands where a page could not be rendered.
const BROKEN: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Page unavailable</title><h1>This page could not be \
                      made</h1><p>The fault is ours. The API is not affected. <a href=\"/\">To the home page</a></p></html>";

/// The page as HTML.
pub fn rendered(page: &dyn DynTemplate) -> String {
    page.dyn_render().unwrap_or_else(|_| BROKEN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_their_content() {
        assert_eq!(version(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(STYLE.1, SCRIPT.1);
    }

    #[test]
    fn files_ask_nobody_else() {
        for file in [include_str!("assets/style.css"), include_str!("assets/script.js"), include_str!("assets/favicon.svg")] {
            let file = file.replace("http://www.w3.org/2000/svg", "");
            for way in ["http:", "https:", "@import", "url(", "eval(", "innerHTML", "document.write"] {
                assert!(!file.contains(way), "{way}");
            }
        }
    }

    #[test]
    fn what_the_platform_answers_has_the_policy_of_pages() {
        let headers = include_str!("assets/_headers");
        let policy = headers.lines().find_map(|line| line.trim().strip_prefix("Content-Security-Policy: "));
        assert_eq!(policy, Some(CSP));
    }
}
