//! Outputs of datums → the edits that make one commit of them.
//!
//! Given are the datums that changed, each with the output it had and the output it has. The outcome is the edits to
//! the parent's three maps: `tree`, `prov` (which datum wrote what) and `datums`. The cost is that of the change:
//! directories that one datum alone writes are grafted whole and never read, and of the parent only touched names are
//! looked up. `prov` is canonical: a directory has an entry exactly where everything below it has one owner and its
//! parent's hasn't, so the map is a function of the tree and its owners, whatever came before (property test).
//!
//! What must be known of the parent and of the outputs' directories isn't known beforehand. [`merge`] takes the
//! [`Facts`] given so far and answers with the edits or with what is missing: the caller looks all of it up at once,
//! gives it, and asks again, about twice for every level of directories that several datums share. Memory is bounded by
//! what is touched, never by the tree.

mod facts;
mod owners;
mod walk;

use std::collections::BTreeMap;

use bytes::Bytes;
use varve_api::conditions::Reason;
use varve_format::{DatumKey, DatumRow, NameError, RepoPath};

pub use facts::{Facts, Need, OwnerScan, Owners, prov_key};

use crate::object::Object;

/// How deep directories may lie into which several datums write.
///
/// Names like `a/a/a/…` fit 2,048 levels into a path; nobody means that. Each level costs a round of lookups and some
/// kilobytes of stack, of which a thread of the operator has two megabytes.
pub const MAX_SHARED_DEPTH: usize = 64;

/// A datum that came, changed or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatumEdit {
    /// Which.
    pub key: DatumKey,
    /// The root of the tree that it had written into the parent; none if it was not there or had written nothing.
    pub before: Option<Object>,
    /// Its new row in `datums` and what it has written; none if it went.
    pub after: Option<(DatumRow, Object)>,
}

/// The edits that make the new commit's maps of the parent's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// To `tree`.
    pub tree: TreeChange,
    /// To `prov`, sorted: a key, and its value or its removal.
    pub prov: Vec<(Bytes, Option<Bytes>)>,
    /// To `datums`, sorted likewise.
    pub datums: Vec<(Bytes, Option<Bytes>)>,
}

/// What becomes of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeChange {
    /// These edits, sorted by path; none where nothing changes. A removal may be followed by edits below its path:
    /// they are meant as if made one after the other.
    Edits(Vec<(RepoPath, TreeEdit)>),
    /// The whole tree is this directory.
    Root(Object),
    /// The whole tree is empty.
    Empty,
}

/// One edit of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEdit {
    /// Put this file or whole directory here, instead of whatever stands here.
    Put(Object),
    /// Remove the file or directory that stands here.
    Delete,
}

/// How far a merge has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done(Merged),
    /// These facts are missing; each is asked for once.
    Needs(Vec<Need>),
}

/// Merges `edits` (one for each datum, in any order) into the tree `parent` (none for a first commit).
pub fn merge(parent: Option<&Object>, edits: &[DatumEdit], facts: &Facts) -> Result<Progress, MergeError> {
    let mut walk = walk::Walk::new(edits, facts);
    let root = walk.root(parent)?;
    let mut prov = BTreeMap::new();
    if let (true, Some(root)) = (walk.needs.is_empty(), &root) {
        let mut owners = owners::Owners::new(facts);
        owners.emit_root(root, &mut prov);
        walk.needs.append(&mut owners.needs);
    }
    if !walk.needs.is_empty() {
        return Ok(Progress::Needs(walk.needs.into_iter().collect()));
    }
    let prov = prov.into_iter().map(|(key, value)| (Bytes::from(key), value)).collect();
    Ok(Progress::Done(Merged { tree: tree_change(walk.edits), prov, datums: datum_rows(edits) }))
}

fn tree_change(mut edits: BTreeMap<RepoPath, TreeEdit>) -> TreeChange {
    match edits.remove(&RepoPath::ROOT) {
        Some(TreeEdit::Put(root)) => TreeChange::Root(root),
        Some(TreeEdit::Delete) => TreeChange::Empty,
        None => TreeChange::Edits(edits.into_iter().collect()),
    }
}

fn datum_rows(edits: &[DatumEdit]) -> Vec<(Bytes, Option<Bytes>)> {
    let row = |edit: &DatumEdit| edit.after.as_ref().map(|(row, _)| Bytes::copy_from_slice(&row.encode()));
    let rows: BTreeMap<Bytes, Option<Bytes>> =
        edits.iter().map(|edit| (edit.key.as_bytes().clone(), row(edit))).collect();
    rows.into_iter().collect()
}

/// Why outputs can't be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Two datums write one path, or one a file where the other needs a directory.
    #[error(
        "two datums write {path}: {first} and {second}{}. Let each datum write paths of its own, for example named after its input",
        if *.is_file_and_directory { ", one a file and the other a directory" } else { "" }
    )]
    Conflict {
        /// The path.
        path: RepoPath,
        /// One datum, the first by key.
        first: DatumKey,
        /// The other.
        second: DatumKey,
        /// Whether one makes it a file and the other a directory.
        is_file_and_directory: bool,
    },
    /// What a datum is said to have written isn't what the parent holds.
    #[error(
        "{path} in the parent commit is not what its datums are recorded to have written: the store's record of the parent is damaged"
    )]
    ParentDisagrees {
        /// Where it shows.
        path: RepoPath,
    },
    /// Several datums write into a directory that lies too deep.
    #[error(
        "several datums write into {path}, more than {MAX_SHARED_DEPTH} directories deep: write less deeply nested paths"
    )]
    TooDeep {
        /// The directory.
        path: RepoPath,
    },
    /// A path that may not be.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl MergeError {
    /// The word for conditions, Events and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Conflict { .. } => Reason::OutputConflict,
            Self::ParentDisagrees { .. } => Reason::StoreCorrupt,
            Self::TooDeep { .. } | Self::Name(_) => Reason::InvalidPath,
        }
    }
}

#[cfg(test)]
mod law;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
