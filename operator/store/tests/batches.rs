//! What a batch of edits means to those who make batches: what planning and merging rely on.

mod support;

use std::collections::BTreeMap;

use futures::TryStreamExt;
use support::Place;
use varve_format::{Location, MapKind, RepoPath};
use varve_store::{Depth, Entry, NodeRef, Session, Store, TreeEdit};

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).expect("a path of this test")
}

async fn put(session: &Session, at: &str, text: &str) -> (RepoPath, TreeEdit) {
    let content = session.write_bytes(text.as_bytes().to_vec()).await.expect("a content");
    (path(at), TreeEdit::Put(Entry::file(content)))
}

fn delete(at: &str) -> (RepoPath, TreeEdit) {
    (path(at), TreeEdit::Delete)
}

async fn edit(session: &Session, root: &NodeRef, edits: Vec<(RepoPath, TreeEdit)>) -> NodeRef {
    session.edit_tree(root, edits).await.expect("an edit")
}

async fn base(session: &Session, files: &[&str]) -> NodeRef {
    let mut edits = Vec::new();
    for file in files {
        edits.push(put(session, file, file).await);
    }
    edit(session, &NodeRef::empty(&MapKind::TREE), edits).await
}

async fn files(store: &Store, root: &NodeRef) -> BTreeMap<String, u64> {
    let walked: Vec<(RepoPath, Entry)> = store.walk(root).try_collect().await.expect("a walk");
    walked.into_iter().map(|(path, entry)| (path.to_string(), entry.bytes())).collect()
}

async fn session() -> Session {
    Place::memory().open().await.session()
}

#[tokio::test]
async fn what_is_deleted_and_put_below_in_one_batch_leaves_what_was_put() {
    let session = session().await;
    for before in [&["a", "z"][..], &["a/b", "a/c/d", "z"], &["z"]] {
        let root = base(&session, before).await;
        let put = put(&session, "a/b", "new").await;
        let edited = edit(&session, &root, vec![delete("a"), put]).await;
        let left = files(session.store(), &edited).await;
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [("/a/b".to_owned(), 3), ("/z".to_owned(), 1)], "{before:?}");
    }
}

#[tokio::test]
async fn what_is_put_and_then_deleted_above_in_one_batch_is_gone() {
    let session = session().await;
    let root = base(&session, &["a/b", "z"]).await;
    let put = put(&session, "a/c", "new").await;
    let edited = edit(&session, &root, vec![put, delete("a")]).await;
    assert_eq!(edited.id, base(&session, &["z"]).await.id);
}

#[tokio::test]
async fn to_delete_what_is_not_there_changes_nothing() {
    let session = session().await;
    let root = base(&session, &["a", "b/c", "b/d/e"]).await;
    for absent in ["x", "x/y/z", "a/b", "b/c/d", "b/d/e/f", "b/x", "b/d/x"] {
        assert_eq!(edit(&session, &root, vec![delete(absent)]).await, root, "{absent}");
    }
    let empty = NodeRef::empty(&MapKind::TREE);
    assert_eq!(edit(&session, &empty, vec![delete("x"), delete("x/y")]).await, empty);
}

#[tokio::test]
async fn a_tiny_tree_that_a_client_uploads_is_placed_checked_and_made_again() {
    let place = Place::memory();
    let client = place.open().await.session();
    let root = base(&client, &["one", "sub/two"]).await;
    assert!(matches!(root.at, Location::Embedded(_)));
    let placed = client.place_root(&root).await.expect("a place");
    assert!(matches!(placed.at, Location::Pack(_)));
    client.flush().await.expect("a flush");
    let operator = place.open().await.session();
    // All that a Commit names of it is id and place.
    let uploaded = operator.store().root_at(&MapKind::TREE, placed.id, placed.at.clone()).await.expect("the root");
    for parent in [&[][..], &["one"], &["sub", "x"], &["one/x"]] {
        let parent = base(&operator, parent).await;
        let edits = operator.store().verify_tree(Some(&parent), &uploaded).await.expect("an honest tree");
        let made = edit(&operator, &parent, edits).await;
        assert_eq!(made.id, root.id);
        let changes = operator.store().diff(Some(&made), Some(&uploaded), Depth::Full);
        assert_eq!(changes.try_collect::<Vec<_>>().await.expect("a diff"), []);
    }
}
