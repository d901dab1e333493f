use super::world::{Files, World, key, path};
use super::*;
use varve_format::{DatumState, Hash};

fn files(list: &[(&str, &str)]) -> Files {
    list.iter().map(|(at, content)| (path(at), (*content).to_owned())).collect()
}

fn prov(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(at, owner)| ((*at).to_owned(), (*owner).to_owned())).collect()
}

fn row(output: Hash) -> DatumRow {
    DatumRow { hash: Hash::of_content(b"datum"), state: DatumState::Succeeded, output }
}

fn edit(world: &mut World, datum: &str, before: Option<&Files>, after: Option<&Files>) -> DatumEdit {
    let before = before.map(|files| world.tree(files));
    let after = after.map(|files| world.tree(files)).map(|tree| (row(tree.id), tree));
    DatumEdit { key: key(datum), before, after }
}

#[test]
fn a_first_datum_gives_the_whole_tree_and_owns_its_root() {
    let mut world = World::new(&Files::new(), BTreeMap::new());
    let output = files(&[("a.png", "edges of a"), ("log/a.txt", "ok")]);
    let edits = [edit(&mut world, "a.png", None, Some(&output))];
    let merged = world.merge(&edits).unwrap();
    let (row, tree) = edits[0].after.clone().unwrap();
    assert_eq!(merged.tree, TreeChange::Root(tree));
    assert_eq!(merged.prov, [(Bytes::from("/"), Some(key("a.png").as_bytes().clone()))]);
    assert_eq!(merged.datums, [(key("a.png").as_bytes().clone(), Some(Bytes::copy_from_slice(&row.encode())))]);
    assert_eq!(world.questions, 0, "a tree that one datum writes is never read");
}

#[test]
fn a_datum_that_writes_the_same_again_changes_only_its_row() {
    let output = files(&[("a.png", "edges of a")]);
    let mut world = World::new(&output, prov(&[("/", "a")]));
    let edits = [edit(&mut world, "a", Some(&output), Some(&output))];
    let merged = world.merge(&edits).unwrap();
    assert_eq!((merged.tree, merged.prov), (TreeChange::Edits(vec![]), vec![]));
    assert_eq!(merged.datums.len(), 1);
    assert_eq!(world.questions, 0);
}

#[test]
fn the_last_datum_that_goes_leaves_an_empty_tree() {
    let output = files(&[("a.png", "edges of a")]);
    let mut world = World::new(&output, prov(&[("/", "a")]));
    let edits = [edit(&mut world, "a", Some(&output), None)];
    let merged = world.merge(&edits).unwrap();
    assert_eq!(merged.tree, TreeChange::Empty);
    assert_eq!(merged.prov, [(Bytes::from("/"), None)]);
    assert_eq!(merged.datums, [(key("a").as_bytes().clone(), None)]);
}

#[test]
fn a_directory_that_one_datum_alone_writes_is_grafted_and_never_read() {
    let old = files(&[("a/1", "one"), ("a/2", "two")]);
    let new = files(&[("b/1", "one"), ("b/deep/er/2", "two")]);
    let mut world = World::new(&old, prov(&[("/", "da")]));
    let edits = [edit(&mut world, "db", None, Some(&new))];
    let merged = world.merge(&edits).unwrap();
    let TreeChange::Edits(tree) = &merged.tree else { panic!("{:?}", merged.tree) };
    assert!(
        matches!(tree.as_slice(), [(at, TreeEdit::Put(directory))] if *at == path("b") && directory.is_directory())
    );
    let owners: BTreeMap<String, String> = prov(&[("a/", "da"), ("b/", "db")]);
    assert_eq!(world.apply_prov(&merged.prov), owners);
}

#[test]
fn one_changed_datum_of_many_asks_for_its_own_names_only() {
    let mut all = Files::new();
    let mut owners = BTreeMap::new();
    for n in 0..1000 {
        all.insert(path(&format!("f{n}")), format!("old {n}"));
        owners.insert(format!("f{n}"), format!("d{n}"));
    }
    let mut world = World::new(&all, owners);
    let (old, new) = (files(&[("f7", "old 7")]), files(&[("f7", "new 7")]));
    let edits = [edit(&mut world, "d7", Some(&old), Some(&new))];
    let merged = world.merge(&edits).unwrap();
    assert_eq!(merged.prov, []);
    all.insert(path("f7"), "new 7".to_owned());
    assert_eq!(world.apply_tree(&merged.tree), all);
    assert!(world.questions <= 6, "{} questions for one file", world.questions);
    assert!(world.rounds <= 3, "{} rounds for one level", world.rounds);
}

#[test]
fn two_datums_that_write_one_path_are_both_named_even_with_equal_bytes() {
    let mut world = World::new(&Files::new(), BTreeMap::new());
    let output = files(&[("out/total", "7")]);
    let edits = [edit(&mut world, "late", None, Some(&output)), edit(&mut world, "early", None, Some(&output))];
    let error = world.merge(&edits).unwrap_err();
    let expected = MergeError::Conflict {
        path: path("out/total"),
        first: key("late"),
        second: key("early"),
        is_file_and_directory: false,
    };
    assert_eq!(error, expected);
    assert_eq!(
        error.to_string(),
        "two datums write /out/total: in:/late and in:/early. Let each datum write paths of its own, for example named after its input"
    );
}

#[test]
fn a_new_datum_may_not_write_what_a_kept_one_has_written() {
    let mut world = World::new(&files(&[("a", "1"), ("b", "2")]), prov(&[("a", "kept"), ("b", "other")]));
    let edits = [edit(&mut world, "new", None, Some(&files(&[("a", "1")])))];
    let error = world.merge(&edits).unwrap_err();
    let (first, second) = (key("new"), key("kept")); // keys are ordered by length first
    let expected = MergeError::Conflict { path: path("a"), first, second, is_file_and_directory: false };
    assert_eq!(error, expected);
}

#[test]
fn a_file_where_another_datum_has_a_directory_is_a_conflict() {
    let mut world = World::new(&files(&[("a/x", "1"), ("a/y", "2")]), prov(&[("a/x", "d1"), ("a/y", "d2")]));
    let edits = [edit(&mut world, "d3", None, Some(&files(&[("a", "1")])))];
    let error = world.merge(&edits).unwrap_err();
    let expected =
        MergeError::Conflict { path: path("a"), first: key("d1"), second: key("d3"), is_file_and_directory: true };
    assert_eq!(error, expected);
}

#[test]
fn a_path_may_pass_from_one_datum_to_another() {
    let output = files(&[("a", "1")]);
    let mut world = World::new(&output, prov(&[("/", "old")]));
    let edits = [edit(&mut world, "old", Some(&output), None), edit(&mut world, "new", None, Some(&output))];
    let merged = world.merge(&edits).unwrap();
    assert_eq!(merged.tree, TreeChange::Edits(vec![]));
    assert_eq!(world.apply_prov(&merged.prov), prov(&[("/", "new")]));
}

#[test]
fn what_a_datum_is_said_to_have_written_must_be_there() {
    let mut world = World::new(&files(&[("a", "1")]), prov(&[("/", "d1")]));
    let edits = [edit(&mut world, "d1", Some(&files(&[("a", "1"), ("b", "2")])), None)];
    assert_eq!(world.merge(&edits).unwrap_err(), MergeError::ParentDisagrees { path: RepoPath::ROOT });
}

#[test]
fn several_datums_in_one_very_deep_directory_are_refused_before_the_stack_is() {
    let mut world = World::new(&Files::new(), BTreeMap::new());
    let deep = vec!["d"; MAX_SHARED_DEPTH + 1].join("/");
    let edits = ["one", "two"].map(|datum| {
        let output = files(&[(format!("{deep}/{datum}").as_str(), "x")]);
        edit(&mut world, datum, None, Some(&output))
    });
    let mut facts = Facts::default();
    let error = loop {
        match merge(None, &edits, &facts) {
            Ok(Progress::Needs(needs)) => needs.into_iter().for_each(|need| world.answer(need, &mut facts)),
            Ok(Progress::Done(_)) => panic!("it merged"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, MergeError::TooDeep { .. }), "{error}");
}
