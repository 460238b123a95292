//! containerd's `config.toml`, with the files below a root of its own.

use super::*;
use crate::cli::doctor::containerd_config;

const ENFORCING: &str = "server = \"https://witgate.example\"\n[host.\"https://witgate.example\"]\n";
const CONFIG_PATH: &str =
    "[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n";

fn of(files: &[(&str, &str)]) -> (Vec<Finding>, String) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(&root.path().join(path), text);
    }
    let config = root.path().join("etc/containerd/config.toml");
    let findings = containerd_config::check(&config, root.path(), &guard(&["ghcr.io"]));
    (findings.clone(), told(root.path(), findings))
}

#[test]
fn each_version_names_its_folder_in_its_table() {
    for table in ["io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri"] {
        let config = format!("[plugins.\"{table}\".registry]\nconfig_path = \"/a:/b\"\n");
        let (findings, text) = of(&[("etc/containerd/config.toml", &config), ("b/ghcr.io/hosts.toml", ENFORCING)]);
        assert_eq!(levels(&findings, "containerd-hosts"), [Level::Ok], "{text}");
        assert!(!findings.iter().any(|finding| finding.level == Level::Wrong), "{text}");
        let (findings, text) = of(&[("etc/containerd/config.toml", &config)]);
        assert_eq!(levels(&findings, "containerd-unguarded"), [Level::Wrong], "{text}");
    }
}

#[test]
fn a_configuration_without_a_folder_reads_no_hosts_toml() {
    let (_, text) = of(&[
        ("etc/containerd/config.toml", "version = 2\n"),
        ("etc/containerd/certs.d/ghcr.io/hosts.toml", ENFORCING),
    ]);
    insta::assert_snapshot!(text, @r"
    ok     containerd-config  …/etc/containerd/config.toml
           nothing in it leads past witgate
    wrong  containerd-config  …/etc/containerd/config.toml
           there is no `config_path`: before containerd 2.2 no `hosts.toml` is read at all, and every registry is asked itself
    ok     containerd-hosts  …/etc/containerd/certs.d/ghcr.io/hosts.toml
           whoever asks for `ghcr.io` asks witgate alone
    warn   containerd-port  ghcr.io:443
           `ghcr.io:443/…` is the same registry, and no `hosts.toml` speaks for it: such a reference goes past witgate
    ");
}

#[test]
fn without_a_configuration_the_folder_of_the_documentation_is_looked_at() {
    let (findings, text) = of(&[("etc/containerd/certs.d/ghcr.io/hosts.toml", ENFORCING)]);
    assert_eq!(levels(&findings, "containerd-config"), [Level::NotLookedAt], "{text}");
    assert_eq!(levels(&findings, "containerd-hosts"), [Level::Ok], "{text}");
}

#[test]
fn mirrors_of_the_old_kind_fall_back() {
    let config = "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"ghcr.io\"]\nendpoint = [\"https://witgate.example\"]\n";
    let (findings, text) = of(&[("etc/containerd/config.toml", config)]);
    let mirrors = findings.iter().find(|finding| finding.check == "containerd-mirrors").expect("a finding");
    assert_eq!(mirrors.level, Level::Wrong);
    assert!(text.contains("wrong  containerd-mirrors  …/etc/containerd/config.toml:1:55"), "{text}");
    assert!(mirrors.fix.as_ref().unwrap().say.contains("config_path"));
}

#[test]
fn the_transfer_service_has_a_folder_of_its_own() {
    let config = format!("{CONFIG_PATH}[plugins.\"io.containerd.transfer.v1.local\"]\nconfig_path = \"/other\"\n");
    let (findings, text) =
        of(&[("etc/containerd/config.toml", &config), ("etc/containerd/certs.d/ghcr.io/hosts.toml", ENFORCING)]);
    assert_eq!(levels(&findings, "containerd-unguarded"), [Level::Wrong], "{text}");
}

#[test]
fn imported_files_are_read_too() {
    let mirror = "[plugins.cri.registry.mirrors.x]\nendpoint = []\n";
    let main = format!("imports = [\"conf.d/*.toml\", \"/etc/more.toml\", \"/etc/none.toml\"]\n{CONFIG_PATH}");
    let (findings, text) = of(&[
        ("etc/containerd/config.toml", &main),
        ("etc/containerd/conf.d/a.toml", mirror),
        ("etc/containerd/conf.d/a.conf", "not TOML"),
        ("etc/more.toml", mirror),
        ("etc/containerd/certs.d/ghcr.io/hosts.toml", ENFORCING),
    ]);
    assert_eq!(levels(&findings, "containerd-mirrors"), [Level::Wrong; 2], "{text}");
    // What it does not understand it says.
    let (findings, text) =
        of(&[("etc/containerd/config.toml", &format!("imports = [\"/etc/*/x.toml\"]\n{CONFIG_PATH}"))]);
    assert_eq!(levels(&findings, "containerd-config"), [Level::Wrong], "{text}");
    // Files that import one another end.
    let ring = format!("imports = [\"config.toml\", \"b.toml\"]\n{CONFIG_PATH}");
    let (findings, _) = of(&[("etc/containerd/config.toml", &ring), ("etc/containerd/b.toml", &ring)]);
    assert_eq!(levels(&findings, "containerd-config"), [Level::Ok; 2]);
    let many: Vec<(String, &str)> = (0..64).map(|n| (format!("etc/containerd/conf.d/{n:02}.toml"), "")).collect();
    let files: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let all = format!("imports = [\"conf.d/*.toml\"]\n{CONFIG_PATH}");
    let (findings, text) = of(&[&[("etc/containerd/config.toml", all.as_str())], files.as_slice()].concat());
    let levels = levels(&findings, "containerd-config");
    assert_eq!(levels.iter().filter(|level| **level == Level::Wrong).count(), 1, "{text}");
    assert!(text.contains("…/etc/containerd/conf.d/63.toml\n       it would be the 65th file"), "{text}");
}

#[test]
fn a_configuration_that_is_no_toml_is_wrong() {
    for config in [
        "version = \n",
        "imports = 1\n",
        "[plugins.cri.registry]\nconfig_path = 1\n",
        "[plugins.cri.registry]\nmirrors = 1\n",
    ] {
        let (findings, text) = of(&[("etc/containerd/config.toml", config)]);
        assert!(levels(&findings, "containerd-config").contains(&Level::Wrong), "{text}");
        assert!(text.contains("config.toml:"), "{text}");
    }
}
