//! The offline proof of one entry (C2SP tlog-proof): index, inclusion proof, checkpoint.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError, canonical_number};
use super::hash::{Hash, leaf_hash};
use super::note::{MAX_NOTE_BYTES, NoteError, SignedNote};
use super::proof::{MAX_PROOF_HASHES, ProofError, verify_inclusion};
use super::trust_policy::{PolicyError, TrustPolicy};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1\n";
/// The longest `extra` line, in bytes: nothing of ours writes one.
const MAX_EXTRA_BYTES: usize = 64 << 10;
/// The largest proof file, in bytes.
pub const MAX_PROOF_FILE_BYTES: usize = HEADER.len() + MAX_EXTRA_BYTES + 64 * (MAX_PROOF_HASHES + 2) + MAX_NOTE_BYTES;

/// A `.tlog-proof` file; nothing in it is believed before [`ProofFile::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// Bytes beside the proof, not authenticated.
    pub unverified_extra: Option<Vec<u8>>,
    /// The leaf's index.
    pub index: u64,
    /// From the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, cosignatures included, as it was given.
    pub checkpoint: String,
}

/// Why a proof file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// Longer than [`MAX_PROOF_FILE_BYTES`].
    #[error("proof is longer than {MAX_PROOF_FILE_BYTES} bytes")]
    TooLong,
    /// The first line is another.
    #[error("the first line is not `c2sp.org/tlog-proof@v1`")]
    Header,
    /// The `extra` line is not strict base64.
    #[error("the `extra` line is not base64")]
    Extra,
    /// No `index N` line.
    #[error("expected `index N`, N without leading zeros")]
    Index,
    /// A hash line is not 32 bytes of strict base64, or there are more than 63.
    #[error("hash line {line} is not 32 bytes in base64, or one too many")]
    Hash {
        /// Counted from 1.
        line: usize,
    },
    /// No blank line in front of the checkpoint.
    #[error("no blank line followed by a checkpoint")]
    NoCheckpoint,
    /// The checkpoint is no note, or its signatures do not hold.
    #[error("the checkpoint's note is refused")]
    Note(#[from] NoteError),
    /// The checkpoint's text is none.
    #[error("the checkpoint is refused")]
    Checkpoint(#[from] CheckpointError),
    /// The trust policy is not met.
    #[error("the trust policy is not met")]
    Policy(#[from] PolicyError),
    /// The inclusion proof does not hold.
    #[error("the inclusion proof is refused")]
    Proof(#[from] ProofError),
}

impl ProofFile {
    /// Checks that `entry` stands in a log that `policy` trusts, in the order that tlog-proof gives: leaf hash, origin and
    /// log signature, cosignatures against the quorum, inclusion. Gives the checkpoint.
    pub fn verify(&self, entry: &[u8], policy: &TrustPolicy) -> Result<Checkpoint, ProofFileError> {
        let leaf = leaf_hash(entry);
        let checkpoint = policy.verify(self.checkpoint.as_bytes())?;
        verify_inclusion(&leaf, self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if let Some(extra) = &self.unverified_extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for ProofFile {
    type Err = ProofFileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_PROOF_FILE_BYTES {
            return Err(ProofFileError::TooLong);
        }
        let rest = text.strip_prefix(HEADER).ok_or(ProofFileError::Header)?;
        let (head, checkpoint) = rest.split_once("\n\n").ok_or(ProofFileError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        let unverified_extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => {
                let extra = line.strip_prefix("extra ").filter(|extra| extra.len() <= MAX_EXTRA_BYTES);
                Some(extra.and_then(|extra| STANDARD.decode(extra).ok()).ok_or(ProofFileError::Extra)?)
            }
            None => None,
        };
        let index = lines.next().and_then(|line| canonical_number(line.strip_prefix("index ")?));
        let index = index.ok_or(ProofFileError::Index)?;
        let mut hashes = Vec::new();
        for (at, line) in lines.enumerate() {
            let hash = STANDARD.decode(line).ok().and_then(|hash| Hash::try_from(hash).ok());
            let hash = hash.filter(|_| at < MAX_PROOF_HASHES).ok_or(ProofFileError::Hash { line: at + 1 })?;
            hashes.push(hash);
        }
        SignedNote::parse(checkpoint.as_bytes())?.unverified_text().parse::<Checkpoint>()?;
        Ok(Self { unverified_extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    const VKEY: &str = "witgate.example/audit/1+2cdb2a2b+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    const PROOF: &str = "c2sp.org/tlog-proof@v1\nindex 5\n\
        Z8vzSda05Mr0MKlnUcpTIhRBTC+Mn3xWervD5S8t85E=\n\
        twd0fosJ36rGfSxIXhIv1/ZKN3lC+V+dsHff086jEnM=\n\
        vQBwrL3GeaJM9EYVhBSD+/zBiroArk2+KgxUrybL2fo=\n\n\
        witgate.example/audit/1\n7\nju+6vaTwi1RItNuwTrHrzyzYa/Nn0cD+wyFIgqkbe54=\n\n\
        — witgate.example/audit/1 LNsqK8xg79+Bdl0U+mP/Wkuq5vQjlYv9SrnUp7nwTNCSUIcw96mzYtCH2iUbO5dwDoCN53LbFgH00WyW1qgeaWakVw4=\n";

    fn policy() -> TrustPolicy {
        TrustPolicy::of_log(VKEY.parse().unwrap())
    }

    #[test]
    fn the_vector_is_met_to_the_byte() {
        assert_eq!(PROOF.len(), 360);
        assert_eq!(
            hex::encode(Sha256::digest(PROOF)),
            "b0e46a4dc49fde270845acdc9008227cd1966eaffa1a34d3cef7b915a8aa7437"
        );
        let proof: ProofFile = PROOF.parse().unwrap();
        assert_eq!(proof.to_string(), PROOF);
        assert_eq!(proof.verify(b"{\"n\":5}", &policy()).unwrap().size, 7);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for bit in 0..PROOF.len() * 8 {
            let mut flipped = PROOF.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verified = std::str::from_utf8(&flipped)
                .ok()
                .and_then(|text| text.parse::<ProofFile>().ok())
                .and_then(|proof| proof.verify(b"{\"n\":5}", &policy()).ok());
            assert_eq!(verified, None, "bit {bit} flipped and the proof still verified");
        }
        let proof: ProofFile = PROOF.parse().unwrap();
        assert!(matches!(proof.verify(b"{\"n\":6}", &policy()), Err(ProofFileError::Proof(ProofError::Root))));
    }

    #[test]
    fn refuses_what_is_too_long_or_out_of_shape() {
        let hash = "Z8vzSda05Mr0MKlnUcpTIhRBTC+Mn3xWervD5S8t85E=\n";
        let with_hashes = |count: usize| PROOF.replacen(hash, &hash.repeat(count), 1);
        assert!(with_hashes(MAX_PROOF_HASHES - 2).parse::<ProofFile>().is_ok());
        assert_eq!(with_hashes(MAX_PROOF_HASHES - 1).parse::<ProofFile>(), Err(ProofFileError::Hash { line: 64 }));
        assert_eq!(PROOF.replace("index 5", "index 05").parse::<ProofFile>(), Err(ProofFileError::Index));
        assert_eq!(PROOF.replace("index 5\n", "").parse::<ProofFile>(), Err(ProofFileError::Index));
        assert_eq!(PROOF.replace("@v1", "@v2").parse::<ProofFile>(), Err(ProofFileError::Header));
        assert_eq!(PROOF.replace("index 5", "extra x\nindex 5").parse::<ProofFile>(), Err(ProofFileError::Extra));
        let extra: ProofFile = PROOF.replace("index 5", "extra AAA=\nindex 5").parse().unwrap();
        assert_eq!(extra.unverified_extra.as_deref(), Some(&[0, 0][..]));
        let long = PROOF.replace("index 5", &format!("extra {}\nindex 5", "A".repeat(MAX_PROOF_FILE_BYTES)));
        assert_eq!(long.parse::<ProofFile>(), Err(ProofFileError::TooLong));
    }
}
