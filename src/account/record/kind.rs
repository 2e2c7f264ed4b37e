//! The kinds of journal rows, under the names that they are stored by.
//!
//! What always holds: a name that was ever written is never given another meaning.

use serde::{Deserialize, Serialize};

/// The kind of a journal row, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum RowKind {
    Receipt,
    Adjustment,
    Account,
    Project,
    Key,
    Correction,
    Order,
    TopUp,
    Refund,
    Redemption,
    DebtPayment,
    Run,
    Alert,
    Catalog,
    Code,
    Probe,
    Token,
    Session,
}

impl RowKind {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Adjustment => "adjustment",
            Self::Account => "account",
            Self::Project => "project",
            Self::Key => "key",
            Self::Correction => "correction",
            Self::Order => "order",
            Self::TopUp => "top_up",
            Self::Refund => "refund",
            Self::Redemption => "redemption",
            Self::DebtPayment => "debt_payment",
            Self::Run => "run",
            Self::Alert => "alert",
            Self::Catalog => "catalog",
            Self::Code => "code",
            Self::Probe => "probe",
            Self::Token => "token",
            Self::Session => "session",
        }
    }
}
