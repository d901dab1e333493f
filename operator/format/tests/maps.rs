//! Laws of maps: their shape depends on the set of keys alone, and rows that may not be are refused by name.

mod support;

use bytes::Bytes;
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;
use varve_format::cutter::{MAX_NODE, MIN_NODE, ROW_OVERHEAD};
use varve_format::reference::{self, File, Node};
use varve_format::{Cutter, Hash, Kind, MapError, MapKind, RepoPath, Row, Totals, empty_map_id, node_id};

fn boundaries(levels: &[Vec<Node>]) -> Vec<Vec<Bytes>> {
    let last = |node: &Node| node.rows.last().map(|row| row.key.clone()).unwrap_or_default();
    levels.iter().map(|nodes| nodes.iter().map(last).collect()).collect()
}

fn rows_of(keys: &std::collections::BTreeSet<Vec<u8>>, value: &[u8]) -> Vec<Row> {
    keys.iter().map(|key| Row::value(key.clone(), value)).collect()
}

/// Long keys, so that a few hundred make several levels.
fn keys() -> impl Strategy<Value = std::collections::BTreeSet<Vec<u8>>> {
    let key = (any::<u32>(), 4..8127_usize).prop_map(|(n, length)| {
        let mut key = n.to_be_bytes().to_vec();
        key.resize(length, b'k');
        key
    });
    btree_set(key, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_never_move_a_boundary(keys in keys()) {
        let one = reference::build(&MapKind::DATUMS, rows_of(&keys, b"one")).unwrap();
        let other = reference::build(&MapKind::DATUMS, rows_of(&keys, b"another value")).unwrap();
        prop_assert_eq!(boundaries(&one), boundaries(&other));
        prop_assert_eq!(keys.is_empty(), reference::root(&one).id == reference::root(&other).id);
    }

    #[test]
    fn the_kind_of_a_map_never_moves_a_boundary(keys in keys()) {
        let one = reference::build(&MapKind::DATUMS, rows_of(&keys, b"")).unwrap();
        let other = reference::build(&MapKind::PROV, rows_of(&keys, b"")).unwrap();
        prop_assert_eq!(boundaries(&one), boundaries(&other));
        prop_assert_ne!(reference::root(&one).id, reference::root(&other).id);
    }

    #[test]
    fn what_follows_a_boundary_does_not_know_what_came_before(keys in keys()) {
        let whole = reference::build(&MapKind::DATUMS, rows_of(&keys, b"")).unwrap();
        let leaves = &whole[0];
        for (index, node) in leaves.iter().enumerate().skip(1).step_by(7) {
            let after = keys.iter().filter(|key| key[..] >= node.rows[0].key[..]).cloned().collect();
            let rest = reference::build(&MapKind::DATUMS, rows_of(&after, b"")).unwrap();
            prop_assert_eq!(&rest[0][..], &leaves[index..]);
        }
    }

    #[test]
    fn nodes_keep_to_their_sizes_and_levels_shrink(keys in keys()) {
        let levels = reference::build(&MapKind::DATUMS, rows_of(&keys, b"")).unwrap();
        for nodes in &levels {
            let (last, others) = nodes.split_last().expect("a level has nodes");
            for node in others {
                let size: u64 = node.rows.iter().map(|row| row.key.len() as u64 + ROW_OVERHEAD).sum();
                let before_last = size - node.rows.last().map_or(0, |row| row.key.len() as u64 + ROW_OVERHEAD);
                prop_assert!(size >= MIN_NODE && before_last < MAX_NODE);
                prop_assert!(node.rows.len() > 1, "else a level might not shrink");
            }
            prop_assert!(keys.is_empty() || !last.rows.is_empty());
        }
        prop_assert!(levels.windows(2).all(|pair| pair[0].len() > pair[1].len()));
        prop_assert_eq!(levels.last().map(Vec::len), Some(1));
    }

    #[test]
    fn every_row_counts_in_a_node(
        names in btree_map("[a-z]{1,6}", any::<u32>(), 1..40), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let row = |(name, size): (&String, &u32)| Row::file(name.clone(), Kind::File, Hash::of_content(name.as_bytes()), u64::from(*size));
        let rows: Vec<Row> = names.iter().map(row).collect();
        let (id, totals) = node_id(&MapKind::TREE, 0, &rows).unwrap();
        prop_assert_eq!(totals.files, rows.len() as u64);
        let at = at.index(rows.len());
        let changed = |change: &dyn Fn(&mut Row)| {
            let mut rows = rows.clone();
            change(&mut rows[at]);
            node_id(&MapKind::TREE, 0, &rows).unwrap().0
        };
        prop_assert_ne!(changed(&|row| row.kind = Kind::Executable), id);
        prop_assert_ne!(changed(&|row| row.bytes += 1), id);
        prop_assert_ne!(changed(&|row| {
            let mut bytes = *row.id.as_bytes();
            bytes[0] ^= flip;
            row.id = Hash::from_bytes(bytes);
        }), id);
        let mut fewer = rows.clone();
        fewer.remove(at);
        prop_assert_ne!(node_id(&MapKind::TREE, 0, &fewer).unwrap().0, id);
    }

    #[test]
    fn a_tree_of_files_has_the_totals_of_its_files(files in btree_map("[a-c]{1,2}(/[a-c]{1,2}){0,3}", 0..1000_u64, 0..40)) {
        let file = |size| File { kind: Kind::File, id: Hash::ZERO, size };
        let is_twin = |path: &String| files.keys().any(|other| other.starts_with(&format!("{path}/")));
        let apart: std::collections::BTreeMap<_, _> = files.iter().filter(|(path, _)| !is_twin(path))
            .map(|(path, size)| (RepoPath::parse(path).unwrap(), file(*size))).collect();
        let wanted = Totals { files: apart.len() as u64, bytes: apart.values().map(|file| file.size).sum() };
        prop_assert_eq!(reference::tree_id(&apart).unwrap().1, wanted);
        if apart.len() < files.len() {
            let all = files.iter().map(|(path, size)| (RepoPath::parse(path).unwrap(), file(*size))).collect();
            prop_assert!(reference::tree_id(&all).is_err(), "a path may not be a file and a directory");
        }
    }
}

#[test]
fn the_cut_is_where_the_format_says() {
    // Names whose boundary hash is the highest: nothing but the forced cut ends a node.
    let rows = support::flat(4000, 0, 0xa000_0000_0000_0000);
    let levels = reference::build(&MapKind::TREE, rows).expect("a map");
    let sizes: Vec<usize> = levels[0].iter().map(|node| node.rows.len()).collect();
    let forced = usize::try_from(MAX_NODE.div_ceil(12 + ROW_OVERHEAD)).expect("small");
    assert_eq!(sizes, [forced, forced, 4000 - 2 * forced]);
}

#[test]
fn levels_differ_in_where_they_cut() {
    let cuts = |level: u8| -> Vec<u32> {
        let mut cutter = Cutter::new(level);
        (0..5000_u32).filter(|n| cutter.push(format!("{n:07}").as_bytes())).collect()
    };
    assert_ne!(cuts(0), cuts(1));
    assert_ne!(cuts(14), cuts(15));
}

fn file(name: &str) -> Row {
    Row::file(name.to_owned(), Kind::File, Hash::ZERO, 1)
}

fn refusal(kind: &MapKind, level: u8, rows: &[Row]) -> String {
    node_id(kind, level, rows).expect_err("it must be refused").to_string()
}

#[test]
fn rows_that_may_not_be_are_refused_by_name() {
    let tree = &MapKind::TREE;
    let one = Totals { files: 1, bytes: 1 };
    let directory = |name: &str, totals| Row::directory(name, Hash::ZERO, totals);
    let value = |key: &str| Row::value(key.to_owned(), b"");

    assert_eq!(refusal(tree, 0, &[file("b"), file("a")]), "key `a` is not greater than the key before it");
    assert_eq!(refusal(tree, 0, &[file("a"), file("a")]), "key `a` is not greater than the key before it");
    assert_eq!(refusal(tree, 0, &[value("a")]), "key `a`: Value may not stand at level 0 of a `tree` map");
    assert_eq!(refusal(&MapKind::PROV, 0, &[file("a")]), "key `a`: File may not stand at level 0 of a `prov` map");
    assert_eq!(refusal(tree, 1, &[file("a")]), "key `a`: File may not stand at level 1 of a `tree` map");
    assert_eq!(refusal(tree, 0, &[file("a/")]), "key `a/`: a directory's key ends in `/`, and no other does");
    assert_eq!(refusal(tree, 0, &[file("..")]), "key `..`: name `..` may not hold the name `.` or `..`");
    let rows = [file("a"), file("a.txt"), directory("a", one)];
    assert_eq!(refusal(tree, 0, &rows), "`a` is both a file and a directory");
    let rows = [directory("a", Totals::default())];
    assert_eq!(refusal(tree, 0, &rows), "key `a/`: nothing below it, and a directory without files does not exist");
    let link = Row::file("l", Kind::Symlink, Hash::ZERO, 4096);
    assert_eq!(refusal(tree, 0, &[link]), "key `l`: a symlink's target has 1 to 4095 bytes, not 4096");
    let child = Row::node("k".into(), Hash::ZERO, one);
    assert_eq!(refusal(&MapKind::PROV, 1, &[child]), "key `k`: only trees count files and bytes");
    let long = Row::value(vec![b'k'; 8128], b"");
    assert!(refusal(&MapKind::PROV, 0, &[long]).ends_with("has 8128 bytes, it must have 1 to 8127"));
    assert_eq!(refusal(tree, 1, &[]), "a node of level 1 has no rows; only level 0 may be empty");
}

#[test]
fn sums_and_levels_have_bounds() {
    let huge = Totals { files: 1, bytes: u64::MAX };
    let rows = [Row::directory("a", Hash::ZERO, huge), file("b")];
    assert_eq!(node_id(&MapKind::TREE, 0, &rows), Err(MapError::SumOverflow));
    assert_eq!(MapError::SumOverflow.reason(), "SumOverflow");
    let child = Row::node("k".into(), Hash::ZERO, Totals::default());
    let rows = std::slice::from_ref(&child);
    assert!(node_id(&MapKind::PROV, 15, rows).is_ok());
    assert_eq!(node_id(&MapKind::PROV, 16, rows), Err(MapError::MapTooDeep { level: 16 }));
}

#[test]
fn the_empty_map_has_one_id_per_kind() {
    let kinds = [MapKind::TREE, MapKind::PROV, MapKind::DATUMS, MapKind::MEMO];
    let ids: std::collections::BTreeSet<Hash> = kinds.iter().map(empty_map_id).collect();
    assert_eq!(ids.len(), kinds.len());
    for kind in &kinds {
        assert_eq!(reference::map_id(kind, &[]), Ok((empty_map_id(kind), Totals::default())));
    }
}
