//! From the raw document to a [`Catalog`], with every fault on the way.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use url::Url;

use super::channel::{Channel, Dialect, OnClientGone, OutputLimitField};
use super::fault::{Checker, Fault, join};
use super::hosts::{self, Hosted, UpstreamHosts};
use super::model::{Candidate, Model, ModelKind, Route, RouteKind};
use super::names::Folded;
use super::raw::{
    self, Entries, Field, MAX_CANDIDATES, MAX_OUTPUT_FLOOR_TOKENS, MAX_SECRETS, MAX_TIMEOUT_MS, MAX_TOKENS, MAX_WEIGHT, Optional,
};
use super::version::{Bucket, Catalog, DEFAULT_HOLD_TIMEOUT_MS, DEFAULT_OUTPUT_FLOOR_TOKENS};
use super::{labels, secrets};
use crate::id::{BucketId, ChannelId, ModelName, SecretName};

const DEFAULT_FIRST_BYTE_TIMEOUT_MS: u32 = 60_000;
const DEFAULT_IDLE_TIMEOUT_MS: u32 = 60_000;
const DEFAULT_PROBE_CAP: &str = "0.05";

impl Catalog {
    /// Reads and checks the whole document; answers every fault with its path, not only the first.
    pub fn parse(json: &str, hosts: UpstreamHosts) -> Result<Self, Vec<Fault>> {
        let mut check = Checker { faults: Vec::new(), hosts };
        let raw: raw::Catalog = match serde_json::from_str(json) {
            Ok(raw) => raw,
            Err(error) => {
                check.fault("$", format!("is not a catalogue: {error}"));
                return Err(check.faults);
            }
        };
        let catalog = check.catalog(raw);
        match catalog {
            Some(catalog) if check.faults.is_empty() => Ok(catalog),
            _ => Err(check.faults),
        }
    }
}

impl Checker {
    fn catalog(&mut self, raw: raw::Catalog) -> Option<Catalog> {
        self.no_unknown("", raw.unknown);
        let version = self.required("", "version", raw.version);
        let buckets = self.required("", "buckets", raw.buckets);
        let buckets = self.buckets(buckets);
        let channels = self.required("", "channels", raw.channels);
        let channels = self.channels(channels);
        let models = self.required("", "models", raw.models);
        let models = self.models(models, &buckets, &channels);
        let aliases = self.aliases(&models);
        let upstream_cut = self.optional("", "charge_policy", raw.charge_policy).and_then(|policy| {
            self.no_unknown("charge_policy", policy.unknown);
            self.optional("charge_policy", "upstream_cut", policy.upstream_cut)
        });
        let browser_origins = self.optional("", "browser_origins", raw.browser_origins).unwrap_or_default();
        let hold_timeout_ms = self.timeout("", "hold_timeout_ms", raw.hold_timeout_ms, DEFAULT_HOLD_TIMEOUT_MS);
        let output_floor_tokens = self.optional("", "output_floor_tokens", raw.output_floor_tokens);
        if output_floor_tokens.is_some_and(|tokens| !(1..=MAX_OUTPUT_FLOOR_TOKENS).contains(&tokens)) {
            self.fault("output_floor_tokens", format!("must be from 1 to {MAX_OUTPUT_FLOOR_TOKENS}"));
        }
        Some(Catalog {
            folded: Folded::of(&models),
            browser_origins,
            version: version?,
            buckets,
            channels,
            models,
            upstream_cut: upstream_cut.unwrap_or_default(),
            hold_timeout_ms: i64::from(hold_timeout_ms),
            output_floor_tokens: output_floor_tokens.unwrap_or(DEFAULT_OUTPUT_FLOOR_TOKENS),
            aliases,
        })
    }

    fn channels(&mut self, table: Option<Entries<raw::Channel>>) -> BTreeMap<ChannelId, Rc<Channel>> {
        let mut channels = BTreeMap::new();
        for (name, path, raw) in self.entries("channels", table) {
            if let Some(channel) = self.channel(&name, &path, raw) {
                channels.insert(channel.id.clone(), Rc::new(channel));
            }
        }
        labels::check(self, &channels);
        channels
    }

    fn channel(&mut self, name: &str, path: &str, raw: raw::Channel) -> Option<Channel> {
        self.no_unknown(path, raw.unknown);
        let id = ChannelId::parse(name);
        if id.is_none() {
            self.fault(path, "is not a valid channel name");
        }
        let label = self.optional(path, "label", raw.label);
        let shows_upstream_models = self.optional(path, "shows_upstream_models", raw.shows_upstream_models);
        let dialect = self.required(path, "dialect", raw.dialect);
        let allow_host = self.optional(path, "allow_host", raw.allow_host);
        let base_url = self.required(path, "base_url", raw.base_url).and_then(|text| self.base_url(path, &text));
        let secrets = self.required(path, "secrets", raw.secrets);
        let secrets = secrets.and_then(|named| self.secrets(&join(path, "secrets"), named));
        let first_byte_timeout_ms =
            self.timeout(path, "first_byte_timeout_ms", raw.first_byte_timeout_ms, DEFAULT_FIRST_BYTE_TIMEOUT_MS);
        let idle_timeout_ms = self.timeout(path, "idle_timeout_ms", raw.idle_timeout_ms, DEFAULT_IDLE_TIMEOUT_MS);
        let on_client_gone = self.optional(path, "on_client_gone", raw.on_client_gone);
        let output_limit_field = self.optional(path, "output_limit_field", raw.output_limit_field);
        let responses = self.optional(path, "responses", raw.responses);
        let stream_usage = self.optional(path, "stream_usage", raw.stream_usage);
        if responses == Some(true) && dialect.is_some_and(|dialect| dialect != Dialect::Openai) {
            self.fault(join(path, "responses"), "is for channels of the openai dialect only");
        }
        let reasoning_tokens = self.optional(path, "reasoning_tokens", raw.reasoning_tokens);
        let thoughts = self.optional(path, "thoughts", raw.thoughts);
        let unknown_tools = self.optional(path, "unknown_tools", raw.unknown_tools);
        let cap = self.optional(path, "probe_daily_cap", raw.probe_daily_cap);
        let cap = self.amount(&join(path, "probe_daily_cap"), cap.as_deref().unwrap_or(DEFAULT_PROBE_CAP));
        let (base_url, dialect) = (base_url?, dialect?);
        let is_openais_own = base_url.host_str() == Some("api.openai.com");
        // OpenAI's own newer models refuse `max_tokens`; of others it is not known that they know its successor.
        let known = is_openais_own.then_some(OutputLimitField::MaxCompletionTokens);
        Some(Channel {
            id: id?,
            label,
            shows_upstream_models: shows_upstream_models.unwrap_or(false),
            dialect,
            base_url,
            allow_host,
            secrets: secrets?,
            first_byte_timeout_ms,
            idle_timeout_ms,
            on_client_gone: on_client_gone.unwrap_or(OnClientGone::Cancel),
            output_limit_field: output_limit_field.or(known),
            stream_usage: stream_usage.unwrap_or(true),
            responses: responses.unwrap_or(is_openais_own && dialect == Dialect::Openai),
            reasoning_tokens,
            thoughts,
            unknown_tools: unknown_tools.unwrap_or(false),
            probe_daily_cap: cap?,
        })
    }

    fn secrets(&mut self, path: &str, named: Value) -> Option<Vec<SecretName>> {
        let Value::Array(named) = named else {
            self.fault(path, "must be a list of names of secrets");
            return None;
        };
        if !(1..=MAX_SECRETS).contains(&named.len()) {
            self.fault(path, format!("must name 1 to {MAX_SECRETS} secrets"));
        }
        let mut known = Vec::new();
        for (i, name) in named.iter().enumerate().take(MAX_SECRETS) {
            let Some(secret) = name.as_str().and_then(secrets::read) else {
                self.fault(format!("{path}[{i}]"), secrets::WANTED);
                return None;
            };
            if known.contains(&secret) && Some(secret.as_str()) == name.as_str() {
                self.fault(path, format!("names `{secret}` more than once"));
            }
            known.push(secret);
        }
        Some(known)
    }

    fn timeout(&mut self, path: &str, name: &str, field: Optional<u32>, default: u32) -> u32 {
        let value = self.optional(path, name, field).unwrap_or(default);
        if !(1..=MAX_TIMEOUT_MS).contains(&value) {
            self.fault(join(path, name), format!("must be 1 to {MAX_TIMEOUT_MS} milliseconds"));
        }
        value
    }

    fn base_url(&mut self, path: &str, text: &str) -> Option<Url> {
        let path = join(path, "base_url");
        let Ok(mut url) = Url::parse(text) else {
            self.fault(path, "is not a URL");
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            self.fault(path, "must have no user, password, query or fragment");
            return None;
        }
        if self.hosts == UpstreamHosts::Public && (url.scheme() != "https" || hosts::hosted(&url) == Hosted::Private) {
            self.fault(path, hosts::reason(Hosted::Private));
            return None;
        }
        if !matches!(url.scheme(), "https" | "http") {
            self.fault(path, "must be https");
            return None;
        }
        let trimmed = url.path().trim_end_matches('/').to_owned();
        url.set_path(&trimmed);
        Some(url)
    }

    fn models(
        &mut self,
        table: Option<Entries<raw::Model>>,
        buckets: &BTreeMap<BucketId, Bucket>,
        channels: &BTreeMap<ChannelId, Rc<Channel>>,
    ) -> BTreeMap<ModelName, Rc<Model>> {
        let mut models = BTreeMap::new();
        for (name, path, raw) in self.entries("models", table) {
            if let Some(model) = self.model(&name, &path, raw, Known { buckets, channels, kind: None }) {
                models.insert(model.id.clone(), Rc::new(model));
            }
        }
        models
    }

    fn model(&mut self, name: &str, path: &str, raw: raw::Model, known: Known<'_>) -> Option<Model> {
        self.no_unknown(path, raw.unknown);
        let id = self.model_name(path, name);
        let display = self.required(path, "name", raw.name);
        let family = self.required(path, "family", raw.family);
        let kind = self.required(path, "kind", raw.kind);
        let (context, output) = kind.map(ModelKind::default_tokens).unwrap_or_default();
        let context_length = self.tokens(path, "context_length", raw.context_length, context);
        let max_output_tokens = self.tokens(path, "max_output_tokens", raw.max_output_tokens, output);
        if let (Some(context), Some(most)) = (context_length, max_output_tokens)
            && most > context
            && Some(most) != output
        {
            self.fault(join(path, "max_output_tokens"), "must not be more than context_length");
        }
        let aliases = self.optional(path, "aliases", raw.aliases).unwrap_or_default();
        let aliases = aliases.iter().enumerate().filter_map(|(i, alias)| self.model_name(&format!("{path}.aliases[{i}]"), alias));
        let aliases = aliases.collect();
        let table = self.required(path, "routes", raw.routes);
        let mut routes = Vec::new();
        for (name, path, raw) in self.entries(&join(path, "routes"), table) {
            routes.extend(self.route(&name, &path, raw, Known { kind, ..known }));
        }
        Some(Model {
            id: id?,
            name: display?,
            family: family?,
            kind: kind?,
            context_length: context_length?,
            // Where it was not named, it is no more than fits.
            max_output_tokens: max_output_tokens?.min(context_length?),
            aliases,
            routes,
        })
    }

    fn model_name(&mut self, path: &str, name: &str) -> Option<ModelName> {
        let suffixed = name.rsplit_once(':').is_some_and(|(_, suffix)| RouteKind::parse(suffix).is_some());
        if suffixed {
            self.fault(path, "must not end in :official or :routed, which choose a route");
        }
        let id = ModelName::parse(name);
        if id.is_none() {
            self.fault(path, "is not a valid model name");
        }
        id
    }

    fn tokens(&mut self, path: &str, name: &str, field: Optional<u64>, default: Option<u64>) -> Option<u64> {
        if field.is_none() && default.is_some() {
            return default;
        }
        let tokens = self.required(path, name, field)?;
        if !(1..=MAX_TOKENS).contains(&tokens) {
            self.fault(join(path, name), format!("must be 1 to {MAX_TOKENS} tokens"));
        }
        Some(tokens)
    }

    fn route(&mut self, name: &str, path: &str, raw: raw::Route, known: Known<'_>) -> Option<Route> {
        self.no_unknown(path, raw.unknown);
        let kind = RouteKind::parse(name);
        if kind.is_none() {
            self.fault(path, "is not a kind of route: official or routed");
        }
        let bucket = self.required(path, "bucket", raw.bucket).and_then(|name| {
            let id = BucketId::parse(&name).filter(|id| known.buckets.contains_key(id));
            if id.is_none() {
                self.fault(join(path, "bucket"), format!("there is no bucket `{name}`"));
            }
            id
        });
        let price = self.optional(path, "price", raw.price).map(|price| self.price(&join(path, "price"), price, known.kind));
        let raw_candidates = self.required(path, "candidates", raw.candidates).unwrap_or_default();
        if !(1..=MAX_CANDIDATES).contains(&raw_candidates.len()) {
            self.fault(join(path, "candidates"), format!("must be 1 to {MAX_CANDIDATES}"));
        }
        let mut candidates = Vec::new();
        for (i, field) in raw_candidates.into_iter().enumerate() {
            let path = format!("{path}.candidates[{i}]");
            match field {
                Field::Read(raw) => candidates.extend(self.candidate(&path, raw, known)),
                Field::Wrong(reason) => self.fault(path, reason),
            }
        }
        candidates.sort_by_key(|candidate| candidate.tier);
        Some(Route { kind: kind?, bucket: bucket?, price, candidates })
    }

    fn candidate(&mut self, path: &str, raw: raw::Candidate, known: Known<'_>) -> Option<Candidate> {
        self.no_unknown(path, raw.unknown);
        let channel = self.required(path, "channel", raw.channel).and_then(|name| {
            let channel = ChannelId::parse(&name).and_then(|id| known.channels.get(&id));
            if channel.is_none() {
                self.fault(join(path, "channel"), format!("there is no channel `{name}`, or it has a fault"));
            }
            channel
        });
        if let (Some(channel), Some(kind)) = (channel, known.kind)
            && !channel.dialect.serves(kind)
        {
            let message = format!("speaks {}, in which no {} model can be called", channel.dialect.as_str(), kind.as_str());
            self.fault(join(path, "channel"), message);
        }
        let upstream_model = self.required(path, "upstream_model", raw.upstream_model);
        // It travels in a response header, where only these can stand.
        if upstream_model.as_ref().is_some_and(|id| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic())) {
            self.fault(join(path, "upstream_model"), "must be printable ASCII without spaces");
        }
        let tier = self.optional(path, "tier", raw.tier).unwrap_or(0);
        let weight = self.optional(path, "weight", raw.weight).unwrap_or(1);
        if !(1..=MAX_WEIGHT).contains(&weight) {
            self.fault(join(path, "weight"), format!("must be 1 to {MAX_WEIGHT}"));
        }
        Some(Candidate { channel: channel?.id.clone(), upstream_model: upstream_model?, tier, weight })
    }

    /// Each alias leads to one model and is not a model itself, so that no chain and no cycle can be written.
    fn aliases(&mut self, models: &BTreeMap<ModelName, Rc<Model>>) -> BTreeMap<ModelName, ModelName> {
        let mut aliases: BTreeMap<ModelName, ModelName> = BTreeMap::new();
        for model in models.values() {
            for alias in &model.aliases {
                let path = format!("models.{}.aliases", model.id);
                if models.contains_key(alias) {
                    self.fault(
                        path,
                        format!("`{alias}` is itself a model: aliases do not lead to aliases, in a chain or a cycle"),
                    );
                } else if let Some(other) = aliases.insert(alias.clone(), model.id.clone()) {
                    self.fault(path, format!("`{alias}` is already an alias of `{other}`"));
                }
            }
        }
        aliases
    }
}

/// What a part of the catalogue may refer to, and the kind of model that it is about.
#[derive(Clone, Copy)]
struct Known<'a> {
    buckets: &'a BTreeMap<BucketId, Bucket>,
    channels: &'a BTreeMap<ChannelId, Rc<Channel>>,
    kind: Option<ModelKind>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sample() -> Value {
        json!({
            "version": 7,
            "buckets": {"credit": {"label": "Official credit", "currency": "USD"}},
            "channels": {"main": {"dialect": "openai", "base_url": "https://api.openai.com/v1/", "secrets": ["OPENAI_API_KEY"]}},
            "models": {"gpt-5.5": {
                "name": "GPT-5.5", "family": "gpt", "kind": "chat", "context_length": 400000, "max_output_tokens": 128000,
                "aliases": ["gpt-5.5-latest"],
                "routes": {"official": {"bucket": "credit", "price": {"input": "1.25", "output": "10"},
                                        "candidates": [{"channel": "main", "upstream_model": "gpt-5.5-2026-04-01"}]}}
            }}
        })
    }

    fn faults(document: &Value) -> Vec<String> {
        Catalog::parse(&document.to_string(), UpstreamHosts::Public)
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_good_catalogue_is_looked_up_by_name_and_alias() {
        let catalog = Catalog::parse(&sample().to_string(), UpstreamHosts::Public).unwrap();
        assert_eq!(catalog.model("gpt-5.5-latest").unwrap().id.as_str(), "gpt-5.5");
        assert!(catalog.model("gpt-6").is_none());
        assert_eq!(catalog.near_names("gpt-5.4"), ["gpt-5.5", "gpt-5.5-latest"]);
        let channel = catalog.channels.values().next().unwrap();
        assert_eq!(channel.base_url.as_str(), "https://api.openai.com/v1");
        assert_eq!(channel.output_limit_field, Some(OutputLimitField::MaxCompletionTokens));
    }

    #[test]
    fn what_a_channel_can_do_is_told_or_known() {
        let channel = |change: &dyn Fn(&mut Value)| {
            let mut document = sample();
            change(&mut document["channels"]["main"]);
            Catalog::parse(&document.to_string(), UpstreamHosts::Public)
                .map(|catalog| (**catalog.channels.values().next().unwrap()).clone())
        };
        let own = channel(&|_| {}).unwrap();
        assert!(own.responses && own.reasoning_tokens.is_none());
        let other = channel(&|channel| channel["base_url"] = json!("https://a.example.com/v1")).unwrap();
        assert!(!other.responses);
        let told = channel(&|channel| {
            channel["base_url"] = json!("https://a.example.com/v1");
            channel["responses"] = json!(true);
            channel["reasoning_tokens"] = json!("outside");
        });
        let told = told.unwrap();
        assert!(told.responses && told.reasoning_tokens == Some(crate::catalog::ReasoningTokens::Outside));
        for (field, value) in [
            ("secrets", json!(["A", "B", "A"])),
            ("secrets", json!((0..17).map(|i| format!("K{i}")).collect::<Vec<_>>())),
            ("reasoning_tokens", json!("beside")),
        ] {
            let faults = channel(&|channel| channel[field] = value.clone()).unwrap_err();
            assert_eq!(faults[0].path, format!("channels.main.{field}"), "{value}");
        }
        let faults = channel(&|channel| {
            channel["dialect"] = json!("gemini");
            channel["responses"] = json!(true);
        });
        assert_eq!(faults.unwrap_err()[0].path, "channels.main.responses");
        let not_told = channel(&|channel| channel["dialect"] = json!("anthropic")).unwrap();
        assert!(!not_told.responses, "only where the dialect has them");
    }

    #[test]
    fn every_fault_is_listed_with_its_path() {
        let mut document = sample();
        document["colour"] = json!("red");
        document["version"] = json!("seven");
        document["channels"]["main"]["secrets"] = json!([]);
        document["channels"]["main"]["first_byte_timeout_ms"] = json!(0);
        document["models"]["gpt-5.5"]["context_length"] = json!(-1);
        document["models"]["gpt-5.5"]["routes"]["official"]["price"]["input"] = json!(1.25);
        document["models"]["gpt-5.5"]["routes"]["official"]["price"]["output"] = json!("-1");
        document["models"]["gpt-5.5"]["routes"]["official"]["bucket"] = json!("gold");
        document["models"]["gpt-5.5"]["routes"]["official"]["candidates"][0]["channel"] = json!("none");
        document["models"]["gpt-5.5"]["routes"]["official"]["candidates"][0]["wieght"] = json!(1);
        let faults = faults(&document);
        for path in [
            "colour:",
            "version:",
            "channels.main.secrets:",
            "channels.main.first_byte_timeout_ms:",
            "models.gpt-5.5.context_length:",
            "models.gpt-5.5.routes.official.price.input:",
            "models.gpt-5.5.routes.official.price.output:",
            "models.gpt-5.5.routes.official.bucket:",
            "models.gpt-5.5.routes.official.candidates[0].channel:",
            "models.gpt-5.5.routes.official.candidates[0].wieght:",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(path)), "{path} in {faults:#?}");
        }
        assert_eq!(faults.len(), 10, "{faults:#?}");
    }

    #[test]
    fn aliases_cannot_lead_in_a_circle() {
        let mut document = sample();
        let mut second = document["models"]["gpt-5.5"].clone();
        document["models"]["gpt-5.5"]["aliases"] = json!(["gpt-5.4"]);
        second["aliases"] = json!(["gpt-5.5"]);
        document["models"]["gpt-5.4"] = second;
        let faults = faults(&document);
        assert_eq!(faults.len(), 2, "{faults:#?}");
        assert!(faults.iter().all(|fault| fault.contains("cycle")), "{faults:#?}");
    }

    #[test]
    fn an_alias_belongs_to_one_model() {
        let mut document = sample();
        document["models"]["gpt-5.4"] = document["models"]["gpt-5.5"].clone();
        assert!(faults(&document).iter().any(|fault| fault.contains("already an alias")));
    }

    #[test]
    fn private_hosts_are_for_development_only() {
        for host in [
            "http://api.example.com",
            "https://localhost",
            "https://127.0.0.1",
            "https://10.0.0.1",
            "https://192.168.1.1",
            "https://169.254.169.254",
            "https://100.64.0.1",
            "https://[::1]",
            "https://[fd00::1]",
            "https://[fe80::1]",
            "https://[::ffff:127.0.0.1]",
            "https://0x7f000001",
            "https://2130706433",
            "https://metadata.google.internal",
            "https://intranet",
            "https://user:secret@api.example.com",
            "ftp://api.example.com",
            "https://api.example.com/v1?key=1",
            "https://localhost.",
            "https://0.0.0.0",
            "https://[2002:7f00:1::]",
        ] {
            let mut document = sample();
            document["channels"]["main"]["base_url"] = json!(host);
            assert!(faults(&document).iter().any(|fault| fault.starts_with("channels.main.base_url")), "{host}");
        }
        let mut document = sample();
        document["channels"]["main"]["base_url"] = json!("http://127.0.0.1:9000/v1");
        assert!(Catalog::parse(&document.to_string(), UpstreamHosts::Any).is_ok());
    }

    #[test]
    fn what_is_not_a_document_is_one_fault() {
        for text in ["", "null", "[]", "{", "\"text\""] {
            assert_eq!(Catalog::parse(text, UpstreamHosts::Public).unwrap_err().len(), 1, "{text}");
        }
    }
}
