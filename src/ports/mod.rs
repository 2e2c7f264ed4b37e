//! What the product asks of the outside: a small port for each need. The Worker answers with the platform, tests with tables in
//! memory.
//!
//! What always holds: a port has the methods of one concern, and whoever asks names the ports that it needs. [`Ports`] is all that
//! one request needs, [`Records`] all that there is.

mod accounts;
mod all;
mod catalogue;
mod flow;
mod health;
mod journals;
mod operators;
mod pages;
mod payments;
mod settings;
mod unavailable;

pub use accounts::{Accounts, Directory, KeyDirectory};
pub use all::{ModelReads, Ports, Probing, Records};
pub use catalogue::{Announced, Announcements, Publication, Publishing, VersionRow, Versions};
pub use flow::{Gates, HealthCopy, Holds, Keys, Runtime, SendError, Signer, Sold, Upstream, UpstreamCall, UpstreamResponse};
pub use health::{History, RoundEnd, Rounds};
pub use journals::{Copies, Cursor, Dimension, Journals, MOST_SUMS, Reconciled, Sum, Sums};
pub use operators::{Attempts, Failures, Tokens};
pub use pages::{Kept, PageCache};
pub use payments::{Code, Codes, NewCode, NewCodes, Payments};
pub use settings::Settings;
pub use unavailable::Unavailable;
