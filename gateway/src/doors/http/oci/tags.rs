//! `GET|HEAD /v2/NAME/tags/list`: what the upstream lists, for those who may know that there is something.

use http::StatusCode;
use http::header::{CACHE_CONTROL, LINK};
use serde_json::json;

use super::Asking;
use super::answer::Answer;
use super::error::ErrorAnswer;
use super::path::{NamedBy, Page};
use crate::case::Repository;

/// Where we lend our own access, a caller hears of a repository only once it was admitted to something in it: else there is
/// no such repository. An upstream that answers everybody is asked for anybody.
pub(super) async fn list(asking: &Asking<'_>, page: Page) -> Result<Answer, ErrorAnswer> {
    let (pulling, repository) = (asking.pulling(), asking.repository);
    let unknown = || ErrorAnswer::repository_unknown(repository);
    let registry = asking.door.gate.registry.clone();
    if registry.lends_access(repository.registry()) && pulling.was_granted_any().await?.is_none() {
        return Err(unknown());
    }
    let n = page.n.unwrap_or(PAGE_DEFAULT);
    let (place, last) = (repository.clone(), page.last);
    let listed = pulling.read(async move { registry.tags(&place, n, last.as_deref()).await }, unknown).await?;
    let name = match asking.named_by {
        NamedBy::Prefix => repository.to_string(),
        NamedBy::Namespace => repository.name().to_owned(),
    };
    let body = json!({"name": name, "tags": listed.tags});
    let answer = Answer::json(StatusCode::OK, &body).with(CACHE_CONTROL, "private, max-age=0");
    Ok(match listed.next {
        Some(last) => answer.with(LINK, next(&name, asking.named_by, repository, n, &last)),
        None => answer,
    })
}

/// The next page is ours, not the upstream's (RFC 8288).
fn next(name: &str, named_by: NamedBy, repository: &Repository, n: usize, last: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("n", &n.to_string()).append_pair("last", last);
    if named_by == NamedBy::Namespace {
        query.append_pair("ns", repository.registry());
    }
    format!("</v2/{name}/tags/list?{}>; rel=\"next\"", query.finish())
}

/// Tags on a page that names no `n`.
const PAGE_DEFAULT: usize = 1000;
