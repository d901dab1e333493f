//! The memo over many Jobs: how many segments it keeps, and how much of a node each takes.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use support::{Counting, Place};
use uuid::Uuid;
use varve_format::records::MemoEntry;
use varve_format::{Hash, MapKind};
use varve_store::{Error, Location, NodeRef, Session, Store, Value};

fn hash(n: u64) -> Hash {
    Hash::of_content(&n.to_le_bytes())
}

fn entry(n: u64, state: u32) -> MemoEntry {
    MemoEntry { hash: hash(n).to_vec(), state, ..MemoEntry::default() }
}

fn job(n: u64) -> Uuid {
    Uuid::from_u64_pair(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n)
}

async fn segments(store: &Store, memo: &NodeRef) -> Vec<(Bytes, Value)> {
    store.map_scan(memo, &MapKind::MEMO, None).try_collect().await.expect("the memo can be read")
}

async fn write(session: &Session, memo: &NodeRef, of: u64, entries: impl Iterator<Item = MemoEntry>) -> NodeRef {
    session.write_memo(memo, job(of), entries.collect()).await.expect("the memo can be written")
}

#[tokio::test]
async fn a_segment_is_one_reference_however_many_results_it_holds() {
    let place = Place::memory();
    let session = place.open().await.session();
    let memo = write(&session, &NodeRef::empty(&MapKind::MEMO), 1, (0..20_000).map(|n| entry(n, 1))).await;
    session.flush().await.expect("a flush");
    let reader = place.open().await;
    let [(_, value)] = &segments(&reader, &memo).await[..] else { panic!("one segment") };
    assert!(value.bytes.len() > 500, "it has several blocks");
    assert_eq!(value.refs.len(), 1);
    let wanted: Vec<Hash> = (19_000..20_010).map(hash).collect();
    assert_eq!(reader.memo_lookup(&memo, &wanted).await.expect("a look-up").len(), 1_000);
}

#[tokio::test]
async fn a_node_that_nobody_could_read_is_not_written() {
    let session = Place::memory().open().await.session();
    let empty = NodeRef::empty(&MapKind::MEMO);
    let pack = session.write_record(vec![1; 1_000]).await.expect("a record").at;
    for (rows, refs) in [(1, 30_000), (7, 4_000), (1, 70_000)] {
        let value = |n: u8| Value { bytes: vec![n; 8].into(), refs: vec![pack.clone(); refs] };
        let edits = (0..rows).map(|n| (Bytes::from(vec![n; 16]), Some(value(n)))).collect();
        let written = session.edit_map(&MapKind::MEMO, &empty, edits).await;
        assert!(matches!(written, Err(Error::TooLarge { .. })), "{rows} rows of {refs} references: {written:?}");
    }
    let short = Value { bytes: vec![1; 8].into(), refs: vec![Location::Erased; 65_534] };
    let written = session.edit_map(&MapKind::MEMO, &empty, vec![(Bytes::from_static(b"k"), Some(short.clone()))]).await;
    let map = written.expect("so many short references fit");
    let read = session.store().map_get(&map, &MapKind::MEMO, b"k").await.expect("and can be read");
    assert_eq!(read, Some(short));
}

#[tokio::test]
async fn a_look_up_asks_few_segments_however_many_jobs_there_were() {
    let place = Place::memory();
    let session = place.open().await.session();
    let mut memo = NodeRef::empty(&MapKind::MEMO);
    for of in 0..345 {
        memo = write(&session, &memo, of, (of * 3..of * 3 + 3).map(|n| entry(n, 1))).await;
        assert!(segments(session.store(), &memo).await.len() <= 4 * 9);
    }
    session.flush().await.expect("a flush");
    let counting = Counting::new(place.backend.clone());
    let counts = counting.counts.clone();
    let reader = Place { backend: Arc::new(counting), ..place }.open().await;
    counts.take();
    let wanted: Vec<Hash> = (0..345 * 3 + 5).map(hash).collect();
    let found = reader.memo_lookup(&memo, &wanted).await.expect("a look-up");
    assert_eq!(found.len(), 345 * 3);
    let asked = counts.take().gets;
    assert!(asked <= 40, "{asked} reads");
}

#[tokio::test]
async fn a_job_written_again_changes_no_other_jobs_results() {
    let session = Place::memory().open().await.session();
    let mut memo = NodeRef::empty(&MapKind::MEMO);
    for of in 0..10 {
        memo = write(&session, &memo, of, (of..=of).map(|n| entry(n, 1))).await;
    }
    assert_eq!(segments(session.store(), &memo).await.len(), 1, "ten became one");
    for of in [9, 3, 3] {
        memo = write(&session, &memo, of, (of..=of).map(|n| entry(n, 1))).await;
    }
    let wanted: Vec<Hash> = (0..20).map(hash).collect();
    let found = session.store().memo_lookup(&memo, &wanted).await.expect("a look-up");
    assert_eq!(found.len(), 10);
}

#[tokio::test]
async fn of_a_hash_that_several_jobs_found_the_last_is_kept_when_they_are_merged() {
    let session = Place::memory().open().await.session();
    let mut memo = NodeRef::empty(&MapKind::MEMO);
    for of in 0..10 {
        memo = write(&session, &memo, of, [entry(1_000, if of == 9 { 2 } else { 1 }), entry(of, 1)].into_iter()).await;
    }
    let found = session.store().memo_lookup(&memo, &[hash(1_000), hash(4)]).await.expect("a look-up");
    assert_eq!((found[&hash(1_000)].state, found[&hash(4)].state), (2, 1));
}
