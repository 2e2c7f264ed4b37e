//! Why an attempt did not answer, and what is told when none did.
//!
//! What always holds: words of a failure are safe to show; a client is sent to its own request only by an error that is the
//! client's, which is no failure.

use crate::account::Attempt;
use crate::catalog::Catalog;
use crate::refusal::{Code, Refusal};
use crate::routing::attempt::FailureKind;

/// When nobody can say when to come back, this is a fair guess, in seconds.
const RETRY_AFTER_S: u64 = 5;
/// Nobody is told to wait longer, in seconds: clients do as they are told, and another candidate may answer long before.
const LONGEST_RETRY_AFTER_S: u64 = 3_600;
/// Why an attempt did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// In words; safe to show.
    pub message: String,
    pub provider_status: Option<u16>,
    pub retry_after_s: Option<u64>,
    /// Whether upstream says that it has too much to do.
    pub is_overload: bool,
    /// Whether it says something about the model there, and not only about the place at which it was asked.
    pub is_of_the_model: bool,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            provider_status: None,
            retry_after_s: None,
            is_overload: false,
            is_of_the_model: true,
        }
    }

    pub const fn status(mut self, status: u16) -> Self {
        self.provider_status = Some(status);
        self
    }

    /// Whether another credential of the same channel may fare better. A provider that is overloaded is so for all of them.
    pub const fn is_of_the_credential(&self) -> bool {
        match self.kind {
            FailureKind::Load => !self.is_overload,
            FailureKind::Credential | FailureKind::Forbidden | FailureKind::NotConfigured => true,
            _ => false,
        }
    }

    /// Whether it fails again whoever asks, until the operator does something.
    const fn is_lasting(&self) -> bool {
        matches!(self.kind, FailureKind::Credential | FailureKind::Forbidden | FailureKind::NotFound | FailureKind::Vanished)
    }

    /// Whether the candidate is only busy.
    fn is_busy(&self) -> bool {
        self.kind == FailureKind::Load || self.is_overload
    }
}

/// What the failures of one attempt say of its candidate: the last one tells. But where it was the credentials, and one of them
/// is only loaded, the channel is not out of order, whatever became of the others.
pub fn telling(failures: &[Failure]) -> Option<&Failure> {
    let last = failures.last()?;
    let loaded = failures.iter().find(|failure| failure.kind == FailureKind::Load);
    Some(loaded.filter(|_| last.is_of_the_credential()).unwrap_or(last))
}

/// The answer when every attempt failed; `failures` are those of each candidate.
pub fn nobody_answered(failures: &[Vec<Failure>], refused: Option<&Refusal>, attempts: &[Attempt], catalog: &Catalog) -> Refusal {
    let told: Vec<&Failure> = failures.iter().filter_map(|failures| telling(failures)).collect();
    let code = code_of(&told);
    let wait = failures.iter().flatten().filter_map(|failure| failure.retry_after_s).max();
    let wait = wait.map(|seconds| seconds.min(LONGEST_RETRY_AFTER_S));
    let is_busy = matches!(code, Code::UpstreamRateLimited | Code::UpstreamOverloaded);
    let wait = wait.or_else(|| is_busy.then_some(RETRY_AFTER_S));
    let last = told.last().map_or("no attempt could be made", |failure| failure.message.as_str());
    let count = failures.iter().flatten().count();
    let what = if is_busy { "Every provider is busy," } else { "No provider answered" };
    let message = format!("{what} after {count} attempt(s); the last one: {last}. Nothing was charged.");
    let next_step = match (wait, refused) {
        (_, Some(refused)) => format!("Another route was not covered: {} {}", refused.message, refused.next_step),
        (Some(seconds), None) => format!("Send the request again in {seconds} s, or name fallback models in `models`."),
        (None, None) if code.is_final() => "Name fallback models in `models`, or tell the operator of this gateway.".to_owned(),
        (None, None) => "Send the request again, or name fallback models in `models`.".to_owned(),
    };
    let attempts: Vec<serde_json::Value> = attempts
        .iter()
        .map(|attempt| {
            let named = attempt.named();
            serde_json::json!({
                "channel": catalog.shown_channel(named.channel), "upstream_model": catalog.shown_upstream(named),
                "tier": attempt.tier, "route": attempt.route, "error": attempt.error,
                "message": attempt.message.as_deref().map(|text| catalog.shown_text(text, named)),
                "provider_status": attempt.provider_status,
            })
        })
        .collect();
    let refusal = Refusal { retry_after_s: wait, ..Refusal::new(code, message, next_step) };
    refusal.limit("upstream").fact("attempts", attempts)
}

/// What it is when every candidate failed in its way: only where each of those that could be asked was busy, it passes, and only
/// where each refused the gateway's own account, or does not have the model, it is of no use to try again.
fn code_of(told: &[&Failure]) -> Code {
    let asked: Vec<&&Failure> = told.iter().filter(|failure| failure.kind != FailureKind::NotConfigured).collect();
    match told.is_empty() {
        true => Code::NoRouteAvailable,
        _ if asked.iter().all(|failure| failure.is_lasting()) => Code::UpstreamRefusesUs,
        _ if !asked.iter().all(|failure| failure.is_busy()) => Code::NoRouteAvailable,
        _ if asked.iter().all(|failure| failure.is_overload) => Code::UpstreamOverloaded,
        _ => Code::UpstreamRateLimited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_every_candidate_is_busy_the_answer_is_to_come_back() {
        use FailureKind::{Credential, Load, NotConfigured, NotFound, Server};
        let failure = |kind, is_overload| Failure { is_overload, ..Failure::new(kind, "no") };
        for (told, code) in [
            (&[(Load, false)][..], Code::UpstreamRateLimited),
            (&[(Load, false), (Load, false)], Code::UpstreamRateLimited),
            (&[(Server, true)], Code::UpstreamOverloaded),
            (&[(Load, true), (Server, true)], Code::UpstreamOverloaded),
            (&[(Load, false), (Server, true)], Code::UpstreamRateLimited),
            // Nobody set a credential there, so nobody was asked.
            (&[(NotConfigured, false), (Load, false)], Code::UpstreamRateLimited),
            (&[(Load, false), (Server, false)], Code::NoRouteAvailable),
            (&[(Load, false), (Credential, false)], Code::NoRouteAvailable),
            (&[(NotConfigured, false)], Code::UpstreamRefusesUs),
            (&[(NotFound, false), (Credential, false)], Code::UpstreamRefusesUs),
            (&[(NotFound, false), (Server, false)], Code::NoRouteAvailable),
            (&[(Credential, false), (NotConfigured, false)], Code::UpstreamRefusesUs),
            (&[], Code::NoRouteAvailable),
        ] {
            let failures: Vec<Failure> = told.iter().map(|(kind, is_overload)| failure(*kind, *is_overload)).collect();
            assert_eq!(code_of(&failures.iter().collect::<Vec<_>>()), code, "{told:?}");
        }
    }

    #[test]
    fn a_pool_is_only_loaded_while_one_of_its_credentials_is() {
        use FailureKind::{Credential, Load, NotConfigured, Server};
        for (kinds, told) in [
            (&[Load, Credential][..], Some(Load)),
            (&[Credential, Load], Some(Load)),
            (&[Load, NotConfigured], Some(Load)),
            (&[Credential, Credential], Some(Credential)),
            // The server's own fault is everybody's.
            (&[Load, Server], Some(Server)),
            (&[], None),
        ] {
            let failures: Vec<Failure> = kinds.iter().map(|kind| Failure::new(*kind, "no")).collect();
            assert_eq!(telling(&failures).map(|failure| failure.kind), told, "{kinds:?}");
        }
    }
}
