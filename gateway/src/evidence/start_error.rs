//! Why the evidence stage cannot start, with the next thing to do.

use std::borrow::Cow;
use std::error::Error;
use std::path::PathBuf;

use super::authority::AuthorityFault;
use super::memory::MemoryFault;
use super::public_key::KeyFault;
use super::revocation::ListFault;
use crate::case::Digest;
use crate::outage::Outage;

/// Why the evidence stage cannot start: exit 2.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read.
    #[error("cannot read `{}` of `{name}`", path.display())]
    Unreadable {
        /// The root's or key's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is larger than its limit.
    #[error("`{}` of `{name}` is larger than {limit_bytes} bytes", path.display())]
    TooLarge {
        /// The root's or key's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The trusted root is none.
    #[error("the trusted root `{name}` cannot be used")]
    Root {
        /// The root's name.
        name: String,
        /// What the parser says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A key is none that signatures are checked with.
    #[error("the key `{name}` of `[[evidence.keys]]` cannot be used")]
    Key {
        /// The key's name.
        name: String,
        /// Its file, where it lies in one.
        path: Option<PathBuf>,
        /// What is wrong with it.
        source: KeyFault,
    },
    /// An own authority is none that could vouch for anything.
    #[error("the authority `{name}` of `[[evidence.authorities]]` cannot be used")]
    Authority {
        /// The authority's name.
        name: String,
        /// What is wrong with it.
        source: AuthorityFault,
    },
    /// One key under two names would be two signers.
    #[error("the keys `{first}` and `{second}` of `[[evidence.keys]]` are one key, {keyid}")]
    KeyTwice {
        /// The first name.
        first: String,
        /// The second name.
        second: String,
        /// SHA-256 of the SPKI DER.
        keyid: Digest,
    },
    /// Two roots, keys or authorities have one name, or a name is empty.
    #[error("the name `{name}` in `[evidence]` is empty or stands twice")]
    Name {
        /// The name.
        name: String,
    },
    /// More roots or keys than are tried.
    #[error("`{setting}` has {found} entries, at most {limit} are allowed")]
    TooMany {
        /// `evidence.roots`, `evidence.keys` or `evidence.authorities`.
        setting: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The source of a TUF root is none.
    #[error("the TUF root `{name}` cannot be used: {detail}")]
    TufSource {
        /// The root's name.
        name: String,
        /// What was expected and found.
        detail: String,
    },
    /// A TUF repository gave no root, and the cache has none: exit 3.
    #[error("there is no trusted root `{name}` yet")]
    Tuf {
        /// The root's name.
        name: String,
        /// What was asked.
        source: Box<Outage>,
    },
    /// The trusted root was replaced by a newer one before.
    #[error("the trusted root `{name}` (`{digest}`) was replaced before: an older one came back")]
    Older {
        /// The root's name.
        name: String,
        /// The older root.
        digest: Digest,
        /// Where it is remembered.
        path: PathBuf,
    },
    /// The memory of replaced roots cannot be used.
    #[error("cannot rely on `{}`, which remembers the replaced trust roots", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MemoryFault,
    },
    /// The revocation list is none.
    #[error("the revocation list `{}` cannot be used", path.display())]
    Revocations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ListFault,
    },
    /// A number is outside its range.
    #[error("`{setting}` is `{found}`, expected {from} to {to} seconds")]
    Range {
        /// The key.
        setting: &'static str,
        /// What it says.
        found: u64,
        /// The least.
        from: u64,
        /// The most.
        to: u64,
    },
}

impl StartError {
    /// How an older root is let in by somebody who means it.
    pub(super) const OLDER_HINT: &'static str = "put the newer root back; to go back on purpose, take the digest out of `replaced` \
                                                 in `trust-roots.json` of the data folder";

    /// The next thing to do, if there is one to name.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        if let Self::Key { path: Some(path), source: KeyFault::Private { .. }, .. } = self {
            let path = path.display();
            let hint = format!("write the public half with `witgate key show {path} > {path}.pub`, and name that file");
            return Some(hint.into());
        }
        self.usual_hint().map(Cow::Borrowed)
    }

    fn usual_hint(&self) -> Option<&'static str> {
        match self {
            Self::Root { .. } => Some("fetch a fresh one with `cosign trusted-root create` or from your TUF mirror"),
            Self::Key { source, .. } => Some(source.hint()),
            Self::Authority { source, .. } => Some(source.hint()),
            Self::KeyTwice { .. } => Some("take one of the two out: who signs once counts once"),
            Self::Name { .. } => Some(
                "give each entry of `[[evidence.roots]]`, `[[evidence.keys]]` and `[[evidence.authorities]]` its own `name`",
            ),
            Self::Unreadable { .. } => {
                Some("name a file that is there and may be read; paths start at the working folder")
            }
            Self::TufSource { .. } => Some("write `trusted_root = { tuf = \"https://…\", root = \"root.json\" }`"),
            Self::Tuf { .. } => Some("see whether the repository answers, or name a `trusted_root` file"),
            Self::Older { .. } => Some(Self::OLDER_HINT),
            Self::Memory { .. } => Some(
                "make it readable and writable; taken away, it is begun anew and older roots are not known any more",
            ),
            Self::Revocations { source, .. } => Some(source.hint()),
            Self::TooLarge { .. } | Self::TooMany { .. } | Self::Range { .. } => None,
        }
    }
}
