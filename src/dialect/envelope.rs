//! The envelope of a chat request: the few members that decide who serves it and what it may cost.
//!
//! What always holds: every member read here is there at most once, so that upstream reads what was checked.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::json::Object;
use crate::refusal::{Code, Refusal};

/// More answers to one request than this is a typing error.
const MOST_CHOICES: u64 = 128;
/// More fallback models than this too.
const MOST_MODELS: usize = 16;

/// What is read of a chat request; the rest passes unread.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// The whole body.
    pub object: Object<'a>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its size without embedded images, files and sounds: what an estimate of its tokens goes by.
    pub text_bytes: u64,
    /// The model, then the fallbacks.
    pub models: Vec<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the client wants the usage at the end of the stream.
    pub include_usage: bool,
    /// How many tokens each answer may have, where the client says.
    pub output_limit: Option<u64>,
    /// How many answers.
    pub choices: u64,
    /// Requests of one session keep their channel.
    pub session: Option<String>,
    /// The `provider` member, as JSON.
    pub provider: Option<&'a str>,
    /// Whether audio may come out.
    pub audio_output: bool,
    /// Whether audio goes in.
    pub audio_input: bool,
    /// Whether something goes in whose tokens its bytes do not bound.
    pub has_media: bool,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of `body`.
    pub fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        let next_step = "Send a JSON object with `model` and `messages`.";
        let not_json = |what: &str| Refusal::new(Code::InvalidJson, format!("The request body {what}."), next_step);
        if body.trim_ascii().is_empty() {
            return Err(not_json("is empty"));
        }
        let text =
            std::str::from_utf8(body).map_err(|error| not_json(&format!("is not UTF-8 at byte {}", error.valid_up_to())))?;
        let Some(object) = Object::parse(text) else {
            let fault = serde_json::from_str::<serde::de::IgnoredAny>(text).err();
            return Err(not_json(&fault.map_or("is not a JSON object".to_owned(), |fault| format!("is not JSON: {fault}"))));
        };
        if let Some(name) = object.repeated() {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Refusal::invalid(&name, format!("`{name}` stands more than once in the request.")));
        }
        let reader = Fields(&object);
        let stream = reader.read::<bool>("stream", "a boolean")?.unwrap_or(false);
        let what = "an object whose `include_usage` is a boolean";
        // A list would be read as the fields in their order.
        if object.get("stream_options").is_some_and(|json| json.starts_with('[')) {
            return Err(Refusal::invalid("stream_options", format!("`stream_options` must be {what}.")));
        }
        let options = reader.read::<StreamOptions>("stream_options", what)?;
        let messages = object.get("messages");
        if !messages.is_some_and(|messages| messages.starts_with('[')) {
            return Err(Refusal::invalid("messages", "`messages` is required and must be a list of messages."));
        }
        let session = reader.read::<String>("session_id", "a string")?.or(reader.read("user", "a string")?);
        let modalities = reader.read::<Vec<String>>("modalities", "a list of strings")?.unwrap_or_default();
        // Nobody needs to escape a letter; whoever does must not hide the names that are looked for.
        let is_escaped =
            messages.is_some_and(|json| ["\\u004", "\\u005", "\\u006", "\\u007"].iter().any(|start| json.contains(start)));
        let plain = messages.filter(|_| is_escaped).and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
        let plain = plain.map(|value| value.to_string());
        let looked_at = plain.as_deref().or(messages).unwrap_or_default();
        let is_in = |needle: &str| looked_at.contains(needle);
        let audio_input = is_in("\"input_audio\"") || is_in("\"audio\":");
        for (name, priced) in
            [("service_tier", ["\"auto\"", "\"default\"", "\"flex\"", "null"].as_slice()), ("web_search_options", &["null"])]
        {
            if object.get(name).is_some_and(|json| !priced.contains(&json)) {
                return Err(Refusal::invalid(name, format!("What `{name}` asks for has no price here, so it cannot be served.")));
            }
        }
        let has_media = audio_input
            || ["\"image_url\"", "\"file\"", "\"video_url\"", "\"file_id\"", "\"url\""].iter().any(|name| is_in(name));
        Ok(Self {
            bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            text_bytes: u64::try_from(body.len().saturating_sub(embedded_bytes(looked_at))).unwrap_or(u64::MAX),
            models: reader.models()?,
            stream,
            include_usage: options.and_then(|options| options.include_usage).unwrap_or(false),
            output_limit: reader.output_limit()?,
            choices: reader.count("n", MOST_CHOICES)?.unwrap_or(1),
            session,
            provider: object.get("provider").filter(|json| *json != "null"),
            audio_output: modalities.iter().any(|modality| modality == "audio"),
            audio_input,
            has_media,
            object,
        })
    }
}

/// Bytes of base64 in the messages. Their tokens are not a matter of their bytes.
fn embedded_bytes(messages: &str) -> usize {
    let starts = [";base64,", "\"data\":\"", "\"file_data\":\""];
    let lengths = starts.iter().flat_map(|start| messages.match_indices(start)).map(|(at, start)| {
        let rest = messages.get(at.saturating_add(start.len())..).unwrap_or_default();
        let length = rest.find('"').unwrap_or(0);
        // What `file_data` holds begins with its own `;base64,`, which is counted by itself.
        if rest.get(..length).is_some_and(|data| data.contains(";base64,")) { 0 } else { length }
    });
    lengths.fold(0, usize::saturating_add)
}

struct Fields<'o, 'a>(&'o Object<'a>);

impl Fields<'_, '_> {
    fn read<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, Refusal> {
        let Some(json) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str::<Option<T>>(json).map_err(|_| Refusal::invalid(name, format!("`{name}` must be {what}.")))
    }

    fn count(&self, name: &str, most: u64) -> Result<Option<u64>, Refusal> {
        let what = format!("a whole number from 1 to {most}");
        let count = self.read::<u64>(name, &what)?;
        if count.is_some_and(|count| !(1..=most).contains(&count)) {
            return Err(Refusal::invalid(name, format!("`{name}` must be {what}.")));
        }
        Ok(count)
    }

    fn models(&self) -> Result<Vec<String>, Refusal> {
        let model = self.read::<String>("model", "a string")?.filter(|model| !model.is_empty());
        let fallbacks = self.read::<Vec<String>>("models", "a list of strings")?.unwrap_or_default();
        let mut models: Vec<String> = Vec::new();
        for name in model.into_iter().chain(fallbacks) {
            if !models.contains(&name) {
                models.push(name);
            }
        }
        if models.len() > MOST_MODELS {
            return Err(Refusal::invalid("models", format!("`models` may name at most {MOST_MODELS} models.")));
        }
        if models.is_empty() {
            return Err(Refusal::invalid("model", "`model` is required: the name of a model from GET /v1/models."));
        }
        Ok(models)
    }

    /// The larger of both limits, so that the quote covers what either allows.
    fn output_limit(&self) -> Result<Option<u64>, Refusal> {
        let most = 100_000_000;
        Ok(self.count("max_tokens", most)?.max(self.count("max_completion_tokens", most)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &[u8]) -> Refusal {
        Envelope::parse(body).unwrap_err()
    }

    fn with(members: &str) -> Vec<u8> {
        format!("{{\"messages\":[],{members}}}").into_bytes()
    }

    #[test]
    fn a_body_that_is_not_an_object_is_the_callers_400() {
        for body in ["", "  ", "hello", "[]", "null", "\"model\"", "1", "{\"model\":\"a\"", "{}{}"] {
            assert_eq!(refusal(body.as_bytes()).code, Code::InvalidJson, "{body}");
        }
        assert_eq!(refusal(b"{\"model\":\"\xff\"}").code, Code::InvalidJson);
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (members, param) in [
            ("\"stream\":false", "model"),
            ("\"model\":\"\"", "model"),
            ("\"model\":null", "model"),
            ("\"model\":5", "model"),
            ("\"model\":[\"a\"]", "model"),
            ("\"model\":\"a\",\"models\":\"b\"", "models"),
            ("\"model\":\"a\",\"stream\":\"yes\"", "stream"),
            ("\"model\":\"a\",\"stream\":1", "stream"),
            ("\"model\":\"a\",\"stream_options\":true", "stream_options"),
            ("\"model\":\"a\",\"max_tokens\":-1", "max_tokens"),
            ("\"model\":\"a\",\"max_tokens\":0", "max_tokens"),
            ("\"model\":\"a\",\"max_tokens\":1.5", "max_tokens"),
            ("\"model\":\"a\",\"max_tokens\":\"9\"", "max_tokens"),
            ("\"model\":\"a\",\"max_completion_tokens\":1e99", "max_completion_tokens"),
            ("\"model\":\"a\",\"max_tokens\":99999999999999999999999", "max_tokens"),
            ("\"model\":\"a\",\"n\":0", "n"),
            ("\"model\":\"a\",\"n\":1000000", "n"),
            ("\"model\":\"a\",\"model\":\"b\"", "model"),
            ("\"model\":\"a\",\"max_tokens\":1,\"m\\u0061x_tokens\":9", "max_tokens"),
        ] {
            assert_eq!(refusal(&with(members)).param.as_deref(), Some(param), "{members}");
        }
        assert_eq!(refusal(b"{\"model\":\"a\"}").param.as_deref(), Some("messages"));
        assert_eq!(refusal(b"{\"model\":\"a\",\"messages\":{}}").param.as_deref(), Some("messages"));
    }

    #[test]
    fn a_good_request_is_read() {
        let body = with(
            r#""model":"a","models":["b","a"],"stream":true,"stream_options":{"include_usage":true,"x":1},"max_tokens":5,"max_completion_tokens":9,"temperature":null"#,
        );
        let envelope = Envelope::parse(&body).unwrap();
        assert_eq!(envelope.models, ["a", "b"]);
        assert!(envelope.stream && envelope.include_usage);
        assert_eq!((envelope.output_limit, envelope.choices), (Some(9), 1));
    }

    #[test]
    fn an_escaped_letter_hides_nothing() {
        let body =
            br#"{"model":"a","messages":[{"content":[{"type":"image\u005furl","image\u005furl":{"\u0075rl":"https://x"}}]}]}"#;
        assert!(Envelope::parse(body).unwrap().has_media);
        let body = br#"{"model":"a","messages":[{"content":[{"type":"input\u005faudio"}]}]}"#;
        assert!(Envelope::parse(body).unwrap().audio_input);
        let body = br#"{"model":"a","messages":[{"content":"the escape \\u0041 in a text"}]}"#;
        assert!(!Envelope::parse(body).unwrap().has_media);
    }

    #[test]
    fn embedded_media_is_not_text() {
        let image = "A".repeat(10_000);
        let body =
            format!(r#"{{"model":"a","messages":[{{"content":[{{"image_url":{{"url":"data:image/png;base64,{image}"}}}}]}}]}}"#);
        let envelope = Envelope::parse(body.as_bytes()).unwrap();
        assert!(envelope.bytes > 10_000 && envelope.text_bytes < 200, "{}", envelope.text_bytes);
    }

    #[test]
    fn what_has_no_price_of_its_own_is_refused() {
        for (members, param) in
            [("\"service_tier\":\"priority\"", "service_tier"), ("\"web_search_options\":{}", "web_search_options")]
        {
            assert_eq!(refusal(&with(&format!("\"model\":\"a\",{members}"))).param.as_deref(), Some(param));
        }
        assert!(Envelope::parse(&with("\"model\":\"a\",\"service_tier\":\"auto\",\"web_search_options\":null")).is_ok());
    }

    #[test]
    fn audio_and_media_are_seen_and_text_about_them_is_not() {
        let body = br#"{"model":"a","messages":[{"content":[{"type":"input_audio"}]}],"modalities":["text","audio"]}"#;
        let envelope = Envelope::parse(body).unwrap();
        assert!(envelope.audio_input && envelope.audio_output && envelope.has_media);
        let body = br#"{"model":"a","messages":[{"content":"what is \"input_audio\" and \"image_url\"?"}]}"#;
        let envelope = Envelope::parse(body).unwrap();
        assert!(!envelope.audio_input && !envelope.has_media);
    }
}
