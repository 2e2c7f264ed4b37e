//! The platform: the only folder that names `worker`. It carries requests in and answers out, and answers the ports.
//!
//! Deliberately absent: every `if` about money or routes.

mod account_client;
mod account_object;
mod alerts;
mod bound;
mod cache;
mod catalog;
mod clock;
mod codes;
mod directory;
mod gates;
mod health;
mod http;
mod http_client;
mod journals;
mod kept;
mod lists;
mod operators;
mod outbox;
mod outside;
mod payments;
mod platform;
mod request_port;
mod sessions;
mod settings;
mod socket;
mod store;
mod truth;
mod upstream;

use futures_util::future::{Either, select};
use worker::{Context, Env, Request, Response, ScheduleContext, ScheduledEvent, event};

use crate::api;
use crate::app;
use crate::ports::{Publishing, Rounds};
use outside::Outside;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// Answers a request, unless its client leaves first: a handler that waits for a client that is gone would never be freed.
#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    let gone = http::client_gone(&request);
    let is_over_tls = request.inner().url().starts_with("https://");
    let answer = async {
        if socket::is_asked(&request) {
            return socket::answer(request, env, context).await;
        }
        http::write(match http::read(request) {
            Ok(request) => api::handle(Outside::new(env, context), request).await,
            Err(reply) => reply,
        })
    };
    let answered = match select(Box::pin(answer), gone).await {
        Either::Left((answered, _)) => answered,
        Either::Right(_) => Response::empty().map(|response| response.with_status(499)),
    };
    answered.or_else(|error| {
        worker::console_error!("answering failed: {error}");
        http::failure(is_over_tls)
    })
}

/// Each minute: an announced catalogue that is due is published; one probe round, codes that were taken and not credited, and
/// some accounts reconciled. Once an hour, what is old of the health history moves on.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, context: ScheduleContext) {
    let outside = Outside::scheduled(env, context);
    if let Err(error) = outside.move_announced().await {
        worker::console_error!("announced catalogue: {}", error.0);
    }
    if let Err(error) = crate::probe::round(&outside).await {
        worker::console_error!("probe round: {}", error.0);
    }
    if clock::now().millis().rem_euclid(HOUR_MS) < MINUTE_MS
        && let Err(error) = outside.tidy().await
    {
        worker::console_error!("health history: {}", error.0);
    }
    if let Err(refusal) = app::codes::credit_taken(&outside).await {
        worker::console_error!("codes: {} {}", refusal.message, refusal.detail.unwrap_or_default());
    }
    if let Err(refusal) = app::reconcile::reconcile_due(&outside).await {
        worker::console_error!("reconcile: {} {}", refusal.message, refusal.detail.unwrap_or_default());
    }
}
