//! A session of the pages, and the end of sessions.
//!
//! What always holds: the end of a session is noted under one of its marks, and under no mark of another key or account.
//!
//! Clocks are not compared. Ends of an account are numbered by times that only rise, whatever its clock does; a session knows the
//! last one of when it began, and lives while there is no later one that is about it.

use serde::{Deserialize, Serialize};

use crate::id::{KeyId, SessionId};
use crate::time::Timestamp;

/// How long a session lives, in milliseconds.
pub const SESSION_MS: i64 = 12 * 3600 * 1000;
/// How long an end is noted, in milliseconds: a session may have begun by a clock that is ahead.
pub const NOTED_MS: i64 = 2 * SESSION_MS;

/// A session as its cookie tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose key it is of.
    pub key: KeyId,
    /// When it began.
    pub began_at: Timestamp,
    /// The last end that its account had noted then. Sessions from before this was asked go by when they began.
    #[serde(default)]
    pub known: Option<Timestamp>,
}

impl Session {
    /// Ends after this are about it.
    pub fn known(&self) -> Timestamp {
        self.known.unwrap_or_else(|| self.began_at.plus(-1))
    }
}

/// Which sessions end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionEnd {
    /// This one.
    Of(Session),
    /// All of a key.
    OfKey(KeyId),
    /// All of the account.
    OfAccount,
}

impl SessionEnd {
    /// Under which mark it is noted.
    pub(in crate::account) fn mark(&self) -> String {
        match self {
            Self::Of(session) => of_session(&session.id),
            Self::OfKey(key) => of_key(key),
            Self::OfAccount => ACCOUNT.to_owned(),
        }
    }
}

/// What is noted of sessions that were ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSessions {
    /// Which: see [`marks`].
    pub mark: String,
    /// Its number: those end that know of earlier ones only.
    pub until: Timestamp,
}

const ACCOUNT: &str = "account";

fn of_key(key: &KeyId) -> String {
    format!("key/{key}")
}

fn of_session(id: &SessionId) -> String {
    format!("session/{id}")
}

/// Under which marks the end of a session may be noted.
pub fn marks(session: &Session) -> [String; 3] {
    [of_session(&session.id), of_key(&session.key), ACCOUNT.to_owned()]
}
