//! Calls in streams and answers, however a provider writes them.

use super::Chat;
use super::translation_tests::{chunks, told};
use crate::dialect::format::{Counting, Translation};
use crate::dialect::json::Object;
use crate::dialect::talk::{Delta, Finish};

#[test]
fn calls_are_told_apart_however_a_provider_numbers_them() {
    let call =
        |call, id: &str, name: &str| Delta::Call { choice: 0, call, id: id.to_owned(), name: name.to_owned(), signature: None };
    let arguments = |call, json: &str| Delta::Arguments { choice: 0, call, json: json.to_owned() };
    let both = vec![call(0, "a", "f"), arguments(0, "{}"), call(1, "b", "g"), arguments(1, "{}")];
    let one = |index: &str, rest: &str| format!(r#"{{"tool_calls":[{{{index}{rest}}}]}}"#);
    let whole = |index: &str, id: &str, name: &str| {
        one(index, &format!(r#""id":"{id}","function":{{"name":"{name}","arguments":"{{}}"}}"#))
    };
    for (name, deltas, expected) in [
        ("whole and numbered", vec![whole("\"index\":0,", "a", "f"), whole("\"index\":1,", "b", "g")], both.clone()),
        ("whole and all of them 0", vec![whole("\"index\":0,", "a", "f"), whole("\"index\":0,", "b", "g")], both.clone()),
        ("whole and without a number", vec![whole("", "a", "f"), whole("", "b", "g")], both),
        (
            "id and name in every fragment",
            vec![
                one("\"index\":0,", r#""id":"a","function":{"name":"f","arguments":"{\"x\""}"#),
                one("\"index\":0,", r#""id":"a","function":{"name":"f","arguments":":1}"}"#),
            ],
            vec![call(0, "a", "f"), arguments(0, "{\"x\""), arguments(0, ":1}")],
        ),
        (
            "neither number nor id",
            vec![
                one("", r#""function":{"name":"f","arguments":"{"}"#),
                one("", r#""function":{"arguments":"}"}"#),
                one("", r#""function":{"name":"g","arguments":{"y":1.0}}"#),
            ],
            vec![call(0, "", "f"), arguments(0, "{"), arguments(0, "}"), call(1, "", "g"), arguments(1, "{\"y\":1.0}")],
        ),
        (
            "a new id for each fragment",
            vec![
                one("\"index\":0,", r#""id":"a","function":{"name":"f","arguments":""}"#),
                one("\"index\":0,", r#""id":"b","function":{"arguments":"{\"x\""}"#),
                one("", r#""id":"c","function":{"arguments":":1}"}"#),
            ],
            vec![call(0, "a", "f"), arguments(0, "{\"x\""), arguments(0, ":1}")],
        ),
        (
            "the name in every fragment, and nothing else",
            vec![
                one("", r#""function":{"name":"f","arguments":"{\"x\""}"#),
                one("", r#""function":{"name":"f","arguments":":1}"}"#),
                one("", r#""function":{"name":"f","arguments":"{}"}"#),
            ],
            vec![call(0, "", "f"), arguments(0, "{\"x\""), arguments(0, ":1}"), call(1, "", "f"), arguments(1, "{}")],
        ),
        (
            "whole, all of them 0 and without ids",
            vec![
                one("\"index\":0,", r#""function":{"name":"f","arguments":"{}"}"#),
                one("\"index\":0,", r#""function":{"name":"f","arguments":{"x":1}}"#),
                one("\"index\":0,", r#""function":{"name":"g","arguments":""}"#),
            ],
            vec![call(0, "", "f"), arguments(0, "{}"), call(1, "", "f"), arguments(1, "{\"x\":1}"), call(2, "", "g")],
        ),
        (
            "the number 0 left out, and mixed",
            vec![
                one("", r#""id":"a","function":{"name":"f","arguments":"{"}"#),
                one("\"index\":1,", r#""id":"b","function":{"name":"g","arguments":"{"}"#),
                one("", r#""function":{"arguments":"}"}"#),
                one("\"index\":1,", r#""function":{"arguments":"}"}"#),
            ],
            vec![
                call(0, "a", "f"),
                arguments(0, "{"),
                call(1, "b", "g"),
                arguments(1, "{"),
                arguments(0, "}"),
                arguments(1, "}"),
            ],
        ),
        (
            "the name after the arguments",
            vec![
                one("\"index\":3,", r#""id":"a","function":{"arguments":"{"}"#),
                one("\"index\":3,", r#""function":{"name":"f","arguments":"}"}"#),
            ],
            vec![call(0, "a", "f"), arguments(0, "{}")],
        ),
    ] {
        let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
        let (told, _) = told(&chunks(&deltas));
        assert_eq!(told[1..told.len() - 1], expected, "{name}");
        assert_eq!(told.last(), Some(&Delta::Finish { choice: 0, finish: Finish::Calls }), "{name}");
    }
}

#[test]
fn a_reason_of_calls_without_a_call_is_an_end() {
    for reason in ["tool_calls", "function_call"] {
        let stream = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\",\"tool_calls\":[]}},\"finish_reason\":\"{reason}\"}}]}}\n\ndata: [DONE]\n\n"
        );
        assert_eq!(told(&stream).0.last(), Some(&Delta::Finish { choice: 0, finish: Finish::Stop }));
        let body = format!(r#"{{"choices":[{{"message":{{"content":"x","tool_calls":[]}},"finish_reason":"{reason}"}}]}}"#);
        let answer = Chat.read_answer(&Object::parse(&body).unwrap(), Counting::default()).unwrap();
        assert_eq!(answer.choices[0].finish, Finish::Stop);
    }
}
