//! Endpoints are chosen by their table alone: what the sources name of paths is in it, and nothing else decides by a path.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::path::Path;

use tokens_forge::api::table::{Handler, Row, SWITCHING, TABLE};
use tokens_forge::dialect::{Endpoint, EndpointPath};

/// The code of a source without comments and without its tests.
fn code(name: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The sources that dispatch, which are all of `api` but the table.
fn dispatching() -> Vec<String> {
    fn under(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("table") {
                under(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = vec!["dialect/endpoint.rs".to_owned()];
    under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"), &mut found);
    found
}

/// The texts in quotes that look like paths, or the beginnings of paths. Places in JSON are not meant.
fn paths(code: &str) -> Vec<String> {
    let pieces: Vec<&str> = code.split('"').collect();
    let is_place = |before: &str| ["pointer(", "pointer(&format!(", " of("].iter().any(|call| before.ends_with(call));
    let texts = pieces.chunks_exact(2).filter(|pair| !is_place(pair[0])).map(|pair| pair[1]);
    let is_path = |text: &&str| {
        text.len() > 1
            && text.starts_with('/')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.{}:-".contains(&byte))
    };
    texts.filter(is_path).map(ToOwned::to_owned).collect()
}

#[test]
fn every_path_that_the_sources_name_is_in_the_table() {
    let mut count = 0;
    for name in dispatching() {
        for path in paths(&code(&name)) {
            count += 1;
            // A whole path, the folder of one, or what follows a name in it.
            let is_part = |row: &Row| {
                let rest = row.path.strip_prefix(path.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.ends_with('/'))
                    || row.path.ends_with(&format!("}}{path}"))
            };
            assert!(TABLE.iter().any(is_part), "{name} names {path}, which is not in the table of endpoints");
        }
    }
    assert!(count > 40, "only {count} paths were found: the sources are written in another way");
}

#[test]
fn nothing_but_the_table_chooses_what_answers_a_path() {
    for name in dispatching() {
        for line in code(&name).lines().filter(|line| line.contains("=>")) {
            let pattern = line.split("=>").next().unwrap();
            assert!(paths(pattern).is_empty(), "{name} chooses by a path: {line}");
        }
    }
    // What a handler answers is a `match` without an arm for whatever else: the compiler holds it against the table.
    for (name, whole) in [("api/mod.rs", "match handler {"), ("api/use_cases.rs", "match use_case {\n        // What")] {
        let code = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)).unwrap();
        let (_, arms) = code.split_once(whole).unwrap_or_else(|| panic!("{name} has no `{whole}`"));
        let arms = arms.split("\n    }\n").next().unwrap();
        assert!(!arms.contains("\n        _ =>"), "{name} has an arm for whatever else");
    }
}

#[test]
fn what_asks_a_model_is_what_the_dialects_say() {
    for row in TABLE {
        let path = row.path.replace("{model}", "a/b");
        let called = EndpointPath::at(&path);
        assert_eq!(called.is_some(), row.about.is_asking(), "{}", row.path);
        let Some(EndpointPath { endpoint, .. }) = called else { continue };
        let opens_a_socket = row.answer.status == SWITCHING;
        assert_eq!(row.method, if opens_a_socket { "GET" } else { "POST" });
        assert_eq!(row.handler, if opens_a_socket { Handler::Socket } else { Handler::Model });
        if !matches!(endpoint, Endpoint::Generate | Endpoint::GenerateCount) {
            assert_eq!(endpoint.name(), row.path);
        }
    }
}
