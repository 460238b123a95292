//! The proof that a decision stands in the audit log: an RFC 6962 path up to a signed checkpoint.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::refusal::TicketRefusal;
use super::statement::Log;
use crate::key::{PublicKey, SIGNATURE_BYTES};

/// The most hashes in a proof: a tree of 2^64 leaves is 64 high.
const MAX_PROOF_HASHES: usize = 64;
/// C2SP signed-note, "Signature types": Ed25519.
const ALGORITHM_ED25519: u8 = 0x01;

/// The log's public key in the note format's own text: `NAME+HASH+BASE64(0x01 ‖ key)` (C2SP signed-note).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointKey {
    name: String,
    hash: [u8; 4],
    key: PublicKey,
}

/// A text that is no verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log key is not `NAME+HASH+KEY` with an Ed25519 key (C2SP signed-note)")]
pub struct InvalidCheckpointKey;

impl FromStr for CheckpointKey {
    type Err = InvalidCheckpointKey;

    fn from_str(text: &str) -> Result<Self, InvalidCheckpointKey> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidCheckpointKey);
        };
        let mut claimed = [0; 4];
        hex::decode_to_slice(hash, &mut claimed).map_err(|_| InvalidCheckpointKey)?;
        let bytes = STANDARD.decode(key).map_err(|_| InvalidCheckpointKey)?;
        let Some((&ALGORITHM_ED25519, key)) = bytes.split_first() else { return Err(InvalidCheckpointKey) };
        let key = PublicKey::from_bytes(key.try_into().map_err(|_| InvalidCheckpointKey)?);
        let key = Self::new(name, key.map_err(|_| InvalidCheckpointKey)?)?;
        if key.hash == claimed { Ok(key) } else { Err(InvalidCheckpointKey) }
    }
}

impl CheckpointKey {
    /// The key of the log whose notes are signed as `name`.
    ///
    /// # Errors
    /// [`InvalidCheckpointKey`] for a name that a note cannot hold.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, InvalidCheckpointKey> {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') {
            return Err(InvalidCheckpointKey);
        }
        let hashed = Sha256::new()
            .chain_update(name.as_bytes())
            .chain_update([b'\n', ALGORITHM_ED25519])
            .chain_update(key.as_bytes())
            .finalize();
        Ok(Self { name: name.to_owned(), hash: [hashed[0], hashed[1], hashed[2], hashed[3]], key })
    }

    fn signed(&self, note: &Note<'_>) -> bool {
        note.signatures.lines().any(|line| {
            let Some((name, blob)) = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' ')) else {
                return false;
            };
            let Ok(blob) = STANDARD.decode(blob) else { return false };
            let Some((hash, signature)) = blob.split_first_chunk::<4>() else { return false };
            name == self.name
                && *hash == self.hash
                && signature.len() == SIGNATURE_BYTES
                && self.key.verifies(note.text.as_bytes(), signature)
        })
    }
}

/// Checks the proof and that the checkpoint says the same log and tree.
///
/// # Errors
/// [`TicketRefusal::Checkpoint`] or [`TicketRefusal::LogProof`].
pub(super) fn check(log: &Log, key: Option<&CheckpointKey>) -> Result<(), TicketRefusal> {
    let wrong = |detail: &str| TicketRefusal::Checkpoint { detail: detail.to_owned() };
    let note = Note::read(&log.checkpoint).ok_or_else(|| wrong("not a checkpoint of origin, size and root"))?;
    if note.origin != log.origin {
        return Err(wrong("its origin is not that of the ticket"));
    }
    if note.size != log.tree_size {
        return Err(wrong("its tree size is not that of the ticket"));
    }
    match key {
        Some(key) if !key.signed(&note) => return Err(wrong("no signature by the pinned log key")),
        _ => {}
    }
    let proof: Vec<_> = log.proof.iter().map(|hash| *hash.0.as_bytes()).collect();
    match root(*log.leaf_hash.0.as_bytes(), log.leaf_index, log.tree_size, &proof) {
        Some(found) if found == note.root => Ok(()),
        _ => Err(TicketRefusal::LogProof { leaf_index: log.leaf_index, tree_size: log.tree_size }),
    }
}

/// A checkpoint's parts (C2SP tlog-checkpoint); extension lines are signed and not looked at.
struct Note<'a> {
    text: &'a str,
    signatures: &'a str,
    origin: &'a str,
    size: u64,
    root: [u8; 32],
}

impl<'a> Note<'a> {
    fn read(checkpoint: &'a str) -> Option<Self> {
        let split = checkpoint.rfind("\n\n")?;
        let (text, signatures) = (checkpoint.get(..=split)?, checkpoint.get(split + 2..)?);
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let canonical = size == "0" || !size.starts_with(['0', '+']);
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        (canonical && !origin.is_empty()).then_some(Self { text, signatures, origin, size: size.parse().ok()?, root })
    }
}

/// The root that `proof` leads to (RFC 9162, 2.1.3.2); `None` when it does not fit `index` and `size`.
fn root(leaf: [u8; 32], index: u64, size: u64, proof: &[[u8; 32]]) -> Option<[u8; 32]> {
    if index >= size || proof.len() > MAX_PROOF_HASHES {
        return None;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return None;
        }
        if node % 2 == 1 || node == last {
            hash = parent(sibling, &hash);
            while node.is_multiple_of(2) && node != 0 {
                node /= 2;
                last /= 2;
            }
        } else {
            hash = parent(&hash, sibling);
        }
        node /= 2;
        last /= 2;
    }
    (last == 0).then_some(hash)
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;
    use crate::key::PrivateKey;
    use crate::ticket::Sha256Hex;

    fn leaf(n: usize) -> [u8; 32] {
        Sha256::digest([b"\0leaf".as_slice(), &n.to_be_bytes()].concat()).into()
    }

    /// RFC 6962, 2.1: the definition itself, as the oracle.
    fn tree(from: usize, to: usize) -> [u8; 32] {
        if to - from == 1 {
            return leaf(from);
        }
        let split = from + (to - from).next_power_of_two() / 2;
        parent(&tree(from, split), &tree(split, to))
    }

    /// RFC 6962, 2.1.1: PATH(m, D[n]).
    fn path(index: usize, from: usize, to: usize) -> Vec<[u8; 32]> {
        if to - from == 1 {
            return Vec::new();
        }
        let split = from + (to - from).next_power_of_two() / 2;
        let (mut lower, sibling) = if index < split {
            (path(index, from, split), tree(split, to))
        } else {
            (path(index, split, to), tree(from, split))
        };
        lower.push(sibling);
        lower
    }

    fn log(index: usize, size: usize) -> (Log, CheckpointKey) {
        let key = PrivateKey::from_seed(&[3; 32]);
        let verifier = CheckpointKey::new("log.example/audit", key.public()).unwrap();
        let text = format!("log.example/audit\n{size}\n{}\n", STANDARD.encode(tree(0, size)));
        let blob = [verifier.hash.as_slice(), &key.sign(text.as_bytes())].concat();
        let checkpoint = format!("{text}\n\u{2014} log.example/audit {}\n", STANDARD.encode(blob));
        let hash = |bytes| Sha256Hex(Digest::from_bytes(bytes));
        let log = Log {
            origin: "log.example/audit".into(),
            tree_size: size as u64,
            leaf_index: index as u64,
            leaf_hash: hash(leaf(index)),
            proof: path(index, 0, size).into_iter().map(hash).collect(),
            checkpoint,
        };
        (log, verifier)
    }

    proptest! {
        #[test]
        fn every_leaf_of_every_tree_proves(size in 1_usize..70, seed in any::<usize>()) {
            let (log, key) = log(seed % size, size);
            prop_assert_eq!(check(&log, Some(&key)), Ok(()));
        }

        #[test]
        fn no_other_leaf_index_or_size_proves(size in 2_usize..70, seed in any::<usize>(), other in 0_u64..80) {
            let (good, key) = log(seed % size, size);
            let mut bad = good.clone();
            bad.leaf_index = other;
            if other != good.leaf_index {
                prop_assert!(check(&bad, Some(&key)).is_err());
            }
            let mut bad = good.clone();
            bad.leaf_hash = Sha256Hex(Digest::of(&other.to_be_bytes()));
            prop_assert!(check(&bad, Some(&key)).is_err());
            let mut bad = good.clone();
            bad.proof.pop();
            prop_assert!(check(&bad, Some(&key)).is_err());
            let mut bad = good;
            bad.proof.push(Sha256Hex(Digest::of(b"more")));
            prop_assert!(check(&bad, Some(&key)).is_err());
        }
    }

    #[test]
    fn a_checkpoint_of_another_log_or_key_is_refused() {
        let (good, key) = log(3, 9);
        let with = |edit: fn(&mut Log)| {
            let mut bad = good.clone();
            edit(&mut bad);
            bad
        };
        for bad in [
            with(|log| log.origin = "log.example/other".into()),
            with(|log| log.tree_size = 10),
            with(|log| log.checkpoint.clear()),
            with(|log| log.checkpoint = log.checkpoint.replace("\n9\n", "\n09\n")),
            with(|log| log.checkpoint = log.checkpoint.split("\u{2014}").next().unwrap_or_default().to_owned()),
        ] {
            assert!(matches!(check(&bad, Some(&key)), Err(TicketRefusal::Checkpoint { .. })), "{bad:?}");
        }
        let other = CheckpointKey::new("log.example/audit", PrivateKey::from_seed(&[4; 32]).public()).unwrap();
        assert!(matches!(check(&good, Some(&other)), Err(TicketRefusal::Checkpoint { .. })));
    }

    #[test]
    fn a_witnessed_checkpoint_of_two_other_implementations_holds() {
        // Entries `{"n":0}` to `{"n":6}`, log seed 00..1f, one witness besides; computed by two independent programs.
        let key: CheckpointKey =
            "witgate.example/audit/1+2cdb2a2b+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4".parse().unwrap();
        let hash = |text: &str| Sha256Hex(Digest::from_bytes(STANDARD.decode(text).unwrap().try_into().unwrap()));
        let log = Log {
            origin: "witgate.example/audit/1".into(),
            tree_size: 7,
            leaf_index: 5,
            leaf_hash: Sha256Hex(Digest::of(b"\0{\"n\":5}")),
            proof: vec![
                hash("Z8vzSda05Mr0MKlnUcpTIhRBTC+Mn3xWervD5S8t85E="),
                hash("twd0fosJ36rGfSxIXhIv1/ZKN3lC+V+dsHff086jEnM="),
                hash("vQBwrL3GeaJM9EYVhBSD+/zBiroArk2+KgxUrybL2fo="),
            ],
            checkpoint: [
                "witgate.example/audit/1\n7\nju+6vaTwi1RItNuwTrHrzyzYa/Nn0cD+wyFIgqkbe54=\n\n",
                "\u{2014} witgate.example/audit/1 LNsqK8xg79+Bdl0U+mP/Wkuq5vQjlYv9SrnUp7nwTNCSUIcw96mzYtCH2iUbO5dwDoCN53LbFgH00WyW1qgeaWakVw4=\n",
                "\u{2014} witness.example/w1 IDJKvgAAAABpVbkApk5W3YnrNRa3vQ1OyAx0R8Srf5nUTcwXsdnKCQJ9w1mVRNKCeJgrb5o9RPMeJ9SIT7coDLCw/OoY6TBC1r15Dg==\n",
            ]
            .concat(),
        };
        assert_eq!(check(&log, Some(&key)), Ok(()));
        let mut other = log;
        other.leaf_index = 4;
        assert_eq!(check(&other, Some(&key)), Err(TicketRefusal::LogProof { leaf_index: 4, tree_size: 7 }));
    }

    #[test]
    fn verifier_keys_are_read_as_the_specification_writes_them() {
        // golang.org/x/mod/sumdb/note, the key of sum.golang.org.
        let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let key: CheckpointKey = text.parse().unwrap();
        assert_eq!(key.name, "sum.golang.org");
        assert_eq!(text.replace("033de0ae", "033de0af").parse::<CheckpointKey>(), Err(InvalidCheckpointKey));
        assert_eq!("a+b".parse::<CheckpointKey>(), Err(InvalidCheckpointKey));
    }
}
