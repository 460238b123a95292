//! An OIDC issuer whose tokens look like those of GitHub Actions.

use std::path::{Path, PathBuf};

use axum::{Json, Router, routing::get};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use witgate::case::Timestamp;

use crate::openssl::{self, Kind};

/// The issuer; its key is `rsa2048.pem` of a folder.
pub(crate) struct Issuer {
    url: String,
    folder: PathBuf,
}

impl Issuer {
    /// Answers what OpenID Connect Discovery asks, until the test's runtime ends.
    pub(crate) async fn start(folder: &Path) -> Self {
        openssl::generate(folder, Kind::Rsa2048);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let about = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/keys"),
            "authorization_endpoint": format!("{url}/none"),
            "token_endpoint": format!("{url}/none"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let modulus = URL_SAFE_NO_PAD.encode(openssl::rsa_modulus(folder, Kind::Rsa2048));
        let keys = json!({"keys": [
            {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": modulus, "e": "AQAB"},
        ]});
        let answer = |value: Value| get(move || async { Json(value) });
        let router =
            Router::new().route("/.well-known/openid-configuration", answer(about)).route("/keys", answer(keys));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, folder: folder.to_owned() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A token of the run that pushes `acme/shop`'s branch `main`, by the workflow at `workflow`.
    pub(crate) fn token(&self, workflow: &str) -> String {
        let now = Timestamp::now().as_second();
        let claims = json!({
            "iss": self.url, "aud": "sigstore", "iat": now, "nbf": now, "exp": now + 300,
            "sub": "repo:acme/shop:ref:refs/heads/main",
            "job_workflow_ref": workflow, "job_workflow_sha": "a".repeat(40),
            "workflow": "release", "workflow_ref": workflow, "workflow_sha": "a".repeat(40),
            "repository": "acme/shop", "repository_id": "7654321", "repository_visibility": "private",
            "repository_owner": "acme", "repository_owner_id": "1234567",
            "ref": "refs/heads/main", "sha": "b".repeat(40), "event_name": "push",
            "runner_environment": "github-hosted", "run_id": "42", "run_attempt": "1",
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "RS256", "kid": "1"})), part(&claims));
        let signature = openssl::sign(&self.folder, Kind::Rsa2048, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
