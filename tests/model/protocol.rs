//! What surrounds the account: gateways, the network, the alarm and D1; everything that can happen next, and what must hold.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use stateright::{Model, Property};
use tokens_forge::account::Memory;
use tokens_forge::rollup::mark_after;

use crate::account::{
    Account, BALANCE, CHECKPOINT, CLAIM, End, Ending, LEAVES, Leg, MEMORY, ONCE, Plan, Request, START, SUM, Said, Step, TABLES,
    Told, opened,
};

/// How often a settlement without an answer is sent again.
pub const RETRIES: u8 = 1;
/// How many rows go to D1 at once.
pub const AT_ONCE: u64 = 2;

/// Where a gateway is with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Idle,
    /// A hold was asked for; with the client or without.
    Asking {
        is_left: bool,
    },
    Granted,
    /// Upstream was called.
    Calling,
    /// The settlement was sent.
    Settling,
    Over(Over),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Over {
    Settled,
    /// The account said no, or nothing.
    Untried,
    Replayed,
    GivenUp,
    Died,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gateway {
    pub stage: Stage,
    pub leg: Leg,
    /// The legs that were called, as the request's history.
    pub called: Vec<Leg>,
    pub has_ticket: bool,
    pub checkpoints: usize,
    pub retries: u8,
    pub ending: Option<Ending>,
}

/// When the object wakes up by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alarm {
    Off,
    Set,
    /// The object died between its commit and setting the alarm; the next change sets it.
    Missed,
}

/// Rows on their way to D1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Batch {
    pub first: u64,
    pub last: u64,
    /// Whether the alarm sent it, or a flush.
    pub is_alarms: bool,
}

/// The searchable copy, and how far the account believes it to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Searchable {
    pub mark: u64,
    pub rows: BTreeSet<u64>,
    /// How many rows went into the sums by day.
    pub counted: u64,
    /// Batches whose answer is waited for: the alarm's, and that of a flush.
    pub sent: Vec<Batch>,
    /// Batches that nobody waits for any more.
    pub late: Vec<Batch>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub account: Arc<Account>,
    /// Commands in flight, in no order.
    pub net: Vec<Said>,
    pub gateways: Vec<Gateway>,
    pub alarm: Alarm,
    pub copy: Searchable,
    pub faults: u8,
    pub flushes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Ask(Request),
    Deliver(Said),
    /// Delivered and committed, but the answer is lost.
    DeliverUnanswered(Said),
    /// The object dies after the commit: no answer, no alarm.
    DeliverAndDie(Said),
    Lose(Said),
    Double(Said),
    /// The gateway stops waiting for an answer to its hold.
    StopWaiting(Request),
    Call(Request),
    Note(Request),
    Complete(Request),
    Fail(Request),
    Leave(Request),
    Die(Request),
    SettleAgain(Request),
    GiveUp(Request),
    TimePasses,
    Alarm,
    Flush,
    Copied(Batch),
    CopyFails(Batch),
    CopiedUnanswered(Batch),
    CopySilent(Batch),
    LateCopied(Batch),
}
pub const KEPT: &str = "a settlement that was answered is in the journal";
pub const GRANT: &str = "nothing goes upstream before its hold is granted";
pub const COST: &str = "a request costs what it used, within its hold";
pub const COPY: &str = "D1 has the journal from its first row on, each row counted once, and at least to the mark";
pub const END: &str = "in the end no hold is open, what was called has its receipt, and D1 has every row";

/// What was found before: an account and a step to what comes of them.
pub type Known = Mutex<HashMap<(u64, i64, Step), (Told, Arc<Account>)>>;

/// One setting of the protocol.
#[derive(Default)]
pub struct Protocol {
    pub name: &'static str,
    pub balances: &'static [(&'static str, i64)],
    pub plans: Vec<Plan>,
    pub faults: u8,
    /// Whether the copy to D1 is looked at too, and how often somebody asks for it.
    pub flushes: Option<u8>,
    /// What must be possible, so that the rest is not true of nothing.
    pub sees: &'static [&'static str],
    pub known: Known,
    pub found: Mutex<BTreeSet<&'static str>>,
}

impl Gateway {
    fn asks(&mut self, net: &mut Vec<Said>, request: Request, leg: Leg) {
        (self.stage, self.leg) = (Stage::Asking { is_left: false }, leg);
        net.push(Said::Hold(request, leg));
    }

    fn ends(&mut self, net: &mut Vec<Said>, request: Request, ending: Ending) {
        (self.stage, self.ending) = (Stage::Settling, Some(ending));
        net.push(Said::Settle(request, self.leg, ending));
    }

    /// What the account said no to, or nothing: a ticket is settled, and without one nothing was tried.
    fn stops(&mut self, net: &mut Vec<Said>, request: Request) {
        if self.has_ticket { self.ends(net, request, Ending::Failed) } else { self.stage = Stage::Over(Over::Untried) }
    }

    fn hears(&mut self, net: &mut Vec<Said>, said: Said, told: Told, legs: usize) {
        match (said, self.stage) {
            (Said::Hold(request, leg), Stage::Asking { is_left }) if leg == self.leg => match told {
                Told::Granted => {
                    self.has_ticket = true;
                    if is_left { self.ends(net, request, Ending::LeftEarly) } else { self.stage = Stage::Granted }
                }
                Told::Replayed => self.stage = Stage::Over(Over::Replayed),
                Told::Refused { is_about_one_bucket: true } if !is_left && usize::try_from(leg).unwrap() + 1 < legs => {
                    self.asks(net, request, leg + 1);
                }
                Told::Refused { .. } | Told::Done => self.stops(net, request),
            },
            (Said::Settle(..), Stage::Settling) => self.stage = Stage::Over(Over::Settled),
            _ => {}
        }
    }
}

impl Searchable {
    /// What D1 does with rows, in one transaction: it takes a batch of which it has no row. Answers how far the outbox is then.
    fn store(&mut self, Batch { first, last, .. }: Batch) -> u64 {
        let before = self.rows.last().copied().unwrap_or(0);
        if before < first {
            self.counted += (first..=last).count() as u64;
            self.rows.extend(first..=last);
        }
        mark_after(before, (first, last))
    }

    fn uncopied(&self, rows: u64, is_alarms: bool) -> Option<Batch> {
        (self.mark < rows).then(|| Batch { first: self.mark + 1, last: rows.min(self.mark + AT_ONCE), is_alarms })
    }

    fn is_alarm_busy(&self) -> bool {
        self.sent.iter().any(|batch| batch.is_alarms)
    }
}

pub fn take<T: PartialEq>(list: &mut Vec<T>, item: &T) {
    list.remove(list.iter().position(|other| other == item).unwrap());
}

impl Protocol {
    /// Whether this is found for the first time: the checker keeps the last of all paths, and the first is the shortest.
    fn is_first(&self, name: &'static str) -> bool {
        self.found.lock().unwrap().insert(name)
    }

    fn step(&self, account: &Arc<Account>, step: Step) -> (Told, Arc<Account>) {
        let name = (account.hash, account.now, step);
        let mut known = self.known.lock().unwrap();
        let (told, after) = known.entry(name).or_insert_with(|| {
            let (told, after) = account.after(step, &self.plans);
            (told, Arc::new(after))
        });
        (*told, Arc::clone(after))
    }

    fn has_copy(&self) -> bool {
        self.flushes.is_some()
    }

    /// Whether the alarm may ring and has anything to do. It does not ring while it is at work.
    fn is_alarmed(&self, state: &State) -> bool {
        let is_uncopied = self.has_copy() && state.copy.mark < state.account.rows();
        state.alarm == Alarm::Set && !state.copy.is_alarm_busy() && (state.account.is_due() || is_uncopied)
    }

    fn deliver(&self, state: &mut State, said: Said) -> Told {
        take(&mut state.net, &said);
        let (told, after) = self.step(&state.account, Step::Said(said));
        state.account = after;
        told
    }
}

/// What must be true of every state.
macro_rules! law {
    ($name:expr, |$protocol:pat_param, $state:pat_param| $condition:expr) => {
        Property::always($name, |protocol: &Protocol, state: &State| {
            let ($protocol, $state) = (protocol, state);
            let is_kept: bool = $condition;
            is_kept || !protocol.is_first($name)
        })
    };
}

/// What must be true of some state.
macro_rules! possible {
    ($name:literal, |$state:pat_param| $condition:expr) => {
        Property::sometimes($name, |protocol: &Protocol, $state: &State| $condition && protocol.is_first($name))
    };
}

/// What must be true of some request in some state, as its gateway and the account see it.
macro_rules! any {
    ($name:literal, |$gateway:pat_param, $end:pat_param| $condition:expr) => {
        possible!($name, |state| state.gateways.iter().zip(&state.account.ends).any(|($gateway, $end)| $condition))
    };
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let tables = opened(self.balances);
        let account = Account::new((tables, Memory::default()), START, self.plans.len(), BTreeSet::new());
        let rows = account.rows();
        let gateway = Gateway {
            stage: Stage::Idle,
            leg: 0,
            called: Vec::new(),
            has_ticket: false,
            checkpoints: 0,
            retries: RETRIES,
            ending: None,
        };
        vec![State {
            account: Arc::new(account),
            net: Vec::new(),
            gateways: vec![gateway; self.plans.len()],
            alarm: Alarm::Off,
            copy: Searchable { mark: rows, rows: (1..=rows).collect(), counted: rows, sent: Vec::new(), late: Vec::new() },
            faults: self.faults,
            flushes: self.flushes.unwrap_or(0),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let is_faulty = state.faults > 0;
        let mut last = None;
        for said in state.net.iter().copied() {
            if last.replace(said) == Some(said) {
                continue;
            }
            actions.push(Action::Deliver(said));
            if is_faulty {
                actions.extend([Action::Lose(said), Action::Double(said), Action::DeliverAndDie(said)]);
                if !matches!(said, Said::Checkpoint(..)) {
                    actions.push(Action::DeliverUnanswered(said));
                }
            }
        }
        for (request, gateway) in state.gateways.iter().enumerate() {
            let is_on_its_way = state.net.iter().any(|said| match said {
                Said::Hold(of, leg) => *of == request && *leg == gateway.leg && matches!(gateway.stage, Stage::Asking { .. }),
                Said::Settle(of, ..) => *of == request && gateway.stage == Stage::Settling,
                Said::Checkpoint(..) => false,
            });
            match gateway.stage {
                Stage::Idle => actions.push(Action::Ask(request)),
                Stage::Asking { is_left } => {
                    if !is_on_its_way || is_faulty {
                        actions.push(Action::StopWaiting(request));
                    }
                    if !is_left {
                        actions.push(Action::Leave(request));
                    }
                }
                Stage::Granted => actions.extend([Action::Call(request), Action::Leave(request)]),
                Stage::Calling => {
                    actions.extend([Action::Complete(request), Action::Fail(request), Action::Leave(request)]);
                    if gateway.checkpoints < self.plans[request].checkpoints.len() {
                        actions.push(Action::Note(request));
                    }
                }
                Stage::Settling if !is_on_its_way => {
                    actions.push(if gateway.retries > 0 { Action::SettleAgain(request) } else { Action::GiveUp(request) });
                }
                Stage::Settling | Stage::Over(_) => {}
            }
            if is_faulty && !matches!(gateway.stage, Stage::Idle | Stage::Over(_)) {
                actions.push(Action::Die(request));
            }
        }
        if state.account.is_waiting() {
            actions.push(Action::TimePasses);
        }
        if self.is_alarmed(state) {
            actions.push(Action::Alarm);
        }
        if state.flushes > 0 && state.copy.mark < state.account.rows() {
            actions.push(Action::Flush);
        }
        for batch in state.copy.sent.iter().copied() {
            actions.push(Action::Copied(batch));
            if is_faulty {
                actions.extend([Action::CopyFails(batch), Action::CopiedUnanswered(batch), Action::CopySilent(batch)]);
            }
        }
        actions.extend(state.copy.late.iter().copied().map(Action::LateCopied));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let State { account, net, gateways, copy, faults, .. } = &mut state;
        match action {
            Action::Ask(request) => gateways[request].asks(net, request, 0),
            Action::Deliver(said) | Action::DeliverUnanswered(said) => {
                let told = self.deliver(&mut state, said);
                if state.account.print != last.account.print {
                    state.alarm = Alarm::Set;
                }
                let (Said::Hold(request, _) | Said::Checkpoint(request, ..) | Said::Settle(request, ..)) = said;
                if action == Action::Deliver(said) {
                    state.gateways[request].hears(&mut state.net, said, told, self.plans[request].legs.len());
                } else {
                    state.faults -= 1;
                }
            }
            Action::DeliverAndDie(said) => {
                self.deliver(&mut state, said);
                // An alarm that was under way is repeated; what it sent is on its own now.
                let was_copying = state.copy.is_alarm_busy();
                state.copy.late.append(&mut state.copy.sent);
                if was_copying {
                    state.alarm = Alarm::Set;
                } else if state.alarm == Alarm::Off && state.account.print != last.account.print {
                    state.alarm = Alarm::Missed;
                }
                state.faults -= 1;
            }
            Action::Lose(said) => {
                take(net, &said);
                state.faults -= 1;
            }
            Action::Double(said) => {
                net.push(said);
                state.faults -= 1;
            }
            Action::StopWaiting(request) => {
                let asked = Said::Hold(request, gateways[request].leg);
                *faults -= u8::from(net.contains(&asked));
                gateways[request].stops(net, request);
            }
            Action::Call(request) => {
                let leg = gateways[request].leg;
                gateways[request].stage = Stage::Calling;
                gateways[request].called.push(leg);
            }
            Action::Note(request) => {
                net.push(Said::Checkpoint(request, gateways[request].leg, gateways[request].checkpoints));
                gateways[request].checkpoints += 1;
            }
            Action::Complete(request) => gateways[request].ends(net, request, Ending::Completed),
            Action::Fail(request) => {
                let next = gateways[request].leg + 1;
                if usize::try_from(next).unwrap() < self.plans[request].legs.len() {
                    gateways[request].asks(net, request, next);
                } else {
                    gateways[request].ends(net, request, Ending::Failed);
                }
            }
            Action::Leave(request) => match gateways[request].stage {
                Stage::Calling => gateways[request].ends(net, request, Ending::Left),
                Stage::Asking { .. } if !gateways[request].has_ticket => {
                    gateways[request].stage = Stage::Asking { is_left: true };
                }
                _ => gateways[request].ends(net, request, Ending::LeftEarly),
            },
            Action::Die(request) => {
                gateways[request].stage = Stage::Over(Over::Died);
                state.faults -= 1;
            }
            Action::SettleAgain(request) => {
                gateways[request].retries -= 1;
                let ending = gateways[request].ending.unwrap();
                gateways[request].ends(net, request, ending);
            }
            Action::GiveUp(request) => gateways[request].stage = Stage::Over(Over::GivenUp),
            Action::TimePasses => state.account = self.step(&state.account, Step::TimePasses).1,
            Action::Alarm => {
                state.account = self.step(&state.account, Step::Tick).1;
                if self.has_copy() {
                    state.copy.sent.extend(state.copy.uncopied(state.account.rows(), true));
                }
                // It comes again for the next deadline; a copy under way says itself whether more is to do.
                state.alarm = if state.account.tables.holds.is_empty() { Alarm::Off } else { Alarm::Set };
            }
            Action::Flush => {
                copy.sent.extend(copy.uncopied(account.rows(), false));
                state.flushes -= 1;
            }
            Action::Copied(batch) => {
                take(&mut copy.sent, &batch);
                copy.mark = copy.mark.max(copy.store(batch));
                if batch.is_alarms && copy.mark < state.account.rows() {
                    state.alarm = Alarm::Set;
                }
            }
            Action::CopyFails(batch) | Action::CopiedUnanswered(batch) | Action::CopySilent(batch) => {
                take(&mut copy.sent, &batch);
                match action {
                    Action::CopiedUnanswered(_) => {
                        copy.store(batch);
                    }
                    Action::CopySilent(_) => copy.late.push(batch),
                    _ => {}
                }
                if batch.is_alarms {
                    state.alarm = Alarm::Set;
                }
                state.faults -= 1;
            }
            Action::LateCopied(batch) => {
                take(&mut copy.late, &batch);
                copy.store(batch);
            }
        }
        state.net.sort_unstable();
        state.copy.sent.sort_unstable();
        state.copy.late.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            law!(BALANCE, |_, state| !state.account.broken.contains(BALANCE)),
            law!(SUM, |_, state| !state.account.broken.contains(SUM)),
            law!(ONCE, |_, state| !state.account.broken.contains(ONCE)),
            law!(LEAVES, |_, state| !state.account.broken.contains(LEAVES)),
            law!(TABLES, |_, state| !state.account.broken.contains(TABLES)),
            law!(CHECKPOINT, |_, state| !state.account.broken.contains(CHECKPOINT)),
            law!(CLAIM, |_, state| !state.account.broken.contains(CLAIM)),
            law!(MEMORY, |_, state| !state.account.broken.contains(MEMORY)),
            law!(GRANT, |_, state| {
                let mut both = state.gateways.iter().zip(&state.account.ends);
                both.all(|(gateway, end)| gateway.called.iter().all(|leg| end.opened.contains(leg)))
            }),
            law!(KEPT, |_, state| {
                let is_kept = |end: &End| end.receipts == 1 && (!end.is_expired || end.corrections == 1);
                let mut both = state.gateways.iter().zip(&state.account.ends);
                both.all(|(gateway, end)| gateway.stage != Stage::Over(Over::Settled) || is_kept(end))
            }),
            law!(COST, |protocol, state| costs(protocol, state)),
            law!(COPY, |_, State { copy, account, .. }| {
                let highest = copy.rows.last().copied().unwrap_or(0);
                let count = copy.rows.len() as u64;
                count == highest && copy.counted == count && copy.mark <= highest && highest <= account.rows()
            }),
            law!(END, |protocol, state| ends_well(protocol, state)),
        ];
        let possible = [
            any!("a capture", |_, end| end.charged > 0 && !end.is_expired),
            any!("a release", |gateway, end| end.receipts == 1 && end.charged == 0 && gateway.ending == Some(Ending::Failed)),
            any!("an expiry with a checkpoint", |_, end| end.at_expiry > 0),
            any!("an expiry without one", |_, end| end.is_expired && end.at_expiry == 0),
            any!("a correction that charges more", |_, end| end.corrections > 0 && end.charged > end.at_expiry),
            any!("a correction that gives back", |_, end| end.corrections > 0 && end.charged < end.at_expiry),
            any!("a correction that is not covered", |gateway, end| {
                end.corrections > 0 && (end.at_expiry, end.charged) == (1, 2) && gateway.ending == Some(Ending::Completed)
            }),
            any!("a refusal for holds of others", |_, end| end.code == "balance_in_flight"),
            any!("a refusal for a request under way", |_, end| end.code == "idempotency_in_flight"),
            any!("a replayed answer", |gateway, _| gateway.stage == Stage::Over(Over::Replayed)),
            any!("a crossing", |gateway, end| gateway.called == [0, 1] && end.charged > 0),
            possible!("a settlement that comes twice", |state| {
                state.net.iter().any(|said| matches!(said, Said::Settle(request, ..) if state.account.ends[*request].charged > 0))
            }),
            possible!("a hold without an alarm", |state| state.alarm == Alarm::Missed && state.account.is_waiting()),
            possible!("a batch that comes too late", |state| {
                state.copy.late.iter().any(|batch| state.copy.rows.contains(&batch.last))
            }),
        ];
        properties.extend(possible.into_iter().filter(|property| self.sees.contains(&property.name)));
        properties
    }
}

/// Whether every request is charged what its end costs, as far as its hold and its checkpoints reach.
pub fn costs(protocol: &Protocol, state: &State) -> bool {
    let both = state.gateways.iter().zip(&state.account.ends).zip(&protocol.plans);
    both.into_iter().all(|((gateway, end), plan)| {
        let held = end.opened.last().map_or(0, |leg| plan.held(*leg));
        let cost = gateway.ending.map_or(0, |ending| plan.cost(ending)).min(held);
        match (end.receipts, end.is_expired, end.corrections) {
            (0, ..) => end.charged == 0,
            (_, true, 0) => end.charged <= held && end.charged <= plan.checkpoints.iter().copied().max().unwrap_or(0),
            // What an expiry gave back may be taken by others meanwhile.
            (_, true, _) => end.charged <= cost && end.charged >= cost.min(end.at_expiry),
            (_, false, _) => end.charged == cost,
        }
    })
}

/// Whether nothing is left undone where nothing happens any more.
pub fn ends_well(protocol: &Protocol, state: &State) -> bool {
    let is_over = state.net.is_empty() && state.gateways.iter().all(|gateway| matches!(gateway.stage, Stage::Over(_)));
    let mut actions = Vec::new();
    if is_over {
        protocol.actions(state, &mut actions);
        // Nobody has to ask for a flush.
        actions.retain(|action| *action != Action::Flush);
    }
    if !is_over || !actions.is_empty() || state.alarm == Alarm::Missed {
        return true;
    }
    let mut both = state.gateways.iter().zip(&state.account.ends);
    both.all(|(gateway, end)| !end.is_open && (gateway.called.is_empty() || end.receipts == 1))
        && (!protocol.has_copy() || state.copy.rows.len() as u64 == state.account.rows())
}
