use varve_api::commit::{ConfigMapSource, CopySource, Delete, ObjectStoreSource};

use super::*;
use crate::object::fixtures::{directory, file};
use crate::plan::ConfigMapContent;

fn put(at: &str, text: &str) -> Change {
    let put = Put { path: at.into(), text: Some(text.into()), ..Put::default() };
    Change { put: Some(put), ..Change::default() }
}

fn fetch(at: &str, url: &str) -> Change {
    let put = Put { path: at.into(), url: Some(url.into()), ..Put::default() };
    Change { put: Some(put), ..Change::default() }
}

fn delete(what: &str) -> Change {
    Change { delete: Some(Delete { path: what.into() }), ..Change::default() }
}

fn copy(at: &str, from: &str) -> Change {
    let from = CopySource { repo: Some("archive".into()), commit: "main".into(), path: from.into() };
    Change { copy: Some(Copy { path: at.into(), from }), ..Change::default() }
}

fn path(text: &str) -> RepoPath {
    RepoPath::parse_absolute(text).expect("tests write paths that may be")
}

fn write(text: &str) -> Edit {
    Edit::Write(Bytes::copy_from_slice(text.as_bytes()))
}

/// Resolves over a parent that holds these files, answering what is asked.
fn resolved(parent: &[&str], changes: &[Change], mut facts: Facts) -> Result<Vec<(RepoPath, Edit)>, CommitError> {
    let names: Vec<RepoPath> = parent.iter().map(|name| path(name)).collect();
    let stands = |at: &RepoPath| {
        let is_directory = names.iter().any(|name| name != at && name.starts_with(at));
        if is_directory { Some(directory("any", 1)) } else { names.contains(at).then(|| file("any")) }
    };
    for _ in 0..10 {
        let needs = match resolve(changes, &facts)? {
            Progress::Done(edits) => return Ok(edits),
            Progress::Needs(needs) => needs,
        };
        for need in needs {
            match need {
                Need::Find(place) => {
                    let found = if place.tree == Tree::Parent { stands(&place.path) } else { Some(file("copied")) };
                    facts.found(place, found);
                }
                Need::Matches { tree: Tree::Parent, glob } => {
                    let mut all: BTreeSet<RepoPath> = names.iter().cloned().collect();
                    for name in &names {
                        all.extend(std::iter::successors(name.parent(), RepoPath::parent));
                    }
                    let matches = all.into_iter().filter_map(|at| {
                        let object = stands(&at)?;
                        glob.matches(&at, &object).then_some(Match { path: at, object })
                    });
                    let matches = matches.collect();
                    facts.matches(Tree::Parent, glob, matches);
                }
                Need::Matches { tree, glob } => facts.matches(tree, glob, vec![]),
                other => panic!("nothing answers {other:?}"),
            }
        }
    }
    panic!("it asks for ever")
}

fn done(parent: &[&str], changes: &[Change]) -> Vec<(RepoPath, Edit)> {
    resolved(parent, changes, Facts::default()).expect("the changes go together")
}

#[test]
fn the_last_change_of_a_path_wins() {
    let edits = done(&[], &[put("/b", "1"), put("/a", "2"), put("/b", "3")]);
    assert_eq!(edits, [(path("/a"), write("2")), (path("/b"), write("3"))]);
}

#[test]
fn a_file_and_a_directory_of_one_name_make_way_for_each_other() {
    let directory_last = done(&[], &[put("/a", "file"), put("/a/b", "below")]);
    assert_eq!(directory_last, [(path("/a"), Edit::Delete), (path("/a/b"), write("below"))]);
    let file_last = done(&[], &[put("/a/b", "below"), put("/a", "file")]);
    assert_eq!(file_last, [(path("/a"), write("file"))]);
}

#[test]
fn what_is_deleted_and_put_again_is_put_into_an_empty_directory() {
    let edits = done(&["/old/x", "/old/y"], &[put("/old/z", "0"), delete("/old/"), put("/old/x", "1")]);
    assert_eq!(edits, [(path("/old"), Edit::Delete), (path("/old/x"), write("1"))]);
}

#[test]
fn deleting_what_is_not_there_names_the_path() {
    let error = resolved(&["/a"], &[delete("/b")], Facts::default()).unwrap_err();
    assert_eq!(error, CommitError::NothingToDelete { path: path("/b") });
    let error = resolved(&["/a"], &[delete("/a"), delete("/a")], Facts::default()).unwrap_err();
    assert_eq!(error, CommitError::NothingToDelete { path: path("/a") });
    let error = resolved(&["/a"], &[delete("/*.png")], Facts::default()).unwrap_err();
    assert_eq!(error.to_string(), "delete: nothing matches /*.png: correct the glob, or leave it out");
}

#[test]
fn a_glob_deletes_what_the_parent_has_and_what_was_put_before_it() {
    let edits = done(
        &["/s/a.tmp", "/s/b.txt", "/c.tmp"],
        &[put("/s/new.tmp", "1"), delete("/**/*.tmp"), put("/s/last.tmp", "2")],
    );
    let expected = [
        (path("/c.tmp"), Edit::Delete),
        (path("/s/a.tmp"), Edit::Delete),
        (path("/s/last.tmp"), write("2")),
        (path("/s/new.tmp"), Edit::Delete),
    ];
    assert_eq!(edits, expected);
}

#[test]
fn a_glob_deletes_a_directory_that_is_there_only_by_what_was_put() {
    let edits = done(&[], &[put("/fresh/a", "1"), delete("/*")]);
    assert_eq!(edits, [(path("/fresh"), Edit::Delete)]);
}

#[test]
fn a_path_with_parentheses_is_a_path() {
    let edits = done(&["/photo (1).png"], &[delete("/photo (1).png")]);
    assert_eq!(edits, [(path("/photo (1).png"), Edit::Delete)]);
}

#[test]
fn a_copy_asks_for_its_source_and_puts_it_as_it_is() {
    let changes = [copy("/here", "/there")];
    let need = Need::Copy { change: 0, repo: Some("archive".into()), commit: "main".into(), path: path("/there") };
    assert_eq!(resolve(&changes, &Facts::default()), Ok(Progress::Needs(vec![need])));
    let facts = |object| Facts { copies: BTreeMap::from([(0, object)]), ..Facts::default() };
    let tree = directory("there", 9);
    assert_eq!(resolved(&[], &changes, facts(Some(tree.clone()))).unwrap(), [(path("/here"), Edit::Put(tree))]);
    let error = resolved(&[], &changes, facts(None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "copy: nothing stands at /there in commit main of Repo archive: correct from.path or from.commit"
    );
    let error = resolved(&[], &[copy("/", "/there")], facts(Some(file("x")))).unwrap_err();
    assert_eq!(error.reason(), Reason::FileAndDirectory);
}

#[test]
fn what_was_copied_can_be_deleted_in_part() {
    let tree = directory("copied", 9);
    let facts = Facts { copies: BTreeMap::from([(0, Some(tree.clone()))]), ..Facts::default() };
    let edits = resolved(&[], &[copy("/here", "/there"), delete("/here/x")], facts).unwrap();
    assert_eq!(edits, [(path("/here"), Edit::Put(tree)), (path("/here/x"), Edit::Delete)]);
}

#[test]
fn a_config_map_becomes_one_file_or_one_for_each_key() {
    let change = |key: Option<&str>| {
        let source = ConfigMapSource { name: "settings".into(), key: key.map(str::to_owned) };
        let put = Put { path: "/conf".into(), config_map: Some(source), ..Put::default() };
        Change { put: Some(put), ..Change::default() }
    };
    let content = ConfigMapContent {
        data: BTreeMap::from([("a.txt".to_owned(), "text".to_owned())]),
        binary_data: BTreeMap::from([("b.bin".to_owned(), vec![0, 1])]),
    };
    let facts = || Facts { config_maps: [("settings".to_owned(), content.clone())].into(), ..Facts::default() };
    let all = resolved(&[], &[change(None)], facts()).unwrap();
    let bytes = Edit::Write(Bytes::from_static(&[0, 1]));
    assert_eq!(all, [(path("/conf/a.txt"), write("text")), (path("/conf/b.bin"), bytes.clone())]);
    assert_eq!(resolved(&[], &[change(Some("b.bin"))], facts()).unwrap(), [(path("/conf"), bytes)]);
    let error = resolved(&[], &[change(Some("c"))], facts()).unwrap_err();
    assert_eq!(error, CommitError::ConfigMapKeyNotFound { name: "settings".into(), key: "c".into() });
    let missing = Facts { missing_config_maps: ["settings".to_owned()].into(), ..Facts::default() };
    let error = resolved(&[], &[change(None)], missing).unwrap_err();
    assert_eq!(error, CommitError::ConfigMapNotFound { name: "settings".into() });
}

#[test]
fn fetched_files_take_the_place_of_the_put_that_asked_for_them() {
    let prefix = ObjectStoreSource { url: "s3://b/p/".into(), secret_name: None };
    let bucket = Put { path: "/p".into(), object_store: Some(prefix), ..Put::default() };
    let changes = [
        fetch("/p/x", "https://example.org/x"),
        delete("/p"),
        Change { put: Some(bucket), ..Change::default() },
        put("/p/y", "mine"),
    ];
    assert_eq!(fetches(&changes).map(|(index, _)| index).collect::<Vec<_>>(), [0, 2]);
    let files = [(path("/p/x"), file("by url")), (path("/p/a"), file("a")), (path("/p/y"), file("y"))];
    let imports = attribute(&changes, files.clone()).unwrap();
    assert_eq!(imports, BTreeMap::from([(0, files[..1].to_vec()), (2, files[1..].to_vec())]));
    let facts = Facts { imports: Some(imports), ..Facts::default() };
    let edits = resolved(&["/p/old"], &changes, facts).unwrap();
    let expected = [(path("/p"), Edit::Delete), (path("/p/a"), Edit::Put(file("a"))), (path("/p/y"), write("mine"))];
    assert_eq!(edits, expected);
}

#[test]
fn a_file_that_nothing_asked_for_is_refused() {
    let error = attribute(&[fetch("/a", "https://example.org/a")], [(path("/b"), file("b"))]).unwrap_err();
    assert_eq!(error, CommitError::StrayImport { path: path("/b") });
}

#[test]
fn many_deletions_ask_for_their_paths_at_once() {
    let changes: Vec<Change> = (0..100).map(|n| delete(&format!("/f{n}"))).collect();
    let Ok(Progress::Needs(needs)) = resolve(&changes, &Facts::default()) else { panic!("it knows the tree already") };
    assert_eq!(needs.len(), 100);
}

#[test]
fn names_that_begin_alike_are_not_below_each_other() {
    let edits = done(&["/a.txt", "/a/x"], &[put("/a.txt", "1"), put("/a/y", "2"), put("/a!", "3"), delete("/a")]);
    assert_eq!(edits, [(path("/a"), Edit::Delete), (path("/a!"), write("3")), (path("/a.txt"), write("1"))]);
}

proptest::proptest! {
    #[test]
    fn edits_made_one_after_the_other_give_what_the_changes_say(
        steps in proptest::collection::vec(("(/(a|b|c)){1,3}", proptest::bool::ANY), 1..12),
    ) {
        // A model that holds the files of an empty parent.
        let mut files: BTreeMap<RepoPath, String> = BTreeMap::new();
        let mut changes = Vec::new();
        for (index, (at, is_put)) in steps.iter().enumerate() {
            let target = path(at);
            let is_there = files.keys().any(|file| file.starts_with(&target));
            if !is_put && !is_there {
                continue; // a deletion of nothing is an error, tested elsewhere
            }
            files.retain(|file, _| !(file.starts_with(&target) || *is_put && target.starts_with(file)));
            if *is_put {
                files.insert(target, index.to_string());
                changes.push(put(at, &index.to_string()));
            } else {
                changes.push(delete(at));
            }
        }
        let mut applied: BTreeMap<RepoPath, String> = BTreeMap::new();
        for (at, edit) in done(&[], &changes) {
            applied.retain(|file, _| !file.starts_with(&at) && (edit == Edit::Delete || !at.starts_with(file)));
            if let Edit::Write(content) = edit {
                applied.insert(at, String::from_utf8(content.to_vec()).expect("a number"));
            }
        }
        proptest::prop_assert_eq!(applied, files);
    }
}
