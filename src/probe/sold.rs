//! The candidates that are sold: what a round is about.
//!
//! What always holds: each stands here once, however many models and routes are sold over it, and in the same order.

use crate::catalog::Catalog;
use crate::routing::health::CandidateId;

/// Every candidate that is sold, once.
pub fn candidates(catalog: &Catalog) -> Vec<CandidateId> {
    let routes = catalog.models.values().flat_map(|model| &model.routes);
    let mut ids: Vec<CandidateId> = routes.flat_map(|route| &route.candidates).map(CandidateId::of).collect();
    ids.sort();
    ids.dedup();
    ids
}
