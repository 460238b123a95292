//! Bytes that want to hurt whoever reads them, each the smallest of its shape.

use super::binary::{
    COMPONENT_HEADER, COMPONENT_SECTION, CUSTOM_SECTION, IMPORT_SECTION, TYPE_SECTION, leb128, section,
};

/// Instance types one inside the other; 800 of them, 2.4 KB, abort a process that runs wasmtime 48 on a 2 MiB stack.
pub fn nested_instance_types(depth: usize) -> Vec<u8> {
    let types = [&[1][..], &[0x42, 1, 1].repeat(depth), &[0x42, 0]].concat();
    let import = section(IMPORT_SECTION, &[1, 0, 1, b'f', 5, 0]);
    [&COMPONENT_HEADER[..], &section(TYPE_SECTION, &types), &import].concat()
}

/// Empty components one inside the other, `depth` below the outermost; 5000 of them, 58 KB, keep old decoders busy for 1 s.
pub fn nested_components(depth: usize) -> Vec<u8> {
    (0..depth).fold(COMPONENT_HEADER.to_vec(), |inner, _| {
        [&COMPONENT_HEADER[..], &section(COMPONENT_SECTION, &inner)].concat()
    })
}

/// `count` empty components beside each other.
pub fn sibling_components(count: usize) -> Vec<u8> {
    [&COMPONENT_HEADER[..], &section(COMPONENT_SECTION, &COMPONENT_HEADER).repeat(count)].concat()
}

/// `count` custom sections and nothing else; `wit_component::decode` takes a million of them for a component without imports.
pub fn custom_sections(count: usize) -> Vec<u8> {
    [&COMPONENT_HEADER[..], &section(CUSTOM_SECTION, b"\x01x").repeat(count)].concat()
}

/// One custom section of `size_bytes` bytes.
pub fn large_custom_section(size_bytes: usize) -> Vec<u8> {
    let body = [b"\x01x", &vec![0; size_bytes.saturating_sub(2)][..]].concat();
    [&COMPONENT_HEADER[..], &section(CUSTOM_SECTION, &body)].concat()
}

/// `count` imported functions `f0`, `f1`, …
pub fn many_imports(count: usize) -> Vec<u8> {
    let mut body = leb128(count);
    for index in 0..count {
        let name = format!("f{index}");
        body.push(0);
        body.extend(leb128(name.len()));
        body.extend(name.bytes());
        body.extend([1, 0]);
    }
    let types = section(TYPE_SECTION, &[1, 0x40, 0, 1, 0]);
    [&COMPONENT_HEADER[..], &types, &section(IMPORT_SECTION, &body)].concat()
}

/// A function import whose name is `size_bytes` bytes long.
pub fn long_name(size_bytes: usize) -> Vec<u8> {
    import_named(&"f".repeat(size_bytes))
}

/// A function import of any name, allowed or not.
pub fn import_named(name: &str) -> Vec<u8> {
    let body = [&[1, 0][..], &leb128(name.len()), name.as_bytes(), &[1, 0]].concat();
    let types = section(TYPE_SECTION, &[1, 0x40, 0, 1, 0]);
    [&COMPONENT_HEADER[..], &types, &section(IMPORT_SECTION, &body)].concat()
}

/// A tuple of two tuples of two tuples, `steps` deep (at most 60): its size doubles at each step.
pub fn doubling_tuples(steps: u8) -> Vec<u8> {
    assert!(steps <= 60, "type indices past 63 take more than one byte");
    let mut types = vec![steps + 2, 0x79];
    for index in 0..steps {
        types.extend([0x6f, 2, index, index]);
    }
    types.extend([0x40, 1, 1, b'a', steps, 1, 0]);
    let import = section(IMPORT_SECTION, &[1, 0, 1, b'f', 1, steps + 1]);
    [&COMPONENT_HEADER[..], &section(TYPE_SECTION, &types), &import].concat()
}

/// Lists of lists, `depth` deep (at most 60 here).
pub fn nested_lists(depth: u8) -> Vec<u8> {
    assert!(depth <= 60, "type indices past 63 take more than one byte");
    let mut types = vec![depth + 1, 0x79];
    for index in 0..depth {
        types.extend([0x70, index]);
    }
    [&COMPONENT_HEADER[..], &section(TYPE_SECTION, &types)].concat()
}

/// An empty core module.
pub fn core_module() -> Vec<u8> {
    b"\0asm\x01\0\0\0".to_vec()
}

/// The header of a component from before the standard, version 12 on layer 1, as toolchains of 2023 wrote it.
pub fn pre_standard_layer() -> Vec<u8> {
    b"\0asm\x0c\0\x01\0".to_vec()
}

/// WIT definitions encoded as a component: `wit_component::decode` reads it, nothing in it can run.
pub fn wit_package() -> Vec<u8> {
    let (resolve, package) = super::wasi::resolve("package acme:shop@1.0.0; interface cart { total: func() -> u32; }")
        .expect("broken invariant: the WIT text in here is right");
    wit_component::encode(&resolve, package, false).expect("broken invariant: a resolved package encodes")
}

/// A section that says it is 4 GiB long.
pub fn endless_section() -> Vec<u8> {
    [&COMPONENT_HEADER[..], &[TYPE_SECTION, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat()
}

/// `component` cut in the middle.
pub fn truncated(mut component: Vec<u8>) -> Vec<u8> {
    component.truncate(component.len() / 2);
    component
}

/// A component that holds another which imports `wasi:sockets/tcp@0.2.12`, instantiated without giving it anything.
pub fn unsatisfied_nested_import() -> Vec<u8> {
    wat::parse_str(
        r#"(component
            (component $inner (import "wasi:sockets/tcp@0.2.12" (instance)))
            (instance (instantiate $inner)))"#,
    )
    .expect("broken invariant: the text in here is right")
}

/// A component whose only import is of `kind`, given in component text: `(core module)`, `(component)`.
pub fn import_of(kind: &str) -> Vec<u8> {
    wat::parse_str(format!(r#"(component (import "it" {kind}))"#)).unwrap_or_else(|error| panic!("`{kind}`: {error}"))
}

/// `count` instantiations of one component, each with an instance of 900 functions to compare: 4000 of them, 100 KB, would
/// keep a validator busy for half a minute.
pub fn many_instantiations(count: usize) -> Vec<u8> {
    let function =
        |index| format!(r#"(export "f{index}" (func (param "a" (tuple (own $r) (own $r) (own $r) (own $r)))))"#);
    let functions: String = (0..900).map(function).collect();
    let instance = format!(r#"(export "r" (type $r (sub resource))) {functions}"#);
    let instantiations = r#"(instance (instantiate $inner (with "x" (instance $outer))))"#.repeat(count);
    wat::parse_str(format!(
        r#"(component
            (component $inner (import "x" (instance $i {instance})) (export "y" (instance $i)))
            (import "x" (instance $outer {instance}))
            {instantiations})"#
    ))
    .expect("broken invariant: the text in here is right")
}

/// A component that needs a feature hosts do not run, given in component text.
pub fn with_feature(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}
