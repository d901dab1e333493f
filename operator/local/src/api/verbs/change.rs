//! What every change of an object goes through: PUT, PATCH and apply differ in how the new object comes about only.

use std::sync::Arc;

use serde_json::Value;

use super::create::{self, Creation};
use super::decode::{self, Source};
use super::{Part, Target, World, Written};
use crate::api::chores::Chore;
use crate::api::failure::Failure;
use crate::api::kinds::Kind;
use crate::api::object::{self, Key, Object};
use crate::api::query::WriteOptions;
use crate::api::rules::{builtin, defaults, metadata};
use crate::api::show::events;
use crate::api::state::{Place, State};
use crate::fields::{self, Writer};
use crate::schema::Cause;

/// A new state of an object, and how it came about.
pub(crate) struct Change<'a> {
    pub(crate) target: &'a Target,
    pub(crate) live: Arc<Object>,
    /// As the client's version of the kind has it.
    pub(crate) new: Value,
    pub(crate) duplicates: &'a [String],
    pub(crate) options: &'a WriteOptions,
    pub(crate) source: Source,
    /// Whether `managedFields` are right in `new` already, by an apply.
    pub(crate) is_applied: bool,
}

/// PUT.
pub(crate) fn update(
    state: &mut State,
    world: &World<'_>,
    target: &Target,
    mut new: Value,
    duplicates: &[String],
    options: &WriteOptions,
) -> Result<Written, Failure> {
    let kind = &*target.kind;
    decode::check_kind(kind, &mut new)?;
    decode::check_place(target, &mut new)?;
    let Some(live) = state.get(&target.place()).cloned() else {
        if builtin::is_made_by_update(kind) && target.part == Part::Whole {
            let creation = Creation { target, sent: new, duplicates, options, is_applied: false };
            return create::create(state, world, creation);
        }
        return Err(Failure::not_found(kind, &target.name));
    };
    let version = object::resource_version(&new);
    if matches!(version, "" | "0") && builtin::needs_version(kind) {
        return Err(Failure::no_version(kind, &target.name));
    }
    let (given, kept) = (object::uid(&new), object::uid(&live.value));
    if !given.is_empty() && given != kept {
        let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {kept}");
        return Err(Failure::conflict(kind, &target.name, &why));
    }
    change(state, world, Change { target, live, new, duplicates, options, source: Source::Body, is_applied: false })
}

/// Makes `new` of the live object.
pub(crate) fn change(state: &mut State, world: &World<'_>, change: Change<'_>) -> Result<Written, Failure> {
    let Change { target, live, mut new, duplicates, options, source, is_applied } = change;
    let kind = &*target.kind;
    decode::check_kind(kind, &mut new)?;
    decode::check_place(target, &mut new)?;
    if !matches!(object::resource_version(&new), "" | "0")
        && object::resource_version(&new) != object::resource_version(&live.value)
    {
        return Err(Failure::modified(kind, &target.name));
    }
    new = events::kept(kind.view, new);
    let warnings = decode::decode(kind, &mut new, options, source, duplicates)?;
    let old = &live.value;
    keep_other_part(target, &mut new, old);
    metadata::carry_over(&mut new, old);
    if target.part == Part::Whole {
        defaults::of_changed(kind, &mut new, old);
        builtin::prepare_update(kind, &mut new, old, &object::seconds(world.now));
    }
    object::metadata_mut(&mut new).insert("resourceVersion".into(), object::resource_version(old).into());
    if !is_applied {
        let subresource = match target.part {
            Part::Whole => None,
            Part::Status => Some("status"),
            Part::Scale => Some("scale"),
        };
        let writer = Writer { manager: &options.manager, subresource, api_version: &kind.api_version, now: world.now };
        new = fields::update(&kind.schema, Some(old), new, writer);
    }
    let mut causes = metadata::check(kind, &new);
    causes.extend(metadata::check_change(&new, old));
    if target.part == Part::Whole {
        causes.extend(builtin::check(kind, &new));
        causes.extend(builtin::check_change(kind, &new, old));
    }
    causes.extend(kind.schema.validate(&new, Some(old)));
    if !causes.is_empty() {
        return Err(Failure::invalid(kind, &target.name, &causes));
    }
    if is_same(&new, old) {
        return Ok(Written { object: live, warnings, is_created: false });
    }
    if builtin::has_generation(kind) && is_new_generation(kind, &new, old) {
        object::metadata_mut(&mut new).insert("generation".into(), (object::generation(old) + 1).into());
    }
    if options.is_dry_run {
        return Ok(Written { object: Object::of(new).into(), warnings, is_created: false });
    }
    take_definition(state, kind, &new)?;
    let object = commit(state, &target.place(), new);
    Ok(Written { object, warnings, is_created: false })
}

/// Writes the object, or takes it out if it was only waiting for its last finalizer.
pub(crate) fn commit(state: &mut State, place: &Place, new: Value) -> Arc<Object> {
    let has_grace = new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
    let is_over = object::is_deleting(&new) && object::finalizers(&new).next().is_none() && !has_grace;
    if is_over && !is_namespace_with_content(&new) {
        // The event of its end has a version of its own; the writer is told the one that it wrote over.
        let last = Arc::new(Object::of(new.clone()));
        state.remove(place, new);
        return last;
    }
    let object = state.put(place, new);
    state.chores.push_back(Chore::Examine(place.clone()));
    object
}

/// A namespace goes when it is empty, which is not known here.
fn is_namespace_with_content(object: &Value) -> bool {
    object["kind"] == "Namespace" && object["apiVersion"] == "v1" && object["spec"]["finalizers"][0].is_string()
}

/// A write is about the status or about all else, never about both.
fn keep_other_part(target: &Target, new: &mut Value, old: &Value) {
    let kind = &*target.kind;
    let mut restore = |field: &str| match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => drop(new.as_object_mut().map(|object| object.remove(field))),
    };
    match target.part {
        Part::Status if kind.is_custom => {
            let fields: Vec<String> = old.as_object().into_iter().flatten().map(|(field, _)| field.clone()).collect();
            for field in fields.iter().filter(|field| *field != "status" && *field != "metadata") {
                restore(field);
            }
            let managed = new["metadata"]["managedFields"].take();
            new["metadata"] = old["metadata"].clone();
            if !managed.is_null() {
                new["metadata"]["managedFields"] = managed;
            }
        }
        Part::Status => restore("spec"),
        Part::Whole | Part::Scale if kind.has_status => restore("status"),
        Part::Whole | Part::Scale => {}
    }
}

/// Whether nothing but the times in `managedFields` differs.
fn is_same(new: &Value, old: &Value) -> bool {
    let managers = |object: &Value| -> Vec<Value> {
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries
            .into_iter()
            .map(|mut entry| {
                entry.as_object_mut().map(|entry| entry.remove("time"));
                entry
            })
            .collect()
    };
    let (Some(new_fields), Some(old_fields)) = (new.as_object(), old.as_object()) else { return false };
    let is_same_outside = new_fields.len() == old_fields.len()
        && new_fields.iter().all(|(field, value)| field == "metadata" || old_fields.get(field) == Some(value));
    let rest = |object: &Value| {
        let fields = object["metadata"].as_object().cloned().unwrap_or_default();
        fields.into_iter().filter(|(field, _)| field != "managedFields").collect::<Vec<_>>()
    };
    is_same_outside && rest(new) == rest(old) && managers(new) == managers(old)
}

/// Whether what is wanted differs: anything but metadata and, where it is a part of its own, the status.
fn is_new_generation(kind: &Kind, new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return true };
    let is_wanted = |field: &String| field != "metadata" && !(field == "status" && kind.has_status);
    let wanted = |object: &serde_json::Map<String, Value>| object.keys().filter(|field| is_wanted(field)).count();
    wanted(new) != wanted(old) || new.iter().any(|(field, value)| is_wanted(field) && old.get(field) != Some(value))
}

/// Serves the kinds of a `CustomResourceDefinition` that is about to be written.
pub(crate) fn take_definition(state: &mut State, kind: &Kind, definition: &Value) -> Result<(), Failure> {
    if !kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        return Ok(());
    }
    let place = Place { table: kind.table, key: Key::of(definition) };
    if state.get(&place).is_some_and(|live| live.value["spec"] == definition["spec"]) {
        return Ok(());
    }
    let mut kinds = (*state.kinds).clone();
    kinds.define(definition).map_err(|error| {
        let name = object::name(definition);
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {error}"),
            field: "spec.versions".into(),
        };
        Failure::invalid(kind, name, &[cause])
    })?;
    state.kinds = Arc::new(kinds);
    state.grow();
    Ok(())
}
