//! WIT and WAT text becomes a component.
//!
//! No wasm toolchain is needed, no binary stands in git: a component of 1 to 10 KB takes milliseconds to build. They import
//! WASI 0.2.12 and really run on wasmtime 48.

mod binary;
pub mod hostile;
mod padded;
mod wasi;

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WorldId};

pub use self::padded::padded;
pub use self::wasi::VERSION as WASI_VERSION;

/// The longest message a component can say, in bytes: the room between the message and the allocator's first byte.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// A `wasi:cli` command that prints `message` and ends well; it imports standard output and what that needs, nothing else.
///
/// # Panics
/// Past [`MAX_MESSAGE_BYTES`].
pub fn command(message: &str) -> Vec<u8> {
    build(
        "world command { import wasi:cli/stdout@0.2.12; export wasi:cli/run@0.2.12; }",
        &format!("(module {STDOUT} {} {} {})", memory(message), PRINT, run("(call $print) (i32.const 0)")),
    )
}

/// A `wasi:http` handler that answers every request with 200 and `message`.
///
/// # Panics
/// Past [`MAX_MESSAGE_BYTES`].
pub fn http(message: &str) -> Vec<u8> {
    build(
        "world web { import wasi:http/types@0.2.12; export wasi:http/incoming-handler@0.2.12; }",
        &include_str!("http.wat")
            .replace("$$MEMORY$$", &memory(message))
            .replace("$$LENGTH$$", &message.len().to_string()),
    )
}

/// A command like [`command`] that would first open a TCP socket: it imports `wasi:sockets` too.
///
/// # Panics
/// Past [`MAX_MESSAGE_BYTES`].
pub fn greedy(message: &str) -> Vec<u8> {
    let create =
        r#"(import "wasi:sockets/tcp-create-socket@0.2.12" "create-tcp-socket" (func $create (param i32 i32)))"#;
    build(
        "world greedy {
            import wasi:cli/stdout@0.2.12; import wasi:sockets/tcp-create-socket@0.2.12; export wasi:cli/run@0.2.12;
        }",
        &format!(
            "(module {create} {STDOUT} {} {} {})",
            memory(message),
            PRINT,
            run("(call $create (i32.const 0) (i32.const 64)) (call $print) (i32.const 0)")
        ),
    )
}

/// A command that never comes back: for fuel, epochs and time-outs. It imports nothing.
pub fn spinning() -> Vec<u8> {
    build(BARE, &format!("(module {} {})", memory(""), run("(loop $again (br $again)) (i32.const 0)")))
}

/// A command that grows its memory by 64 KiB until it may not, then traps. It imports nothing.
pub fn memory_hungry() -> Vec<u8> {
    let grow = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    build(BARE, &format!("(module {} {})", memory(""), run(grow)))
}

/// A command that ends with exit code `code` through `wasi:cli/exit`, its only import.
pub fn exit_code(code: u8) -> Vec<u8> {
    let import = r#"(import "wasi:cli/exit@0.2.12" "exit-with-code" (func $exit (param i32)))"#;
    build(
        "world exit { import wasi:cli/exit@0.2.12; export wasi:cli/run@0.2.12; }",
        &format!("(module {import} {} {})", memory(""), run(&format!("(call $exit (i32.const {code})) (i32.const 0)"))),
    )
}

/// Turns a core module's text into a component of `world`, one world in WIT that may use any WASI 0.2.12 package.
///
/// Core names are the legacy ones: import `"acme:calc/plain@1.0.0" "add"`, export `acme:calc/plain@1.0.0#add`. An interface
/// that the module does not import is no import of the component.
///
/// Errors say which of the two texts is wrong, or where the module misses the world.
pub fn from_text(world: &str, module: &str) -> Result<Vec<u8>> {
    let (resolve, world) = one_world(world)?;
    let module = wat::parse_str(module).context("reading the module's text")?;
    encode(module, &resolve, world)
}

/// A component of `world`, as in [`from_text`], that imports all of it; every export traps when it is called.
///
/// Errors say where the text stopped being one world in WIT.
pub fn dummy(world: &str) -> Result<Vec<u8>> {
    let (resolve, world) = one_world(world)?;
    let module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    encode(module, &resolve, world)
}

/// A custom section as it stands in a module or component.
pub fn custom_section(name: &str, data: &[u8]) -> Vec<u8> {
    let body = [&binary::leb128(name.len())[..], name.as_bytes(), data].concat();
    binary::section(binary::CUSTOM_SECTION, &body)
}

/// The section of a component that holds `binary`, a module or another component.
pub fn nested_section(binary: &[u8]) -> Vec<u8> {
    let is_module = binary.starts_with(&binary::MODULE_HEADER);
    binary::section(if is_module { binary::CORE_MODULE_SECTION } else { binary::COMPONENT_SECTION }, binary)
}

fn one_world(world: &str) -> Result<(Resolve, WorldId)> {
    let (resolve, package) = wasi::resolve(&format!("package witgate:dev;\n{world}"))?;
    let world = resolve.select_world(&[package], None).context("looking for the one world")?;
    Ok((resolve, world))
}

fn encode(mut module: Vec<u8>, resolve: &Resolve, world: WorldId) -> Result<Vec<u8>> {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false).context("adding the world")?;
    ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .context("encoding the component")
}

fn build(world: &str, module: &str) -> Vec<u8> {
    from_text(world, module).unwrap_or_else(|error| panic!("broken invariant: the texts in here build: {error:#}"))
}

/// One page of memory with `message` at 1024, and an allocator that starts over past 60,000 bytes: enough for calls
/// that keep nothing.
fn memory(message: &str) -> String {
    assert!(
        message.len() <= MAX_MESSAGE_BYTES,
        "message of {} bytes is longer than {MAX_MESSAGE_BYTES}",
        message.len()
    );
    let mut text = String::with_capacity(message.len() * 3);
    for byte in message.bytes() {
        write!(text, "\\{byte:02x}").expect("broken invariant: a string can be written to");
    }
    format!(
        r#"(memory (export "memory") 1) (data (i32.const 1024) "{text}") (global $length i32 (i32.const {}))
        (global $bump (mut i32) (i32.const 4096))
        (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $bump) (i32.const 15)) (i32.const -16)))
            (if (i32.gt_u (i32.add (local.get $at) (local.get $size)) (i32.const 60000))
                (then (local.set $at (i32.const 4096))))
            (global.set $bump (i32.add (local.get $at) (local.get $size)))
            (local.get $at))"#,
        message.len()
    )
}

fn run(body: &str) -> String {
    format!(r#"(func (export "wasi:cli/run@0.2.12#run") (result i32) {body})"#)
}

const BARE: &str = "world bare { export wasi:cli/run@0.2.12; }";

const STDOUT: &str = r#"
    (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $stdout (result i32)))
    (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))
    (import "wasi:io/streams@0.2.12" "[resource-drop]output-stream" (func $drop-stream (param i32)))"#;

/// Writes the message to standard output: one call, for it takes up to 4096 bytes.
const PRINT: &str = "
    (func $print (local $stream i32)
        (local.set $stream (call $stdout))
        (call $write (local.get $stream) (i32.const 1024) (global.get $length) (i32.const 32))
        (call $drop-stream (local.get $stream)))";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_bytes_up_to_the_limit_build() {
        for message in ["", "\"quoted\"\\\n", "grüße ✓", &"x".repeat(MAX_MESSAGE_BYTES)] {
            for component in [command(message), http(message), greedy(message)] {
                assert!(component.starts_with(b"\0asm\x0d\0\x01\0"));
                assert!(
                    component.windows(message.len().max(1)).any(|bytes| bytes == message.as_bytes())
                        || message.is_empty()
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "longer than 1024")]
    fn a_message_past_the_limit_panics() {
        command(&"x".repeat(MAX_MESSAGE_BYTES + 1));
    }

    #[test]
    fn commands_that_end_otherwise_build() {
        for component in [spinning(), memory_hungry(), exit_code(7)] {
            assert!(component.starts_with(b"\0asm\x0d\0\x01\0"));
        }
    }

    #[test]
    fn wrong_texts_are_named() {
        let said = |world, module| format!("{:#}", from_text(world, module).unwrap_err());
        assert!(said("world x { import wasi:none/such@0.2.12; }", "(module)").starts_with("reading the world"));
        assert!(said("world x {}", "(modul)").starts_with("reading the module's text"));
        assert!(said("world x { export run: func(); }", "(module)").starts_with("encoding the component"));
    }
}
