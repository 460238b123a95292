//! YAML that can be read in one way only, as the JSON that it means.
//!
//! YAML 1.2, core schema, one document; no anchors, aliases, merge keys or tags, and no key twice. What readers of YAML take in
//! different ways (`no`, `012`, `1.10`) has to be quoted: the fault says so.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, MergeKeyPolicy, Spanned};

use crate::policy::LoadError;
use crate::strict_json::MAX_DEPTH;

/// Whether a file is read as YAML.
pub(super) fn is_yaml(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".yml")
}

/// A document with where each of its values stands.
pub(super) struct Document {
    pub value: Value,
    places: BTreeMap<String, (u64, u64)>,
}

/// Reads the text of the file `name`, whose size is bounded before.
pub(super) fn parse(name: &str, text: &str) -> Result<Document, LoadError> {
    let root = serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options()).map_err(|error| {
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let detail = match &error {
            Error::Message { msg, .. } => msg.clone(),
            error => plain(&error.to_string()),
        };
        fault(name, location, &detail)
    })?;
    let mut reader = Reader { name, lines: text.lines().collect(), places: BTreeMap::new() };
    let value = reader.value(&root, String::new(), MAX_DEPTH)?;
    Ok(Document { value, places: reader.places })
}

impl Document {
    /// The same fault with its line and column: those of the deepest value on the way to its place that stands in this file.
    pub fn located(&self, error: LoadError) -> LoadError {
        let LoadError::Data { name, at, detail } = error else { return error };
        let mut known = at.as_str();
        let place = loop {
            if let Some(place) = self.places.get(known) {
                break Some(place);
            }
            match known.rfind(['.', '[']) {
                Some(end) => known = known.get(..end).unwrap_or_default(),
                None => break self.places.get(""),
            }
        };
        let quote = if detail.contains("expected a string") { "; put it into quotes if it is a text" } else { "" };
        let name = place.map_or(name.clone(), |(line, column)| format!("{name}:{line}:{column}"));
        LoadError::Data { name, at, detail: format!("{detail}{quote}") }
    }
}

/// Everything that could stand for something else is off or refused; what is left is bounded.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
            max_documents: 1,
            max_depth: MAX_DEPTH + 1,
            flow_nesting_limit: MAX_DEPTH + 1,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES + 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// Turns nodes into values, and remembers where they stood.
struct Reader<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
    places: BTreeMap<String, (u64, u64)>,
}

impl Reader<'_> {
    fn value(&mut self, node: &Spanned<Node>, at: String, levels_left: usize) -> Result<Value, LoadError> {
        let location = node.referenced;
        self.refuse_tag(location)?;
        let below = || levels_left.checked_sub(1).ok_or_else(|| self.too_deep(location));
        let value = match &node.value {
            Node::List(items) => {
                let below = below()?;
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    values.push(self.value(item, format!("{at}[{index}]"), below)?);
                }
                Value::Array(values)
            }
            Node::Map(entries) => {
                let below = below()?;
                let mut object = Map::new();
                for (key, value) in entries {
                    let place = format!("{at}{}{key}", if at.is_empty() { "" } else { "." });
                    let value = self.value(value, place, below)?;
                    if object.insert(key.clone(), value).is_some() {
                        return Err(fault(self.name, location, &format!("key `{key}` stands twice in one object")));
                    }
                }
                Value::Object(object)
            }
            Node::Scalar(value) => self.scalar(value, location)?,
        };
        self.places.insert(at, (location.line(), location.column()));
        Ok(value)
    }

    /// A scalar that every reader takes for the same: a quoted text, a text that is nothing else, `true`, a decimal number.
    fn scalar(&self, value: &Value, location: Location) -> Result<Value, LoadError> {
        let raw = self.text_at(location);
        if raw.starts_with(['"', '\'', '|', '>']) {
            return Ok(value.clone());
        }
        // In a flow list a plain scalar ends at `,` or a bracket, anywhere at ` #` and `: `.
        let end = [" #", ": "].iter().filter_map(|mark| raw.find(mark)).min().unwrap_or(raw.len());
        let raw = raw.get(..end).unwrap_or(raw).trim_end();
        let word = raw.split([',', ']', '}']).next().unwrap_or(raw).trim_end();
        let is_whole = |text: &str| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            digits == "0"
                || !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
        };
        let surprise = match value {
            Value::Number(_) if is_whole(word) => None,
            Value::Number(_) => Some("a number here, and something else to others"),
            Value::Null => Some("nothing"),
            Value::String(text) if WORDS.contains(&text.to_ascii_lowercase().as_str()) => {
                Some("a text here, and yes or no to others")
            }
            Value::String(text) if looks_like_a_number(text) => Some("a text here, and a number to others"),
            _ => None,
        };
        match surprise {
            None => Ok(value.clone()),
            Some(what) => {
                let detail = format!(
                    "`{}` is {what}: quote it if it is a text, or write a whole decimal number",
                    word.escape_debug()
                );
                Err(fault(self.name, location, &detail))
            }
        }
    }

    fn refuse_tag(&self, location: Location) -> Result<(), LoadError> {
        let line = self.line(location);
        let column = usize::try_from(location.column()).unwrap_or(1);
        let before: String = line.chars().take(column.saturating_sub(1)).collect();
        let tag = before.split_whitespace().next_back().filter(|word| word.starts_with('!'));
        let own = self.text_at(location).starts_with('!');
        match tag {
            None if !own => Ok(()),
            _ => Err(fault(self.name, location, "tags (`!…`) are not read: quote a text that begins with `!`")),
        }
    }

    fn line(&self, location: Location) -> &str {
        let index = usize::try_from(location.line()).unwrap_or(0).saturating_sub(1);
        self.lines.get(index).copied().unwrap_or_default()
    }

    fn text_at(&self, location: Location) -> &str {
        let line = self.line(location);
        let column = usize::try_from(location.column()).unwrap_or(1).saturating_sub(1);
        line.char_indices().nth(column).and_then(|(at, _)| line.get(at..)).unwrap_or_default()
    }

    fn too_deep(&self, location: Location) -> LoadError {
        fault(self.name, location, &format!("nested deeper than {MAX_DEPTH} levels"))
    }
}

fn looks_like_a_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'_' | b'.' | b':'))
        && digits.bytes().filter(|b| *b == b'.').count() < 2
}

fn fault(name: &str, location: Location, detail: &str) -> LoadError {
    LoadError::Yaml { name: name.into(), line: location.line(), column: location.column(), detail: detail.into() }
}

/// What the parser says, without the place, which stands in front, and the piece of the file behind it.
fn plain(report: &str) -> String {
    let line = report.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let said = line.split(" at line ").next().unwrap_or(line);
    let ours = OUR_WORDS.iter().find(|(theirs, _)| said.starts_with(theirs)).map(|(_, ours)| *ours);
    ours.unwrap_or(said).to_owned()
}

/// One value, with where each inside it stands.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

/// What YAML 1.1 reads as yes or no, and 1.2 as a text.
const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off"];
/// What the parser says of itself, as it reads to whoever wrote the file.
const OUR_WORDS: &[(&str, &str)] = &[
    ("budget breached: Anchors", "anchors and aliases are not read: write it out"),
    ("budget breached: Aliases", "anchors and aliases are not read: write it out"),
    ("budget breached: Documents", "expected one document, found another behind `---`"),
    ("budget breached", "expected fewer or less deeply nested values"),
    ("duplicate mapping key", "this key stands twice in one object"),
    ("YAML merge keys", "merge keys (`<<`) are not read: write it out"),
];
/// Values of one file: as many as a file of 1 MiB can hold in lines of ten letters.
const MAX_NODES: usize = 100_000;

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
