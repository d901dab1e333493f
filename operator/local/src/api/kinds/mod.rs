//! The kinds that are served: one table of what each is called, where it lives and what belongs to it.
//!
//! The table of a fresh server is made once per process and shared; a server whose client brings kinds of its own
//! (by a `CustomResourceDefinition`) has a longer copy.

mod builtin;
mod crd;

use std::sync::{Arc, LazyLock, OnceLock};

use serde_json::Value;

use super::body::whole_numbers;
use super::object::Object;
use super::show::path::Path;
use crate::schema::Schema;
pub(crate) use builtin::{age_column, built, name_column};
pub(crate) use crd::CrdError;

/// A kind in one version.
#[expect(clippy::struct_field_names, reason = "they are called so in definitions and in discovery")]
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) is_namespaced: bool,
    pub(crate) has_status: bool,
    pub(crate) scale: Option<ScalePaths>,
    pub(crate) columns: Vec<Column>,
    /// Field selectors beside those of `metadata`.
    pub(crate) selectable: Vec<Selectable>,
    pub(crate) schema: Schema,
    /// `varve.dev/v1alpha1`, or `v1`.
    pub(crate) api_version: String,
    /// `pipelines.varve.dev`, or `pods`.
    pub(crate) resource: String,
    /// How objects look in this version.
    pub(crate) view: View,
    /// Whether it comes from a `CustomResourceDefinition`.
    pub(crate) is_custom: bool,
    /// Which table its objects are in.
    pub(crate) table: usize,
    /// Of the schema as it is published, made when it is first asked for.
    pub(crate) schema_hash: OnceLock<u64>,
}

/// How objects of a table look in one of their versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// As they are kept.
    Kept,
    /// Events are kept as core/v1 has them.
    EventsV1,
}

/// Where a kind with `/scale` keeps its numbers.
#[derive(Debug)]
pub(crate) struct ScalePaths {
    pub(crate) spec: String,
    pub(crate) status: String,
    pub(crate) selector: Option<String>,
}

/// A column of `kubectl get`.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) cell: Cell,
}

/// Where a cell's value comes from.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Path(Path),
    Built(fn(&Value) -> Value),
    /// The time since a moment that the function finds.
    Since(fn(&Value) -> Value),
    /// From one moment to another, or to now.
    Duration(fn(&Value) -> (Value, Value)),
}

/// A field that field selectors may name.
#[derive(Debug, Clone)]
pub(crate) struct Selectable {
    /// As the selector has it: `involvedObject.name`.
    pub(crate) label: String,
    /// As the kept object has it.
    pub(crate) path: Vec<String>,
    /// What stands for a field that is not there.
    pub(crate) default: &'static str,
}

impl Kind {
    /// `Pipeline.varve.dev`, or `Pod`.
    pub(crate) fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Whether the kind is `kind` of `group`.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

/// All kinds, and the names of the tables.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    kinds: Vec<Arc<Kind>>,
    tables: Vec<String>,
}

/// What every server starts with.
static BASE: LazyLock<Base> = LazyLock::new(Base::make);

struct Base {
    kinds: Arc<Kinds>,
    definitions: Vec<Arc<Object>>,
}

impl Base {
    fn make() -> Self {
        let mut kinds = Kinds { kinds: Vec::new(), tables: Vec::new() };
        for row in builtin::ROWS {
            kinds.put(|table| builtin::kind(row, table), builtin::table_of(row));
        }
        let mut definitions = Vec::new();
        for definition in varve_api::crds() {
            let mut definition = serde_json::to_value(definition).expect("a CRD is JSON");
            whole_numbers(&mut definition);
            let definition = crd::established(definition, crd::PREMADE_TIME);
            kinds.define(&definition).expect("Varve's own CRDs are right");
            definitions.push(Arc::new(Object::of(definition)));
        }
        Self { kinds: Arc::new(kinds), definitions }
    }
}

impl Kinds {
    /// The built-in kinds and Varve's own.
    pub(crate) fn base() -> Arc<Self> {
        BASE.kinds.clone()
    }

    /// The definitions of Varve's own kinds.
    pub(crate) fn definitions() -> &'static [Arc<Object>] {
        &BASE.definitions
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.iter()
    }

    /// The names of all tables, in order.
    pub(crate) fn tables(&self) -> &[String] {
        &self.tables
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds.iter().find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
    }

    /// Whether Kubernetes' own kinds are in a group and version.
    pub(crate) fn has_builtin(&self, group: &str, version: &str) -> bool {
        self.kinds.iter().any(|kind| !kind.is_custom && kind.group == group && kind.version == version)
    }

    /// By `apiVersion` and `kind`, as owner references have them; any version of the group serves.
    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds.iter().find(|one| one.is(group, kind))
    }

    /// The kind in whose form a table's objects are kept.
    pub(crate) fn of_table(&self, table: usize) -> Option<&Arc<Kind>> {
        self.kinds.iter().find(|kind| kind.table == table)
    }

    /// The groups and their versions, in the order of the table.
    pub(crate) fn group_versions(&self) -> Vec<(&str, &str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for kind in &self.kinds {
            if !found.contains(&(&kind.group, &kind.version)) {
                found.push((&kind.group, &kind.version));
            }
        }
        found
    }

    /// Takes in, or anew, the kinds that a `CustomResourceDefinition` defines.
    pub(crate) fn define(&mut self, definition: &Value) -> Result<(), CrdError> {
        let (group, plural) = crd::group_and_plural(definition);
        let table = format!("{plural}.{group}");
        let kinds = crd::kinds(definition)?;
        self.kinds.retain(|kind| kind.resource != table || !kind.is_custom);
        for kind in kinds {
            self.put(|table| Kind { table, ..kind }, table.clone());
        }
        Ok(())
    }

    /// Forgets the kinds that a `CustomResourceDefinition` defined.
    pub(crate) fn undefine(&mut self, definition: &Value) {
        let (group, plural) = crd::group_and_plural(definition);
        self.kinds.retain(|kind| !(kind.is_custom && kind.group == group && kind.plural == plural));
    }

    fn put(&mut self, make: impl FnOnce(usize) -> Kind, table: String) {
        let index = self.tables.iter().position(|one| *one == table).unwrap_or_else(|| {
            self.tables.push(table);
            self.tables.len() - 1
        });
        self.kinds.push(Arc::new(make(index)));
    }
}

/// The definition as the server shows it: with its conditions and the names that it took.
pub(crate) fn established(definition: Value, time: &str) -> Value {
    crd::established(definition, time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varves_kinds_and_the_built_in_ones_are_there() {
        let kinds = Kinds::base();
        for (group, version, plural) in [
            ("", "v1", "pods"),
            ("batch", "v1", "jobs"),
            ("varve.dev", "v1alpha1", "repos"),
            ("varve.dev", "v1alpha1", "commits"),
            ("varve.dev", "v1alpha1", "pipelines"),
            ("varve.dev", "v1alpha1", "jobs"),
        ] {
            assert!(kinds.find(group, version, plural).is_some(), "{plural}.{group}");
        }
    }

    #[test]
    fn both_kinds_of_events_lie_in_one_table() {
        let kinds = Kinds::base();
        let core = kinds.find("", "v1", "events").expect("core events");
        let new = kinds.find("events.k8s.io", "v1", "events").expect("newer events");
        assert_eq!(core.table, new.table);
    }
}
