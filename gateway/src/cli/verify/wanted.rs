//! What the flags ask for, as one more check of each candidate that verified.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::flags::{SignerFlags, WhatFlags};
use super::misuse::Misuse;
use super::predicate_type;
use crate::case::{FindingKind, San, SanKind, Signer, VerifiedFinding};
use crate::evidence::{Aside, Failure};
use crate::policy::{IdentityPattern, SubjectKind, identity_pattern};
use crate::reason::Code;

/// The name of what `--key` gives, in findings: there is no other key then.
pub(super) const KEY: &str = "--key";

/// What has to be there, by whom.
#[derive(Debug)]
pub(super) struct Wanted {
    signer: By,
    what: What,
    /// Fulcio's claims by name, each compared exactly.
    claims: Vec<(&'static str, String)>,
    annotations: BTreeMap<String, String>,
    times: Times,
}

/// Who must have signed.
#[derive(Debug)]
enum By {
    Key(PathBuf),
    Identity { subject: Subject, issuer: Issuer },
}

#[derive(Debug)]
enum Subject {
    Exact(San),
    Pattern(IdentityPattern),
}

#[derive(Debug)]
enum Issuer {
    Exact(String),
    Pattern(IdentityPattern),
}

/// What kind of thing.
#[derive(Debug, PartialEq, Eq)]
enum What {
    Signature,
    Attestation(String),
}

/// Which times are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Any,
    Signed,
}

impl Wanted {
    /// What the flags mean together.
    ///
    /// # Errors
    /// A mix that cannot be understood; it says what to add or leave out.
    pub(super) fn of(signer: &SignerFlags, what: WhatFlags) -> Result<Self, Misuse> {
        let WhatFlags { predicate_type, annotations, use_signed_timestamps } = what;
        let claims = claims(signer)?;
        let signer = By::of(signer, claims.first().map(|(flag, ..)| *flag))?;
        let annotations = pairs(&annotations)?;
        let what = match predicate_type {
            None => What::Signature,
            Some(_) if !annotations.is_empty() => {
                let what = "`--annotations` are of signatures, and `--type` wants an attestation";
                return Err(Misuse::new(what, "leave out one of them"));
            }
            Some(text) => What::Attestation(predicate_type::of(&text)?),
        };
        let claims = claims.into_iter().map(|(_, claim, value)| (claim, value)).collect();
        let times = if use_signed_timestamps { Times::Signed } else { Times::Any };
        Ok(Self { signer, what, claims, annotations, times })
    }

    /// Whether an attestation is wanted, and of which type.
    pub(super) fn predicate_type(&self) -> Option<&str> {
        match &self.what {
            What::Signature => None,
            What::Attestation(predicate_type) => Some(predicate_type),
        }
    }

    /// The check itself: what it is, who signed, what the certificate and the signer say beside that.
    pub(super) fn check(&self, found: &VerifiedFinding, aside: &Aside) -> Result<(), Failure> {
        self.what.check(found)?;
        self.signer.check(&found.signer)?;
        for (name, expected) in &self.claims {
            let found = match &found.signer {
                Signer::Keyless { claims, .. } => claims.get(*name),
                _ => None,
            };
            expect(Some(Code::IDENTITY_MISMATCH), &format!("the claim `{name}`"), expected, found)?;
        }
        for (name, expected) in &self.annotations {
            expect(None, &format!("the annotation `{name}`"), expected, aside.annotations.get(name))?;
        }
        if self.times == Times::Signed && aside.signed_times == 0 {
            let expected = "a signed time-stamp (RFC 3161)";
            return Err(Failure::mismatch(Some(Code::TIMESTAMP_MISSING), expected, "none"));
        }
        Ok(())
    }
}

impl By {
    fn of(flags: &SignerFlags, claim: Option<&str>) -> Result<Self, Misuse> {
        let SignerFlags {
            key,
            certificate_identity: identity,
            certificate_identity_regexp: pattern,
            certificate_oidc_issuer: issuer,
            certificate_oidc_issuer_regexp: issuer_pattern,
            signing_algorithm,
            password,
            ..
        } = flags;
        let of_identity = [
            identity.as_ref().map(|_| "--certificate-identity"),
            pattern.as_ref().map(|_| "--certificate-identity-regexp"),
            issuer.as_ref().map(|_| "--certificate-oidc-issuer"),
            issuer_pattern.as_ref().map(|_| "--certificate-oidc-issuer-regexp"),
            claim,
        ];
        let of_identity = of_identity.into_iter().flatten().next();
        let of_key = signing_algorithm.map(|_| "--signing-algorithm");
        if let (Some(flag), None) = (of_key.or(password.is_given().then_some("--password-file")), key) {
            let what = format!("`{flag}` is of a key, and there is no `--key`");
            return Err(Misuse::new(what, format!("add `--key FILE`, or leave out `{flag}`")));
        }
        if let Some(key) = key {
            return match of_identity {
                None => Ok(Self::Key(key.clone())),
                Some(flag) => {
                    let what = format!("`--key` and `{flag}` name two kinds of signers: a key has no certificate");
                    Err(Misuse::new(what, "leave out one of them"))
                }
            };
        }
        let subject = match (identity, pattern) {
            (Some(identity), None) => Subject::Exact(exact_subject(identity.clone())?),
            (None, Some(text)) => {
                Subject::Pattern(compiled("--certificate-identity-regexp", SubjectKind::of(text), text)?)
            }
            (Some(_), Some(_)) => return Err(both("--certificate-identity")),
            (None, None) => {
                let what = match of_identity {
                    None => "nobody is named who must have signed".to_owned(),
                    Some(flag) => format!("`{flag}` says nothing of who must have signed"),
                };
                let hint =
                    "add `--certificate-identity` (or `-regexp`) with `--certificate-oidc-issuer`, or `--key` alone";
                return Err(Misuse::new(what, hint));
            }
        };
        let issuer = match (issuer, issuer_pattern) {
            (Some(issuer), None) => Issuer::Exact(text("--certificate-oidc-issuer", issuer.clone())?),
            (None, Some(text)) => {
                Issuer::Pattern(compiled("--certificate-oidc-issuer-regexp", SubjectKind::Uri, text)?)
            }
            (Some(_), Some(_)) => return Err(both("--certificate-oidc-issuer")),
            (None, None) => {
                let what = "nobody is named who must have vouched for the identity: any issuer can name anybody";
                let hint = "add `--certificate-oidc-issuer URL`, or `--certificate-oidc-issuer-regexp`";
                return Err(Misuse::new(what, hint));
            }
        };
        Ok(Self::Identity { subject, issuer })
    }

    fn check(&self, found: &Signer) -> Result<(), Failure> {
        match (self, found) {
            (Self::Key(_), Signer::Key { name, .. }) if name == KEY => Ok(()),
            (Self::Identity { subject, issuer }, Signer::Keyless { issuer: by, san, .. }) => {
                let fits = match issuer {
                    Issuer::Exact(issuer) => issuer == by,
                    Issuer::Pattern(pattern) => pattern.matches(by),
                };
                if !fits {
                    let expected = format!("the issuer {issuer}");
                    return Err(Failure::mismatch(Some(Code::ISSUER_MISMATCH), expected, format!("`{by}`")));
                }
                let fits = match subject {
                    Subject::Exact(exact) => exact == san,
                    Subject::Pattern(pattern) => pattern.matches_san(san),
                };
                if fits {
                    return Ok(());
                }
                let (expected, found) = (format!("the {subject}"), shown(san));
                Err(Failure::mismatch(Some(Code::IDENTITY_MISMATCH), expected, found))
            }
            (_, other) => {
                let code = match self {
                    Self::Key(_) => Code::KEY_NOT_TRUSTED,
                    Self::Identity { .. } => Code::IDENTITY_MISMATCH,
                };
                let found = match other {
                    Signer::Keyless { san, .. } | Signer::Certificate { san, .. } => {
                        format!("a certificate of {}", shown(san))
                    }
                    Signer::Key { name, .. } => format!("the key `{name}`"),
                    Signer::LegacyNkey { issuer, .. } => format!("the nkey `{issuer}`"),
                };
                Err(Failure::mismatch(Some(code), self, found))
            }
        }
    }
}

impl What {
    fn check(&self, found: &VerifiedFinding) -> Result<(), Failure> {
        let is = match found.kind {
            FindingKind::Signature => "a signature".to_owned(),
            FindingKind::WascapClaims => "a wasmCloud 1.x token".to_owned(),
            FindingKind::Attestation => {
                format!("an attestation of the type `{}`", found.predicate_type.as_deref().unwrap_or_default())
            }
        };
        let fits = match self {
            Self::Signature => found.kind == FindingKind::Signature,
            Self::Attestation(predicate_type) => {
                found.kind == FindingKind::Attestation && found.predicate_type.as_ref() == Some(predicate_type)
            }
        };
        if fits { Ok(()) } else { Err(Failure::mismatch(Some(Code::PREDICATE_TYPE_MISMATCH), self, is)) }
    }
}

/// Everything that is wanted, in one line.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.what, self.signer)?;
        for (name, value) in &self.claims {
            write!(f, ", with the claim `{name}` = `{value}`")?;
        }
        for (name, value) in &self.annotations {
            write!(f, ", with the annotation `{name}` = `{value}`")?;
        }
        match self.times {
            Times::Any => Ok(()),
            Times::Signed => f.write_str(", with a signed time-stamp"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature => f.write_str("a signature"),
            Self::Attestation(predicate_type) => write!(f, "an attestation of the type `{predicate_type}`"),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(file) => write!(f, "the key `{}`", file.display()),
            Self::Identity { subject, issuer } => write!(f, "the {subject} (issuer {issuer})"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(san) => f.write_str(&shown(san)),
            Self::Pattern(pattern) => {
                let kind = match pattern.kind() {
                    SubjectKind::Uri => "URI",
                    SubjectKind::Spiffe => "SPIFFE ID",
                    SubjectKind::Email => "e-mail address",
                };
                write!(f, "{kind} that matches `{pattern}` in full")
            }
        }
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(issuer) => write!(f, "`{issuer}`"),
            Self::Pattern(pattern) => write!(f, "that matches `{pattern}` in full"),
        }
    }
}

fn shown(san: &San) -> String {
    match san.kind {
        SanKind::Uri => format!("URI `{}`", san.value),
        SanKind::Email => format!("e-mail address `{}`", san.value),
    }
}

fn expect(code: Option<Code>, what: &str, expected: &str, found: Option<&String>) -> Result<(), Failure> {
    if found.is_some_and(|found| found == expected) {
        return Ok(());
    }
    let found = found.map_or_else(|| "none".to_owned(), |found| format!("`{found}`"));
    Err(Failure::mismatch(code, format!("{what} to be `{expected}`"), found))
}

/// The claims of the five flags, each with its flag: the old ones of GitHub's certificates, as for cosign and as policy reads
/// `githubWorkflow…`.
fn claims(flags: &SignerFlags) -> Result<Vec<(&'static str, &'static str, String)>, Misuse> {
    let flags = [
        ("--certificate-github-workflow-name", "workflow_name", &flags.certificate_github_workflow_name),
        ("--certificate-github-workflow-ref", "workflow_ref", &flags.certificate_github_workflow_ref),
        (
            "--certificate-github-workflow-repository",
            "workflow_repository",
            &flags.certificate_github_workflow_repository,
        ),
        ("--certificate-github-workflow-sha", "workflow_sha", &flags.certificate_github_workflow_sha),
        ("--certificate-github-workflow-trigger", "workflow_trigger", &flags.certificate_github_workflow_trigger),
    ];
    let there = flags.into_iter().filter_map(|(flag, claim, value)| Some((flag, claim, value.clone()?)));
    there.map(|(flag, claim, value)| Ok((flag, claim, text(flag, value)?))).collect()
}

/// `KEY=VALUE` each; the value may hold anything, `=` and commas too.
fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>, Misuse> {
    let mut pairs = BTreeMap::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let what = format!("`--annotations {}` is no `KEY=VALUE`", text.escape_debug());
            return Err(Misuse::new(what, "write `-a KEY=VALUE`, once for each annotation"));
        };
        if pairs.insert(name.to_owned(), value.to_owned()).is_some_and(|before| before != value) {
            let what = format!("the annotation `{}` is wanted with two values", name.escape_debug());
            return Err(Misuse::new(what, "leave out one of them: an annotation has one value"));
        }
    }
    Ok(pairs)
}

/// A URI holds a `:`, an e-mail address does not; the one never matches the other.
fn exact_subject(identity: String) -> Result<San, Misuse> {
    let value = text("--certificate-identity", identity)?;
    let kind = if value.contains(':') { SanKind::Uri } else { SanKind::Email };
    Ok(San { kind, value })
}

fn text(flag: &str, value: String) -> Result<String, Misuse> {
    if value.is_empty() || value.chars().any(char::is_control) {
        let what = format!("`{flag}` is `{}`, which nothing equals", value.escape_debug());
        return Err(Misuse::new(what, format!("say it in full, or leave out `{flag}`")));
    }
    Ok(value)
}

fn compiled(flag: &str, kind: SubjectKind, text: &str) -> Result<IdentityPattern, Misuse> {
    identity_pattern(kind, text).map_err(|fault| {
        let what = format!("`{flag} {}` is not taken: {fault}", text.escape_debug());
        let exact = flag.trim_end_matches("-regexp");
        Misuse::new(what, format!("write one that matches in full, or `{exact}` for one value exactly"))
    })
}

fn both(flag: &str) -> Misuse {
    Misuse::new(format!("`{flag}` and `{flag}-regexp` say one thing twice"), "leave out one of them")
}
