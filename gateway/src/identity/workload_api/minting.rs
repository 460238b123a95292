//! The Workload API's two JWT calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tonic::codegen::http;
use tonic::{Request, Response, Status};

use super::server::{Answer, Material};
use super::wire::{JwtBundlesResponse, JwtSvid, JwtSvidRequest, JwtSvidResponse};

/// Who mints JWT-SVIDs for the workload, and the keys that verify them.
#[derive(Clone, Default)]
pub(crate) struct Tokens {
    pub(crate) mint: Option<Mint>,
    /// By `spiffe://td`: a JWK Set.
    pub(crate) bundles: BTreeMap<String, Bytes>,
}

/// From audiences to a token of the workload with this SPIFFE ID.
pub(crate) type Mint = Arc<dyn Fn(&str, &[String]) -> String + Send + Sync>;

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("bundles", &self.bundles).finish_non_exhaustive()
    }
}

/// `FetchJWTBundles`: a stream, each answer replaces the one before.
pub(super) fn bundles(material: &Material) -> JwtBundlesResponse {
    JwtBundlesResponse { bundles: material.tokens.bundles.clone() }
}

/// `FetchJWTSVID`: one answer, made when it is asked for.
pub(super) async fn svids(
    answer: watch::Receiver<Answer>,
    request: http::Request<tonic::body::Body>,
) -> http::Response<tonic::body::Body> {
    let service = tower::service_fn(move |request: Request<JwtSvidRequest>| {
        let answer = answer.borrow().clone();
        async move { minted(&answer, request.get_ref()).map(Response::new) }
    });
    let codec = tonic_prost::ProstCodec::<JwtSvidResponse, JwtSvidRequest>::default();
    tonic::server::Grpc::new(codec).unary(service, request).await
}

fn minted(answer: &Answer, request: &JwtSvidRequest) -> Result<JwtSvidResponse, Status> {
    // SPIFFE Workload API, section 6.2.1.
    if request.audience.is_empty() {
        return Err(Status::invalid_argument("no audience was asked for"));
    }
    let material = match answer {
        Answer::Material(material) => material,
        Answer::Withdrawn => return Err(Status::permission_denied("no identity issued")),
        Answer::Hang | Answer::Unavailable => return Err(Status::unavailable("the agent restarts")),
    };
    let mint = material.tokens.mint.as_ref().ok_or_else(|| Status::permission_denied("no identity issued"))?;
    let wanted = |id: &str| request.spiffe_id.is_empty() || request.spiffe_id == id;
    let svids = material.svids.iter().filter(|svid| wanted(&svid.spiffe_id)).map(|svid| JwtSvid {
        spiffe_id: svid.spiffe_id.clone(),
        svid: mint(&svid.spiffe_id, &request.audience),
        hint: svid.hint.clone(),
    });
    Ok(JwtSvidResponse { svids: svids.collect() })
}
