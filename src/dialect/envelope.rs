//! The envelope of a request: the few members that decide who serves it and what it may cost. Each format reads its own.

use serde::de::DeserializeOwned;

use super::bounds::{MOST_MODELS, MOST_PROVIDERS, check_list, too_many};
use super::json::Object;
use crate::catalog::Fit;
use crate::refusal::Refusal;
use crate::usage::{Class, Usage};

/// More answers to one request than this is a typing error.
pub const MOST_CHOICES: u64 = 128;
/// And more tokens than this.
pub const MOST_TOKENS: u64 = 100_000_000;

/// What is read of a request; the rest passes unread.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Envelope {
    /// The model, then the fallbacks. Empty where the endpoint has a default.
    pub models: Vec<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the client wants the usage at the end of the stream, where that is a wish.
    pub include_usage: bool,
    /// How many tokens each answer may have, where the client says.
    pub output_limit: Option<u64>,
    /// What the client wants of a limit that its balance has no room for, where it says.
    pub fit: Option<Fit>,
    /// A limit that is fitted is never below this, whatever the balance has room for: thoughts have a least budget of their own.
    pub least_output: u64,
    /// How many they have where it does not, if the format has a default of its own.
    pub default_output: Option<u64>,
    /// How many answers, or images.
    pub choices: u64,
    /// Requests of one session keep their channel and credential.
    pub session: Option<String>,
    /// Where the client names no session: what its conversation begins with, hashed.
    pub prefix: Option<String>,
    /// The `provider` member, as JSON.
    pub provider: Option<String>,
    /// Classes beyond plain text that the request may use; each needs a price.
    pub needs: Vec<Class>,
    /// Whether something goes in whose tokens its bytes do not bound: media, or a conversation that the provider keeps.
    pub has_media: bool,
    /// Bytes that are read again beside those of the request: a query once for every document.
    pub read_again: u64,
    /// How many times the provider may read the whole conversation again, for tools that it runs itself.
    pub rounds: u64,
    /// Whether searches of the provider are only offered beside tools that the client runs, so that they may be left out.
    pub is_hosted_offered: bool,
    /// Where a tool is that nobody here knows; only channels whose operator says so get it.
    pub unknown_tool: Option<String>,
    /// How many searches the provider may make.
    pub searches: u64,
    /// How many seconds of sound go in at most.
    pub seconds: u64,
    /// What is used where upstream does not say: characters to be spoken, seconds of sound as they are estimated.
    pub unreported: Usage,
    /// Whether the answer is passed on as bytes that are not looked into: sound, subtitles.
    pub is_bytes: bool,
    /// The response that this one goes on from (`previous_response_id`).
    pub previous_response: Option<String>,
    /// Whether a later request may refer to the answer.
    pub keeps: bool,
    /// Whether the answer is to be a compaction of the conversation.
    pub compacts: bool,
}

impl Envelope {
    /// Notes that a class may be used.
    pub fn need(&mut self, class: Class) {
        if !self.needs.contains(&class) {
            self.needs.push(class);
        }
    }

    /// Reads what every JSON request may have for the gateway: `models`, `provider`, `session_id`, `fit`.
    pub fn read_extras(&mut self, object: &Object<'_>) -> Result<(), Refusal> {
        let fields = Fields(object);
        self.session = fields.read("session_id", "a string")?;
        self.fit = fields.read("fit", "`balance` or `never`")?;
        self.read_provider(object.given("provider"))?;
        check_list("models", "names in `models`", object.get("models").unwrap_or_default(), MOST_MODELS)?;
        self.add_models(fields.read::<Vec<String>>("models", "a list of strings")?.unwrap_or_default())
    }

    /// Reads the wishes about channels, whose names are counted and not read here.
    pub fn read_provider(&mut self, json: Option<&str>) -> Result<(), Refusal> {
        let lists = json.and_then(Object::parse);
        for name in ["order", "only", "ignore"] {
            let list = lists.as_ref().and_then(|lists| lists.get(name)).unwrap_or_default();
            check_list(&format!("provider.{name}"), &format!("names in `provider.{name}`"), list, MOST_PROVIDERS)?;
        }
        self.provider = json.map(ToOwned::to_owned);
        Ok(())
    }

    /// Adds the models to fall back to, each once.
    pub fn add_models(&mut self, names: Vec<String>) -> Result<(), Refusal> {
        for name in names {
            self.add_model(name);
        }
        match self.models.len() {
            count if count > MOST_MODELS => Err(too_many("models", "models to choose from", count, MOST_MODELS)),
            _ => Ok(()),
        }
    }

    /// Reads `model`, for formats that have it in the body.
    pub fn read_model(&mut self, object: &Object<'_>) -> Result<(), Refusal> {
        if let Some(name) = Fields(object).read::<String>("model", "a string")?.filter(|name| !name.is_empty()) {
            self.add_model(name);
        }
        Ok(())
    }

    fn add_model(&mut self, name: String) {
        if !self.models.contains(&name) {
            self.models.push(name);
        }
    }
}

/// Reads members, and says which is wrong.
pub struct Fields<'o, 'a>(pub &'o Object<'a>);

impl Fields<'_, '_> {
    /// A member of a type; none if it is not there, or null.
    pub fn read<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, Refusal> {
        let Some(json) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str::<Option<T>>(json).map_err(|_| Refusal::invalid(name, format!("`{name}` must be {what}.")))
    }

    /// A boolean; false if it is not there.
    pub fn flag(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.read::<bool>(name, "a boolean")?.unwrap_or(false))
    }

    /// A whole number from 1.
    pub fn count(&self, name: &str, most: u64) -> Result<Option<u64>, Refusal> {
        let what = format!("a whole number from 1 to {most}");
        let count = self.read::<u64>(name, &what)?;
        if count.is_some_and(|count| !(1..=most).contains(&count)) {
            return Err(Refusal::invalid(name, format!("`{name}` must be {what}.")));
        }
        Ok(count)
    }

    /// Refuses a member that is there, with why it is not served and what to send instead.
    pub fn not_served(&self, name: &str, why: &str, instead: &str) -> Result<(), Refusal> {
        if self.0.get(name).is_none_or(|json| json == "null") {
            return Ok(());
        }
        let refusal = Refusal::invalid(name, format!("`{name}` is not served: {why}."));
        Err(Refusal { next_step: instead.to_owned(), ..refusal })
    }

    /// Refuses a member unless it is absent or one of these JSON texts, because what it asks for has no price.
    pub fn only(&self, name: &str, priced: &[&str]) -> Result<(), Refusal> {
        match self.0.get(name) {
            Some(json) if json != "null" && !priced.contains(&json) => {
                Err(Refusal::invalid(name, format!("What `{name}` asks for has no price here, so it cannot be served.")))
            }
            _ => Ok(()),
        }
    }
}
