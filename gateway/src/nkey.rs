//! An nkey: an Ed25519 public key in the text form of NATS, as wasmCloud 1.x names accounts, modules and providers.
//!
//! The text is base32 of `prefix(1) ‖ key(32) ‖ CRC-16/XMODEM little-endian(2)`: 35 bytes, 56 characters, no padding and no
//! bits left over, so that a key has one spelling (nats-io/nkeys `README.md`).

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use witgate_host_hook::key::PublicKey;

/// The length of the text, in characters.
pub const TEXT_CHARS: usize = 56;

/// An nkey's public half that can verify: of a kind that signs, its checksum right, no weak point.
#[derive(Clone, PartialEq, Eq)]
pub struct Nkey {
    kind: Kind,
    key: PublicKey,
}

/// What an nkey is the key of; its first letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `A`: an account, who signs wasmCloud's tokens.
    Account,
    /// `C`: a cluster.
    Cluster,
    /// `M`: a module or component.
    Module,
    /// `N`: a server or host.
    Server,
    /// `O`: an operator.
    Operator,
    /// `U`: a user.
    User,
    /// `V`: a service or capability provider.
    Service,
}

/// Why a text is no nkey that can be used; none of these repeats the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NkeyError {
    /// It reads `S…`: a seed, with which anybody signs.
    #[error("a seed, which is secret: give the public key, and make a new pair if this one was shown to anybody")]
    Seed,
    /// Not [`TEXT_CHARS`] characters.
    #[error("{chars} characters, expected {TEXT_CHARS}")]
    Length {
        /// How many there are.
        chars: usize,
    },
    /// A character outside `A-Z2-7`.
    #[error("a character other than `A` to `Z` and `2` to `7`")]
    Alphabet,
    /// The checksum at the end is another's: a character was mistyped.
    #[error("a checksum that does not fit")]
    Checksum,
    /// The prefix names no kind, or one that does not sign.
    #[error("the prefix byte {prefix:#04x}, which is of no key that signs")]
    Prefix {
        /// The first byte.
        prefix: u8,
    },
    /// A good nkey of another kind than the one that stands here.
    #[error("an nkey of {found} (`{}…`), expected {wanted} (`{}…`)", found.letter(), wanted.letter())]
    Kind {
        /// What is needed.
        wanted: Kind,
        /// What was given.
        found: Kind,
    },
    /// The bytes are no Ed25519 key, or a weak one, with which one signature fits every message.
    #[error("no Ed25519 key that can be trusted")]
    Key,
}

impl Nkey {
    /// The nkey of `key`.
    pub fn new(kind: Kind, key: PublicKey) -> Self {
        Self { kind, key }
    }

    /// Reads an nkey that has to be of `wanted`.
    ///
    /// # Errors
    /// [`NkeyError`], which never holds the text.
    pub fn of_kind(wanted: Kind, text: &str) -> Result<Self, NkeyError> {
        let nkey: Self = text.parse()?;
        if nkey.kind == wanted { Ok(nkey) } else { Err(NkeyError::Kind { wanted, found: nkey.kind }) }
    }

    /// What it is the key of.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The key itself.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

impl FromStr for Nkey {
    type Err = NkeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Before anything else is said about it: whatever looks like a seed is treated as one, broken or not.
        if text.trim_start().starts_with(['S', 's']) {
            return Err(NkeyError::Seed);
        }
        let chars = text.chars().take(LENGTH_COUNTED_CHARS).count();
        if chars != TEXT_CHARS {
            return Err(NkeyError::Length { chars });
        }
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| NkeyError::Alphabet)?;
        let bytes: [u8; 35] = bytes.try_into().map_err(|_| NkeyError::Alphabet)?;
        let [prefix, key @ .., low, high] = bytes;
        let (checked, _) = bytes.split_at(33);
        if crc16(checked) != u16::from_le_bytes([low, high]) {
            return Err(NkeyError::Checksum);
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix);
        let kind = kind.ok_or(NkeyError::Prefix { prefix })?;
        let key = PublicKey::from_bytes(&key).map_err(|_| NkeyError::Key)?;
        Ok(Self { kind, key })
    }
}

impl fmt::Display for Nkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(35);
        bytes.push(self.kind.prefix());
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(&crc16(&bytes).to_le_bytes());
        f.write_str(&BASE32_NOPAD.encode(&bytes))
    }
}

impl fmt::Debug for Nkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Account, Self::Cluster, Self::Module, Self::Server, Self::Operator, Self::User, Self::Service];

    /// The first letter of its text.
    pub fn letter(self) -> char {
        match self {
            Self::Account => 'A',
            Self::Cluster => 'C',
            Self::Module => 'M',
            Self::Server => 'N',
            Self::Operator => 'O',
            Self::User => 'U',
            Self::Service => 'V',
        }
    }

    /// The first byte: five bits that read as the letter, three of nothing.
    fn prefix(self) -> u8 {
        (self.letter() as u8 - b'A') << 3
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "an account",
            Self::Cluster => "a cluster",
            Self::Module => "a module",
            Self::Server => "a server",
            Self::Operator => "an operator",
            Self::User => "a user",
            Self::Service => "a service",
        })
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, start 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

/// How far a text of the wrong length is counted, in characters.
const LENGTH_COUNTED_CHARS: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::string_slice, reason = "a test reads better so")]

    use proptest::prelude::*;

    use super::*;

    /// The keys of RFC 8032 §7.1, test 1, in each kind.
    const OF_TEST_1: [(Kind, &str); 6] = [
        (Kind::Account, "ADLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRVRTU"),
        (Kind::Module, "MDLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRUV5O"),
        (Kind::Server, "NDLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRUM4A"),
        (Kind::Operator, "ODLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRVH7S"),
        (Kind::User, "UDLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRUVAL"),
        (Kind::Service, "VDLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRUMBF"),
    ];
    const SEEDS_OF_TEST_1: [&str; 4] = [
        "SAAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YHY3Q",
        "SNAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YFXBM",
        "SMAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YFWNA",
        "SVAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YAKOM",
    ];
    const MODULE_OF_TEST_2: &str = "MA6UAF6D5BBYSWUSW4FKOTI3P26JZGBMZ4XMJFUMYDGVL4JK6RTAYU6I";
    const KEY_OF_TEST_1: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn text_of(prefix: u8, key: &[u8; 32]) -> String {
        let mut bytes = vec![prefix];
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&crc16(&bytes).to_le_bytes());
        BASE32_NOPAD.encode(&bytes)
    }

    fn key_of_test_1() -> [u8; 32] {
        hex::decode(KEY_OF_TEST_1).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_checksum_is_xmodem() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn reads_and_prints_the_vectors() {
        for (kind, text) in OF_TEST_1 {
            let nkey = Nkey::of_kind(kind, text).unwrap();
            assert_eq!(hex::encode(nkey.key().as_bytes()), KEY_OF_TEST_1);
            assert_eq!((nkey.kind(), nkey.to_string().as_str()), (kind, text));
        }
        let nkey: Nkey = MODULE_OF_TEST_2.parse().unwrap();
        assert_eq!((nkey.kind(), nkey.to_string().as_str()), (Kind::Module, MODULE_OF_TEST_2));
    }

    #[test]
    fn refuses_seeds_without_repeating_them() {
        let broken = ["SAAJ2", "SDLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRVRTU", " SAAJ2YNR", "saaj2ynr"];
        for text in SEEDS_OF_TEST_1.into_iter().chain(broken) {
            let error = text.parse::<Nkey>().unwrap_err();
            assert_eq!(error, NkeyError::Seed, "{text}");
            assert!(!error.to_string().contains(text.trim()) && !format!("{error:?}").contains(text.trim()));
        }
    }

    #[test]
    fn refuses_other_spellings() {
        let (_, good) = OF_TEST_1[0];
        let length = |text: &str| assert!(matches!(text.parse::<Nkey>(), Err(NkeyError::Length { .. })), "{text}");
        length("");
        length(&good[..55]);
        length(&format!("{good}A"));
        length(&format!("{good}\n"));
        length(&format!("{good}===="));
        assert_eq!("A".repeat(5000).parse::<Nkey>(), Err(NkeyError::Length { chars: LENGTH_COUNTED_CHARS }));
        let alphabet = |text: String| assert_eq!(text.parse::<Nkey>(), Err(NkeyError::Alphabet), "{text}");
        alphabet(good.to_lowercase());
        alphabet(good.replace('V', "1"));
        alphabet(format!("{}é", &good[..55]));
        alphabet(format!("{}=", &good[..55]));
        assert_eq!(good.replacen("VV", "VW", 1).parse::<Nkey>(), Err(NkeyError::Checksum));
        assert_eq!(format!("M{}", &good[1..]).parse::<Nkey>(), Err(NkeyError::Checksum));
    }

    #[test]
    fn refuses_kinds_that_do_not_sign_or_are_not_wanted() {
        // P, X, unknown, and prefixes whose three low bits say something.
        for prefix in [15 << 3, 23 << 3, 1 << 3, 0x01, 0x61, 0xff] {
            assert_eq!(text_of(prefix, &key_of_test_1()).parse::<Nkey>(), Err(NkeyError::Prefix { prefix }));
        }
        let found = Nkey::of_kind(Kind::Account, MODULE_OF_TEST_2).unwrap_err();
        assert_eq!(found, NkeyError::Kind { wanted: Kind::Account, found: Kind::Module });
        assert_eq!(found.to_string(), "an nkey of a module (`M…`), expected an account (`A…`)");
    }

    #[test]
    fn refuses_weak_keys_and_what_is_no_point() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(text_of(0, &identity).parse::<Nkey>(), Err(NkeyError::Key));
        assert_eq!(text_of(0, &[0; 32]).parse::<Nkey>(), Err(NkeyError::Key));
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert_eq!(text_of(0, &no_point).parse::<Nkey>(), Err(NkeyError::Key));
    }

    proptest! {
        #[test]
        fn whatever_is_read_prints_as_it_was(text in "[A-Z2-7]{56}") {
            if let Ok(nkey) = text.parse::<Nkey>() {
                prop_assert_eq!(nkey.to_string(), text);
            }
        }

        #[test]
        fn one_changed_character_is_noticed(at in 0_usize..56, letter in "[A-Z2-7]") {
            let mut text = OF_TEST_1[0].1.to_owned();
            text.replace_range(at..=at, &letter);
            prop_assert_eq!(text.parse::<Nkey>().is_ok(), text == OF_TEST_1[0].1);
        }
    }
}
