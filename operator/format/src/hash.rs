//! Ids and the contexts they are hashed in.
//!
//! Content, symlink targets and chunks are plain BLAKE3, so that `b3sum` prints a file's id. Everything else is
//! BLAKE3's `derive_key` with a context of its own: bytes of one kind can never pass for another.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use crate::error::DecodeError;

/// A BLAKE3 hash of 32 bytes; in text 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    /// 32 zero bytes: the root of no rows, the `previous` of a first reflog entry, the id of an absent member.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of a file's content, a symlink's target or a chunk: plain BLAKE3, what `b3sum` prints.
    pub fn of_content(content: &[u8]) -> Self {
        blake3::hash(content).into()
    }

    /// Takes exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = bytes
            .try_into()
            .map_err(|_| DecodeError::invalid("hash", format!("it must have 32 bytes, not {}", bytes.len())))?;
        Ok(Self(bytes))
    }

    /// The bytes as a vector, as the protobuf messages hold them.
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl From<blake3::Hash> for Hash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = DecodeError;

    /// Exactly 64 lower-case hex digits; upper case is refused, since texts are compared as text.
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let is_lower_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut bytes = [0; 32];
        if !is_lower_hex || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(DecodeError::invalid("hash", "it must be 64 lower-case hex digits"));
        }
        Ok(Self(bytes))
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a hash is of: the `H_x` of the format, each with the context `varve v1 x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Up to four rows of a node.
    RowGroup,
    /// Two hashes of a node's Merkle tree.
    Pair,
    /// A node.
    Node,
    /// A value in a map other than a tree.
    Value,
    /// A commit's seal.
    Commit,
    /// The spec of the Commit that asked for a commit.
    CommitSpec,
    /// What decides a datum's result besides its inputs.
    Spec,
    /// A datum.
    Datum,
    /// A plan.
    Plan,
    /// A reflog entry.
    Reflog,
}

impl Domain {
    /// Every domain, in the order of the format.
    pub const ALL: [Self; 10] = [
        Self::RowGroup,
        Self::Pair,
        Self::Node,
        Self::Value,
        Self::Commit,
        Self::CommitSpec,
        Self::Spec,
        Self::Datum,
        Self::Plan,
        Self::Reflog,
    ];

    /// The context given to `derive_key`.
    pub const fn context(self) -> &'static str {
        match self {
            Self::RowGroup => "varve v1 row group",
            Self::Pair => "varve v1 pair",
            Self::Node => "varve v1 node",
            Self::Value => "varve v1 value",
            Self::Commit => "varve v1 commit",
            Self::CommitSpec => "varve v1 commit spec",
            Self::Spec => "varve v1 spec",
            Self::Datum => "varve v1 datum",
            Self::Plan => "varve v1 plan",
            Self::Reflog => "varve v1 reflog",
        }
    }

    /// Hashes `bytes` in this domain.
    pub fn hash(self, bytes: &[u8]) -> Hash {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finalize().into()
    }

    /// A hasher to feed piece by piece; `hasher.finalize().into()` is the [`Hash`].
    ///
    /// The context's own hash is computed once per process: for a group of rows it would double the work.
    pub fn hasher(self) -> blake3::Hasher {
        static KEYS: OnceLock<[ContextKey; Domain::ALL.len()]> = OnceLock::new();
        let keys = KEYS.get_or_init(|| Self::ALL.map(|domain| hash_derive_key_context(domain.context())));
        blake3::Hasher::new_from_context_key(&keys[self as usize])
    }
}
