//! Requests of Gemini's clients, read for providers of other dialects.
//!
//! What becomes of each member is in `table.rs`. What is in them:
//!
//! - Mapped: `contents` of `user`, `model` and `function`; texts, thoughts with their `thoughtSignature`, `inlineData` and https
//!   `fileData` (images, sounds, documents), calls and their results; function declarations with `parametersJsonSchema` or Google's
//!   own `parameters`; `functionCallingConfig`, where several allowed names leave out the other functions.
//! - A call without an id gets one of its place in the conversation, and a result without one belongs to the first open call of
//!   its name. Thoughts that came in pieces are joined until their signature. A result of `{"result": text}`,
//!   `{"output": text}` or `{"error": text}` is that text; any other object is its JSON.
//! - Dropped and named: `videoMetadata`, `partMetadata`, `retrievalConfig`, `behavior`, `response` and `responseJsonSchema` of
//!   functions, the mode `VALIDATED`, and the signature of a text that is no thought.
//! - Refused: tools that are no functions, output that is no text, videos, files that Google keeps, code that was run, and results
//!   of unknown calls.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::read_parts::{read_contents, read_system};
use super::schema::json_schema;
use super::sift::sift;
use super::table::{GENERATION_CONFIG, TABLE};
use crate::dialect::conversation::{Conversation, Effort, OutputFormat, Reasoning, Sampling, Text, Tool, ToolChoice};
use crate::dialect::envelope::{MOST_CHOICES, MOST_TOKENS};
use crate::dialect::format::{Dropped, Read, UNKNOWN};
use crate::dialect::json::Object;
use crate::dialect::node::Node;
use crate::refusal::Refusal;

/// Reads a request.
pub fn read_request<'a>(request: &Object<'a>) -> Result<Read<'a>, Refusal> {
    let request = Node::camel_root(request)?;
    let mut dropped = Dropped::default();
    TABLE.sift(&request, &mut dropped)?;
    let mut conversation = Conversation { choices: 1, ..Conversation::default() };
    conversation.system = read_system(&request, &mut dropped)?;
    conversation.messages = read_contents(&request, &mut dropped)?;
    read_tools(&request, &mut conversation, &mut dropped)?;
    read_tool_config(&request, &mut conversation, &mut dropped)?;
    read_generation(&request, &mut conversation, &mut dropped)?;
    Ok(Read { conversation, dropped })
}

fn read_tools<'a>(request: &Node<'a>, conversation: &mut Conversation<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
    for tool in request.nodes("tools")? {
        sift(&tool, &["functionDeclarations"], &[], dropped)?;
        for function in tool.nodes("functionDeclarations")? {
            conversation.tools.push(read_function(&function, dropped)?);
        }
    }
    Ok(())
}

fn read_function<'a>(function: &Node<'a>, dropped: &mut Dropped) -> Result<Tool<'a>, Refusal> {
    let taken = ["name", "description", "parameters", "parametersJsonSchema"];
    sift(function, &taken, &["behavior", "response", "responseJsonSchema"], dropped)?;
    let Some(name) = function.text("name")? else { return Err(function.wrong("name", "must be a string")) };
    let schema = schema(function, "parametersJsonSchema", "parameters")?;
    Ok(Tool { name: name.into_owned(), description: function.text("description")?, schema, ..Tool::default() })
}

fn read_tool_config(request: &Node<'_>, conversation: &mut Conversation<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let config = request.within("toolConfig")?;
    sift(&config, &["functionCallingConfig"], &["retrievalConfig"], dropped)?;
    let calling = config.within("functionCallingConfig")?;
    sift(&calling, &["mode", "allowedFunctionNames"], &[], dropped)?;
    let names: Vec<String> = calling.read("allowedFunctionNames", "a list of strings")?.unwrap_or_default();
    let mode = calling.text("mode")?.unwrap_or_default().to_ascii_uppercase();
    conversation.tool_choice = match (mode.as_str(), names.as_slice()) {
        ("" | "MODE_UNSPECIFIED", _) => None,
        ("AUTO", _) => Some(ToolChoice::Auto),
        ("VALIDATED", _) => {
            dropped.note(&calling.at("mode"));
            Some(ToolChoice::Auto)
        }
        ("NONE", _) => Some(ToolChoice::None),
        ("ANY", [name]) => Some(ToolChoice::Named(name.clone())),
        ("ANY", _) => Some(ToolChoice::Required),
        _ => return Err(calling.wrong("mode", "must be `AUTO`, `ANY`, `NONE` or `VALIDATED`")),
    };
    if names.len() > 1 || (names.len() == 1 && mode == "VALIDATED") {
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        conversation.tools.retain(|tool| names.contains(tool.name.as_str()));
    }
    Ok(())
}

fn read_generation<'a>(request: &Node<'a>, conversation: &mut Conversation<'a>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let config = request.within("generationConfig")?;
    GENERATION_CONFIG.sift(&config, dropped)?;
    config.count_to("maxOutputTokens", MOST_TOKENS)?;
    conversation.choices = config.count_to("candidateCount", MOST_CHOICES)?.unwrap_or(1);
    conversation.stop = config.read("stopSequences", "a list of strings")?.unwrap_or_default();
    conversation.sampling = Sampling {
        temperature: config.number("temperature")?,
        top_p: config.number("topP")?,
        top_k: config.number("topK")?,
        seed: config.number("seed")?,
        presence_penalty: config.number("presencePenalty")?,
        frequency_penalty: config.number("frequencyPenalty")?,
    };
    let modalities: Vec<String> = config.read("responseModalities", "a list of strings")?.unwrap_or_default();
    if modalities.iter().any(|modality| !modality.eq_ignore_ascii_case("text")) {
        return Err(config.wrong("responseModalities", UNKNOWN));
    }
    let logprobs = config.read::<u64>("logprobs", "a whole number")?;
    if config.read::<bool>("responseLogprobs", "a boolean")?.unwrap_or(false) {
        conversation.logprobs = Some(logprobs.unwrap_or(0));
    } else if logprobs.is_some() {
        let message = "`generationConfig.logprobs` is for answers with `responseLogprobs`.";
        return Err(Refusal::invalid("generationConfig.logprobs", message));
    }
    conversation.output = output(&config)?;
    conversation.reasoning = thinking(&config, dropped)?;
    Ok(())
}

fn thinking(config: &Node<'_>, dropped: &mut Dropped) -> Result<Option<Reasoning>, Refusal> {
    let thinking = config.within("thinkingConfig")?;
    sift(&thinking, &["includeThoughts", "thinkingBudget", "thinkingLevel"], &[], dropped)?;
    let is_shown = thinking.read::<bool>("includeThoughts", "a boolean")?;
    // -1 is as much as the model likes.
    let budget = thinking.read::<i64>("thinkingBudget", "a whole number")?;
    let level = thinking.text("thinkingLevel")?.map(|level| level.to_ascii_lowercase());
    let effort = match level.as_deref() {
        None | Some("thinking_level_unspecified") => None,
        Some(level) => Some(
            Effort::parse(level)
                .ok_or_else(|| thinking.wrong("thinkingLevel", "must be `MINIMAL`, `LOW`, `MEDIUM` or `HIGH`"))?,
        ),
    };
    let budget = budget.and_then(|budget| u64::try_from(budget).ok());
    let is_asked = is_shown.is_some() || budget.is_some() || effort.is_some();
    Ok(is_asked.then_some(Reasoning { effort, budget, is_shown }))
}

/// What the answer must look like.
fn output<'a>(config: &Node<'a>) -> Result<OutputFormat<'a>, Refusal> {
    let schema = schema(config, "responseJsonSchema", "responseSchema")?;
    let kind = config.text("responseMimeType")?.unwrap_or_default();
    match (kind.as_ref(), schema) {
        ("" | "application/json", Some(schema)) => {
            Ok(OutputFormat::Schema { name: None, description: None, schema, strict: None })
        }
        ("" | "text/plain", None) => Ok(OutputFormat::Text),
        ("application/json", None) => Ok(OutputFormat::JsonObject),
        _ => Err(config.wrong("responseMimeType", UNKNOWN)),
    }
}

/// A schema that is given as JSON Schema, or as Google's own.
fn schema<'a>(object: &Node<'a>, standard: &str, own: &str) -> Result<Option<Text<'a>>, Refusal> {
    if let Some(json) = object.given(standard) {
        return Ok(Some(Cow::Borrowed(json)));
    }
    let Some(json) = object.given(own) else { return Ok(None) };
    json_schema(json).map(|json| Some(Cow::Owned(json))).ok_or_else(|| object.wrong(own, "must be a schema"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::conversation::{CallResult, Media, MediaKind, Message, Part, Role, Source, Thinking, ToolCall};

    fn read(json: &str) -> Result<Read<'_>, Refusal> {
        read_request(&Object::parse(json).unwrap())
    }

    fn text(text: &str) -> Part<'_> {
        Part::Text { text: text.into(), cache: None }
    }

    fn media(kind: MediaKind, source: Source<'_>) -> Part<'_> {
        Part::Media { media: Media { kind, source, name: None, detail: None }, cache: None }
    }

    fn base64<'a>(media_type: &str, data: &'a str) -> Source<'a> {
        Source::Base64 { media_type: media_type.to_owned(), data: data.into() }
    }

    #[test]
    fn a_whole_request_is_read() {
        let read = read(include_str!("../../../tests/golden/gemini/request.json")).unwrap();
        let conversation = read.conversation;
        assert_eq!(conversation.system, [text("Be brief.")]);
        let [question, answer, results] = conversation.messages.as_slice() else { panic!() };
        assert_eq!([question.role, answer.role, results.role], [Role::User, Role::Assistant, Role::User]);
        let expected = [
            text("What is this, and how is the weather?"),
            media(MediaKind::Image, base64("image/png", "/+//")),
            media(MediaKind::File, Source::Url("https://example.com/report.pdf".into())),
        ];
        assert_eq!(question.parts, expected);
        let call = |id: &str, name: &str, arguments: &str, signature: Option<&str>| {
            Part::Call(ToolCall {
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                signature: signature.map(ToOwned::to_owned),
                ..ToolCall::default()
            })
        };
        let thought = Thinking {
            text: "Let me look.".to_owned(),
            signature: Some("c2ln".to_owned()),
            redacted: None,
            ..Thinking::default()
        };
        let expected = [
            Part::Thinking(thought),
            text("I look it up."),
            call("call_1_4", "weather", r#"{"city": "Köln", "days": 1.0}"#, Some("CpwBAb4=")),
            call("own", "news", "{}", None),
            call("call_1_6", "weather", "{}", None),
        ];
        assert_eq!(answer.parts, expected);
        let result = |id: &str, parts, is_error| Part::Result(CallResult { id: id.to_owned(), parts, is_error, cache: None });
        let image = media(MediaKind::Image, base64("image/jpeg", "QUJD"));
        let expected = [
            result("own", vec![text("no news")], true),
            result("call_1_4", vec![text("rain")], false),
            result("call_1_6", vec![text(r#"{"sun": true, "degrees": 21.0}"#), image], false),
        ];
        assert_eq!(results.parts, expected);
    }

    #[test]
    fn tools_and_numbers_are_read_as_they_were_written() {
        let read = read(include_str!("../../../tests/golden/gemini/request.json")).unwrap();
        let conversation = read.conversation;
        let tools: Vec<(&str, Option<&str>)> =
            conversation.tools.iter().map(|tool| (tool.name.as_str(), tool.schema.as_deref())).collect();
        let schemas =
            [r#"{"type":"object","properties":{"city":{"type":"string"}}}"#, r#"{"type": "object",  "properties": {}}"#];
        // What is not allowed is left out.
        assert_eq!(tools, [("weather", Some(schemas[0])), ("news", Some(schemas[1]))]);
        assert_eq!(conversation.tool_choice, Some(ToolChoice::Required));
        let expected = Sampling {
            temperature: Some("1.0"),
            top_p: Some("0.30000000000000004"),
            top_k: Some("40"),
            seed: Some("9007199254740993"),
            presence_penalty: Some("0"),
            frequency_penalty: Some("-1"),
        };
        assert_eq!(conversation.sampling, expected);
        assert_eq!((conversation.choices, conversation.logprobs, conversation.stop), (2, Some(3), vec!["END".to_owned()]));
        let OutputFormat::Schema { schema, .. } = conversation.output else { panic!() };
        assert_eq!(schema, r#"{"type":["string","null"]}"#);
        assert_eq!(conversation.reasoning, Some(Reasoning { effort: None, budget: Some(2048), is_shown: Some(true) }));
        assert_eq!(read.dropped, ["safetySettings", "labels", "mediaResolution", "thoughtSignature", "behavior"]);
    }

    #[test]
    fn thinking_is_read_in_words_and_numbers() {
        for (config, effort, budget, is_shown) in [
            (r#"{"thinkingLevel":"HIGH"}"#, Some(Effort::High), None, None),
            (r#"{"thinking_budget":0}"#, None, Some(0), None),
            (r#"{"thinkingBudget":-1,"includeThoughts":false}"#, None, None, Some(false)),
        ] {
            let json = format!(r#"{{"contents":[],"generationConfig":{{"thinkingConfig":{config}}}}}"#);
            let reasoning = read(&json).unwrap().conversation.reasoning.unwrap();
            assert_eq!((reasoning.effort, reasoning.budget, reasoning.is_shown), (effort, budget, is_shown), "{config}");
        }
        let json = r#"{"contents":[],"generationConfig":{"thinkingConfig":{"thinkingBudget":-1}}}"#;
        assert_eq!(read(json).unwrap().conversation.reasoning, None);
    }

    #[test]
    fn a_result_belongs_to_the_turn_before_it() {
        let call = r#"{"role":"model","parts":[{"functionCall":{"name":"f"}}]}"#;
        let result = r#"{"parts":[{"functionResponse":{"name":"f","response":{"output":"x"}}}]}"#;
        let json = format!(r#"{{"contents":[{call},{{"parts":[{{"text":"never mind"}}]}},{call},{result}]}}"#);
        let messages: Vec<Message<'_>> = read(&json).unwrap().conversation.messages;
        assert!(matches!(&messages[3].parts[0], Part::Result(result) if result.id == "call_2_0" && result.parts == [text("x")]));
        let json = format!(r#"{{"contents":[{call},{result},{result}]}}"#);
        assert_eq!(read(&json).unwrap_err().param.as_deref(), Some("contents[2].parts[0].functionResponse"));
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        for (members, param) in [
            (r#""cachedContent":"cachedContents/a""#, "cachedContent"),
            (r#""new_field":1"#, "newField"),
            (r#""topK":1,"top_k":2"#, "topK"),
            (r#""tools":[{"codeExecution":{}}]"#, "tools[0].codeExecution"),
            (r#""tools":[{"functionDeclarations":[{}]}]"#, "tools[0].functionDeclarations[0].name"),
            (r#""tools":[{"functionDeclarations":[{"name":"f","x":1}]}]"#, "tools[0].functionDeclarations[0].x"),
            (r#""toolConfig":{"functionCallingConfig":{"mode":"SOME"}}"#, "toolConfig.functionCallingConfig.mode"),
            (r#""generationConfig":{"responseModalities":["AUDIO"]}"#, "generationConfig.responseModalities"),
            (r#""generationConfig":{"responseMimeType":"text/x.enum","responseSchema":{}}"#, "generationConfig.responseMimeType"),
            (r#""generationConfig":{"responseSchema":5}"#, "generationConfig.responseSchema"),
            (r#""generationConfig":{"speechConfig":{}}"#, "generationConfig.speechConfig"),
            (r#""generationConfig":{"temperature":"hot"}"#, "generationConfig.temperature"),
            (r#""generationConfig":{"logprobs":2}"#, "generationConfig.logprobs"),
            (
                r#""generationConfig":{"thinkingConfig":{"thinkingLevel":"SOME"}}"#,
                "generationConfig.thinkingConfig.thinkingLevel",
            ),
            (r#""systemInstruction":{"parts":[{"inlineData":{}}]}"#, "systemInstruction.parts[0].inlineData"),
        ] {
            let json = format!(r#"{{"contents":[],{members}}}"#);
            assert_eq!(read(&json).unwrap_err().param.as_deref(), Some(param), "{members}");
        }
        for (part, name) in [
            (r#"{"executableCode":{}}"#, ".executableCode"),
            (r#"{"text":"x","functionCall":{"name":"f"}}"#, ""),
            ("{}", ""),
            (r#"{"text":5}"#, ".text"),
            (r#"{"functionCall":{}}"#, ".functionCall.name"),
            (r#"{"functionCall":{"name":"f","args":[]}}"#, ".functionCall.args"),
            (r#"{"functionResponse":{"name":"f","response":{}}}"#, ".functionResponse"),
            (r#"{"inlineData":{"mimeType":"video/mp4","data":"QUJD"}}"#, ".inlineData.mimeType"),
            (r#"{"inlineData":{"mimeType":"image/png"}}"#, ".inlineData"),
            (r#"{"fileData":{"fileUri":"https://youtu.be/a.png"}}"#, ".fileData.fileUri"),
            (r#"{"fileData":{"fileUri":"gs://b/a.png"}}"#, ".fileData.fileUri"),
            (r#"{"fileData":{"fileUri":"https://a.b/c"}}"#, ".fileData.mimeType"),
        ] {
            let json = format!(r#"{{"contents":[{{"parts":[{part}]}}]}}"#);
            assert_eq!(read(&json).unwrap_err().param, Some(format!("contents[0].parts[0]{name}")), "{part}");
        }
        let refusal = read(r#"{"contents":[{"role":"system","parts":[]}]}"#).unwrap_err();
        assert_eq!(refusal.param.as_deref(), Some("contents[0].role"));
    }

    #[test]
    fn what_is_embedded_is_borrowed() {
        let json = format!(
            r#"{{"contents":[{{"parts":[{{"inlineData":{{"mimeType":"image/png","data":"{}"}}}}]}}]}}"#,
            "QUJD".repeat(99)
        );
        let read = read(&json).unwrap();
        let Part::Media { media, .. } = &read.conversation.messages[0].parts[0] else { panic!() };
        assert!(matches!(&media.source, Source::Base64 { data: Cow::Borrowed(_), .. }));
    }
}
