//! The health of a candidate, folded from real requests first and probes second.
//!
//! The rules: load (429) is not death; one failure is not an outage, two in a row are; a refused credential, an unknown model
//! and an id that vanished from the provider's list are, at once. What failed slowly or is down is tried last for a minute and
//! longer with every further failure, then by one request at a time, and one success brings it back. What a probe finds never
//! outweighs what real requests saw in the last minutes, nor ends again and again what several accounts agreed on (see
//! `agreed`). A stream that begins proves that credential and model answer; that answers break off is over when one has come to
//! its end. What one account meets is believed for that account alone, until
//! several have met it or a probe has (see `lone`).
//!
//! Deliberately absent: any way to rule a candidate out for good. The planner only moves it to the end.

mod agreed;
mod belief;
mod board;
mod candidate;
mod fold;
mod histogram;
mod history;
mod lone;
mod probed;
mod view;
mod witness;

pub use belief::{Agreed, Health, HealthStatus, LastFailure, Listing, Lone, Probe, Share};
pub use board::{Board, Counts, Stats, Uptime, window};
pub use candidate::CandidateId;
pub use fold::{InList, Met, Observation, Recent};
pub use histogram::{Histogram, Percentiles, RANGES, range_of};
pub use history::{Day, Incident, Span, StatusChange, bars, days, incidents, of_route, status_at, uptime};
pub use lone::{AGREE, WITNESS_MS};
pub use probed::ProbeResult;
pub use view::HealthView;
pub use witness::Witness;
