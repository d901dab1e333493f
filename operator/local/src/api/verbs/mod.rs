//! What can be done to objects, one file per verb. All of it is plain functions over [`State`](super::state::State).

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod patch;
pub(crate) mod scale;
pub(crate) mod watch;

use std::sync::Arc;

use jiff::Timestamp;

use super::kinds::Kind;
use super::object::{Key, Object};
use super::settings::Ids;
use super::state::Place;

/// What a verb may know of the world.
pub(crate) struct World<'a> {
    pub(crate) now: Timestamp,
    pub(crate) ids: &'a Ids,
}

/// The part of an object that a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
    Scale,
}

/// The object that a request is about.
pub(crate) struct Target {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: String,
    /// Empty where an object is to be created.
    pub(crate) name: String,
    pub(crate) part: Part,
}

impl Target {
    pub(crate) fn place(&self) -> Place {
        Place { table: self.kind.table, key: Key::new(&self.namespace, &self.name) }
    }
}

/// What came of a write.
pub(crate) struct Written {
    pub(crate) object: Arc<Object>,
    pub(crate) warnings: Vec<String>,
    pub(crate) is_created: bool,
}
