//! The one `Authorization` header of a request, taken out before any handler or log can see it.

use http::{HeaderMap, header};

use crate::identity::{Presented, Unproven};

/// What a request shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authorization {
    /// No header.
    None,
    /// A token, or a header that carries none.
    One(Result<Presented, Unproven>),
    /// Several: two readers may take another one each.
    Several,
}

impl Authorization {
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let taken = match headers.entry(header::AUTHORIZATION) {
            header::Entry::Vacant(_) => return Self::None,
            header::Entry::Occupied(entry) => {
                let (_, values) = entry.remove_entry_mult();
                values.collect::<Vec<_>>()
            }
        };
        match &taken[..] {
            [one] => Self::One(Presented::from_authorization(one.as_bytes())),
            _ => Self::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn taken(values: &[&str]) -> (Authorization, HeaderMap) {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("x"));
        for value in values {
            headers.append("Authorization", value.parse().unwrap());
        }
        (Authorization::take(&mut headers), headers)
    }

    #[test]
    fn one_header_is_one_token() {
        let (found, left) = taken(&["Bearer a.b.c"]);
        assert_eq!(found, Authorization::One(Presented::from_authorization(b"Bearer a.b.c")));
        assert_eq!(left.len(), 1, "no handler sees it");
        assert_eq!(taken(&[]).0, Authorization::None);
        assert!(matches!(taken(&["Digest x"]).0, Authorization::One(Err(_))));
    }

    #[test]
    fn two_headers_are_none() {
        for values in [["Bearer a.b.c", "Bearer a.b.c"], ["Basic eDph", "Bearer a.b.c"], ["", ""]] {
            let (found, left) = taken(&values);
            assert_eq!(found, Authorization::Several);
            assert_eq!(left.len(), 1);
        }
    }
}
