//! An account's tables in memory: what the account object's SQLite is, as the state machine sees it.

use std::collections::{BTreeMap, BTreeSet};

use tokens_forge::account::{
    self, AccountRecord, Answer, BalanceView, Books, Claim, Command, Event, Held, Hold, HoldAnswer, Journaled, KeyBook, Overview,
    ProjectBook, Query, Receipt, Row,
};
use tokens_forge::id::{BucketId, KeyId, ProjectId};
use tokens_forge::money::Money;
use tokens_forge::time::Timestamp;

#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub account: Option<AccountRecord>,
    pub journal: Vec<Row>,
    pub holds: BTreeMap<String, Hold>,
    pub keys: BTreeMap<KeyId, KeyBook>,
    pub projects: BTreeMap<ProjectId, ProjectBook>,
    pub claims: BTreeMap<String, Claim>,
    /// Every hold that was ever opened, by request and leg, and how often it left Open.
    pub left: BTreeMap<(String, u32), u32>,
}

impl Memory {
    pub fn books(&self, key: Option<&KeyId>, project: Option<&ProjectId>, subject: Option<&str>, claim: Option<&str>) -> Books {
        let mut held: Vec<Held> = Vec::new();
        for hold in self.holds.values() {
            match held.iter_mut().find(|held| held.bucket == hold.bucket && held.key == hold.key) {
                Some(held) => {
                    held.amount = held.amount.checked_add(hold.amount).unwrap();
                    held.count += 1;
                    held.tokens += hold.tokens;
                }
                None => held.push(Held {
                    bucket: hold.bucket.clone(),
                    key: hold.key.clone(),
                    project: hold.project.clone(),
                    amount: hold.amount,
                    count: 1,
                    tokens: hold.tokens,
                }),
            }
        }
        let key = key.and_then(|key| self.keys.get(key)).cloned();
        let project = project.or(key.as_ref().map(|key| &key.record.project)).and_then(|id| self.projects.get(id)).cloned();
        let last = self.journal.last();
        Books {
            head: account::Head {
                seq: last.map_or(0, |row| row.seq),
                balances: last.map(|row| row.balances.clone()).unwrap_or_default(),
            },
            held,
            project,
            hold: subject.and_then(|subject| self.holds.get(subject)).cloned(),
            closed: subject.is_some_and(|subject| self.journal.iter().any(|row| row.journaled.subject() == Some(subject))),
            claim: claim.and_then(|claim| self.claims.get(claim)).cloned(),
            account: self.account.clone(),
            adjusted: self.journal.iter().find(|row| row.amount.is_some() && row.journaled.subject() == subject).and_then(
                |row| {
                    let is_adjustment = matches!(row.journaled, Journaled::Adjustment(_));
                    is_adjustment.then(|| (row.bucket.clone().unwrap(), row.amount.unwrap()))
                },
            ),
            key,
        }
    }

    pub fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Opened(hold) => {
                    let earlier = self.holds.insert(hold.request.to_string(), (*hold).clone());
                    if let Some(earlier) = earlier {
                        *self.left.get_mut(&(earlier.request.to_string(), earlier.leg)).unwrap() += 1;
                    }
                    assert_eq!(self.left.insert((hold.request.to_string(), hold.leg), 0), None, "a hold is opened once");
                }
                Event::Extended { request, deadline, checkpoint } => {
                    let hold = self.holds.get_mut(request.as_str()).expect("only an open hold is extended");
                    (hold.deadline, hold.checkpoint) = (deadline, Some(*checkpoint));
                }
                Event::Closed(request) => {
                    let hold = self.holds.remove(request.as_str()).expect("only an open hold is closed");
                    *self.left.get_mut(&(request.to_string(), hold.leg)).unwrap() += 1;
                }
                Event::Journaled(row) => {
                    if let Some(subject) = row.journaled.subject() {
                        let is_new = self.journal.iter().all(|known| known.journaled.subject() != Some(subject));
                        assert!(is_new, "a subject stands in the journal once");
                    }
                    self.journal.push(*row);
                }
                Event::AccountStored(record) => self.account = Some(record),
                Event::ProjectStored(record, tally) => {
                    self.projects.insert(record.id.clone(), ProjectBook { record, tally });
                }
                Event::KeyStored(record, tally) => {
                    self.keys.insert(record.id.clone(), KeyBook { record: *record, tally });
                }
                Event::KeyTallied(key, tally) => self.keys.get_mut(&key).unwrap().tally = tally,
                Event::ProjectTallied(project, tally) => self.projects.get_mut(&project).unwrap().tally = tally,
                Event::Claimed(claim) => {
                    self.claims.insert(claim.id.clone(), claim);
                }
                Event::Unclaimed(id) => {
                    self.claims.remove(&id);
                }
            }
        }
    }

    /// Decides and stores, as the account object does.
    pub fn command(&mut self, command: Command, now: Timestamp) -> Answer {
        let (answer, events) = self.decide(command, now);
        self.apply(events);
        answer
    }

    /// Decides only: what a crash before the commit leaves behind.
    pub fn decide(&self, command: Command, now: Timestamp) -> (Answer, Vec<Event>) {
        let done = |events| (Answer::Done, events);
        let or_refused = |decided: Result<Vec<Event>, _>| match decided {
            Ok(events) => (Answer::Done, events),
            Err(refusal) => (Answer::Refused(refusal), Vec::new()),
        };
        match command {
            Command::Hold(request) => {
                let claim = request.idempotency.as_ref().map(|(id, _)| id.as_str());
                let books = self.books(Some(&request.facts.key), None, Some(request.facts.request.as_str()), claim);
                let (answer, events) = account::hold(books, *request, now);
                (Answer::Hold(answer), events)
            }
            Command::Settle(settlement) => {
                let hold = self.holds.get(settlement.request.as_str());
                let claim = hold.and_then(|hold| hold.claim.as_deref());
                let books = self.books(hold.map(|hold| &hold.key), None, Some(settlement.request.as_str()), claim);
                done(account::settle(books, *settlement, now))
            }
            Command::Checkpoint(extension) => {
                done(account::checkpoint(&self.books(None, None, Some(extension.request.as_str()), None), *extension, now))
            }
            Command::RecordRefused(refused) => {
                let (facts, outcome) = *refused;
                let mut books = self.books(None, None, Some(facts.request.as_str()), None);
                done(account::record_refused(&mut books, facts, outcome, now))
            }
            Command::Open(record) => or_refused(account::open_account(self.books(None, None, None, None), record, now)),
            Command::PutProject(record) => {
                or_refused(account::put_project(self.books(None, None, None, None), record, Default::default(), now))
            }
            Command::PutKey(record) => {
                or_refused(account::put_key(self.books(Some(&record.id), Some(&record.project), None, None), *record, now))
            }
            Command::ChangeKey(key, change) => {
                let tally = self.keys.get(&key).map(|key| key.tally.clone()).unwrap_or_default();
                match account::change_key(self.books(Some(&key), None, None, None), change, tally, now) {
                    Ok((record, events)) => (Answer::Key(Box::new(record)), events),
                    Err(refusal) => (Answer::Refused(refusal), Vec::new()),
                }
            }
            Command::Adjust(adjustment) => {
                or_refused(account::adjust(self.books(None, None, Some(&adjustment.id), None), adjustment, now))
            }
            Command::Flush => done(Vec::new()),
            Command::Read(query) => (self.read(&query), Vec::new()),
        }
    }

    fn read(&self, query: &Query) -> Answer {
        match query {
            Query::Overview => {
                let books = self.books(None, None, None, None);
                let view = |bucket: &BucketId| BalanceView {
                    bucket: bucket.clone(),
                    balance: books.balance(bucket),
                    held: books.held(bucket),
                    available: books.available(bucket),
                    open_holds: Vec::new(),
                };
                Answer::Overview(Box::new(Overview {
                    account: self.account.clone(),
                    balances: books.head.balances.keys().map(view).collect(),
                }))
            }
            Query::Receipt(request) => Answer::Rows(
                self.receipts()
                    .into_iter()
                    .filter(|(_, receipt)| receipt.id == *request)
                    .map(|(seq, receipt)| (seq, serde_json::to_value(receipt).unwrap()))
                    .collect(),
            ),
            other => panic!("{other:?} is not asked on the host"),
        }
    }

    /// Ends what is due, as the alarm does.
    pub fn tick(&mut self, now: Timestamp) {
        let due: Vec<Hold> = self.holds.values().filter(|hold| hold.deadline <= now).cloned().collect();
        for hold in due {
            let books = self.books(Some(&hold.key), None, Some(hold.request.as_str()), hold.claim.as_deref());
            self.apply(account::expire(books, now));
        }
    }

    pub fn receipts(&self) -> Vec<(u64, Receipt)> {
        let receipt = |row: &Row| match &row.journaled {
            Journaled::Receipt(receipt) => Some((row.seq, (**receipt).clone())),
            _ => None,
        };
        self.journal.iter().filter_map(receipt).collect()
    }

    pub fn balance(&self, bucket: &str) -> Money {
        self.books(None, None, None, None).balance(&BucketId::parse(bucket).unwrap())
    }

    pub fn granted(answer: &Answer) -> bool {
        matches!(answer, Answer::Hold(HoldAnswer::Granted(_)))
    }

    /// What must always hold.
    pub fn check_law(&self) {
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
        let books = self.books(None, None, None, None);
        let buckets: BTreeSet<&BucketId> =
            books.head.balances.keys().chain(self.holds.values().map(|hold| &hold.bucket)).collect();
        for bucket in buckets {
            let (balance, held) = (books.balance(bucket), books.held(bucket));
            assert!(!held.is_negative() && held <= balance, "0 <= {held} held <= {balance}");
            assert_eq!(balance.checked_sub(held).unwrap(), books.available(bucket));
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
