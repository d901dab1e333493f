//! What callers hold: references to content and to roots of maps, entries of directories, edits and changes.
//!
//! A reference carries the id (what it is) and a location (where it lies). Two references to the same thing may differ
//! in location; compare ids.

use bytes::Bytes;
use varve_format::{Hash, Kind, Location, MapKind, RepoPath, Row, Totals, empty_map_id, records};

use crate::error::{Error, Result};
use crate::map::node::{Node, Slot};

/// The root node of a directory or of another map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRef {
    /// The node's id.
    pub id: Hash,
    /// Files below, of a directory.
    pub files: u64,
    /// Their sizes' sum in bytes.
    pub bytes: u64,
    /// Where the node lies.
    pub at: Location,
}

impl NodeRef {
    /// The empty map of a kind: no object holds it.
    pub fn empty(kind: &MapKind) -> Self {
        let encoded = Node::encode(kind, 0, &[]);
        Self { id: empty_map_id(kind), files: 0, bytes: 0, at: Location::Embedded(encoded) }
    }

    /// Files and bytes.
    pub fn totals(&self) -> Totals {
        Totals { files: self.files, bytes: self.bytes }
    }
}

/// A file's content, a symlink's target, a log, a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRef {
    /// Plain BLAKE3 of the bytes.
    pub id: Hash,
    /// Number of bytes.
    pub size: u64,
    /// Where they lie.
    pub at: Location,
}

/// What a path in a tree names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its content.
        content: ContentRef,
    },
    /// A symlink.
    Symlink {
        /// Its target, verbatim.
        target: ContentRef,
    },
    /// A directory.
    Directory(NodeRef),
}

impl Entry {
    /// A plain file.
    pub fn file(content: ContentRef) -> Self {
        Self::File { executable: false, content }
    }

    /// The kind as it stands in rows and datums.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { executable: false, .. } => Kind::File,
            Self::File { executable: true, .. } => Kind::Executable,
            Self::Symlink { .. } => Kind::Symlink,
            Self::Directory(_) => Kind::Directory,
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    /// The id of the content, or of the directory's root node.
    pub fn id(&self) -> Hash {
        match self {
            Self::File { content, .. } | Self::Symlink { target: content } => content.id,
            Self::Directory(root) => root.id,
        }
    }

    /// Number of files: 1, or all below a directory.
    pub fn files(&self) -> u64 {
        match self {
            Self::Directory(root) => root.files,
            _ => 1,
        }
    }

    /// Bytes of the content, or of all files below a directory.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::File { content, .. } | Self::Symlink { target: content } => content.size,
            Self::Directory(root) => root.bytes,
        }
    }

    /// Where the content or the root node lies.
    pub fn at(&self) -> &Location {
        match self {
            Self::File { content, .. } | Self::Symlink { target: content } => &content.at,
            Self::Directory(root) => &root.at,
        }
    }

    /// The content, unless it is a directory.
    pub fn content(&self) -> Option<&ContentRef> {
        match self {
            Self::File { content, .. } | Self::Symlink { target: content } => Some(content),
            Self::Directory(_) => None,
        }
    }

    /// The entry from its parts, as plans and records keep them; none for a kind that a tree's leaf does not hold.
    pub fn from_parts(kind: Kind, id: Hash, totals: Totals, at: Location) -> Option<Self> {
        let content = |at| ContentRef { id, size: totals.bytes, at };
        Some(match kind {
            Kind::File => Self::File { executable: false, content: content(at) },
            Kind::Executable => Self::File { executable: true, content: content(at) },
            Kind::Symlink => Self::Symlink { target: content(at) },
            Kind::Directory => Self::Directory(NodeRef { id, files: totals.files, bytes: totals.bytes, at }),
            Kind::Value | Kind::Node => return None,
        })
    }

    /// The entry that a leaf of a tree holds.
    pub(crate) fn of_slot(slot: &Slot) -> Result<Self> {
        Self::from_parts(slot.row.kind, slot.row.id, slot.row.totals(), slot.at.clone())
            .ok_or_else(|| Error::corrupt("a directory", "it holds a value or a child where an entry must be"))
    }

    /// The row of this entry under a name.
    pub(crate) fn row(&self, name: &str) -> Row {
        match self {
            Self::Directory(root) => Row::directory(name, root.id, root.totals()),
            _ => Row::file(Bytes::copy_from_slice(name.as_bytes()), self.kind(), self.id(), self.bytes()),
        }
    }
}

/// One edit of a tree, at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEdit {
    /// Puts a file, a symlink or a whole directory here, replacing whatever has this name.
    Put(Entry),
    /// Removes the file, or the whole directory, that has this name; it need not exist.
    Delete,
}

/// The value of a key in a map other than a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The value: its hash is part of the map's id.
    pub bytes: Bytes,
    /// What the value refers to in the store. Kept beside it, outside every id, so that a collector sees it without
    /// knowing the kind of map.
    pub refs: Vec<Location>,
}

impl Value {
    /// A value that refers to nothing.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), refs: Vec::new() }
    }
}

/// One difference between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: RepoPath,
    /// What stood there; none if nothing of this kind of key did.
    pub before: Option<Entry>,
    /// What stands there now.
    pub after: Option<Entry>,
}

/// How far down a diff or a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// To every file.
    Full,
    /// To paths of this many names; a directory there is one entry. 0 is the root alone.
    Components(u32),
}

impl Depth {
    /// The depth that is left one directory further down.
    pub(crate) fn below(self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Components(left) => Self::Components(left.saturating_sub(1)),
        }
    }

    /// Whether entries here are not descended into.
    pub(crate) fn is_reached(self) -> bool {
        self == Self::Components(0)
    }
}

impl From<&NodeRef> for records::NodeRef {
    fn from(node: &NodeRef) -> Self {
        Self::new(node.id, node.totals(), &node.at)
    }
}

impl TryFrom<&records::NodeRef> for NodeRef {
    type Error = Error;

    fn try_from(record: &records::NodeRef) -> Result<Self> {
        let read = || Ok(Self { id: record.id()?, files: record.files, bytes: record.bytes, at: record.at()? });
        read().map_err(Error::decode("a reference to a node"))
    }
}

impl From<&ContentRef> for records::ContentRef {
    fn from(content: &ContentRef) -> Self {
        Self::new(content.id, content.size, &content.at)
    }
}

impl TryFrom<&records::ContentRef> for ContentRef {
    type Error = Error;

    fn try_from(record: &records::ContentRef) -> Result<Self> {
        let read = || Ok(Self { id: record.id()?, size: record.size, at: record.at()? });
        read().map_err(Error::decode("a reference to content"))
    }
}
