//! How many tokens an answer may have, and who decided that.
//!
//! What always holds: a limit that is not what was asked for, or what the model could write, says why.

use serde::{Deserialize, Serialize};

use super::free::Free;
use crate::usage::grouped;

/// The output limit that went upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OutputLimit {
    /// In tokens, for each answer.
    pub tokens: u64,
    /// What the client asked for, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// Who decided it.
    pub by: LimitBy,
    /// Why it is not what was asked for, or what the model could write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// Who decides an output limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitBy {
    /// The client.
    Client,
    /// What the model can write.
    Model,
    /// What the balance has room for.
    Balance,
    /// What a budget has room for.
    Budget,
}

impl LimitBy {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Model => "model",
            Self::Balance => "balance",
            Self::Budget => "budget",
        }
    }
}

impl OutputLimit {
    /// The limit of a client, or of a model that was asked without one or for more than it can write; `wanted` is the smaller
    /// of both.
    pub fn unfitted(asked: Option<u64>, wanted: u64) -> Self {
        let because = asked
            .filter(|asked| *asked > wanted)
            .map(|asked| format!("{} -> {} tokens, because the model answers with no more.", grouped(asked), grouped(wanted)));
        let by = if asked == Some(wanted) { LimitBy::Client } else { LimitBy::Model };
        Self { tokens: wanted, asked, by, because }
    }

    /// The same, made to fit into what was free of a bucket, which the text names with its currency; never below a floor.
    #[must_use]
    pub fn fitted(self, (tokens, floor): (u64, u64), free: Free, bucket: &str) -> Self {
        let Free { amount, is_of_a_budget } = free;
        let (by, left) = match is_of_a_budget {
            true => (LimitBy::Budget, "a budget leaves"),
            false => (LimitBy::Balance, "there is"),
        };
        let (from, to) = (grouped(self.asked.unwrap_or(self.tokens)), grouped(tokens));
        let because = format!(
            "{from} -> {to} tokens, because {left} {amount} {bucket} free: one request takes at most a quarter of that and leaves room for nine more, but has at least {} tokens.",
            grouped(floor)
        );
        Self { tokens, by, because: Some(because), ..self }
    }

    /// Whether it was made smaller for want of money.
    pub const fn is_fitted(&self) -> bool {
        matches!(self.by, LimitBy::Balance | LimitBy::Budget)
    }

    /// What to do about an answer that ended at a fitted limit; none of any other.
    pub fn next_step(&self, output: u64, bucket: &str) -> Option<String> {
        let what = if self.by == LimitBy::Budget { "raise the budget" } else { "add balance" };
        let tokens = grouped(self.tokens);
        (self.is_fitted() && output >= self.tokens).then(|| {
            format!("The answer ended at {tokens} tokens, the limit that `{bucket}` had room for: {what}, and ask again or let the model go on.")
        })
    }
}
