//! Probe rounds that an operator wants now.

use serde::Deserialize;

use super::audit;
use super::page::Page;
use super::principal::{Principal, Signature};
use super::use_case::UseCase;
use crate::account::ActKind;
use crate::ports::Probing;
use crate::probe;
use crate::refusal::{Code, Refusal};
use crate::routing::health::ProbeResult;

/// Who wants a round, and why.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Signature"))]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// For whom it is done; the author is the name of the token.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub author: Option<String>,
    /// Why; for operators alone.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub reason: Option<String>,
}

/// Runs one probe round and publishes what it found. The clock does the same.
pub async fn run<P: Probing>(ports: &P, who: &Principal, wish: Wish) -> Result<Page<ProbeResult>, Refusal> {
    let by = Signature { author: wish.author, reason: wish.reason }.by(who.operator(UseCase::Probe)?)?;
    let Some(probes) = probe::round(ports).await? else {
        let message = "A probe round is running now.";
        let refusal = Refusal::new(Code::Conflict, message, "Ask again in half a minute; it ends by itself.");
        return Err(refusal.retry_after(30));
    };
    audit::note(ports, ActKind::Probe, by, format!("probe round run, {} probes made", probes.len())).await;
    Ok(Page::whole(probes))
}
