//! Ports together, for whoever needs many.

use super::{
    Accounts, Announcements, Codes, Copies, Directory, Failures, Gates, HealthCopy, History, Holds, Journals, KeyDirectory, Keys,
    PageCache, Payments, Publishing, Rounds, Runtime, Settings, Sold, Tokens, Upstream, Versions,
};

/// All that one request needs.
pub trait Ports: Runtime + Keys + Gates + Sold + HealthCopy + Holds + Upstream {}
impl<P: Runtime + Keys + Gates + Sold + HealthCopy + Holds + Upstream> Ports for P {}

/// All that a probe round needs.
pub trait Probing: Ports + Rounds + History + Accounts + KeyDirectory {}
impl<P: Ports + Rounds + History + Accounts + KeyDirectory> Probing for P {}

/// All that there is.
pub trait Records:
    Probing
    + PageCache
    + Directory
    + Announcements
    + Versions
    + Publishing
    + Settings
    + Journals
    + Copies
    + Payments
    + Codes
    + Tokens
    + Failures
{
}
impl<P> Records for P where
    P: Probing
        + PageCache
        + Directory
        + Announcements
        + Versions
        + Publishing
        + Settings
        + Journals
        + Copies
        + Payments
        + Codes
        + Tokens
        + Failures
{
}
