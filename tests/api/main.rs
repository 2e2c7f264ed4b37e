//! All endpoints over an outside in memory: exactly what the Worker calls, without the Worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod audit;
mod callable;
mod catalogue;
mod edges;
mod faults;
mod gateway;
mod models;
mod money;
mod once;
mod operators;
mod pages;
mod probes;
mod refunds;
mod refusals;
mod reports;
mod runs;
mod surface;
mod topups;
mod varied;
