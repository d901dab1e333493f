//! `OpenAPI` v3: what `kubectl explain` reads, and what tells clients that this server checks fields itself.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use crate::api::kinds::{Kind, Kinds, View};
use crate::api::show::events;

/// The documents there are. Their addresses change with the kinds, since clients keep what they have read.
pub(super) fn index(kinds: &Kinds) -> Value {
    let paths: Map<String, Value> = kinds
        .group_versions()
        .into_iter()
        .map(|(group, version)| {
            let path = path(group, version);
            let mut hasher = DefaultHasher::new();
            for kind in of(kinds, group, version) {
                hash(kind).hash(&mut hasher);
            }
            let url = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
            (path, json!({ "serverRelativeURL": url }))
        })
        .collect();
    json!({ "paths": paths })
}

fn hash(kind: &Kind) -> u64 {
    *kind.schema_hash.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        kind.schema.openapi().to_string().hash(&mut hasher);
        hasher.finish()
    })
}

/// The document of one group and version.
pub(super) fn document(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in of(kinds, group, version) {
        let name = schema_name(kind);
        schemas.insert(name.clone(), schema(kind));
        schemas.insert(format!("{name}List"), list_schema(kind, &name));
        add_paths(&mut paths, kind, &name);
    }
    (!schemas.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0",
            "info": { "title": "Varve", "version": "v1" },
            "paths": paths,
            "components": { "schemas": schemas },
        })
    })
}

fn of<'a>(kinds: &'a Kinds, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Kind> {
    kinds.iter().map(|kind| &**kind).filter(move |kind| kind.group == group && kind.version == version)
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `dev.varve.v1alpha1.Repo`; Kubernetes' own kinds have names of another make.
pub(super) fn schema_name(kind: &Kind) -> String {
    let group = if kind.is_custom {
        kind.group.rsplit('.').collect::<Vec<_>>().join(".")
    } else {
        let group = kind.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
        format!("io.k8s.api.{group}")
    };
    format!("{group}.{}.{}", kind.version, kind.kind)
}

pub(super) fn gvk(kind: &Kind) -> Value {
    json!({ "group": kind.group, "version": kind.version, "kind": kind.kind })
}

pub(super) fn schema(kind: &Kind) -> Value {
    let mut schema = kind.schema.openapi().clone();
    if !schema.is_object() {
        schema = json!({ "type": "object" });
    }
    if kind.view == View::EventsV1 {
        schema["properties"] = events::shown(kind.view, schema["properties"].take());
        schema["properties"]["apiVersion"] = json!({ "type": "string" });
    }
    schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    schema
}

fn list_schema(kind: &Kind, name: &str) -> Value {
    let mut list = gvk(kind);
    list["kind"] = kind.list_kind.as_str().into();
    json!({
        "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "items": { "type": "array", "items": { "$ref": format!("#/components/schemas/{name}") } },
        },
        "x-kubernetes-group-version-kind": [list],
    })
}

/// The options of writes. A client that finds them here leaves the checks to the server.
pub(super) const WRITE_OPTIONS: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];

fn collection_path(kind: &Kind) -> String {
    let root = path(&kind.group, &kind.version);
    if kind.is_namespaced {
        format!("/{root}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("/{root}/{}", kind.plural)
    }
}

/// The path of one object of a kind.
pub(super) fn object_path(kind: &Kind) -> String {
    format!("{}/{{name}}", collection_path(kind))
}

fn add_paths(paths: &mut Map<String, Value>, kind: &Kind, name: &str) {
    let root = path(&kind.group, &kind.version);
    let list = format!("{name}List");
    paths.insert(
        collection_path(kind),
        json!({
            "get": operation(kind, "list", &list, &[]),
            "post": operation(kind, "post", name, &WRITE_OPTIONS),
            "delete": operation(kind, "deletecollection", &list, &["dryRun"]),
        }),
    );
    paths.insert(
        object_path(kind),
        json!({
            "get": operation(kind, "get", name, &[]),
            "put": operation(kind, "put", name, &WRITE_OPTIONS),
            "patch": patch(kind, name),
            "delete": operation(kind, "delete", name, &["dryRun"]),
        }),
    );
    if kind.is_namespaced {
        paths.insert(format!("/{root}/{}", kind.plural), json!({ "get": operation(kind, "list", &list, &[]) }));
    }
}

fn operation(kind: &Kind, action: &str, answer: &str, options: &[&str]) -> Value {
    let parameters: Vec<Value> = options
        .iter()
        .map(|option| json!({ "name": option, "in": "query", "schema": { "type": "string", "uniqueItems": true } }))
        .collect();
    json!({
        "parameters": parameters,
        "responses": { "200": {
            "description": "OK",
            "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{answer}") } } },
        } },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
    })
}

fn patch(kind: &Kind, name: &str) -> Value {
    let mut types = vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    if !kind.is_custom {
        types.push("application/strategic-merge-patch+json");
    }
    let content: Map<String, Value> =
        types.into_iter().map(|one| (one.to_owned(), json!({ "schema": { "type": "object" } }))).collect();
    let mut operation = operation(kind, "patch", name, &["dryRun", "fieldManager", "fieldValidation", "force"]);
    operation["requestBody"] = json!({ "content": content, "required": true });
    operation
}
