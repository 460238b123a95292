//! A look at policy text before any parser sees it.

use super::LoadError;

/// Refuses text that would stall the parser, and names that reach outside a decision or cannot be bounded.
///
/// regorus 0.14 tries an array literal as a comprehension first, at each level again: depth costs exponential time.
pub(super) fn scrutinize(name: &str, text: &str) -> Result<(), LoadError> {
    if text.len() > MAX_MODULE_BYTES {
        let what = format!("size of `{name}` in bytes");
        return Err(LoadError::Limit { what, found: text.len(), limit: MAX_MODULE_BYTES });
    }
    let tokens = tokens(text);
    if let Some(token) = tokens.iter().find(|token| token.depth > MAX_BRACKET_DEPTH) {
        let what = format!("nesting of brackets at {name}:{}:{}", token.line, token.column);
        return Err(LoadError::Limit { what, found: token.depth, limit: MAX_BRACKET_DEPTH });
    }
    let work: usize =
        tokens.iter().filter(|token| matches!(token.text, "[" | "{" | "(")).map(|token| 1 << token.depth).sum();
    if work > MAX_BRACKET_WORK {
        let what = format!("work of reading the brackets of `{name}`, two to the power of each one's depth,");
        return Err(LoadError::Limit { what, found: work, limit: MAX_BRACKET_WORK });
    }
    for (index, token) in tokens.iter().enumerate() {
        if let Some(function) = forbidden_at(tokens.get(index..).unwrap_or_default()) {
            let (line, column) = (token.line, token.column);
            return Err(LoadError::Forbidden { name: name.into(), line, column, function });
        }
    }
    Ok(())
}

/// The package of a module as a path below `data`: `witgate.admission`.
pub(super) fn package(text: &str) -> Option<String> {
    let tokens = tokens(text);
    let mut tokens = tokens.iter().skip_while(|token| token.text != "package").skip(1).peekable();
    let mut path = tokens.next().filter(|token| token.is_word())?.text.to_owned();
    while tokens.next().is_some_and(|token| token.text == ".") {
        path.push('.');
        path.push_str(tokens.next()?.text);
    }
    Some(path)
}

/// A rule that tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestRule {
    pub name: String,
    /// The line of its first definition, from 1.
    pub line: usize,
    /// The first line of what stands behind its first definition; none where nothing does.
    pub next_line: Option<usize>,
}

impl TestRule {
    /// Whether it is still to be written, by the convention of `opa test`.
    pub fn is_todo(&self) -> bool {
        self.name.starts_with(TODO)
    }
}

/// The rules whose names begin with `test_` or `todo_test_`, each once, in the order they stand in the text.
pub(super) fn test_rules(text: &str) -> Vec<TestRule> {
    let mut rules: Vec<TestRule> = Vec::new();
    let mut open = false;
    for token in tokens(text) {
        if token.depth > usize::from(matches!(token.text, "[" | "{" | "(")) || token.column != 1 || token.text == "}" {
            continue;
        }
        if let Some(last) = rules.last_mut().filter(|_| std::mem::take(&mut open)) {
            last.next_line = Some(token.line);
        }
        let is_test = token.is_word() && (token.text.starts_with("test_") || token.text.starts_with(TODO));
        if is_test && !rules.iter().any(|rule| rule.name == token.text) {
            rules.push(TestRule { name: token.text.to_owned(), line: token.line, next_line: None });
            open = true;
        }
    }
    rules
}

/// How a test begins that is still to be written.
const TODO: &str = "todo_test_";

/// The forbidden function whose name begins the tokens, written `a.b` or `a["b"]`.
fn forbidden_at(tokens: &[Token<'_>]) -> Option<String> {
    let [first, second, third, ..] = tokens else { return None };
    let member = match second.text {
        "." => third.text,
        "[" => third.text.trim_matches(['"', '`']),
        _ => return None,
    };
    let whole = |&&(package, function): &&(&str, &str)| {
        package == first.text && (function == "*" || function == member) && first.is_word()
    };
    FORBIDDEN.iter().find(whole).map(|(package, _)| format!("{package}.{member}"))
}

struct Token<'a> {
    text: &'a str,
    line: usize,
    column: usize,
    /// The brackets around it; an opening bracket counts itself.
    depth: usize,
}

impl Token<'_> {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    }
}

/// Words, strings with their quotes, and single characters; comments and white space are left out.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut line, mut line_start, mut depth) = (1, 0, 0_usize);
    let mut characters = text.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        let (token_line, column) = (line, start - line_start + 1);
        let mut take_while = |wanted: &dyn Fn(char) -> bool| {
            while let Some((_, next)) = characters.next_if(|(_, next)| wanted(*next)) {
                if next == '\n' {
                    line += 1;
                }
            }
        };
        match character {
            '\n' => {
                line += 1;
                line_start = start + 1;
                continue;
            }
            '#' => {
                take_while(&|next| next != '\n');
                continue;
            }
            character if character.is_whitespace() => continue,
            '`' => {
                take_while(&|next| next != '`');
                characters.next();
            }
            '"' => loop {
                match characters.next() {
                    // A string ends with its line, or the scanner and the parser would lose each other.
                    None | Some((_, '"')) => break,
                    Some((end, '\n')) => {
                        line += 1;
                        line_start = end + 1;
                        break;
                    }
                    Some((_, '\\')) => {
                        characters.next_if(|(_, next)| *next != '\n');
                    }
                    Some(_) => {}
                }
            },
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth = depth.saturating_sub(1),
            character if character.is_ascii_alphanumeric() || character == '_' => {
                take_while(&|next| next.is_ascii_alphanumeric() || next == '_');
            }
            _ => {}
        }
        let end = characters.peek().map_or(text.len(), |(end, _)| *end);
        if character == '`' {
            line_start = text.get(..end).and_then(|text| text.rfind('\n')).map_or(line_start, |at| at + 1);
        }
        let text = text.get(start..end).unwrap_or_default();
        tokens.push(Token { text, line: token_line, column, depth });
    }
    tokens
}

/// One module, in bytes: thirteen times the largest shipped one.
pub(super) const MAX_MODULE_BYTES: usize = 128 << 10;
/// Brackets around one token: each level of literals doubles the parser's work (measured: 10 levels take 70 to 140 ms).
pub(super) const MAX_BRACKET_DEPTH: usize = 10;
/// The sum of two to the power of its depth over all brackets of a module, so that many deep ones do not add up either.
pub(super) const MAX_BRACKET_WORK: usize = 1 << 16;

/// What would make a decision depend on more than its case (clock, chance, network, environment), or allocate what a
/// policy's number says.
const FORBIDDEN: &[(&str, &str)] = &[
    ("http", "send"),
    ("net", "*"),
    ("opa", "runtime"),
    ("rand", "*"),
    ("rego", "*"),
    ("test", "sleep"),
    ("time", "now_ns"),
    ("uuid", "rfc4122"),
    ("numbers", "range"),
    ("numbers", "range_step"),
    ("bits", "lsh"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_reaches_outside_with_its_place() {
        for function in [
            "http.send",
            "net.lookup_ip_addr",
            "net.cidr_expand",
            "opa.runtime",
            "rand.intn",
            "rego.parse_module",
            "time.now_ns",
            "uuid.rfc4122",
            "numbers.range",
            "numbers.range_step",
            "bits.lsh",
        ] {
            let text = format!("package p\n\nx := {function}(1)\n");
            let error = scrutinize("a.rego", &text).unwrap_err();
            assert_eq!(error.to_string(), format!("a.rego:3:6: policies may not use `{function}`"));
        }
        for text in ["x := time [ \"now_ns\" ]()", "x := time . now_ns()", "`\n`\nx := rand[`intn`]"] {
            assert!(matches!(scrutinize("a", text), Err(LoadError::Forbidden { .. })), "`{text}` was taken");
        }
    }

    #[test]
    fn words_in_strings_and_comments_are_words_only() {
        for text in
            ["# time.now_ns", "x := \"time.now_ns \\\" rand.intn\"", "x := `http.send`", "my_time.now_ns", "input.time"]
        {
            scrutinize("a", text).unwrap();
        }
    }

    #[test]
    fn a_text_that_hides_its_end_of_string_is_still_read() {
        let text = "x := \"unclosed\ny := time.now_ns()\n";
        assert!(matches!(scrutinize("a", text), Err(LoadError::Forbidden { line: 2, .. })));
    }

    #[test]
    fn holds_its_limits() {
        let nested = |depth| format!("x := {}1{}", "[".repeat(depth), "]".repeat(depth));
        scrutinize("a", &nested(MAX_BRACKET_DEPTH)).unwrap();
        assert!(matches!(scrutinize("a", &nested(MAX_BRACKET_DEPTH + 1)), Err(LoadError::Limit { .. })));
        let many = |count| format!("x := [{}]", "[1],".repeat(count));
        scrutinize("a", &many((MAX_BRACKET_WORK - 2) / 4)).unwrap();
        assert!(matches!(scrutinize("a", &many((MAX_BRACKET_WORK - 2) / 4 + 1)), Err(LoadError::Limit { .. })));
        scrutinize("a", &" ".repeat(MAX_MODULE_BYTES)).unwrap();
        assert!(matches!(scrutinize("a", &" ".repeat(MAX_MODULE_BYTES + 1)), Err(LoadError::Limit { .. })));
    }

    #[test]
    fn finds_package_and_tests() {
        let text =
            "# package no\npackage witgate.a_test\n\ntest_b if {\n\ttest_no\n}\ntest_a if true\ntest_b if true\n";
        assert_eq!(package(text).as_deref(), Some("witgate.a_test"));
        let rules = test_rules(text);
        assert_eq!(rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["test_b", "test_a"]);
    }
}
