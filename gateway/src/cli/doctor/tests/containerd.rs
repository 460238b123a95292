//! `hosts.toml`, as containerd reads it.

use super::*;
use crate::cli::doctor::{certs_d, hosts_toml};

const ENFORCING: &str = "server = \"https://witgate.example\"\n[host.\"https://witgate.example\"]\n  capabilities = [\"pull\", \"resolve\"]\n";

fn of(namespace: &str, text: &str, upstreams: &[&str]) -> Vec<Finding> {
    hosts_toml::check(Path::new("hosts.toml"), namespace, text, &guard(upstreams))
}

/// What is said of a file for `ghcr.io`, and that each wrong finding gives the form that holds.
fn of_ghcr(text: &str) -> String {
    let findings = of("ghcr.io", text, &["ghcr.io"]);
    for finding in findings.iter().filter(|finding| finding.level == Level::Wrong) {
        let fix = finding.fix.as_ref().expect("a fix");
        assert!(of("ghcr.io", &fix.paste, &["ghcr.io"]).iter().all(|finding| finding.level == Level::Ok), "{fix:?}");
    }
    told(Path::new("/nowhere"), findings)
}

#[test]
fn the_enforcing_form_passes() {
    insta::assert_snapshot!(of_ghcr(ENFORCING), @r"
    ok     containerd-hosts  hosts.toml
           whoever asks for `ghcr.io` asks witgate alone
    ");
    assert_eq!(of("_default", ENFORCING, &["ghcr.io"])[0].level, Level::Ok);
}

#[test]
fn a_server_that_is_the_upstream_is_asked_for_what_witgate_refuses() {
    insta::assert_snapshot!(of_ghcr("server = \"https://ghcr.io\"\n[host.\"https://witgate.example\"]\n"), @r"
    wrong  containerd-server  hosts.toml:1:10
           `server` is `https://ghcr.io`, not witgate: containerd asks it for what witgate refuses
    ");
}

#[test]
fn a_file_with_a_server_alone_is_none_to_an_older_containerd() {
    insta::assert_snapshot!(of_ghcr("server = \"https://witgate.example\"\n"), @r"
    wrong  containerd-no-host  hosts.toml
           there is no table `host`: before containerd 2.0 that is a file it cannot decode, and it asks `ghcr.io` itself
    ");
    assert!(of_ghcr("server = \"https://witgate.example\"\n[host]\n").contains("containerd-no-host"));
}

#[test]
fn a_missing_server_is_the_upstream() {
    insta::assert_snapshot!(of_ghcr("[host.\"https://witgate.example\"]\n"), @r"
    wrong  containerd-server  hosts.toml
           there is no `server`: containerd asks `ghcr.io` itself for what witgate refuses
    ");
    assert!(of_ghcr("server = \"\"\n[host.\"https://witgate.example\"]\n").contains("there is no `server`"));
    assert!(of_ghcr("# nothing yet\n").contains("there is no `server`"));
}

#[test]
fn a_server_below_a_table_is_no_server() {
    insta::assert_snapshot!(
        of_ghcr("[host.\"https://witgate.example\"]\ncapabilities = [\"pull\"]\nserver = \"https://witgate.example\"\n"),
        @r"
        wrong  containerd-server  hosts.toml
               there is no `server`: containerd asks `ghcr.io` itself for what witgate refuses; the one at hosts.toml:3:1 belongs to the table above it: put it before the first table
        wrong  containerd-capabilities  hosts.toml:1:7
               `https://witgate.example` lacks `resolve` in its `capabilities`: containerd goes past it to the others
        "
    );
}

#[test]
fn a_second_server_below_a_table_is_told() {
    let text = format!("{ENFORCING}server = \"https://ghcr.io\"\n");
    assert!(of_ghcr(&text).starts_with("warn   containerd-key  hosts.toml:4:1\n"), "{}", of_ghcr(&text));
}

#[test]
fn a_host_that_is_not_witgate_is_told_with_its_turn() {
    let text = "server = \"https://witgate.example\"\n[host.\"https://before.example\"]\n[host.\"https://witgate.example\"]\n[host.\"https://after.example\"]\n";
    insta::assert_snapshot!(of_ghcr(text), @r"
    wrong  containerd-host  hosts.toml:2:7
           `https://before.example` is not witgate, and asked before it: witgate never sees what it has
    wrong  containerd-host  hosts.toml:4:7
           `https://after.example` is not witgate: containerd asks it for what witgate refuses
    ");
    insta::assert_snapshot!(of_ghcr("server = \"https://ghcr.io\"\n"), @r"
    wrong  containerd-server  hosts.toml:1:10
           `server` is `https://ghcr.io`, not witgate, and witgate is never asked
    wrong  containerd-no-host  hosts.toml
           there is no table `host`: before containerd 2.0 that is a file it cannot decode, and it asks `ghcr.io` itself
    ");
}

#[test]
fn a_witgate_without_pull_or_resolve_is_gone_past() {
    let past = "server = \"https://ghcr.io\"\n[host.\"https://witgate.example\"]\ncapabilities = [\"pull\"]\n";
    insta::assert_snapshot!(of_ghcr(past), @r"
    wrong  containerd-server  hosts.toml:1:10
           `server` is `https://ghcr.io`, not witgate: containerd asks it for what witgate refuses
    wrong  containerd-capabilities  hosts.toml:2:7
           `https://witgate.example` lacks `resolve` in its `capabilities`: containerd goes past it to the others
    ");
    // Nobody else is asked, so nothing leads past it; `server` may do what the host may not.
    let closed = "server = \"https://witgate.example\"\ncapabilities = [\"push\"]\n[host.\"https://witgate.example\"]\ncapabilities = [\"Pull\"]\n";
    insta::assert_snapshot!(of_ghcr(closed), @r"
    warn   containerd-capabilities  hosts.toml:3:7
           `https://witgate.example` lacks `resolve` in its `capabilities`, and nobody else has it: nothing is pulled
    warn   containerd-capabilities  hosts.toml:1:10
           `https://witgate.example` lacks `pull` and `resolve` in its `capabilities`, and nobody else has it: nothing is pulled
    ");
    let shared =
        "server = \"https://witgate.example\"\n[host.\"https://witgate.example\"]\ncapabilities = [\"pull\"]\n";
    assert_eq!(of("ghcr.io", shared, &["ghcr.io"])[0].level, Level::Ok);
}

#[test]
fn witgate_in_clear_or_unverified_can_be_played_by_anybody() {
    let text = "server = \"http://witgate.example\"\n[host.\"https://witgate.example\"]\nskip_verify = true\n";
    insta::assert_snapshot!(of_ghcr(text), @r"
    wrong  containerd-transport  hosts.toml:3:15
           `skip_verify`: nobody looks at the certificate of `https://witgate.example`: whoever is between can answer in its place
    wrong  containerd-transport  hosts.toml:1:10
           witgate is asked in clear at `http://witgate.example`: whoever is between can answer in its place
    ");
    let here = Guard::new(vec!["http://127.0.0.1:7443".parse().unwrap()], Default::default()).unwrap();
    let text = "server = \"http://127.0.0.1:7443\"\nskip_verify = true\n[host.\"http://127.0.0.1:7443\"]\n";
    let findings = hosts_toml::check(Path::new("hosts.toml"), "ghcr.io", text, &here);
    assert_eq!(findings[0].level, Level::Ok, "{findings:?}");
}

#[test]
fn a_file_that_containerd_cannot_decode_is_the_upstream() {
    let whole = |line: &str| of_ghcr(&format!("server = \"https://witgate.example\"\n{line}\n"));
    insta::assert_snapshot!(whole("[host.\"https://witgate.example\""), @r"
    wrong  containerd-undecodable  hosts.toml:2:32
           containerd cannot decode the file, leaves it aside and asks `ghcr.io` itself: unclosed table, expected `]`
    ");
    for (line, told) in [
        ("capabilities = \"pull\"", "expected an array of strings"),
        ("capabilities = [1]", "expected an array of strings"),
        ("capabilities = [\"fetch\"]", "`fetch` is no capability"),
        ("capabilities = [\"pull\", \"referrers\"]", "`referrers` is no capability that each containerd knows"),
        ("skip_verify = \"true\"", "expected a boolean, found string"),
        ("override_path = 1", "expected a boolean, found integer"),
        ("dial_timeout = 5", "expected a string"),
        ("dial_timeout = \"5\"", "expected a duration"),
        ("dial_timeout = \"5 s\"", "expected a duration"),
        ("dial_timeout = \"s\"", "expected a duration"),
        ("dial_timeout = \"1..5s\"", "expected a duration"),
        ("proxy = 1", "expected a string"),
        ("ca = 1", "expected a path"),
        ("ca = [[\"a\"]]", "expected a path"),
        ("client = [[\"a\"]]", "array of pairs"),
        ("client = [[\"a\", \"b\", \"c\"]]", "array of pairs"),
        ("header = 1", "expected a table"),
        ("[header]\nx = 1", "expected a string or an array"),
        ("host = 1", "expected a table"),
        ("[host]\n\"https://witgate.example\" = 1", "expected a table"),
        ("x = \"\\x41\"", "expected TOML 1.0"),
        ("server = \"https://witgate.example\"", "duplicate key"),
    ] {
        let text = whole(line);
        assert!(text.starts_with("wrong  containerd-undecodable  hosts.toml:"), "`{line}`: {text}");
        assert!(text.contains(told), "`{line}`: {text}");
    }
    assert!(of_ghcr("server = 1\n").contains("expected a string"));
    assert!(of_ghcr("").starts_with("wrong  containerd-server  hosts.toml\n       the file is empty"));
    for line in [
        "dial_timeout = \"1m30.5s\"",
        "dial_timeout = \"-0\"",
        "dial_timeout = \"\"",
        "ca = [\"a\", \"b\"]",
        "client = [[\"a\", \"b\"], \"c\"]",
        "client = \"a\"",
        "[header]\nx = [\"a\"]",
        "proxy = \"http://proxy.example\"",
    ] {
        let text = of_ghcr(&format!("server = \"witgate.example\"\n{line}\n[host.\"witgate.example\"]\n"));
        assert!(text.starts_with("ok "), "`{line}`: {text}");
    }
}

#[test]
fn a_key_of_another_case_is_taken_for_it() {
    insta::assert_snapshot!(of_ghcr(&format!("Server = \"https://ghcr.io\"\n{ENFORCING}Skip_Verify = true\nsocket = \"x\"\n")), @r"
    wrong  containerd-key  hosts.toml:1:1
           containerd 2 takes `Server` for `server`, whichever comes last: write `server`
    wrong  containerd-key  hosts.toml:5:1
           containerd 2 takes `Skip_Verify` for `skip_verify`, whichever comes last: write `skip_verify`
    warn   containerd-key  hosts.toml:6:1
           containerd knows no key `socket` here and passes it over
    ");
    // KELVIN SIGN: Go folds it as Unicode does.
    assert!(
        of_ghcr("server = \"https://witgate.example\"\n\"s\u{212a}ip_verify\" = true\n").contains("for `skip_verify`")
    );
}

#[test]
fn an_address_that_is_read_in_two_ways_is_no_witgate() {
    for server in [
        "httpwitgate.example",
        "https://",
        "https://ghcr.io\\\\@witgate.example",
        "https://witgate.example@ghcr.io",
        "https://witgate.example?@ghcr.io",
        "HTTPS://witgate.example",
    ] {
        let text = of_ghcr(&format!("server = \"{server}\"\n"));
        assert!(text.starts_with("wrong  containerd-server") && text.contains("no address that every"), "{text}");
    }
    // A witgate whose name begins so needs its scheme.
    let guard = Guard::new(vec!["https://httpgate.example".parse().unwrap()], Default::default()).unwrap();
    let check = |text: &str| hosts_toml::check(Path::new("hosts.toml"), "ghcr.io", text, &guard)[0].level;
    let host = "[host.\"https://httpgate.example\"]\n";
    assert_eq!(check(&format!("server = \"httpgate.example\"\n{host}")), Level::Wrong);
    assert_eq!(check(&format!("server = \"https://httpgate.example\"\n{host}")), Level::Ok);
}

#[test]
fn a_registry_that_is_no_upstream_is_told_and_no_fault() {
    let text = "server = \"https://registry.k8s.io\"\n";
    insta::assert_snapshot!(told(Path::new("/x"), of("registry.k8s.io", text, &["ghcr.io"])), @r"
    warn   containerd-other  hosts.toml
           no upstream of witgate: what comes from `registry.k8s.io` goes past it
    ");
    // Where nobody said what is to be guarded, everything is; half a mirror is wrong for whomever.
    assert_eq!(of("registry.k8s.io", text, &[])[0].level, Level::Wrong);
    let half = "[host.\"https://witgate.example\"]\n";
    assert_eq!(of("registry.k8s.io", half, &["ghcr.io"])[0].level, Level::Wrong);
    assert_eq!(of("_default", text, &["ghcr.io"])[0].level, Level::Wrong);
}

fn of_folder(files: &[(&str, &str)], upstreams: &[&str]) -> String {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(&root.path().join(path), text);
    }
    told(root.path(), certs_d::check(&[root.path().to_owned()], &guard(upstreams)))
}

#[test]
fn an_upstream_without_a_folder_is_unguarded() {
    insta::assert_snapshot!(of_folder(&[("ghcr.io/hosts.toml", ENFORCING)], &["docker.io", "ghcr.io"]), @r"
    ok     containerd-hosts  …/ghcr.io/hosts.toml
           whoever asks for `ghcr.io` asks witgate alone
    wrong  containerd-unguarded  docker.io
           no `hosts.toml` speaks for `docker.io`: containerd asks it itself
    warn   containerd-port  ghcr.io:443
           `ghcr.io:443/…` is the same registry, and no `hosts.toml` speaks for it: such a reference goes past witgate
    ");
    // A folder for all speaks for it.
    let text = of_folder(&[("_default/hosts.toml", ENFORCING)], &["docker.io", "ghcr.io"]);
    assert!(text.starts_with("ok ") && !text.contains("wrong  "), "{text}");
}

#[test]
fn a_folder_without_a_file_hides_the_folder_for_all() {
    insta::assert_snapshot!(of_folder(&[("_default/hosts.toml", ENFORCING), ("ghcr.io/ca.crt", "")], &["ghcr.io"]), @r"
    ok     containerd-hosts  …/_default/hosts.toml
           whoever asks for each registry without a folder of its own asks witgate alone
    wrong  containerd-unguarded  …/ghcr.io/hosts.toml
           there is no such file: containerd asks `ghcr.io` itself, and a folder for all is not looked into
    ");
}

#[test]
fn a_reference_with_the_port_of_https_needs_a_folder_of_its_own() {
    let text = of_folder(&[("ghcr.io/hosts.toml", ENFORCING)], &["ghcr.io"]);
    assert!(text.contains("warn   containerd-port  ghcr.io:443"), "{text}");
    let both = [("ghcr.io/hosts.toml", ENFORCING), ("ghcr.io_443_/hosts.toml", ENFORCING)];
    assert!(!of_folder(&both, &["ghcr.io"]).contains("containerd-port"));
    let past = [("ghcr.io/hosts.toml", ENFORCING), ("ghcr.io_443_/hosts.toml", "server = \"https://ghcr.io\"\n")];
    assert!(of_folder(&past, &["ghcr.io"]).contains("wrong  containerd-server"));
}

#[test]
fn the_folder_of_witgate_itself_needs_no_server() {
    let settings = "[host.\"https://witgate.example\"]\nca = \"ca.pem\"\n";
    assert_eq!(of("witgate.example", settings, &["ghcr.io"])[0].level, Level::Ok);
    assert_eq!(of("witgate.example", "server = \"https://ghcr.io\"\n", &[])[0].level, Level::Wrong);
    let text = of_folder(&[("_default/hosts.toml", ENFORCING), ("witgate.example/ca.crt", "")], &[]);
    assert!(text.starts_with("ok ") && !text.contains("wrong  "), "{text}");
}

#[test]
fn a_port_is_spelt_in_two_ways_and_the_first_counts() {
    for folder in ["registry.example_5000_", "registry.example:5000"] {
        let text = of_folder(&[(&format!("{folder}/hosts.toml"), ENFORCING)], &["registry.example:5000"]);
        assert!(text.starts_with("ok ") && !text.contains("wrong  "), "{text}");
    }
    let both = [("registry.example_5000_/x", ""), ("registry.example:5000/hosts.toml", ENFORCING)];
    let text = of_folder(&both, &["registry.example:5000"]);
    assert!(text.contains("wrong  containerd-unguarded  …/registry.example_5000_/hosts.toml"), "{text}");
    let text = of_folder(&[("registry.example/hosts.toml", ENFORCING)], &["registry.example:5000"]);
    assert!(text.contains("wrong  containerd-unguarded  registry.example:5000"), "{text}");
}

#[test]
fn the_first_root_with_a_folder_for_all_counts() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(&second.path().join("ghcr.io/hosts.toml"), ENFORCING);
    let roots = [first.path().to_owned(), second.path().to_owned()];
    let guard = guard(&["ghcr.io"]);
    assert_eq!(levels(&certs_d::check(&roots, &guard), "containerd-unguarded"), []);
    write(&first.path().join("_default/x"), "");
    let findings = certs_d::check(&roots, &guard);
    assert_eq!(levels(&findings, "containerd-unguarded"), [Level::Wrong], "{findings:?}");
}

#[test]
fn what_cannot_be_read_is_wrong() {
    let root = tempfile::tempdir().unwrap();
    let guard = guard(&["ghcr.io"]);
    let file = root.path().join("ghcr.io/hosts.toml");
    std::fs::create_dir_all(&file).unwrap();
    let roots = [root.path().to_owned()];
    assert_eq!(levels(&certs_d::check(&roots, &guard), "containerd-folder"), [Level::Wrong]);
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(levels(&certs_d::check(&roots, &guard), "containerd-folder"), [Level::Wrong]);
    std::fs::write(&file, [b'#', 0xff]).unwrap();
    assert_eq!(levels(&certs_d::check(&roots, &guard), "containerd-folder"), [Level::Wrong]);
    // A link to nothing is no file, and a link to a file is that file.
    std::fs::remove_file(&file).unwrap();
    let target = root.path().join("target");
    std::os::unix::fs::symlink(&target, &file).unwrap();
    assert_eq!(levels(&certs_d::check(&roots, &guard), "containerd-unguarded"), [Level::Wrong]);
    std::fs::write(&target, ENFORCING).unwrap();
    assert_eq!(levels(&certs_d::check(&roots, &guard), "containerd-hosts"), [Level::Ok]);
    let none = [root.path().join("none")];
    let findings = certs_d::check(&none, &guard);
    assert_eq!(levels(&findings, "containerd-folder"), [Level::NotLookedAt]);
    assert_eq!(levels(&findings, "containerd-unguarded"), [Level::Wrong]);
}

proptest::proptest! {
    /// Whatever is put together: it passes only with witgate as the one `server`, and nobody else named.
    #[test]
    fn what_passes_names_witgate_alone(lines in proptest::collection::vec(proptest::sample::select(PIECES), 0..7)) {
        let text = lines.concat();
        let passes = of("ghcr.io", &text, &["ghcr.io"]).iter().all(|finding| finding.level == Level::Ok);
        if passes {
            proptest::prop_assert!(text.contains("[host.\"https://witgate.example\"]\n"), "{}", text);
            proptest::prop_assert!(text.contains("server = \"https://witgate.example\"\n"), "{}", text);
            let hidden = text.replace("ca = \"https://ghcr.io\"", "").replace("# server = \"https://ghcr.io\"", "");
            proptest::prop_assert!(!hidden.contains("https://ghcr.io"), "{}", text);
        }
    }

    #[test]
    fn no_text_makes_it_stop(text in ".{0,200}") {
        let _ = of("ghcr.io", &text, &[]);
    }
}

/// Lines of a `hosts.toml`.
const PIECES: &[&str] = &[
    "server = \"https://witgate.example\"\n",
    "server = \"https://ghcr.io\"\n",
    "# server = \"https://ghcr.io\"\n",
    "Server = \"https://ghcr.io\"\n",
    "[host.\"https://witgate.example\"]\n",
    "[host.\"https://ghcr.io\"]\n",
    "host = { \"https://ghcr.io\" = {} }\n",
    "capabilities = [\"pull\", \"resolve\"]\n",
    "capabilities = []\n",
    "ca = \"https://ghcr.io\"\n",
    "skip_verify = false\n",
    "x = \"y\"\n",
];
