//! A conversation, made fit for the format that a channel is asked in: names of tools and ids of calls in its letters, tools that
//! it does not know as functions, and thoughts for those who made them.
//!
//! What always holds: a call and its result have the same id, and no two calls have one; what the client called a tool comes
//! back under that name, by [`ToolNames`]; the same conversation always becomes the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::conversation::{
    CallResult, Conversation, Effort, Form, Message, OutputFormat, Part, Reasoning, Role, Thinking, Tool, ToolCall, ToolChoice,
    ToolKind,
};
use super::dropped::Dropped;
use super::json::quoted;
use super::maker::Maker;
use super::strict::is_strict;
use crate::catalog::Thoughts;
use crate::id::sha256_hex;

/// Stands for the thoughts of a turn that has none, for providers that refuse such a turn. Some take nothing for missing.
pub const NO_THOUGHT: &str = " ";
/// Hexadecimal digits that tell apart what was shortened.
const DIGITS: usize = 8;

/// What a format demands of names and ids.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The most letters of a tool's name.
    pub longest_name: usize,
    /// Letters of names beside `a-zA-Z0-9_-`.
    pub more_letters: &'static str,
    /// Whether a name must begin with a letter or an underscore.
    pub begins_with_letter: bool,
    /// The most letters of a call's id.
    pub longest_id: usize,
    /// Whether ids have the letters `a-zA-Z0-9_-` alone.
    pub plain_ids: bool,
    /// Whether `strict` holds a schema to OpenAI's rules, and refuses others.
    pub checks_strict: bool,
}

/// Whom a conversation goes to.
#[derive(Debug, Clone)]
pub struct Target {
    /// What its format demands.
    pub rules: Rules,
    /// Who will make the answer.
    pub maker: Maker,
    /// Which thoughts the channel wants back.
    pub thoughts: Thoughts,
}

/// What tools are called upstream, and what they are for the client; only of those that differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolNames {
    tools: BTreeMap<String, (String, Form)>,
    /// Whether the client asked for thoughts, and so knows what to do with them.
    pub is_thinking: bool,
}

impl ToolNames {
    /// What the client calls a tool of this name upstream.
    pub fn client(&self, name: &str) -> Option<&(String, Form)> {
        self.tools.get(name)
    }
}

/// Makes a conversation fit; names what was left out of it.
pub fn fit(conversation: &mut Conversation<'_>, target: &Target, dropped: &mut Dropped) -> ToolNames {
    let mut names = rename(conversation, &target.rules);
    let asks = |reasoning: &Reasoning| reasoning.effort != Some(Effort::None) && reasoning.budget != Some(0);
    names.is_thinking = conversation.reasoning.as_ref().is_some_and(asks);
    number(conversation, &target.rules);
    think(conversation, target, dropped);
    if target.rules.checks_strict {
        loosen(conversation);
    }
    names
}

/// A tool as the client knows it: its group and its name.
type Known = (Option<String>, String);

fn known(form: &Form, name: &str) -> Known {
    (form.namespace.clone(), name.to_owned())
}

/// Gives every tool a name in the format's letters, and makes functions of what are none.
fn rename(conversation: &mut Conversation<'_>, rules: &Rules) -> ToolNames {
    // A tool may be offered again further on; the last word counts.
    let mut places: BTreeMap<Known, usize> = BTreeMap::new();
    for (at, tool) in conversation.tools.iter().enumerate() {
        places.insert(known(&tool.form, &tool.name), at);
    }
    let mut at = 0_usize;
    conversation.tools.retain(|tool| {
        let is_last = places.get(&known(&tool.form, &tool.name)) == Some(&at);
        at = at.saturating_add(1);
        is_last
    });
    let mut given: BTreeMap<Known, String> = BTreeMap::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    // ToolNames that fit keep to themselves, so that no other is made into one.
    let calls = conversation.messages.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Call(call) => Some((known(&call.form, &call.name), call.form.clone())),
        _ => None,
    });
    let all: Vec<(Known, Form)> =
        conversation.tools.iter().map(|tool| (known(&tool.form, &tool.name), tool.form.clone())).chain(calls).collect();
    for (tool, _) in &all {
        if tool.0.is_none() && name_for(tool, rules) == tool.1 {
            taken.insert(tool.1.clone());
            given.insert(tool.clone(), tool.1.clone());
        }
    }
    let mut names = ToolNames::default();
    for (tool, form) in all {
        if !given.contains_key(&tool) {
            let mut name = name_for(&tool, rules);
            if taken.contains(&name) {
                name = marked(&name, &format!("{:?}", tool), rules.longest_name);
            }
            taken.insert(name.clone());
            given.insert(tool.clone(), name);
        }
        if let Some(name) = given.get(&tool).filter(|name| **name != tool.1 || form != Form::default()) {
            names.tools.entry(name.clone()).or_insert((tool.1, form));
        }
    }
    let wire = |form: &Form, name: &str| given.get(&known(form, name)).cloned().unwrap_or_else(|| name.to_owned());
    if let Some(ToolChoice::Named(name)) = &mut conversation.tool_choice
        && let Some(tool) = conversation.tools.iter().find(|tool| tool.name == *name)
    {
        *name = wire(&tool.form, &tool.name);
    }
    for tool in &mut conversation.tools {
        tool.name = wire(&tool.form, &tool.name);
        as_function(tool);
    }
    for part in conversation.messages.iter_mut().flat_map(|message| &mut message.parts) {
        if let Part::Call(call) = part {
            call.name = wire(&call.form, &call.name);
            call_function(call);
        }
    }
    names
}

/// The name of a tool in the format's letters; the same one as long as it fits.
fn name_for((namespace, name): &Known, rules: &Rules) -> String {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || rules.more_letters.contains(c);
    let whole = match namespace {
        Some(namespace) => format!("{namespace}__{name}"),
        None => name.clone(),
    };
    let mut fitted: String = whole.chars().map(|c| if is_letter(c) { c } else { '_' }).collect();
    if rules.begins_with_letter && !fitted.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        fitted.insert(0, '_');
    }
    if fitted == whole && fitted.len() <= rules.longest_name {
        return fitted;
    }
    marked(&fitted, &whole, rules.longest_name)
}

/// A text of ASCII, cut and marked, so that another one of the same beginning differs.
fn marked(text: &str, of: &str, longest: usize) -> String {
    let digits: String = sha256_hex(&[of.as_bytes()]).chars().take(DIGITS).collect();
    let kept: String = text.chars().take(longest.saturating_sub(DIGITS).saturating_sub(1)).collect();
    format!("{kept}_{digits}")
}

/// Describes a tool as a function of JSON.
fn as_function(tool: &mut Tool<'_>) {
    match std::mem::take(&mut tool.form).kind {
        ToolKind::Function | ToolKind::Search => {}
        ToolKind::Custom => {
            let about = match tool.grammar.take() {
                Some(grammar) => format!("The whole input of the tool, as free text that follows this grammar: {grammar}"),
                None => "The whole input of the tool, as free text.".to_owned(),
            };
            let schema = json!({
                "type": "object", "properties": {"input": {"type": "string", "description": about}}, "required": ["input"],
                "additionalProperties": false,
            });
            tool.schema = Some(schema.to_string().into());
        }
        ToolKind::Shell => {
            tool.description.get_or_insert(Cow::Borrowed("Runs a command in the user's shell and answers with its output."));
            let schema = json!({
                "type": "object",
                "properties": {
                    "command": {"type": "array", "items": {"type": "string"}, "description": "The program and its arguments."},
                    "working_directory": {"type": "string"},
                    "timeout_ms": {"type": "integer"},
                    "env": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "required": ["command"],
            });
            tool.schema = Some(schema.to_string().into());
        }
    }
}

/// A call of such a tool as a call of the function.
fn call_function(call: &mut ToolCall) {
    if std::mem::take(&mut call.form).kind == ToolKind::Custom {
        call.arguments = format!("{{\"input\":{}}}", quoted(&call.arguments));
    }
}

/// The free text that a model wrote as the arguments of a function; whatever it wrote, if it is something else.
pub fn free_text(arguments: &str) -> String {
    let value: Value = serde_json::from_str(arguments).unwrap_or_default();
    match (value.get("input"), &value) {
        (Some(Value::String(text)), _) | (None, Value::String(text)) => text.clone(),
        _ => arguments.to_owned(),
    }
}

/// The calls of one id, as they are called now.
#[derive(Default)]
struct Calls {
    /// Those without a result, the first first.
    waiting: VecDeque<String>,
    last: String,
}

/// Gives every call an id in the format's letters that no other call has, and its result the same.
fn number(conversation: &mut Conversation<'_>, rules: &Rules) {
    let mut known: BTreeMap<String, Calls> = BTreeMap::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for part in conversation.messages.iter_mut().flat_map(|message| &mut message.parts) {
        match part {
            Part::Call(call) => {
                let mut id = id_for(&call.id, rules);
                while taken.contains(&id) {
                    id = marked(&id, &format!("{id}/{}", taken.len()), rules.longest_id);
                }
                taken.insert(id.clone());
                let calls = known.entry(std::mem::take(&mut call.id)).or_default();
                calls.waiting.push_back(id.clone());
                calls.last.clone_from(&id);
                call.id = id;
            }
            Part::Result(CallResult { id, .. }) => {
                *id = match known.get_mut(id.as_str()) {
                    Some(calls) => calls.waiting.pop_front().unwrap_or_else(|| calls.last.clone()),
                    None => id_for(id, rules),
                };
            }
            _ => {}
        }
    }
}

/// An id in the letters of a format; the same one as long as it fits.
pub fn id_for(id: &str, rules: &Rules) -> String {
    let is_letter = |c: char| !rules.plain_ids || c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !id.is_empty() && id.len() <= rules.longest_id && id.chars().all(is_letter) {
        return id.to_owned();
    }
    let plain: String = id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    marked(if plain.is_empty() { "call" } else { &plain }, id, rules.longest_id)
}

/// Leaves every proof to its maker, and the words of thoughts to whoever takes them.
fn think(conversation: &mut Conversation<'_>, target: &Target, dropped: &mut Dropped) {
    let is_chat = matches!(target.maker, Maker::Chat(_));
    for message in &mut conversation.messages {
        if target.maker == Maker::Gemini {
            sign_calls(message);
        }
        message.parts.retain_mut(|part| {
            let Part::Thinking(thinking) = part else { return true };
            let is_own = thinking.maker.as_ref().is_none_or(|maker| *maker == target.maker);
            if thinking.is_proven() && (!is_own || is_chat || target.thoughts == Thoughts::None) {
                dropped.note("reasoning_details");
                (thinking.signature, thinking.redacted) = (None, None);
            }
            let is_wanted = match target.thoughts {
                Thoughts::Own => is_own || !is_chat,
                Thoughts::All => true,
                Thoughts::None => !is_chat,
            };
            if !is_wanted && !thinking.text.is_empty() {
                dropped.note("reasoning_content");
            }
            thinking.is_proven() || is_wanted && !thinking.text.is_empty()
        });
        if is_chat && target.thoughts == Thoughts::All {
            fill(message);
        }
    }
}

/// Gives Gemini's proofs back to the calls that they are of: clients whose dialect has no place for them there keep them as
/// those of the thought before.
fn sign_calls(message: &mut Message<'_>) {
    let mut proof: Option<String> = None;
    for part in &mut message.parts {
        match part {
            Part::Thinking(thinking) if thinking.maker == Some(Maker::Gemini) => proof = thinking.signature.take().or(proof),
            Part::Call(call) if call.signature.is_none() => call.signature = proof.take(),
            _ => {}
        }
    }
}

/// Gives a turn of the model thoughts where it has none.
fn fill(message: &mut Message<'_>) {
    let has_thought = message.parts.iter().any(|part| matches!(part, Part::Thinking(_)));
    if message.role == Role::Assistant && !has_thought {
        message.parts.insert(0, Part::Thinking(Thinking { text: NO_THOUGHT.to_owned(), ..Thinking::default() }));
    }
}

/// Takes `strict` off schemas that OpenAI would refuse with it.
fn loosen(conversation: &mut Conversation<'_>) {
    for tool in &mut conversation.tools {
        if tool.strict == Some(true) && !tool.schema.as_deref().is_some_and(is_strict) {
            tool.strict = None;
        }
    }
    if let OutputFormat::Schema { schema, strict, .. } = &mut conversation.output
        && *strict == Some(true)
        && !is_strict(schema)
    {
        *strict = None;
    }
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
