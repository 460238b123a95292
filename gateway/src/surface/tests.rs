//! The stage over the shapes that a component can have.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use witgate_host_hook::surface::{self as reader, Unreadable, read};

use super::*;
use crate::dev::components::{self, hostile, padded};

fn names(externs: &[Extern]) -> Vec<&str> {
    externs.iter().map(|external| external.name.as_str()).collect()
}

async fn world_of(component: Vec<u8>) -> World {
    match inspect(Some(component.into())).await.expect("a reader is free") {
        Surface::Component(world) => world,
        Surface::Unreadable { detail } => panic!("not read: {detail}"),
        Surface::Unseen => panic!("bytes are looked at"),
    }
}

#[tokio::test]
async fn a_command_imports_what_printing_needs() {
    let world = world_of(components::command("hello")).await;
    assert_eq!(names(&world.imports), ["wasi:cli/stdout@0.2.12", "wasi:io/error@0.2.12", "wasi:io/streams@0.2.12"]);
    assert_eq!(names(&world.exports), ["wasi:cli/run@0.2.12"]);
    let streams = &world.imports[2];
    assert_eq!(
        (streams.package.as_deref(), streams.interface.as_deref(), streams.version.as_deref(), streams.track.as_str()),
        (Some("wasi:io"), Some("streams"), Some("0.2.12"), "wasi:io/streams@0.2")
    );
    assert_eq!(streams.kind, ExternKind::Instance);
    insta::assert_snapshot!(text(&world), @r"
    imports: 3
      wasi:cli@0.2.12
        stdout
          func get-stdout
          resource output-stream
      wasi:io@0.2.12
        error
          resource error
        streams
          func [method]output-stream.blocking-write-and-flush
          resource error
          resource output-stream
          type stream-error
    exports: 1
      wasi:cli@0.2.12
        run
          func run
    world sha256:2eb32f7e76e05dd5b82cb6e6eeb14ae34facda038de9bcebef2032336e074961
    ");
}

#[tokio::test]
async fn a_handler_imports_http_types() {
    let world = world_of(components::http("hello")).await;
    assert_eq!(names(&world.imports), ["wasi:http/types@0.2.12", "wasi:io/error@0.2.12", "wasi:io/streams@0.2.12"]);
    assert_eq!(names(&world.exports), ["wasi:http/incoming-handler@0.2.12"]);
}

#[tokio::test]
async fn a_greedy_command_shows_its_sockets() {
    let world = world_of(components::greedy("hello")).await;
    assert!(names(&world.imports).contains(&"wasi:sockets/tcp-create-socket@0.2.12"), "{:?}", names(&world.imports));
}

#[tokio::test]
async fn commands_that_end_badly_import_next_to_nothing() {
    for component in [components::spinning(), components::memory_hungry()] {
        assert_eq!(names(&world_of(component).await.imports), [""; 0]);
    }
    assert_eq!(names(&world_of(components::exit_code(3)).await.imports), ["wasi:cli/exit@0.2.12"]);
}

#[tokio::test]
async fn all_of_wasi_is_far_within_the_limits() {
    let all = "world all { include wasi:cli/command@0.2.12; include wasi:http/proxy@0.2.12; }";
    let world = world_of(components::dummy(all).unwrap()).await;
    assert_eq!(world.imports.len(), 29);
    assert!(text(&world).len() < reader::MAX_LISTING_BYTES / 5, "{}", text(&world).len());
    let longest = world.imports.iter().flat_map(|it| &it.items).map(String::len).max();
    assert!(longest.is_some_and(|bytes| bytes < reader::MAX_NAME_BYTES / 10), "{longest:?}");
    assert!(world.imports.is_sorted_by(|a, b| a.name < b.name));
}

#[tokio::test]
async fn padding_changes_the_size_only() {
    let component = components::command("hello");
    let world = world_of(component.clone()).await;
    for size_bytes in [8 << 10, 100_001, 5 << 20] {
        let padded = padded(component.clone(), size_bytes);
        assert_eq!(padded.len(), size_bytes);
        assert_eq!(world_of(padded).await, world);
    }
}

#[tokio::test]
async fn every_kind_of_import_is_told() {
    for (kind, expected) in [
        ("(core module)", ExternKind::CoreModule),
        ("(component)", ExternKind::Component),
        ("(func)", ExternKind::Func),
        ("(type (sub resource))", ExternKind::Type),
        ("(instance)", ExternKind::Instance),
    ] {
        let world = world_of(hostile::import_of(kind)).await;
        assert_eq!(world.imports.iter().map(|it| it.kind).collect::<Vec<_>>(), [expected], "{kind}");
    }
}

#[test]
fn what_is_no_component_is_named() {
    for (bytes, expected) in [
        (vec![], "empty, expected"),
        (b"\0as".to_vec(), "not WebAssembly: starts with `006173`"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec(), "not WebAssembly: starts with `1f8b080000000000`"),
        (b"\x7fELF".to_vec(), "not WebAssembly"),
        (b"\0asm\x0d\0\x01".to_vec(), "not WebAssembly"),
        (hostile::core_module(), "a core module, not a component"),
        (hostile::pre_standard_layer(), "a component of version 12, from before the standard"),
        (b"\0asm\x0e\0\x01\0".to_vec(), "WebAssembly of unknown version 14, layer 1"),
        (b"\0asm\x0d\0\0\0".to_vec(), "WebAssembly of unknown version 13, layer 0"),
        (b"\0asm\x01\0\x01\0".to_vec(), "a component of version 1, from before the standard"),
        (hostile::wit_package(), "a WIT package, not a component"),
    ] {
        let unreadable = read(&bytes).expect_err("was read").to_string();
        assert!(unreadable.starts_with(expected), "expected `{expected}…`, found `{unreadable}`");
    }
}

#[test]
fn features_that_hosts_do_not_run_are_named() {
    for text in [
        r#"(import "f" (func async))"#,
        r#"(import "f" (func (param "s" (stream u8))))"#,
        r#"(import "v" (value string))"#,
        r#"(core module (memory 1 1 shared))"#,
    ] {
        let unreadable = read(&hostile::with_feature(text)).expect_err(text).to_string();
        assert!(unreadable.starts_with("needs a WebAssembly feature that hosts do not run"), "{text}: {unreadable}");
    }
}

/// Each with the beginning of what is said about it.
fn hostile_shapes() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        ("800 instance types", hostile::nested_instance_types(800), "no valid component at byte"),
        ("3000 instance types", hostile::nested_instance_types(3000), "no valid component at byte"),
        ("100,000 instance types", hostile::nested_instance_types(100_000), "no valid component at byte"),
        ("4000 instantiations", hostile::many_instantiations(4000), "not read within 2000 ms"),
        ("16 nested components", hostile::nested_components(16), "more than 16 components one inside the other"),
        ("5000 nested components", hostile::nested_components(5000), "more than 16 components one inside the other"),
        ("200,000 siblings", hostile::sibling_components(200_000), "no valid component at byte"),
        ("a million custom sections", hostile::custom_sections(1_000_000), "more than 10000 sections"),
        (
            "5 MiB of custom section",
            hostile::large_custom_section(5 << 20),
            "more than 4194304 bytes of custom sections",
        ),
        ("1001 imports", hostile::many_imports(1001), "more than 1000 imports and exports"),
        ("100,000 imports", hostile::many_imports(100_000), "more than 1000 imports and exports"),
        ("60 doublings", hostile::doubling_tuples(60), "no valid component at byte"),
        ("a name of 1025 bytes", hostile::long_name(1025), "more than 1024 bytes in one name"),
        ("a name of 90 KB", hostile::long_name(90_000), "more than 1024 bytes in one name"),
        ("a name of 1 MB", hostile::long_name(1_000_000), "no valid component at byte"),
        ("an endless section", hostile::endless_section(), "no valid component at byte"),
        ("half a component", hostile::truncated(components::command("hello")), "no valid component at byte"),
        ("an unsatisfied nested import", hostile::unsatisfied_nested_import(), "no valid component at byte"),
    ]
}

#[test]
fn hostile_shapes_are_unreadable_in_time() {
    for (shape, bytes, expected) in hostile_shapes() {
        let started = Instant::now();
        let unreadable = read(&bytes).expect_err(shape).to_string();
        assert!(unreadable.starts_with(expected), "{shape}: expected `{expected}…`, found `{unreadable}`");
        assert!(started.elapsed() < reader::BUDGET + Duration::from_secs(5), "{shape}: {:?}", started.elapsed());
    }
}

#[test]
fn hostile_shapes_need_nothing_of_the_callers_stack() {
    let caller = || hostile_shapes().iter().filter(|(_, bytes, _)| read(bytes).is_ok()).count();
    let on_small_stack = std::thread::Builder::new().stack_size(256 << 10).spawn(caller).unwrap();
    assert_eq!(on_small_stack.join().unwrap(), 0);
}

#[tokio::test]
async fn many_at_once_are_all_answered() {
    let shapes: Vec<_> = hostile_shapes().into_iter().map(|(_, bytes, _)| inspect(Some(bytes.into()))).collect();
    let good = std::iter::repeat_with(|| inspect(Some(components::command("hello").into()))).take(20);
    let hostile_found = futures::future::join_all(shapes);
    let (hostile_found, good_found) = futures::join!(hostile_found, futures::future::join_all(good));
    assert!(hostile_found.iter().all(|surface| matches!(surface, Ok(Surface::Unreadable { .. }))));
    assert!(good_found.iter().all(|surface| matches!(surface, Ok(Surface::Component(_)))));
}

#[test]
fn what_is_within_limits_is_read() {
    for (shape, bytes) in [
        ("15 nested components", hostile::nested_components(15)),
        ("500 siblings", hostile::sibling_components(500)),
        ("9000 custom sections", hostile::custom_sections(9000)),
        ("4 MiB of custom section", hostile::large_custom_section(4 << 20)),
        ("1000 imports", hostile::many_imports(1000)),
        ("18 doublings", hostile::doubling_tuples(18)),
        ("a name of 1024 bytes", hostile::long_name(1024)),
        ("60 lists", hostile::nested_lists(60)),
    ] {
        if let Err(unreadable) = read(&bytes) {
            panic!("{shape}: {unreadable}");
        }
    }
}

#[test]
fn a_component_cut_anywhere_shows_no_more_than_the_whole() {
    let component = components::http("hello");
    let whole = read(&component).unwrap();
    // Cut behind a section, what is left can be a component still: one that asks for less and offers less.
    let cuts = (0..component.len()).filter_map(|end| read(&component[..end]).ok());
    for cut in cuts {
        assert!(cut.imports.iter().all(|item| whole.imports.contains(item)), "{cut:?}");
        assert!(cut.exports.iter().all(|item| whole.exports.contains(item)), "{cut:?}");
    }
}

#[test]
fn messages_are_short_and_printable() {
    let name = "\u{1b}[31m\n".repeat(1000);
    let bytes = hostile::import_named(&name);
    let Err(Unreadable::Invalid { message, .. }) = read(&bytes) else { panic!("was read") };
    assert!(message.chars().count() <= Unreadable::MAX_MESSAGE_CHARS && !message.contains(char::is_control));
    assert!(message.contains("[31m"), "{message}");
}

#[tokio::test]
async fn digests_tell_worlds_apart() {
    let command = inspect(Some(components::command("a").into())).await.unwrap();
    let same = inspect(Some(components::command("b").into())).await.unwrap();
    let greedy = inspect(Some(components::greedy("a").into())).await.unwrap();
    let none = inspect(None).await.unwrap();
    assert_eq!(digest(&command), digest(&same));
    assert_ne!(digest(&command), digest(&greedy));
    assert_ne!(digest(&none), digest(&command));
    let Surface::Component(world) = &command else { panic!("was not read") };
    let json = serde_json::json!({ "imports": world.imports, "exports": world.exports });
    assert_eq!(world.digest, Digest::of(&serde_json_canonicalizer::to_vec(&json).unwrap()));
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        8 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Flip(at, byte)),
        1 => any::<prop::sample::Index>().prop_map(Mutation::Cut),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..64_usize)
            .prop_map(|(from, to, length)| Mutation::Copy(from, to, length)),
    ]
}

fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        match mutation {
            Mutation::Flip(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
            Mutation::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Mutation::Copy(from, to, length) => {
                let from = from.index(bytes.len());
                let block = bytes[from..(from + length).min(bytes.len())].to_vec();
                let to = to.index(bytes.len());
                bytes.splice(to..to, block);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A reader that panics answers `NoReader`.
    #[test]
    fn mutated_components_never_panic_the_reader(mutations in prop::collection::vec(mutation(), 1..6)) {
        let found = read(&mutate(GOOD.clone(), &mutations));
        prop_assert!(!matches!(found, Err(Unreadable::NoReader { .. } | Unreadable::TimedOut { .. })), "{found:?}");
    }

    #[test]
    fn any_bytes_behind_the_header_never_panic_the_reader(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let found = read(&[&b"\0asm\x0d\0\x01\0"[..], &tail].concat());
        prop_assert!(!matches!(found, Err(Unreadable::NoReader { .. } | Unreadable::TimedOut { .. })), "{found:?}");
    }
}

static GOOD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| components::http("hello"));
