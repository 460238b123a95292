//! A whole response as a value, before anything of it is on the wire.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;
use serde_json::Value;

/// Status, headers and the body a GET would get.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// An answer without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// An answer whose body is `value`.
    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        Self::empty(status).with(CONTENT_TYPE, "application/json").carrying(value.to_string())
    }

    /// The same answer with one header set; a value that no header can hold leaves it out.
    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same answer with one header more beside those of the same name.
    #[must_use]
    pub(crate) fn and(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.append(name, value);
        }
        self
    }

    /// The same answer with another body.
    #[must_use]
    pub(crate) fn carrying(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The honest response to `method`: `Content-Length` always tells the size of the body that a GET would get.
    pub(crate) fn into_response(mut self, method: &Method) -> http::Response<Full<Bytes>> {
        if !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        let body = if *method == Method::HEAD { Bytes::new() } else { self.body };
        let mut response = http::Response::new(Full::new(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// `Docker-Content-Digest`: the digest of what is served.
pub(crate) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
