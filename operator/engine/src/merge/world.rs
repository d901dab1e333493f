//! A parent commit in memory, for tests: answers what a merge asks, and applies what it says.

use std::collections::BTreeMap;

use bytes::Bytes;
use varve_format::{DatumKey, Domain, Found, Hash, Kind, Location, Member, RepoPath};

use super::*;

/// Path → content.
pub(super) type Files = BTreeMap<RepoPath, String>;

pub(super) fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).expect("tests write paths that may be")
}

/// The key of the datum that reads the file `name`.
pub(super) fn key(name: &str) -> DatumKey {
    let found = Found { path: path(name), kind: Kind::File, id: Hash::ZERO, join_key: None };
    DatumKey::of(&[Member { input: "in".to_owned(), mount: "in".to_owned(), found: Some(found) }]).expect("one member")
}

fn name_of(key: &DatumKey) -> String {
    key.members().expect("a key")[0].1.clone().expect("a path")
}

pub(super) struct World {
    root: Option<Object>,
    prov: BTreeMap<String, String>,
    lists: BTreeMap<Hash, Vec<(String, Object)>>,
    files: Files,
    contents: BTreeMap<Hash, String>,
    /// How many questions were asked, and in how many rounds.
    pub questions: usize,
    pub rounds: usize,
}

impl World {
    pub(super) fn new(files: &Files, prov: BTreeMap<String, String>) -> Self {
        let (lists, contents) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self { root: None, prov, lists, files: files.clone(), contents, questions: 0, rounds: 0 };
        world.root = (!files.is_empty()).then(|| world.tree(files));
        world
    }

    /// The directory that holds these files.
    pub(super) fn tree(&mut self, files: &Files) -> Object {
        let mut names: BTreeMap<String, Object> = BTreeMap::new();
        let mut folders: BTreeMap<String, Files> = BTreeMap::new();
        for (path, content) in files {
            if let Some((first, rest)) = path.as_str().split_once('/') {
                let rest = RepoPath::parse(rest).expect("part of a path");
                folders.entry(first.to_owned()).or_default().insert(rest, content.clone());
            } else {
                let object = crate::object::fixtures::file(content);
                self.contents.insert(object.id, content.clone());
                names.insert(path.as_str().to_owned(), object);
            }
        }
        for (name, files) in folders {
            let tree = self.tree(&files);
            names.insert(name, tree);
        }
        let list: Vec<(String, Object)> = names.into_iter().collect();
        let said: Vec<(&str, u8, Hash)> =
            list.iter().map(|(name, object)| (name.as_str(), u8::from(object.kind), object.id)).collect();
        let id = Domain::Node.hash(format!("{said:?}").as_bytes());
        let total = |part: fn(&Object) -> u64| list.iter().map(|(_, object)| part(object)).sum();
        let (files, bytes) = (total(|object| object.files), total(|object| object.bytes));
        self.lists.insert(id, list);
        Object { kind: Kind::Directory, id, files, bytes, at: Location::Erased }
    }

    pub(super) fn find(&self, path: &RepoPath) -> Option<Object> {
        let mut at = self.root.clone()?;
        for name in path.names() {
            at = self.lists.get(&at.id)?.iter().find(|(own, _)| own == name)?.1.clone();
        }
        Some(at)
    }

    /// Answers until the merge is done.
    pub(super) fn merge(&mut self, edits: &[DatumEdit]) -> Result<Merged, MergeError> {
        let mut facts = Facts::default();
        loop {
            match merge(self.root.as_ref(), edits, &facts)? {
                Progress::Done(merged) => return Ok(merged),
                Progress::Needs(needs) => {
                    self.rounds += 1;
                    assert!(self.rounds < 100, "the merge asks for ever: {needs:?}");
                    self.questions += needs.len();
                    for need in needs {
                        self.answer(need, &mut facts);
                    }
                }
            }
        }
    }

    pub(super) fn answer(&self, need: Need, facts: &mut Facts) {
        match need {
            Need::Find(path) => {
                let found = self.find(&path);
                facts.found(path, found);
            }
            Need::List(directory) => {
                let list = self.lists[&directory.0.id].clone();
                facts.list(&directory, list);
            }
            Need::Owner(prov) => {
                let owner = self.prov.get(&prov).map(|name| key(name));
                facts.owner(prov, owner);
            }
            Need::OwnersBelow { directory, except } => {
                let mut scan = OwnerScan::new(&directory, &except);
                for (prov, owner) in &self.prov {
                    if scan.push(prov, &key(owner)) {
                        break;
                    }
                }
                let owners = scan.finish().expect("something is left out of `except`");
                facts.owners_below(directory, except, owners);
            }
            Need::EntriesBelow(directory) => {
                let (own, start) = (prov_key(&directory), directory.as_directory());
                let below = self.prov.iter().filter(|(prov, _)| **prov != own && prov.starts_with(&start));
                let entries = below.map(|(prov, owner)| (prov.clone(), key(owner))).collect();
                facts.entries_below(directory, entries);
            }
        }
    }

    /// The files after the edits, made one after the other.
    pub(super) fn apply_tree(&self, change: &TreeChange) -> Files {
        let mut files = self.files.clone();
        match change {
            TreeChange::Empty => files.clear(),
            TreeChange::Root(root) => {
                files.clear();
                self.put(&RepoPath::ROOT, root, &mut files);
            }
            TreeChange::Edits(edits) => {
                assert!(edits.is_sorted_by(|a, b| a.0 < b.0), "edits are sorted, each path once");
                for (path, edit) in edits {
                    files.retain(|other, _| !other.starts_with(path));
                    if let TreeEdit::Put(object) = edit {
                        files.retain(|other, _| !path.starts_with(other));
                        self.put(path, object, &mut files);
                    }
                }
            }
        }
        files
    }

    fn put(&self, at: &RepoPath, object: &Object, files: &mut Files) {
        if object.is_directory() {
            for (name, object) in &self.lists[&object.id] {
                self.put(&at.join(name).expect("a short path"), object, files);
            }
        } else {
            files.insert(at.clone(), self.contents[&object.id].clone());
        }
    }

    pub(super) fn apply_prov(&self, edits: &[(Bytes, Option<Bytes>)]) -> BTreeMap<String, String> {
        assert!(edits.is_sorted_by(|a, b| a.0 < b.0), "edits are sorted, each key once");
        let mut prov = self.prov.clone();
        for (key, value) in edits {
            let key = String::from_utf8(key.to_vec()).expect("a path");
            match value {
                Some(value) => {
                    let owner = name_of(&DatumKey::from_bytes(value.clone()).expect("a key"));
                    assert_ne!(
                        prov.insert(key.clone(), owner.clone()),
                        Some(owner),
                        "an edit of {key} that changes nothing"
                    );
                }
                None => assert!(prov.remove(&key).is_some(), "a removal of {key}, which is not there"),
            }
        }
        prov
    }
}
