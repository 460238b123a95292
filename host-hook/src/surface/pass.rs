//! The one pass over the bytes.

use std::time::Instant;

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::types::TypesRef;
use wasmparser::{Chunk, Encoding, Parser, Payload, Validator, WasmFeatures};

use super::{
    BUDGET, Found, Item, Kind, MAX_BYTES, MAX_COMPONENT_SECTION_BYTES, MAX_CORE_SECTION_BYTES, MAX_CUSTOM_BYTES,
    MAX_EXTERNS, MAX_LISTING_BYTES, MAX_NAME_BYTES, MAX_NESTED_EXTERNS, MAX_NESTING, MAX_SECTIONS, Unreadable,
    piecewise,
};

/// Reads `bytes` on the calling thread, which must have [`super::STACK_BYTES`] of stack, until `deadline`.
pub(super) fn read(bytes: &[u8], deadline: Instant) -> Result<Found, Unreadable> {
    check_header(bytes)?;
    within("bytes", bytes.len() as u64, MAX_BYTES)?;
    let mut pass = Pass::new(deadline);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut rest = bytes;
    loop {
        let (payload, consumed) = match parser.parse(rest, true)? {
            Chunk::Parsed { payload, consumed } => (payload, consumed),
            Chunk::NeedMoreData(_) => unreachable!("broken invariant: the parser was told that there is no more data"),
        };
        pass.check(&payload)?;
        piecewise::validate(&mut pass.validator, &payload, bytes, FEATURES, || look_at_clock(deadline))?;
        pass.collect(&payload)?;
        match payload {
            Payload::ModuleSection { parser: inner, .. } => pass.enter(&mut parser, inner, Encoding::Module),
            Payload::ComponentSection { parser: inner, .. } => pass.enter(&mut parser, inner, Encoding::Component),
            Payload::End(_) => match pass.parents.pop() {
                Some((parent, _)) => parser = parent,
                None => return pass.finish(),
            },
            _ => {}
        }
        rest = rest.get(consumed..).expect("broken invariant: the parser consumes what it was given");
    }
}

/// The proposals that wasmtime 48 runs by default, as its host is built: `Config::features` starts from WebAssembly 3.0, drops
/// threads and component-model async with its cargo features `threads` and `component-model-async`, which we leave out, and
/// adds the component model. All of the component model's unfinished parts are off: values, `implements`, maps, 64 bit.
///
/// A host with fewer features refuses later, at compilation. One with more needs a change here first.
const FEATURES: WasmFeatures =
    WasmFeatures::WASM3.difference(WasmFeatures::THREADS).union(WasmFeatures::COMPONENT_MODEL);

/// Function bodies between two looks at the clock; everything else looks at it each time.
const BODIES_PER_LOOK: usize = 1024;

/// Only `\0asm`, version 13, layer 1 goes on (Component Model, Binary.md, "preamble").
fn check_header(bytes: &[u8]) -> Result<(), Unreadable> {
    if bytes.is_empty() {
        return Err(Unreadable::Empty);
    }
    let Some((b"\0asm", &[v0, v1, l0, l1])) = bytes.first_chunk::<8>().and_then(|header| {
        let (magic, rest) = header.split_first_chunk::<4>()?;
        Some((magic, rest.first_chunk::<4>()?))
    }) else {
        return Err(Unreadable::NotWasm { first_bytes: hex::encode(bytes.get(..8).unwrap_or(bytes)) });
    };
    match (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([l0, l1])) {
        (13, 1) => Ok(()),
        (1, 0) => Err(Unreadable::CoreModule),
        (version @ ..13, 1) => Err(Unreadable::PreStandardComponent { version }),
        (version, layer) => Err(Unreadable::UnknownHeader { version, layer }),
    }
}

fn look_at_clock(deadline: Instant) -> Result<(), Unreadable> {
    if Instant::now() >= deadline {
        return Err(Unreadable::TimedOut { budget_ms: BUDGET.as_millis() as u64 });
    }
    Ok(())
}

fn within(what: &'static str, count: u64, limit: u64) -> Result<(), Unreadable> {
    if count > limit { Err(Unreadable::Limit { what, limit }) } else { Ok(()) }
}

struct Pass {
    validator: Validator,
    deadline: Instant,
    /// The parsers to go back to, with what each stepped into.
    parents: Vec<(Parser, Encoding)>,
    sections: usize,
    bodies: usize,
    custom_bytes: u64,
    listing_bytes: usize,
    /// Whether every export so far is the type of a component, as in a WIT package.
    only_component_types: bool,
    found: Found,
}

impl Pass {
    fn new(deadline: Instant) -> Self {
        Self {
            validator: Validator::new_with_features(FEATURES),
            deadline,
            parents: Vec::new(),
            sections: 0,
            bodies: 0,
            custom_bytes: 0,
            listing_bytes: 0,
            only_component_types: true,
            found: Found::default(),
        }
    }

    fn enter(&mut self, parser: &mut Parser, inner: Parser, encoding: Encoding) {
        self.parents.push((std::mem::replace(parser, inner), encoding));
    }

    /// Components that are open, the outermost counted.
    fn nesting(&self) -> usize {
        1 + self.parents.iter().filter(|(_, encoding)| *encoding == Encoding::Component).count()
    }

    fn in_core_module(&self) -> bool {
        self.parents.last().is_some_and(|(_, encoding)| *encoding == Encoding::Module)
    }

    /// Holds the limits, before the validator does any work on what is past them.
    fn check(&mut self, payload: &Payload<'_>) -> Result<(), Unreadable> {
        match payload {
            Payload::CodeSectionEntry(_) => {
                self.bodies += 1;
                if !self.bodies.is_multiple_of(BODIES_PER_LOOK) {
                    return Ok(());
                }
            }
            Payload::Version { .. } | Payload::End(_) => {}
            _ => {
                self.sections += 1;
                within("sections", self.sections as u64, MAX_SECTIONS as u64)?;
            }
        }
        look_at_clock(self.deadline)?;
        match payload {
            Payload::ComponentSection { .. } => {
                within("components one inside the other", self.nesting() as u64 + 1, MAX_NESTING as u64)
            }
            Payload::ComponentImportSection(section) => self.check_externs(section.count()),
            Payload::ComponentExportSection(section) => self.check_externs(section.count()),
            Payload::CustomSection(section) if !self.in_core_module() => {
                let range = section.range();
                self.custom_bytes += range.end - range.start;
                within("bytes of custom sections", self.custom_bytes, MAX_CUSTOM_BYTES)
            }
            _ => Ok(()),
        }?;
        self.check_section_size(payload)
    }

    fn check_externs(&self, count: u32) -> Result<(), Unreadable> {
        if self.nesting() > 1 {
            return within("imports or exports in one section", count.into(), MAX_NESTED_EXTERNS as u64);
        }
        let before = self.found.imports.len() + self.found.exports.len();
        within("imports and exports", before as u64 + u64::from(count), MAX_EXTERNS as u64)
    }

    /// A section is parsed, and a core module's validated, between two looks at the clock: its size bounds that time.
    fn check_section_size(&self, payload: &Payload<'_>) -> Result<(), Unreadable> {
        let Some((_, range)) = payload.as_section() else { return Ok(()) };
        let size = range.end.saturating_sub(range.start);
        match payload {
            Payload::CustomSection(_)
            | Payload::CodeSectionStart { .. }
            | Payload::DataSection(_)
            | Payload::ModuleSection { .. }
            | Payload::ComponentSection { .. } => Ok(()),
            _ if self.in_core_module() => within("bytes in one section of a core module", size, MAX_CORE_SECTION_BYTES),
            _ => within("bytes in one section of a component", size, MAX_COMPONENT_SECTION_BYTES),
        }
    }

    /// Takes down what the outermost component imports and exports, in the words of its validated types.
    fn collect(&mut self, payload: &Payload<'_>) -> Result<(), Unreadable> {
        if self.nesting() > 1 {
            return Ok(());
        }
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let name = import?.name.name;
                    let types = self.validator.types(0).expect("broken invariant: a component is open");
                    let entity = types.component_item_for_import(name).map(|item| item.ty);
                    let entity = entity.expect("broken invariant: a validated import has a type");
                    let item = describe(types, name, entity, &mut self.listing_bytes)?;
                    self.found.imports.push(item);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let name = export?.name.name;
                    let types = self.validator.types(0).expect("broken invariant: a component is open");
                    let entity = types.component_item_for_export(name).map(|item| item.ty);
                    let entity = entity.expect("broken invariant: a validated export has a type");
                    self.only_component_types &=
                        matches!(entity, ComponentEntityType::Type { created: ComponentAnyTypeId::Component(_), .. });
                    let item = describe(types, name, entity, &mut self.listing_bytes)?;
                    self.found.exports.push(item);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Found, Unreadable> {
        if self.found.imports.is_empty() && !self.found.exports.is_empty() && self.only_component_types {
            return Err(Unreadable::WitPackage);
        }
        self.found.imports.sort();
        self.found.exports.sort();
        Ok(self.found)
    }
}

/// One import or export; its text is added to `listing_bytes`.
fn describe(
    types: TypesRef<'_>,
    name: &str,
    entity: ComponentEntityType,
    listing_bytes: &mut usize,
) -> Result<Item, Unreadable> {
    let mut keep = |text: String| {
        within("bytes in one name", text.len() as u64, MAX_NAME_BYTES as u64)?;
        *listing_bytes += text.len();
        within("bytes of names", *listing_bytes as u64, MAX_LISTING_BYTES as u64).map(|()| text)
    };
    let name = keep(name.to_owned())?;
    let (kind, mut items) = match entity {
        ComponentEntityType::Instance(id) => {
            let exports = types[id].exports.iter();
            let items: Result<Vec<String>, Unreadable> =
                exports.map(|(name, item)| keep(format!("{} {name}", word(item.ty)))).collect();
            (Kind::Instance, items?)
        }
        ComponentEntityType::Func(_) => (Kind::Func, Vec::new()),
        ComponentEntityType::Type { .. } => (Kind::Type, Vec::new()),
        ComponentEntityType::Module(_) => (Kind::CoreModule, Vec::new()),
        ComponentEntityType::Component(_) => (Kind::Component, Vec::new()),
        ComponentEntityType::Value(_) => (Kind::Value, Vec::new()),
    };
    items.sort();
    Ok(Item { name, kind, items })
}

fn word(entity: ComponentEntityType) -> &'static str {
    match entity {
        ComponentEntityType::Instance(_) => "instance",
        ComponentEntityType::Func(_) => "func",
        ComponentEntityType::Type { referenced: ComponentAnyTypeId::Resource(_), .. } => "resource",
        ComponentEntityType::Type { .. } => "type",
        ComponentEntityType::Module(_) => "core-module",
        ComponentEntityType::Component(_) => "component",
        ComponentEntityType::Value(_) => "value",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn leb128(mut number: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while number > 0x7f {
            out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
        out
    }

    fn section(id: u8, body: &[u8]) -> Vec<u8> {
        [&[id][..], &leb128(body.len()), body].concat()
    }

    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [&b"\0asm\x0d\0\x01\0"[..], &sections.concat()].concat()
    }

    fn core_module(sections: &[Vec<u8>]) -> Vec<u8> {
        section(1, &[&b"\0asm\x01\0\0\0"[..], &sections.concat()].concat())
    }

    /// Function imports with names of `name_bytes` bytes each, of the function type 0.
    fn imports(count: usize, name_bytes: usize) -> Vec<u8> {
        let mut body = leb128(count);
        for index in 0..count {
            body.push(0);
            body.extend(leb128(name_bytes));
            body.extend(
                format!("{index:f>name_bytes$}").bytes().map(|b| if b.is_ascii_digit() { b - b'0' + b'p' } else { b }),
            );
            body.extend([1, 0]);
        }
        section(10, &body)
    }

    /// One type: a function without parameters or result.
    fn function_type() -> Vec<u8> {
        section(7, &[1, 0x40, 0, 1, 0])
    }

    fn reading(bytes: &[u8]) -> Result<Found, Unreadable> {
        read(bytes, Instant::now() + Duration::from_secs(60))
    }

    fn limit(what: &'static str, limit: u64) -> Result<Found, Unreadable> {
        Err(Unreadable::Limit { what, limit })
    }

    #[test]
    fn an_empty_component_asks_for_nothing() {
        assert_eq!(reading(&component(&[])), Ok(Found::default()));
    }

    #[test]
    fn sections_are_counted_wherever_they_are() {
        let custom = section(0, b"\x01x");
        let inner = |count: usize| section(4, &component(&[custom.repeat(count)]));
        assert!(reading(&component(&[custom.repeat(MAX_SECTIONS)])).is_ok());
        assert!(reading(&component(&[inner(5000), custom.repeat(MAX_SECTIONS - 5001)])).is_ok());
        let refused = limit("sections", MAX_SECTIONS as u64);
        assert_eq!(reading(&component(&[custom.repeat(MAX_SECTIONS + 1)])), refused);
        assert_eq!(reading(&component(&[inner(5000), custom.repeat(MAX_SECTIONS - 5000)])), refused);
    }

    #[test]
    fn imports_and_exports_are_counted_together() {
        let with = |imported: usize, exported: &[&str]| {
            let mut body = leb128(exported.len());
            for name in exported {
                body.extend([&[0][..], &leb128(name.len()), name.as_bytes(), &[1, 0, 0]].concat());
            }
            component(&[function_type(), imports(imported, 4), section(11, &body)])
        };
        assert!(
            reading(&with(MAX_EXTERNS - 1, &["x"])).is_ok_and(|it| it.imports.len() == 999 && it.exports.len() == 1)
        );
        assert_eq!(reading(&with(MAX_EXTERNS - 1, &["x", "y"])), limit("imports and exports", MAX_EXTERNS as u64));
    }

    #[test]
    fn several_import_sections_are_counted_together() {
        let halves = |second| component(&[function_type(), imports(500, 4), imports(second, 5)]);
        assert!(reading(&halves(500)).is_ok());
        assert_eq!(reading(&halves(501)), limit("imports and exports", MAX_EXTERNS as u64));
    }

    #[test]
    fn nested_imports_have_a_limit_of_their_own() {
        let nested = |count| component(&[section(4, &component(&[function_type(), imports(count, 5)]))]);
        assert_eq!(reading(&nested(MAX_NESTED_EXTERNS)), Ok(Found::default()));
        let refused = limit("imports or exports in one section", MAX_NESTED_EXTERNS as u64);
        assert_eq!(reading(&nested(MAX_NESTED_EXTERNS + 1)), refused);
    }

    #[test]
    fn names_together_are_limited() {
        let of = |count| component(&[function_type(), imports(count, MAX_NAME_BYTES)]);
        assert!(reading(&of(MAX_LISTING_BYTES / MAX_NAME_BYTES)).is_ok());
        let refused = limit("bytes of names", MAX_LISTING_BYTES as u64);
        assert_eq!(reading(&of(MAX_LISTING_BYTES / MAX_NAME_BYTES + 1)), refused);
        let long = component(&[function_type(), imports(1, MAX_NAME_BYTES + 1)]);
        assert_eq!(reading(&long), limit("bytes in one name", MAX_NAME_BYTES as u64));
    }

    #[test]
    fn custom_sections_of_core_modules_are_stepped_over() {
        let custom = |size: u64| section(0, &[&b"\x01x"[..], &vec![0; size as usize - 2]].concat());
        assert!(reading(&component(&[custom(MAX_CUSTOM_BYTES)])).is_ok());
        let refused = limit("bytes of custom sections", MAX_CUSTOM_BYTES);
        assert_eq!(reading(&component(&[custom(MAX_CUSTOM_BYTES), custom(2)])), refused);
        assert!(reading(&component(&[core_module(&[custom(MAX_CUSTOM_BYTES * 2)])])).is_ok());
    }

    #[test]
    fn sections_of_a_component_are_limited_in_size() {
        // `count` times the type `list<u8>`, in a section whose count takes three bytes.
        let types =
            |count: usize| component(&[section(7, &[&leb128(count)[..], &[0x70, 0x7d].repeat(count)].concat())]);
        let count = (MAX_COMPONENT_SECTION_BYTES as usize - 3) / 2;
        assert!(reading(&types(count)).is_ok());
        let refused = limit("bytes in one section of a component", MAX_COMPONENT_SECTION_BYTES);
        assert_eq!(reading(&types(count + 1)), refused);
    }

    #[test]
    fn sections_of_a_core_module_are_limited_in_size() {
        // One passive element segment of `count` functions 0, behind one function import.
        let elements = |count: usize| {
            let count_bytes = leb128(count);
            let body = [&[1, 1, 0][..], &count_bytes, &vec![0; count]].concat();
            let sections = [section(1, &[1, 0x60, 0, 0]), section(2, &[1, 0, 0, 0, 0]), section(9, &body)];
            component(&[core_module(&sections)])
        };
        let count = MAX_CORE_SECTION_BYTES as usize - 3 - 4;
        assert!(reading(&elements(count)).is_ok());
        let refused = limit("bytes in one section of a core module", MAX_CORE_SECTION_BYTES);
        assert_eq!(reading(&elements(count + 1)), refused);
    }

    #[test]
    fn the_size_limit_comes_before_any_reading() {
        let mut bytes = component(&[]);
        bytes.resize(MAX_BYTES as usize, 0xff);
        assert!(matches!(reading(&bytes), Err(Unreadable::Invalid { offset: 8, .. })));
        bytes.push(0);
        assert_eq!(reading(&bytes), limit("bytes", MAX_BYTES));
    }

    #[test]
    fn the_deadline_is_held() {
        let late = read(&component(&[]), Instant::now());
        assert_eq!(late, Err(Unreadable::TimedOut { budget_ms: 2000 }));
    }

    #[test]
    fn sections_in_pieces_are_read_to_their_end() {
        let ended = section(7, &[1, 0x40, 0, 1, 0, 0]);
        let Err(Unreadable::Invalid { offset, message }) = reading(&component(&[ended])) else { panic!("was read") };
        assert_eq!(
            (offset, message.as_str()),
            (15, "section size mismatch: unexpected data at the end of the section")
        );
    }

    #[test]
    fn offsets_are_those_of_the_file() {
        // The second import is of a type that is not there; its reference stands at byte 8 + 7 + 2 + 1 + 5 + 3.
        let body = [2, 0, 1, b'f', 1, 0, 0, 1, b'g', 1, 9];
        let broken = component(&[function_type(), section(10, &body)]);
        let Err(Unreadable::Invalid { offset, message }) = reading(&broken) else { panic!("was read") };
        assert_eq!((offset, message.as_str()), (23, "unknown type 9: type index out of bounds"));
    }
}
