//! The DSSE envelope: payload type, payload, one signature over both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MAX_ENVELOPE_BYTES;
use super::refusal::TicketRefusal;
use super::statement::{PREDICATE_TYPE, STATEMENT_TYPE, Statement, VSA_PREDICATE_TYPE};
use super::verify::PinnedKeys;
use crate::digest::Digest;
use crate::key::{PrivateKey, SIGNATURE_BYTES};
use crate::strict_json;

/// The DSSE payload type of in-toto statements.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// An envelope that was read but not believed: the signature is still to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    keyid: String,
    signature: [u8; SIGNATURE_BYTES],
}

/// A ticket whose signature, payload type and statement types were checked, and nothing else: good enough to fetch the
/// bytes with, not to run them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTicket {
    statement: Statement,
    keyid: String,
}

/// A ticket that does not fit [`MAX_ENVELOPE_BYTES`]: the component has too many imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ticket of {size_bytes} bytes is larger than {MAX_ENVELOPE_BYTES} bytes")]
pub struct TooLarge {
    /// What it would have had.
    pub size_bytes: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: String,
    sig: String,
}

/// Signs `statement` and wraps it: the JSON object that is handed to the host.
///
/// # Errors
/// [`TooLarge`] when no host would read it.
pub fn sign(key: &PrivateKey, statement: &Statement) -> Result<Value, TooLarge> {
    let payload = serde_json::to_vec(statement).expect("a statement is JSON: text keys, no floats");
    seal(key, PAYLOAD_TYPE, &payload)
}

/// Wraps any payload; tests use it for what [`sign`] would never make.
pub(super) fn seal(key: &PrivateKey, payload_type: &str, payload: &[u8]) -> Result<Value, TooLarge> {
    let signature = key.sign(&pre_authentication_encoding(payload_type, payload));
    let envelope = serde_json::json!({
        "payloadType": payload_type,
        "payload": STANDARD.encode(payload),
        "signatures": [{"keyid": key.public().keyid(), "sig": STANDARD.encode(signature)}],
    });
    match envelope.to_string().len() {
        size_bytes if size_bytes > MAX_ENVELOPE_BYTES => Err(TooLarge { size_bytes }),
        _ => Ok(envelope),
    }
}

/// Reads an envelope, without believing any of it.
///
/// # Errors
/// [`TicketRefusal::TooLarge`], [`TicketRefusal::Malformed`] or [`TicketRefusal::SignatureCount`].
pub fn parse(bytes: &[u8]) -> Result<Envelope, TicketRefusal> {
    if bytes.len() > MAX_ENVELOPE_BYTES {
        return Err(TicketRefusal::TooLarge { size_bytes: bytes.len() });
    }
    let malformed = |part, detail| TicketRefusal::Malformed { part, detail };
    let wire: Wire = strict_json::object(bytes).map_err(|error| malformed("envelope", error.detail))?;
    let [signature] = wire.signatures.as_slice() else {
        return Err(TicketRefusal::SignatureCount { found: wire.signatures.len() });
    };
    let payload = STANDARD.decode(&wire.payload).map_err(|error| malformed("payload", error.to_string()))?;
    let sig = STANDARD.decode(&signature.sig).map_err(|error| malformed("signature", error.to_string()))?;
    let length = sig.len();
    let sig = sig
        .try_into()
        .map_err(|_| malformed("signature", format!("expected {SIGNATURE_BYTES} bytes, found {length}")))?;
    Ok(Envelope { payload_type: wire.payload_type, payload, keyid: signature.keyid.clone(), signature: sig })
}

impl Envelope {
    /// Checks the signature by a key that is pinned for `gateway`, then reads the payload.
    ///
    /// # Errors
    /// The first check that fails, in the order of `docs/ticket.md`: key, signature, payload type, statement types, shape.
    pub fn open(self, pinned: &PinnedKeys, gateway: &str) -> Result<SignedTicket, TicketRefusal> {
        let Some(key) = pinned.key(gateway, &self.keyid) else {
            return Err(TicketRefusal::KeyNotPinned { keyid: self.keyid, gateway: gateway.to_owned() });
        };
        if !key.verifies(&pre_authentication_encoding(&self.payload_type, &self.payload), &self.signature) {
            return Err(TicketRefusal::SignatureInvalid { keyid: self.keyid });
        }
        if self.payload_type != PAYLOAD_TYPE {
            return Err(TicketRefusal::PayloadType { found: self.payload_type });
        }
        let malformed =
            |error: strict_json::NotStrict| TicketRefusal::Malformed { part: "statement", detail: error.detail };
        let value = strict_json::value(&self.payload).map_err(malformed)?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text("_type"), text("predicateType")) {
            (found, _) if found != STATEMENT_TYPE => return Err(TicketRefusal::StatementType { found }),
            (_, found) if found == VSA_PREDICATE_TYPE => return Err(TicketRefusal::VerificationSummary),
            (_, found) if found != PREDICATE_TYPE => return Err(TicketRefusal::PredicateType { found }),
            _ => {}
        }
        let statement: Statement = strict_json::object(&self.payload).map_err(malformed)?;
        if statement.subject.len() != 1 {
            return Err(TicketRefusal::SubjectCount { found: statement.subject.len() });
        }
        Ok(SignedTicket { statement, keyid: self.keyid })
    }
}

impl SignedTicket {
    /// The signed words.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The key that signed them.
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// The digest of the component's bytes.
    pub fn component(&self) -> Digest {
        // `open` is the only maker and takes exactly one subject.
        self.statement.subject.first().map(|subject| subject.digest.sha256.0).expect("a signed ticket has one subject")
    }
}

/// DSSE v1 PAE: `DSSEv1 SP len(type) SP type SP len(payload) SP payload`, lengths in bytes, ASCII decimal.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_dsse_specification() {
        // secure-systems-lab/dsse, protocol.md, test vector.
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn an_envelope_ends_at_the_limit() {
        let envelope = seal(&PrivateKey::from_seed(&[7; 32]), PAYLOAD_TYPE, b"{}").unwrap().to_string();
        let padded = |size: usize| format!("{envelope}{}", " ".repeat(size - envelope.len()));
        assert!(parse(padded(MAX_ENVELOPE_BYTES).as_bytes()).is_ok());
        let size_bytes = MAX_ENVELOPE_BYTES + 1;
        assert_eq!(parse(padded(size_bytes).as_bytes()), Err(TicketRefusal::TooLarge { size_bytes }));
    }

    #[test]
    fn nothing_larger_than_the_limit_is_signed() {
        let key = PrivateKey::from_seed(&[7; 32]);
        assert!(matches!(seal(&key, PAYLOAD_TYPE, &vec![b' '; 50_000]), Err(TooLarge { .. })));
        assert!(seal(&key, PAYLOAD_TYPE, &vec![b' '; 48_000]).is_ok());
    }

    #[test]
    fn refuses_envelopes_of_another_shape() {
        let good = seal(&PrivateKey::from_seed(&[7; 32]), PAYLOAD_TYPE, b"{}").unwrap();
        let change = |edit: fn(&mut Value)| {
            let mut envelope = good.clone();
            edit(&mut envelope);
            parse(envelope.to_string().as_bytes()).unwrap_err()
        };
        assert_eq!(change(|e| e["signatures"] = serde_json::json!([])), TicketRefusal::SignatureCount { found: 0 });
        let twice = change(|e| {
            let signature = e["signatures"][0].clone();
            e["signatures"] = serde_json::json!([signature, signature]);
        });
        assert_eq!(twice, TicketRefusal::SignatureCount { found: 2 });
        for refusal in [
            change(|e| e["extra"] = 1.into()),
            change(|e| e["signatures"][0]["cert"] = "x".into()),
            change(|e| e["payload"] = "e30".into()),
            change(|e| e["payload"] = "e31=".into()),
            change(|e| e["signatures"][0]["sig"] = "AAAA".into()),
            change(|e| drop(e.as_object_mut().unwrap().remove("payloadType"))),
        ] {
            assert!(matches!(refusal, TicketRefusal::Malformed { .. }), "{refusal:?}");
        }
        let doubled = good.to_string().replacen('{', r#"{"payload":"","#, 1);
        assert!(matches!(parse(doubled.as_bytes()), Err(TicketRefusal::Malformed { part: "envelope", .. })));
        assert!(matches!(parse(b"[]"), Err(TicketRefusal::Malformed { part: "envelope", .. })));
    }

    proptest! {
        #[test]
        fn parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse(&bytes);
        }
    }
}
