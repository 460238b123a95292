//! The paths of tiles (C2SP tlog-tiles): `tile/0/x001/x234/067`, `tile/1/001.p/17`, `tile/entries/000`.

use std::fmt;
use std::str::FromStr;

/// The height of a tile: it covers 2^8 hashes of its level.
pub const TILE_HEIGHT: u32 = 8;
/// The number of hashes or entries in a full tile.
pub const TILE_WIDTH: usize = 1 << TILE_HEIGHT;
/// The longest entry, in bytes: its length is a 16-bit number in `tile/entries` (C2SP tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = 65_535;
/// The highest level in a path (C2SP tlog-tiles).
pub const MAX_LEVEL: u8 = 63;

/// Which tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of a level.
    Hashes(u8),
    /// Entries, each behind its length as 16-bit big-endian number.
    Entries,
}

/// A text that is no tile path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected `tile/LEVEL/N` or `tile/entries/N`, N in groups of three digits such as `x001/234`, optionally `.p/WIDTH`"
)]
pub struct TilePathError;

impl TilePath {
    /// A full tile.
    pub fn full(kind: TileKind, index: u64) -> Self {
        Self { kind, index, width: TILE_WIDTH as u16 }
    }

    /// A tile of 1 to 256 hashes or entries; `None` for another width.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        (1..=TILE_WIDTH as u16).contains(&width).then_some(Self { kind, index, width })
    }

    /// What it holds.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its number on its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds: 256 when it is full.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Where its hashes begin on their level.
    pub fn start(&self) -> Option<u64> {
        self.index.checked_mul(TILE_WIDTH as u64)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups[1..].iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if usize::from(self.width) < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for TilePath {
    type Err = TilePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(TilePathError)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => {
                let level = small_number(level).filter(|level| *level <= u16::from(MAX_LEVEL)).ok_or(TilePathError)?;
                TileKind::Hashes(level as u8)
            }
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => {
                let width = small_number(width).ok_or(TilePathError)?;
                if width == 0 || usize::from(width) >= TILE_WIDTH {
                    return Err(TilePathError);
                }
                (number, width)
            }
            None => (rest, TILE_WIDTH as u16),
        };
        Ok(Self { kind, index: grouped_number(number)?, width })
    }
}

/// The bytes of an entry bundle: each entry behind its length as 16-bit big-endian number. `None` when one is too long.
pub fn entry_bundle<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Some(bytes)
}

/// A decimal number without sign or leading zero, at most 999.
fn small_number(text: &str) -> Option<u16> {
    let canonical = matches!(text.len(), 1..=3) && text.bytes().all(|b| b.is_ascii_digit());
    (canonical && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

fn grouped_number(text: &str) -> Result<u64, TilePathError> {
    let groups: Vec<&str> = text.split('/').collect();
    let (last, before) = groups.split_last().ok_or(TilePathError)?;
    if before.first() == Some(&"x000") {
        return Err(TilePathError);
    }
    let mut number = 0u64;
    let before = before.iter().map(|group| group.strip_prefix('x'));
    for digits in before.chain([Some(*last)]) {
        let digits = digits.filter(|digits| digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()));
        let group: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(TilePathError)?;
        number = number.checked_mul(1000).and_then(|number| number.checked_add(group)).ok_or(TilePathError)?;
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        for (path, kind, index, width) in [
            ("tile/0/x001/x234/067", TileKind::Hashes(0), 1_234_067, 256),
            ("tile/0/005", TileKind::Hashes(0), 5, 256),
            ("tile/1/001.p/17", TileKind::Hashes(1), 1, 17),
            ("tile/63/000", TileKind::Hashes(63), 0, 256),
            ("tile/entries/000", TileKind::Entries, 0, 256),
            ("tile/entries/x001/000.p/255", TileKind::Entries, 1000, 255),
        ] {
            let parsed: TilePath = path.parse().unwrap();
            assert_eq!((parsed.kind(), parsed.index(), parsed.width()), (kind, index, width));
            assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn the_bundle_of_the_vector_is_met() {
        let entries: Vec<String> = (0..TILE_WIDTH).map(|n| format!("{{\"n\":{n}}}")).collect();
        let bundle = entry_bundle(entries.iter().map(String::as_bytes)).unwrap();
        assert_eq!(bundle.len(), 2_706);
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bundle));
        assert_eq!(digest, "4f5cc32d2b7ed28f6223c4cf77ffc5ece1a37137e75b5987ff201019bac5ed09");
        let longest = vec![b'x'; MAX_ENTRY_BYTES];
        assert!(entry_bundle([longest.as_slice()].into_iter()).is_some());
        let too_long = vec![b'x'; MAX_ENTRY_BYTES + 1];
        assert_eq!(entry_bundle([too_long.as_slice()].into_iter()), None);
    }

    #[test]
    fn refuses_every_other_spelling() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/x00/1",
            "tile/0/1234",
            "tile/0/../000",
            "tile/../0/000",
            "../tile/0/000",
            "tile/64/000",
            "tile/00/000",
            "tile/01/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/x001/x002",
            "tile/0/000.p/",
            "tile/0/000.p/1.p/1",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/٠٠٠",
            "tile/8/0/000.p",
            "tile/data/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(path.parse::<TilePath>(), Err(TilePathError), "`{path}` was taken");
        }
    }

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same_path(level in 0u8..=63, index: u64, width in 1u16..=256) {
            let path = TilePath::new(TileKind::Hashes(level), index, width).unwrap();
            prop_assert_eq!(path.to_string().parse::<TilePath>(), Ok(path));
        }

        #[test]
        fn parsing_then_printing_gives_the_same_text(text in "tile/[0-9entris]{1,7}/[x0-9./p]{0,14}") {
            if let Ok(path) = text.parse::<TilePath>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
