//! Answers in words: how a decision looks on a terminal.

use std::fmt::Write as _;

use uuid::Uuid;

use crate::case::Digest;
use crate::reason::Reason;

/// A refusal in the form of design section 5.
///
/// ```text
/// witgate: error: refused `ghcr.io/acme/cart:1.4` (sha256:9f2c…): 2 reasons
///   identity-mismatch   signed by `ci@other.example`, policy wants `https://github.com/acme/*`
///   import-not-granted  `wasi:sockets/tcp@0.2.3` is not granted to `spiffe://acme/ns/shop`
/// witgate: hint: see the evidence with `witgate explain 0197…`
/// ```
pub(crate) fn refusal(reference: &str, artifact: Option<&Digest>, decision: Uuid, reasons: &[Reason]) -> String {
    let plural = if reasons.len() == 1 { "" } else { "s" };
    // Nothing was fetched where who asks for what was enough.
    let artifact = artifact.map(|artifact| format!(" ({})", artifact.short())).unwrap_or_default();
    let mut text = format!("witgate: error: refused `{reference}`{artifact}: {} reason{plural}\n", reasons.len());
    text.push_str(&reason_lines(reasons));
    let _ = writeln!(text, "witgate: hint: see the evidence with `witgate explain {decision}`");
    text
}

/// One indented line a reason, codes in a column, control characters made visible.
pub(crate) fn reason_lines(reasons: &[Reason]) -> String {
    let width = reasons.iter().map(|reason| reason.code.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for reason in reasons {
        let detail = if reason.detail.contains(&reason.about) {
            reason.detail.clone()
        } else {
            format!("`{}`: {}", reason.about, reason.detail)
        };
        let _ = writeln!(text, "  {:<width$}  {}", reason.code.as_str(), printable(&detail));
    }
    text
}

/// `text` with control characters escaped: names come from strangers, and a terminal obeys escape codes.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let shown: Box<dyn Iterator<Item = char>> =
                if c.is_control() { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) };
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Code;

    #[test]
    fn a_refusal_reads_as_the_design_shows() {
        let reasons = [
            Reason::new(
                Code::IDENTITY_MISMATCH,
                "ci@other.example",
                "signed by `ci@other.example`, policy wants `https://github.com/acme/*`",
            ),
            Reason::new(
                Code::IMPORT_NOT_GRANTED,
                "wasi:sockets/tcp@0.2.3",
                "not granted to `spiffe://acme/ns/shop`\u{1b}[2J",
            ),
        ];
        let text = refusal("ghcr.io/acme/cart:1.4", Some(&Digest::of(b"")), Uuid::nil(), &reasons);
        insta::assert_snapshot!(text, @r"
        witgate: error: refused `ghcr.io/acme/cart:1.4` (sha256:e3b0c44298fc…): 2 reasons
          identity-mismatch   signed by `ci@other.example`, policy wants `https://github.com/acme/*`
          import-not-granted  `wasi:sockets/tcp@0.2.3`: not granted to `spiffe://acme/ns/shop`\u{1b}[2J
        witgate: hint: see the evidence with `witgate explain 00000000-0000-0000-0000-000000000000`
        ");
    }
}
