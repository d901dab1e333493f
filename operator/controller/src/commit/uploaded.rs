//! `spec.tree`: a tree that a client has written to the store.
//!
//! The client's nodes are never adopted. They are compared by id with the parent's, what differs is
//! checked to the last byte, and goes into a tree of our own as edits.

use varve_api::{commit::UploadedTree, conditions::Reason};
use varve_format::{
    Hash, Location, MapKind,
    location::{Area, Form, PackLocation},
};
use varve_store::{NodeRef, Session, Store};

use super::changes::refused;
use crate::error::{Error, Result};

/// The tree that stands after the upload, on top of `before`.
pub(super) async fn adopt(store: &Store, session: &Session, before: &NodeRef, tree: &UploadedTree) -> Result<NodeRef> {
    let wrong = |field: &str, must: &str| {
        Error::stalled(Reason::TreeInvalid, format!("tree.{field} must be {must}: kubectl varve put writes it"))
    };
    let id: Hash = tree.id.parse().map_err(|_| wrong("id", "64 hexadecimal digits"))?;
    let pack = tree.root.pack.parse().map_err(|_| wrong("root.pack", "the id of a pack"))?;
    // A node is one frame: both are capped at 1 MiB.
    let at = Location::Pack(PackLocation {
        area: Area::Meta,
        pack,
        offset: tree.root.offset,
        frames: 1,
        stored: tree.root.length,
        skip: 0,
        form: Form::Plain,
    });
    let root = store.root_at(&MapKind::TREE, id, at).await.map_err(Error::store("read the uploaded tree's root"))?;
    let edits = store.verify_tree(Some(before), &root).await.map_err(Error::store("check the uploaded tree"))?;
    let made = session.edit_tree(before, edits).await.map_err(refused)?;
    if made.id != id {
        return Err(Error::stalled(
            Reason::TreeInvalid,
            format!("tree: its files make tree {}, not {id}: upload it again", made.id),
        ));
    }
    Ok(made)
}
