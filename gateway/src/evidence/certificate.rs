//! The profile of a signing certificate: one name, for code signing only.

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::rejection::Rejection;
use crate::case::{San, SanKind};
use crate::reason::Code;

/// The one name of a leaf certificate that is for code signing.
///
/// Upstream has verified the chain when this is called; it names the first URI or e-mail address only, and takes a
/// certificate that is for TLS servers as well.
pub(super) fn name_of(leaf: &[u8]) -> Result<San, Rejection> {
    let Ok(([], certificate)) = X509Certificate::from_der(leaf) else {
        return Err(Rejection::new(Code::CERTIFICATE_UNTRUSTED, "the signing certificate is no X.509 certificate"));
    };
    if certificate.extensions_map().is_err() {
        let found = "one that stands twice";
        return Err(Rejection::mismatch(Code::CERTIFICATE_UNTRUSTED, "each extension of the certificate once", found));
    }
    usage(&certificate)?;
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => &extension.value.general_names[..],
        Ok(None) => &[],
        Err(_) => {
            let detail = "the certificate's subject alternative name cannot be read";
            return Err(Rejection::new(Code::CERTIFICATE_UNTRUSTED, detail));
        }
    };
    let (kind, value) = match names {
        [GeneralName::URI(value)] => (SanKind::Uri, *value),
        [GeneralName::RFC822Name(value)] => (SanKind::Email, *value),
        names => {
            let found = match names {
                [] => "none".to_owned(),
                names => names.iter().map(kind_of).collect::<Vec<_>>().join(" + "),
            };
            let expected = "one subject alternative name, a URI or an e-mail address";
            return Err(Rejection::mismatch(Code::IDENTITY_MISMATCH, expected, found));
        }
    };
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let expected = "a subject alternative name of printable ASCII";
        return Err(Rejection::mismatch(Code::IDENTITY_MISMATCH, expected, format!("`{value}`")));
    }
    Ok(San { kind, value: value.to_owned() })
}

fn usage(certificate: &X509Certificate<'_>) -> Result<(), Rejection> {
    let reject = |found: &str| {
        Err(Rejection::mismatch(Code::CERTIFICATE_UNTRUSTED, "a certificate for code signing only", found))
    };
    match certificate.extended_key_usage() {
        Ok(Some(usage)) if !usage.value.code_signing => reject("one without that usage"),
        Ok(Some(usage)) if usage.value.server_auth || usage.value.client_auth || usage.value.any => {
            reject("one that is for TLS or for anything as well")
        }
        Ok(Some(_)) => Ok(()),
        _ => reject("one without extended key usages"),
    }
}

fn kind_of(name: &GeneralName<'_>) -> &'static str {
    match name {
        GeneralName::URI(_) => "URI",
        GeneralName::RFC822Name(_) => "e-mail address",
        GeneralName::DNSName(_) => "DNS name",
        GeneralName::IPAddress(_) => "IP address",
        GeneralName::OtherName(..) => "otherName",
        _ => "name of another kind",
    }
}

/// Whether a time-stamp authority's certificate has the one critical usage that RFC 3161, 2.3 asks for; upstream looks at
/// the usage and not at whether it is critical.
pub(super) fn is_for_time_stamps_only(leaf: &X509Certificate<'_>) -> bool {
    let Ok(Some(usage)) = leaf.extended_key_usage() else { return false };
    let others = usage.value.any || usage.value.server_auth || usage.value.client_auth || usage.value.code_signing;
    usage.critical && usage.value.time_stamping && !others
}

/// Whether a certificate is a CA's that signs others (RFC 5280, 4.2.1.3 and 4.2.1.9).
pub(super) fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let is_ca = matches!(certificate.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca);
    is_ca && matches!(certificate.key_usage(), Ok(Some(usage)) if usage.value.key_cert_sign())
}

/// What a leaf says of an OIDC issuer, however it is encoded: Fulcio's extensions 1.3.6.1.4.1.57264.1.1 and .1.8.
pub(super) fn names_oidc_issuer(leaf: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return true };
    let mut oids = certificate.extensions().iter().map(|extension| extension.oid.to_id_string());
    oids.any(|oid| oid == "1.3.6.1.4.1.57264.1.1" || oid == "1.3.6.1.4.1.57264.1.8")
}

/// A CA certificate of a trust root, as far as a message needs it.
pub(super) struct Authority {
    name: Vec<u8>,
    key_id: Option<Vec<u8>>,
}

impl Authority {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let key_id = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        Self { name: certificate.subject().as_raw().to_vec(), key_id }
    }
}

/// Who issued a leaf by its own words, and when it is valid: for messages only.
pub(super) struct ClaimedIssuer {
    name: Vec<u8>,
    key_id: Option<Vec<u8>>,
    shown: String,
}

impl ClaimedIssuer {
    /// What an unverified leaf says of its issuer.
    pub(super) fn of(unverified_leaf: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(unverified_leaf).ok()?;
        let key_id = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        });
        let issuer = certificate.issuer();
        Some(Self { name: issuer.as_raw().to_vec(), key_id, shown: issuer.to_string() })
    }

    pub(super) fn may_be(&self, authority: &Authority) -> bool {
        match (&self.key_id, &authority.key_id) {
            (Some(claimed), Some(id)) => self.name == authority.name && claimed == id,
            _ => self.name == authority.name,
        }
    }

    /// The issuer's distinguished name.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}
