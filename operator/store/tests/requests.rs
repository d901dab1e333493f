//! What is asked of the object store: a small commit on a large tree costs a few requests, whatever the tree's size.

mod support;

use std::sync::Arc;

use futures::TryStreamExt;
use support::{Counting, Place, Requests};
use uuid::Uuid;
use varve_format::{CommitIdentity, MapKind, RepoPath};
use varve_store::{CommitRef, Depth, Entry, NodeRef, Session, TreeEdit};

async fn commit(session: &Session, sequence: u64, root: &NodeRef) -> CommitRef {
    let uid = Uuid::from_u128(u128::from(sequence));
    let identity = CommitIdentity {
        uid: uid.as_bytes().to_vec(),
        repo_uid: uid.as_bytes().to_vec(),
        run: uid.as_bytes().to_vec(),
        branch: "main".to_owned(),
        sequence,
        ..CommitIdentity::default()
    };
    session.write_commit(identity, vec![(MapKind::TREE, root.clone())], None).await.expect("a commit")
}

/// Requests of a commit that changes one file of `count`, read from a cold cache; and of the diff with its parent.
async fn cost(count: u32) -> (Requests, Requests, Requests) {
    let place = Place::memory();
    let counting = Counting::new(place.backend.clone());
    let counts = counting.counts.clone();
    let place = Place { backend: Arc::new(counting), ..place };

    let session = place.open().await.session();
    let mut edits = Vec::new();
    for n in 0..count {
        let path = RepoPath::parse(&format!("d{:02}/file-{n:07}", n % 10)).expect("a path");
        let content = session.write_bytes(n.to_le_bytes().to_vec()).await.expect("a content");
        edits.push((path, TreeEdit::Put(Entry::file(content))));
    }
    let root = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await.expect("a tree");
    let first = commit(&session, 1, &root).await;
    session.flush().await.expect("a flush");

    let store = place.open().await;
    counts.take();
    let parent = store.read_commit_unchecked(&first.record).await.expect("the commit");
    let reading = counts.take();

    let session = store.session();
    let content = session.write_bytes(support::noise(1, 5_000)).await.expect("a content");
    let path = RepoPath::parse("d03/file-0000003").expect("a path");
    let edits = vec![(path, TreeEdit::Put(Entry::file(content)))];
    let root = session.edit_tree(&parent.tree(), edits).await.expect("an edit");
    let second = commit(&session, 2, &root).await;
    session.flush().await.expect("a flush");
    let committing = counts.take();

    let store = place.open().await;
    counts.take();
    let (before, after) = (
        store.read_commit_unchecked(&first.record).await.expect("the commit"),
        store.read_commit_unchecked(&second.record).await.expect("the commit"),
    );
    let changes: Vec<_> =
        store.diff(Some(&before.tree()), Some(&after.tree()), Depth::Full).try_collect().await.expect("a diff");
    assert_eq!(changes.len(), 1);
    (reading, committing, counts.take())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_commit_on_a_large_tree_costs_a_few_reads_and_two_packs() {
    let small = cost(1_000).await;
    let large = cost(40_000).await;
    for (reading, committing, diffing) in [small, large] {
        assert_eq!(reading, Requests { gets: 1, puts: 0, lists: 0 }, "one read brings record and roots");
        assert_eq!((committing.puts, committing.lists), (2, 0), "one data pack, one metadata pack");
        assert!(committing.gets <= 4, "{committing:?}: the directory's root, its leaf, the features");
        assert!(diffing.gets <= 8 && diffing.lists == 0, "{diffing:?}");
    }
}

#[tokio::test]
async fn small_files_of_a_folder_are_read_by_the_frame_that_they_share() {
    let place = Place::memory();
    let session = place.open().await.session();
    let mut small = session.small_contents();
    let mut contents = Vec::new();
    for n in 0..200_u64 {
        // Every tenth again, as if it were a copy: it is stored once.
        contents.extend(small.add(n, support::noise(n - u64::from(n % 10 == 9), 1_000)).await.expect("a content"));
    }
    contents.extend(small.finish().await.expect("the last"));
    session.flush().await.expect("a flush");
    assert_eq!(contents.len(), 200);
    let counting = Counting::new(place.backend.clone());
    let counts = counting.counts.clone();
    let reader = Place { backend: std::sync::Arc::new(counting), ..place }.open().await;
    counts.take();
    for (n, content) in contents {
        let bytes = reader.read_all(&content, 1_000).await.expect("a small file");
        assert_eq!(bytes, support::noise(n - u64::from(n % 10 == 9), 1_000));
    }
    assert_eq!(counts.take().gets, 2);
}
