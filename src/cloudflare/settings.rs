//! What the operator has set for the deployment.

use super::outside::Outside;
use crate::catalog::UpstreamHosts;
use crate::ports::Settings;

impl Settings for Outside {
    fn hosts(&self) -> UpstreamHosts {
        let allowed = self.env().var("ALLOW_PRIVATE_UPSTREAMS").map(|value| value.to_string());
        if allowed.is_ok_and(|value| value == "true") { UpstreamHosts::Any } else { UpstreamHosts::Public }
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.env().secret(name).ok().map(|secret| secret.to_string()).filter(|text| !text.trim().is_empty())
    }
}
