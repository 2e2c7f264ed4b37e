//! How names and numbers of hosts look, and what looks alike and is none: a name of a file, a member, a version, two sentences.

/// How names of hosts end that end in no word of a language. Others, such as those of files, are no hosts.
const ENDS: [&str; 36] = [
    "com",
    "net",
    "org",
    "io",
    "ai",
    "dev",
    "cn",
    "eu",
    "uk",
    "de",
    "fr",
    "jp",
    "kr",
    "sg",
    "xyz",
    "vip",
    "hk",
    "tw",
    "gov",
    "edu",
    "lan",
    "svc",
    "tech",
    "localhost",
    "ru",
    "su",
    "ua",
    "kz",
    "nl",
    "cz",
    "dk",
    "vn",
    "nz",
    "biz",
    "icu",
    "asia",
];
/// How they end in a word of one, or as files do: what methods and members are called, or a sentence begins with. Of two labels
/// they are hosts only with a port or a path.
const WORDS: [&str; 72] = [
    "cloud",
    "app",
    "us",
    "in",
    "co",
    "run",
    "site",
    "internal",
    "local",
    "chat",
    "info",
    "top",
    "pro",
    "me",
    "live",
    "online",
    "cc",
    "shop",
    "store",
    "space",
    "website",
    "sh",
    "club",
    "fun",
    "wang",
    "ren",
    "ltd",
    "ink",
    "mobi",
    "ninja",
    "rocks",
    "tv",
    "fm",
    "gg",
    "ly",
    "tk",
    "ga",
    "cf",
    "gq",
    "pw",
    "ws",
    "ca",
    "au",
    "ch",
    "es",
    "br",
    "pl",
    "se",
    "fi",
    "tr",
    "il",
    "th",
    "ph",
    "za",
    "ie",
    "ro",
    "hu",
    "gr",
    "mx",
    "works",
    "systems",
    "solutions",
    "software",
    "technology",
    "digital",
    "agency",
    "studio",
    "games",
    "global",
    "center",
    "link",
    "click",
];
/// Of those, what only private hosts end in: two labels are enough.
const PRIVATE: [&str; 2] = ["internal", "local"];
/// Labels that paths of members have and hosts do not: one is enough.
const MEMBERS: [&str; 21] = [
    "properties",
    "parameters",
    "messages",
    "items",
    "contents",
    "arguments",
    "definitions",
    "$defs",
    "anyof",
    "oneof",
    "allof",
    "additionalproperties",
    "input_schema",
    "inputschema",
    "json_schema",
    "response_format",
    "tool_calls",
    "tool_choice",
    "functiondeclarations",
    "generationconfig",
    "toolconfig",
];
/// Labels that hosts have as well: two are a path.
const OFTEN_MEMBERS: [&str; 14] = [
    "content",
    "tools",
    "function",
    "functions",
    "input",
    "output",
    "schema",
    "parts",
    "system",
    "choices",
    "delta",
    "custom",
    "body",
    "metadata",
];
/// What names of packages begin with.
const PACKAGES: [&str; 6] = ["java", "javax", "jakarta", "kotlin", "System", "Microsoft"];
/// What the last of names of classes ends with.
const CLASSES: [&str; 2] = ["Exception", "Error"];
/// What stands around a name.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// What names of another kind have in them: an underscore, or the bracket of an index.
    pub is_in_name: bool,
    /// What it may be the end of: letters, digits, and what paths of members have between.
    pub path: &'a str,
    /// Whether a port, a path, or somebody there is with it, as only hosts have it.
    pub is_used: bool,
}

/// Whether a word is the name or the number of a host, with a port or without. What is `used` as a host has a path behind it, or
/// somebody before it.
pub fn is_host(word: &str, is_used: bool) -> bool {
    if is_v6(word) {
        return true;
    }
    let (host, port) = word.rsplit_once(':').map_or((word, None), |(host, port)| (host, Some(port)));
    port.is_none_or(|port| port_length(&format!(":{port}")) == Some(port.len().saturating_add(1)))
        && is_named(host, Around { is_in_name: false, path: "", is_used: is_used || port.is_some() })
}

/// A number of the sixth version has colons alone.
pub fn is_v6(word: &str) -> bool {
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    is_hex && has_digit && (word.contains("::") || word.matches(':').count() >= 5)
}

/// Whether a number has four parts, each of which a byte can have.
pub fn is_v4(word: &str) -> bool {
    word.split('.').count() == 4 && word.split('.').all(|part| is_digits(part) && part.parse::<u8>().is_ok())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether letters, digits, hyphens and dots are the name or the number of a host.
pub fn is_named(host: &str, around: Around<'_>) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_v4(host) || host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let Some((rest, end)) = host.rsplit_once('.').filter(|_| host.split('.').all(is_label)) else { return false };
    let lower = end.to_ascii_lowercase();
    let lower = lower.as_str();
    // `wait.In` are two sentences.
    let is_sentence = end.starts_with(|c: char| c.is_ascii_uppercase()) && end.len() > 1 && end != end.to_ascii_uppercase();
    let may_be_word = || {
        !around.is_used
            && (rest.split('.').any(is_digits) || !rest.contains('.') && (around.is_in_name || !PRIVATE.contains(&lower)))
    };
    let is_one = ENDS.contains(&lower) || WORDS.contains(&lower) && !is_sentence && !may_be_word();
    is_one && (around.is_used || !is_code(host) && !is_member(around.path, host))
}

/// Whether a name is one of a package or a class: `java.net.SocketTimeoutException`.
pub fn is_code(name: &str) -> bool {
    let is_class = |last: &str| CLASSES.iter().any(|end| last.len() > end.len() && last.ends_with(end));
    name.split('.').next().is_some_and(|first| PACKAGES.contains(&first)) || name.rsplit('.').next().is_some_and(is_class)
}

/// Whether a name is the end of a path of members, `tools[0].parameters.properties.org`, whatever it ends in.
fn is_member(before: &str, name: &str) -> bool {
    let path = format!("{before}{name}").to_ascii_lowercase();
    let (mut often, mut label_before) = (0_u8, "");
    let mut labels = path.split('.').peekable();
    let is_plain = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    while let Some(label) = labels.next() {
        let is_index = label.ends_with([']', ')']) && labels.peek().is_some() || is_digits(label) && is_plain(label_before);
        // What stands before it in brackets is no part of it.
        let label = label.trim_start_matches(['(', '[', '_', '-']);
        if is_index || MEMBERS.contains(&label) {
            return true;
        }
        often = often.saturating_add(u8::from(OFTEN_MEMBERS.contains(&label)));
        label_before = label;
    }
    often >= 2
}

/// How long the port is that a text begins with, with its colon.
pub fn port_length(text: &str) -> Option<usize> {
    let after = text.strip_prefix(':')?;
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let ends = !after.get(digits..)?.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    ((1..=5).contains(&digits) && ends).then(|| digits.saturating_add(1))
}
