//! Rows: the entries of a map's nodes, in the encoding that ids are taken over.

use bytes::Bytes;

use crate::codec::Reader;
use crate::error::{DecodeError, MapError};
use crate::hash::{Domain, Hash};
use crate::name::{MAX_KEY, MapKind};

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A file.
    File = 0,
    /// A file with its owner's x bit.
    Executable = 1,
    /// A symlink; its content is the target, verbatim.
    Symlink = 2,
    /// A directory: the id is its map's root node.
    Directory = 3,
    /// A value in a map other than a tree.
    Value = 5,
    /// A child node.
    Node = 255,
}

impl Kind {
    /// Whether this is a file, an executable or a symlink: what has content, and counts as one file.
    pub const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable | Self::Symlink)
    }
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

impl TryFrom<u8> for Kind {
    type Error = DecodeError;

    fn try_from(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            0 => Self::File,
            1 => Self::Executable,
            2 => Self::Symlink,
            3 => Self::Directory,
            5 => Self::Value,
            255 => Self::Node,
            other => return Err(DecodeError::Unknown { what: "row", field: "kind", value: other.into() }),
        })
    }
}

/// Files and bytes below a node or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Totals {
    /// Number of files, executables and symlinks.
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
}

impl Totals {
    /// The sum of both, or `SumOverflow`.
    pub fn plus(self, other: Self) -> Result<Self, MapError> {
        let files = self.files.checked_add(other.files).ok_or(MapError::SumOverflow)?;
        let bytes = self.bytes.checked_add(other.bytes).ok_or(MapError::SumOverflow)?;
        Ok(Self { files, bytes })
    }
}

/// One entry of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// The key: in a directory the name, with a `/` for a directory; in level 1 and above the child's last key.
    pub key: Bytes,
    /// What the row stands for.
    pub kind: Kind,
    /// The content's id, the value's, or that of the directory's or child's node.
    pub id: Hash,
    /// Files below a directory or child node; 1 for a file, 0 for a value.
    pub files: u64,
    /// Size of a file, symlink target or value; bytes below a directory or child node.
    pub bytes: u64,
}

impl Row {
    /// A file, an executable or a symlink.
    pub fn file(name: impl Into<Bytes>, kind: Kind, id: Hash, size: u64) -> Self {
        debug_assert!(kind.is_file(), "directories, values and nodes have constructors of their own");
        Self { key: name.into(), kind, id, files: 1, bytes: size }
    }

    /// A directory called `name` (without its `/`), whose map has the root node `id`.
    pub fn directory(name: &str, id: Hash, totals: Totals) -> Self {
        let key = Bytes::from(format!("{name}/"));
        Self { key, kind: Kind::Directory, id, files: totals.files, bytes: totals.bytes }
    }

    /// The row of `value` in a map other than a tree.
    pub fn value(key: impl Into<Bytes>, value: &[u8]) -> Self {
        let (id, bytes) = (Domain::Value.hash(value), value.len() as u64);
        Self { key: key.into(), kind: Kind::Value, id, files: 0, bytes }
    }

    /// The row of a child node, whose last key is `last_key`.
    pub fn node(last_key: Bytes, id: Hash, totals: Totals) -> Self {
        Self { key: last_key, kind: Kind::Node, id, files: totals.files, bytes: totals.bytes }
    }

    /// Checks that the row may stand in a node of this map and level: key, kind, name, counts.
    pub fn check(&self, map: &MapKind, level: u8) -> Result<(), MapError> {
        crate::node::check_row(map, level, self)
    }

    /// What the row adds to its node's totals.
    pub fn totals(&self) -> Totals {
        match self.kind {
            Kind::File | Kind::Executable | Kind::Symlink => Totals { files: 1, bytes: self.bytes },
            Kind::Directory | Kind::Node => Totals { files: self.files, bytes: self.bytes },
            Kind::Value => Totals::default(),
        }
    }

    /// Appends `key_len u16 | key | kind u8 | size u64 | id`, or with `files u64 | bytes u64` for directories and nodes.
    ///
    /// # Panics
    /// On a key beyond u16; [`crate::node::check_rows`] refuses it before.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = u16::try_from(self.key.len()).expect("keys are checked to be at most 8127 bytes");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.key);
        out.push(self.kind.into());
        if matches!(self.kind, Kind::Directory | Kind::Node) {
            out.extend_from_slice(&self.files.to_le_bytes());
        }
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(self.id.as_bytes());
    }

    /// Reads rows until the bytes end.
    pub fn decode_all(bytes: &Bytes) -> Result<Vec<Self>, DecodeError> {
        let mut reader = Reader::new(bytes, "row");
        let mut rows = Vec::new();
        while reader.remaining() > 0 {
            rows.push(Self::decode(&mut reader, bytes)?);
        }
        Ok(rows)
    }

    fn decode(reader: &mut Reader<'_>, source: &Bytes) -> Result<Self, DecodeError> {
        let length = reader.u16()? as usize;
        if length == 0 || length > MAX_KEY {
            return Err(DecodeError::TooLong { what: "row", length: length as u64, max: MAX_KEY as u64 });
        }
        let key = source.slice_ref(reader.take(length)?);
        let kind = Kind::try_from(reader.u8()?)?;
        let files = match kind {
            Kind::Directory | Kind::Node => reader.u64()?,
            Kind::Value => 0,
            Kind::File | Kind::Executable | Kind::Symlink => 1,
        };
        let bytes = reader.u64()?;
        Ok(Self { key, kind, id: reader.hash()?, files, bytes })
    }
}
