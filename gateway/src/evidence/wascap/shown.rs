//! What is known about a token, as lines that a person reads.

use std::fmt::Write as _;

use super::{Carrier, Check, Report, Status, Validity};
use crate::evidence::rejection::printable;

/// A line for the verdict, the rest indented below it; ends with a line break.
pub fn text(report: &Report) -> String {
    let status = match report.status {
        Status::Verified => "verified",
        Status::Rejected => "rejected",
    };
    let carrier = match report.kind {
        Carrier::Component => "section",
        Carrier::Provider => "provider archive,",
    };
    let mut text = format!("wasmCloud 1.x token {status} ({carrier} {})\n", report.section);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {}", printable(value));
    };
    for (name, value) in [("issuer", &report.issuer), ("subject", &report.subject), ("name", &report.name)] {
        if let Some(value) = value {
            row(name, value);
        }
    }
    if report.issuer.is_some() {
        row("revision", &report.revision.map_or_else(|| "none".to_owned(), |revision| revision.to_string()));
    }
    row("signature", check(report.signature));
    row("hash", check(report.hash));
    row(
        "validity",
        match report.validity {
            Validity::Ok => "ok",
            Validity::Early => "not yet valid",
            Validity::Expired => "expired",
            Validity::Unchecked => "unchecked",
        },
    );
    let times = [("issued at", report.issued_at), ("not before", report.not_before), ("expires at", report.expires_at)];
    for (name, time) in times {
        if let Some(time) = time {
            row(name, &time.to_string());
        }
    }
    if let (Some(code), Some(detail)) = (&report.code, &report.detail) {
        row("because", &format!("{code}: {detail}"));
    }
    text
}

fn check(check: Check) -> &'static str {
    match check {
        Check::Ok => "ok",
        Check::Invalid => "invalid",
        Check::Mismatch => "mismatch",
        Check::Unchecked => "unchecked",
    }
}
