//! Finding, listing and walking: in key order, with the nodes ahead fetched while those before are used.

use std::sync::Arc;

use async_stream::try_stream;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use varve_format::{Kind, MapKind, RepoPath};

use crate::error::{Error, Result};
use crate::map::load::LOADS_IN_FLIGHT;
use crate::map::node::{Node, Slot};
use crate::store::Store;
use crate::types::{Depth, Entry, NodeRef};

impl Store {
    /// What a path names; the root path names the root itself.
    pub async fn find(&self, root: &NodeRef, path: &RepoPath) -> Result<Option<Entry>> {
        let mut directory = root.clone();
        let mut names = path.names().peekable();
        while let Some(name) = names.next() {
            let key = format!("{name}/");
            if let Some(slot) = self.find_slot(&MapKind::TREE, &directory, key.as_bytes()).await? {
                directory = NodeRef { id: slot.row.id, files: slot.row.files, bytes: slot.row.bytes, at: slot.at };
                continue;
            }
            if names.peek().is_some() {
                return Ok(None);
            }
            let slot = self.find_slot(&MapKind::TREE, &directory, name.as_bytes()).await?;
            return slot.map(|slot| Entry::of_slot(&slot)).transpose();
        }
        Ok(Some(Entry::Directory(directory)))
    }

    /// The names of a directory and what they name, in key order.
    pub fn list(&self, directory: &NodeRef) -> BoxStream<'static, Result<(String, Entry)>> {
        let slots = self.scan_slots(MapKind::TREE, directory.clone(), None);
        slots.and_then(|slot| async move { Ok((name_of(&slot)?, Entry::of_slot(&slot)?)) }).boxed()
    }

    /// All files below a directory by their paths from it, in the order of paths' bytes.
    pub fn walk(&self, directory: &NodeRef) -> BoxStream<'static, Result<(RepoPath, Entry)>> {
        self.walk_to(directory, Depth::Full)
    }

    /// All files below a directory down to a depth, and the directories that stand at that depth, in key order.
    pub fn walk_to(&self, directory: &NodeRef, depth: Depth) -> BoxStream<'static, Result<(RepoPath, Entry)>> {
        if depth.is_reached() {
            let root = (RepoPath::ROOT, Entry::Directory(directory.clone()));
            return futures::stream::once(async move { Ok(root) }).boxed();
        }
        let (store, directory) = (self.clone(), directory.clone());
        try_stream! {
            // No recursion: a path may be 2,048 names deep.
            let mut open = vec![(RepoPath::ROOT, depth.below(), store.slots_ahead(directory, depth.below()))];
            while let Some((path, below, slots)) = open.last_mut() {
                let Some(slot) = slots.try_next().await? else {
                    open.pop();
                    continue;
                };
                let path = path.join(&name_of(&slot)?)?;
                match Entry::of_slot(&slot)? {
                    Entry::Directory(root) if !below.is_reached() => {
                        let below = below.below();
                        open.push((path, below, store.slots_ahead(root, below)));
                    }
                    entry => yield (path, entry),
                }
            }
        }
        .boxed()
    }

    /// The entries of a directory; roots of the directories among them that will be opened are fetched ahead.
    fn slots_ahead(&self, directory: NodeRef, below: Depth) -> BoxStream<'static, Result<Slot>> {
        let store = self.clone();
        self.scan_slots(MapKind::TREE, directory, None)
            .map(move |slot| {
                let store = store.clone();
                async move {
                    let slot = slot?;
                    if slot.row.kind == Kind::Directory && !below.is_reached() {
                        store.load(&MapKind::TREE, &slot.row.id, &slot.at).await?;
                    }
                    Ok::<Slot, Error>(slot)
                }
            })
            .buffered(LOADS_IN_FLIGHT)
            .boxed()
    }

    /// The slot of a key in a map.
    pub(crate) async fn find_slot(&self, kind: &MapKind, root: &NodeRef, key: &[u8]) -> Result<Option<Slot>> {
        let mut node = self.load_root(kind, root).await?;
        while node.level > 0 {
            let Some(slot) = node.slots.get(node.position(key)) else { return Ok(None) };
            let child = self.load_child(&node, slot).await?;
            node = child;
        }
        Ok(node.find(key).cloned())
    }

    /// The entries of a map from a key on, in key order.
    pub(crate) fn scan_slots(
        &self,
        kind: MapKind,
        root: NodeRef,
        from: Option<Bytes>,
    ) -> BoxStream<'static, Result<Slot>> {
        let store = self.clone();
        try_stream! {
            let node = store.load_root(&kind, &root).await?;
            for await slot in store.clone().scan_node(&node, from) {
                yield slot?;
            }
        }
        .boxed()
    }

    fn scan_node(self, node: &Arc<Node>, from: Option<Bytes>) -> BoxStream<'static, Result<Slot>> {
        let start = from.as_ref().map_or(0, |key| node.position(key));
        if node.level == 0 {
            let slots: Vec<Slot> = node.slots[start.min(node.slots.len())..].to_vec();
            return futures::stream::iter(slots.into_iter().map(Ok)).boxed();
        }
        let store = self.clone();
        let parent = node.clone();
        let children = futures::stream::iter(start..node.slots.len())
            .map(move |index| {
                let (store, parent) = (store.clone(), parent.clone());
                async move { store.load_child(&parent, &parent.slots[index]).await }
            })
            .buffered(LOADS_IN_FLIGHT);
        try_stream! {
            // Only the first child may hold keys before `from`.
            let mut from = from;
            for await child in children {
                for await slot in self.clone().scan_node(&child?, from.take()) {
                    yield slot?;
                }
            }
        }
        .boxed()
    }
}

/// The name that a tree's slot stands for, without a directory's `/`.
pub(crate) fn name_of(slot: &Slot) -> Result<String> {
    let key = slot.row.key.strip_suffix(b"/").unwrap_or(&slot.row.key);
    String::from_utf8(key.to_vec()).map_err(|_| Error::corrupt("a directory", "a name is not UTF-8"))
}
