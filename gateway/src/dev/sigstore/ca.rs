//! A certificate authority with a CT log, as Fulcio has one.

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, OtherNameValue, PKCS_ECDSA_P256_SHA256,
    PublicKeyData as _, SanType, SerialNumber, SigningKey as _,
};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use super::der::{self, OCTET_STRING, UTF8_STRING};
use super::key::SignerKey;
use super::request::{Knob, Sign};
use crate::case::Timestamp;

/// How long a leaf is valid, in minutes, as Fulcio's are.
const LEAF_MINUTES: i64 = 10;
/// How long everything else is valid, in days.
const AUTHORITY_DAYS: i64 = 3650;

/// Fulcio's object identifier, 1.3.6.1.4.1.57264.1 (sigstore/fulcio `docs/oid-info.md`).
const FULCIO_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 0];
/// The SCT list's object identifier (RFC 6962, 3.3).
const SCT_LIST_OID: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
/// The object identifier of Fulcio's user names, an `otherName`.
const USER_NAME_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 7];

/// The root, the intermediate that signs, if there is one, and the log its certificates are in.
pub(super) struct Authority {
    root: Certificate,
    intermediate: Option<Certificate>,
    issuer: Issuer<'static, KeyPair>,
    ct: KeyPair,
}

/// A signing certificate with its key.
pub(super) struct Leaf {
    pub(super) key: SignerKey,
    pub(super) certificate: Vec<u8>,
}

impl Authority {
    /// An authority whose certificates begin at `start`; the intermediate ends at `intermediate_until`, if given.
    pub(super) fn new(start: Timestamp, intermediate_until: Option<Timestamp>) -> Result<Self> {
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let root_params = authority_params("witgate-root", start)?;
        let root = root_params.self_signed(&root_key)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = authority_params("witgate-intermediate", start)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        if let Some(until) = intermediate_until {
            params.not_after = date(until)?;
        }
        let intermediate = params.signed_by(&key, &Issuer::from_params(&root_params, &root_key))?;
        let issuer = Issuer::new(params, key);
        let ct = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { root, intermediate: Some(intermediate), issuer, ct })
    }

    /// An authority whose root signs by itself.
    pub(super) fn without_intermediate(start: Timestamp) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = authority_params("witgate-root", start)?;
        let root = params.self_signed(&key)?;
        let (issuer, ct) = (Issuer::new(params, key), KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
        Ok(Self { root, intermediate: None, issuer, ct })
    }

    /// The chain of the trusted root, whoever signs leaves first.
    pub(super) fn chain(&self) -> Vec<&[u8]> {
        self.intermediate.iter().chain([&self.root]).map(|certificate| certificate.der().as_ref()).collect()
    }

    /// The CT log's public key, SPKI DER.
    pub(super) fn ct_public_key(&self) -> Vec<u8> {
        self.ct.subject_public_key_info()
    }

    /// A certificate for the identity of `request`, in the CT log.
    pub(super) fn issue(&self, request: &Sign) -> Result<Leaf> {
        let key = SignerKey::generate(&request.knobs)?;
        let mut params = leaf_params(request, &key)?;
        let without_sct = params.signed_by(key.pair(), &self.issuer)?;
        let scts = self.scts(without_sct.der(), request)?;
        if !scts.is_empty() {
            let list = sct_list(&scts)?;
            params.custom_extensions.push(CustomExtension::from_oid_content(&SCT_LIST_OID, list));
        }
        let certificate = params.signed_by(key.pair(), &self.issuer)?.der().to_vec();
        Ok(Leaf { key, certificate })
    }

    fn scts(&self, without_sct: &[u8], request: &Sign) -> Result<Vec<Vec<u8>>> {
        let sct = |log: &KeyPair| signed_certificate_timestamp(log, &self.issuer, without_sct, request.at);
        if request.knobs.has(Knob::NoSct) {
            Ok(Vec::new())
        } else if request.knobs.has(Knob::TwoScts) {
            Ok(vec![sct(&self.ct)?, sct(&self.ct)?])
        } else if request.knobs.has(Knob::ForeignSct) {
            Ok(vec![sct(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?])
        } else {
            Ok(vec![sct(&self.ct)?])
        }
    }
}

/// A CA certificate's fields, ten years from `start`.
pub(super) fn authority_params(name: &str, start: Timestamp) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, super::ORGANIZATION);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date(start)?;
    params.not_after = params.not_before + Duration::days(AUTHORITY_DAYS);
    Ok(params)
}

/// A moment as rcgen takes it, in whole seconds.
pub(super) fn date(moment: Timestamp) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(moment.as_second()).context("putting a time into a certificate")
}

fn leaf_params(request: &Sign, key: &SignerKey) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names(request)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = if request.knobs.has(Knob::LeafWithoutCodeSigning) {
        vec![ExtendedKeyUsagePurpose::EmailProtection]
    } else if request.knobs.has(Knob::LeafForServers) {
        vec![ExtendedKeyUsagePurpose::CodeSigning, ExtendedKeyUsagePurpose::ServerAuth]
    } else {
        vec![ExtendedKeyUsagePurpose::CodeSigning]
    };
    params.use_authority_key_identifier_extension = true;
    params.not_before = date(request.at)?;
    params.not_after = params.not_before + Duration::minutes(LEAF_MINUTES);
    // The same number for the certificate with the SCT and for the one the SCT is about.
    params.serial_number = Some(SerialNumber::from(Sha256::digest(key.pair().der_bytes())[..16].to_vec()));
    let issuer = request.issuer.as_bytes();
    if !request.knobs.has(Knob::NoIssuer) {
        params.custom_extensions.push(fulcio(1, issuer.to_vec()));
        params.custom_extensions.push(fulcio(8, der::element(UTF8_STRING, &[issuer])));
    }
    if request.knobs.has(Knob::UnreadableIssuer) {
        params.custom_extensions.push(fulcio(8, vec![0xff]));
    }
    if request.knobs.has(Knob::TwoIssuers) {
        params.custom_extensions.push(fulcio(8, der::element(UTF8_STRING, &[b"https://second.example"])));
    }
    for (name, value) in &request.claims {
        let (arc, _) = CLAIMS
            .iter()
            .find(|(_, known)| known == name)
            .with_context(|| format!("`{name}` is no claim of Fulcio's"))?;
        // The first ones hold the bytes themselves.
        let content = match arc {
            ..=6 => value.as_bytes().to_vec(),
            _ => der::element(UTF8_STRING, &[value.as_bytes()]),
        };
        params.custom_extensions.push(fulcio(*arc, content));
    }
    Ok(params)
}

fn names(request: &Sign) -> Result<Vec<SanType>> {
    let identity = match request.identity.contains(':') {
        true => SanType::URI(request.identity.as_str().try_into()?),
        false => SanType::Rfc822Name(request.identity.as_str().try_into()?),
    };
    let mut names = vec![identity];
    if request.knobs.has(Knob::NoSan) {
        names.clear();
    }
    if request.knobs.has(Knob::TwoUriSans) {
        names.push(SanType::URI("https://second.example/".try_into()?));
    }
    if request.knobs.has(Knob::EmailSanBeside) {
        names.push(SanType::Rfc822Name("second@example.org".try_into()?));
    }
    if request.knobs.has(Knob::DnsSanBeside) {
        names.push(SanType::DnsName("second.example".try_into()?));
    }
    if request.knobs.has(Knob::OtherNameSan) {
        names =
            vec![SanType::OtherName((USER_NAME_OID.to_vec(), OtherNameValue::Utf8String(request.identity.clone())))];
    }
    Ok(names)
}

fn fulcio(arc: u64, content: Vec<u8>) -> CustomExtension {
    let mut oid = FULCIO_OID;
    oid[8] = arc;
    CustomExtension::from_oid_content(&oid, content)
}

/// One SCT over a certificate that has none yet (RFC 6962, 3.2).
fn signed_certificate_timestamp(
    log: &KeyPair,
    issuer: &Issuer<'static, KeyPair>,
    without_sct: &[u8],
    at: Timestamp,
) -> Result<Vec<u8>> {
    let at_ms = u64::try_from(at.as_millisecond()).context("dating an SCT before 1970")?.to_be_bytes();
    let certificate = der::to_be_signed(without_sct);
    let length = u32::try_from(certificate.len())?.to_be_bytes();
    let signed = [
        &[0, 0][..], // v1, certificate_timestamp
        &at_ms,
        &[0, 1], // precert_entry
        &Sha256::digest(issuer.key().subject_public_key_info()),
        &length[1..],
        certificate,
        &[0, 0], // no extensions
    ]
    .concat();
    let signature = log.sign(&signed)?;
    let log_id = Sha256::digest(log.subject_public_key_info());
    let length = u16::try_from(signature.len())?.to_be_bytes();
    // v1, log, time, no extensions, SHA-256 (4) with ECDSA (3).
    Ok([&[0][..], &log_id, &at_ms, &[0, 0], &[4, 3], &length, &signature].concat())
}

/// `SignedCertificateTimestampList` in its extension (RFC 6962, 3.3).
fn sct_list(scts: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    for sct in scts {
        list.extend(u16::try_from(sct.len())?.to_be_bytes());
        list.extend(sct);
    }
    let length = u16::try_from(list.len())?.to_be_bytes();
    Ok(der::element(OCTET_STRING, &[&length, &list]))
}

/// The last arc of each claim under Fulcio's object identifier (sigstore/fulcio `docs/oid-info.md`).
const CLAIMS: &[(u64, &str)] = &[
    (2, "workflow_trigger"),
    (3, "workflow_sha"),
    (4, "workflow_name"),
    (5, "workflow_repository"),
    (6, "workflow_ref"),
    (9, "build_signer_uri"),
    (10, "build_signer_digest"),
    (11, "runner_environment"),
    (12, "source_repository_uri"),
    (13, "source_repository_digest"),
    (14, "source_repository_ref"),
    (15, "source_repository_identifier"),
    (16, "source_repository_owner_uri"),
    (17, "source_repository_owner_identifier"),
    (18, "build_config_uri"),
    (19, "build_config_digest"),
    (20, "build_trigger"),
    (21, "run_invocation_uri"),
    (22, "source_repository_visibility_at_signing"),
    (23, "deployment_environment"),
    (24, "token_subject"),
];
