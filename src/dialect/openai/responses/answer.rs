//! A whole response, read and written; and the items that it is made of.

use super::response::{finish_reason, read_usage, whole};
use super::thought::{MAKER, REDACTED, read_thought};
use crate::dialect::conversation::{Answer, Choice, Finish, Form, Media, MediaKind, Part, Source, Thinking, ToolCall, ToolKind};
use crate::dialect::format::{Cost, Counting, StreamWish};
use crate::dialect::json::{Edit, Object, unquoted};
use crate::dialect::maker::Maker;
use crate::dialect::node::Node;
use crate::dialect::openai::chat::{arguments, read_arguments, write_call_signature};
use crate::dialect::openai::out::Out;
use crate::dialect::openai::response_usage_with_cost;
use crate::usage::Usage;

/// What a response says of itself.
pub struct ResponseHead {
    /// `resp_` and the id of the request, so that no two answers have the same, whatever upstream calls them; where that is not
    /// known, the answer's own.
    pub id: String,
    /// The model as the provider names it.
    pub model: String,
    /// In seconds.
    pub created: i64,
    /// Whose thoughts it has.
    pub maker: Option<Maker>,
    /// Whether a later request may refer to it.
    pub is_kept: bool,
}

impl ResponseHead {
    /// Names a response by the id that is wished for, or an answer's own where there is none.
    pub fn new(id: &str, model: &str, wish: &StreamWish) -> Self {
        let id = if wish.id.is_empty() { id } else { &wish.id };
        let id = if id.starts_with("resp_") { id.to_owned() } else { format!("resp_{id}") };
        let maker = wish.maker.clone();
        Self { id, model: model.to_owned(), created: wish.created, maker, is_kept: wish.keeps }
    }

    /// Of a response that a provider made, and named.
    pub fn of_provider(id: &str, model: &str, wish: &StreamWish) -> Self {
        Self { id: id.to_owned(), ..Self::new("", model, wish) }
    }

    /// The id of an item: its kind, the answer's id, and its place; that of a thought says whose it is.
    pub fn item(&self, kind: &str, index: usize) -> String {
        let maker = self.maker.as_ref().filter(|_| kind == "rs").map(|maker| format!("{MAKER}{}", maker.word()));
        format!("{kind}_{}_{index}{}", self.id.strip_prefix("resp_").unwrap_or(&self.id), maker.unwrap_or_default())
    }

    /// The response, with what is known of it. What the request asked for stands there as it is by default.
    pub fn response(&self, status: ResponseStatus, output: &[String], usage: Option<&str>) -> String {
        let mut out = Out::object();
        out.text("id", &self.id).text("object", "response").member("created_at", &self.created.to_string());
        out.text("status", status.name()).member("background", "false").member("error", "null");
        match status {
            ResponseStatus::Incomplete(reason) => _ = out.open_at("incomplete_details").text("reason", reason).close(),
            _ => _ = out.member("incomplete_details", "null"),
        }
        out.member("instructions", "null").member("max_output_tokens", "null").text("model", &self.model);
        out.list_at("output");
        for item in output {
            out.raw(item);
        }
        out.end_list().member("parallel_tool_calls", "true").member("previous_response_id", "null");
        out.member("reasoning", r#"{"effort":null,"summary":null}"#).member("store", if self.is_kept { "true" } else { "false" });
        out.member("temperature", "null").member("text", r#"{"format":{"type":"text"}}"#);
        out.text("tool_choice", "auto").member("tools", "[]").member("top_p", "null").text("truncation", "disabled");
        out.member("usage", usage.unwrap_or("null")).member("user", "null").member("metadata", "{}");
        out.done()
    }
}

/// How far a response or an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseStatus {
    /// It has begun.
    InProgress,
    /// It is whole.
    Completed,
    /// It ended before, for this reason.
    Incomplete(&'static str),
}

impl ResponseStatus {
    /// What an end means.
    pub const fn of(finish: &Finish) -> Self {
        match finish {
            Finish::Length => Self::Incomplete("max_output_tokens"),
            Finish::Filtered(_) => Self::Incomplete("content_filter"),
            Finish::Stop | Finish::StopText(_) | Finish::Calls | Finish::Other(_) => Self::Completed,
        }
    }

    /// In OpenAI's words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
        }
    }
}

/// A piece of a message. Log probabilities are the items of their list.
pub fn said_part(is_refusal: bool, text: &str, logprobs: &str) -> String {
    let mut part = Out::object();
    if is_refusal {
        part.text("type", "refusal").text("refusal", text);
    } else {
        part.text("type", "output_text").text("text", text).member("annotations", "[]");
        part.member("logprobs", &format!("[{logprobs}]"));
    }
    part.done()
}

/// A message of such pieces.
pub fn message_item(id: &str, status: ResponseStatus, parts: &[String]) -> String {
    let mut item = Out::object();
    item.text("id", id).text("type", "message").text("status", status.name()).text("role", "assistant").list_at("content");
    for part in parts {
        item.raw(part);
    }
    item.end_list();
    item.done()
}

/// A thought.
pub fn thought_item(id: &str, thought: &Thinking) -> String {
    let mut item = Out::object();
    item.text("id", id).text("type", "reasoning").list_at("summary");
    if !thought.text.is_empty() {
        item.raw(&summary_part(&thought.text));
    }
    item.end_list();
    match &thought.redacted {
        Some(data) => _ = item.name("encrypted_content").string(&[REDACTED, data]),
        None => _ = item.maybe_text("encrypted_content", thought.signature.as_deref()),
    }
    item.done()
}

/// The words of a thought.
pub fn summary_part(text: &str) -> String {
    let mut part = Out::object();
    part.text("type", "summary_text").text("text", text);
    part.done()
}

/// What a call is told with: a free text may be empty, an object is there even where nothing is in it.
pub fn whole_arguments(call: &ToolCall) -> &str {
    match call.form.kind {
        ToolKind::Custom => &call.arguments,
        _ => arguments(&call.arguments),
    }
}

/// The first letters of the id of a call's item.
pub const fn call_prefix(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Function => "fc",
        ToolKind::Custom => "ctc",
        ToolKind::Search => "tsc",
        ToolKind::Shell => "lsh",
    }
}

/// A call, as what the client's tool is.
pub fn call_item(id: &str, status: ResponseStatus, call: &ToolCall) -> String {
    let mut item = Out::object();
    item.text("id", id);
    let object = || Some(call.arguments.as_str()).filter(|json| Object::parse(json).is_some()).unwrap_or("{}");
    match call.form.kind {
        ToolKind::Function => {
            item.text("type", "function_call").text("status", status.name()).text("call_id", &call.id);
            item.text("name", &call.name).maybe_text("namespace", call.form.namespace.as_deref());
            item.text("arguments", &call.arguments);
        }
        ToolKind::Custom => {
            item.text("type", "custom_tool_call").text("status", status.name()).text("call_id", &call.id);
            item.text("name", &call.name).maybe_text("namespace", call.form.namespace.as_deref());
            item.text("input", &call.arguments);
        }
        ToolKind::Search => {
            item.text("type", "tool_search_call").text("status", status.name()).text("call_id", &call.id);
            item.text("execution", "client").member("arguments", object());
        }
        ToolKind::Shell => {
            item.text("type", "local_shell_call").text("status", status.name()).text("call_id", &call.id);
            let action = Object::parse(object()).map(|action| action.edited(&[Edit::Set("type", "\"exec\"".to_owned())]));
            item.member("action", action.as_deref().unwrap_or("{}"));
        }
    }
    write_call_signature(&mut item, call.signature.as_deref());
    item.done()
}

/// An image.
pub fn image_item(id: &str, status: ResponseStatus, media_type: &str, data: Option<&str>) -> String {
    let mut item = Out::object();
    item.text("id", id).text("type", "image_generation_call").text("status", status.name());
    item.text("output_format", media_type.strip_prefix("image/").unwrap_or(media_type));
    match data {
        Some(data) => item.text("result", data),
        None => item.member("result", "null"),
    };
    item.done()
}

/// The items of the list in chat's `logprobs` object.
pub fn logprobs_items(json: &str) -> &str {
    let content = Object::parse(json).and_then(|object| object.get("content"));
    content.filter(|content| content.starts_with('[')).map_or("", |content| unquoted(content).trim())
}

/// Writes an answer.
pub fn write(answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
    let head = ResponseHead::new(&answer.id, &answer.model, wish);
    let usage = response_usage_with_cost(None, usage, cost);
    let Some(choice) = answer.choices.first() else { return head.response(ResponseStatus::Completed, &[], Some(&usage)) };
    let status = ResponseStatus::of(&choice.finish);
    let mut items: Vec<String> = Vec::new();
    let mut said: Vec<String> = Vec::new();
    let mut logprobs = choice.logprobs.as_deref().map(logprobs_items).unwrap_or_default();
    for part in &choice.parts {
        match part {
            Part::Text { text, .. } => said.push(said_part(false, text, std::mem::take(&mut logprobs))),
            Part::Refusal(text) => said.push(said_part(true, text, "")),
            other => {
                close_message(&head, status, &mut said, &mut items);
                items.extend(item_of(&head, status, items.len(), other));
            }
        }
    }
    close_message(&head, status, &mut said, &mut items);
    head.response(status, &items, Some(&usage))
}

/// Reads an answer.
pub fn read(answer: &Object<'_>, counting: Counting) -> Result<Answer, String> {
    let root = Node::root(answer);
    whole(&root)?;
    let mut choice = Choice { parts: Vec::new(), finish: Finish::Stop, logprobs: None };
    let mut logprobs: Vec<&str> = Vec::new();
    for item in root.nodes("output").unwrap_or_default() {
        match item.words("type").as_str() {
            "message" => {
                for part in item.nodes("content").unwrap_or_default() {
                    if part.words("type") == "refusal" {
                        choice.parts.push(Part::Refusal(part.words("refusal").into()));
                    } else {
                        choice.parts.push(Part::Text { text: part.words("text").into(), cache: None });
                    }
                    let items = part.given("logprobs").filter(|json| json.starts_with('[')).map(unquoted);
                    logprobs.extend(items.filter(|items| !items.trim().is_empty()));
                }
            }
            "reasoning" => {
                let thought = Some(read_thought(&item)).filter(|thought| *thought != Thinking::default());
                choice.parts.extend(thought.map(Part::Thinking));
            }
            "function_call" => choice.parts.push(Part::Call(ToolCall {
                id: item.words("call_id"),
                name: item.words("name"),
                arguments: read_arguments(&item),
                signature: None,
                form: Form::default(),
            })),
            "image_generation_call" => choice.parts.extend(read_image(&item)),
            _ => {}
        }
    }
    choice.logprobs = (!logprobs.is_empty()).then(|| format!(r#"{{"content":[{}],"refusal":null}}"#, logprobs.join(",")));
    let has_calls = choice.parts.iter().any(|part| matches!(part, Part::Call(_)));
    choice.finish = read_finish(&finish_reason(&root), has_calls);
    Ok(Answer {
        id: root.words("id"),
        model: root.words("model"),
        choices: vec![choice],
        usage: root.given("usage").and_then(|json| read_usage(&root, json, counting)),
    })
}

fn close_message(head: &ResponseHead, status: ResponseStatus, said: &mut Vec<String>, items: &mut Vec<String>) {
    if !said.is_empty() {
        items.push(message_item(&head.item("msg", items.len()), status, &std::mem::take(said)));
    }
}

fn item_of(head: &ResponseHead, status: ResponseStatus, index: usize, part: &Part<'static>) -> Option<String> {
    match part {
        Part::Thinking(thought) => Some(thought_item(&head.item("rs", index), thought)),
        Part::Call(call) => {
            let call = ToolCall { arguments: whole_arguments(call).to_owned(), ..call.clone() };
            Some(call_item(&head.item(call_prefix(call.form.kind), index), status, &call))
        }
        Part::Media { media: Media { source: Source::Base64 { media_type, data }, .. }, .. } => {
            Some(image_item(&head.item("ig", index), ResponseStatus::Completed, media_type, Some(data)))
        }
        _ => None,
    }
}

fn read_image(item: &Node<'_>) -> Option<Part<'static>> {
    let data = Some(item.words("result")).filter(|data| !data.is_empty())?;
    let source = Source::Base64 { media_type: image_type(item), data: data.into() };
    Some(Part::Media { media: Media { kind: MediaKind::Image, source, name: None, detail: None }, cache: None })
}

/// The media type of an image that was made.
pub fn image_type(item: &Node<'_>) -> String {
    let format = Some(item.words("output_format")).filter(|format| !format.is_empty());
    format!("image/{}", format.as_deref().unwrap_or("png"))
}

/// Why a response ended.
pub fn read_finish(reason: &str, has_calls: bool) -> Finish {
    match reason {
        "completed" if has_calls => Finish::Calls,
        "completed" => Finish::Stop,
        "max_output_tokens" => Finish::Length,
        "content_filter" => Finish::Filtered(reason.to_owned()),
        other => Finish::Other(other.to_owned()),
    }
}
