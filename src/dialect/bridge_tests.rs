use super::*;
use crate::catalog::Thoughts;
use crate::dialect::anthropic::Messages;
use crate::dialect::conversation::{Choice, Conversation, Finish, Tool, ToolCall};
use crate::dialect::fit::{Target, fit};
use crate::dialect::format::Dropped;
use crate::dialect::gemini::Generate;
use crate::dialect::openai::chat::Chat;
use crate::dialect::openai::responses::Responses;
use crate::dialect::proof::read_carried;

fn names(tools: Vec<Tool<'static>>) -> ToolNames {
    let mut conversation = Conversation { tools, ..Conversation::default() };
    let target = Target { rules: Chat.rules(), maker: Chat.maker("0a1b2c"), thoughts: Thoughts::Own };
    fit(&mut conversation, &target, &mut Dropped::default())
}

fn bridge(maker: Maker, client: &dyn Translation) -> Bridge {
    let form = |kind, namespace: Option<&str>| Form { kind, namespace: namespace.map(ToOwned::to_owned) };
    let tools = vec![
        Tool { name: "patch".to_owned(), form: form(ToolKind::Custom, None), ..Tool::default() },
        Tool { name: "spawn".to_owned(), form: form(ToolKind::Function, Some("agents")), ..Tool::default() },
        Tool { name: "plain".to_owned(), ..Tool::default() },
    ];
    Bridge::new(names(tools), maker, client)
}

fn deepseek() -> Maker {
    Maker::Chat("0a1b2c".to_owned())
}

fn thought(text: &str) -> Delta {
    Delta::Thinking { choice: 0, text: text.to_owned() }
}

fn text(text: &str) -> Delta {
    Delta::Text { choice: 0, text: text.to_owned() }
}

fn call(call: u32, name: &str) -> Delta {
    Delta::Call { choice: 0, call, id: format!("c{call}"), name: name.to_owned(), signature: None }
}

fn json(call: u32, json: &str) -> Delta {
    Delta::Arguments { choice: 0, call, json: json.to_owned() }
}

fn end() -> Delta {
    Delta::Finish { choice: 0, finish: Finish::Calls }
}

fn signature(text: &str) -> Delta {
    Delta::Signature { choice: 0, signature: text.to_owned() }
}

#[test]
fn what_was_renamed_has_its_name_again() {
    let out = bridge(deepseek(), &Responses).deltas(vec![
        call(0, "patch"),
        json(0, "{\"input\":\"*** "),
        call(1, "agents__spawn"),
        json(1, "{}"),
        json(0, "x\"}"),
        call(2, "plain"),
        end(),
    ]);
    let form = |call, kind, namespace: Option<&str>| Delta::Form {
        choice: 0,
        call,
        form: Form { kind, namespace: namespace.map(ToOwned::to_owned) },
    };
    let expected = [
        form(0, ToolKind::Custom, None),
        call(0, "patch"),
        form(1, ToolKind::Function, Some("agents")),
        call(1, "spawn"),
        json(1, "{}"),
        call(2, "plain"),
        json(0, "*** x"),
        end(),
    ];
    assert_eq!(out, expected);
}

#[test]
fn a_thought_without_a_proof_is_told_by_whom() {
    for (client, maker, proof) in [
        (&Messages as &dyn Translation, deepseek(), Some("tf1.c0a1b2c.")),
        (&Responses, deepseek(), Some("tf1.c0a1b2c.")),
        (&Responses, Maker::Anthropic, Some("tf1.a.")),
        (&Messages, Maker::Gemini, Some("tf1.g.")),
        (&Messages, Maker::Anthropic, None),
        (&Chat, Maker::Anthropic, None),
        (&Generate, deepseek(), None),
    ] {
        let out = bridge(maker.clone(), client).deltas(vec![thought("a"), thought("b"), text("c"), end()]);
        let mut expected = vec![thought("a"), thought("b")];
        expected.extend(proof.map(signature));
        expected.extend([text("c"), end()]);
        assert_eq!(out, expected, "{maker:?}");
    }
}

#[test]
fn a_proof_of_another_provider_is_marked_where_it_could_be_taken_for_ones_own() {
    let redacted = |data: &str| Delta::Redacted { choice: 0, data: data.to_owned() };
    for (client, maker, proof) in [
        (&Messages as &dyn Translation, Maker::Anthropic, "s"),
        (&Messages, Maker::Gemini, "tf1.g.s"),
        (&Responses, Maker::Anthropic, "s"),
        (&Chat, Maker::Anthropic, "s"),
    ] {
        let out = bridge(maker.clone(), client).deltas(vec![thought("a"), signature("s"), redacted("s"), end()]);
        assert_eq!(out, [thought("a"), signature(proof), redacted(proof), end()], "{maker:?}");
    }
}

#[test]
fn clients_that_forget_thoughts_get_them_with_the_call() {
    let mut bridge = bridge(Maker::Anthropic, &Generate);
    let out =
        bridge.deltas(vec![thought("a"), thought("b"), signature("s"), thought("c"), call(0, "plain"), call(1, "plain"), end()]);
    let Some(Delta::Call { signature: Some(carried), .. }) =
        out.iter().find(|delta| matches!(delta, Delta::Call { call: 0, .. }))
    else {
        panic!("{out:?}")
    };
    let back: Vec<_> =
        read_carried(carried).unwrap().into_iter().map(|thought| (thought.text, thought.signature, thought.maker)).collect();
    let maker = Some(Maker::Anthropic);
    assert_eq!(back, [("ab".to_owned(), Some("s".to_owned()), maker.clone()), ("c".to_owned(), None, maker)]);
    assert!(out.iter().any(|delta| matches!(delta, Delta::Call { call: 1, signature: None, .. })));
    assert!(!out.iter().any(|delta| matches!(delta, Delta::Signature { .. })));
}

#[test]
fn a_plain_answer_says_what_a_stream_says() {
    for (client, maker) in [
        (&Messages as &dyn Translation, deepseek()),
        (&Responses, deepseek()),
        (&Generate, deepseek()),
        (&Chat, Maker::Anthropic),
    ] {
        let parts = vec![
            Part::Thinking(Thinking { text: "hm".to_owned(), ..Thinking::default() }),
            Part::Call(ToolCall {
                id: "a.b".to_owned(),
                name: "patch".to_owned(),
                arguments: "{\"input\":\"x\"}".to_owned(),
                ..ToolCall::default()
            }),
        ];
        let choice = Choice { parts, finish: Finish::Calls, logprobs: None };
        let answer = Answer { id: "i".to_owned(), model: "m".to_owned(), choices: vec![choice], usage: None };
        let plain = bridge(maker.clone(), client).answer(answer);
        let [Part::Thinking(thinking), Part::Call(told)] = plain.choices[0].parts.as_slice() else { panic!() };
        let call = Delta::Call { choice: 0, call: 0, id: "a.b".to_owned(), name: "patch".to_owned(), signature: None };
        let stream = bridge(maker, client).deltas(vec![thought("hm"), call, json(0, "{\"input\":\"x\"}"), end()]);
        let proof = stream.iter().find_map(|delta| match delta {
            Delta::Signature { signature, .. } => Some(signature.clone()),
            _ => None,
        });
        let signed = stream.iter().find_map(|delta| match delta {
            Delta::Call { signature, id, .. } => Some((signature.clone(), id.clone())),
            _ => None,
        });
        assert_eq!(thinking.signature, proof);
        assert_eq!(Some((told.signature.clone(), told.id.clone())), signed);
        assert_eq!((told.arguments.as_str(), told.form.kind), ("x", ToolKind::Custom));
    }
}
