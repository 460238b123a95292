//! A component's sections go to the validator item by item, with a look at the clock before each.
//!
//! A section as a whole is too much at once: 4000 instantiations of one component, 121 KB, kept the validator busy for 43 s
//! (wasmparser 0.263, measured). Sections of a component may be split anywhere (Component Model, Binary.md: they repeat in any
//! order), so a section of one item after the other means the same.

use std::ops::Range;

use wasmparser::{BinaryReader, FromReader, Payload, SectionLimited, Validator, WasmFeatures};

use super::Unreadable;

/// Validates `payload`, which was parsed from `bytes`, unless `look_at_clock` stops it.
pub(super) fn validate(
    validator: &mut Validator,
    payload: &Payload<'_>,
    bytes: &[u8],
    features: WasmFeatures,
    look_at_clock: impl Fn() -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    macro_rules! item_by_item {
        ($section:expr, $validate:ident) => {{
            let mut alone = Vec::new();
            for item in items($section)? {
                look_at_clock()?;
                alone.clear();
                alone.push(1); // one item
                let (start, end) = (item.start as usize, item.end as usize);
                alone.extend(bytes.get(start..end).expect("broken invariant: items lie within the bytes"));
                let reader = BinaryReader::new_features(&alone, item.start - 1, features);
                validator.$validate(&SectionLimited::new(reader)?)?;
            }
        }};
    }
    match payload {
        Payload::InstanceSection(section) => item_by_item!(section, instance_section),
        Payload::CoreTypeSection(section) => item_by_item!(section, core_type_section),
        Payload::ComponentInstanceSection(section) => item_by_item!(section, component_instance_section),
        Payload::ComponentAliasSection(section) => item_by_item!(section, component_alias_section),
        Payload::ComponentTypeSection(section) => item_by_item!(section, component_type_section),
        Payload::ComponentCanonicalSection(section) => item_by_item!(section, component_canonical_section),
        Payload::ComponentImportSection(section) => item_by_item!(section, component_import_section),
        Payload::ComponentExportSection(section) => item_by_item!(section, component_export_section),
        _ => drop(validator.payload(payload)?),
    }
    Ok(())
}

/// Where each item of a section stands in the file; errors where the section does not parse to its very end.
fn items<'a, T: FromReader<'a>>(section: &SectionLimited<'a, T>) -> Result<Vec<Range<u64>>, Unreadable> {
    let mut starts = Vec::new();
    for item in section.clone().into_iter_with_offsets() {
        starts.push(item?.0);
    }
    let ends = starts.iter().skip(1).copied().chain([section.range().end]);
    Ok(starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect())
}
