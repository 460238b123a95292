//! Vectors of the format, what other verifiers took, limits at and past.

#![allow(clippy::unwrap_used, clippy::redundant_clone, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::limits::{
    ARCHIVE_FREE_BYTES, DEPTH_MAX, ENTRIES_MAX, SECTIONS_MAX, TAGS_MAX, TEXT_BYTES_MAX, TOKEN_BYTES_MAX,
};
use super::*;
use crate::dev::components::{self, custom_section, hostile, nested_section};
use crate::dev::wascap::{Account, SECTION, embed, tar, tar_header};
use crate::nkey::{Kind, Nkey};

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// RFC 8032 §7.1, tests 1 and 2.
const SEED_1: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const SEED_2: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn account() -> Account {
    let seed = |text| hex::decode(text).unwrap().try_into().unwrap();
    Account::from_seeds(&seed(SEED_1), &seed(SEED_2))
}

fn of(bytes: &[u8]) -> Report {
    report(bytes, now()).expect("a token is found")
}

fn code(bytes: &[u8]) -> Code {
    let report = of(bytes);
    assert_eq!(report.status, Status::Rejected, "was verified");
    report.code.expect("a rejection has a code")
}

fn detail(bytes: &[u8]) -> String {
    of(bytes).detail.expect("a rejection has a detail")
}

/// An empty component with an honestly signed token whose payload was changed first.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let account = account();
    let mut claims: Value = serde_json::from_str(&account.claims(COMPONENT)).unwrap();
    change(&mut claims);
    embed(COMPONENT, SECTION, &account.token(&claims.to_string()))
}

fn with_token(token: &str) -> Vec<u8> {
    embed(COMPONENT, SECTION, token)
}

fn honest_token() -> String {
    account().token(&account().claims(COMPONENT))
}

fn verifies(bytes: &[u8]) -> bool {
    of(bytes).status == Status::Verified
}

// --- vectors ---

#[test]
fn the_signed_empty_component_and_module_are_byte_exact_and_verify() {
    for (unsigned, hash, signature, file) in [
        (
            COMPONENT,
            "24EAF3439A60C96764C4F2C92A0A81B52BD4FE5D5B91F090184A0F6486B1BF29",
            "FeSQNX60NuFcQMuhEl3HAHdTLFJL3buTIVe8uBHPXXreI8AaHYOMWSUCjlvwVMs_GsZg0oVypjfqJ0elfS5NAw",
            "b8d65c658bfa33cd7604820856d329b8a15bb4b4298d51895a1b7d00326ce8ec",
        ),
        (
            MODULE,
            "93A44BBB96C751218E4C00D479E4C14358122A389ACCA16205B1E4D0DC5F9476",
            "rbJDlNPfi498zUcXeAPYM1_kFR7oRURHbmPMCbf2ZmsiAEg3vY7Nt6FZuDVEW3herdv_1P2g6_MpNtWL20UsDA",
            "7534b4e84a2684c9f3c6639dc55c38aba24430ece995fc7f3e31d09eba0cd3a4",
        ),
    ] {
        let payload = format!(
            "{}{}{hash}{}",
            r#"{"jti":"0000000000000000000000","iat":1700000000,"iss":"ADLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRVRTU","sub":"MA6UAF6D5BBYSWUSW4FKOTI3P26JZGBMZ4XMJFUMYDGVL4JK6RTAYU6I","#,
            r#""wascap":{"name":"t","hash":""#,
            r#"","prov":false},"wascap_revision":3}"#
        );
        let token = format!("eyJ0eXAiOiJqd3QiLCJhbGciOiJFZDI1NTE5In0.{}.{signature}", URL_SAFE_NO_PAD.encode(payload));
        assert_eq!(token.len(), 538);
        let signed = [unsigned, b"\0\xa8\x04\x0dwasmcloud_jwt", token.as_bytes()].concat();
        assert_eq!((signed.len(), Digest::of(&signed).hex().as_str()), (563, file));
        assert_eq!(account().sign(unsigned), signed, "our signer writes the same bytes");

        let report = of(&signed);
        assert_eq!(
            (report.status, report.signature, report.hash, report.validity),
            (Status::Verified, Check::Ok, Check::Ok, Validity::Ok)
        );
        assert_eq!(report.digest, Some(Digest::of(token.as_bytes())));
        assert_eq!(report.revision, Some(3));
        let Some(Finding::Verified(finding)) = embedded(&signed, now(), &mut Checks::default()) else {
            panic!("no verified finding")
        };
        assert_eq!((finding.source.via.as_str(), finding.source.name.as_str()), ("component", "wasmcloud_jwt"));
        assert_eq!((finding.kind, finding.trust.as_str()), (FindingKind::WascapClaims, "wascap"));
        let (issuer, subject) = (account().issuer(), account().module());
        assert_eq!(finding.signer, Signer::LegacyNkey { issuer, subject });
        assert!(finding.times.is_empty(), "nobody verified `iat`");
        assert_eq!(finding.predicate.unwrap()["iat"], 1_700_000_000);
        assert_eq!(of(&embed(unsigned, "jwt", &token)).section, "jwt");
    }
}

#[test]
fn what_has_no_token_has_no_finding() {
    for bytes in [
        &b""[..],
        b"no wasm",
        b"\0asm",
        COMPONENT,
        MODULE,
        &components::command("hello\n"),
        &hostile::custom_sections(SECTIONS_MAX + 1),
        &hostile::nested_components(DEPTH_MAX + 1),
        &hostile::pre_standard_layer(),
        &[COMPONENT, &custom_section("jwts", b"x"), &custom_section("JWT", b"x"), &custom_section("", b"jwt")].concat(),
    ] {
        assert_eq!(report(bytes, now()), None);
        assert_eq!(embedded(bytes, now(), &mut Checks::default()), None);
    }
}

// --- the table of known flaws ---

#[test]
fn flaw_a_a_token_that_nobody_signed_is_rejected() {
    let honest = honest_token();
    let (signed, signature) = honest.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[3] ^= 1;
    let forged = with_token(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes)));
    assert_eq!(code(&forged), Code::SIGNATURE_INVALID);
    assert_eq!((of(&forged).signature, of(&forged).hash), (Check::Invalid, Check::Unchecked));
    // Signed by one account, in the name of another.
    let mallory = Account::from_seeds(&[7; 32], &[8; 32]);
    assert_eq!(code(&with_token(&mallory.token(&account().claims(COMPONENT)))), Code::SIGNATURE_INVALID);
}

#[test]
fn a5_1_flaw_b_a_token_copied_to_another_component_is_rejected() {
    // Revision 3: the hash tells.
    let replayed = embed(&components::command("evil\n"), SECTION, &honest_token());
    assert_eq!(code(&replayed), Code::SUBJECT_MISMATCH);
    assert_eq!((of(&replayed).signature, of(&replayed).hash), (Check::Ok, Check::Mismatch));
    assert_eq!(code(&embed(MODULE, SECTION, &honest_token())), Code::SUBJECT_MISMATCH);
    // Before: hosts took it anywhere, so it is refused even where it fits.
    for revision in [json!(null), json!(0), json!(1), json!(2), json!(-3)] {
        let old = changed(|claims| claims["wascap_revision"] = revision.clone());
        assert_eq!(code(&old), Code::TOKEN_UNBOUND, "{revision}");
        assert_eq!((of(&old).signature, of(&old).hash), (Check::Ok, Check::Ok));
    }
    let absent = changed(|claims| drop(claims.as_object_mut().unwrap().remove("wascap_revision")));
    assert_eq!(code(&absent), Code::TOKEN_UNBOUND);
    assert_eq!(detail(&absent), "expected a `wascap_revision` of 3 or more, found none");
    let other = changed(|claims| claims["wascap"]["hash"] = json!("00".repeat(32)));
    assert_eq!(code(&other), Code::SUBJECT_MISMATCH);
}

#[test]
fn flaw_c_a_nested_or_second_token_section_is_rejected() {
    let token = honest_token();
    for name in section::NAMES {
        let module = embed(MODULE, name, &token);
        let deep = [COMPONENT, &nested_section(&module)].concat();
        assert_eq!(code(&deep), Code::TOKEN_MALFORMED);
        let deeper = [COMPONENT, &nested_section(&deep)].concat();
        assert!(detail(&deeper).contains(&format!("`{name}` in a binary nested 2 deep")), "{}", detail(&deeper));
        // An honest one outside does not make the nested one good, in either order.
        assert_eq!(code(&[&deep, &custom_section(SECTION, token.as_bytes())[..]].concat()), Code::TOKEN_MALFORMED);
        let outside = embed(COMPONENT, SECTION, &token);
        assert_eq!(code(&[&outside, &nested_section(&module)[..]].concat()), Code::TOKEN_MALFORMED);
        // Two beside each other, even the same twice.
        assert_eq!(code(&embed(&outside, name, &token)), Code::TOKEN_MALFORMED);
    }
}

#[test]
fn flaw_d_a_provider_archive_is_verified() {
    let account = account();
    let entries = BTreeMap::from([("x86_64-linux", &b"binary"[..]), ("aarch64-macos", b"other"), ("world.wasm", b"w")]);
    let honest = account.provider_archive(&entries);
    let report = of(&honest);
    assert_eq!(
        (report.status, report.kind, report.section.as_str()),
        (Status::Verified, Carrier::Provider, "claims.jwt"),
        "{report:?}"
    );
    assert_eq!((report.issuer, report.subject), (Some(account.issuer()), Some(account.service())));
    assert!(verifies(&gzip(&honest)));
    assert!(embedded(&honest, now(), &mut Checks::default()).is_none() && super::report(COMPONENT, now()).is_none());

    // A binary that was changed after signing.
    let at = honest.windows(6).position(|window| window == b"binary").unwrap();
    let mut changed = honest.clone();
    changed[at] = b'B';
    assert_eq!(code(&changed), Code::SUBJECT_MISMATCH);
    assert_eq!(code(&gzip(&changed)), Code::SUBJECT_MISMATCH);
    // And a token that somebody else signed.
    let mallory = Account::from_seeds(&[7; 32], &[8; 32]);
    let forged =
        mallory.token(&account.provider_claims(&BTreeMap::from([("x86_64-linux", &b"binary"[..])])).to_string());
    let files = [("claims.jwt".to_owned(), forged.as_bytes()), ("x86_64-linux.bin".to_owned(), b"binary")];
    assert_eq!(code(&tar(&files)), Code::SIGNATURE_INVALID);
}

#[test]
fn flaw_e_issuers_are_accounts_and_subjects_are_what_they_sign() {
    let of_kind = |kind| Nkey::new(kind, account().issuer().parse::<Nkey>().unwrap().key().clone()).to_string();
    for kind in [Kind::Module, Kind::Operator, Kind::User, Kind::Server, Kind::Cluster, Kind::Service] {
        assert_eq!(code(&changed(|claims| claims["iss"] = json!(of_kind(kind)))), Code::TOKEN_MALFORMED, "{kind}");
    }
    for kind in [Kind::Account, Kind::Service, Kind::Operator] {
        assert_eq!(code(&changed(|claims| claims["sub"] = json!(of_kind(kind)))), Code::TOKEN_MALFORMED, "{kind}");
    }
    for text in ["", "anybody", "MA6UAF6D5BBYSWUSW4FKOTI3P26JZGBMZ4XMJFUMYDGVL4JK6RTAYU6J"] {
        assert_eq!(code(&changed(|claims| claims["sub"] = json!(text))), Code::TOKEN_MALFORMED, "{text}");
    }
    // A seed where a key belongs is refused, and goes no further.
    let seed = "SAAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YHY3Q";
    let shown = format!("{:?}", of(&changed(|claims| claims["iss"] = json!(seed))));
    assert!(shown.contains("a seed") && !shown.contains(seed), "{shown}");
    // A component's token is none of a provider, and the other way round.
    let files = [("claims.jwt".to_owned(), honest_token()), ("x86_64-linux.bin".to_owned(), String::new())];
    let files: Vec<_> = files.iter().map(|(name, text)| (name.clone(), text.as_bytes())).collect();
    assert_eq!(code(&tar(&files)), Code::TOKEN_MALFORMED);
    let provider = account().provider_claims(&BTreeMap::from([("x86_64-linux", COMPONENT)])).to_string();
    assert_eq!(code(&with_token(&account().token(&provider))), Code::TOKEN_MALFORMED);
}

#[test]
fn flaw_g_expired_and_early_tokens_are_rejected_with_the_time() {
    let now = now().as_second();
    let within = |nbf: i64, exp: i64| {
        changed(|claims| {
            claims["nbf"] = json!(nbf);
            claims["exp"] = json!(exp);
        })
    };
    assert!(verifies(&within(now, now + 1)), "valid from the first second to the last");
    let expired = within(now - 2, now);
    assert_eq!((code(&expired), of(&expired).validity), (Code::TOKEN_OUTSIDE_VALIDITY, Validity::Expired));
    assert_eq!(
        detail(&expired),
        "expected a token that is valid now: this one was until `2026-06-01T12:00:00Z`, found the time `2026-06-01T12:00:00Z`"
    );
    let early = within(now + 1, now + 2);
    assert_eq!((code(&early), of(&early).validity), (Code::TOKEN_OUTSIDE_VALIDITY, Validity::Early));
    // The clock of the decision counts, not that of the first look.
    let later = Timestamp::from_second(now + 1).unwrap();
    assert_eq!(report(&early, later).unwrap().status, Status::Verified);
    // What was signed long ago and says no end has none.
    assert!(verifies(&changed(|claims| claims["iat"] = json!(1))));
}

// --- one spelling ---

#[test]
fn a_token_has_one_spelling() {
    let honest = honest_token();
    assert!(verifies(&with_token(&honest)));
    let parts: Vec<&str> = honest.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let account = account();
    let claims = account.claims(COMPONENT);
    let spaces = " ".repeat(3 - claims.len() % 3 + 1);
    let padded = URL_SAFE.encode(account.claims(COMPONENT) + &spaces);
    assert!(padded.ends_with('='), "the payload needs padding");
    // 64 bytes leave four bits over in the last of 86 characters: the other spellings of the same bytes.
    let (start, last) = signature.split_at(85);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    for (token, what) in [
        (String::new(), "nothing"),
        ("..".into(), "three empty segments"),
        (format!("{header}.{payload}"), "two segments"),
        (format!("{honest}."), "four segments"),
        (format!("{honest}.{signature}"), "four segments"),
        (format!("{header}.{padded}.{signature}"), "padding"),
        (format!("{honest}=="), "padding"),
        (format!("{header}.{payload}.{start}{next}"), "bits that mean nothing"),
        (format!("{honest}\n"), "a line break"),
        (format!(" {honest}"), "a space"),
        (format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 63])), "63 bytes"),
        (format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 65])), "65 bytes"),
        (account.token_under(r#"{"typ":"jwt","alg":"EdDSA"}"#, &claims), "EdDSA"),
        (account.token_under(r#"{"typ":"jwt","alg":"none"}"#, &claims), "none"),
        (account.token_under(r#"{"typ":"JWT","alg":"Ed25519"}"#, &claims), "JWT"),
        (account.token_under(r#"{"alg":"Ed25519","typ":"jwt"}"#, &claims), "another order"),
        (account.token_under(r#"{"typ":"jwt","alg":"Ed25519","kid":"x"}"#, &claims), "another member"),
        (account.token_under(r#"{"typ":"jwt","alg":"Ed25519"} "#, &claims), "white space"),
        (account.token(&claims.replacen("{", r#"{"iat":1,"#, 1)), "a duplicate key"),
        (account.token(&claims.replacen("{", r#"{"aud":"x","#, 1)), "an unknown claim"),
        (account.token(&claims.replacen(r#""prov""#, r#""admin":true,"prov""#, 1)), "an unknown member"),
        (account.token(&format!("[{claims}]")), "a list"),
        (account.token(&format!("{claims}{claims}")), "two documents"),
        (account.token("{}"), "no claims"),
    ] {
        assert_eq!(code(&with_token(&token)), Code::TOKEN_MALFORMED, "{what}");
    }
}

#[test]
fn claims_have_their_types_and_limits() {
    for (at, value) in [
        ("/iat", json!(-1)),
        ("/iat", json!(1.5)),
        ("/iat", json!("1")),
        ("/iat", json!(null)),
        ("/iat", json!(253_402_300_800_u64)),
        ("/iat", json!(u64::MAX)),
        ("/jti", json!(7)),
        ("/wascap_revision", json!("3")),
        ("/wascap_revision", json!(3.0)),
        ("/wascap", json!([])),
        ("/wascap", json!(null)),
        ("/wascap/hash", json!("24eaf3439a60c96764c4f2c92a0a81b52bd4fe5d5b91f090184a0f6486b1bf29")),
        ("/wascap/hash", json!("24EAF3")),
        ("/wascap/hash", json!(null)),
        ("/wascap/name", json!([])),
        ("/wascap/prov", json!("false")),
    ] {
        let report = of(&changed(|claims| *claims.pointer_mut(at).unwrap() = value.clone()));
        assert_eq!(report.code, Some(Code::TOKEN_MALFORMED), "{at} {value}");
        assert_eq!(report.signature, Check::Unchecked);
    }
    for member in ["iat", "iss", "sub", "jti", "wascap"] {
        let without = changed(|claims| drop(claims.as_object_mut().unwrap().remove(member)));
        assert_eq!(code(&without), Code::TOKEN_MALFORMED, "{member}");
    }
    let name = |bytes: usize| changed(|claims| claims["wascap"]["name"] = json!("n".repeat(bytes)));
    assert!(verifies(&name(TEXT_BYTES_MAX)));
    assert_eq!(code(&name(TEXT_BYTES_MAX + 1)), Code::LIMIT_EXCEEDED);
    let jti = |bytes: usize| changed(|claims| claims["jti"] = json!("n".repeat(bytes)));
    assert!(verifies(&jti(TEXT_BYTES_MAX)));
    assert_eq!(code(&jti(TEXT_BYTES_MAX + 1)), Code::LIMIT_EXCEEDED);
    for list in ["tags", "caps"] {
        let tags = |count: usize| changed(|claims| claims["wascap"][list] = json!(vec!["t"; count]));
        assert!(verifies(&tags(TAGS_MAX)));
        assert_eq!(code(&tags(TAGS_MAX + 1)), Code::LIMIT_EXCEEDED);
        let long = changed(|claims| claims["wascap"][list] = json!(["t".repeat(TEXT_BYTES_MAX + 1)]));
        assert_eq!(code(&long), Code::LIMIT_EXCEEDED);
    }
    let size = |bytes: usize| "a".repeat(bytes);
    assert_eq!(code(&with_token(&size(TOKEN_BYTES_MAX))), Code::TOKEN_MALFORMED);
    assert_eq!(code(&with_token(&size(TOKEN_BYTES_MAX + 1))), Code::LIMIT_EXCEEDED);
}

#[test]
fn a_weak_key_signs_nothing() {
    // The identity point and the signature that fits every message (nkeys 0.4.5 takes it).
    let mut weak = vec![0; 33];
    weak[1] = 1;
    let crc = weak.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    });
    weak.extend(crc.to_le_bytes());
    let weak = data_encoding::BASE32_NOPAD.encode(&weak);
    let payload = account().claims(COMPONENT).replace(&account().issuer(), &weak);
    let signed = honest_token().split('.').next().unwrap().to_owned() + "." + &URL_SAFE_NO_PAD.encode(payload);
    let mut signature = [0; 64];
    signature[0] = 1;
    let bytes = with_token(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)));
    assert_eq!(code(&bytes), Code::TOKEN_MALFORMED);
    assert!(detail(&bytes).contains("no Ed25519 key that can be trusted"), "{}", detail(&bytes));
}

// --- sections and hash ---

fn hash_of(bytes: &[u8]) -> [u8; 32] {
    hash::unsigned(&section::read(bytes).binary.expect("it can be read"))
}

#[test]
fn the_hash_is_that_of_the_unsigned_file() {
    let samples = [
        COMPONENT.to_vec(),
        MODULE.to_vec(),
        components::command("hello\n"),
        components::http("hello\n"),
        components::greedy("hello\n"),
        hostile::nested_components(DEPTH_MAX),
        hostile::sibling_components(20),
        hostile::custom_sections(SECTIONS_MAX - 1),
    ];
    for unsigned in samples {
        assert_eq!(hash_of(&unsigned), *Digest::of(&unsigned).as_bytes());
        assert_eq!(hash_of(&embed(&unsigned, "jwt", "x")), *Digest::of(&unsigned).as_bytes());
    }
    let wasm = components::command("hello\n");
    assert!(verifies(&account().sign(&wasm)));
}

#[test]
fn token_sections_go_at_every_depth_and_lengths_are_written_anew() {
    let module = [MODULE, &custom_section("other", b"stays")].concat();
    let inner = [COMPONENT, &nested_section(&module)].concat();
    let clean = [COMPONENT, &nested_section(&inner), &custom_section("other", b"stays")].concat();
    let signed_module = [MODULE, &custom_section("jwt", &[7; 200]), &custom_section("other", b"stays")].concat();
    let signed_inner = [COMPONENT, &nested_section(&signed_module), &custom_section("wasmcloud_jwt", b"")].concat();
    let signed =
        [COMPONENT, &custom_section("jwt", b"x"), &nested_section(&signed_inner), &custom_section("other", b"stays")];
    assert_eq!(hash_of(&signed.concat()), *Digest::of(&clean).as_bytes());
    // A length of five bytes means the same as one of one.
    let long = [COMPONENT, b"\0\x86\x80\x80\x80\0\x05other"].concat();
    let short = [COMPONENT, b"\0\x06\x05other"].concat();
    assert_eq!(hash_of(&long), *Digest::of(&short).as_bytes());
    let padded = components::padded(components::command("hello\n"), 16 << 10);
    assert_ne!(hash_of(&padded), *Digest::of(&padded).as_bytes());
    // Another order of sections, or another custom section, is another binary.
    let more = [&account().sign(COMPONENT), &custom_section("other", b"")[..]].concat();
    assert_eq!(code(&more), Code::SUBJECT_MISMATCH);
}

#[test]
fn a_binary_with_a_token_is_read_to_its_end_within_its_limits() {
    let signed = account().sign(COMPONENT);
    for end in
        [&b"\0"[..], b"\0\xff", b"\0\x05\x01a", b"\x01\x08\0asm\x01\0\0", b"\x01\x07\0asm\x01\0\0", b"\0asm\x01\0\0\0"]
    {
        assert_eq!(code(&[&signed, end].concat()), Code::TOKEN_MALFORMED, "{end:?}");
    }
    // A code section that ends behind the file, outermost and nested.
    let module = [&account().sign(MODULE)[..], b"\x0a\x20\x00"].concat();
    assert_eq!(code(&module), Code::TOKEN_MALFORMED);
    let section = b"\x01\x0b\0asm\x01\0\0\0\x0a\x20\x00";
    assert_eq!(code(&[&signed[..], section].concat()), Code::TOKEN_MALFORMED);

    let token = custom_section(SECTION, honest_token().as_bytes());
    let sections = |count: usize| [COMPONENT, &token, &custom_section("x", b"").repeat(count)].concat();
    assert_eq!(code(&sections(SECTIONS_MAX - 1)), Code::SUBJECT_MISMATCH);
    assert_eq!(code(&sections(SECTIONS_MAX)), Code::LIMIT_EXCEEDED);
    let nested = |depth: usize| {
        let inner = hostile::nested_components(depth - 1);
        [COMPONENT, &token, &nested_section(&inner)].concat()
    };
    assert_eq!(code(&nested(DEPTH_MAX)), Code::SUBJECT_MISMATCH);
    assert_eq!(code(&nested(DEPTH_MAX + 1)), Code::LIMIT_EXCEEDED);
}

// --- archives ---

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Files by name, with an honest token in front for `targets`.
fn archive_of(targets: &[(&str, &[u8])], files: &[(&str, &[u8])]) -> Vec<u8> {
    let token = account().token(&account().provider_claims(&targets.iter().copied().collect()).to_string());
    let first = [("claims.jwt", token.as_bytes())];
    let all: Vec<_> = first.iter().chain(files).map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
    tar(&all)
}

#[test]
fn an_archive_holds_what_the_token_names_and_nothing_else() {
    let linux = ("x86_64-linux", &b"binary"[..]);
    let file = ("x86_64-linux.bin", &b"binary"[..]);
    assert!(verifies(&archive_of(&[linux], &[file])));
    for (targets, files, wanted, what) in [
        (&[][..], &[file][..], Code::SUBJECT_MISMATCH, "an entry that no hash covers: a panic of the old crate"),
        (&[linux], &[file, ("aarch64-linux.bin", b"more")], Code::SUBJECT_MISMATCH, "one of two uncovered"),
        (&[linux], &[file, ("world.wasm", b"w")], Code::SUBJECT_MISMATCH, "an uncovered world"),
        (&[linux, ("aarch64-linux", b"more")], &[file], Code::SUBJECT_MISMATCH, "a hash without an entry"),
        (&[linux, ("world.wasm", b"w")], &[file], Code::SUBJECT_MISMATCH, "a world without an entry"),
        (&[linux, ("world", b"w")], &[file, ("world.wasm", b"w")], Code::SUBJECT_MISMATCH, "a world by its stem"),
        (&[("world.wasm", b"w")], &[("world.wasm", b"w")], Code::TOKEN_MALFORMED, "no binary"),
        (&[linux], &[file, file], Code::TOKEN_MALFORMED, "the same entry twice"),
        (&[linux], &[file, ("x86_64-linux.exe", b"x")], Code::TOKEN_MALFORMED, "the same stem twice"),
        (&[linux], &[file, ("claims.bin", b"x")], Code::TOKEN_MALFORMED, "the token's stem twice"),
        (&[linux], &[file, ("readme.txt", b"x")], Code::TOKEN_MALFORMED, "another file"),
        (&[linux], &[file, ("linux.bin", b"x")], Code::TOKEN_MALFORMED, "no target"),
        (&[linux], &[file, ("X86_64-linux.bin", b"x")], Code::TOKEN_MALFORMED, "upper case"),
        (&[linux], &[file, ("-linux.bin", b"x")], Code::TOKEN_MALFORMED, "half a target"),
        (&[linux], &[file, ("../x86_64-linux.bin", b"x")], Code::TOKEN_MALFORMED, "a way out"),
        (&[linux], &[file, ("/x86_64-linux.bin", b"x")], Code::TOKEN_MALFORMED, "a way out"),
        (&[linux], &[file, ("a/b-c.bin", b"x")], Code::TOKEN_MALFORMED, "a folder"),
        (&[linux], &[file, (".claims.jwt", b"x")], Code::TOKEN_MALFORMED, "a hidden file"),
        (&[linux], &[file, ("", b"x")], Code::TOKEN_MALFORMED, "no name"),
    ] {
        assert_eq!(code(&archive_of(targets, files)), wanted, "{what}");
    }
    let without = tar(&[("x86_64-linux.bin".to_owned(), b"binary")]);
    assert!(detail(&without).contains("an entry `claims.jwt`"), "{}", detail(&without));
}

#[test]
fn an_archive_has_plain_files_and_one_end() {
    let honest = archive_of(&[("x86_64-linux", b"binary")], &[("x86_64-linux.bin", b"binary")]);
    let body = &honest[..honest.len() - 1024];
    // Links, folders, devices, sparse files, and extensions that rename or resize the next entry.
    for entry_type in *b"1234567DKLMSVxgX" {
        let header = tar_header("x86_64-macos.bin", 0, entry_type);
        assert_eq!(code(&[body, &header, &[0; 1024]].concat()), Code::TOKEN_MALFORMED, "{}", entry_type as char);
    }
    assert_eq!(code(&[body, &[0; 1024][..], body].concat()), Code::TOKEN_MALFORMED, "a second archive");
    assert_eq!(code(&[&gzip(&honest)[..], b"x"].concat()), Code::TOKEN_MALFORMED, "bytes behind the member");
    assert_eq!(code(&[gzip(&honest), gzip(&honest)].concat()), Code::TOKEN_MALFORMED, "a second member");
    let gzipped = gzip(&honest);
    assert_eq!(code(&gzipped[..gzipped.len() - 1]), Code::TOKEN_MALFORMED, "no checksum at the end");
    let mut broken = gzipped.clone();
    let at = broken.len() - 6;
    broken[at] ^= 1;
    assert_eq!(code(&broken), Code::TOKEN_MALFORMED, "a wrong checksum");
    for end in [513, 700, body.len() - 512 + 3] {
        assert_eq!(code(&honest[..end]), Code::TOKEN_MALFORMED, "cut at {end}");
    }
    let mut header = body.to_vec();
    header[0] ^= 1;
    assert_eq!(code(&header), Code::TOKEN_MALFORMED, "a header's checksum");
}

#[test]
fn an_archive_has_limits() {
    let names: Vec<_> = (0..ENTRIES_MAX).map(|index| format!("a{index}-linux.bin")).collect();
    let archive = |count: usize| {
        let targets: Vec<_> =
            names[..count].iter().map(|name| (name.strip_suffix(".bin").unwrap(), &b""[..])).collect();
        let files: Vec<_> = names[..count].iter().map(|name| (name.as_str(), &b""[..])).collect();
        archive_of(&targets[..count.min(limits::TARGETS_MAX)], &files)
    };
    assert!(verifies(&archive(limits::TARGETS_MAX)));
    assert_eq!(code(&archive(ENTRIES_MAX - 1)), Code::SUBJECT_MISMATCH);
    assert_eq!(code(&archive(ENTRIES_MAX)), Code::LIMIT_EXCEEDED);

    // A header's size is enough: nobody sends 256 MiB.
    let large = tar_header("x86_64-linux.bin", usize::try_from(limits::ENTRY_BYTES_MAX).unwrap() + 1, b'0');
    assert_eq!(code(&large), Code::LIMIT_EXCEEDED);
    let full = tar_header("x86_64-linux.bin", usize::try_from(limits::ENTRY_BYTES_MAX).unwrap(), b'0');
    assert_eq!(code(&full), Code::TOKEN_MALFORMED, "nothing behind the header");
    let token = |bytes: usize| code(&tar(&[("claims.jwt".to_owned(), &vec![b'a'; bytes][..])]));
    assert_eq!(token(TOKEN_BYTES_MAX), Code::TOKEN_MALFORMED);
    assert_eq!(token(TOKEN_BYTES_MAX + 1), Code::LIMIT_EXCEEDED);
}

#[test]
fn an_archive_does_not_unpack_without_end() {
    let free = usize::try_from(ARCHIVE_FREE_BYTES).unwrap();
    let zeros = |bytes: usize| {
        let binary = vec![0; bytes];
        gzip(&archive_of(&[("x86_64-linux", &binary)], &[("x86_64-linux.bin", &binary)]))
    };
    assert!(verifies(&zeros(free)), "what is small may be all padding");
    let bomb = zeros(4 * free);
    assert!(bomb.len() < 30 << 10, "{}", bomb.len());
    assert_eq!(code(&bomb), Code::LIMIT_EXCEEDED);
    // The limit itself, on a reader that never ends.
    let mut bounded = archive::Bounded::new(std::io::repeat(0), 10);
    let mut buffer = [0; 10];
    assert_eq!(std::io::Read::read(&mut bounded, &mut buffer).unwrap(), 10);
    assert!(std::io::Read::read(&mut bounded, &mut buffer).is_err() && bounded.is_exhausted);
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), component in any::<bool>()) {
        let start = if component { COMPONENT } else { MODULE };
        let _ = report(&bytes, now());
        let _ = report(&[start, &bytes].concat(), now());
        let _ = report(&[&b"\x1f\x8b\x08\0\0\0\0\0\0\0"[..], &bytes].concat(), now());
    }

    #[test]
    fn a_changed_byte_never_verifies(at in 0_usize..563, bit in 0_u8..8) {
        let mut bytes = account().sign(COMPONENT);
        bytes[at] ^= 1 << bit;
        if let Some(report) = report(&bytes, now()) {
            prop_assert_eq!(report.status, Status::Rejected);
        }
    }
}
