//! Opening a run, with a budget if it has one.
//!
//! What always holds: a run is opened once; what its requests spent before that counts.

use super::record::{Event, Journaled, RunBook, RunRecord};
use super::state::AccountState;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// Opens a run. The same once more changes nothing; another one with the same id is refused. A run that requests have
/// already named can be opened too; what they spent counts.
pub fn open_run(mut state: AccountState, record: RunRecord, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let book = state.run.take().unwrap_or_else(|| RunBook::new(record.id.clone()));
    if let Some(known) = &book.record {
        let is_same = (&known.budgets, &known.name, &known.key) == (&record.budgets, &record.name, &record.key);
        let message = format!("There is already a run `{}` with other budgets, another name, or of another key.", record.id);
        let refusal = Refusal::new(Code::Conflict, message, "Choose another id, or leave it out.").param("id");
        return if is_same { Ok(Vec::new()) } else { Err(refusal) };
    }
    let mut events = vec![Event::RunStored(Box::new(RunBook { record: Some(record.clone()), ..book }))];
    // Without a change of balance this cannot fail.
    events.extend(state.append(now, Journaled::Run(record), None));
    Ok(events)
}
