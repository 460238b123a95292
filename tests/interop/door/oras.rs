//! oras for Python: pulls without a ping, and logs why not.

use std::process::Command;

use witgate_tests::components;

use super::{Door, HELLO, Over, fail, remote, tells_why};
use crate::{beside, program, succeed};

/// `backend` is `basic` or `token`: what the gateway's challenge is.
pub(super) fn pull(door: &Door, reference: &str, backend: &str) -> Command {
    let mut command = door.client(program("WITGATE_INTEROP_PYTHON"));
    command.arg(beside("python/oras_pull.py")).args([reference, "ca.crt", "pulled", backend]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn oras_pulls_what_is_admitted_and_logs_why_it_may_not() {
    let door = Door::open(Over::Tls).await;
    for reference in [door.tagged(&door.good), door.by_digest(&door.good)] {
        let printed = succeed(&mut pull(&door, &reference, "basic"));
        let files: Vec<&str> = printed.lines().collect();
        let [file] = files[..] else { panic!("expected one layer: {printed}") };
        assert_eq!(std::fs::read(door.path(file)).unwrap(), components::http(HELLO), "{reference}");
        std::fs::remove_dir_all(door.path("pulled")).unwrap();
    }
    tells_why(&fail(&mut pull(&door, &door.tagged(&door.unsigned), "basic")), &remote(&door.unsigned));
    assert!(!door.path("pulled").exists());
}
