//! A TOML file of another program, with where each value stands in it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file that was parsed.
pub(super) struct Document<'t> {
    path: PathBuf,
    text: &'t str,
    root: DeTable<'t>,
}

/// A file, or a value in it, that the program it is for cannot decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undecodable {
    /// `FILE:LINE:COLUMN`.
    pub at: String,
    /// What was expected, and what was found.
    pub why: String,
}

/// A key with its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'d, 't> {
    document: &'d Document<'t>,
    key: &'d Spanned<std::borrow::Cow<'t, str>>,
    value: &'d Spanned<DeValue<'t>>,
}

impl<'t> Document<'t> {
    /// Parses `text`, which stands in the file `path`.
    ///
    /// # Errors
    /// What is no TOML 1.0: `toml` knows 1.1, the parsers of containerd and the container tools need not, and what they cannot
    /// read must not be called fine here.
    pub(super) fn parse(path: &Path, text: &'t str) -> Result<Self, Undecodable> {
        let failed = |at: usize, why: String| Undecodable { at: position(path, text, at), why };
        if text.starts_with('\u{feff}') {
            return Err(failed(0, "expected a key or a table, found a byte order mark".into()));
        }
        let root = DeTable::parse(text)
            .map_err(|error| failed(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let document = Self { path: path.to_owned(), text, root: root.into_inner() };
        match document.newer_toml(&document.root) {
            Some((at, what)) => Err(failed(at, format!("expected TOML 1.0, found {what}"))),
            None => Ok(document),
        }
    }

    /// The entries of the file's root, in the order of the file.
    pub(super) fn entries(&self) -> Vec<Entry<'_, 't>> {
        self.entries_of(&self.root)
    }

    /// The value behind a path of keys.
    pub(super) fn at(&self, keys: &[&str]) -> Option<Entry<'_, 't>> {
        let (last, parents) = keys.split_last()?;
        let mut table = &self.root;
        for key in parents {
            table = table.iter().find(|(name, _)| name.get_ref() == key)?.1.get_ref().as_table()?;
        }
        let (key, value) = table.iter().find(|(name, _)| name.get_ref() == last)?;
        Some(Entry { document: self, key, value })
    }

    fn entries_of<'d>(&'d self, table: &'d DeTable<'t>) -> Vec<Entry<'d, 't>> {
        let mut entries: Vec<_> = table.iter().map(|(key, value)| Entry { document: self, key, value }).collect();
        entries.sort_by_key(|entry| entry.key.span().start);
        entries
    }

    /// The first thing that TOML 1.0 does not have, below `table`.
    fn newer_toml(&self, table: &DeTable<'t>) -> Option<(usize, &'static str)> {
        table.iter().find_map(|(key, value)| self.newer_string(key.span()).or_else(|| self.newer_value(value)))
    }

    fn newer_value(&self, value: &Spanned<DeValue<'t>>) -> Option<(usize, &'static str)> {
        let written = self.text.get(value.span()).unwrap_or_default();
        let at = value.span().start;
        match value.get_ref() {
            DeValue::String(_) => self.newer_string(value.span()),
            // Nobody here has a use for one, and the two versions write them differently.
            DeValue::Datetime(_) => Some((at, "a date")),
            DeValue::Array(values) => values.iter().find_map(|value| self.newer_value(value)),
            DeValue::Table(table) => {
                let inline = written.starts_with('{');
                let inside = written.strip_suffix('}').unwrap_or(written).trim_end();
                if inline && (written.contains('\n') || inside.ends_with(',')) {
                    return Some((at, "an inline table on several lines, or with a comma at its end"));
                }
                self.newer_toml(table)
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => None,
        }
    }

    /// The escapes `\e` and `\x`.
    fn newer_string(&self, span: Range<usize>) -> Option<(usize, &'static str)> {
        let written = self.text.get(span.clone()).unwrap_or_default();
        let mut rest = written.strip_prefix('"')?.chars();
        while let Some(c) = rest.next() {
            if c == '\\' && matches!(rest.next(), Some('e' | 'x')) {
                return Some((span.start, "an escape `\\e` or `\\x`"));
            }
        }
        None
    }
}

impl<'d, 't> Entry<'d, 't> {
    pub(super) fn key(&self) -> &'d str {
        self.key.get_ref()
    }

    /// `FILE:LINE:COLUMN` of the value.
    pub(super) fn at(&self) -> String {
        position(&self.document.path, self.document.text, self.value.span().start)
    }

    /// `FILE:LINE:COLUMN` of the key.
    pub(super) fn key_at(&self) -> String {
        position(&self.document.path, self.document.text, self.key.span().start)
    }

    /// A text.
    ///
    /// # Errors
    /// It is another kind of value.
    pub(super) fn string(&self) -> Result<&'d str, Undecodable> {
        self.value.get_ref().as_str().ok_or_else(|| self.expected("a string"))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// It is another kind of value.
    pub(super) fn boolean(&self) -> Result<bool, Undecodable> {
        self.value.get_ref().as_bool().ok_or_else(|| self.expected("a boolean"))
    }

    /// A list of texts.
    ///
    /// # Errors
    /// It is another kind of value, or holds one.
    pub(super) fn strings(&self) -> Result<Vec<&'d str>, Undecodable> {
        let wrong = || self.expected("an array of strings");
        let values = self.value.get_ref().as_array().ok_or_else(wrong)?;
        values.iter().map(|value| value.get_ref().as_str().ok_or_else(wrong)).collect()
    }

    /// The entries of a table, in the order of the file.
    ///
    /// # Errors
    /// It is another kind of value.
    pub(super) fn table(&self) -> Result<Vec<Entry<'d, 't>>, Undecodable> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.expected("a table"))?;
        Ok(self.document.entries_of(table))
    }

    /// The entries of each table of an array of tables, with where it begins.
    ///
    /// # Errors
    /// It is another kind of value, or holds one.
    pub(super) fn tables(&self) -> Result<Vec<(String, Vec<Entry<'d, 't>>)>, Undecodable> {
        let wrong = || self.expected("an array of tables");
        let values = self.value.get_ref().as_array().ok_or_else(wrong)?;
        let tables = values.iter().map(|value| {
            let at = position(&self.document.path, self.document.text, value.span().start);
            let table = value.get_ref().as_table().ok_or_else(wrong)?;
            Ok((at, self.document.entries_of(table)))
        });
        tables.collect()
    }

    /// Whether it is a text, or an array whose members, and theirs, are texts: containerd's `ca` and `client`.
    pub(super) fn is_text_or_texts(&self, depth: u8) -> bool {
        fn holds(value: &DeValue<'_>, depth: u8) -> bool {
            let inner = |values: &toml::de::DeArray<'_>| values.iter().all(|value| holds(value.get_ref(), depth - 1));
            value.is_str() || (depth > 0 && value.as_array().is_some_and(inner))
        }
        holds(self.value.get_ref(), depth)
    }

    /// How long the arrays are that stand in this one.
    pub(super) fn inner_lengths(&self) -> Vec<usize> {
        let values = self.value.get_ref().as_array().into_iter().flat_map(|values| values.iter());
        values.filter_map(|value| value.get_ref().as_array()).map(|inner| inner.len()).collect()
    }

    /// That another kind of value stands here.
    pub(super) fn expected(&self, kind: &str) -> Undecodable {
        let found = self.value.get_ref().type_str();
        Undecodable { at: self.at(), why: format!("`{}`: expected {kind}, found {found}", self.key()) }
    }
}

/// `FILE:LINE:COLUMN` of the byte `offset`, counted from one, in characters.
fn position(path: &Path, text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{line}:{column}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let Err(fault) = Document::parse(Path::new("f"), text) else { panic!("`{text}` was taken") };
        format!("{} {}", fault.at, fault.why)
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_place() {
        insta::assert_snapshot!(
            [refused("a = 1\nb = \n"), refused("ä = 1\n[t\n"), refused("a = 1\na = 2\n")].join("\n"),
            @r"
            f:2:5 string values must be quoted, expected literal string
            f:2:3 unclosed table, expected `]`
            f:2:1 duplicate key
            "
        );
    }

    #[test]
    fn toml_that_older_parsers_refuse_is_refused() {
        for (text, what) in [
            ("a = {\n b = 1 }\n", "f:1:5 expected TOML 1.0, found an inline table"),
            ("a = { b = 1, }\n", "f:1:5 expected TOML 1.0, found an inline table"),
            ("[t]\na = [{ b = { c = 1\n} }]\n", "f:2:6 expected TOML 1.0, found an inline table"),
            ("a = \"\\x41\"\n", "f:1:5 expected TOML 1.0, found an escape"),
            ("a = [\"\\e\"]\n", "f:1:6 expected TOML 1.0, found an escape"),
            ("\"\\x41\" = 1\n", "f:1:1 expected TOML 1.0, found an escape"),
            ("a = 07:32\n", "f:1:5 expected TOML 1.0, found a date"),
            ("\u{feff}a = 1\n", "f:1:1 expected a key or a table"),
        ] {
            assert!(refused(text).starts_with(what), "{}", refused(text));
        }
        for text in ["a = \"\\\\x41\"\n", "a = '\\x41'\n", "a = [\n 1,\n]\n", "a = { b = 1 }\n", "[a.b]\nc = 1\n"] {
            assert!(Document::parse(Path::new("f"), text).is_ok(), "`{text}` is TOML 1.0");
        }
    }

    #[test]
    fn entries_stand_in_the_order_of_the_file() {
        let text = "b = 1\n[host.\"z\"]\n[host.\"a\"]\nx = true\n";
        let document = Document::parse(Path::new("f"), text).unwrap();
        let keys = |entries: &[Entry<'_, '_>]| entries.iter().map(Entry::key).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(keys(&document.entries()), ["b", "host"]);
        let hosts = document.at(&["host"]).unwrap().table().unwrap();
        assert_eq!(keys(&hosts), ["z", "a"]);
        assert_eq!(hosts[1].table().unwrap()[0].at(), "f:4:5");
        assert!(document.at(&["host", "a", "x"]).unwrap().boolean().unwrap());
    }
}
