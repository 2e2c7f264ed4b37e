//! A stream of chat completions, or of completions, on its way to a client that reads the same.
//!
//! What always holds: it is complete with `[DONE]`, or when it ends after each of its choices has told why it ended; the usage chunk reaches a client that asked for it, once, as the last before the end, and no other.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::said;
use crate::dialect::envelope::MOST_CHOICES;
use crate::dialect::format::{Counting, Passthrough, StreamWish};
use crate::dialect::json::{Edit, Object, unquoted};
use crate::dialect::mend::is_broken;
use crate::dialect::naming::Names;
use crate::dialect::openai::{read_error_object, read_usage, usage_with_cost};
use crate::dialect::sse::Data;
use crate::dialect::stream_state::{Progress, StreamState};
use crate::usage::UsageSource;

/// The last event of a stream.
pub const DONE: &str = "[DONE]";

/// What the chunks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Those of chat completions.
    Chat,
    /// Those of the legacy completions, whose choices have `text` and no `delta`.
    Text,
}

impl Shape {
    const fn object(self) -> &'static str {
        match self {
            Self::Chat => "chat.completion.chunk",
            Self::Text => "text_completion",
        }
    }

    /// How ids begin.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl-",
            Self::Text => "cmpl-",
        }
    }

    /// What an answer is called.
    pub fn names(self, wish: &StreamWish) -> Names {
        Names::new(self.prefix(), wish)
    }
}

/// A chunk of a stream, as far as it must be known.
#[derive(Debug, Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    created: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<Vec<ChunkChoice<'a>>>,
    /// Present and null is not the same as absent.
    #[serde(borrow, default, deserialize_with = "present")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize)]
struct ChunkChoice<'a> {
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
}

/// Follows one stream.
pub struct ChatLine {
    shape: Shape,
    wish: StreamWish,
    counting: Counting,
    /// Upstream's own `usage` object.
    reported: Option<String>,
    /// Upstream's own chunk that tells usage and nothing else.
    last: Option<String>,
    names: Names,
    /// `id`, `created` and `model` of the first chunk, as JSON, for chunks of our own.
    head: Option<[String; 3]>,
    /// Which choices have come, and whether each has told why it ended.
    ends: BTreeMap<u64, bool>,
}

impl ChatLine {
    /// Follows a stream of this shape.
    pub fn new(shape: Shape, wish: StreamWish, counting: Counting) -> Self {
        Self { shape, names: shape.names(&wish), wish, counting, reported: None, last: None, head: None, ends: BTreeMap::new() }
    }

    fn head(&self) -> [String; 3] {
        self.head.clone().unwrap_or_else(|| {
            let [id, model] = self.names.head(["\"\""; 2]);
            [id, self.wish.created.to_string(), model]
        })
    }

    /// A chunk with its names, and with other usage or none.
    fn with_usage(&self, object: &Object<'_>, usage: Edit) -> String {
        let mut edits = self.names.edits(object);
        edits.push(usage);
        object.edited(&edits)
    }

    fn chunk(&mut self, data: &str, chunk: &Chunk<'_>, stream: &mut StreamState, out: &mut Vec<u8>) {
        if let (Some(id), Some(created), Some(model), None) = (chunk.id, chunk.created, chunk.model, self.head.as_ref()) {
            let [id, model] = self.names.head([id.get(), model.get()]);
            self.head = Some([id, created.get().to_owned(), model]);
        }
        let choices = chunk.choices.as_deref().unwrap_or_default();
        for choice in choices {
            said::each(choice.delta.map(RawValue::get), |text| stream.output(text));
            if let Some(text) = choice.text.map(RawValue::get).filter(|json| json.starts_with('"')) {
                stream.output(unquoted(text));
            }
            let index = choice.index.and_then(|json| json.get().parse::<u64>().ok()).unwrap_or(0).min(MOST_CHOICES);
            let has_ended = self.ends.entry(index).or_default();
            if let Some(reason) = &choice.finish_reason {
                stream.finish_reason = Some(reason.clone());
                *has_ended = !reason.is_empty() && !is_broken(reason);
            }
        }
        let Some(usage) = chunk.usage else { return self.names.write(data, [chunk.id, chunk.model], out) };
        // The last report counts; some providers repeat it on every chunk, growing.
        if let Some(read) = read_usage(usage.get(), self.counting) {
            stream.reported = Some(read);
            self.reported = Some(usage.get().to_owned());
            if choices.is_empty() {
                self.last = Some(data.to_owned());
                return;
            }
        }
        let edit = if self.wish.include_usage { Edit::Set("usage", "null".to_owned()) } else { Edit::Remove("usage") };
        match Object::parse(data) {
            Some(object) => Data::write(None, &self.with_usage(&object, edit), out),
            None => Data::write(None, data, out),
        }
    }

    /// The answer is complete.
    fn done(&self, stream: &mut StreamState, out: &mut Vec<u8>) {
        stream.progress = Progress::Done;
        if self.wish.include_usage {
            self.usage_chunk(stream, out);
        }
        Data::write(None, DONE, out);
    }

    /// The chunk that tells usage and nothing else: upstream's own with the cost, or one like it.
    fn usage_chunk(&self, stream: &StreamState, out: &mut Vec<u8>) {
        let (usage, source) = stream.usage();
        let reported = self.reported.as_deref().filter(|_| source == UsageSource::Upstream);
        let usage = usage_with_cost(reported, &usage, &stream.cost());
        if let Some(own) = self.last.as_deref().and_then(Object::parse) {
            return Data::write(None, &self.with_usage(&own, Edit::Set("usage", usage)), out);
        }
        let [id, created, model] = self.head();
        let object = self.shape.object();
        let chunk =
            format!(r#"{{"id":{id},"object":"{object}","created":{created},"model":{model},"choices":[],"usage":{usage}}}"#);
        Data::write(None, &chunk, out);
    }
}

impl Passthrough for ChatLine {
    fn event(&mut self, event: &Data, stream: &mut StreamState, out: &mut Vec<u8>) {
        let data = event.data.as_str();
        if data.trim() == DONE {
            return self.done(stream, out);
        }
        if data.is_empty() {
            return;
        }
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(data) else {
            // JSON of another shape passes; what is not JSON ends the stream.
            let Some(object) = Object::parse(data) else { return stream.break_off("an event is not a JSON object") };
            stream.flow();
            stream.output(data);
            return Data::write(None, &self.names.edited(&object), out);
        };
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            stream.progress = Progress::Broken(read_error_object(error.get()));
            return;
        }
        stream.flow();
        self.chunk(data, &chunk, stream, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn end(&mut self, stream: &mut StreamState, out: &mut Vec<u8>) {
        // Some providers close the connection in place of the last event.
        if !self.ends.is_empty() && self.ends.values().all(|has_ended| *has_ended) {
            self.done(stream, out);
        }
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        broken_chunk(self.shape, &self.head(), &broken_by(code, message), out);
    }

    fn refused(&mut self, envelope: &str, out: &mut Vec<u8>) {
        let envelope = Object::parse(envelope);
        let error = envelope.as_ref().and_then(|envelope| envelope.get("error")).unwrap_or("{}");
        broken_chunk(self.shape, &self.head(), error, out);
    }
}

/// The error of a stream that broke off, as JSON.
pub fn broken_by(code: &str, message: &str) -> String {
    json!({"message": message, "type": "upstream_error", "param": null, "code": code}).to_string()
}

/// How a stream ends that broke off: a chunk with the error, and the error once more by itself, because some clients look for
/// it only where there is no answer. `head` is id, time and model, and like the error JSON.
pub fn broken_chunk(shape: Shape, head: &[String; 3], error: &str, out: &mut Vec<u8>) {
    let [id, created, model] = head;
    let choices = match shape {
        Shape::Chat => json!([{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]),
        Shape::Text => json!([{"index": 0, "text": "", "logprobs": null, "finish_reason": "error"}]),
    };
    let object = shape.object();
    let chunk =
        format!(r#"{{"id":{id},"object":"{object}","created":{created},"model":{model},"choices":{choices},"error":{error}}}"#);
    Data::write(None, &chunk, out);
    Data::write(None, &format!(r#"{{"error":{error}}}"#), out);
}
