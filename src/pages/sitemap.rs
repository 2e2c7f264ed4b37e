//! The sitemap: the pages that everybody may read.

use super::frame::model_path;
use super::markup::escaped;
use super::view::PageContext;

/// Its media type.
pub const CONTENT_TYPE: &str = "application/xml; charset=utf-8";

/// The fixed pages and one for each model.
pub fn sitemap(site: &PageContext, model_ids: &[String]) -> String {
    let pages = ["/", "/docs/", "/models", "/status"].map(str::to_owned).into_iter();
    let all = pages.chain(model_ids.iter().map(|id| model_path(id)));
    let entries: String =
        all.map(|path| format!("<url><loc>{}</loc></url>", escaped(&format!("{}{path}", site.origin)))).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{entries}</urlset>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::testing;

    #[test]
    fn the_sitemap_names_every_page_once() {
        let ids = ["gpt-5.5".to_owned(), "openai/<script>&\"'".to_owned()];
        let map = sitemap(&testing::site("/sitemap.xml"), &ids);
        let read = roxmltree::Document::parse(&map).unwrap();
        let places: Vec<&str> =
            read.descendants().filter(|node| node.tag_name().name() == "loc").filter_map(|node| node.text()).collect();
        assert_eq!(
            places,
            [
                "https://forge.example/",
                "https://forge.example/docs/",
                "https://forge.example/models",
                "https://forge.example/status",
                "https://forge.example/models/gpt-5.5",
                "https://forge.example/models/openai/%3Cscript%3E%26%22%27",
            ]
        );
    }
}
