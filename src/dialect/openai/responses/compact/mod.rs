//! Compaction: a conversation made short, so that a long session goes on.
//!
//! Asked for at an endpoint of its own, or by an item `compaction_trigger` that ends the input of a response. Channels that serve
//! responses themselves make their own, which only they can read. Of all others the gateway asks for a summary, by the
//! translation that exists, and hands it out in an item that it reads again when it comes back.
//!
//! What always holds: an item of the gateway's own is read on every channel, and goes up to none as it is; what another
//! maker encrypted is left out by name where it cannot be read; a summary without words is no compaction.

pub mod answer;
pub mod item;

use answer::{CompactWriter, words};
use item::{ask, is_asked, item};

use super::Responses;
use super::answer::ResponseHead;
use crate::dialect::body::Body;
use crate::dialect::conversation::{Answer, Conversation};
use crate::dialect::envelope::Envelope;
use crate::dialect::fit::Rules;
use crate::dialect::format::{
    AnswerFacts, Cost, Counting, Format, Passthrough, Read, Reader, StreamWish, Translation, Upstream, Writer, Written,
};
use crate::dialect::json::{Edit, Object};
use crate::dialect::maker::{Maker, Marks};
use crate::dialect::openai::out::Out;
use crate::dialect::openai::response_usage_with_cost;
use crate::dialect::openai::responses::table::TABLE;
use crate::dialect::table::Table;
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of `/responses/compact`.
pub struct Compact;

impl Format for Compact {
    fn members(&self) -> &'static Table {
        &TABLE
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        Responses.envelope(body, envelope)?;
        if envelope.stream {
            return Err(Refusal::invalid("stream", "A compaction comes whole, so `stream` must be false."));
        }
        // A provider's own endpoint knows no limit, so that none can bound the cost.
        envelope.output_limit = None;
        envelope.compacts = true;
        Ok(())
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/responses/compact".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        let edits = Responses.pass_request(request, upstream).into_iter();
        let edits = edits.filter(|edit| edit.name() != "max_output_tokens");
        edits.chain(["max_output_tokens", "stream"].map(Edit::Remove)).collect()
    }

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
        Responses.read_plain(answer, counting)
    }

    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        Responses.named(answer, wish)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        Responses.priced(answer, usage, cost)
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Responses.passthrough(wish, counting)
    }

    fn translation(&self) -> Option<&dyn Translation> {
        Some(self)
    }
}

impl Translation for Compact {
    fn rules(&self) -> Rules {
        Responses.rules()
    }

    fn maker(&self, place: &str) -> Maker {
        Responses.maker(place)
    }

    fn marks(&self) -> Marks {
        Responses.marks()
    }

    fn read_request<'a>(&self, request: &Object<'a>) -> Result<Read<'a>, Refusal> {
        let mut read = Responses.read_request(request)?;
        // One that ends with the item that asks has asked already.
        if !request.get("input").is_some_and(is_asked) {
            ask(&mut read.conversation);
        }
        Ok(read)
    }

    fn write_answer(&self, answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
        let head = ResponseHead::new(&answer.id, &answer.model, wish);
        let mut out = Out::object();
        out.text("id", &head.id).text("object", "response.compaction").member("created_at", &head.created.to_string());
        out.text("model", &head.model).list_at("output").raw(&item(&head.item("cmp", 0), &words(answer))).end_list();
        out.member("usage", &response_usage_with_cost(None, usage, cost));
        out.done()
    }

    fn writer(&self, wish: StreamWish) -> Box<dyn Writer> {
        Box::new(CompactWriter::new(wish))
    }

    fn write_request(&self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
        Responses.write_request(conversation, upstream)
    }

    fn read_answer(&self, answer: &Object<'_>, counting: Counting) -> Result<Answer, String> {
        Responses.read_answer(answer, counting)
    }

    fn reader(&self, counting: Counting) -> Box<dyn Reader> {
        Responses.reader(counting)
    }
}

#[cfg(test)]
mod tests;
