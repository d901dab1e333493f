//! Maps that grow beyond either end. A root that ends in a cut comes out of its rewriting as it was, beside the new
//! nodes: it must stay in the map.

mod support;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use support::Place;
use varve_format::reference::map_id;
use varve_format::{Cutter, Hash, MapKind, Row};
use varve_store::{NodeRef, Session, Value};

const KIND: MapKind = MapKind::DATUMS;

/// Some eight of these make a node: three levels from a hundred keys, four from six hundred.
fn key(n: u32, salt: u32) -> Bytes {
    Bytes::from(format!("{n:06}-{salt:06}-{}", "k".repeat(4_000)))
}

fn value() -> Value {
    Value::new(&b"v"[..])
}

fn bulk_id(keys: &[Bytes]) -> Hash {
    let rows: Vec<Row> = keys.iter().map(|key| Row::value(key.clone(), b"v")).collect();
    map_id(&KIND, &rows).expect("the keys are a map").0
}

async fn put(session: &Session, map: &NodeRef, keys: &[Bytes]) -> NodeRef {
    let edits = keys.iter().map(|key| (key.clone(), Some(value()))).collect();
    session.edit_map(&KIND, map, edits).await.expect("an edit")
}

async fn session() -> Session {
    Place::memory().open().await.session()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Levels of the map that these keys make, if its last key is a cut at each of them.
fn levels_if_cut_throughout(keys: &[Bytes]) -> Option<u8> {
    let mut keys: Vec<&Bytes> = keys.iter().collect();
    for level in 0.. {
        let mut cutter = Cutter::new(level);
        let cuts: Vec<&Bytes> = keys.iter().copied().filter(|key| cutter.push(key)).collect();
        if cuts.last() != keys.last() {
            return None;
        }
        if let [_] = cuts.as_slice() {
            return Some(level + 1);
        }
        keys = cuts;
    }
    None
}

/// Keys whose map has so many levels and ends in a cut at each: the last key is searched for.
fn cut_throughout(levels: u8) -> Vec<Bytes> {
    let mut keys: Vec<Bytes> = Vec::new();
    for n in 1_000.. {
        let found = (0..200).map(|salt| key(n, salt)).find(|last| {
            keys.push(last.clone());
            let is_found = levels_if_cut_throughout(&keys) == Some(levels);
            keys.pop();
            is_found
        });
        if let Some(last) = found {
            keys.push(last);
            return keys;
        }
        keys.push(key(n, 0));
    }
    unreachable!("some key ends in a cut at each level");
}

/// Such keys for two and for three levels.
static CUT_THROUGHOUT: LazyLock<[Vec<Bytes>; 2]> = LazyLock::new(|| [2, 3].map(cut_throughout));

#[test]
fn keys_appended_one_by_one_make_the_map_of_a_bulk_build() {
    block_on(async {
        let session = session().await;
        let keys: Vec<Bytes> = (0..700).map(|n| key(n, 0)).collect();
        let mut map = NodeRef::empty(&KIND);
        for appended in 0..keys.len() {
            map = put(&session, &map, &keys[appended..=appended]).await;
            if appended % 50 == 49 {
                assert_eq!(map.id, bulk_id(&keys[..=appended]), "{} keys", appended + 1);
            }
        }
    });
}

#[test]
fn keys_prepended_one_by_one_make_the_map_of_a_bulk_build() {
    block_on(async {
        let session = session().await;
        let keys: Vec<Bytes> = (0..400).map(|n| key(n, 0)).collect();
        let mut map = NodeRef::empty(&KIND);
        for first in (0..keys.len()).rev() {
            map = put(&session, &map, &keys[first..=first]).await;
            if first % 50 == 0 {
                assert_eq!(map.id, bulk_id(&keys[first..]), "{} keys", keys.len() - first);
            }
        }
    });
}

#[test]
fn an_edit_that_comes_to_nothing_leaves_a_cut_root_as_it_is() {
    block_on(async {
        let session = session().await;
        for keys in &*CUT_THROUGHOUT {
            let map = put(&session, &NodeRef::empty(&KIND), keys).await;
            assert_eq!(put(&session, &map, &keys[..1]).await, map);
            let gone = vec![(key(999_999, 0), None), (keys[3].clone(), Some(value()))];
            assert_eq!(session.edit_map(&KIND, &map, gone).await.expect("an edit"), map);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_map_that_ends_in_cuts_keeps_all_its_keys_when_others_come_before_and_after(
        keys in prop::sample::select(&*CUT_THROUGHOUT),
        // Mostly edits of one end alone: then the root may come out as it was.
        before in prop_oneof![2 => Just(BTreeSet::new()), 1 => prop::collection::btree_set(0..1_000_u32, 1..60)],
        after in prop_oneof![1 => Just(BTreeSet::new()), 2 => prop::collection::btree_set(5_000..6_000_u32, 1..60)],
        changed in prop_oneof![3 => Just(BTreeSet::new()), 1 => prop::collection::btree_set(0..20_usize, 1..3)],
    ) {
        block_on(async {
            let session = session().await;
            let map = put(&session, &NodeRef::empty(&KIND), &keys).await;
            let removed: Vec<Bytes> = changed.iter().filter_map(|index| keys.get(*index).cloned()).collect();
            let added = before.iter().chain(&after).map(|n| key(*n, 7));
            let mut edits: Vec<(Bytes, Option<Value>)> = added.clone().map(|key| (key, Some(value()))).collect();
            edits.extend(removed.iter().map(|key| (key.clone(), None)));
            let edited = session.edit_map(&KIND, &map, edits).await.expect("an edit");
            let mut expected: Vec<Bytes> = keys.iter().filter(|key| !removed.contains(key)).cloned().chain(added).collect();
            expected.sort();
            assert_eq!(edited.id, bulk_id(&expected));
        });
    }
}
