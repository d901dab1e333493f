//! The recent past of a table: what watchers read, and how far back a list can be told.
//!
//! It is the only buffer between writers and watchers. A watcher that falls out of it is told so (410) and lists
//! again, so a slow one costs no memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::api::object::{Key, Object};

/// How many changes a table remembers: minutes of a busy pipeline; etcd keeps five of them.
const MAX_CHANGES: usize = 4096;
/// How many bytes of objects they may hold.
const MAX_BYTES: usize = 64 << 20;

/// One change of one object.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    /// Before it.
    pub(crate) old: Option<Arc<Object>>,
    /// After it; of a deletion, the object as it went, at the deletion's version.
    pub(crate) new: Arc<Object>,
    pub(crate) is_deletion: bool,
    /// The event as a line of JSON, made by the first watcher that needs it.
    pub(crate) line: OnceLock<Bytes>,
}

/// The changes of a table since some version.
#[derive(Debug)]
pub(crate) struct Past {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// All changes after this version are here.
    since: u64,
}

impl Past {
    /// Of a table that nothing is known of before `version`.
    pub(crate) fn from(version: u64) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, since: version }
    }

    /// The version from which on every change is known.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.bytes += change.new.text.len();
        self.changes.push_back(Arc::new(change));
        while self.changes.len() > MAX_CHANGES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.new.text.len();
            self.since = oldest.version;
        }
    }

    /// At most `limit` changes after `version`; `None` when some of them are forgotten.
    pub(crate) fn after(&self, version: u64, limit: usize) -> Option<Vec<Arc<Change>>> {
        if version < self.since {
            return None;
        }
        let start = self.changes.partition_point(|change| change.version <= version);
        Some(self.changes.range(start..).take(limit).cloned().collect())
    }

    /// Takes `objects`, as they are now, back to `version`; `false` when that is too long ago.
    pub(crate) fn rewind(&self, objects: &mut BTreeMap<Key, Arc<Object>>, version: u64) -> bool {
        if version < self.since {
            return false;
        }
        for change in self.changes.iter().rev().take_while(|change| change.version > version) {
            match &change.old {
                Some(old) => objects.insert(change.key.clone(), old.clone()),
                None => objects.remove(&change.key),
            };
        }
        true
    }
}
