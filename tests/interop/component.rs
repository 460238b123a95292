//! A component that clang and wasi-libc made.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wasi_preview1_component_adapter_provider as adapter;
use wit_component::ComponentEncoder;

use crate::{beside, succeed, witgate};

/// What `clang` makes of `hello.c`, lifted to a component with the adapter that its users take.
fn hello(folder: &Path) -> Vec<u8> {
    let core = folder.join("hello.core.wasm");
    succeed(
        Command::new("clang")
            .args([
                "--target=wasm32-wasi",
                "--sysroot=/usr",
                "-O2",
                "-isystem",
                "/usr/include/wasm32-wasi",
                "-L/usr/lib/wasm32-wasi",
            ])
            .arg(beside("hello.c"))
            .arg("-o")
            .arg(&core),
    );
    let (name, adapter) =
        (adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER);
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&std::fs::read(core).unwrap()).unwrap().adapter(name, adapter).unwrap();
    encoder.encode().unwrap()
}

#[test]
fn a_c_program_is_admitted_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hello.wasm");
    std::fs::write(&file, hello(folder.path())).unwrap();
    let mut demo = witgate(folder.path());
    demo.args(["demo", "--output", "json", "--component"]).arg(&file);
    let report: Value = serde_json::from_str(&succeed(&mut demo)).unwrap();
    let admitted = report["admitted"].as_array().unwrap();
    let ours =
        admitted.iter().find(|one| one["name"] == "yours-hello").unwrap_or_else(|| panic!("not admitted: {report}"));
    assert_eq!(ours["ran"]["stdout"], "hello from C\n");
    assert_eq!(ours["ran"]["exit_code"], 0);
}

#[test]
fn the_imports_that_a_real_toolchain_makes_are_all_seen() {
    let folder = tempfile::tempdir().unwrap();
    let found = witgate_host_hook::surface::read(&hello(folder.path())).unwrap();
    let names: Vec<&str> = found.imports.iter().map(|import| import.name.as_str()).collect();
    for expected in ["wasi:cli/stdout@", "wasi:filesystem/types@", "wasi:io/streams@"] {
        assert!(names.iter().any(|name| name.starts_with(expected)), "`{expected}` is missing in {names:?}");
    }
    assert!(found.exports.iter().any(|export| export.name.starts_with("wasi:cli/run@")));
}
