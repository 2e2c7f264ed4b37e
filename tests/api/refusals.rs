//! Every clear no that is not about money: its status, its four keys, the next step, and a receipt for each request that carried a
//! valid key.

use serde_json::{Value, json};

use crate::gateway::{ANSWER, Answered, Call, Gateway, ROOT, chat};
use crate::support::outside::Script;

/// Checks that an answer is a refusal in OpenAI's envelope, and answers its `error`.
#[track_caller]
pub fn refusal(answered: &Answered, (status, code): (u16, &str), param: Option<&str>, limit: Option<&str>) -> Value {
    assert_eq!(answered.status, status, "{}", answered.body);
    let body = answered.json();
    assert_eq!(body.as_object().unwrap().len(), 1);
    let error = body["error"].clone();
    let mut names: Vec<&String> = error.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["code", "message", "metadata", "param", "type"]);
    assert_eq!((&error["code"], &error["param"]), (&json!(code), &json!(param)), "{}", answered.body);
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    assert_eq!(error["type"], kind, "{}", answered.body);
    let metadata = &error["metadata"];
    for name in ["error_type", "limit_source", "receipt", "next_step"] {
        assert!(metadata.get(name).is_some(), "metadata.{name}");
    }
    assert_eq!(metadata["limit_source"], json!(limit));
    assert!(!answered.code().is_empty());
    if [429, 503].contains(&status) {
        assert!(answered.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
    error
}

/// Checks that a request is refused so, calls nobody, and leaves exactly this receipt.
#[track_caller]
fn refused(gateway: &mut Gateway, call: Call, expected: (u16, &str), param: Option<&str>, limit: Option<&str>) -> Value {
    let (calls, secret) = (gateway.calls(), call.head.credential.clone().unwrap());
    let answered = gateway.send(call);
    let error = refusal(&answered, expected, param, limit);
    assert_eq!(gateway.calls(), calls, "nobody is called");
    assert_eq!(error["metadata"]["receipt"], json!(answered.header("x-request-id")));
    let path = format!("/v1/receipts/{}", answered.header("x-request-id").unwrap());
    let receipt = match gateway.get(&secret, &path) {
        found if found.status == 200 => found.json(),
        // A key that may not be used from here has its receipt, too.
        _ => return error,
    };
    assert_eq!((&receipt["status"], &receipt["charge"], &receipt["attempts"]), (&json!("refused"), &json!("0"), &json!([])));
    assert_eq!((&receipt["usage_source"], &receipt["hold"], &receipt["entry_ids"]), (&json!("none"), &Value::Null, &json!([])));
    assert!(
        receipt["charge_policy"].as_str().unwrap().ends_with("nothing is charged") && receipt["no_charge_reason"].is_string()
    );
    assert_eq!((&receipt["error"]["code"], &receipt["next_step"]), (&error["code"], &error["metadata"]["next_step"]));
    let told = format!("{} {}", receipt["error"]["message"].as_str().unwrap(), receipt["next_step"].as_str().unwrap());
    assert_eq!(error["message"], told, "clients print the next step too");
    error
}

#[test]
fn a_key_that_is_none_is_answered_401_everywhere_and_echoed_nowhere() {
    let mut gateway = Gateway::new();
    let long = format!("sk-tf-{}", "a".repeat(4000));
    let other = format!("sk-tf-{}", "g".repeat(48));
    let unknown = format!("sk-tf-{}", "0".repeat(48));
    for credential in [
        None,
        Some(""),
        Some("sk-proj-abcdefghijklmnop"),
        Some("sk-tf-"),
        Some("sk-tf-0123456789abcdef"),
        Some(&other),
        Some(&long),
        Some("sk-tf-' OR 1=1 --"),
        Some(&unknown),
        Some(ROOT),
    ] {
        for (method, path) in [
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/route"),
            ("GET", "/v1/models"),
            ("GET", "/v1/models/one"),
            ("GET", "/v1/receipts"),
            ("GET", "/v1/balances"),
            ("GET", "/v1/key"),
        ] {
            let call = Call { method: method.to_owned(), path: path.to_owned(), ..chat("", &json!({"model": "one"})) };
            let mut call = call.address("203.0.113.7");
            call.head.credential = credential.map(str::to_owned);
            let answered = gateway.send(call);
            let error = refusal(&answered, (401, "invalid_api_key"), None, None);
            assert_eq!(error["metadata"]["receipt"], Value::Null);
            if let Some(credential) = credential.filter(|credential| credential.len() > 6) {
                assert!(!answered.body.contains(credential));
            }
        }
    }
}

#[test]
fn a_key_that_has_expired_is_refused_and_one_that_has_not_yet_is_not() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (_, secret) = gateway.key(&account, &json!({"expires_at": "2027-01-15T09:00:00Z"}));
    assert_eq!(gateway.call(&secret, "one").status, 200);
    gateway.advance(3_600_000);
    for path in ["/v1/models", "/v1/balances"] {
        gateway.get(&secret, path).refused(401, "invalid_api_key");
    }
    gateway.call(&secret, "one").refused(401, "invalid_api_key");
}

#[test]
fn a_model_that_does_not_exist_is_answered_with_the_names_of_near_ones() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let call = chat(&secret, &json!({"model": "agian"}));
    let error = refused(&mut gateway, call, (404, "model_not_found"), Some("model"), None);
    assert_eq!(error["metadata"]["near"][0], "again");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("`agian`") && message.contains("again"), "{message}");
    let long = "x".repeat(10_000);
    for name in
        [&long, "demo\r\nx-evil: 1", "démo 🍞", "../../admin", "\u{0}", "<script>alert(1)</script>", ":official", "one:fast"]
    {
        let answered = gateway.call(&secret, name);
        assert_eq!(answered.header("x-evil"), None);
        let error = refusal(&answered, (404, "model_not_found"), Some("model"), None);
        assert!(error["message"].as_str().unwrap().len() < 500);
        assert!(gateway.receipt(&secret, &answered)["requested_model"].as_str().unwrap().len() <= 128);
    }
}

#[test]
fn what_a_key_may_not_call_is_refused_by_its_name_its_alias_its_route_and_as_a_fallback() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "100"), ("wallet", "100")]);
    let (_, narrow) = gateway.key(&account, &json!({"models": ["one"]}));
    for fields in [
        json!({"model": "both"}),
        json!({"model": "both-latest"}),
        json!({"model": "both:routed"}),
        json!({"model": "two", "models": ["both"]}),
    ] {
        let call = chat(&narrow, &fields);
        refused(&mut gateway, call, (403, "model_not_allowed"), Some("model"), Some("key"));
    }
    // What is left out of the list of fallbacks is not tried either.
    let answered = gateway.chat(&narrow, &json!({"model": "again", "models": ["two", "one"]}));
    let receipt = gateway.receipt(&narrow, &answered);
    assert_eq!((&receipt["model"], receipt["attempts"].as_array().unwrap().len()), (&json!("one"), 1));
    let (_, official) = gateway.key(&account, &json!({"routes": ["official"]}));
    let mut by_header = chat(&official, &json!({"model": "both"}));
    by_header.head.route = Some("routed".to_owned());
    for call in [chat(&official, &json!({"model": "both:routed"})), chat(&official, &json!({"model": "routed"})), by_header] {
        refused(&mut gateway, call, (403, "route_not_allowed"), None, Some("key"));
    }
    let call = chat(&official, &json!({"model": "one:routed"}));
    let error = refused(&mut gateway, call, (404, "model_not_found"), Some("model"), None);
    assert!(error["message"].as_str().unwrap().contains("`one` has no routed route"), "{error}");
}

#[test]
fn what_has_no_price_is_refused_never_free() {
    let mut document = crate::gateway::catalog();
    document["models"]["unpriced"] = document["models"]["one"].clone();
    document["models"]["unpriced"]["routes"]["official"].as_object_mut().unwrap().shift_remove("price");
    let mut gateway = Gateway::with(&document);
    let secret = gateway.rich_key(&json!({"rpm": 1}));
    let call = chat(&secret, &json!({"model": "unpriced"}));
    refused(&mut gateway, call, (503, "model_unpriced"), Some("model"), None);
    let call = chat(&secret, &json!({"model": "one", "modalities": ["text", "audio"]}));
    refused(&mut gateway, call, (503, "model_unpriced"), Some("modalities"), None);
    assert_eq!(gateway.call(&secret, "no-such-model").status, 404);
    assert_eq!(gateway.call(&secret, "one").status, 200, "limits are not used up by what is refused for another reason");
}

#[test]
fn an_address_that_a_key_does_not_allow_is_refused() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({"ip_allow": ["203.0.113.0/24", "2001:db8::7"]}));
    for address in [Some("198.51.100.1"), Some("2001:db8::8"), None] {
        let mut call = chat(&secret, &json!({"model": "one"}));
        call.head.address = address.map(|address| address.parse().unwrap());
        refused(&mut gateway, call, (403, "ip_not_allowed"), None, Some("key"));
    }
    let reading = gateway.send(Call::new("GET", "/v1/models").with(&secret).address("198.51.100.1"));
    let error = refusal(&reading, (403, "ip_not_allowed"), None, Some("key"));
    assert_eq!(error["metadata"]["receipt"], Value::Null);
    for address in ["203.0.113.7", "2001:db8::7"] {
        assert_eq!(gateway.send(chat(&secret, &json!({"model": "one"})).address(address)).status, 200, "{address}");
    }
}

fn post(secret: &str, body: impl Into<Vec<u8>>) -> Call {
    chat(secret, &json!({})).body(body)
}

#[test]
fn a_body_that_is_no_json_is_the_callers_400() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let not_utf8 = [&b"{\"model\":\"one\",\"messages\":[\""[..], &[0xff, 0xfe], b"\"]}"].concat();
    let mut bodies: Vec<Vec<u8>> = vec![not_utf8, "[".repeat(100_000).into()];
    for text in [
        "",
        " \n\t",
        "hello",
        "{\"model\":\"one\",\"messages\":[",
        "[]",
        "null",
        "\"one\"",
        "42",
        "{}{}",
        "{\"model\":\"one\",/* hi */\"messages\":[]}",
        "{\"model\":\"one\",\"messages\":[],}",
        "{'model':'one'}",
        "{\"model\":\"one\",\"messages\":[],\"temperature\":NaN}",
        "model=one&messages=hello",
    ] {
        bodies.push(text.into());
    }
    for body in bodies {
        refused(&mut gateway, post(&secret, body), (400, "invalid_json"), None, None);
    }
}

#[test]
fn a_field_that_is_wrong_is_a_400_that_names_it() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let many = format!(r#""models":{}"#, json!((0..17).map(|n| format!("m{n}")).collect::<Vec<_>>()));
    let deep = format!(r#""model":"one","provider":{}{}"#, "[".repeat(100), "]".repeat(100));
    for (members, param) in [
        (r#""stream":false"#, "model"),
        (r#""model":"""#, "model"),
        (r#""model":null"#, "model"),
        (r#""model":5"#, "model"),
        (r#""model":["one"]"#, "model"),
        (r#""model":{"id":"one"}"#, "model"),
        (r#""model":"one","models":"two""#, "models"),
        (r#""model":"one","models":[1]"#, "models"),
        (many.as_str(), "models"),
        (r#""model":"one","stream":"true""#, "stream"),
        (r#""model":"one","stream":1"#, "stream"),
        (r#""model":"one","stream":true,"stream_options":[true]"#, "stream_options"),
        (r#""model":"one","stream":true,"stream_options":{"include_usage":"yes"}"#, "stream_options"),
        (r#""model":"one","max_tokens":-1"#, "max_tokens"),
        (r#""model":"one","max_tokens":0"#, "max_tokens"),
        (r#""model":"one","max_tokens":1.5"#, "max_tokens"),
        (r#""model":"one","max_tokens":"100""#, "max_tokens"),
        (r#""model":"one","max_tokens":1e99"#, "max_tokens"),
        (r#""model":"one","max_tokens":1e999"#, "max_tokens"),
        (r#""model":"one","max_tokens":18446744073709551616"#, "max_tokens"),
        (r#""model":"one","max_tokens":9007199254740993"#, "max_tokens"),
        (r#""model":"one","fit":"never","max_tokens":4097"#, "max_tokens"),
        (r#""model":"one","fit":"sometimes""#, "fit"),
        (r#""model":"one","max_tokens":true"#, "max_tokens"),
        (r#""model":"one","max_completion_tokens":-9223372036854775809"#, "max_completion_tokens"),
        (r#""model":"one","n":0"#, "n"),
        (r#""model":"one","n":-1"#, "n"),
        (r#""model":"one","n":129"#, "n"),
        (r#""model":"one","n":4294967297"#, "n"),
        (r#""model":"one","n":"2""#, "n"),
        (r#""model":"one","session_id":5"#, "session_id"),
        (r#""model":"one","modalities":"audio""#, "modalities"),
        (r#""model":"one","provider":"main""#, "provider"),
        (r#""model":"one","provider":{"order":"main"}"#, "provider"),
        (r#""model":"one","provider":{"max_price":{"prompt":-1}}"#, "provider"),
        (r#""model":"one","provider":{"only":["elsewhere"]}"#, "provider"),
        (deep.as_str(), "provider"),
        (r#""model":"one","provider":{"max_price":{"prompt":"0.5"}}"#, "provider.max_price"),
        (r#""model":"one","model":"two""#, "model"),
        (r#""model":"one","max_tokens":1,"max_tokens":4000"#, "max_tokens"),
        (r#""model":"one","max_tokens":1,"max_\u0074okens":4000"#, "max_tokens"),
        (r#""model":"one","messages":[]"#, "messages"),
        (r#""model":"one","x":1,"x":1"#, "x"),
    ] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"hello"}}],{members}}}"#);
        let error = refused(&mut gateway, post(&secret, body), (400, "invalid_request"), Some(param), None);
        assert!(error["message"].as_str().unwrap().len() < 1000);
    }
    for messages in ["", r#","messages":"hello""#, r#","messages":null"#, r#","messages":{}"#] {
        let body = format!(r#"{{"model":"one"{messages}}}"#);
        refused(&mut gateway, post(&secret, body), (400, "invalid_request"), Some("messages"), None);
    }
}

#[test]
fn a_header_that_is_wrong_is_a_400_that_names_it() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let (run, key) = ("r".repeat(129), "k".repeat(256));
    type Set = fn(&mut Call, &str);
    let (route, of_run, idempotency): (Set, Set, Set) = (
        |call, value| call.head.route = Some(value.to_owned()),
        |call, value| call.head.run = Some(value.to_owned()),
        |call, value| call.head.idempotency_key = Some(value.to_owned()),
    );
    for (set, value, param) in [
        (route, "cheap", "x-tf-route"),
        (of_run, "a b", "x-tf-run"),
        (of_run, run.as_str(), "x-tf-run"),
        (idempotency, key.as_str(), "Idempotency-Key"),
        (idempotency, "a b", "Idempotency-Key"),
    ] {
        let mut call = chat(&secret, &json!({"model": "one"}));
        set(&mut call, value);
        refused(&mut gateway, call, (400, "invalid_request"), Some(param), None);
    }
}

#[test]
fn a_body_that_is_deep_wide_or_full_of_unknown_fields_is_passed_on_unread() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let wide: Vec<String> = (0..5000).map(|n| format!(r#""x{n}":{n}"#)).collect();
    let deep = format!(r#""x":{}{}"#, "[".repeat(120), "]".repeat(120));
    for members in [deep.as_str(), &wide.join(","), r#""temperature":1e999"#] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"hello"}}],"model":"one",{members}}}"#);
        let answered = gateway.send(post(&secret, body));
        assert_eq!(answered.status, 200, "{}", answered.body);
        let sent = gateway.simulation.world.calls.borrow().last().unwrap().body.clone();
        assert!(sent.contains(members), "{}", &sent[..200]);
    }
}

#[test]
fn a_limit_of_a_key_is_answered_429_and_says_when_to_come_back() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({"rpm": 1}));
    let first = gateway.call(&secret, "one");
    assert_eq!((first.status, first.header("x-ratelimit-remaining-requests")), (200, Some("0")));
    let call = chat(&secret, &json!({"model": "one"}));
    let error = refused(&mut gateway, call, (429, "rate_limit_exceeded"), None, Some("key"));
    assert!(error["metadata"]["retry_after_s"].as_u64().unwrap() <= 60);
    gateway.advance(60_000);
    assert_eq!(gateway.call(&secret, "one").status, 200);
    // At the same time.
    let secret = gateway.rich_key(&json!({"concurrency": 1}));
    gateway.script("main", Script::Slow(500, vec!["{", &ANSWER[1..]]));
    let open = gateway.open(chat(&secret, &json!({"model": "one"})));
    let call = chat(&secret, &json!({"model": "one"}));
    let error = refused(&mut gateway, call, (429, "rate_limit_exceeded"), None, Some("key"));
    assert!(error["message"].as_str().unwrap().contains("1 requests at the same time"), "{error}");
    assert_eq!(gateway.finish(open).status, 200);
    assert_eq!(gateway.call(&secret, "one").status, 200);
}
