//! `witgate doctor`: what leads past witgate, and what is wrong with a gateway.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use witgate::dev::sigstore::Sigstore;

use super::readme::shell_words;
use super::served::Served;
use super::verify::docs::{Typed, fits, typed};
use super::{run, stderr, stdout, witgate};

const MIRROR_OF_CONTAINERD: &str =
    "server = \"https://ghcr.io\"\n\n[host.\"https://witgate.example\"]\n  capabilities = [\"pull\", \"resolve\"]\n";
const MIRROR_OF_THE_TOOLS: &str =
    "[[registry]]\nlocation = \"ghcr.io\"\n\n[[registry.mirror]]\nlocation = \"witgate.example/ghcr.io\"\n";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> String {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Exit code, and every finding of the JSON.
fn doctor(home: &Path, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = run(home, &[&["doctor", "--output", "json"], arguments].concat());
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let findings = report["findings"].as_array().unwrap().clone();
    let wrong = findings.iter().filter(|finding| finding["level"] == "wrong").count();
    assert_eq!(report["wrong"], wrong, "{report:#}");
    assert_eq!(output.status.code(), Some(i32::from(wrong > 0)), "{report:#}");
    (output.status.code(), findings)
}

fn levels<'f>(findings: &'f [Value], check: &str) -> Vec<&'f str> {
    findings
        .iter()
        .filter(|finding| finding["check"] == check)
        .map(|finding| finding["level"].as_str().unwrap())
        .collect()
}

#[test]
fn a28_1_both_fail_open_files_are_flagged_with_the_fix_and_both_enforcing_ones_pass() {
    let home = tempfile::tempdir().unwrap();
    let hosts = write(&home.path().join("certs.d/ghcr.io/hosts.toml"), MIRROR_OF_CONTAINERD);
    let registries = write(&home.path().join("registries.conf"), MIRROR_OF_THE_TOOLS);
    for (flag, file, check) in
        [("--containerd", &hosts, "containerd-server"), ("--registries", &registries, "registries-mirror")]
    {
        let arguments = [flag, file, "--witgate", "https://witgate.example", "--upstream", "ghcr.io"];
        let (code, findings) = doctor(home.path(), &arguments);
        assert_eq!((code, levels(&findings, check)), (Some(1), vec!["wrong"]), "{findings:#?}");
        let flagged = findings.iter().find(|finding| finding["check"] == check).unwrap();
        assert!(flagged["about"].as_str().unwrap().starts_with(file.as_str()), "{flagged:#}");
        // The fix is the file that passes.
        fs::write(file, flagged["fix"]["paste"].as_str().unwrap()).unwrap();
        let (code, findings) = doctor(home.path(), &arguments);
        assert_eq!(code, Some(0), "{findings:#?}");
        assert!(findings.iter().any(|finding| finding["level"] == "ok"), "{findings:#?}");
    }
}

#[test]
fn every_file_of_deploy_passes() {
    let home = tempfile::tempdir().unwrap();
    let deploy = |path: &str| repository().join("deploy").join(path).to_str().unwrap().to_owned();
    let (containerd, registries) = (deploy("containerd"), deploy("containers/registries.conf.d"));
    let flags = ["--witgate", "witgate.example", "--upstream", "ghcr.io"];
    let named = ["--containerd", &containerd, "--registries", &registries];
    let (code, findings) = doctor(home.path(), &[&named as &[_], &flags].concat());
    assert_eq!(code, Some(0), "{findings:#?}");
    assert!(findings.iter().all(|finding| finding["level"] == "ok" || finding["check"] == "config"), "{findings:#?}");
    assert_eq!(findings.iter().filter(|finding| finding["level"] == "ok").count(), 3, "{findings:#?}");
    for file in ["ghcr.io/hosts.toml", "ghcr.io_443_/hosts.toml"] {
        let file = format!("{containerd}/{file}");
        assert_eq!(doctor(home.path(), &[&["--containerd", &file] as &[_], &flags].concat()).0, Some(0));
    }
}

#[test]
fn a_node_is_looked_at_below_its_root() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("node");
    let node = root.to_str().unwrap().to_owned();
    let all = ["--root", &node, "--witgate", "https://witgate.example", "--upstream", "ghcr.io"];
    let (code, findings) = doctor(home.path(), &["--root", &node]);
    assert_eq!(code, Some(0));
    assert_eq!(levels(&findings, "containerd"), ["not-looked-at"], "{findings:#?}");
    assert_eq!(levels(&findings, "registries-conf"), ["not-looked-at"], "{findings:#?}");
    write(&root.join("etc/containerd/certs.d/ghcr.io/hosts.toml"), MIRROR_OF_CONTAINERD);
    write(&root.join("etc/containers/registries.conf"), MIRROR_OF_THE_TOOLS);
    let (_, findings) = doctor(home.path(), &all);
    assert_eq!(levels(&findings, "containerd-server"), ["wrong"], "{findings:#?}");
    assert_eq!(levels(&findings, "registries-mirror"), ["wrong"], "{findings:#?}");
    // The upstreams of the configuration stand for the flag.
    let config = write(
        &home.path().join("witgate.toml"),
        "[listen]\ncallers = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[registry.upstreams.\"quay.io\"]\n",
    );
    let (_, findings) = doctor(home.path(), &["--config", &config, "--root", &node, "--witgate", "witgate.example"]);
    assert_eq!(levels(&findings, "containerd-unguarded"), ["wrong"], "{findings:#?}");
    assert_eq!(levels(&findings, "registries-unguarded"), ["wrong"], "{findings:#?}");
    // So does the name that clients know the registry listener by.
    let named = "[listen]\ncallers = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
                 [listen.registry]\naddress = \"127.0.0.1:0\"\nurl = \"https://witgate.example\"\n";
    let config = write(&home.path().join("named.toml"), named);
    let (code, findings) = doctor(home.path(), &["--config", &config, "--root", &node, "--upstream", "ghcr.io"]);
    assert_eq!((code, levels(&findings, "registries-mirror")), (Some(1), vec!["wrong"]), "{findings:#?}");
    assert_eq!(levels(&findings, "listen"), ["ok"; 3], "{findings:#?}");
    let hosts = findings.iter().find(|finding| finding["check"] == "containerd-server").unwrap();
    assert!(hosts["fix"]["paste"].as_str().unwrap().starts_with("server = \"https://witgate.example\"\n"), "{hosts:#}");
    // And nobody knows what a mirror is without witgate.
    let output = run(home.path(), &["doctor", "--root", &node]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint: add `--witgate https://HOST[:PORT]`"), "{}", stderr(&output));
    for witgate in ["", "HTTPS://x", "https://a@b"] {
        assert_eq!(run(home.path(), &["doctor", "--witgate", witgate]).status.code(), Some(2));
    }
    let (_, findings) = doctor(home.path(), &["--containerd", "nowhere", "--witgate", "witgate.example"]);
    assert_eq!(levels(&findings, "containerd"), ["wrong"], "{findings:#?}");
    let (_, findings) = doctor(home.path(), &["--registries", "nowhere", "--witgate", "witgate.example"]);
    assert_eq!(levels(&findings, "registries-conf"), ["wrong"], "{findings:#?}");
}

#[test]
fn a_gateway_is_looked_at_and_a_running_one_asked() {
    let home = tempfile::tempdir().unwrap();
    let none = home.path().join("none").to_str().unwrap().to_owned();
    let check = |config: &str| {
        let config = write(&home.path().join("witgate.toml"), config);
        doctor(home.path(), &["--config", &config, "--root", &none])
    };
    let listen = |callers: &str, admin: &str| format!("[listen]\ncallers = \"{callers}\"\nadmin = \"{admin}\"\n");
    let free = listen("127.0.0.1:0", "127.0.0.1:0");
    let (code, findings) = check(&free);
    assert_eq!((code, levels(&findings, "listen")), (Some(0), vec!["ok", "ok"]), "{findings:#?}");
    assert_eq!((levels(&findings, "config"), levels(&findings, "trust")), (vec!["ok"], vec!["warn"]), "{findings:#?}");

    // Somebody else.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let (_, findings) = check(&listen(&taken, "192.0.2.1:7444"));
    assert_eq!(levels(&findings, "listen"), ["wrong", "wrong"], "{findings:#?}");
    drop(other);

    // Witgate.
    let served = Served::start(home.path());
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let (callers, admin) = (host(&served.callers), host(&served.administration));
    let (code, findings) = check(&listen(&callers, &admin));
    assert_eq!(
        (code, levels(&findings, "ready"), levels(&findings, "listen")),
        (Some(0), vec!["ok"], vec!["ok"]),
        "{findings:#?}"
    );
    // Its log dates the clock, where the file is older.
    let config = home.path().join("witgate.toml");
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    File::options().write(true).open(&config).unwrap().set_modified(yesterday).unwrap();
    let (_, findings) = doctor(home.path(), &["--config", config.to_str().unwrap(), "--root", &none]);
    let clock = findings.iter().find(|finding| finding["check"] == "clock").unwrap();
    assert_eq!(clock["level"], "ok");
    assert!(clock["found"].as_str().unwrap().contains("the newest record of the log was written"), "{clock:#}");
    let (_, findings) = check(&listen("127.0.0.1:0", &admin));
    assert_eq!(levels(&findings, "listen"), ["ok"], "{findings:#?}");

    for config in ["[lisen]\n", "[listen]\ncallers = \"0.0.0.0:7443\"\n"] {
        let (_, findings) = check(config);
        assert_eq!(levels(&findings, "config"), ["wrong"], "{findings:#?}");
    }
    let (_, findings) = check(&format!("{free}[registry.upstreams.\"ghcr.io\"]\nurl = \"http://ghcr.io\"\n"));
    assert_eq!(levels(&findings, "config"), ["wrong"], "{findings:#?}");
    let (_, findings) = check(&format!("{free}[[evidence.roots]]\nname = \"x\"\ntrusted_root = \"nowhere.json\"\n"));
    assert_eq!(
        (levels(&findings, "trust-root"), levels(&findings, "trust")),
        (vec!["wrong"], vec!["wrong"]),
        "{findings:#?}"
    );
}

#[test]
fn a10_3_a_clock_behind_what_was_written_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    let config =
        write(&home.path().join("witgate.toml"), "[listen]\ncallers = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n");
    let arguments = ["--config", &config, "--root", "none"];
    assert_eq!(levels(&doctor(home.path(), &arguments).1, "clock"), ["ok"]);
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    File::options().write(true).open(&config).unwrap().set_modified(tomorrow).unwrap();
    let (code, findings) = doctor(home.path(), &arguments);
    assert_eq!((code, levels(&findings, "clock")), (Some(1), vec!["wrong"]), "{findings:#?}");
}

#[test]
fn every_command_says_what_the_page_says() {
    witgate::tls::install_provider();
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository().join("deploy"), home.path().join("deploy")).unwrap();
    write(&home.path().join("node/etc/containerd/certs.d/ghcr.io/hosts.toml"), MIRROR_OF_CONTAINERD);
    write(&home.path().join("node/etc/containers/registries.conf"), MIRROR_OF_THE_TOOLS);
    let sigstore = Sigstore::new(witgate::case::Timestamp::now()).unwrap();
    write(&home.path().join("root.json"), sigstore.trusted_root_json());
    let config = "[listen]\ncallers = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
                  [[evidence.roots]]\nname = \"acme\"\ntrusted_root = \"root.json\"\n";
    write(&home.path().join("witgate.toml"), config);
    let typed = typed(&fs::read_to_string(repository().join("docs/doctor.md")).unwrap());
    assert!(typed.len() >= 6, "the page has {} commands", typed.len());
    let mut last = None;
    for Typed { line, said } in typed {
        let words = shell_words(&line);
        let found = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["echo", "$?"] => vec![last.map_or_else(String::new, |code: i32| code.to_string())],
            ["witgate", ref arguments @ ..] => {
                let output = witgate(home.path()).args(arguments).current_dir(home.path()).output().unwrap();
                last = output.status.code();
                let text = format!("{}{}", stdout(&output), stderr(&output));
                text.replace(home.path().to_str().unwrap(), "/home/you").lines().map(str::to_owned).collect()
            }
            _ => panic!("`{line}`: the page uses witgate alone"),
        };
        assert!(fits(&said, &found), "`{line}` says\n{}\nand the page\n{}", found.join("\n"), said.join("\n"));
    }
}

#[test]
fn every_name_and_flag_stands_on_the_page() {
    let page = fs::read_to_string(repository().join("docs/doctor.md")).unwrap();
    let mut names = 0;
    for file in fs::read_dir(repository().join("gateway/src/cli/doctor")).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            // A name is a constant without a dot or a slash: the others are files.
            let name =
                line.strip_prefix("const ").and_then(|line| line.split_once(": &str = \"")?.1.strip_suffix("\";"));
            if let Some(name) = name.filter(|name| !name.contains(['.', '/'])) {
                assert!(page.contains(&format!("| `{name}` |")), "{}: `{name}` is missing", path.display());
                names += 1;
            }
        }
    }
    assert!(names > 25, "{names} names were found");
    let home = tempfile::tempdir().unwrap();
    let help = stdout(&run(home.path(), &["doctor", "--help"]));
    for flag in ["--witgate", "--upstream", "--containerd", "--registries", "--root"] {
        assert!(help.contains(flag) && page.contains(&format!("| `{flag} ")), "`{flag}` is missing");
    }
}

#[test]
fn the_other_files_of_deploy_say_what_they_should() {
    let read = |path: &str| fs::read_to_string(repository().join("deploy").join(path)).unwrap();
    let wkg = read("wkg/config.toml");
    for said in
        ["registry = \"witgate.example\"", "preferredProtocol = \"oci\"", "namespacePrefix = \"ghcr.io/webassembly/\""]
    {
        assert!(wkg.contains(said), "{wkg}");
    }
    let policy = read("k8s/networkpolicy.yaml");
    let rules: Vec<&str> = policy.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    assert!(rules.iter().any(|line| line.trim() == "- Egress"), "{policy}");
    // No rule without a peer, and none for everybody: `- to:` is followed by a selector each time.
    for (index, line) in rules.iter().enumerate().filter(|(_, line)| line.trim() == "- to:") {
        assert!(rules[index + 1].trim().ends_with("Selector:"), "{line} {}", rules[index + 1]);
    }
    assert!(!rules.iter().any(|line| line.contains("ipBlock") || line.trim() == "- {}"), "{policy}");
}
