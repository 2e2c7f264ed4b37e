//! A provider that answers at once. What it does is chosen by the request that reaches it, because a gateway stands between
//! it and the load: `stream` as in OpenAI's API; a model whose name contains `paced` gets one chunk every 5 ms, any other gets
//! all of them in a burst. Under `/anthropic` and `/gemini` streams have those shapes. Every chunk carries its send time, for
//! lateness.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{Fault, wall_us};

pub const CHUNKS: u32 = 200;
const PACE: Duration = Duration::from_millis(5);

const ANSWER: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1750000000,"model":"bench-upstream","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog, and the gateway counts every token of it.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":21,"total_tokens":40,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#;
const USAGE: &str = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":\"bench-upstream\",\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":200,\"total_tokens\":219}}\n\n";

/// Serves until standard input closes, so that it cannot outlive the process that started it.
pub async fn serve() -> Result<(), Fault> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{{\"port\":{}}}", listener.local_addr()?.port());
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            tokio::task::spawn_local(async move {
                // A connection that the other side breaks is not this side's fault.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer)).await;
            });
        }
    });
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 64];
    while stdin.read(&mut buffer).await.unwrap_or(0) > 0 {}
    // Not a plain return: tokio would wait for its stdin thread.
    std::process::exit(0)
}

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>) -> Result<Response<AnyBody>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (kind, body) = if asked["stream"] == true || path.ends_with(":streamGenerateContent") {
        ("text/event-stream", Chunks::new(&path, &asked).boxed_unsync())
    } else {
        ("application/json", Full::new(Bytes::from_static(ANSWER.as_bytes())).boxed_unsync())
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Openai,
    Anthropic,
    Gemini,
}

struct Chunks {
    shape: Shape,
    sent: u32,
    usage: bool,
    pace: Option<Interval>,
    flushed: bool,
}

impl Chunks {
    fn new(path: &str, asked: &Value) -> Self {
        let shape = match path {
            path if path.starts_with("/anthropic/") => Shape::Anthropic,
            path if path.starts_with("/gemini/") => Shape::Gemini,
            _ => Shape::Openai,
        };
        let paced = path.contains("paced") || asked["model"].as_str().is_some_and(|model| model.contains("paced"));
        let pace = paced.then(|| {
            let mut ticks = interval(PACE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { shape, sent: 0, usage: asked["stream_options"]["include_usage"] == true, pace, flushed: true }
    }

    fn next(&mut self) -> Option<Bytes> {
        let number = self.sent;
        self.sent += 1;
        match self.shape {
            Shape::Openai => {}
            Shape::Anthropic => return (number < CHUNKS).then(|| anthropic(number).into()),
            Shape::Gemini => return (number < CHUNKS).then(|| gemini(number).into()),
        }
        // The last event, the usage and the end marker leave together, as they do at real providers.
        let end =
            if number + 1 == CHUNKS { format!("{}data: [DONE]\n\n", if self.usage { USAGE } else { "" }) } else { String::new() };
        let finish = if end.is_empty() { "null" } else { "\"stop\"" };
        (number < CHUNKS).then(|| {
            format!(
                "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":\"bench-upstream\",\"service_tier\":\"default\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" t={:016} \"}},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n{end}",
                wall_us()
            )
            .into()
        })
    }
}

fn anthropic(number: u32) -> String {
    let start = if number > 0 {
        ""
    } else {
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench-upstream\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":19,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
    };
    let end = if number + 1 < CHUNKS {
        ""
    } else {
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":200}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    };
    format!(
        "{start}event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\" t={:016} \"}}}}\n\n{end}",
        wall_us()
    )
}

fn gemini(number: u32) -> String {
    let end = if number + 1 < CHUNKS {
        ""
    } else {
        ",\"usageMetadata\":{\"promptTokenCount\":19,\"candidatesTokenCount\":200,\"totalTokenCount\":219}"
    };
    let finish = if end.is_empty() { "" } else { ",\"finishReason\":\"STOP\"" };
    format!(
        "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\" t={:016} \"}}],\"role\":\"model\"}}{finish},\"index\":0}}]{end},\"modelVersion\":\"bench-upstream\",\"responseId\":\"bench\"}}\r\n\r\n",
        wall_us()
    )
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pace) = &mut self.pace {
            if pace.poll_tick(context).is_pending() {
                return Poll::Pending;
            }
        } else if !self.flushed {
            // hyper flushes when a body has nothing ready: one write per chunk, as tokens come from a real provider.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.flushed = false;
        Poll::Ready(self.next().map(|chunk| Ok(Frame::data(chunk))))
    }
}
