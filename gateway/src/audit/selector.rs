//! How a person names an entry: id, unique prefix of it, or `#INDEX`.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Names one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `#8412`: its index in the newest log.
    Index(u64),
    /// A whole UUID.
    Id(Uuid),
    /// The first digits of a UUID.
    Prefix(Prefix),
}

/// At least [`Prefix::MIN_DIGITS`] lower-case hex digits, fewer than 32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

/// A text that names no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no entry: expected an id, its first 4 or more hex digits, or `#INDEX`")]
pub struct SelectorError(String);

impl Prefix {
    /// The fewest digits.
    pub const MIN_DIGITS: usize = 4;

    /// The smallest and the largest id that begin with it.
    pub fn range(&self) -> (Uuid, Uuid) {
        let filled = |with: char| {
            let digits: String = self.0.chars().chain(std::iter::repeat(with)).take(32).collect();
            Uuid::try_parse(&digits).expect("32 hex digits are a UUID")
        };
        (filled('0'), filled('f'))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, digit) in self.0.chars().enumerate() {
            if matches!(at, 8 | 12 | 16 | 20) {
                f.write_str("-")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "#{index}"),
            Self::Id(id) => write!(f, "{id}"),
            Self::Prefix(prefix) => write!(f, "{prefix}"),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || SelectorError(text.chars().take(80).collect());
        if let Some(index) = text.strip_prefix('#') {
            return super::tlog::checkpoint::canonical_number(index).map(Self::Index).ok_or_else(refused);
        }
        let mut digits = String::new();
        for c in text.chars() {
            match c {
                '0'..='9' | 'a'..='f' | 'A'..='F' => digits.push(c.to_ascii_lowercase()),
                '-' if matches!(digits.len(), 8 | 12 | 16 | 20) && !text.ends_with('-') => {}
                _ => return Err(refused()),
            }
        }
        match digits.len() {
            32 => Uuid::try_parse(&digits).map(Self::Id).map_err(|_| refused()),
            Prefix::MIN_DIGITS..32 => Ok(Self::Prefix(Prefix(digits))),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_ids_prefixes_and_indices() {
        let id = "01a8f3c2-1b2c-7d3e-8f40-5162738495a6";
        assert_eq!(id.parse(), Ok(Selector::Id(Uuid::try_parse(id).unwrap())));
        assert_eq!("#8412".parse(), Ok(Selector::Index(8412)));
        for (text, printed) in [("01a8", "01a8"), ("01A8F3C2-1B", "01a8f3c2-1b"), ("01a8f3c21b", "01a8f3c2-1b")] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.to_string(), printed);
        }
        let Selector::Prefix(prefix) = "01a8f".parse().unwrap() else { panic!("five digits are a prefix") };
        let (first, last) = prefix.range();
        assert_eq!(first.to_string(), "01a8f000-0000-0000-0000-000000000000");
        assert_eq!(last.to_string(), "01a8ffff-ffff-ffff-ffff-ffffffffffff");
    }

    #[test]
    fn refuses_what_could_mean_anything() {
        for text in
            ["", "#", "#-1", "#01", "#x", "01a", "xyz0", "01a8%", "01a8-", "01a-8f3c2", &"0".repeat(33), "8412 "]
        {
            assert!(text.parse::<Selector>().is_err(), "`{text}` was taken");
        }
    }

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same(text in "[0-9a-f]{4,32}|#[1-9][0-9]{0,9}") {
            let selector: Selector = text.parse().unwrap();
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }
    }
}
