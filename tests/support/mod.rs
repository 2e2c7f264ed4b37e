//! What the host tests share: an account's tables in memory, and an outside that is a table too.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

pub mod catalogue;
pub mod codes;
pub mod copy;
pub mod database;
pub mod health;
pub mod law;
pub mod object;
pub mod operators;
pub mod outside;
pub mod queries;
pub mod records;
pub mod steps;
pub mod tables;
pub mod upstream;
pub mod world;
