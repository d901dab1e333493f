//! Kinds from `CustomResourceDefinition`s.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Cell, Column, Kind, ScalePaths, Selectable, View};
use crate::api::show::path::{Path, PathError};
use crate::schema::{Schema, SchemaError};

/// A definition that can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CrdError {
    #[error("{0}")]
    Schema(#[from] SchemaError),
    #[error("{0}")]
    Path(#[from] PathError),
}

/// When Varve's own definitions were made, in every server.
pub(super) const PREMADE_TIME: &str = "2026-01-01T00:00:00Z";

pub(super) fn group_and_plural(definition: &Value) -> (String, String) {
    let spec = &definition["spec"];
    (string(&spec["group"]), string(&spec["names"]["plural"]))
}

/// The kinds of a definition, one per served version; their tables are not known yet.
pub(super) fn kinds(definition: &Value) -> Result<Vec<Kind>, CrdError> {
    let versions = definition["spec"]["versions"].as_array().map_or(&[][..], Vec::as_slice);
    versions.iter().filter(|version| version["served"] == true).map(|version| kind(definition, version)).collect()
}

fn kind(definition: &Value, version: &Value) -> Result<Kind, CrdError> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let (group, plural) = group_and_plural(definition);
    let kind = string(&names["kind"]);
    let or = |value: &Value, other: String| value.as_str().map_or(other, Into::into);
    let version_name = string(&version["name"]);
    Ok(Kind {
        list_kind: or(&names["listKind"], format!("{kind}List")),
        singular: or(&names["singular"], kind.to_lowercase()),
        short_names: strings(&names["shortNames"]),
        categories: strings(&names["categories"]),
        is_namespaced: spec["scope"] == "Namespaced",
        has_status: version["subresources"]["status"].is_object(),
        scale: scale(&version["subresources"]["scale"]),
        columns: columns(&version["additionalPrinterColumns"])?,
        selectable: selectable(&version["selectableFields"]),
        schema: Schema::of_crd(&version["schema"]["openAPIV3Schema"])?,
        api_version: format!("{group}/{version_name}"),
        resource: format!("{plural}.{group}"),
        view: View::Kept,
        is_custom: true,
        table: 0,
        schema_hash: OnceLock::new(),
        version: version_name,
        group,
        kind,
        plural,
    })
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(string).collect()
}

fn scale(scale: &Value) -> Option<ScalePaths> {
    Some(ScalePaths {
        spec: scale["specReplicasPath"].as_str()?.into(),
        status: scale["statusReplicasPath"].as_str()?.into(),
        selector: scale["labelSelectorPath"].as_str().map(Into::into),
    })
}

fn selectable(fields: &Value) -> Vec<Selectable> {
    let fields = fields.as_array().into_iter().flatten();
    fields
        .map(|field| {
            let label = field["jsonPath"].as_str().unwrap_or_default().trim_start_matches('.');
            Selectable { label: label.into(), path: label.split('.').map(Into::into).collect(), default: "" }
        })
        .collect()
}

/// `Name` and what the definition adds; `Age` where it adds nothing.
fn columns(added: &Value) -> Result<Vec<Column>, PathError> {
    let mut columns = vec![super::builtin::name_column()];
    let Some(added) = added.as_array().filter(|added| !added.is_empty()) else {
        columns.push(Column { kind: "date".into(), ..super::builtin::age_column() });
        return Ok(columns);
    };
    for column in added {
        columns.push(Column {
            name: string(&column["name"]),
            kind: string(&column["type"]),
            format: string(&column["format"]),
            description: column["description"].as_str().map_or_else(
                || format!("Custom resource definition column (in JSONPath format): {}", string(&column["jsonPath"])),
                Into::into,
            ),
            priority: column["priority"].as_i64().unwrap_or(0),
            cell: Cell::Path(Path::parse(column["jsonPath"].as_str().unwrap_or_default())?),
        });
    }
    Ok(columns)
}

/// The definition with the status that says it is served, and what the API server fills in.
pub(super) fn established(mut definition: Value, time: &str) -> Value {
    let kind = string(&definition["spec"]["names"]["kind"]);
    let names = &mut definition["spec"]["names"];
    if names["listKind"].is_null() {
        names["listKind"] = format!("{kind}List").into();
    }
    if names["singular"].is_null() {
        names["singular"] = kind.to_lowercase().into();
    }
    if definition["spec"]["conversion"].is_null() {
        definition["spec"]["conversion"] = json!({ "strategy": "None" });
    }
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": time,
        })
    };
    let stored: Vec<&Value> = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == true)
        .map(|version| &version["name"])
        .collect();
    definition["status"] = json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": definition["spec"]["names"],
        "storedVersions": stored,
    });
    definition["apiVersion"] = "apiextensions.k8s.io/v1".into();
    definition["kind"] = "CustomResourceDefinition".into();
    let name = string(&definition["metadata"]["name"]);
    let metadata = &mut definition["metadata"];
    if metadata["uid"].is_null() {
        metadata["uid"] = premade_uid(&name).into();
        metadata["creationTimestamp"] = time.into();
        metadata["generation"] = 1.into();
        metadata["resourceVersion"] = "1".into();
    }
    definition
}

/// The uid of a definition that every server has: made of its name, so that it is the same after a restart.
fn premade_uid(name: &str) -> String {
    let mut bytes = [0x76_u8; 16];
    for (place, byte) in name.bytes().enumerate() {
        bytes[place % 16] = bytes[place % 16].rotate_left(3) ^ byte;
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
