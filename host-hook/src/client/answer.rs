//! The gateway's answers as they stand on the wire.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::ClientFault;
use crate::digest::Digest;
use crate::strict_json;
use crate::ticket::{self, PinnedKeys, SignedTicket, TicketRefusal};

/// A decision.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The host may fetch and run it.
    Admitted(Box<Admitted>),
    /// It may not, and why.
    Refused(Refused),
}

/// An admission with its ticket.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The decision's id.
    pub decision: Uuid,
    /// What was asked for.
    pub reference: String,
    /// What policy warns of.
    pub warnings: Vec<Reason>,
    /// The ticket, signed by a pinned key.
    pub ticket: HandedTicket,
}

/// A ticket as it was handed over: its bytes, and what they say.
#[derive(Clone, Debug)]
pub struct HandedTicket {
    envelope: Vec<u8>,
    signed: SignedTicket,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The decision's id.
    pub decision: Uuid,
    /// What was asked for.
    pub reference: String,
    /// The manifest that was decided on, where the reference led to one.
    pub artifact: Option<Digest>,
    /// At least one.
    pub reasons: Vec<Reason>,
}

/// One reason, as the gateway gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Reason {
    /// The stable code.
    pub code: String,
    /// The thing it is about.
    pub about: String,
    /// What was expected and what was found.
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Deserialize)]
struct AdmittedBody {
    decision: Uuid,
    verdict: String,
    reference: String,
    component: ComponentBody,
    #[serde(default)]
    warnings: Vec<Reason>,
    ticket: Option<Value>,
}

#[derive(Deserialize)]
struct ComponentBody {
    digest: Digest,
}

#[derive(Deserialize)]
struct ProblemBody {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    decision: Option<Uuid>,
    #[serde(default)]
    reference: String,
    #[serde(default)]
    artifact: Option<Digest>,
    #[serde(default)]
    reasons: Vec<Reason>,
}

impl HandedTicket {
    /// Reads an envelope and checks that a key pinned for `gateway` signed it.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn read(envelope: Vec<u8>, pinned: &PinnedKeys, gateway: &str) -> Result<Self, TicketRefusal> {
        let signed = ticket::parse(&envelope)?.open(pinned, gateway)?;
        Ok(Self { envelope, signed })
    }

    /// The envelope's bytes.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// What the gateway signed.
    pub fn signed(&self) -> &SignedTicket {
        &self.signed
    }
}

/// Reads the answer to an admission. Fields that are not known are left alone: what counts is in the signed ticket.
pub(super) fn read(status: StatusCode, body: &[u8], pinned: &PinnedKeys, gateway: &str) -> Result<Answer, ClientFault> {
    let malformed = |detail: String| ClientFault::Malformed { detail };
    match status {
        StatusCode::OK => {
            let body: AdmittedBody = strict_json::object(body).map_err(|error| malformed(error.detail))?;
            let AdmittedBody { decision, verdict, reference, component, warnings, ticket } = body;
            if verdict != "admit" {
                return Err(malformed(format!("verdict `{verdict}` with status 200")));
            }
            let Some(envelope) = ticket else { return Err(ClientFault::WithoutTicket { reference }) };
            // Keys stand once in the answer, so writing the envelope out again changes nothing that is signed.
            let ticket = HandedTicket::read(envelope.to_string().into_bytes(), pinned, gateway)?;
            if ticket.signed.statement().predicate.decision_id != decision {
                return Err(malformed("the ticket is of another decision".into()));
            }
            if ticket.signed.component() != component.digest {
                return Err(malformed("the ticket is for another component".into()));
            }
            Ok(Answer::Admitted(Box::new(Admitted { decision, reference, warnings, ticket })))
        }
        StatusCode::FORBIDDEN => match strict_json::object::<ProblemBody>(body) {
            Ok(ProblemBody { decision: Some(decision), reference, artifact, reasons, .. }) => {
                if reasons.is_empty() {
                    return Err(malformed("a refusal without a reason".into()));
                }
                Ok(Answer::Refused(Refused { decision, reference, artifact, reasons }))
            }
            _ => Err(problem(status, body, "deciding on the admission")),
        },
        _ => Err(problem(status, body, "deciding on the admission")),
    }
}

/// Any other answer, in the words of its RFC 9457 problem if it is one.
pub(super) fn problem(status: StatusCode, body: &[u8], doing: &'static str) -> ClientFault {
    let reason = || status.canonical_reason().unwrap_or("no problem document").to_owned();
    let (title, hint) = match strict_json::object::<ProblemBody>(body) {
        Ok(ProblemBody { detail: Some(detail), hint, .. }) if !detail.is_empty() => (detail, hint),
        Ok(ProblemBody { title, hint, .. }) if !title.is_empty() => (title, hint),
        _ => (reason(), None),
    };
    ClientFault::Status { doing, status: status.as_u16(), title, hint }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::grants::{Grants, Limits};
    use crate::key::PrivateKey;
    use crate::ticket::{Component, Log, Policy, Predicate, Sha256Hex, Statement, Verdict};

    const GATEWAY: &str = "spiffe://gate.example/witgate/gateway";
    const DECISION: Uuid = Uuid::from_u128(5);

    fn envelope(key: &PrivateKey) -> Value {
        let predicate = Predicate {
            ticket_id: Uuid::from_u128(4),
            decision_id: DECISION,
            issuer: GATEWAY.into(),
            audience: "spiffe://gate.example/host/a".into(),
            nonce: None,
            issued_at: 0,
            not_before: 0,
            expires_at: 60,
            component: Component {
                manifest_digest: Digest::of(b"m"),
                media_type: "application/wasm".into(),
                size: 1,
                wit_digest: Digest::of(b"w"),
            },
            imports: Vec::new(),
            grants: Grants {
                imports: Vec::new(),
                links: Vec::new(),
                config: Vec::new(),
                limits: Limits::default(),
                lifetime_s: 1,
            },
            policy: Policy {
                bundle_digest: Digest::of(b"p"),
                data_digest: None,
                entrypoint: "data.witgate.admission".into(),
                verdict: Verdict::Admit,
            },
            signers: Vec::new(),
            log: Log {
                origin: "o".into(),
                tree_size: 1,
                leaf_index: 0,
                leaf_hash: Sha256Hex(Digest::of(b"l")),
                proof: Vec::new(),
                checkpoint: String::new(),
            },
        };
        ticket::sign(key, &Statement::new("r/a", Digest::of(b"c"), predicate)).unwrap()
    }

    fn admitted() -> Value {
        json!({
            "decision": DECISION, "verdict": "admit", "reference": "r/a:1", "artifact": Digest::of(b"m"),
            "component": {"digest": Digest::of(b"c"), "size_bytes": 1, "media_type": "application/wasm"},
            "grants": {}, "warnings": [], "ticket": envelope(&PrivateKey::from_seed(&[1; 32])),
            "receipt": {"origin": "o", "index": 0, "leaf_hash": "x", "tree_size": 1}
        })
    }

    fn read_200(body: &Value) -> Result<Answer, ClientFault> {
        let pinned = PinnedKeys::new().with(GATEWAY, PrivateKey::from_seed(&[1; 32]).public());
        read(StatusCode::OK, body.to_string().as_bytes(), &pinned, GATEWAY)
    }

    #[test]
    fn an_admission_has_a_ticket_of_its_own_decision_and_component() {
        assert!(matches!(read_200(&admitted()), Ok(Answer::Admitted(admitted)) if admitted.decision == DECISION));
        let changed = |name: &str, value: Value| {
            let mut body = admitted();
            body[name] = value;
            read_200(&body).unwrap_err()
        };
        assert!(matches!(changed("ticket", Value::Null), ClientFault::WithoutTicket { .. }));
        assert!(matches!(changed("decision", json!(Uuid::from_u128(6))), ClientFault::Malformed { .. }));
        assert!(matches!(changed("component", json!({"digest": Digest::of(b"d")})), ClientFault::Malformed { .. }));
        assert!(matches!(changed("verdict", json!("refuse")), ClientFault::Malformed { .. }));
        let stranger = envelope(&PrivateKey::from_seed(&[2; 32]));
        assert!(matches!(changed("ticket", stranger), ClientFault::Ticket(_)));
        assert!(matches!(read_200(&json!([])), Err(ClientFault::Malformed { .. })));
    }

    #[test]
    fn a_refusal_is_an_answer_and_not_a_fault() {
        let body = json!({
            "type": "https://witgate.dev/problems/refused", "title": "refused", "status": 403, "detail": "2 reasons",
            "decision": DECISION, "reference": "r/a:1", "artifact": Digest::of(b"m"),
            "reasons": [{"code": "import-not-granted", "about": "wasi:sockets/tcp@0.2.3", "detail": "no", "hint": "ask"}]
        });
        let none = PinnedKeys::new();
        let Ok(Answer::Refused(refused)) = read(StatusCode::FORBIDDEN, body.to_string().as_bytes(), &none, GATEWAY)
        else {
            panic!("no refusal")
        };
        assert_eq!(refused.reasons.first().map(|reason| reason.code.as_str()), Some("import-not-granted"));
        let mut without = body;
        without["reasons"] = json!([]);
        let fault = read(StatusCode::FORBIDDEN, without.to_string().as_bytes(), &none, GATEWAY);
        assert!(matches!(fault, Err(ClientFault::Malformed { .. })));
    }

    #[test]
    fn other_answers_say_what_the_gateway_said() {
        let body = br#"{"title":"unknown reference","status":404,"detail":"no such tag","hint":"check the tag"}"#;
        let fault = read(StatusCode::NOT_FOUND, body, &PinnedKeys::new(), GATEWAY).unwrap_err();
        assert_eq!(fault.to_string(), "the gateway answered 404 while deciding on the admission: no such tag");
        assert_eq!(fault.hint().as_deref(), Some("check the tag"));
        for (status, body) in [(StatusCode::FORBIDDEN, b"<html>".as_slice()), (StatusCode::BAD_GATEWAY, b"")] {
            let fault = read(status, body, &PinnedKeys::new(), GATEWAY).unwrap_err();
            assert!(matches!(fault, ClientFault::Status { .. }), "{fault:?}");
        }
    }
}
