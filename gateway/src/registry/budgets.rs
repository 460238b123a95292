//! How much a registry may cost us, in bytes, items or time.

use std::time::Duration;

use super::settings::Settings;

/// The limits of one [`super::Registry`]; the configuration says some of them.
#[derive(Clone, Debug)]
pub(super) struct Budgets {
    /// DNS, TCP and TLS of one connection.
    pub connect: Duration,
    /// Between two pieces of an answer, the head included.
    pub idle: Duration,
    /// One metadata request, authentication included.
    pub metadata: Duration,
    /// Waiting for a free place among [`REQUESTS_PER_UPSTREAM`].
    pub queue: Duration,
    /// Waiting until the bytes of one more artifact may be under way.
    pub cold_queue: Duration,
    /// A credential helper, waiting for its turn included.
    pub helper: Duration,
    /// How long a blob may be slower than [`Budgets::least_rate_bytes_per_s`].
    pub slow_start: Duration,
    /// The least mean rate of a blob after that.
    pub least_rate_bytes_per_s: u64,
}

impl Budgets {
    /// Those that the configuration says, with the rest as it always is.
    pub fn of(settings: &Settings) -> Self {
        Self {
            connect: Duration::from_millis(settings.connect_timeout_ms),
            idle: Duration::from_millis(settings.idle_timeout_ms),
            metadata: Duration::from_millis(settings.metadata_timeout_ms),
            queue: Duration::from_secs(10),
            cold_queue: Duration::from_secs(25),
            helper: Duration::from_secs(10),
            slow_start: Duration::from_millis(settings.slow_start_ms),
            least_rate_bytes_per_s: 64 * 1024,
        }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

/// A manifest or index, in bytes (distribution-spec: registries take at least 4 MiB).
pub(super) const MANIFEST_BYTES: u64 = 4 << 20;
/// An artifact's OCI config, in bytes (`design.md` §12).
pub(super) const CONFIG_BYTES: u64 = 1 << 20;
/// A component layer, in bytes (`design.md` §12).
pub(super) const COMPONENT_BYTES: u64 = 256 << 20;
/// Components of one application: each is read for what it imports.
pub(super) const APPLICATION_COMPONENTS: usize = 32;
/// All layers of an application together, in bytes: no more than a component may have.
pub(super) const APPLICATION_BYTES: u64 = COMPONENT_BYTES;
/// Layers of one application that are fetched at once.
pub(super) const LAYERS_AT_ONCE: usize = 4;
/// Descriptors of one manifest (CVE-2023-2253: descriptors size allocations elsewhere).
pub(super) const DESCRIPTORS: usize = 128;
/// Entries of an index that a component may be reached through.
pub(super) const INDEX_CHILDREN: usize = 32;
/// Indexes between a reference and its component: an index of indexes is the most there is.
pub(super) const INDEX_DEPTH: usize = 2;
/// Keys and values of one manifest's annotations, in bytes: they are recorded in the case.
pub(super) const ANNOTATION_BYTES: usize = 256 << 10;
/// Imports that a config may claim: they are recorded in the case.
pub(super) const CLAIMED_IMPORTS: usize = 1024;
/// One claimed import, in bytes.
pub(super) const CLAIMED_IMPORT_BYTES: usize = 256;
/// A media type, in bytes (RFC 6838 §4.2: two names of at most 127 characters).
pub(super) const MEDIA_TYPE_BYTES: usize = 255;

/// Referrers of one artifact, layers under cosign's tags among them (`design.md` §12; cosign CVE-2023-46737).
pub(super) const REFERRERS: usize = 128;
/// Pages they may come in.
pub(super) const REFERRER_PAGES: usize = 4;
/// One page, or the index behind the fallback tag, in bytes.
pub(super) const REFERRER_PAGE_BYTES: u64 = 1 << 20;
/// A signature's bundle, in bytes (`design.md` §12).
pub(super) const BUNDLE_BYTES: u64 = 1 << 20;
/// An attestation's bundle, in bytes (`design.md` §12: SBOMs are large).
pub(super) const ATTESTATION_BYTES: u64 = 16 << 20;
/// Layers under one of cosign's tags (cosign itself takes at most 100 signatures an image, `pkg/cosign/fetch.go`).
pub(super) const COSIGN_LAYERS: usize = 100;
/// A simple-signing payload, in bytes (a usual one has 250; as in `evidence`).
pub(super) const COSIGN_PAYLOAD_BYTES: u64 = 64 << 10;
/// All manifests, bundles and layers of one artifact's evidence together, in bytes (`design.md` §12).
pub(super) const EVIDENCE_BYTES: u64 = 32 << 20;
/// Referrers fetched at once for one artifact.
pub(super) const REFERRERS_AT_ONCE: usize = 8;

/// A page of tags, in bytes (facts of the field: a tag has at most 128).
pub(super) const TAG_PAGE_BYTES: u64 = 1 << 20;
/// Tags on one page.
pub(super) const TAG_PAGE: usize = 1000;

/// A token endpoint's answer, in bytes.
pub(super) const TOKEN_ANSWER_BYTES: u64 = 64 << 10;
/// A token, in bytes: it has to fit the header of a request.
pub(super) const TOKEN_BYTES: usize = 16 << 10;
/// The longest life we believe, in seconds.
pub(super) const TOKEN_LIFE_S: u64 = 3600;
/// The life of a token that names none, in seconds (Docker token specification, `expires_in`).
pub(super) const TOKEN_DEFAULT_LIFE_S: u64 = 60;
/// Tokens held.
pub(super) const TOKENS: u64 = 4096;
/// A `WWW-Authenticate` line, in bytes.
pub(super) const CHALLENGE_BYTES: usize = 8 << 10;
/// A password or token file, in bytes.
pub(super) const SECRET_FILE_BYTES: u64 = 16 << 10;
/// Docker's `config.json`, in bytes.
pub(super) const DOCKER_CONFIG_BYTES: u64 = 1 << 20;
/// What a credential helper may print, in bytes.
pub(super) const HELPER_ANSWER_BYTES: u64 = 64 << 10;
/// Credential helpers that run at once.
pub(super) const HELPERS_AT_ONCE: usize = 4;
/// An error body that we read so that the connection can be used again, in bytes.
pub(super) const ERROR_BODY_BYTES: u64 = 8 << 10;

/// Redirects of one blob request (`design.md` §12).
pub(super) const REDIRECTS: usize = 3;
/// Requests at once to one upstream.
pub(super) const REQUESTS_PER_UPSTREAM: usize = 32;
/// The longest that a registry is left alone because it said so: then it is asked once more.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long it is left alone where it answers 429 and does not say how long.
pub(super) const PAUSE_DEFAULT: Duration = Duration::from_secs(1);
/// Upstreams whose word to wait is remembered.
pub(super) const PAUSES: u64 = 4096;

/// A blob in the store, in bytes: no kind may be larger than a component.
pub(super) const BLOB_BYTES: u64 = COMPONENT_BYTES;
/// Cached files read at once, from disk into memory or to be hashed.
pub(super) const LOADS_AT_ONCE: usize = 8;
/// Blobs that are in memory and written to disk at once while nobody waits for it.
pub(super) const WRITES_AT_ONCE: usize = 4;
/// The digests of the pieces of large files, in bytes: 128 files of 256 MiB.
pub(super) const SEALS_BYTES: u64 = 4 << 20;
/// Altered files that are kept for a person to look at.
pub(super) const SET_ASIDE_FILES: usize = 16;
/// The least time between two files that are scrubbed.
pub(super) const SCRUB_LEAST_PAUSE: Duration = Duration::from_millis(100);
/// The time between two walks over the whole cache, and the longest between two files.
pub(super) const SCRUB_REST: Duration = Duration::from_secs(3600);

/// Tags remembered.
pub(super) const TAGS: u64 = 16_384;
/// Searches for evidence under way.
pub(super) const SEARCHES: u64 = 16_384;
/// How long a search's outcome stays where whoever began it left before it could be taken away.
pub(super) const SEARCH_LIFE: Duration = Duration::from_secs(1);
/// Manifests remembered, in bytes.
pub(super) const MANIFESTS_HELD_BYTES: u64 = 16 << 20;
/// Artifacts held in memory with their components, in bytes; most share theirs with the store.
pub(super) const ARTIFACTS_HELD_BYTES: u64 = 32 << 20;
/// Blobs of which we remember that a repository holds them.
pub(super) const BLOBS_PRESENT: u64 = 65_536;
/// How long we go without asking a repository whether it still holds a digest that we have.
pub(super) const PRESENCE_LIFE: Duration = Duration::from_secs(600);
