//! Which settings are taken, and what the others are told.

use super::*;

fn of(name: &str, one: UpstreamSettings) -> Result<Arc<Upstream>, StartError> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = Settings { upstreams: [(name.to_owned(), one)].into(), ..Settings::default() };
    Upstreams::of(&settings, &Arc::default()).map(|upstreams| upstreams.of_registry(name).unwrap())
}

fn at(url: &str) -> UpstreamSettings {
    UpstreamSettings { url: Some(url.into()), ..UpstreamSettings::default() }
}

#[test]
fn the_prefix_of_packages_leads_to_an_upstream() {
    let packages = |prefix: Option<&str>, upstreams: &[&str]| {
        let upstreams = upstreams.iter().map(|name| ((*name).to_owned(), UpstreamSettings::default())).collect();
        Settings { upstreams, package_prefix: prefix.map(str::to_owned), ..Settings::default() }.packages()
    };
    let some = |prefix: &str| Some(prefix.to_owned());
    assert_eq!(packages(None, &[]).unwrap(), None);
    assert_eq!(packages(None, &["ghcr.io"]).unwrap(), some("ghcr.io/"));
    assert_eq!(packages(None, &["ghcr.io", "quay.io"]).unwrap(), None, "nobody guesses");
    for prefix in ["ghcr.io/", "ghcr.io/webassembly/", "quay.io/a/b/"] {
        assert_eq!(packages(Some(prefix), &["ghcr.io", "quay.io"]).unwrap(), some(prefix));
    }
    for prefix in ["", "/", "ghcr.io", "ghcr.io/webassembly", "docker.io/", "ghcr.io//", "ghcr.io/A/", "ghcr.io/../"] {
        assert!(packages(Some(prefix), &["ghcr.io", "quay.io"]).is_err(), "`{prefix}` was taken");
    }
}

#[test]
fn time_outs_have_limits() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let loads = |settings: Settings| Upstreams::of(&settings, &Arc::new(Budgets::of(&settings))).map(|_| ());
    let change: [fn(&mut Settings) -> &mut u64; 4] = [
        |settings| &mut settings.connect_timeout_ms,
        |settings| &mut settings.idle_timeout_ms,
        |settings| &mut settings.metadata_timeout_ms,
        |settings| &mut settings.slow_start_ms,
    ];
    for change in change {
        for (found_ms, taken) in [(0, false), (1, true), (60_000, true), (60_001, false), (u64::MAX, false)] {
            let mut settings = Settings::default();
            *change(&mut settings) = found_ms;
            let loaded = loads(settings);
            assert_eq!(loaded.is_ok(), taken, "{found_ms}: {loaded:?}");
            assert!(taken || matches!(loaded, Err(StartError::Timeout { .. })));
        }
    }
}

#[test]
fn without_a_table_loopback_alone_is_reached_and_nothing_else_is_looked_up() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let upstreams = Upstreams::of(&Settings::default(), &Arc::default()).unwrap();
    for name in ["127.0.0.1:5000", "localhost:5000", "[::1]:5000"] {
        let upstream = upstreams.of_registry(name).unwrap();
        assert_eq!((upstream.base.as_str(), upstream.reach), (&*format!("http://{name}/"), Reach::LoopbackOnly));
    }
    for name in
        ["ghcr.io", "127.0.0.2:5000", "localhost", "127.0.0.1", "169.254.169.254", "localhost.:1", "2130706433:1"]
    {
        let detail = upstreams.of_registry(name).unwrap_err();
        assert!(detail.contains(&format!("[registry.upstreams.\"{name}\"]")), "{detail}");
    }
}

#[test]
fn with_a_table_its_keys_alone_are_reached() {
    let settings =
        Settings { upstreams: [("ghcr.io".into(), UpstreamSettings::default())].into(), ..Settings::default() };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let upstreams = Upstreams::of(&settings, &Arc::default()).unwrap();
    assert_eq!(upstreams.of_registry("ghcr.io").unwrap().base.as_str(), "https://ghcr.io/");
    for name in ["127.0.0.1:5000", "ghcr.io:443", "quay.io"] {
        assert!(upstreams.of_registry(name).is_err(), "`{name}` was taken");
    }
}

#[test]
fn reach_follows_from_url_and_flags() {
    let private = |url: &str| UpstreamSettings { private: true, ..at(url) };
    let insecure = |url: &str| UpstreamSettings { insecure_http: true, ..private(url) };
    assert_eq!(of("ghcr.io", UpstreamSettings::default()).unwrap().reach, Reach::Public);
    assert_eq!(
        of("corp", private("https://10.0.0.1")).err().unwrap().to_string(),
        "`registry.upstreams.\"corp\"` is no registry: expected `host` or `host:port`, such as `ghcr.io`"
    );
    assert_eq!(of("corp.example", private("https://10.0.0.1")).unwrap().reach, Reach::Anywhere);
    assert_eq!(of("corp.example", insecure("http://10.0.0.1")).unwrap().reach, Reach::PrivateOnly);
    assert_eq!(of("corp.example", at("http://127.0.0.1:5000")).unwrap().reach, Reach::LoopbackOnly);
    assert_eq!(of("corp.example", private("https://localhost:5000")).unwrap().reach, Reach::Anywhere);
    assert_eq!(of("127.0.0.1:5000", UpstreamSettings::default()).unwrap().base.scheme(), "http");

    let lends = |settings: UpstreamSettings| of("a.example", settings).unwrap().lends_access();
    assert!(!lends(UpstreamSettings::default()) && !lends(at("http://127.0.0.1:5000")));
    assert!(lends(private("https://10.0.0.1")) && lends(insecure("http://127.0.0.1")));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "t").unwrap();
    assert!(lends(UpstreamSettings { token_file: Some(file), ..UpstreamSettings::default() }));

    assert!(matches!(of("a.example", at("https://10.0.0.1")), Err(StartError::NotPrivate { .. })));
    assert!(matches!(of("a.example", at("http://a.example")), Err(StartError::PlainHttp { .. })));
    assert!(matches!(of("a.example", private("http://a.example")), Err(StartError::PlainHttp { .. })));
    assert!(matches!(of("a.example", insecure("http://8.8.8.8")), Err(StartError::PlainHttp { .. })));
    let half = UpstreamSettings { insecure_http: true, ..at("http://10.0.0.1") };
    assert!(matches!(of("a.example", half), Err(StartError::InsecureNotPrivate { .. })));
    for url in ["a.example", "ftp://a.example", "https://u:p@a.example", "https://a.example?x", "https://a.example#x"] {
        assert!(matches!(of("a.example", at(url)), Err(StartError::Url { .. })), "`{url}` was taken");
    }
}

#[test]
fn half_credentials_unreadable_files_and_wild_token_endpoints_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "x").unwrap();
    let name = "a.example";
    let some = |change: fn(&mut UpstreamSettings, PathBuf)| {
        let mut settings = UpstreamSettings::default();
        change(&mut settings, file.clone());
        of(name, settings)
    };
    assert!(some(|s, f| (s.username, s.password_file) = (Some("u".into()), Some(f))).is_ok());
    assert!(some(|s, f| s.token_file = Some(f)).is_ok());
    for refused in [
        some(|s, _| s.username = Some("u".into())),
        some(|s, f| s.password_file = Some(f)),
        some(|s, f| (s.username, s.password_file) = (Some("u:v".into()), Some(f))),
        some(|s, f| (s.username, s.password_file, s.token_file) = (Some("u".into()), Some(f.clone()), Some(f))),
        some(|s, f| (s.token_file, s.docker_config) = (Some(f.clone()), Some(f))),
    ] {
        assert!(matches!(refused, Err(StartError::Credential { .. })));
    }
    let given = || GivenSecret::new("x".into()).unwrap();
    let of_given = |username: Option<&str>, file: Option<&PathBuf>, given: Given| {
        let username = username.map(str::to_owned);
        let (token_file, given) = (file.cloned(), Some(given));
        of(name, UpstreamSettings { username, token_file, given, ..UpstreamSettings::default() })
    };
    assert!(of_given(Some("u"), None, Given::Password(given())).is_ok());
    assert!(of_given(None, None, Given::Token(given())).is_ok());
    for refused in [
        of_given(None, None, Given::Password(given())),
        of_given(Some("u"), None, Given::Token(given())),
        of_given(Some("u:v"), None, Given::Password(given())),
        of_given(None, Some(&file), Given::Token(given())),
    ] {
        assert!(matches!(refused, Err(StartError::Credential { .. })));
    }
    assert!(matches!(some(|s, f| s.docker_config = Some(f)), Err(StartError::DockerConfig { .. })));
    assert!(matches!(some(|s, f| s.token_file = Some(f.join("x"))), Err(StartError::File { .. })));
    assert!(matches!(some(|s, f| s.ca = Some(f)), Err(StartError::Certificates { .. })));
    assert!(matches!(some(|s, _| s.ca = Some("/nowhere".into())), Err(StartError::File { .. })));
    assert!(matches!(some(|s, _| s.auth_hosts = vec!["*.a.example".into()]), Err(StartError::HostPattern { .. })));
    assert!(some(|s, _| s.redirect_hosts = vec!["*.a.example".into()]).is_ok());
}

#[test]
fn the_cache_holds_one_component_at_least() {
    let settings = |cache_max_bytes| Settings { cache_max_bytes, ..Settings::default() };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    assert!(Upstreams::of(&settings(COMPONENT_BYTES), &Arc::default()).is_ok());
    let small = Upstreams::of(&settings(COMPONENT_BYTES - 1), &Arc::default());
    assert!(matches!(small, Err(StartError::CacheTooSmall { .. })));
}
