//! What always holds of an account, checked from outside: only rows, open holds and records are looked at, and every sum is
//! made anew from the journal.

use std::collections::{BTreeMap, BTreeSet};

use tokens_forge::account::{Balances, Journaled, OrderState, Receipt, RequestStatus, Row, ScopeKind};
use tokens_forge::catalog::RouteKind;
use tokens_forge::id::{BucketId, OrderId, RequestId, RunId};
use tokens_forge::key::Budget;
use tokens_forge::money::{Money, cost};
use tokens_forge::time::{Period, Timestamp};
use tokens_forge::usage::Usage;

use super::copy::sides;
use super::tables::Tables;

/// Which law is broken, and how.
pub type Broken = String;

/// Says which law is broken, unless it holds.
#[macro_export]
macro_rules! law {
    ($holds:expr, $law:literal, $($how:tt)+) => {
        if !$holds {
            return Err(format!("{}: {}", $law, format!($($how)+)));
        }
    };
}

/// A budget that was there from the start and never changes.
#[derive(Debug, Clone)]
pub struct Watched {
    pub scope: ScopeKind,
    pub id: String,
    pub budget: Budget,
}

/// What is known of a request from its receipt.
struct Closed {
    hold: Money,
    charge: Money,
    is_expired: bool,
    is_corrected: bool,
    usage: Usage,
    bucket: Option<BucketId>,
    run: Option<RunId>,
    line: LineKey,
}

#[derive(Default)]
struct OfOrder {
    credited: Option<Money>,
    entry: Option<String>,
    refunded: Money,
}

/// The line of a run that a request belongs to: model, route, bucket and status.
type LineKey = (String, String, Option<BucketId>, &'static str);

#[derive(Default, PartialEq, Debug)]
struct OfLine {
    requests: u64,
    charge: i128,
    input: i128,
    output: i128,
}

impl OfLine {
    fn count(&mut self, charge: Money, usage: &Usage, sign: i128) {
        let (input, output) = sides(usage);
        self.charge += sign * i128::from(charge.nanos());
        (self.input, self.output) = (self.input + sign * input, self.output + sign * output);
    }
}

fn line_key(model: &str, route: Option<RouteKind>, bucket: Option<&BucketId>, status: RequestStatus) -> LineKey {
    (model.to_owned(), format!("{route:?}"), bucket.cloned(), status.as_str())
}

/// The laws, and what they have seen so far.
#[derive(Default)]
pub struct Law {
    pub watched: Vec<Watched>,
    /// Orders of which something is to be credited again that the balance has no room for.
    pub without_room: BTreeSet<OrderId>,
    seen: usize,
    newest: Timestamp,
    balances: Balances,
    debts: Balances,
    closed: BTreeMap<RequestId, Closed>,
    spent: BTreeMap<(ScopeName, String, BucketId, Period, Timestamp), i128>,
    /// The same without what was given back.
    gross: BTreeMap<(ScopeName, String, BucketId, Period, Timestamp), i128>,
    runs: BTreeMap<RunId, BTreeMap<LineKey, OfLine>>,
    orders: BTreeMap<OrderId, OfOrder>,
    alerts: BTreeSet<String>,
}

/// No more tokens of any class than a model can do.
fn is_countable(usage: &Usage) -> bool {
    usage.countable() == *usage
}

/// A scope's kind, in an order.
type ScopeName = &'static str;

fn plus(sums: &mut Balances, bucket: &BucketId, amount: Money) -> Option<Money> {
    let after = sums.get(bucket).copied().unwrap_or_default().checked_add(amount)?;
    sums.insert(bucket.clone(), after);
    Some(after)
}

impl Law {
    /// Checks what is new, and everything that is open.
    pub fn check(&mut self, tables: &Tables, now: Timestamp) -> Result<(), Broken> {
        law!(tables.journal.len() >= self.seen, "journal", "rows are gone");
        let mut touched = Vec::new();
        for index in self.seen..tables.journal.len() {
            let row = &tables.journal[index];
            law!(row.seq == index as u64 + 1, "journal", "row {} stands where {} belongs", row.seq, index + 1);
            law!(row.at >= self.newest, "time", "row {} was decided before the row before it", row.seq);
            self.newest = row.at;
            self.row(row)?;
            if let Journaled::Order(order) = &row.journaled {
                touched.push(order.id.clone());
            }
        }
        self.seen = tables.journal.len();
        self.balance_law(tables)?;
        // A decision is never before the newest row, nor before the hold that it ends was granted.
        let granted = tables.holds.values().map(|hold| hold.opened_at).max().unwrap_or_default();
        self.budgets(tables, now.max(self.newest).max(granted))?;
        for id in touched {
            self.order(tables, &id)?;
        }
        self.run_lines(tables)
    }

    fn row(&mut self, row: &Row) -> Result<(), Broken> {
        let seq = row.seq;
        law!(row.bucket.is_some() == row.amount.is_some(), "journal", "row {seq} has half an entry");
        if let (Some(bucket), Some(amount)) = (&row.bucket, row.amount) {
            let after = plus(&mut self.balances, bucket, amount).ok_or("balance: out of range")?;
            law!(!after.is_negative(), "balance", "row {seq} takes `{bucket}` to {after}");
        }
        law!(row.balances == self.balances, "balance", "row {seq} says {:?}, its entries {:?}", row.balances, self.balances);
        match &row.journaled {
            Journaled::Receipt(receipt) => self.receipt(row, receipt)?,
            Journaled::Correction(correction) => {
                let change = correction.charge_after.checked_sub(correction.charge_before).unwrap();
                law!(row.amount.unwrap_or_default() == change.negated(), "correction", "row {seq} is not the change {change}");
                let closed = self.closed.get_mut(&correction.id).ok_or(format!("correction: {seq} has no receipt"))?;
                law!(closed.is_expired && !closed.is_corrected, "correction", "{} is corrected again", correction.id);
                law!(correction.charge_before == closed.charge, "correction", "row {seq} starts from another charge");
                law!(
                    !correction.charge_after.is_negative() && correction.charge_after <= closed.hold,
                    "charge within hold",
                    "{} of {} after its correction",
                    correction.charge_after,
                    closed.hold
                );
                closed.is_corrected = true;
                law!(correction.usage_before == closed.usage, "correction", "row {seq} starts from another usage");
                law!(is_countable(&correction.usage), "usage", "row {seq} counts {:?}", correction.usage);
                law!(closed.bucket.as_ref() == Some(&correction.bucket), "correction", "row {seq} is on another bucket");
                law!(closed.run == correction.run, "correction", "row {seq} is of another run");
                if let Some(run) = &correction.run {
                    // What was lost stays on the line of what was lost.
                    let line = self.runs.entry(run.clone()).or_default().entry(closed.line.clone()).or_default();
                    line.count(correction.charge_after, &correction.usage, 1);
                    line.count(correction.charge_before, &correction.usage_before, -1);
                }
                self.spend(row, correction.key.as_str(), correction.project.as_str(), correction.run.as_ref());
            }
            Journaled::TopUp(top_up) => {
                let order = self.orders.entry(top_up.order.clone()).or_default();
                law!(order.credited.is_none(), "order once", "{} is credited again in row {seq}", top_up.order);
                let amount = row.amount.unwrap_or_default();
                law!(amount.is_positive(), "order once", "row {seq} credits {amount}");
                (order.credited, order.entry) = (Some(amount), Some(format!("entry-{seq}")));
            }
            Journaled::Refund(refund) => {
                let order = self.orders.entry(refund.order.clone()).or_default();
                let credited = order.credited.ok_or(format!("refund: row {seq} of an order that was never credited"))?;
                law!(refund.refunded_before == order.refunded, "refund", "row {seq} starts from {}", refund.refunded_before);
                order.refunded = order.refunded.checked_add(refund.amount).unwrap();
                law!(
                    !order.refunded.is_negative() && order.refunded <= credited,
                    "refund within order",
                    "{} of {credited} after row {seq}",
                    order.refunded
                );
                law!(row.amount == Some(refund.taken.negated()), "refund", "row {seq} does not take {}", refund.taken);
                law!(refund.taken.checked_add(refund.debt) == Some(refund.amount), "refund", "row {seq} does not add up");
                law!(!refund.debt.is_negative(), "debt", "row {seq} makes a debt of {}", refund.debt);
                let bucket = row.bucket.as_ref().unwrap();
                let owed = plus(&mut self.debts, bucket, refund.debt).ok_or("debt: out of range")?;
                law!(owed == refund.debt_after, "debt", "row {seq} says {} is owed, not {owed}", refund.debt_after);
            }
            Journaled::DebtPayment(payment) => {
                let (bucket, amount) = (row.bucket.as_ref().unwrap(), row.amount.unwrap());
                law!(amount.is_negative(), "debt", "row {seq} pays {amount}");
                let owed = plus(&mut self.debts, bucket, amount).ok_or("debt: out of range")?;
                law!(!owed.is_negative() && owed == payment.debt_after, "debt", "row {seq} leaves {owed}");
            }
            Journaled::Alert(alert) => {
                let is_new = self.alerts.insert(alert.id.clone());
                law!(is_new, "alert once", "{} is announced again in row {seq}", alert.id);
            }
            _ => {}
        }
        self.debts.retain(|_, debt| debt.is_positive());
        law!(row.debts == self.debts, "debt", "row {seq} says {:?} is owed, the rows {:?}", row.debts, self.debts);
        Ok(())
    }

    fn receipt(&mut self, row: &Row, receipt: &Receipt) -> Result<(), Broken> {
        let (seq, charge, hold) = (row.seq, receipt.charge, receipt.hold.unwrap_or_default());
        law!(row.amount.unwrap_or_default() == charge.negated(), "entry is the charge", "row {seq}: {charge}");
        law!(!charge.is_negative() && charge <= hold, "charge within hold", "row {seq}: {charge} of {hold}");
        law!(row.amount.is_some() == charge.is_positive(), "entry is the charge", "row {seq} is an entry of nothing");
        law!(
            receipt.no_charge_reason.is_some() == (charge == Money::ZERO),
            "no charge says why",
            "row {seq}: {charge}, because {:?}",
            receipt.no_charge_reason
        );
        law!(receipt.in_review.is_none_or(Money::is_positive), "in review", "row {seq}: {:?}", receipt.in_review);
        if let (Some(price), true) = (&receipt.price, charge.is_positive()) {
            let all = charge.checked_add(receipt.in_review.unwrap_or_default());
            let full = cost(price, &receipt.usage).unwrap_or(Money::MAX);
            law!(all == Some(full), "in review", "row {seq}: {charge} and {:?} of {full}", receipt.in_review);
        }
        law!(receipt.input_charge <= charge, "input charge", "row {seq}");
        let entries: Vec<String> = charge.is_positive().then(|| format!("entry-{seq}")).into_iter().collect();
        law!(receipt.entry_ids == entries, "entry is the charge", "row {seq} names {:?}", receipt.entry_ids);
        if let (Some(before), Some(after)) = (receipt.balance_before, receipt.balance_after) {
            let bucket = receipt.bucket.as_ref().unwrap();
            law!(before.checked_sub(charge) == Some(after), "balance", "row {seq}: {before} - {charge} is not {after}");
            law!(self.balances.get(bucket).copied().unwrap_or_default() == after, "balance", "row {seq}: not {after}");
        }
        let model = receipt.model.as_ref().map_or(receipt.requested_model.as_str(), |model| model.as_str());
        let line = line_key(model, receipt.route, receipt.bucket.as_ref(), receipt.status);
        if let Some(run) = &receipt.run {
            let sums = self.runs.entry(run.clone()).or_default().entry(line.clone()).or_default();
            sums.requests += 1;
            sums.count(charge, &receipt.usage, 1);
        }
        let closed = Closed {
            hold,
            charge,
            is_expired: receipt.error.as_ref().is_some_and(|error| error.code == "hold_expired"),
            is_corrected: false,
            usage: receipt.usage,
            bucket: receipt.bucket.clone(),
            run: receipt.run.clone(),
            line,
        };
        law!(is_countable(&receipt.usage), "usage", "row {seq} counts {:?}", receipt.usage);
        law!(self.closed.insert(receipt.id.clone(), closed).is_none(), "receipt once", "{} again in row {seq}", receipt.id);
        self.spend(row, receipt.key.as_str(), receipt.project.as_str(), receipt.run.as_ref());
        Ok(())
    }

    fn spend(&mut self, row: &Row, key: &str, project: &str, run: Option<&RunId>) {
        let (Some(bucket), Some(amount)) = (&row.bucket, row.amount) else { return };
        let scopes = [("key", Some(key)), ("project", Some(project)), ("run", run.map(RunId::as_str))];
        for (kind, id) in scopes {
            let Some(id) = id else { continue };
            for period in [Period::Total, Period::Day, Period::Month] {
                let key = (kind, id.to_owned(), bucket.clone(), period, period.start(row.at));
                *self.gross.entry(key.clone()).or_default() += i128::from(amount.nanos().min(0).abs());
                *self.spent.entry(key).or_default() -= i128::from(amount.nanos());
            }
        }
    }

    fn balance_law(&self, tables: &Tables) -> Result<(), Broken> {
        let books = tables.all_books();
        let buckets: BTreeSet<&BucketId> =
            self.balances.keys().chain(self.debts.keys()).chain(tables.holds.values().map(|hold| &hold.bucket)).collect();
        for bucket in buckets {
            let held = tables.holds.values().filter(|hold| hold.bucket == *bucket).map(|hold| i128::from(hold.amount.nanos()));
            let (held, balance) = (held.sum::<i128>(), i128::from(books.balance(bucket).nanos()));
            law!(0 <= held && held <= balance, "balance", "{held} of {balance} is held of `{bucket}`");
            let available = i128::from(books.available(bucket).nanos());
            law!(available == balance - held, "balance", "{available} of `{bucket}` is available, not {balance} - {held}");
            let debt = books.debt(bucket);
            law!(debt == self.debts.get(bucket).copied().unwrap_or_default(), "debt", "`{bucket}` owes {debt}");
            law!(!debt.is_positive() || available == 0, "debt", "`{bucket}` owes {debt}, and {available} is available");
        }
        Ok(())
    }

    fn budgets(&self, tables: &Tables, now: Timestamp) -> Result<(), Broken> {
        for Watched { scope, id, budget } in &self.watched {
            let key = (scope.as_str(), id.clone(), budget.bucket.clone(), budget.period, budget.period.start(now));
            let spent = self.spent.get(&key).copied().unwrap_or_default();
            let held = tables.holds.values().filter(|hold| {
                let is_own = match scope {
                    ScopeKind::Key => hold.key.as_str() == id,
                    ScopeKind::Project => hold.project.as_str() == id,
                    ScopeKind::Run => hold.facts.run.as_ref().is_some_and(|run| run.as_str() == id),
                };
                is_own && hold.bucket == budget.bucket
            });
            let held = held.map(|hold| i128::from(hold.amount.nanos())).sum::<i128>();
            let limit = i128::from(budget.limit.nanos());
            let counters = match scope {
                ScopeKind::Key => tables.keys.values().find(|key| key.record.id.as_str() == id).map(|key| &key.counters),
                ScopeKind::Project => {
                    tables.projects.values().find(|project| project.record.id.as_str() == id).map(|project| &project.counters)
                }
                ScopeKind::Run => tables.runs.values().find(|run| run.id.as_str() == id).map(|run| &run.counters),
            };
            // What is given back for an earlier day may not make today's counter smaller than nothing.
            let gross = if budget.period == Period::Total { spent } else { self.gross.get(&key).copied().unwrap_or_default() };
            let counted = counters.map_or(Money::ZERO, |counters| counters.spent(&budget.bucket, budget.period, now));
            let is_right = (spent..=gross).contains(&i128::from(counted.nanos()));
            law!(is_right, "counters", "{scope:?} {id} {:?} counts {counted}, its rows {spent} to {gross}", budget.period);
            law!(spent + held <= limit, "budget", "{scope:?} {id} {:?}: {spent} spent, {held} held, of {limit}", budget.period);
        }
        Ok(())
    }

    fn order(&mut self, tables: &Tables, id: &OrderId) -> Result<(), Broken> {
        let order = tables.orders.get(id).ok_or(format!("order: {id} is not stored"))?;
        let none = OfOrder::default();
        let rows = self.orders.get(id).unwrap_or(&none);
        law!((order.state == OrderState::Paid) == rows.credited.is_some(), "order once", "{id} is {:?}", order.state);
        law!(order.entry == rows.entry, "order once", "{id} names {:?} as its entry", order.entry);
        law!(order.refunded == rows.refunded, "refund", "{id} says {} of it was refunded, not {}", order.refunded, rows.refunded);
        let Some(credited) = rows.credited else { return Ok(()) };
        law!(order.amount == credited, "order once", "{id} over {} is credited as {credited}", order.amount);
        let disputed: i64 = order.disputes.iter().filter(|known| !known.is_reinstated).map(|known| known.amount.nanos()).sum();
        let booked: i64 = order.refunds.iter().map(|refund| refund.amount.nanos()).sum();
        law!(order.given_back.nanos() >= booked, "refund", "{id}: {booked} was booked, {} given back", order.given_back);
        let known = (order.given_back.nanos() + disputed).min(order.amount.nanos());
        let over = order.refunded.nanos() - known;
        // What the balance has no room for stays taken back until the order is touched again.
        let is_without_room = over > 0 && tables.balance(order.bucket.as_str()).nanos() > Money::MAX.nanos() - over;
        law!(over == 0 || is_without_room, "orders are square", "{} of {id} is taken back, not {known}", order.refunded);
        if is_without_room {
            self.without_room.insert(id.clone());
        } else {
            self.without_room.remove(id);
        }
        Ok(())
    }

    fn run_lines(&self, tables: &Tables) -> Result<(), Broken> {
        let none = BTreeMap::new();
        for (id, book) in &tables.runs {
            let mut sums: BTreeMap<LineKey, OfLine> = BTreeMap::new();
            for line in &book.lines {
                let key = line_key(&line.model, line.route, line.bucket.as_ref(), line.status);
                let sum = sums.entry(key).or_default();
                sum.requests += line.requests;
                sum.count(line.charge, &line.usage, 1);
            }
            let rows = self.runs.get(id).unwrap_or(&none);
            law!(sums == *rows, "run", "{id} says {sums:?}, its receipts {rows:?}");
        }
        Ok(())
    }
}
