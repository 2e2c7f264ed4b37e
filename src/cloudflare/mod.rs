//! The platform: the only folder that names `worker`. It carries requests in and answers out, and answers the ports.
//!
//! Deliberately absent: every `if` about money or routes.

mod account_client;
mod account_object;
mod alerts;
mod bound;
mod cache;
mod catalog;
mod clock;
mod codes;
mod directory;
mod front;
mod gates;
mod health;
mod http;
mod http_client;
mod journals;
mod kept;
mod lists;
mod operators;
mod outbox;
mod outside;
mod payments;
mod platform;
mod request_port;
mod running;
mod sessions;
mod settings;
mod socket;
mod store;
mod texts;
mod truth;
mod upstream;
