//! Which imports a component's bytes really have.

use wasmparser::{Chunk, Encoding, Parser, Payload, ValidPayload, Validator, WasmFeatures};

/// The largest component that is read, in bytes: 256 MiB (design, "Limits").
pub const MAX_COMPONENT_BYTES: usize = 256 << 20;
/// The most imports a component may have at its top level (facts of the 0.263 pass: far above any real world).
pub const MAX_IMPORTS: usize = 1000;
/// How deep modules and components may nest.
pub const MAX_DEPTH: usize = 16;
/// The most sections that are walked, nested ones included.
pub const MAX_SECTIONS: usize = 10_000;
/// The stack of the thread that reads, in bytes: 16 MiB, for type declarations may nest.
pub const STACK_BYTES: usize = 16 << 20;

/// Why bytes are no component this host reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Unreadable {
    /// What the bytes are, or where reading stopped.
    pub detail: String,
}

impl Unreadable {
    fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into() }
    }
}

/// The names of the top-level imports, sorted.
///
/// It runs before wasmtime sees the bytes, on a thread with [`STACK_BYTES`] of stack: nested instance types of 2.4 KB
/// overflow wasmtime 48's own reader, which ends the process.
///
/// # Errors
/// [`Unreadable`] when the bytes are no valid component within the limits.
pub fn of(bytes: &[u8]) -> Result<Vec<String>, Unreadable> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("imports".into()).stack_size(STACK_BYTES);
        let reading =
            thread.spawn_scoped(scope, || read(bytes)).map_err(|_| Unreadable::new("no thread to read it on"))?;
        reading.join().unwrap_or_else(|_| Err(Unreadable::new("the reader panicked")))
    })
}

fn read(bytes: &[u8]) -> Result<Vec<String>, Unreadable> {
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(Unreadable::new(format!("larger than {MAX_COMPONENT_BYTES} bytes")));
    }
    let mut validator = Validator::new_with_features(features());
    let (mut imports, mut depth, mut sections) = (Vec::new(), 0_usize, 0_usize);
    let (mut parents, mut parser, mut rest) = (Vec::new(), Parser::new(0), bytes);
    let broken = |error: wasmparser::BinaryReaderError| Unreadable::new(error.to_string());
    loop {
        sections += 1;
        if sections > MAX_SECTIONS {
            return Err(Unreadable::new(format!("more than {MAX_SECTIONS} sections")));
        }
        let (payload, consumed) = match parser.parse(rest, true).map_err(broken)? {
            Chunk::NeedMoreData(_) => return Err(Unreadable::new("truncated")),
            Chunk::Parsed { payload, consumed } => (payload, consumed),
        };
        if let Payload::Version { encoding: Encoding::Module, .. } = &payload
            && depth == 0
        {
            return Err(Unreadable::new("a core module, not a component"));
        }
        match validator.payload(&payload).map_err(broken)? {
            ValidPayload::Parser(_) => depth += 1,
            ValidPayload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Unreadable::new(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        rest = rest.get(consumed..).ok_or_else(|| Unreadable::new("truncated"))?;
        match payload {
            Payload::ComponentImportSection(section) if parents.is_empty() => {
                for import in section {
                    imports.push(import.map_err(broken)?.name.name.to_owned());
                    if imports.len() > MAX_IMPORTS {
                        return Err(Unreadable::new(format!("more than {MAX_IMPORTS} imports")));
                    }
                }
            }
            Payload::ModuleSection { parser: inner, .. } | Payload::ComponentSection { parser: inner, .. } => {
                parents.push(std::mem::replace(&mut parser, inner));
            }
            Payload::End(_) => match parents.pop() {
                Some(parent) => parser = parent,
                None if rest.is_empty() => break,
                None => return Err(Unreadable::new("bytes behind the component's end")),
            },
            _ => {}
        }
    }
    imports.sort();
    Ok(imports)
}

/// The proposals that the host's engine takes; one it does not take would be read here and refused there.
fn features() -> WasmFeatures {
    let mut features = WasmFeatures::default();
    features.set(WasmFeatures::COMPONENT_MODEL, true);
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_bytes_sorted() {
        let component = wat::parse_str(
            r#"(component (import "wasi:b/c@0.2.0" (instance)) (import "a:a/a" (instance)) (component (import "x" (func))))"#,
        )
        .unwrap();
        assert_eq!(of(&component).unwrap(), ["a:a/a", "wasi:b/c@0.2.0"]);
    }

    #[test]
    fn refuses_what_is_no_component() {
        for bytes in
            [b"".as_slice(), b"\0asm\x01\0\0\0", b"\0asm\x0c\0\x01\0", b"\x1f\x8b\x08", b"\0asm\x0d\0\x01\0\x0a\xff"]
        {
            assert!(of(bytes).is_err(), "{bytes:?} was read");
        }
        assert_eq!(of(b"\0asm\x0d\0\x01\0").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn nested_instance_types_end_in_an_error_and_not_in_the_process() {
        let mut types = vec![1];
        for _ in 0..3000 {
            types.extend([0x42, 0x01, 0x01]);
        }
        types.extend([0x42, 0x00]);
        let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
        let size = u32::try_from(types.len()).unwrap();
        bytes.extend([(size & 0x7f) as u8 | 0x80, (size >> 7) as u8]);
        bytes.extend(types);
        bytes.extend([0x0a, 0x06, 0x01, 0x00, 0x01, 0x66, 0x05, 0x00]);
        assert!(of(&bytes).is_err());
    }

    #[test]
    fn imports_end_at_the_limit() {
        let component = |count: usize| {
            let text = (0..count).map(|n| format!("(import \"a:b/i{n}\" (instance))")).collect::<String>();
            wat::parse_str(format!("(component {text})")).unwrap()
        };
        assert_eq!(of(&component(MAX_IMPORTS)).unwrap().len(), MAX_IMPORTS);
        assert!(of(&component(MAX_IMPORTS + 1)).is_err());
    }
}
