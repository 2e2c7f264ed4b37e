//! What every answer has.

use crate::refusal::Refusal;
use crate::relay::Reply;

/// For a year browsers come back over TLS alone.
pub const HSTS: &str = "max-age=31536000";

/// What every answer has: how browsers may take it, and that they ask for no other but over TLS.
pub fn secured(reply: Reply, origin: &str) -> Reply {
    let reply = if reply.has("x-content-type-options") { reply } else { reply.header("x-content-type-options", "nosniff") };
    if origin.starts_with("https://") { reply.header("strict-transport-security", HSTS) } else { reply }
}

/// Tells which methods a path has, where that is the refusal.
pub fn with_allow(reply: Reply, refusal: &Refusal) -> Reply {
    match refusal.facts.get("allow").and_then(|allow| allow.as_str()) {
        Some(allow) => reply.header("allow", allow),
        None => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_says_how_browsers_may_take_it() {
        for (origin, expected) in [("https://a.example", Some("max-age=31536000")), ("http://127.0.0.1:8787", None)] {
            for reply in [Reply::json(200, "{}".to_owned()), Reply { headers: Vec::new(), ..Reply::json(200, "{}".to_owned()) }] {
                let reply = secured(reply, origin);
                let values = |name: &str| -> Vec<&str> {
                    reply.headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_str()).collect()
                };
                assert_eq!(values("x-content-type-options"), ["nosniff"], "once");
                assert_eq!(values("strict-transport-security").first().copied(), expected, "{origin}");
            }
        }
    }
}
