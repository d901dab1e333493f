//! Kubernetes' own kinds, those that Varve and its users meet.

use std::sync::OnceLock;

use serde_json::Value;

use super::{Cell, Column, Kind, Selectable, View};
use crate::api::show::cells;
use crate::schema::Schema;

/// What the table below says of a kind.
pub(super) struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
    is_namespaced: bool,
    has_status: bool,
    /// Field selectors: the label, with a default after `=`.
    fields: &'static [&'static str],
    columns: fn() -> Vec<Column>,
}

const PLAIN: Row = Row {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    short: &[],
    categories: &[],
    is_namespaced: true,
    has_status: false,
    fields: &[],
    columns: cells::plain,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: "Namespace",
        plural: "namespaces",
        short: &["ns"],
        is_namespaced: false,
        has_status: true,
        fields: &["status.phase"],
        columns: cells::namespaces,
        ..PLAIN
    },
    Row { kind: "ConfigMap", plural: "configmaps", short: &["cm"], columns: cells::config_maps, ..PLAIN },
    Row { kind: "Secret", plural: "secrets", fields: &["type"], columns: cells::secrets, ..PLAIN },
    Row { kind: "ServiceAccount", plural: "serviceaccounts", short: &["sa"], ..PLAIN },
    Row {
        kind: "Pod",
        plural: "pods",
        short: &["po"],
        categories: &["all"],
        has_status: true,
        fields: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork=false",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        columns: cells::pods,
        ..PLAIN
    },
    Row {
        kind: "Node",
        plural: "nodes",
        short: &["no"],
        is_namespaced: false,
        has_status: true,
        fields: &["spec.unschedulable=false"],
        columns: cells::nodes,
        ..PLAIN
    },
    Row { kind: "Event", plural: "events", short: &["ev"], fields: EVENT_FIELDS, columns: cells::events, ..PLAIN },
    Row {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        short: &["ev"],
        fields: EVENT_FIELDS,
        columns: cells::events,
        ..PLAIN
    },
    Row {
        group: "batch",
        kind: "Job",
        plural: "jobs",
        categories: &["all"],
        has_status: true,
        fields: &["status.successful=0"],
        columns: cells::jobs,
        ..PLAIN
    },
    Row { group: "coordination.k8s.io", kind: "Lease", plural: "leases", columns: cells::leases, ..PLAIN },
    Row {
        group: "apiextensions.k8s.io",
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        short: &["crd", "crds"],
        categories: &["api-extensions"],
        is_namespaced: false,
        has_status: true,
        columns: cells::definitions,
        ..PLAIN
    },
];

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// What a row's table is called: both kinds of events share one.
pub(super) fn table_of(row: &Row) -> String {
    match (row.group, row.plural) {
        ("" | "events.k8s.io", plural) => plural.into(),
        (group, plural) => format!("{plural}.{group}"),
    }
}

pub(super) fn kind(row: &Row, table: usize) -> Kind {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect();
    let grouped = |text: &str| if row.group.is_empty() { text.into() } else { format!("{text}.{}", row.group) };
    Kind {
        group: row.group.into(),
        version: row.version.into(),
        kind: row.kind.into(),
        list_kind: format!("{}List", row.kind),
        plural: row.plural.into(),
        singular: row.kind.to_lowercase(),
        short_names: owned(row.short),
        categories: owned(row.categories),
        is_namespaced: row.is_namespaced,
        has_status: row.has_status,
        scale: None,
        columns: (row.columns)(),
        selectable: row.fields.iter().map(|field| selectable(field, row)).collect(),
        schema: Schema::of_builtin(if row.kind == "Event" { "" } else { row.group }, row.kind),
        api_version: if row.group.is_empty() { row.version.into() } else { format!("{}/{}", row.group, row.version) },
        resource: grouped(row.plural),
        view: if row.group == "events.k8s.io" { View::EventsV1 } else { View::Kept },
        is_custom: false,
        table,
        schema_hash: OnceLock::new(),
    }
}

fn selectable(field: &'static str, row: &Row) -> Selectable {
    let (label, default) = field.split_once('=').unwrap_or((field, ""));
    let path = match label {
        "status.successful" => "status.succeeded",
        "source" => "source.component",
        label => label,
    };
    let label = match row.group {
        "events.k8s.io" => label.replace("involvedObject.", "regarding.").replace("Component", "Controller"),
        _ => label.into(),
    };
    Selectable { label, path: path.split('.').map(Into::into).collect(), default }
}

/// What the schema says of a field of all objects' metadata.
fn described(field: &str) -> String {
    crate::schema::object_meta()["properties"][field]["description"].as_str().unwrap_or_default().into()
}

/// The column that every table starts with.
pub(crate) fn name_column() -> Column {
    Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: described("name"),
        priority: 0,
        cell: Cell::Built(|object| object["metadata"]["name"].clone()),
    }
}

/// The column that most tables end in.
pub(crate) fn age_column() -> Column {
    Column {
        name: "Age".into(),
        kind: "string".into(),
        format: String::new(),
        description: described("creationTimestamp"),
        priority: 0,
        cell: Cell::Since(|object| object["metadata"]["creationTimestamp"].clone()),
    }
}

/// A column that a function fills.
pub(crate) fn built(name: &str, kind: &str, cell: fn(&Value) -> Value) -> Column {
    Column {
        name: name.into(),
        kind: kind.into(),
        format: String::new(),
        description: name.into(),
        priority: 0,
        cell: Cell::Built(cell),
    }
}
