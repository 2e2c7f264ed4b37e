//! What must not be lost is tried again, as long as the platform lets it.

use std::future::Future;

use crate::ports::{Ports, Unavailable};

/// How often and after which pauses something is tried that must not be lost, in milliseconds: 25 seconds in all, since that
/// is about what the platform grants after an answer.
const PAUSES_MS: [u32; 5] = [100, 500, 2_000, 7_000, 15_000];

/// Tries something that must not be lost, until it is done or the time that the platform grants is over.
pub async fn retried<P: Ports, F: Future<Output = Result<(), Unavailable>>>(
    ports: &P,
    what: &str,
    mut action: impl FnMut() -> F,
) {
    for pause_ms in PAUSES_MS.into_iter().map(Some).chain([None]) {
        match action().await {
            Ok(()) => return,
            Err(error) => ports.log(&format!("{what}: {}", error.0)),
        }
        match pause_ms {
            Some(ms) => ports.sleep(ms).await,
            None => ports.log(&format!("{what}: given up; the hold's deadline settles it")),
        }
    }
}
