//! How much evidence is looked at.

/// The largest bundle with a message signature, in bytes (`design.md` §12; a usual one has 4 KiB).
pub const SIGNATURE_BYTES_MAX: usize = 1 << 20;
/// The largest bundle with a DSSE envelope, in bytes (`design.md` §12).
pub const ATTESTATION_BYTES_MAX: usize = 16 << 20;
/// The largest simple-signing payload of cosign v2, in bytes (a usual one has 250; the rest are the signer's annotations).
pub const SIMPLE_SIGNING_BYTES_MAX: usize = 64 << 10;
/// The names and values of one layer's annotations, in bytes (as in `registry`; a usual signature has 8 KiB of them).
pub const COSIGN_ANNOTATION_BYTES_MAX: usize = 256 << 10;
/// What all candidates of one artifact may have together, in bytes; small ones are counted first, so that nobody crowds out
/// a signature with padding (`design.md` §12).
pub const EVIDENCE_BYTES_MAX: usize = 32 << 20;
/// How many candidates of one artifact are looked at, small ones first (`design.md` §12: as many as there are referrers).
pub const CANDIDATES_MAX: usize = 128;
/// The largest statement of an attestation, in bytes: its predicate goes into the case and so into the audit log.
pub const STATEMENT_BYTES_MAX: usize = 4 << 20;
/// What the predicates of one case may have together, in bytes of canonical JSON: half of what policy takes.
pub const PREDICATES_BYTES_MAX: usize = 8 << 20;
/// How many commas and opening brackets a bundle may have: a JSON value takes 32 bytes of memory, and 2 bytes of text.
pub const BUNDLE_BREADTH_MAX: usize = 4096;
/// How many commas and opening brackets a statement may have (the largest SBOMs in the field have 100,000).
pub const STATEMENT_BREADTH_MAX: usize = 1 << 18;
/// How deep a statement may be nested: the case that holds its predicate stays below [`crate::strict_json::MAX_DEPTH`].
pub const STATEMENT_DEPTH_MAX: usize = 24;
/// How many subjects of a statement are looked through (a release of GitHub's has at most 1024).
pub const SUBJECTS_MAX: usize = 1024;
/// How many packages a bill of materials may name (a large distribution's image has 5,000).
pub const PACKAGES_MAX: usize = 20_000;
/// How many vulnerabilities a scan may list (the worst images in the field have 4,000).
pub const VULNERABILITIES_MAX: usize = 10_000;
/// How many statements a VEX document may make.
pub const VEX_STATEMENTS_MAX: usize = 10_000;
/// How many dependencies a provenance may name (a Node.js build resolves some thousands).
pub const DEPENDENCIES_MAX: usize = 10_000;
/// How many short things one part of a predicate may have: aliases, products, licenses, digests, levels.
pub const PARTS_MAX: usize = 1024;
/// The longest text that is read of a predicate, in bytes: license expressions of distributions have 2,000.
pub const PREDICATE_TEXT_BYTES_MAX: usize = 4096;
/// How many log entries one bundle may have: each costs two signature checks (facts: one or two in the field).
pub const LOG_ENTRIES_MAX: usize = 8;
/// How many signed time-stamps one bundle may have: each costs two signature checks.
pub const TIMESTAMPS_MAX: usize = 8;
/// How far ahead of our clock a verified time may be, in seconds: what NTP leaves between two machines, with room.
pub const CLOCK_SKEW_S: i64 = 60;
/// How many trust roots may be configured: each is tried for each candidate.
pub const ROOTS_MAX: usize = 8;
/// How many keys may be configured: each is tried for each key-signed candidate.
pub const KEYS_MAX: usize = 32;
/// How many own authorities may be configured: each is tried for each candidate with a certificate.
pub const AUTHORITIES_MAX: usize = 8;
/// How many certificates the chain of an own authority may have: each is a trust anchor (two or three in the field).
pub const CHAIN_CERTIFICATES_MAX: usize = 8;
/// The largest file with such a chain, in bytes (a certificate in PEM has 1,000 to 3,000).
pub const CHAIN_BYTES_MAX: u64 = 64 << 10;
/// The largest `trusted_root.json`, in bytes (public good's has 9 KiB).
pub const ROOT_BYTES_MAX: u64 = 1 << 20;
/// The largest key file, in bytes (a public RSA 4096 in PEM has 800, an encrypted private one 5,000).
pub const KEY_BYTES_MAX: u64 = 64 << 10;
/// The largest JSON of an encrypted private key, in bytes: as much as its file holds.
pub const ENCRYPTED_KEY_BYTES_MAX: usize = 64 << 10;
/// The largest private key, PKCS #8, in bytes (RSA 4096 has 2,400).
pub const PRIVATE_KEY_BYTES_MAX: usize = 4096;
/// The largest `N` of scrypt in an encrypted key: with `r` 8 it takes 64 MiB of memory (what cosign writes, facts of the field:
/// 32768 or 65536).
pub const SCRYPT_N_MAX: u64 = 65_536;
/// The largest `r` of scrypt in an encrypted key (what cosign writes).
pub const SCRYPT_R_MAX: u64 = 8;
/// The largest `p` of scrypt in an encrypted key (what cosign writes).
pub const SCRYPT_P_MAX: u64 = 1;
/// The longest salt of scrypt in an encrypted key, in bytes (cosign writes 32).
pub const SCRYPT_SALT_BYTES_MAX: usize = 64;
/// How much the remembered verdicts may take, in bytes.
pub const VERDICT_CACHE_BYTES: u64 = 64 << 20;
/// The longest detail of a rejection, in characters: it is printed and logged.
pub const DETAIL_CHARS_MAX: usize = 500;
/// Past what age a trust root is stale, in seconds, unless configured: 30 days (public good's changes a few times a year,
/// a TUF client refreshes it daily).
pub const ROOT_MAX_AGE_S: u64 = 30 * 24 * 60 * 60;
/// How often `trusted_root` files and the revocation list are looked at, in seconds, unless configured.
pub const REFRESH_S: u64 = 60;
/// The range of `evidence.refresh_s`, in seconds: a second keeps a disk quiet, a day is what a TUF client promises.
pub const REFRESH_S_RANGE: std::ops::RangeInclusive<u64> = 1..=24 * 60 * 60;
/// How long one look at the files may take, in milliseconds: a network disk may hang.
pub const FILES_TIMEOUT_MS: u64 = 10_000;
/// How long one refresh from a TUF repository may take, in milliseconds: at most 35 small documents.
pub const TUF_TIMEOUT_MS: u64 = 60_000;
/// How long one request to a TUF repository may take, in milliseconds.
pub const TUF_REQUEST_TIMEOUT_MS: u64 = 15_000;
/// How long connecting to a TUF repository may take, in milliseconds.
pub const TUF_CONNECT_TIMEOUT_MS: u64 = 5_000;
/// The longest time between two refreshes from a TUF repository, in seconds: what other clients do (daily).
pub const TUF_INTERVAL_MAX_S: u64 = 24 * 60 * 60;
/// The longest wait after a refresh that failed, in seconds.
pub const TUF_RETRY_MAX_S: u64 = 60 * 60;
/// The largest initial `root.json` and `timestamp.json` that are read, in bytes (`sigstore-tuf` takes 512,000 for a root).
pub const TUF_BYTES_MAX: u64 = 512_000;
/// How many replaced digests are remembered for each root (public good's changes a few times a year).
pub const REPLACED_MAX: usize = 64;
/// How many roots are remembered, those that are not configured any more included.
pub const REMEMBERED_MAX: usize = 64;
/// The largest `trust-roots.json`, in bytes: every root with every digest takes 300 KiB.
pub const MEMORY_BYTES_MAX: u64 = 1 << 20;
/// The largest revocation list, in bytes: as many entries of 400 bytes as are allowed.
pub const REVOCATION_BYTES_MAX: u64 = 4 << 20;
/// How many entries a revocation list may have.
pub const REVOCATION_ENTRIES_MAX: usize = 10_000;
/// The longest text in a revocation list, in bytes (SPIFFE-ID, section 2.3: 2048).
pub const REVOCATION_TEXT_BYTES_MAX: usize = 2048;
/// Past what age a revocation list is stale, in seconds, unless configured: a week.
pub const REVOCATION_MAX_AGE_S: u64 = 7 * 24 * 60 * 60;

/// How many values `json` may hold at most, counted without parsing: commas and opening brackets, those in texts included.
pub(super) fn breadth(json: &[u8]) -> usize {
    json.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count()
}
