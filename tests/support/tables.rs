//! An account's tables in memory: what the account object's SQLite is, as the state machine sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use tokens_forge::account::{
    self, AccountAnswer, AccountRecord, AccountState, AccountStore, Claim, Command, Counters, Decided, Event, Expired, HeldSum,
    Hold, HoldAnswer, Journaled, KeptAnswer, KeptItems, KeyBook, MOST_READ, NOTED_MS, Order, OrderState, ProjectBook, Receipt,
    Row, RunBook, Spent, Touches,
};
use tokens_forge::id::{BucketId, KeyId, OrderId, ProjectId, RequestId, RunId};
use tokens_forge::money::Money;
use tokens_forge::time::{Period, Timestamp};

const MOST_IN_A_BATCH: usize = 200;
const FIRST_AFTER_REQUESTS: &str = "gen.";

#[derive(Debug, Clone, Default)]
pub struct Tables {
    pub account: Option<AccountRecord>,
    pub journal: Vec<Row>,
    pub holds: BTreeMap<String, Hold>,
    pub keys: BTreeMap<KeyId, KeyBook>,
    pub projects: BTreeMap<ProjectId, ProjectBook>,
    pub claims: BTreeMap<String, Claim>,
    /// Sealed answers by the number of their journal row.
    pub kept: BTreeMap<u64, KeptAnswer>,
    pub runs: BTreeMap<RunId, RunBook>,
    pub orders: BTreeMap<OrderId, Order>,
    /// Journal rows of alerts that are to be sent.
    pub alerts: BTreeSet<u64>,
    /// Until when sessions of a mark are ended.
    pub ended: BTreeMap<String, Timestamp>,
    /// Every hold that was ever opened, by request and leg, and how often it left Open.
    pub left: BTreeMap<(String, u32), u32>,
    /// The newest row that the searchable copy is known to have.
    pub copied: u64,
    /// The unique index of the journal: which row a subject has.
    subjects: BTreeMap<String, usize>,
}

impl AccountStore for Tables {
    type Error = std::convert::Infallible;

    fn state(&self, touches: Touches<'_>) -> Result<AccountState, Self::Error> {
        let mut held: Vec<HeldSum> = Vec::new();
        for hold in self.holds.values() {
            let is_same = |held: &&mut HeldSum| {
                (&held.bucket, &held.key, &held.project, &held.run) == (&hold.bucket, &hold.key, &hold.project, &hold.facts.run)
            };
            match held.iter_mut().find(is_same) {
                Some(held) => {
                    held.amount = held.amount.checked_add(hold.amount).unwrap();
                    held.count += 1;
                    held.tokens += hold.tokens;
                }
                None => held.push(HeldSum {
                    bucket: hold.bucket.clone(),
                    key: hold.key.clone(),
                    project: hold.project.clone(),
                    run: hold.facts.run.clone(),
                    amount: hold.amount,
                    count: 1,
                    tokens: hold.tokens,
                }),
            }
        }
        let hold = touches.subject.and_then(|subject| self.holds.get(subject)).cloned();
        let key = touches.key.or(hold.as_ref().map(|hold| &hold.key)).and_then(|key| self.keys.get(key)).cloned();
        let project = touches.project.or(key.as_ref().map(|key| &key.record.project));
        let run = touches.run.cloned().or_else(|| hold.as_ref().and_then(|hold| hold.facts.run.clone()));
        let claim = touches.claim.map(ToOwned::to_owned).or_else(|| hold.as_ref().and_then(|hold| hold.claim.clone()));
        let last = self.journal.last();
        Ok(AccountState {
            head: account::JournalHead {
                seq: last.map_or(0, |row| row.seq),
                at: last.map(|row| row.at).unwrap_or_default(),
                balances: last.map(|row| row.balances.clone()).unwrap_or_default(),
                debts: last.map(|row| row.debts.clone()).unwrap_or_default(),
            },
            held,
            project: project.and_then(|id| self.projects.get(id)).cloned(),
            run: run.map(|id| self.runs.get(&id).cloned().unwrap_or_else(|| RunBook::new(id))),
            hold,
            closed: touches.subject.is_some_and(|subject| self.row_of(subject).is_some()),
            claim: claim.and_then(|claim| self.claims.get(&claim)).cloned(),
            key,
            ..AccountState::default()
        })
    }

    fn account(&self) -> Result<Option<AccountRecord>, Self::Error> {
        Ok(self.account.clone())
    }

    fn adjusted(&self, id: &str) -> Result<Option<(BucketId, Money)>, Self::Error> {
        let row = self.row_of(id).filter(|row| matches!(row.journaled, Journaled::Adjustment(_)));
        Ok(row.map(|row| (row.bucket.clone().unwrap(), row.amount.unwrap())))
    }

    fn spent(&self, key: Option<&KeyId>, project: Option<&ProjectId>, now: Timestamp) -> Result<Counters, Self::Error> {
        let mut counters = Counters::default();
        for row in &self.journal {
            let (of_key, of_project) = match &row.journaled {
                Journaled::Receipt(receipt) => (&receipt.key, &receipt.project),
                Journaled::Correction(correction) => (&correction.key, &correction.project),
                _ => continue,
            };
            let is_asked = key.is_none_or(|key| key == of_key) && project.is_none_or(|project| project == of_project);
            let (Some(bucket), Some(amount), true) = (&row.bucket, row.amount, is_asked) else { continue };
            let spent = counters.spent.entry(bucket.clone()).or_insert_with(|| Spent {
                day_start: Period::Day.start(now),
                month_start: Period::Month.start(now),
                ..Spent::default()
            });
            let add = |sum: &mut Money| *sum = sum.checked_sub(amount).unwrap();
            add(&mut spent.total);
            if row.at >= spent.day_start {
                add(&mut spent.day);
            }
            if row.at >= spent.month_start {
                add(&mut spent.month);
            }
        }
        for spent in counters.spent.values_mut() {
            for sum in [&mut spent.total, &mut spent.day, &mut spent.month] {
                *sum = (*sum).max(Money::ZERO);
            }
        }
        Ok(counters)
    }

    fn order_of_request(&self, key: &str) -> Result<Option<Order>, Self::Error> {
        Ok(self.orders.values().find(|order| order.request_key.as_deref() == Some(key)).cloned())
    }

    fn open_orders(&self) -> Result<u32, Self::Error> {
        let is_open = |order: &&Order| matches!(order.state, OrderState::Pending | OrderState::InReview);
        Ok(u32::try_from(self.orders.values().filter(is_open).count()).unwrap())
    }

    fn order(&self, id: &OrderId) -> Result<Option<Order>, Self::Error> {
        Ok(self.orders.get(id).cloned())
    }

    fn claim_of(&self, request: &RequestId) -> Result<Option<Claim>, Self::Error> {
        let is_of = |claim: &&Claim| claim.request == *request || claim.replaces.contains(request);
        Ok(self.claims.values().find(is_of).cloned())
    }

    fn stale(&self, until: Timestamp, most_bytes: u64) -> Result<Option<u64>, Self::Error> {
        let mut room = most_bytes;
        let has_room = |answer: &&KeptAnswer| match room.checked_sub(answer.bytes()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let stays = self.kept.values().rev().take_while(has_room).take_while(|answer| answer.at > until).last();
        let goes = |seq: &&u64| stays.is_none_or(|stays| **seq < stays.seq);
        Ok(self.kept.keys().take_while(goes).last().copied())
    }

    fn ended_sessions(&self, since: Timestamp) -> Result<u32, Self::Error> {
        Ok(u32::try_from(self.ended.values().filter(|until| **until >= since).count()).unwrap())
    }

    fn last_end(&self) -> Result<Timestamp, Self::Error> {
        Ok(self.ended.values().max().copied().unwrap_or_default())
    }

    fn expired(&self, request: &RequestId) -> Result<Option<Expired>, Self::Error> {
        let is_corrected = self.row_of(&format!("{request}/correction")).is_some();
        Ok(self.row_of(request.as_str()).filter(|_| !is_corrected).and_then(|row| match &row.journaled {
            Journaled::Receipt(receipt) if receipt.error.as_ref().is_some_and(|error| error.code == "hold_expired") => {
                Some(serde_json::from_value(serde_json::to_value(receipt).unwrap()).unwrap())
            }
            _ => None,
        }))
    }
}

impl Tables {
    /// What is stored otherwise than in other tables, but for rows before this one, and for holds that were gone before they were
    /// written.
    pub fn differ(&self, other: &Self, from: usize) -> Option<String> {
        let rows = self.journal.get(from..) == other.journal.get(from..) && self.journal.len() == other.journal.len();
        let others = [
            ("the account", self.account == other.account),
            ("the journal", rows),
            ("the holds", self.holds == other.holds),
            ("the keys", self.keys == other.keys),
            ("the projects", self.projects == other.projects),
            ("the claims", self.claims == other.claims),
            ("the kept answers", self.kept == other.kept),
            ("the runs", self.runs == other.runs),
            ("the orders", self.orders == other.orders),
            ("the alerts", self.alerts == other.alerts),
            ("the ended sessions", self.ended == other.ended),
            ("the subjects", self.subjects.len() == other.subjects.len()),
        ];
        others.into_iter().find(|(_, is_same)| !is_same).map(|(what, _)| format!("{what}, at row {}", self.journal.len()))
    }

    /// The last request that has a row.
    pub fn last_closed(&self) -> Option<String> {
        let last = self
            .subjects
            .range::<str, _>((Bound::Unbounded, Bound::Excluded(FIRST_AFTER_REQUESTS)))
            .next_back()
            .map(|(subject, _)| subject.clone());
        last.filter(|subject| subject.starts_with(RequestId::MARK))
    }

    /// The row of this subject.
    pub fn row_of(&self, subject: &str) -> Option<&Row> {
        self.subjects.get(subject).map(|index| &self.journal[*index])
    }

    pub fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Opened(hold) => {
                    let earlier = self.holds.insert(hold.request.to_string(), (*hold).clone());
                    if let Some(earlier) = earlier {
                        self.leaves(&earlier);
                    }
                    assert_eq!(self.left.insert((hold.request.to_string(), hold.leg), 0), None, "a hold is opened once");
                }
                Event::Extended { request, deadline, checkpoint } => {
                    let hold = self.holds.get_mut(request.as_str()).expect("only an open hold is extended");
                    (hold.deadline, hold.checkpoint) = (deadline, Some(*checkpoint));
                }
                Event::Closed(request) => {
                    let hold = self.holds.remove(request.as_str()).expect("only an open hold is closed");
                    self.leaves(&hold);
                }
                Event::Journaled(row) => {
                    if let Some(subject) = row.journaled.subject() {
                        let earlier = self.subjects.insert(subject, self.journal.len());
                        assert_eq!(earlier, None, "a subject stands in the journal once");
                    }
                    self.journal.push(*row);
                }
                Event::AccountStored(record) => self.account = Some(record),
                Event::ProjectStored(record, counters) => {
                    self.projects.insert(record.id.clone(), ProjectBook { record, counters });
                }
                Event::KeyStored(record, counters) => {
                    self.keys.insert(record.id.clone(), KeyBook { record: *record, counters });
                }
                Event::KeyTallied(key, counters) => self.keys.get_mut(&key).unwrap().counters = counters,
                Event::ProjectTallied(project, counters) => self.projects.get_mut(&project).unwrap().counters = counters,
                Event::RunStored(run) => {
                    self.runs.insert(run.id.clone(), *run);
                }
                Event::OrderStored(order) => {
                    self.orders.insert(order.id.clone(), *order);
                }
                Event::Alerted(seq) => {
                    assert!(self.alerts.insert(seq), "an alert is noted once");
                }
                Event::Claimed(claim) => {
                    self.claims.insert(claim.id.clone(), claim);
                }
                Event::Unclaimed(id) => {
                    self.claims.remove(&id);
                }
                Event::Kept(answer) => {
                    assert_eq!(self.kept.insert(answer.seq, *answer), None, "an answer is kept once");
                }
                Event::Forgotten(last) => self.kept.retain(|seq, _| *seq > last),
                Event::SessionsEnded(ended) => {
                    self.ended.retain(|_, until| *until >= ended.until.plus(-NOTED_MS));
                    let until = self.ended.entry(ended.mark).or_default();
                    *until = (*until).max(ended.until);
                }
            }
        }
    }

    fn leaves(&mut self, hold: &Hold) {
        let times = self.left.get_mut(&(hold.request.to_string(), hold.leg)).unwrap();
        *times += 1;
        assert_eq!(*times, 1, "a hold leaves Open once");
    }

    /// Decides and stores, as the account object does.
    pub fn command(&mut self, command: Command, now: Timestamp) -> AccountAnswer {
        let (answer, events) = self.decide(command, now);
        self.apply(events);
        answer
    }

    /// Decides only: what a crash before the commit leaves behind.
    pub fn decide(&self, command: Command, now: Timestamp) -> Decided {
        if let Command::Read(query) = &command {
            return (self.read(query, now), Vec::new());
        }
        match account::decide(self, command, now) {
            Ok(decided) => decided,
            Err(never) => match never {},
        }
    }

    /// The state without anything in particular.
    pub fn all_books(&self) -> AccountState {
        match self.state(Touches::default()) {
            Ok(state) => state,
            Err(never) => match never {},
        }
    }

    /// See the account object's own.
    pub fn kept_of(&self, requests: &[RequestId], since: Timestamp) -> Vec<(RequestId, KeptItems)> {
        let mut left = MOST_READ;
        let mut find = |request: &RequestId| {
            let rows = [request.to_string(), format!("{request}/correction")].map(|subject| self.row_of(&subject));
            let answer = rows.into_iter().flatten().find_map(|row| self.kept.get(&row.seq)).filter(|answer| answer.at > since);
            match answer {
                Some(answer) => {
                    left = left.checked_sub(answer.bytes())?;
                    Some(KeptItems::Sealed(answer.sealed.clone()))
                }
                None => self.holds.contains_key(request.as_str()).then_some(KeptItems::Open),
            }
        };
        requests.iter().filter_map(|request| Some((request.clone(), find(request)?))).collect()
    }

    /// Ends what is due, as the alarm does.
    pub fn tick(&mut self, now: Timestamp) {
        let due: Vec<Hold> = self.holds.values().filter(|hold| hold.deadline <= now).cloned().collect();
        for hold in due {
            let Ok(events) = account::end_hold(self, &hold, now);
            self.apply(events);
        }
        let Ok(events) = account::forget(self, now);
        self.apply(events);
        let is_due = |order: &&Order| order.state == OrderState::Pending && order.expires_at.is_some_and(|end| end <= now);
        let due: Vec<OrderId> = self.orders.values().filter(is_due).map(|order| order.id.clone()).collect();
        for order in due {
            let Ok(events) = account::end_order(self, &order, now);
            self.apply(events);
        }
    }

    /// The next rows that the searchable copy does not have, as many as go in one batch.
    pub fn uncopied(&self) -> Vec<Row> {
        let new = self.journal.iter().filter(|row| row.seq > self.copied);
        new.take(MOST_IN_A_BATCH).cloned().collect()
    }

    pub fn receipts(&self) -> Vec<(u64, Receipt)> {
        let receipt = |row: &Row| match &row.journaled {
            Journaled::Receipt(receipt) => Some((row.seq, (**receipt).clone())),
            _ => None,
        };
        self.journal.iter().filter_map(receipt).collect()
    }

    pub fn balance(&self, bucket: &str) -> Money {
        self.all_books().balance(&BucketId::parse(bucket).unwrap())
    }

    pub fn granted(answer: &AccountAnswer) -> bool {
        matches!(answer, AccountAnswer::Hold(HoldAnswer::Granted(_)))
    }

    /// What must always hold.
    pub fn check_law(&self) {
        for (seq, answer) in &self.kept {
            let row = &self.journal[usize::try_from(*seq).unwrap() - 1];
            let is_of_a_request = matches!(row.journaled, Journaled::Receipt(_) | Journaled::Correction(_));
            assert!(is_of_a_request && row.at == answer.at, "what is kept stands beside the row of its request");
        }
        let mut sums: BTreeMap<BucketId, Money> = BTreeMap::new();
        for (index, row) in self.journal.iter().enumerate() {
            assert_eq!(row.seq, u64::try_from(index).unwrap() + 1, "rows are numbered without a gap");
            if let (Some(bucket), Some(amount)) = (&row.bucket, row.amount) {
                let sum = sums.entry(bucket.clone()).or_default();
                *sum = sum.checked_add(amount).unwrap();
                assert!(!sum.is_negative(), "no balance below zero");
            }
            assert_eq!(row.balances, sums, "a balance is the sum of its entries");
        }
        let state = self.all_books();
        let buckets: BTreeSet<&BucketId> =
            state.head.balances.keys().chain(self.holds.values().map(|hold| &hold.bucket)).collect();
        for bucket in buckets {
            let (balance, held) = (state.balance(bucket), state.held(bucket));
            assert!(!held.is_negative() && held <= balance, "0 <= {held} held <= {balance}");
            assert_eq!(balance.checked_sub(held).unwrap(), state.available(bucket));
        }
        for (hold, times) in &self.left {
            let is_open = self.holds.get(&hold.0).is_some_and(|open| open.leg == hold.1);
            assert_eq!(*times, u32::from(!is_open), "{hold:?} leaves Open exactly once");
        }
        for (seq, receipt) in self.receipts() {
            let row = &self.journal[usize::try_from(seq).unwrap() - 1];
            assert_eq!(row.amount.unwrap_or_default(), receipt.charge.negated(), "the entry is the charge");
            assert_eq!(receipt.no_charge_reason.is_some(), receipt.charge == Money::ZERO, "a free request says why");
            assert!(receipt.charge <= receipt.hold.unwrap_or_default(), "a charge is within its hold");
            assert_eq!(receipt.entry_ids.len(), usize::from(receipt.charge.is_positive()));
            if let (Some(before), Some(after)) = (receipt.balance_before, receipt.balance_after) {
                assert_eq!(before.checked_sub(receipt.charge), Some(after));
            }
        }
    }
}
