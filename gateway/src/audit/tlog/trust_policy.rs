//! Whom a reader trusts (C2SP tlog-policy): logs, witnesses, groups of witnesses, one quorum.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::note::{KeyKind, NoteError, SignedNote, VerifierKey, VkeyError};

/// The largest policy file, in bytes.
pub const MAX_POLICY_BYTES: usize = 256 << 10;
/// The most logs, witnesses and groups, each (the specification asks for at least 32).
pub const MAX_POLICY_NAMES: usize = 256;

/// A parsed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPolicy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    quorum: Quorum,
}

/// What must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Quorum {
    None,
    /// A witness, by its place in the list.
    Witness(usize),
    Group {
        threshold: usize,
        members: Vec<Quorum>,
    },
}

/// Why a policy file is refused, or a checkpoint by the policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than [`MAX_POLICY_BYTES`], or more than [`MAX_POLICY_NAMES`] of a kind.
    #[error("the policy is too large")]
    TooLarge,
    /// A byte that is neither tab, line feed, printable ASCII nor part of UTF-8.
    #[error("the policy is not plain UTF-8 text")]
    Characters,
    /// A line that is none of `log`, `witness`, `group`, `quorum`.
    #[error(
        "line {line}: expected `log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME all|any|K NAME…` or `quorum NAME|none`"
    )]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A key that is none, or of the wrong type for its line.
    #[error("line {line}: the vkey is refused")]
    Vkey {
        /// Counted from 1.
        line: usize,
        /// Why.
        #[source]
        source: VkeyError,
    },
    /// A key that stands in the policy twice.
    #[error("line {line}: this public key stands in the policy already")]
    KeyTwice {
        /// Counted from 1.
        line: usize,
    },
    /// A name defined twice, used before its definition, or a member twice.
    #[error("line {line}: `{name}` is defined twice, used before its line, or a member twice")]
    Name {
        /// Counted from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// Not exactly one `quorum` line, or no `log` line.
    #[error("the policy has no `log` line, or not exactly one `quorum` line")]
    Incomplete,
    /// The note is refused.
    #[error("the checkpoint's signatures are refused")]
    Note(#[from] NoteError),
    /// The text is no checkpoint.
    #[error("the checkpoint is refused")]
    Checkpoint(#[from] CheckpointError),
    /// No known log of that origin signed it.
    #[error("no log of the policy signed the checkpoint of `{origin}`")]
    Origin {
        /// The checkpoint's origin.
        origin: String,
    },
    /// Too few witnesses cosigned.
    #[error("the quorum of witnesses is not reached")]
    Quorum,
}

impl TrustPolicy {
    /// One log, no witnesses.
    pub fn of_log(log: VerifierKey) -> Self {
        Self { logs: vec![log], witnesses: Vec::new(), quorum: Quorum::None }
    }

    /// The logs' keys.
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// Checks a signed checkpoint: a log of this policy signed it under its own origin, and the quorum cosigned.
    pub fn verify(&self, note: &[u8]) -> Result<Checkpoint, PolicyError> {
        let note = SignedNote::parse(note)?;
        let keys: Vec<VerifierKey> = self.logs.iter().chain(&self.witnesses).cloned().collect();
        let verified = note.verify(&keys)?;
        let checkpoint: Checkpoint = note.unverified_text().parse()?;
        let by_log = |key: &VerifierKey| self.logs.contains(key) && key.name() == checkpoint.origin;
        if !verified.iter().any(|signature| by_log(signature.key)) {
            return Err(PolicyError::Origin { origin: checkpoint.origin });
        }
        let cosigned = |witness: usize| verified.iter().any(|signature| *signature.key == self.witnesses[witness]);
        if self.quorum.is_met(&cosigned) { Ok(checkpoint) } else { Err(PolicyError::Quorum) }
    }
}

impl Quorum {
    fn is_met(&self, cosigned: &impl Fn(usize) -> bool) -> bool {
        match self {
            Self::None => true,
            Self::Witness(witness) => cosigned(*witness),
            Self::Group { threshold, members } => {
                members.iter().filter(|member| member.is_met(cosigned)).count() >= *threshold
            }
        }
    }
}

impl FromStr for TrustPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge);
        }
        if text.bytes().any(|b| !matches!(b, b'\t' | b'\n' | 0x20..=0x7e | 0x80..)) {
            return Err(PolicyError::Characters);
        }
        let mut reading = Reading::default();
        for (at, line) in text.split('\n').enumerate() {
            let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            if words.first().is_none_or(|word| word.starts_with('#')) {
                continue;
            }
            reading.line(at + 1, &words)?;
        }
        let quorum = reading.quorum.ok_or(PolicyError::Incomplete)?;
        if reading.logs.is_empty() {
            return Err(PolicyError::Incomplete);
        }
        Ok(Self { logs: reading.logs, witnesses: reading.witnesses, quorum })
    }
}

/// What was read so far. A name leaves `free` when a group takes it in, so that nobody is counted twice.
#[derive(Default)]
struct Reading {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    defined: BTreeMap<String, Option<Quorum>>,
    quorum: Option<Quorum>,
}

impl Reading {
    fn line(&mut self, line: usize, words: &[&str]) -> Result<(), PolicyError> {
        match words {
            ["log", vkey] | ["log", vkey, _] => {
                let key = self.key(line, vkey, KeyKind::Ed25519)?;
                self.logs.push(key);
            }
            ["witness", name, vkey] | ["witness", name, vkey, _] => {
                let key = self.key(line, vkey, KeyKind::CosignatureV1)?;
                self.witnesses.push(key);
                self.define(line, name, Quorum::Witness(self.witnesses.len() - 1))?;
            }
            ["group", name, threshold, members @ ..] if !members.is_empty() => {
                let threshold = match *threshold {
                    "all" => members.len(),
                    "any" => 1,
                    number => super::checkpoint::canonical_number(number)
                        .and_then(|number| usize::try_from(number).ok())
                        .filter(|number| (1..=members.len()).contains(number))
                        .ok_or(PolicyError::Line { line })?,
                };
                let members = members.iter().map(|member| self.take(line, member)).collect::<Result<_, _>>()?;
                self.define(line, name, Quorum::Group { threshold, members })?;
            }
            ["quorum", name] if self.quorum.is_none() => {
                self.quorum = Some(if *name == "none" { Quorum::None } else { self.take(line, name)? });
            }
            ["quorum", _] => return Err(PolicyError::Incomplete),
            _ => return Err(PolicyError::Line { line }),
        }
        if [self.logs.len(), self.defined.len()].iter().any(|count| *count > MAX_POLICY_NAMES) {
            return Err(PolicyError::TooLarge);
        }
        Ok(())
    }

    fn key(&self, line: usize, vkey: &str, kind: KeyKind) -> Result<VerifierKey, PolicyError> {
        let key: VerifierKey = vkey.parse().map_err(|source| PolicyError::Vkey { line, source })?;
        if key.kind() != kind {
            return Err(PolicyError::Vkey { line, source: VkeyError::Kind(key.kind().byte()) });
        }
        if self.logs.iter().chain(&self.witnesses).any(|other| other.public() == key.public()) {
            return Err(PolicyError::KeyTwice { line });
        }
        Ok(key)
    }

    fn define(&mut self, line: usize, name: &str, value: Quorum) -> Result<(), PolicyError> {
        if name == "none" || self.defined.contains_key(name) {
            return Err(PolicyError::Name { line, name: name.to_owned() });
        }
        self.defined.insert(name.to_owned(), Some(value));
        Ok(())
    }

    fn take(&mut self, line: usize, name: &str) -> Result<Quorum, PolicyError> {
        let taken = self.defined.get_mut(name).and_then(Option::take);
        taken.ok_or_else(|| PolicyError::Name { line, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::super::note::{Signer, cosigned};
    use super::*;

    struct Witness {
        key: SigningKey,
        verifier: VerifierKey,
    }

    impl Witness {
        fn new(name: &str, seed: u8) -> Self {
            let key = SigningKey::from_bytes(&[seed; 32]);
            let verifier = VerifierKey::new(name, KeyKind::CosignatureV1, key.verifying_key().as_bytes()).unwrap();
            Self { key, verifier }
        }

        fn line(&self, text: &str, time_s: u64) -> String {
            use base64::Engine as _;
            let signature = self.key.sign(cosigned(text, time_s).as_bytes()).to_bytes();
            let payload = [&self.verifier.key_id()[..], &time_s.to_be_bytes(), &signature].concat();
            format!("— {} {}\n", self.verifier.name(), base64::engine::general_purpose::STANDARD.encode(payload))
        }
    }

    fn log() -> Signer {
        Signer::new("log.example/1", &[9; 32]).unwrap()
    }

    const TEXT: &str = "log.example/1\n7\nju+6vaTwi1RItNuwTrHrzyzYa/Nn0cD+wyFIgqkbe54=\n";

    fn policy(witnesses: &[&Witness], tail: &str) -> Result<TrustPolicy, PolicyError> {
        let mut text = format!("# who is trusted\nlog {} https://log.example/\n\n", log().verifier());
        for (at, witness) in witnesses.iter().enumerate() {
            text.push_str(&format!("witness w{at}\t{}\n", witness.verifier));
        }
        format!("{text}{tail}").parse()
    }

    #[test]
    fn a_quorum_counts_each_witness_once() {
        let (a, b, c) = (Witness::new("a", 1), Witness::new("b", 2), Witness::new("c", 3));
        let two_of_three = policy(&[&a, &b, &c], "group g 2 w0 w1 w2\nquorum g\n").unwrap();
        let signed = log().sign(TEXT).to_string();
        let with = |witnesses: &[&Witness]| {
            let lines: String = witnesses.iter().map(|witness| witness.line(TEXT, 5)).collect();
            two_of_three.verify(format!("{signed}{lines}").as_bytes())
        };
        assert_eq!(with(&[]), Err(PolicyError::Quorum));
        assert_eq!(with(&[&a]), Err(PolicyError::Quorum));
        assert_eq!(with(&[&a, &a]), Err(PolicyError::Note(NoteError::Twice { name: "a".into() })));
        assert_eq!(with(&[&c, &a]).unwrap().size, 7);
        // Witnesses alone do not make a log.
        let (_, lines) = signed.split_once("\n\n").unwrap();
        let unsigned = format!("{TEXT}\n{}{}", a.line(TEXT, 5), b.line(TEXT, 5));
        assert!(lines.starts_with('—'));
        assert_eq!(
            two_of_three.verify(unsigned.as_bytes()),
            Err(PolicyError::Origin { origin: "log.example/1".into() })
        );
    }

    #[test]
    fn groups_nest_and_mean_what_they_say() {
        let (a, b, c) = (Witness::new("a", 1), Witness::new("b", 2), Witness::new("c", 3));
        let nested = policy(&[&a, &b, &c], "group g any w0 w1\ngroup h all g w2\nquorum h\n").unwrap();
        let signed = log().sign(TEXT).to_string();
        assert!(nested.verify(format!("{signed}{}{}", b.line(TEXT, 1), c.line(TEXT, 1)).as_bytes()).is_ok());
        assert!(nested.verify(format!("{signed}{}{}", a.line(TEXT, 1), b.line(TEXT, 1)).as_bytes()).is_err());
        assert!(
            policy(&[&a], "quorum w0\n").unwrap().verify(format!("{signed}{}", a.line(TEXT, 1)).as_bytes()).is_ok()
        );
        assert!(policy(&[], "quorum none\n").unwrap().verify(signed.as_bytes()).is_ok());
    }

    #[test]
    fn a_log_may_sign_under_its_own_origin_only() {
        let other = log().sign(&TEXT.replace("log.example/1", "log.example/2"));
        let policy = policy(&[], "quorum none\n").unwrap();
        let refused = policy.verify(other.to_string().as_bytes());
        assert_eq!(refused, Err(PolicyError::Origin { origin: "log.example/2".into() }));
    }

    #[test]
    fn refuses_policies_that_say_two_things() {
        let (a, b) = (Witness::new("a", 1), Witness::new("b", 2));
        let same_key = Witness::new("c", 1);
        for tail in [
            "",
            "quorum g\n",
            "quorum none\nquorum none\n",
            "group g 3 w0 w1\nquorum g\n",
            "group g 0 w0 w1\nquorum g\n",
            "group g 01 w0 w1\nquorum g\n",
            "group g all\nquorum g\n",
            "group g all w0 w0\nquorum g\n",
            "group g all h\ngroup h all w0\nquorum g\n",
            "group g all w0\ngroup h all w0\nquorum h\n",
            "group w0 all w1\nquorum w0\n",
            "group none all w1\nquorum none\n",
            "nonsense\nquorum none\n",
            "quorum none extra\n",
            "quorum none\r\n",
            "quorum none\u{7f}\n",
            "log nonsense\nquorum none\n",
        ] {
            assert!(policy(&[&a, &b], tail).is_err(), "`{tail}` was taken");
        }
        assert_eq!(policy(&[&a, &same_key], "quorum none\n"), Err(PolicyError::KeyTwice { line: 5 }));
        assert_eq!("quorum none\n".parse::<TrustPolicy>(), Err(PolicyError::Incomplete));
        let mut long = String::from("quorum none\n");
        long.push_str(&"#".repeat(MAX_POLICY_BYTES));
        assert_eq!(long.parse::<TrustPolicy>(), Err(PolicyError::TooLarge));
    }

    #[test]
    fn takes_as_many_witnesses_as_the_specification_asks_for() {
        let witnesses: Vec<Witness> = (1..=40).map(|seed| Witness::new(&format!("witness{seed}"), seed)).collect();
        let all: Vec<&Witness> = witnesses.iter().collect();
        let names: Vec<String> = (0..40).map(|at| format!("w{at}")).collect();
        // Seed 9 is the log's own key.
        let without: Vec<&Witness> = all.iter().enumerate().filter(|(at, _)| *at != 8).map(|(_, w)| *w).collect();
        assert!(policy(&without, &format!("group g 20 {}\nquorum g\n", names[..39].join(" "))).is_ok());
        assert!(policy(&all, "quorum none\n").is_err());
    }
}
