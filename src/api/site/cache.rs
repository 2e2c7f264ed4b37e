//! Answers that may be used again for a while.

use crate::relay::Reply;

/// Something that is the same for everybody, for so many seconds.
pub fn cached(content_type: &str, text: String, seconds: u32) -> Reply {
    let mut reply = Reply::full(200, content_type, text.into_bytes());
    set_cache_control(&mut reply, &format!("public, max-age={seconds}"));
    reply
}

/// How long an answer may be used again.
pub fn set_cache_control(reply: &mut Reply, how: &str) {
    for (name, value) in &mut reply.headers {
        if *name == "cache-control" {
            how.clone_into(value);
        }
    }
}
