//! Checkpoints that the log did not sign for this entry (bypasses of cosign CVE-2026-22703).

#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::dev::sigstore::Log;

const ENVELOPE: &str = "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope";

/// A checkpoint in its parts: origin, size, root, then the signature lines.
#[derive(Clone)]
struct Note {
    origin: String,
    size: String,
    root: String,
    signatures: Vec<String>,
}

impl Note {
    fn of(bundle: &[u8]) -> Self {
        let bundle: Value = serde_json::from_slice(bundle).unwrap();
        let note = bundle.pointer(ENVELOPE).unwrap().as_str().unwrap().to_owned();
        let (body, signatures) = note.split_once("\n\n").unwrap();
        let [origin, size, root] = body.split('\n').collect::<Vec<_>>()[..] else { panic!("{body}") };
        let (origin, size, root) = (origin.into(), size.into(), root.into());
        Self { origin, size, root, signatures: signatures.lines().map(str::to_owned).collect() }
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n\n{}\n", self.origin, self.size, self.root, self.signatures.join("\n"))
    }

    /// The first signature's name, key hint and signature.
    fn signature(&self) -> (String, [u8; 4], Vec<u8>) {
        let mut words = self.signatures[0].split(' ').skip(1);
        let name = words.next().unwrap().to_owned();
        let bytes = BASE64_STANDARD.decode(words.next().unwrap()).unwrap();
        let (hint, signature) = bytes.split_at(4);
        (name, hint.try_into().unwrap(), signature.to_vec())
    }
}

fn line(name: &str, hint: [u8; 4], signature: &[u8]) -> String {
    format!("\u{2014} {name} {}", BASE64_STANDARD.encode([&hint[..], signature].concat()))
}

#[tokio::test]
async fn a6_3_a_checkpoint_counts_only_as_the_log_signed_it() {
    let (ours, theirs) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let managed = ManagedKey::generate().unwrap();
    let release = key("release", &managed);
    let collector =
        collector(&Settings { roots: vec![root("acme", &ours)], keys: vec![release], ..Settings::default() });
    for (log, by_key) in [(Log::RekorV1, false), (Log::RekorV2, false), (Log::RekorV1, true), (Log::RekorV2, true)] {
        let sign = |sigstore: &Sigstore| match by_key {
            true => sigstore.sign_with_key(&managed, cosign().logged_in(log)).unwrap(),
            false => sigstore.sign(cosign().logged_in(log)).unwrap(),
        };
        let bundle = sign(&ours);
        let note = Note::of(&bundle);
        let with = |note: &Note| changed(&bundle, |bundle| *bundle.pointer_mut(ENVELOPE).unwrap() = note.text().into());
        verified(&collector, with(&note)).await;

        let (name, hint, signature) = note.signature();
        let of_another_log = Note::of(&sign(&theirs));
        // Signed by the log itself, over the tree as it was a moment later.
        let of_another_tree = Note::of(&sign(&ours));
        let other_root = BASE64_STANDARD.encode(Digest::of(b"another tree").as_bytes());
        let witness = line("witness.example/w1", [1, 2, 3, 4], &[7; 64]);
        let rows = [
            ("another log's checkpoint", of_another_log.clone()),
            ("our log's checkpoint of another tree", of_another_tree),
            ("another log's signature", Note { signatures: of_another_log.signatures, ..note.clone() }),
            ("another root", Note { root: other_root, ..note.clone() }),
            ("another size", Note { size: "99".into(), ..note.clone() }),
            ("another origin", Note { origin: "rekor.example".into(), ..note.clone() }),
            ("no origin", Note { origin: String::new(), ..note.clone() }),
            ("no size", Note { size: String::new(), ..note.clone() }),
            ("no root", Note { root: String::new(), ..note.clone() }),
            ("another key hint", Note { signatures: vec![line(&name, [0; 4], &signature)], ..note.clone() }),
            ("a cut signature", Note { signatures: vec![line(&name, hint, &signature[1..])], ..note.clone() }),
            ("a witness alone", Note { signatures: vec![witness.clone()], ..note.clone() }),
            ("no signature", Note { signatures: Vec::new(), ..note.clone() }),
        ];
        for (what, note) in rows {
            let (code, detail) = rejected(&collector, with(&note)).await;
            assert_eq!(code, Code::LOG_PROOF_INVALID, "{what} in {log:?}, by key: {by_key}: {detail}");
        }
        // A witness beside the log takes nothing away.
        let cosigned = Note { signatures: [note.signatures.clone(), vec![witness]].concat(), ..note };
        verified(&collector, with(&cosigned)).await;
    }
}
