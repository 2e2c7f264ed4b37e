//! A condition as each client is told it: with the status, the codes and the words that its main programs act upon.
//!
//! Claude Code shortens a conversation on `prompt is too long: N tokens > M maximum`, and asks for less output on `input length
//! and max_tokens exceed context limit: A + B > C`; Codex on the code `context_length_exceeded`, in an answer of status 400 and in
//! `response.failed`; opencode, LiteLLM, LangChain and Cline on OpenAI's words, or on Anthropic's, or on that code.

use super::{Condition, Size};
use crate::catalog::Dialect;
use crate::dialect::Endpoint;

/// Whose words are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Of chat completions, and of what is beside them.
    Chat,
    /// Of responses.
    Responses,
    /// Of messages.
    Messages,
    /// Of generateContent.
    Generate,
}

/// An error in the words of a client's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldError {
    /// HTTP status.
    pub status: u16,
    /// OpenAI's and Anthropic's `type`, Google's `status`.
    pub kind: &'static str,
    /// OpenAI's `code`.
    pub code: Option<&'static str>,
    /// OpenAI's `param`.
    pub param: Option<&'static str>,
    /// In words.
    pub message: String,
}

impl ToldError {
    /// The one word by which an error in a stream is told.
    pub fn word(&self) -> &'static str {
        self.code.unwrap_or(self.kind)
    }
}

impl Client {
    /// Who calls an endpoint.
    pub const fn of(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Responses => Self::Responses,
            _ => Self::in_stream(endpoint.dialect(), Self::Chat),
        }
    }

    /// Who reads a stream of a dialect.
    pub const fn of_stream(dialect: Dialect) -> Self {
        // What is not about one of them alone, clients of chat read as well.
        Self::in_stream(dialect, Self::Responses)
    }

    const fn in_stream(dialect: Dialect, openai: Self) -> Self {
        match dialect {
            Dialect::Anthropic => Self::Messages,
            Dialect::Gemini => Self::Generate,
            Dialect::Openai | Dialect::Cohere => openai,
        }
    }

    /// Status and words: OpenAI's `type`, Anthropic's, Google's.
    const fn row(self, condition: Condition) -> (u16, &'static str) {
        let (status, openai, anthropic, gemini) = match condition {
            Condition::TooLong(_) | Condition::Filtered | Condition::Invalid => {
                (400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT")
            }
            Condition::NotFound => (404, "invalid_request_error", "not_found_error", "NOT_FOUND"),
            Condition::RateLimited => (429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
            Condition::Overloaded => (503, "server_error", "overloaded_error", "UNAVAILABLE"),
            // It is the gateway's that failed.
            Condition::Quota | Condition::Authentication => (502, "server_error", "api_error", "UNAVAILABLE"),
        };
        match self {
            Self::Chat | Self::Responses => (status, openai),
            Self::Messages => (if status == 503 { 529 } else { status }, anthropic),
            Self::Generate => (status, gemini),
        }
    }

    const fn is_openais(self) -> bool {
        matches!(self, Self::Chat | Self::Responses)
    }

    fn code(self, condition: Condition) -> Option<&'static str> {
        let code = match condition {
            Condition::TooLong(_) => "context_length_exceeded",
            Condition::Filtered if self == Self::Responses => "invalid_prompt",
            Condition::Filtered => "content_filter",
            Condition::RateLimited => "rate_limit_exceeded",
            Condition::Overloaded | Condition::Quota | Condition::Authentication => "server_error",
            Condition::NotFound => "not_found",
            Condition::Invalid => return None,
        };
        self.is_openais().then_some(code)
    }
}

impl Condition {
    /// The condition for a client. `said` are upstream's words, which are shown where they are about the client's own request and
    /// no dialect has others for it; `wait_s` is the time that upstream names. What is not the client's own is only told where
    /// nobody else can be asked any more: in the middle of an answer.
    pub fn told(self, client: Client, said: &str, wait_s: Option<u64>) -> ToldError {
        let (status, kind) = client.row(self);
        let param = match (self, client) {
            (Self::TooLong(_), Client::Chat) => Some("messages"),
            (Self::TooLong(_), Client::Responses) => Some("input"),
            _ => None,
        };
        let message = match self {
            Self::TooLong(size) => too_long(size, client),
            Self::Filtered => filtered(client),
            // The client's own request, which no dialect has general words for.
            Self::Invalid | Self::NotFound => said.to_owned(),
            Self::RateLimited => {
                let wait = wait_s.map_or("later".to_owned(), |seconds| format!("in {seconds} s"));
                format!("The provider broke off the answer: it asks for fewer requests. Please try again {wait}.")
            }
            Self::Overloaded => "The provider broke off the answer: it is overloaded. Please try again later.".to_owned(),
            Self::Quota | Self::Authentication => {
                "The provider broke off the answer: it does not serve the gateway at the moment. Please try again later."
                    .to_owned()
            }
        };
        ToldError { status, kind, code: client.code(self), param, message }
    }
}

fn too_long(size: Size, client: Client) -> String {
    let Size { input, most, .. } = size;
    match (client, size.is_for_its_output(), input, most) {
        (Client::Messages, Some((input, output, most)), ..) => format!(
            "input length and `max_tokens` exceed context limit: {input} + {output} > {most}, decrease input length or `max_tokens` and try again: for so much output the prompt is too long"
        ),
        (Client::Messages, None, Some(input), Some(most)) => format!("prompt is too long: {input} tokens > {most} maximum"),
        (Client::Messages, None, None, Some(most)) => format!("prompt is too long: it is beyond the maximum of {most} tokens"),
        (Client::Messages, None, _, None) => "prompt is too long".to_owned(),
        (Client::Chat, Some((input, output, most)), ..) => format!(
            "This model's maximum context length is {most} tokens. However, you requested {} tokens ({input} in the messages, {output} in the completion). Please reduce the length of the messages or completion.",
            input.saturating_add(output)
        ),
        (Client::Chat, None, Some(input), Some(most)) => format!(
            "This model's maximum context length is {most} tokens. However, your messages resulted in {input} tokens. Please reduce the length of the messages."
        ),
        (Client::Chat, None, None, Some(most)) => {
            format!("This model's maximum context length is {most} tokens. Please reduce the length of the messages.")
        }
        (Client::Responses, Some((input, output, most)), ..) => format!(
            "Your input exceeds the context window of this model for the output that you asked for: {input} and {output} tokens of {most}. Please adjust your input and try again."
        ),
        (Client::Responses, None, Some(input), Some(most)) => format!(
            "Your input exceeds the context window of this model: {input} tokens, and {most} at most. Please adjust your input and try again."
        ),
        (Client::Chat | Client::Responses, None, ..) => {
            "Your input exceeds the context window of this model. Please adjust your input and try again.".to_owned()
        }
        (Client::Generate, _, Some(input), Some(most)) => {
            format!("The input token count ({input}) exceeds the maximum number of tokens allowed ({most}).")
        }
        (Client::Generate, _, None, Some(most)) => {
            format!("The input token count exceeds the maximum number of tokens allowed ({most}).")
        }
        (Client::Generate, _, _, None) => "The input token count exceeds the maximum number of tokens allowed.".to_owned(),
    }
}

fn filtered(client: Client) -> String {
    let words = match client {
        Client::Chat | Client::Responses => {
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt."
        }
        Client::Messages => "Blocked by content filtering policy: the provider keeps the prompt or the answer back.",
        Client::Generate => "The prompt was blocked by the provider's content filter (PROHIBITED_CONTENT).",
    };
    words.to_owned()
}
