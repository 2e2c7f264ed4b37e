//! What an upstream's answer means: serve it, hand it to the client as its own error, or go to the next candidate.

use serde::{Deserialize, Serialize};

pub use crate::refusal::{bounded_wait, wait_in_seconds};

/// Why an attempt did not lead to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection, or it broke before the first byte.
    Connect,
    /// No first byte in time.
    Timeout,
    /// 429, or upstream says that it is overloaded.
    Load,
    /// 5xx and other failures of the server.
    Server,
    /// 401, 402, or another error that names it: upstream does not accept our credential, or our account there.
    Credential,
    /// 403 that names neither: upstream does not want to do this, whatever the reason.
    Forbidden,
    /// An error that names the model: upstream does not know it.
    NotFound,
    /// 404 that does not name the model: there is nothing at that place, or nothing of what was asked for.
    Absent,
    /// Something that is not an answer: HTML, an error with status 200, an empty stream.
    Unreadable,
    /// We have no credential for this channel.
    NotConfigured,
    /// The provider's own list of models does not have the id any more.
    Vanished,
    /// It broke off in the middle of an answer.
    Cut,
}

impl FailureKind {
    /// Whether one is enough to know: it names the credential or the model.
    pub const fn is_certain(self) -> bool {
        matches!(self, Self::Credential | Self::NotFound | Self::NotConfigured | Self::Vanished)
    }

    /// Whether it may have taken long to find out.
    pub const fn is_slow(self) -> bool {
        matches!(self, Self::Connect | Self::Timeout)
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let kinds = [
            Self::Connect,
            Self::Timeout,
            Self::Load,
            Self::Server,
            Self::Credential,
            Self::Forbidden,
            Self::NotFound,
            Self::Absent,
            Self::Unreadable,
            Self::NotConfigured,
            Self::Vanished,
            Self::Cut,
        ];
        kinds.into_iter().find(|kind| kind.as_str() == text)
    }

    /// As in receipts and error metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Load => "load",
            Self::Server => "server",
            Self::Credential => "credential",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
            Self::NotConfigured => "not_configured",
            Self::Vanished => "vanished",
            Self::Cut => "cut",
        }
    }
}

/// What to do with a status that upstream answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Read the body; it should be an answer.
    Read,
    /// The request is at fault; no other candidate would answer better.
    Client,
    /// The next candidate.
    Next(FailureKind),
}

/// What an HTTP status of upstream means.
pub const fn classify(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Read,
        401 | 402 => Verdict::Next(FailureKind::Credential),
        403 => Verdict::Next(FailureKind::Forbidden),
        404 => Verdict::Next(FailureKind::Absent),
        408 => Verdict::Next(FailureKind::Timeout),
        // 529 is Anthropic's word for too much to do.
        429 | 529 => Verdict::Next(FailureKind::Load),
        400 | 405..=428 | 430..=499 => Verdict::Client,
        _ => Verdict::Next(FailureKind::Server),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_errors_are_not_tried_elsewhere() {
        for status in [400, 409, 413, 415, 422] {
            assert_eq!(classify(status), Verdict::Client, "{status}");
        }
    }

    #[test]
    fn upstreams_errors_are() {
        for (status, kind) in [
            (302, FailureKind::Server),
            (401, FailureKind::Credential),
            (402, FailureKind::Credential),
            (403, FailureKind::Forbidden),
            (404, FailureKind::Absent),
            (408, FailureKind::Timeout),
            (429, FailureKind::Load),
            (500, FailureKind::Server),
            (503, FailureKind::Server),
            (529, FailureKind::Load),
        ] {
            assert_eq!(classify(status), Verdict::Next(kind), "{status}");
        }
    }
}
