//! Generated histories of one account over a network that loses, repeats and reorders, with an object that dies at any
//! moment and a searchable copy that fails. After every step all laws of `support/law.rs` must hold, and what the object decided in
//! groups, from what it remembers, must be what each command alone would have come to.
//!
//! `SIMULATION_SEED` and `SIMULATION_CASES` choose which histories and how many; the same ones make the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use support::steps::{Act, Change, Fate, Step, history};
use support::world::{Counts, World};

const CASES: u32 = 4500;

thread_local! {
    /// While histories shrink, the same panic comes hundreds of times.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs one history; what is broken in the end, and what happened.
fn run(steps: &[Step], counts: &mut Counts, told: Option<&mut Vec<String>>) -> Result<(), String> {
    let is_told = told.is_some();
    let world = RefCell::new(World::new(is_told)?);
    let was_quiet = IS_QUIET.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = world.borrow_mut();
        steps.iter().try_for_each(|step| world.step(step))?;
        world.end()
    }));
    IS_QUIET.set(was_quiet);
    let mut world = world.into_inner();
    for (what, times) in std::mem::take(&mut world.counts) {
        *counts.entry(what).or_default() += times;
    }
    if let (Some(told), Some(lines)) = (told, world.told) {
        *told = lines;
    }
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}

/// Leaves out every step without which the same law is broken. What is picked by how recent it is, moves along.
fn shortened(mut steps: Vec<Step>, broken: &str) -> Vec<Step> {
    let law = |broken: &str| broken.split(':').next().unwrap_or_default().to_owned();
    let is_broken = |steps: &[Step]| run(steps, &mut Counts::new(), None).is_err_and(|other| law(&other) == law(broken));
    let mut index = 0;
    while index < steps.len() {
        let mut without = steps.clone();
        without.remove(index);
        let mut moved = without.clone();
        moved.iter_mut().skip(index).for_each(Step::one_more_recent);
        let mut plain = steps.clone();
        plain[index].arrive();
        match [without, moved, plain].into_iter().find(|shorter| *shorter != steps && is_broken(shorter)) {
            Some(shorter) => (steps, index) = (shorter, 0),
            None => index += 1,
        }
    }
    steps
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// What must have happened so often in `CASES` histories: a simulation that has become blind proves nothing.
const LEAST: [(&str, u64); 108] = [
    ("hold granted", 10000),
    ("crossing granted", 1000),
    ("hold recognised as repeated", 1700),
    ("hold expired, charged", 460),
    ("hold expired, free", 4500),
    ("alarm found a hold alive", 2000),
    ("alarm ended an order", 1100),
    ("answer kept", 2200),
    ("alarm forgot what was kept", 1500),
    ("settlement recognised as repeated", 6700),
    ("settlement without a hold", 1600),
    ("correction up", 290),
    ("correction down", 39),
    ("correction without a change", 410),
    ("correction in a run", 410),
    ("in review", 2900),
    ("the whole hold was charged", 2300),
    ("receipt: completed", 2700),
    ("receipt: truncated", 680),
    ("receipt: aborted", 5700),
    ("receipt: failed", 670),
    ("receipt: refused", 7600),
    ("promise: kept", 2400),
    ("promise: lost", 4200),
    ("promise: cut", 600),
    ("promise: other_model", 120),
    ("replayed", 250),
    ("outdated key noticed", 1400),
    ("refused: idempotency_in_flight", 460),
    ("refused: idempotency_mismatch", 400),
    ("refused: insufficient_balance", 2500),
    ("refused: balance_in_flight", 950),
    ("refused: invalid_api_key", 1100),
    ("rate refused: same time", 57),
    ("rate refused: requests a minute", 52),
    ("rate refused: tokens a minute", 140),
    ("budget refused: key", 1500),
    ("budget refused: project", 310),
    ("budget refused: run", 780),
    ("alert: key 50", 330),
    ("alert: key 80", 62),
    ("alert: key 100", 32),
    ("alert: project 50", 230),
    ("alert: project 80", 19),
    ("alert: run 50", 250),
    ("alert: run 80", 79),
    ("alert: run 100", 19),
    ("alert: key 100 by a refusal", 57),
    ("alert: project 100 by a refusal", 42),
    ("alert: run 100 by a refusal", 83),
    ("debt made", 75),
    ("debt paid", 43),
    ("dispute won", 13),
    ("order credited", 860),
    ("adjustment recognised as repeated", 810),
    ("code refused: it would take more than there is", 320),
    ("code recognised as used", 290),
    ("refund by the operator", 170),
    ("refund refused", 1300),
    ("refund recognised as repeated", 40),
    ("payment message: paid", 810),
    ("payment message: taken back", 260),
    ("payment message: none: it was paid already", 630),
    ("payment message: noted: it counts as soon as the order is paid", 1000),
    ("payment message: credited again", 13),
    ("payment message: none: it is known already", 430),
    ("payment message: in review: It was paid after it had been rejected.", 1),
    ("payment message: in review: The balance would leave the range that is counted exactly.", 1),
    ("paid, and taken back at once", 1),
    ("order recognised as repeated", 460),
    ("order refused: its key made another", 120),
    ("refund refused: its id booked another amount", 14),
    ("checkpoint was overtaken", 110),
    ("replayed what a correction charged", 1),
    ("the clock was set back over midnight", 110),
    ("payment message: in review: another amount or currency was paid", 190),
    ("payment message: refused: the order has another session", 19),
    ("payment message: refused: the order belongs to another provider", 940),
    ("payment message: recognised as repeated", 970),
    ("reviewed: Paid", 49),
    ("reviewed: Failed", 51),
    ("fault: message lost", 3400),
    ("fault: answer lost", 3400),
    ("fault: duplicated", 3400),
    ("fault: delayed and overtaken", 5000),
    ("fault: crashed before deciding", 2700),
    ("fault: crashed within a transaction", 2300),
    ("half a transaction would have been seen", 220),
    ("fault: crashed after the commit", 1600),
    ("fault: crashed within the alarm", 280),
    ("fault: D1 failed before writing", 750),
    ("fault: D1 failed within its transaction", 750),
    ("fault: D1 failed after writing", 730),
    ("fault: D1 wrote later than it was waited for", 710),
    ("fault: the outbox's mark was lost", 750),
    ("the clock was set back", 2100),
    ("group of one", 30000),
    ("group of 2 to 8", 12000),
    ("larger group", 140),
    ("decided from memory", 12000),
    ("not every event was written", 400),
    ("fault: restarted", 2000),
    ("fault: crashed within a transaction of a group", 1100),
    ("fault: the store failed, and not again", 440),
    ("fault: the store failed, and failed again", 520),
    ("fault: a group failed, and each alone did not", 590),
    ("fault: a group failed, and one alone did, and the others stand", 380),
    ("fault: the alarm's store failed", 150),
];

fn seen(counts: &Counts, cases: u32) {
    if cases < 1000 {
        println!("simulation: too few histories to tell whether everything happens");
        return;
    }
    let missing: Vec<String> = LEAST
        .iter()
        .map(|(what, least)| (what, least * u64::from(cases) / u64::from(CASES), counts.get(*what).copied().unwrap_or(0)))
        .filter(|(_, least, times)| times < least)
        .map(|(what, least, times)| format!("{what}: {times} times, not {least}"))
        .collect();
    assert!(missing.is_empty(), "the simulation has become blind: {missing:#?}");
}

#[test]
fn every_law_holds_in_every_history() {
    let seed = number("SIMULATION_SEED", 1);
    let cases = u32::try_from(number("SIMULATION_CASES", u64::from(CASES))).unwrap();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let hook = take_hook();
    set_hook(Box::new(move |info| {
        if !IS_QUIET.get() {
            hook(info);
        }
    }));
    let counts = RefCell::new(Counts::new());
    let tried = Cell::new(0u32);
    let first = Cell::new(None);
    let result = runner.run(&history(), |steps| {
        tried.set(tried.get() + 1);
        run(&steps, &mut counts.borrow_mut(), None).map_err(|broken| {
            first.set(first.get().or(Some(tried.get())));
            TestCaseError::fail(broken)
        })
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(broken, steps)) => {
            let mut told = Vec::new();
            let steps = shortened(steps, broken.message());
            let _ = run(&steps, &mut Counts::new(), Some(&mut told));
            let first = first.get().unwrap_or_default();
            panic!(
                "seed {seed}, history {first}: {broken}\nthe shortest history in which that happens:\n{}\nfrom {} steps:\n{}",
                told.join("\n"),
                steps.len(),
                steps.iter().map(|step| format!("{step:?}")).collect::<Vec<_>>().join("\n")
            );
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    let counts = counts.into_inner();
    seen(&counts, cases);
    println!("simulation: seed {seed}");
    for (what, times) in &counts {
        println!("{times:>9}  {what}");
    }
}

/// The history breaks no law.
fn holds_in(steps: &[Step]) {
    let mut told = Vec::new();
    if let Err(broken) = run(steps, &mut Counts::new(), Some(&mut told)) {
        panic!("{broken}\n{}", told.join("\n"));
    }
}

fn ask(key: u8, run: u8, bucket: u8, nanos: i64) -> Step {
    Step::Say(Act::Ask { key, run, bucket, nanos, tokens: 0, claim: None, is_last: true, is_outdated: false }, Fate::Arrives)
}

fn settle(status: u8, tokens: u64) -> Step {
    Step::Say(Act::Settle { pick: 48, status, tokens, rest: 0 }, Fate::Arrives)
}

fn pay(change: Change) -> Step {
    Step::Say(Act::Pay { pick: 0, change, session: 0 }, Fate::Arrives)
}

fn alarm() -> Step {
    Step::Alarm { is_early: false, dies_after: None }
}

fn place(units: i64) -> Step {
    Step::Say(Act::Place { bucket: 0, nanos: units * 1_000_000_000, is_manual: false, is_again: false }, Fate::Arrives)
}

#[test]
fn a_project_that_is_stored_again_announces_no_level_twice() {
    let again = Step::Say(Act::PutProject { is_other: false }, Fate::Arrives);
    let steps = [ask(12, 0, 1, 3_500_000_000), settle(0, 3_000_000), again, ask(12, 0, 0, 0), settle(0, 0)];
    holds_in(&steps);
}

#[test]
fn a_crossing_pays_a_debt_with_what_it_sets_free() {
    let drain = Step::Say(Act::Drain { bucket: 0 }, Fate::Arrives);
    let cross = Step::Say(Act::Cross { pick: 0, bucket: 1, nanos: 0, is_last: true }, Fate::Arrives);
    let steps = [place(3), drain, pay(Change::Paid), ask(0, 0, 0, 2_000_000_000), pay(Change::Refunded(2)), cross];
    holds_in(&steps);
}

#[test]
fn a_refund_at_the_provider_is_taken_back_when_the_dispute_is_won() {
    let steps = [place(1), pay(Change::Paid), pay(Change::Disputed(0, 1)), pay(Change::Refunded(4)), pay(Change::Reinstated(0))];
    holds_in(&steps);
}

#[test]
fn the_rest_of_a_refund_has_a_subject_of_its_own() {
    let refunded = || pay(Change::Refunded(2));
    let steps = [place(4), pay(Change::Paid), pay(Change::Disputed(0, 3)), refunded(), pay(Change::Reinstated(0)), refunded()];
    holds_in(&steps);
}

#[test]
fn a_dispute_may_be_told_before_the_payment() {
    holds_in(&[place(1), pay(Change::Disputed(0, 1)), pay(Change::Paid)]);
}

#[test]
fn a_budget_of_a_day_holds_when_the_clock_is_set_back_over_midnight() {
    let mut steps = vec![Step::WaitForMidnight { is_month: false }];
    steps.extend([
        ask(7, 0, 0, 3_000_000_000),
        settle(0, 4_000_000),
        Step::Wait(2000),
        ask(7, 0, 0, 500_000_000),
        settle(0, 100_000),
    ]);
    steps.extend([Step::Wait(-2000), ask(7, 0, 0, 1_000_000_000)]);
    holds_in(&steps);
}

#[test]
fn a_correction_that_cannot_be_written_counts_nothing() {
    let adjust = |nanos| Step::Say(Act::Adjust { bucket: 0, nanos }, Fate::Arrives);
    let checkpoint = Step::Say(Act::Checkpoint { pick: 48, tokens: 500_000, is_elsewhere: false }, Fate::Arrives);
    let nearly_all = adjust(9_007_199_254_740_991 - 8_000_000_000);
    let steps =
        [ask(0, 4, 0, 500_000_000), checkpoint, Step::Wait(61_000), alarm(), nearly_all, adjust(500_000_000), settle(6, 0)];
    holds_in(&steps);
}

#[test]
fn a_project_stored_while_the_clock_is_set_back_keeps_what_the_day_spent() {
    let other = ask(0, 0, 0, 0);
    let again = Step::Say(Act::PutProject { is_other: false }, Fate::Arrives);
    let midnight = Step::WaitForMidnight { is_month: false };
    let steps =
        [midnight, Step::Wait(1500), other, settle(0, 0), Step::Wait(-2), ask(12, 0, 0, 500_000_000), settle(0, 500_000), again];
    holds_in(&steps);
}

#[test]
fn a_correction_is_on_the_line_of_its_own_bucket() {
    let steps = [ask(0, 4, 1, 0), ask(0, 4, 0, 0), Step::Wait(61_000), alarm(), settle(0, 500_000)];
    holds_in(&steps);
}

#[test]
fn a_smaller_hold_on_the_same_bucket_pays_a_debt_with_what_it_sets_free() {
    let drain = Step::Say(Act::Drain { bucket: 0 }, Fate::Arrives);
    let cross = Step::Say(Act::Cross { pick: 0, bucket: 0, nanos: 0, is_last: false }, Fate::Arrives);
    holds_in(&[place(1), pay(Change::Paid), ask(0, 0, 0, 2_500_000_000), drain, pay(Change::Refunded(1)), cross]);
}

#[test]
fn a_lost_request_that_settles_late_answers_no_other_body() {
    let claim = |body, nanos| {
        let claim = Some((0, body));
        Step::Say(
            Act::Ask { key: 0, run: 0, bucket: 0, nanos, tokens: 0, claim, is_last: false, is_outdated: false },
            Fate::Arrives,
        )
    };
    let late = Step::Say(Act::Settle { pick: 32, status: 0, tokens: 500_000, rest: 0 }, Fate::Arrives);
    let first = claim(1, 500_000_000);
    holds_in(&[first, Step::Wait(61_000), alarm(), claim(0, 0), settle(0, 0), late, claim(0, 0)]);
}
