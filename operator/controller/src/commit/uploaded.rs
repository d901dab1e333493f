//! `spec.tree`: a tree that a client has written to the store.
//!
//! The client's nodes are never adopted. They are compared by id with the parent's, what differs is
//! checked to the last byte, and goes into a tree of our own as edits.

use varve_api::{commit::UploadedTree, conditions::Reason};
use varve_format::{
    Hash, Location,
    location::{Area, Form, PackLocation},
};
use varve_store::{NodeRef, Session, Store};

use super::changes::refused;
use crate::error::{Error, Result};

/// The tree that stands after the upload, on top of `before`.
pub(super) async fn adopt(store: &Store, session: &Session, before: &NodeRef, tree: &UploadedTree) -> Result<NodeRef> {
    let wrong = |field: &str, must: &str| {
        Error::stalled(
            Reason::TreeInvalid,
            format!("tree.{field} must be {must}, as the client that uploaded the tree has it"),
        )
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
    let root = NodeRef { id, files: 0, bytes: 0, at }; // how many there are, the root itself says
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{memory::InMemory, path::Path};
    use varve_api::meta::FrameRef;
    use varve_format::{MapKind, RepoPath};
    use varve_store::{Entry, TreeEdit};

    use super::*;

    async fn uploaded(store: &Store, files: &[(&str, &str)]) -> NodeRef {
        let session = store.session();
        let mut edits = Vec::new();
        // Company that all trees share: a small root would be embedded, and in no pack.
        let company: Vec<_> = (0..64).map(|index| format!("company-{index}")).collect();
        let all = files.iter().copied().chain(company.iter().map(|name| (name.as_str(), name.as_str())));
        for (path, text) in all {
            let content = session.write_bytes(text.as_bytes().to_vec()).await.unwrap();
            edits.push((RepoPath::parse(path).unwrap(), TreeEdit::Put(Entry::file(content))));
        }
        let root = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await.unwrap();
        session.flush().await.unwrap();
        root
    }

    fn field(root: &NodeRef) -> UploadedTree {
        let Location::Pack(at) = &root.at else { panic!("a client's root lies in a pack") };
        UploadedTree {
            id: root.id.to_string(),
            session: String::new(),
            root: FrameRef { pack: at.pack.to_string(), offset: at.offset, length: at.stored },
        }
    }

    #[tokio::test]
    async fn an_uploaded_tree_is_taken_over_on_top_of_what_was_there() {
        let store = Store::open(Arc::new(InMemory::new()), Path::default()).await.unwrap();
        let before = uploaded(&store, &[("a", "1"), ("gone", "2")]).await;
        let client = uploaded(&store, &[("a", "1"), ("b/c", "3")]).await;
        let session = store.session();
        let made = adopt(&store, &session, &before, &field(&client)).await.unwrap();
        assert_eq!((made.id, made.files), (client.id, 66));
    }

    #[tokio::test]
    async fn a_tree_that_is_not_what_it_says_is_refused() {
        let store = Store::open(Arc::new(InMemory::new()), Path::default()).await.unwrap();
        let (one, other) = (uploaded(&store, &[("a", "1")]).await, uploaded(&store, &[("a", "2")]).await);
        let lie = UploadedTree { id: other.id.to_string(), ..field(&one) };
        let empty = NodeRef::empty(&MapKind::TREE);
        let refused = adopt(&store, &store.session(), &empty, &lie).await.unwrap_err();
        assert_eq!(refused.retry(), crate::error::Retry::WhenChanged, "{refused}");
    }
}
