//! Ended sessions in the account object's table: one function per statement.

use worker::Result;

use super::store::Store;
use crate::account::{EndedSessions, NOTED_MS, Session, marks};
use crate::time::Timestamp;

impl Store {
    /// Notes an end, and drops those that no living session is about.
    pub(super) fn put_ended(&self, ended: &EndedSessions) -> Result<()> {
        let over = ended.until.plus(-NOTED_MS);
        self.run("DELETE FROM ended_sessions WHERE until < CAST(?1 AS INTEGER)", vec![over.millis().into()])?;
        self.run(
            "INSERT INTO ended_sessions (mark, until) VALUES (?1, CAST(?2 AS INTEGER))
             ON CONFLICT (mark) DO UPDATE SET until = excluded.until WHERE until < excluded.until",
            vec![ended.mark.as_str().into(), ended.until.millis().into()],
        )
    }

    pub(super) fn count_ended(&self, since: Timestamp) -> Result<u32> {
        let statement = "SELECT CAST(COUNT(*) AS TEXT) AS value FROM ended_sessions WHERE until >= CAST(?1 AS INTEGER)";
        Ok(self.rows(statement, vec![since.millis().into()])?.into_iter().next().unwrap_or(0))
    }

    pub(super) fn newest_end(&self) -> Result<Timestamp> {
        let statement = "SELECT CAST(COALESCE(MAX(until), 0) AS TEXT) AS value FROM ended_sessions";
        Ok(Timestamp::from_millis(self.rows(statement, Vec::new())?.into_iter().next().unwrap_or(0)))
    }

    /// Whether a session was ended.
    pub(super) fn is_ended(&self, session: &Session) -> Result<bool> {
        let statement = "SELECT mark AS value FROM ended_sessions
            WHERE mark IN (SELECT value FROM json_each(?1)) AND until > CAST(?2 AS INTEGER) LIMIT 1";
        let marks = serde_json::to_string(&marks(session))?;
        Ok(self.text(statement, vec![marks.into(), session.known().millis().into()])?.is_some())
    }
}
