//! How a request shows a token: `Authorization: Bearer TOKEN`, or Basic with the token as its password.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::trust::Unproven;

/// A token as a request showed it; nothing in it is proven. Its `Debug` leaves the token out.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented(Zeroizing<String>);

/// The largest value of an `Authorization` header that is read, in bytes: a token of 8 KiB with a user's name, in base64.
pub const AUTHORIZATION_SIZE_BYTES: usize = 16 * 1024;

impl Presented {
    /// Reads the value of an `Authorization` header (RFC 7617, RFC 6750); the name of a Basic user is not looked at.
    ///
    /// # Errors
    /// Another scheme, or a value that its scheme does not have.
    pub fn from_authorization(value: &[u8]) -> Result<Self, Unproven> {
        let fault = |why| Unproven::Authorization { why };
        if value.len() > AUTHORIZATION_SIZE_BYTES {
            return Err(fault("it is too long"));
        }
        let text = std::str::from_utf8(value).map_err(|_| fault("it is no ASCII"))?;
        let (scheme, credentials) = text.split_once(' ').ok_or_else(|| fault("it is a scheme alone"))?;
        let credentials = credentials.trim_start_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::from_password(credentials.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(fault("its scheme is neither Basic nor Bearer"));
        }
        let pair = STANDARD.decode(credentials).map(Zeroizing::new).map_err(|_| fault("it is no base64"))?;
        let colon = pair.iter().position(|byte| *byte == b':').ok_or_else(|| fault("it has no password"))?;
        let password = pair.get(colon + 1..).unwrap_or_default();
        Self::from_password(String::from_utf8_lossy(password).into_owned())
    }

    /// Takes a token that came as the field of a form.
    ///
    /// # Errors
    /// An empty text, or one with other signs than a token may have.
    pub fn from_password(text: String) -> Result<Self, Unproven> {
        let text = Zeroizing::new(text);
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Unproven::Authorization { why: "it holds no token" });
        }
        Ok(Self(text))
    }

    /// The token, to be judged or to be given back to whom it was proven for.
    pub(crate) fn unverified(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(_)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: impl AsRef<[u8]>) -> Result<String, &'static str> {
        match Presented::from_authorization(value.as_ref()) {
            Ok(presented) => Ok(presented.unverified().to_owned()),
            Err(Unproven::Authorization { why }) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    fn basic(pair: impl AsRef<[u8]>) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn two_schemes_carry_a_token() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(read(value), Ok("a.b.c".into()), "{value}");
        }
        for pair in ["witgate:a.b.c", ":a.b.c", "any one:a.b.c"] {
            assert_eq!(read(basic(pair)), Ok("a.b.c".into()), "{pair}");
        }
        assert_eq!(read(basic("u:a:b")), Ok("a:b".into()), "the first colon parts name and password");
        assert_eq!(read(basic(b"\xff\xfe:a.b.c")), Ok("a.b.c".into()), "the name is not looked at");
    }

    #[test]
    fn all_else_holds_no_token() {
        for (value, why) in [
            ("", "it is a scheme alone"),
            ("Bearer", "it is a scheme alone"),
            ("Bearer ", "it holds no token"),
            ("Bearer a b", "it holds no token"),
            ("Bearer a\tb", "it holds no token"),
            ("Basic a.b.c", "it is no base64"),
            ("Basic YTpi=", "it is no base64"),
            ("Digest a", "its scheme is neither Basic nor Bearer"),
            ("a.b.c d", "its scheme is neither Basic nor Bearer"),
        ] {
            assert_eq!(read(value), Err(why), "`{value}`");
        }
        assert_eq!(read(basic("no colon")), Err("it has no password"));
        assert_eq!(read(basic("u:")), Err("it holds no token"));
        assert_eq!(read(basic("u:a b")), Err("it holds no token"));
        assert_eq!(read(basic(b"u:\xff")), Err("it holds no token"));
        assert_eq!(read(b"Bearer \xff"), Err("it is no ASCII"));
    }

    #[test]
    fn a_header_has_a_largest_size() {
        let at = format!("Bearer {}", "a".repeat(AUTHORIZATION_SIZE_BYTES - "Bearer ".len()));
        assert!(read(&at).is_ok());
        assert_eq!(read(at + "a"), Err("it is too long"));
    }

    #[test]
    fn debug_leaves_the_token_out() {
        let presented = Presented::from_authorization(b"Bearer a.b.c").unwrap();
        assert_eq!(format!("{presented:?}"), "Presented(_)");
    }
}
