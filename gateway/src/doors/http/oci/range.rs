//! One byte range of a blob (RFC 9110, section 14).

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// No range, several of them, or another unit: the whole blob, status 200.
    Whole,
    /// Bytes `first..=last`, both inside the blob: status 206.
    Part { first: usize, last: usize },
    /// A range that holds no byte of the blob: status 416.
    Nothing,
}

/// Reads a `Range` header for a blob of `size` bytes.
///
/// `500-1499`, `500-` and `-500` are forms of a range. An end before the start is answered with 416, as the conformance
/// suite of distribution-spec asks, although RFC 9110 would ignore such a header.
pub(crate) fn wanted(header: Option<&str>, size: usize) -> Wanted {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    if spec.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::Whole };
    match (number(first), number(last)) {
        (None, Some(suffix)) if first.is_empty() && suffix > 0 && size > 0 => {
            Wanted::Part { first: size.saturating_sub(suffix), last: size - 1 }
        }
        (None, Some(_)) if first.is_empty() => Wanted::Nothing,
        (Some(first), None) if last.is_empty() && first < size => Wanted::Part { first, last: size - 1 },
        (Some(_), None) if last.is_empty() => Wanted::Nothing,
        (Some(first), Some(last)) if first < size && first <= last => Wanted::Part { first, last: last.min(size - 1) },
        (Some(_), Some(_)) => Wanted::Nothing,
        _ => Wanted::Whole,
    }
}

fn number(text: &str) -> Option<usize> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_cases_of_the_conformance_suite() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, expected) in [
            ("bytes=500-1499", part(500, 1499)),
            ("bytes=500-", part(500, 2047)),
            ("bytes=-500", part(1548, 2047)),
            ("bytes=2000-5000", part(2000, 2047)),
            ("bytes=500-0", Wanted::Nothing),
            ("bytes=5000-10000", Wanted::Nothing),
        ] {
            assert_eq!(wanted(Some(header), 2048), expected, "{header}");
        }
    }

    #[test]
    fn edges_and_nonsense() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, size, expected) in [
            ("bytes=0-0", 1, part(0, 0)),
            ("bytes=-5000", 10, part(0, 9)),
            ("bytes=10-", 10, Wanted::Nothing),
            ("bytes=-0", 10, Wanted::Nothing),
            ("bytes=0-", 0, Wanted::Nothing),
            ("bytes=-1", 0, Wanted::Nothing),
            ("bytes=0-1,3-4", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("bytes=+1-2", 10, Wanted::Whole),
            ("bytes=99999999999999999999-", 10, Wanted::Whole),
            ("items=0-1", 10, Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), size), expected, "{header} of {size}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
    }
}
