//! Starting from agents and files, good and hostile ones.

mod agent;
mod files;

use std::path::Path;

use super::settings::{FileSettings, Settings};
use crate::case::Timestamp;
use crate::dev::spiffe::{Leaf, SpiffeCa};

fn ca(trust_domain: &str) -> SpiffeCa {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    SpiffeCa::new(trust_domain, Timestamp::now()).unwrap()
}

fn leaf() -> Leaf {
    Leaf::new(Timestamp::now())
}

fn settings() -> Settings {
    Settings {
        trust_domains: vec!["gate.example".into(), "fed.example".into()],
        callers: vec!["spiffe://gate.example/host/*".into()],
        workload_api: None,
        files: None,
        jwt_svid: None,
        oidc: std::collections::BTreeMap::new(),
        sync_timeout_ms: 400,
    }
}

fn from_socket(path: &Path) -> Settings {
    Settings { workload_api: Some(format!("unix:{}", path.display())), ..settings() }
}

fn from_files(files: FileSettings) -> Settings {
    Settings { files: Some(files), ..settings() }
}
