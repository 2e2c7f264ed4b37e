//! The catalogue: what is sold. Buckets, channels, and models with their routes, prices and candidates.
//!
//! What always holds: a [`Catalog`] was checked as a whole when it was made by [`Catalog::parse`]; every name that it mentions
//! exists, every alias leads to one model, every price is in range. It is looked up afterwards and never checked again.
//!
//! Deliberately absent: balances, health, and any way to change a catalogue in place. A new version replaces it.

mod announced;
pub mod bounds;
mod bucket;
mod channel;
mod check;
mod diff;
mod fault;
mod hosts;
mod labels;
mod model;
mod names;
mod origins;
mod price;
mod public;
mod raw;
pub mod secrets;
mod version;

pub use announced::{Announcement, Published, Standing};
pub use channel::{Channel, Dialect, OnClientGone, OutputLimitField, ReasoningTokens, Thoughts};
pub use diff::{Change, ChangeKind, changes};
pub use fault::Fault;
pub use hosts::UpstreamHosts;
pub use model::{Candidate, Model, ModelKind, Route, RouteKind};
pub use origins::Origins;
pub use public::{NamedCandidate, replaced};
#[cfg(test)]
pub use raw::Catalog as Document;
pub use version::{Bucket, Catalog, CutPolicy, Fit};
