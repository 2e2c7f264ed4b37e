//! Routing: who serves a request, and what becomes of an attempt.
//!
//! What always holds: [`plan`] is the only code that decides who serves a request. The relay, the list of models and the
//! route explanation all call it, so they cannot disagree.
//!
//! Deliberately absent: bytes, HTTP and balances.

pub mod attempt;
mod ceiling;
pub mod credentials;
pub mod health;
mod plan;
mod refusals;

pub use ceiling::FirstChoice;
pub use plan::{Ask, LeftOut, Plan, PlanInput, Planned, ProviderPreferences, asked_model, plan};
pub use refusals::model_not_found;
