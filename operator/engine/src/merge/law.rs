//! The law of the merge: whatever came before, the outcome is what a merge from scratch gives; and a conflict is found
//! exactly where two datums' outputs do not go together.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use varve_format::Hash;

use super::*;
use crate::merge::world::{Files, World, key, path};

/// Datum → its files.
type Outputs = BTreeMap<String, Files>;

/// Whose each file is; none where two datums write one path, or one a file where another has a directory.
fn together(outputs: &Outputs) -> Option<BTreeMap<RepoPath, String>> {
    let mut owners = BTreeMap::new();
    for (datum, files) in outputs {
        for path in files.keys() {
            if owners.insert(path.clone(), datum.clone()).is_some() {
                return None;
            }
        }
    }
    let is_below_a_file = |path: &RepoPath| owners.keys().any(|other| other != path && path.starts_with(other));
    if owners.keys().any(is_below_a_file) { None } else { Some(owners) }
}

/// `prov` as the format defines it, from the owners of all files.
fn canonical(owners: &BTreeMap<RepoPath, String>) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    add_canonical(&RepoPath::ROOT, owners, &mut entries);
    entries
}

fn add_canonical(directory: &RepoPath, owners: &BTreeMap<RepoPath, String>, entries: &mut BTreeMap<String, String>) {
    let below: BTreeMap<&RepoPath, &String> = owners.iter().filter(|(path, _)| path.starts_with(directory)).collect();
    let distinct: BTreeSet<&String> = below.values().copied().collect();
    if let (1, Some(owner)) = (distinct.len(), distinct.first()) {
        entries.insert(prov_key(directory), (*owner).clone());
        return;
    }
    let mut folders = BTreeSet::new();
    for (path, owner) in below {
        let rest = path.strip_prefix(directory).expect("it starts with it");
        let first = rest.names().next().expect("a file has a name").to_owned();
        if rest.as_str() == first {
            entries.insert(path.as_str().to_owned(), owner.clone());
        } else {
            folders.insert(directory.join(&first).expect("a short path"));
        }
    }
    for folder in folders {
        add_canonical(&folder, owners, entries);
    }
}

fn all_files(outputs: &Outputs) -> Files {
    outputs.values().flatten().map(|(path, content)| (path.clone(), content.clone())).collect()
}

/// Merges `after` over `before`; datums in `again` are run again though they write the same.
fn run(
    before: &Outputs,
    after: &Outputs,
    again: &BTreeSet<String>,
) -> Result<(Files, BTreeMap<String, String>), MergeError> {
    let owners = together(before).expect("the parent is sound");
    let mut world = World::new(&all_files(before), canonical(&owners));
    let datums: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut edits = Vec::new();
    for datum in datums {
        let (old, new) = (before.get(datum), after.get(datum));
        if old == new && !again.contains(datum) {
            continue;
        }
        let before = old.map(|files| world.tree(files));
        let row = varve_format::DatumRow {
            hash: Hash::of_content(datum.as_bytes()),
            state: varve_format::DatumState::Succeeded,
            output: Hash::ZERO,
        };
        let after = new.map(|files| (row, world.tree(files)));
        edits.push(DatumEdit { key: key(datum), before, after });
    }
    let merged = world.merge(&edits)?;
    Ok((world.apply_tree(&merged.tree), world.apply_prov(&merged.prov)))
}

fn file_path() -> impl Strategy<Value = RepoPath> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "a.x"]), 1..=4)
        .prop_map(|names| path(&names.join("/")))
}

/// A datum's own files, without those below another of them: a program can't have written both.
fn written(files: &Files) -> Files {
    let is_below_a_file = |path: &RepoPath| files.keys().any(|other| other != path && path.starts_with(other));
    files
        .iter()
        .filter(|(path, _)| !is_below_a_file(path))
        .map(|(path, content)| (path.clone(), content.clone()))
        .collect()
}

fn outputs() -> impl Strategy<Value = Outputs> {
    let datum = prop::sample::select(vec!["d1", "d2", "d3", "d4", "d5"]).prop_map(str::to_owned);
    let content = prop::sample::select(vec!["x", "y"]).prop_map(str::to_owned);
    let file = (datum, file_path(), content);
    (prop::collection::vec(file, 0..14), prop::bool::ANY).prop_map(|(files, has_silent_datum)| {
        let mut outputs = Outputs::new();
        if has_silent_datum {
            outputs.insert("d5".to_owned(), Files::new()); // one that may write nothing
        }
        for (datum, path, content) in files {
            outputs.entry(datum).or_default().insert(path, content);
        }
        outputs.into_iter().map(|(datum, files)| (datum, written(&files))).collect()
    })
}

/// Drops files until all go together.
fn sound(outputs: Outputs) -> Outputs {
    let mut kept = Outputs::new();
    for (datum, files) in outputs {
        kept.entry(datum.clone()).or_default();
        for (path, content) in files {
            let mut tried = kept.clone();
            tried.get_mut(&datum).expect("just made").insert(path, content);
            if together(&tried).is_some() {
                kept = tried;
            }
        }
    }
    kept
}

/// A later state that shares much with an earlier one.
fn evolved(before: &Outputs, other: &Outputs, choices: &[u8]) -> Outputs {
    let mut after = Outputs::new();
    let names: BTreeSet<&String> = before.keys().chain(other.keys()).collect();
    for (name, choice) in names.into_iter().zip(choices) {
        let (old, new) = (before.get(name), other.get(name));
        let files = match choice % 4 {
            0 => old.cloned(),
            1 => new.cloned(),
            2 => {
                let both = old.into_iter().chain(new).flatten();
                Some(both.map(|(path, content)| (path.clone(), content.clone())).collect())
            }
            _ => None,
        };
        after.extend(files.map(|files| (name.clone(), written(&files))));
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_gives_what_one_from_scratch_gives(
        before in outputs(),
        other in outputs(),
        choices in prop::collection::vec(any::<u8>(), 10),
        again in prop::collection::btree_set(prop::sample::select(vec!["d1".to_owned(), "d2".to_owned()]), 0..2),
    ) {
        let before = sound(before);
        let after = evolved(&before, &other, &choices);
        let outcome = run(&before, &after, &again);
        if let Some(owners) = together(&after) {
            let (files, prov) = outcome.expect("outputs that go together merge");
            prop_assert_eq!(&files, &all_files(&after));
            prop_assert_eq!(&prov, &canonical(&owners));
            let scratch = run(&Outputs::new(), &after, &BTreeSet::new()).expect("they go together");
            prop_assert_eq!(scratch, (files, prov));
        } else {
            let is_conflict = matches!(outcome, Err(MergeError::Conflict { .. }));
            prop_assert!(is_conflict, "{:?}", outcome);
        }
    }

    #[test]
    fn a_conflict_names_two_datums_that_really_conflict(
        before in outputs(),
        other in outputs(),
        choices in prop::collection::vec(any::<u8>(), 10),
    ) {
        let before = sound(before);
        let after = evolved(&before, &other, &choices);
        if let Err(MergeError::Conflict { path, first, second, .. }) = run(&before, &after, &BTreeSet::new()) {
            let writes = |datum: &DatumKey| {
                let files = after.iter().find(|(name, _)| key(name) == *datum).map(|(_, files)| files);
                files.is_some_and(|files| files.keys().any(|file| file.starts_with(&path) || path.starts_with(file)))
            };
            prop_assert!(first < second);
            prop_assert!(writes(&first) && writes(&second), "{path}: {first}, {second}");
        }
    }
}
