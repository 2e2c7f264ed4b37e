//! Who may do what: every use case, and who may ask for it. There is no other table.
//!
//! What always holds: a use case that is not named in [`UseCase::may`] does not compile; each function of this layer that changes or
//! shows something checks it itself, whoever calls it.

use crate::operator::Scope::{self, Accounts, Catalog, Channels, Money, Read, Support, Tokens};

/// Something that somebody can want of the product, but for asking a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum UseCase {
    // The holder of a key, of the own account.
    ListModels,
    ShowModel,
    ListEndpoints,
    ShowHealth,
    ExplainRoute,
    ListReceipts,
    ShowReceipt,
    ShowGeneration,
    ShowActivity,
    ListRuns,
    OpenRun,
    ShowRun,
    ListEntries,
    ShowBalances,
    ShowCredits,
    ShowKey,
    ListOrders,
    PlaceOrder,
    ShowOrder,
    RedeemCode,
    // Operators.
    ListAccounts,
    OpenAccount,
    ShowAccount,
    ListProjects,
    PutProject,
    ListKeys,
    MakeKey,
    ChangeKey,
    RevokeKey,
    EndSessions,
    Adjust,
    ShowReceiptOf,
    ListOrdersOf,
    ShowOrderOf,
    ApproveOrder,
    RejectOrder,
    RefundOrder,
    ListAllOrders,
    ListCodes,
    MakeCodes,
    RevokeCode,
    ListAllReceipts,
    ListAllEntries,
    ListAudit,
    ShowSpend,
    Reconcile,
    ShowCatalogue,
    PublishCatalogue,
    ShowAnnounced,
    WithdrawAnnounced,
    ListVersions,
    ShowVersion,
    ListCandidates,
    Probe,
    ListTokens,
    MakeToken,
    RevokeToken,
    ListAttempts,
}

/// Who may ask for a use case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// The holder of a key, about the own account.
    Holder,
    /// An operator with one of these scopes.
    Operator(&'static [Scope]),
}

impl UseCase {
    /// Every one.
    pub const ALL: [Self; 58] = {
        use UseCase::*;
        [
            ListModels,
            ShowModel,
            ListEndpoints,
            ShowHealth,
            ExplainRoute,
            ListReceipts,
            ShowReceipt,
            ShowGeneration,
            ShowActivity,
            ListRuns,
            OpenRun,
            ShowRun,
            ListEntries,
            ShowBalances,
            ShowCredits,
            ShowKey,
            ListOrders,
            PlaceOrder,
            ShowOrder,
            RedeemCode,
            ListAccounts,
            OpenAccount,
            ShowAccount,
            ListProjects,
            PutProject,
            ListKeys,
            MakeKey,
            ChangeKey,
            RevokeKey,
            EndSessions,
            Adjust,
            ShowReceiptOf,
            ListOrdersOf,
            ShowOrderOf,
            ApproveOrder,
            RejectOrder,
            RefundOrder,
            ListAllOrders,
            ListCodes,
            MakeCodes,
            RevokeCode,
            ListAllReceipts,
            ListAllEntries,
            ListAudit,
            ShowSpend,
            Reconcile,
            ShowCatalogue,
            PublishCatalogue,
            ShowAnnounced,
            WithdrawAnnounced,
            ListVersions,
            ShowVersion,
            ListCandidates,
            Probe,
            ListTokens,
            MakeToken,
            RevokeToken,
            ListAttempts,
        ]
    };

    /// Who may ask for it. Publishing and withdrawing look closer, at what differs.
    pub const fn may(self) -> May {
        match self {
            Self::ListModels
            | Self::ShowModel
            | Self::ListEndpoints
            | Self::ShowHealth
            | Self::ExplainRoute
            | Self::ListReceipts
            | Self::ShowReceipt
            | Self::ShowGeneration
            | Self::ShowActivity
            | Self::ListRuns
            | Self::OpenRun
            | Self::ShowRun
            | Self::ListEntries
            | Self::ShowBalances
            | Self::ShowCredits
            | Self::ShowKey
            | Self::ListOrders
            | Self::PlaceOrder
            | Self::ShowOrder
            | Self::RedeemCode => May::Holder,
            Self::ListAccounts
            | Self::ShowAccount
            | Self::ListProjects
            | Self::ListKeys
            | Self::ShowReceiptOf
            | Self::ListOrdersOf
            | Self::ShowOrderOf
            | Self::ListAllOrders
            | Self::ListCodes
            | Self::ListAllReceipts
            | Self::ListAllEntries
            | Self::ListAudit
            | Self::ShowSpend
            | Self::Reconcile
            | Self::ShowCatalogue
            | Self::ShowAnnounced
            | Self::ListVersions
            | Self::ShowVersion
            | Self::ListCandidates => May::Operator(&[Read]),
            Self::OpenAccount | Self::PutProject | Self::MakeKey | Self::ChangeKey => May::Operator(&[Accounts]),
            Self::RevokeKey | Self::EndSessions => May::Operator(&[Accounts, Support]),
            Self::Adjust | Self::ApproveOrder | Self::RejectOrder | Self::RefundOrder | Self::MakeCodes | Self::RevokeCode => {
                May::Operator(&[Money])
            }
            Self::PublishCatalogue | Self::WithdrawAnnounced => May::Operator(&[Catalog, Channels]),
            Self::Probe => May::Operator(&[Channels]),
            Self::ListTokens | Self::MakeToken | Self::RevokeToken | Self::ListAttempts => May::Operator(&[Tokens]),
        }
    }
}
