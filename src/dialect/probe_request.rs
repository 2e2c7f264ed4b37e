//! The smallest useful request of a model, by what it does: what a probe sends. And the plain one, which people make: the same
//! without a limit. By that it is said whether a model can be called.
//!
//! What always holds: a probe request is a request like a client's, in OpenAI's words, for one model and no fallback. It is the same
//! every time, costs next to nothing, and asks for nothing that only some models know.
//!
//! Deliberately absent: sizes and qualities of images, formats of sound, temperatures: each is refused by some model.

use serde_json::{Value, json};

use super::endpoint::{Endpoint, EndpointPath};
use super::format::{Upstream, UpstreamError};
use crate::catalog::{Channel, Model, ModelKind};

/// Tokens of an answer. OpenAI, Azure and Groq refuse a lower limit for some of their models.
const OUTPUT_TOKENS: u64 = 16;
/// What is said, spoken, embedded and judged.
const TEXT: &str = "OK.";
/// Stands in no file and in no name of a model.
const BOUNDARY: &str = "tokens-forge-8d3f6c1a7b25";
const FORM: &str = "multipart/form-data; boundary=tokens-forge-8d3f6c1a7b25";

/// Samples of sound a second.
const SAMPLE_RATE: u32 = 8_000;
/// A quarter of a second: more than the tenth that OpenAI asks for, and few bytes, by which the quote goes.
const SAMPLES: u16 = 2_000;
/// One wave of 500 Hz. Silence would do as well, but that some providers look for a voice first and refuse a file without sound.
const WAVE: [i16; 16] = [0, 3061, 5657, 7391, 8000, 7391, 5657, 3061, 0, -3061, -5657, -7391, -8000, -7391, -5657, -3061];

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRequest {
    /// What is called.
    pub called: EndpointPath,
    /// What the body is.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
}

/// Where the probe request of a model goes.
const fn endpoint_of(kind: ModelKind) -> Endpoint {
    match kind {
        ModelKind::Chat => Endpoint::Chat,
        ModelKind::Embedding => Endpoint::Embeddings,
        ModelKind::Moderation => Endpoint::Moderations,
        ModelKind::Image => Endpoint::ImageGenerations,
        ModelKind::Speech => Endpoint::Speech,
        ModelKind::Transcription => Endpoint::Transcriptions,
        ModelKind::Rerank => Endpoint::Rerank,
    }
}

/// Whether a request to an endpoint asks a channel where the probe request of such a model asks it, too. What is met elsewhere, at
/// `/responses`, `/completions`, `/images/edits` or where tokens are counted, says nothing about the model.
pub fn asks_there(endpoint: Endpoint, kind: ModelKind, channel: &Channel) -> bool {
    let place = |endpoint: Endpoint| endpoint.asked_of(channel).map(|way| way.format.path(&Upstream::NOBODY));
    place(endpoint).is_some_and(|asked| place(endpoint_of(kind)) == Some(asked))
}

/// The probe request of a model. `name` is what the request asks for: the model's public name, with a route behind it or without, such
/// as `gpt-5.5:official`.
pub fn probe_request(model: &Model, name: &str) -> ProbeRequest {
    let called = EndpointPath { endpoint: endpoint_of(model.kind), model: None, stream: false };
    let body = match model.kind {
        ModelKind::Chat => chat(model, name),
        ModelKind::Embedding | ModelKind::Moderation => json!({"model": name, "input": TEXT}),
        ModelKind::Image => json!({"model": name, "prompt": "A black dot on white.", "n": 1}),
        ModelKind::Speech => json!({"model": name, "input": TEXT, "voice": "alloy"}),
        ModelKind::Transcription => return transcription(called, name),
        ModelKind::Rerank => {
            let documents = ["Paris is the capital of France.", "Bread is baked."];
            json!({"model": name, "query": "capital of France", "documents": documents, "top_n": 1})
        }
    };
    ProbeRequest { called, content_type: Some("application/json"), body: body.to_string().into_bytes() }
}

/// The request that a person makes first, as the pages of a model show it: without any limit.
pub fn plain(model: &Model, name: &str) -> ProbeRequest {
    if model.kind == ModelKind::Transcription {
        return probe_request(model, name);
    }
    let called = EndpointPath { endpoint: endpoint_of(model.kind), model: None, stream: false };
    let body = format!("{{\"model\": {}, {}}}", json!(name), model.kind.first_call());
    ProbeRequest { called, content_type: Some("application/json"), body: body.into_bytes() }
}

/// Channels that know the other name of the limit get that in its place, as with every request.
fn chat(model: &Model, name: &str) -> Value {
    let limit = model.max_output_tokens.clamp(1, OUTPUT_TOKENS);
    json!({"model": name, "messages": [{"role": "user", "content": "Reply with OK."}], "max_tokens": limit})
}

fn transcription(called: EndpointPath, name: &str) -> ProbeRequest {
    let text =
        |member: &str, text: &str| format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{member}\"\r\n\r\n{text}\r\n");
    let mut body = format!(
        "{}{}--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"tone.wav\"\r\nContent-Type: audio/wav\r\n\r\n",
        text("model", name),
        text("response_format", "json"),
    )
    .into_bytes();
    body.extend(tone());
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    ProbeRequest { called, content_type: Some(FORM), body }
}

/// A short tone as a WAV file: the header of 44 bytes, then one channel of 16 bits, all little-endian.
fn tone() -> Vec<u8> {
    const BYTES_A_SAMPLE: u16 = 2;
    let samples = WAVE.iter().cycle().take(usize::from(SAMPLES)).flat_map(|sample| sample.to_le_bytes());
    let data_bytes = u32::from(SAMPLES).saturating_mul(u32::from(BYTES_A_SAMPLE));
    let mut file = Vec::new();
    file.extend(b"RIFF");
    // What follows: the rest of the header, then the samples.
    file.extend(data_bytes.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // Uncompressed, one channel.
    file.extend(1_u16.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(SAMPLE_RATE.to_le_bytes());
    file.extend(SAMPLE_RATE.saturating_mul(u32::from(BYTES_A_SAMPLE)).to_le_bytes());
    file.extend(BYTES_A_SAMPLE.to_le_bytes());
    file.extend(BYTES_A_SAMPLE.saturating_mul(8).to_le_bytes());
    file.extend(b"data");
    file.extend(data_bytes.to_le_bytes());
    file.extend(samples);
    file
}

/// Whether a refused probe request shows that the model works: some that reason answer 400 where the limit ended their reasoning. They
/// ran, so whoever probes may take it for a good answer.
pub fn ran_into_its_limit(error: &UpstreamError) -> bool {
    error.message.contains("max_tokens or model output limit was reached")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Dialect, UpstreamHosts};
    use crate::dialect::form::Form;
    use crate::dialect::format::Upstream;
    use crate::dialect::openai::read_error;
    use crate::dialect::{Object, Request};
    use crate::usage::{Class, Usage};

    const KINDS: [ModelKind; 7] = [
        ModelKind::Chat,
        ModelKind::Embedding,
        ModelKind::Moderation,
        ModelKind::Image,
        ModelKind::Speech,
        ModelKind::Transcription,
        ModelKind::Rerank,
    ];
    const DIALECTS: [Dialect; 4] = [Dialect::Openai, Dialect::Anthropic, Dialect::Gemini, Dialect::Cohere];

    /// A catalogue with a channel for each dialect, and a chat model `m` whose answers have so many tokens.
    fn catalog(output: u64) -> Catalog {
        let channels: serde_json::Map<String, Value> = DIALECTS
            .map(|dialect| {
                let url = format!("https://{}.example.com/v1", dialect.as_str());
                (dialect.as_str().to_owned(), json!({"dialect": dialect.as_str(), "base_url": url, "secrets": ["K"]}))
            })
            .into_iter()
            .collect();
        let route = json!({"bucket": "b", "price": {"input": "1", "output": "1"},
            "candidates": [{"channel": "openai", "upstream_model": "up"}]});
        let model = json!({"name": "M", "family": "f", "kind": "chat", "context_length": 9000, "max_output_tokens": output,
            "routes": {"official": route}});
        let document = json!({"version": 1, "buckets": {"b": {"label": "B", "currency": "USD"}}, "channels": channels,
            "models": {"m": model}});
        Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
    }

    fn of_kind(kind: ModelKind) -> ProbeRequest {
        let model = Model { kind, ..Model::clone(catalog(4_000).model("m").unwrap()) };
        probe_request(&model, "m:official")
    }

    #[test]
    fn every_recipe_is_read_as_one_plain_request_of_its_model() {
        for kind in KINDS {
            let ProbeRequest { called, content_type, body } = of_kind(kind);
            assert_eq!(called.endpoint.name(), kind.endpoint());
            let envelope = Request::read(&called, &body, content_type).unwrap().envelope;
            assert_eq!((envelope.models, envelope.choices), (vec!["m:official".to_owned()], 1), "{kind:?}");
            assert!(!envelope.stream && !envelope.has_media && envelope.provider.is_none(), "{kind:?}");
            let needs: &[Class] = match kind {
                ModelKind::Speech => &[Class::AudioOutput],
                ModelKind::Transcription => &[Class::AudioInput],
                _ => &[],
            };
            assert_eq!(envelope.needs, needs, "{kind:?}");
            let unreported = match kind {
                ModelKind::Speech => Usage { characters: 3, ..Usage::default() },
                ModelKind::Transcription => Usage { seconds: 1, ..Usage::default() },
                ModelKind::Rerank => Usage { searches: 1, ..Usage::default() },
                _ => Usage::default(),
            };
            assert_eq!(envelope.unreported, unreported, "{kind:?}");
        }
    }

    #[test]
    fn every_dialect_that_serves_a_kind_can_be_asked_its_recipe() {
        let catalog = catalog(4_000);
        for (kind, channel) in KINDS.into_iter().flat_map(|kind| catalog.channels.values().map(move |it| (kind, it))) {
            let ProbeRequest { called, content_type, body } = of_kind(kind);
            let request = Request::read(&called, &body, content_type).unwrap();
            let way = called.endpoint.asked_of(channel);
            assert_eq!(way.is_some(), channel.dialect.serves(kind), "{kind:?} at {:?}", channel.dialect);
            let Some(way) = way else { continue };
            assert_eq!(request.check(way), Ok(()));
            let upstream = Upstream { model: "up", output_limit: 16, limit_field: None, stream: false, ..Upstream::NOBODY };
            let sent = request.sent(way, &upstream, Vec::new()).unwrap();
            assert_eq!(sent.dropped, Vec::<String>::new(), "{kind:?} at {:?}", channel.dialect);
            let body = sent.body.concat();
            assert!(!body.windows(10).any(|part| part == b"m:official"), "{kind:?} at {:?}", channel.dialect);
        }
    }

    #[test]
    fn a_chat_is_limited_to_what_the_model_can_write() {
        for (most, limit) in [(4_000, "16"), (16, "16"), (7, "7")] {
            let ProbeRequest { body, .. } = probe_request(catalog(most).model("m").unwrap(), "m");
            let text = String::from_utf8(body).unwrap();
            assert_eq!(Object::parse(&text).unwrap().get("max_tokens"), Some(limit));
        }
    }

    #[test]
    fn the_sound_is_a_wav_file_that_is_as_long_as_it_says() {
        let file = tone();
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let short = |at: usize| u16::from_le_bytes(file[at..at + 2].try_into().unwrap());
        assert_eq!([&file[0..4], &file[8..16], &file[36..40]], [&b"RIFF"[..], b"WAVEfmt ", b"data"]);
        assert_eq!((number(16), short(20), short(22)), (16, 1, 1));
        // 8,000 samples a second of two bytes each.
        assert_eq!((number(24), number(28), short(32), short(34)), (8_000, 16_000, 2, 16));
        assert_eq!((number(4), number(40), file.len()), (4_036, 4_000, 4_044));
        let samples = file[44..].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<_>>();
        assert_eq!((samples.iter().max(), samples.iter().min(), samples.len()), (Some(&8_000), Some(&-8_000), 2_000));
    }

    #[test]
    fn a_form_has_its_file_whole() {
        let ProbeRequest { content_type, body, .. } = of_kind(ModelKind::Transcription);
        let form = Form::parse(&body, content_type.unwrap()).unwrap();
        assert_eq!((form.text("model"), form.text("response_format")), (Some("m:official"), Some("json")));
        assert_eq!((form.has_file("file"), form.file_bytes()), (true, 4_044));
    }

    #[test]
    fn a_model_whose_reasoning_met_the_limit_works() {
        let body = r#"{"error":{"message":"Could not finish the message because max_tokens or model output limit was reached. Please try again with higher max_tokens.","type":"invalid_request_error","param":null,"code":null}}"#;
        assert!(ran_into_its_limit(&read_error(body)));
        for message in ["Unsupported parameter: 'max_tokens' is not supported with this model.", "max_tokens is too large", ""] {
            assert!(!ran_into_its_limit(&read_error(&json!({"error": {"message": message}}).to_string())), "{message}");
        }
    }
}
