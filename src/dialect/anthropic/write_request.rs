//! Writes a request of another dialect for a channel of this one.
//!
//! Carried over: instructions, joined into `system` in their order; the turns, those of one role in a row as one message, results
//! of calls first in it; text, images and PDFs (embedded or by address), files of text as documents of text; thoughts that have
//! a signature; calls and results with their errors; functions, with `strict` where the model knows it; the choice of tools, and
//! `parallel_tool_calls: false` as `disable_parallel_tool_use`; JSON Schemas as `output_config.format`; stop texts; the user as
//! `metadata.user_id`; cache control. `max_tokens` is always the limit that was held.
//!
//! Reasoning: a model that weighs its thinking itself gets `adaptive` and an effort, any other a budget of at least 1,024 tokens
//! and less than `max_tokens`; an effort is its share of `max_tokens`. An effort of none is `disabled`.
//!
//! Changed and named: a temperature above 1 becomes 1 (`temperature`). An object of JSON without a schema is asked for in the
//! instructions, as Anthropic advises, because there is no mode that grants it (`response_format`).
//!
//! Dropped and named: `seed`, `presence_penalty`, `frequency_penalty`; `temperature`, `top_p` and `top_k` beside thinking and for
//! models that refuse them, `top_p` beside `temperature` for models that take one of them; `reasoning_effort` beside a forced
//! choice of tools, after calls whose thoughts are gone, and where `max_tokens` leaves no room; thoughts without a signature
//! (`reasoning_content`); stop texts of white space (`stop`); `strict` of functions for models that do not know it; an image's
//! `detail`; the description of a schema. Text of white space says nothing, is refused there, and is left out without a word.
//!
//! Refused by name: `n` above 1, `logprobs`, sound, files of other types, ids of files, and a request without a message.

use std::collections::BTreeSet;

use super::answer::{call_block, thinking_block};
use super::model::{Abilities, abilities};
use super::said::{is_provable, said_by, says_something};
use super::thinking::{Plan, thinking};
use super::write_media::{self, push_end};
use crate::dialect::arguments::{ANTHROPIC, as_object};
use crate::dialect::conversation::{
    CallResult, Conversation, Media, Message, OutputFormat, Part, Role, Source, Tool, ToolChoice,
};
use crate::dialect::format::{Dropped, Upstream, Written};
use crate::dialect::json::{Edit, Object, push_text};
use crate::refusal::Refusal;

const NO_ARGUMENTS: &str = "{\"type\":\"object\",\"properties\":{}}";
const ASK_FOR_JSON: &str = "Answer with one JSON object and nothing else.";

/// Writes a request.
pub fn write(conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal> {
    if conversation.choices > 1 {
        return Err(Refusal::invalid("n", "The provider that serves this model gives one answer to a request."));
    }
    if conversation.logprobs.is_some() {
        return Err(Refusal::invalid("logprobs", "The provider that serves this model tells no log probabilities."));
    }
    let abilities = abilities(upstream.model);
    let mut writer = RequestWriter { out: String::with_capacity(size(conversation)), dropped: Dropped::default() };
    writer.out.push_str("{\"model\":");
    push_text(&mut writer.out, upstream.model);
    writer.member("max_tokens", &upstream.output_limit.to_string());
    if upstream.stream {
        writer.member("stream", "true");
    }
    writer.system(conversation)?;
    writer.messages(&conversation.messages)?;
    writer.tools(conversation, &abilities);
    let thinks = writer.reasoning_and_output(conversation, &abilities, upstream);
    writer.sampling(conversation, &abilities, thinks);
    if let Some(user) = &conversation.user {
        writer.out.push_str(",\"metadata\":{\"user_id\":");
        push_text(&mut writer.out, user);
        writer.out.push('}');
    }
    writer.out.push('}');
    Ok(Written { body: writer.out, dropped: writer.dropped })
}

/// About how long the body will be, so that what is embedded is copied once and not again while it grows.
fn size(conversation: &Conversation<'_>) -> usize {
    fn of(parts: &[Part<'_>]) -> usize {
        parts.iter().fold(0, |sum: usize, part| {
            sum.saturating_add(128).saturating_add(match part {
                Part::Text { text, .. } | Part::Refusal(text) => text.len(),
                Part::Media { media: Media { source: Source::Base64 { data, .. }, .. }, .. } => data.len(),
                Part::Result(result) => of(&result.parts),
                Part::Thinking(thinking) => thinking.text.len(),
                Part::Call(call) => call.arguments.len(),
                Part::Media { .. } => 0,
            })
        })
    }
    let parts = conversation.messages.iter().map(|message| of(&message.parts));
    parts.fold(of(&conversation.system).saturating_add(1_024), usize::saturating_add)
}

struct RequestWriter {
    out: String,
    dropped: Dropped,
}

impl RequestWriter {
    /// Adds a member of the request; `json` is its value.
    fn member(&mut self, name: &str, json: &str) {
        self.out.push_str(",\"");
        self.out.push_str(name);
        self.out.push_str("\":");
        self.out.push_str(json);
    }

    /// A comma, unless a list has just begun.
    fn next(&mut self) {
        if !self.out.ends_with('[') {
            self.out.push(',');
        }
    }

    fn system(&mut self, conversation: &Conversation<'_>) -> Result<(), Refusal> {
        let asks_for_json = conversation.output == OutputFormat::JsonObject;
        if asks_for_json {
            self.dropped.note("response_format");
        }
        if !asks_for_json && !conversation.system.iter().any(says_something) {
            return Ok(());
        }
        self.out.push_str(",\"system\":[");
        for part in &conversation.system {
            if !matches!(part, Part::Text { .. }) {
                return Err(Refusal::invalid("messages[].content", "Instructions must be text."));
            }
            self.part(part)?;
        }
        if asks_for_json {
            self.part(&Part::Text { text: ASK_FOR_JSON.into(), cache: None })?;
        }
        self.out.push(']');
        Ok(())
    }

    fn messages(&mut self, messages: &[Message<'_>]) -> Result<(), Refusal> {
        let mut parts = messages.iter().flat_map(|message| &message.parts);
        if parts.any(|part| matches!(part, Part::Thinking(thinking) if !is_provable(thinking))) {
            self.dropped.note("reasoning_content");
        }
        let said = said_by(messages);
        if said.is_empty() {
            return Err(Refusal::invalid("messages", "`messages` must have a message that says something."));
        }
        self.out.push_str(",\"messages\":[");
        let mut left = said.len();
        for turn in said.chunk_by(|one, next| one.role == next.role) {
            left = left.saturating_sub(turn.len());
            let role = turn.first().map_or(Role::User, |message| message.role);
            self.turn(role, turn, left == 0)?;
        }
        self.out.push(']');
        Ok(())
    }

    /// Messages of one role, as one.
    fn turn(&mut self, role: Role, turn: &[&Message<'_>], is_last: bool) -> Result<(), Refusal> {
        let parts = turn.iter().flat_map(|message| &message.parts);
        let said: Vec<&Part<'_>> = parts.filter(|part| says_something(part)).collect();
        self.next();
        self.out.push_str(if role == Role::User { "{\"role\":\"user\"" } else { "{\"role\":\"assistant\"" });
        self.out.push_str(",\"content\":[");
        let is_result = |part: &&&Part<'_>| matches!(part, Part::Result(_));
        for part in said.iter().filter(is_result) {
            self.part(part)?;
        }
        let others: Vec<&Part<'_>> = said.iter().filter(|part| !is_result(part)).copied().collect();
        let last = others.len().saturating_sub(1);
        for (at, part) in others.into_iter().enumerate() {
            match part {
                // An answer that is to be gone on with must not end in white space.
                Part::Text { text, cache } if is_last && at == last && role == Role::Assistant => {
                    self.part(&Part::Text { text: text.trim_end().into(), cache: *cache })?;
                }
                part => self.part(part)?,
            }
        }
        self.out.push_str("]}");
        Ok(())
    }

    fn part(&mut self, part: &Part<'_>) -> Result<(), Refusal> {
        if !says_something(part) {
            return Ok(());
        }
        self.next();
        match part {
            Part::Text { text, cache } => {
                self.out.push_str("{\"type\":\"text\",\"text\":");
                push_text(&mut self.out, text);
                push_end(&mut self.out, *cache);
            }
            Part::Refusal(text) => {
                self.out.push_str("{\"type\":\"text\",\"text\":");
                push_text(&mut self.out, text);
                push_end(&mut self.out, None);
            }
            Part::Media { media, cache } => write_media::push(&mut self.out, media, *cache, &mut self.dropped)?,
            Part::Thinking(thinking) => self.out.push_str(&thinking_block(thinking)),
            Part::Call(call) => self.out.push_str(&call_block(&call.id, &call.name, &as_object(&call.arguments, ANTHROPIC))),
            Part::Result(result) => self.result(result)?,
        }
        Ok(())
    }

    fn result(&mut self, result: &CallResult<'_>) -> Result<(), Refusal> {
        self.out.push_str("{\"type\":\"tool_result\",\"tool_use_id\":");
        push_text(&mut self.out, &result.id);
        if result.parts.iter().any(says_something) {
            self.out.push_str(",\"content\":[");
            for part in &result.parts {
                self.part(part)?;
            }
            self.out.push(']');
        }
        if result.is_error {
            self.out.push_str(",\"is_error\":true");
        }
        push_end(&mut self.out, result.cache);
        Ok(())
    }

    fn tools(&mut self, conversation: &Conversation<'_>, abilities: &Abilities) {
        if conversation.tools.is_empty() {
            return self.former_tools(&conversation.messages);
        }
        self.out.push_str(",\"tools\":[");
        for tool in &conversation.tools {
            self.tool(tool, abilities);
        }
        self.out.push(']');
        let is_single = conversation.parallel_calls == Some(false);
        let choice = conversation.tool_choice.as_ref().or(is_single.then_some(&ToolChoice::Auto));
        self.out.push_str(match choice {
            None => return,
            Some(ToolChoice::None) => return self.out.push_str(",\"tool_choice\":{\"type\":\"none\"}"),
            Some(ToolChoice::Auto) => ",\"tool_choice\":{\"type\":\"auto\"",
            Some(ToolChoice::Required) => ",\"tool_choice\":{\"type\":\"any\"",
            Some(ToolChoice::Named(_)) => ",\"tool_choice\":{\"type\":\"tool\"",
        });
        if let Some(ToolChoice::Named(name)) = choice {
            self.out.push_str(",\"name\":");
            push_text(&mut self.out, name);
        }
        self.out.push_str(if is_single { ",\"disable_parallel_tool_use\":true}" } else { "}" });
    }

    fn tool(&mut self, tool: &Tool<'_>, abilities: &Abilities) {
        self.next();
        self.out.push_str("{\"name\":");
        push_text(&mut self.out, &tool.name);
        if let Some(description) = &tool.description {
            self.out.push_str(",\"description\":");
            push_text(&mut self.out, description);
        }
        self.out.push_str(",\"input_schema\":");
        match tool.schema.as_deref().and_then(Object::parse) {
            None => self.out.push_str(NO_ARGUMENTS),
            // Others may leave it out.
            Some(schema) if schema.get("type").is_none() => {
                self.out.push_str(&schema.edited(&[Edit::Set("type", "\"object\"".to_owned())]));
            }
            Some(_) => self.out.push_str(tool.schema.as_deref().unwrap_or(NO_ARGUMENTS)),
        }
        match tool.strict {
            Some(true) if abilities.is_strict => self.out.push_str(",\"strict\":true"),
            Some(true) => self.dropped.note("tools[].function.strict"),
            _ => {}
        }
        push_end(&mut self.out, tool.cache);
    }

    /// Tools that were called before must be there, also where none may be called now.
    fn former_tools(&mut self, messages: &[Message<'_>]) {
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let called = messages.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
            Part::Call(call) => Some(call.name.as_str()),
            _ => None,
        });
        let names: Vec<&str> = called.filter(|name| known.insert(*name)).collect();
        if names.is_empty() {
            return;
        }
        self.out.push_str(",\"tools\":[");
        for name in names {
            self.next();
            self.out.push_str("{\"name\":");
            push_text(&mut self.out, name);
            self.out.push_str(",\"input_schema\":");
            self.out.push_str(NO_ARGUMENTS);
            self.out.push('}');
        }
        self.out.push_str("],\"tool_choice\":{\"type\":\"none\"}");
    }

    /// Writes `thinking` and `output_config`; whether the model thinks.
    fn reasoning_and_output(&mut self, conversation: &Conversation<'_>, abilities: &Abilities, upstream: &Upstream<'_>) -> bool {
        let (thinking, is_left_out) = thinking(conversation, abilities, upstream);
        if is_left_out {
            self.dropped.note("reasoning_effort");
        }
        let shown = match conversation.reasoning.as_ref().and_then(|wish| wish.is_shown) {
            Some(true) => ",\"display\":\"summarized\"}",
            Some(false) => ",\"display\":\"omitted\"}",
            None => "}",
        };
        let mut config: Vec<String> = Vec::new();
        match thinking {
            None => {}
            Some(Plan::Off) => self.member("thinking", "{\"type\":\"disabled\"}"),
            Some(Plan::Budget(tokens)) => {
                self.member("thinking", &format!("{{\"type\":\"enabled\",\"budget_tokens\":{tokens}{shown}"));
            }
            Some(Plan::Adaptive(effort)) => {
                self.member("thinking", &format!("{{\"type\":\"adaptive\"{shown}"));
                config.extend(effort.map(|effort| format!("\"effort\":\"{effort}\"")));
            }
        }
        if let OutputFormat::Schema { schema, description, .. } = &conversation.output {
            config.push(format!("\"format\":{{\"type\":\"json_schema\",\"schema\":{schema}}}"));
            if description.is_some() {
                self.dropped.note("response_format.json_schema.description");
            }
        }
        if !config.is_empty() {
            self.member("output_config", &format!("{{{}}}", config.join(",")));
        }
        matches!(thinking, Some(Plan::Budget(_) | Plan::Adaptive(_)))
    }

    fn sampling(&mut self, conversation: &Conversation<'_>, abilities: &Abilities, thinks: bool) {
        let sampling = &conversation.sampling;
        let is_free = abilities.has_sampling && !thinks;
        match sampling.temperature {
            Some(_) if !is_free => self.dropped.note("temperature"),
            Some(temperature) if temperature.parse::<f64>().is_ok_and(|temperature| temperature > 1.0) => {
                self.dropped.note("temperature");
                self.member("temperature", "1");
            }
            Some(temperature) => self.member("temperature", temperature),
            None => {}
        }
        match sampling.top_p {
            Some(_) if !is_free || abilities.is_either_or && sampling.temperature.is_some() => self.dropped.note("top_p"),
            Some(top_p) => self.member("top_p", top_p),
            None => {}
        }
        match sampling.top_k {
            Some(_) if !is_free => self.dropped.note("top_k"),
            Some(top_k) => self.member("top_k", top_k),
            None => {}
        }
        for (name, number) in [
            ("seed", sampling.seed),
            ("presence_penalty", sampling.presence_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
        ] {
            if number.is_some() {
                self.dropped.note(name);
            }
        }
        if conversation.stop.iter().any(|stop| stop.trim().is_empty()) {
            self.dropped.note("stop");
        }
        let stops: Vec<&String> = conversation.stop.iter().filter(|stop| !stop.trim().is_empty()).collect();
        if stops.is_empty() {
            return;
        }
        self.out.push_str(",\"stop_sequences\":[");
        for stop in stops {
            self.next();
            push_text(&mut self.out, stop);
        }
        self.out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_request::read;
    use super::super::tests::{REQUEST, up};
    use super::*;
    use crate::dialect::conversation::{Cache, Effort, MediaKind, Reasoning, Sampling, Thinking, ToolCall};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const OLD: &str = "claude-sonnet-4-5";
    const NEW: &str = "claude-opus-4-7";

    fn text(text: &str) -> Part<'static> {
        Part::Text { text: text.to_owned().into(), cache: None }
    }

    fn message(role: Role, parts: Vec<Part<'static>>) -> Message<'static> {
        Message { role, parts }
    }

    fn asked() -> Conversation<'static> {
        Conversation { messages: vec![message(Role::User, vec![text("Hi")])], choices: 1, ..Conversation::default() }
    }

    fn call(id: &str, arguments: &str) -> Part<'static> {
        Part::Call(ToolCall {
            id: id.to_owned(),
            name: "f".to_owned(),
            arguments: arguments.to_owned(),
            signature: None,
            ..ToolCall::default()
        })
    }

    fn result(id: &str, said: &str) -> Part<'static> {
        Part::Result(CallResult { id: id.to_owned(), parts: vec![text(said)], is_error: false, cache: None })
    }

    fn written(conversation: &Conversation<'_>, model: &str, limit: u64) -> (Value, Vec<String>) {
        let written = write(conversation, &up(model, limit)).unwrap();
        (serde_json::from_str(&written.body).unwrap(), written.dropped.to_vec())
    }

    fn thinking(effort: Option<Effort>, budget: Option<u64>) -> Conversation<'static> {
        Conversation { reasoning: Some(Reasoning { effort, budget, is_shown: None }), ..asked() }
    }

    #[test]
    fn a_request_that_is_read_and_written_says_the_same() {
        let read = read(&Object::parse(REQUEST).unwrap()).unwrap();
        let upstream = Upstream { stream: true, ..up("claude-sonnet-4-5", 4_096) };
        let again = write(&read.conversation, &upstream).unwrap();
        assert!(again.dropped.is_empty(), "{:?}", again.dropped);
        let got: Value = serde_json::from_str(&again.body).unwrap();
        let mut expected: Value = serde_json::from_str(REQUEST).unwrap();
        // Turns of one role are one, a string is a block, a document of text is text, and what is default is not written.
        let blocks = |value: &Value| value.as_array().unwrap().clone();
        let mut first = vec![json!({"type": "text", "text": expected["messages"][0]["content"]})];
        first.extend(blocks(&expected["messages"][1]["content"]).into_iter().take(3));
        for said in ["Notes", "Written in May."] {
            first.push(json!({"type": "text", "text": said}));
        }
        first.push(json!({"type": "text", "text": "It rains.", "cache_control": {"type": "ephemeral"}}));
        expected["messages"][1]["content"] = first.into();
        expected["messages"].as_array_mut().unwrap().remove(0);
        expected["messages"][2]["content"][1]["content"] = json!([{"type": "text", "text": "no clock here"}]);
        expected["tools"][1].as_object_mut().unwrap().remove("type");
        expected["thinking"]["display"] = json!("summarized");
        assert_eq!(got, expected);
        assert!(again.body.contains("{\"town\": \"Bragança\", \"days\": 1.0}"));
    }

    #[test]
    fn results_of_parallel_calls_come_first_in_one_message() {
        let conversation = Conversation {
            messages: vec![
                message(Role::User, vec![text("go")]),
                message(Role::Assistant, vec![text(" "), call("a", ""), call("b", "{\"x\":1}"), call("c", "{broken")]),
                message(Role::User, vec![text("look"), result("a", "1")]),
                message(Role::Assistant, vec![text("")]),
                message(Role::User, vec![result("b", "2"), result("c", " ")]),
            ],
            ..asked()
        };
        let (body, dropped) = written(&conversation, OLD, 99);
        let tool = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "f", "input": input});
        let block = |said: &str| json!([{"type": "text", "text": said}]);
        let expected = json!([
            {"role": "user", "content": block("go")},
            {"role": "assistant", "content": [
                tool("a", json!({})), tool("b", json!({"x": 1})), tool("c", json!({"INVALID_JSON": "{broken"})),
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": block("1")},
                {"type": "tool_result", "tool_use_id": "b", "content": block("2")},
                {"type": "tool_result", "tool_use_id": "c"},
                {"type": "text", "text": "look"},
            ]},
        ]);
        assert_eq!((&body["messages"], dropped.as_slice()), (&expected, [].as_slice()));
        // Tools of former calls must be known, and are not to be called.
        assert_eq!(body["tools"], json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]));
        assert_eq!(body["tool_choice"], json!({"type": "none"}));
    }

    #[test]
    fn thoughts_need_a_signature() {
        let with = |signature: Option<&str>| {
            Part::Thinking(Thinking {
                text: "hm".to_owned(),
                signature: signature.map(Into::into),
                redacted: None,
                ..Thinking::default()
            })
        };
        let turn = message(Role::Assistant, vec![with(None), with(Some("s")), text("a "), call("a", "{}")]);
        let conversation = Conversation { messages: vec![turn], ..asked() };
        let (body, dropped) = written(&conversation, OLD, 99);
        assert_eq!(dropped, ["reasoning_content"]);
        let content = &body["messages"][0]["content"];
        assert_eq!(content[0], json!({"type": "thinking", "thinking": "hm", "signature": "s"}));
        assert_eq!((content.as_array().unwrap().len(), &content[1]["text"]), (3, &json!("a ")));
    }

    #[test]
    fn an_answer_to_go_on_with_does_not_end_in_white_space() {
        let conversation = Conversation { messages: vec![message(Role::Assistant, vec![text(" The \n")])], ..asked() };
        assert_eq!(written(&conversation, OLD, 99).0["messages"][0]["content"][0]["text"], " The");
    }

    #[test]
    fn thinking_is_told_as_the_model_understands_it() {
        let enabled = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
        for (effort, budget, limit, expected) in [
            (Some(Effort::Medium), None, 10_000, enabled(5_000)),
            (Some(Effort::Minimal), None, 4_000, enabled(1_024)),
            (Some(Effort::Most), None, 1_100, enabled(1_045)),
            (None, Some(9_000), 4_000, enabled(3_999)),
            (None, Some(7), 4_000, enabled(1_024)),
            (Some(Effort::None), None, 4_000, json!({"type": "disabled"})),
            (None, Some(0), 4_000, json!({"type": "disabled"})),
            (None, None, 4_000, Value::Null),
        ] {
            let (body, dropped) = written(&thinking(effort, budget), OLD, limit);
            assert_eq!((&body["thinking"], dropped.is_empty()), (&expected, true), "{effort:?} {budget:?}");
        }
        let (body, dropped) = written(&thinking(Some(Effort::High), None), OLD, 1_024);
        assert_eq!((&body["thinking"], dropped), (&Value::Null, vec!["reasoning_effort".to_owned()]));
        let (body, _) = written(&thinking(Some(Effort::Minimal), None), NEW, 99);
        assert_eq!((&body["thinking"], &body["output_config"]), (&json!({"type": "adaptive"}), &json!({"effort": "low"})));
        let (body, _) = written(&thinking(None, Some(40_000)), NEW, 99);
        assert_eq!(body["output_config"], json!({"effort": "max"}));
        let shown = Reasoning { effort: Some(Effort::Low), budget: None, is_shown: Some(true) };
        let (body, _) = written(&Conversation { reasoning: Some(shown), ..asked() }, OLD, 10_000);
        assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 2_000, "display": "summarized"}));
    }

    #[test]
    fn thinking_gives_way_where_anthropic_refuses_it() {
        let tool = Tool { name: "f".to_owned(), description: None, schema: None, strict: None, cache: None, ..Tool::default() };
        let forced =
            Conversation { tools: vec![tool], tool_choice: Some(ToolChoice::Required), ..thinking(Some(Effort::High), None) };
        let (body, dropped) = written(&forced, OLD, 9_000);
        assert_eq!((&body["thinking"], &body["tool_choice"]), (&Value::Null, &json!({"type": "any"})));
        assert_eq!(dropped, ["reasoning_effort"]);
        let lost = Conversation {
            messages: vec![
                message(Role::User, vec![text("go")]),
                message(Role::Assistant, vec![call("a", "{}")]),
                message(Role::User, vec![result("a", "1")]),
            ],
            ..thinking(Some(Effort::High), None)
        };
        assert_eq!(written(&lost, OLD, 9_000).1, ["reasoning_effort"]);
        assert_eq!(written(&lost, NEW, 9_000).0["thinking"], json!({"type": "adaptive"}));
        // Only the first of several calls need have them, and none from before the user's last words.
        let thought = Part::Thinking(Thinking { signature: Some("s".to_owned()), ..Thinking::default() });
        let mut kept = lost.clone();
        kept.messages[1].parts.insert(0, thought);
        kept.messages.extend([message(Role::Assistant, vec![call("b", "{}")]), message(Role::User, vec![result("b", "2")])]);
        assert!(written(&kept, OLD, 9_000).1.is_empty());
        let mut over = lost;
        over.messages.extend([message(Role::Assistant, vec![text("so")]), message(Role::User, vec![text("and?")])]);
        assert!(written(&over, OLD, 9_000).1.is_empty());
    }

    #[test]
    fn numbers_are_kept_changed_or_named() {
        let sampling = Sampling {
            temperature: Some("1.50"),
            top_p: Some("0.9"),
            top_k: Some("4"),
            seed: Some("1"),
            presence_penalty: Some("0"),
            frequency_penalty: Some("1"),
        };
        let conversation = Conversation { sampling: sampling.clone(), ..asked() };
        let (body, dropped) = written(&conversation, OLD, 9);
        assert_eq!((&body["temperature"], &body["top_k"], &body["top_p"]), (&json!(1), &json!(4), &Value::Null));
        assert_eq!(dropped, ["temperature", "top_p", "seed", "presence_penalty", "frequency_penalty"]);
        let (body, dropped) = written(&conversation, NEW, 9);
        assert_eq!((&body["temperature"], dropped.len()), (&Value::Null, 6));
        let kept = Sampling { temperature: Some("0.30000000000000004"), top_p: Some("1.0"), ..Sampling::default() };
        let kept = write(&Conversation { sampling: kept, ..asked() }, &up("kimi-k2", 9)).unwrap();
        assert!(kept.body.contains(r#""temperature":0.30000000000000004,"top_p":1.0"#) && kept.dropped.is_empty());
        let both = Conversation { sampling, ..thinking(Some(Effort::Low), None) };
        assert_eq!(written(&both, "kimi-k2", 9_000).1.len(), 6);
    }

    #[test]
    fn tools_and_outputs_are_what_anthropic_wants() {
        let tool = |schema: Option<&'static str>, strict| Tool {
            name: "f".to_owned(),
            description: Some("d".into()),
            schema: schema.map(Into::into),
            strict,
            cache: None,
            ..Tool::default()
        };
        let conversation = Conversation {
            tools: vec![tool(None, None), tool(Some("{\"properties\":{}}"), Some(true)), tool(Some("7"), Some(false))],
            tool_choice: Some(ToolChoice::Named("f".to_owned())),
            parallel_calls: Some(false),
            output: OutputFormat::Schema { name: None, description: None, schema: "{\"a\": 1.0}".into(), strict: None },
            stop: vec!["END".to_owned(), " \n".to_owned()],
            user: Some("u\"7".to_owned()),
            ..asked()
        };
        let (body, dropped) = written(&conversation, "claude-3-5-haiku-latest", 9);
        let default = json!({"type": "object", "properties": {}});
        assert!(
            body["tools"].as_array().unwrap().iter().all(|tool| tool["input_schema"] == default && tool.get("strict").is_none())
        );
        assert_eq!(dropped, ["tools[].function.strict", "stop"]);
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}));
        assert_eq!(body["output_config"], json!({"format": {"type": "json_schema", "schema": {"a": 1.0}}}));
        assert_eq!((&body["stop_sequences"], &body["metadata"]), (&json!(["END"]), &json!({"user_id": "u\"7"})));
        assert_eq!(written(&conversation, OLD, 9).0["tools"][1]["strict"], true);
        let object = Conversation { output: OutputFormat::JsonObject, ..asked() };
        let (body, dropped) = written(&object, OLD, 9);
        assert_eq!((&body["system"][0]["text"], dropped), (&json!(ASK_FOR_JSON), vec!["response_format".to_owned()]));
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        let source = Source::Base64 { media_type: "audio/wav".to_owned(), data: "QUJD".into() };
        let sound = Media { kind: MediaKind::Audio, source, name: None, detail: None };
        let sound = message(Role::User, vec![Part::Media { media: sound, cache: None }]);
        for (conversation, param) in [
            (Conversation { choices: 2, ..asked() }, "n"),
            (Conversation { logprobs: Some(0), ..asked() }, "logprobs"),
            (Conversation { messages: vec![sound], ..asked() }, "input_audio"),
            (Conversation { messages: vec![message(Role::User, vec![text(" ")])], ..asked() }, "messages"),
            (Conversation { messages: Vec::new(), ..asked() }, "messages"),
        ] {
            assert_eq!(write(&conversation, &up(OLD, 9)).unwrap_err().param.as_deref(), Some(param));
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        "[a-z\"\\\\\n é🦀]{0,8}"
    }

    fn any_cache() -> impl Strategy<Value = Option<Cache>> {
        prop_oneof![Just(None), Just(Some(Cache::FiveMinutes)), Just(Some(Cache::Hour))]
    }

    fn any_part() -> impl Strategy<Value = Part<'static>> {
        let media = |(is_image, is_url, cache)| {
            let (kind, media_type) =
                if is_image { (MediaKind::Image, "image/png") } else { (MediaKind::File, "application/pdf") };
            let source = if is_url {
                Source::Url("https://example.com/x".into())
            } else {
                Source::Base64 { media_type: media_type.to_owned(), data: "QUJD".into() }
            };
            Part::Media { media: Media { kind, source, name: None, detail: None }, cache }
        };
        prop_oneof![
            (any_text(), any_cache()).prop_map(|(text, cache)| Part::Text { text: text.into(), cache }),
            (any::<bool>(), any::<bool>(), any_cache()).prop_map(media),
            ("[a-z_0-9]{1,5}", any_text()).prop_map(|(id, text)| call(&id, &json!({"x": text}).to_string())),
            ("[a-z_0-9]{1,5}", any_text(), any::<bool>(), any_cache()).prop_map(|(id, said, is_error, cache)| {
                let parts = Some(text(&said)).filter(says_something).into_iter().collect();
                Part::Result(CallResult { id, parts, is_error, cache })
            }),
            (any_text(), proptest::option::of("[a-z]{1,4}")).prop_map(|(text, signature)| {
                Part::Thinking(Thinking { text, signature, redacted: None, ..Thinking::default() })
            }),
            any_text().prop_map(|data| Part::Thinking(Thinking { redacted: Some(data), ..Thinking::default() })),
        ]
    }

    fn any_conversation() -> impl Strategy<Value = Conversation<'static>> {
        let message = (any::<bool>(), proptest::collection::vec(any_part(), 0..4))
            .prop_map(|(is_user, parts)| message(if is_user { Role::User } else { Role::Assistant }, parts));
        let tool = ("[a-z]{1,5}", proptest::option::of(any_text()), any::<bool>(), any_cache()).prop_map(
            |(name, description, is_strict, cache)| Tool {
                name,
                description: description.map(Into::into),
                schema: Some("{\"type\":\"object\",\"x\": 1.0}".into()),
                strict: is_strict.then_some(true),
                cache,
                ..Tool::default()
            },
        );
        (
            proptest::collection::vec(any_text(), 0..3),
            proptest::collection::vec(message, 0..6),
            proptest::collection::vec(tool, 0..3),
            (any::<bool>(), proptest::option::of(0u64..9_000)),
            proptest::option::of(any_text()),
        )
            .prop_map(|(system, messages, tools, (is_single, budget), user)| Conversation {
                system: system.iter().map(|said| text(said)).collect(),
                messages,
                tool_choice: (!tools.is_empty()).then_some(ToolChoice::Auto),
                parallel_calls: (is_single && !tools.is_empty()).then_some(false),
                tools,
                reasoning: budget.map(|budget| Reasoning { budget: Some(budget), effort: None, is_shown: Some(true) }),
                user,
                choices: 1,
                ..Conversation::default()
            })
    }

    /// What must arrive of the turns: those of one role as one, results first, without what says nothing.
    fn turns(conversation: &Conversation<'static>) -> Vec<Message<'static>> {
        let mut turns: Vec<Message<'static>> = Vec::new();
        for message in &conversation.messages {
            let parts: Vec<Part<'static>> = message.parts.iter().filter(|part| says_something(part)).cloned().collect();
            match turns.last_mut().filter(|last| last.role == message.role) {
                Some(last) => last.parts.extend(parts),
                None if parts.is_empty() => {}
                None => turns.push(Message { role: message.role, parts }),
            }
        }
        for turn in &mut turns {
            turn.parts.sort_by_key(|part| !matches!(part, Part::Result(_)));
        }
        if let Some(Message { role: Role::Assistant, parts }) = turns.last_mut()
            && let Some(Part::Text { text, .. }) = parts.last_mut()
        {
            *text = text.trim_end().to_owned().into();
        }
        turns
    }

    proptest! {
        #[test]
        fn a_conversation_survives_writing_and_reading(conversation in any_conversation()) {
            let expected = turns(&conversation);
            let Ok(written) = write(&conversation, &up(OLD, 8_000)) else {
                prop_assert!(expected.is_empty());
                return Ok(());
            };
            let again = read(&Object::parse(&written.body).unwrap()).unwrap();
            prop_assert!(again.dropped.is_empty());
            prop_assert_eq!(&again.conversation.messages, &expected);
            let system: Vec<Part<'_>> = conversation.system.iter().filter(|part| says_something(part)).cloned().collect();
            prop_assert_eq!(&again.conversation.system, &system);
            if !conversation.tools.is_empty() {
                prop_assert_eq!(&again.conversation.tools, &conversation.tools);
                prop_assert_eq!(again.conversation.parallel_calls, conversation.parallel_calls);
            }
            prop_assert_eq!(&again.conversation.user, &conversation.user);
            // Once written, nothing changes any more.
            prop_assert_eq!(write(&again.conversation, &up(OLD, 8_000)).unwrap().body, written.body);
        }
    }
}
