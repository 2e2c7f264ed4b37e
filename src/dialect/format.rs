//! What a format has to be able to do. A dialect is a folder that says so for each of its formats; `mod.rs` lists them.

use std::cell::Cell;
use std::rc::Rc;

use super::body::Body;
use super::envelope::Envelope;
use super::fit::Rules;
use super::form::Form;
use super::json::{Edit, Object, quoted};
use super::maker::{Maker, Marks};
use super::naming::Names;
use super::openai::read_error;
use super::sse::Data;
use super::talk::{Answer, Conversation, Delta, Reasoning};
use super::tally::Tally;
use crate::catalog::{OutputLimitField, Thoughts};
use crate::refusal::{Code, Refusal};
use crate::usage::Usage;

/// What must differ in the request that goes up.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    /// The model's id there.
    pub model: &'a str,
    /// How many tokens each answer may have.
    pub output_limit: u64,
    /// Whether that is less than the client asked for, so that what it wants to be thought is to fit into it.
    pub is_fitted: bool,
    /// The only field by which the channel limits output, where it knows only one (OpenAI's chat completions).
    pub limit_field: Option<OutputLimitField>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// A short name for where it is, so that its thoughts are known again.
    pub place: &'a str,
    /// Which thoughts of earlier turns it gets back.
    pub thoughts: Thoughts,
    /// Whether tools that the provider runs itself are left out, because they have no price there.
    pub leaves_out_hosted: bool,
    /// Ids of thoughts, as the client has them, that this channel and credential keep for the same account; sorted.
    pub own_items: &'a [String],
}

impl Upstream<'_> {
    /// How much may be thought, where the client said so before its limit was made smaller.
    pub fn reasoning(&self, wish: &Reasoning) -> Reasoning {
        if self.is_fitted { wish.within(self.output_limit) } else { wish.clone() }
    }

    /// A channel without a name: nothing but its format is asked of it.
    pub const NOBODY: Self = Self {
        model: "",
        output_limit: 1,
        is_fitted: false,
        limit_field: None,
        stream: false,
        place: "",
        thoughts: Thoughts::Own,
        leaves_out_hosted: false,
        own_items: &[],
    };
}

/// What a request cost, as it stands in `usage`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cost {
    /// The whole charge, decimal.
    pub amount: String,
    /// Of which currency (ISO 4217); none where nobody pays.
    pub currency: Option<String>,
    /// More about it, as a JSON object.
    pub details: String,
}

impl Cost {
    /// The members that every `usage` object gets. Tools take a cost without a currency for dollars.
    pub fn edits(&self) -> Vec<Edit> {
        let currency = self.currency.as_deref().map(|code| Edit::Set("currency", quoted(code)));
        let cost = [Edit::Set("cost", self.amount.clone())].into_iter().chain(currency);
        cost.chain([Edit::Set("cost_details", self.details.clone())]).collect()
    }
}

/// An error as upstream told it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamError {
    /// In words; safe to show to the caller of a rejected request.
    pub message: String,
    /// Upstream's `type` (Gemini's `status`).
    pub kind: Option<String>,
    /// Upstream's `param`.
    pub param: Option<String>,
    /// Upstream's `code`; the `type` where its dialect has no other.
    pub code: Option<String>,
    /// When upstream asks to be called again, in seconds, where it says so in the body.
    pub retry_after_s: Option<u64>,
}

impl UpstreamError {
    /// The code in brackets, where there is one that can be shown.
    pub fn shown_code(&self) -> String {
        let code = self.code.as_deref().filter(|code| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_graphic()));
        code.map_or(String::new(), |code| format!(" ({code})"))
    }
}

/// What a plain answer says that must be known, whoever reads the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// What upstream says it used.
    pub usage: Option<Usage>,
    /// Why the model stopped, in upstream's words.
    pub finish_reason: Option<String>,
    /// The text that came out, as it stands in the JSON (escaped, quotes aside), for an estimate where `usage` is none.
    pub output: String,
    /// How many things came out that are counted and not measured in tokens, such as images.
    pub images: u64,
}

/// What upstream's numbers mean, where its dialect does not fix it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counting {
    /// Whether reasoning is counted outside of completion tokens; none where the totals tell.
    pub reasoning_outside: Option<bool>,
}

/// A format of requests and answers, for those that stay in it.
pub trait Format {
    /// Reads the few members that decide who serves the request and what it may cost. Called once per request; must not
    /// copy what is embedded.
    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal>;
    /// The same of a request that is a form. Text members are read by `form.text(name)`.
    fn form_envelope(&self, _form: &Form<'_>, _envelope: &mut Envelope) -> Result<(), Refusal> {
        Err(Refusal::new(Code::InvalidJson, "This endpoint reads JSON, and a form was sent.", "Send a JSON object."))
    }
    /// Where it is, behind a channel's base URL; with a query where the stream needs one.
    fn path(&self, upstream: &Upstream<'_>) -> String;
    /// What must change in the client's own request.
    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit>;
    /// Members and parts of the client's own request that do not go up.
    fn left_out(&self, _request: &Object<'_>) -> Vec<String> {
        Vec::new()
    }
    /// Reads a plain answer; an error says in our words what it is instead (never upstream's text: it may name hosts).
    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<Said, String>;
    /// What must change in a plain answer so that it has the gateway's id and the model's public name.
    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        Names::new("", wish).edits(answer)
    }
    /// What must change in a plain answer so that it tells its cost.
    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit>;
    /// Follows a stream that stays in this format.
    fn line(&self, wish: StreamWish, counting: Counting) -> Box<dyn Line>;
    /// An answer that only counts the tokens of a request, for formats of that; where no provider can be asked, the gateway
    /// answers it.
    fn write_count(&self, _tokens: u64) -> Option<String> {
        None
    }
    /// The format as one that can be translated, where it can.
    fn translation(&self) -> Option<&dyn Translation> {
        None
    }
}

/// Makes of an id one that says who made it.
pub type Seal = Rc<dyn Fn(&str) -> String>;

/// How a client wants its stream.
#[derive(Clone, Default)]
pub struct StreamWish {
    /// Whether it asked for usage at the end (OpenAI's chat; the others always tell).
    pub include_usage: bool,
    /// Whether it wants Gemini's list in place of events.
    pub is_list: bool,
    /// The time of the answer, in seconds, for those who are not told by upstream.
    pub created: i64,
    /// The id of the request, which the answer's own id is made of.
    pub id: String,
    /// What the client calls the model; upstream's own name stays where this is empty.
    pub model: String,
    /// The response that the request goes on from, as the client named it.
    pub previous: Option<String>,
    /// How many events the client was told before anybody answered: see [`Line::ping`].
    pub begun: Rc<Cell<u64>>,
    /// Makes of the id of a response one that says who made it; for clients who go on from it.
    pub seal: Option<Seal>,
    /// The same for the ids of its items, where its provider keeps them.
    pub seal_item: Option<Seal>,
    /// Whether a later request may name the response by the id that upstream gives it, so that no other is told before.
    pub goes_on: bool,
    /// Whose thoughts they are, where the client's format says so beside them.
    pub maker: Option<Maker>,
    /// Whether a later request may refer to the answer (OpenAI's responses).
    pub keeps: bool,
    /// Whether the answer is a summary, to be handed out as a compaction.
    pub compacts: bool,
}

impl StreamWish {
    /// The id that an answer is told with: the request's, behind what ids of the format begin with; its own where no request is
    /// known.
    pub fn answer_id(&self, prefix: &str, own: &str) -> String {
        if self.id.is_empty() { own.to_owned() } else { format!("{prefix}{}", self.id) }
    }
}

/// A format whose requests and answers have a meaning that others share.
pub trait Translation {
    /// What names and ids a channel takes that is asked in it.
    fn rules(&self) -> Rules;
    /// Who makes the answers of a channel that is asked in it.
    fn maker(&self, place: &str) -> Maker;
    /// How its clients are told whose thoughts they get.
    fn marks(&self) -> Marks;

    /// The client's request, and what of it is left out because no other dialect has it; a refusal names what cannot be left
    /// out.
    fn read_request<'a>(&self, request: &Object<'a>) -> Result<Read<'a>, Refusal>;
    /// The answer for the client, with its cost.
    fn write_answer(&self, answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String;
    /// Writes a stream for the client.
    fn writer(&self, wish: StreamWish) -> Box<dyn Writer>;

    /// The request for upstream, and what of it is left out because this dialect does not have it; a refusal names what cannot
    /// be left out, in general words: the client wrote another dialect.
    fn write_request(&self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal>;
    /// Upstream's answer; an error says in our words what it is instead.
    fn read_answer(&self, answer: &Object<'_>, counting: Counting) -> Result<Answer, String>;
    /// Reads a stream of upstream.
    fn reader(&self, counting: Counting) -> Box<dyn Reader>;
}

/// A request that was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read<'a> {
    /// What it says.
    pub conversation: Conversation<'a>,
    /// Names of members that were left out, such as `logit_bias`.
    pub dropped: Vec<String>,
}

/// No more than this is named of what is left out.
const MOST_DROPPED: usize = 64;

/// Notes what is left out, once.
pub fn drop_named(dropped: &mut Vec<String>, name: &str) {
    if dropped.len() < MOST_DROPPED && !dropped.iter().any(|known| known == name) {
        dropped.push(name.to_owned());
    }
}

/// A request that was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// As JSON.
    pub body: String,
    /// What was left out, by the names that clients of OpenAI know (such as `seed` or `parallel_tool_calls`).
    pub dropped: Vec<String>,
}

/// Follows a stream whose format the client and upstream share: notes what must be known in the tally, and passes events on.
pub trait Line {
    /// Takes an event of upstream and appends to `out` what the client gets of it. Sets `tally.progress`.
    fn event(&mut self, event: &Data, tally: &mut Tally, out: &mut Vec<u8>);
    /// A sign of life, in the form that resets the timer of the dialect's own clients; nothing of the answer changes by it.
    /// It may come before any event, too.
    fn ping(&mut self, out: &mut Vec<u8>);
    /// Upstream has no more bytes. Formats without a terminal event decide here whether the stream is complete.
    fn end(&mut self, tally: &mut Tally, out: &mut Vec<u8>);
    /// The stream broke off: an error in this dialect's form as the last thing, and no terminal event. Nothing where upstream
    /// has told its end itself.
    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>);
    /// Nobody answered after the client had signs of life: what would have been its answer, an error in this dialect's
    /// envelope, is told as the end of the stream.
    fn refused(&mut self, envelope: &str, out: &mut Vec<u8>) {
        let error = read_error(envelope);
        self.broken(error.code.as_deref().unwrap_or("error"), &error.message, out);
    }
}

/// Reads a stream of upstream for a client of another dialect.
pub trait Reader {
    /// Takes an event: notes usage, finish reason, text and progress in the tally, and says what it adds.
    fn event(&mut self, event: &Data, tally: &mut Tally, deltas: &mut Vec<Delta>);
    /// Upstream has no more bytes.
    fn end(&mut self, tally: &mut Tally, deltas: &mut Vec<Delta>);
}

/// Writes a stream for a client of another dialect than upstream's.
pub trait Writer {
    /// Writes what was added. Everything that was given before counts: blocks are opened and closed as the dialect demands.
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>);
    /// The complete end: whatever the dialect closes with, its usage with the cost, and its terminal event if it has one.
    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>);
    /// A sign of life, as [`Line::ping`] is.
    fn ping(&mut self, out: &mut Vec<u8>);
    /// Why what was written is not all that was said, if it is not. Such a stream is broken off, and never complete.
    fn fault(&self) -> Option<&'static str> {
        None
    }
    /// The stream broke off: an error in this dialect's form as the last thing, and no terminal event.
    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>);
    /// What was written, as a list of JSON, where a later request may refer to it.
    fn kept(&self) -> Option<String> {
        None
    }
}
