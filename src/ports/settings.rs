//! What the operator has set for the deployment.

use crate::catalog::UpstreamHosts;

/// Settings and secrets.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Settings {
    /// Where channels may be.
    fn hosts(&self) -> UpstreamHosts;
    /// A secret or setting of the operator's; none if it is not set, or empty.
    fn setting(&self, name: &str) -> Option<String>;
}
