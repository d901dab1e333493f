//! What stands at a path: the engine's view of a tree's entry.
//!
//! Identity (kind and id) decides; totals answer questions about directories without reading them; the place is
//! carried along for whoever writes, and never looked at.

use varve_format::{Hash, Kind, Location};

/// A file, executable, symlink or directory of some tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is; never a value or a node.
    pub kind: Kind,
    /// The content's id, or a directory's root node.
    pub id: Hash,
    /// Files in it; 1 for what is no directory.
    pub files: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Where it lies; no part of what it is.
    pub at: Location,
}

impl Object {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether both are the same thing, wherever they lie.
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.id == other.id
    }
}

/// Whether two sides of a change hold the same.
pub(crate) fn is_unchanged(before: Option<&Object>, after: Option<&Object>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => before.is_same(after),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use bytes::Bytes;

    use super::*;

    /// A file whose id and place come from its content.
    pub(crate) fn file(content: &str) -> Object {
        let at = Location::Inline(Bytes::copy_from_slice(content.as_bytes()));
        let id = Hash::of_content(content.as_bytes());
        Object { kind: Kind::File, id, files: 1, bytes: content.len() as u64, at }
    }

    /// A directory known by a word, with so many files.
    pub(crate) fn directory(word: &str, files: u64) -> Object {
        Object { kind: Kind::Directory, files, ..file(word) }
    }
}
