//! Laws of sessions that change between providers: clients of every format that send back what they got, over channels of every
//! format in turn.
//!
//! What must hold: what was said and called is there in every later turn; no proof goes to anybody but its maker, who gets it
//! back; no mark of the gateway goes up; no id repeats; the client's tools have the client's names.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::bridge::Bridge;
use super::conversation::{Answer, Choice, Delta, Finish, Part, Thinking, ToolCall};
use super::endpoint::{Endpoint, EndpointPath, Way};
use super::format::{Cost, Counting, Format, StreamWish, Translation, Upstream};
use super::json::Object;
use super::maker::{CODED_MARK, MARK, Maker};
use super::mend::mend_answer;
use super::meter::{self, Meter};
use super::request::Request;
use super::stream_state::Fallback;
use super::tokens::Counter;
use super::{anthropic, gemini, openai};
use crate::usage::Usage;

const TOOLS: [&str; 5] =
    ["get_weather", "files.read", "mcp__plugin_jenkins-mcp-plugin_jenkins__jenkins_get_build_console_x", "spawn", "apply_patch"];
const PLACES: [&str; 2] = ["aaaaaa", "bbbbbb"];

/// A channel: the format in which it is asked, and its name.
#[derive(Clone, Copy)]
struct Channel(&'static dyn Format, &'static str);

fn channels() -> [Channel; 4] {
    let chat: &dyn Format = &openai::chat::Chat;
    [Channel(chat, PLACES[0]), Channel(chat, PLACES[1]), Channel(&anthropic::Messages, "x"), Channel(&gemini::Generate, "y")]
}

impl Channel {
    fn translation(self) -> &'static dyn Translation {
        self.0.translation().unwrap()
    }

    fn maker(self) -> Maker {
        self.translation().maker(self.1)
    }
}

/// A program that keeps its conversation in its own format, as the SDKs do.
struct Client {
    endpoint: Endpoint,
    turns: Vec<Value>,
}

impl Client {
    fn new(endpoint: Endpoint) -> Self {
        let first = match endpoint {
            Endpoint::Generate => json!({"role": "user", "parts": [{"text": "SAID-user"}]}),
            _ => json!({"role": "user", "content": "SAID-user"}),
        };
        Self { endpoint, turns: vec![first] }
    }

    fn request(&self) -> String {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let plain = &TOOLS[..4];
        let value = match self.endpoint {
            Endpoint::Chat => {
                let mut tools: Vec<Value> = plain
                    .iter()
                    .map(|name| json!({"type": "function", "function": {"name": name, "parameters": schema}}))
                    .collect();
                tools.push(json!({"type": "custom", "custom": {"name": TOOLS[4]}}));
                json!({"model": "m", "messages": self.turns, "tools": tools})
            }
            Endpoint::Responses => {
                let mut tools: Vec<Value> =
                    TOOLS[..3].iter().map(|name| json!({"type": "function", "name": name, "parameters": schema})).collect();
                let inner =
                    json!([{"type": "function", "name": TOOLS[3], "parameters": schema}, {"type": "custom", "name": TOOLS[4]}]);
                tools.push(json!({"type": "namespace", "name": "agents", "tools": inner}));
                json!({"model": "m", "input": self.turns, "tools": tools})
            }
            Endpoint::Messages => {
                let tools: Vec<Value> = TOOLS.iter().map(|name| json!({"name": name, "input_schema": schema})).collect();
                json!({"model": "m", "max_tokens": 9, "messages": self.turns, "tools": tools, "thinking": {"type": "adaptive"}})
            }
            _ => {
                let tools: Vec<Value> = TOOLS.iter().map(|name| json!({"name": name, "parametersJsonSchema": schema})).collect();
                json!({"contents": self.turns, "tools": [{"functionDeclarations": tools}]})
            }
        };
        value.to_string()
    }

    /// Takes an answer, runs its calls, and says what it called.
    fn take(&mut self, answer: &Value) -> Vec<(String, String)> {
        let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut calls = Vec::new();
        match self.endpoint {
            Endpoint::Chat => {
                let message = answer["choices"][0]["message"].clone();
                let mut results = Vec::new();
                for call in message["tool_calls"].as_array().into_iter().flatten() {
                    let inner = &call[call["type"].as_str().unwrap()];
                    calls.push((words(&inner["name"]), words(inner.get("input").unwrap_or(&inner["arguments"]))));
                    results
                        .push(json!({"role": "tool", "tool_call_id": call["id"], "content": format!("RESULT-{}", calls.len())}));
                }
                self.turns.push(message);
                self.turns.append(&mut results);
            }
            Endpoint::Responses => {
                let mut results = Vec::new();
                for item in answer["output"].as_array().unwrap() {
                    let of = match item["type"].as_str().unwrap() {
                        "function_call" => ("function_call_output", "arguments"),
                        "custom_tool_call" => ("custom_tool_call_output", "input"),
                        _ => continue,
                    };
                    assert_eq!(item["namespace"] == "agents", [TOOLS[3], TOOLS[4]].contains(&item["name"].as_str().unwrap()));
                    calls.push((words(&item["name"]), words(&item[of.1])));
                    results.push(json!({"type": of.0, "call_id": item["call_id"], "output": format!("RESULT-{}", calls.len())}));
                }
                self.turns.extend(answer["output"].as_array().unwrap().clone());
                self.turns.append(&mut results);
            }
            Endpoint::Messages => {
                let content = answer["content"].as_array().unwrap();
                let mut results = Vec::new();
                for block in content.iter().filter(|block| block["type"] == "tool_use") {
                    let id = block["id"].as_str().unwrap();
                    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'), "{id}");
                    calls.push((words(&block["name"]), block["input"].to_string()));
                    results.push(json!({"type": "tool_result", "tool_use_id": id, "content": format!("RESULT-{}", calls.len())}));
                }
                self.turns.push(json!({"role": "assistant", "content": content}));
                results.push(json!({"type": "text", "text": "SAID-go on"}));
                self.turns.push(json!({"role": "user", "content": results}));
            }
            _ => {
                let content = answer["candidates"][0]["content"].clone();
                let mut results = Vec::new();
                for part in content["parts"].as_array().unwrap() {
                    if let Some(call) = part.get("functionCall") {
                        calls.push((words(&call["name"]), call["args"].to_string()));
                        let response = json!({"result": format!("RESULT-{}", calls.len())});
                        results.push(json!({"functionResponse": {"id": call["id"], "name": call["name"], "response": response}}));
                    }
                }
                results.push(json!({"text": "SAID-go on"}));
                self.turns.push(content);
                self.turns.push(json!({"role": "user", "parts": results}));
            }
        }
        calls
    }
}

/// What a model answers with: whether it thinks, and which tools it calls.
type Plan = (usize, bool, Vec<usize>, bool);

/// The parts of an answer of a channel, in its own form.
fn parts(turn: usize, channel: Channel, thinks: bool, tools: &[usize], names: &[String]) -> Vec<Part<'static>> {
    let maker = channel.maker();
    let proof = match maker {
        Maker::Chat(_) => None,
        _ => Some(format!("{}-PROOF{turn}a", maker.word())),
    };
    let mut parts = Vec::new();
    if thinks {
        // Gemini's proofs are of calls.
        let signature = proof.clone().filter(|_| maker == Maker::Anthropic);
        parts.push(Part::Thinking(Thinking {
            text: format!("THOUGHT{turn}-{}", maker.word()),
            signature,
            ..Thinking::default()
        }));
    }
    parts.push(Part::Text { text: format!("SAID-{turn}").into(), cache: None });
    for (at, tool) in tools.iter().enumerate() {
        // Some providers count from zero in every answer, and some write ids that others refuse.
        let id = match maker {
            Maker::Anthropic => format!("toolu_{turn}_{at}"),
            Maker::Gemini => String::new(),
            _ if channel.1 == PLACES[0] => format!("functions.f:{at}"),
            _ => format!("call_{at}"),
        };
        let signature = proof.clone().filter(|_| maker == Maker::Gemini && at == 0);
        let name = names.get(*tool).unwrap().clone();
        parts.push(Part::Call(ToolCall {
            id,
            name,
            arguments: format!(r#"{{"input":"ARG-{turn}-{at}"}}"#),
            signature,
            ..ToolCall::default()
        }));
    }
    parts
}

fn answer(turn: usize, parts: Vec<Part<'static>>) -> Answer {
    let finish = if parts.iter().any(|part| matches!(part, Part::Call(_))) { Finish::Calls } else { Finish::Stop };
    Answer {
        id: format!("id{turn}"),
        model: "up".to_owned(),
        choices: vec![Choice { parts, finish, logprobs: None }],
        usage: None,
    }
}

fn deltas(answer: &Answer) -> Vec<Delta> {
    let mut deltas = vec![Delta::Start { id: answer.id.clone(), model: answer.model.clone() }];
    let mut number = 0;
    for part in answer.choices[0].parts.clone() {
        match part {
            Part::Thinking(thinking) => {
                deltas.push(Delta::Thinking { choice: 0, text: thinking.text });
                deltas.extend(thinking.signature.map(|signature| Delta::Signature { choice: 0, signature }));
            }
            Part::Text { text, .. } => deltas.push(Delta::Text { choice: 0, text: text.into_owned() }),
            Part::Call(call) => {
                deltas.push(Delta::Call { choice: 0, call: number, id: call.id, name: call.name, signature: call.signature });
                deltas.push(Delta::Arguments { choice: 0, call: number, json: call.arguments });
                number += 1;
            }
            _ => {}
        }
    }
    deltas.push(Delta::Finish { choice: 0, finish: answer.choices[0].finish.clone() });
    deltas
}

fn cost() -> Cost {
    Cost { amount: "0".to_owned(), details: "{}".to_owned(), ..Cost::default() }
}

/// What the client gets of an answer: as a whole, or put together again from a stream.
fn down(client: &Client, channel: Channel, bridge: Bridge, told: &Answer, streamed: bool) -> Value {
    let (from, to) = (channel.translation(), client.endpoint.format().translation().unwrap());
    let wish =
        StreamWish { id: format!("gen-{}", told.id), maker: Some(channel.maker()), include_usage: true, ..StreamWish::default() };
    if !streamed {
        let sent = from.write_answer(told, &Usage::default(), &cost(), &StreamWish::default());
        let mut read = from.read_answer(&Object::parse(&sent).unwrap(), Counting::default()).unwrap();
        mend_answer(&mut read, &wish).unwrap();
        return serde_json::from_str(&to.write_answer(&bridge.answer(read), &Usage::default(), &cost(), &wish)).unwrap();
    }
    let (mut writer, mut sent) = (from.writer(StreamWish::default()), Vec::new());
    deltas(told).iter().for_each(|delta| writer.delta(delta, &mut sent));
    writer.finish(&Usage::default(), &cost(), &mut sent);
    let way = meter::Transcoding::translated(from.reader(Counting::default()), to.writer(wish.clone()), &wish, Some(bridge));
    let mut meter = Meter::new(way, Fallback::default(), Counter::new("gpt"), Box::new(|_, _, _| cost()));
    let mut out = Vec::new();
    meter.push(&sent, &mut out);
    meter.finish(&mut out);
    assert_eq!(meter.progress(), &super::stream_state::Progress::Done, "{}", String::from_utf8_lossy(&out));
    client_form(client, &out)
}

/// What a client of this format keeps of a stream, as its SDK does.
fn client_form(client: &Client, stream: &[u8]) -> Value {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let data =
        text.lines().filter_map(|line| line.strip_prefix("data: ")).filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let append =
        |at: &mut Value, more: &Value| *at = json!(format!("{}{}", at.as_str().unwrap_or_default(), more.as_str().unwrap()));
    match client.endpoint {
        Endpoint::Responses => {
            let last = data.into_iter().find(|event| event["type"] == "response.completed").unwrap();
            last["response"].clone()
        }
        Endpoint::Messages => {
            let mut blocks: Vec<Value> = Vec::new();
            for event in data {
                match event["type"].as_str().unwrap() {
                    "content_block_start" => {
                        let mut block = event["content_block"].clone();
                        if block["type"] == "tool_use" {
                            block["input"] = json!("");
                        }
                        blocks.push(block);
                    }
                    "content_block_delta" => {
                        let block = blocks.last_mut().unwrap();
                        let delta = &event["delta"];
                        let (name, more) = match delta["type"].as_str().unwrap() {
                            "text_delta" => ("text", &delta["text"]),
                            "thinking_delta" => ("thinking", &delta["thinking"]),
                            "signature_delta" => ("signature", &delta["signature"]),
                            _ => ("input", &delta["partial_json"]),
                        };
                        append(&mut block[name], more);
                    }
                    _ => {}
                }
            }
            for block in blocks.iter_mut().filter(|block| block["type"] == "tool_use") {
                block["input"] = serde_json::from_str(block["input"].as_str().unwrap()).unwrap();
            }
            json!({ "content": blocks })
        }
        Endpoint::Chat => {
            let mut message = json!({"role": "assistant", "content": ""});
            for event in data {
                let delta = &event["choices"][0]["delta"];
                for name in ["content", "reasoning_content"] {
                    if delta[name].is_string() {
                        append(&mut message[name], &delta[name]);
                    }
                }
                for detail in delta["reasoning_details"].as_array().into_iter().flatten() {
                    if message["reasoning_details"].is_null() {
                        message["reasoning_details"] = json!([]);
                    }
                    message["reasoning_details"].as_array_mut().unwrap().push(detail.clone());
                }
                for call in delta["tool_calls"].as_array().into_iter().flatten() {
                    if message["tool_calls"].is_null() {
                        message["tool_calls"] = json!([]);
                    }
                    let calls = message["tool_calls"].as_array_mut().unwrap();
                    let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
                    if index == calls.len() {
                        calls.push(call.clone());
                        continue;
                    }
                    for (of, name) in [("function", "arguments"), ("custom", "input")] {
                        if call[of][name].is_string() {
                            append(&mut calls[index][of][name], &call[of][name]);
                        }
                    }
                }
            }
            json!({"choices": [{ "message": message }]})
        }
        _ => {
            let mut parts: Vec<Value> = Vec::new();
            for event in data {
                parts.extend(event["candidates"][0]["content"]["parts"].as_array().into_iter().flatten().cloned());
            }
            parts.retain(|part| part["text"] != "");
            json!({"candidates": [{"content": {"role": "model", "parts": parts}}]})
        }
    }
}

/// One session: in every turn the laws are checked on what goes up.
fn session(endpoint: Endpoint, plans: &[Plan]) {
    let mut client = Client::new(endpoint);
    let mut said = vec!["SAID-user".to_owned()];
    let mut proofs: Vec<(Maker, String)> = Vec::new();
    let model = matches!(endpoint, Endpoint::Generate).then(|| "m".to_owned());
    for (turn, (at, thinks, tools, streamed)) in plans.iter().enumerate() {
        let channel = channels()[*at];
        let maker = channel.maker();
        let text = client.request();
        let called = EndpointPath { endpoint, model: model.clone(), stream: false };
        let request = Request::read(&called, text.as_bytes(), None).unwrap();
        let is_translated = endpoint.format().path(&Upstream::NOBODY) != channel.0.path(&Upstream::NOBODY);
        let way = Way { format: channel.0, is_translated };
        let upstream = Upstream { model: "gpt-or-any", place: channel.1, output_limit: 9, ..Upstream::NOBODY };
        let sent = request.sent(way, &upstream, Vec::new()).unwrap();
        let body = String::from_utf8(sent.body.concat()).unwrap();
        // No mark, and no proof but its own.
        assert!(!body.contains(MARK) && !body.contains(CODED_MARK), "{body}");
        for word in ["a", "g"] {
            let own = maker.word() == word;
            assert!(own || !body.contains(&format!("{word}-PROOF")), "{endpoint:?} to {word}: {body}");
        }
        for (of, proof) in &proofs {
            assert!(*of != maker || body.contains(proof.as_str()), "{endpoint:?}: {proof} is not back: {body}");
        }
        // What was said is there.
        for text in &said {
            assert!(body.contains(text.as_str()), "{endpoint:?}: {text} is lost: {body}");
        }
        if is_translated {
            let read = channel.translation().read_request(&Object::parse(&body).unwrap()).unwrap().conversation;
            let calls = read.messages.iter().flat_map(|message| &message.parts);
            let (mut ids, mut open) = (BTreeSet::new(), BTreeSet::new());
            for part in calls {
                match part {
                    Part::Call(call) => {
                        assert!(ids.insert(call.id.clone()), "{} repeats: {body}", call.id);
                        open.insert(call.id.clone());
                    }
                    Part::Result(result) => assert!(open.remove(&result.id), "{}: {body}", result.id),
                    _ => {}
                }
            }
            assert!(open.is_empty(), "{open:?} {body}");
            let names: Vec<String> = read.tools.iter().map(|tool| tool.name.clone()).collect();
            assert_eq!(names.len(), TOOLS.len());
            let told = answer(turn, parts(turn, channel, *thinks, tools, &names));
            let bridge = Bridge::new(sent.names, maker.clone(), endpoint.format().translation().unwrap());
            let got = down(&client, channel, bridge, &told, *streamed);
            let calls = client.take(&got);
            let expected: Vec<&str> = tools.iter().map(|tool| TOOLS[*tool]).collect();
            assert_eq!(calls.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected, "{got}");
            for (at, (name, arguments)) in calls.iter().enumerate() {
                let text = format!("ARG-{turn}-{at}");
                let is_free = name == TOOLS[4] && matches!(endpoint, Endpoint::Responses | Endpoint::Chat);
                assert_eq!(is_free, *arguments == text, "{arguments}");
                said.push(text);
            }
        } else {
            // It passes: the client's own dialect answers.
            let names: Vec<String> = TOOLS.iter().map(|name| (*name).to_owned()).collect();
            let tools: Vec<usize> = tools.iter().copied().filter(|tool| *tool < 3).collect();
            let told = answer(turn, parts(turn, channel, *thinks && maker != Maker::Gemini, &tools, &names));
            let written = channel.translation().write_answer(
                &told,
                &Usage::default(),
                &cost(),
                &StreamWish { id: format!("n{turn}"), ..StreamWish::default() },
            );
            client.take(&serde_json::from_str(&written).unwrap());
        }
        said.push(format!("SAID-{turn}"));
        let has_calls = !tools.is_empty() && is_translated;
        match &maker {
            // Gemini's clients keep thoughts with calls alone.
            Maker::Anthropic if *thinks && (endpoint != Endpoint::Generate || has_calls) => {
                proofs.push((maker.clone(), format!("a-PROOF{turn}a")));
            }
            Maker::Gemini if has_calls => proofs.push((maker.clone(), format!("g-PROOF{turn}a"))),
            Maker::Chat(place) if *thinks && is_translated && (endpoint != Endpoint::Generate || has_calls) => {
                proofs.push((maker.clone(), format!("THOUGHT{turn}-c{place}")));
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_session_may_change_its_provider_in_every_turn(
        plans in proptest::collection::vec((0usize..4, any::<bool>(), proptest::collection::vec(0usize..5, 0..3), any::<bool>()), 1..7),
        at in 0usize..4,
    ) {
        session([Endpoint::Chat, Endpoint::Responses, Endpoint::Messages, Endpoint::Generate][at], &plans);
    }
}
