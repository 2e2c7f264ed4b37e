//! tokens-forge: an OpenAI-compatible AI gateway and token marketplace at the edge.
//!
//! The map, in reading order. What is pure stands above; only [`cloudflare`] knows the platform, and on the host its
//! dependencies do not even resolve.

pub mod account;
pub mod api;
pub mod app;
pub mod body;
pub mod catalog;
#[cfg(target_arch = "wasm32")]
pub mod cloudflare;
pub mod dialect;
pub mod export;
pub mod id;
pub mod key;
pub mod limits;
pub mod money;
pub mod operator;
pub mod pages;
pub mod payment;
pub mod ports;
pub mod probe;
pub mod refusal;
pub mod relay;
pub mod rollup;
pub mod routing;
pub mod spend;
pub mod time;
pub mod truth;
pub mod usage;
pub mod webhook;
