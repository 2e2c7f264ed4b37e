//! Anthropic's dialect: messages, and the count of a request's tokens.

mod answer;
mod error;
mod line;
mod model;
mod read_request;
mod reader;
mod tools;
mod usage;
mod wire;
mod write_media;
mod write_request;
mod writer;

use super::body::Body;
use super::envelope::{Envelope, Fields, MOST_TOKENS};
use super::format::{
    Cost, Counting, Format, Line, Read, Reader, Said, StreamWish, Translation, Upstream, UpstreamError, Writer, Written,
};
use super::json::{Edit, Object, quoted};
use super::talk::{Answer, Conversation};
use crate::id::RequestId;
use crate::refusal::Refusal;
use crate::usage::{Class, Usage};

/// The format of `/messages`.
pub struct Messages;

/// The format of `/messages/count_tokens`. It is free, and has no counterpart.
pub struct CountTokens;

impl Format for Messages {
    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let object = &body.object;
        let fields = Fields(object);
        envelope.stream = fields.flag("stream")?;
        envelope.choices = 1;
        messages_are_a_list(object)?;
        // Thoughts are within it.
        envelope.output_limit = Some(output_limit(object)?);
        if envelope.session.is_none() {
            envelope.session = user_id(object)?;
        }
        for (is_there, class) in wire_cache(&body.lean).into_iter().zip([Class::CacheWrite, Class::CacheWrite1h]) {
            if is_there {
                envelope.need(class);
            }
        }
        fields.only("service_tier", &["\"auto\"", "\"standard_only\""])?;
        fields.only("speed", &["\"standard\""])?;
        fields.only("inference_geo", &["\"global\""])?;
        // Each of these has a price of its own, or sends more than the client wrote.
        for name in ["container", "mcp_servers", "fallbacks", "fallback_credit_token", "compaction"] {
            fields.only(name, &["[]"])?;
        }
        if object.get("context_management").is_some_and(|json| json.contains("\"compact")) {
            return Err(no_price("context_management"));
        }
        tools::check(object, envelope)?;
        let is_media = ["image", "document", "file", "container_upload"].iter().any(|kind| body.has_text(kind));
        envelope.has_media |= is_media && body.mentions("source") || body.mentions("file_id") || body.mentions("thread");
        Ok(())
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/messages".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let mut edits = vec![Edit::Set("model", quoted(upstream.model))];
        // A client may ask for no tokens at all, to fill the cache.
        let asked = request.get("max_tokens").and_then(|json| json.parse::<u64>().ok());
        if asked.is_none_or(|asked| asked > upstream.output_limit) {
            edits.push(Edit::Set("max_tokens", upstream.output_limit.to_string()));
        }
        edits
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<Said, String> {
        answer::said(answer)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        let upstream = answer.get("usage").filter(|json| usage::read_usage(json).is_some());
        vec![Edit::Set("usage", usage::usage_with_cost(upstream, usage, cost))]
    }

    fn line(&self, _: StreamWish, _: Counting) -> Box<dyn Line> {
        Box::new(line::MessagesLine::default())
    }

    fn read_error(&self, body: &str) -> UpstreamError {
        error::read_error(body)
    }

    fn write_error(&self, refusal: &Refusal, receipt: Option<&RequestId>) -> String {
        error::error_body(refusal, receipt)
    }

    fn translation(&self) -> Option<&dyn Translation> {
        Some(self)
    }
}

impl Translation for Messages {
    fn read_request<'a>(&self, request: &Object<'a>) -> Result<Read<'a>, Refusal> {
        read_request::read(request)
    }

    fn write_answer(&self, answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
        answer::write(answer, usage, cost, wish)
    }

    fn writer(&self, wish: StreamWish) -> Box<dyn Writer> {
        Box::new(writer::MessagesWriter::new(wish.id))
    }

    fn write_request(&self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
        write_request::write(conversation, upstream)
    }

    fn read_answer(&self, answer: &Object<'_>, _: Counting) -> Result<Answer, String> {
        answer::read(answer)
    }

    fn reader(&self, _: Counting) -> Box<dyn Reader> {
        Box::new(reader::MessagesReader::default())
    }
}

impl Format for CountTokens {
    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        envelope.choices = 1;
        // Nothing comes out but a number.
        envelope.output_limit = Some(1);
        if envelope.session.is_none() {
            envelope.session = user_id(&body.object)?;
        }
        messages_are_a_list(&body.object)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/messages/count_tokens".to_owned()
    }

    fn pass_request(&self, _: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        vec![Edit::Set("model", quoted(upstream.model))]
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<Said, String> {
        match answer.get("input_tokens").and_then(|json| json.parse::<u64>().ok()) {
            Some(_) => Ok(Said::default()),
            None => Err(answer::misplaced(answer, "an answer without a count")),
        }
    }

    fn priced(&self, _: &Object<'_>, _: &Usage, _: &Cost) -> Vec<Edit> {
        Vec::new()
    }

    fn line(&self, wish: StreamWish, counting: Counting) -> Box<dyn Line> {
        Messages.line(wish, counting)
    }

    fn read_error(&self, body: &str) -> UpstreamError {
        error::read_error(body)
    }

    fn write_error(&self, refusal: &Refusal, receipt: Option<&RequestId>) -> String {
        error::error_body(refusal, receipt)
    }
}

fn messages_are_a_list(object: &Object<'_>) -> Result<(), Refusal> {
    if object.get("messages").is_some_and(|messages| messages.starts_with('[')) {
        return Ok(());
    }
    Err(Refusal::invalid("messages", "`messages` is required and must be a list of messages."))
}

/// `max_tokens`, which has no default. Nothing asked for is held as one token.
fn output_limit(object: &Object<'_>) -> Result<u64, Refusal> {
    if object.get("max_tokens") == Some("0") {
        return Ok(1);
    }
    let limit = Fields(object).count("max_tokens", MOST_TOKENS)?;
    limit.ok_or_else(|| Refusal::invalid("max_tokens", "`max_tokens` is required: how many tokens the answer may have."))
}

/// `metadata.user_id`.
fn user_id(object: &Object<'_>) -> Result<Option<String>, Refusal> {
    let Some(metadata) = wire::given(object, "metadata") else { return Ok(None) };
    let wrong = || Refusal::invalid("metadata", "`metadata` must be an object whose `user_id` is a string.");
    let metadata = Object::parse(metadata).ok_or_else(wrong)?;
    let Some(user) = wire::given(&metadata, "user_id") else { return Ok(None) };
    wire::text(user).map(|user| Some(user.into_owned())).ok_or_else(wrong)
}

/// What has a price that the catalogue cannot express.
fn no_price(param: &str) -> Refusal {
    Refusal::invalid(param, format!("What `{param}` asks for has no price here, so it cannot be served."))
}

/// Whether a cache is to be kept for 5 minutes, and whether for an hour, anywhere in a request.
fn wire_cache(lean: &str) -> [bool; 2] {
    let mut found = [false, false];
    for rest in lean.split("\"cache_control\"").skip(1) {
        let Some(value) = rest.trim_start().strip_prefix(':').map(str::trim_start) else { continue };
        let Some(members) = value.strip_prefix('{') else { continue };
        let is_hour = members.split('}').next().is_some_and(|members| members.contains("\"1h\""));
        let [minutes, hour] = &mut found;
        *(if is_hour { hour } else { minutes }) = true;
    }
    found
}

#[cfg(test)]
mod tests;
