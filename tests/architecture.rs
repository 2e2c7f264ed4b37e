//! The layout keeps its promises: arrows go one way, the platform stays in its folder, money code cannot panic.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may name of the others. `lib.rs` is the map and names all.
const ARROWS: [(&str, &[&str]); 27] = [
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
    (
        "ports",
        &[
            "account", "catalog", "id", "key", "limits", "money", "operator", "payment", "refusal", "rollup", "routing", "time",
            "truth",
        ],
    ),
    (
        "relay",
        &[
            "account", "body", "catalog", "dialect", "id", "key", "limits", "money", "ports", "refusal", "routing", "time",
            "truth", "usage",
        ],
    ),
    ("rollup", &["account", "catalog", "id", "money", "routing", "time", "truth", "usage"]),
    ("pages", &["catalog", "money", "routing", "time", "truth", "usage"]),
    ("probe", &["account", "catalog", "dialect", "id", "key", "money", "ports", "refusal", "relay", "routing", "time", "truth"]),
    (
        "app",
        &[
            "account", "catalog", "dialect", "id", "key", "limits", "money", "operator", "payment", "ports", "probe", "refusal",
            "relay", "rollup", "routing", "spend", "time", "truth", "usage",
        ],
    ),
    (
        "api",
        &[
            "account", "app", "body", "catalog", "dialect", "export", "id", "key", "limits", "money", "operator", "pages",
            "payment", "ports", "probe", "refusal", "relay", "routing", "spend", "time", "truth", "usage",
        ],
    ),
    (
        "cloudflare",
        &[
            "account", "api", "app", "body", "catalog", "id", "key", "limits", "money", "operator", "payment", "ports", "probe",
            "refusal", "relay", "rollup", "routing", "time", "truth", "webhook",
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
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
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

/// A name that a module brings in: `use path as name`.
struct Import {
    path: Vec<String>,
    name: String,
    is_passed_on: bool,
}

/// What the code of a module names.
#[derive(Default)]
struct Module {
    imports: Vec<Import>,
    paths: Vec<Vec<String>>,
}

/// The modules of the crate by their places: `src/account/record/hold.rs` is at account, record, hold.
type Modules = BTreeMap<Vec<String>, Module>;

fn steps(path: &str) -> impl Iterator<Item = String> {
    path.split("::").map(|step| step.trim_matches([' ', ':']).to_owned()).filter(|step| !step.is_empty())
}

/// `a::{b, c as d};` as the paths a::b and a::c with their names.
fn imports(tree: &str) -> Vec<(Vec<String>, String)> {
    let (mut found, mut groups) = (Vec::new(), vec![Vec::new()]);
    for part in tree.split_inclusive(['{', ',', '}', ';']) {
        let (text, sign) = part.split_at(part.len() - 1);
        let (path, name) = text.split_once(" as ").unwrap_or((text, ""));
        let mut path: Vec<String> = groups.last().unwrap().iter().cloned().chain(steps(path)).collect();
        if sign == "{" {
            groups.push(path);
            continue;
        }
        if !text.trim().is_empty() {
            path.pop_if(|last| ["self", "*"].contains(&last.as_str()));
            let name = steps(name).next().unwrap_or_else(|| path.last().unwrap().clone());
            found.push((path, name));
        }
        if sign == "}" {
            groups.pop();
        }
    }
    found
}

fn read_module(code: &str) -> Module {
    let mut module = Module::default();
    let mut lines = code.lines().map(str::trim);
    while let Some(line) = lines.next() {
        // Who may see something is no need of it, and neither is a module that it has.
        let open = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(")?.split_once(") ").map(|(_, open)| open));
        let bare = open.unwrap_or(line);
        if let Some(tree) = bare.strip_prefix("use ") {
            let mut tree = tree.to_owned();
            while !tree.contains(';') {
                tree.push_str(lines.next().unwrap());
            }
            let is_passed_on = open.is_some();
            module.imports.extend(imports(&tree).into_iter().map(|(path, name)| Import { path, name, is_passed_on }));
        } else if !bare.starts_with("mod ") {
            let paths = bare.split(|c: char| !c.is_alphanumeric() && !['_', ':'].contains(&c));
            module.paths.extend(paths.map(|path| steps(path).collect::<Vec<_>>()).filter(|path| !path.is_empty()));
        }
    }
    module
}

/// The place of the module that has what a path names, as it is written at `from`; over so many that pass it on.
fn home(modules: &Modules, from: &[String], path: &[String], most: usize) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    let (mut at, mut rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (from.to_vec(), &path[1..]),
        "super" => (from[..from.len() - ups].to_vec(), &path[ups..]),
        child if modules.contains_key(&[from, &[child.to_owned()]].concat()) => (from.to_vec(), path),
        _ => return None,
    };
    while let Some((name, further)) = rest.split_first() {
        let child = [&at[..], std::slice::from_ref(name)].concat();
        if !modules.contains_key(&child) {
            // It may only pass it on.
            let import = modules[&at].imports.iter().find(|import| import.name == *name && import.path != path);
            let import = import.filter(|_| most > 0);
            return import.and_then(|import| home(modules, &at, &[&import.path, further].concat(), most - 1)).or(Some(at));
        }
        (at, rest) = (child, further);
    }
    Some(at)
}

/// The places that a module needs; what it only passes on it does not.
fn needs(modules: &Modules, place: &[String]) -> BTreeSet<Vec<String>> {
    let Module { imports, paths } = &modules[place];
    let used = imports.iter().filter(|import| !import.is_passed_on).map(|import| import.path.clone());
    let named = paths.iter().filter_map(|path| {
        let import = imports.iter().find(|import| import.name == path[0]);
        import.map(|import| [&import.path, &path[1..]].concat()).or_else(|| (path.len() > 1).then(|| path.clone()))
    });
    used.chain(named).filter_map(|path| home(modules, place, &path, 9)).filter(|home| home != place).collect()
}

/// The largest sets of names in which every name leads to every other.
fn circles(arrows: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<Vec<String>> {
    let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for start in arrows.keys() {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start.as_str()]);
        while let Some(name) = open.pop() {
            open.extend(arrows.get(name).into_iter().flatten().map(String::as_str).filter(|next| seen.insert(*next)));
        }
        reached.insert(start, seen);
    }
    let in_circles = reached.iter().filter(|(name, seen)| seen.contains(*name));
    let circle = |(name, seen): (&&str, &BTreeSet<&str>)| {
        seen.iter().filter(|other| reached.get(*other).is_some_and(|back| back.contains(name))).map(ToString::to_string).collect()
    };
    in_circles.map(circle).collect()
}

#[test]
fn there_are_no_circles() {
    let place = |path: &Path| -> Vec<String> {
        let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap().with_extension("");
        let names = inside.iter().map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name != "mod" && name != "lib").collect()
    };
    let modules: Modules = sources().iter().map(|path| (place(path), read_module(&code(path)))).collect();
    let mut within: BTreeMap<&str, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to) in modules.keys().flat_map(|from| needs(&modules, from).into_iter().map(move |to| (from, to))) {
        let ([room, file @ ..], [other, further @ ..]) = (from.as_slice(), to.as_slice()) else { continue };
        let name = |file: &[String]| if file.is_empty() { "mod".to_owned() } else { file.join("/") };
        let (graph, from, to) =
            if room == other { (room.as_str(), name(file), name(further)) } else { ("", room.clone(), other.clone()) };
        within.entry(graph).or_default().entry(from).or_default().insert(to);
    }
    let found = within.iter().flat_map(|(room, arrows)| circles(arrows).into_iter().map(|files| (*room, files)));
    let found: BTreeSet<(&str, Vec<String>)> = found.collect();
    assert!(found.is_empty(), "files of a room that need each other or, with no room named, rooms that do: {found:#?}");
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
    let documented = fs::read_to_string(root.join("docs/reference/limits.md")).unwrap();
    let rows: Vec<&str> = documented.lines().filter(|line| line.starts_with("| ")).collect();
    let is_told = |number: &str| {
        let is_part = |c: char| c.is_ascii_digit() || c == ',';
        rows.iter().any(|row| row.split(|c| !is_part(c)).any(|word| word.trim_end_matches(',') == number))
    };
    let mut bounds = 0;
    for file in ["dialect/bounds.rs", "app/bounds.rs", "catalog/bounds.rs", "key.rs"] {
        let source = fs::read_to_string(root.join("src").join(file)).unwrap();
        for line in source.lines().filter(|line| line.starts_with("pub const ") && line.contains(": usize = ")) {
            let number = line.split(" = ").nth(1).unwrap().trim_end_matches(';').replace('_', ",");
            assert!(is_told(&number), "{file}: {line}: docs/reference/limits.md has no {number}");
            bounds += 1;
        }
    }
    assert!(bounds > 15, "only {bounds} bounds were found");
}
