//! The addresses of `[listen]`: free for `witgate serve`, or answered by it already.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::finding::Finding;
use crate::config::Config;

/// All addresses.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let (callers, admin) = (config.listen.callers, config.listen.admin);
    let readiness = match bind(admin) {
        Place::Taken => {
            ask(&format!("http://{}/readyz", here(admin))).await.filter(|answer| answer["ready"].is_boolean())
        }
        Place::Free | Place::Unusable(_) => None,
    };
    let mut findings = vec![of_address("listen.callers", callers, readiness.is_some())];
    if let Some(registry) = &config.listen.registry {
        findings.push(of_address("listen.registry.address", registry.address, readiness.is_some()));
    }
    findings.extend(match (bind(admin), readiness) {
        (Place::Taken, Some(readiness)) => of_readiness(admin, &readiness),
        (Place::Taken, None) => vec![taken("listen.admin", admin)],
        (Place::Free, _) => vec![free("listen.admin", admin)],
        (Place::Unusable(why), _) => vec![unusable("listen.admin", admin, &why)],
    });
    findings
}

/// A listener that nothing can be asked without showing who asks: whose it is, `listen.admin` says.
fn of_address(key: &str, address: SocketAddr, witgate_runs: bool) -> Finding {
    match bind(address) {
        Place::Taken if witgate_runs => {
            Finding::ok(LISTEN, format!("{key} {address}"), "taken, and witgate answers on `listen.admin`")
        }
        Place::Taken => taken(key, address),
        Place::Free if witgate_runs && address.port() != 0 => {
            let found = "witgate answers on `listen.admin`, and nobody listens here: it runs with other settings";
            Finding::warn(LISTEN, format!("{key} {address}"), found)
        }
        Place::Free => free(key, address),
        Place::Unusable(why) => unusable(key, address, &why),
    }
}

/// What the running gateway says of itself.
fn of_readiness(address: SocketAddr, readiness: &Value) -> Vec<Finding> {
    let about = format!("listen.admin {address}");
    let named = |list: &str, name: &str| -> Vec<String> {
        let entries = readiness[list].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        entries.map(|entry| format!("{}: {}", text(&entry[name]), text(&entry["detail"]))).collect()
    };
    let mut findings: Vec<Finding> =
        named("missing", "peer").into_iter().map(|what| Finding::wrong(READY, about.clone(), what)).collect();
    findings.extend(named("degraded", "name").into_iter().map(|what| Finding::warn(READY, about.clone(), what)));
    if findings.is_empty() {
        findings.push(Finding::ok(READY, about, "witgate answers, and misses nobody"));
    }
    findings
}

/// What became of binding.
enum Place {
    Free,
    Taken,
    Unusable(String),
}

/// Binds as `serve` would, for a moment.
fn bind(address: SocketAddr) -> Place {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Place::Free,
        Err(error) if error.kind() == ErrorKind::AddrInUse => Place::Taken,
        Err(error) => Place::Unusable(error.to_string()),
    }
}

fn free(key: &str, address: SocketAddr) -> Finding {
    Finding::ok(LISTEN, format!("{key} {address}"), "free: `witgate serve` can listen here")
}

fn taken(key: &str, address: SocketAddr) -> Finding {
    let (table, name) = key.rsplit_once('.').unwrap_or(("listen", key));
    let fix = format!("[{table}]\n{name} = \"{}:0\"\n", address.ip());
    Finding::wrong(LISTEN, format!("{key} {address}"), "taken, and it is not witgate that answers")
        .with_fix("stop what listens here, or choose another port", fix)
}

fn unusable(key: &str, address: SocketAddr, why: &str) -> Finding {
    Finding::wrong(LISTEN, format!("{key} {address}"), format!("`witgate serve` cannot listen here: {why}"))
}

/// Where a listener of this machine is reached.
fn here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The JSON at `url`; none where somebody else answers, or too much, or nobody in time.
async fn ask(url: &str) -> Option<Value> {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
    let mut response = client.build().ok()?.get(url).send().await.ok()?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.ok()? {
        if body.len() + piece.len() > ANSWER_MAX_BYTES {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    serde_json::from_slice(&body).ok()
}

/// How long the listener on this machine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer of `/readyz`, in bytes: names and reasons of a few roots and peers.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// One address.
const LISTEN: &str = "listen";
/// What the running gateway says.
const READY: &str = "ready";
