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

use super::answer::{call_block, thinking_block};
use super::model::{Abilities, abilities};
use super::wire::{input_object, push_text};
use super::write_media::{self, push_end};
use crate::dialect::format::{Upstream, Written};
use crate::dialect::json::{Edit, Object};
use crate::dialect::talk::{
    CallResult, Conversation, Effort, Media, Message, OutputFormat, Part, Reasoning, Role, Source, Thinking, Tool, ToolChoice,
};
use crate::refusal::Refusal;

/// The smallest budget that Anthropic takes.
const LEAST_BUDGET: u64 = 1_024;
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
    let mut writer = RequestWriter { out: String::with_capacity(size(conversation)), dropped: Vec::new() };
    writer.out.push_str("{\"model\":");
    push_text(&mut writer.out, upstream.model);
    writer.member("max_tokens", &upstream.output_limit.to_string());
    if upstream.stream {
        writer.member("stream", "true");
    }
    writer.system(conversation)?;
    writer.messages(&conversation.messages)?;
    writer.tools(conversation, &abilities);
    let thinks = writer.reasoning_and_output(conversation, &abilities, upstream.output_limit);
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
    dropped: Vec<String>,
}

impl RequestWriter {
    fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|known| known == name) {
            self.dropped.push(name.to_owned());
        }
    }

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
            self.drop("response_format");
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
            self.drop("reasoning_content");
        }
        // What says nothing must not stand between two that are one.
        let said: Vec<&Message<'_>> = messages.iter().filter(|message| message.parts.iter().any(says_something)).collect();
        if said.is_empty() {
            return Err(Refusal::invalid("messages", "`messages` must have a message that says something."));
        }
        self.out.push_str(",\"messages\":[");
        let mut rest = said.as_slice();
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|message| message.role == first.role).count();
            let (turn, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = after;
            self.turn(first.role, turn, after.is_empty())?;
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
            Part::Call(call) => self.out.push_str(&call_block(&call.id, &call.name, &input_object(&call.arguments))),
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
            Some(true) => self.drop("tools[].function.strict"),
            _ => {}
        }
        push_end(&mut self.out, tool.cache);
    }

    /// Tools that were called before must be there, also where none may be called now.
    fn former_tools(&mut self, messages: &[Message<'_>]) {
        let mut names: Vec<&str> = Vec::new();
        for part in messages.iter().flat_map(|message| &message.parts) {
            match part {
                Part::Call(call) if !names.contains(&call.name.as_str()) => names.push(&call.name),
                _ => {}
            }
        }
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
    fn reasoning_and_output(&mut self, conversation: &Conversation<'_>, abilities: &Abilities, output_limit: u64) -> bool {
        let mut thinking = conversation.reasoning.as_ref().and_then(|wish| plan(wish, abilities, output_limit));
        let is_forced = matches!(conversation.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
        let is_asked = !matches!(thinking, None | Some(Plan::Off));
        let is_lost = matches!(thinking, Some(Plan::Budget(_))) && has_lost_thoughts(&conversation.messages);
        if is_asked && (is_forced && !conversation.tools.is_empty() || is_lost) || thinking == Some(Plan::NoRoom) {
            self.drop("reasoning_effort");
            thinking = None;
        }
        let shown = match conversation.reasoning.as_ref().and_then(|wish| wish.is_shown) {
            Some(true) => ",\"display\":\"summarized\"}",
            Some(false) => ",\"display\":\"omitted\"}",
            None => "}",
        };
        let mut config: Vec<String> = Vec::new();
        match thinking {
            None | Some(Plan::NoRoom) => {}
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
                self.drop("response_format.json_schema.description");
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
            Some(_) if !is_free => self.drop("temperature"),
            Some(temperature) if temperature.parse::<f64>().is_ok_and(|temperature| temperature > 1.0) => {
                self.drop("temperature");
                self.member("temperature", "1");
            }
            Some(temperature) => self.member("temperature", temperature),
            None => {}
        }
        match sampling.top_p {
            Some(_) if !is_free || abilities.is_either_or && sampling.temperature.is_some() => self.drop("top_p"),
            Some(top_p) => self.member("top_p", top_p),
            None => {}
        }
        match sampling.top_k {
            Some(_) if !is_free => self.drop("top_k"),
            Some(top_k) => self.member("top_k", top_k),
            None => {}
        }
        for (name, number) in [
            ("seed", sampling.seed),
            ("presence_penalty", sampling.presence_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
        ] {
            if number.is_some() {
                self.drop(name);
            }
        }
        if conversation.stop.iter().any(|stop| stop.trim().is_empty()) {
            self.drop("stop");
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

/// Whether a part is worth a block: Anthropic refuses blocks of white space, and thoughts that it cannot prove.
fn says_something(part: &Part<'_>) -> bool {
    match part {
        Part::Text { text, .. } | Part::Refusal(text) => !text.trim().is_empty(),
        Part::Thinking(thinking) => is_provable(thinking),
        Part::Media { .. } | Part::Call(_) | Part::Result(_) => true,
    }
}

const fn is_provable(thinking: &Thinking) -> bool {
    thinking.signature.is_some() || thinking.redacted.is_some()
}

/// How the model is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Off,
    Budget(u64),
    Adaptive(Option<&'static str>),
    /// `max_tokens` is too small for any thought.
    NoRoom,
}

fn plan(wish: &Reasoning, abilities: &Abilities, output_limit: u64) -> Option<Plan> {
    if wish.effort == Some(Effort::None) || wish.budget == Some(0) {
        return Some(Plan::Off);
    }
    let is_asked = wish.effort.is_some() || wish.budget.is_some() || wish.is_shown == Some(true);
    if abilities.is_adaptive && is_asked {
        let effort = wish.effort.or(wish.budget.map(Effort::of_budget));
        return Some(Plan::Adaptive(effort.map(|effort| match effort {
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Most => "max",
        })));
    }
    let budget = wish.budget.or(wish.effort.map(|effort| effort.budget(output_limit)))?;
    let most = output_limit.saturating_sub(1);
    Some(if most < LEAST_BUDGET { Plan::NoRoom } else { Plan::Budget(budget.clamp(LEAST_BUDGET, most)) })
}

/// Whether the last calls came without their thoughts. With a budget, Anthropic refuses results of such calls.
fn has_lost_thoughts(messages: &[Message<'_>]) -> bool {
    let has = |message: &Message<'_>, wanted: fn(&Part<'_>) -> bool| message.parts.iter().any(wanted);
    let Some(last) = messages.iter().rposition(|message| message.role == Role::Assistant) else { return false };
    // The turn may be in pieces.
    let turn = || messages.iter().take(last.saturating_add(1)).rev().take_while(|message| message.role == Role::Assistant);
    let calls = turn().any(|message| has(message, |part| matches!(part, Part::Call(_))));
    calls && !turn().any(|message| has(message, |part| matches!(part, Part::Thinking(thinking) if is_provable(thinking))))
}
