//! Where the binary connects to: the registry that it was told, whatever the environment says.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::{stderr, witgate};

/// Somebody who writes down what is asked, and answers 404.
struct Listener {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let writing = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                writing.lock().unwrap().push(String::from_utf8_lossy(&head).to_ascii_lowercase());
                let _ = stream.write_all(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

#[test]
fn a17_4_proxies_and_netrc_of_the_environment_are_ignored() {
    let (registry, proxy) = (Listener::start(), Listener::start());
    let home = tempfile::tempdir().unwrap();
    let netrc = home.path().join(".netrc");
    std::fs::write(&netrc, "default login thief password hunter2\n").unwrap();
    let mut command = witgate(home.path());
    command.env("NETRC", &netrc).env("CURL_HOME", home.path()).env("NO_PROXY", "").env("no_proxy", "");
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, format!("http://u:hunter2@{}", proxy.address));
    }
    let output = command.args(["inspect", &format!("{}/acme/cart:1", registry.address)]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("unknown reference"), "{}", stderr(&output));
    assert_eq!(proxy.heard(), Vec::<String>::new(), "the proxy was asked");
    let heard = registry.heard();
    assert!(!heard.is_empty() && heard.iter().all(|head| head.starts_with("get /v2/acme/cart/")), "{heard:?}");
    assert!(heard.iter().all(|head| !head.contains("authorization")), "{heard:?}");
}
