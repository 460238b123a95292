//! Credentials: Basic, tokens with their scopes, challenges.

use oci_client::secrets::RegistryAuth;
use serde_json::Value;

use super::super::push::blob_raw;
use super::*;
use crate::case::Digest;

fn basic() -> Auth {
    Auth::Basic { username: "alice".into(), password: "hunter2".into() }
}

fn bearer() -> Auth {
    Auth::Bearer { username: "alice".into(), password: "hunter2".into() }
}

fn alice() -> RegistryAuth {
    RegistryAuth::Basic("alice".into(), "hunter2".into())
}

/// A token from `GET /token` for `scope`.
async fn token(registry: &DevRegistry, scope: &str) -> String {
    let url = format!("http://{}/token?service=x&scope={scope}", registry.host());
    let answer = http().get(url).basic_auth("alice", Some("hunter2")).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
}

async fn with_token(registry: &DevRegistry, method: Method, path: &str, token: &str) -> u16 {
    let url = format!("http://{}{path}", registry.host());
    http().request(method, url).bearer_auth(token).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_endpoint_asks_for_credentials_first() {
    for (auth, scheme) in [(basic(), "Basic realm="), (bearer(), "Bearer realm=")] {
        let registry = with_auth(auth).await;
        let digest = Digest::of(b"x");
        for path in [
            "/v2/".to_owned(),
            "/v2/a/manifests/x".into(),
            format!("/v2/a/blobs/{digest}"),
            "/v2/a/tags/list".into(),
            format!("/v2/a/referrers/{digest}"),
            "/v2/_catalog".into(),
            "/v2/a/manifests/sha256:bad".into(),
        ] {
            let response = get(&registry, &path).await;
            assert_eq!(response.status(), 401, "{path}");
            assert!(header(&response, "www-authenticate").unwrap().starts_with(scheme), "{path}");
            assert_eq!(code(response).await, "UNAUTHORIZED");
        }
        assert_eq!(status(&registry, Method::POST, "/v2/a/blobs/uploads/").await, 401);
    }
}

#[tokio::test]
async fn basic_opens_for_the_right_password_only() {
    let registry = with_auth(basic()).await;
    let pushed = cart(&registry, &basic()).await;
    let reference = pushed.reference.parse().unwrap();
    oci().pull(&reference, &alice(), vec!["application/wasm"]).await.unwrap();
    let wrong = Auth::Basic { username: "alice".into(), password: "hunter3".into() };
    let refused = blob_raw(&registry.host(), "a", wasm(), &wrong).await.unwrap_err();
    assert!(refused.to_string().contains("401"), "{refused}");
    assert!(!refused.to_string().contains("hunter3"));
    assert_eq!(format!("{:?}", basic()), "Basic");
}

#[tokio::test]
async fn another_client_buys_its_token_from_the_challenge() {
    let registry = with_auth(bearer()).await;
    let pushed = cart(&registry, &bearer()).await;
    let reference = pushed.reference.parse().unwrap();
    let image = oci().pull(&reference, &alice(), vec!["application/wasm"]).await.unwrap();
    assert_eq!(image.layers[0].data, wasm());
    let wrong = RegistryAuth::Basic("alice".into(), "hunter3".into());
    assert!(oci().pull(&reference, &wrong, vec!["application/wasm"]).await.is_err());
}

#[tokio::test]
async fn the_challenge_names_realm_service_and_scope() {
    let registry = with_auth(bearer()).await;
    let host = registry.host();
    let start = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
    for (method, path, scope) in [
        (Method::GET, "/v2/", ""),
        (Method::HEAD, "/v2/a/b/manifests/1", ",scope=\"repository:a/b:pull\""),
        (Method::POST, "/v2/a/b/blobs/uploads/", ",scope=\"repository:a/b:pull,push\""),
    ] {
        let response = send(&registry, method, path).await;
        assert_eq!(header(&response, "www-authenticate"), Some(&*format!("{start}{scope}")));
    }
}

#[tokio::test]
async fn a_token_opens_what_its_scope_says_until_it_expires() {
    let registry = with_auth(bearer()).await;
    cart(&registry, &bearer()).await;
    let manifest = "/v2/acme/cart/manifests/1.4";
    let pull = token(&registry, "repository:acme/cart:pull").await;
    assert_eq!(with_token(&registry, Method::GET, "/v2/", &pull).await, 200);
    assert_eq!(with_token(&registry, Method::GET, manifest, &pull).await, 200);
    assert_eq!(with_token(&registry, Method::DELETE, manifest, &pull).await, 401, "pull is no push");
    let other = token(&registry, "repository:acme/other:pull,push").await;
    assert_eq!(with_token(&registry, Method::GET, manifest, &other).await, 401, "another repository");
    let both = token(&registry, "repository:acme/other:pull%20repository:acme/cart:pull,push").await;
    assert_eq!(with_token(&registry, Method::GET, manifest, &both).await, 200);
    assert_eq!(with_token(&registry, Method::GET, manifest, "invented").await, 401);
    assert_eq!(with_token(&registry, Method::DELETE, manifest, &both).await, 202);
    registry.expire_tokens();
    assert_eq!(with_token(&registry, Method::GET, "/v2/", &both).await, 401);
}

#[tokio::test]
async fn the_form_of_oauth2_buys_the_same_token() {
    let registry = with_auth(bearer()).await;
    let url = format!("http://{}/token", registry.host());
    let form = |password: &str, grant: &str| {
        format!(
            "grant_type={grant}&client_id=c&service=s&scope=repository%3Aa%3Apull&username=alice&password={password}"
        )
    };
    let answer = http().post(&url).body(form("hunter2", "password")).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["token"], answer["access_token"]);
    assert_eq!(with_token(&registry, Method::GET, "/v2/a/tags/list", answer["token"].as_str().unwrap()).await, 404);
    for refused in [form("hunter3", "password"), form("hunter2", "refresh_token"), String::new()] {
        assert_eq!(http().post(&url).body(refused).send().await.unwrap().status(), 401);
    }
    assert_eq!(status(&registry, Method::GET, "/token?scope=repository:a:pull").await, 401);
    assert_eq!(status(&open().await, Method::GET, "/token").await, 404, "nothing is sold where nothing is asked");
}

#[tokio::test]
async fn a_public_registry_sells_pull_to_everyone() {
    let auth = Auth::PublicBearer { username: "alice".into(), password: "hunter2".into() };
    let registry = with_auth(auth.clone()).await;
    let pushed = cart(&registry, &auth).await;
    let reference = pushed.reference.parse().unwrap();
    oci().pull(&reference, &RegistryAuth::Anonymous, vec!["application/wasm"]).await.unwrap();
    let answer = get(&registry, "/token?scope=repository:acme/cart:pull,push").await;
    let token = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    assert_eq!(with_token(&registry, Method::GET, "/v2/acme/cart/tags/list", &token).await, 200);
    assert_eq!(with_token(&registry, Method::DELETE, "/v2/acme/cart/manifests/1.4", &token).await, 401);
    let url = format!("http://{}/token", registry.host());
    let wrong = http().get(url).basic_auth("alice", Some("hunter3")).send().await.unwrap();
    assert_eq!(wrong.status(), 401, "a wrong password is not anonymous");
}
