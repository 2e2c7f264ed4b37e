//! A request as it came, and as a channel gets it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::body::Body;
use super::condition::Asked;
use super::endpoint::{Endpoint, EndpointPath, Way};
use super::envelope::Envelope;
use super::fit::{Target, ToolNames, fit};
use super::form::Form;
use super::format::{Read, Upstream};
use super::json::{Edit, Object, has, unclear};
use super::openai::responses::{NamedItems, check_items, named_items, passed};
use super::proof::tell_makers;
use super::{objects, prefix, tokens};
use crate::catalog::Dialect;
use crate::refusal::Refusal;

/// Members that are for the gateway alone.
const EXTRAS: [&str; 4] = ["models", "provider", "session_id", "fit"];

/// What thoughts are called that were left out.
const THOUGHTS: &str = "reasoning_details";

/// So many members that were left out are named.
const MOST_NAMED: usize = 32;

/// A name as it may stand in a header: clients may write anything there.
fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && c != ',' { c } else { '?' }).take(64).collect()
}

/// Members that decide who serves a request or what it costs, in the dialects whose names are in lower case.
static DECIDING: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| Endpoint::of_lower_case().flat_map(|endpoint| endpoint.format().members().deciding()).collect());

/// Refuses members that another reader would take for ones that were checked under another spelling.
fn spelled_as_known(object: &Object<'_>) -> Result<(), Refusal> {
    match unclear(|| object.names(), |name| DECIDING.contains(name)).map(shown) {
        None => Ok(()),
        Some(name) => Err(Refusal::invalid(&name, format!("`{name}` must be written in lower case."))),
    }
}

/// A request whose envelope was read.
#[derive(Debug)]
pub struct Request<'a> {
    /// What was called.
    pub endpoint: Endpoint,
    /// What was read of it.
    pub envelope: Envelope,
    /// Its size in bytes.
    pub bytes: u64,
    content: Content<'a>,
}

impl Asked for Request<'_> {
    fn has_text(&self, text: &str) -> bool {
        match &self.content {
            Content::Json(body) => has(&body.lean, text),
            Content::Form(..) => false,
        }
    }

    fn has_member(&self, name: &str) -> bool {
        match &self.content {
            Content::Json(body) => body.mentions(name),
            Content::Form(form, _) => form.text(name).is_some() || form.has_file(name),
        }
    }
}

#[derive(Debug)]
enum Content<'a> {
    Json(Body<'a>),
    Form(Form<'a>, String),
}

/// What goes up.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// Where, behind the channel's base URL.
    pub path: String,
    /// As in the header.
    pub content_type: String,
    /// The body in pieces; what did not change is borrowed.
    pub body: Vec<Cow<'a, [u8]>>,
    /// Members of the client's request that were left out.
    pub dropped: Vec<String>,
    /// What the client calls its tools, where they have other names upstream.
    pub names: ToolNames,
}

/// A body in another format.
struct Translated {
    body: String,
    dropped: Vec<String>,
    names: ToolNames,
}

/// What the client is told of a change that it did not ask for: searches that were left out, a bound that was set, thoughts that
/// went back to nobody.
fn changed(edit: &Edit, leaves_out_hosted: bool) -> Option<String> {
    match edit {
        Edit::Set("tools", _) if leaves_out_hosted => Some("tools[].web_search".to_owned()),
        Edit::Set("tools", _) => Some("tools[].max_uses".to_owned()),
        Edit::Set(name @ "max_tool_calls", bound) => Some(format!("{name}={bound}")),
        Edit::Set("thinking", _) => Some("thinking.budget_tokens".to_owned()),
        Edit::Set("messages" | "input" | "contents", _) => Some(THOUGHTS.to_owned()),
        _ => None,
    }
}

impl<'a> Request<'a> {
    /// Reads the envelope of a body. An error is the caller's.
    pub fn read(called: &EndpointPath, body: &'a [u8], content_type: Option<&str>) -> Result<Self, Refusal> {
        let endpoint = called.endpoint;
        let format = endpoint.format();
        let mut envelope = Envelope { choices: 1, stream: called.stream, ..Envelope::default() };
        envelope.models.extend(called.model.clone());
        let form_type = content_type.filter(|text| text.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"));
        let content = match form_type {
            Some(content_type) => {
                let form = Form::parse(body, content_type)?;
                envelope.models.extend(form.text("model").filter(|name| !name.is_empty()).map(ToOwned::to_owned));
                format.form_envelope(&form, &mut envelope)?;
                objects::check_form(&form, endpoint.dialect())?;
                Content::Form(form, content_type.to_owned())
            }
            None => {
                let next_step = format!("Send a JSON object as {} expects it.", endpoint.name());
                let body = Body::parse(body, &next_step)?;
                if endpoint.dialect() != Dialect::Gemini {
                    spelled_as_known(&body.object)?;
                }
                if called.model.is_none() {
                    envelope.read_model(&body.object)?;
                }
                envelope.read_extras(&body.object)?;
                format.envelope(&body, &mut envelope)?;
                objects::check(&body, endpoint.dialect())?;
                if let Some(input) = body.object.get("input").filter(|_| endpoint.has_items()) {
                    check_items(input)?;
                }
                if envelope.session.is_none() && format.translation().is_some() {
                    envelope.prefix = prefix::of(&body.object);
                }
                Content::Json(body)
            }
        };
        if envelope.models.is_empty() && !endpoint.has_default_model() {
            return Err(Refusal::invalid("model", "`model` is required: the name of a model from GET /v1/models."));
        }
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Ok(Self { endpoint, envelope, bytes, content })
    }

    /// How many tokens go in, as far as it can be told without the provider and without what is embedded.
    pub fn estimated_tokens(&self, family: &str) -> u64 {
        match &self.content {
            Content::Json(body) => tokens::estimate_json(family, &body.lean),
            Content::Form(form, _) => tokens::estimate(family, form.text("prompt").unwrap_or_default()),
        }
    }

    /// The member that limits how much comes out, as this client writes it; none where the gateway cannot lower it.
    pub fn limit_member(&self) -> Option<&'static str> {
        let newer = "max_completion_tokens";
        match self.endpoint {
            Endpoint::Chat if self.has_member(newer) => Some(newer),
            endpoint => endpoint.limit_member(),
        }
    }

    /// Whether it can be asked in this way; the refusal says why not.
    pub fn check(&self, way: Way) -> Result<(), Refusal> {
        if way.is_translated {
            let upstream = Upstream { stream: self.envelope.stream, ..Upstream::NOBODY };
            self.translated(way, &upstream).map(|_| ())?;
        }
        Ok(())
    }

    /// What goes up to a channel that is asked in this way. Further edits win over those of the format.
    pub fn sent(&self, way: Way, upstream: &Upstream<'_>, more: Vec<Edit>) -> Result<Sent<'_>, Refusal> {
        let path = way.format.path(upstream);
        if way.is_translated {
            let Translated { body, dropped, names } = self.translated(way, upstream)?;
            let body = if more.is_empty() { body } else { Object::parse(&body).map_or(body.clone(), |body| body.edited(&more)) };
            let body = vec![Cow::Owned(body.into_bytes())];
            return Ok(Sent { path, content_type: "application/json".to_owned(), body, dropped, names });
        }
        let mut dropped = Vec::new();
        let (content_type, body) = match &self.content {
            Content::Json(body) => {
                dropped = way.format.left_out(&body.object);
                let mut edits = way.format.pass_request(&body.object, upstream);
                dropped.extend(edits.iter().filter_map(|edit| changed(edit, upstream.leaves_out_hosted)));
                if let Some(input) = self.own_input(&body.object, &edits, upstream, &mut dropped) {
                    edits.retain(|edit| edit.name() != input.name());
                    edits.push(input);
                }
                edits.extend(EXTRAS.map(Edit::Remove));
                edits.retain(|edit| !more.iter().any(|other| other.name() == edit.name()));
                edits.extend(more);
                ("application/json".to_owned(), body.object.pieces(&edits))
            }
            Content::Form(form, content_type) => (content_type.clone(), form.edited(&[("model", upstream.model)], &EXTRAS)),
        };
        Ok(Sent { path, content_type, body, dropped, names: ToolNames::default() })
    }

    /// What of a client's own input of responses is for this channel; in place of what the format made of it.
    fn own_input(
        &self,
        request: &Object<'_>,
        edits: &[Edit],
        upstream: &Upstream<'_>,
        dropped: &mut Vec<String>,
    ) -> Option<Edit> {
        if !self.endpoint.has_items() {
            return None;
        }
        let changed = edits.iter().find_map(|edit| match edit {
            Edit::Set("input", json) => Some(json.as_str()),
            _ => None,
        });
        let (input, is_less) = passed(changed.or_else(|| request.get("input"))?, upstream.own_items)?;
        if is_less && !dropped.iter().any(|name| name == THOUGHTS) {
            dropped.push(THOUGHTS.to_owned());
        }
        Some(Edit::Set("input", input))
    }

    /// What its input names of what a provider keeps.
    pub fn named_items(&self) -> NamedItems {
        match (self.endpoint, &self.content) {
            (endpoint, Content::Json(body)) if endpoint.has_items() => {
                body.object.get("input").map(named_items).unwrap_or_default()
            }
            _ => NamedItems::default(),
        }
    }

    /// The body in another format, and what it leaves out.
    fn translated(&self, way: Way, upstream: &Upstream<'_>) -> Result<Translated, Refusal> {
        let cannot = || Refusal::invalid("model", "No provider of this model can be asked at this endpoint.");
        let Content::Json(body) = &self.content else { return Err(cannot()) };
        let Some((from, to)) = way.translation(self.endpoint) else { return Err(cannot()) };
        let Read { mut conversation, mut dropped } = from.read_request(&body.object)?;
        conversation.choices = self.envelope.choices;
        tell_makers(&mut conversation, self.endpoint.dialect());
        let target = Target { rules: to.rules(), maker: to.maker(upstream.place), thoughts: upstream.thoughts };
        let fitted = fit(&mut conversation, &target, &mut dropped);
        let written = to.write_request(&conversation, upstream)?;
        let mut names: Vec<String> = Vec::new();
        for name in dropped.into_iter().chain(written.dropped).map(|name| shown(&name)) {
            if !names.contains(&name) && names.len() < MOST_NAMED {
                names.push(name);
            }
        }
        Ok(Translated { body: written.body, dropped: names, names: fitted })
    }
}
