//! Who saw something of a candidate: an account, without its name.
//!
//! What always holds: the same account is the same witness everywhere, and nobody can tell the account from it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::AccountId;

/// An account, by a number that nobody can tell it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Witness(u32);

impl Witness {
    /// Of an account.
    pub fn of(account: &AccountId) -> Self {
        let digest = Sha256::digest(format!("tokens-forge: witness, 1\n{account}").as_bytes());
        Self(digest.iter().take(4).fold(0, |bits, byte| (bits << 8) | u32::from(*byte)))
    }

    /// As in stored counts.
    pub fn name(self) -> String {
        format!("{:08x}", self.0)
    }

    /// Reads what `name` writes.
    pub fn parse(name: &str) -> Option<Self> {
        u32::from_str_radix(name, 16).ok().map(Self)
    }
}
