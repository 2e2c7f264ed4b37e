//! The layout keeps its promises: arrows go one way, the platform stays in its folder, money code cannot panic.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may name of the others. `lib.rs` is the map and names all.
const ARROWS: [(&str, &[&str]); 25] = [
    ("money", &["usage"]),
    ("usage", &[]),
    ("time", &[]),
    ("id", &["time"]),
    ("refusal", &[]),
    ("limits", &["time"]),
    ("body", &["limits", "refusal"]),
    ("truth", &["catalog", "id", "time"]),
    ("key", &["catalog", "id", "money", "time"]),
    ("catalog", &["id", "money", "time", "usage"]),
    ("account", &["catalog", "id", "key", "money", "refusal", "time", "truth", "usage"]),
    ("payment", &["account", "id", "money", "refusal", "time", "webhook"]),
    ("routing", &["catalog", "id", "key", "money", "refusal", "time", "truth", "usage"]),
    ("dialect", &["catalog", "id", "refusal", "usage"]),
    ("operator", &["id", "time"]),
    ("ports", &["account", "catalog", "id", "key", "limits", "money", "operator", "payment", "routing", "time", "truth"]),
    (
        "relay",
        &[
            "account", "body", "catalog", "dialect", "id", "key", "limits", "money", "ports", "refusal", "routing", "time",
            "truth", "usage",
        ],
    ),
    ("pages", &["catalog", "money", "routing", "time", "truth", "usage"]),
    ("probe", &["account", "catalog", "dialect", "id", "key", "money", "ports", "refusal", "relay", "routing", "time", "truth"]),
    (
        "api",
        &[
            "account", "body", "catalog", "dialect", "export", "id", "key", "limits", "money", "operator", "pages", "payment",
            "ports", "probe", "refusal", "relay", "routing", "spend", "time", "truth", "usage",
        ],
    ),
    (
        "cloudflare",
        &[
            "account", "api", "body", "catalog", "id", "key", "limits", "money", "operator", "payment", "ports", "probe",
            "refusal", "relay", "routing", "time", "truth", "webhook",
        ],
    ),
    ("export", &["money", "time"]),
    ("spend", &["money"]),
    ("webhook", &["time"]),
    ("lib", &[]),
];

fn sources() -> Vec<PathBuf> {
    fn under(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                under(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    under(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").as_path(), &mut found);
    found
}

/// The room that a file belongs to.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The code of a file without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every `crate::name` in the code.
fn named(code: &str) -> Vec<String> {
    let after = code.split("crate::").skip(1);
    after.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn arrows_go_one_way() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for path in sources() {
        let room = room(&path);
        let allowed = arrows.get(room.as_str()).unwrap_or_else(|| panic!("{room} has no arrows: say what it may name"));
        for name in named(&code(&path)) {
            assert!(name == room || allowed.contains(&name.as_str()), "{} names crate::{name}", path.display());
        }
    }
}

#[test]
fn the_arrows_have_no_circle_but_the_two_that_are_known() {
    // `ports` and `probe` speak of each other: the ports publish what probes found. `key` and `catalog` stand side by side.
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for (room, names) in &arrows {
        for name in *names {
            let is_back = arrows[name].contains(room);
            assert!(
                !is_back || [*room, *name].iter().all(|end| ["ports", "probe"].contains(end)),
                "{room} and {name} name each other"
            );
        }
    }
}

#[test]
fn the_platform_stays_in_its_folder() {
    for path in sources().into_iter().filter(|path| room(path) != "cloudflare") {
        let code = code(&path);
        for name in ["worker::", "wasm_bindgen", "js_sys", "web_sys", "getrandom"] {
            assert!(!code.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn money_code_cannot_panic() {
    // The crate denies these everywhere; the compiler's lints do the finding, this makes sure that they are on.
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for lint in [
        "unwrap_used",
        "expect_used",
        "panic",
        "todo",
        "unimplemented",
        "unreachable",
        "indexing_slicing",
        "cast_possible_truncation",
    ] {
        assert!(manifest.contains(&format!("{lint} = \"deny\"")), "{lint}");
    }
    for file in ["money.rs", "usage.rs", "account/mod.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
        for lint in ["clippy::arithmetic_side_effects", "clippy::as_conversions"] {
            assert!(text.lines().any(|line| line.starts_with("#![deny(") && line.contains(lint)), "{file} does not deny {lint}");
        }
    }
    for path in sources().into_iter().filter(|path| ["money", "usage", "account"].contains(&room(path).as_str())) {
        let code = code(&path);
        for way in ["allow(clippy", ".unwrap()", ".expect(", "panic!", "unreachable!", "assert!", "assert_eq!", "f64", "f32"] {
            assert!(!code.contains(way), "{} has {way}", path.display());
        }
    }
}

#[test]
fn only_the_platforms_bindings_may_have_unsafe_code() {
    let allowing: Vec<PathBuf> = sources().into_iter().filter(|path| code(path).contains("allow(unsafe_code)")).collect();
    assert_eq!(allowing.len(), 1, "{allowing:?}");
    assert!(allowing[0].ends_with("cloudflare/platform.rs"));
}

#[test]
fn the_wasm_carries_no_tables_for_international_host_names() {
    // The pin lives in the lock file alone: a plain `cargo update` would bring some 100 KB back.
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"idna_adapter\"\nversion = \"1.0.0\""), "cargo update -p idna_adapter --precise 1.0.0");
}

#[test]
fn files_stay_readable() {
    for path in sources() {
        let lines = code(&path).lines().count();
        assert!(lines <= 450, "{} has {lines} lines of code: look for the second concept in it", path.display());
    }
}

#[test]
fn what_clients_name_is_looked_up_in_trees() {
    // On wasm32 the keys of the standard library's hash maps are not random: a client could choose names that all meet.
    for path in sources().iter().filter(|path| room(path) == "dialect") {
        let code = code(path);
        assert!(!code.contains("HashMap") && !code.contains("HashSet"), "{}: use a BTreeMap or a BTreeSet", path.display());
    }
}

#[test]
fn the_limits_are_as_they_are_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documented = fs::read_to_string(root.join("docs/limits.md")).unwrap();
    let rows: Vec<&str> = documented.lines().filter(|line| line.starts_with("| ")).collect();
    let is_told = |number: &str| {
        let is_part = |c: char| c.is_ascii_digit() || c == ',';
        rows.iter().any(|row| row.split(|c| !is_part(c)).any(|word| word.trim_end_matches(',') == number))
    };
    let mut bounds = 0;
    for file in ["dialect/bounds.rs", "api/bounds.rs", "catalog/bounds.rs", "key.rs"] {
        let source = fs::read_to_string(root.join("src").join(file)).unwrap();
        for line in source.lines().filter(|line| line.starts_with("pub const ") && line.contains(": usize = ")) {
            let number = line.split(" = ").nth(1).unwrap().trim_end_matches(';').replace('_', ",");
            assert!(is_told(&number), "{file}: {line}: docs/limits.md has no {number}");
            bounds += 1;
        }
    }
    assert!(bounds > 15, "only {bounds} bounds were found");
}
