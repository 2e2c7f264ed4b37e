//! What the pages show, as JSON: for whoever looks at them by program, signed in or not.

use serde_json::{Value, json};

use super::cache::set_cache_control;
use super::status;
use crate::api::models::entry;
use crate::app::availability::{Snapshot, Viewer};
use crate::app::{models, truth};
use crate::pages::view::{Day, Incident};
use crate::ports::Records;
use crate::refusal::Refusal;
use crate::relay::Reply;

fn answer(value: &Value, viewer: Option<&Viewer<'_>>) -> Reply {
    let mut reply = Reply::json(200, value.to_string());
    if matches!(viewer, None | Some(Viewer::Anyone)) {
        set_cache_control(&mut reply, "public, max-age=10");
        reply = reply.header("vary", "cookie");
    }
    reply
}

/// `/models.json`: every model, callable or not.
pub async fn models<P: Records>(ports: &P, viewer: &Viewer<'_>) -> Result<Reply, Refusal> {
    let data: Vec<Value> = models::all(ports, viewer).await?.iter().map(entry).collect();
    Ok(answer(&json!({"object": "list", "data": data}), Some(viewer)))
}

/// `/models/{id}.json`: one of them.
pub async fn model<P: Records>(ports: &P, viewer: &Viewer<'_>, name: &str) -> Result<Reply, Refusal> {
    Ok(answer(&entry(&models::one(ports, viewer, name).await?), Some(viewer)))
}

/// `/status.json`: every route with its days, and the incidents.
pub async fn status<P: Records>(ports: &P) -> Result<Reply, Refusal> {
    let snapshot = Snapshot::take(ports).await?;
    let page = status::page(ports, &snapshot).await;
    let percent = |share: Option<f64>| share.map(|share| share * 100.0);
    let day = |day: &Day| json!({"date": day.date, "uptime": percent(day.uptime), "worst": day.worst, "down_minutes": day.down_minutes});
    let incident = |incident: &Incident| {
        json!({
            "id": incident.id, "subject": incident.subject, "models": incident.models, "status": incident.status,
            "started_at": incident.started_at, "ended_at": incident.ended_at, "cause": incident.cause,
        })
    };
    let mut routes = Vec::new();
    for model in &page.models {
        routes.extend(model.routes.iter().map(|route| {
            json!({
                "model": model.id, "name": model.name, "route": route.kind, "status": route.status, "since": route.since,
                "uptime_last_90d": percent(route.uptime), "days": route.days.iter().map(day).collect::<Vec<_>>(),
                "truth": truth::of_route(&route.truth),
            })
        }));
    }
    let value = json!({
        "status": page.status, "summary": page.sentence, "at": snapshot.now, "routes": routes,
        "incidents": {
            "current": page.current.iter().map(incident).collect::<Vec<_>>(), "past": page.past.iter().map(incident).collect::<Vec<_>>(),
        },
    });
    Ok(answer(&value, None))
}
