//! A stream of a response on its way to a client that reads the same.
//!
//! What always holds: only `response.completed` and `response.incomplete` complete it; there is no `[DONE]`; how upstream says
//! that it failed reaches the client as upstream said it, and one that broke off otherwise ends in `error` and
//! `response.failed`.

use super::answer::{ResponseHead, ResponseStatus};
use super::owned::Tagging;
use super::response::{finish_reason, named, priced_usage, read_usage};
use crate::dialect::condition::Condition;
use crate::dialect::format::{Counting, Passthrough, StreamWish, UpstreamError};
use crate::dialect::json::{Edit, Object, quoted, text_of, unquoted};
use crate::dialect::node::Node;
use crate::dialect::openai::out::Out;
use crate::dialect::openai::read_error_object;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};

/// A response that is longer at its beginning, for the instructions and tools that it repeats, is not told again with each sign
/// of life.
const LONGEST_KNOWN: usize = 16 * 1024;

/// Follows one stream.
pub struct ResponsesLine {
    wish: StreamWish,
    counting: Counting,
    /// The number of the next event.
    next: u64,
    /// The response as it was told at its beginning.
    known: Option<String>,
    /// Whether it has output.
    has_output: bool,
    /// What upstream's event `error` said.
    fault: Option<UpstreamError>,
    /// Whether upstream has told that it failed.
    is_over: bool,
    /// Makes ids of items say who made them.
    tagging: Tagging,
}

/// What an event is about.
pub enum EventKind {
    /// The response is complete.
    Terminal,
    /// It failed, or was cancelled; the error as JSON.
    Failed(String),
    /// An error, as JSON. What became of the response may come after it.
    Error(String),
    /// More of it.
    More,
}

/// What an event's type says; its name where it has no type of its own.
pub fn kind_of(root: &Node<'_>, name: Option<&str>) -> (String, EventKind) {
    let kind = Some(root.words("type")).filter(|kind| !kind.is_empty());
    let kind = kind.unwrap_or_else(|| name.unwrap_or_default().to_owned());
    let response = root.object("response").ok().flatten();
    let own_error = |node: &Node<'_>| node.given("error").map(ToOwned::to_owned);
    let failed =
        |otherwise: &str| EventKind::Failed(response.as_ref().and_then(own_error).unwrap_or_else(|| otherwise.to_owned()));
    let what = match kind.as_str() {
        "response.completed" | "response.incomplete" => EventKind::Terminal,
        "response.failed" => failed("{}"),
        "response.cancelled" => failed(r#"{"code":"cancelled","message":"the response was cancelled"}"#),
        "error" => EventKind::Error(own_error(root).unwrap_or_else(|| root_error(root))),
        _ => own_error(root).map_or(EventKind::More, EventKind::Error),
    };
    (kind, what)
}

/// An error whose members stand in the event itself.
fn root_error(root: &Node<'_>) -> String {
    let mut error = Out::object();
    for name in ["message", "code", "param"] {
        error.maybe(name, root.given(name));
    }
    error.done()
}

/// In place of words about the gateway's own account at the provider.
const OURS: &str = "The provider refused the gateway's own account.";

impl ResponsesLine {
    pub fn new(wish: StreamWish, counting: Counting) -> Self {
        let tagging = Tagging::new(wish.tag_item.clone());
        Self { wish, counting, next: 0, known: None, has_output: false, fault: None, is_over: false, tagging }
    }

    /// A response as far as it is known, for events of the gateway's own.
    fn known(&self) -> String {
        let unknown = || ResponseHead::new("", &self.wish.model, &self.wish).response(ResponseStatus::InProgress, &[], None);
        self.known.clone().unwrap_or_else(unknown)
    }

    /// Keeps what the first event says of the response, with names as the client knows them.
    fn keep(&mut self, response: &str) {
        if response.len() <= LONGEST_KNOWN {
            self.known = Some(response.to_owned());
        } else if let Some(object) = Object::parse(response) {
            let node = Node::root(&object);
            let head = ResponseHead::of_provider(&node.words("id"), &node.words("model"), &self.wish);
            self.known = Some(head.response(ResponseStatus::InProgress, &[], None));
        }
    }

    /// Upstream told an error. Before its first event another candidate may do; after it the client gets it as it is, and what
    /// became of the response may follow.
    fn error(
        &mut self,
        (event, object): (&Data, &Object<'_>),
        mut error: UpstreamError,
        stream: &mut StreamState,
        out: &mut Vec<u8>,
    ) {
        let is_event = Node::root(object).words("type") == "error" || event.name.as_deref() == Some("error");
        if !stream.has_chunks() || !is_event {
            stream.progress = Progress::Broken(error);
            return;
        }
        if !is_about_our_account(&error) {
            self.fault = Some(error);
            return Data::write(event.name.as_deref(), &event.data, out);
        }
        error.message = OURS.to_owned();
        let edit = match object.get("error").and_then(Object::parse) {
            Some(own) => Edit::Set("error", own.edited(&[Edit::Set("message", quoted(OURS))])),
            None => Edit::Set("message", quoted(OURS)),
        };
        self.fault = Some(error);
        Data::write(event.name.as_deref(), &object.edited(&[edit]), out);
    }

    /// Upstream told that the response failed: the client gets it as it is, and nothing after it.
    fn failed(
        &mut self,
        (event, object): (&Data, &Object<'_>),
        error: UpstreamError,
        stream: &mut StreamState,
        out: &mut Vec<u8>,
    ) {
        if stream.has_chunks() {
            let response = object.get("response").and_then(Object::parse);
            let edited = response.map(|response| {
                let node = Node::root(&response);
                if let Some(usage) = node.given("usage").and_then(|json| read_usage(&node, json, self.counting)) {
                    stream.reported = Some(usage);
                }
                let mut edits = self.named(&response);
                let own = response.get("error").and_then(Object::parse).filter(|_| is_about_our_account(&error));
                edits.extend(own.map(|own| Edit::Set("error", own.edited(&[Edit::Set("message", quoted(OURS))]))));
                object.edited(&[Edit::Set("response", response.edited(&edits))])
            });
            self.is_over = true;
            Data::write(event.name.as_deref(), edited.as_deref().unwrap_or(&event.data), out);
        }
        stream.progress = Progress::Broken(error);
    }

    /// The names as the client knows them; the id is the one that it was told before there was an answer, if it was.
    fn named(&self, response: &Object<'_>) -> Vec<Edit> {
        let mut edits = named(response, &self.wish);
        if self.wish.begun.get() > 0 {
            edits.retain(|edit| edit.name() != "id");
            edits.push(Edit::Set("id", quoted(&ResponseHead::new("", "", &self.wish).id)));
        }
        edits
    }

    /// An event with the number that it has after those that were told before there was an answer.
    fn renumbered(&self, event: &Data) -> Option<Data> {
        let begun = Some(self.wish.begun.get()).filter(|begun| *begun > 0)?;
        let object = Object::parse(&event.data)?;
        let number: u64 = object.get("sequence_number")?.parse().ok()?;
        let number = number.saturating_add(begun).to_string();
        Some(Data { name: event.name.clone(), data: object.edited(&[Edit::Set("sequence_number", number)]) })
    }
}

/// Whether an error is between the gateway and the provider.
fn is_about_our_account(error: &UpstreamError) -> bool {
    Condition::of(error, 200).is_some_and(Condition::is_about_our_account)
}

impl Passthrough for ResponsesLine {
    fn event(&mut self, event: &Data, stream: &mut StreamState, out: &mut Vec<u8>) {
        let renumbered = self.renumbered(event);
        let event = renumbered.as_ref().unwrap_or(event);
        let data = event.data.as_str();
        if data.is_empty() {
            return;
        }
        let Some(object) = Object::parse(data) else { return stream.break_off("an event is not a JSON object") };
        let root = Node::root(&object);
        let (kind, what) = kind_of(&root, event.name.as_deref());
        if let Some(number) = object.get("sequence_number").and_then(|number| number.parse::<u64>().ok()) {
            self.next = number.saturating_add(1);
        }
        match &what {
            EventKind::Error(error) => return self.error((event, &object), read_error_object(error), stream, out),
            EventKind::Failed(error) => return self.failed((event, &object), read_error_object(error), stream, out),
            // Upstream's own sign of life.
            EventKind::More if SIGNS.contains(&kind.as_str()) => return Data::write(event.name.as_deref(), data, out),
            EventKind::Terminal | EventKind::More => {}
        }
        let response = object.get("response").and_then(Object::parse);
        let is_terminal = matches!(what, EventKind::Terminal);
        if is_terminal && response.is_none() {
            return stream.break_off("the last event has no response");
        }
        stream.flow();
        if let Some(delta) = object.get("delta").filter(|delta| text_of(delta).is_some()) {
            stream.output(unquoted(delta));
        }
        let Some(response) = response else {
            self.has_output |= kind.starts_with("response.");
            let edits = self.tagging.event(&object);
            let tagged = (!edits.is_empty()).then(|| object.edited(&edits));
            return Data::write(event.name.as_deref(), tagged.as_deref().unwrap_or(data), out);
        };
        let mut edits = self.named(&response);
        if is_terminal {
            let node = Node::root(&response);
            if let Some(usage) = node.given("usage").and_then(|json| read_usage(&node, json, self.counting)) {
                stream.reported = Some(usage);
            }
            stream.finish_reason = Some(finish_reason(&node));
            stream.progress = Progress::Done;
            edits.push(priced_usage(&response, &stream.usage().0, &stream.cost()));
        }
        let edited = (!edits.is_empty()).then(|| response.edited(&edits));
        if self.known.is_none() && !is_terminal {
            self.keep(edited.as_deref().or(object.get("response")).unwrap_or_default());
        }
        match edited {
            Some(edited) => {
                let edited = object.edited(&[Edit::Set("response", edited)]);
                Data::write(event.name.as_deref(), &edited, out);
            }
            None => Data::write(event.name.as_deref(), data, out),
        }
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        // The number of the event before it: those that come are upstream's.
        let last = self.next.saturating_sub(1);
        if self.has_output {
            return write_keepalive(last, out);
        }
        let mut number = last;
        let mut kind = "response.in_progress";
        if self.known.is_none() && self.wish.goes_on {
            out.extend_from_slice(b": ping\n\n");
            return;
        }
        if self.known.is_none() {
            number = self.wish.begun.get();
            if number == 0 {
                kind = "response.created";
            }
            self.next = number.saturating_add(1);
            self.wish.begun.set(self.next);
        }
        let mut event = Out::object();
        event.text("type", kind).member("sequence_number", &number.to_string()).member("response", &self.known());
        Data::write(Some(kind), &event.done(), out);
    }

    fn end(&mut self, stream: &mut StreamState, _: &mut Vec<u8>) {
        if let Some(fault) = &self.fault {
            stream.progress = Progress::Broken(fault.clone());
        }
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        let mut next = self.next;
        let told = match &self.fault {
            // The client knows of the error, and not yet what became of the response.
            Some(fault) => (fault.code.as_deref().unwrap_or(code), fault.message.as_str()),
            None => {
                write_error(next, code, message, out);
                next = next.saturating_add(1);
                (code, message)
            }
        };
        write_failed(next, &self.known(), told, out);
    }
}

/// Events by which servers keep connections alive.
pub const SIGNS: [&str; 2] = ["keepalive", "ping"];

/// OpenAI's own sign of life. Once a response has output, its SDKs take the response in `response.in_progress` for all of it.
pub fn write_keepalive(number: u64, out: &mut Vec<u8>) {
    Data::write(Some("keepalive"), &format!(r#"{{"type":"keepalive","sequence_number":{number}}}"#), out);
}

/// The event that tells an error. OpenAI's has its members in the event; its SDKs raise an error only for an `error` member. So
/// it has both.
pub fn write_error(number: u64, code: &str, message: &str, out: &mut Vec<u8>) {
    let mut event = Out::object();
    event.text("type", "error").text("code", code).text("message", message).member("param", "null");
    event.member("sequence_number", &number.to_string()).open_at("error").text("type", "upstream_error");
    event.text("code", code).text("message", message).member("param", "null").close();
    Data::write(Some("error"), &event.done(), out);
}

/// The event that ends a stream that broke off: the response as it was, failed. Codex looks for nothing else.
pub fn write_failed(number: u64, response: &str, (code, message): (&str, &str), out: &mut Vec<u8>) {
    let mut error = Out::object();
    error.text("code", code).text("message", message);
    let edits = [Edit::Set("status", quoted("failed")), Edit::Set("error", error.done())];
    let failed = Object::parse(response).map(|response| response.edited(&edits)).unwrap_or_default();
    let mut event = Out::object();
    event.text("type", "response.failed").member("sequence_number", &number.to_string()).member("response", &failed);
    Data::write(Some("response.failed"), &event.done(), out);
}
