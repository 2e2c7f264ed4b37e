//! The turns of a request and their parts.
//!
//! What always holds: every call has an id, and the same conversation gives it the same one again; every result has a call.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::media::{kind, mime_type, standard_base64};
use super::sift::sift;
use super::write_request::{NO_SIGNATURE, wrapped};
use crate::dialect::conversation::{CallResult, Media, Message, Part, Role, Source, Text, Thinking, ToolCall};
use crate::dialect::format::{Dropped, UNKNOWN};
use crate::dialect::json::{Object, text_of};
use crate::dialect::node::Node;
use crate::dialect::proof::{is_carried, read_carried};
use crate::refusal::Refusal;

/// What a part may have beside what it is.
const HINTS: [&str; 3] = ["videoMetadata", "mediaResolution", "partMetadata"];
/// What a part may be.
const KINDS: [&str; 5] = ["text", "inlineData", "fileData", "functionCall", "functionResponse"];
/// Google's own addresses: files that it keeps, and videos.
const GOOGLES: [&str; 4] = ["generativelanguage.googleapis.com", "youtube.com", "www.youtube.com", "youtu.be"];

/// Reads `systemInstruction`, whose parts are texts.
pub fn read_system<'a>(request: &Node<'a>, dropped: &mut Dropped) -> Result<Vec<Part<'a>>, Refusal> {
    let mut parts = Vec::new();
    // It is one, unless a client writes a list of them.
    let name = "systemInstruction";
    let is_one = request.given(name).is_none_or(|json| json.starts_with('{'));
    for content in if is_one { vec![request.within(name)?] } else { request.nodes(name)? } {
        for part in content.nodes("parts")? {
            sift(&part, &["text"], &HINTS, dropped)?;
            if let Some(text) = part.text("text")? {
                parts.push(Part::Text { text, cache: None });
            }
        }
    }
    Ok(parts)
}

/// Reads `contents`.
pub fn read_contents<'a>(request: &Node<'a>, dropped: &mut Dropped) -> Result<Vec<Message<'a>>, Refusal> {
    let mut turns = Turns { dropped, open: Calls::default(), answered: BTreeSet::new() };
    let mut messages: Vec<Message<'a>> = Vec::new();
    for (index, content) in request.nodes("contents")?.iter().enumerate() {
        let role = match content.text("role")?.as_deref() {
            None | Some("" | "user" | "function") => Role::User,
            Some("model") => Role::Assistant,
            Some(_) => return Err(content.wrong("role", "must be `user` or `model`")),
        };
        // Results belong to the calls of the turn before them.
        if role == Role::Assistant && messages.last().is_none_or(|message| message.role == Role::User) {
            turns.open = Calls::default();
        }
        let parts = turns.content(content, index)?;
        if !parts.is_empty() {
            messages.push(Message { role, parts });
        }
    }
    Ok(messages)
}

/// Takes out of the calls of a turn the thoughts that the gateway gave along with them; they replace the words alone, and those of
/// a later call replace what came before it.
fn unpack(parts: &mut Vec<Part<'_>>) {
    let mut last = None;
    for (at, part) in parts.iter_mut().enumerate() {
        if let Part::Call(call) = part
            && let Some(carried) = call.signature.take_if(|signature| is_carried(signature))
        {
            last = Some((at, carried));
        }
    }
    let Some((at, carried)) = last else { return };
    let after = parts.split_off(at);
    parts.retain(|part| !matches!(part, Part::Thinking(_)));
    parts.extend(read_carried(&carried).unwrap_or_default().into_iter().map(Part::Thinking));
    parts.extend(after);
}

/// A call that has no result yet.
struct Open {
    id: String,
    name: String,
}

/// The calls of a turn, each until it has its result.
#[derive(Default)]
struct Calls {
    calls: Vec<Option<Open>>,
    by_id: BTreeMap<String, VecDeque<usize>>,
    by_name: BTreeMap<String, VecDeque<usize>>,
}

impl Calls {
    fn push(&mut self, call: Open) {
        self.by_id.entry(call.id.clone()).or_default().push_back(self.calls.len());
        self.by_name.entry(call.name.clone()).or_default().push_back(self.calls.len());
        self.calls.push(Some(call));
    }

    /// The first open call of an id.
    fn take(&mut self, id: &str) -> Option<Open> {
        Self::first(&mut self.calls, self.by_id.get_mut(id)?)
    }

    /// The first open call of a name.
    fn take_named(&mut self, name: &str) -> Option<Open> {
        Self::first(&mut self.calls, self.by_name.get_mut(name)?)
    }

    /// The first of these places whose call is still open. What was taken from the other side is passed over once.
    fn first(calls: &mut [Option<Open>], places: &mut VecDeque<usize>) -> Option<Open> {
        std::iter::from_fn(|| places.pop_front()).find_map(|at| calls.get_mut(at)?.take())
    }
}

struct Turns<'r> {
    dropped: &'r mut Dropped,
    open: Calls,
    /// Ids of the calls whose results were read.
    answered: BTreeSet<String>,
}

impl Turns<'_> {
    fn content<'a>(&mut self, content: &Node<'a>, index: usize) -> Result<Vec<Part<'a>>, Refusal> {
        let mut parts: Vec<Part<'a>> = Vec::new();
        for (number, part) in content.nodes("parts")?.iter().enumerate() {
            // An id that stays the same when the conversation goes on.
            let id = format!("call_{index}_{number}");
            match (parts.last_mut(), self.part(part, id)?) {
                (_, None) => {}
                // Pieces of one thought, up to its signature.
                (Some(Part::Thinking(before)), Some(Part::Thinking(thought))) if before.signature.is_none() => {
                    before.text.push_str(&thought.text);
                    before.signature = thought.signature;
                }
                (_, Some(part)) => parts.push(part),
            }
        }
        unpack(&mut parts);
        Ok(parts)
    }

    fn part<'a>(&mut self, part: &Node<'a>, id: String) -> Result<Option<Part<'a>>, Refusal> {
        sift(part, &[KINDS.as_slice(), &["thought", "thoughtSignature"]].concat(), &HINTS, self.dropped)?;
        let kinds = part.names().filter(|name| KINDS.contains(name)).count();
        let signature = part.text("thoughtSignature")?.map(Cow::into_owned).filter(|text| !text.is_empty());
        if kinds > 1 || (kinds == 0 && signature.is_none()) {
            return Err(part.wrong_itself(&format!("must be a part with one of `{}`", KINDS.join("`, `"))));
        }
        if let Some(call) = part.object("functionCall")? {
            let signature = signature.filter(|signature| signature != NO_SIGNATURE);
            return self.call(&call, id, signature).map(Some);
        }
        if let Some(result) = part.object("functionResponse")? {
            return self.result(&result);
        }
        for name in ["inlineData", "fileData"] {
            if let Some(data) = part.object(name)? {
                let media = self.media(&data)?;
                return Ok(Some(Part::Media { media, cache: None }));
            }
        }
        let text = part.text("text")?.unwrap_or_default();
        if part.read::<bool>("thought", "a boolean")?.unwrap_or(false) {
            return Ok(Some(Part::Thinking(Thinking { text: text.into_owned(), signature, ..Thinking::default() })));
        }
        if signature.is_some() {
            self.dropped.note("thoughtSignature");
        }
        Ok((!text.is_empty()).then_some(Part::Text { text, cache: None }))
    }

    fn call<'a>(&mut self, call: &Node<'a>, id: String, signature: Option<String>) -> Result<Part<'a>, Refusal> {
        sift(call, &["id", "name", "args"], &[], self.dropped)?;
        let name = name(call)?;
        let id = call.text("id")?.map(Cow::into_owned).filter(|id| !id.is_empty()).unwrap_or(id);
        let arguments = call.given("args").unwrap_or("{}");
        if !arguments.starts_with('{') {
            return Err(call.wrong("args", "must be an object"));
        }
        self.open.push(Open { id: id.clone(), name: name.clone() });
        Ok(Part::Call(ToolCall { id, name, arguments: arguments.to_owned(), signature, ..ToolCall::default() }))
    }

    /// A result; none if it stands there again, as some programs send it after they took a session up again.
    fn result<'a>(&mut self, result: &Node<'a>) -> Result<Option<Part<'a>>, Refusal> {
        sift(result, &["id", "name", "response", "parts"], &[], self.dropped)?;
        let name = name(result)?;
        let id = result.text("id")?.filter(|id| !id.is_empty());
        let by_id = id.as_deref().and_then(|id| self.open.take(id));
        if by_id.is_none() && id.as_deref().is_some_and(|id| self.answered.contains(id)) {
            return Ok(None);
        }
        let Some(call) = by_id.or_else(|| self.open.take_named(&name)) else {
            return Err(result.wrong_itself("is the result of a call that the turn before it does not make"));
        };
        self.answered.insert(call.id.clone());
        let response = result.given("response").unwrap_or("{}");
        let (words, is_error) = words(response).ok_or_else(|| result.wrong("response", "must be an object"))?;
        let mut parts = vec![Part::Text { text: words, cache: None }];
        for part in result.nodes("parts")? {
            sift(&part, &["inlineData", "fileData"], &HINTS, self.dropped)?;
            for name in part.names().filter(|name| !HINTS.contains(name)) {
                let media = self.media(&part.within(name)?)?;
                parts.push(Part::Media { media, cache: None });
            }
        }
        Ok(Some(Part::Result(CallResult { id: call.id, parts, is_error, cache: None })))
    }

    fn media<'a>(&mut self, data: &Node<'a>) -> Result<Media<'a>, Refusal> {
        sift(data, &["mimeType", "data", "fileUri", "displayName"], &[], self.dropped)?;
        let media_type = mime_type(data)?;
        let Some(kind) = kind(&media_type) else { return Err(data.wrong("mimeType", UNKNOWN)) };
        let source = match (data.text("data")?, data.text("fileUri")?) {
            (Some(data), None) => Source::Base64 { media_type, data: standard_base64(data) },
            (None, Some(address)) => {
                let host = address.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
                if host.is_none_or(|host| GOOGLES.iter().any(|known| host.eq_ignore_ascii_case(known))) {
                    return Err(data.wrong("fileUri", UNKNOWN));
                }
                Source::Url(address)
            }
            _ => return Err(data.wrong_itself("must be an object with `data` or `fileUri`")),
        };
        let name = data.text("displayName")?.map(Cow::into_owned);
        Ok(Media { kind, source, name, detail: None })
    }
}

fn name(object: &Node<'_>) -> Result<String, Refusal> {
    object.owned("name")?.ok_or_else(|| object.wrong("name", "must be a string"))
}

/// What a result says, and whether it says that the tool failed; none if it is no object.
fn words(response: &str) -> Option<(Text<'_>, bool)> {
    // What has a name twice is its own JSON.
    let wrapped = Node::camel_root(&Object::parse(response)?).ok().and_then(|object| wrapped(&object));
    let plain = wrapped.and_then(|(json, is_error)| text_of(json).map(|text| (text, is_error)));
    Some(plain.unwrap_or((Cow::Borrowed(response), false)))
}
