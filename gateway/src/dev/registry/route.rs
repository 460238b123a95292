//! Which endpoint a path names.

use uuid::Uuid;

use super::content_digest::ContentDigest;
use super::refusal::Refusal;
use crate::case::Reference;

/// An endpoint of distribution-spec 1.1, or the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`
    Ping,
    /// `/token`
    Token,
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest { repository: String, reference: ManifestReference },
    /// `/v2/<name>/blobs/<digest>`
    Blob { repository: String, digest: ContentDigest },
    /// `/v2/<name>/blobs/uploads/`
    Uploads { repository: String },
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload { repository: String, id: Uuid },
    /// `/v2/<name>/tags/list`
    Tags { repository: String },
    /// `/v2/<name>/referrers/<digest>`
    Referrers { repository: String, digest: ContentDigest },
}

/// How a manifest is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ManifestReference {
    Tag(String),
    Digest(ContentDigest),
}

impl Route {
    /// Reads the raw path from the right, because a repository's name holds slashes.
    ///
    /// # Errors
    /// 404 for no endpoint, 400 for a bad name or digest, 404 `MANIFEST_UNKNOWN` for what can be no tag.
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        let nowhere = || Refusal::no_such_path(path);
        match path {
            "/v2" | "/v2/" => return Ok(Self::Ping),
            "/token" => return Ok(Self::Token),
            _ => {}
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(nowhere)?;
        let (front, last) = rest.rsplit_once('/').ok_or_else(nowhere)?;
        let (front, kind) = front.rsplit_once('/').ok_or_else(nowhere)?;
        match (kind, last) {
            ("tags", "list") => Ok(Self::Tags { repository: repository(front)? }),
            ("manifests", reference) => {
                let repository = repository(front)?;
                let reference = manifest_reference(&repository, reference)?;
                Ok(Self::Manifest { repository, reference })
            }
            ("blobs", "uploads") => Ok(Self::Uploads { repository: repository(front)? }),
            ("blobs", digest) => Ok(Self::Blob { repository: repository(front)?, digest: content_digest(digest)? }),
            ("referrers", digest) => {
                Ok(Self::Referrers { repository: repository(front)?, digest: content_digest(digest)? })
            }
            ("uploads", id) => {
                let repository = repository(front.strip_suffix("/blobs").ok_or_else(nowhere)?)?;
                if id.is_empty() {
                    return Ok(Self::Uploads { repository });
                }
                let id = id.parse().map_err(|_| Refusal::upload_unknown())?;
                Ok(Self::Upload { repository, id })
            }
            _ => Err(nowhere()),
        }
    }

    /// The repository it is about, if any.
    pub(super) fn repository(&self) -> Option<&str> {
        match self {
            Self::Ping | Self::Token => None,
            Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. }
            | Self::Tags { repository }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }
}

/// A digest in a path or a query.
pub(super) fn content_digest(text: &str) -> Result<ContentDigest, Refusal> {
    text.parse().map_err(|_| Refusal::digest_invalid(text))
}

/// A repository's name in a path or a query.
pub(super) fn repository(text: &str) -> Result<String, Refusal> {
    match format!("localhost/{text}:x").parse::<Reference>() {
        Ok(reference) if reference.repository() == text => Ok(text.to_owned()),
        _ => Err(Refusal::name_invalid(text)),
    }
}

fn manifest_reference(repository: &str, text: &str) -> Result<ManifestReference, Refusal> {
    if text.contains(':') {
        return content_digest(text).map(ManifestReference::Digest);
    }
    match format!("localhost/{repository}:{text}").parse::<Reference>() {
        Ok(reference) if reference.tag() == Some(text) => Ok(ManifestReference::Tag(text.to_owned())),
        _ => Err(Refusal::manifest_unknown(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_slashes_and_endpoint_words_are_read_from_the_right() {
        let repository = |path: &str| Route::parse(path).unwrap().repository().map(str::to_owned);
        assert_eq!(repository("/v2/a/manifests/b/manifests/1"), Some("a/manifests/b".into()));
        assert_eq!(repository("/v2/tags/list/tags/list"), Some("tags/list".into()));
        assert_eq!(repository("/v2/a/blobs/uploads/"), Some("a".into()));
        assert_eq!(repository("/v2/a/blobs/blobs/uploads"), Some("a/blobs".into()));
        assert_eq!(repository(&format!("/v2/a/b/c/blobs/uploads/{}", Uuid::nil())), Some("a/b/c".into()));
        let digest = ContentDigest::sha512(b"x");
        let blob = Route::parse(&format!("/v2/uploads/blobs/{digest}")).unwrap();
        assert_eq!(blob, Route::Blob { repository: "uploads".into(), digest });
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let bad_names = ["/v2/A/tags/list", "/v2/a//b/tags/list", "/v2/../x/manifests/1", "/v2/a%2fb/tags/list"];
        let other = ["/", "/v1/", "/v2/a", "/v2/tags/list", "/v2/a/uploads/x", "/v2/a/manifests/-x", "/v2/_catalog"];
        for path in bad_names.iter().chain(&other) {
            assert!(Route::parse(path).is_err(), "`{path}` was taken");
        }
        assert!(Route::parse("/v2/a/manifests/sha256:baddigeststring").is_err());
    }
}
