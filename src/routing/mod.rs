//! Routing: who serves a request, and what becomes of an attempt.
//!
//! What always holds: [`plan`] is the only code that decides who serves a request. The relay, the list of models and the
//! route explanation all call it, so they cannot disagree.
//!
//! Deliberately absent: bytes, HTTP and balances.

mod ask;
pub mod attempt;
mod ceiling;
pub mod credentials;
pub mod health;
mod plan;
mod planned;
mod refusals;

pub use ask::{Ask, ProviderPreferences};
pub use ceiling::FirstChoice;
pub use plan::{Plan, PlanInput, asked_model, plan};
pub use planned::{LeftOut, Planned};
pub use refusals::model_not_found;
