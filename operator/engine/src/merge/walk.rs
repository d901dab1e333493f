//! From the root down, into directories that several datums share: conflicts and the edits of the tree.

use std::collections::{BTreeMap, BTreeSet};

use varve_format::{DatumKey, RepoPath};

use super::facts::{Facts, Need, prov_key};
use super::{DatumEdit, MAX_SHARED_DEPTH, MergeError, TreeEdit};
use crate::object::Object;

/// A file or directory that the merge touches: what it was and what becomes of it, for `prov`.
#[derive(Debug)]
pub(super) struct Touched {
    /// Its path.
    pub path: RepoPath,
    /// Whether it is about a directory there, or a file.
    pub is_directory: bool,
    /// What stood there in the parent, if it was of that sort.
    pub base: Option<Object>,
    /// Who owned it, if one datum owned all of it.
    pub old_owner: Option<DatumKey>,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a file or directory.
#[derive(Debug)]
pub(super) enum Fate {
    /// It goes, with all below.
    Gone,
    /// All of it is this datum's.
    Owned(DatumKey),
    /// A directory that several write to, or have written to: see its touched names (a directory's with its `/`).
    Shared(BTreeMap<String, Touched>),
}

/// One datum's part in a directory.
#[derive(Debug, Clone)]
struct Part<'a> {
    datum: &'a DatumKey,
    tree: Object,
}

/// What the datums' outputs hold under one name, before and after.
#[derive(Default)]
struct Name<'a> {
    old_files: Vec<(&'a DatumKey, Object)>,
    new_files: Vec<(&'a DatumKey, Object)>,
    old_folders: Vec<Part<'a>>,
    new_folders: Vec<Part<'a>>,
}

/// A directory to be merged.
struct Shared<'a> {
    path: RepoPath,
    depth: usize,
    base: Option<Object>,
    old_owner: Option<DatumKey>,
    old: Vec<Part<'a>>,
    new: Vec<Part<'a>>,
}

/// The walk and what it has found.
pub(super) struct Walk<'a> {
    datums: &'a [DatumEdit],
    facts: &'a Facts,
    /// What is missing so far.
    pub needs: BTreeSet<Need>,
    /// The edits so far; the root's path stands for the whole tree.
    pub edits: BTreeMap<RepoPath, TreeEdit>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(datums: &'a [DatumEdit], facts: &'a Facts) -> Self {
        Self { datums, facts, needs: BTreeSet::new(), edits: BTreeMap::new() }
    }

    /// Walks from the root; none where nothing is touched.
    pub(super) fn root(&mut self, parent: Option<&Object>) -> Result<Option<Touched>, MergeError> {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for edit in self.datums {
            let (before, after) = (edit.before.as_ref(), edit.after.as_ref().map(|(_, tree)| tree));
            old.extend(before.map(|tree| Part { datum: &edit.key, tree: tree.clone() }));
            new.extend(after.map(|tree| Part { datum: &edit.key, tree: tree.clone() }));
        }
        old.retain(|part| part.tree.files > 0);
        new.retain(|part| part.tree.files > 0);
        let base = parent.filter(|tree| tree.files > 0).cloned();
        self.directory(Shared { path: RepoPath::ROOT, depth: 0, base, old_owner: None, old, new })
    }

    /// One directory; none where nothing in it is touched.
    fn directory(&mut self, mut shared: Shared<'a>) -> Result<Option<Touched>, MergeError> {
        drop_unchanged(&mut shared.old, &mut shared.new);
        if shared.old.is_empty() && shared.new.is_empty() {
            return Ok(None);
        }
        if shared.old_owner.is_none() && shared.base.is_some() {
            let owner = self.facts.get_owner(&prov_key(&shared.path));
            shared.old_owner = self.or_need(owner).flatten().cloned();
        }
        let kept = Self::kept_files(&shared)?;
        let fate = match (kept, shared.new.as_slice()) {
            (0, []) => {
                self.delete(&shared.path, shared.base.is_some());
                Fate::Gone
            }
            (0, [Part { datum, tree }]) => {
                if !shared.base.as_ref().is_some_and(|base| base.is_same(tree)) {
                    shared.path.check_directory()?;
                    self.edits.insert(shared.path.clone(), TreeEdit::Put(tree.clone()));
                }
                Fate::Owned((*datum).clone())
            }
            _ => Fate::Shared(self.names(&shared)?),
        };
        let Shared { path, base, old_owner, .. } = shared;
        Ok(Some(Touched { path, is_directory: true, base, old_owner, fate }))
    }

    /// Files of the parent's directory that stay, because no datum takes them back.
    fn kept_files(shared: &Shared<'_>) -> Result<u64, MergeError> {
        let there = shared.base.as_ref().map_or(0, |base| base.files);
        let taken_back = shared.old.iter().fold(0_u64, |sum, part| sum.saturating_add(part.tree.files));
        there.checked_sub(taken_back).ok_or_else(|| MergeError::ParentDisagrees { path: shared.path.clone() })
    }

    /// The touched names of a directory.
    fn names(&mut self, shared: &Shared<'a>) -> Result<BTreeMap<String, Touched>, MergeError> {
        if shared.depth >= MAX_SHARED_DEPTH {
            return Err(MergeError::TooDeep { path: shared.path.clone() });
        }
        let mut names: BTreeMap<String, Name<'a>> = BTreeMap::new();
        for part in &shared.old {
            self.sort_in(part, &mut names, |name| (&mut name.old_files, &mut name.old_folders));
        }
        for part in &shared.new {
            self.sort_in(part, &mut names, |name| (&mut name.new_files, &mut name.new_folders));
        }
        let mut touched = BTreeMap::new();
        for (text, mut name) in names {
            drop_unchanged_files(&mut name);
            self.name(shared, &text, name, &mut touched)?;
        }
        Ok(touched)
    }

    /// Adds what a part holds, name by name.
    fn sort_in(
        &mut self,
        part: &Part<'a>,
        names: &mut BTreeMap<String, Name<'a>>,
        side: impl for<'n> Fn(&'n mut Name<'a>) -> (&'n mut Vec<(&'a DatumKey, Object)>, &'n mut Vec<Part<'a>>),
    ) {
        let list = self.facts.get_list(&part.tree);
        for (text, object) in self.or_need(list).unwrap_or_default() {
            let (files, folders) = side(names.entry(text.clone()).or_default());
            if object.is_directory() {
                folders.push(Part { datum: part.datum, tree: object.clone() });
            } else {
                files.push((part.datum, object.clone()));
            }
        }
    }

    /// One name of a shared directory: at most a file that comes, goes or changes, and a directory that does.
    fn name(
        &mut self,
        shared: &Shared<'a>,
        text: &str,
        name: Name<'a>,
        touched: &mut BTreeMap<String, Touched>,
    ) -> Result<(), MergeError> {
        let path = shared.path.join(text)?;
        if name.old_files.is_empty()
            && name.new_files.is_empty()
            && name.old_folders.is_empty()
            && name.new_folders.is_empty()
        {
            return Ok(());
        }
        let base = if shared.base.is_some() {
            let found = self.facts.get_found(&path);
            let Some(found) = self.or_need(found) else { return Ok(()) };
            found.cloned()
        } else {
            None
        };
        let (base_directory, base_file) = match base {
            Some(base) if base.is_directory() => (Some(base), None),
            base => (None, base),
        };
        if name.old_files.len() != usize::from(base_file.is_some() && !name.old_files.is_empty()) {
            return Err(MergeError::ParentDisagrees { path });
        }
        self.check_conflicts(shared, &path, base_directory.as_ref(), base_file.as_ref(), &name)?;
        if !name.old_files.is_empty() || !name.new_files.is_empty() {
            let file = self.file(&path, base_file, &name);
            touched.insert(text.to_owned(), file);
        }
        if !name.old_folders.is_empty() || !name.new_folders.is_empty() {
            let below = Shared {
                path,
                depth: shared.depth + 1,
                base: base_directory,
                old_owner: shared.old_owner.clone(),
                old: name.old_folders,
                new: name.new_folders,
            };
            if let Some(directory) = self.directory(below)? {
                touched.insert(format!("{text}/"), directory);
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &RepoPath, base: Option<Object>, name: &Name<'a>) -> Touched {
        let fate = if let Some((datum, object)) = name.new_files.first() {
            if !base.as_ref().is_some_and(|base| base.is_same(object)) {
                self.edits.insert(path.clone(), TreeEdit::Put(object.clone()));
            }
            Fate::Owned((*datum).clone())
        } else {
            self.delete(path, base.is_some());
            Fate::Gone
        };
        let old_owner = name.old_files.first().map(|(datum, _)| (*datum).clone());
        Touched { path: path.clone(), is_directory: false, base, old_owner, fate }
    }

    /// Removes what stands at a path, unless something is put there anyway.
    fn delete(&mut self, path: &RepoPath, is_there: bool) {
        if is_there {
            self.edits.entry(path.clone()).or_insert(TreeEdit::Delete);
        }
    }

    /// Two that write one path, or one a file where the other has a directory.
    fn check_conflicts(
        &mut self,
        shared: &Shared<'a>,
        path: &RepoPath,
        base_directory: Option<&Object>,
        base_file: Option<&Object>,
        name: &Name<'a>,
    ) -> Result<(), MergeError> {
        let new_folder = name.new_folders.iter().map(|part| part.datum).min();
        let mut new_files = name.new_files.iter().map(|(datum, _)| *datum);
        let (new_file, other_file) = (new_files.next(), new_files.next());
        let kept_file = base_file.is_some() && name.old_files.is_empty();
        let (mine, other, is_mixed) = match (new_file, other_file, new_folder) {
            (Some(mine), Some(other), _) => (mine, Some(other.clone()), false),
            (Some(mine), None, Some(folder)) => (mine, Some(folder.clone()), true),
            (Some(mine), None, None) if kept_file => (mine, self.owner_of_file(shared, path), false),
            (None, None, Some(folder)) if kept_file => (folder, self.owner_of_file(shared, path), true),
            (Some(mine), None, None) if kept_below(base_directory, name) => {
                (mine, self.owner_below(shared, path, name), true)
            }
            _ => return Ok(()),
        };
        let Some(other) = other else { return Ok(()) }; // asked for
        let (first, second) = if *mine <= other { (mine.clone(), other) } else { (other, mine.clone()) };
        Err(MergeError::Conflict { path: path.clone(), first, second, is_file_and_directory: is_mixed })
    }

    fn owner_of_file(&mut self, shared: &Shared<'_>, path: &RepoPath) -> Option<DatumKey> {
        if shared.old_owner.is_some() {
            return shared.old_owner.clone();
        }
        let owner = self.facts.get_owner(path.as_str());
        self.or_need(owner).flatten().cloned()
    }

    /// The owner of something that stays below a directory of the parent.
    fn owner_below(&mut self, shared: &Shared<'_>, path: &RepoPath, name: &Name<'_>) -> Option<DatumKey> {
        if shared.old_owner.is_some() {
            return shared.old_owner.clone();
        }
        let whole = self.facts.get_owner(&prov_key(path));
        if let Some(owner) = self.or_need(whole)? {
            return Some(owner.clone());
        }
        let entries = self.facts.get_entries_below(path);
        let entries = self.or_need(entries)?;
        let taken_back: BTreeSet<&DatumKey> = name.old_folders.iter().map(|part| part.datum).collect();
        let kept = entries.iter().find(|(_, owner)| !taken_back.contains(owner));
        kept.or(entries.first()).map(|(_, owner)| owner.clone())
    }

    fn or_need<T>(&mut self, fact: Result<T, Need>) -> Option<T> {
        fact.map_err(|need| self.needs.insert(need)).ok()
    }
}

/// Whether something that no datum takes back lies in a directory of the parent.
fn kept_below(base: Option<&Object>, name: &Name<'_>) -> bool {
    let taken_back = name.old_folders.iter().fold(0_u64, |sum, part| sum.saturating_add(part.tree.files));
    base.is_some_and(|base| base.files > taken_back)
}

/// What a datum wrote before and writes again counts as never taken back.
fn drop_unchanged(old: &mut Vec<Part<'_>>, new: &mut Vec<Part<'_>>) {
    let before: BTreeMap<&DatumKey, &Object> = old.iter().map(|part| (part.datum, &part.tree)).collect();
    let is_kept = |part: &Part<'_>| before.get(part.datum).is_some_and(|tree| tree.is_same(&part.tree));
    let kept: BTreeSet<DatumKey> = new.iter().filter(|part| is_kept(part)).map(|part| part.datum.clone()).collect();
    if !kept.is_empty() {
        old.retain(|part| !kept.contains(part.datum));
        new.retain(|part| !kept.contains(part.datum));
    }
}

fn drop_unchanged_files(name: &mut Name<'_>) {
    let Some((datum, before)) = name.old_files.first().cloned() else { return };
    let is_kept = |(other, after): &(&DatumKey, Object)| *other == datum && before.is_same(after);
    if name.new_files.iter().any(is_kept) {
        name.old_files.clear();
        name.new_files.retain(|file| !is_kept(file));
    }
}
