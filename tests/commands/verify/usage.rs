//! What cannot be understood is a usage error that says what to add; help says where we differ from cosign.

use witgate::dev::sigstore::KeyKind;

use super::*;

/// Each mix, by what it shows.
const MISUSES: &[&[&str]] = &[
    &["REF"],
    &["REF", "--certificate-identity", "x"],
    &["REF", "--certificate-oidc-issuer", "https://issuer.example"],
    &["REF", "--certificate-github-workflow-name", "release"],
    &["REF", "--certificate-identity", "x", "--certificate-identity-regexp", ".*@x.example"],
    &[
        "REF",
        "--certificate-identity",
        "x",
        "--certificate-oidc-issuer",
        "https://a.example",
        "--certificate-oidc-issuer-regexp",
        "https://a.example/.*",
    ],
    &["REF", "--key", "cosign.pub", "--certificate-identity", "x"],
    &["REF", "--key", "cosign.pub", "--certificate-oidc-issuer-regexp", "https://a.example/.*"],
    &["REF", "--key", "cosign.pub", "--certificate-github-workflow-sha", "abc"],
    &["REF", "--certificate-identity", "", "--certificate-oidc-issuer", "https://issuer.example"],
    &["REF", "--certificate-identity", "x", "--certificate-oidc-issuer", ""],
    &["REF", "--key", "cosign.pub", "--type", "provenance"],
    &["REF", "--key", "cosign.pub", "--type", "https://sigstore.dev/cosign/sign/v1"],
    &["REF", "--key", "cosign.pub", "--type", "spdx", "-a", "a=b"],
    &["REF", "--key", "cosign.pub", "-a", "a"],
    &["REF", "--key", "cosign.pub", "-a", "=b"],
    &["REF", "--key", "cosign.pub", "-a", "a=b", "--annotations", "a=c"],
    &["REF", "--key", "cosign.pub", "--bundle", "b.json"],
    &["REF", "--key", "cosign.pub", "--registry-username", "u"],
    &["REF", "--key", "cosign.pub", "--registry-password", "p"],
    &["REF", "--key", "cosign.pub", "--registry-token", "t", "--registry-username", "u"],
    &["REF", "--key", "cosign.pub", "--allow-http-registry", "--registry-cacert", "ca.pem"],
    &["REF", "--key", "cosign.pub", "--insecure-ignore-sct"],
    &[
        "REF",
        "--certificate-identity",
        "x",
        "--certificate-oidc-issuer",
        "https://a.example",
        "--signing-algorithm",
        "ed25519",
    ],
    &["REF", "--key", "cosign.pub", "--signing-algorithm", "ed25519"],
    &["REF", "--certificate-identity", "x", "--certificate-oidc-issuer", "https://a.example", "--password-file", "p"],
    &["REF", "--key", "ed25519.pub"],
    &["REF", "--key", "nowhere.pub"],
    &["REF", "--key", "trusted_root.json"],
    &["cart.wasm", "--key", "cosign.pub"],
    &["cart.wasm", "--key", "cosign.pub", "--bundle", "b.json", "--allow-http-registry"],
    &["cart.wasm", "--key", "cosign.pub", "--bundle", "nowhere.json"],
    &["nowhere.wasm", "--key", "cosign.pub", "--bundle", "b.json"],
];

#[tokio::test(flavor = "multi_thread")]
async fn a8_2_what_cannot_be_understood_is_2_and_says_what_to_add() {
    let stage = Stage::start().await;
    stage.write("cart.wasm", "cart");
    stage.write("b.json", "{}");
    key_file(&stage, "cosign.pub", &ManagedKey::generate().unwrap());
    key_file(&stage, "ed25519.pub", &ManagedKey::of(KeyKind::Ed25519).unwrap());
    let reference = format!("{}/acme/cart:1", stage.registry.host());
    let mut told = Vec::new();
    for arguments in MISUSES {
        let what = arguments[0].replace("REF", &reference);
        let said = stage.verify(&what, &arguments[1..]);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}{}", said.out, said.err);
        assert!(said.out.is_empty(), "{arguments:?}: {}", said.out);
        told.push(format!("{}\n{}", arguments.join(" "), steady(&said.err)));
    }
    // Nobody was asked for anything.
    assert!(stage.registry.requests().is_empty(), "{:?}", stage.registry.requests());
    insta::assert_snapshot!(told.join("\n"), @r"
    REF
    witgate: error: nobody is named who must have signed
    witgate: hint: add `--certificate-identity` (or `-regexp`) with `--certificate-oidc-issuer`, or `--key` alone

    REF --certificate-identity x
    witgate: error: nobody is named who must have vouched for the identity: any issuer can name anybody
    witgate: hint: add `--certificate-oidc-issuer URL`, or `--certificate-oidc-issuer-regexp`

    REF --certificate-oidc-issuer https://issuer.example
    witgate: error: `--certificate-oidc-issuer` says nothing of who must have signed
    witgate: hint: add `--certificate-identity` (or `-regexp`) with `--certificate-oidc-issuer`, or `--key` alone

    REF --certificate-github-workflow-name release
    witgate: error: `--certificate-github-workflow-name` says nothing of who must have signed
    witgate: hint: add `--certificate-identity` (or `-regexp`) with `--certificate-oidc-issuer`, or `--key` alone

    REF --certificate-identity x --certificate-identity-regexp .*@x.example
    witgate: error: `--certificate-identity` and `--certificate-identity-regexp` say one thing twice
    witgate: hint: leave out one of them

    REF --certificate-identity x --certificate-oidc-issuer https://a.example --certificate-oidc-issuer-regexp https://a.example/.*
    witgate: error: `--certificate-oidc-issuer` and `--certificate-oidc-issuer-regexp` say one thing twice
    witgate: hint: leave out one of them

    REF --key cosign.pub --certificate-identity x
    witgate: error: `--key` and `--certificate-identity` name two kinds of signers: a key has no certificate
    witgate: hint: leave out one of them

    REF --key cosign.pub --certificate-oidc-issuer-regexp https://a.example/.*
    witgate: error: `--key` and `--certificate-oidc-issuer-regexp` name two kinds of signers: a key has no certificate
    witgate: hint: leave out one of them

    REF --key cosign.pub --certificate-github-workflow-sha abc
    witgate: error: `--key` and `--certificate-github-workflow-sha` name two kinds of signers: a key has no certificate
    witgate: hint: leave out one of them

    REF --certificate-identity  --certificate-oidc-issuer https://issuer.example
    witgate: error: `--certificate-identity` is ``, which nothing equals
    witgate: hint: say it in full, or leave out `--certificate-identity`

    REF --certificate-identity x --certificate-oidc-issuer 
    witgate: error: `--certificate-oidc-issuer` is ``, which nothing equals
    witgate: hint: say it in full, or leave out `--certificate-oidc-issuer`

    REF --key cosign.pub --type provenance
    witgate: error: `--type provenance` is no predicate type
    witgate: hint: name one of slsaprovenance, slsaprovenance02, slsaprovenance1, link, spdx, spdxjson, cyclonedx, openvex, vuln, custom, or write its URI in full

    REF --key cosign.pub --type https://sigstore.dev/cosign/sign/v1
    witgate: error: `--type https://sigstore.dev/cosign/sign/v1` is no attestation: it is what a signature of cosign 3 is
    witgate: hint: leave out `--type`: then a signature is wanted

    REF --key cosign.pub --type spdx -a a=b
    witgate: error: `--annotations` are of signatures, and `--type` wants an attestation
    witgate: hint: leave out one of them

    REF --key cosign.pub -a a
    witgate: error: `--annotations a` is no `KEY=VALUE`
    witgate: hint: write `-a KEY=VALUE`, once for each annotation

    REF --key cosign.pub -a =b
    witgate: error: `--annotations =b` is no `KEY=VALUE`
    witgate: hint: write `-a KEY=VALUE`, once for each annotation

    REF --key cosign.pub -a a=b --annotations a=c
    witgate: error: the annotation `a` is wanted with two values
    witgate: hint: leave out one of them: an annotation has one value

    REF --key cosign.pub --bundle b.json
    witgate: error: `--bundle` is for a file: what is attached to a reference is found in its registry
    witgate: hint: leave it out, or name a file

    REF --key cosign.pub --registry-username u
    witgate: error: `--registry-username` is half a credential
    witgate: hint: set WITGATE_REGISTRY_PASSWORD, or add `--registry-password`

    REF --key cosign.pub --registry-password p
    witgate: error: `--registry-password` is half a credential
    witgate: hint: add `--registry-username NAME`

    REF --key cosign.pub --registry-token t --registry-username u
    witgate: error: `--registry-token` and a user's name or password are two credentials
    witgate: hint: leave out one of them

    REF --key cosign.pub --allow-http-registry --registry-cacert ca.pem
    witgate: error: `--allow-http-registry` and `--registry-cacert` ask for HTTP and for HTTPS
    witgate: hint: leave out one of them

    REF --key cosign.pub --insecure-ignore-sct
    witgate: error: `--insecure-ignore-sct` is of certificates, and `--key` has none
    witgate: hint: leave out one of them

    REF --certificate-identity x --certificate-oidc-issuer https://a.example --signing-algorithm ed25519
    witgate: error: `--signing-algorithm` is of a key, and there is no `--key`
    witgate: hint: add `--key FILE`, or leave it out: a certificate says its own

    REF --key cosign.pub --signing-algorithm ed25519
    witgate: error: `--key` cannot be used: expected `algorithm` to be `ecdsa-sha2-256-nistp256`, which the key is, found `ed25519`
    witgate: hint: leave `--signing-algorithm` out, or name the key that was meant

    REF --key ed25519.pub
    witgate: error: `--key` cannot be used: expected `algorithm` to say how an Ed25519 key signs messages, found none
    witgate: hint: add `--signing-algorithm ed25519-ph` where messages are signed as cosign does by default, else `ed25519`

    REF --key nowhere.pub
    witgate: error: cannot read `nowhere.pub` of `--key`: No such file or directory (os error 2)
    witgate: hint: name a file that is there and may be read; paths start at the working folder

    REF --key trusted_root.json
    witgate: error: `--key` cannot be used: it is no PEM text: expected a line `-----BEGIN …-----`, found none
    witgate: hint: write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`

    cart.wasm --key cosign.pub
    witgate: error: a file is verified with its bundle
    witgate: hint: add `--bundle FILE`

    cart.wasm --key cosign.pub --bundle b.json --allow-http-registry
    witgate: error: `--allow-http-registry` is for a registry, and `cart.wasm` is a file
    witgate: hint: leave out `--allow-http-registry`

    cart.wasm --key cosign.pub --bundle nowhere.json
    witgate: error: cannot read `nowhere.json`: No such file or directory (os error 2)

    nowhere.wasm --key cosign.pub --bundle b.json
    witgate: error: cannot read `nowhere.wasm`: expected a component file, or REGISTRY/REPOSITORY:TAG: No such file or directory (os error 2)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_2_a_misspelt_flag_and_nobody_trusted_are_2() {
    let stage = Stage::start().await;
    let reference = format!("{}/acme/cart:1", stage.registry.host());
    for flag in ["--certificate-identity-regex", "--certificate-oidc-issuer-url", "--keys", "--insecure-ignore"] {
        let said = stage.verify(&reference, &[&BY_SIGNER[..], &[flag, "x"]].concat());
        assert_eq!(said.code, Some(2), "{flag}: {}", said.err);
        assert!(said.err.contains("unexpected argument"), "{flag}: {}", said.err);
    }
    let said = stage.verify_bare(&reference, &BY_SIGNER, &[]);
    assert_eq!(said.code, Some(2));
    insta::assert_snapshot!(said.err, @r"
    witgate: error: no Sigstore is trusted, so no signature verifies
    witgate: hint: add `--trusted-root FILE`, or roots to `[evidence]` of the configuration
    ");
    for timeout in ["0s", "-3m", "2h", "soon"] {
        let said = stage.verify(&reference, &[&BY_SIGNER[..], &[&format!("--timeout={timeout}")]].concat());
        assert_eq!(said.code, Some(2), "{timeout}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_1_a_pattern_that_matches_more_than_it_says_is_2() {
    let stage = Stage::start().await;
    let reference = format!("{}/acme/cart:1", stage.registry.host());
    let mut told = Vec::new();
    for (flag, other, pattern) in [
        ("--certificate-identity-regexp", "--certificate-oidc-issuer", ".*"),
        ("--certificate-identity-regexp", "--certificate-oidc-issuer", "https://github.com/acme.*"),
        ("--certificate-identity-regexp", "--certificate-oidc-issuer", "https://.*/acme/cart"),
        ("--certificate-identity-regexp", "--certificate-oidc-issuer", "https://a.example/x|https://b.example/x"),
        ("--certificate-identity-regexp", "--certificate-oidc-issuer", ".*@.*"),
        ("--certificate-identity-regexp", "--certificate-oidc-issuer", "https://a.example/(?i)x"),
        ("--certificate-oidc-issuer-regexp", "--certificate-identity", ".*"),
        ("--certificate-oidc-issuer-regexp", "--certificate-identity", "https://token.actions.*"),
    ] {
        let said = stage.verify(&reference, &[flag, pattern, other, "https://x.example"]);
        assert_eq!(said.code, Some(2), "{pattern}: {}{}", said.out, said.err);
        told.push(said.err);
    }
    insta::assert_snapshot!(told.concat(), @r"
    witgate: error: `--certificate-identity-regexp .*` is not taken: expected one `@`, outside of groups, with a domain in lower case behind it, each letter for itself
    witgate: hint: write one that matches in full, or `--certificate-identity` for one value exactly
    witgate: error: `--certificate-identity-regexp https://github.com/acme.*` is not taken: expected the first folder in full, such as `acme/`, or a group, such as `(acme|other)/`
    witgate: hint: write one that matches in full, or `--certificate-identity` for one value exactly
    witgate: error: `--certificate-identity-regexp https://.*/acme/cart` is not taken: expected a pattern that begins with a scheme, `://`, a host in lower case, each letter for itself, then `/`; a pattern that everybody matches is none
    witgate: hint: write one that matches in full, or `--certificate-identity` for one value exactly
    witgate: error: `--certificate-identity-regexp https://a.example/x|https://b.example/x` is not taken: found `|` outside a group at byte 19: write `(a|b)`, or an identity for each
    witgate: hint: write one that matches in full, or `--certificate-identity` for one value exactly
    witgate: error: `--certificate-identity-regexp .*@.*` is not taken: expected one `@`, outside of groups, with a domain in lower case behind it, each letter for itself
    witgate: hint: write one that matches in full, or `--certificate-identity` for one value exactly
    witgate: error: `--certificate-identity-regexp https://a.example/(?i)x` is not taken: expected letters, digits, `.`, `\` before punctuation, `\d`, `\w`, `[…]`, `(…)`, `|` inside a group, `?*+{}`; found `(?` at byte 18
    witgate: hint: write one that matches in full, or `--certificate-identity` for one value exactly
    witgate: error: `--certificate-oidc-issuer-regexp .*` is not taken: expected a pattern that begins with a scheme, `://`, a host in lower case, each letter for itself, then `/`; a pattern that everybody matches is none
    witgate: hint: write one that matches in full, or `--certificate-oidc-issuer` for one value exactly
    witgate: error: `--certificate-oidc-issuer-regexp https://token.actions.*` is not taken: expected a pattern that begins with a scheme, `://`, a host in lower case, each letter for itself, then `/`; a pattern that everybody matches is none
    witgate: hint: write one that matches in full, or `--certificate-oidc-issuer` for one value exactly
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_says_where_we_differ() {
    let home = tempfile::tempdir().unwrap();
    let output = witgate(home.path()).args(["verify", "--help"]).env("COLUMNS", "120").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(stdout(&output), @r"
    Check who signed a component, check by check; no policy, no record

    The flags are cosign's, with these differences. A regular expression must match ALL of a subject or an issuer, and stays
    within one host or domain; cosign's match anywhere. Exactly one flag says the identity and one the issuer. `--key` names
    a file. Nobody is trusted by default. `docs/verify.md` compares the flags one by one.

    Without `--type` a signature is wanted, with it an attestation. Every check of every candidate is told, with its time.

    Exit codes: 0 verified, 1 not, 2 usage or configuration, 3 no answer.

    Usage: witgate verify [OPTIONS] <COMPONENT>

    Arguments:
      <COMPONENT>
              REGISTRY/REPOSITORY:TAG, REGISTRY/REPOSITORY@sha256:…, or a file (then with --bundle)

    Options:
          --config <FILE>
              Configuration file (TOML); see `witgate.example.toml`
              
              [env: WITGATE_CONFIG=]

      -t, --timeout <DURATION>
              How long all of it may take, such as 30s or 3m0s: no answer then, exit code 3
              
              [default: 3m0s]

          --data-dir <DIR>
              Folder of the log, the cache and the keys [default: the XDG state folder]

          --output <OUTPUT>
              Form of what goes to stdout

              Possible values:
              - text: For a person
              - json: One JSON document
              
              [env: WITGATE_OUTPUT=]
              [default: text]

      -h, --help
              Print help (see a summary with '-h')

    Who must have signed:
          --key <FILE>
              The public key that must have signed: a file with SPKI PEM, as `cosign.pub`; no URL and no KMS

          --signing-algorithm <ALGORITHM>
              What the key signs with, such as ecdsa-sha2-256-nistp256 or ed25519-ph; an Ed25519 key does not say it itself

          --certificate-identity <IDENTITY>
              The certificate's one subject alternative name: a URI or an e-mail address, exactly

          --certificate-identity-regexp <REGEXP>
              The same as a pattern that matches in full, within one host or domain: `https://github.com/acme/.*`

          --certificate-oidc-issuer <URL>
              The OIDC issuer that vouched for the identity, exactly

          --certificate-oidc-issuer-regexp <REGEXP>
              The same as a pattern that matches in full, within one host

          --certificate-github-workflow-name <NAME>
              The certificate's claim `workflow_name`, exactly: the name of the workflow on GitHub

          --certificate-github-workflow-ref <REF>
              The certificate's claim `workflow_ref`, exactly: `refs/heads/main`

          --certificate-github-workflow-repository <OWNER/REPOSITORY>
              The certificate's claim `workflow_repository`, exactly: `acme/cart`

          --certificate-github-workflow-sha <SHA>
              The certificate's claim `workflow_sha`, exactly: the commit

          --certificate-github-workflow-trigger <EVENT>
              The certificate's claim `workflow_trigger`, exactly: `push`

    What it must be:
          --type <TYPE>
              An attestation of this predicate type, exactly: slsaprovenance, slsaprovenance02, slsaprovenance1, link, spdx,
              spdxjson, cyclonedx, openvex, vuln, custom, or a URI

      -a, --annotations <KEY=VALUE>
              A signature with this annotation; several times for several, each must be there (no list with commas)

          --use-signed-timestamps
              A verified time-stamp of an authority (RFC 3161) must be among the times

    What to check against:
          --trusted-root <FILE>
              The trusted_root.json to check against [default: the roots of `[evidence]`]

          --bundle <FILE>
              The Sigstore bundle of a file, v0.3

          --insecure-ignore-tlog
              INSECURE: a signature counts without any entry in a transparency log; an entry that is there is verified all
              the same

          --insecure-ignore-sct
              INSECURE: nobody looks at the SCTs of certificates

          --offline
              Ask no TUF repository: roots come from files and the cache. The registry of a reference is asked all the same

    How to reach the registry, for this one command:
          --registry-cacert <FILE>
              The only certificate authorities that the registry may be certified by (PEM)

          --registry-username <NAME>
              The user's name; the password is in WITGATE_REGISTRY_PASSWORD

          --registry-password <PASSWORD>
              The password. Other processes can read it here: better set WITGATE_REGISTRY_PASSWORD

          --registry-token <TOKEN>
              A bearer token for the registry. Other processes can read it here: better set WITGATE_REGISTRY_TOKEN

          --allow-http-registry
              Speak plain HTTP; only to addresses of private networks
    ");
}
