//! What a merge has been told, and what it still asks for.

use std::collections::{BTreeMap, BTreeSet};

use varve_format::{DatumKey, Hash, RepoPath};

use crate::object::Object;

/// A fact that a merge lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// What stands at this path of the parent's tree: [`Facts::found`].
    Find(RepoPath),
    /// The names in the directory with this root node: [`Facts::list`].
    List(Directory),
    /// The value of exactly this key of the parent's `prov`: [`Facts::owner`].
    Owner(String),
    /// Whether everything below this directory of the parent, some names in it left out, has one owner:
    /// [`Facts::owners_below`], from an [`OwnerScan`].
    OwnersBelow {
        /// The directory.
        directory: RepoPath,
        /// Names in it to leave out, a directory's with its `/`.
        except: BTreeSet<String>,
    },
    /// Every entry of the parent's `prov` strictly below this directory: [`Facts::entries_below`].
    EntriesBelow(RepoPath),
}

/// A directory to be listed; equal where the ids are, wherever it lies.
#[derive(Debug, Clone)]
pub struct Directory(pub Object);

impl PartialEq for Directory {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Directory {}

impl PartialOrd for Directory {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Directory {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

/// Who owns what an [`OwnerScan`] has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owners {
    /// One datum.
    One(DatumKey),
    /// More than one.
    Several,
}

/// The answers given so far.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    found: BTreeMap<RepoPath, Option<Object>>,
    lists: BTreeMap<Hash, Vec<(String, Object)>>,
    owners: BTreeMap<String, Option<DatumKey>>,
    scans: BTreeMap<RepoPath, (BTreeSet<String>, Owners)>,
    entries: BTreeMap<RepoPath, Vec<(String, DatumKey)>>,
}

impl Facts {
    /// Answers [`Need::Find`].
    pub fn found(&mut self, path: RepoPath, object: Option<Object>) {
        self.found.insert(path, object);
    }

    /// Answers [`Need::List`]: names without a directory's `/`.
    pub fn list(&mut self, directory: &Directory, names: Vec<(String, Object)>) {
        self.lists.insert(directory.0.id, names);
    }

    /// Answers [`Need::Owner`].
    pub fn owner(&mut self, key: String, owner: Option<DatumKey>) {
        self.owners.insert(key, owner);
    }

    /// Answers [`Need::OwnersBelow`].
    pub fn owners_below(&mut self, directory: RepoPath, except: BTreeSet<String>, owners: Owners) {
        self.scans.insert(directory, (except, owners));
    }

    /// Answers [`Need::EntriesBelow`]: keys as they stand in `prov`, with their values.
    pub fn entries_below(&mut self, directory: RepoPath, entries: Vec<(String, DatumKey)>) {
        self.entries.insert(directory, entries);
    }

    pub(super) fn get_found(&self, path: &RepoPath) -> Result<Option<&Object>, Need> {
        self.found.get(path).map(Option::as_ref).ok_or_else(|| Need::Find(path.clone()))
    }

    pub(super) fn get_list(&self, directory: &Object) -> Result<&[(String, Object)], Need> {
        self.lists.get(&directory.id).map(Vec::as_slice).ok_or_else(|| Need::List(Directory(directory.clone())))
    }

    pub(super) fn get_owner(&self, key: &str) -> Result<Option<&DatumKey>, Need> {
        self.owners.get(key).map(Option::as_ref).ok_or_else(|| Need::Owner(key.to_owned()))
    }

    pub(super) fn get_owners_below(&self, directory: &RepoPath, except: &BTreeSet<String>) -> Result<&Owners, Need> {
        match self.scans.get(directory) {
            Some((scanned, owners)) if scanned == except => Ok(owners),
            _ => Err(Need::OwnersBelow { directory: directory.clone(), except: except.clone() }),
        }
    }

    pub(super) fn get_entries_below(&self, directory: &RepoPath) -> Result<&[(String, DatumKey)], Need> {
        self.entries.get(directory).map(Vec::as_slice).ok_or_else(|| Need::EntriesBelow(directory.clone()))
    }
}

/// The key of a directory's own entry in `prov`; entries of what is below begin with it, but those of the root.
pub fn prov_key(directory: &RepoPath) -> String {
    if directory.is_root() { "/".to_owned() } else { directory.as_directory() }
}

/// Looks through entries of `prov` below a directory for a second owner.
///
/// Feed it the entries whose keys begin with the directory's path and `/` (all of them for the root), in any order,
/// until it says to stop.
#[derive(Debug)]
pub struct OwnerScan<'a> {
    directory: String,
    except: &'a BTreeSet<String>,
    seen: Option<DatumKey>,
    is_several: bool,
}

impl<'a> OwnerScan<'a> {
    /// A scan for [`Need::OwnersBelow`].
    pub fn new(directory: &RepoPath, except: &'a BTreeSet<String>) -> Self {
        Self { directory: directory.as_directory(), except, seen: None, is_several: false }
    }

    /// Takes one entry; true once a second owner is found and no more need be read.
    pub fn push(&mut self, key: &str, owner: &DatumKey) -> bool {
        let Some(below) = key.strip_prefix(self.directory.as_str()) else { return self.is_several };
        let name_end = below.find('/').map_or(below.len(), |slash| slash + 1);
        let is_own_entry = below.is_empty() || below == "/";
        if !is_own_entry && !self.except.contains(&below[..name_end]) {
            self.is_several |= self.seen.as_ref().is_some_and(|seen| seen != owner);
            self.seen.get_or_insert_with(|| owner.clone());
        }
        self.is_several
    }

    /// What was seen; none where nothing was, which a sound parent does not show.
    pub fn finish(self) -> Option<Owners> {
        if self.is_several { Some(Owners::Several) } else { self.seen.map(Owners::One) }
    }
}
