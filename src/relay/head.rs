//! What is read of a request before anything else of it: what is called, and what its head says.
//!
//! What always holds: these are texts as they came. Nothing here is checked yet, and nothing decides.

use std::net::IpAddr;

use crate::dialect::EndpointPath;
use crate::routing::health::CandidateId;

/// A request with its head read, and its body still on the way.
pub struct Incoming<B> {
    /// What was called.
    pub called: EndpointPath,
    /// What its head says.
    pub head: RequestHead,
    /// The body.
    pub body: B,
}

/// What the head of a request says.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    /// What the caller presented.
    pub credential: Option<String>,
    /// Where a credential was found that nobody reads there.
    pub misplaced: Option<Misplaced>,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// The site of the page that called, where that is another than the gateway's own.
    pub site: Option<String>,
    /// `x-tf-route`.
    pub route: Option<String>,
    /// `x-tf-run`.
    pub run: Option<String>,
    /// `x-tf-fit`.
    pub fit: Option<String>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Whether it was presented as Google's clients do.
    pub is_google: bool,
    /// The session, where a header names it.
    pub session: Option<String>,
    /// What the body is.
    pub content_type: Option<String>,
    /// Headers that go up as they came, to channels of the dialect that has them.
    pub passed: Vec<(&'static str, String)>,
    /// Whether a Gemini client left out `alt=sse`, and so wants a list.
    pub is_list: bool,
    /// The only candidate to ask, where the gateway itself probes it.
    pub probed: Option<CandidateId>,
}

/// A place in which a credential was found that nobody reads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// In `Authorization`, without `Bearer` before it.
    Scheme,
    /// In a header of another gateway's.
    Header,
    /// In the address.
    Query,
}
