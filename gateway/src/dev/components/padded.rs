//! Components as large as those of real toolchains.

use super::binary::{CORE_MODULE_SECTION, MODULE_HEADER, leb128_of_five_bytes};

/// `component` with a core module added that nothing instantiates, so that it is exactly `size_bytes` long: half of that is
/// functions of about 1 KB, half is data, as in the components of JavaScript and Python toolchains.
///
/// It does what it did before. A host compiles the functions all the same.
///
/// # Panics
/// If `component` is not at least 4 KiB smaller than `size_bytes`.
pub fn padded(mut component: Vec<u8>, size_bytes: usize) -> Vec<u8> {
    let room = size_bytes.checked_sub(component.len()).filter(|room| *room >= 4096);
    let room = room.unwrap_or_else(|| panic!("{} bytes do not fit {size_bytes} with a module", component.len()));
    let module = module(room - SECTION_HEAD_BYTES);
    component.push(CORE_MODULE_SECTION);
    component.extend(leb128_of_five_bytes(module.len()));
    component.extend(module);
    debug_assert_eq!(component.len(), size_bytes, "broken invariant: sizes are written in five bytes");
    component
}

/// A valid core module of exactly `size_bytes`.
fn module(size_bytes: usize) -> Vec<u8> {
    let body = function_body();
    let functions = size_bytes / 2 / body.len();
    let mut module = MODULE_HEADER.to_vec();
    module.extend([1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f]); // one type: (func (param i32) (result i32))
    push_section(&mut module, 3, functions, &vec![0; functions]);
    module.extend([5, 3, 1, 0, 1]); // one memory of one page
    push_section(&mut module, 10, functions, &body.repeat(functions));
    let data = size_bytes - module.len() - SECTION_HEAD_BYTES - COUNT_BYTES - DATA_HEAD_BYTES;
    let mut segment = vec![1]; // passive: it goes nowhere
    segment.extend(leb128_of_five_bytes(data));
    segment.extend((0..data).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
    push_section(&mut module, 11, 1, &segment);
    module
}

/// A function of 1 KB that adds 204 constants to its argument.
fn function_body() -> Vec<u8> {
    let mut code = vec![0, 0x20, 0]; // no locals; local.get 0
    for step in 0..204_u8 {
        code.extend([0x41, step | 0x80, 0x01, 0x6a]); // i32.const; i32.add
        code.push(0x01); // nop
    }
    code.push(0x0b);
    let mut body = leb128_of_five_bytes(code.len()).to_vec();
    body.extend(code);
    body
}

fn push_section(module: &mut Vec<u8>, id: u8, count: usize, items: &[u8]) {
    module.push(id);
    module.extend(leb128_of_five_bytes(COUNT_BYTES + items.len()));
    module.extend(leb128_of_five_bytes(count));
    module.extend(items);
}

/// A section's id and size.
const SECTION_HEAD_BYTES: usize = 1 + 5;
/// The number of items in a section.
const COUNT_BYTES: usize = 5;
/// A data segment's mode and size.
const DATA_HEAD_BYTES: usize = 1 + 5;

#[cfg(test)]
mod tests {
    use wit_component::ComponentEncoder;

    use super::*;

    #[test]
    fn the_module_is_valid_down_to_its_function_bodies() {
        for size_bytes in [3000, 100_001, 1 << 20] {
            let module = module(size_bytes);
            assert_eq!(module.len(), size_bytes);
            let encoded = ComponentEncoder::default().module(&module).and_then(|it| it.validate(true).encode());
            assert!(encoded.is_ok(), "{size_bytes}: {:#}", encoded.unwrap_err());
        }
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn a_component_that_does_not_fit_panics() {
        padded(vec![0; 1000], 5000);
    }
}
