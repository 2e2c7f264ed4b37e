//! Requests of other dialects, written for Gemini.
//!
//! - Mapped: the system's words to `systemInstruction` (to a user's turn where there is no other); neighbours of one role to one
//!   turn of `user` or `model`; calls to `functionCall` with their ids; results to `functionResponse`, where a text becomes
//!   `{"result": ...}` or `{"error": ...}` and a JSON object stays one, and images of results follow them; base64 to
//!   `inlineData`; https addresses to `fileData`; tools to `functionDeclarations` with `parametersJsonSchema`; the tool choice to
//!   `functionCallingConfig`; an output schema to `responseJsonSchema`; temperature, top p, top k, seed, penalties, stop texts,
//!   log probabilities and the number of answers to their fields in `generationConfig`; reasoning to a `thinkingBudget`, from 512
//!   to 24576 tokens, which every thinking model takes.
//! - A call's `thoughtSignature` goes up with it. The first call of a turn that has none gets Google's documented word for that,
//!   because newer models refuse it otherwise.
//! - Dropped and named: `cache_control` (Gemini caches by itself), `parallel_tool_calls` if false, `user`, `strict` of tools, the
//!   `detail` of images, the `filename` of files, `tool_choice` without tools, and in `reasoning_details` the proofs of thoughts
//!   beside calls: another provider's would be refused, and nobody can tell whose they are. The words of thoughts go up.
//! - Refused: more than 5 stop texts, files by id, addresses that are not https, results of unknown calls, a conversation
//!   without words.

use std::collections::BTreeMap;

use super::media::type_of_address;
use crate::dialect::arguments::{GEMINI, as_object};
use crate::dialect::conversation::{
    CallResult, Conversation, Media, OutputFormat, Part, Reasoning, Role, Source, Tool, ToolCall, ToolChoice,
};
use crate::dialect::format::{Dropped, Upstream, Written};
use crate::dialect::json::{Object, push_text, quoted};
use crate::dialect::node::Node;
use crate::refusal::Refusal;

/// What Google documents for a call whose signature is not known.
pub const NO_SIGNATURE: &str = "skip_thought_signature_validator";
/// Gemini takes no more stop texts.
const MOST_STOPS: usize = 5;
/// In tokens. Every model that thinks takes a budget between these.
const BUDGETS: (u64, u64) = (512, 24_576);

/// Writes a request.
pub fn write_request(conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
    let mut scribe = Scribe { out: String::from("{\"contents\":["), ..Scribe::default() };
    for message in &conversation.messages {
        for part in &message.parts {
            scribe.part(message.role, part)?;
        }
    }
    let is_system_alone = scribe.role.is_none();
    if is_system_alone {
        for part in &conversation.system {
            scribe.part(Role::User, part)?;
        }
    }
    if scribe.role.is_none() {
        return Err(Refusal::invalid("messages", "The conversation has no words."));
    }
    scribe.close();
    scribe.out.push(']');
    if !is_system_alone {
        scribe.system(&conversation.system);
    }
    scribe.tools(conversation);
    scribe.generation(conversation, upstream)?;
    scribe.out.push('}');
    Ok(Written { body: scribe.out, dropped: scribe.dropped })
}

/// Writes the body, and remembers what was left out.
#[derive(Default)]
struct Scribe<'c> {
    out: String,
    dropped: Dropped,
    /// Whose turn is open.
    role: Option<Role>,
    /// Whether a call of this turn was written.
    has_call: bool,
    /// Id and name of each call so far.
    calls: BTreeMap<&'c str, &'c str>,
    /// What came with results, and follows them.
    later: Vec<&'c Media<'c>>,
}

impl<'c> Scribe<'c> {
    fn part(&mut self, role: Role, part: &'c Part<'c>) -> Result<(), Refusal> {
        match part {
            Part::Text { text, cache } => {
                if cache.is_some() {
                    self.dropped.note("cache_control");
                }
                self.text(role, text, false);
            }
            Part::Refusal(text) => self.text(role, text, false),
            Part::Thinking(thinking) => {
                if thinking.signature.is_some() || thinking.redacted.is_some() {
                    self.dropped.note("reasoning_details");
                }
                self.text(role, &thinking.text, true);
            }
            Part::Media { media, cache } => {
                if cache.is_some() {
                    self.dropped.note("cache_control");
                }
                self.check_media(media)?;
                self.begin(role);
                push_media(&mut self.out, media);
            }
            Part::Call(call) => self.call(role, call),
            Part::Result(result) => self.result(role, result)?,
        }
        Ok(())
    }

    /// Goes on with a turn of this role, or begins one.
    fn turn(&mut self, role: Role) {
        if self.role == Some(role) {
            return self.out.push(',');
        }
        let is_first = self.role.is_none();
        self.close();
        self.out.push_str(if is_first { "{\"role\":\"" } else { ",{\"role\":\"" });
        self.out.push_str(if role == Role::User { "user" } else { "model" });
        self.out.push_str("\",\"parts\":[");
        self.role = Some(role);
        self.has_call = false;
    }

    /// The same for a part that is no result.
    fn begin(&mut self, role: Role) {
        self.follow();
        self.turn(role);
    }

    /// Writes what came with the results of this turn.
    fn follow(&mut self) {
        for media in std::mem::take(&mut self.later) {
            self.out.push(',');
            push_media(&mut self.out, media);
        }
    }

    fn close(&mut self) {
        if self.role.is_some() {
            self.follow();
            self.out.push_str("]}");
        }
    }

    fn text(&mut self, role: Role, text: &str, is_thought: bool) {
        // Gemini refuses an empty one.
        if text.is_empty() {
            return;
        }
        self.begin(role);
        self.out.push_str("{\"text\":");
        push_text(&mut self.out, text);
        self.out.push_str(if is_thought { ",\"thought\":true}" } else { "}" });
    }

    fn check_media(&mut self, media: &Media<'_>) -> Result<(), Refusal> {
        if media.name.is_some() {
            self.dropped.note("filename");
        }
        if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.dropped.note("detail");
        }
        match &media.source {
            Source::Base64 { .. } => Ok(()),
            Source::Url(address) if address.starts_with("https://") => Ok(()),
            Source::Url(_) => Err(Refusal::invalid("messages", "A file must be embedded as base64 or have an https address.")),
            Source::Id(_) => {
                Err(Refusal::invalid("messages", "A file that is named by its id can only be read by the provider that has it."))
            }
        }
    }

    fn call(&mut self, role: Role, call: &'c ToolCall) {
        self.calls.insert(&call.id, &call.name);
        self.begin(role);
        self.out.push_str("{\"functionCall\":{\"id\":");
        push_text(&mut self.out, &call.id);
        self.out.push_str(",\"name\":");
        push_text(&mut self.out, &call.name);
        self.out.push_str(",\"args\":");
        self.out.push_str(&as_object(&call.arguments, GEMINI));
        self.out.push('}');
        let stand_in = (!self.has_call).then_some(NO_SIGNATURE);
        if let Some(signature) = call.signature.as_deref().filter(|signature| !signature.is_empty()).or(stand_in) {
            self.out.push_str(",\"thoughtSignature\":");
            push_text(&mut self.out, signature);
        }
        self.out.push('}');
        self.has_call = true;
    }

    fn result(&mut self, role: Role, result: &'c CallResult<'c>) -> Result<(), Refusal> {
        if result.cache.is_some() {
            self.dropped.note("cache_control");
        }
        let Some(name) = self.calls.get(result.id.as_str()).copied() else {
            let message = format!("A result belongs to the call `{}`, which no message before it makes.", result.id);
            return Err(Refusal::invalid("messages", message));
        };
        let mut words = String::new();
        let mut later = Vec::new();
        for part in &result.parts {
            match part {
                Part::Text { text, cache } => {
                    if cache.is_some() {
                        self.dropped.note("cache_control");
                    }
                    words.push_str(if words.is_empty() { "" } else { "\n" });
                    words.push_str(text);
                }
                Part::Media { media, .. } => {
                    self.check_media(media)?;
                    later.push(media);
                }
                _ => return Err(Refusal::invalid("messages", "The result of a call may have text and files only.")),
            }
        }
        self.turn(role);
        self.later.append(&mut later);
        self.out.push_str("{\"functionResponse\":{\"id\":");
        push_text(&mut self.out, &result.id);
        self.out.push_str(",\"name\":");
        push_text(&mut self.out, name);
        self.out.push_str(",\"response\":");
        push_response(&mut self.out, &words, result.is_error);
        self.out.push_str("}}");
        Ok(())
    }

    fn system(&mut self, parts: &[Part<'_>]) {
        let mut is_first = true;
        for part in parts {
            let Part::Text { text, cache } = part else { continue };
            if cache.is_some() {
                self.dropped.note("cache_control");
            }
            if text.is_empty() {
                continue;
            }
            self.out.push_str(if is_first { ",\"systemInstruction\":{\"parts\":[{\"text\":" } else { ",{\"text\":" });
            is_first = false;
            push_text(&mut self.out, text);
            self.out.push('}');
        }
        if !is_first {
            self.out.push_str("]}");
        }
    }

    fn tools(&mut self, conversation: &Conversation<'_>) {
        if conversation.parallel_calls == Some(false) {
            self.dropped.note("parallel_tool_calls");
        }
        if conversation.tools.is_empty() {
            // Gemini takes no rule for what is not there.
            if conversation.tool_choice.as_ref().is_some_and(|choice| !matches!(choice, ToolChoice::Auto | ToolChoice::None)) {
                self.dropped.note("tool_choice");
            }
            return;
        }
        self.out.push_str(",\"tools\":[{\"functionDeclarations\":[");
        for (index, tool) in conversation.tools.iter().enumerate() {
            self.out.push_str(if index > 0 { "," } else { "" });
            self.tool(tool);
        }
        self.out.push_str("]}]");
        let (mode, name) = match &conversation.tool_choice {
            None => return,
            Some(ToolChoice::Auto) => ("AUTO", None),
            Some(ToolChoice::None) => ("NONE", None),
            Some(ToolChoice::Required) => ("ANY", None),
            Some(ToolChoice::Named(name)) => ("ANY", Some(name)),
        };
        let allowed = name.map(|name| format!(",\"allowedFunctionNames\":[{}]", quoted(name))).unwrap_or_default();
        self.out.push_str(&format!(",\"toolConfig\":{{\"functionCallingConfig\":{{\"mode\":\"{mode}\"{allowed}}}}}"));
    }

    fn tool(&mut self, tool: &Tool<'_>) {
        if tool.cache.is_some() {
            self.dropped.note("cache_control");
        }
        if tool.strict == Some(true) {
            self.dropped.note("strict");
        }
        self.out.push_str("{\"name\":");
        push_text(&mut self.out, &tool.name);
        if let Some(description) = &tool.description {
            self.out.push_str(",\"description\":");
            push_text(&mut self.out, description);
        }
        if let Some(schema) = &tool.schema {
            self.out.push_str(",\"parametersJsonSchema\":");
            self.out.push_str(schema);
        }
        self.out.push('}');
    }

    fn generation(&mut self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<(), Refusal> {
        if conversation.user.is_some() {
            self.dropped.note("user");
        }
        if conversation.stop.len() > MOST_STOPS {
            return Err(Refusal::invalid("stop", format!("This model takes at most {MOST_STOPS} stop texts.")));
        }
        let out = &mut self.out;
        out.push_str(&format!(",\"generationConfig\":{{\"maxOutputTokens\":{}", upstream.output_limit));
        let sampling = &conversation.sampling;
        for (name, number) in [
            ("temperature", sampling.temperature),
            ("topP", sampling.top_p),
            ("topK", sampling.top_k),
            ("seed", sampling.seed),
            ("presencePenalty", sampling.presence_penalty),
            ("frequencyPenalty", sampling.frequency_penalty),
        ] {
            if let Some(number) = number {
                push_member(out, name, number);
            }
        }
        if conversation.choices > 1 {
            push_member(out, "candidateCount", &conversation.choices.to_string());
        }
        if !conversation.stop.is_empty() {
            let stops: Vec<String> = conversation.stop.iter().map(|stop| quoted(stop)).collect();
            push_member(out, "stopSequences", &format!("[{}]", stops.join(",")));
        }
        match &conversation.output {
            OutputFormat::Text => {}
            OutputFormat::JsonObject => push_member(out, "responseMimeType", "\"application/json\""),
            OutputFormat::Schema { schema, .. } => {
                push_member(out, "responseMimeType", "\"application/json\"");
                push_member(out, "responseJsonSchema", schema);
            }
        }
        if let Some(logprobs) = conversation.logprobs {
            push_member(out, "responseLogprobs", "true");
            if logprobs > 0 {
                push_member(out, "logprobs", &logprobs.to_string());
            }
        }
        if let Some(thinking) =
            conversation.reasoning.as_ref().and_then(|reasoning| thinking(&upstream.reasoning(reasoning), upstream.output_limit))
        {
            push_member(out, "thinkingConfig", &thinking);
        }
        out.push('}');
        Ok(())
    }
}

/// The `thinkingConfig`, if anything is asked for.
fn thinking(reasoning: &Reasoning, output_limit: u64) -> Option<String> {
    let budget = reasoning.budget.or_else(|| reasoning.effort.map(|effort| effort.budget(output_limit)));
    let (least, most) = BUDGETS;
    let budget = budget.map(|budget| if budget == 0 { 0 } else { budget.clamp(least, most) });
    let budget = budget.map(|budget| format!("\"thinkingBudget\":{budget}"));
    let shown = reasoning.is_shown.map(|is_shown| format!("\"includeThoughts\":{is_shown}"));
    let members: Vec<String> = budget.into_iter().chain(shown).collect();
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

fn push_member(out: &mut String, name: &str, json: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(json);
}

/// What was checked before is written.
fn push_media(out: &mut String, media: &Media<'_>) {
    match &media.source {
        Source::Base64 { media_type, data } => {
            out.push_str("{\"inlineData\":{\"mimeType\":");
            push_text(out, media_type);
            out.push_str(",\"data\":");
            push_text(out, data);
        }
        Source::Url(address) => {
            out.push_str("{\"fileData\":{");
            if let Some(media_type) = type_of_address(address) {
                out.push_str("\"mimeType\":");
                push_text(out, media_type);
                out.push(',');
            }
            out.push_str("\"fileUri\":");
            push_text(out, address);
        }
        // Refused before.
        Source::Id(id) => {
            out.push_str("{\"fileData\":{\"fileUri\":");
            push_text(out, id);
        }
    }
    out.push_str("}}");
}

/// The result of a call as the object that Gemini wants. A JSON object stays one, unless it would be taken for a text in one.
fn push_response(out: &mut String, words: &str, is_error: bool) {
    let object = Object::parse(words).and_then(|object| Node::camel_root(&object).ok());
    let is_object = !is_error && object.is_some_and(|object| wrapped(&object).is_none());
    if is_object {
        return out.push_str(words);
    }
    out.push_str(if is_error { "{\"error\":" } else { "{\"result\":" });
    push_text(out, words);
    out.push('}');
}

/// The text of a result that is nothing but a text, as JSON, and whether it is an error.
pub fn wrapped<'a>(response: &Node<'a>) -> Option<(&'a str, bool)> {
    let mut names = response.names();
    let (name, None) = (names.next()?, names.next()) else { return None };
    let text = response.given(name).filter(|json| json.starts_with('"'))?;
    match name {
        "result" | "output" => Some((text, false)),
        "error" => Some((text, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::conversation::{Cache, Effort, MediaKind, Message, Sampling, Thinking};
    use crate::dialect::json::text_of;

    const UPSTREAM: Upstream<'_> =
        Upstream { model: "m", output_limit: 1_000, limit_field: None, stream: true, ..Upstream::NOBODY };

    fn text(text: &str) -> Part<'_> {
        Part::Text { text: text.into(), cache: None }
    }

    fn call(id: &str, signature: Option<&str>) -> Part<'static> {
        let signature = signature.map(ToOwned::to_owned);
        Part::Call(ToolCall {
            id: id.to_owned(),
            name: format!("f{id}"),
            arguments: "{\"n\": 1.0}".to_owned(),
            signature,
            ..ToolCall::default()
        })
    }

    fn result(id: &str, parts: Vec<Part<'static>>, is_error: bool) -> Part<'static> {
        Part::Result(CallResult { id: id.to_owned(), parts, is_error, cache: None })
    }

    fn image(source: Source<'static>) -> Part<'static> {
        let media = Media { kind: MediaKind::Image, source, name: None, detail: Some("auto".to_owned()) };
        Part::Media { media, cache: None }
    }

    fn user<'a>(parts: Vec<Part<'a>>) -> Message<'a> {
        Message { role: Role::User, parts }
    }

    fn assistant<'a>(parts: Vec<Part<'a>>) -> Message<'a> {
        Message { role: Role::Assistant, parts }
    }

    fn conversation(messages: Vec<Message<'_>>) -> Conversation<'_> {
        Conversation { messages, choices: 1, ..Conversation::default() }
    }

    fn write(conversation: &Conversation<'_>) -> String {
        write_request(conversation, &UPSTREAM).unwrap().body
    }

    #[test]
    fn turns_are_joined_and_calls_signed() {
        let mut conversation = conversation(vec![
            user(vec![text("a"), text("")]),
            user(vec![image(Source::Url("https://x.y/z.webp?w=1".into()))]),
            assistant(vec![Part::Thinking(Thinking { text: "t".to_owned(), ..Thinking::default() }), text("\"b\"")]),
            assistant(vec![call("1", None), call("2", None)]),
            user(vec![result(
                "2",
                vec![text("rain"), image(Source::Base64 { media_type: "image/png".into(), data: "QUJD".into() })],
                false,
            )]),
            user(vec![result("1", vec![text("{\"sun\": 1.0}")], false)]),
            assistant(vec![call("3", Some("CpwB"))]),
            user(vec![result("3", vec![text("{\"late\":1}")], true), text("go on")]),
        ]);
        conversation.system = vec![text("s1"), text("s2")];
        let expected = concat!(
            r#"{"contents":[{"role":"user","parts":[{"text":"a"},{"fileData":{"mimeType":"image/webp","fileUri":"https://x.y/z.webp?w=1"}}]},"#,
            r#"{"role":"model","parts":[{"text":"t","thought":true},{"text":"\"b\""},"#,
            r#"{"functionCall":{"id":"1","name":"f1","args":{"n": 1.0}},"thoughtSignature":"skip_thought_signature_validator"},"#,
            r#"{"functionCall":{"id":"2","name":"f2","args":{"n": 1.0}}}]},"#,
            r#"{"role":"user","parts":[{"functionResponse":{"id":"2","name":"f2","response":{"result":"rain"}}},"#,
            r#"{"functionResponse":{"id":"1","name":"f1","response":{"sun": 1.0}}},{"inlineData":{"mimeType":"image/png","data":"QUJD"}}]},"#,
            r#"{"role":"model","parts":[{"functionCall":{"id":"3","name":"f3","args":{"n": 1.0}},"thoughtSignature":"CpwB"}]},"#,
            r#"{"role":"user","parts":[{"functionResponse":{"id":"3","name":"f3","response":{"error":"{\"late\":1}"}}},{"text":"go on"}]}],"#,
            r#""systemInstruction":{"parts":[{"text":"s1"},{"text":"s2"}]},"generationConfig":{"maxOutputTokens":1000}}"#
        );
        assert_eq!(write(&conversation), expected);
    }

    #[test]
    fn tools_and_the_rest_have_their_places() {
        let tool = |name: &str, schema: Option<&'static str>| Tool {
            name: name.to_owned(),
            description: schema.map(|_| "d".into()),
            schema: schema.map(Into::into),
            strict: None,
            cache: None,
            ..Tool::default()
        };
        let conversation = Conversation {
            tools: vec![tool("f", Some(r#"{"type": "object"}"#)), tool("g", None)],
            tool_choice: Some(ToolChoice::Named("f".to_owned())),
            output: OutputFormat::Schema {
                name: Some("n".to_owned()),
                description: None,
                schema: r#"{"x":1.0}"#.into(),
                strict: Some(true),
            },
            sampling: Sampling {
                temperature: Some("1.0"),
                top_p: Some("0.5"),
                top_k: Some("4"),
                seed: Some("7"),
                presence_penalty: Some("1"),
                frequency_penalty: Some("-1"),
            },
            stop: vec!["\n".to_owned()],
            reasoning: Some(Reasoning { effort: Some(Effort::High), budget: None, is_shown: Some(true) }),
            logprobs: Some(2),
            choices: 3,
            ..conversation(vec![user(vec![text("a")])])
        };
        let expected = concat!(
            r#"{"contents":[{"role":"user","parts":[{"text":"a"}]}],"#,
            r#""tools":[{"functionDeclarations":[{"name":"f","description":"d","parametersJsonSchema":{"type": "object"}},{"name":"g"}]}],"#,
            r#""toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}},"#,
            r#""generationConfig":{"maxOutputTokens":1000,"temperature":1.0,"topP":0.5,"topK":4,"seed":7,"presencePenalty":1,"frequencyPenalty":-1,"#,
            r#""candidateCount":3,"stopSequences":["\n"],"responseMimeType":"application/json","responseJsonSchema":{"x":1.0},"#,
            r#""responseLogprobs":true,"logprobs":2,"thinkingConfig":{"thinkingBudget":800,"includeThoughts":true}}}"#
        );
        assert_eq!(
            write_request(&conversation, &UPSTREAM).unwrap(),
            Written { body: expected.to_owned(), dropped: Dropped::default() }
        );
    }

    #[test]
    fn a_budget_is_one_that_every_model_takes() {
        let of = |effort, budget, limit| thinking(&Reasoning { effort, budget, is_shown: None }, limit);
        for (effort, budget, limit, expected) in [
            (Some(Effort::None), None, 1_000, Some(0)),
            (Some(Effort::Minimal), None, 1_000, Some(512)),
            (Some(Effort::Most), None, 65_536, Some(24_576)),
            (Some(Effort::Low), Some(4_000), 65_536, Some(4_000)),
            (None, None, 1_000, None),
        ] {
            assert_eq!(of(effort, budget, limit), expected.map(|budget: u64| format!("{{\"thinkingBudget\":{budget}}}")));
        }
    }

    #[test]
    fn what_is_left_out_is_named() {
        let cached = Part::Text { text: "a".into(), cache: Some(Cache::Hour) };
        let mut media = image(Source::Base64 { media_type: "image/png".into(), data: "QQ==".into() });
        if let Part::Media { media, .. } = &mut media {
            (media.detail, media.name) = (Some("low".to_owned()), Some("n.png".to_owned()));
        }
        let thought = Part::Thinking(Thinking {
            text: "t".to_owned(),
            signature: Some("s".to_owned()),
            redacted: None,
            ..Thinking::default()
        });
        let mut conversation = conversation(vec![user(vec![cached.clone(), cached, media]), assistant(vec![thought])]);
        conversation.tool_choice = Some(ToolChoice::Required);
        conversation.parallel_calls = Some(false);
        conversation.user = Some("u".to_owned());
        let written = write_request(&conversation, &UPSTREAM).unwrap();
        let expected = ["cache_control", "filename", "detail", "reasoning_details", "parallel_tool_calls", "tool_choice", "user"];
        assert_eq!(written.dropped, expected);
        assert!(!written.body.contains("Signature") && !written.body.contains("toolConfig"));
    }

    #[test]
    fn instructions_alone_become_a_users_turn() {
        let conversation = Conversation { system: vec![text("s")], choices: 1, ..Conversation::default() };
        let expected = r#"{"contents":[{"role":"user","parts":[{"text":"s"}]}],"generationConfig":{"maxOutputTokens":1000}}"#;
        assert_eq!(write(&conversation), expected);
    }

    #[test]
    fn what_cannot_be_left_out_is_refused() {
        let stops = Conversation { stop: vec![String::new(); 6], ..conversation(vec![user(vec![text("a")])]) };
        for (conversation, param) in [
            (stops, "stop"),
            (conversation(Vec::new()), "messages"),
            (conversation(vec![user(vec![image(Source::Id("file-1".to_owned()))])]), "messages"),
            (conversation(vec![user(vec![image(Source::Url("http://x.y/z.png".into()))])]), "messages"),
            (conversation(vec![user(vec![result("9", Vec::new(), false)])]), "messages"),
        ] {
            assert_eq!(write_request(&conversation, &UPSTREAM).unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn a_result_is_read_back_as_it_was() {
        for (words, is_error) in [
            ("rain", false),
            ("", false),
            ("{\"a\":1.0}", false),
            ("{\"result\":\"x\"}", false),
            ("{\"error\":\"x\"}", false),
            ("{\"result\":5}", false),
            ("{\"a\":1,\"a\":2}", false),
            ("[1]", false),
            ("{\"a\":1}", true),
        ] {
            let mut out = String::new();
            push_response(&mut out, words, is_error);
            let response = Node::camel_root(&Object::parse(&out).unwrap()).unwrap();
            let read = wrapped(&response).map(|(json, is_error)| (text_of(json).unwrap().into_owned(), is_error));
            assert_eq!(read.unwrap_or((out, false)), (words.to_owned(), is_error));
        }
    }
}
