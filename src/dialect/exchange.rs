//! What a format is told and what it tells: plain values between it and whoever calls it.
//!
//! What always holds: they belong to no format, and decide nothing. What a format has to be able to do is said in
//! [`super::format`].

use std::cell::Cell;
use std::rc::Rc;

use super::conversation::{Conversation, Reasoning};
use super::dropped::Dropped;
use super::json::{Edit, quoted};
use super::maker::Maker;
use crate::catalog::{OutputLimitField, Thoughts};
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
pub struct AnswerFacts {
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

/// Makes of an id one that says who made it.
pub type Tagger = Rc<dyn Fn(&str) -> String>;

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
    /// How many events the client was told before anybody answered: see [`super::format::Passthrough::ping`].
    pub begun: Rc<Cell<u64>>,
    /// Makes of the id of a response one that says who made it; for clients who go on from it.
    pub tag: Option<Tagger>,
    /// The same for the ids of its items, where its provider keeps them.
    pub tag_item: Option<Tagger>,
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

/// A request that was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read<'a> {
    /// What it says.
    pub conversation: Conversation<'a>,
    /// Members that were left out.
    pub dropped: Dropped,
}

/// A request that was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// As JSON.
    pub body: String,
    /// What was left out, by the names that clients of OpenAI know (such as `seed` or `parallel_tool_calls`).
    pub dropped: Dropped,
}
