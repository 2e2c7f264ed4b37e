//! tokens-forge: an OpenAI-compatible AI gateway and token marketplace at the edge.
//!
//! The map, in reading order. What is pure stands above; only [`cloudflare`] knows the platform, and on the host its
//! dependencies do not even resolve.

pub mod money;
pub mod usage;
pub mod id;
pub mod time;
pub mod refusal;
pub mod key;
pub mod catalog;
pub mod account;
pub mod routing;
pub mod dialect;
pub mod ports;
pub mod relay;
pub mod probe;
pub mod api;
#[cfg(target_arch = "wasm32")]
pub mod cloudflare;
