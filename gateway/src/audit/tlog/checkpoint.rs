//! Checkpoints (C2SP tlog-checkpoint): origin, size and root, one a line.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::hash::{EMPTY_ROOT, Hash};
use super::note::is_key_name;

/// The state of a log at one size. We write no extension lines and refuse them.
///
/// ```text
/// witgate.example/audit/1
/// 7
/// ju+6vaTwi1RItNuwTrHrzyzYa/Nn0cD+wyFIgqkbe54=
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name with its incarnation; equals the name of its key.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a text is no checkpoint of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not three lines, each ended.
    #[error("expected three lines: origin, size, root")]
    Lines,
    /// The first line may not be a key's name.
    #[error("the origin is empty or holds white space or `+`")]
    Origin,
    /// The second line is no canonical number.
    #[error("the size is not a decimal number without leading zeros")]
    Size,
    /// The third line is not 32 bytes of strict base64.
    #[error("the root is not 32 bytes in base64")]
    Root,
    /// Size 0 with a root that is not the empty tree's.
    #[error("the tree is empty and its root is not")]
    EmptyRoot,
    /// Lines behind the root.
    #[error("extension lines are not taken")]
    Extension,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lines: Vec<&str> = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n').collect();
        let (origin, size, root) = match lines.as_slice() {
            [origin, size, root] => (*origin, *size, *root),
            [_, _, _, ..] => return Err(CheckpointError::Extension),
            _ => return Err(CheckpointError::Lines),
        };
        if !is_key_name(origin) {
            return Err(CheckpointError::Origin);
        }
        let size = canonical_number(size).ok_or(CheckpointError::Size)?;
        let root: Hash =
            STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or(CheckpointError::Root)?;
        if size == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// A decimal number without sign or leading zero.
pub(in super::super) fn canonical_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hash::leaf_hash;
    use super::super::note::{KeyKind, NoteError, SignedNote, Signer, VerifierKey, cosigned};
    use super::super::tree::Tree;
    use super::*;

    pub(in super::super) const CHECKPOINT: &str = "witgate.example/audit/1\n7\nju+6vaTwi1RItNuwTrHrzyzYa/Nn0cD+wyFIgqkbe54=\n\n\
        — witgate.example/audit/1 LNsqK8xg79+Bdl0U+mP/Wkuq5vQjlYv9SrnUp7nwTNCSUIcw96mzYtCH2iUbO5dwDoCN53LbFgH00WyW1qgeaWakVw4=\n";
    const COSIGNATURE: &str = "— witness.example/w1 IDJKvgAAAABpVbkApk5W3YnrNRa3vQ1OyAx0R8Srf5nUTcwXsdnKCQJ9w1mVRNKCeJgrb5o9RPMeJ9SIT7coDLCw/OoY6TBC1r15Dg==\n";

    fn seed(first: u8) -> [u8; 32] {
        std::array::from_fn(|at| first + at as u8)
    }

    /// Entries `{"n":0}` .. `{"n":6}`, keys 00..1f and 20..3f: bytes computed by two other implementations.
    #[test]
    fn the_vector_is_met_to_the_byte() {
        let (mut tree, mut full) = (Tree::default(), Vec::new());
        (0..7).for_each(|n| tree.push(leaf_hash(format!("{{\"n\":{n}}}").as_bytes()), &mut full));
        let signer = Signer::new("witgate.example/audit/1", &seed(0)).unwrap();
        let checkpoint = Checkpoint { origin: "witgate.example/audit/1".into(), size: 7, root: tree.root() };
        let note = signer.sign(&checkpoint.to_string());
        assert_eq!(note.to_string(), CHECKPOINT);
        assert_eq!(
            signer.verifier().to_string(),
            "witgate.example/audit/1+2cdb2a2b+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
        );
    }

    #[test]
    fn a_cosigned_checkpoint_verifies_with_the_witness_key() {
        let witness: VerifierKey =
            "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X".parse().unwrap();
        let text = format!("{CHECKPOINT}{COSIGNATURE}");
        assert_eq!(text.len(), 321);
        let note = SignedNote::parse(text.as_bytes()).unwrap();
        let keys = [witness];
        let verified = note.verify(&keys).unwrap();
        assert_eq!(verified[0].time_s, Some(1_767_225_600));
        assert_eq!(keys[0].kind(), KeyKind::CosignatureV1);
        // Another time is another message.
        let moved = text.replace("AABpVbkA", "AABpVbkB");
        let moved = SignedNote::parse(moved.as_bytes()).unwrap().verify(&keys).map(|_| ());
        assert_eq!(moved, Err(NoteError::Signature { name: "witness.example/w1".into() }));
        assert!(cosigned("x\n", 1).starts_with("cosignature/v1\ntime 1\nx\n"));
    }

    #[test]
    fn refuses_texts_that_are_no_checkpoint() {
        let root = "ju+6vaTwi1RItNuwTrHrzyzYa/Nn0cD+wyFIgqkbe54=";
        for (text, error) in [
            (String::new(), CheckpointError::Lines),
            (format!("o\n7\n{root}"), CheckpointError::Lines),
            ("o\n7\n".into(), CheckpointError::Lines),
            (format!("o\n7\n{root}\nextension\n"), CheckpointError::Extension),
            (format!("o\n7\n{root}\n\n"), CheckpointError::Extension),
            (format!("\n7\n{root}\n"), CheckpointError::Origin),
            (format!("o o\n7\n{root}\n"), CheckpointError::Origin),
            (format!("o\n07\n{root}\n"), CheckpointError::Size),
            (format!("o\n+7\n{root}\n"), CheckpointError::Size),
            (format!("o\n-7\n{root}\n"), CheckpointError::Size),
            (format!("o\n\n{root}\n"), CheckpointError::Size),
            (format!("o\n18446744073709551616\n{root}\n"), CheckpointError::Size),
            (format!("o\n0\n{root}\n"), CheckpointError::EmptyRoot),
            ("o\n7\nju+6vaTwi1RItNuwTrHrzyzYa/Nn0cD+wyFIgqkbe55=\n".into(), CheckpointError::Root),
            ("o\n7\nju+6vaTwi1RItNuwTrHrzyzYa/Nn0cD+wyFIgqkbe54\n".into(), CheckpointError::Root),
            ("o\n7\nju+6\n".into(), CheckpointError::Root),
        ] {
            assert_eq!(text.parse::<Checkpoint>(), Err(error), "`{text}`");
        }
    }

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same(origin in "[a-z./]{1,30}", size in 1u64.., root: [u8; 32]) {
            let checkpoint = Checkpoint { origin, size, root };
            prop_assert_eq!(checkpoint.to_string().parse::<Checkpoint>(), Ok(checkpoint));
        }
    }
}
