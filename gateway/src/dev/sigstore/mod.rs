//! A private Sigstore in memory: CA with CT log, Rekor v1, Rekor v2 and TSA, with the trusted root that names them.
//!
//! Its bundles verify in full in `sigstore-verify` and in sigstore-python. [`Knob`]s and [`Flaw`]s make it put in one
//! defect at a time.
//!
//! ```
//! # let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
//! use witgate::case::Digest;
//! use witgate::dev::sigstore::{Sign, Sigstore};
//!
//! let at = "2025-06-01T12:00:00Z".parse().unwrap();
//! let sigstore = Sigstore::new(at).unwrap();
//! let manifest = Digest::of(b"{}");
//! let bundle = sigstore.sign(Sign::cosign(manifest, "ci@acme.example", "https://issuer.example", at)).unwrap();
//! assert!(bundle.starts_with(b"{"));
//! ```

mod bundle;
mod ca;
mod der;
mod key;
mod legacy;
mod merkle;
mod own;
mod rekor;
mod request;
mod tsa;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::bundle::{BUNDLE_V01, BUNDLE_V03};
use self::ca::{Authority, Leaf};
use self::key::SignerKey;
pub use self::key::{KeyKind, ManagedKey};
pub use self::own::{Depth, OwnAuthority};
use self::rekor::{Entry, Rekor, Verifier};
pub use self::request::{Content, Knob, Knobs, Log, Sign};
use self::tsa::TimestampAuthority;
use crate::case::Timestamp;

/// How long after the certificate's begin a signature is made, in seconds.
pub const SIGNED_AFTER_S: i64 = 5;
/// How long after the certificate's begin a late log or time-stamp answers, in seconds: the certificate is over.
const LATE_AFTER_S: i64 = 3600;
/// The organisation in every certificate.
const ORGANIZATION: &str = "witgate.test";

/// A whole Sigstore deployment.
pub struct Sigstore {
    start: Timestamp,
    flaw: Option<Flaw>,
    authority: Authority,
    rekor_v1: Rekor,
    rekor_v2: Rekor,
    tsa: TimestampAuthority,
}

/// A defect of the deployment itself, which its trusted root shows or hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The intermediate CA ended a minute after the start.
    IntermediateExpired,
    /// The trusted root took the CA out a minute after the start.
    AuthorityRetired,
    /// The trusted root took the TSA out a minute after the start.
    TsaRetired,
    /// The trusted root took the logs out a minute after the start.
    LogsRetired,
    /// The TSA's certificate has its key usage non-critical.
    TsaUsageNotCritical,
    /// The TSA's certificate has no extended key usage.
    TsaWithoutUsage,
    /// The root of the TSA ended a minute after the start.
    TsaRootExpired,
}

impl Sigstore {
    /// A deployment whose certificates and keys are valid from `start`.
    ///
    /// # Errors
    /// When the machine gives no random bytes, or `start` fits no certificate.
    pub fn new(start: Timestamp) -> Result<Self> {
        Self::build(start, None)
    }

    /// A deployment with one flaw.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn flawed(start: Timestamp, flaw: Flaw) -> Result<Self> {
        Self::build(start, Some(flaw))
    }

    fn build(start: Timestamp, flaw: Option<Flaw>) -> Result<Self> {
        let intermediate_until = match flaw {
            Some(Flaw::IntermediateExpired) => Some(start + SignedDuration::from_mins(1)),
            _ => None,
        };
        Ok(Self {
            start,
            flaw,
            authority: Authority::new(start, intermediate_until)?,
            rekor_v1: Rekor::new(Log::RekorV1)?,
            rekor_v2: Rekor::new(Log::RekorV2)?,
            tsa: TimestampAuthority::new(start, flaw)?,
        })
    }

    /// The `trusted_root.json` that names this deployment (sigstore/protobuf-specs `sigstore_trustroot.proto`).
    pub fn trusted_root_json(&self) -> String {
        let until = |flaw| match self.flaw == Some(flaw) {
            true => json!({"start": whole(self.start), "end": whole(self.start + SignedDuration::from_mins(1))}),
            false => json!({"start": whole(self.start)}),
        };
        let authority = |name: &str, url: &str, chain: Vec<&[u8]>, valid_for: Value| {
            json!({
                "subject": {"organization": ORGANIZATION, "commonName": name},
                "uri": url,
                "certChain": {"certificates": chain.iter().map(|bytes| json!({"rawBytes": STANDARD.encode(bytes)})).collect::<Vec<_>>()},
                "validFor": valid_for,
            })
        };
        let logs = until(Flaw::LogsRetired);
        let ct = self.authority.ct_public_key();
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.rekor_v1.trusted(&logs), self.rekor_v2.trusted(&logs)],
            "ctlogs": [trusted_log(
                "https://ctfe.witgate.test",
                &ct,
                "PKIX_ECDSA_P256_SHA_256",
                &Sha256::digest(&ct).into(),
                &json!({"start": whole(self.start)}),
            )],
            "certificateAuthorities": [authority(
                "witgate-root",
                "https://fulcio.witgate.test",
                self.authority.chain(),
                until(Flaw::AuthorityRetired),
            )],
            "timestampAuthorities": [authority(
                "witgate-tsa-root",
                "https://tsa.witgate.test",
                self.tsa.chain().to_vec(),
                until(Flaw::TsaRetired),
            )],
        });
        format!("{root:#}\n")
    }

    /// A keyless bundle v0.3, as JSON.
    ///
    /// # Errors
    /// When the request cannot be put into a certificate: an identity that is not ASCII, a claim that is none.
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn sign(&self, request: Sign) -> Result<Vec<u8>> {
        self.assemble_certified(&self.authority.issue(&request)?, &request)
    }

    /// The certificates of its time-stamp authority, PEM: its own first, the root last.
    pub fn timestamp_authority_pem(&self) -> String {
        self.tsa.chain().map(|certificate| key::pem("CERTIFICATE", certificate)).concat()
    }

    fn assemble_certified(&self, leaf: &Leaf, request: &Sign) -> Result<Vec<u8>> {
        let certificate = json!({"rawBytes": STANDARD.encode(&leaf.certificate)});
        self.assemble(&leaf.key, Verifier::Certificate(&leaf.certificate), ("certificate", certificate), request)
    }

    /// A bundle v0.3 signed by a managed key, as JSON; the request's identity, issuer and claims are not in it.
    ///
    /// # Errors
    /// When the signature cannot be made.
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn sign_with_key(&self, key: &ManagedKey, request: Sign) -> Result<Vec<u8>> {
        let public_key = key.signer().public_key();
        let hint = STANDARD.encode(Sha256::digest(&public_key));
        let material = ("publicKey", json!({"hint": hint}));
        self.assemble(key.signer(), Verifier::PublicKey(&public_key), material, &request)
    }

    fn assemble(
        &self,
        key: &SignerKey,
        verifier: Verifier<'_>,
        (field, material): (&str, Value),
        request: &Sign,
    ) -> Result<Vec<u8>> {
        let Made { signed, entries, stamp } = self.make(key, verifier, &request.what, request)?;
        let mut material = json!({field: material, "tlogEntries": entries});
        if let Some(stamp) = stamp {
            material["timestampVerificationData"] =
                json!({"rfc3161Timestamps": [{"signedTimestamp": STANDARD.encode(stamp)}]});
        }
        let media_type = if request.knobs.has(Knob::LabelledV01) { BUNDLE_V01 } else { BUNDLE_V03 };
        let bundle = json!({"mediaType": media_type, "verificationMaterial": material, signed.field: signed.value});
        Ok(serde_json::to_vec(&bundle)?)
    }

    /// Signs `what`, tells the log, asks for the time.
    fn make(&self, key: &SignerKey, verifier: Verifier<'_>, what: &Content, request: &Sign) -> Result<Made> {
        let Sign { log, knobs, .. } = request;
        let signed = bundle::sign(key, what, request)?;
        let after = |late| SignedDuration::from_secs(if knobs.has(late) { LATE_AFTER_S } else { SIGNED_AFTER_S });
        let other;
        let logged = if knobs.has(Knob::EntryOfAnotherSignature) {
            other = key.sign(b"another message")?;
            &other
        } else {
            &signed.signature
        };
        let entry = Entry {
            signer: key,
            verifier,
            signed: &signed.bytes,
            signature: logged,
            envelope: signed.payload.as_deref().map(|payload| (&signed.value, payload)),
        };
        let foreign;
        let rekor = if knobs.has(Knob::ForeignLog) {
            foreign = Rekor::new(*log)?;
            &foreign
        } else if *log == Log::RekorV1 {
            &self.rekor_v1
        } else {
            &self.rekor_v2
        };
        let mut entries = vec![rekor.append(&entry, request.at + after(Knob::LateIntegratedTime), knobs)?];
        if knobs.has(Knob::NoLogEntry) {
            entries.clear();
        }
        let stamped = *log == Log::RekorV2 && !knobs.has(Knob::NoTimestamp) || knobs.has(Knob::TimestampBeside);
        let at = request.at + after(Knob::LateTimestamp);
        let stamp = stamped.then(|| self.stamp(&signed.signature, at, knobs)).transpose()?;
        Ok(Made { signed, entries, stamp })
    }

    fn stamp(&self, signature: &[u8], at: Timestamp, knobs: &Knobs) -> Result<Vec<u8>> {
        if knobs.has(Knob::ForeignTimestamp) {
            TimestampAuthority::new(self.start, None)?.stamp(signature, at)
        } else if knobs.has(Knob::TimestampOfAnotherSignature) {
            self.tsa.stamp(b"another signature", at)
        } else {
            self.tsa.stamp(signature, at)
        }
    }
}

/// A signature with what belongs to it, before it is put into a format.
struct Made {
    signed: bundle::Signed,
    entries: Vec<Value>,
    /// A `TimeStampResp`.
    stamp: Option<Vec<u8>>,
}

/// A log's row in a trusted root.
fn trusted_log(url: &str, public_key: &[u8], details: &str, id: &[u8; 32], valid_for: &Value) -> Value {
    json!({
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": STANDARD.encode(public_key), "keyDetails": details, "validFor": valid_for},
        "logId": {"keyId": STANDARD.encode(id)},
    })
}

/// A moment in whole seconds, RFC 3339.
fn whole(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
