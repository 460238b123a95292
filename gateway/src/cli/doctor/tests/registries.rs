//! containers-registries.conf(5), after its files are laid over one another.

use super::*;
use crate::cli::doctor::registries::View;

const ENFORCING: &str = "[[registry]]\nprefix = \"ghcr.io\"\nlocation = \"witgate.example/ghcr.io\"\n";

fn of_files(files: &[(&str, &str)], upstreams: &[&str]) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(&folder.path().join(path), text);
    }
    let here = folder.path().display().to_string();
    let short = |finding: Finding| {
        let clean = |text: String| text.replace(&here, "…");
        Finding { about: clean(finding.about), found: clean(finding.found), ..finding }
    };
    View::named(folder.path()).check(&guard(upstreams)).into_iter().map(short).collect()
}

/// What is said of one file, and that each wrong finding gives a form that holds.
fn of(text: &str) -> String {
    let findings = of_files(&[("registries.conf", text)], &["ghcr.io"]);
    for fix in
        findings.iter().filter(|finding| finding.level == Level::Wrong).filter_map(|finding| finding.fix.as_ref())
    {
        assert!(
            of_files(&[("registries.conf", &fix.paste)], &[]).iter().all(|finding| finding.level == Level::Ok),
            "{fix:?}"
        );
    }
    told(Path::new("/nowhere"), findings)
}

#[test]
fn the_enforcing_form_passes() {
    insta::assert_snapshot!(of(ENFORCING), @r"
    ok     registries-conf  …/registries.conf
           1 registry of `…/registries.conf`: nothing leads past witgate
    ");
}

#[test]
fn a_mirror_falls_back_whoever_it_is() {
    let mirror = format!(
        "{ENFORCING}[[registry.mirror]]\nlocation = \"witgate.example/ghcr.io\"\npull-from-mirror = \"tag-only\"\n"
    );
    insta::assert_snapshot!(of(&mirror), @r"
    wrong  registries-mirror  …/registries.conf:4:1
           a mirror (`witgate.example/ghcr.io`): what it refuses is asked for elsewhere, whoever stands there
    ");
    let classic = "[[registry]]\nlocation = \"ghcr.io\"\n[[registry.mirror]]\nlocation = \"witgate.example/ghcr.io\"\n";
    insta::assert_snapshot!(of(classic), @r"
    wrong  registries-mirror  …/registries.conf:3:1
           a mirror (`witgate.example/ghcr.io`): what it refuses is asked for elsewhere, whoever stands there
    wrong  registries-location  …/registries.conf:1:1
           `ghcr.io` is sent to `ghcr.io`, which is not witgate
    ");
}

#[test]
fn a_location_that_is_not_witgate_leads_past_it() {
    // The longer prefix wins over the one that is sent to witgate.
    insta::assert_snapshot!(of(&format!("{ENFORCING}[[registry]]\nprefix = \"ghcr.io/acme\"\nlocation = \"ghcr.io/acme\"\n")), @r"
    wrong  registries-location  …/registries.conf:4:1
           `ghcr.io/acme` is sent to `ghcr.io/acme`, which is not witgate
    ");
    // Another name for an upstream.
    let text = of(&format!("{ENFORCING}[[registry]]\nprefix = \"corp.example\"\nlocation = \"ghcr.io/acme\"\n"));
    assert!(text.contains("wrong  registries-location"), "{text}");
    let text = of(&format!("{ENFORCING}[[registry]]\nprefix = \"*.io\"\n"));
    assert!(text.contains("wrong  registries-location"), "{text}");
    let text = of(&format!("{ENFORCING}[[registry]]\nprefix = \"quay.io\"\nlocation = \"quay.io\"\n"));
    assert!(text.contains("warn   registries-other") && !text.contains("wrong  "), "{text}");
}

#[test]
fn a_location_in_witgate_that_is_another_registry_is_wrong() {
    insta::assert_snapshot!(of("[[registry]]\nprefix = \"ghcr.io\"\nlocation = \"witgate.example/docker.io\"\n"), @r"
    wrong  registries-location  …/registries.conf:1:1
           `ghcr.io` is sent to `witgate.example/docker.io`: expected `witgate.example/ghcr.io`
    ");
    let text = of("[[registry]]\nprefix = \"ghcr.io\"\nlocation = \"witgate.example\"\n");
    assert!(text.contains("wrong  registries-location"), "{text}");
    // Settings for witgate itself send nothing anywhere.
    let text = of(&format!("{ENFORCING}[[registry]]\nlocation = \"witgate.example\"\n"));
    assert!(text.starts_with("ok "), "{text}");
}

#[test]
fn an_insecure_witgate_can_be_played_by_anybody() {
    insta::assert_snapshot!(of(&format!("{ENFORCING}insecure = true\n")), @r"
    wrong  registries-insecure  …/registries.conf:4:12
           `insecure`: whoever is between can answer in the place of `https://witgate.example`
    ");
    let here = Guard::new(vec!["http://127.0.0.1:7443".parse().unwrap()], Default::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("witgate.conf"), &here.registry("ghcr.io"));
    let findings = View::named(folder.path()).check(&here);
    assert_eq!(levels(&findings, "registries-conf"), [Level::Ok], "{findings:?}");
}

#[test]
fn a_blocked_registry_leads_nowhere() {
    let text =
        of("[[registry]]\nlocation = \"ghcr.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"x.example\"\n");
    assert!(text.starts_with("ok "), "{text}");
}

#[test]
fn short_names_are_looked_for_behind_witgate_or_nowhere() {
    let text =
        format!("unqualified-search-registries = [\"ghcr.io\", \"docker.io\", \"witgate.example\"]\n{ENFORCING}");
    insta::assert_snapshot!(of(&text), @r"
    wrong  registries-search  …/registries.conf:1:33
           short names are looked for in `docker.io`, past witgate
    ");
    assert!(of(&format!("unqualified-search-registries = []\n{ENFORCING}")).starts_with("ok "));
}

#[test]
fn an_upstream_that_nothing_speaks_for_is_unguarded() {
    insta::assert_snapshot!(of("[[registry]]\nprefix = \"ghcr.io/acme\"\nlocation = \"witgate.example/ghcr.io/acme\"\n"), @r"
    wrong  registries-unguarded  ghcr.io
           no `[[registry]]` speaks for `ghcr.io`: the tools ask it itself
    ");
    let findings = of_files(&[("registries.conf", ENFORCING)], &["ghcr.io:443"]);
    assert_eq!(levels(&findings, "registries-unguarded"), [], "{findings:?}");
}

#[test]
fn a_drop_in_takes_the_place_of_the_registry_with_its_prefix() {
    let open = "[[registry]]\nprefix = \"ghcr.io\"\nlocation = \"ghcr.io\"\n";
    let check = |files: &[(&str, &str)]| {
        let findings = of_files(files, &["ghcr.io"]);
        findings
            .iter()
            .filter(|finding| finding.level == Level::Wrong)
            .map(|finding| finding.about.clone())
            .collect::<Vec<_>>()
    };
    let main = ("registries.conf", open);
    assert_eq!(check(&[main]), ["…/registries.conf:1:1"]);
    assert_eq!(check(&[main, ("registries.conf.d/50.conf", ENFORCING)]), [""; 0]);
    let late = [main, ("registries.conf.d/50.conf", ENFORCING), ("registries.conf.d/9.conf", open)];
    assert_eq!(check(&late), ["…/registries.conf.d/9.conf:1:1"]);
    assert_eq!(check(&[("registries.conf", ENFORCING), ("registries.conf.d/x.toml", open)]), [""; 0]);
    assert_eq!(check(&[("registries.conf", ENFORCING), ("registries.conf.d/x.conf/y.conf", open)]), [""; 0]);
    // Without `registries.conf` the drop-ins stand alone.
    assert_eq!(check(&[("registries.conf.d/50.conf", ENFORCING)]), [""; 0]);
    assert_eq!(check(&[("50.conf", ENFORCING)]), [""; 0]);
    // A list of short names is replaced as a whole, an empty one too.
    let search = "unqualified-search-registries = [\"docker.io\"]\n";
    let main = format!("{search}{ENFORCING}");
    assert_eq!(check(&[("registries.conf", &main)]), ["…/registries.conf:1:33"]);
    let none = "unqualified-search-registries = []\n";
    assert_eq!(check(&[("registries.conf", &main), ("registries.conf.d/a.conf", none)]), [""; 0]);
    assert_eq!(
        check(&[("registries.conf", ENFORCING), ("registries.conf.d/a.conf", search)]),
        ["…/registries.conf.d/a.conf:1:33"]
    );
}

#[test]
fn one_prefix_twice_in_a_file_is_wrong() {
    let findings = of_files(&[("registries.conf", &format!("{ENFORCING}{ENFORCING}"))], &["ghcr.io"]);
    assert_eq!(levels(&findings, "registries-twice"), [Level::Wrong], "{findings:?}");
}

#[test]
fn the_first_form_of_the_format_is_named_and_not_read() {
    insta::assert_snapshot!(of("[registries.search]\nregistries = [\"docker.io\"]\n"), @r"
    wrong  registries-version-1  …/registries.conf:1:2
           the first form of the format (`[registries.search]`, `.insecure`, `.block`) cannot send anything to witgate, and doctor does not read it
    ");
    let text = of(&format!("{ENFORCING}[registries.block]\nregistries = []\n"));
    assert!(text.starts_with("wrong  registries-version-1"), "{text}");
}

#[test]
fn what_the_tools_stop_at_is_wrong_and_hides_nothing() {
    for (text, told) in [
        ("[[registry]\n", "registries.conf:1:"),
        ("registry = 1\n", "expected an array of tables"),
        ("[registry]\nlocation = \"ghcr.io\"\n", "expected an array of tables"),
        ("[[registry]]\nlocation = 1\n", "expected a string"),
        ("[[registry]]\nlocation = \"https://ghcr.io\"\n", "found a URL"),
        ("[[registry]]\nprefix = \"ghcr.io\"\n", "without `location`"),
        ("[[registry]]\n", "with neither"),
        ("[[registry]]\nprefix = \"*.io/x\"\n", "has no path"),
        ("[[registry]]\nlocation = \"ghcr.io\"\nblocked = 1\n", "expected a boolean"),
        ("[[registry]]\nlocation = \"ghcr.io\"\nmirror = [1]\n", "expected an array of tables"),
        ("unqualified-search-registries = \"docker.io\"\n", "expected an array of strings"),
    ] {
        let found = of(text);
        assert!(found.starts_with("wrong  registries-undecodable") && found.contains(told), "`{text}`: {found}");
        assert!(!found.contains("\nok "), "{found}");
    }
    let text = of(&format!("{ENFORCING}Blocked = true\n[[Registry]]\nlocation = \"x\"\n"));
    assert_eq!(text.matches("wrong  registries-key").count(), 2, "{text}");
    let findings = of_files(&[("registries.conf/x", "")], &[]);
    assert_eq!(levels(&findings, "registries-conf"), [Level::Wrong], "{findings:?}");
}

#[test]
fn a_user_with_a_file_of_his_own_reads_no_other() {
    let root = tempfile::tempdir().unwrap();
    let (etc, home) = (root.path().join("etc"), root.path().join("home"));
    assert_eq!(View::defaults(&etc, None).len(), 1);
    assert_eq!(View::defaults(&etc, Some(&home)).len(), 1);
    assert!(!View::defaults(&etc, Some(&home))[0].exists());
    write(&etc.join("containers/registries.conf.d/witgate.conf"), ENFORCING);
    let guard = guard(&["ghcr.io"]);
    let wrong = |views: &[View]| {
        let findings = views.iter().flat_map(|view| view.check(&guard)).filter(|finding| finding.level == Level::Wrong);
        findings.map(|finding| finding.check).collect::<Vec<_>>()
    };
    assert_eq!(wrong(&View::defaults(&etc, Some(&home))), [""; 0]);
    // Drop-ins of the user come behind the system's.
    let own = home.join(".config/containers/registries.conf.d/a.conf");
    write(&own, "[[registry]]\nlocation = \"ghcr.io\"\n");
    assert_eq!(wrong(&View::defaults(&etc, Some(&home))), ["registries-location"]);
    std::fs::remove_file(own).unwrap();
    write(&home.join(".config/containers/registries.conf"), "unqualified-search-registries = []\n");
    assert_eq!(wrong(&View::defaults(&etc, Some(&home))), ["registries-unguarded"]);
}
