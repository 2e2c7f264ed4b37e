//! Reads a request of this dialect for a channel of another.
//!
//! What becomes of each member is in `table.rs`, of tools in `read_tools.rs`. What is in them:
//!
//! Carried over: instructions between the turns, which move to `system`; text, images, PDFs and documents of text, thoughts with
//! their signatures, calls and results with their errors; `disable_parallel_tool_use`; `cache_control`, on blocks and on the whole
//! request, where it goes to the last block; JSON Schemas of `output_config.format`; `thinking`, its budget and `display`;
//! `output_config.effort`; `metadata.user_id`; what a search found, and names of tools that one found (`tool_reference`), as
//! text.
//!
//! Dropped and named: what tools of a provider were asked before (`server_tool_use`), `citations` of former answers, and an effort
//! beside thoughts that are switched off.
//!
//! Refused with the path: blocks of any other type, documents that are to be cited, roles but `user`, `assistant` and `system`,
//! other output formats, and `max_tokens` of 0, which only fills Anthropic's own cache.

use super::answer::read_thinking;
use super::billing::leave_out;
use super::members::{cache, user_id};
use super::read_tools;
use super::table::TABLE;
use crate::dialect::conversation::{
    Cache, CallResult, Conversation, Effort, Media, MediaKind, Message, OutputFormat, Part, Reasoning, Role, Source, ToolCall,
    ToolChoice,
};
use crate::dialect::format::{Dropped, Read, UNKNOWN};
use crate::dialect::json::Object;
use crate::dialect::node::Node;
use crate::refusal::Refusal;

/// Reads a request.
pub fn read<'a>(request: &Object<'a>) -> Result<Read<'a>, Refusal> {
    let root = Node::root(request);
    let mut dropped = Dropped::default();
    TABLE.sift(&root, &mut dropped)?;
    if root.given("max_tokens") == Some("0") {
        return Err(root.wrong("max_tokens", "asks for no answer, which only Anthropic's own models can give"));
    }
    let mut conversation = Conversation { choices: 1, ..Conversation::default() };
    if root.given("system").is_some() {
        conversation.system = instructions(&root, "system", &mut dropped)?;
        leave_out(&mut conversation.system, &mut dropped);
    }
    for message in root.nodes("messages")? {
        read_message(&message, &mut conversation, &mut dropped)?;
    }
    if let Some(cache) = cache(&root) {
        cache_the_last(&mut conversation, cache);
    }
    read_tools::read(&root, &mut conversation, &mut dropped)?;
    tool_choice(&root, &mut conversation)?;
    output(&root, &mut conversation, &mut dropped)?;
    conversation.sampling.temperature = root.given("temperature");
    conversation.sampling.top_p = root.given("top_p");
    conversation.sampling.top_k = root.given("top_k");
    conversation.stop = root.texts("stop_sequences")?;
    conversation.user = user_id(request)?;
    Ok(Read { conversation, dropped })
}

fn cache_the_last(conversation: &mut Conversation<'_>, wanted: Cache) {
    let parts = conversation.messages.iter_mut().rev().flat_map(|message| message.parts.iter_mut().rev());
    for part in parts.chain(conversation.system.iter_mut().rev()) {
        match part {
            Part::Text { cache, .. } | Part::Media { cache, .. } | Part::Result(CallResult { cache, .. }) => {
                return *cache = cache.or(Some(wanted));
            }
            _ => {}
        }
    }
}

/// What a member says: a string, which is short for one block of text, or a list of blocks.
enum AnswerFacts<'a> {
    Text(Part<'a>),
    Blocks(Vec<Node<'a>>),
}

fn said<'a>(node: &Node<'a>, name: &str) -> Result<AnswerFacts<'a>, Refusal> {
    match node.given(name) {
        Some(json) if json.starts_with('"') => Ok(AnswerFacts::Text(Part::Text { text: node.required(name)?, cache: None })),
        Some(json) if json.starts_with('[') => node.nodes(name).map(AnswerFacts::Blocks),
        _ => Err(node.wrong(name, "must be a string or a list of blocks")),
    }
}

/// Instructions, which are text alone.
fn instructions<'a>(node: &Node<'a>, name: &str, dropped: &mut Dropped) -> Result<Vec<Part<'a>>, Refusal> {
    let blocks = match said(node, name)? {
        AnswerFacts::Text(part) => return Ok(vec![part]),
        AnswerFacts::Blocks(blocks) => blocks,
    };
    let read = |block: &Node<'a>| match block.maybe_text("type").as_deref() {
        Some("text") => text_part(block, dropped),
        _ => Err(block.wrong("type", "must be `text`")),
    };
    blocks.iter().map(read).collect()
}

fn text_part<'a>(block: &Node<'a>, dropped: &mut Dropped) -> Result<Part<'a>, Refusal> {
    if block.given("citations").is_some_and(|json| json != "[]") {
        dropped.note("citations");
    }
    let text = block.maybe_text("text").ok_or_else(|| block.wrong("text", "must be a string"))?;
    Ok(Part::Text { text, cache: cache(block) })
}

fn read_message<'a>(message: &Node<'a>, conversation: &mut Conversation<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let role = match message.maybe_text("role").as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => {
            conversation.system.append(&mut instructions(message, "content", dropped)?);
            return Ok(());
        }
        _ => return Err(message.wrong("role", "must be `user` or `assistant`")),
    };
    let mut parts = Vec::new();
    match said(message, "content")? {
        AnswerFacts::Text(part) => parts.push(part),
        AnswerFacts::Blocks(blocks) => {
            for block in blocks {
                match block.words("type").as_str() {
                    // Whatever stands between the turns is instructed before them.
                    "mid_conv_system" => conversation.system.append(&mut instructions(&block, "content", dropped)?),
                    kind => read_block(kind, &block, &mut parts, dropped)?,
                }
            }
        }
    }
    conversation.messages.push(Message { role, parts });
    Ok(())
}

fn read_block<'a>(kind: &str, block: &Node<'a>, parts: &mut Vec<Part<'a>>, dropped: &mut Dropped) -> Result<(), Refusal> {
    parts.push(match kind {
        "text" => text_part(block, dropped)?,
        "image" => Part::Media { media: media(block, MediaKind::Image)?, cache: cache(block) },
        "document" => return document(block, parts),
        "tool_use" => Part::Call(ToolCall {
            id: block.words("id"),
            name: block.words("name"),
            arguments: block.given("input").unwrap_or("{}").to_owned(),
            ..ToolCall::default()
        }),
        "tool_result" => Part::Result(result(block, dropped)?),
        // What the provider's own tools did before is told by the words that follow.
        "server_tool_use" | "tool_search_tool_result" | "mcp_tool_use" => {
            dropped.note(&format!("messages[].{kind}"));
            return Ok(());
        }
        "tool_reference" => text(format!("The tool `{}` can be called now.", block.words("tool_name"))),
        "search_result" => return search_result(block, parts, dropped),
        kind if kind.ends_with("_tool_result") => text(found_by_provider(block)),
        kind => match read_thinking(kind, |name| block.words(name)) {
            Some(thinking) => Part::Thinking(thinking),
            None => return Err(block.wrong("type", UNKNOWN)),
        },
    });
    Ok(())
}

fn text<'a>(text: String) -> Part<'a> {
    Part::Text { text: text.into(), cache: None }
}

/// What a tool of the provider found, in the words that are readable: titles and addresses of a search, texts of the rest.
fn found_by_provider(block: &Node<'_>) -> String {
    const MOST: usize = 50;
    let mut found = vec!["A tool of the provider answered:".to_owned()];
    for (json, path) in block.list("content").unwrap_or_default().into_iter().take(MOST) {
        let Ok(entry) = Node::parse(json, path) else { continue };
        let said = ["title", "url", "text"].into_iter().map(|name| entry.words(name));
        found.push(said.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" "));
    }
    found.join("\n")
}

/// A found text with its source: its title, where it is from, and what it says.
fn search_result<'a>(block: &Node<'a>, parts: &mut Vec<Part<'a>>, dropped: &mut Dropped) -> Result<(), Refusal> {
    parts.push(text(format!("{} ({})", block.words("title"), block.words("source"))));
    let content = block.given("content").filter(|json| json.starts_with('['));
    for inner in content.map(|_| block.nodes("content")).transpose()?.unwrap_or_default() {
        parts.push(text_part(&inner, dropped)?);
    }
    Ok(())
}

fn media<'a>(block: &Node<'a>, kind: MediaKind) -> Result<Media<'a>, Refusal> {
    let source = block.object("source")?.ok_or_else(|| block.wrong("source", "must be an object"))?;
    let wrong = || block.wrong("source", "must say where it is");
    let source = match source.maybe_text("type").as_deref() {
        Some("base64") => {
            let data = source.maybe_text("data").ok_or_else(wrong)?;
            Source::Base64 { media_type: source.words("media_type"), data }
        }
        Some("url") => Source::Url(source.maybe_text("url").ok_or_else(wrong)?),
        Some("file") => Source::Id(source.words("file_id")),
        _ => return Err(source.wrong("type", UNKNOWN)),
    };
    let name = Some(block.words("title")).filter(|title| !title.is_empty());
    Ok(Media { kind, source, name, detail: None })
}

/// A document: a file, or text with what is said about it.
fn document<'a>(block: &Node<'a>, parts: &mut Vec<Part<'a>>) -> Result<(), Refusal> {
    let citations = block.object("citations").ok().flatten();
    if citations.is_some_and(|citations| citations.given("enabled") == Some("true")) {
        return Err(block.wrong("citations", UNKNOWN));
    }
    let about = |name: &str| block.maybe_text(name).filter(|text| !text.is_empty()).map(|text| Part::Text { text, cache: None });
    let source = block.object("source").ok().flatten();
    let inner = source.as_ref().and_then(|source| {
        let name = match source.maybe_text("type").as_deref() {
            Some("text") => "data",
            Some("content") => "content",
            _ => return None,
        };
        source.given(name).map(|_| (source, name))
    });
    let Some((source, name)) = inner else {
        parts.extend(about("context"));
        parts.push(Part::Media { media: media(block, MediaKind::File)?, cache: cache(block) });
        return Ok(());
    };
    parts.extend(about("title"));
    parts.extend(about("context"));
    match said(source, name)? {
        AnswerFacts::Text(part) => parts.push(part),
        AnswerFacts::Blocks(blocks) => {
            for inner in blocks {
                parts.push(match inner.maybe_text("type").as_deref() {
                    Some("text") => text_part(&inner, &mut Dropped::default())?,
                    Some("image") => Part::Media { media: media(&inner, MediaKind::Image)?, cache: None },
                    _ => return Err(inner.wrong("type", UNKNOWN)),
                });
            }
        }
    }
    if let Some(Part::Text { cache: kept, .. } | Part::Media { cache: kept, .. }) = parts.last_mut() {
        *kept = cache(block).or(*kept);
    }
    Ok(())
}

fn result<'a>(block: &Node<'a>, dropped: &mut Dropped) -> Result<CallResult<'a>, Refusal> {
    let mut parts = Vec::new();
    if block.given("content").is_some() {
        match said(block, "content")? {
            AnswerFacts::Text(part) => parts.push(part),
            AnswerFacts::Blocks(blocks) => {
                for inner in blocks {
                    match inner.maybe_text("type").as_deref() {
                        Some(kind @ ("text" | "image" | "document" | "tool_reference" | "search_result")) => {
                            read_block(kind, &inner, &mut parts, dropped)?;
                        }
                        _ => return Err(inner.wrong("type", UNKNOWN)),
                    }
                }
            }
        }
    }
    let is_error = block.given("is_error") == Some("true");
    Ok(CallResult { id: block.words("tool_use_id"), parts, is_error, cache: cache(block) })
}

fn tool_choice(root: &Node<'_>, conversation: &mut Conversation<'_>) -> Result<(), Refusal> {
    let Some(choice) = root.object("tool_choice")? else { return Ok(()) };
    conversation.tool_choice = Some(match choice.maybe_text("type").as_deref() {
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => ToolChoice::Named(choice.words("name")),
        _ => return Err(choice.wrong("type", "must be `auto`, `any`, `tool` or `none`")),
    });
    conversation.parallel_calls = choice.given("disable_parallel_tool_use").map(|json| json != "true");
    Ok(())
}

/// What the answer must look like, and how much is thought before it.
fn output<'a>(root: &Node<'a>, conversation: &mut Conversation<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let config = root.within("output_config")?;
    let (of, name) = if config.given("format").is_some() { (&config, "format") } else { (root, "output_format") };
    if let Some(format) = of.object(name)? {
        let schema = format.given("schema").filter(|_| format.words("type") == "json_schema");
        let schema = schema.ok_or_else(|| config.wrong("format", UNKNOWN))?.into();
        conversation.output = OutputFormat::Schema { name: None, description: None, schema, strict: Some(true) };
    }
    let mut reasoning = Reasoning::default();
    if config.given("effort").is_some() {
        let effort = config.maybe_text("effort").and_then(|effort| Effort::parse(&effort));
        reasoning.effort = Some(effort.ok_or_else(|| config.wrong("effort", "is not an effort"))?);
    }
    config.drop_others(&["format", "effort"], dropped);
    let thinking = root.object("thinking")?;
    if let Some(thinking) = &thinking {
        match thinking.maybe_text("type").as_deref() {
            Some("enabled") => {
                let budget = thinking.given("budget_tokens").and_then(|json| json.parse().ok());
                reasoning.budget = Some(budget.ok_or_else(|| thinking.wrong("budget_tokens", "must be a whole number"))?);
            }
            Some("adaptive") => {}
            Some("disabled") => {
                if reasoning.effort.is_some() {
                    dropped.note("output_config.effort");
                }
                reasoning.effort = Some(Effort::None);
            }
            _ => return Err(thinking.wrong("type", "must be `enabled`, `adaptive` or `disabled`")),
        }
        // Who asks for thoughts sees them, unless it says otherwise.
        let is_wanted = reasoning.effort != Some(Effort::None);
        reasoning.is_shown = is_wanted.then(|| thinking.maybe_text("display").is_none_or(|display| display != "omitted"));
    }
    conversation.reasoning = (config.given("effort").is_some() || thinking.is_some()).then_some(reasoning);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::REQUEST;
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Read<'_>, Refusal> {
        read(&Object::parse(text).unwrap())
    }

    fn with(members: &str) -> String {
        format!("{{\"max_tokens\":9,\"messages\":[],{members}}}")
    }

    #[test]
    fn a_request_is_read_as_a_conversation() {
        let Read { conversation, dropped } = parsed(REQUEST).unwrap();
        assert!(dropped.is_empty(), "{dropped:?}");
        let text = |text: &'static str, cache| Part::Text { text: text.into(), cache };
        let minutes = Some(Cache::FiveMinutes);
        assert_eq!(conversation.system, [text("You are a guide.", Some(Cache::Hour)), text("Be brief.", None)]);
        let base64 = |kind, media_type: &str, data: &'static str, name: Option<&str>| {
            let source = Source::Base64 { media_type: media_type.to_owned(), data: data.into() };
            Part::Media { media: Media { kind, source, name: name.map(Into::into), detail: None }, cache: None }
        };
        let url = Source::Url("https://example.com/castle.jpg".into());
        let [_, media, said, results] = conversation.messages.as_slice() else { panic!() };
        assert_eq!(
            media.parts,
            [
                base64(MediaKind::Image, "image/png", "iVBORw0KGgo=", None),
                Part::Media { media: Media { kind: MediaKind::Image, source: url, name: None, detail: None }, cache: None },
                base64(MediaKind::File, "application/pdf", "JVBERi0xLjc=", Some("guide.pdf")),
                text("Notes", None),
                text("Written in May.", None),
                text("It rains.", minutes),
            ]
        );
        assert_eq!(said.role, Role::Assistant);
        let Part::Call(call) = &said.parts[3] else { panic!() };
        assert_eq!((call.id.as_str(), call.arguments.as_str()), ("toolu_01Porto", "{\"town\": \"Bragança\", \"days\": 1.0}"));
        let Part::Thinking(thinking) = &said.parts[0] else { panic!() };
        assert_eq!(thinking.signature.as_deref(), Some("EqQBCkYIARgCKkDq7f/3c="));
        let [Part::Result(first), Part::Result(second), last] = results.parts.as_slice() else { panic!() };
        assert_eq!((first.parts.len(), first.is_error, second.is_error), (2, false, true));
        assert_eq!(*last, text("Thanks. And tomorrow?", minutes));
        assert_eq!((conversation.tools[0].strict, conversation.tools[1].cache), (Some(true), minutes));
        assert_eq!((conversation.tool_choice, conversation.parallel_calls), (Some(ToolChoice::Auto), Some(false)));
        let reasoning = Reasoning { budget: Some(2_048), effort: None, is_shown: Some(true) };
        assert_eq!((conversation.reasoning, conversation.user.as_deref()), (Some(reasoning), Some("user-7")));
        assert_eq!(conversation.stop, ["END"]);
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_its_path() {
        for (members, param) in [
            (r#""max_tokens":0"#, "max_tokens"),
            (r#""tools":[{"type":"web_search_20250305","name":"b"}]"#, "tools[0].type"),
            (r#""tools":[{"name":"a"},{"type":"code_execution_20250825","name":"b"}]"#, "tools[1].type"),
            (r#""tools":[{}]"#, "tools[0].name"),
            (r#""tool_choice":{"type":"odd"}"#, "tool_choice.type"),
            (r#""messages":[{"role":"tool","content":"x"}]"#, "messages[0].role"),
            (r#""messages":[{"role":"user"}]"#, "messages[0].content"),
            (
                r#""messages":[{"role":"user","content":"x"},{"role":"user","content":[{"type":"odd"}]}]"#,
                "messages[1].content[0].type",
            ),
            (r#""messages":[{"role":"user","content":[{"type":"container_upload"}]}]"#, "messages[0].content[0].type"),
            (r#""messages":[{"role":"user","content":[{"type":"text"}]}]"#, "messages[0].content[0].text"),
            (r#""messages":[{"role":"user","content":[{"type":"image"}]}]"#, "messages[0].content[0].source"),
            (
                r#""messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"odd"}]}]}]"#,
                "messages[0].content[0].content[0].type",
            ),
            (
                r#""messages":[{"role":"user","content":[{"type":"document","citations":{"enabled":true},"source":{"type":"text","data":"x"}}]}]"#,
                "messages[0].content[0].citations",
            ),
            (r#""system":[{"type":"image"}]"#, "system[0].type"),
            (r#""output_config":{"format":{"type":"grammar"}}"#, "output_config.format"),
            (r#""output_config":{"effort":"odd"}"#, "output_config.effort"),
            (r#""thinking":{"type":"enabled"}"#, "thinking.budget_tokens"),
            (r#""thinking":{"type":"odd"}"#, "thinking.type"),
        ] {
            let text = format!("{{{members}}}");
            assert_eq!(parsed(&text).unwrap_err().param.as_deref(), Some(param), "{members}");
        }
    }

    #[test]
    fn what_a_tool_of_the_provider_found_stays_in_the_conversation() {
        let text = with(
            r#""messages":[{"role":"assistant","content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{}},{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","title":"Oslo","url":"https://x","encrypted_content":"E"}]},{"type":"text","text":"It rains."}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"tool_reference","tool_name":"WebFetch"}]},{"type":"search_result","source":"a.md","title":"A","content":[{"type":"text","text":"one"}]}]}]"#,
        );
        let text = text.replace("\"messages\":[],", "");
        let Read { conversation, dropped } = parsed(&text).unwrap();
        let said: Vec<String> = conversation.messages.iter().map(|message| format!("{:?}", message.parts)).collect();
        assert!(said[0].contains("Oslo https://x") && said[0].contains("It rains.") && !said[0].contains("\"E\""), "{said:?}");
        assert!(said[1].contains("The tool `WebFetch` can be called now.") && said[1].contains("A (a.md)"), "{said:?}");
        assert_eq!(dropped, ["messages[].server_tool_use"]);
    }

    #[test]
    fn what_is_left_out_is_named() {
        let text = with(
            r#""service_tier":"auto","context_management":{"edits":[]},"brand_new":1,"speed":null,"tools":[{"name":"a","input_examples":[],"defer_loading":false}],"output_config":{"effort":"high","task_budget":{}},"thinking":{"type":"disabled"}"#,
        );
        let Read { conversation, dropped } = parsed(&text).unwrap();
        let expected = [
            "service_tier",
            "context_management",
            "brand_new",
            "tools[].input_examples",
            "tools[].defer_loading",
            "output_config.task_budget",
            "output_config.effort",
        ];
        assert_eq!(dropped, expected);
        assert_eq!(conversation.reasoning.unwrap().effort, Some(Effort::None));
    }

    #[test]
    fn schemas_efforts_and_numbers_are_carried_as_written() {
        let text = with(
            r#""temperature":0.30000000000000004,"top_k":5,"thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"max","format":{"type":"json_schema","schema":{"x": 1.0}}}"#,
        );
        let conversation = parsed(&text).unwrap().conversation;
        assert_eq!(conversation.sampling.temperature, Some("0.30000000000000004"));
        assert!(matches!(&conversation.output, OutputFormat::Schema { schema, .. } if schema == "{\"x\": 1.0}"));
        let reasoning = Reasoning { effort: Some(Effort::Most), budget: None, is_shown: Some(false) };
        assert_eq!(conversation.reasoning, Some(reasoning));
    }

    #[test]
    fn instructions_between_the_turns_move_up_in_their_order() {
        let text = r#"{"system":"a","messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"mid_conv_system","content":[{"type":"text","text":"b"}]}]},{"role":"system","content":"c"}],"cache_control":{"type":"ephemeral","ttl":"1h"}}"#;
        let conversation = parsed(text).unwrap().conversation;
        let said: Vec<&str> = conversation
            .system
            .iter()
            .filter_map(|part| match part {
                Part::Text { text, .. } => Some(text.as_ref()),
                _ => None,
            })
            .collect();
        assert_eq!(said, ["a", "b", "c"]);
        // The cache of the whole is kept up to its last block.
        assert_eq!(conversation.messages[0].parts, [Part::Text { text: "x".into(), cache: Some(Cache::Hour) }]);
    }

    #[test]
    fn what_is_embedded_is_borrowed() {
        let Read { conversation, .. } = parsed(REQUEST).unwrap();
        let Part::Media { media: Media { source: Source::Base64 { data, .. }, .. }, .. } = &conversation.messages[1].parts[0]
        else {
            panic!()
        };
        assert!(matches!(data, std::borrow::Cow::Borrowed(_)));
    }

    /// The places of everything in a document.
    fn places(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            serde_json::Value::Object(members) => {
                members.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found));
            }
            serde_json::Value::Array(list) => {
                list.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn any_object_is_read_or_refused_by_name(
            changes in proptest::collection::vec(
                (any::<proptest::sample::Index>(), prop_oneof![
                    Just("null"), Just("[]"), Just("[7]"), Just("{}"), Just("-1.5"), Just("true"), Just("\"x\""), Just("\"text\""),
                    Just("{\"type\":\"text\",\"text\":\"\\u0000\"}"),
                ]),
                1..4,
            ),
        ) {
            let mut value: serde_json::Value = serde_json::from_str(REQUEST).unwrap();
            for (index, with) in changes {
                let mut found = Vec::new();
                places(&value, "", &mut found);
                // Not the whole itself.
                let place = index.get(&found);
                if let Some(place) = value.pointer_mut(place).filter(|_| !place.is_empty()) {
                    *place = serde_json::from_str(with).unwrap();
                }
            }
            let text = value.to_string();
            match read(&Object::parse(&text).unwrap()) {
                Ok(read) => {
                    let up = super::super::tests::up("claude-sonnet-4-5", 4_096);
                    match super::super::write_request::write(&read.conversation, &up) {
                        Ok(written) => prop_assert!(Object::parse(&written.body).is_some(), "{}", written.body),
                        Err(refusal) => prop_assert!(refusal.param.is_some()),
                    }
                }
                Err(refusal) => prop_assert!(refusal.param.is_some()),
            }
        }
    }
}
