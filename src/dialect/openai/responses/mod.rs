//! Responses.

mod answer;
pub mod compact;
mod count;
mod foreign;
mod items;
mod kept;
mod owned;
mod passthrough;
mod read_request;
mod reader;
mod response;
pub mod socket;
mod table;
mod thought;
mod tools;
mod write_request;
mod writer;

pub use count::CountTokens;
pub use kept::{Reference, kept_elsewhere, not_kept, not_ours, own_output, references, resolved};
pub use owned::{NamedItems, TAG, check as check_items, named as named_items, passed, untagged, with_tag};

use crate::dialect::table::Table;
use table::TABLE;

use super::chat::read_session;
use super::parts::read_cache_needs;
use crate::dialect::body::Body;
use crate::dialect::conversation::{Answer, Conversation};
use crate::dialect::envelope::{Envelope, Fields, MOST_TOKENS};
use crate::dialect::fit::Rules;
use crate::dialect::format::{
    AnswerFacts, Cost, Counting, Format, Passthrough, Read, Reader, StreamWish, Translation, Upstream, Writer, Written,
};
use crate::dialect::json::{Edit, Object, items as items_of, quoted};
use crate::dialect::maker::{Maker, Marks};
use crate::dialect::node::Node;
use crate::refusal::Refusal;
use crate::usage::{Class, Usage};

/// The format of `/responses`.
pub struct Responses;

impl Format for Responses {
    fn members(&self) -> &'static Table {
        &TABLE
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        let fields = Fields(&body.object);
        envelope.stream = fields.flag("stream")?;
        envelope.include_usage = true;
        let input = body.object.get("input").filter(|input| input.starts_with(['"', '[']));
        envelope.compacts = input.is_some_and(compact::item::is_asked);
        // What is kept by the provider may be all that there is to make short.
        let is_short =
            body.object.get("input").is_none_or(|input| input == "null") && body.object.get("previous_response_id").is_some();
        if input.is_none() && !is_short {
            return Err(Refusal::invalid("input", "`input` is required and must be a string or a list of items."));
        }
        read_session(&fields, envelope)?;
        envelope.output_limit = fields.count("max_output_tokens", MOST_TOKENS)?;
        envelope.choices = 1;
        envelope.previous_response = fields.read("previous_response_id", "a string")?;
        envelope.keeps = body.object.get("store") != Some("false");
        kept::not_kept_here(&fields)?;
        TABLE.check_prices(&fields)?;
        read_cache_needs(body, envelope);
        let has_audio = body.has_text("input_audio");
        if has_audio {
            envelope.need(Class::AudioInput);
        }
        envelope.has_media = envelope.previous_response.is_some()
            || has_audio
            || body.has_text("item_reference")
            || refers(input.unwrap_or_default())
            || ["image_url", "file_id", "file_data", "file_url"].iter().any(|name| body.mentions(name));
        tools::check(&body.object, envelope)
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/responses".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let mut edits =
            vec![Edit::Set("model", quoted(upstream.model)), Edit::Set("max_output_tokens", upstream.output_limit.to_string())];
        edits.extend(tools::edits(request, upstream.leaves_out_hosted));
        edits.extend(foreign::edit(request, upstream.thoughts));
        edits
    }

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
        let root = Node::root(answer);
        response::whole(&root)?;
        let usage = root.given("usage").and_then(|json| response::read_usage(&root, json, counting));
        let output = if usage.is_none() { root.given("output").unwrap_or_default().to_owned() } else { String::new() };
        Ok(AnswerFacts { usage, finish_reason: Some(response::finish_reason(&root)), output, images: 0 })
    }

    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        response::named(answer, wish)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        vec![response::priced_usage(answer, usage, cost)]
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Box::new(passthrough::ResponsesLine::new(wish, counting))
    }

    fn translation(&self) -> Option<&dyn Translation> {
        Some(self)
    }
}

impl Translation for Responses {
    fn rules(&self) -> Rules {
        // Ids may have 64 letters here.
        Rules {
            longest_name: 64,
            more_letters: "",
            begins_with_letter: false,
            longest_id: 64,
            plain_ids: false,
            checks_strict: true,
        }
    }

    fn maker(&self, _: &str) -> Maker {
        Maker::Openai
    }

    fn marks(&self) -> Marks {
        Marks::Beside
    }

    fn read_request<'a>(&self, request: &Object<'a>) -> Result<Read<'a>, Refusal> {
        read_request::read(request)
    }

    fn write_answer(&self, answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
        if wish.compacts { compact::answer::write(answer, usage, cost, wish) } else { answer::write(answer, usage, cost, wish) }
    }

    fn writer(&self, wish: StreamWish) -> Box<dyn Writer> {
        if wish.compacts {
            Box::new(compact::answer::CompactWriter::new(wish))
        } else {
            Box::new(writer::ResponsesWriter::new(wish))
        }
    }

    fn write_request(&self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
        write_request::write(conversation, upstream)
    }

    fn read_answer(&self, answer: &Object<'_>, counting: Counting) -> Result<Answer, String> {
        answer::read(answer, counting)
    }

    fn reader(&self, counting: Counting) -> Box<dyn Reader> {
        Box::new(reader::ResponsesReader::new(counting))
    }
}

/// Whether an item of the input has an id and nothing beside that says what it is: the provider puts in what it kept.
fn refers(input: &str) -> bool {
    const SAYING: [&str; 8] = ["content", "encrypted_content", "arguments", "output", "result", "input", "action", "tools"];
    items_of(input).unwrap_or_default().into_iter().filter_map(Object::parse).any(|item| {
        let is_given = |name: &str| item.given(name).is_some();
        is_given("id") && !SAYING.into_iter().any(is_given)
    })
}

#[cfg(test)]
mod passing_tests;
#[cfg(test)]
mod translation_tests;
