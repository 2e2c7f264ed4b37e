//! What the host tests share: an account's tables in memory, and an outside that is a table too.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

pub mod copy;
pub mod law;
pub mod memory;
pub mod outside;
pub mod steps;
pub mod world;
