//! The parts of Kubernetes' own types that Varve takes: a list of the fields that work, field path by field path.
//!
//! The Rust types are Kubernetes' own. Their schemas are cut down to these fields, so that what would not work
//! can't be written, and so that a CRD stays small. Bounds are added by [`crate::crd`].

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, LocalObjectReference, ResourceRequirements, Toleration, Volume, VolumeMount,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::schema;

/// The schema of `T` with these fields only. `a.b` keeps `b` in `a`; `a` keeps all of it.
fn only<T: JsonSchema>(generator: &mut SchemaGenerator, fields: &[&str]) -> Value {
    let mut value = generator.subschema_for::<T>().to_value();
    keep(&mut value, fields);
    value
}

fn keep(schema: &mut Value, fields: &[&str]) {
    if schema.get("type").and_then(Value::as_str) == Some("array") {
        return keep(&mut schema["items"], fields);
    }
    let kept = |name: &str| fields.iter().any(|f| f.split('.').next() == Some(name));
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name.as_str().is_some_and(kept));
    }
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    properties.retain(|name, _| kept(name));
    for (name, property) in properties {
        let below: Vec<&str> = fields.iter().filter_map(|f| f.strip_prefix(name.as_str())?.strip_prefix('.')).collect();
        if !below.is_empty() {
            keep(property, &below);
        }
    }
}

fn map_list(items: &Value, max: u32, key: &str) -> Schema {
    json_schema!({
        "type": "array", "maxItems": max, "items": items,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key],
    })
}

fn list(items: &Value, max: u32) -> Schema {
    json_schema!({ "type": "array", "maxItems": max, "items": items, "x-kubernetes-list-type": "atomic" })
}

pub(crate) fn env(generator: &mut SchemaGenerator) -> Schema {
    let mut item = only::<EnvVar>(
        generator,
        &[
            "name",
            "value",
            "valueFrom.configMapKeyRef.name",
            "valueFrom.configMapKeyRef.key",
            "valueFrom.configMapKeyRef.optional",
            "valueFrom.secretKeyRef.name",
            "valueFrom.secretKeyRef.key",
            "valueFrom.secretKeyRef.optional",
            "valueFrom.fieldRef.fieldPath",
        ],
    );
    item["properties"]["value"]["maxLength"] = json!(32_768);
    item["properties"]["name"]["maxLength"] = json!(256);
    item["properties"]["name"]["x-kubernetes-validations"] = schema::rules(&[(
        "!self.startsWith('VARVE_') && !self.startsWith('PACH_') && !self.endsWith('_COMMIT')",
        "env may not set VARVE_*, PACH_* or *_COMMIT, which Varve sets itself",
    )]);
    item["x-kubernetes-validations"] = schema::rules(&[(
        "!(has(self.value) && has(self.valueFrom))",
        "an entry of env may have value or valueFrom, not both",
    )]);
    item["properties"]["valueFrom"]["x-kubernetes-validations"] = schema::rules(&[(
        "(has(self.configMapKeyRef) ? 1 : 0) + (has(self.secretKeyRef) ? 1 : 0) + (has(self.fieldRef) ? 1 : 0) == 1",
        "valueFrom must have exactly one of configMapKeyRef, secretKeyRef and fieldRef",
    )]);
    map_list(&item, 256, "name")
}

pub(crate) fn env_from(generator: &mut SchemaGenerator) -> Schema {
    let mut item = only::<EnvFromSource>(
        generator,
        &["prefix", "configMapRef.name", "configMapRef.optional", "secretRef.name", "secretRef.optional"],
    );
    item["x-kubernetes-validations"] = schema::rules(&[(
        "has(self.configMapRef) != has(self.secretRef)",
        "each entry of envFrom must have exactly one of configMapRef and secretRef",
    )]);
    list(&item, 64)
}

pub(crate) fn resources(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = only::<ResourceRequirements>(generator, &["limits", "requests"]);
    for field in ["limits", "requests"] {
        schema["properties"][field]["maxProperties"] = json!(32);
        schema["properties"][field]["additionalProperties"] = json!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "maxLength": 64,
            "pattern": QUANTITY,
        });
    }
    Schema::try_from(schema).expect("an object is a schema")
}

/// What Kubernetes' own CRDs use for a quantity.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

pub(crate) fn volume_mounts(generator: &mut SchemaGenerator) -> Schema {
    let mut item = only::<VolumeMount>(generator, &["name", "mountPath", "subPath", "readOnly"]);
    item["properties"]["mountPath"]["maxLength"] = json!(4096);
    item["properties"]["mountPath"]["x-kubernetes-validations"] = schema::rules(&[(
        "self.startsWith('/') && !(self == '/pfs' || self.startsWith('/pfs/') || self == '/.varve' || self.startsWith('/.varve/'))",
        "mountPath must begin with /, and may not be /pfs or /.varve or lie in them",
    )]);
    map_list(&item, 64, "mountPath")
}

pub(crate) fn node_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

pub(crate) fn tolerations(generator: &mut SchemaGenerator) -> Schema {
    list(&only::<Toleration>(generator, &["key", "operator", "value", "effect", "tolerationSeconds"]), 64)
}

pub(crate) fn affinity(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = only::<Affinity>(generator, &["nodeAffinity", "podAffinity", "podAntiAffinity"]);
    drop_fields(&mut schema, &["matchLabelKeys", "mismatchLabelKeys", "namespaceSelector", "matchFields"]);
    Schema::try_from(schema).expect("an object is a schema")
}

fn drop_fields(schema: &mut Value, names: &[&str]) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
                properties.retain(|name, _| !names.contains(&name.as_str()));
            }
            map.values_mut().for_each(|v| drop_fields(v, names));
        }
        Value::Array(list) => list.iter_mut().for_each(|v| drop_fields(v, names)),
        _ => {}
    }
}

pub(crate) fn image_pull_secrets(generator: &mut SchemaGenerator) -> Schema {
    let mut item = only::<LocalObjectReference>(generator, &["name"]);
    item["required"] = json!(["name"]);
    map_list(&item, 16, "name")
}

pub(crate) fn volumes(generator: &mut SchemaGenerator) -> Schema {
    let mut item = only::<Volume>(
        generator,
        &[
            "name",
            "configMap.name",
            "configMap.items",
            "configMap.optional",
            "configMap.defaultMode",
            "secret.secretName",
            "secret.items",
            "secret.optional",
            "secret.defaultMode",
            "emptyDir.medium",
            "emptyDir.sizeLimit",
            "persistentVolumeClaim.claimName",
            "persistentVolumeClaim.readOnly",
        ],
    );
    item["properties"]["emptyDir"]["properties"]["sizeLimit"] = json!({
        "description": "The most that it may hold.",
        "x-kubernetes-int-or-string": true,
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "maxLength": 64,
        "pattern": QUANTITY,
    });
    item["x-kubernetes-validations"] = schema::rules(&[
        (
            "(has(self.configMap) ? 1 : 0) + (has(self.secret) ? 1 : 0) + (has(self.emptyDir) ? 1 : 0) + (has(self.persistentVolumeClaim) ? 1 : 0) == 1",
            "each entry of volumes must have exactly one of configMap, secret, emptyDir and persistentVolumeClaim",
        ),
        (
            "!(self.name in ['varve', 'varve-store', 'varve-tmp'])",
            "the names varve, varve-store and varve-tmp are taken by Varve's own volumes",
        ),
    ]);
    map_list(&item, 64, "name")
}

/// The API server keeps what stands in it as it is; the operator looks at it path by path, see
/// [`crate::pipeline::overlay`].
pub(crate) fn overlay(_: &mut SchemaGenerator) -> Schema {
    let open = |description: &str| json!({ "type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": true });
    json_schema!({
        "type": "object",
        "properties": {
            "metadata": open("Labels and annotations of the pods."),
            "spec": open("Parts of a core/v1 PodSpec. Lists are joined by their keys, as kubectl apply does."),
        },
    })
}
