//! Matches of the inputs → datums, in the order of their keys.
//!
//! An [`Expansion`] goes through every arm of the input tree (a cross of leaves) as an odometer and merges the arms by
//! key. It visits only combinations that hold at least one changed match: where one file of one input changed, its
//! cost is what that file is crossed with, and nothing is held but the lists of matches. A law ties both ways
//! together: the changes applied to the old datums give the new datums (see the property test).

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroU64;
use std::sync::Arc;

use varve_api::conditions::Reason;
use varve_format::name::MAX_KEY;
use varve_format::{DatumKey, DecodeError, Found, Hash, Member, RepoPath, datum_hash};

use crate::inputs::InputTree;
use crate::matches::{Match, MatchChange};
use crate::object::Object;

/// A datum to be worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datum {
    /// Which it is within its Pipeline.
    pub key: DatumKey,
    /// What it computes.
    pub hash: Hash,
    /// What it holds, sorted by input.
    pub members: Vec<DatumMember>,
}

/// A match in a datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatumMember {
    /// The input's name.
    pub input: String,
    /// The folder under `/pfs` where it is seen.
    pub mount: String,
    /// What matched; none where an optional input matched nothing.
    pub found: Option<Match>,
}

impl Datum {
    /// The bytes of its members together.
    pub fn bytes(&self) -> u64 {
        let found = self.members.iter().filter_map(|member| member.found.as_ref());
        found.fold(0, |sum, found| sum.saturating_add(found.object.bytes))
    }
}

/// A datum that came, changed or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatumChange {
    /// Which.
    pub key: DatumKey,
    /// Whether it was there before: then its old output is to be taken back.
    pub existed: bool,
    /// What it is now; none if it went.
    pub after: Option<Datum>,
}

/// What an expansion is told of one leaf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeafFacts {
    /// Its matches that came, changed or went, in any order.
    pub changes: Vec<MatchChange>,
    /// All matches that it has now, in any order; needed only where [`full_lists_needed`] says so.
    pub all: Option<Vec<Match>>,
}

/// Which leaves' full lists of matches an incremental expansion needs, given which leaves have changes.
pub fn full_lists_needed(tree: &InputTree, has_changes: &[bool]) -> Vec<bool> {
    let mut needed = vec![false; tree.leaves().len()];
    for arm in tree.arms().iter().filter(|arm| arm.len() > 1) {
        for &leaf in arm {
            let others_change = arm.iter().any(|&other| other != leaf && has_changes[other]);
            let may_be_absent = tree.leaves()[leaf].is_optional && has_changes[leaf];
            needed[leaf] |= others_change || may_be_absent;
        }
    }
    needed
}

/// The datums that differ, in the order of their keys.
pub struct Expansion<'a> {
    tree: &'a InputTree,
    spec_digest: Hash,
    limit: u64,
    found: u64,
    arms: Vec<Odometer>,
    heads: BinaryHeap<Reverse<(DatumKey, usize)>>,
    ready: BTreeMap<usize, Combination>,
    failed: Option<DatumError>,
}

impl<'a> Expansion<'a> {
    /// Every datum of `all`, one list of matches for each leaf: for a first run, or after a change of what decides
    /// results. More datums than `limit` are an error before the first is yielded.
    pub fn full(
        tree: &'a InputTree,
        spec_digest: Hash,
        all: Vec<Vec<Match>>,
        limit: NonZeroU64,
    ) -> Result<Self, DatumError> {
        let count = count(tree, &all);
        if count > u128::from(limit.get()) {
            return Err(DatumError::TooMany { count: Some(count), limit: limit.get() });
        }
        let leaves =
            all.into_iter().zip(tree.leaves()).map(|(all, leaf)| Slots::first(all, leaf.is_optional)).collect();
        Ok(Self::new(tree, spec_digest, leaves, limit))
    }

    /// The datums that differ since the matches were what `facts` say they were, one of them for each leaf.
    ///
    /// More than `limit` changed datums end the expansion with an error.
    pub fn incremental(tree: &'a InputTree, spec_digest: Hash, facts: Vec<LeafFacts>, limit: NonZeroU64) -> Self {
        let leaves =
            facts.into_iter().zip(tree.leaves()).map(|(facts, leaf)| Slots::of(facts, leaf.is_optional)).collect();
        Self::new(tree, spec_digest, leaves, limit)
    }

    fn new(tree: &'a InputTree, spec_digest: Hash, leaves: Vec<Slots>, limit: NonZeroU64) -> Self {
        let leaves: Vec<Arc<Slots>> = leaves.into_iter().map(Arc::new).collect();
        let arms = tree.arms().iter().map(|arm| Odometer::new(arm.iter().map(|&leaf| leaves[leaf].clone()).collect()));
        let mut expansion = Self {
            tree,
            spec_digest,
            limit: limit.get(),
            found: 0,
            arms: arms.collect(),
            heads: BinaryHeap::new(),
            ready: BTreeMap::new(),
            failed: None,
        };
        for arm in 0..expansion.arms.len() {
            expansion.pull(arm);
        }
        expansion
    }

    /// Takes the next combination of an arm to the heap.
    fn pull(&mut self, arm: usize) {
        let Some(combination) = self.arms[arm].next() else { return };
        match self.key(arm, &combination) {
            Ok(key) => {
                self.heads.push(Reverse((key, arm)));
                self.ready.insert(arm, combination);
            }
            Err(error) => self.failed = Some(error),
        }
    }

    fn key(&self, arm: usize, combination: &Combination) -> Result<DatumKey, DatumError> {
        let sides = combination.after.as_ref().or(combination.before.as_ref());
        let members = self.members(arm, sides.map_or(&[], Vec::as_slice));
        let path = |member: &Member| member.found.as_ref().map_or(0, |found| found.key_path().len());
        let length = members.iter().map(|member| 1 + member.input.len() + 2 + path(member)).sum();
        if length > MAX_KEY {
            return Err(DatumError::KeyTooLong { length, max: MAX_KEY });
        }
        Ok(DatumKey::of(&members)?)
    }

    fn members(&self, arm: usize, sides: &[Side]) -> Vec<Member> {
        let leaves = self.tree.arms()[arm].iter().map(|&leaf| &self.tree.leaves()[leaf]);
        let member = |(leaf, side): (&crate::inputs::Leaf, &Side)| {
            let found = side.as_ref().map(|found| Found {
                path: found.path.clone(),
                kind: found.object.kind,
                id: found.object.id,
                join_key: None,
            });
            Member { input: leaf.name.clone(), mount: leaf.mount.clone(), found }
        };
        leaves.zip(sides).map(member).collect()
    }

    fn datum(&self, arm: usize, key: &DatumKey, sides: Vec<Side>) -> Result<Datum, DatumError> {
        let hash = datum_hash(&self.spec_digest, &self.members(arm, &sides))?;
        let leaves = self.tree.arms()[arm].iter().map(|&leaf| &self.tree.leaves()[leaf]);
        let members = leaves
            .zip(sides)
            .map(|(leaf, found)| DatumMember { input: leaf.name.clone(), mount: leaf.mount.clone(), found })
            .collect();
        Ok(Datum { key: key.clone(), hash, members })
    }

    fn fail(&mut self, error: DatumError) -> DatumError {
        self.heads.clear();
        self.failed = None;
        error
    }
}

impl Iterator for Expansion<'_> {
    type Item = Result<DatumChange, DatumError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(self.fail(error)));
        }
        let Reverse((key, arm)) = self.heads.pop()?;
        let combination = self.ready.remove(&arm)?;
        self.pull(arm);
        let existed = combination.before.is_some();
        let after = match combination.after.map(|sides| self.datum(arm, &key, sides)).transpose() {
            Ok(after) => after,
            Err(error) => return Some(Err(self.fail(error))),
        };
        self.found += u64::from(after.is_some());
        if self.found > self.limit {
            let limit = self.limit;
            return Some(Err(self.fail(DatumError::TooMany { count: None, limit })));
        }
        Some(Ok(DatumChange { key, existed, after }))
    }
}

/// How many datums these matches make.
pub fn count(tree: &InputTree, all: &[Vec<Match>]) -> u128 {
    let matches = |&leaf: &usize| match (all[leaf].len(), tree.leaves()[leaf].is_optional) {
        (0, true) => 1,
        (matches, _) => matches as u128,
    };
    let of_arm = |arm: &Vec<usize>| {
        let is_present = arm.iter().any(|&leaf| !all[leaf].is_empty());
        if is_present { arm.iter().map(matches).fold(1_u128, u128::saturating_mul) } else { 0 }
    };
    tree.arms().iter().map(of_arm).fold(0, u128::saturating_add)
}

/// A member's place in a combination: a match, or the absence of an optional input.
type Side = Option<Match>;

/// One path of a leaf (or its absence), as it was and is.
#[derive(Debug, Clone)]
struct Slot {
    before: Option<Side>,
    after: Option<Side>,
    is_changed: bool,
}

/// A leaf's slots in the order of keys: by the length of the path, then the path; absence last.
#[derive(Debug)]
struct Slots {
    all: Vec<Slot>,
    changed: Vec<usize>,
}

/// The order of paths within keys, whose length stands before their bytes.
#[derive(PartialEq, Eq)]
struct KeyPath(String);

impl KeyPath {
    fn of(path: &RepoPath, object: &Object) -> Self {
        Self(if object.is_directory() { path.as_directory() } else { path.as_str().to_owned() })
    }
}

impl Ord for KeyPath {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for KeyPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Slots {
    /// A leaf that is looked at for the first time: there were no datums, not even of its absence.
    fn first(all: Vec<Match>, is_optional: bool) -> Self {
        let changes =
            all.into_iter().map(|found| MatchChange { path: found.path, before: None, after: Some(found.object) });
        let facts = LeafFacts { changes: changes.collect(), all: Some(Vec::new()) };
        let mut slots = Self::of(facts, false);
        if is_optional && slots.all.is_empty() {
            slots.all.push(Slot { before: None, after: Some(None), is_changed: true });
            slots.changed.push(0);
        }
        slots
    }

    fn of(facts: LeafFacts, is_optional: bool) -> Self {
        let mut slots: BTreeMap<KeyPath, Slot> = BTreeMap::new();
        let knows_all = facts.all.is_some();
        for found in facts.all.into_iter().flatten() {
            let key = KeyPath::of(&found.path, &found.object);
            let side = Some(Some(found));
            slots.insert(key, Slot { before: side.clone(), after: side, is_changed: false });
        }
        for MatchChange { path, before, after } in facts.changes {
            let Some(object) = after.as_ref().or(before.as_ref()) else { continue };
            let key = KeyPath::of(&path, object);
            let side = |object: Option<Object>| object.map(|object| Some(Match { path: path.clone(), object }));
            slots.insert(key, Slot { before: side(before), after: side(after), is_changed: true });
        }
        let mut all: Vec<Slot> = slots.into_values().collect();
        if is_optional && knows_all {
            let was_absent = !all.iter().any(|slot| slot.before.is_some());
            let is_absent = !all.iter().any(|slot| slot.after.is_some());
            let side = |holds: bool| holds.then_some(None);
            if was_absent || is_absent {
                let is_changed = was_absent != is_absent;
                all.push(Slot { before: side(was_absent), after: side(is_absent), is_changed });
            }
        }
        let changed = all.iter().enumerate().filter(|(_, slot)| slot.is_changed).map(|(index, _)| index).collect();
        Self { all, changed }
    }
}

/// The members of a datum as they were and are; none where that datum isn't.
struct Combination {
    before: Option<Vec<Side>>,
    after: Option<Vec<Side>>,
}

/// Goes through the cross of some leaves, visiting only combinations with at least one changed slot.
struct Odometer {
    leaves: Vec<Arc<Slots>>,
    /// Per leaf, whether a leaf behind it has changed slots.
    changes_follow: Vec<bool>,
    /// The leaves that are set, from the first on.
    wheels: Vec<Wheel>,
}

/// Where one leaf of an odometer stands.
#[derive(Clone, Copy)]
struct Wheel {
    /// Which slot: counted in all of them, or in the changed ones alone.
    at: usize,
    /// Whether a leaf before it stands at a changed slot.
    follows_change: bool,
}

impl Odometer {
    fn new(leaves: Vec<Arc<Slots>>) -> Self {
        let mut changes_follow = vec![false; leaves.len()];
        for index in (1..leaves.len()).rev() {
            changes_follow[index - 1] = changes_follow[index] || !leaves[index].changed.is_empty();
        }
        Self { leaves, changes_follow, wheels: vec![Wheel { at: 0, follows_change: false }] }
    }

    /// The slot of a leaf, if there is one left: any slot, where something changed before or may change behind.
    fn slot(&self, depth: usize) -> Option<&Slot> {
        let (leaf, wheel) = (&self.leaves[depth], self.wheels[depth]);
        if self.changes_follow[depth] || wheel.follows_change {
            leaf.all.get(wheel.at)
        } else {
            leaf.changed.get(wheel.at).map(|&index| &leaf.all[index])
        }
    }

    /// Steps to the next complete combination, the current one included; false at the end.
    fn settle(&mut self) -> bool {
        while let Some(depth) = self.wheels.len().checked_sub(1) {
            match self.slot(depth).map(|slot| slot.is_changed) {
                None => {
                    self.wheels.pop();
                    self.step();
                }
                Some(_) if depth + 1 == self.leaves.len() => return true,
                Some(is_changed) => {
                    let follows_change = is_changed || self.wheels[depth].follows_change;
                    self.wheels.push(Wheel { at: 0, follows_change });
                }
            }
        }
        false
    }

    fn step(&mut self) {
        if let Some(last) = self.wheels.last_mut() {
            last.at += 1;
        }
    }

    fn combination(&self) -> Combination {
        let slots = || (0..self.leaves.len()).filter_map(|depth| self.slot(depth));
        let is_datum = |sides: &Vec<Side>| sides.iter().any(Option::is_some);
        let before: Option<Vec<Side>> = slots().map(|slot| slot.before.clone()).collect();
        let after: Option<Vec<Side>> = slots().map(|slot| slot.after.clone()).collect();
        Combination { before: before.filter(is_datum), after: after.filter(is_datum) }
    }
}

impl Iterator for Odometer {
    type Item = Combination;

    fn next(&mut self) -> Option<Combination> {
        while self.settle() {
            let combination = self.combination();
            self.step();
            if combination.before.is_some() || combination.after.is_some() {
                return Some(combination);
            }
        }
        None
    }
}

/// Why datums can't be made.
#[derive(Debug, thiserror::Error)]
pub enum DatumError {
    /// More than the Pipeline allows.
    #[error("the inputs make {}, and datum.limit allows {limit}: narrow the globs or the cross, or raise datum.limit", described(.count.as_ref(), *.limit))]
    TooMany {
        /// How many, where that is known.
        count: Option<u128>,
        /// `datum.limit`.
        limit: u64,
    },
    /// A key that is too long for the maps of a commit.
    #[error("a datum's key is {length} bytes long, and {max} are the most: cross fewer inputs, or shorten their paths")]
    KeyTooLong {
        /// Its length.
        length: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A member that may not be.
    #[error(transparent)]
    Format(#[from] DecodeError),
}

fn described(count: Option<&u128>, limit: u64) -> String {
    count.map_or_else(|| format!("more than {limit} datums"), |count| format!("{count} datums"))
}

impl DatumError {
    /// The word for conditions, Events and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooMany { .. } => Reason::TooManyDatums,
            Self::KeyTooLong { .. } => Reason::DatumKeyTooLong,
            Self::Format(_) => Reason::InputInvalid,
        }
    }
}

#[cfg(test)]
#[path = "datums_tests.rs"]
mod tests;
