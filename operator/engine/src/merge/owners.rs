//! From touched paths to the edits of `prov`.
//!
//! Canonical: a directory's entry stands exactly where everything below it has one owner and its parent's hasn't; a
//! file's where its directory has none. So where a directory comes to have one owner, the entries below it go; where
//! it comes to have several, each name in it gets its own.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use varve_format::DatumKey;

use super::facts::{Facts, Need, prov_key};
use super::walk::{Fate, Touched};
use crate::object::Object;

/// Edits of `prov` by key.
type Entries = BTreeMap<Vec<u8>, Option<Bytes>>;

/// Who owns what is there after the merge.
#[derive(Debug, Clone, PartialEq, Eq)]
enum After {
    Nobody,
    One(DatumKey),
    Several,
}

impl After {
    fn add(self, owner: &DatumKey) -> Self {
        match self {
            Self::Nobody => Self::One(owner.clone()),
            Self::One(other) if other == *owner => Self::One(other),
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

/// The edits and what is missing for them.
pub(super) struct Owners<'a> {
    facts: &'a Facts,
    /// What is missing so far.
    pub needs: BTreeSet<Need>,
}

impl<'a> Owners<'a> {
    pub(super) fn new(facts: &'a Facts) -> Self {
        Self { facts, needs: BTreeSet::new() }
    }

    pub(super) fn emit_root(&mut self, root: &Touched, entries: &mut Entries) {
        let after = self.after(root);
        self.emit_directory(root, &after, (false, false), entries);
    }

    /// Who owns a touched file or directory after the merge.
    fn after(&mut self, touched: &Touched) -> After {
        let names = match &touched.fate {
            Fate::Gone => return After::Nobody,
            Fate::Owned(owner) => return After::One(owner.clone()),
            Fate::Shared(names) => names,
        };
        let mut after = After::Nobody;
        for name in names.values() {
            after = match self.after(name) {
                After::Nobody => after,
                After::One(owner) => after.add(&owner),
                After::Several => After::Several,
            };
        }
        if after == After::Several || untouched_files(touched, names) == 0 {
            return after;
        }
        if let Some(owner) = &touched.old_owner {
            return after.add(owner);
        }
        let except: BTreeSet<String> = names.keys().cloned().collect();
        match self.facts.get_owners_below(&touched.path, &except) {
            Ok(super::Owners::One(owner)) => after.add(owner),
            Ok(super::Owners::Several) => After::Several,
            Err(need) => {
                self.needs.insert(need);
                after
            }
        }
    }

    /// `is_covered`: whether the directory above had, and has, one owner for all below it.
    fn emit_directory(&mut self, touched: &Touched, after: &After, is_covered: (bool, bool), entries: &mut Entries) {
        let key = prov_key(&touched.path);
        let old = touched.old_owner.as_ref().filter(|_| touched.base.is_some());
        emit(key, old.filter(|_| !is_covered.0), one(after).filter(|_| !is_covered.1), entries);
        let had_one_owner = old.is_some();
        if let (Fate::Shared(names), After::Several) = (&touched.fate, after) {
            for name in names.values() {
                self.emit_name(name, had_one_owner, entries);
            }
            if let (Some(owner), Some(base)) = (old, &touched.base)
                && untouched_files(touched, names) > 0
            {
                self.split(touched, base, owner, names, entries);
            }
        } else if touched.base.is_some() && !had_one_owner {
            self.clear(touched, entries);
        }
    }

    fn emit_name(&mut self, touched: &Touched, was_covered: bool, entries: &mut Entries) {
        let after = self.after(touched);
        if touched.is_directory {
            return self.emit_directory(touched, &after, (was_covered, false), entries);
        }
        let old = touched.old_owner.as_ref().filter(|_| touched.base.is_some() && !was_covered);
        emit(touched.path.as_str().to_owned(), old, one(&after), entries);
    }

    /// Names that are not touched get entries of their own, because their directory has lost its one.
    fn split(
        &mut self,
        touched: &Touched,
        base: &Object,
        owner: &DatumKey,
        names: &BTreeMap<String, Touched>,
        entries: &mut Entries,
    ) {
        let list = match self.facts.get_list(base) {
            Ok(list) => list,
            Err(need) => {
                self.needs.insert(need);
                return;
            }
        };
        for (text, object) in list {
            let name = if object.is_directory() { format!("{text}/") } else { text.clone() };
            if !names.contains_key(&name) {
                let key = format!("{}{name}", touched.path.as_directory());
                emit(key, None, Some(owner), entries);
            }
        }
    }

    /// Entries below a directory that goes, or comes to have one owner, go.
    fn clear(&mut self, touched: &Touched, entries: &mut Entries) {
        match self.facts.get_entries_below(&touched.path) {
            Ok(below) => {
                for (key, owner) in below {
                    emit(key.clone(), Some(owner), None, entries);
                }
            }
            Err(need) => {
                self.needs.insert(need);
            }
        }
    }
}

fn emit(key: String, old: Option<&DatumKey>, new: Option<&DatumKey>, entries: &mut Entries) {
    if old != new {
        entries.insert(key.into_bytes(), new.map(|owner| owner.as_bytes().clone()));
    }
}

fn one(after: &After) -> Option<&DatumKey> {
    if let After::One(owner) = after { Some(owner) } else { None }
}

/// Files of the parent's directory below names that are not touched.
fn untouched_files(touched: &Touched, names: &BTreeMap<String, Touched>) -> u64 {
    let files = |object: &Option<Object>| object.as_ref().map_or(0, |object| object.files);
    let of_names = names.values().fold(0_u64, |sum, name| sum.saturating_add(files(&name.base)));
    files(&touched.base).saturating_sub(of_names)
}
