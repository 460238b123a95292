//! Components as text, linked or refused, then run.

use super::*;
use crate::grants::Limits;
use crate::host::{Ended, MAX_OUTPUT_BYTES, Output};

/// A command whose core module is `body` of `run`, with `memory` exported.
fn command(module: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $module {module})
            (core instance $instance (instantiate $module))
            (func $run (result (result)) (canon lift (core func $instance "run")))
            (instance $exports (export "run" (func $run)))
            (export "wasi:cli/run@0.2.3" (instance $exports)))"#
    );
    wat::parse_str(text).unwrap()
}

/// A command that writes "hello\n" `times` times and ends as its last write did; version 0.2.0, which this host's 0.2.12 serves.
fn hello(times: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
            (alias export $error "error" (type $error-type))
            (import "wasi:io/streams@0.2.0" (instance $streams
                (export "output-stream" (type $output-stream (sub resource)))
                (alias outer 1 $error-type (type $outer))
                (export "error" (type $error (eq $outer)))
                (type $variant (variant (case "last-operation-failed" (own $error)) (case "closed")))
                (export "stream-error" (type $stream-error (eq $variant)))
                (export "[method]output-stream.blocking-write-and-flush" (func
                    (param "self" (borrow $output-stream)) (param "contents" (list u8))
                    (result (result (error $stream-error)))))))
            (alias export $streams "output-stream" (type $output-stream))
            (import "wasi:cli/stdout@0.2.0" (instance $stdout
                (alias outer 1 $output-stream (type $outer))
                (export "output-stream" (type $output-stream (eq $outer)))
                (export "get-stdout" (func (result (own $output-stream))))))
            (core module $memory
                (memory (export "memory") 1) (data (i32.const 64) "hello\n")
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
            (core instance $memory (instantiate $memory))
            (core func $get-stdout (canon lower (func $stdout "get-stdout")))
            (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
                (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
            (core func $drop (canon resource.drop $output-stream))
            (core module $module
                (import "" "get-stdout" (func $get-stdout (result i32)))
                (import "" "write" (func $write (param i32 i32 i32 i32)))
                (import "" "drop" (func $drop (param i32)))
                (import "" "memory" (memory 1))
                (func (export "run") (result i32) (local $stream i32) (local $left i32)
                    (local.set $stream (call $get-stdout))
                    (local.set $left (i32.const {times}))
                    (loop $again
                        (call $write (local.get $stream) (i32.const 64) (i32.const 6) (i32.const 128))
                        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                        (br_if $again (local.get $left)))
                    (call $drop (local.get $stream))
                    (i32.load8_u (i32.const 128))))
            (core instance $instance (instantiate $module (with "" (instance
                (export "get-stdout" (func $get-stdout)) (export "write" (func $write)) (export "drop" (func $drop))
                (export "memory" (memory $memory "memory"))))))
            (func $run (result (result)) (canon lift (core func $instance "run")))
            (instance $exports (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exports)))"#
    );
    wat::parse_str(text).unwrap()
}

const HELLO: [&str; 3] = ["wasi:cli/stdout@0.2.0", "wasi:io/error@0.2.0", "wasi:io/streams@0.2.0"];

fn grants(imports: &[&str]) -> Grants {
    Grants {
        imports: imports.iter().map(|&import| import.to_owned()).collect(),
        links: Vec::new(),
        config: Vec::new(),
        limits: Limits::default(),
        lifetime_s: 60,
    }
}

fn limited(limits: Limits) -> Grants {
    Grants { limits, ..grants(&[]) }
}

async fn run(bytes: &[u8], grants: &Grants) -> crate::host::Outcome {
    Host::start().unwrap().prepare(bytes, grants).unwrap().run(Output::Captured).await
}

fn refuse(bytes: &[u8], grants: &Grants) -> NotPrepared {
    match Host::start().unwrap().prepare(bytes, grants) {
        Ok(_) => panic!("it was prepared"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_granted_command_runs_and_its_output_is_captured() {
    let outcome = run(&hello(2), &grants(&HELLO)).await;
    assert_eq!(outcome.ended, Ended::Exit(0));
    assert_eq!(&*outcome.stdout, b"hello\nhello\n");
    assert!(outcome.stderr.is_empty());
}

#[tokio::test]
async fn a_grant_on_the_same_track_is_enough() {
    let grants = grants(&["wasi:cli/stdout@0.2.6", "wasi:io/error@0.2.12", "wasi:io/streams@0.2"]);
    assert_eq!(run(&hello(1), &grants).await.ended, Ended::Exit(0));
}

#[test]
fn every_import_without_a_grant_is_named() {
    let refused = refuse(&hello(1), &grants(&["wasi:io/error@0.2.0", "wasi:io/streams@0.3.0"]));
    assert_eq!(
        refused.to_string(),
        "component refused before instantiation: 2 import(s) not granted: \
         `wasi:cli/stdout@0.2.0`, `wasi:io/streams@0.2.0`"
    );
    assert_eq!(refused.code(), "import-not-granted");
}

#[test]
fn what_is_granted_and_not_offered_is_named_too() {
    let component = wat::parse_str(
        r#"(component (import "acme:kv/store@1.0.0" (instance)) (import "wasi:cli/stdout@0.3.0" (instance))
            (import "wasi:sockets/tcp@0.2.0" (instance)))"#,
    )
    .unwrap();
    let refused = refuse(&component, &grants(&["acme:kv/store@1.2.0", "wasi:cli/stdout@0.3.0"]));
    let NotPrepared::Imports { not_granted, not_offered } = &refused else { panic!("{refused}") };
    assert_eq!(not_granted, &["wasi:sockets/tcp@0.2.0"]);
    assert_eq!(not_offered, &["acme:kv/store@1.0.0", "wasi:cli/stdout@0.3.0"]);
    assert!(refused.to_string().contains("granted but not offered by this host: `acme:kv/store@1.0.0`"));
}

#[test]
fn bare_functions_have_no_row() {
    let component = wat::parse_str(r#"(component (import "run" (func)))"#).unwrap();
    assert_eq!(refuse(&component, &grants(&["run"])).code(), "import-not-offered");
}

#[test]
fn an_interface_of_another_shape_does_not_link() {
    let component =
        wat::parse_str(r#"(component (import "wasi:cli/stdout@0.2.0" (instance (export "get-stdout" (func)))))"#)
            .unwrap();
    assert_eq!(refuse(&component, &grants(&["wasi:cli/stdout@0.2.0"])).code(), "import-not-linked");
    let component =
        wat::parse_str(r#"(component (import "wasi:cli/stdout@0.2.99" (instance (export "newer" (func)))))"#).unwrap();
    assert_eq!(refuse(&component, &grants(&["wasi:cli/stdout@0.2.0"])).code(), "import-not-linked");
}

#[test]
fn bytes_that_end_wasmtime_do_not_reach_it() {
    let mut types = vec![1];
    for _ in 0..3000 {
        types.extend([0x42, 0x01, 0x01]);
    }
    types.extend([0x42, 0x00]);
    let size = u16::try_from(types.len()).unwrap();
    let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
    bytes.extend([(size & 0x7f) as u8 | 0x80, (size >> 7) as u8]);
    bytes.extend(types);
    bytes.extend([0x0a, 0x06, 0x01, 0x00, 0x01, 0x66, 0x05, 0x00]);
    assert_eq!(refuse(&bytes, &grants(&[])).code(), "component-unreadable");
    assert_eq!(refuse(b"\0asm\x01\0\0\0", &grants(&[])).code(), "component-unreadable");
}

#[tokio::test]
async fn exit_codes_are_the_components() {
    assert_eq!(
        run(&command(r#"(func (export "run") (result i32) i32.const 0)"#), &grants(&[])).await.ended,
        Ended::Exit(0)
    );
    assert_eq!(
        run(&command(r#"(func (export "run") (result i32) i32.const 1)"#), &grants(&[])).await.ended,
        Ended::Exit(1)
    );
    let trapped = run(&command(r#"(func (export "run") (result i32) unreachable)"#), &grants(&[])).await.ended;
    assert!(matches!(&trapped, Ended::Trapped { detail } if detail.contains("unreachable")), "{trapped}");
}

#[tokio::test]
async fn a_component_without_a_command_is_not_started() {
    let ended = run(b"\0asm\x0d\0\x01\0", &grants(&[])).await.ended;
    assert!(matches!(&ended, Ended::NotStarted { detail } if detail.contains("wasi:cli/run")), "{ended}");
}

const SPIN: &str = r#"(func (export "run") (result i32) (loop $again (br $again)) i32.const 0)"#;

#[tokio::test]
async fn a_spinning_component_ends_with_its_fuel() {
    let grants = limited(Limits { fuel: 1_000_000, ..Limits::default() });
    assert_eq!(run(&command(SPIN), &grants).await.ended, Ended::OutOfFuel { fuel: 1_000_000 });
}

#[tokio::test]
async fn a_spinning_component_ends_with_its_time() {
    let grants = limited(Limits { fuel: u64::MAX, timeout_ms: 50, ..Limits::default() });
    assert_eq!(run(&command(SPIN), &grants).await.ended, Ended::TimedOut { timeout_ms: 50 });
}

#[tokio::test]
async fn a_start_function_counts_against_the_limits_too() {
    let module =
        r#"(func $start (loop $again (br $again))) (start $start) (func (export "run") (result i32) i32.const 0)"#;
    let grants = limited(Limits { fuel: 1_000_000, ..Limits::default() });
    assert_eq!(run(&command(module), &grants).await.ended, Ended::OutOfFuel { fuel: 1_000_000 });
}

#[tokio::test]
async fn memory_ends_at_the_grant() {
    let grow = |pages: u32| {
        format!(
            r#"(memory 1) (func (export "run") (result i32)
                (if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable)) i32.const 0)"#
        )
    };
    let grants = limited(Limits { memory_bytes: 4 << 16, ..Limits::default() });
    assert_eq!(run(&command(&grow(3)), &grants).await.ended, Ended::Exit(0));
    assert!(matches!(run(&command(&grow(4)), &grants).await.ended, Ended::Trapped { .. }));
    let large = command(r#"(memory 5) (func (export "run") (result i32) i32.const 0)"#);
    assert!(matches!(run(&large, &grants).await.ended, Ended::NotStarted { .. }));
    let many = command(r#"(memory 2) (memory 2) (memory 1) (func (export "run") (result i32) i32.const 0)"#);
    assert!(matches!(run(&many, &grants).await.ended, Ended::NotStarted { .. }), "all memories count together");
}

#[tokio::test]
async fn output_ends_at_the_limit() {
    let times = u32::try_from(MAX_OUTPUT_BYTES / 6 + 10).unwrap();
    let outcome = run(&hello(times), &grants(&HELLO)).await;
    assert!(outcome.stdout.len() <= MAX_OUTPUT_BYTES && outcome.stdout.len() > MAX_OUTPUT_BYTES - 6);
    assert_eq!(outcome.ended, Ended::Exit(1), "a component hears that its output is lost");
}

#[test]
fn a_command_is_no_handler() {
    let prepared = Host::start().unwrap().prepare(&command(SPIN), &grants(&[])).unwrap();
    let Err(Ended::NotStarted { detail }) = prepared.handler() else { panic!("it is one") };
    assert!(detail.contains("wasi:http/incoming-handler"), "{detail}");
}
