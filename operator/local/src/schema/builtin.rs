//! The schemas of built-in kinds: the types of k8s-openapi, with the topology that those leave out.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::topology;
use super::{Schema, SchemaError};

/// The schema of a kind, made when it is first asked for and kept: the largest are thousands of fields.
pub(super) fn schema(group: &str, kind: &str) -> Schema {
    static SCHEMAS: [Known; 10] = [
        known::<Namespace>("", "Namespace"),
        known::<Secret>("", "Secret"),
        known::<ConfigMap>("", "ConfigMap"),
        known::<ServiceAccount>("", "ServiceAccount"),
        known::<Pod>("", "Pod"),
        known::<Node>("", "Node"),
        known::<Event>("", "Event"),
        known::<Job>("batch", "Job"),
        known::<Lease>("coordination.k8s.io", "Lease"),
        known::<CustomResourceDefinition>("apiextensions.k8s.io", "CustomResourceDefinition"),
    ];
    static UNKNOWN: LazyLock<Schema> = LazyLock::new(anything);
    let known = SCHEMAS.iter().find(|known| known.group == group && known.kind == kind);
    known.map_or_else(|| UNKNOWN.clone(), |known| known.schema.clone())
}

struct Known {
    group: &'static str,
    kind: &'static str,
    schema: LazyLock<Schema>,
}

const fn known<K: JsonSchema>(group: &'static str, kind: &'static str) -> Known {
    Known { group, kind, schema: LazyLock::new(|| usable(Schema::builtin(written_out::<K>()))) }
}

fn anything() -> Schema {
    usable(Schema::builtin(json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })))
}

fn usable(schema: Result<Schema, SchemaError>) -> Schema {
    schema.expect("k8s-openapi's schemas, which a test parses, have no patterns and no rules")
}

/// The metadata of all objects.
pub(super) fn object_meta() -> &'static Value {
    static METADATA: LazyLock<Value> = LazyLock::new(written_out::<ObjectMeta>);
    &METADATA
}

/// A CRD's schema as `OpenAPI` v3 publishes it: with what all objects have.
pub(super) fn published(schema: &Value) -> Value {
    static OF_ALL: LazyLock<Value> = LazyLock::new(|| written_out::<Namespace>()["properties"].take());
    let mut schema = schema.clone();
    let Value::Object(fields) = &mut schema else { return schema };
    fields.retain(|field, value| field != "required" || value.as_array().is_none_or(|names| !names.is_empty()));
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        for name in ["apiVersion", "kind", "metadata"] {
            properties.insert(name.into(), OF_ALL[name].clone());
        }
    }
    schema
}

/// A type's schema with every reference replaced by what it refers to.
///
/// A type within itself (`JSONSchemaProps`) is left open there: whatever stands in it is kept.
fn written_out<T: JsonSchema>() -> Value {
    let root = SchemaGenerator::default().into_root_schema_for::<T>().to_value();
    let definitions = root["$defs"].as_object().cloned().unwrap_or_default();
    let definitions: BTreeMap<&str, &Value> = definitions.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let name = T::schema_name().into_owned();
    let mut written = Writer { definitions, within: Vec::new() }.definition(&name, &root);
    if let Value::Object(fields) = &mut written {
        for of_the_file in ["$defs", "$schema", "title"] {
            fields.remove(of_the_file);
        }
    }
    written
}

struct Writer<'a> {
    definitions: BTreeMap<&'a str, &'a Value>,
    within: Vec<String>,
}

impl Writer<'_> {
    /// The definition of a type, with its topology.
    fn definition(&mut self, name: &str, schema: &Value) -> Value {
        let mut schema = schema.clone();
        if let Value::Object(fields) = &mut schema {
            topology::add(name.rsplit('.').next().unwrap_or(name), fields);
        }
        self.within.push(name.to_owned());
        let written = self.schema(&schema);
        self.within.pop();
        written
    }

    fn schema(&mut self, schema: &Value) -> Value {
        let Value::Object(fields) = schema else { return open(Map::new()) };
        let mut fields = fields.clone();
        if let Some(Value::String(reference)) = fields.remove("$ref") {
            return self.reference(&reference, fields);
        }
        if let Some(Value::Object(properties)) = fields.get_mut("properties") {
            for property in properties.values_mut() {
                *property = self.schema(property);
            }
        }
        for name in ["items", "additionalProperties"] {
            if let Some(below) = fields.get_mut(name)
                && below.is_object()
            {
                *below = self.schema(below);
            }
        }
        let is_open = match fields.get("type").and_then(Value::as_str) {
            None => fields.get("x-kubernetes-int-or-string").is_none(),
            Some("object") => !fields.contains_key("properties") && !fields.contains_key("additionalProperties"),
            Some(_) => false,
        };
        if is_open { open(fields) } else { Value::Object(fields) }
    }

    fn reference(&mut self, reference: &str, beside: Map<String, Value>) -> Value {
        let name = reference.trim_start_matches("#/$defs/").to_owned();
        let definition = self.definitions.get(name.as_str()).copied().filter(|_| !self.within.contains(&name));
        let mut written = match definition {
            Some(definition) => self.definition(&name, definition),
            None => open(Map::new()),
        };
        if let Value::Object(fields) = &mut written {
            fields.extend(beside);
        }
        written
    }
}

/// A schema of which everything is kept.
fn open(mut fields: Map<String, Value>) -> Value {
    fields.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    Value::Object(fields)
}
