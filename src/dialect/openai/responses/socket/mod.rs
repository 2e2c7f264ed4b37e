//! Responses over a WebSocket: what the frames of one connection mean, without IO.
//!
//! A frame `response.create` is one request, and becomes the body of `POST /v1/responses`; each event of its answer is one frame.
//! Since providers keep nothing of most clients, the connection itself remembers its last response: a request that goes on
//! from it, with only what is new in its `input`, is made whole here.
//!
//! What always holds: nothing is remembered of a response that did not come to its end, or beyond [`MOST_KEPT`]; a request
//! that goes on from what is not remembered is told so, and never sent with half of its conversation; a terminal event is
//! passed on as it came.
//!
//! Deliberately absent: money, keys and channels. What is asked for here is served like any other request.

mod frames;
mod kept;
#[cfg(test)]
mod tests;

use super::answer::{ResponseHead, ResponseStatus};
use super::compact::item::is_compaction;
use crate::dialect::bounds;
use crate::dialect::format::{Cost, StreamWish};
use crate::dialect::json::{Edit, Object, items, quoted, text_of};
use crate::dialect::node::Node;
use crate::dialect::openai::out::Out;
use crate::dialect::openai::response_usage_with_cost;
use crate::usage::Usage;
use frames::{BadFrame, NOT_FOUND, error_frame, header_object, not_found, shown, too_large};
pub use kept::Cutter;
use kept::{can_return, joined, kind_of, new_items};

/// The longest frame of a client, and the longest request that one becomes, in bytes; the platform counts UTF-16 units first.
/// It is smaller than the limit of a body over HTTP, because what is remembered, the frame and the whole request stand in memory
/// beside each other.
pub const LONGEST_FRAME: usize = 16 * 1024 * 1024;
/// So many bytes of conversations one connection remembers.
pub const MOST_KEPT: usize = 8 * 1024 * 1024;
/// A connection is at its end after an hour, as at OpenAI. An answer that has begun is not cut.
pub const LONGEST_MS: u64 = 60 * 60 * 1000;
/// Nobody said anything for so long.
pub const IDLE_MS: u64 = 15 * 60 * 1000;
/// So many frames a connection takes, and so many bytes: all of its work counts as one request's at the platform.
const MOST_ITEMS: usize = 4_096;
const MOST_FRAMES: u32 = 2_000;
const MOST_BYTES: usize = 512 * 1024 * 1024;
/// Conversations side by side on one connection, as at OpenAI.
const MOST_LANES: usize = 32;
const LONGEST_LANE: usize = 256;

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Serve this body, and tell [`Connection::event`] what comes.
    Serve(Vec<u8>),
    /// Send these frames.
    Send(Vec<String>),
    /// Send this frame and close the connection.
    End(String),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    opened_ms: u64,
    frames: u32,
    bytes: usize,
    /// Names of lanes that were used.
    lanes: Vec<String>,
    kept: Vec<Kept>,
    turn: Option<Turn>,
}

/// A response that the next request may go on from.
#[derive(Debug)]
struct Kept {
    lane: Option<String>,
    id: String,
    /// All items that went in and came out, with commas between them.
    items: String,
}

/// The request that is being served.
#[derive(Debug)]
struct Turn {
    lane: Option<String>,
    /// What went in; none if that is too much to be remembered.
    items: Option<String>,
    /// What came out, by its place.
    out: Vec<(u64, String)>,
    /// Whether the provider keeps it.
    is_stored: bool,
    /// Headers of the answer, for its first frame.
    headers: Option<String>,
    /// Whether its last event has come.
    is_done: bool,
}

impl Connection {
    /// A connection that was opened now.
    pub const fn new(now_ms: u64) -> Self {
        Self { opened_ms: now_ms, frames: 0, bytes: 0, lanes: Vec::new(), kept: Vec::new(), turn: None }
    }

    /// How many bytes are remembered.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|kept| kept.items.len()).sum()
    }

    /// The same with what the request that is being served will leave, in bytes.
    pub fn taken_bytes(&self) -> usize {
        let served = self.turn.as_ref().and_then(|turn| turn.items.as_ref()).map_or(0, String::len);
        self.kept_bytes().saturating_add(served)
    }

    /// Forgets what was remembered.
    pub fn forget(&mut self) {
        self.kept.clear();
    }

    /// How long to wait for the next frame, in milliseconds; at most until the connection is at its end.
    pub fn patience_ms(&self, now_ms: u64) -> u64 {
        LONGEST_MS.saturating_sub(now_ms.saturating_sub(self.opened_ms)).min(IDLE_MS)
    }

    /// What a frame asks for. `fresh` makes the id of a response that no provider makes.
    pub fn frame(&mut self, text: &str, now_ms: u64, fresh: &str) -> Step {
        self.frames = self.frames.saturating_add(1);
        self.bytes = self.bytes.saturating_add(text.len());
        let is_old = now_ms.saturating_sub(self.opened_ms) >= LONGEST_MS;
        if is_old || self.frames > MOST_FRAMES || self.bytes > MOST_BYTES {
            return Step::End(Self::at_its_end());
        }
        if text.len() > LONGEST_FRAME {
            return Step::Send(vec![too_large().frame(400, None)]);
        }
        if let Err(refusal) = bounds::check(text) {
            return Step::Send(vec![BadFrame::new("invalid_request", refusal.told(), None).frame(400, None)]);
        }
        let Some(frame) = Object::parse(text).filter(|frame| frame.repeated().is_none()) else {
            let message = "A frame must be one JSON object, with each member once. Correct it and send it again.";
            return Step::Send(vec![BadFrame::new("invalid_json", message, None).frame(400, None)]);
        };
        let lane = match self.lane(&frame) {
            Ok(lane) => lane,
            Err((fault, lane)) => return Step::Send(vec![fault.frame(400, lane.as_deref())]),
        };
        self.request(&frame, lane.clone(), now_ms, fresh)
            .unwrap_or_else(|fault| Step::Send(vec![fault.frame(400, lane.as_deref())]))
    }

    /// The frame that tells a client to open another connection.
    pub fn at_its_end() -> String {
        let message = "Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue.";
        BadFrame::new("websocket_connection_limit_reached", message, None).frame(400, None)
    }

    /// A frame that is too long, or not text.
    pub fn unreadable(message: &str) -> String {
        BadFrame::new("invalid_request", message, None).frame(400, None)
    }

    /// The lane of a frame; an error with the lane where its name is one.
    fn lane(&mut self, frame: &Object<'_>) -> Result<Option<String>, (BadFrame, Option<String>)> {
        let Some(json) = frame.given("stream_id") else { return Ok(None) };
        let is_name = |name: &str| {
            (1..=LONGEST_LANE).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        let Some(name) = text_of(json).filter(|name| is_name(name)) else {
            let message = "The 'stream_id' field must be a non-empty string with at most 256 characters and may only contain \
                           letters, numbers, underscores, hyphens, and periods.";
            return Err((BadFrame::new("invalid_stream_id", message, Some("stream_id")), None));
        };
        let name = name.into_owned();
        if !self.lanes.contains(&name) {
            if self.lanes.len() >= MOST_LANES {
                let message = "This WebSocket connection has reached its maximum number of distinct stream IDs (32). Reuse an \
                               existing stream_id or open a new WebSocket connection.";
                return Err((BadFrame::new("websocket_stream_limit_reached", message, Some("stream_id")), Some(name)));
            }
            self.lanes.push(name.clone());
        }
        Ok(Some(name))
    }

    fn request(&mut self, frame: &Object<'_>, lane: Option<String>, now_ms: u64, fresh: &str) -> Result<Step, BadFrame> {
        let node = Node::root(frame);
        match node.words("type").as_str() {
            "response.create" => {}
            // The client has read a response to its end.
            "response.processed" => return Ok(Step::Send(Vec::new())),
            other => {
                let message = format!("The type `{}` is not known here; send `response.create`.", shown(other));
                return Err(BadFrame::new("invalid_request", message, Some("type")));
            }
        }
        let is_stored = node.given("store") != Some("false");
        let mut edits = ["type", "generate", "stream_id"].map(Edit::Remove).to_vec();
        edits.push(Edit::Set("stream", "true".to_owned()));
        let before = match node.given("previous_response_id").and_then(text_of) {
            None => None,
            Some(id) => match self.kept.iter().find(|kept| kept.id == id) {
                Some(kept) => {
                    edits.push(Edit::Remove("previous_response_id"));
                    Some(kept.items.as_str())
                }
                // The provider may have it.
                None if is_stored && node.given("generate") != Some("false") => None,
                None => return Err(not_found(&id)),
            },
        };
        let new = match node.given("input") {
            None => None,
            Some(json) => Some(new_items(json).ok_or_else(|| {
                BadFrame::new("invalid_request", "`input` must be a string or a list of items.", Some("input"))
            })?),
        };
        let whole = joined(before.unwrap_or_default(), new.as_deref().unwrap_or_default());
        if whole.len() > LONGEST_FRAME {
            return Err(too_large());
        }
        let is_known = before.is_some() || node.given("previous_response_id").is_none();
        let is_kept = is_known && whole.len() <= MOST_KEPT;
        if node.given("generate") == Some("false") {
            return Ok(Step::Send(self.warmed(&node, lane, is_kept.then_some(whole), (now_ms, fresh))));
        }
        let items = is_kept.then(|| whole.clone());
        if before.is_some() {
            edits.push(Edit::Set("input", format!("[{whole}]")));
        }
        drop(whole);
        let body = frame.edited(&edits).into_bytes();
        // What a lane goes on from is its last response alone; should this one fail, it can be tried again.
        self.turn = Some(Turn { lane, items, out: Vec::new(), is_stored, headers: None, is_done: false });
        Ok(Step::Serve(body))
    }

    /// A request that asks for nothing but to be remembered: nobody is called, so it costs nothing.
    fn warmed(
        &mut self,
        node: &Node<'_>,
        lane: Option<String>,
        items: Option<String>,
        (now_ms, fresh): (u64, &str),
    ) -> Vec<String> {
        let created = i64::try_from(now_ms / 1000).unwrap_or_default();
        let wish = StreamWish { created, ..StreamWish::default() };
        let head = ResponseHead::new(fresh, &node.words("model"), &wish);
        let free = Cost { amount: "0".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        let usage = response_usage_with_cost(None, &Usage::default(), &free);
        let event = |(number, (kind, status, usage)): (usize, (&str, ResponseStatus, Option<&str>))| {
            let mut event = Out::object();
            event.text("type", kind).member("sequence_number", &number.to_string());
            event.member("response", &head.response(status, &[], usage)).maybe_text("stream_id", lane.as_deref());
            event.done()
        };
        let events = [
            ("response.created", ResponseStatus::InProgress, None),
            ("response.in_progress", ResponseStatus::InProgress, None),
            ("response.completed", ResponseStatus::Completed, Some(usage.as_str())),
        ];
        let frames = events.into_iter().enumerate().map(event).collect();
        self.keep(lane, head.id, items);
        frames
    }

    /// Remembers a response as the last one of its lane. What is older goes where there is no room for all.
    fn keep(&mut self, lane: Option<String>, id: String, items: Option<String>) {
        self.kept.retain(|kept| kept.lane != lane);
        let Some(items) = items.filter(|items| items.len() <= MOST_KEPT) else { return };
        self.kept.push(Kept { lane, id, items });
        while self.kept_bytes() > MOST_KEPT {
            self.kept.remove(0);
        }
    }

    /// The headers of the answer to the request that is being served; its first frame tells them.
    pub fn answered<'h>(&mut self, headers: impl Iterator<Item = (&'h str, &'h str)>) {
        if let Some(turn) = &mut self.turn {
            turn.headers = Some(header_object(headers));
        }
    }

    /// The request that is being served was refused, with this JSON; the frame that tells so.
    pub fn refused<'h>(&mut self, status: u16, headers: impl Iterator<Item = (&'h str, &'h str)>, body: &[u8]) -> String {
        let lane = self.turn.take().and_then(|turn| turn.lane);
        let body = std::str::from_utf8(body).unwrap_or_default();
        let error = Object::parse(body).and_then(|body| body.get("error")).and_then(Object::parse);
        let Some(error) = error else {
            return BadFrame::new("server_error", "The request failed. Send it again.", None)
                .frame(status.max(500), lane.as_deref());
        };
        // By this code clients know that they have to send everything.
        let is_previous = error.get("param") == Some("\"previous_response_id\"");
        let edits = is_previous.then(|| Edit::Set("code", quoted(NOT_FOUND)));
        let error = error.edited(&edits.into_iter().collect::<Vec<_>>());
        error_frame(status, &error, Some(&header_object(headers)), lane.as_deref())
    }

    /// An event of the answer to the request that is being served; the frame that tells it.
    pub fn event(&mut self, data: String) -> Option<String> {
        let turn = self.turn.as_mut()?;
        let Some(event) = Object::parse(&data) else { return Some(data) };
        let mut edits: Vec<Edit> = Vec::new();
        edits.extend(turn.headers.take().map(|headers| Edit::Set("headers", headers)));
        edits.extend(turn.lane.as_deref().map(|lane| Edit::Set("stream_id", quoted(lane))));
        let mut last = None;
        match event.get("type").unwrap_or_default() {
            "\"response.output_item.done\"" => turn.note(&event),
            "\"response.completed\"" | "\"response.incomplete\"" => {
                turn.is_done = true;
                last = event.get("response").and_then(Object::parse);
            }
            "\"response.failed\"" | "\"response.cancelled\"" => turn.is_done = true,
            "\"error\"" => {
                turn.is_done = true;
                // Without a status, a client would wait for more.
                edits.extend(event.get("status").is_none().then(|| Edit::Set("status", "502".to_owned())));
            }
            _ => {}
        }
        let frame = if edits.is_empty() { None } else { Some(event.edited(&edits)) };
        if let Some(response) = last {
            self.complete(&response);
        }
        Some(frame.unwrap_or(data))
    }

    /// The response is complete, and can be gone on from.
    fn complete(&mut self, response: &Object<'_>) {
        let Some(turn) = self.turn.take() else { return };
        let node = Node::root(response);
        let id = node.words("id");
        let out = match turn.out.is_empty() {
            true => node.given("output").and_then(items).unwrap_or_default().into_iter().map(ToOwned::to_owned).collect(),
            false => turn.out.into_iter().map(|(_, item)| item).collect::<Vec<_>>(),
        };
        let own = id.strip_prefix("resp_").unwrap_or(&id);
        let out: Vec<String> = out.into_iter().filter(|item| turn.is_stored || can_return(item, own)).collect();
        // A compaction stands for everything before it.
        let compacted = out.iter().rposition(|item| kind_of(item).as_deref().is_some_and(is_compaction));
        let kept = match (compacted, turn.items) {
            (Some(at), _) => out.get(at..).map(|out| out.join(",")),
            (None, Some(items)) => Some(joined(&items, &out.join(","))),
            (None, None) => None,
        };
        self.keep(turn.lane, id, kept);
    }

    /// The answer has no more events. A frame, where its last one is missing.
    pub fn ended(&mut self) -> Option<String> {
        let turn = self.turn.take().filter(|turn| !turn.is_done)?;
        let message = "The answer broke off before it was complete. Send the request again.";
        Some(BadFrame::new("upstream_cut", message, None).frame(502, turn.lane.as_deref()))
    }
}

impl Turn {
    /// Notes an item that is done, as long as all of it can be remembered.
    fn note(&mut self, event: &Object<'_>) {
        let place = event.get("output_index").and_then(|json| json.parse().ok());
        let Some(item) = event.get("item") else { return };
        let noted: usize = self.out.iter().map(|(_, item)| item.len()).sum();
        if self.out.len() >= MOST_ITEMS || noted.saturating_add(item.len()) > MOST_KEPT {
            self.items = None;
            return;
        }
        let place = place.unwrap_or(u64::MAX);
        let at = self.out.partition_point(|(other, _)| *other <= place);
        self.out.insert(at, (place, item.to_owned()));
    }
}
