//! The platform as one request, or one run of the cron, sees it: its bindings, and reading and writing KV and D1 with them.
//!
//! Deliberately absent: what is read and written. The ports are answered with it, each in a file of its own.

use std::rc::Rc;

use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::Env;

use super::front::Front;

use crate::ports::Unavailable;

const CONFIG: &str = "CONFIG";
/// How long a location may keep what it read from KV, in seconds.
const KV_CACHE_S: u64 = 60;

/// The platform as one request, or one run of the cron, sees it.
#[derive(Clone)]
pub struct Outside {
    env: Env,
    front: Rc<Front>,
}

/// What the outside answers, or that it did not.
pub(super) type Fetched<T> = Result<T, Unavailable>;

pub(super) fn failed(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}

impl Outside {
    pub const fn new(env: Env, front: Rc<Front>) -> Self {
        Self { env, front }
    }

    pub(super) const fn env(&self) -> &Env {
        &self.env
    }

    /// The driver.
    pub(super) const fn front(&self) -> &Rc<Front> {
        &self.front
    }

    pub(super) async fn kv_text(&self, name: &str) -> Result<Option<String>, Unavailable> {
        let store = self.env.kv(CONFIG).map_err(failed)?;
        store.get(name).cache_ttl(KV_CACHE_S).text().await.map_err(failed)
    }

    pub(super) async fn kv_put(&self, name: &str, text: &str) -> Result<(), Unavailable> {
        let store = self.env.kv(CONFIG).map_err(failed)?;
        store.put(name, text).map_err(failed)?.execute().await.map_err(failed)
    }

    pub(super) async fn kv_delete(&self, name: &str) -> Result<(), Unavailable> {
        self.env.kv(CONFIG).map_err(failed)?.delete(name).await.map_err(failed)
    }

    /// The texts of a statement with one column, `doc`.
    pub(super) async fn texts(&self, statement: &str, values: &[JsValue]) -> Result<Vec<String>, Unavailable> {
        let statement = self.env.d1("DB").map_err(failed)?.prepare(statement).bind(values).map_err(failed)?;
        let rows: Vec<Doc> = statement.all().await.and_then(|result| result.results()).map_err(failed)?;
        Ok(rows.into_iter().map(|row| row.doc).collect())
    }

    /// Runs statements in one transaction.
    pub(super) async fn together(&self, statements: &[(&str, &[JsValue])]) -> Result<(), Unavailable> {
        let database = self.env.d1("DB").map_err(failed)?;
        let bound = statements.iter().map(|(statement, values)| database.prepare(*statement).bind(values));
        let bound = bound.collect::<worker::Result<Vec<_>>>().map_err(failed)?;
        for result in database.batch(bound).await.map_err(failed)? {
            if !result.success() {
                return Err(Unavailable(result.error().unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// The rows of a statement with one column, `doc`, of JSON.
    pub(super) async fn d1<T: DeserializeOwned>(&self, statement: &str, values: &[JsValue]) -> Result<Vec<T>, Unavailable> {
        let texts = self.texts(statement, values).await?;
        texts.iter().map(|text| serde_json::from_str(text).map_err(failed)).collect()
    }
}

/// A row with one column, `doc`.
#[derive(serde::Deserialize)]
pub(super) struct Doc {
    pub(super) doc: String,
}
