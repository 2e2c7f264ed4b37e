//! Who may do what: every use case, and who may ask for it. There is no other table.
//!
//! What always holds: each function of this layer that changes or shows something checks it itself, whoever calls it.

use crate::operator::Scope::{self, Accounts, Catalog, Channels, Money, Read, Support, Tokens};

/// Who may ask for a use case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// The holder of a key, about the own account.
    Holder,
    /// An operator with one of these scopes.
    Operator(&'static [Scope]),
}

/// Makes of the table the names, the list of them, and who may ask for each.
macro_rules! use_cases {
    ($($may:expr => [$($name:ident),+ $(,)?];)+) => {
        /// Something that somebody can want of the product, but for asking a model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum UseCase {
            $($($name,)+)+
        }

        impl UseCase {
            /// Every one.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)+)+];

            /// Who may ask for it.
            pub const fn may(self) -> May {
                match self {
                    $($(Self::$name)|+ => $may,)+
                }
            }
        }
    };
}

use_cases! {
    May::Holder => [
        ListModels, ShowModel, ListEndpoints, ShowHealth, ExplainRoute, ListReceipts, ShowReceipt, ShowGeneration, ShowActivity,
        ListRuns, OpenRun, ShowRun, ListEntries, ShowBalances, ShowCredits, ShowKey, ListOrders, PlaceOrder, ShowOrder, RedeemCode,
    ];
    May::Operator(&[Read]) => [
        ListAccounts, ShowAccount, ListProjects, ListKeys, ShowReceiptOf, ListOrdersOf, ShowOrderOf, ListAllOrders, ListCodes,
        ListAllReceipts, ListAllEntries, ListAudit, ShowSpend, Reconcile, ShowCatalogue, ShowAnnounced, ListVersions, ShowVersion,
        ListCandidates,
    ];
    May::Operator(&[Accounts]) => [OpenAccount, PutProject, MakeKey, ChangeKey];
    May::Operator(&[Accounts, Support]) => [RevokeKey, EndSessions];
    May::Operator(&[Money]) => [Adjust, ApproveOrder, RejectOrder, RefundOrder, MakeCodes, RevokeCode];
    // These look closer, at what differs.
    May::Operator(&[Catalog, Channels]) => [PublishCatalogue, WithdrawAnnounced];
    May::Operator(&[Channels]) => [Probe];
    May::Operator(&[Tokens]) => [ListTokens, MakeToken, RevokeToken, ListAttempts];
}
