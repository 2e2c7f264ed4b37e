//! The use cases: what people, programs and the clock can want of the product, but for asking a model, which is the relay's.
//!
//! What always holds: each is a function from typed input, a [`Principal`] and the ports that it needs to a typed answer or a
//! refusal. Who may do what stands in one table, [`UseCase`], and each function checks it, whoever calls it.
//!
//! Deliberately absent: HTTP, forms, pages. `api` and the clock translate and call.

pub mod accounts;
pub mod adjustments;
pub mod ask;
pub mod audit;
pub mod availability;
pub mod bounds;
pub mod catalog;
pub mod codes;
pub mod currency;
mod customer;
pub mod entries;
pub mod explain;
pub mod health;
pub mod history;
mod holder;
pub mod keys;
pub mod models;
pub mod operator;
pub mod page;
pub mod payments;
mod principal;
pub mod probes;
pub mod receipts;
pub mod reconcile;
pub mod records;
pub mod runs;
pub mod session;
pub mod sessions;
pub mod shown;
pub mod spend;
pub mod text;
pub mod tokens;
pub mod topups;
pub mod truth;
mod use_case;

pub use holder::identified;
pub use page::{Page, Part};
pub use principal::{Holder, Principal, Signature, missing};
pub use use_case::{May, UseCase};
