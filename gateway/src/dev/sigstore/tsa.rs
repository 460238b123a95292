//! A time-stamp authority (RFC 3161).

use anyhow::Result;
use jiff::SignedDuration;
use rcgen::{
    Certificate, CustomExtension, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
    SigningKey as _,
};
use sha2::{Digest as _, Sha256};

use super::Flaw;
use super::ca::{authority_params, date};
use super::der::{self, CONTEXT_0, GENERALIZED_TIME, OCTET_STRING, SET, oid, sequence};
use crate::case::Timestamp;

/// The leaf's serial number.
const SERIAL: [u8; 3] = [0x11, 0x22, 0x33];

// Encoded object identifiers.
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];
/// 1.2.3.4: a policy that nobody reads.
const POLICY: &[u8] = &[0x2a, 0x03, 0x04];
/// id-kp-timeStamping (RFC 5280, 4.2.1.12).
const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
/// extKeyUsage (RFC 5280, 4.2.1.12).
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];

/// Version 1, as an INTEGER.
const ONE: [u8; 3] = [0x02, 0x01, 0x01];
/// Version 3, as an INTEGER.
const THREE: [u8; 3] = [0x02, 0x01, 0x03];
/// `granted`, as an INTEGER (RFC 3161, 2.4.2).
const GRANTED: [u8; 3] = [0x02, 0x01, 0x00];
/// The token's serial number: one number for all, nobody compares them.
const TOKEN_SERIAL: [u8; 3] = [0x02, 0x01, 0x2a];

/// The authority's leaf with its key, and its root.
pub(super) struct TimestampAuthority {
    key: KeyPair,
    leaf: Certificate,
    root: Certificate,
}

impl TimestampAuthority {
    pub(super) fn new(start: Timestamp, flaw: Option<Flaw>) -> Result<Self> {
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut root_params = authority_params("witgate-tsa-root", start)?;
        if flaw == Some(Flaw::TsaRootExpired) {
            root_params.not_after = date(start + SignedDuration::from_mins(1))?;
        }
        let root = root_params.self_signed(&root_key)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = authority_params("witgate-tsa", start)?;
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from(SERIAL.to_vec()));
        if flaw != Some(Flaw::TsaWithoutUsage) {
            // rcgen writes this extension non-critical; RFC 3161, 2.3 wants it critical.
            let mut usage = CustomExtension::from_oid_content(&EXTENDED_KEY_USAGE, sequence(&[&oid(TIME_STAMPING)]));
            usage.set_criticality(flaw != Some(Flaw::TsaUsageNotCritical));
            params.custom_extensions.push(usage);
        }
        let leaf = params.signed_by(&key, &Issuer::from_params(&root_params, &root_key))?;
        Ok(Self { key, leaf, root })
    }

    /// The chain of the trusted root, leaf first.
    pub(super) fn chain(&self) -> [&[u8]; 2] {
        [self.leaf.der(), self.root.der()]
    }

    /// A `TimeStampResp` that says `signature` existed at `at` (RFC 3161, 2.4.2).
    pub(super) fn stamp(&self, signature: &[u8], at: Timestamp) -> Result<Vec<u8>> {
        let info = info(signature, at);
        let sha256 = sequence(&[&oid(SHA256)]);
        let attributes = self.signed_attributes(&info);
        let attributes = attributes.iter().map(Vec::as_slice).collect::<Vec<_>>();
        // Signed as SET OF, embedded as [0] (RFC 5652, 5.4).
        let signed = self.key.sign(&der::element(SET, &attributes))?;
        let signer = sequence(&[
            &ONE,
            &sequence(&[self.issuer_name(), &der::element(0x02, &[&SERIAL])]),
            &sha256,
            &der::element(CONTEXT_0, &attributes),
            &sequence(&[&oid(ECDSA_WITH_SHA256)]),
            &der::element(OCTET_STRING, &[&signed]),
        ]);
        let content = der::element(CONTEXT_0, &[&der::element(OCTET_STRING, &[&info])]);
        let signed_data = sequence(&[
            &THREE,
            &der::element(SET, &[&sha256]),
            &sequence(&[&oid(TST_INFO), &content]),
            &der::element(CONTEXT_0, &[self.leaf.der()]),
            &der::element(SET, &[&signer]),
        ]);
        let token = sequence(&[&oid(SIGNED_DATA), &der::element(CONTEXT_0, &[&signed_data])]);
        Ok(sequence(&[&sequence(&[&GRANTED]), &token]))
    }

    /// Content type, message digest and signing certificate, in DER's order of a SET OF.
    fn signed_attributes(&self, info: &[u8]) -> Vec<Vec<u8>> {
        let attribute = |kind: &[u8], value: &[u8]| sequence(&[&oid(kind), &der::element(SET, &[value])]);
        let certificate = der::element(OCTET_STRING, &[&Sha256::digest(self.leaf.der())]);
        let mut attributes = vec![
            attribute(CONTENT_TYPE, &oid(TST_INFO)),
            attribute(MESSAGE_DIGEST, &der::element(OCTET_STRING, &[&Sha256::digest(info)])),
            attribute(SIGNING_CERTIFICATE_V2, &sequence(&[&sequence(&[&sequence(&[&certificate])])])),
        ];
        attributes.sort();
        attributes
    }

    /// The leaf's issuer: the fourth field behind version, serial number and algorithm.
    fn issuer_name(&self) -> &[u8] {
        let (_, fields, _) = der::split(der::to_be_signed(self.leaf.der()));
        let after_algorithm = (0..3).fold(fields, |fields, _| der::split(fields).2);
        der::split(after_algorithm).0
    }
}

/// `TSTInfo` (RFC 3161, 2.4.2).
fn info(signature: &[u8], at: Timestamp) -> Vec<u8> {
    let imprint = sequence(&[&sequence(&[&oid(SHA256)]), &der::element(OCTET_STRING, &[&Sha256::digest(signature)])]);
    let time = at.strftime("%Y%m%d%H%M%SZ").to_string();
    sequence(&[&ONE, &oid(POLICY), &imprint, &TOKEN_SERIAL, &der::element(GENERALIZED_TIME, &[time.as_bytes()])])
}
