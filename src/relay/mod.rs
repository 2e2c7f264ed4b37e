//! The relay: one request, start to finish.
//!
//! What always holds: nothing goes upstream before its hold is granted; nothing is tried again once a byte of an answer has reached
//! the client; every request with a valid key ends in one settlement or one record of its refusal, on every way out, including
//! the one on which the client just leaves.
//!
//! The stages stand in a row, and each calls the next; no file names one that names it, over however many others:
//!
//! | stage | files |
//! | --- | --- |
//! | read | `serve`, `caller`, [`gate`], `kept`; a WebSocket is read by [`socket`] |
//! | plan | `attend`, `prepare`, `owned`, `quote` |
//! | hold | `round`, `wait`, `hold`, `remedy` |
//! | attempt | `attempt`, `call`, `read`, `verdict`, `failure` |
//! | flow | `flow`, `early` |
//! | settle | `guard`, `elsewhere`, `retry` |
//!
//! All of them speak of a request as `head` and `prepared` have it, and of the answer to the client as a `reply`.

mod attempt;
mod attend;
mod call;
mod caller;
mod early;
mod elsewhere;
mod failure;
mod flow;
pub mod gate;
mod guard;
mod head;
mod hold;
mod kept;
mod owned;
mod prepare;
mod prepared;
mod quote;
mod read;
mod remedy;
mod reply;
mod retry;
mod round;
mod serve;
pub mod socket;
mod verdict;
mod wait;

pub use crate::dialect::discreet::without_credential;
pub use attempt::NO_ROOM;
pub use attend::attend;
pub use caller::{check_place, credential_hash, known_key, presented, valid_key};
pub use early::Early;
pub use head::{Incoming, Misplaced, RequestHead};
pub use kept::resolved;
pub use owned::Signers;
pub use prepare::{check_idempotency_key, prepare};
pub use prepared::{Prepared, Preparing};
pub use quote::{Leg, Quoted};
pub use remedy::with_remedy;
pub use reply::{Reply, ReplyBody, refusal_reply};
pub use serve::{place_of, serve};
