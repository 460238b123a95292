//! The short names that cosign has for predicate types (sigstore/cosign `cmd/cosign/cli/options/predicate.go`).

use url::Url;

use super::misuse::Misuse;

/// What cosign's own signatures are, which no `--type` asks for.
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// Each name with the one type that it means. `spdx` means the same in both of SPDX's forms.
const NAMES: [(&str, &str); 10] = [
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("link", "https://in-toto.io/Link/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("openvex", "https://openvex.dev/ns"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
];

/// The predicate type that `--type` means.
pub(super) fn of(text: &str) -> Result<String, Misuse> {
    if let Some((_, predicate_type)) = NAMES.iter().find(|(name, _)| *name == text) {
        return Ok((*predicate_type).to_owned());
    }
    if text == SIGN {
        let what = format!("`--type {SIGN}` is no attestation: it is what a signature of cosign 3 is");
        return Err(Misuse::new(what, "leave out `--type`: then a signature is wanted"));
    }
    if text.chars().any(char::is_control) || Url::parse(text).is_err() {
        let names = NAMES.map(|(name, _)| name).join(", ");
        let what = format!("`--type {}` is no predicate type", text.escape_debug());
        return Err(Misuse::new(what, format!("name one of {names}, or write its URI in full")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_cosign_and_uris_are_themselves() {
        assert_eq!(of("slsaprovenance").unwrap(), "https://slsa.dev/provenance/v0.2");
        assert_eq!(of("slsaprovenance1").unwrap(), "https://slsa.dev/provenance/v1");
        assert_eq!(of("spdx").unwrap(), of("spdxjson").unwrap());
        assert_eq!(of("https://acme.example/level/v1").unwrap(), "https://acme.example/level/v1");
        for text in ["", "SPDX", "provenance", "acme.example/level", "https://acme.example/\u{1b}[2J", SIGN] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
