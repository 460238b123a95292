//! `/.well-known/wasm-pkg/registry.json`: how `wkg` finds packages behind this gateway.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{Door, Problem};

/// The path that `wkg` asks first.
pub(super) const PATH: &str = "/.well-known/wasm-pkg/registry.json";

/// Packages are OCI artifacts under the configured prefix. The registry is whoever was asked, so none is named: no header of
/// the request stands in the answer.
///
/// ```json
/// {"preferredProtocol":"oci","oci":{"namespacePrefix":"ghcr.io/webassembly/"}}
/// ```
/// (wasm-pkg-tools, "registry metadata".)
pub(super) async fn get(State(door): State<Door>) -> Result<Response, Problem> {
    let prefix = door.gate.registry.package_prefix().ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "no prefix of packages is configured")
            .with_hint("set `registry.package_prefix`, such as `ghcr.io/webassembly/`")
    })?;
    Ok(Json(json!({"preferredProtocol": "oci", "oci": {"namespacePrefix": prefix}})).into_response())
}
