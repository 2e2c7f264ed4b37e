//! A conversation in nobody's format: what the dialects for text have in common, so that each of them is translated to and
//! from this alone and not to and from every other.
//!
//! What always holds: numbers and JSON Schemas are carried as the text that the client wrote; embedded files are borrowed from
//! the body, not copied; a call and its result have the same id.

use std::borrow::Cow;

use super::maker::Maker;
use crate::usage::Usage;

/// Text that is borrowed from the body where it can be.
pub type Text<'a> = Cow<'a, str>;

/// A request for text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversation<'a> {
    /// Instructions above the conversation, in order; text parts only.
    pub system: Vec<Part<'a>>,
    /// The turns. Two in a row may have the same role; whoever writes a dialect that forbids it joins them.
    pub messages: Vec<Message<'a>>,
    /// Functions that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether it may, must, or must not.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_calls: Option<bool>,
    /// What the answer must look like.
    pub output: OutputFormat<'a>,
    /// Numbers that steer the choice of tokens.
    pub sampling: Sampling<'a>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// How much it may think, and whether that is shown.
    pub reasoning: Option<Reasoning>,
    /// Log probabilities: how many alternatives for each token, 0 for the token's own alone.
    pub logprobs: Option<u64>,
    /// How many answers; at least 1.
    pub choices: u64,
    /// The client's name for its own user.
    pub user: Option<String>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Role {
    User,
    Assistant,
}

/// One turn. Results of tools are parts of a user's turn.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Message<'a> {
    pub role: Role,
    pub parts: Vec<Part<'a>>,
}

/// A piece of a turn or of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<'a> {
    /// Text; `cache` asks the provider to keep everything up to here.
    #[allow(missing_docs)]
    Text { text: Text<'a>, cache: Option<Cache> },
    /// The model's words for declining.
    Refusal(Text<'a>),
    /// An image, a file or a sound.
    #[allow(missing_docs)]
    Media { media: Media<'a>, cache: Option<Cache> },
    /// What the model thought.
    Thinking(Thinking),
    /// A call of a tool.
    Call(ToolCall),
    /// The result of one.
    Result(CallResult<'a>),
}

/// How long a provider is asked to keep a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cache {
    FiveMinutes,
    Hour,
}

/// What an embedded thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MediaKind {
    Image,
    File,
    Audio,
}

/// An embedded or named thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Media<'a> {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is.
    pub source: Source<'a>,
    /// The name of a file.
    pub name: Option<String>,
    /// OpenAI's `detail` of an image.
    pub detail: Option<String>,
}

/// Where an embedded thing is.
#[derive(Debug, Clone, PartialEq)]
pub enum Source<'a> {
    /// Here. The media type is complete, such as `image/png`.
    #[allow(missing_docs)]
    Base64 { media_type: String, data: Text<'a> },
    /// At an address that the provider fetches, never the gateway.
    Url(Text<'a>),
    /// A file that the provider has. Ids are one provider's own, so no other can be asked.
    Id(String),
}

/// What the model thought, with the provider's proof of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Thinking {
    /// In words; empty if it is hidden.
    pub text: String,
    /// By which the provider knows it again. Of no use to any other.
    pub signature: Option<String>,
    /// Thoughts that the provider encrypted as a whole (Anthropic's `redacted_thinking`).
    pub redacted: Option<String>,
    /// Whose they are, where it is known.
    pub maker: Option<Maker>,
}

impl Thinking {
    /// Whether the provider would know it again.
    pub const fn is_proven(&self) -> bool {
        self.signature.is_some() || self.redacted.is_some()
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolCall {
    /// Pairs it with its result.
    pub id: String,
    /// The function.
    pub name: String,
    /// As JSON text, exactly as the model or the client wrote it.
    pub arguments: String,
    /// Gemini's `thoughtSignature` of this call.
    pub signature: Option<String>,
    /// What it calls.
    pub form: Form,
}

/// What a tool is for the client that runs it. Every provider knows functions; the rest is OpenAI's, and becomes functions for
/// the others and itself again for the client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    /// What kind it is.
    pub kind: ToolKind,
    /// The group of tools that it is one of (`namespace` of responses).
    pub namespace: Option<String>,
}

/// What kind of tool the client runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolKind {
    /// A function: its arguments are a JSON object.
    #[default]
    Function,
    /// A free text (`custom`). Arguments are that text.
    Custom,
    /// A search for tools that the client makes (`tool_search`). Arguments are a JSON object.
    Search,
    /// A shell of the client (`local_shell`). Arguments are the JSON object of its action.
    Shell,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallResult<'a> {
    /// Of which call.
    pub id: String,
    /// Text, and images where the dialect has them.
    pub parts: Vec<Part<'a>>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// Asks the provider to keep everything up to here.
    pub cache: Option<Cache>,
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tool<'a> {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<Text<'a>>,
    /// JSON Schema of its arguments, as JSON text.
    pub schema: Option<Text<'a>>,
    /// Whether the arguments must follow the schema to the letter.
    pub strict: Option<bool>,
    /// Asks the provider to keep everything up to here.
    pub cache: Option<Cache>,
    /// What it is for the client.
    pub form: Form,
    /// The grammar that a free text must follow, as OpenAI's `format` object in JSON.
    pub grammar: Option<Text<'a>>,
}

/// Whether tools may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    Auto,
    /// Not.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// What the answer must look like.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum OutputFormat<'a> {
    /// Anything.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of this JSON Schema, given as JSON text.
    #[allow(missing_docs)]
    Schema { name: Option<String>, description: Option<String>, schema: Text<'a>, strict: Option<bool> },
}

/// Numbers that steer the choice of tokens, as JSON text: `1.0` stays `1.0`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Sampling<'a> {
    pub temperature: Option<&'a str>,
    pub top_p: Option<&'a str>,
    pub top_k: Option<&'a str>,
    pub seed: Option<&'a str>,
    pub presence_penalty: Option<&'a str>,
    pub frequency_penalty: Option<&'a str>,
}

/// How much the model may think before it answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reasoning {
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens.
    pub budget: Option<u64>,
    /// Whether the client wants to see thoughts; none is the dialect's default.
    pub is_shown: Option<bool>,
}

impl Reasoning {
    /// The same within a limit that was made smaller: a budget that does not fit becomes half of it, so that there is as much left
    /// for the answer.
    pub fn within(&self, output_limit: u64) -> Self {
        let budget = self.budget.map(|budget| if budget >= output_limit { output_limit / 2 } else { budget });
        Self { budget, ..self.clone() }
    }
}

/// How hard to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Most,
}

impl Effort {
    /// Reads OpenAI's and Anthropic's words for it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" | "max" => Self::Most,
            _ => return None,
        })
    }

    /// The share of the output limit that an effort may think, in percent; what OpenRouter's users are used to.
    const fn percent(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal => 10,
            Self::Low => 20,
            Self::Medium => 50,
            Self::High => 80,
            Self::Most => 95,
        }
    }

    /// How many tokens this effort may think of an answer with so many in all.
    pub const fn budget(self, output_limit: u64) -> u64 {
        output_limit.saturating_mul(self.percent()) / 100
    }

    /// The effort that comes nearest to a budget.
    pub const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=1_024 => Self::Minimal,
            1_025..=4_096 => Self::Low,
            4_097..=16_384 => Self::Medium,
            16_385..=32_768 => Self::High,
            _ => Self::Most,
        }
    }
}

/// An answer as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The provider's id of it; empty if it gives none.
    pub id: String,
    /// The model as the provider names it.
    pub model: String,
    /// The choices; usually one.
    pub choices: Vec<Choice>,
    /// What the provider says it used.
    pub usage: Option<Usage>,
}

/// One of the answers to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Text, refusal, thinking, calls, images; never results.
    pub parts: Vec<Part<'static>>,
    /// Why it ended.
    pub finish: Finish,
    /// OpenAI's `logprobs` object, as JSON text.
    pub logprobs: Option<String>,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It was complete.
    Stop,
    /// At one of the client's stop texts, where the provider says so.
    StopText(String),
    /// At the output limit.
    Length,
    /// To call tools.
    Calls,
    /// The provider kept it back; its word for why, such as `content_filter` or `SAFETY`.
    Filtered(String),
    /// A reason of the provider's that has no counterpart.
    Other(String),
}

/// What an event of a stream adds to an answer. Choices and calls are counted from 0; a call is told apart by its number
/// within its choice.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Delta {
    /// Once, first: the answer has begun.
    Start {
        id: String,
        model: String,
    },
    Text {
        choice: u32,
        text: String,
    },
    Refusal {
        choice: u32,
        text: String,
    },
    Thinking {
        choice: u32,
        text: String,
    },
    /// Belongs to the thinking before it.
    Signature {
        choice: u32,
        signature: String,
    },
    Redacted {
        choice: u32,
        data: String,
    },
    /// The call of this number, which begins next, is no plain function for the client.
    Form {
        choice: u32,
        call: u32,
        form: Form,
    },
    /// A call begins.
    Call {
        choice: u32,
        call: u32,
        id: String,
        name: String,
        signature: Option<String>,
    },
    /// More of its arguments, as JSON text.
    Arguments {
        choice: u32,
        call: u32,
        json: String,
    },
    Image {
        choice: u32,
        media_type: String,
        data: String,
    },
    /// OpenAI's `logprobs` object for the text before it, as JSON text.
    Logprobs {
        choice: u32,
        json: String,
    },
    Finish {
        choice: u32,
        finish: Finish,
    },
}

impl Delta {
    /// Of which choice it is; the start is of the whole answer.
    pub const fn choice(&self) -> Option<u32> {
        match self {
            Self::Start { .. } => None,
            Self::Text { choice, .. }
            | Self::Refusal { choice, .. }
            | Self::Thinking { choice, .. }
            | Self::Signature { choice, .. }
            | Self::Redacted { choice, .. }
            | Self::Form { choice, .. }
            | Self::Call { choice, .. }
            | Self::Arguments { choice, .. }
            | Self::Image { choice, .. }
            | Self::Logprobs { choice, .. }
            | Self::Finish { choice, .. } => Some(*choice),
        }
    }
}
