//! Ports together, for whoever needs many.

use super::{
    Accounts, Announcements, Codes, Copies, Directory, Failures, Gates, HealthCopy, History, Holds, Journals, KeyDirectory, Keys,
    PageCache, Payments, Publishing, Rounds, Runtime, Settings, Sold, Tokens, Upstream, Versions,
};

/// A name for ports together: whatever has all of them has it.
macro_rules! together {
    ($(#[$doc:meta])* $name:ident = $($port:ident),+) => {
        $(#[$doc])*
        pub trait $name: $($port +)+ {}
        impl<P: $($port +)+> $name for P {}
    };
}

together! {
    /// All that one request needs.
    Ports = Runtime, Keys, Gates, Sold, HealthCopy, Holds, Upstream
}

together! {
    /// All that a probe round needs.
    Probing = Ports, Rounds, History, Accounts, KeyDirectory
}

together! {
    /// All that is read to tell of models.
    ModelReads = Runtime, Accounts, Sold, HealthCopy, Announcements, History
}

together! {
    /// All that there is.
    Records = Probing, PageCache, Directory, Announcements, Versions, Publishing, Settings, Journals, Copies, Payments, Codes, Tokens,
        Failures
}
