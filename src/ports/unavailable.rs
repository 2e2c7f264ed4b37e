//! The outside did not answer.

use crate::refusal::{Code, Refusal};

/// Something outside did not answer; the text is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl Unavailable {
    /// A new deployment has no catalogue until the operator publishes one.
    pub const NO_CATALOG: &'static str = "no catalogue has been published";
}

impl From<Unavailable> for Refusal {
    fn from(Unavailable(detail): Unavailable) -> Self {
        if detail == Unavailable::NO_CATALOG {
            let message = "No catalogue has been published yet, so nothing can be called.";
            return Self::new(Code::Unavailable, message, "The operator publishes one with PUT /admin/v1/catalog.")
                .retry_after(60);
        }
        Self::unavailable(detail)
    }
}
