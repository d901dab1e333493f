//! A sorted batch of edits to a map, level by level from the leaves up.
//!
//! The cut after a key depends on nothing before the last cut. So a level is rewritten from the start of the first node
//! that an edit falls into until a cut falls on an old boundary again; everything between is kept as it is, unread.
//! What a level's rewriting replaces are the edits of the level above. The result has the shape, and so the id, that a
//! build from scratch has, at O(edits · log n).

use std::sync::Arc;

use bytes::Bytes;
use varve_format::MapKind;

use crate::error::Result;
use crate::map::build::{Builder, Level, child_ref, embedded};
use crate::map::node::{Node, Slot};
use crate::session::Session;
use crate::types::NodeRef;

/// Keys whose nodes are fetched ahead together.
const PREFETCH_KEYS: usize = 256;

/// Puts or removes one key of one level.
#[derive(Debug, Clone)]
pub(crate) struct KeyEdit {
    pub(crate) key: Bytes,
    pub(crate) put: Option<Slot>,
}

impl Session {
    /// Applies edits, sorted by key and each key once, to a map.
    pub(crate) async fn edit_sorted(&self, kind: &MapKind, root: &NodeRef, edits: Vec<KeyEdit>) -> Result<NodeRef> {
        if edits.is_empty() {
            return Ok(root.clone());
        }
        let store = self.store();
        let root_node = store.load_root(kind, root).await?;
        if root_node.level == 0 {
            return self.edit_leaf(kind, root, &root_node, &edits).await;
        }
        let mut edits = edits;
        for level in 0..=root_node.level {
            let mut pass = Pass { session: self, kind, root, root_node: &root_node, level, output: Vec::new() };
            pass.run(edits).await?;
            edits = pass.output;
            if edits.is_empty() {
                return Ok(root.clone());
            }
        }
        // The edits now replace the old root: the puts are all nodes of its level.
        let nodes: Vec<Slot> = edits.into_iter().filter_map(|edit| edit.put).collect();
        match nodes.as_slice() {
            [] => Ok(NodeRef::empty(kind)),
            [only] if only.row.id == root.id => Ok(root.clone()),
            [only] => self.collapse(kind, child_ref(only)).await,
            _ => {
                let mut builder = Builder::new(self, kind, root_node.level + 1);
                for node in nodes {
                    builder.push(node).await?;
                }
                builder.finish().await
            }
        }
    }

    /// A map of one node, or of none, is built anew: it is no larger than what is rewritten anyhow.
    async fn edit_leaf(&self, kind: &MapKind, root: &NodeRef, node: &Node, edits: &[KeyEdit]) -> Result<NodeRef> {
        if changes_nothing(node, edits) {
            return Ok(root.clone());
        }
        let mut builder = Builder::new(self, kind, 0);
        for slot in merged(node, edits) {
            builder.push(slot).await?;
        }
        builder.finish().await
    }

    /// A root with one child is replaced by that child, repeatedly; a small leaf that has become a root is embedded.
    async fn collapse(&self, kind: &MapKind, root: NodeRef) -> Result<NodeRef> {
        let mut root = root;
        loop {
            let node = self.store().load_root(kind, &root).await?;
            match node.slots.as_slice() {
                [only] if node.level > 0 => root = child_ref(only),
                slots if node.level == 0 => {
                    if let Some(at) = embedded(kind, slots) {
                        root.at = at;
                    }
                    return Ok(root);
                }
                _ => return Ok(root),
            }
        }
    }
}

/// The rewriting of one level.
struct Pass<'a> {
    session: &'a Session,
    kind: &'a MapKind,
    root: &'a NodeRef,
    root_node: &'a Arc<Node>,
    level: u8,
    /// Edits of the level above: what became of this level's nodes.
    output: Vec<KeyEdit>,
}

impl Pass<'_> {
    async fn run(&mut self, edits: Vec<KeyEdit>) -> Result<()> {
        let mut next = 0;
        let mut fetched = 0;
        while next < edits.len() {
            if next >= fetched {
                fetched = (next + PREFETCH_KEYS).min(edits.len());
                let keys: Vec<&[u8]> = edits[next..fetched].iter().map(|edit| edit.key.as_ref()).collect();
                self.session.store().prefetch(self.kind, self.root, &keys, self.level).await?;
            }
            let mut cursor = Cursor::seek(self, &edits[next].key).await?;
            let taken = edits_of(&cursor, &edits[next..]);
            if changes_nothing(&cursor.node, &edits[next..next + taken]) {
                next += taken;
                continue;
            }
            next = self.rewrite(&mut cursor, &edits, next).await?;
        }
        Ok(())
    }

    /// Rewrites from the cursor's node until a cut falls on an old boundary. Returns the first edit not yet applied.
    async fn rewrite(&mut self, cursor: &mut Cursor, edits: &[KeyEdit], mut next: usize) -> Result<usize> {
        let mut replaced: Vec<Slot> = Vec::new();
        let mut written: Vec<Slot> = Vec::new();
        let mut open = Level::new(self.level);
        loop {
            let taken = edits_of(cursor, &edits[next..]);
            replaced.extend(cursor.own_slot(self.root));
            for slot in merged(&cursor.node, &edits[next..next + taken]) {
                let is_cut = open.cutter.push(&slot.row.key);
                open.slots.push(slot);
                if is_cut {
                    let slots = std::mem::take(&mut open.slots);
                    written.push(self.session.write_child(self.kind, self.level, slots).await?);
                }
            }
            next += taken;
            if open.slots.is_empty() || !cursor.advance(self).await? {
                break;
            }
        }
        if !open.slots.is_empty() {
            let slots = std::mem::take(&mut open.slots);
            written.push(self.session.write_child(self.kind, self.level, slots).await?);
        }
        if self.level == self.root_node.level {
            self.output.extend(all_of_level(replaced, written));
        } else {
            self.output.extend(replacement(replaced, written));
        }
        Ok(next)
    }
}

/// What became of the root: a put for each node of its level, or its deletion if none is left. One that came out as the
/// old root was is among them, since no node above holds it; it keeps its place.
fn all_of_level(replaced: Vec<Slot>, written: Vec<Slot>) -> Vec<KeyEdit> {
    if written.is_empty() {
        return replaced.into_iter().map(|old| KeyEdit { key: old.row.key, put: None }).collect();
    }
    let keep = |new: Slot| replaced.iter().find(|old| old.row == new.row).cloned().unwrap_or(new);
    written.into_iter().map(keep).map(|node| KeyEdit { key: node.row.key.clone(), put: Some(node) }).collect()
}

/// The edits of the level above that replace some neighbouring nodes by others, sorted by key. Nodes that came out as
/// they were are left alone.
fn replacement(replaced: Vec<Slot>, written: Vec<Slot>) -> Vec<KeyEdit> {
    let mut edits = Vec::with_capacity(replaced.len() + written.len());
    let (mut old, mut new) = (replaced.into_iter().peekable(), written.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return edits,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.row.key.cmp(&new.row.key),
        };
        let removed = if order.is_le() { old.next() } else { None };
        let put = if order.is_ge() { new.next() } else { None };
        match (removed, put) {
            (Some(old), Some(new)) if old.row == new.row => {}
            (_, Some(new)) => edits.push(KeyEdit { key: new.row.key.clone(), put: Some(new) }),
            (Some(old), None) => edits.push(KeyEdit { key: old.row.key, put: None }),
            (None, None) => {}
        }
    }
}

/// How many of the edits fall into the cursor's node: up to its last key, or all of them in the last node.
fn edits_of(cursor: &Cursor, edits: &[KeyEdit]) -> usize {
    match cursor.node.last_key() {
        Some(last) if !cursor.is_last() => edits.partition_point(|edit| edit.key <= *last),
        _ => edits.len(),
    }
}

fn changes_nothing(node: &Node, edits: &[KeyEdit]) -> bool {
    edits.iter().all(|edit| match (node.find(&edit.key), &edit.put) {
        (None, None) => true,
        // Equal things keep the place they have.
        (Some(old), Some(new)) => old.row == new.row,
        _ => false,
    })
}

/// The node's slots with the edits applied, sorted.
fn merged<'a>(node: &'a Node, edits: &'a [KeyEdit]) -> impl Iterator<Item = Slot> + 'a {
    let (mut slots, mut edits) = (node.slots.iter().peekable(), edits.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (slots.peek(), edits.peek()) {
                (None, None) => return None,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(slot), Some(edit)) => slot.row.key.cmp(&edit.key),
            };
            let old = if order.is_le() { slots.next() } else { None };
            let edit = if order.is_ge() { edits.next() } else { None };
            match (old, edit.map(|edit| &edit.put)) {
                (Some(old), None) => return Some(old.clone()),
                (Some(old), Some(Some(new))) if old.row == new.row => return Some(old.clone()),
                (_, Some(Some(new))) => return Some(new.clone()),
                (_, Some(None)) | (None, None) => {}
            }
        }
    })
}

/// A node of one level, and the way to it from the root.
struct Cursor {
    /// Parents from the root down, each with the index of the child taken.
    path: Vec<(Arc<Node>, usize)>,
    node: Arc<Node>,
}

impl Cursor {
    /// The node of the pass's level that a key belongs to.
    async fn seek(pass: &Pass<'_>, key: &[u8]) -> Result<Self> {
        let mut cursor = Self { path: Vec::new(), node: pass.root_node.clone() };
        cursor.descend(pass, |node| node.position(key).min(node.slots.len() - 1)).await?;
        Ok(cursor)
    }

    async fn descend(&mut self, pass: &Pass<'_>, choose: impl Fn(&Node) -> usize) -> Result<()> {
        while self.node.level > pass.level {
            let index = choose(&self.node);
            let child = pass.session.store().load_child(&self.node, &self.node.slots[index]).await?;
            let parent = std::mem::replace(&mut self.node, child);
            self.path.push((parent, index));
        }
        Ok(())
    }

    /// Moves to the next node of the level; false at the end.
    async fn advance(&mut self, pass: &Pass<'_>) -> Result<bool> {
        while let Some((parent, index)) = self.path.pop() {
            let index = index + 1;
            if index < parent.slots.len() {
                let child = pass.session.store().load_child(&parent, &parent.slots[index]).await?;
                self.path.push((parent, index));
                self.node = child;
                self.descend(pass, |_| 0).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether no node of this level follows.
    fn is_last(&self) -> bool {
        self.path.iter().all(|(parent, index)| index + 1 == parent.slots.len())
    }

    /// The row that names this node in its parent; the root's own reference in the shape of one.
    fn own_slot(&self, root: &NodeRef) -> Option<Slot> {
        if let Some((parent, index)) = self.path.last() {
            return Some(parent.slots[*index].clone());
        }
        let key = self.node.last_key()?.clone();
        let row = varve_format::Row::node(key, root.id, root.totals());
        Some(Slot { row, at: root.at.clone(), refs: Vec::new(), longest: self.node.longest() })
    }
}
