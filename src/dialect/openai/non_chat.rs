//! What the endpoints beside chat share: the list that an answer is, and usage as they tell it.

use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

use super::misplaced_error;
use crate::dialect::bounds::{MOST_MODELS, too_many};
use crate::dialect::envelope::{Envelope, Fields, MOST_CHOICES};
use crate::dialect::form::Form;
use crate::dialect::format::{Cost, Upstream};
use crate::dialect::json::{Edit, Object, quoted};
use crate::refusal::Refusal;
use crate::usage::Usage;

/// All that changes in a request of theirs.
pub fn set_model(upstream: &Upstream<'_>) -> Vec<Edit> {
    vec![Edit::Set("model", quoted(upstream.model))]
}

/// Notes that one answer comes, without any token of text in it, and whose session it is of.
pub fn without_output(fields: &Fields<'_, '_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    envelope.choices = 1;
    envelope.default_output = Some(0);
    read_session(fields, envelope)
}

/// The session, if none is known, by the user that is named.
pub fn read_session(fields: &Fields<'_, '_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    if envelope.session.is_none() {
        envelope.session = fields.read("user", "a string")?;
    }
    Ok(())
}

/// What every form may have for the gateway: `models`, `provider`, `session_id`; and the session by `user`.
pub fn read_form_extras(form: &Form<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let names = || form.texts("models").filter(|name| !name.is_empty());
    if names().count() > MOST_MODELS {
        return Err(too_many("models", "names in `models`", names().count(), MOST_MODELS));
    }
    envelope.add_models(names().map(ToOwned::to_owned).collect())?;
    envelope.read_provider(form.text("provider"))?;
    envelope.session = form.text("session_id").or_else(|| form.text("user")).map(ToOwned::to_owned);
    Ok(())
}

/// A boolean of a form; false if it is not there.
pub fn form_flag(form: &Form<'_>, name: &str) -> Result<bool, Refusal> {
    match form.text(name).map(str::trim).unwrap_or_default() {
        "" => Ok(false),
        text if text.eq_ignore_ascii_case("true") => Ok(true),
        text if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(Refusal::invalid(name, format!("`{name}` must be true or false."))),
    }
}

/// How many answers a form asks for.
pub fn form_choices(form: &Form<'_>) -> Result<u64, Refusal> {
    let Some(text) = form.text("n").map(str::trim).filter(|text| !text.is_empty()) else { return Ok(1) };
    let count = text.parse().ok().filter(|count| (1..=MOST_CHOICES).contains(count));
    count.ok_or_else(|| Refusal::invalid("n", format!("`n` must be a whole number from 1 to {MOST_CHOICES}.")))
}

/// The list that an answer consists of, as JSON; an error says what is there instead.
pub fn list_of<'a>(answer: &Object<'a>, name: &str) -> Result<&'a str, String> {
    if let Some(error) = answer.given("error") {
        return Err(misplaced_error(error));
    }
    let list = answer.get(name).filter(|json| json.starts_with('['));
    let is_empty = |json: &str| json.get(1..).is_some_and(|rest| rest.trim_start().starts_with(']'));
    list.filter(|json| !is_empty(json)).ok_or_else(|| format!("an answer without {name}"))
}

/// The `usage` object with the cost: upstream's own where there is one, else `own`.
pub fn with_cost(upstream: Option<&str>, own: &Value, cost: &Cost) -> String {
    let edits = cost.edits();
    let own = own.to_string();
    let object = upstream.and_then(Object::parse).or_else(|| Object::parse(&own));
    object.map(|object| object.edited(&edits)).unwrap_or_default()
}

/// Usage of those who count what goes in and nothing else: embeddings, moderations, ranking.
#[derive(Debug, Default, Deserialize)]
struct InputUsage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
}

/// Reads a `usage` object that counts what goes in. Some tell the total alone.
pub fn read_input_usage(json: &str) -> Option<Usage> {
    // A list would be read as the fields in their order.
    let wire: InputUsage = json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()?;
    wire.prompt_tokens.max(wire.total_tokens).map(|input| Usage { input, ..Usage::default() })
}

/// Usage as the endpoints of images and sound tell it. Mistral's of sound has names of its own.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct MediaUsage {
    /// Tokens in.
    #[serde(default)]
    pub input_tokens: Option<u64>,
    /// Tokens out.
    #[serde(default)]
    pub output_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    /// Of which kinds the tokens in are. Images and sound write the name differently.
    #[serde(default, alias = "input_token_details")]
    pub input_tokens_details: Option<Kinds>,
    /// Of which kinds the tokens out are.
    #[serde(default)]
    pub output_tokens_details: Option<Kinds>,
    #[serde(default)]
    seconds: Option<f64>,
    #[serde(default)]
    prompt_audio_seconds: Option<f64>,
}

/// Tokens by kind.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Kinds {
    #[serde(default)]
    pub text_tokens: Option<u64>,
    #[serde(default)]
    pub image_tokens: Option<u64>,
    #[serde(default)]
    pub audio_tokens: Option<u64>,
}

impl MediaUsage {
    /// Reads a `usage` object; none if it says nothing of what was used.
    pub fn read(json: &str) -> Option<Self> {
        let mut wire: Self = json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()?;
        wire.input_tokens = wire.input_tokens.or(wire.prompt_tokens);
        wire.output_tokens = wire.output_tokens.or(wire.completion_tokens);
        let says = wire.input_tokens.or(wire.output_tokens).or_else(|| wire.seconds());
        says.map(|_| wire)
    }

    /// Seconds of sound, a begun one counts.
    pub fn seconds(&self) -> Option<u64> {
        self.seconds.or(self.prompt_audio_seconds).and_then(rounded_up)
    }
}

/// A number that should be whole, rounded up; none if it is below nothing, or no number.
pub fn rounded_up(number: f64) -> Option<u64> {
    let time = Duration::try_from_secs_f64(number).ok()?;
    Some(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_is_instead_is_named() {
        let list = |text| list_of(&Object::parse(text).unwrap(), "data").map(ToOwned::to_owned);
        assert_eq!(list(r#"{"data": [1]}"#).unwrap(), "[1]");
        for (text, words) in [
            (r#"{"data":[ ]}"#, "without data"),
            (r#"{"data":null,"error":null}"#, "without data"),
            (r#"{"data":{}}"#, "without data"),
            (r#"{"data":[1],"error":{"message":"our secret","code":"busy"}}"#, "error with status 200 (busy)"),
        ] {
            assert!(list(text).unwrap_err().contains(words), "{text}");
        }
    }

    #[test]
    fn a_number_is_rounded_up_to_a_whole_one() {
        for (number, whole) in [(0.0, 0), (1.0, 1), (1.01, 2), (29.999, 30)] {
            assert_eq!(rounded_up(number), Some(whole));
        }
        for number in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(rounded_up(number), None);
        }
    }

    #[test]
    fn usage_that_says_nothing_is_none() {
        for json in ["null", "[]", "{}", "[1,2]", r#"{"input_tokens":"5"}"#, r#"{"input_tokens":-1}"#, r#"{"seconds":-3}"#] {
            assert!(MediaUsage::read(json).is_none(), "{json}");
            assert_eq!(read_input_usage(json), None, "{json}");
        }
    }
}
