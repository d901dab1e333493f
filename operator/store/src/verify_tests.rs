//! Lies that no honest writer of this crate can tell: nodes made by hand.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use varve_format::{Cutter, Hash, Kind, Location, MapError, MapKind, Row, Totals};

use crate::error::{Error, TreeFault};
use crate::map::build::Builder;
use crate::map::node::{Node, Slot};
use crate::session::Session;
use crate::store::Store;
use crate::types::NodeRef;

const TREE: MapKind = MapKind::TREE;

async fn session() -> Session {
    Store::open(Arc::new(InMemory::new()), Path::default()).await.expect("a store in memory").session()
}

fn file(name: &str) -> Slot {
    let content = Bytes::copy_from_slice(name.as_bytes());
    let row = Row::file(content.clone(), Kind::File, Hash::of_content(&content), content.len() as u64);
    Slot { row, at: Location::Inline(content), refs: Vec::new(), longest: 0 }
}

fn files(count: u32) -> Vec<Slot> {
    (0..count).map(|n| file(&format!("file-{n:06}"))).collect()
}

/// Stores a node as it is, and the row that a parent would have for it.
async fn store_node(session: &Session, level: u8, slots: Vec<Slot>) -> Slot {
    let at = Location::Pack(session.append_meta(Node::encode(&TREE, level, &slots)).await.expect("a frame"));
    let node = Node::of(TREE, level, slots).expect("rows that one node may have");
    let last = node.last_key().cloned().unwrap_or_default();
    Slot { row: Row::node(last, node.id, node.totals), at, refs: Vec::new(), longest: 20 }
}

/// The refusal of a tree whose root is this node.
async fn fault(session: &Session, root: &Slot) -> TreeFault {
    let root = NodeRef { id: root.row.id, files: 0, bytes: 0, at: root.at.clone() };
    match session.store().verify_tree(None, &root).await {
        Err(Error::TreeRefused { fault, .. }) => fault,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_node_cut_where_the_format_does_not_cut_is_refused() {
    let session = session().await;
    let mut rows = files(1_000);
    let later = rows.split_off(10);
    let children = vec![store_node(&session, 0, rows).await, store_node(&session, 0, later).await];
    let root = store_node(&session, 1, children).await;
    assert_eq!(fault(&session, &root).await, TreeFault::Boundary);
}

#[tokio::test]
async fn a_node_that_goes_on_where_the_format_cuts_is_refused() {
    let session = session().await;
    let rows = files(1_000);
    let mut cutter = Cutter::new(0);
    assert!(rows.iter().any(|slot| cutter.push(&slot.row.key)), "the format cuts these");
    let root = store_node(&session, 0, rows).await;
    assert_eq!(fault(&session, &root).await, TreeFault::Boundary);
}

#[tokio::test]
async fn a_root_with_one_child_is_refused() {
    let session = session().await;
    let child = store_node(&session, 0, files(3)).await;
    let root = store_node(&session, 1, vec![child]).await;
    assert_eq!(fault(&session, &root).await, TreeFault::LoneChild);
}

#[tokio::test]
async fn rows_that_do_not_fit_their_child_are_refused() {
    let session = session().await;
    let first = store_node(&session, 0, files(3)).await;
    let second = store_node(&session, 0, vec![file("later")]).await;

    let more = Totals { files: first.row.files + 1, bytes: first.row.bytes };
    let counted = Slot { row: Row::node(first.row.key.clone(), first.row.id, more), ..first.clone() };
    let root = store_node(&session, 1, vec![counted, second.clone()]).await;
    assert_eq!(fault(&session, &root).await, TreeFault::Totals);

    let key = Bytes::from_static(b"file-999999");
    let named =
        Slot { row: Row::node(key, first.row.id, Totals { files: 3, bytes: first.row.bytes }), ..first.clone() };
    let root = store_node(&session, 1, vec![named, second.clone()]).await;
    assert_eq!(fault(&session, &root).await, TreeFault::LastKey);

    let root = store_node(&session, 2, vec![first, second]).await;
    assert_eq!(fault(&session, &root).await, TreeFault::Level { found: 0, expected: 1 });
}

#[tokio::test]
async fn rows_out_of_order_are_refused() {
    let session = session().await;
    let slots = vec![file("b"), file("a")];
    let at = Location::Pack(session.append_meta(Node::encode(&TREE, 0, &slots)).await.expect("a frame"));
    let root = Slot {
        row: Row::node(Bytes::from_static(b"b"), Hash::ZERO, Totals::default()),
        at,
        refs: Vec::new(),
        longest: 0,
    };
    assert!(matches!(fault(&session, &root).await, TreeFault::Rows(MapError::Order { .. })));
}

#[tokio::test]
async fn a_directory_without_files_is_refused() {
    let session = session().await;
    let empty = NodeRef::empty(&TREE);
    let row = Row::directory("hollow", empty.id, empty.totals());
    let slots = vec![Slot { row, at: empty.at, refs: Vec::new(), longest: 0 }];
    let at = Location::Pack(session.append_meta(Node::encode(&TREE, 0, &slots)).await.expect("a frame"));
    let root = Slot {
        row: Row::node(Bytes::from_static(b"b"), Hash::ZERO, Totals::default()),
        at,
        refs: Vec::new(),
        longest: 0,
    };
    assert!(matches!(fault(&session, &root).await, TreeFault::Rows(MapError::Hollow { .. })));
}

#[tokio::test]
async fn a_name_that_is_a_file_and_a_directory_in_distant_nodes_is_refused() {
    let session = session().await;
    let mut builder = Builder::new(&session, &TREE, 0);
    builder.push(file("a")).await.expect("a row");
    // `-` stands before `/`: these lie between `a` and `a/`, over several nodes.
    for n in 0..2_000 {
        builder.push(file(&format!("a-{n:06}"))).await.expect("a row");
    }
    let below = store_node(&session, 0, vec![file("x")]).await;
    let row = Row::directory("a", below.row.id, Totals { files: 1, bytes: 1 });
    builder.push(Slot { row, at: below.at, refs: Vec::new(), longest: 1 }).await.expect("a row");
    let root = builder.finish().await.expect("no single node shows it");
    match session.store().verify_tree(None, &root).await {
        Err(Error::TreeRefused { path, fault: TreeFault::FileAndDirectory }) => assert_eq!(path, "/a"),
        other => panic!("not refused: {other:?}"),
    }
}
