//! The changes of a Commit, in their order → edits of its parent's tree.
//!
//! The outcome is a normal form: each path once, sorted, and an edit below a path comes after the removal or
//! replacement of that path. So it can be applied to the parent in one batch, and again to another head where somebody
//! else was faster. A later change sees the earlier ones: a glob also deletes what was put before it.
//!
//! Like a merge, [`resolve`] takes the [`Facts`] given so far and answers with the edits or with what is missing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use varve_api::commit::{Change, Copy, Put};
use varve_api::conditions::Reason;
use varve_format::{Kind, NameError, RepoPath};

use crate::glob::{Glob, GlobError};
use crate::matches::Match;
use crate::object::Object;
use crate::plan::ConfigMaps;

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Put this file or whole directory here, instead of whatever stands here. At the root: the whole tree is this.
    Put(Object),
    /// Write a file with this content.
    Write(Bytes),
    /// Remove the file or directory that stands here, if one does. At the root: everything.
    Delete,
}

/// A fact that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A ConfigMap of the namespace: [`Facts::config_maps`].
    ConfigMap(String),
    /// What the source of the copy at this place of `changes` is: [`Facts::copies`].
    Copy {
        /// Which of the changes.
        change: usize,
        /// The Repo; none for the Commit's own.
        repo: Option<String>,
        /// The reference to a commit of it.
        commit: String,
        /// The path in it.
        path: RepoPath,
    },
    /// What was fetched for the puts that name something outside: [`Facts::imports`].
    Imports,
    /// What stands at a path of a tree: [`Facts::found`].
    Find(Place),
    /// What a glob matches in a tree, with paths of the commit: [`Facts::matches`].
    Matches {
        /// The tree, and where it stands in the commit.
        tree: Tree,
        /// The glob; its depth and prefix bound what must be listed.
        glob: Glob,
    },
}

/// A tree that is part of the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// The parent's.
    Parent,
    /// A directory that a copy has put at a path.
    Copied {
        /// The path of the commit where it stands.
        at: RepoPath,
        /// The directory.
        directory: Object,
    },
}

/// A path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The tree.
    pub tree: Tree,
    /// The path, counted from the commit's root.
    pub path: RepoPath,
}

/// The answers given so far.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// ConfigMaps by name.
    pub config_maps: ConfigMaps,
    /// Names of ConfigMaps that are not there.
    pub missing_config_maps: BTreeSet<String>,
    /// By place in `changes`: what a copy takes; none where nothing stands there.
    pub copies: BTreeMap<usize, Option<Object>>,
    /// By place in `changes`: the files that were fetched, see [`attribute`]; none until the import has ended.
    pub imports: Option<BTreeMap<usize, Vec<(RepoPath, Object)>>>,
    found: Vec<(Place, Option<Object>)>,
    matches: Vec<(Tree, Glob, Vec<Match>)>,
}

impl Facts {
    /// Answers [`Need::Find`].
    pub fn found(&mut self, place: Place, object: Option<Object>) {
        self.found.push((place, object));
    }

    /// Answers [`Need::Matches`].
    pub fn matches(&mut self, tree: Tree, glob: Glob, matches: Vec<Match>) {
        self.matches.push((tree, glob, matches));
    }
}

/// How far the changes are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The edits: each path once, sorted; meant as if made one after the other.
    Done(Vec<(RepoPath, Edit)>),
    /// These facts are missing.
    Needs(Vec<Need>),
}

/// Resolves the changes of a Commit.
pub fn resolve(changes: &[Change], facts: &Facts) -> Result<Progress, CommitError> {
    let mut resolver = Resolver { facts, edits: BTreeMap::new(), needs: Vec::new() };
    for (index, change) in changes.iter().enumerate() {
        if let Some(put) = &change.put {
            resolver.put(index, put)?;
        } else if let Some(copy) = &change.copy {
            resolver.copy(index, copy)?;
        } else if let Some(delete) = &change.delete
            && resolver.needs.iter().all(|need| matches!(need, Need::Find(_)))
        {
            // What a deletion meets depends on all before it, so it is looked at only when that is known. (A deletion
            // whose path is still to be looked up is known: it goes through, or the whole fails.)
            resolver.delete(&delete.path)?;
        }
    }
    if resolver.needs.is_empty() {
        Ok(Progress::Done(resolver.edits.into_iter().collect()))
    } else {
        Ok(Progress::Needs(resolver.needs))
    }
}

/// The puts that name something outside, in order: what the import pod is to fetch.
pub fn fetches(changes: &[Change]) -> impl Iterator<Item = (usize, &Put)> {
    let puts = changes.iter().enumerate().filter_map(|(index, change)| Some((index, change.put.as_ref()?)));
    puts.filter(|(_, put)| put.url.is_some() || put.object_store.is_some())
}

/// Says which of the [`fetches`] each fetched file belongs to. The files must stand in the order of the fetches.
///
/// A URL or a single object brings one file, at the put's own path; a prefix brings any number below it.
pub fn attribute(
    changes: &[Change],
    files: impl IntoIterator<Item = (RepoPath, Object)>,
) -> Result<BTreeMap<usize, Vec<(RepoPath, Object)>>, CommitError> {
    let mut files = files.into_iter().peekable();
    let mut attributed: BTreeMap<usize, Vec<(RepoPath, Object)>> = BTreeMap::new();
    for (index, put) in fetches(changes) {
        let target = path(&put.path)?;
        let own = attributed.entry(index).or_default();
        if put.object_store.as_ref().is_some_and(|source| source.url.ends_with('/')) {
            own.extend(std::iter::from_fn(|| files.next_if(|(file, _)| file.starts_with(&target) && *file != target)));
        } else {
            own.extend(files.next_if(|(file, _)| *file == target));
        }
    }
    match files.next() {
        Some((path, _)) => Err(CommitError::StrayImport { path }),
        None => Ok(attributed),
    }
}

struct Resolver<'a> {
    facts: &'a Facts,
    edits: BTreeMap<RepoPath, Edit>,
    needs: Vec<Need>,
}

impl Resolver<'_> {
    fn put(&mut self, index: usize, put: &Put) -> Result<(), CommitError> {
        let target = path(&put.path)?;
        if let Some(text) = &put.text {
            self.edit(target, Edit::Write(Bytes::copy_from_slice(text.as_bytes())));
        } else if let Some(source) = &put.config_map {
            self.put_config_map(target, &source.name, source.key.as_deref())?;
        } else {
            match &self.facts.imports {
                None if self.needs.contains(&Need::Imports) => {}
                None => self.needs.push(Need::Imports),
                Some(imports) => {
                    for (file, object) in imports.get(&index).into_iter().flatten() {
                        self.edit(file.clone(), Edit::Put(object.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    fn put_config_map(&mut self, target: RepoPath, name: &str, key: Option<&str>) -> Result<(), CommitError> {
        let Some(map) = self.facts.config_maps.get(name) else {
            if self.facts.missing_config_maps.contains(name) {
                return Err(CommitError::ConfigMapNotFound { name: name.to_owned() });
            }
            let need = Need::ConfigMap(name.to_owned());
            if !self.needs.contains(&need) {
                self.needs.push(need);
            }
            return Ok(());
        };
        let write = |content: &[u8]| Edit::Write(Bytes::copy_from_slice(content));
        if let Some(key) = key {
            let missing = || CommitError::ConfigMapKeyNotFound { name: name.to_owned(), key: key.to_owned() };
            self.edit(target, write(map.find(key).ok_or_else(missing)?));
        } else {
            for key in map.keys() {
                let content = map.find(key).unwrap_or_default();
                self.edit(target.join(key)?, write(content));
            }
        }
        Ok(())
    }

    fn copy(&mut self, index: usize, copy: &Copy) -> Result<(), CommitError> {
        let (target, source) = (path(&copy.path)?, path(&copy.from.path)?);
        let (repo, commit) = (copy.from.repo.clone(), copy.from.commit.clone());
        match self.facts.copies.get(&index) {
            None => self.needs.push(Need::Copy { change: index, repo, commit, path: source }),
            Some(None) => return Err(CommitError::NothingToCopy { path: source, commit, repo }),
            Some(Some(object)) if target.is_root() && !object.is_directory() => {
                return Err(CommitError::FileAtRoot { path: source });
            }
            Some(Some(object)) => self.edit(target, Edit::Put(object.clone())),
        }
        Ok(())
    }

    fn delete(&mut self, text: &str) -> Result<(), CommitError> {
        if !Glob::is_plain_path(text) {
            return self.delete_matches(&Glob::parse(text)?);
        }
        let trimmed = if text.len() > 1 { text.strip_suffix('/').unwrap_or(text) } else { text };
        let target = path(trimmed)?;
        if self.exists(&target) == Some(false) {
            return Err(CommitError::NothingToDelete { path: target });
        }
        self.edit(target, Edit::Delete);
        Ok(())
    }

    /// Whether something stands at a path by now; none where that must be looked up.
    fn exists(&mut self, target: &RepoPath) -> Option<bool> {
        let is_put = |edit: &Edit| *edit != Edit::Delete;
        if target.is_root() || self.edits.get(target).is_some_and(is_put) || self.below(target).any(|(_, e)| is_put(e))
        {
            return Some(true);
        }
        let tree = match self.covering(target) {
            None => Tree::Parent,
            Some((at, Edit::Put(directory))) if directory.is_directory() => {
                Tree::Copied { at: at.clone(), directory: directory.clone() }
            }
            Some(_) => return Some(false),
        };
        let place = Place { tree, path: target.clone() };
        if let Some((_, object)) = self.facts.found.iter().find(|(known, _)| *known == place) {
            return Some(object.is_some());
        }
        self.needs.push(Need::Find(place));
        None
    }

    /// The edits strictly below a path: in order of bytes they are neighbours, behind `path/`.
    fn below<'e>(&'e self, path: &'e RepoPath) -> impl Iterator<Item = (&'e RepoPath, &'e Edit)> {
        // No name holds a NUL, so nothing stands between `path/` and `path/\u{1}`.
        let first = if path.is_root() { "\u{1}".to_owned() } else { format!("{}/\u{1}", path.as_str()) };
        let from = RepoPath::parse(&first).ok(); // too long: nothing can lie below
        from.into_iter().flat_map(|from| self.edits.range(from..)).take_while(|(other, _)| other.starts_with(path))
    }

    /// The edit of the path itself or of the nearest directory above it.
    fn covering(&self, target: &RepoPath) -> Option<(&RepoPath, &Edit)> {
        let mut at = Some(target.clone());
        while let Some(path) = at {
            if let Some(found) = self.edits.get_key_value(&path) {
                return Some(found);
            }
            at = path.parent();
        }
        None
    }

    fn delete_matches(&mut self, glob: &Glob) -> Result<(), CommitError> {
        let mut gone: BTreeSet<RepoPath> = self.matches_among_edits(glob);
        for tree in self.trees() {
            let facts = self.facts.matches.iter().find(|(known, of, _)| *known == tree && of == glob);
            let Some((_, _, matches)) = facts else {
                self.needs.push(Need::Matches { tree, glob: glob.clone() });
                continue;
            };
            let is_still_there = |found: &&Match| match (&tree, self.covering(&found.path)) {
                (Tree::Parent, covering) => covering.is_none(),
                (Tree::Copied { at, .. }, covering) => covering.is_some_and(|(path, _)| path == at),
            };
            gone.extend(matches.iter().filter(is_still_there).map(|found| found.path.clone()));
        }
        if gone.is_empty() && self.needs.is_empty() {
            return Err(CommitError::NothingMatches { glob: glob.clone() });
        }
        for path in gone {
            self.edit(path, Edit::Delete);
        }
        Ok(())
    }

    /// The trees that the commit is made of by now.
    fn trees(&self) -> Vec<Tree> {
        let copied = self.edits.iter().filter_map(|(at, edit)| match edit {
            Edit::Put(directory) if directory.is_directory() => {
                Some(Tree::Copied { at: at.clone(), directory: directory.clone() })
            }
            _ => None,
        });
        let parent = (!self.edits.contains_key(&RepoPath::ROOT)).then_some(Tree::Parent);
        parent.into_iter().chain(copied).collect()
    }

    /// Files that were put, and directories that there are because something was put below them.
    fn matches_among_edits(&self, glob: &Glob) -> BTreeSet<RepoPath> {
        let mut found = BTreeSet::new();
        for (path, edit) in self.edits.iter().filter(|(_, edit)| **edit != Edit::Delete) {
            let stands_here = match edit {
                Edit::Put(object) => object.clone(),
                _ => placeholder(Kind::File),
            };
            if glob.matches(path, &stands_here) {
                found.insert(path.clone());
            }
            let mut above = path.parent();
            while let Some(directory) = above {
                if glob.matches(&directory, &placeholder(Kind::Directory)) {
                    found.insert(directory.clone());
                }
                above = directory.parent();
            }
        }
        found
    }

    /// Adds an edit and takes away what it makes pointless.
    fn edit(&mut self, path: RepoPath, edit: Edit) {
        let pointless: Vec<RepoPath> = self.below(&path).map(|(other, _)| other.clone()).collect();
        for other in pointless {
            self.edits.remove(&other);
        }
        if edit != Edit::Delete {
            let mut above = path.parent();
            while let Some(directory) = above {
                if let Some(file) = self.edits.get_mut(&directory).filter(|edit| is_file(edit)) {
                    *file = Edit::Delete; // the file makes way for a directory
                }
                above = directory.parent();
            }
        }
        self.edits.insert(path, edit);
    }
}

fn is_file(edit: &Edit) -> bool {
    match edit {
        Edit::Write(_) => true,
        Edit::Put(object) => !object.is_directory(),
        Edit::Delete => false,
    }
}

/// Something of this kind whose content doesn't matter: globs look at kinds and paths alone.
fn placeholder(kind: Kind) -> Object {
    Object { kind, id: varve_format::Hash::ZERO, files: 1, bytes: 0, at: varve_format::Location::Erased }
}

fn path(text: &str) -> Result<RepoPath, NameError> {
    RepoPath::parse_absolute(text)
}

/// Why a Commit's changes can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A path that may not be.
    #[error(transparent)]
    Path(#[from] NameError),
    /// A glob that can't be read.
    #[error("delete: {0}")]
    Glob(#[from] GlobError),
    /// Nothing stands where a copy is to be taken from.
    #[error("copy: nothing stands at {path} in commit {commit} of {}: correct from.path or from.commit", .repo.as_deref().map_or("this Repo".to_owned(), |repo| format!("Repo {repo}")))]
    NothingToCopy {
        /// The path.
        path: RepoPath,
        /// The reference to a commit.
        commit: String,
        /// The Repo; none for the Commit's own.
        repo: Option<String>,
    },
    /// A file can't be the whole tree.
    #[error("copy: {path} is a file, and path `/` is the whole Repo: name a file to copy it to")]
    FileAtRoot {
        /// The source.
        path: RepoPath,
    },
    /// Nothing stands where something is to be deleted.
    #[error("delete: nothing stands at {path}: correct the path, or leave it out")]
    NothingToDelete {
        /// The path.
        path: RepoPath,
    },
    /// Nothing fits a glob that is to delete.
    #[error("delete: nothing matches {glob}: correct the glob, or leave it out")]
    NothingMatches {
        /// The glob.
        glob: Glob,
    },
    /// A ConfigMap is not there.
    #[error("ConfigMap {name} is not there: create it in this namespace")]
    ConfigMapNotFound {
        /// Its name.
        name: String,
    },
    /// A ConfigMap has no such key.
    #[error("ConfigMap {name} has no key {key}: add it, or name another")]
    ConfigMapKeyNotFound {
        /// The ConfigMap.
        name: String,
        /// The key.
        key: String,
    },
    /// The import pod brought a file that nothing asked for.
    #[error("the import brought {path}, which no put asks for")]
    StrayImport {
        /// The path.
        path: RepoPath,
    },
}

impl CommitError {
    /// The word for conditions, Events and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Path(_) => Reason::InvalidPath,
            Self::Glob(_) => Reason::GlobInvalid,
            Self::NothingToCopy { .. } | Self::NothingToDelete { .. } | Self::NothingMatches { .. } => {
                Reason::PathNotFound
            }
            Self::FileAtRoot { .. } => Reason::FileAndDirectory,
            Self::ConfigMapNotFound { .. } => Reason::ConfigMapNotFound,
            Self::ConfigMapKeyNotFound { .. } => Reason::ConfigMapKeyNotFound,
            Self::StrayImport { .. } => Reason::ImportFailed,
        }
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
