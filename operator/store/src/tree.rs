//! Editing trees: paths to nested directories' maps.
//!
//! The edits of a batch are first folded, in their order, into what is wanted of each directory that is touched; then
//! each gets one sorted batch, deepest first, those of one depth at once. So a batch means the same as its edits one by
//! one, and costs one rewriting per directory touched. No recursion: a path may be 2,048 names deep.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use varve_format::name::MAX_PATH;
use varve_format::{MapKind, RepoPath};

use crate::error::{Error, Result};
use crate::map::build::child_ref;
use crate::map::edit::KeyEdit;
use crate::map::node::Slot;
use crate::session::Session;
use crate::types::{Entry, NodeRef, TreeEdit};

/// Directories edited at once.
const DIRECTORIES_IN_FLIGHT: usize = 8;

/// What is wanted of a name.
#[derive(Debug, Clone)]
enum Wanted {
    /// A file or a symlink, in place of whatever is there.
    File(Entry),
    /// Nothing.
    Nothing,
    /// The directory with this index.
    Directory(usize),
}

/// What a directory's edits begin with.
#[derive(Debug, Clone)]
enum Base {
    /// The directory that the tree has there, if it has one.
    Old,
    /// No files.
    Empty,
    /// A directory from elsewhere.
    Graft(NodeRef),
}

/// What is wanted of a directory.
#[derive(Debug, Clone)]
struct Directory {
    base: Base,
    /// Whether something was put below: a file of this name is replaced then, even if nothing stays.
    replaces_file: bool,
    names: BTreeMap<String, Wanted>,
}

impl Directory {
    fn new(base: Base) -> Self {
        Self { base, replaces_file: false, names: BTreeMap::new() }
    }
}

/// What is wanted of all directories that are touched; the first is the root. One that a later edit replaced stays in
/// the list, and nothing leads to it.
#[derive(Debug)]
struct Batch(Vec<Directory>);

impl Batch {
    fn add(&mut self, directory: Directory) -> usize {
        self.0.push(directory);
        self.0.len() - 1
    }

    /// Folds in one edit, at a path of at least one name.
    fn fold(&mut self, path: &RepoPath, edit: TreeEdit) {
        let mut names: Vec<&str> = path.names().collect();
        let Some(last) = names.pop() else { return };
        let is_put = matches!(edit, TreeEdit::Put(_)) && !is_hollow(&edit);
        let mut current = 0;
        for name in names {
            let next = match self.0[current].names.get(name) {
                Some(Wanted::Directory(next)) => *next,
                // A file, or nothing, from here on: there is nothing below to delete.
                Some(_) if !is_put => return,
                Some(_) => self.add(Directory::new(Base::Empty)),
                None => self.add(Directory::new(Base::Old)),
            };
            self.0[current].names.insert(name.to_owned(), Wanted::Directory(next));
            self.0[next].replaces_file |= is_put;
            current = next;
        }
        let wanted = match edit {
            TreeEdit::Put(Entry::Directory(root)) if is_put => {
                Wanted::Directory(self.add(Directory { replaces_file: true, ..Directory::new(Base::Graft(root)) }))
            }
            TreeEdit::Put(file) if is_put => Wanted::File(file),
            TreeEdit::Put(_) | TreeEdit::Delete => Wanted::Nothing,
        };
        self.0[current].names.insert(last.to_owned(), wanted);
    }
}

/// Whether this puts a directory without files: the same as deleting.
fn is_hollow(edit: &TreeEdit) -> bool {
    matches!(edit, TreeEdit::Put(Entry::Directory(root)) if root.files == 0)
}

/// A directory about to be edited: its base is known.
struct Work {
    path: RepoPath,
    /// Its parent in the depth above.
    parent: usize,
    base: NodeRef,
    /// Whether the parent has a row for a directory here that must go if nothing stays.
    replaces_directory: bool,
    replaces_file: bool,
    names: BTreeMap<String, Wanted>,
    edits: Vec<KeyEdit>,
}

impl Session {
    /// Applies edits to a tree, in their order: of one path the last wins, a file replaces a directory of its name and
    /// the other way round, a directory in which no file is left vanishes. Returns the tree's new root.
    pub async fn edit_tree(&self, root: &NodeRef, edits: Vec<(RepoPath, TreeEdit)>) -> Result<NodeRef> {
        let mut batch = Batch(vec![Directory::new(Base::Graft(root.clone()))]);
        for (path, edit) in edits {
            match edit {
                edit if !path.is_root() => batch.fold(&path, edit),
                TreeEdit::Delete => batch = Batch(vec![Directory::new(Base::Empty)]),
                TreeEdit::Put(Entry::Directory(root)) => batch = Batch(vec![Directory::new(Base::Graft(root))]),
                TreeEdit::Put(_) => {
                    let why = "the root of a tree is a directory, a file needs a name";
                    return Err(Error::Edit { path: path.to_string(), why });
                }
            }
        }
        let root = batch.0[0].clone();
        let base = match root.base {
            Base::Graft(root) => root,
            Base::Old | Base::Empty => NodeRef::empty(&MapKind::TREE),
        };
        let (replaces_directory, replaces_file) = (false, false);
        let root = Work {
            path: RepoPath::ROOT,
            parent: 0,
            base,
            replaces_directory,
            replaces_file,
            names: root.names,
            edits: Vec::new(),
        };
        let depths = self.find_bases(&batch, root).await?;
        self.apply(depths).await
    }

    /// From the root down: what each directory's edits begin with.
    async fn find_bases(&self, batch: &Batch, root: Work) -> Result<Vec<Vec<Work>>> {
        let mut depths = vec![vec![root]];
        loop {
            let above = depths.last().map_or(&[][..], Vec::as_slice);
            let children = above.iter().enumerate().flat_map(|(parent, work)| {
                work.names.iter().filter_map(move |(name, wanted)| match wanted {
                    Wanted::Directory(index) => Some((parent, work, name, *index)),
                    Wanted::File(_) | Wanted::Nothing => None,
                })
            });
            // The futures are made before the stream is: a stream's closure over borrows is not provably `Send`.
            let finds: Vec<_> = children
                .map(|(parent, above, name, index)| self.find_base(parent, above, name, &batch.0[index]))
                .collect();
            let below: Vec<Work> = futures::stream::iter(finds).buffered(DIRECTORIES_IN_FLIGHT).try_collect().await?;
            if below.is_empty() {
                return Ok(depths);
            }
            depths.push(below);
        }
    }

    async fn find_base(&self, parent: usize, above: &Work, name: &str, wanted: &Directory) -> Result<Work> {
        let path = above.path.join(name)?;
        let (base, replaces_directory) = match &wanted.base {
            Base::Old => {
                let key = format!("{name}/");
                let old = self.store().find_slot(&MapKind::TREE, &above.base, key.as_bytes()).await?;
                let is_there = old.is_some();
                (old.map_or_else(|| NodeRef::empty(&MapKind::TREE), |slot| child_ref(&slot)), is_there)
            }
            Base::Empty => (NodeRef::empty(&MapKind::TREE), true),
            Base::Graft(root) => {
                self.check_graft(&path, root).await?;
                (root.clone(), true)
            }
        };
        let Directory { replaces_file, names, .. } = wanted.clone();
        Ok(Work { path, parent, base, replaces_directory, replaces_file, names, edits: Vec::new() })
    }

    /// From the deepest directories up: what becomes of each is an edit of its parent.
    async fn apply(&self, mut depths: Vec<Vec<Work>>) -> Result<NodeRef> {
        while let Some(works) = depths.pop() {
            let done: Vec<(usize, NodeRef, Vec<KeyEdit>)> = futures::stream::iter(works)
                .map(|work| self.edit_directory(work))
                .buffered(DIRECTORIES_IN_FLIGHT)
                .try_collect()
                .await?;
            let Some(above) = depths.last_mut() else {
                return done.into_iter().next().map(|(_, root, _)| root).ok_or(Error::SessionEnded);
            };
            for (parent, _, edits) in done {
                above[parent].edits.extend(edits);
            }
        }
        Err(Error::SessionEnded)
    }

    /// Edits one directory; returns its parent, its new root, and the edits that its parent gets.
    async fn edit_directory(&self, work: Work) -> Result<(usize, NodeRef, Vec<KeyEdit>)> {
        let mut edits = work.edits;
        for (name, wanted) in work.names {
            let (file_key, directory_key) = keys_of(&name);
            match wanted {
                Wanted::Directory(_) => {}
                Wanted::Nothing => {
                    edits.push(KeyEdit { key: file_key, put: None });
                    edits.push(KeyEdit { key: directory_key, put: None });
                }
                Wanted::File(entry) => {
                    work.path.join(&name)?;
                    let slot = Slot { row: entry.row(&name), at: entry.at().clone(), refs: Vec::new(), longest: 0 };
                    edits.push(KeyEdit { key: file_key, put: Some(slot) });
                    edits.push(KeyEdit { key: directory_key, put: None });
                }
            }
        }
        edits.sort_by(|a, b| a.key.cmp(&b.key));
        let root = self.edit_sorted(&MapKind::TREE, &work.base, edits).await?;
        let mut above = Vec::new();
        if let Some(name) = work.path.file_name() {
            let (file_key, directory_key) = keys_of(name);
            if work.replaces_file {
                above.push(KeyEdit { key: file_key, put: None });
            }
            if root.files > 0 {
                let longest = self.longest_below(&root).await?;
                let row = Entry::Directory(root.clone()).row(name);
                let slot = Slot { row, at: root.at.clone(), refs: Vec::new(), longest };
                above.push(KeyEdit { key: directory_key, put: Some(slot) });
            } else if work.replaces_directory {
                above.push(KeyEdit { key: directory_key, put: None });
            }
        }
        Ok((work.parent, root, above))
    }

    /// Whether the longest path of a directory is within the limit at its new place: known from its root node alone.
    async fn check_graft(&self, path: &RepoPath, root: &NodeRef) -> Result<()> {
        let longest = usize::from(self.longest_below(root).await?);
        let length = path.as_str().len() + 1 + longest;
        if length > MAX_PATH {
            return Err(Error::PathTooLong { path: path.to_string(), length, max: MAX_PATH });
        }
        Ok(())
    }

    pub(crate) async fn longest_below(&self, root: &NodeRef) -> Result<u16> {
        Ok(self.store().load_root(&MapKind::TREE, root).await?.longest())
    }
}

/// The keys that a name has as a file and as a directory.
fn keys_of(name: &str) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(name.as_bytes()), Bytes::from(format!("{name}/")))
}
