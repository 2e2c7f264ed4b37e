//! The outside did not answer.

/// Something outside did not answer; the text is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl Unavailable {
    /// A new deployment has no catalogue until the operator publishes one.
    pub const NO_CATALOG: &'static str = "no catalogue has been published";
}
