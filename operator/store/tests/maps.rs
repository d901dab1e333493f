//! The laws of maps and trees: however one came to be, its id is that of a bulk build of what it holds.

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use proptest::prelude::*;
use support::Place;
use varve_format::reference::{File, map_id, tree_id};
use varve_format::{Cutter, Hash, Kind, MapKind, RepoPath, Row};
use varve_store::{Depth, Entry, Error, NodeRef, Session, Store, TreeEdit, Value};

const KIND: MapKind = MapKind::DATUMS;

/// Long keys make small nodes' worth of rows: four levels from a few thousand keys.
fn key(n: u32) -> Bytes {
    Bytes::from(format!("{n:08}-{}", "k".repeat(1_500)))
}

fn value(n: u32) -> Value {
    Value::new(n.to_le_bytes().to_vec())
}

type Model = BTreeMap<Bytes, Value>;

fn model_id(model: &Model) -> Hash {
    let rows: Vec<Row> = model.iter().map(|(key, value)| Row::value(key.clone(), &value.bytes)).collect();
    map_id(&KIND, &rows).expect("the model is a map").0
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

async fn session() -> Session {
    Place::memory().open().await.session()
}

/// A map and what it should hold.
struct Twin {
    session: Session,
    map: NodeRef,
    model: Model,
}

impl Twin {
    async fn new() -> Self {
        Self { session: session().await, map: NodeRef::empty(&KIND), model: Model::new() }
    }

    async fn edit(&mut self, edits: Vec<(Bytes, Option<Value>)>) {
        for (key, value) in &edits {
            match value {
                Some(value) => self.model.insert(key.clone(), value.clone()),
                None => self.model.remove(key),
            };
        }
        self.map = self.session.edit_map(&KIND, &self.map, edits).await.expect("an edit");
        assert_eq!(self.map.id, model_id(&self.model), "{} keys", self.model.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_puts_and_deletes_gives_the_id_of_a_bulk_build(
        batches in prop::collection::vec(prop::collection::vec((0..700_u32, prop::option::weighted(0.6, 0..5_u32)), 1..250), 1..6),
        transient in prop::collection::vec(700..900_u32, 0..60),
    ) {
        block_on(async {
            let mut twin = Twin::new().await;
            twin.edit(transient.iter().map(|n| (key(*n), Some(value(*n)))).collect()).await;
            for batch in batches {
                twin.edit(batch.into_iter().map(|(n, put)| (key(n), put.map(value))).collect()).await;
            }
            twin.edit(transient.iter().map(|n| (key(*n), None)).collect()).await;
        });
    }

    #[test]
    fn a_batch_of_edits_equals_them_one_by_one(
        start in prop::collection::btree_set(0..300_u32, 0..200),
        batch in prop::collection::vec((0..300_u32, prop::option::of(0..5_u32)), 1..25),
    ) {
        block_on(async {
            let mut twin = Twin::new().await;
            twin.edit(start.into_iter().map(|n| (key(n), Some(value(n)))).collect()).await;
            let edits: Vec<_> = batch.into_iter().map(|(n, put)| (key(n), put.map(value))).collect();
            let mut one_by_one = twin.map.clone();
            for edit in &edits {
                one_by_one = twin.session.edit_map(&KIND, &one_by_one, vec![edit.clone()]).await.expect("an edit");
            }
            twin.edit(edits).await;
            assert_eq!(one_by_one.id, twin.map.id);
        });
    }

    #[test]
    fn a_batch_of_tree_edits_means_what_its_edits_mean_in_turn(edits in prop::collection::vec(tree_edit(), 1..40), cut in 0..40_usize) {
        block_on(tree_law(edits, cut));
    }

    #[test]
    fn a_diff_of_trees_applied_gives_the_other_side(before in prop::collection::vec(tree_edit(), 0..30), after in prop::collection::vec(tree_edit(), 0..30)) {
        block_on(async {
            let session = session().await;
            let store = session.store().clone();
            let (mut left, mut right) = (Files::new(), Files::new());
            let before = build(&session, &mut left, before).await;
            let after = build(&session, &mut right, after).await;
            for depth in [Depth::Full, Depth::Components(1), Depth::Components(2)] {
                let changes: Vec<_> = store.diff(Some(&before), Some(&after), depth).try_collect().await.expect("a diff");
                let (gone, put): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.after.is_none());
                let gone = gone.into_iter().map(|change| (change.path, TreeEdit::Delete));
                let put = put.into_iter().filter_map(|change| Some((change.path, TreeEdit::Put(change.after?))));
                let applied = session.edit_tree(&before, gone.chain(put).collect()).await.expect("an edit");
                assert_eq!(applied.id, after.id, "{depth:?}");
            }
        });
    }
}

/// An edit of a tree, in the terms of the model.
#[derive(Debug, Clone)]
enum Edit {
    Put(&'static str, u8),
    Delete(&'static str),
    /// Grafts what stands at the first path to the second.
    Copy(&'static str, &'static str),
}

const PATHS: [&str; 14] =
    ["a", "a.txt", "a0", "b", "a/a", "a/b", "a/b.txt", "b/a", "b/c", "a/b/c", "a/b/d", "b/c/d", "b/c/d/e", "a/b/c/f"];

fn tree_edit() -> impl Strategy<Value = Edit> {
    let path = || prop::sample::select(&PATHS[..]);
    prop_oneof![
        5 => (path(), 0..4_u8).prop_map(|(path, content)| Edit::Put(path, content)),
        2 => path().prop_map(Edit::Delete),
        1 => (path(), path()).prop_map(|(from, to)| Edit::Copy(from, to)),
    ]
}

type Files = BTreeMap<RepoPath, u8>;

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).expect("a path of this test")
}

fn files_id(files: &Files) -> Hash {
    let files = files.iter().map(|(path, content)| (path.clone(), File::of(Kind::File, &[*content]))).collect();
    tree_id(&files).expect("the model is a tree").0
}

/// What the edit means: in the model, and as edits of the tree as it is now.
fn apply(files: &mut Files, edit: &Edit) {
    let clear = |files: &mut Files, at: &RepoPath| files.retain(|path, _| !path.starts_with(at));
    let unfile_parents = |files: &mut Files, at: &RepoPath| {
        let mut parent = at.parent();
        while let Some(directory) = parent {
            files.remove(&directory);
            parent = directory.parent();
        }
    };
    match edit {
        Edit::Put(at, content) => {
            let at = path(at);
            clear(files, &at);
            unfile_parents(files, &at);
            files.insert(at, *content);
        }
        Edit::Delete(at) => clear(files, &path(at)),
        Edit::Copy(from, to) => {
            let (from, to) = (path(from), path(to));
            let below: Vec<(RepoPath, u8)> =
                files.iter().filter_map(|(path, content)| Some((path.strip_prefix(&from)?, *content))).collect();
            clear(files, &to);
            if !below.is_empty() {
                unfile_parents(files, &to);
            }
            for (path, content) in below {
                let at = if path.is_root() { to.clone() } else { to.join_path(&path).expect("short paths") };
                files.insert(at, content);
            }
        }
    }
}

async fn as_tree_edit(session: &Session, root: &NodeRef, edit: &Edit) -> (RepoPath, TreeEdit) {
    match edit {
        Edit::Put(at, content) => {
            let content = session.write_bytes(vec![*content]).await.expect("a content");
            (path(at), TreeEdit::Put(Entry::file(content)))
        }
        Edit::Delete(at) => (path(at), TreeEdit::Delete),
        Edit::Copy(from, to) => {
            let found = session.store().find(root, &path(from)).await.expect("the tree can be read");
            (path(to), found.map_or(TreeEdit::Delete, TreeEdit::Put))
        }
    }
}

async fn build(session: &Session, files: &mut Files, edits: Vec<Edit>) -> NodeRef {
    let mut root = NodeRef::empty(&MapKind::TREE);
    for edit in edits {
        let one = as_tree_edit(session, &root, &edit).await;
        root = session.edit_tree(&root, vec![one]).await.expect("an edit");
        apply(files, &edit);
        assert_eq!(root.id, files_id(files), "after {edit:?}: {files:?}");
    }
    root
}

async fn tree_law(edits: Vec<Edit>, cut: usize) {
    let session = session().await;
    let mut files = Files::new();
    let (first, second) = edits.split_at(cut.min(edits.len()));
    let base = build(&session, &mut files, first.to_vec()).await;
    // The same edits one by one, remembering each as what it was then, and all in one batch.
    let (mut root, mut batch) = (base.clone(), Vec::new());
    for edit in second {
        let one = as_tree_edit(&session, &root, edit).await;
        batch.push(one.clone());
        root = session.edit_tree(&root, vec![one]).await.expect("an edit");
        apply(&mut files, edit);
    }
    let at_once = session.edit_tree(&base, batch).await.expect("a batch");
    assert_eq!(at_once.id, root.id);
    assert_eq!(at_once.id, files_id(&files));
}

#[test]
fn a_map_grows_by_levels_and_shrinks_through_each_of_them_to_empty() {
    block_on(async {
        let mut twin = Twin::new().await;
        for chunk in 0..8 {
            let keys = chunk * 500..(chunk + 1) * 500;
            twin.edit(keys.map(|n| (key(n * 7_919 % 4_000), Some(value(n)))).collect()).await;
        }
        let mut left: Vec<Bytes> = twin.model.keys().cloned().collect();
        while !left.is_empty() {
            let count = (left.len() / 3).clamp(1, 700);
            let step = (left.len() / count).max(1);
            let gone: Vec<Bytes> = left.iter().step_by(step).take(count).cloned().collect();
            left.retain(|key| !gone.contains(key));
            twin.edit(gone.into_iter().map(|key| (key, None)).collect()).await;
        }
        assert_eq!(twin.map.id, NodeRef::empty(&KIND).id);
    });
}

#[test]
fn deleting_and_restoring_each_boundary_key_moves_the_boundary_there_and_back() {
    block_on(async {
        let mut twin = Twin::new().await;
        twin.edit((0..400).map(|n| (key(n), Some(value(n)))).collect()).await;
        let mut cutter = Cutter::new(0);
        let boundaries: Vec<u32> = (0..400).filter(|n| cutter.push(&key(*n))).collect();
        assert!(boundaries.len() > 10);
        for n in boundaries {
            twin.edit(vec![(key(n), None)]).await;
            twin.edit(vec![(key(n), Some(value(n)))]).await;
        }
    });
}

#[test]
fn the_last_node_is_edited_at_and_beyond_its_end() {
    block_on(async {
        let mut twin = Twin::new().await;
        twin.edit((0..400).map(|n| (key(n), Some(value(n)))).collect()).await;
        for n in 390..460 {
            twin.edit(vec![(key(n), Some(value(n + 1)))]).await;
        }
        for n in (380..460).rev() {
            twin.edit(vec![(key(n), None)]).await;
        }
    });
}

#[test]
fn names_chosen_to_cut_never_or_always_stay_correct() {
    block_on(async {
        for wants_cut in [false, true] {
            let mut twin = Twin::new().await;
            let mut cutter = Cutter::new(0);
            let mut edits = Vec::new();
            for n in 0..3_000_u32 {
                // Among some candidates of this rank, one that does what the adversary wants.
                let candidate = |salt: u32| Bytes::from(format!("{n:06}-{salt:03}-{}", "x".repeat(100)));
                let chosen = (0..40).map(candidate).find(|key| cutter.clone().push(key) == wants_cut);
                let chosen = chosen.unwrap_or_else(|| candidate(0));
                cutter.push(&chosen);
                edits.push((chosen, Some(value(n))));
            }
            twin.edit(edits.clone()).await;
            for edit in edits.iter().step_by(97) {
                twin.edit(vec![(edit.0.clone(), None)]).await;
                twin.edit(vec![edit.clone()]).await;
            }
        }
    });
}

#[test]
fn the_first_vectors_of_the_format_come_out() {
    block_on(async {
        for (count, id) in [
            (0, "157ec17877b075c99614c490dd3602e9034e0f42343f99bae0b9b38ed1fad171"),
            (3, "b56a84819f6259d391c94e8cee013b5c70f844daea865d2e09eae8218f07a7e2"),
            (5, "8aaac56bac29852766abaf53875ada1f81f01ea483290d0b2af620324d4a1173"),
            (1000, "cd5bc35357ffe6662b330bd482e8b5893e65edb6fdadff0a24d2ede92bd0a206"),
        ] {
            let session = session().await;
            let mut edits = Vec::new();
            for n in 0..count {
                let name = format!("file-{n:07}");
                let content = session.write_bytes(name.clone().into_bytes()).await.expect("a content");
                edits.push((path(&name), TreeEdit::Put(Entry::file(content))));
            }
            let root = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await.expect("a tree");
            assert_eq!(root.id.to_string(), id, "{count} files");
        }
    });
}

#[test]
fn a_tree_may_be_as_deep_as_a_path_is_long() {
    block_on(async {
        let session = session().await;
        let deepest = vec!["d"; 2_048].join("/");
        let content = session.write_bytes(&b"down here"[..]).await.expect("a content");
        let put = TreeEdit::Put(Entry::file(content));
        let empty = NodeRef::empty(&MapKind::TREE);
        let root =
            session.edit_tree(&empty, vec![(path(&deepest), put.clone())]).await.expect("4,095 bytes are allowed");
        let store: &Store = session.store();
        let walked: Vec<(RepoPath, Entry)> = store.walk(&root).try_collect().await.expect("a walk");
        assert_eq!(walked[0].0.as_str(), deepest);
        let changes: Vec<_> = store.diff(None, Some(&root), Depth::Full).try_collect().await.expect("a diff");
        assert_eq!(changes.len(), 1);

        let graft = vec![(path("xx"), TreeEdit::Put(Entry::Directory(root)))];
        let error = session.edit_tree(&empty, graft).await.expect_err("a graft may not pass the limit either");
        assert!(matches!(error, Error::PathTooLong { length: 4_098, max: 4_096, .. }), "{error}");
    });
}

#[test]
fn a_file_may_not_be_the_root() {
    block_on(async {
        let session = session().await;
        let content = session.write_bytes(&b"x"[..]).await.expect("a content");
        let edit = vec![(RepoPath::ROOT, TreeEdit::Put(Entry::file(content)))];
        let error = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edit).await.expect_err("no such tree");
        assert_eq!(error.reason(), "InvalidEdit");
    });
}
