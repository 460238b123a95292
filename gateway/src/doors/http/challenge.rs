//! What a request that proves nobody is told: 401, the same for every cause, and for a registry's clients how to be proven.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// The challenges of 401 on `/v2/`, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenges {
    schemes: Vec<Scheme>,
}

/// One way to show a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 7617: the token as the password, whatever the user's name.
    Basic,
    /// RFC 6750, as registries do it: ask `URL/token` for a token first.
    Bearer {
        /// Where clients reach this listener: `https://witgate.example`, without a slash at its end.
        url: String,
        /// The host in it.
        service: String,
    },
}

impl Challenges {
    /// These, in this order. Clients that read one header only (oci-client) read the first.
    pub fn of(schemes: Vec<Scheme>) -> Self {
        Self { schemes }
    }

    /// The bare 401, with what the path's clients expect of it.
    pub(super) fn answer(&self, uri: &Uri) -> Response {
        let path = uri.path();
        if path != "/v2" && !path.starts_with("/v2/") && path != "/token" {
            let problem = r#"{"type":"about:blank","title":"Unauthorized","status":401}"#;
            let kind = [(header::CONTENT_TYPE, "application/problem+json")];
            return (StatusCode::UNAUTHORIZED, kind, problem).into_response();
        }
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (StatusCode::UNAUTHORIZED, kind, UNAUTHORIZED).into_response();
        for scheme in &self.schemes {
            // The token endpoint takes the token itself: sending its clients to the token endpoint would send them round.
            let line = match scheme {
                Scheme::Bearer { .. } if path == "/token" => continue,
                Scheme::Basic => Ok(HeaderValue::from_static("Basic realm=\"witgate\"")),
                Scheme::Bearer { url, service } => {
                    let scope =
                        repository(path).map(|name| format!(",scope=\"repository:{name}:pull\"")).unwrap_or_default();
                    HeaderValue::from_str(&format!("Bearer realm=\"{url}/token\",service=\"{service}\"{scope}"))
                }
            };
            if let Ok(line) = line {
                response.headers_mut().append(header::WWW_AUTHENTICATE, line);
            }
        }
        // Whoever was sent there by Bearer alone has to show the token somehow.
        let bare = !response.headers().contains_key(header::WWW_AUTHENTICATE);
        if path == "/token" && bare && !self.schemes.is_empty() {
            let basic = HeaderValue::from_static("Basic realm=\"witgate\"");
            response.headers_mut().append(header::WWW_AUTHENTICATE, basic);
        }
        response
    }
}

/// The OCI distribution specification, section "Error Codes".
const UNAUTHORIZED: &str = r#"{"errors":[{"code":"UNAUTHORIZED","message":"witgate: show a token: any user name, the token as the password"}]}"#;

/// The repository that a path of the pull API is about, if its name is one: only then may it stand between quotes.
fn repository(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v2/")?;
    let ends = ["/manifests/", "/blobs/", "/referrers/", "/tags/list"];
    let name = ends.iter().filter_map(|end| rest.rfind(end)).max().and_then(|at| rest.get(..at))?;
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
    (!name.is_empty() && name.len() <= REPOSITORY_BYTES_MAX && name.bytes().all(inside)).then_some(name)
}

/// The longest name of a repository (distribution specification: 255 characters with its host).
const REPOSITORY_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Challenges {
        let (url, service) = ("https://witgate.example".to_owned(), "witgate.example".to_owned());
        Challenges::of(vec![Scheme::Basic, Scheme::Bearer { url, service }])
    }

    fn lines(challenges: &Challenges, path: &str) -> Vec<String> {
        let response = challenges.answer(&path.parse().unwrap());
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let lines = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn clients_of_a_registry_are_told_how() {
        let bearer = r#"Bearer realm="https://witgate.example/token",service="witgate.example""#;
        assert_eq!(lines(&both(), "/v2/"), [r#"Basic realm="witgate""#, bearer]);
        let scoped = format!(r#"{bearer},scope="repository:ghcr.io/acme/cart:pull""#);
        for path in [
            "/v2/ghcr.io/acme/cart/manifests/1.4",
            "/v2/ghcr.io/acme/cart/blobs/sha256:00?ns=x",
            "/v2/ghcr.io/acme/cart/referrers/sha256:00",
            "/v2/ghcr.io/acme/cart/tags/list",
        ] {
            assert_eq!(lines(&both(), path), [r#"Basic realm="witgate""#, &scoped], "{path}");
        }
        assert_eq!(lines(&Challenges::of(vec![Scheme::Basic]), "/v2/"), [r#"Basic realm="witgate""#]);
        assert_eq!(lines(&both(), "/token"), [r#"Basic realm="witgate""#]);
        let Challenges { schemes } = both();
        let bearer_only = Challenges::of(schemes[1..].to_vec());
        assert_eq!(lines(&bearer_only, "/v2/"), [bearer]);
        assert_eq!(lines(&bearer_only, "/token"), [r#"Basic realm="witgate""#]);
    }

    #[test]
    fn a_path_never_writes_into_the_challenge() {
        let bearer = r#"Bearer realm="https://witgate.example/token",service="witgate.example""#;
        for path in [
            "/v2/a%22,realm=%22https:/evil.example/manifests/1",
            "/v2/A/manifests/1",
            "/v2/a:b/manifests/1",
            "/v2//manifests/1".trim_end_matches("1"),
            &format!("/v2/{}/manifests/1", "a".repeat(256)),
        ] {
            let found = lines(&both(), path);
            assert!(found[1] == bearer || !found[1].contains("evil"), "{found:?}");
            assert!(!found[1].contains('%') && found[1].len() < 400, "{found:?}");
        }
    }

    #[test]
    fn everybody_else_gets_a_bare_401() {
        for path in ["/v1/admissions", "/", "/log/checkpoint", "/v2x", "/v1/v2/"] {
            assert_eq!(lines(&both(), path), Vec::<String>::new(), "{path}");
        }
    }
}
