//! What a story asks of the log: what was recorded, what was not, whether it still holds.

use serde_json::Value;
use witgate::audit::{Verified, VerifyOptions, verify};
use witgate::dev::deployment::Deployment;
use witgate::doors::http::Clock;

use crate::{Caller, Reply, World};

impl World {
    /// Asks as the first host and holds that the answer is a refusal, `code` among its reasons, recorded once under the
    /// index of its receipt; gives the record.
    pub async fn refused(&self, body: Value, code: &str) -> Value {
        self.refused_to(&self.host, body, code).await
    }

    /// The same for another caller.
    pub async fn refused_to(&self, caller: &Caller, body: Value, code: &str) -> Value {
        let before = self.log_size().await;
        let reply = caller.ask(body).await;
        assert_eq!(reply.status, 403, "{}", reply.body);
        assert!(reply.codes().contains(&code), "expected `{code}`: {}", reply.body);
        assert!(reply.body.get("ticket").is_none(), "{}", reply.body);
        assert_eq!(self.log_size().await, before + 1, "a refusal is recorded once");
        let record = self.decision(reply.decision()).await;
        assert_eq!(record["index"], reply.body["receipt"]["index"], "{}", reply.body);
        assert_eq!(record["leaf_hash"], reply.body["receipt"]["leaf_hash"]);
        assert_eq!((&record["kind"], &record["decision"]["verdict"]), (&"decision".into(), &"refuse".into()));
        assert_eq!(record["decision"]["reasons"], reply.body["reasons"]);
        let listed = self.host.get(&format!("/v1/decisions?after={}", before - 1)).await;
        assert_eq!(listed.body["decisions"], Value::Array(vec![record.clone()]), "the list says what the record says");
        record
    }

    /// Asks as the first host and holds that the answer has `status` and that nothing was recorded.
    pub async fn not_recorded(&self, body: Value, status: u16) -> Reply {
        let before = self.log_size().await;
        let reply = self.host.ask(body).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert_eq!((&reply.body["status"], reply.body.get("ticket")), (&status.into(), None), "{}", reply.body);
        assert_eq!(self.log_size().await, before, "nothing is recorded for a {status}");
        reply
    }

    /// `GET /v1/decisions/{id}`
    pub async fn decision(&self, id: &str) -> Value {
        let reply = self.host.get(&format!("/v1/decisions/{id}")).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    /// Verifies the log as an auditor does, from its file and the key that was noted elsewhere.
    pub async fn verify_log(&self) -> Verified {
        let audit = &self.deployment.service.gate().audit;
        let vkey = Some(audit.vkey().parse().expect("the log names its key"));
        let options = VerifyOptions { vkey, ..VerifyOptions::default() };
        verify(audit.database(), &options).await.expect("the log holds")
    }

    /// The same deployment after a restart of the gateway, which listens on other ports then.
    ///
    /// # Errors
    /// As [`Deployment::restart`].
    pub async fn restart_at(self, clock: Clock) -> anyhow::Result<Self> {
        let Self { deployment, host, folder } = self;
        drop(host);
        let deployment = Deployment::restart(deployment, clock).await?;
        let host = Caller::new(&deployment.host_identity.endpoint(), deployment.service.callers_url(), None).await?;
        Ok(Self { deployment, host, folder })
    }
}

/// The rejected findings' codes of a record, sorted.
pub fn rejected(record: &Value) -> Vec<&str> {
    let findings = record["case"]["evidence"]["findings"].as_array().expect("a case has findings");
    let rejected = findings.iter().filter(|finding| finding["status"] == "rejected");
    let mut codes: Vec<&str> = rejected.map(|finding| finding["code"].as_str().expect("a code is text")).collect();
    codes.sort_unstable();
    codes
}
