//! What differs between two trees, in key order, reading only nodes whose ids differ.
//!
//! Both sides are lists of things still to look at: nodes not yet opened, and entries. Where both fronts are the same
//! node, both are dropped unread: everything before them is already compared, so they cover the same keys. A node is
//! opened only if an entry of the other side may fall into it. Nodes are fetched a window ahead, those that the other
//! side does not have.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use async_stream::try_stream;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use varve_format::{Hash, Kind, MapKind, RepoPath};

use crate::error::{Error, Result};
use crate::map::load::LOADS_IN_FLIGHT;
use crate::map::node::{Node, Slot};
use crate::map::read::name_of;
use crate::store::Store;
use crate::types::{Change, Depth, Entry, NodeRef};

/// Nodes of each side looked ahead at, of which those that differ are fetched at once.
const WINDOW: usize = 32;

/// Judges the nodes that a side opens; what a client uploaded is checked this way as far as it differs.
pub(crate) trait Inspect: Send + Sync + 'static {
    /// Called for each node opened on the right side; `is_last` if no node of its level follows in its map.
    fn node(&self, node: &Node, is_root: bool, is_last: bool, after: Option<&Bytes>) -> Result<()>;
}

/// One entry that differs.
#[derive(Debug, Clone)]
pub(crate) struct SlotChange {
    pub(crate) before: Option<Slot>,
    pub(crate) after: Option<Slot>,
}

impl SlotChange {
    fn key(&self) -> &Bytes {
        match (&self.before, &self.after) {
            (Some(slot), _) | (None, Some(slot)) => &slot.row.key,
            (None, None) => unreachable!("a change has a side"),
        }
    }
}

enum Item {
    Node { parent: Arc<Node>, index: usize, is_last: bool, after: Option<Bytes>, is_fetched: bool },
    Slot(Slot),
}

/// One side: its front is what comes next in key order.
struct Side {
    store: Store,
    items: VecDeque<Item>,
    inspect: Option<Arc<dyn Inspect>>,
}

impl Side {
    async fn open(store: &Store, root: Option<&NodeRef>, inspect: Option<Arc<dyn Inspect>>) -> Result<Self> {
        let mut side = Self { store: store.clone(), items: VecDeque::new(), inspect };
        if let Some(root) = root {
            let node = store.load_root(&MapKind::TREE, root).await?;
            side.spread(&node, true, true, None)?;
        }
        Ok(side)
    }

    /// Puts what a node holds at the front.
    fn spread(&mut self, node: &Arc<Node>, is_root: bool, is_last: bool, after: Option<&Bytes>) -> Result<()> {
        if let Some(inspect) = &self.inspect {
            inspect.node(node, is_root, is_last, after)?;
        }
        for index in (0..node.slots.len()).rev() {
            let item = if node.level == 0 {
                Item::Slot(node.slots[index].clone())
            } else {
                let before = index.checked_sub(1).map(|before| node.slots[before].row.key.clone());
                Item::Node {
                    parent: node.clone(),
                    index,
                    is_last: is_last && index + 1 == node.slots.len(),
                    after: before.or_else(|| after.cloned()),
                    is_fetched: false,
                }
            };
            self.items.push_front(item);
        }
        Ok(())
    }

    /// Opens the node at the front.
    async fn open_front(&mut self) -> Result<()> {
        let Some(Item::Node { parent, index, is_last, after, .. }) = self.items.pop_front() else { return Ok(()) };
        let node = self.store.load_child(&parent, &parent.slots[index]).await?;
        self.spread(&node, false, is_last, after.as_ref())
    }

    fn front_is_unfetched(&self) -> bool {
        matches!(self.items.front(), Some(Item::Node { is_fetched: false, .. }))
    }

    fn ids_ahead(&self) -> HashSet<Hash> {
        let ahead = self.items.iter().take(4 * WINDOW);
        ahead
            .filter_map(|item| {
                if let Item::Node { parent, index, .. } = item { Some(parent.slots[*index].row.id) } else { None }
            })
            .collect()
    }

    /// The nodes of the window that the other side does not show; they count as fetched from now on.
    fn take_unfetched(&mut self, others: &HashSet<Hash>) -> Vec<(Arc<Node>, usize)> {
        let mut wanted = Vec::new();
        for item in self.items.iter_mut().take(WINDOW) {
            if let Item::Node { parent, index, is_fetched, .. } = item
                && !*is_fetched
            {
                *is_fetched = true;
                if !others.contains(&parent.slots[*index].row.id) {
                    wanted.push((parent.clone(), *index));
                }
            }
        }
        wanted
    }
}

enum Step {
    Done,
    Skip,
    OpenLeft,
    OpenRight,
    OpenBoth,
    Left,
    Right,
    Both,
}

fn step(left: Option<&Item>, right: Option<&Item>) -> Step {
    let may_hold = |after: &Option<Bytes>, key: &Bytes| after.as_ref().is_none_or(|after| key > after);
    match (left, right) {
        (None, None) => Step::Done,
        (Some(Item::Node { .. }), None) => Step::OpenLeft,
        (None, Some(Item::Node { .. })) => Step::OpenRight,
        (Some(Item::Slot(_)), None) => Step::Left,
        (None, Some(Item::Slot(_))) => Step::Right,
        (Some(Item::Node { parent: a, index: i, .. }), Some(Item::Node { parent: b, index: j, .. })) => {
            if a.slots[*i].row.id == b.slots[*j].row.id {
                return Step::Skip;
            }
            match a.level.cmp(&b.level) {
                Ordering::Greater => Step::OpenLeft,
                Ordering::Less => Step::OpenRight,
                Ordering::Equal => Step::OpenBoth,
            }
        }
        (Some(Item::Slot(slot)), Some(Item::Node { after, .. })) => {
            if may_hold(after, &slot.row.key) {
                Step::OpenRight
            } else {
                Step::Left
            }
        }
        (Some(Item::Node { after, .. }), Some(Item::Slot(slot))) => {
            if may_hold(after, &slot.row.key) {
                Step::OpenLeft
            } else {
                Step::Right
            }
        }
        (Some(Item::Slot(a)), Some(Item::Slot(b))) => match a.row.key.cmp(&b.row.key) {
            Ordering::Less => Step::Left,
            Ordering::Greater => Step::Right,
            Ordering::Equal if a.row == b.row => Step::Skip,
            Ordering::Equal => Step::Both,
        },
    }
}

fn take_slot(side: &mut Side) -> Option<Slot> {
    match side.items.pop_front() {
        Some(Item::Slot(slot)) => Some(slot),
        _ => None,
    }
}

impl Store {
    /// The entries that differ between two directories.
    fn diff_slots(
        &self,
        before: Option<NodeRef>,
        after: Option<NodeRef>,
        inspect: Option<Arc<dyn Inspect>>,
    ) -> BoxStream<'static, Result<SlotChange>> {
        let store = self.clone();
        try_stream! {
            if let (Some(before), Some(after)) = (&before, &after) && before.id == after.id {
                return;
            }
            let (left, right) = futures::try_join!(
                Side::open(&store, before.as_ref(), None),
                Side::open(&store, after.as_ref(), inspect),
            )?;
            let (mut left, mut right) = (left, right);
            loop {
                if left.front_is_unfetched() || right.front_is_unfetched() {
                    fetch_ahead(&store, &mut left, &mut right).await?;
                }
                match step(left.items.front(), right.items.front()) {
                    Step::Done => break,
                    Step::Skip => {
                        left.items.pop_front();
                        right.items.pop_front();
                    }
                    Step::OpenLeft => left.open_front().await?,
                    Step::OpenRight => right.open_front().await?,
                    Step::OpenBoth => {
                        left.open_front().await?;
                        right.open_front().await?;
                    }
                    Step::Left => yield SlotChange { before: take_slot(&mut left), after: None },
                    Step::Right => yield SlotChange { before: None, after: take_slot(&mut right) },
                    Step::Both => {
                        yield SlotChange { before: take_slot(&mut left), after: take_slot(&mut right) };
                    }
                }
            }
        }
        .boxed()
    }

    /// What differs between two trees, in key order, down to a depth: there a directory that differs is one change. A
    /// tree that is not given is empty. Two files of equal content, kind and path do not differ, wherever they lie.
    pub fn diff(
        &self,
        before: Option<&NodeRef>,
        after: Option<&NodeRef>,
        depth: Depth,
    ) -> BoxStream<'static, Result<Change>> {
        if depth.is_reached() {
            let is_equal = before.map(|root| root.id) == after.map(|root| root.id);
            let side = |root: Option<&NodeRef>| root.cloned().map(Entry::Directory);
            let change = Change { path: RepoPath::ROOT, before: side(before), after: side(after) };
            return futures::stream::iter((!is_equal).then_some(Ok(change))).boxed();
        }
        self.diff_below(RepoPath::ROOT, before.cloned(), after.cloned(), depth, None)
    }

    pub(crate) fn diff_below(
        &self,
        path: RepoPath,
        before: Option<NodeRef>,
        after: Option<NodeRef>,
        depth: Depth,
        inspect: Option<Arc<dyn Inspect>>,
    ) -> BoxStream<'static, Result<Change>> {
        let store = self.clone();
        try_stream! {
            let below = depth.below();
            // No recursion: a path may be 2,048 names deep.
            let mut open = vec![(path, below, store.changes_ahead(before, after, below, inspect.clone()))];
            while let Some((path, below, changes)) = open.last_mut() {
                let Some(change) = changes.try_next().await? else {
                    open.pop();
                    continue;
                };
                let name = change.before.as_ref().or(change.after.as_ref()).map(name_of).transpose()?.unwrap_or_default();
                let path = path.join(&name)?;
                let is_directory = change.key().ends_with(b"/");
                let before = change.before.as_ref().map(Entry::of_slot).transpose()?;
                let after = change.after.as_ref().map(Entry::of_slot).transpose()?;
                if is_directory && !below.is_reached() {
                    let below = below.below();
                    let (before, after) = (before.and_then(directory), after.and_then(directory));
                    open.push((path, below, store.changes_ahead(before, after, below, inspect.clone())));
                } else {
                    yield Change { path, before, after };
                }
            }
        }
        .boxed()
    }

    /// The entries that differ in one directory; roots of directories that will be opened are fetched ahead.
    fn changes_ahead(
        &self,
        before: Option<NodeRef>,
        after: Option<NodeRef>,
        below: Depth,
        inspect: Option<Arc<dyn Inspect>>,
    ) -> BoxStream<'static, Result<SlotChange>> {
        let store = self.clone();
        self.diff_slots(before, after, inspect)
            .map(move |change| {
                let store = store.clone();
                async move {
                    let change = change?;
                    if !below.is_reached() {
                        fetch_directories(&store, &change).await?;
                    }
                    Ok::<SlotChange, Error>(change)
                }
            })
            .buffered(LOADS_IN_FLIGHT)
            .boxed()
    }
}

fn directory(entry: Entry) -> Option<NodeRef> {
    if let Entry::Directory(root) = entry { Some(root) } else { None }
}

/// Fetches the nodes ahead that only one side has.
async fn fetch_ahead(store: &Store, left: &mut Side, right: &mut Side) -> Result<()> {
    let (ids_left, ids_right) = (left.ids_ahead(), right.ids_ahead());
    let mut wanted = left.take_unfetched(&ids_right);
    wanted.extend(right.take_unfetched(&ids_left));
    futures::stream::iter(wanted)
        .map(|(parent, index)| async move { store.load_child(&parent, &parent.slots[index]).await.map(|_| ()) })
        .buffer_unordered(LOADS_IN_FLIGHT)
        .try_collect::<()>()
        .await
}

/// Fetches the roots of directories that differ, before their turn comes.
async fn fetch_directories(store: &Store, change: &SlotChange) -> Result<()> {
    for slot in [&change.before, &change.after].into_iter().flatten() {
        if slot.row.kind == Kind::Directory {
            store.load(&MapKind::TREE, &slot.row.id, &slot.at).await?;
        }
    }
    Ok(())
}
