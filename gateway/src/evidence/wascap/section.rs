//! Token sections of a binary, wherever in it they stand.

use wasmparser::{Chunk, Parser, Payload};

use super::limits::{DEPTH_MAX, SECTIONS_MAX};
use crate::evidence::rejection::Rejection;
use crate::reason::Code;

/// The names a token's section may have: from wasmCloud 0.9 on, and before.
pub(super) const NAMES: [&str; 2] = ["wasmcloud_jwt", "jwt"];

/// The sections of a module or component, those nested inside included; nothing is copied.
#[derive(Debug)]
pub(super) struct Binary<'a> {
    /// `\0asm` with version and layer, 8 bytes.
    pub(super) header: &'a [u8],
    /// What follows, in order.
    pub(super) parts: Vec<Part<'a>>,
}

/// One section.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// A section as it stands: its id and its body.
    Plain(u8, &'a [u8]),
    /// A module or component inside a component: the section's id and what is in it.
    Nested(u8, Binary<'a>),
    /// A custom section with a token's name.
    Token,
}

/// A custom section with a token's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TokenSection<'a> {
    /// One of [`NAMES`].
    pub(super) name: &'static str,
    /// What stands behind the name.
    pub(super) data: &'a [u8],
    /// In how many other binaries it is: 0 is the outermost one's.
    pub(super) depth: usize,
}

/// What was found, and how far reading came.
pub(super) struct Reading<'a> {
    /// The token sections, in order; those before the fault where there is one.
    pub(super) tokens: Vec<TokenSection<'a>>,
    /// The binary, if it can be read to its end.
    pub(super) binary: Result<Binary<'a>, Rejection>,
}

/// Steps through the sections of `bytes`: the bodies of all but components and modules are passed over, so the time goes by
/// the number of sections.
pub(super) fn read(bytes: &[u8]) -> Reading<'_> {
    let mut tokens = Vec::new();
    let binary = binary(bytes, &mut tokens);
    Reading { tokens, binary }
}

fn binary<'a>(bytes: &'a [u8], tokens: &mut Vec<TokenSection<'a>>) -> Result<Binary<'a>, Rejection> {
    let mut parser = Parser::new(0);
    let mut parents: Vec<(Parser, u8, Binary<'a>)> = Vec::new();
    let mut current = Binary { header: &[], parts: Vec::new() };
    let (mut rest, mut sections) = (bytes, 0);
    let of_file = |range: std::ops::Range<u64>| {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        bytes.get(range)
    };
    loop {
        let (payload, mut consumed) = match parser.parse(rest, true).map_err(|error| malformed(&error))? {
            Chunk::Parsed { payload, consumed } => (payload, consumed),
            Chunk::NeedMoreData(_) => unreachable!("broken invariant: the parser was told that there is no more data"),
        };
        if let Some((id, range)) = payload.as_section() {
            sections += 1;
            if sections > SECTIONS_MAX {
                let expected = format!("at most {SECTIONS_MAX} sections in a binary with a token");
                return Err(Rejection::mismatch(Code::LIMIT_EXCEEDED, expected, "one more"));
            }
            // The parser gives the ranges of code and of nested binaries unchecked.
            let body = of_file(range).ok_or_else(|| malformed(&"a section ends behind the file"))?;
            match payload {
                Payload::ModuleSection { parser: inner, .. } | Payload::ComponentSection { parser: inner, .. } => {
                    if parents.len() == DEPTH_MAX {
                        let expected = format!("binaries nested at most {DEPTH_MAX} levels deep");
                        return Err(Rejection::mismatch(Code::LIMIT_EXCEEDED, expected, "one more"));
                    }
                    let outer = std::mem::replace(&mut current, Binary { header: &[], parts: Vec::new() });
                    parents.push((std::mem::replace(&mut parser, inner), id, outer));
                }
                Payload::CustomSection(custom) => {
                    match NAMES.into_iter().find(|name| *name == custom.name()) {
                        Some(name) => {
                            tokens.push(TokenSection { name, data: custom.data(), depth: parents.len() });
                            current.parts.push(Part::Token);
                        }
                        None => current.parts.push(Part::Plain(id, body)),
                    };
                }
                Payload::CodeSectionStart { size, .. } => {
                    parser.skip_section();
                    consumed += size as usize;
                    current.parts.push(Part::Plain(id, body));
                }
                _ => current.parts.push(Part::Plain(id, body)),
            }
        } else {
            match payload {
                Payload::Version { range, .. } => {
                    current.header = of_file(range).expect("broken invariant: the header lies within the bytes");
                }
                Payload::End(_) => match parents.pop() {
                    Some((parent, id, outer)) => {
                        parser = parent;
                        let inner = std::mem::replace(&mut current, outer);
                        current.parts.push(Part::Nested(id, inner));
                    }
                    None => return Ok(current),
                },
                // Bytes that no part stands for would not be hashed.
                _ => return Err(malformed(&"something in it is no section")),
            }
        }
        rest = rest.get(consumed..).expect("broken invariant: the parser consumes what it was given");
    }
}

fn malformed(why: &dyn std::fmt::Display) -> Rejection {
    Rejection::new(Code::TOKEN_MALFORMED, format!("the binary around the token cannot be read: {why}"))
}

/// The one token of a binary: its section in the outermost, and none anywhere else.
pub(super) fn only<'a>(tokens: &[TokenSection<'a>]) -> Result<TokenSection<'a>, Rejection> {
    match tokens {
        [one] if one.depth == 0 => Ok(*one),
        [one] => {
            let found = format!("`{}` in a binary nested {} deep", one.name, one.depth);
            Err(Rejection::mismatch(Code::TOKEN_MALFORMED, "a token section in the outermost binary", found))
        }
        several => {
            let found = format!("{} of them", several.len());
            Err(Rejection::mismatch(Code::TOKEN_MALFORMED, "one token section in the whole file", found))
        }
    }
}
