//! The endpoints that ask models: which format a client speaks at each, and in which one a channel is asked.

use super::anthropic;
use super::cohere;
use super::format::{Format, Translation};
use super::gemini;
use super::openai::{audio, chat, completions, embeddings, images, moderations, rerank, responses};
use crate::catalog::{Channel, Dialect, ModelKind};

/// What a client can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Endpoint {
    Chat,
    Completions,
    Responses,
    ResponsesCount,
    Compact,
    Embeddings,
    Moderations,
    ImageGenerations,
    ImageEdits,
    Speech,
    Transcriptions,
    AudioTranslations,
    Rerank,
    Messages,
    MessagesCount,
    Generate,
    GenerateCount,
}

/// An endpoint with what its path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPath {
    /// Which.
    pub endpoint: Endpoint,
    /// The model, where the path names it.
    pub model: Option<String>,
    /// Whether the path asks for a stream.
    pub stream: bool,
}

const PATHS: [(&str, Endpoint); 15] = [
    ("/v1/chat/completions", Endpoint::Chat),
    ("/v1/completions", Endpoint::Completions),
    ("/v1/responses", Endpoint::Responses),
    ("/v1/responses/input_tokens", Endpoint::ResponsesCount),
    ("/v1/responses/compact", Endpoint::Compact),
    ("/v1/embeddings", Endpoint::Embeddings),
    ("/v1/moderations", Endpoint::Moderations),
    ("/v1/images/generations", Endpoint::ImageGenerations),
    ("/v1/images/edits", Endpoint::ImageEdits),
    ("/v1/audio/speech", Endpoint::Speech),
    ("/v1/audio/transcriptions", Endpoint::Transcriptions),
    ("/v1/audio/translations", Endpoint::AudioTranslations),
    ("/v1/rerank", Endpoint::Rerank),
    ("/v1/messages", Endpoint::Messages),
    ("/v1/messages/count_tokens", Endpoint::MessagesCount),
];
/// Where Gemini's models are, each with what is asked of it behind a colon. Its clients use both.
const GEMINI_MODELS: [&str; 2] = ["/v1beta/models/", "/v1/models/"];

impl EndpointPath {
    /// The endpoint at a path, without a slash at the end.
    pub fn at(path: &str) -> Option<Self> {
        if let Some((_, endpoint)) = PATHS.iter().find(|(known, _)| *known == path) {
            return Some(Self { endpoint: *endpoint, model: None, stream: false });
        }
        let (model, action) = GEMINI_MODELS.iter().find_map(|folder| path.strip_prefix(folder))?.rsplit_once(':')?;
        let (endpoint, stream) = match action {
            "generateContent" => (Endpoint::Generate, false),
            "streamGenerateContent" => (Endpoint::Generate, true),
            "countTokens" => (Endpoint::GenerateCount, false),
            _ => return None,
        };
        Some(Self { endpoint, model: Some(model.to_owned()), stream })
    }
}

impl Endpoint {
    /// Those of dialects whose names are in lower case.
    pub fn of_lower_case() -> impl Iterator<Item = Self> {
        PATHS.into_iter().map(|(_, endpoint)| endpoint)
    }

    /// As in receipts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::ResponsesCount => "/v1/responses/input_tokens",
            Self::Compact => "/v1/responses/compact",
            Self::Embeddings => "/v1/embeddings",
            Self::Moderations => "/v1/moderations",
            Self::ImageGenerations => "/v1/images/generations",
            Self::ImageEdits => "/v1/images/edits",
            Self::Speech => "/v1/audio/speech",
            Self::Transcriptions => "/v1/audio/transcriptions",
            Self::AudioTranslations => "/v1/audio/translations",
            Self::Rerank => "/v1/rerank",
            Self::Messages => "/v1/messages",
            Self::MessagesCount => "/v1/messages/count_tokens",
            Self::Generate => "/v1beta/models/{model}:generateContent",
            Self::GenerateCount => "/v1beta/models/{model}:countTokens",
        }
    }

    /// The dialect that its clients speak.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Messages | Self::MessagesCount => Dialect::Anthropic,
            Self::Generate | Self::GenerateCount => Dialect::Gemini,
            _ => Dialect::Openai,
        }
    }

    /// The member of a request that limits how much comes out, of endpoints where the gateway can lower it.
    pub const fn limit_member(self) -> Option<&'static str> {
        match self {
            Self::Chat | Self::Completions | Self::Messages => Some("max_tokens"),
            Self::Responses => Some("max_output_tokens"),
            Self::Generate => Some("generationConfig.maxOutputTokens"),
            _ => None,
        }
    }

    /// What models it asks.
    pub const fn kinds(self) -> &'static [ModelKind] {
        match self {
            Self::Embeddings => &[ModelKind::Embedding],
            Self::Moderations => &[ModelKind::Moderation],
            Self::ImageGenerations | Self::ImageEdits => &[ModelKind::Image],
            Self::Speech => &[ModelKind::Speech],
            Self::Transcriptions | Self::AudioTranslations => &[ModelKind::Transcription],
            Self::Rerank => &[ModelKind::Rerank],
            _ => &[ModelKind::Chat],
        }
    }

    /// Whether a request that names no model gets the first of its kind, as with the providers.
    pub const fn has_default_model(self) -> bool {
        matches!(self, Self::Moderations | Self::ImageGenerations | Self::ImageEdits)
    }

    /// Whether its input is a list of items that can name what a provider keeps.
    pub const fn has_items(self) -> bool {
        matches!(self, Self::Responses | Self::Compact | Self::ResponsesCount)
    }

    /// Whether it only counts, which costs nothing.
    pub const fn is_free(self) -> bool {
        matches!(self, Self::MessagesCount | Self::GenerateCount | Self::ResponsesCount)
    }

    /// Whether clients of its streams can be told that somebody is there before there is an answer. Some models of transcription
    /// answer without a stream.
    pub const fn has_signs(self) -> bool {
        matches!(
            self,
            Self::Chat | Self::Completions | Self::Responses | Self::Messages | Self::ImageGenerations | Self::ImageEdits
        )
    }

    /// The format that its clients speak.
    pub fn format(self) -> &'static dyn Format {
        match self {
            Self::Chat => &chat::Chat,
            Self::Completions => &completions::Completions,
            Self::Responses => &responses::Responses,
            Self::ResponsesCount => &responses::CountTokens,
            Self::Compact => &responses::compact::Compact,
            Self::Embeddings => &embeddings::Embeddings,
            Self::Moderations => &moderations::Moderations,
            Self::ImageGenerations => &images::Generations,
            Self::ImageEdits => &images::Edits,
            Self::Speech => &audio::Speech,
            Self::Transcriptions => &audio::Transcriptions,
            Self::AudioTranslations => &audio::Translations,
            Self::Rerank => &rerank::Rerank,
            Self::Messages => &anthropic::Messages,
            Self::MessagesCount => &anthropic::CountTokens,
            Self::Generate => &gemini::Generate,
            Self::GenerateCount => &gemini::CountTokens,
        }
    }

    /// The format in which a channel is asked; none if it cannot be. Another than the client's is a translation, but for
    /// those that are alike.
    pub fn asked_of(self, channel: &Channel) -> Option<Way> {
        let same = |format| Some(Way { format, is_translated: false });
        let translated = |format| Some(Way { format, is_translated: true });
        match (self, channel.dialect) {
            (Self::Rerank, Dialect::Cohere) => same(&cohere::Rerank),
            (_, Dialect::Cohere) => None,
            (Self::Responses | Self::Compact, Dialect::Openai) if !channel.responses => translated(&chat::Chat),
            (Self::ResponsesCount, Dialect::Openai) if !channel.responses => None,
            (_, dialect) if dialect == self.dialect() => same(self.format()),
            (Self::Chat | Self::Responses | Self::Compact | Self::Messages | Self::Generate, dialect) => match dialect {
                Dialect::Anthropic => translated(&anthropic::Messages),
                Dialect::Gemini => translated(&gemini::Generate),
                _ => translated(&chat::Chat),
            },
            _ => None,
        }
    }
}

/// How a channel is asked.
#[derive(Clone, Copy)]
pub struct Way {
    /// In which format.
    pub format: &'static dyn Format,
    /// Whether that is another than the client's.
    pub is_translated: bool,
}

impl Way {
    /// The client's side of a translation and upstream's; none where nothing is translated.
    pub fn translation(self, endpoint: Endpoint) -> Option<(&'static dyn Translation, &'static dyn Translation)> {
        let sides = || Some((endpoint.format().translation()?, self.format.translation()?));
        self.is_translated.then(sides).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_called() {
        for (path, endpoint) in PATHS {
            assert_eq!(EndpointPath::at(path), Some(EndpointPath { endpoint, model: None, stream: false }));
            assert_eq!(endpoint.name(), path);
        }
        let called = EndpointPath::at("/v1beta/models/gpt-5.5:official:streamGenerateContent").unwrap();
        assert_eq!(
            called,
            EndpointPath { endpoint: Endpoint::Generate, model: Some("gpt-5.5:official".to_owned()), stream: true }
        );
        for path in ["/v1/chat", "/v1beta/models/x", "/v1beta/models/x:embedContent", "/v1beta/models", ""] {
            assert_eq!(EndpointPath::at(path), None, "{path}");
        }
    }
}
