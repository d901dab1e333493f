//! All objects, in memory: tables, the one counter of versions, the recent past, and who owns whom.
//!
//! Every change goes through [`State::put`] and [`State::remove`], which keep all of these in step and note down
//! what the disk must be told. Nothing here waits or does IO.

pub(crate) mod disk;
mod owners;
pub(crate) mod past;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use self::owners::Owners;
use self::past::{Change, Past};
use super::chores::Chore;
use super::kinds::Kinds;
use super::object::{self, Key, Object};

/// An object anywhere: its table and its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) table: usize,
    pub(crate) key: Key,
}

/// The objects of one kind.
pub(crate) struct Table {
    name: String,
    objects: BTreeMap<Key, Arc<Object>>,
    past: Past,
    /// Tells watchers that there is something to read.
    bell: watch::Sender<u64>,
}

/// Everything that a server knows.
pub(crate) struct State {
    version: u64,
    pub(crate) kinds: Arc<Kinds>,
    tables: Vec<Table>,
    owners: Owners,
    /// What is still to be collected or emptied.
    pub(crate) chores: VecDeque<Chore>,
    /// What the disk does not have yet; `None` where there is no disk.
    journal: Option<disk::Batch>,
}

impl State {
    /// Without objects, but the definitions of Varve's own kinds; versions count on from `version`.
    pub(crate) fn new(version: u64, is_kept: bool) -> Self {
        let mut state = Self {
            version,
            kinds: Kinds::base(),
            tables: Vec::new(),
            owners: Owners::default(),
            chores: VecDeque::new(),
            journal: is_kept.then(disk::Batch::default),
        };
        state.grow();
        for definition in Kinds::definitions() {
            let place = Place { table: state.definitions_table(), key: Key::of(&definition.value) };
            state.load(&place, definition.clone());
        }
        state
    }

    /// Makes the tables of kinds that came anew.
    pub(crate) fn grow(&mut self) {
        for name in self.kinds.tables().iter().skip(self.tables.len()) {
            self.tables.push(Table {
                name: name.clone(),
                objects: BTreeMap::new(),
                past: Past::from(self.version),
                bell: watch::Sender::new(self.version),
            });
        }
    }

    fn definitions_table(&self) -> usize {
        self.table_named("customresourcedefinitions.apiextensions.k8s.io").expect("definitions are a built-in kind")
    }

    pub(crate) fn table_named(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name == name)
    }

    /// The newest version.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, place: &Place) -> Option<&Arc<Object>> {
        self.tables[place.table].objects.get(&place.key)
    }

    pub(crate) fn objects(&self, table: usize) -> &BTreeMap<Key, Arc<Object>> {
        &self.tables[table].objects
    }

    pub(crate) fn past(&self, table: usize) -> &Past {
        &self.tables[table].past
    }

    /// Rings with every change of the table.
    pub(crate) fn bell(&self, table: usize) -> watch::Receiver<u64> {
        self.tables[table].bell.subscribe()
    }

    pub(crate) fn table_count(&self) -> usize {
        self.tables.len()
    }

    /// The object with this uid.
    pub(crate) fn find_uid(&self, uid: &str) -> Option<&Place> {
        self.owners.place_of(uid)
    }

    /// The objects that name this uid as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Place> {
        self.owners.dependents(uid)
    }

    /// Puts an object in as it was before a restart.
    pub(crate) fn load(&mut self, place: &Place, object: Arc<Object>) {
        if let Some(old) = self.get(place).cloned() {
            self.owners.remove(place, &old.value);
        }
        self.owners.add(place, &object.value);
        self.tables[place.table].objects.insert(place.key.clone(), object);
    }

    /// Writes an object, at a new version.
    pub(crate) fn put(&mut self, place: &Place, value: Value) -> Arc<Object> {
        self.version += 1;
        let object = Arc::new(Object::at(value, self.version));
        let old = self.get(place).cloned();
        self.load(place, object.clone());
        if let Some(journal) = &mut self.journal {
            journal.put(&self.tables[place.table].name, &place.key, object.text.clone());
        }
        self.tell(place, old, object.clone(), false);
        object
    }

    /// Takes an object out; `last` is how it looked at the end.
    pub(crate) fn remove(&mut self, place: &Place, last: Value) -> Arc<Object> {
        self.version += 1;
        let last = Arc::new(Object::at(last, self.version));
        let old = self.tables[place.table].objects.remove(&place.key);
        if let Some(old) = &old {
            self.owners.remove(place, &old.value);
        }
        if let Some(journal) = &mut self.journal {
            journal.remove(&self.tables[place.table].name, &place.key);
        }
        self.chores.push_back(Chore::Gone {
            uid: object::uid(&last.value).into(),
            owners: object::owner_references(&last.value)
                .iter()
                .filter_map(|owner| owner["uid"].as_str().map(Into::into))
                .collect(),
            namespace: place.key.namespace.clone(),
        });
        self.tell(place, old, last.clone(), true);
        last
    }

    fn tell(&mut self, place: &Place, old: Option<Arc<Object>>, new: Arc<Object>, is_deletion: bool) {
        let table = &mut self.tables[place.table];
        let change = Change {
            version: self.version,
            key: place.key.clone(),
            old,
            new,
            is_deletion,
            line: std::sync::OnceLock::new(),
        };
        table.past.push(change);
        table.bell.send_replace(self.version);
    }

    /// What was written since the last call, for the disk.
    pub(crate) fn take_journal(&mut self) -> Option<disk::Batch> {
        let journal = self.journal.as_mut()?;
        journal.version = self.version;
        let batch = std::mem::take(journal);
        (!batch.is_empty()).then_some(batch)
    }
}
