//! What the sums are told of a row of the journal.

use crate::account::{Correction, Receipt};
use crate::id::BucketId;
use crate::money::Money;
use crate::time::Timestamp;

/// A row of the journal, as far as it counts.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// When it was decided.
    pub at: Timestamp,
    /// The bucket that it changes.
    pub bucket: Option<&'a BucketId>,
    /// By how much; below zero is a charge.
    pub amount: Option<Money>,
    /// What it is about.
    pub about: About<'a>,
}

/// The two kinds of rows that count.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// A closed request.
    Receipt(&'a Receipt),
    /// What a late settlement changed of one.
    Correction(&'a Correction),
}
