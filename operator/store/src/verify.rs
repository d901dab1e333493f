//! Trees that a client uploaded: nothing of them is adopted. What differs from the parent is checked, node by node and
//! file by file, and comes back as edits for the operator's own tree: O(change), and where ids are equal the parent's
//! places are kept.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use varve_format::{Cutter, Hash, MapKind, NameError, RepoPath};

use crate::error::{Error, Result, TreeFault};
use crate::map::diff::Inspect;
use crate::map::node::Node;
use crate::store::Store;
use crate::types::{Change, ContentRef, Depth, Entry, NodeRef, TreeEdit};

/// Contents read back at once.
const CONTENTS_IN_FLIGHT: usize = 4;
/// Longest target of a symlink.
const MAX_TARGET: u64 = 4095;

/// Checks that a node is cut where the format cuts, as far as the node alone shows it.
struct Boundaries;

impl Inspect for Boundaries {
    fn node(&self, node: &Node, is_root: bool, is_last: bool, after: Option<&Bytes>) -> Result<()> {
        let refuse = |fault| Err(Error::Node { what: format!("node {}", node.id), fault });
        if is_root && node.level > 0 && node.slots.len() == 1 {
            return refuse(TreeFault::LoneChild);
        }
        if let (Some(after), Some(first)) = (after, node.slots.first())
            && first.row.key <= *after
        {
            return refuse(TreeFault::Overlap);
        }
        let mut cutter = Cutter::new(node.level);
        let last = node.slots.len().saturating_sub(1);
        for (index, slot) in node.slots.iter().enumerate() {
            let is_cut = cutter.push(&slot.row.key);
            let is_right = if index == last { is_cut || is_last } else { !is_cut };
            if !is_right {
                return refuse(TreeFault::Boundary);
            }
        }
        Ok(())
    }
}

impl Store {
    /// Checks a client's tree as far as it differs from `parent`, and returns the difference as edits: deletions and
    /// puts of files and symlinks. Every lie is [`Error::TreeRefused`], with the path and the fault.
    ///
    /// Of `client`, id and place count; its files and bytes are taken from the root node.
    pub async fn verify_tree(&self, parent: Option<&NodeRef>, client: &NodeRef) -> Result<Vec<(RepoPath, TreeEdit)>> {
        let root = self.load(&MapKind::TREE, &client.id, &client.at).await;
        let root = root.map_err(|error| refused(&RepoPath::ROOT, error))?;
        let client = &NodeRef { files: root.totals.files, bytes: root.totals.bytes, ..client.clone() };
        let inspect: Arc<dyn Inspect> = Arc::new(Boundaries);
        let mut reached = RepoPath::ROOT;
        let root = Some(client.clone());
        let mut changes = self.diff_below(RepoPath::ROOT, parent.cloned(), root, Depth::Full, Some(inspect));
        let mut edits: Vec<(RepoPath, TreeEdit)> = Vec::new();
        let mut to_read: Vec<(RepoPath, Entry)> = Vec::new();
        while let Some(change) = changes.try_next().await.map_err(|error| refused(&reached, error))? {
            reached = change.path.clone();
            let Change { path, after, .. } = change;
            match after {
                None => edits.push((path, TreeEdit::Delete)),
                Some(entry) => {
                    self.check_twin(client, &path).await?;
                    to_read.push((path.clone(), entry.clone()));
                    edits.push((path, TreeEdit::Put(entry)));
                }
            }
            if to_read.len() >= 4 * CONTENTS_IN_FLIGHT {
                self.read_back(std::mem::take(&mut to_read)).await?;
            }
        }
        self.read_back(to_read).await?;
        // Deletions first: a file that gave way to a directory of its name must not take it along.
        edits.sort_by_key(|(_, edit)| !matches!(edit, TreeEdit::Delete));
        Ok(edits)
    }

    /// A file's name may not be a directory's too, in any of the client's nodes, nor may any name above it be a file's.
    async fn check_twin(&self, client: &NodeRef, path: &RepoPath) -> Result<()> {
        let mut directory = client.clone();
        let mut names = path.names().peekable();
        while let Some(name) = names.next() {
            let (file, folder) = (name.as_bytes(), format!("{name}/"));
            let as_file =
                self.find_slot(&MapKind::TREE, &directory, file).await.map_err(|error| refused(path, error))?;
            let as_folder = self.find_slot(&MapKind::TREE, &directory, folder.as_bytes()).await;
            let as_folder = as_folder.map_err(|error| refused(path, error))?;
            match (as_file, as_folder) {
                (Some(_), Some(_)) => {
                    return Err(Error::TreeRefused { path: path.to_string(), fault: TreeFault::FileAndDirectory });
                }
                (_, Some(slot)) if names.peek().is_some() => directory = crate::map::build::child_ref(&slot),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    async fn read_back(&self, files: Vec<(RepoPath, Entry)>) -> Result<()> {
        futures::stream::iter(files)
            .map(|(path, entry)| async move {
                let checked = match &entry {
                    Entry::Symlink { target } => self.check_target(target).await,
                    Entry::File { content, .. } => self.check_content(content).await,
                    Entry::Directory(_) => Ok(()),
                };
                checked.map_err(|error| refused(&path, error))
            })
            .buffer_unordered(CONTENTS_IN_FLIGHT)
            .try_collect()
            .await
    }

    async fn check_target(&self, target: &ContentRef) -> Result<()> {
        let bytes = self.read_all(target, MAX_TARGET).await?;
        let is_right = !bytes.is_empty() && !bytes.contains(&0) && std::str::from_utf8(&bytes).is_ok();
        if is_right { Ok(()) } else { Err(Error::Node { what: "a symlink".to_owned(), fault: TreeFault::Target }) }
    }

    /// Reads a content whole. What is read is verified group by group up to the id; the hash is computed once more over
    /// all of it, since empty contents and lengths have no group.
    async fn check_content(&self, content: &ContentRef) -> Result<()> {
        let mut parts = self.read(content, 0..content.size);
        let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
        while let Some(part) = parts.try_next().await? {
            hasher.update(&part);
            size += part.len() as u64;
        }
        if size != content.size || Hash::from(hasher.finalize()) != content.id {
            return Err(Error::corrupt(format!("content {}", content.id), "its bytes do not have this hash"));
        }
        Ok(())
    }
}

/// An error of the client's making as a refusal; one of the store's own as it is.
fn refused(path: &RepoPath, error: Error) -> Error {
    let fault = match error {
        Error::Node { fault, .. } => fault,
        Error::Map(error) => TreeFault::Rows(error),
        Error::Name(NameError::TooLong { length, max, .. }) => TreeFault::PathTooLong { length, max },
        Error::Name(error) => TreeFault::Unreadable(error.to_string()),
        Error::Corrupt { .. }
        | Error::Decode { .. }
        | Error::ObjectMissing { .. }
        | Error::TooLarge { .. }
        | Error::Erased { .. }
        | Error::Outside { .. } => TreeFault::Content(error.to_string()),
        error => return error,
    };
    Error::TreeRefused { path: path.to_string(), fault }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
