//! A case as the machine reads it, made without going through JSON text.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use regorus::Value;
use serde::ser::{self, Impossible, Serialize};

use crate::case::{Case, Surface};

/// Makes values; keeps the names of fields, which every object of a kind shares.
///
/// What it makes of a type is what regorus reads of that type's JSON: `serde_json::to_string`, then `Value::from_json_str`.
#[derive(Default)]
pub(super) struct Values {
    /// By where a name lies and how long it is: names of fields are constants of the program.
    names: HashMap<(usize, usize), Value, BuildHasherDefault<AddressHasher>>,
    /// The surfaces that were made last, newest at the end: the largest part of a case, and the same in each case of a component.
    surfaces: VecDeque<(Surface, Value)>,
    /// The surface of the case that is being made, if it is one of them.
    surface: Option<Value>,
}

impl Values {
    /// The value of `data`.
    ///
    /// # Errors
    /// [`NotJson`] for what our cases never hold: keys that are no text, floats, bytes.
    pub fn of<T: Serialize + ?Sized>(&mut self, data: &T) -> Result<Value, NotJson> {
        data.serialize(self)
    }

    /// The value of a case; its surface is taken from the last ones where it equals one of them in every part.
    ///
    /// # Errors
    /// As [`Values::of`].
    pub fn of_case(&mut self, case: &Case) -> Result<Value, NotJson> {
        let surface = match self.surfaces.iter().position(|(known, _)| *known == case.surface) {
            Some(at) => self.surfaces.remove(at),
            None => Some((case.surface.clone(), self.of(&case.surface)?)),
        };
        if let Some((known, value)) = surface {
            self.surface = Some(value.clone());
            if self.surfaces.len() == MAX_SURFACES {
                self.surfaces.pop_front();
            }
            self.surfaces.push_back((known, value));
        }
        let value = self.of(case);
        self.surface = None;
        value
    }

    fn name(&mut self, name: &'static str) -> Value {
        self.names.entry((name.as_ptr().addr(), name.len())).or_insert_with(|| name.into()).clone()
    }
}

/// Something that is no JSON.
#[derive(Debug)]
pub(super) struct NotJson(String);

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotJson {}

impl ser::Error for NotJson {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

fn no_json<T>(what: &str) -> Result<T, NotJson> {
    Err(NotJson(format!("{what} have no form in a case")))
}

/// Spreads addresses, which nobody outside chooses.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = (self.0.rotate_left(5) ^ number as u64).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl<'a> ser::Serializer for &'a mut Values {
    type Ok = Value;
    type Error = NotJson;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = Impossible<Value, NotJson>;
    type SerializeMap = Fields<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    fn serialize_bool(self, value: bool) -> Result<Value, NotJson> {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, NotJson> {
        Ok(i64::from(value).into())
    }

    fn serialize_i16(self, value: i16) -> Result<Value, NotJson> {
        Ok(i64::from(value).into())
    }

    fn serialize_i32(self, value: i32) -> Result<Value, NotJson> {
        Ok(i64::from(value).into())
    }

    fn serialize_i64(self, value: i64) -> Result<Value, NotJson> {
        Ok(value.into())
    }

    fn serialize_u8(self, value: u8) -> Result<Value, NotJson> {
        Ok(u64::from(value).into())
    }

    fn serialize_u16(self, value: u16) -> Result<Value, NotJson> {
        Ok(u64::from(value).into())
    }

    fn serialize_u32(self, value: u32) -> Result<Value, NotJson> {
        Ok(u64::from(value).into())
    }

    fn serialize_u64(self, value: u64) -> Result<Value, NotJson> {
        Ok(value.into())
    }

    fn serialize_f32(self, _: f32) -> Result<Value, NotJson> {
        no_json("floats")
    }

    fn serialize_f64(self, value: f64) -> Result<Value, NotJson> {
        // A predicate's JSON may hold one, such as a CVSS score: as regorus reads it from text.
        let text = serde_json::to_string(&value).map_err(|error| NotJson(error.to_string()))?;
        Value::from_json_str(&text).map_err(|error| NotJson(error.to_string()))
    }

    fn serialize_char(self, value: char) -> Result<Value, NotJson> {
        Ok(value.to_string().into())
    }

    fn serialize_str(self, value: &str) -> Result<Value, NotJson> {
        Ok(value.into())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Value, NotJson> {
        no_json("bytes")
    }

    fn serialize_none(self) -> Result<Value, NotJson> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, NotJson> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, NotJson> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, NotJson> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, NotJson> {
        Ok(self.name(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, NotJson> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, NotJson> {
        let name = self.name(variant);
        let value = value.serialize(self)?;
        Ok(BTreeMap::from([(name, value)]).into())
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<List<'a>, NotJson> {
        Ok(List { values: self, list: Vec::with_capacity(len.unwrap_or(0).min(MAX_RESERVED)) })
    }

    fn serialize_tuple(self, len: usize) -> Result<List<'a>, NotJson> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<List<'a>, NotJson> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<Value, NotJson>, NotJson> {
        no_json("tuples with a name")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields<'a>, NotJson> {
        Ok(Fields { values: self, fields: Vec::new(), key: None, inside: None })
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Fields<'a>, NotJson> {
        Ok(Fields { values: self, fields: Vec::with_capacity(len), key: None, inside: None })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fields<'a>, NotJson> {
        let name = self.name(variant);
        Ok(Fields { values: self, fields: Vec::with_capacity(len), key: None, inside: Some(name) })
    }
}

/// A list that is being made.
pub(super) struct List<'a> {
    values: &'a mut Values,
    list: Vec<Value>,
}

macro_rules! list {
    ($trait:ident, $method:ident) => {
        impl ser::$trait for List<'_> {
            type Ok = Value;
            type Error = NotJson;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
                self.list.push(value.serialize(&mut *self.values)?);
                Ok(())
            }

            fn end(self) -> Result<Value, NotJson> {
                Ok(self.list.into())
            }
        }
    };
}

list!(SerializeSeq, serialize_element);
list!(SerializeTuple, serialize_element);
list!(SerializeTupleStruct, serialize_field);

/// An object that is being made.
pub(super) struct Fields<'a> {
    values: &'a mut Values,
    fields: Vec<(Value, Value)>,
    key: Option<Value>,
    /// The name of the one field around it.
    inside: Option<Value>,
}

impl Fields<'_> {
    fn whole(self) -> Value {
        let value = Value::from(self.fields.into_iter().collect::<BTreeMap<_, _>>());
        match self.inside {
            Some(name) => BTreeMap::from([(name, value)]).into(),
            None => value,
        }
    }
}

impl ser::SerializeMap for Fields<'_> {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotJson> {
        match key.serialize(&mut *self.values)? {
            key @ Value::String(_) => self.key = Some(key),
            _ => return no_json("keys that are no text"),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        let Some(key) = self.key.take() else { return no_json("values without a key") };
        self.fields.push((key, value.serialize(&mut *self.values)?));
        Ok(())
    }

    fn end(self) -> Result<Value, NotJson> {
        Ok(self.whole())
    }
}

impl ser::SerializeStruct for Fields<'_> {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NotJson> {
        let made = if name == SURFACE { self.values.surface.take() } else { None };
        let name = self.values.name(name);
        let value = match made {
            Some(value) => value,
            None => value.serialize(&mut *self.values)?,
        };
        self.fields.push((name, value));
        Ok(())
    }

    fn end(self) -> Result<Value, NotJson> {
        Ok(self.whole())
    }
}

impl ser::SerializeStructVariant for Fields<'_> {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NotJson> {
        ser::SerializeStruct::serialize_field(self, name, value)
    }

    fn end(self) -> Result<Value, NotJson> {
        Ok(self.whole())
    }
}

/// The field of a case that is its surface; no other field of a case has the name.
const SURFACE: &str = "surface";
/// Surfaces that are kept, each with its value: at most as many times some hundred kilobytes for each machine.
const MAX_SURFACES: usize = 4;
/// Room that is made for a list ahead, in values; longer ones grow.
const MAX_RESERVED: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::policy::decide::attested_tests;
    use crate::policy::decide::tests::{case, native_case};

    fn read<T: Serialize>(data: &T) -> Value {
        Value::from_json_str(&serde_json::to_string(data).unwrap()).unwrap()
    }

    fn json_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|value| json!(value)),
            any::<u64>().prop_map(|value| json!(value)),
            any::<i64>().prop_map(|value| json!(value)),
            (-1e9..1e9).prop_map(|value| json!(value)),
            ".{0,8}".prop_map(|value| json!(value)),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn is_what_the_text_reads_as(value in json_value()) {
            let mut values = Values::default();
            prop_assert_eq!(values.of(&value).unwrap(), read(&value));
            prop_assert_eq!(values.of(&value).unwrap(), read(&value), "the second time as the first");
        }
    }

    #[test]
    fn a_case_is_what_its_text_reads_as() {
        let mut values = Values::default();
        let attested = attested_tests::samples().into_iter().flat_map(|sample| sample.cases);
        for case in [case(), native_case()].into_iter().chain(attested) {
            assert_eq!(values.of(&case).unwrap(), read(&case));
            assert_eq!(values.of_case(&case).unwrap(), read(&case));
        }
    }

    #[test]
    fn a_surface_is_taken_for_no_other_one() {
        let mut values = Values::default();
        let mut case = case();
        let surfaces: Vec<_> = (0..2 * MAX_SURFACES)
            .map(|number| {
                let Surface::Component(mut world) = case.surface.clone() else { panic!("no component") };
                // Whoever wrote the case may have written any digest, and the same one.
                world.imports[0].items.push(number.to_string());
                Surface::Component(world)
            })
            .collect();
        for surface in surfaces.iter().chain(&surfaces).chain(surfaces.iter().rev()).chain([&Surface::Unseen]) {
            case.surface = surface.clone();
            assert_eq!(values.of_case(&case).unwrap(), read(&case));
            assert!(values.surfaces.len() <= MAX_SURFACES && values.surface.is_none());
        }
    }

    #[test]
    fn what_is_no_json_is_no_value() {
        let mut values = Values::default();
        values.of(&BTreeMap::from([(1, 2)])).unwrap_err();
        values.of(&f32::MAX).unwrap_err();
        struct Bytes;
        impl Serialize for Bytes {
            fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(b"bytes")
            }
        }
        values.of(&Bytes).unwrap_err();
    }
}
