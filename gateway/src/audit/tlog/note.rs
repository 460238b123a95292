//! Signed notes (C2SP signed-note): a text with one or more signature lines.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::hash::Hash;

/// The largest note, in bytes: a post-quantum signature line reaches 5 kB and 16 of them must fit (C2SP signed-note).
pub const MAX_NOTE_BYTES: usize = 128 << 10;
/// The most signature lines of a note (Go's `x/mod/sumdb/note` has the same).
pub const MAX_SIGNATURES: usize = 100;

/// What opens each signature line: an em dash, then one space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A parsed note; nothing about it is believed before [`SignedNote::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<SignatureLine>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    /// The name it gives; not believed.
    pub unverified_name: String,
    /// The first four bytes of the payload.
    pub key_id: [u8; 4],
    /// What follows the key id.
    pub signature: Vec<u8>,
}

/// A signature that a known key made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSignature<'a> {
    /// The key.
    pub key: &'a VerifierKey,
    /// The time it was made at, in seconds since 1970: cosignatures only.
    pub time_s: Option<u64>,
}

/// Why a note is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("note is longer than {MAX_NOTE_BYTES} bytes")]
    TooLong,
    /// Not UTF-8, or a control character other than a line feed.
    #[error("note is not plain UTF-8 text")]
    Characters,
    /// No blank line followed by signature lines.
    #[error("note has no blank line followed by signatures")]
    NoSignatures,
    /// More than [`MAX_SIGNATURES`].
    #[error("note has more than {MAX_SIGNATURES} signature lines")]
    TooManySignatures,
    /// A line behind the blank line that is no signature line.
    #[error("signature line {line} is not an em dash, a name and strict base64")]
    SignatureLine {
        /// Counted from 1.
        line: usize,
    },
    /// A known key's signature does not verify.
    #[error("the signature of `{name}` does not verify")]
    Signature {
        /// The key's name.
        name: String,
    },
    /// Two lines of one known key.
    #[error("`{name}` signed twice")]
    Twice {
        /// The key's name.
        name: String,
    },
    /// No line is by a known key.
    #[error("no known key signed the note")]
    Unsigned,
}

impl SignedNote {
    /// Reads a note: text, blank line, signature lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Characters);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let lines = lines.strip_suffix('\n').filter(|lines| !lines.is_empty()).ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (at, line) in lines.split('\n').enumerate() {
            if at == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(SignatureLine::parse(line).ok_or(NoteError::SignatureLine { line: at + 1 })?);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text that is signed, its last line feed included.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// Its signature lines.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// The signatures of `keys`, in the order of their lines, at least one. Lines of other keys are passed over: that is
    /// how rotation and cosigning work.
    pub fn verify<'a>(&self, keys: &'a [VerifierKey]) -> Result<Vec<VerifiedSignature<'a>>, NoteError> {
        let mut verified: Vec<VerifiedSignature<'a>> = Vec::new();
        for line in &self.signatures {
            let known = |key: &&VerifierKey| key.name == line.unverified_name && key.key_id() == line.key_id;
            for key in keys.iter().filter(known) {
                if verified.iter().any(|other| other.key == key) {
                    return Err(NoteError::Twice { name: key.name.clone() });
                }
                let time_s = key
                    .check(&self.text, &line.signature)
                    .ok_or_else(|| NoteError::Signature { name: key.name.clone() })?;
                verified.push(VerifiedSignature { key, time_s });
            }
        }
        if verified.is_empty() { Err(NoteError::Unsigned) } else { Ok(verified) }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl SignatureLine {
    fn parse(line: &str) -> Option<Self> {
        let (name, payload) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        if !is_key_name(name) {
            return None;
        }
        let payload = STANDARD.decode(payload).ok()?;
        let (key_id, signature) = payload.split_first_chunk::<4>()?;
        (!signature.is_empty()).then(|| Self {
            unverified_name: name.to_owned(),
            key_id: *key_id,
            signature: signature.to_vec(),
        })
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = [&self.key_id[..], &self.signature].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.unverified_name, STANDARD.encode(payload))
    }
}

/// A key that may sign notes, as a vkey: `NAME+HEX8(key id)+BASE64(type ‖ public key)` (C2SP signed-note).
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    key: VerifyingKey,
}

/// What a key's signatures are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Type 0x01: Ed25519 over the note's text.
    Ed25519,
    /// Type 0x04: a timestamped Ed25519 cosignature (C2SP tlog-cosignature, `cosignature/v1`).
    CosignatureV1,
}

impl KeyKind {
    /// The type byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }
}

/// Why a text is no vkey that witgate takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// Not `NAME+HEX8+BASE64`.
    #[error("expected `NAME+KEYID+BASE64`")]
    Form,
    /// A type other than 0x01 and 0x04.
    #[error("key type {0:#04x} is not supported: expected 0x01 (Ed25519) or 0x04 (cosignature/v1)")]
    Kind(u8),
    /// The key id is not the hash of name and key.
    #[error("the key id does not belong to the key: expected `{expected}`")]
    KeyId {
        /// Eight hex digits.
        expected: String,
    },
    /// Not a point, not canonical, or of small order.
    #[error("the key is not a sound Ed25519 public key")]
    Key,
}

impl VerifierKey {
    /// A key by its parts; refuses names and keys that no vkey may have.
    pub fn new(name: &str, kind: KeyKind, public: &Hash) -> Result<Self, VkeyError> {
        if !is_key_name(name) {
            return Err(VkeyError::Form);
        }
        let key = VerifyingKey::from_bytes(public).map_err(|_| VkeyError::Key)?;
        if key.is_weak() || !is_canonical(public) {
            return Err(VkeyError::Key);
        }
        Ok(Self { name: name.to_owned(), kind, key })
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its signatures are over.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The 32 bytes of the public key.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// SHA-256(name ‖ 0x0A ‖ type ‖ public key), first four bytes.
    pub fn key_id(&self) -> [u8; 4] {
        let hash: Hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', self.kind.byte()])
            .chain_update(self.key.as_bytes())
            .finalize()
            .into();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// `None` when the signature is not this key's; otherwise the time of a cosignature.
    fn check(&self, text: &str, payload: &[u8]) -> Option<Option<u64>> {
        let (time_s, signature) = match self.kind {
            KeyKind::Ed25519 => (None, payload),
            KeyKind::CosignatureV1 => {
                let (time, signature) = payload.split_first_chunk::<8>()?;
                (Some(u64::from_be_bytes(*time)), signature)
            }
        };
        let signature = Signature::from_slice(signature).ok()?;
        let verified = match time_s {
            None => self.key.verify_strict(text.as_bytes(), &signature),
            Some(time_s) => self.key.verify_strict(cosigned(text, time_s).as_bytes(), &signature),
        };
        verified.ok().map(|()| time_s)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()][..], self.key.as_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.key_id()), STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(key_id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VkeyError::Form);
        };
        if key_id.len() != 8 || !key_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(VkeyError::Form);
        }
        let key = STANDARD.decode(key).map_err(|_| VkeyError::Form)?;
        let (kind, public) = key.split_first().ok_or(VkeyError::Form)?;
        let kind = match kind {
            0x01 => KeyKind::Ed25519,
            0x04 => KeyKind::CosignatureV1,
            other => return Err(VkeyError::Kind(*other)),
        };
        let key = Self::new(name, kind, public.try_into().map_err(|_| VkeyError::Key)?)?;
        let expected = hex::encode(key.key_id());
        if expected == key_id { Ok(key) } else { Err(VkeyError::KeyId { expected }) }
    }
}

/// Signs notes with an Ed25519 key (type 0x01).
pub struct Signer {
    verifier: VerifierKey,
    key: SigningKey,
}

impl Signer {
    /// A signer by name and seed; refuses names that no vkey may have.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, VkeyError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, KeyKind::Ed25519, key.verifying_key().as_bytes())?;
        Ok(Self { verifier, key })
    }

    /// The key to check its notes with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The note of `text`, which ends with a line feed and holds no other control character.
    pub fn sign(&self, text: &str) -> SignedNote {
        use ed25519_dalek::Signer as _;
        debug_assert!(text.ends_with('\n') && text.bytes().all(|b| b >= 0x20 || b == b'\n'), "a note's text is lines");
        let line = SignatureLine {
            unverified_name: self.verifier.name.clone(),
            key_id: self.verifier.key_id(),
            signature: self.key.sign(text.as_bytes()).to_bytes().to_vec(),
        };
        SignedNote { text: text.to_owned(), signatures: vec![line] }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// What a witness signs (C2SP tlog-cosignature): two header lines, then the checkpoint's text.
pub fn cosigned(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

/// Whether a text may be a key's name: not empty, no white space, no `+` (C2SP signed-note).
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// Whether the encoded y is below 2^255 - 19 (RFC 8032, 5.1.3).
fn is_canonical(public: &[u8; 32]) -> bool {
    let mut y = *public;
    y[31] &= 0x7f;
    !(y[31] == 0x7f && y[1..31].iter().all(|byte| *byte == 0xff) && y[0] >= 0xed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::new(name, &std::array::from_fn(|at| seed + at as u8)).unwrap()
    }

    #[test]
    fn vkeys_round_trip() {
        for vkey in [
            VKEY,
            "witgate.example/audit/1+2cdb2a2b+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
            "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X",
        ] {
            assert_eq!(vkey.parse::<VerifierKey>().unwrap().to_string(), vkey);
        }
    }

    #[test]
    fn refuses_vkeys_that_say_two_things() {
        for vkey in [
            "",
            "example.com/foo",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
            "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example com+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        ] {
            assert!(vkey.parse::<VerifierKey>().is_err(), "`{vkey}` was taken");
        }
        let ml_dsa = format!("w+00000000+{}", STANDARD.encode([6u8; 1313]));
        assert_eq!(ml_dsa.parse::<VerifierKey>(), Err(VkeyError::Kind(6)));
    }

    #[test]
    fn refuses_weak_and_non_canonical_keys() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(VerifierKey::new("a", KeyKind::Ed25519, &identity), Err(VkeyError::Key));
        // 2^255 - 19 + 3: the same point as y = 3, spelled above the modulus.
        let mut high = [0xff; 32];
        (high[0], high[31]) = (0xf0, 0x7f);
        assert!(!is_canonical(&high));
        assert_eq!(VerifierKey::new("a", KeyKind::Ed25519, &high), Err(VkeyError::Key));
        let mut highest = high;
        highest[0] = 0xec;
        assert!(is_canonical(&highest));
    }

    #[test]
    fn the_specifications_note_verifies() {
        let note = "This is an example message.\n\n\
                    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
        let parsed = SignedNote::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.to_string(), note);
        let keys = [VKEY.parse::<VerifierKey>().unwrap()];
        assert_eq!(parsed.verify(&keys).unwrap()[0].key.name(), "example.com/foo");
    }

    #[test]
    fn a_note_verifies_with_its_key_only() {
        let (ours, other) = (signer("a.example", 1), signer("b.example", 2));
        let note = ours.sign("text\n\nmore\n");
        let keys = [other.verifier().clone(), ours.verifier().clone()];
        let parsed = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(parsed, note);
        assert_eq!(parsed.verify(&keys).unwrap()[0].key, ours.verifier());
        assert_eq!(parsed.verify(&keys[..1]), Err(NoteError::Unsigned));
        // A key of the same name with another id is another key.
        let renamed = signer("a.example", 3);
        assert_eq!(parsed.verify(std::slice::from_ref(renamed.verifier())), Err(NoteError::Unsigned));
    }

    #[test]
    fn a_bad_line_of_a_known_key_refuses_the_whole_note() {
        let (ours, other) = (signer("a.example", 1), signer("b.example", 2));
        let keys = [ours.verifier().clone(), other.verifier().clone()];
        let mut note = ours.sign("text\n");
        let mut forged = other.sign("other text\n").signatures;
        note.signatures.append(&mut forged);
        assert_eq!(note.verify(&keys), Err(NoteError::Signature { name: "b.example".into() }));
        assert!(note.verify(&keys[..1]).is_ok());
        let line = note.signatures[0].clone();
        note.signatures = vec![line.clone(), line];
        assert_eq!(note.verify(&keys), Err(NoteError::Twice { name: "a.example".into() }));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let ours = signer("a.example", 1);
        let keys = [ours.verifier().clone()];
        let note = ours.sign("a.example\n3\nqqo=\n").to_string().into_bytes();
        for bit in 0..note.len() * 8 {
            let mut flipped = note.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verified = SignedNote::parse(&flipped).and_then(|note| note.verify(&keys).map(|_| ()));
            assert!(verified.is_err(), "bit {bit} flipped and the note still verified");
        }
    }

    #[test]
    fn refuses_texts_that_are_no_note() {
        let line = signer("a", 1).sign("t\n").signatures[0].to_string();
        for note in [
            String::new(),
            "t\n".into(),
            "t\n\n".into(),
            format!("t\n\n{line}"),
            format!("t\n{line}\n"),
            format!("t\n\n{line}\n\n"),
            format!("t\r\n\n{line}\n"),
            format!("t\n\n{line}\nx\n"),
            "t\n\n- a AAAAAAA=\n".into(),
            "t\n\n— a AAAA\n".into(),
            "t\n\n— a+b AAAAAAA=\n".into(),
            "t\n\n— a AAAAAAB=\n".into(),
            "t\n\n— a AAAAAAA\n".into(),
            format!("t\n\n{}", format!("{line}\n").repeat(MAX_SIGNATURES + 1)),
            format!("{}\n\n{line}\n", "t".repeat(MAX_NOTE_BYTES)),
        ] {
            assert!(SignedNote::parse(note.as_bytes()).is_err(), "`{note:.80}` was taken");
        }
        assert!(SignedNote::parse(format!("t\n\n{}", format!("{line}\n").repeat(MAX_SIGNATURES)).as_bytes()).is_ok());
        assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(NoteError::Characters));
    }
}
