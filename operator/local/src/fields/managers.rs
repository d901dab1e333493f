//! `metadata.managedFields`: who manages which fields of an object, read, changed and written back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::compare::Comparison;
use super::encoding;
use super::set::Set;
use super::{Conflict, Conflicts, Writer, set};
use crate::schema::{Schema, quoted};

/// The most managers that are kept apart for updates; of more, the oldest become one.
const MAX_UPDATERS: usize = 10;
const OLD_UPDATERS: &str = "ancient-changes";

/// Whose fields they are. One that applies is the same in all versions, one that updates is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    /// None for one that applies.
    pub(super) updates_in: Option<String>,
    pub(super) subresource: Option<String>,
}

/// The fields of one manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) set: Set,
    pub(super) api_version: String,
    /// None where an apply changed nothing in the object.
    pub(super) time: Option<String>,
}

/// All managers of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Managers(pub(super) BTreeMap<Manager, Entry>);

impl Manager {
    pub(super) fn applying(writer: &Writer) -> Self {
        Self { updates_in: None, ..Self::updating(writer) }
    }

    pub(super) fn updating(writer: &Writer) -> Self {
        Self {
            name: writer.manager.to_owned(),
            updates_in: Some(writer.api_version.to_owned()),
            subresource: writer.subresource.map(Into::into),
        }
    }

    /// As a message names it.
    fn shown(&self) -> String {
        let mut shown = quoted(&self.name);
        if let Some(subresource) = &self.subresource {
            shown = format!("{shown} with subresource {}", quoted(subresource));
        }
        if let Some(version) = &self.updates_in {
            shown = format!("{shown} using {version}");
        }
        shown
    }
}

impl Managers {
    /// From `managedFields`; none if any entry makes no sense.
    pub(super) fn decode(entries: Option<&Value>) -> Option<Self> {
        let mut managers = BTreeMap::new();
        for entry in entries.and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            let api_version = text("apiVersion")?;
            let updates_in = match entry["operation"].as_str()? {
                "Apply" => None,
                "Update" => Some(api_version.clone()),
                _ => return None,
            };
            if entry["fieldsType"] != "FieldsV1" {
                return None;
            }
            let set = match &entry["fieldsV1"] {
                Value::Null => Set::default(),
                fields => encoding::decode(fields)?,
            };
            let manager =
                Manager { name: text("manager").unwrap_or_default(), updates_in, subresource: text("subresource") };
            managers.insert(manager, Entry { set, api_version, time: text("time") });
        }
        Some(Self(managers))
    }

    /// Writes `managedFields` into an object; of no managers there are none.
    pub(super) fn write_to(self, object: &mut Value) {
        let mut entries: Vec<(Manager, Entry)> = self.0.into_iter().collect();
        entries.sort_by(|(one, with), (another, of)| {
            let rank = |manager: &Manager, entry: &Entry| (manager.updates_in.is_some(), entry.time.clone());
            rank(one, with)
                .cmp(&rank(another, of))
                .then_with(|| one.name.cmp(&another.name))
                .then_with(|| with.api_version.cmp(&of.api_version))
                .then_with(|| one.subresource.cmp(&another.subresource))
        });
        let entries: Vec<Value> = entries.iter().map(|(manager, entry)| written(manager, entry)).collect();
        if entries.is_empty() {
            return;
        }
        if let Value::Object(fields) = object {
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.insert("managedFields".into(), entries.into());
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields that anyone manages.
    pub(super) fn all(&self) -> Set {
        self.0.values().fold(Set::default(), |all, entry| all.union(&entry.set))
    }

    /// The fields that changed and that others than `manager` manage.
    pub(super) fn conflicts(&self, manager: &Manager, changes: &Comparison) -> Vec<(&Manager, Set)> {
        let taken = changes.modified.clone().union(&changes.added);
        let others = self.0.iter().filter(|(other, _)| *other != manager);
        others
            .map(|(other, entry)| (other, entry.set.intersection(&taken)))
            .filter(|(_, set)| !set.is_empty())
            .collect()
    }

    /// Takes what changed and what went from all but `manager`.
    pub(super) fn lose(&mut self, manager: Option<&Manager>, changes: &Comparison) {
        let lost = changes.modified.clone().union(&changes.added).union(&changes.removed);
        for (_, entry) in self.0.iter_mut().filter(|(other, _)| Some(*other) != manager) {
            entry.set = entry.set.difference(&lost);
        }
        self.0.retain(|_, entry| !entry.set.is_empty());
    }

    /// Makes the oldest of too many updaters one.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<Manager> =
            self.0.keys().filter(|manager| manager.updates_in.is_some()).cloned().collect();
        updaters.sort_by_key(|manager| (self.0[manager].time.clone(), manager.clone()));
        let mut count = updaters.len();
        let mut firsts: BTreeMap<Option<String>, Manager> = BTreeMap::new();
        for manager in updaters {
            if count <= MAX_UPDATERS {
                return;
            }
            let version = manager.updates_in.clone();
            let Some(first) = firsts.get(&version) else {
                firsts.insert(version, manager);
                continue;
            };
            let bucket = Manager { name: OLD_UPDATERS.into(), updates_in: version, subresource: None };
            if manager == bucket {
                continue;
            }
            if !self.0.contains_key(&bucket)
                && let Some(first) = self.0.remove(first)
            {
                self.0.insert(bucket.clone(), first);
            }
            let Some(latest) = self.0.remove(&manager) else { continue };
            let held = self.0.remove(&bucket).unwrap_or_default();
            self.0.insert(bucket, Entry { set: latest.set.clone().union(&held.set), ..latest });
            count -= 1;
        }
    }
}

fn written(manager: &Manager, entry: &Entry) -> Value {
    let operation = if manager.updates_in.is_some() { "Update" } else { "Apply" };
    let mut written = Map::new();
    let mut put = |name: &str, value: Value| written.insert(name.into(), value);
    put("manager", manager.name.clone().into());
    put("operation", operation.into());
    put("apiVersion", entry.api_version.clone().into());
    put("fieldsType", "FieldsV1".into());
    put("fieldsV1", encoding::encode(&entry.set));
    if let Some(time) = &entry.time {
        put("time", time.clone().into());
    }
    if let Some(subresource) = &manager.subresource {
        put("subresource", subresource.clone().into());
    }
    Value::Object(written)
}

/// Conflicts as an answer tells them.
pub(super) fn told(conflicts: &[(&Manager, Set)]) -> Conflicts {
    let told = conflicts.iter().flat_map(|(manager, set)| {
        let message = format!("conflict with {}", manager.shown());
        set.paths().into_iter().map(move |path| Conflict { message: message.clone(), field: set::shown(&path) })
    });
    Conflicts(told.collect())
}

/// The time of a write, to the second.
pub(super) fn time_of(writer: &Writer) -> String {
    writer.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a write can't change, and so never manages: on the main endpoint the status, where a kind has one; on a
/// subresource all but that.
pub(super) fn out_of_reach(schema: &Schema, writer: &Writer) -> Set {
    match writer.subresource {
        Some("scale") => Set::of([&["metadata"], &["status"]]),
        Some(_) => Set::of([&["metadata"], &["spec"]]),
        None if schema.root().properties.contains_key("status") => Set::of([&["status"]]),
        None => Set::default(),
    }
}

/// Without what nobody manages: what an object is called, and what the API server alone writes.
pub(super) fn trackable(set: &Set) -> Set {
    set.difference(&Set::of([
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ]))
}
