//! Whose an error of upstream's is, and what it says of the candidate.
//!
//! The rule: what every provider of the model would say to this request is the client's, wherever it stands: in an answer of
//! status 400, in the place of an answer with 200, as the first event of a stream. So is what the client itself named and nobody
//! knows: a file, a response, a voice. It is answered at once, nobody else is tried, and the candidate is as healthy as before.
//! What is between the gateway and its provider goes to the next credential or candidate, and is never shown as the client's.
//! Of a candidate's health only that is noted which the probe request of the model's kind would meet as well: a place that a channel does
//! not have, such as `/responses` or `/completions`, says nothing about a model, and counting tokens never does.

use super::failure::Failure;
use super::prepared::Prepared;
use super::quote::Quoted;
use crate::catalog::Dialect;
use crate::dialect::condition::{Client, Condition, is_of_a_feature, is_of_the_model, is_of_the_request, names_the_credential};
use crate::dialect::discreet::Discretion;
use crate::dialect::format::UpstreamError;
use crate::dialect::{Way, probe_request};
use crate::refusal::{Code, ForeignError, Refusal};
use crate::routing::attempt::{FailureKind, Verdict, bounded_wait, classify};

/// Why a call is not answered.
pub enum No {
    Failed(Failure),
    /// Upstream refuses the request itself.
    Rejected(Box<Rejection>),
    /// The request cannot be written for this channel.
    Unwritten(Box<Refusal>),
}

impl From<Failure> for No {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// An error that is the client's.
pub struct Rejection {
    /// The status that upstream gave: 200 where it stood in place of an answer.
    pub status: u16,
    pub error: UpstreamError,
    /// Its words as the client may read them.
    shown: String,
    pub condition: Condition,
    client: Client,
    /// Whether upstream's own words and codes are of another format than the client's.
    is_foreign: bool,
}

/// A call whose error is judged.
#[derive(Clone, Copy)]
pub struct FailedCall<'a> {
    pub prepared: &'a Prepared<'a>,
    pub quoted: &'a Quoted,
    pub way: Way,
    /// Makes words of upstream's such as may be read.
    pub discretion: &'a Discretion,
}

impl FailedCall<'_> {
    /// Judges an error: with the status of the answer, or in place of one, with status 200; `retry_after_s` is the header.
    pub fn judge(self, status: u16, error: UpstreamError, retry_after_s: Option<u64>) -> No {
        let condition = Condition::of(&error, status);
        let model = &self.quoted.planned.candidate.upstream_model;
        let may_be_missing = matches!(condition, Some(Condition::NotFound)) || matches!(status, 403 | 404 | 410);
        if may_be_missing && is_of_the_request(&error, &self.prepared.request, model) {
            return self.rejected(status, error, Condition::NotFound);
        }
        match (condition, classify(status)) {
            (Some(condition), _) if condition.is_the_clients() => self.rejected(status, error, condition),
            // A 400 that is about a model is about the one that the gateway named.
            (Some(Condition::NotFound), Verdict::Client) if !is_of_the_model(&error, model) => {
                self.rejected(status, error, Condition::Invalid)
            }
            (None, Verdict::Client) if status != 405 || self.is_of_the_recipe() => {
                self.rejected(status, error, Condition::Invalid)
            }
            (condition, verdict) => {
                let is_missing = is_of_the_model(&error, model);
                let kind = match (condition, verdict) {
                    (Some(Condition::NotFound), Verdict::Read) if !is_missing => FailureKind::Unreadable,
                    (Some(Condition::NotFound), _) | (None, Verdict::Client) if is_missing => FailureKind::NotFound,
                    (Some(Condition::NotFound), _) | (None, Verdict::Client) => FailureKind::Absent,
                    (Some(condition), _) if condition.is_about_our_account() => {
                        let is_named = names_the_credential(&error, status);
                        if is_named { FailureKind::Credential } else { FailureKind::Forbidden }
                    }
                    (_, Verdict::Next(kind)) => kind,
                    (Some(_), _) => FailureKind::Load,
                    (None, _) => FailureKind::Unreadable,
                };
                // What is wrong with our account there does not come right by waiting, whatever is said of it.
                let passes = !matches!(kind, FailureKind::Credential | FailureKind::Forbidden);
                let retry_after_s = bounded_wait(retry_after_s.max(error.retry_after_s)).filter(|_| passes);
                let is_overload = condition == Some(Condition::Overloaded);
                let message = explained(kind, condition, status, &self.told(error.clone()));
                let failure = Failure { retry_after_s, is_overload, ..Failure::new(kind, message).status(status) };
                No::Failed(self.weighed(failure, &error))
            }
        }
    }

    /// Notes of a failure whether it says something about the model.
    fn weighed(self, failure: Failure, error: &UpstreamError) -> Failure {
        let may_be_the_place = match failure.kind {
            FailureKind::Absent | FailureKind::Unreadable => true,
            _ => failure.provider_status == Some(501),
        };
        let is_elsewhere = may_be_the_place && (!self.is_of_the_recipe() || is_of_a_feature(error));
        if !is_elsewhere {
            return failure;
        }
        let message = match failure.kind {
            FailureKind::Absent => "the provider does not serve such a request of this model".to_owned(),
            _ => failure.message,
        };
        Failure { message, is_of_the_model: false, ..failure }
    }

    /// Whether the probe request of the model's kind is asked at the same place.
    fn is_of_the_recipe(self) -> bool {
        let planned = &self.quoted.planned;
        probe_request::asks_there(self.prepared.request.endpoint, planned.model.kind, &planned.channel)
    }

    /// An error as it may be read, by its client and in receipts.
    fn told(self, error: UpstreamError) -> UpstreamError {
        let told = |text: String| (self.discretion)(&text);
        UpstreamError {
            message: told(error.message),
            kind: error.kind.map(told),
            param: error.param.map(told),
            code: error.code.map(told),
            retry_after_s: error.retry_after_s,
        }
    }

    fn rejected(self, status: u16, error: UpstreamError, condition: Condition) -> No {
        let endpoint = self.prepared.request.endpoint;
        let is_other = endpoint.dialect() != spoken(self.quoted.planned.channel.dialect);
        // Chat and responses have an envelope and codes in common, but not what they say of a full context.
        let is_about_words = matches!(condition, Condition::TooLong(_) | Condition::Filtered);
        let is_foreign = is_other || self.way.is_translated && is_about_words;
        let error = self.told(error);
        let shown = self.prepared.catalog.shown_text(&error.message, self.quoted.planned.named());
        No::Rejected(Box::new(Rejection { status, error, shown, condition, client: Client::of(endpoint), is_foreign }))
    }
}

/// Whose envelope a channel's errors are passed on in.
const fn spoken(dialect: Dialect) -> Dialect {
    match dialect {
        Dialect::Cohere => Dialect::Openai,
        other => other,
    }
}

impl Rejection {
    /// Whether a provider that was to count tokens says that they cannot be counted, and not that it does not count.
    pub fn is_plain(&self) -> bool {
        matches!(self.condition, Condition::Invalid | Condition::NotFound)
            && matches!(self.status, 400 | 404 | 413 | 422)
            && self.error.kind.is_some()
    }

    /// The error for the client: as upstream told it where it speaks the client's dialect, else as the table of conditions has it.
    pub fn refusal(self) -> Refusal {
        let Self { status, error, shown, condition, client, is_foreign } = self;
        let told = condition.told(client, &shown, None);
        // What is wrong with a request has many statuses, which all dialects share.
        let keeps_status = match (condition, classify(status)) {
            (Condition::Invalid, verdict) => verdict == Verdict::Client,
            (Condition::NotFound, _) => !is_foreign && (400..500).contains(&status),
            (_, verdict) => !is_foreign && verdict == Verdict::Client,
        };
        let next_step = match condition {
            Condition::TooLong(_) => "Shorten the conversation or ask for less output, or use a model with a longer context.",
            Condition::Filtered => "Change the prompt; the provider keeps this one or its answer back.",
            Condition::NotFound => "Correct what the request refers to; the provider does not know it.",
            _ => "Correct the request; every provider of this model would refuse it.",
        };
        let message = if is_foreign { told.message } else { shown };
        let refusal = Refusal::new(Code::UpstreamRejected, message, next_step).limit("upstream");
        let named = is_foreign.then(|| {
            let own = |text: &str| text.to_owned();
            Box::new(ForeignError { kind: own(told.kind), code: told.code.map(own), param: told.param.map(own) })
        });
        let param = error.param.clone().filter(|_| !is_foreign);
        let upstream_status = Some(if keeps_status { status } else { told.status });
        let refusal = Refusal { param, upstream_status, named, ..refusal };
        refusal
            .fact("provider_status", status)
            .fact("provider_type", error.kind)
            .fact("provider_param", error.param)
            .fact("provider_code", error.code)
    }
}

/// Our own words for what upstream answered: its text may name its hosts and our account there.
fn explained(kind: FailureKind, condition: Option<Condition>, status: u16, error: &UpstreamError) -> String {
    let code = error.shown_code();
    match kind {
        FailureKind::Credential if condition == Some(Condition::Quota) => {
            format!("the gateway's account at the provider has nothing left, status {status}")
        }
        FailureKind::Credential => format!("the provider did not accept the gateway's credential, status {status}"),
        FailureKind::Forbidden => format!("the provider refused this to the gateway, status {status}"),
        FailureKind::NotFound => format!("the provider does not know the model, status {status}"),
        FailureKind::Absent => format!("the provider has nothing at that place, status {status}"),
        FailureKind::Load => format!("the provider asked for fewer requests, status {status}{code}"),
        FailureKind::Timeout => format!("the provider timed out, status {status}"),
        FailureKind::Unreadable => format!("an error in place of an answer{code}"),
        _ => format!("the provider failed with status {status}{code}"),
    }
}
