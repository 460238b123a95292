//! `/log/…`: the C2SP tlog-tiles read path.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Door, Problem};
use crate::audit::tlog::TilePath;

/// The newest signed checkpoint (C2SP tlog-checkpoint).
pub(super) async fn checkpoint(State(door): State<Door>) -> Result<Response, Problem> {
    let note = door.gate.audit.reader().checkpoint().await?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "private, max-age=1")];
    Ok((headers, note).into_response())
}

/// A hash tile or an entry bundle (C2SP tlog-tiles).
pub(super) async fn tile(State(door): State<Door>, Path(path): Path<String>) -> Result<Response, Problem> {
    let path: TilePath = format!("tile/{path}")
        .parse()
        .map_err(|fault| Problem::new(StatusCode::BAD_REQUEST, format!("not a tile path: {fault}")))?;
    let bytes = door
        .gate
        .audit
        .reader()
        .tile(&path)
        .await?
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("the log holds no `{path}` yet")))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    Ok((headers, bytes).into_response())
}
