//! `/scale`: the size of an object through autoscaling/v1, wherever its kind keeps it.

use serde_json::{Value, json};

use super::change::{self, Change};
use super::decode::Source;
use super::patch::{self, Format, Patch};
use super::{Target, World};
use crate::api::failure::Failure;
use crate::api::kinds::{Kind, ScalePaths};
use crate::api::object::{self, Object};
use crate::api::query::WriteOptions;
use crate::api::state::State;

/// The `Scale` of an object.
pub(crate) fn get(state: &State, target: &Target) -> Result<Value, Failure> {
    let live = state.get(&target.place()).ok_or_else(|| Failure::not_found(&target.kind, &target.name))?;
    Ok(of(paths(&target.kind)?, live))
}

/// PUT of a `Scale`.
pub(crate) fn update(
    state: &mut State,
    world: &World<'_>,
    target: &Target,
    scale: &Value,
    options: &WriteOptions,
) -> Result<Value, Failure> {
    let paths = paths(&target.kind)?;
    let live = state.get(&target.place()).cloned().ok_or_else(|| Failure::not_found(&target.kind, &target.name))?;
    let mut new = live.value.clone();
    let version = object::resource_version(scale);
    if !version.is_empty() {
        object::metadata_mut(&mut new).insert("resourceVersion".into(), version.into());
    }
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        found => found
            .as_i64()
            .ok_or_else(|| Failure::invalid_patch(&scale.to_string(), "spec.replicas must be of type integer"))?,
    };
    put(&mut new, &paths.spec, replicas.into());
    let change = Change { target, live, new, duplicates: &[], options, source: Source::Body, is_applied: false };
    let written = change::change(state, world, change)?;
    Ok(of(paths, &written.object))
}

/// PATCH of a `Scale`.
pub(crate) fn patch(
    state: &mut State,
    world: &World<'_>,
    target: &Target,
    patch: &Patch,
    options: &WriteOptions,
) -> Result<Value, Failure> {
    let mut scale = get(state, target)?;
    match patch.format {
        Format::Strategic | Format::Apply => json_patch::merge(&mut scale, &patch.body),
        format => patch::apply_to(target, &mut scale, format, &patch.body)?,
    }
    update(state, world, target, &scale, options)
}

fn paths(kind: &Kind) -> Result<&ScalePaths, Failure> {
    kind.scale.as_ref().ok_or_else(Failure::no_such_path)
}

fn of(paths: &ScalePaths, object: &Object) -> Value {
    let value = &object.value;
    let metadata: serde_json::Map<String, Value> = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), value["metadata"].get(field)?.clone())))
        .collect();
    let number = |path: &str| find(value, path).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({ "replicas": number(&paths.status) });
    if let Some(selector) = paths.selector.as_deref().and_then(|path| find(value, path)) {
        status["selector"] = selector.clone();
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": { "replicas": number(&paths.spec) },
        "status": status,
    })
}

fn fields(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|field| !field.is_empty())
}

fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    fields(path).try_fold(object, |value, field| value.get(field))
}

fn put(object: &mut Value, path: &str, new: Value) {
    let mut place = object;
    for field in fields(path) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[field];
    }
    *place = new;
}
