//! The sites whose pages may call from a browser.
//!
//! What always holds: a list is bounded, each entry is `*` or an origin as browsers write it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// So many sites one list names.
const MOST: usize = 32;
/// In characters.
const LONGEST: usize = 255;
/// Every site.
const ANY: &str = "*";

/// One entry: `*`, or scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(String);

impl AllowedOrigin {
    fn parse(text: &str) -> Option<Self> {
        if text == ANY {
            return Some(Self(text.to_owned()));
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, place) = lower.split_once("://").filter(|_| text.len() <= LONGEST)?;
        let starts_well = scheme.starts_with(|first: char| first.is_ascii_lowercase());
        let is_scheme =
            starts_well && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        let is_of_place = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']');
        // Browsers leave out the port that the scheme has by itself.
        let is_usual_port = scheme == "https" && place.ends_with(":443") || scheme == "http" && place.ends_with(":80");
        (is_scheme && !place.is_empty() && place.bytes().all(is_of_place) && !is_usual_port).then_some(Self(lower))
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sites whose pages may call; empty is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("maxItems" = MOST)))]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Origins(Vec<AllowedOrigin>);

impl Origins {
    /// Whether pages of this site may call; `origin` is what the browser says in `Origin`.
    pub fn allows(&self, origin: &str) -> bool {
        self.0.iter().any(|site| site.0 == ANY || site.0.eq_ignore_ascii_case(origin))
    }

    /// Whether no site is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sites as they were named.
    pub fn as_slice(&self) -> &[AllowedOrigin] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Origins {
    type Error = String;
    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        if texts.len() > MOST {
            return Err(format!("names {} sites, and {MOST} is the most", texts.len()));
        }
        let wrong = || "must be `*` or origins as browsers send them, such as https://app.example.com: without a path, a slash at the end, or a usual port";
        texts.iter().map(|text| AllowedOrigin::parse(text)).collect::<Option<_>>().map(Self).ok_or_else(|| wrong().to_owned())
    }
}

impl From<Origins> for Vec<String> {
    fn from(origins: Origins) -> Self {
        origins.0.into_iter().map(|site| site.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Origins, String> {
        serde_json::from_str(json).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for text in [
            "*",
            "https://app.example.com",
            "HTTPS://App.Example.Com",
            "http://localhost:5173",
            "http://[::1]:8080",
            "chrome-extension://abcdef",
            "tauri://localhost",
        ] {
            assert!(read(&format!("[{text:?}]")).is_ok(), "{text}");
        }
        for text in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://*.example",
            "https://a.example:443",
            "http://a.example:80",
            "https://a b",
            "https://user@a.example",
            "https://ä.example",
            "1https://a",
            "https://a?b",
        ] {
            assert!(read(&format!("[{text:?}]")).is_err(), "{text}");
        }
        assert!(read(&format!("[\"https://{}\"]", "a".repeat(300))).is_err());
        let many = vec!["*"; MOST + 1];
        assert!(read(&serde_json::to_string(&many).unwrap()).unwrap_err().contains("32 is the most"));
        assert!(read("\"*\"").is_err() && read("{}").is_err());
    }

    #[test]
    fn only_the_sites_that_are_named_may_call() {
        let named = read(r#"["https://App.example", "http://localhost:5173"]"#).unwrap();
        for (origin, allowed) in [
            ("https://app.example", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil", false),
            ("https://x.app.example", false),
            ("http://localhost:5173", true),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(named.allows(origin), allowed, "{origin}");
            assert!(read("[\"*\"]").unwrap().allows(origin));
            assert!(!Origins::default().allows(origin));
        }
        assert_eq!(serde_json::to_string(&named).unwrap(), r#"["https://app.example","http://localhost:5173"]"#);
    }
}
