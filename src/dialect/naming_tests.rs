//! What clients of every format are told of an answer's id and of the model.

use super::cohere::Rerank as CohereRanking;
use super::format::{Cost, Counting, Format, StreamWish, Translation};
use super::meter::{Meter, Transcoding};
use super::openai::audio::Transcriptions;
use super::openai::chat::Chat;
use super::openai::completions::Completions;
use super::openai::embeddings::Embeddings;
use super::openai::images::Generations;
use super::openai::moderations::Moderations;
use super::openai::rerank::Rerank as Ranking;
use super::openai::responses::Responses;
use super::openai::responses::compact::Compact;
use super::stream_state::Fallback;
use super::tokens::Counter;
use super::{anthropic::Messages, gemini::Generate};
use crate::dialect::json::Object;
use crate::usage::{Usage, UsageSource};

const CHAT: &str = include_str!("../../tests/golden/openai/chat_stream_openrouter.sse");
const MISTRAL: &str = include_str!("../../tests/golden/mistral/chat.sse");
const RESPONSES: &str = include_str!("../../tests/golden/openai/responses_stream.sse");
const MESSAGES: &str = include_str!("../../tests/golden/anthropic/stream_thinking.sse");
const GEMINI: &str = include_str!("../../tests/golden/gemini/stream.txt");

fn cost() -> Cost {
    Cost { amount: "0.5".to_owned(), currency: Some("CNY".to_owned()), details: "{}".to_owned() }
}

fn wish() -> StreamWish {
    let (id, model) = ("gen-1".to_owned(), "public".to_owned());
    StreamWish { include_usage: true, created: 17, id, model, ..StreamWish::default() }
}

fn run(way: Transcoding, stream: &str) -> String {
    let mut meter = Meter::new(way, Fallback::default(), Counter::new("gpt"), Box::new(|_: &Usage, _: UsageSource, _| cost()));
    let mut out = Vec::new();
    meter.push(stream.as_bytes(), &mut out);
    meter.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_stream_that_passes_changes_its_names_and_nothing_else() {
    for (format, stream, names) in [
        (&Chat as &dyn Format, CHAT, ["gen-1", "claude-x", "chatcmpl-gen-1"]),
        (&Chat, MISTRAL, ["cmpl-e5cc70bb", "mistral-small-latest", "chatcmpl-gen-1"]),
        (
            &Completions,
            "data: {\"id\":\"cmpl-7\",\"object\":\"text_completion\",\"created\":1,\"model\":\"up\",\"choices\":[{\"index\":0,\"text\":\"x\"}]}\n\ndata: [DONE]\n\n",
            ["cmpl-7", "up", "cmpl-gen-1"],
        ),
        (&Messages, MESSAGES, ["msg_01Quince", "claude-sonnet-4-5-20250929", "msg_gen-1"]),
        (&Generate, GEMINI, ["mDQ-aKx_Lr", "gemini-2.5-flash", "gen-1"]),
        (&Responses, RESPONSES, ["resp_abc", "gpt-x-2026", "resp_gen-1"]),
    ] {
        let [own, model, told] = names;
        let (unnamed, named) = (StreamWish { id: String::new(), model: String::new(), ..wish() }, wish());
        let before = run(Transcoding::Same(format.passthrough(unnamed, Counting::default())), stream);
        let after = run(Transcoding::Same(format.passthrough(named, Counting::default())), stream);
        let expected =
            before.replace(&format!("\"{own}\""), &format!("\"{told}\"")).replace(&format!("\"{model}\""), "\"public\"");
        assert!(before != after && before.contains(own) && before.contains(model));
        assert_eq!(after, expected);
    }
}

#[test]
fn a_plain_answer_has_its_names_and_the_cost_its_currency() {
    let usage = Usage { input: 10, output: 5, ..Usage::default() };
    for (format, answer, names) in [
        (
            &Chat as &dyn Format,
            r#"{"id":"up-1","model":"up","choices":[{"id":"x","model":"y"}]}"#,
            r#"{"id":"chatcmpl-gen-1","model":"public","choices":[{"id":"x","model":"y"}]"#,
        ),
        (&Completions, r#"{"model":"up","id":"up-1"}"#, r#"{"model":"public","id":"cmpl-gen-1""#),
        (&Messages, r#"{"id":"up-1","model":"up"}"#, r#"{"id":"msg_gen-1","model":"public""#),
        (
            &Generate,
            r#"{"modelVersion":"up","responseId":"up-1","id":"x"}"#,
            r#"{"modelVersion":"public","responseId":"gen-1","id":"x""#,
        ),
        (
            &Responses,
            r#"{"id":"up-1","model":"up","previous_response_id":null,"output":[{"id":"rs_1"}]}"#,
            r#"{"id":"resp_gen-1","model":"public","previous_response_id":null,"output":[{"id":"rs_1"}]"#,
        ),
        (&Compact, r#"{"id":"up-1","output":[{"id":"cmp_1"}]}"#, r#"{"id":"resp_gen-1","output":[{"id":"cmp_1"}]"#),
        (&Embeddings, r#"{"id":"up-1","model":"up"}"#, r#"{"id":"gen-1","model":"public""#),
        (&Embeddings, r#"{"model":"up"}"#, r#"{"model":"public""#),
        (&Moderations, r#"{"id":"up-1","model":"up"}"#, r#"{"id":"modr-gen-1","model":"public""#),
        (&Ranking, r#"{"id":"up-1","model":"up"}"#, r#"{"id":"gen-1","model":"public""#),
        (&CohereRanking, r#"{"id":"up-1"}"#, r#"{"id":"gen-1""#),
        (&Generations, r#"{"created":1}"#, r#"{"created":1"#),
        (&Transcriptions, r#"{"model":"up","text":"x"}"#, r#"{"model":"public","text":"x""#),
    ] {
        let object = Object::parse(answer).unwrap();
        let mut edits = format.priced(&object, &usage, &cost());
        edits.extend(format.named(&object, &wish()));
        let told = object.edited(&edits);
        assert!(told.starts_with(names), "{told}");
        assert!(told.contains(r#""cost":0.5,"currency":"CNY","cost_details":{}"#), "{told}");
    }
}

#[test]
fn a_translated_answer_has_the_names_of_the_clients_format() {
    let formats: [&dyn Translation; 4] = [&Chat, &Messages, &Generate, &Responses];
    let streams = [CHAT, MESSAGES, GEMINI, RESPONSES];
    for (up, stream) in formats.into_iter().zip(streams) {
        for (down, told) in formats.into_iter().zip(["chatcmpl-gen-1", "msg_gen-1", "gen-1", "resp_gen-1"]) {
            let wish = StreamWish { id: "gen-1".to_owned(), ..wish() };
            let way = Transcoding::translated(up.reader(Counting::default()), down.writer(wish.clone()), &wish, None);
            let out = run(way, stream);
            assert!(out.contains(&format!("d\":\"{told}\"")) && out.contains("\"public\""), "{out}");
            for theirs in ["claude-x", "msg_01Quince", "claude-sonnet", "mDQ-aKx_Lr", "gemini-2.5", "resp_abc", "gpt-x-2026"] {
                assert!(!out.contains(theirs), "{theirs}: {out}");
            }
            assert!(out.contains(r#""cost":0.5,"currency":"CNY","#), "{out}");
        }
    }
}

#[test]
fn the_response_before_is_told_as_the_client_named_it() {
    let tag: super::format::Tagger = std::rc::Rc::new(|id| format!("resp_gen-1_{id}_tf0"));
    let wish = StreamWish { tag: Some(tag), previous: Some("resp_gen-0_up-0_tf0".to_owned()), ..wish() };
    let answer = r#"{"id":"up-1","previous_response_id":"up-0"}"#;
    let object = Object::parse(answer).unwrap();
    let told = object.edited(&Responses.named(&object, &wish));
    assert_eq!(told, r#"{"id":"resp_gen-1_up-1_tf0","previous_response_id":"resp_gen-0_up-0_tf0"}"#);
}

#[test]
fn events_of_an_endpoint_beside_text_have_their_names() {
    let stream = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\",\"model\":\"up\"}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"a\",\"model\":\"up\"}\n\n";
    let out = run(Transcoding::Same(Transcriptions.passthrough(wish(), Counting::default())), stream);
    assert!(out.matches("\"model\":\"public\"").count() == 2 && !out.contains("\"up\""), "{out}");
}
