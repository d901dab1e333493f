//! Getting nodes: from memory, from what a session has not uploaded yet, or by one ranged GET; always checked against
//! the id that names them.
//!
//! The cache goes by address, not by id: one thing may lie in several places, each with references of its own.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use varve_format::{Hash, Location, MapKind, Totals};

use crate::error::{Error, Result, TreeFault};
use crate::map::node::{MAX_NODE_BYTES, Node, Slot};
use crate::store::Store;
use crate::types::NodeRef;

/// Nodes fetched at once by one operation.
pub(crate) const LOADS_IN_FLIGHT: usize = 16;

impl Store {
    /// The root node of a map.
    pub(crate) async fn load_root(&self, kind: &MapKind, root: &NodeRef) -> Result<Arc<Node>> {
        let node = self.load(kind, &root.id, &root.at).await?;
        if node.totals != root.totals() {
            return Err(refuse(&root.id, TreeFault::Totals));
        }
        Ok(node)
    }

    /// The root of a map whose id and place are known, as a `datums` row and its reference are: its files and bytes
    /// are read from the node itself.
    pub async fn root_at(&self, kind: &MapKind, id: Hash, at: Location) -> Result<NodeRef> {
        let Totals { files, bytes } = self.load(kind, &id, &at).await?.totals;
        Ok(NodeRef { id, files, bytes, at })
    }

    /// The child that a slot of a parent names, checked against the parent's row.
    pub(crate) async fn load_child(&self, parent: &Node, slot: &Slot) -> Result<Arc<Node>> {
        let child = self.load(&parent.kind, &slot.row.id, &slot.at).await?;
        let expected = parent.level.saturating_sub(1);
        if child.level != expected {
            return Err(refuse(&child.id, TreeFault::Level { found: child.level, expected }));
        }
        if child.last_key() != Some(&slot.row.key) {
            return Err(refuse(&child.id, TreeFault::LastKey));
        }
        if child.totals != (Totals { files: slot.row.files, bytes: slot.row.bytes }) {
            return Err(refuse(&child.id, TreeFault::Totals));
        }
        Ok(child)
    }

    /// The node with this id at this place.
    pub(crate) async fn load(&self, kind: &MapKind, id: &Hash, at: &Location) -> Result<Arc<Node>> {
        let node = match at {
            Location::Pack(range) => {
                let key = self.cache_key(range);
                let fetch = async {
                    let bytes = self.read_frames(range, MAX_NODE_BYTES).await?;
                    Node::decode(&bytes).map(Arc::new).map_err(|fault| refuse(id, fault))
                };
                self.caches()
                    .nodes
                    .try_get_with(key, fetch)
                    .await
                    .map_err(|error: Arc<Error>| error.as_ref().clone())?
            }
            Location::Embedded(bytes) => Arc::new(Node::decode(bytes).map_err(|fault| refuse(id, fault))?),
            Location::Erased => return Err(Error::Erased { id: *id }),
            Location::Outside(_) => return Err(Error::Outside { id: *id }),
            Location::Inline(_) => {
                let fault = TreeFault::Unreadable("its location is not that of a node".to_owned());
                return Err(refuse(id, fault));
            }
        };
        if node.id == *id && node.kind == *kind { Ok(node) } else { Err(refuse(id, TreeFault::Id(*id))) }
    }

    /// Loads the nodes below `root` that these sorted keys lead to, level by level down to `last`, each level's at once:
    /// afterwards they are in the cache.
    pub(crate) async fn prefetch(&self, kind: &MapKind, root: &NodeRef, keys: &[&[u8]], last: u8) -> Result<()> {
        let mut parents = vec![(self.load_root(kind, root).await?, 0..keys.len())];
        while parents.first().is_some_and(|(node, _)| node.level > last) {
            let wanted: Vec<_> =
                parents.iter().flat_map(|(parent, range)| routes(parent, keys, range.clone())).collect();
            let loads = futures::stream::iter(wanted).map(|(parent, index, range)| async move {
                Ok::<_, Error>((self.load_child(&parent, &parent.slots[index]).await?, range))
            });
            parents = loads.buffered(LOADS_IN_FLIGHT).try_collect().await?;
        }
        Ok(())
    }
}

/// Which children of a parent these of the sorted keys lead to, and which keys each gets. Keys beyond the last belong
/// to the last child.
fn routes(parent: &Arc<Node>, keys: &[&[u8]], range: Range<usize>) -> Vec<(Arc<Node>, usize, Range<usize>)> {
    let mut routes = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let index = parent.position(keys[start]).min(parent.slots.len() - 1);
        let is_last = index + 1 == parent.slots.len();
        let last_key = &parent.slots[index].row.key;
        let count =
            if is_last { range.end - start } else { keys[start..range.end].partition_point(|key| *key <= last_key) };
        routes.push((parent.clone(), index, start..start + count));
        start += count;
    }
    routes
}

pub(crate) fn refuse(id: &Hash, fault: TreeFault) -> Error {
    Error::Node { what: format!("node {id}"), fault }
}
