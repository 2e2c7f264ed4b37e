//! What can happen in one history, and how histories are drawn. Everything is told by small numbers, so that what fails
//! shrinks to something that can be read.

use proptest::prelude::*;

/// A history has fewer steps.
const LONGEST: usize = 90;

/// One thing that is said to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A new request asks for its first hold.
    Ask {
        key: u8,
        run: u8,
        bucket: u8,
        nanos: i64,
        tokens: u64,
        claim: Option<(u8, u8)>,
        is_last: bool,
        is_outdated: bool,
    },
    /// A recent request crosses to a bucket.
    Cross {
        pick: u8,
        bucket: u8,
        nanos: i64,
        is_last: bool,
    },
    /// A recent request tells what it used so far.
    Checkpoint {
        pick: u8,
        tokens: u64,
        is_elsewhere: bool,
    },
    /// A recent request ends.
    Settle {
        pick: u8,
        status: u8,
        tokens: u64,
        rest: u8,
    },
    /// A new request is refused before any hold.
    Refuse {
        key: u8,
        run: u8,
    },
    Adjust {
        bucket: u8,
        nanos: i64,
    },
    /// Takes all that is available.
    Drain {
        bucket: u8,
    },
    Place {
        bucket: u8,
        nanos: i64,
        is_manual: bool,
        is_again: bool,
    },
    Opened {
        pick: u8,
        works: bool,
    },
    /// The provider sends a new message about an order.
    Pay {
        pick: u8,
        change: Change,
        session: u8,
    },
    Verdict {
        pick: u8,
        is_approved: bool,
        nanos: Option<i64>,
    },
    Refund {
        pick: u8,
        part: u8,
        is_debt: bool,
        is_again: bool,
    },
    Redeem {
        code: u8,
    },
    ChangeKey {
        key: u8,
        what: u8,
    },
    PutProject {
        is_other: bool,
    },
    OpenRun {
        run: u8,
        is_other: bool,
    },
}

/// What a provider says; parts are quarters of the order's amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Paid,
    PaidWrong,
    PaidForeign,
    Processing,
    Expired,
    Failed,
    Refunded(u8),
    Disputed(u8, u8),
    Reinstated(u8),
}

/// What becomes of a message on its way. Numbers are steps until the sender repeats it, or until it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    /// It is lost; the sender repeats it, or gives up.
    Lost(Option<u8>),
    /// It arrives, and the answer is lost: the sender repeats it.
    AnswerLost(u8),
    /// It arrives twice.
    Duplicated(u8),
    /// It arrives later: others overtake it.
    Delayed(u8),
    /// The object dies before it decides.
    CrashBefore(u8),
    /// The object dies when so many events are written.
    CrashWithin(u8, u8),
    /// The object dies after the commit, before it answers.
    CrashAfter(u8),
    /// The object's store fails in one of a few ways, and so many calls later.
    StoreFails(u8, u8),
}

/// How the searchable copy fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFault {
    None,
    Before,
    Within,
    After,
    /// It has confirmed, and the object dies before it notes that.
    MarkLost,
    /// It is silent for too long, and writes later what it was told.
    Late(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Say(Act, Fate),
    /// A recent command comes once more.
    Again(u8),
    /// So much time passes.
    Wait(i64),
    /// Until shortly before the end of the day, or of the month.
    WaitForMidnight {
        is_month: bool,
    },
    /// The alarm looks at what was due; too early for some of it if it worked with an old list. It may die after some.
    Alarm {
        is_early: bool,
        dies_after: Option<u8>,
    },
    Copy {
        rows: u8,
        fault: CopyFault,
    },
    /// From now on so many commands are decided together.
    Group(u8),
    /// The object forgets what it had in memory.
    Restart,
}

impl Step {
    /// As if one request or order before it had never been made.
    pub fn one_more_recent(&mut self) {
        let Self::Say(act, _) = self else { return };
        match act {
            Act::Cross { pick, .. }
            | Act::Checkpoint { pick, .. }
            | Act::Settle { pick, .. }
            | Act::Opened { pick, .. }
            | Act::Pay { pick, .. }
            | Act::Verdict { pick, .. }
            | Act::Refund { pick, .. } => *pick -= u8::from(*pick % 16 > 0),
            _ => {}
        }
    }

    /// Without any fault on its way.
    pub fn arrive(&mut self) {
        match self {
            Self::Say(_, fate) => *fate = Fate::Arrives,
            Self::Copy { fault, .. } => *fault = CopyFault::None,
            _ => {}
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    let after = || 1u8..8;
    prop_oneof![
        22 => Just(Fate::Arrives),
        2 => proptest::option::weighted(0.7, after()).prop_map(Fate::Lost),
        2 => after().prop_map(Fate::AnswerLost),
        2 => after().prop_map(Fate::Duplicated),
        3 => after().prop_map(Fate::Delayed),
        1 => after().prop_map(Fate::CrashBefore),
        2 => (after(), 0u8..6).prop_map(|(after, written)| Fate::CrashWithin(after, written)),
        1 => after().prop_map(Fate::CrashAfter),
        2 => (0u8..5, 0u8..12).prop_map(|(how, nth)| Fate::StoreFails(how, nth)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => Just(Change::Paid),
        1 => Just(Change::PaidWrong),
        1 => Just(Change::PaidForeign),
        1 => Just(Change::Processing),
        1 => Just(Change::Expired),
        1 => Just(Change::Failed),
        5 => (1u8..6).prop_map(Change::Refunded),
        3 => (0u8..2, 1u8..6).prop_map(|(dispute, part)| Change::Disputed(dispute, part)),
        3 => (0u8..2).prop_map(Change::Reinstated),
    ]
}

/// What a history is mostly about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Requests that end in time.
    Requests,
    /// Requests that are lost, and settled late.
    Late,
    /// Orders, refunds and debts.
    Payments,
}

fn act(theme: Theme) -> impl Strategy<Value = Act> {
    let (requests, checkpoints, payments) = match theme {
        Theme::Requests => (4, 4, 1),
        Theme::Late => (4, 12, 1),
        Theme::Payments => (2, 2, 4),
    };
    // Mostly round amounts: what is left over is then often exactly enough, or exactly nothing.
    let nanos =
        || prop_oneof![12 => (0i64..9).prop_map(|halves| halves * 500_000_000), 4 => 0i64..4_000_000_000, 1 => Just(1i64)];
    let tokens = || prop_oneof![12 => (0u64..9).prop_map(|part| part * 500_000), 4 => 0u64..4_000_000, 1 => Just(5_000_000_000u64), 1 => Just(u64::MAX)];
    let claim = || proptest::option::weighted(0.35, (0u8..3, prop_oneof![4 => Just(0u8), 1 => Just(1u8)]));
    let recent = || (0u8..4, prop_oneof![3 => Just(0u8), 2 => 0u8..3, 1 => 0u8..12]).prop_map(|(among, back)| 16 * among + back);
    // So much that little more can be counted.
    let huge = || Just(9_007_190_000_000_000i64);
    let signed = prop_oneof![10 => (1i64..13).prop_map(|halves| halves * 500_000_000), 4 => -3_000_000_000i64..0, 2 => Just(0i64), 1 => huge()];
    // What comes late counts against budgets that others have used since.
    let (keys, runs) = if theme == Theme::Late { (7u8..28, 2u8..8) } else { (0u8..28, 0u8..8) };
    prop_oneof![
        8 * requests => (keys, runs, 0u8..2, nanos(), 0u64..1_500_000, claim(), proptest::bool::weighted(0.8), proptest::bool::weighted(0.03))
            .prop_map(|(key, run, bucket, nanos, tokens, claim, is_last, is_outdated)| Act::Ask { key, run, bucket, nanos, tokens, claim, is_last, is_outdated }),
        requests + 2 => (recent(), 0u8..2, nanos(), any::<bool>()).prop_map(|(pick, bucket, nanos, is_last)| Act::Cross { pick, bucket, nanos, is_last }),
        checkpoints => (recent(), tokens(), proptest::bool::weighted(0.1)).prop_map(|(pick, tokens, is_elsewhere)| Act::Checkpoint { pick, tokens, is_elsewhere }),
        6 * requests => (recent(), 0u8..8, tokens(), 0u8..32).prop_map(|(pick, status, tokens, rest)| Act::Settle { pick, status, tokens, rest }),
        2 => (0u8..28, 0u8..8).prop_map(|(key, run)| Act::Refuse { key, run }),
        2 * payments => (0u8..2).prop_map(|bucket| Act::Drain { bucket }),
        4 => (0u8..2, signed).prop_map(|(bucket, nanos)| Act::Adjust { bucket, nanos }),
        2 * payments => (0u8..2, (1i64..9), proptest::bool::weighted(0.15), proptest::bool::weighted(0.1))
            .prop_map(|(bucket, units, is_manual, is_again)| Act::Place { bucket, nanos: units * 1_000_000_000, is_manual, is_again }),
        payments => (0u8..3, proptest::bool::weighted(0.9)).prop_map(|(pick, works)| Act::Opened { pick, works }),
        8 * payments => (prop_oneof![3 => Just(0u8), 1 => 0u8..4], change(), 0u8..16).prop_map(|(pick, change, session)| Act::Pay { pick, change, session }),
        payments => (0u8..3, any::<bool>(), proptest::option::weighted(0.6, 1_000_000_000i64..5_000_000_000))
            .prop_map(|(pick, is_approved, nanos)| Act::Verdict { pick, is_approved, nanos }),
        2 * payments => (0u8..3, 1u8..6, any::<bool>(), proptest::bool::weighted(0.15))
            .prop_map(|(pick, part, is_debt, is_again)| Act::Refund { pick, part, is_debt, is_again }),
        2 => (0u8..5).prop_map(|code| Act::Redeem { code }),
        2 => (0u8..24, 0u8..12).prop_map(|(key, what)| Act::ChangeKey { key, what }),
        1 => proptest::bool::weighted(0.3).prop_map(|is_other| Act::PutProject { is_other }),
        2 => (0u8..3, proptest::bool::weighted(0.3)).prop_map(|(run, is_other)| Act::OpenRun { run, is_other }),
    ]
}

/// One history.
pub fn history() -> impl Strategy<Value = Vec<Step>> {
    let about = |theme| proptest::collection::vec(step(theme), 1..LONGEST);
    prop_oneof![about(Theme::Requests), about(Theme::Late), about(Theme::Payments)]
}

/// One step.
fn step(theme: Theme) -> impl Strategy<Value = Step> {
    let late = if theme == Theme::Late { 12 } else { 2 };
    let wait = prop_oneof![
        6 => 0i64..20_000,
        late => Just(61_000i64),
        1 => Just(3_600_000i64),
        1 => Just(86_400_000i64),
        1 => Just(31 * 86_400_000i64),
        3 => -4_000i64..0,
        1 => -4_000_000i64..0,
    ];
    let fault = prop_oneof![
        4 => Just(CopyFault::None),
        1 => Just(CopyFault::Before),
        1 => Just(CopyFault::Within),
        1 => Just(CopyFault::After),
        1 => Just(CopyFault::MarkLost),
        1 => (1u8..10).prop_map(CopyFault::Late),
    ];
    prop_oneof![
        30 => (act(theme), fate()).prop_map(|(act, fate)| Step::Say(act, fate)),
        2 => (0u8..12).prop_map(Step::Again),
        4 => wait.prop_map(Step::Wait),
        1 => proptest::bool::weighted(0.3).prop_map(|is_month| Step::WaitForMidnight { is_month }),
        4 => (proptest::bool::weighted(0.3), proptest::option::weighted(0.2, 0u8..3))
            .prop_map(|(is_early, dies_after)| Step::Alarm { is_early, dies_after }),
        3 => (1u8..30, fault).prop_map(|(rows, fault)| Step::Copy { rows, fault }),
        5 => prop_oneof![3 => Just(1u8), 12 => 2u8..=8, 1 => 9u8..=64].prop_map(Step::Group),
        1 => Just(Step::Restart),
    ]
}
