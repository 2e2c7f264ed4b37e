//! What all pages share: the document around them, the files that they need, and what a browser may do with them.
//!
//! What always holds: a page that cannot be rendered becomes a short page that says so; the style sheet and the script are
//! asked for with their version, so that a browser may keep them for as long as it likes.

use askama::DynTemplate;

use super::markup;
use super::view::Site;

/// The Content-Security-Policy of every page: nothing inline, nothing from elsewhere.
pub const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                       form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Where the Atom feed of incidents is.
pub const FEED_PATH: &str = "/status.atom";

/// A file that pages need.
#[derive(Debug)]
pub struct Asset {
    /// Where it is, without its version.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What is in it.
    pub body: &'static str,
}

const STYLE: Asset =
    Asset { path: "/style.css", content_type: "text/css; charset=utf-8", body: include_str!("assets/style.css") };
const SCRIPT: Asset =
    Asset { path: "/script.js", content_type: "text/javascript; charset=utf-8", body: include_str!("assets/script.js") };
const ICON: Asset = Asset { path: "/favicon.svg", content_type: "image/svg+xml", body: include_str!("assets/favicon.svg") };

/// Every file that pages need.
pub static ASSETS: [Asset; 3] = [STYLE, SCRIPT, ICON];

impl Asset {
    /// A text that changes when the file does; right for an entity tag.
    pub fn version(&self) -> String {
        // FNV-1a: it tells versions apart, and keeps nobody from anything.
        let hash = self
            .body
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }

    fn address(&self) -> String {
        format!("{}?v={}", self.path, self.version())
    }
}

/// The file at this path.
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
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
pub struct Frame<'a> {
    /// What is known of the request.
    pub site: &'a Site,
    /// The page's title, without the site's name.
    pub title: String,
    /// What the page is, in one sentence.
    pub description: &'static str,
    /// Where in the menu it is.
    pub section: Section,
}

impl Frame<'_> {
    /// The menu: address, word, and whether the page is there.
    pub fn menu(&self) -> [(&'static str, &'static str, bool); 2] {
        [("/models", "Models", self.section == Section::Models), ("/status", "Status", self.section == Section::Status)]
    }

    /// Where the style sheet is.
    pub fn style(&self) -> String {
        STYLE.address()
    }

    /// Where the script is.
    pub fn script(&self) -> String {
        SCRIPT.address()
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
    fn assets_are_found_by_their_path_and_named_by_their_content() {
        for asset in &ASSETS {
            assert_eq!(super::asset(asset.path).map(|found| found.body), Some(asset.body));
        }
        assert!(super::asset("/style.css?v=1").is_none());
        assert_ne!(STYLE.version(), SCRIPT.version());
    }

    #[test]
    fn assets_ask_nobody_else() {
        for asset in &ASSETS {
            let body = asset.body.replace("http://www.w3.org/2000/svg", "");
            for way in ["http:", "https:", "@import", "url(", "eval(", "innerHTML", "document.write"] {
                assert!(!body.contains(way), "{} has {way}", asset.path);
            }
        }
    }
}
