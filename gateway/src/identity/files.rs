//! SVID, key and bundles from PEM files that another program keeps fresh.
//!
//! The files feed the in-process Workload API, so that a file and an agent take the same way into TLS. Writers such as
//! spiffe-helper truncate in place, one file after the other: a set counts once two reads agree, the key belongs to the
//! leaf and the chain leads to the bundle; until then the last good set stays. A missing file is no withdrawal, expiry is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use spiffe::transport::Endpoint;
use spiffe::{TrustDomain, WorkloadApiClient, WorkloadApiError};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::file_set::{FileFault, Files, Paths};
use super::settings::FileSettings;
use super::settled::{Pace, in_time, settled};
use super::workload_api::server::{Answer, Material, Server};
use crate::case::Timestamp;
use crate::outage::chain;

/// How many connections to the in-process Workload API may wait.
const PENDING_CONNECTIONS: usize = 8;
/// The pipe between source and in-process Workload API.
const PIPE_SIZE_BYTES: usize = 64 * 1024;

/// The loader in the background; it stops when dropped.
#[derive(Debug)]
pub(super) struct FileFeed {
    _stop: DropGuard,
}

type ClientFactory = Arc<
    dyn Fn() -> futures::future::BoxFuture<'static, Result<WorkloadApiClient, WorkloadApiError>>
        + Send
        + Sync
        + 'static,
>;

impl FileFeed {
    /// Loads the first set, then keeps looking.
    ///
    /// # Errors
    /// The files hold no usable set now.
    pub(super) async fn start(
        files: FileSettings,
        federated: BTreeMap<TrustDomain, PathBuf>,
        pace: Pace,
    ) -> Result<(Self, ClientFactory), FileFault> {
        let paths = Arc::new(Paths { own: files, federated });
        let first = whole(&paths, tokio::time::sleep(pace.settle)).await?;
        let material = first.material(&paths, Timestamp::now())?;
        let (connections, incoming) = tokio::sync::mpsc::channel(PENDING_CONNECTIONS);
        let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
        let server = Server::start(incoming, Answer::Material(material));
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow(paths, pace, first, server)));
        Ok((Self { _stop: stop.drop_guard() }, clients(connections)))
    }
}

/// Looks again and again; what cannot be used is counted, and the last good set stays.
async fn follow(paths: Arc<Paths>, pace: Pace, mut current: Files, server: Server) {
    let mut last_fault = None;
    loop {
        tokio::time::sleep(pace.poll).await;
        match newer(&paths, pace, &current).await {
            Ok(None) => last_fault = None,
            Ok(Some((files, material))) => {
                tracing::info!("the identity files changed");
                server.set(Answer::Material(material));
                current = files;
                last_fault = None;
            }
            Err(fault) => {
                metrics::counter!("witgate_identity_file_errors_total").increment(1);
                let text = chain(&fault);
                if last_fault.as_ref() != Some(&text) {
                    tracing::warn!(error = text, "the identity files cannot be used: the last good ones stay");
                    last_fault = Some(text);
                }
            }
        }
    }
}

async fn newer(paths: &Arc<Paths>, pace: Pace, current: &Files) -> Result<Option<(Files, Material)>, FileFault> {
    let look = Arc::clone(paths);
    if in_time(move || Files::read(&look)).await? == *current {
        return Ok(None);
    }
    let files = whole(paths, tokio::time::sleep(pace.settle)).await?;
    let material = files.material(paths, Timestamp::now())?;
    Ok(Some((files, material)))
}

/// Both reads of the whole set.
async fn whole(paths: &Arc<Paths>, pause: impl Future<Output = ()>) -> Result<Files, FileFault> {
    let paths = Arc::clone(paths);
    settled(move || Files::read(&paths), pause).await
}

/// Connects the source to the in-process Workload API, each time over a new pipe.
fn clients(connections: tokio::sync::mpsc::Sender<std::io::Result<tokio::io::DuplexStream>>) -> ClientFactory {
    Arc::new(move || {
        let connections = connections.clone();
        Box::pin(async move {
            let connect = tower::service_fn(move |_: http::Uri| {
                let connections = connections.clone();
                async move {
                    let (ours, theirs) = tokio::io::duplex(PIPE_SIZE_BYTES);
                    connections.send(Ok(theirs)).await.map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
                    Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(ours))
                }
            });
            let channel =
                tonic::transport::Endpoint::from_static("http://in-process").connect_with_connector_lazy(connect);
            let endpoint: Endpoint = "unix:///in-process".parse()?;
            Ok(WorkloadApiClient::new_with_channel(endpoint, channel))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn files_that_change_between_two_reads_are_not_taken() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            path
        };
        let federated = BTreeMap::new();
        let own = FileSettings { svid: file("svid"), key: file("key"), bundle: file("bundle"), federated };
        let paths = Arc::new(Paths { own: own.clone(), federated: BTreeMap::new() });
        assert!(whole(&paths, async {}).await.is_ok());
        for path in [own.svid, own.key, own.bundle] {
            let meanwhile = whole(&paths, async { fs::write(&path, "more").unwrap() }).await;
            assert!(matches!(meanwhile, Err(FileFault::Unsettled)), "{}", path.display());
        }
    }
}
