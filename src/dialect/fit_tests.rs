use super::*;
use crate::dialect::format::Dropped;
use proptest::prelude::*;

const CHAT: Rules = Rules {
    longest_name: 64,
    more_letters: "",
    begins_with_letter: false,
    longest_id: 40,
    plain_ids: false,
    checks_strict: true,
};
const ANTHROPIC: Rules = Rules { longest_name: 128, plain_ids: true, longest_id: 64, checks_strict: false, ..CHAT };
const GEMINI: Rules = Rules { more_letters: ".:", begins_with_letter: true, longest_id: 128, checks_strict: false, ..CHAT };

fn tool(name: &str, kind: ToolKind, namespace: Option<&str>) -> Tool<'static> {
    let form = Form { kind, namespace: namespace.map(ToOwned::to_owned) };
    Tool { name: name.to_owned(), form, ..Tool::default() }
}

fn call(id: &str, name: &str, arguments: &str) -> Part<'static> {
    Part::Call(ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned(), ..ToolCall::default() })
}

fn result(id: &str) -> Part<'static> {
    Part::Result(CallResult { id: id.to_owned(), parts: Vec::new(), is_error: false, cache: None })
}

fn turn(role: Role, parts: Vec<Part<'static>>) -> Message<'static> {
    Message { role, parts }
}

fn fitted(
    mut conversation: Conversation<'static>,
    rules: Rules,
    maker: Maker,
    thoughts: Thoughts,
) -> (Conversation<'static>, ToolNames, Vec<String>) {
    let mut dropped = Dropped::default();
    let names = fit(&mut conversation, &Target { rules, maker, thoughts }, &mut dropped);
    (conversation, names, dropped.to_vec())
}

fn plain(conversation: Conversation<'static>, rules: Rules) -> (Conversation<'static>, ToolNames) {
    let (conversation, names, _) = fitted(conversation, rules, Maker::Anthropic, Thoughts::Own);
    (conversation, names)
}

fn ids(conversation: &Conversation<'_>) -> Vec<(char, String)> {
    let parts = conversation.messages.iter().flat_map(|message| &message.parts);
    parts
        .filter_map(|part| match part {
            Part::Call(call) => Some(('c', call.id.clone())),
            Part::Result(result) => Some(('r', result.id.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_name_is_fitted_and_comes_back() {
    let long = "mcp__plugin_jenkins-mcp-plugin_jenkins__jenkins_get_build_console_x";
    for (name, rules, is_same) in [
        ("get_weather", CHAT, true),
        (long, CHAT, false),
        (long, ANTHROPIC, true),
        ("a.b", CHAT, false),
        ("a.b", GEMINI, true),
        ("1st", GEMINI, false),
        ("wetter_für_köln", ANTHROPIC, false),
    ] {
        let tools = vec![tool(name, ToolKind::Function, None)];
        let choice = Some(ToolChoice::Named(name.to_owned()));
        let messages = vec![turn(Role::Assistant, vec![call("c", name, "{}")])];
        let asked = Conversation { tools, tool_choice: choice, messages, ..Conversation::default() };
        let (conversation, names) = plain(asked.clone(), rules);
        let wire = conversation.tools[0].name.clone();
        assert!(wire.len() <= rules.longest_name && (wire == name) == is_same, "{wire}");
        assert_eq!(names.client(&wire).map_or(wire.as_str(), |(name, _)| name), name);
        assert_eq!(conversation.tool_choice, Some(ToolChoice::Named(wire.clone())));
        assert!(matches!(&conversation.messages[0].parts[0], Part::Call(call) if call.name == wire));
        assert_eq!(plain(asked, rules).0, conversation, "the same every time");
    }
}

#[test]
fn tools_of_a_group_are_told_apart() {
    let tools = vec![
        tool("spawn", ToolKind::Function, Some("agents")),
        tool("spawn", ToolKind::Function, None),
        tool("agents__spawn", ToolKind::Function, None),
        tool("spawn", ToolKind::Function, Some("others")),
        tool("spawn", ToolKind::Function, None),
    ];
    let (conversation, names) = plain(Conversation { tools, ..Conversation::default() }, CHAT);
    let wires: Vec<&str> = conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
    let mut unique = wires.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!((wires.len(), unique.len()), (4, 4), "{wires:?}");
    let (name, form) = names.client(wires[0]).unwrap();
    assert_eq!((name.as_str(), form.namespace.as_deref()), ("spawn", Some("agents")));
    assert!(names.client("spawn").is_none() && names.client("agents__spawn").is_none());
}

#[test]
fn free_text_is_a_function_of_one_text_and_back() {
    let mut patch = tool("apply_patch", ToolKind::Custom, None);
    patch.grammar = Some("{\"syntax\":\"lark\"}".into());
    let said = ToolCall {
        id: "c".to_owned(),
        name: "apply_patch".to_owned(),
        arguments: "*** \"a\"\n".to_owned(),
        ..ToolCall::default()
    };
    let said = ToolCall { form: patch.form.clone(), ..said };
    let messages = vec![turn(Role::Assistant, vec![Part::Call(said)])];
    let (conversation, names) = plain(Conversation { tools: vec![patch], messages, ..Conversation::default() }, CHAT);
    let schema: Value = serde_json::from_str(conversation.tools[0].schema.as_deref().unwrap()).unwrap();
    assert_eq!(schema["required"], json!(["input"]));
    assert!(schema["properties"]["input"]["description"].as_str().unwrap().contains("lark"));
    let Part::Call(call) = &conversation.messages[0].parts[0] else { panic!() };
    assert_eq!(free_text(&call.arguments), "*** \"a\"\n");
    assert_eq!(names.client("apply_patch").unwrap().1.kind, ToolKind::Custom);
    for (arguments, text) in
        [("\"x\"", "x"), ("{\"input\":\"\"}", ""), ("{\"patch\":1}", "{\"patch\":1}"), ("*** Begin", "*** Begin"), ("", "")]
    {
        assert_eq!(free_text(arguments), text);
    }
}

#[test]
fn no_id_repeats_and_each_result_keeps_its_call() {
    let messages = vec![
        turn(Role::Assistant, vec![call("call_0", "f", "{}"), call("call_0", "g", "{}")]),
        turn(Role::User, vec![result("call_0"), result("call_0")]),
        turn(Role::Assistant, vec![call("call_0", "f", "{}"), call("functions.get_weather:0", "f", "{}"), call("", "f", "{}")]),
        turn(Role::User, vec![result("functions.get_weather:0"), result("call_0"), result("call_0"), result("")]),
    ];
    let (conversation, _) = plain(Conversation { messages, ..Conversation::default() }, ANTHROPIC);
    let ids = ids(&conversation);
    let calls: Vec<&String> = ids.iter().filter(|(kind, _)| *kind == 'c').map(|(_, id)| id).collect();
    let results: Vec<&String> = ids.iter().filter(|(kind, _)| *kind == 'r').map(|(_, id)| id).collect();
    assert_eq!(calls.iter().collect::<BTreeSet<_>>().len(), 5, "{calls:?}");
    assert!(calls.iter().all(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') && id.len() <= 64));
    assert_eq!(results, [calls[0], calls[1], calls[3], calls[2], calls[2], calls[4]]);
    assert_eq!(calls[0], "call_0", "what fits is not changed");
}

#[test]
fn a_proof_goes_to_its_maker_alone() {
    let deepseek = Maker::Chat("0a1b2c".to_owned());
    let thought = |maker: Option<&Maker>, signature: Option<&str>| {
        let thinking =
            Thinking { text: "hm".to_owned(), signature: signature.map(Into::into), redacted: None, maker: maker.cloned() };
        Part::Thinking(thinking)
    };
    let of = |part: Part<'static>, target: &Maker, thoughts| {
        let said = Part::Text { text: "a".into(), cache: None };
        let messages = vec![turn(Role::Assistant, vec![part, said])];
        let asked = Conversation { messages, ..Conversation::default() };
        let (conversation, _, dropped) = fitted(asked, CHAT, target.clone(), thoughts);
        let thinking = conversation.messages[0].parts.iter().find_map(|part| match part {
            Part::Thinking(thinking) => Some((thinking.text.clone(), thinking.signature.clone())),
            _ => None,
        });
        (thinking, dropped)
    };
    let words = || Some(("hm".to_owned(), None));
    let proven = || Some(("hm".to_owned(), Some("s".to_owned())));
    let proofless = vec!["reasoning_details".to_owned()];
    for (maker, target, thoughts, expected, dropped) in [
        (Maker::Anthropic, Maker::Anthropic, Thoughts::Own, proven(), vec![]),
        (Maker::Anthropic, Maker::Gemini, Thoughts::Own, words(), proofless.clone()),
        (Maker::Openai, Maker::Anthropic, Thoughts::Own, words(), proofless.clone()),
        (Maker::Anthropic, Maker::Anthropic, Thoughts::None, words(), proofless.clone()),
        (
            Maker::Anthropic,
            deepseek.clone(),
            Thoughts::Own,
            None,
            vec!["reasoning_details".to_owned(), "reasoning_content".to_owned()],
        ),
        (Maker::Anthropic, deepseek.clone(), Thoughts::All, words(), proofless.clone()),
        (deepseek.clone(), deepseek.clone(), Thoughts::Own, words(), proofless),
    ] {
        assert_eq!(
            of(thought(Some(&maker), Some("s")), &target, thoughts),
            (expected, dropped),
            "{maker:?} {target:?} {thoughts:?}"
        );
    }
    assert_eq!(of(thought(None, None), &deepseek, Thoughts::Own).0, words(), "whoever made it, a chat client had it from chat");
    assert_eq!(of(thought(None, None), &deepseek, Thoughts::None).0, None);
    let blank = of(Part::Refusal("no".into()), &deepseek, Thoughts::All).0;
    assert_eq!(blank, Some((NO_THOUGHT.to_owned(), None)), "some providers refuse a turn without thoughts");
}

#[test]
fn strict_is_only_for_schemas_that_are() {
    let open = r#"{"type":"object","properties":{"a":{},"b":{}},"required":["a"],"additionalProperties":false}"#;
    let shut = r#"{"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false}"#;
    for (schema, rules, expected) in [(open, CHAT, None), (shut, CHAT, Some(true)), (open, ANTHROPIC, Some(true))] {
        let output = OutputFormat::Schema { name: None, description: None, schema: schema.into(), strict: Some(true) };
        let mut tool = tool("f", ToolKind::Function, None);
        (tool.schema, tool.strict) = (Some(schema.into()), Some(true));
        let (conversation, _) = plain(Conversation { tools: vec![tool], output, ..Conversation::default() }, rules);
        assert_eq!(conversation.tools[0].strict, expected);
        assert!(matches!(conversation.output, OutputFormat::Schema { strict, .. } if strict == expected));
    }
}

proptest! {
    #[test]
    fn whatever_names_and_ids_are_they_fit_and_stay_apart(
        tools in proptest::collection::vec((proptest::option::of(".{0,12}"), ".{1,90}", 0usize..4), 0..8),
        calls in proptest::collection::vec((".{0,50}", any::<prop::sample::Index>()), 0..12),
        at in 0usize..3,
    ) {
        let rules = [CHAT, ANTHROPIC, GEMINI][at];
        let kinds = [ToolKind::Function, ToolKind::Custom, ToolKind::Search, ToolKind::Shell];
        let tools: Vec<Tool<'static>> =
            tools.iter().map(|(namespace, name, kind)| tool(name, kinds[*kind], namespace.as_deref())).collect();
        let mut messages = Vec::new();
        for (id, index) in &calls {
            if tools.is_empty() {
                continue;
            }
            let of = index.get(&tools);
            let said = ToolCall { id: id.clone(), name: of.name.clone(), form: of.form.clone(), ..ToolCall::default() };
            messages.push(turn(Role::Assistant, vec![Part::Call(said)]));
            messages.push(turn(Role::User, vec![result(id)]));
        }
        let (conversation, names) = plain(Conversation { tools: tools.clone(), messages, ..Conversation::default() }, rules);
        let wires: BTreeSet<&str> = conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
        prop_assert_eq!(wires.len(), conversation.tools.len());
        let distinct: BTreeSet<Known> = tools.iter().map(|tool| known(&tool.form, &tool.name)).collect();
        prop_assert_eq!(distinct.len(), conversation.tools.len());
        for tool in &conversation.tools {
            prop_assert!(!tool.name.is_empty() && tool.name.len() <= rules.longest_name, "{}", tool.name);
            prop_assert!(tool.name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c) || rules.more_letters.contains(c)));
            let back = names.client(&tool.name).map_or((None, tool.name.clone()), |(name, form)| known(form, name));
            prop_assert!(distinct.contains(&back));
        }
        let ids = ids(&conversation);
        let unique: BTreeSet<&String> = ids.iter().filter(|(kind, _)| *kind == 'c').map(|(_, id)| id).collect();
        prop_assert_eq!(unique.len() * 2, ids.len());
        for pair in ids.chunks(2) {
            prop_assert_eq!(&pair[0].1, &pair[1].1);
            prop_assert!(pair[0].1.len() <= rules.longest_id);
        }
    }
}
