//! Building a map from sorted entries, and writing its nodes.
//!
//! Memory is one open node per level. A node is written when it is cut; the root is known only at the end.

use bytes::Bytes;
use varve_format::{Cutter, Location, MapError, MapKind, Row};

use crate::error::{Error, Result, TreeFault};
use crate::map::node::{MAX_NODE_BYTES, Node, Slot, in_place_bytes};
use crate::session::Session;
use crate::types::NodeRef;

/// A directory of one node is kept in its parent's row up to this size: a folder of a few small files costs no read of
/// its own.
const EMBED_BYTES: usize = 1 << 10;
/// A node's stored size before what stands inside it is moved out, largest first.
const IN_PLACE_LIMIT: usize = 64 << 10;
/// The highest level.
const MAX_LEVEL: u8 = 15;

/// Builds the nodes of one level and all above it.
pub(crate) struct Builder<'a> {
    session: &'a Session,
    kind: &'a MapKind,
    /// The level that entries are given for; those above follow.
    base: u8,
    levels: Vec<Level>,
}

/// The open node of a level.
pub(crate) struct Level {
    pub(crate) cutter: Cutter,
    pub(crate) slots: Vec<Slot>,
    /// Nodes of this level written so far.
    written: u64,
}

impl Level {
    pub(crate) fn new(level: u8) -> Self {
        Self { cutter: Cutter::new(level), slots: Vec::new(), written: 0 }
    }
}

impl<'a> Builder<'a> {
    /// A builder that takes entries of this level: 0 for a map's own.
    pub(crate) fn new(session: &'a Session, kind: &'a MapKind, base: u8) -> Self {
        Self { session, kind, base, levels: vec![Level::new(base)] }
    }

    /// Takes the next entry; keys must ascend, which is checked when the node is written.
    pub(crate) async fn push(&mut self, slot: Slot) -> Result<()> {
        let mut slot = slot;
        for index in 0.. {
            if index == self.levels.len() {
                let level = self.level(index)?;
                self.levels.push(Level::new(level));
            }
            let level = &mut self.levels[index];
            let is_cut = level.cutter.push(&slot.row.key);
            level.slots.push(slot);
            if !is_cut {
                break;
            }
            level.written += 1;
            let slots = std::mem::take(&mut level.slots);
            slot = self.session.write_child(self.kind, self.level(index)?, slots).await?;
        }
        Ok(())
    }

    /// Ends the last node of each level and returns the root.
    pub(crate) async fn finish(mut self) -> Result<NodeRef> {
        for index in 0.. {
            let number = self.level(index)?;
            let level = &mut self.levels[index];
            let slots = std::mem::take(&mut level.slots);
            if level.written == 0 {
                // The only node of its level: the root, unless it has a single child, which is the root then.
                return match slots.as_slice() {
                    [only] if number > 0 => Ok(child_ref(only)),
                    _ => self.session.write_root(self.kind, number, slots).await,
                };
            }
            if !slots.is_empty() {
                let child = self.session.write_child(self.kind, number, slots).await?;
                self.levels[index + 1].push_last(child);
            }
        }
        unreachable!("the highest level has no written node, and ends the loop");
    }

    fn level(&self, index: usize) -> Result<u8> {
        let level = u8::try_from(index + usize::from(self.base)).unwrap_or(u8::MAX);
        if level > MAX_LEVEL { Err(MapError::MapTooDeep { level }.into()) } else { Ok(level) }
    }
}

impl Level {
    /// Takes the last entry of the level: whether it would be cut after no longer matters.
    fn push_last(&mut self, slot: Slot) {
        self.slots.push(slot);
    }
}

/// The place of a directory's root that is small enough to stand in its reference.
pub(crate) fn embedded(kind: &MapKind, slots: &[Slot]) -> Option<Location> {
    if !kind.is_tree() && !slots.is_empty() || slots.len() * 40 > EMBED_BYTES {
        return None;
    }
    let encoded = Node::encode(kind, 0, slots);
    (encoded.len() <= EMBED_BYTES).then_some(Location::Embedded(encoded))
}

fn node_to_write(kind: &MapKind, level: u8, slots: Vec<Slot>) -> Result<Node> {
    Node::of(kind.clone(), level, slots).map_err(|fault| match fault {
        TreeFault::Rows(error) => Error::Map(error),
        fault => Error::Node { what: "a node to write".to_owned(), fault },
    })
}

/// A row counts its locations in 16 bits.
fn check_references(slots: &[Slot]) -> Result<()> {
    match slots.iter().map(|slot| slot.refs.len() as u64).max() {
        Some(size) if size >= u64::from(u16::MAX) => {
            Err(Error::TooLarge { what: "a value's list of references".to_owned(), size, max: u64::from(u16::MAX) - 1 })
        }
        _ => Ok(()),
    }
}

/// The root that a lone child is.
pub(crate) fn child_ref(slot: &Slot) -> NodeRef {
    NodeRef { id: slot.row.id, files: slot.row.files, bytes: slot.row.bytes, at: slot.at.clone() }
}

impl Session {
    /// Writes a node and returns the row that its parent gets.
    pub(crate) async fn write_child(&self, kind: &MapKind, level: u8, slots: Vec<Slot>) -> Result<Slot> {
        let (node, at) = self.write_node(kind, level, slots).await?;
        let last = node.last_key().cloned().unwrap_or_default();
        let longest = node.longest();
        Ok(Slot { row: Row::node(last, node.id, node.totals), at, refs: Vec::new(), longest })
    }

    /// Writes the root of a map. The small root of a directory is not written: its reference holds it.
    pub(crate) async fn write_root(&self, kind: &MapKind, level: u8, slots: Vec<Slot>) -> Result<NodeRef> {
        if level == 0
            && let Some(at) = embedded(kind, &slots)
        {
            let node = node_to_write(kind, level, slots)?;
            return Ok(NodeRef { id: node.id, files: node.totals.files, bytes: node.totals.bytes, at });
        }
        let (node, at) = self.write_node(kind, level, slots).await?;
        Ok(NodeRef { id: node.id, files: node.totals.files, bytes: node.totals.bytes, at })
    }

    /// Gives the root of a tree a place in a pack, whatever its size: what a client names in a Commit must have one.
    pub async fn place_root(&self, root: &NodeRef) -> Result<NodeRef> {
        if matches!(root.at, Location::Pack(_)) {
            return Ok(root.clone());
        }
        let node = self.store().load_root(&MapKind::TREE, root).await?;
        let at = self.append_meta(Node::encode(&node.kind, node.level, &node.slots)).await?;
        Ok(NodeRef { at: Location::Pack(at), ..root.clone() })
    }

    async fn write_node(&self, kind: &MapKind, level: u8, mut slots: Vec<Slot>) -> Result<(Node, Location)> {
        check_references(&slots)?;
        let mut encoded = Node::encode(kind, level, &slots);
        if encoded.len() > IN_PLACE_LIMIT {
            self.move_out(&mut slots, encoded.len() - IN_PLACE_LIMIT).await?;
            encoded = Node::encode(kind, level, &slots);
        }
        if encoded.len() as u64 > MAX_NODE_BYTES {
            // Nobody could read it. Keys alone never come so far; what values refer to beside them may.
            let (what, size) = ("a node to write, with all that its values refer to,".to_owned(), encoded.len() as u64);
            return Err(Error::TooLarge { what, size, max: MAX_NODE_BYTES });
        }
        let node = node_to_write(kind, level, slots)?;
        let range = self.append_meta(encoded).await?;
        Ok((node, Location::Pack(range)))
    }

    /// Moves at least `excess` bytes of what stands in a node to packs, the largest pieces first.
    async fn move_out(&self, slots: &mut [Slot], excess: usize) -> Result<()> {
        let mut pieces: Vec<usize> = (0..slots.len()).filter(|&index| in_place_bytes(&slots[index].at) > 0).collect();
        pieces.sort_by_key(|&index| std::cmp::Reverse(in_place_bytes(&slots[index].at)));
        let mut moved = 0;
        for index in pieces {
            if moved >= excess {
                break;
            }
            let slot = &mut slots[index];
            let bytes: Bytes = match &slot.at {
                Location::Inline(bytes) | Location::Embedded(bytes) => bytes.clone(),
                _ => continue,
            };
            moved += bytes.len();
            let is_content = slot.row.kind.is_file();
            let range = if is_content { self.append_data(bytes).await? } else { self.append_meta(bytes).await? };
            slot.at = Location::Pack(range);
        }
        Ok(())
    }
}
