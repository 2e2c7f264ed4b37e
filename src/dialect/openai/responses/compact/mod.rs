//! Compaction: a conversation made short, so that a long session goes on.
//!
//! Asked for at an endpoint of its own, or by an item `compaction_trigger` that ends the input of a response. Channels that serve
//! responses themselves make their own, which only they can read. Of all others the gateway asks for a summary, by the
//! translation that exists, and hands it out in an item that it reads again when it comes back.
//!
//! What always holds: an item of the gateway's own is read on every channel, and goes up to none as it is; what another
//! maker encrypted is left out by name where it cannot be read; a summary without words is no compaction.

use super::Responses;
use super::answer::{Head, Status};
use super::writer::ResponsesWriter;
use crate::dialect::body::Body;
use crate::dialect::envelope::Envelope;
use crate::dialect::fit::Rules;
use crate::dialect::format::drop_named;
use crate::dialect::format::{
    Cost, Counting, Format, Line, Read, Reader, Said, StreamWish, Translation, Upstream, Writer, Written,
};
use crate::dialect::json::{Edit, Object, may_have};
use crate::dialect::maker::{Maker, Marks};
use crate::dialect::openai::node::{Node, items};
use crate::dialect::openai::out::Out;
use crate::dialect::openai::response_usage_with_cost;
use crate::dialect::talk::{Answer, Conversation, Delta, Finish, Message, OutputFormat, Part, Role, ToolChoice};
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of `/responses/compact`.
pub struct Compact;

/// Before a summary that the gateway had made.
pub const OWN: &str = "tf1.compact.";
/// The item that asks for a compaction.
const TRIGGER: &str = "compaction_trigger";
/// After so many bytes of a summary that the client does not see, it gets a sign of life.
const QUIET_BYTES: usize = 2_048;

/// What the model is asked for.
const ASK: &str = "Stop working here. The conversation above is about to be replaced by a summary, and whoever goes on has that summary alone. \
Write it now, as plain text. Include: what the user asked for, in the user's own words where they matter, with every constraint and preference; \
what was done and decided, and why; the state of things now, with the exact names of files, functions, commands, identifiers and values that are needed again; \
errors that were met and what they led to; what is left to do, and the very next step. Leave out what nobody needs again. Do not call tools, \
do not address anybody, and write nothing before or after the summary.";

/// Before a summary in a conversation.
const PREFACE: &str = "The conversation before this was replaced by a summary of it:";

/// Whether the input of a response ends with the item that asks for a compaction.
pub fn is_asked(input: &str) -> bool {
    let kind =
        || items(input)?.last().and_then(|item| Object::parse(item))?.get("type").map(|kind| kind == "\"compaction_trigger\"");
    input.contains(TRIGGER) && kind().unwrap_or(false)
}

/// Makes a conversation one that asks for its own summary.
pub fn ask(conversation: &mut Conversation<'_>) {
    let parts = vec![Part::Text { text: ASK.into(), cache: None }];
    conversation.messages.push(Message { role: Role::User, parts });
    // The tools stay, since calls of them stand in the conversation.
    conversation.tool_choice = (!conversation.tools.is_empty()).then_some(ToolChoice::None);
    conversation.parallel_calls = None;
    conversation.output = OutputFormat::Text;
    conversation.logprobs = None;
}

/// Whether an item is a compaction, by the names that there are for it.
pub fn is_compaction(kind: &str) -> bool {
    matches!(kind, "compaction" | "compaction_summary")
}

/// The summary in an item of the gateway's own, as it stands in a conversation; none of another maker's.
fn summary(item: &Node<'_>) -> Option<String> {
    let content = item.text("encrypted_content").ok().flatten()?;
    content.strip_prefix(OWN).map(|summary| format!("{PREFACE}\n\n{summary}"))
}

/// Reads a compaction item. What cannot be read is named by [`name_foreign`].
pub fn read_item(item: &Node<'_>, conversation: &mut Conversation<'_>) {
    if let Some(text) = summary(item) {
        conversation.messages.push(Message { role: Role::User, parts: vec![Part::Text { text: text.into(), cache: None }] });
    }
}

/// Names the compactions of other makers, which are left out.
pub fn name_foreign(root: &Node<'_>, dropped: &mut Vec<String>) -> Result<(), Refusal> {
    if root.raw("input").is_some_and(|input| input.starts_with('[') && input.contains("compaction")) {
        let is_foreign = |item: &Node<'_>| is_compaction(&item.words("type")) && summary(item).is_none();
        if root.nodes("input")?.iter().any(is_foreign) {
            drop_named(dropped, "input.compaction");
        }
    }
    Ok(())
}

/// An item of the input that is a compaction of the gateway's own, as the message that it stands for: no provider can read it.
pub fn own_as_message(item: &str) -> Option<String> {
    let object = Object::parse(item).filter(|_| may_have(item, OWN))?;
    let node = Node::root(&object);
    let text = Some(&node).filter(|node| is_compaction(&node.words("type"))).and_then(summary)?;
    let mut out = Out::object();
    out.text("type", "message").text("role", "user").list_at("content");
    out.open().text("type", "input_text").text("text", &text).close().end_list();
    Some(out.done())
}

/// An item with a summary.
fn item(id: &str, summary: &str) -> String {
    let mut item = Out::object();
    item.text("id", id).text("type", "compaction").name("encrypted_content").string(&[OWN, summary]);
    item.done()
}

/// Stands for a summary that the model did not give: it was asked for one and paid for.
const NO_SUMMARY: &str = "No summary was made of the conversation before this point.";

/// The words of an answer that is a summary.
fn words(answer: &Answer) -> String {
    let parts = answer.choices.first().map(|choice| choice.parts.as_slice()).unwrap_or_default();
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text { text, .. } => Some(text.as_ref()),
        _ => None,
    });
    let said = texts.collect::<Vec<_>>().join("\n\n").trim().to_owned();
    if said.is_empty() { NO_SUMMARY.to_owned() } else { said }
}

/// A response that is a compaction.
pub fn written(answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String {
    let head = Head::new(&answer.id, &answer.model, wish);
    let usage = response_usage_with_cost(None, usage, cost);
    head.response(Status::Completed, &[item(&head.item("cmp", 0), &words(answer))], Some(&usage))
}

/// A stream that ends in a compaction.
pub struct CompactWriter {
    inner: ResponsesWriter,
    summary: String,
    /// Bytes since the last sign of life.
    quiet: usize,
}

impl CompactWriter {
    /// A stream for such a wish.
    pub fn new(wish: StreamWish) -> Self {
        Self { inner: ResponsesWriter::new(wish), summary: String::new(), quiet: 0 }
    }
}

impl Writer for CompactWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { .. } | Delta::Finish { .. } => self.inner.delta(delta, out),
            Delta::Text { choice: 0, text } | Delta::Thinking { choice: 0, text } => {
                self.quiet = self.quiet.saturating_add(text.len());
                if self.quiet >= QUIET_BYTES {
                    self.quiet = 0;
                    self.inner.ping(out);
                }
                if matches!(delta, Delta::Text { .. }) {
                    self.summary.push_str(text);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>) {
        let summary = self.summary.trim();
        if summary.is_empty() {
            // Without the item the client keeps its conversation.
            self.inner.delta(&Delta::Finish { choice: 0, finish: Finish::Length }, out);
        } else {
            self.inner.whole("cmp", &|id| item(id, summary), out);
            self.inner.delta(&Delta::Finish { choice: 0, finish: Finish::Stop }, out);
        }
        self.inner.finish(usage, cost, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        self.inner.ping(out);
    }

    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.inner.broken(code, message, out);
    }
}

impl Format for Compact {
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

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<Said, String> {
        Responses.read_plain(answer, counting)
    }

    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        Responses.named(answer, wish)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        Responses.priced(answer, usage, cost)
    }

    fn line(&self, wish: StreamWish, counting: Counting) -> Box<dyn Line> {
        Responses.line(wish, counting)
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
        let head = Head::new(&answer.id, &answer.model, wish);
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
