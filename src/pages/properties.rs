//! Tests: what holds for every page in every state, whatever the names and texts on it are.

use std::collections::BTreeSet;

use super::testing::{hostile, pages};

/// A start tag: its name and its attributes, unescaped only as far as the tests need.
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads HTML as strictly as these templates are written: quoted attributes only, `<` never outside of a tag.
fn tags(page: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    for piece in page.split('<').skip(1) {
        if piece.starts_with('/') || piece.starts_with('!') {
            continue;
        }
        let name: String = piece.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        assert!(!name.is_empty(), "a stray < before {:?}", piece.chars().take(20).collect::<String>());
        let mut rest = &piece[name.len()..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\n', '/']);
            if rest.starts_with('>') {
                break;
            }
            let key: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-:_".contains(*c)).collect();
            assert!(!key.is_empty(), "not an attribute: {:?}", rest.chars().take(40).collect::<String>());
            rest = &rest[key.len()..];
            let value = if let Some(quoted) = rest.strip_prefix("=\"") {
                let (value, after) = quoted.split_once('"').expect("a quote that ends");
                rest = after;
                value.to_owned()
            } else {
                String::new()
            };
            attributes.push((key, value));
        }
        tags.push(Tag { name, attributes });
    }
    tags
}

#[test]
fn no_page_has_anything_inline_or_from_elsewhere() {
    for (name, page) in pages() {
        for tag in tags(&page) {
            assert!(!["style", "base", "iframe", "object", "embed"].contains(&tag.name.as_str()), "{name}: <{}>", tag.name);
            for (key, value) in &tag.attributes {
                assert!(key != "style" && !key.starts_with("on"), "{name}: <{} {key}>", tag.name);
                if ["href", "src", "action"].contains(&key.as_str()) {
                    let is_own = value.starts_with('#') || (value.starts_with('/') && !value.starts_with("//"));
                    assert!(is_own, "{name}: {key}={value}");
                }
            }
            if tag.name == "script" {
                assert!(tag.get("src").is_some(), "{name} has an inline script");
            }
        }
        let scripts: Vec<&str> = page.split("<script").skip(1).collect();
        assert_eq!(scripts.len(), 1, "{name}");
        assert!(scripts[0].split_once('>').unwrap().1.starts_with("</script>"), "{name}");
    }
}

#[test]
fn hostile_texts_are_shown_as_text() {
    for (name, page) in pages().into_iter().filter(|(name, _)| name.ends_with("-hostile")) {
        assert!(!page.contains("<script>alert"), "{name}");
        assert!(page.contains("&#60;script&#62;alert(1)"), "{name} does not show it at all");
    }
    assert!(hostile().contains("<script>"));
}

#[test]
fn every_control_has_a_label() {
    for (name, page) in pages() {
        let tags = tags(&page);
        let labelled: BTreeSet<&str> = tags.iter().filter(|tag| tag.name == "label").filter_map(|tag| tag.get("for")).collect();
        for tag in tags.iter().filter(|tag| ["input", "select", "textarea"].contains(&tag.name.as_str())) {
            assert!(tag.get("id").is_some_and(|id| labelled.contains(id)), "{name}: {:?}", tag.get("name"));
        }
    }
}

#[test]
fn ids_are_unique_and_every_reference_leads_to_one() {
    for (name, page) in pages() {
        let tags = tags(&page);
        let mut ids = BTreeSet::new();
        for id in tags.iter().filter_map(|tag| tag.get("id")) {
            assert!(ids.insert(id), "{name} has the id {id} twice");
            assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{name}: {id}");
        }
        for tag in &tags {
            let named = ["aria-labelledby", "aria-describedby", "for"].into_iter().filter_map(|key| tag.get(key));
            for id in named.flat_map(str::split_whitespace).chain(tag.get("href").and_then(|href| href.strip_prefix('#'))) {
                assert!(ids.contains(id), "{name}: nothing has the id {id}");
            }
        }
    }
}

#[test]
fn every_page_is_a_whole_document_with_its_landmarks() {
    for (name, page) in pages() {
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{name}");
        let tags = tags(&page);
        for once in ["html", "head", "title", "body", "header", "main", "footer", "h1"] {
            let count = tags.iter().filter(|tag| tag.name == once).count();
            // A chart has a title of its own.
            assert!(count == 1 || once == "title", "{name} has {count} <{once}>");
        }
        for table in page.split("<table").skip(1) {
            assert!(table.split("</table>").next().unwrap().contains("<caption"), "{name} has a table without a caption");
        }
        for head in tags.iter().filter(|tag| tag.name == "th") {
            assert!(head.get("scope").is_some(), "{name} has a <th> without a scope");
        }
        for chart in page.split("<svg").skip(1) {
            let head = chart.split_once('>').unwrap();
            let is_picture = head.0.contains("role=\"img\"") && head.1.starts_with("<title>");
            assert!(is_picture || head.0.contains("aria-hidden=\"true\""), "{name}: {}", head.0);
        }
    }
}

#[test]
fn headings_leave_out_no_level() {
    for (name, page) in pages() {
        let mut before = 0;
        for tag in tags(&page) {
            let Some(level) = tag.name.strip_prefix('h').and_then(|level| level.parse::<u8>().ok()) else { continue };
            assert!(level <= before + 1, "{name}: h{level} after h{before}");
            before = level;
        }
    }
}

/// Writes every page to the folder that `PAGES_TO` names, with the files that they need, to look at.
#[test]
#[ignore = "for looking at pages: PAGES_TO=folder cargo test --lib pages::properties::pages_to_look_at -- --ignored"]
fn pages_to_look_at() {
    let folder = std::path::PathBuf::from(std::env::var("PAGES_TO").unwrap());
    for (name, page) in pages() {
        std::fs::write(folder.join(format!("{name}.html")), page).unwrap();
    }
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages/assets");
    for file in std::fs::read_dir(assets).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
}
