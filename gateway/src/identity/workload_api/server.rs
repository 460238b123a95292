//! Answers the Workload API's calls from a value that can be replaced at any time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::codegen::http;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

use super::wire::{Empty, X509BundlesResponse, X509Svid, X509SvidResponse};

/// What the one workload behind this API gets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Its identities with all bundles.
    Material(Material),
    /// Nothing any more: `PermissionDenied`, as SPIRE says once the entry is gone.
    #[cfg(feature = "dev")]
    Withdrawn,
    /// Silence: the call is taken and never answered.
    #[cfg(feature = "dev")]
    Hang,
    /// `Unavailable`, as while an agent restarts.
    #[cfg(feature = "dev")]
    Unavailable,
}

/// SVIDs with the bundles they need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Material {
    pub(crate) svids: Vec<X509Svid>,
    /// By `spiffe://td`: concatenated DER.
    pub(crate) federated: BTreeMap<String, Bytes>,
    /// Files give no JWT-SVIDs: whoever takes tokens reads the keys from files of their own.
    #[cfg(feature = "dev")]
    pub(crate) tokens: super::minting::Tokens,
}

/// A running Workload API; it stops when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    answer: watch::Sender<Answer>,
    _stop: DropGuard,
}

impl Server {
    /// Serves every connection of `incoming` until dropped.
    pub(crate) fn start<S, I>(incoming: S, answer: Answer) -> Self
    where
        S: Stream<Item = io::Result<I>> + Send + 'static,
        I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let (answer, receiver) = watch::channel(answer);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let service = tower::service_fn(move |request| {
            let receiver = receiver.clone();
            async move { Ok::<_, Infallible>(route(receiver, request).await) }
        });
        tokio::spawn(async move {
            let serving = tonic::transport::Server::builder().serve_with_incoming(service, incoming);
            // The open streams never end by themselves: a graceful end would wait for ever.
            if let Some(Err(error)) = stopped.run_until_cancelled(serving).await {
                tracing::error!(error = %error, "the in-process Workload API ended");
            }
        });
        Self { answer, _stop: stop.drop_guard() }
    }

    /// Replaces the answer; open streams get it at once.
    pub(crate) fn set(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }
}

type Stream200<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

async fn route(
    answer: watch::Receiver<Answer>,
    request: http::Request<tonic::body::Body>,
) -> http::Response<tonic::body::Body> {
    // SPIFFE Workload Endpoint, section 6.2: keeps a browser's or proxy's request from being answered.
    if request.headers().get("workload.spiffe.io").is_none_or(|value| value != "true") {
        return Status::invalid_argument("the security header `workload.spiffe.io: true` is missing").into_http();
    }
    match request.uri().path() {
        "/SpiffeWorkloadAPI/FetchX509SVID" => streaming(answer, svid_response, request).await,
        "/SpiffeWorkloadAPI/FetchX509Bundles" => streaming(answer, bundles_response, request).await,
        #[cfg(feature = "dev")]
        "/SpiffeWorkloadAPI/FetchJWTSVID" => super::minting::svids(answer, request).await,
        #[cfg(feature = "dev")]
        "/SpiffeWorkloadAPI/FetchJWTBundles" => streaming(answer, super::minting::bundles, request).await,
        _ => Status::unimplemented("this call is not served").into_http(),
    }
}

async fn streaming<T: prost::Message + Default + 'static>(
    answer: watch::Receiver<Answer>,
    respond: fn(&Material) -> T,
    request: http::Request<tonic::body::Body>,
) -> http::Response<tonic::body::Body> {
    let service = tower::service_fn(move |_: Request<Empty>| {
        let items = tokio_stream::wrappers::WatchStream::new(answer.clone())
            .filter_map(move |answer| futures::future::ready(item(&answer, respond)));
        async move { Ok::<_, Status>(Response::new(Box::pin(items) as Stream200<T>)) }
    });
    tonic::server::Grpc::new(tonic_prost::ProstCodec::<T, Empty>::default()).server_streaming(service, request).await
}

fn item<T>(answer: &Answer, respond: fn(&Material) -> T) -> Option<Result<T, Status>> {
    match answer {
        Answer::Material(material) => Some(Ok(respond(material))),
        #[cfg(feature = "dev")]
        Answer::Withdrawn => Some(Err(Status::permission_denied("no identity issued"))),
        #[cfg(feature = "dev")]
        Answer::Hang => None,
        #[cfg(feature = "dev")]
        Answer::Unavailable => Some(Err(Status::unavailable("the agent restarts"))),
    }
}

fn svid_response(material: &Material) -> X509SvidResponse {
    X509SvidResponse { svids: material.svids.clone(), crl: vec![], federated_bundles: material.federated.clone() }
}

fn bundles_response(material: &Material) -> X509BundlesResponse {
    let mut bundles = material.federated.clone();
    for svid in &material.svids {
        if let Ok(id) = spiffe::SpiffeId::new(&svid.spiffe_id) {
            bundles.insert(id.trust_domain().id_string(), svid.bundle.clone());
        }
    }
    X509BundlesResponse { crl: vec![], bundles }
}
