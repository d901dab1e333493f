use std::collections::BTreeMap;

use proptest::prelude::*;
use varve_api::pipeline::{Input, PipelineSpec};

use super::*;
use crate::object::fixtures::{directory, file};

/// Leaf → path → content.
type Repos = Vec<BTreeMap<String, String>>;

const LIMIT: NonZeroU64 = NonZeroU64::new(10_000).unwrap();

fn input(name: &str, members: Option<(&str, &[&str])>, optional: bool) -> Input {
    let list = |of: &str| {
        members.filter(|(kind, _)| *kind == of).map(|(_, names)| names.iter().map(|&name| name.to_owned()).collect())
    };
    Input {
        name: name.to_owned(),
        glob: members.is_none().then(|| "/*".to_owned()),
        optional: optional.then_some(true),
        cross: list("cross"),
        union: list("union"),
        ..Input::default()
    }
}

fn tree(inputs: Vec<Input>) -> InputTree {
    InputTree::parse("out", &PipelineSpec { inputs, ..PipelineSpec::default() })
        .expect("tests write inputs that may be")
}

fn path(name: &str) -> RepoPath {
    RepoPath::parse(name).expect("tests write names that may be")
}

/// Contents that begin with `dir` stand for directories.
fn object(content: &str) -> Object {
    if content.starts_with("dir") { directory(content, 2) } else { file(content) }
}

fn all(repos: &Repos) -> Vec<Vec<Match>> {
    let found = |(name, content): (&String, &String)| Match { path: path(name), object: object(content) };
    repos.iter().map(|repo| repo.iter().map(found).collect()).collect()
}

fn changes(before: &Repos, after: &Repos) -> Vec<Vec<MatchChange>> {
    let of_leaf = |(before, after): (&BTreeMap<String, String>, &BTreeMap<String, String>)| {
        let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let glob = crate::glob::Glob::parse("/*").expect("a glob");
        let change = |name: &String| {
            let side = |repo: &BTreeMap<String, String>| repo.get(name).map(|content| object(content));
            crate::matches::Change { path: path(name), before: side(before), after: side(after) }
        };
        names.into_iter().map(change).flat_map(|change| crate::matches::changed_match(&glob, change)).collect()
    };
    before.iter().zip(after).map(of_leaf).collect()
}

fn full(tree: &InputTree, repos: &Repos) -> Vec<Datum> {
    let datums = Expansion::full(tree, Hash::ZERO, all(repos), LIMIT).expect("few datums");
    datums.map(|change| change.expect("a datum").after.expect("nothing goes in a first run")).collect()
}

fn incremental(tree: &InputTree, before: &Repos, after: &Repos) -> Vec<DatumChange> {
    let changes = changes(before, after);
    let has_changes: Vec<bool> = changes.iter().map(|changes| !changes.is_empty()).collect();
    let needed = full_lists_needed(tree, &has_changes);
    let facts = changes.into_iter().zip(all(after)).zip(needed);
    let facts = facts.map(|((changes, all), needed)| LeafFacts { changes, all: needed.then_some(all) }).collect();
    Expansion::incremental(tree, Hash::ZERO, facts, LIMIT).map(|change| change.expect("a datum")).collect()
}

fn repo(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

fn names(datums: impl IntoIterator<Item = DatumKey>) -> Vec<String> {
    datums.into_iter().map(|key| key.to_string()).collect()
}

#[test]
fn each_match_of_a_single_input_is_a_datum_in_the_order_of_keys() {
    let tree = tree(vec![input("a", None, false)]);
    let datums = full(&tree, &vec![repo(&[("long.png", "1"), ("z", "2"), ("d", "dir")])]);
    assert_eq!(names(datums.iter().map(|datum| datum.key.clone())), ["a:/z", "a:/d/", "a:/long.png"]);
    assert!(datums.is_sorted_by(|a, b| a.key < b.key));
}

#[test]
fn a_change_of_one_side_of_a_cross_changes_what_it_is_crossed_with() {
    let tree = tree(vec![input("a", None, false), input("b", None, false)]);
    let before = vec![repo(&[("1", "x"), ("2", "x")]), repo(&[("1", "x"), ("2", "x"), ("3", "x")])];
    let mut after = before.clone();
    after[0].insert("2".into(), "y".into());
    after[1].remove("3");
    let changes = incremental(&tree, &before, &after);
    let said = changes.iter().map(|change| (change.key.to_string(), change.existed, change.after.is_some()));
    let expected = [
        ("a:/1 + b:/3", true, false),
        ("a:/2 + b:/1", true, true),
        ("a:/2 + b:/2", true, true),
        ("a:/2 + b:/3", true, false),
    ];
    assert_eq!(said.collect::<Vec<_>>(), expected.map(|(key, existed, is)| (key.to_owned(), existed, is)));
}

#[test]
fn a_single_input_never_needs_its_whole_list() {
    let alone =
        tree(vec![input("a", None, false), input("b", None, false), input("u", Some(("union", &["a", "b"])), false)]);
    assert_eq!(full_lists_needed(&alone, &[true, true]), [false, false]);
    let crossed = tree(vec![input("a", None, false), input("b", None, false)]);
    assert_eq!(full_lists_needed(&crossed, &[true, false]), [false, true]);
}

#[test]
fn an_optional_input_without_matches_is_absent_and_the_others_go_on() {
    let tree = tree(vec![input("a", None, false), input("b", None, true)]);
    let without = vec![repo(&[("1", "x")]), repo(&[])];
    let with = vec![repo(&[("1", "x")]), repo(&[("late", "x")])];
    assert_eq!(names(full(&tree, &without).into_iter().map(|datum| datum.key)), ["a:/1 + b:(absent)"]);
    let changes = incremental(&tree, &without, &with);
    let said: Vec<_> = changes.iter().map(|change| (change.key.to_string(), change.after.is_some())).collect();
    assert_eq!(said, [("a:/1 + b:/late".to_owned(), true), ("a:/1 + b:(absent)".to_owned(), false)]);
}

#[test]
fn a_datum_with_nothing_in_it_is_none() {
    let tree = tree(vec![input("a", None, true), input("b", None, true)]);
    assert_eq!(full(&tree, &vec![repo(&[]), repo(&[])]), []);
    assert_eq!(count(&tree, &all(&vec![repo(&[]), repo(&[])])), 0);
}

#[test]
fn more_datums_than_the_limit_are_an_error_before_the_first() {
    let tree = tree(vec![input("a", None, false), input("b", None, false)]);
    let many = repo(&[("1", "x"), ("2", "x"), ("3", "x")]);
    let limit = NonZeroU64::new(8).unwrap();
    let error = Expansion::full(&tree, Hash::ZERO, all(&vec![many.clone(), many]), limit).err().unwrap();
    assert_eq!(error.reason(), Reason::TooManyDatums);
    assert_eq!(
        error.to_string(),
        "the inputs make 9 datums, and datum.limit allows 8: narrow the globs or the cross, or raise datum.limit"
    );
}

#[test]
fn a_key_that_is_too_long_is_an_error_and_ends_the_expansion() {
    let names = ["a", "b", "c", "d"];
    let tree = tree(names.iter().map(|name| input(name, None, false)).collect());
    let long = |name: &str| format!("{}{name}", "x/".repeat(1200));
    let matches: Vec<Vec<Match>> =
        names.iter().map(|name| vec![Match { path: path(&long(name)), object: file("x") }]).collect();
    let mut datums = Expansion::full(&tree, Hash::ZERO, matches, LIMIT).unwrap();
    assert_eq!(datums.next().unwrap().unwrap_err().reason(), Reason::DatumKeyTooLong);
    assert!(datums.next().is_none());
}

#[test]
fn a_long_chain_of_crossed_inputs_is_walked_in_linear_time() {
    let inputs: Vec<String> = (0..40).map(|n| format!("i{n:02}")).collect();
    let tree = tree(inputs.iter().map(|name| input(name, None, false)).collect());
    let repos: Repos = inputs.iter().map(|_| repo(&[("only", "x")])).collect();
    assert_eq!(full(&tree, &repos).len(), 1);
}

fn trees() -> impl Strategy<Value = InputTree> {
    let shapes: Vec<fn(bool) -> Vec<Input>> = vec![
        |_| vec![input("a", None, false), input("b", None, false), input("c", None, false)],
        |optional| vec![input("a", None, false), input("b", None, optional), input("c", None, optional)],
        |_| {
            let union = input("u", Some(("union", &["a", "b", "c"])), false);
            vec![input("a", None, false), input("b", None, false), input("c", None, false), union]
        },
        |optional| {
            let union = input("u", Some(("union", &["a", "c"])), false);
            vec![input("a", None, optional), input("b", None, optional), input("c", None, false), union]
        },
        |optional| {
            let cross = input("x", Some(("cross", &["a", "c"])), false);
            let union = input("u", Some(("union", &["x", "b"])), false);
            vec![input("a", None, optional), input("b", None, false), input("c", None, false), cross, union]
        },
    ];
    (prop::sample::select(shapes), any::<bool>()).prop_map(|(shape, optional)| tree(shape(optional)))
}

fn repos() -> impl Strategy<Value = Repos> {
    let name = prop::sample::select(vec!["a", "b", "cc", "d.x"]).prop_map(str::to_owned);
    let content = prop::sample::select(vec!["x", "y", "dir x", "dir y"]).prop_map(str::to_owned);
    prop::collection::vec(prop::collection::btree_map(name, content, 0..4), 3)
}

proptest! {
    #[test]
    fn changes_applied_to_the_old_datums_give_the_new_ones(tree in trees(), before in repos(), after in repos()) {
        let index = |datums: Vec<Datum>| datums.into_iter().map(|datum| (datum.key.clone(), datum)).collect();
        let mut datums: BTreeMap<DatumKey, Datum> = index(full(&tree, &before));
        let changes = incremental(&tree, &before, &after);
        prop_assert!(changes.is_sorted_by(|a, b| a.key < b.key), "changes come in the order of their keys, each once");
        for DatumChange { key, existed, after } in changes {
            let old = match &after {
                Some(datum) => datums.insert(key, datum.clone()),
                None => datums.remove(&key),
            };
            prop_assert_eq!(existed, old.is_some());
            prop_assert_ne!(old, after, "a change that changes nothing");
        }
        prop_assert_eq!(datums, index(full(&tree, &after)));
    }

    #[test]
    fn as_many_datums_are_made_as_were_counted(tree in trees(), repos in repos()) {
        prop_assert_eq!(full(&tree, &repos).len() as u128, count(&tree, &all(&repos)));
    }
}
