//! JSON as OPA hashes it: keys in order, no white space, numbers as they are written.

use crate::strict_json;

/// The bytes that OPA hashes for a JSON file: independent of white space and of the order of keys.
///
/// `{"b": 1.50, "a": "é"}` is `{"a":"é","b":1.50}` (OPA, "Signature format"; strings as Go's `encoding/json` writes them with
/// `SetEscapeHTML(false)`). None for what is no strict JSON.
pub(super) fn structured(bytes: &[u8]) -> Option<Vec<u8>> {
    // From here on the text is known to be good: one document, no key twice, no deeper than the stack.
    strict_json::parse(bytes, strict_json::MAX_DEPTH).ok()?;
    let mut reader = Reader { rest: std::str::from_utf8(bytes).ok()? };
    let mut out = String::with_capacity(bytes.len());
    reader.value(&mut out)?;
    Some(out.into_bytes())
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, out: &mut String) -> Option<()> {
        match self.peek()? {
            '{' => self.object(out),
            '[' => self.array(out),
            '"' => {
                let text: String = serde_json::from_str(self.string()?).ok()?;
                write(&text, out);
                Some(())
            }
            _ => {
                let end = self.rest.find(|c: char| c.is_ascii_whitespace() || ",]}".contains(c));
                let (scalar, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                out.push_str(scalar);
                self.rest = rest;
                Some(())
            }
        }
    }

    fn object(&mut self, out: &mut String) -> Option<()> {
        let mut members = Vec::new();
        self.take('{')?;
        while self.peek()? != '}' {
            let key: String = serde_json::from_str(self.string()?).ok()?;
            self.take(':')?;
            let mut value = String::new();
            self.value(&mut value)?;
            members.push((key, value));
            if self.peek()? == ',' {
                self.take(',')?;
            }
        }
        self.take('}')?;
        // Go compares bytes, and so does Rust.
        members.sort();
        out.push('{');
        for (index, (key, value)) in members.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            write(key, out);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        Some(())
    }

    fn array(&mut self, out: &mut String) -> Option<()> {
        self.take('[')?;
        out.push('[');
        let mut is_first = true;
        while self.peek()? != ']' {
            if !is_first {
                out.push(',');
            }
            is_first = false;
            self.value(out)?;
            if self.peek()? == ',' {
                self.take(',')?;
            }
        }
        self.take(']')?;
        out.push(']');
        Some(())
    }

    /// A string with its quotes, as it is written.
    fn string(&mut self) -> Option<&'a str> {
        self.peek().filter(|c| *c == '"')?;
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            ends
        });
        let (text, rest) = self.rest.split_at(end?.0 + 1);
        self.rest = rest;
        Some(text)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.peek().filter(|c| *c == wanted)?;
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }
}

/// A string as Go writes it: serde_json's way, and the two line ends of JavaScript escaped.
fn write(text: &str, out: &mut String) {
    let json = serde_json::to_string(text).expect("text is JSON");
    out.push_str(&json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(json: &str) -> Option<String> {
        structured(json.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn white_space_and_order_do_not_matter_and_digits_do() {
        let written = " { \"b\" : [ 1.50 , 1e3, -0, true,null ] ,\n\"a\":{\"\\u00e9\" : \"<x> & \\\" \\\\\" } } ";
        assert_eq!(text(written).unwrap(), r#"{"a":{"é":"<x> & \" \\"},"b":[1.50,1e3,-0,true,null]}"#);
        assert_eq!(text("[]").unwrap(), "[]");
        assert_eq!(text(" {} ").unwrap(), "{}");
        assert_eq!(text("\"\u{2028}\\u2029\\u0001\\b\\f\\n\\/\"").unwrap(), r#""\u2028\u2029\u0001\b\f\n/""#);
        assert_eq!(text("\"\u{7f}\""), Some("\"\u{7f}\"".to_owned()));
        for bad in ["{\"a\":1,\"a\":2}", "", "{", "[1] 2", "\u{feff}{}", "\"\\ud800\""] {
            assert_eq!(text(bad), None, "`{bad}` was taken");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_same_document_and_stays_so(keys in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..6)) {
            let json = serde_json::to_string_pretty(&keys).unwrap();
            let once = text(&json).unwrap();
            prop_assert_eq!(serde_json::from_str::<std::collections::BTreeMap<String, String>>(&once).unwrap(), keys);
            prop_assert_eq!(text(&once).unwrap(), once);
        }
    }
}
