//! A stream of a response on its way to a client that reads the same.
//!
//! What always holds: only `response.completed` and `response.incomplete` complete it; there is no `[DONE]`.

use super::{finish_reason, id_edits, priced_usage, read_usage};
use crate::dialect::format::{Counting, Line, StreamWish};
use crate::dialect::json::{Edit, Object};
use crate::dialect::openai::chat::unquoted;
use crate::dialect::openai::node::{Node, text_of};
use crate::dialect::openai::out::Out;
use crate::dialect::openai::read_error_object;
use crate::dialect::sse::Data;
use crate::dialect::tally::{Progress, Tally};

/// Follows one stream.
pub struct ResponsesLine {
    wish: StreamWish,
    counting: Counting,
    /// The number of the next event.
    next: u64,
}

/// What an event is about.
pub enum Kind {
    /// The response is complete.
    Terminal,
    /// An error, as JSON.
    Error(String),
    /// More of it.
    More,
}

/// What an event's type says; its name where it has no type of its own.
pub fn kind_of(root: &Node<'_>, name: Option<&str>) -> (String, Kind) {
    let kind = Some(root.words("type")).filter(|kind| !kind.is_empty());
    let kind = kind.unwrap_or_else(|| name.unwrap_or_default().to_owned());
    let response = root.object("response").ok().flatten();
    let own_error = |node: &Node<'_>| node.raw("error").map(ToOwned::to_owned);
    let what = match kind.as_str() {
        "response.completed" | "response.incomplete" => Kind::Terminal,
        "response.failed" | "response.cancelled" => {
            Kind::Error(response.as_ref().and_then(own_error).unwrap_or_else(|| "{}".to_owned()))
        }
        "error" => Kind::Error(own_error(root).unwrap_or_else(|| root_error(root))),
        _ => own_error(root).map_or(Kind::More, Kind::Error),
    };
    (kind, what)
}

/// An error whose members stand in the event itself.
fn root_error(root: &Node<'_>) -> String {
    let mut error = Out::object();
    for name in ["message", "code", "param"] {
        error.maybe(name, root.raw(name));
    }
    error.done()
}

impl ResponsesLine {
    pub const fn new(wish: StreamWish, counting: Counting) -> Self {
        Self { wish, counting, next: 0 }
    }
}

impl Line for ResponsesLine {
    fn event(&mut self, event: &Data, tally: &mut Tally, out: &mut Vec<u8>) {
        let data = event.data.as_str();
        if data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(data) else { return tally.break_off("an event is not a JSON object") };
        let root = Node::root(&object);
        let (_, kind) = kind_of(&root, event.name.as_deref());
        if let Kind::Error(error) = kind {
            tally.progress = Progress::Broken(read_error_object(&error));
            return;
        }
        let response = object.get("response").and_then(Object::parse);
        if matches!(kind, Kind::Terminal) && response.is_none() {
            return tally.break_off("the last event has no response");
        }
        tally.flow();
        if let Some(number) = object.get("sequence_number").and_then(|number| number.parse::<u64>().ok()) {
            self.next = number.saturating_add(1);
        }
        if let Some(delta) = object.get("delta").filter(|delta| text_of(delta).is_some()) {
            tally.output(unquoted(delta));
        }
        let Some(response) = response else { return Data::write(event.name.as_deref(), data, out) };
        let mut edits: Vec<Edit> = self.wish.seal.as_deref().map(|seal| id_edits(&response, seal)).unwrap_or_default();
        if matches!(kind, Kind::Terminal) {
            let node = Node::root(&response);
            if let Some(usage) = node.raw("usage").and_then(|json| read_usage(&node, json, self.counting)) {
                tally.reported = Some(usage);
            }
            tally.finish_reason = Some(finish_reason(&node));
            tally.progress = Progress::Done;
            edits.push(priced_usage(&response, &tally.usage().0, &tally.cost()));
        }
        if edits.is_empty() {
            return Data::write(event.name.as_deref(), data, out);
        }
        let edited = object.edited(&[Edit::Set("response", response.edited(&edits))]);
        Data::write(event.name.as_deref(), &edited, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn end(&mut self, _: &mut Tally, _: &mut Vec<u8>) {}

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        write_error(self.next, code, message, out);
    }
}

/// The event that ends a stream that broke off. OpenAI's has its members in the event; its SDKs raise an error only for an
/// `error` member. So it has both.
pub fn write_error(number: u64, code: &str, message: &str, out: &mut Vec<u8>) {
    let mut event = Out::object();
    event.text("type", "error").text("code", code).text("message", message).member("param", "null");
    event.member("sequence_number", &number.to_string()).open_at("error").text("type", "upstream_error");
    event.text("code", code).text("message", message).member("param", "null").close();
    Data::write(Some("error"), &event.done(), out);
}
