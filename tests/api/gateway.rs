//! The gateway under test: a new deployment in memory with the test catalogue, and the calls that tests make.

use std::cell::RefCell;
use std::future::ready;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use tokens_forge::api::{self, Request};
use tokens_forge::app::{codes, reconcile};
use tokens_forge::id::AccountId;
use tokens_forge::ports::{Publishing, Rounds};
use tokens_forge::probe;
use tokens_forge::relay::{Reply, ReplyBody, RequestHead};

use crate::support::outside::{Begun, Script, Simulation};

pub const ORIGIN: &str = "https://gateway.example";
pub const ROOT: &str = "test-admin-token-7Jq2Lr9Xw4Tn6Vb8Zk1Hs3Gd5";
pub const SESSION_SECRET: &str = "test-session-secret-3Gd5Hs1Zk8Vb6Tn4Xw9Lr2Jq7";

/// What every channel answers unless a test says otherwise: 10 tokens in, 5 out.
pub const ANSWER: &str = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;

/// The test catalogue: `one` over one channel, `two` with a backup, `again` with one on the same channel, `both` over both routes,
/// `routed` over the wallet alone.
pub fn catalog() -> Value {
    let channel = |host: &str| {
        json!({
            "dialect": "openai", "base_url": format!("https://{host}.example.com/v1"), "secrets": ["UPSTREAM_KEY"],
            "first_byte_timeout_ms": 1000, "idle_timeout_ms": 1000, "probe_daily_cap": "0",
            "label": host, "shows_upstream_models": true,
        })
    };
    // Each model has ids of its own upstream, so that none meets what another has spoilt.
    let candidate = |model: &str, channel: &str, tier: u8| json!({"channel": channel, "upstream_model": format!("{channel}-{model}-{tier}"), "tier": tier});
    let official = |candidates: Value| json!({"bucket": "credit", "price": {"input": "1", "cached_input": "0.1", "output": "2"}, "candidates": candidates});
    let routed =
        |candidates: Value| json!({"bucket": "wallet", "price": {"input": "7", "output": "14"}, "candidates": candidates});
    let model = |routes: Value| json!({"name": "A test model", "family": "test", "kind": "chat", "context_length": 128000, "max_output_tokens": 4096, "routes": routes});
    let over = |name: &str, channels: &[&str]| {
        let candidates = channels.iter().zip(0..).map(|(channel, tier)| candidate(name, channel, tier));
        model(json!({"official": official(candidates.collect())}))
    };
    let mut both = model(json!({
        "official": official(json!([candidate("both", "main", 0)])), "routed": routed(json!([candidate("both", "pool", 0)])),
    }));
    both["aliases"] = json!(["both-latest"]);
    json!({
        "version": 1,
        "buckets": {"credit": {"label": "Official credit", "currency": "USD"}, "wallet": {"label": "Routed wallet", "currency": "CNY"}},
        "channels": {"main": channel("main"), "backup": channel("backup"), "pool": channel("pool")},
        "models": {
            "one": over("one", &["main"]),
            "two": over("two", &["main", "backup"]),
            "again": over("again", &["main", "main"]),
            "both": both,
            "routed": model(json!({"routed": routed(json!([candidate("routed", "pool", 0)]))})),
        },
        "charge_policy": {"upstream_cut": "free"},
    })
}

pub struct Gateway {
    pub simulation: Simulation,
}

/// A request that is to be sent.
#[derive(Clone, Default)]
pub struct Call {
    pub method: String,
    /// With its query.
    pub path: String,
    pub body: Vec<u8>,
    pub head: RequestHead,
    pub accept: Option<String>,
    pub cookies: Option<String>,
    pub from: Option<String>,
    pub signature: Option<String>,
    pub preflight: Option<(String, String)>,
    pub presented_in: Option<&'static str>,
}

/// An answer that is read piece by piece.
pub type ReplyStream = Rc<RefCell<Option<Pin<Box<dyn Stream<Item = Result<Vec<u8>, String>>>>>>>;

/// An answer, read to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Call {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() }
    }

    pub fn with(self, credential: &str) -> Self {
        let head = RequestHead { credential: Some(credential.to_owned()), ..self.head };
        Self { head, presented_in: Some("authorization"), ..self }
    }

    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub fn address(mut self, address: &str) -> Self {
        self.head.address = Some(address.parse().unwrap());
        self
    }

    pub fn idempotency(mut self, key: &str) -> Self {
        self.head.idempotency_key = Some(key.to_owned());
        self
    }
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The code of a refusal; every one says what to do, too.
    pub fn code(&self) -> String {
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
        assert!(!error["metadata"]["next_step"].as_str().unwrap().is_empty(), "{error}");
        error["code"].as_str().unwrap().to_owned()
    }

    /// The answer is a refusal with this status and code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.body);
    }

    /// The JSON of an answer that is none.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.body);
        self.json()
    }
}

async fn read(reply: Reply) -> Answered {
    let Reply { status, headers, body, .. } = reply;
    let bytes = match body {
        ReplyBody::Full(bytes) => bytes,
        ReplyBody::Stream(mut stream) => {
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend(piece.unwrap());
            }
            bytes
        }
    };
    Answered { status, headers, body: String::from_utf8(bytes).unwrap() }
}

impl Gateway {
    /// With the test catalogue.
    pub fn new() -> Self {
        Self::with(&catalog())
    }

    /// With another catalogue.
    pub fn with(catalog: &Value) -> Self {
        let mut gateway = Self::unpublished();
        gateway.admin("PUT", "/admin/v1/catalog", catalog).ok();
        gateway
    }

    /// Without any catalogue.
    pub fn unpublished() -> Self {
        let gateway = Self { simulation: Simulation::empty() };
        for (name, value) in [("ADMIN_TOKEN", ROOT), ("SESSION_SECRET", SESSION_SECRET)] {
            gateway.set(name, value);
        }
        *gateway.simulation.world.otherwise.borrow_mut() = Some(Script::Status(200, ANSWER));
        gateway
    }

    pub fn set(&self, name: &str, value: &str) {
        self.simulation.world.settings.borrow_mut().insert(name.to_owned(), value.to_owned());
    }

    /// So many of the next uses fail.
    pub fn fail(&self, name: &'static str, times: u32) {
        self.simulation.world.failing.borrow_mut().insert(name, times);
    }

    pub fn advance(&self, ms: i64) {
        let now = &self.simulation.world.now;
        now.set(now.get() + ms);
    }

    /// Sends a request, reads the answer, and lets what runs behind it go on as far as it need not wait.
    pub fn send(&mut self, call: Call) -> Answered {
        let open = self.open(call);
        self.finish(open)
    }

    /// The answer of a request that was opened.
    pub fn finish(&mut self, open: Begun<Answered>) -> Answered {
        let answered = self.simulation.finish(&open);
        self.simulation.idle();
        answered
    }

    /// Sends requests that all run at the same time.
    pub fn together(&mut self, calls: impl IntoIterator<Item = Call>) -> Vec<Answered> {
        let all = futures_util::future::join_all(calls.into_iter().map(|call| self.asked(call)));
        let answered = self.simulation.run(all);
        self.simulation.idle();
        answered
    }

    /// Sends a request whose answer is read later.
    pub fn open(&mut self, call: Call) -> Begun<Answered> {
        let asked = self.asked(call);
        self.simulation.begin(asked)
    }

    fn asked(&self, call: Call) -> impl Future<Output = Answered> + use<> {
        let replied = self.replied(call);
        async move { read(replied.await).await }
    }

    /// Sends a request whose answer is a stream that is read later, piece by piece.
    pub fn stream(&mut self, call: Call) -> ReplyStream {
        let replied = self.replied(call);
        match self.simulation.run(replied) {
            Reply { body: ReplyBody::Stream(stream), .. } => Rc::new(RefCell::new(Some(stream))),
            Reply { status, .. } => panic!("{status}, and no stream"),
        }
    }

    /// Begins to read the next piece of a stream; none is its end.
    pub fn piece(&mut self, stream: &ReplyStream) -> Begun<Option<Result<String, String>>> {
        let place = Rc::clone(stream);
        self.simulation.begin(async move {
            let mut stream = place.borrow_mut().take().unwrap();
            let piece = stream.next().await;
            *place.borrow_mut() = Some(stream);
            piece.map(|piece| piece.map(|bytes| String::from_utf8(bytes).unwrap()))
        })
    }

    fn replied(&self, call: Call) -> impl Future<Output = Reply> + use<> {
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let preflight = call.preflight.map(|(method, headers)| api::Preflight { method, headers: Some(headers) });
        let request = Request {
            method: call.method,
            path: path.to_owned(),
            query,
            head: call.head,
            accept: call.accept,
            cookies: call.cookies,
            from: call.from,
            preflight,
            presented_in: call.presented_in,
            signature: call.signature,
            origin: ORIGIN.to_owned(),
            body: ready(Ok(call.body.into())),
        };
        let outside = self.simulation.outside();
        api::handle(outside, request)
    }

    /// As the operator.
    pub fn admin(&mut self, method: &str, path: &str, body: &Value) -> Answered {
        self.by(ROOT, method, path, body)
    }

    /// With a credential; a body of null is none.
    pub fn by(&mut self, credential: &str, method: &str, path: &str, body: &Value) -> Answered {
        let call = Call::new(method, path).with(credential);
        self.send(if body.is_null() { call } else { call.json(body) })
    }

    pub fn get(&mut self, secret: &str, path: &str) -> Answered {
        self.by(secret, "GET", path, &Value::Null)
    }

    /// A new account with so much in its buckets.
    pub fn account(&mut self, balances: &[(&str, &str)]) -> String {
        let made = self.admin("POST", "/admin/v1/accounts", &json!({"name": "Test"})).ok();
        let id = made["id"].as_str().unwrap().to_owned();
        for (bucket, amount) in balances {
            let adjustment = json!({"bucket": bucket, "amount": amount, "reason": "test"});
            self.admin("POST", &format!("/admin/v1/accounts/{id}/adjustments"), &adjustment).ok();
        }
        id
    }

    /// A new key of an account: its id and its secret.
    pub fn key(&mut self, account: &str, policy: &Value) -> (String, String) {
        let mut body = json!({"label": "test"});
        body.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
        let made = self.admin("POST", &format!("/admin/v1/accounts/{account}/keys"), &body).ok();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    /// The secret of a key of a new account with plenty in both buckets.
    pub fn rich_key(&mut self, policy: &Value) -> String {
        let account = self.account(&[("credit", "100"), ("wallet", "100")]);
        self.key(&account, policy).1
    }

    /// A chat call that says hello.
    pub fn call(&mut self, secret: &str, model: &str) -> Answered {
        self.chat(secret, &json!({"model": model}))
    }

    /// A chat call with these fields.
    pub fn chat(&mut self, secret: &str, fields: &Value) -> Answered {
        self.send(chat(secret, fields))
    }

    /// The receipt of an answer.
    #[track_caller]
    pub fn receipt(&mut self, secret: &str, answered: &Answered) -> Value {
        let id = answered.header("x-generation-id").unwrap().to_owned();
        self.get(secret, &format!("/v1/receipts/{id}")).ok()
    }

    /// How the next call on a host is answered.
    pub fn script(&self, host: &str, script: Script) {
        self.simulation.script(&format!("{host}.example.com"), script);
    }

    /// How often upstream was called.
    pub fn calls(&self) -> usize {
        self.simulation.world.calls.borrow().len()
    }

    /// The balance of a bucket, as the operator sees it.
    pub fn balance(&mut self, account: &str, bucket: &str) -> String {
        let view = self.admin("GET", &format!("/admin/v1/accounts/{account}"), &Value::Null).ok();
        let found = view["balances"].as_array().unwrap().iter().find(|view| view["bucket"] == bucket);
        found.unwrap()["balance"].as_str().unwrap().to_owned()
    }

    /// The alarms of all accounts: what is due ends, and what is new is copied.
    pub fn alarm(&mut self) {
        self.simulation.world.alarm();
        for memory in self.simulation.world.accounts.borrow().values() {
            memory.check_law();
        }
    }

    /// One run of the cron trigger; whatever was copied meanwhile is there before.
    pub fn scheduled(&mut self) {
        self.alarm();
        let outside = self.simulation.outside();
        self.simulation.run(async move {
            outside.move_announced().await.unwrap();
            probe::round(&outside).await.unwrap();
            outside.tidy().await.unwrap();
            assert!(codes::credit_taken(&outside).await.is_ok());
            assert!(reconcile::reconcile_due(&outside).await.is_ok());
        });
        self.simulation.idle();
    }

    /// What is stored of an account.
    pub fn stored<T>(&self, account: &str, look: impl FnOnce(&mut crate::support::tables::Tables) -> T) -> T {
        let world = Rc::clone(&self.simulation.world);
        world.account(&AccountId::parse(account).unwrap(), look)
    }
}

/// A chat call with these fields.
pub fn chat(secret: &str, fields: &Value) -> Call {
    let mut body = json!({"messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let call = Call::new("POST", "/v1/chat/completions").with(secret).json(&body);
    Call { head: RequestHead { content_type: Some("application/json".to_owned()), ..call.head }, ..call }
}
