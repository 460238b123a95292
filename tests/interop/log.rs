//! The served log, read by Go's `golang.org/x/mod/sumdb`.

use std::path::Path;
use std::process::Command;

use futures::StreamExt as _;
use serde_json::json;
use witgate::audit::tlog::TilePath;
use witgate::audit::tlog::tile::TileKind;
use witgate_tests::{World, components};

use crate::{program, run, succeed};

/// More than one tile of 256, so that there is a level above them.
const ENTRIES: u64 = 600;
/// How many ask at once.
const AT_ONCE: usize = 16;

/// Records refusals until the log has `ENTRIES` more: each asks for a link that nobody granted.
async fn fill(world: &World) {
    let pushed = world.publish("good", components::command("hello\n")).await;
    let ask = |number| {
        let body = json!({"reference": pushed.reference, "links": [format!("link-{number}")]});
        async move { world.host.ask(body).await.status }
    };
    let statuses: Vec<u16> = futures::stream::iter((0..ENTRIES).map(ask)).buffer_unordered(AT_ONCE).collect().await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 403)), "{statuses:?}");
}

async fn checkpoint(world: &World, file: &Path) -> u64 {
    let reply = world.host.get("/log/checkpoint").await;
    assert_eq!(reply.status, 200);
    std::fs::write(file, &reply.bytes).unwrap();
    std::str::from_utf8(&reply.bytes).unwrap().lines().nth(1).unwrap().parse().unwrap()
}

/// Fetches one tile, full or not, into the place it is served from.
async fn fetch(world: &World, folder: &Path, path: &TilePath) {
    let reply = world.host.get(&format!("/log/{path}")).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    let file = folder.join(path.to_string());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, &reply.bytes).unwrap();
}

async fn mirror(world: &World, folder: &Path) -> u64 {
    let size = checkpoint(world, &folder.join("checkpoint")).await;
    for level in 0..8_u8 {
        let nodes = size >> (8 * u32::from(level));
        let kinds =
            if level == 0 { vec![TileKind::Hashes(0), TileKind::Entries] } else { vec![TileKind::Hashes(level)] };
        for kind in kinds {
            for index in 0..nodes / 256 {
                fetch(world, folder, &TilePath::full(kind, index)).await;
            }
            if let Some(path) = TilePath::new(kind, nodes / 256, (nodes % 256) as u16) {
                fetch(world, folder, &path).await;
            }
        }
    }
    size
}

/// Changes one byte of a file.
fn spoil(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn go_verifies_every_entry_and_sees_every_change() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let old = checkpoint(&world, &folder.path().join("old-checkpoint")).await;
    fill(&world).await;
    let size = mirror(&world, folder.path()).await;
    assert!(old > 0 && size >= old + ENTRIES, "{old} entries, then {size}");

    let vkey = world.deployment.service.gate().audit.vkey();
    let verify = || {
        let mut command = Command::new(program("WITGATE_INTEROP_TLOG"));
        command.arg(folder.path()).arg(&vkey);
        command
    };
    assert_eq!(succeed(&mut verify()), format!("verified {size} entries, consistent with {old}\n"));

    for (name, at) in [("tile/entries/000", 300), ("tile/0/001", 40), ("checkpoint", 70), ("old-checkpoint", 70)] {
        let file = folder.path().join(name);
        spoil(&file, at);
        assert_eq!(run(&mut verify()).status.code(), Some(1), "a changed byte in `{name}` went unseen");
        spoil(&file, at);
    }
    succeed(&mut verify());
}
