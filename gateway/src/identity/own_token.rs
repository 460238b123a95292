//! A JWT-SVID of this workload, to be shown to somebody else.

use std::time::Duration;

use spiffe::WorkloadApiClient;
use zeroize::Zeroizing;

use crate::outage::{Outage, Peer};

/// How long the Workload API may take, in milliseconds.
pub const OWN_TOKEN_TIMEOUT_MS: u64 = 10_000;

/// Asks the Workload API at `endpoint` (`unix:/run/spire/agent.sock`) for a token that proves us to `audience`.
///
/// # Errors
/// The agent is not there, has no identity for us, or does not answer in time.
pub async fn own_token(endpoint: &str, audience: &str) -> Result<Zeroizing<String>, Outage> {
    let fault = || Outage::new(Peer::Identity, "fetching a JWT-SVID");
    let fetching = async {
        let client = WorkloadApiClient::connect_to(endpoint).await?;
        client.fetch_jwt_svid([audience], None).await
    };
    match tokio::time::timeout(Duration::from_millis(OWN_TOKEN_TIMEOUT_MS), fetching).await {
        Ok(Ok(svid)) => Ok(Zeroizing::new(svid.token().to_owned())),
        Ok(Err(error)) => {
            Err(fault().because(error).with_hint("look whether the agent runs and has an entry for this process"))
        }
        Err(elapsed) => Err(fault().because(elapsed).with_hint("look whether the agent answers")),
    }
}
