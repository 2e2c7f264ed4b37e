//! What a row of the table says of an endpoint.
//!
//! What always holds: a row is plain data, made once and for all; names are those of schemas and parameters in the document.

use crate::app::{May, UseCase};

/// The status of an endpoint that goes on as a WebSocket.
pub const SWITCHING: u16 = 101;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anyone.
    Anyone,
    /// The holder of a key.
    Key,
    /// The bearer of the operator's token.
    Operator,
    /// A payment provider, by its signature.
    Signature,
}

/// What answers an endpoint. The one `match` on it is in `api/mod.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// The relay asks a model; the dialects know which endpoint it is.
    Model,
    /// The connection goes on as a WebSocket; nothing for a request that does not ask for one.
    Socket,
    /// A use case, for who may ask for it.
    Use(UseCase),
    /// A message of the payment provider.
    Stripe,
    /// A page, or what it shows for programs.
    Page(SitePage),
    /// That the Worker answers.
    Alive,
    /// The platform, before the Worker is asked.
    File,
}

/// A page, or something beside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SitePage {
    Home,
    Models,
    Model,
    ModelsJson,
    ModelJson,
    Status,
    StatusJson,
    Feed,
    Login,
    SignIn,
    SignOut,
    Sitemap,
    Llms,
    Robots,
}

impl Handler {
    /// Who may call it.
    const fn who(self) -> Who {
        match self {
            Self::Model | Self::Socket => Who::Key,
            Self::Use(use_case) => match use_case.may() {
                May::Holder => Who::Key,
                May::Operator(_) => Who::Operator,
            },
            Self::Stripe => Who::Signature,
            Self::Page(_) | Self::Alive | Self::File => Who::Anyone,
        }
    }
}

/// What a request has in its body; names are those of schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Nothing,
    /// JSON.
    Json(&'static str),
    /// A form with files.
    Form(&'static str),
    /// Either of both.
    JsonOrForm(&'static str),
    /// A form of a page.
    Page(&'static str),
}

/// What a good answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The schema of its JSON; none where it is not JSON.
    pub schema: Option<&'static str>,
    /// What else it can be, or what it is where it is not JSON: media types with spaces between them.
    pub types: &'static str,
}

/// What an endpoint is about, and whose envelope its errors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// It asks a model, in a format of OpenAI's or of nobody else's.
    Openai,
    /// It asks a model in Anthropic's format.
    Anthropic,
    /// It asks a model in Gemini's format.
    Gemini,
    /// What can be called, and how it fares.
    Models,
    /// What requests came to.
    Receipts,
    /// Balances, orders, codes.
    Money,
    /// Administration.
    Administration,
    /// The gateway itself.
    Gateway,
    /// Pages for people, and what they show for programs.
    Pages,
}

impl About {
    /// Its tag in the document.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Openai => "Models, in OpenAI's formats",
            Self::Anthropic => "Models, in Anthropic's format",
            Self::Gemini => "Models, in Gemini's format",
            Self::Models => "Catalogue and health",
            Self::Receipts => "Receipts and runs",
            Self::Money => "Balances and top-ups",
            Self::Administration => "Administration",
            Self::Gateway => "The gateway",
            Self::Pages => "Pages",
        }
    }

    /// Whether a model is asked.
    pub const fn is_asking(self) -> bool {
        matches!(self, Self::Openai | Self::Anthropic | Self::Gemini)
    }
}

/// One endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// With names in braces for what differs. Only that of a model may have slashes.
    pub path: &'static str,
    /// What answers it.
    pub handler: Handler,
    /// Who may call it: whoever may ask for what answers.
    pub who: Who,
    /// What it is about.
    pub about: About,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its query parameters, by their names among the document's parameters, with spaces between them.
    pub query: &'static str,
    /// What goes in.
    pub body: Body,
    /// What comes out.
    pub answer: Answer,
}

impl Row {
    pub(super) const fn new(
        method: &'static str,
        path: &'static str,
        (handler, about): (Handler, About),
        summary: &'static str,
    ) -> Self {
        let answer = Answer { status: 200, schema: None, types: "" };
        Self { method, path, handler, who: handler.who(), about, summary, query: "", body: Body::Nothing, answer }
    }

    pub(super) const fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn takes(self, schema: &'static str) -> Self {
        Self { body: Body::Json(schema), ..self }
    }

    pub(super) const fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// The answer is JSON.
    pub(super) const fn gives(self, schema: &'static str) -> Self {
        Self { answer: Answer { schema: Some(schema), ..self.answer }, ..self }
    }

    /// The answer is JSON, and something is made.
    pub(super) const fn makes(self, schema: &'static str) -> Self {
        Self { answer: Answer { status: 201, schema: Some(schema), ..self.answer }, ..self }
    }

    /// The answer is, or can be, of these media types.
    pub(super) const fn types(self, types: &'static str) -> Self {
        Self { answer: Answer { types, ..self.answer }, ..self }
    }

    pub(super) const fn status(self, status: u16) -> Self {
        Self { answer: Answer { status, ..self.answer }, ..self }
    }
}
