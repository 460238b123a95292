//! The registry flags: a private upstream for one command.

use super::*;

fn basic() -> Auth {
    Auth::Basic { username: "ci".into(), password: "hunter2".into() }
}

async fn signed(auth: &Auth) -> (Stage, Pushed) {
    let stage = Stage::with(Options { auth: auth.clone(), ..Options::default() }).await;
    let pushed = stage.push_with("cart", auth).await;
    let bundle = stage.sigstore.sign(request(pushed.manifest)).unwrap();
    stage.attach_with(&pushed, &bundle, auth).await;
    (stage, pushed)
}

fn verify(stage: &Stage, what: &str, flags: &[&str], environment: &[(&str, &str)]) -> Said {
    let root = stage.root();
    let arguments = [&["--trusted-root", root.as_str()], &BY_SIGNER[..], flags].concat();
    stage.verify_bare(what, &arguments, environment)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_password_is_taken_from_flag_or_environment_and_never_shown() {
    let (stage, pushed) = signed(&basic()).await;
    let name = ["--registry-username", "ci"];
    let password = |text: &'static str| [&name[..], &["--registry-password", text]].concat();
    let environment = |text: &'static str| [("WITGATE_REGISTRY_PASSWORD", text)];
    for (flags, environment, code) in [
        (vec![], &[][..], 3),
        (password("hunter2"), &[], 0),
        (password("hunter3"), &[], 3),
        (name.to_vec(), &environment("hunter2"), 0),
        (name.to_vec(), &environment("hunter3"), 3),
        (password("hunter2"), &environment("hunter3"), 0),
        // A password alone names nobody.
        (vec![], &environment("hunter2"), 3),
    ] {
        let said = verify(&stage, &pushed.reference, &flags, environment);
        assert_eq!(said.code, Some(code), "{flags:?} {environment:?}: {}{}", said.out, said.err);
        assert!(!said.out.contains("hunter") && !said.err.contains("hunter"), "{}{}", said.out, said.err);
        assert!(code == 0 || said.err.contains(&format!("registry `{}`", stage.registry.host())), "{}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_from_flag_or_environment() {
    let auth = Auth::Bearer { username: "ci".into(), password: "hunter2".into() };
    let (stage, pushed) = signed(&auth).await;
    let url = format!("http://{}/token?scope=repository:acme/cart:pull", stage.registry.host());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer: Value = client.get(url).basic_auth("ci", Some("hunter2")).send().await.unwrap().json().await.unwrap();
    let token = answer["token"].as_str().unwrap();
    for (flags, environment, code) in [
        (vec![], &[][..], 3),
        (vec!["--registry-token", token], &[], 0),
        (vec!["--registry-token", "stolen"], &[], 3),
        (vec![], &[("WITGATE_REGISTRY_TOKEN", token)], 0),
        (vec![], &[("WITGATE_REGISTRY_TOKEN", "stolen")], 3),
        (vec!["--registry-username", "ci", "--registry-password", "hunter2"], &[], 0),
    ] {
        let said = verify(&stage, &pushed.reference, &flags, environment);
        assert_eq!(said.code, Some(code), "{flags:?} {environment:?}: {}{}", said.out, said.err);
        assert!(!said.out.contains(token) && !said.err.contains(token), "{}{}", said.out, said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_behind_tls_is_reached_with_its_own_authority_alone() {
    let (stage, pushed) = signed(&Auth::Open).await;
    let (authority, address) = tls_in_front_of(stage.registry.address()).await;
    let (other, _) = tls_in_front_of(stage.registry.address()).await;
    let (own, other) = (stage.write("own.pem", authority), stage.write("other.pem", other));
    let reference = pushed.reference.replace(&stage.registry.host(), &address);
    for (flags, code) in [
        (vec!["--registry-cacert", own.as_str()], 0),
        (vec!["--registry-cacert", &other], 3),
        // Without it plain HTTP is spoken on loopback, which is not what is there.
        (vec![], 3),
        (vec!["--allow-http-registry"], 3),
        (vec!["--registry-cacert", "nowhere.pem"], 2),
        (vec!["--registry-cacert", "trusted_root.json"], 2),
    ] {
        let said = verify(&stage, &reference, &flags, &[]);
        assert_eq!(said.code, Some(code), "{flags:?}: {}{}", said.out, said.err);
    }
}

/// TLS on a port of its own, passed on to `registry`; gives the authority's PEM and the address.
async fn tls_in_front_of(registry: std::net::SocketAddr) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut outside), Ok(mut inside)) =
                    (acceptor.accept(stream).await, tokio::net::TcpStream::connect(registry).await)
                else {
                    return;
                };
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    (certificate.pem(), address)
}
