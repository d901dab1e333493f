//! What a store does on a backend that lacks something, or fails half-way.

mod support;

use std::sync::Arc;

use support::{Place, Weak, noise};
use uuid::Uuid;
use varve_format::records::ShardResults;
use varve_format::{CommitName, Location, MapKind, RepoName, RepoPath};
use varve_store::{ContentRef, Entry, Error, NodeRef, Owner, ResultKey, TreeEdit};

#[tokio::test]
async fn names_and_owners_need_no_conditional_write() {
    let place = Place::memory();
    let place = Place { backend: Arc::new(Weak::without_conditions(place.backend.clone())), ..place };
    let store = place.open().await;
    assert_eq!(store.id(), place.open().await.id());
    let owner = |n| Owner { cluster: Uuid::from_u128(n), namespace: Uuid::from_u128(n) };
    store.claim(owner(1), None).await.expect("nobody's");
    assert!(matches!(store.claim(owner(2), None).await, Err(Error::OwnedElsewhere { .. })));
    let repo = store.create_repo(&RepoName::parse("images").expect("a name")).await.expect("a repo").uid;
    let name = CommitName::parse("images-first").expect("a name");
    let first = store.claim_name(repo, &name, None, Uuid::from_u128(1)).await.expect("a name");
    assert_eq!(store.claim_name(repo, &name, None, Uuid::from_u128(2)).await.expect("a name"), first);
    let key = ResultKey { shard: 0, pod: Uuid::from_u128(3), n: 0 };
    store.put_results(repo, key, &ShardResults::default()).await.expect("results");
    store.put_results(repo, key, &ShardResults::default()).await.expect("the same results again");
}

#[tokio::test]
async fn a_session_whose_upload_failed_fails_from_then_on() {
    let place = Place::memory();
    // One write makes the store.
    let place = Place { backend: Arc::new(Weak::failing_after(place.backend.clone(), 1)), ..place };
    let store = place.open().await;
    let session = store.session();
    session.write_bytes(noise(1, 1_000)).await.expect("nothing goes up yet");
    let failed = session.flush().await.expect_err("the upload fails");
    assert_eq!((failed.reason(), failed.is_retryable()), ("StoreError", true), "{failed}");
    let again = session.write_bytes(noise(2, 1_000)).await.expect_err("the session has ended");
    assert!(again.to_string().contains("the disk is gone"), "{again}");
    session.flush().await.expect_err("what was written is not durable, and never will be");
}

#[tokio::test]
async fn what_a_dropped_session_wrote_is_gone() {
    let place = Place::memory();
    let store = place.open().await;
    let session = store.session();
    let mut edits = Vec::new();
    for n in 0..100 {
        let content = session.write_bytes(format!("{n}").into_bytes()).await.expect("a content");
        let path = RepoPath::parse(&format!("file-{n}")).expect("a path");
        edits.push((path, TreeEdit::Put(Entry::file(content))));
    }
    let root = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await.expect("a tree");
    drop(session);
    // The session's tasks end when they next get their turn, on this one thread.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let path = RepoPath::parse("file-1").expect("a path");
    let missing = store.find(&root, &path).await.expect_err("never uploaded");
    assert!(matches!(missing, Error::ObjectMissing { .. }), "{missing}");
}

#[tokio::test]
async fn the_index_of_one_content_never_serves_another() {
    let place = Place::memory();
    let session = place.open().await.session();
    let first = session.write_bytes(noise(1, 2_000_000)).await.expect("a content");
    let second = session.write_bytes(noise(2, 2_000_000)).await.expect("a content");
    session.flush().await.expect("a flush");
    let store = place.open().await;
    store.read_all(&first, u64::MAX).await.expect("the first content");
    // As the cache holds the first one's index by now.
    let Location::Pack(_) = &first.at else { panic!("in a pack") };
    let crossed = ContentRef { at: first.at.clone(), ..second };
    let refused = store.read_all(&crossed, u64::MAX).await.expect_err("another content's index");
    assert_eq!(refused.reason(), "StoreCorrupt", "{refused}");
}
