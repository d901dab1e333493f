//! POST, and the server-side apply of an object that is not there.

use serde_json::Value;

use super::decode::{self, Source};
use super::{Target, World, Written};
use crate::api::chores::Chore;
use crate::api::expire;
use crate::api::failure::Failure;
use crate::api::kinds::Kind;
use crate::api::object::{self, Key, Object};
use crate::api::query::WriteOptions;
use crate::api::rules::{builtin, defaults, metadata};
use crate::api::show::events;
use crate::api::state::{Place, State};
use crate::fields::{self, Writer};
use crate::schema::Cause;

/// What is to be created, and how.
pub(crate) struct Creation<'a> {
    pub(crate) target: &'a Target,
    pub(crate) sent: Value,
    pub(crate) duplicates: &'a [String],
    pub(crate) options: &'a WriteOptions,
    /// Whether `managedFields` are in `sent` already, by an apply.
    pub(crate) is_applied: bool,
}

pub(crate) fn create(state: &mut State, world: &World<'_>, creation: Creation<'_>) -> Result<Written, Failure> {
    let Creation { target, mut sent, duplicates, options, is_applied } = creation;
    let kind = &*target.kind;
    decode::check_kind(kind, &mut sent)?;
    decode::check_place(target, &mut sent)?;
    if !matches!(object::resource_version(&sent), "" | "0") {
        return Err(Failure::untyped("resourceVersion should not be set on objects to be created".into()));
    }
    sent = events::kept(kind.view, sent);
    if kind.is_custom && kind.has_status {
        sent.as_object_mut().map(|object| object.remove("status"));
    }
    let warnings = decode::decode(kind, &mut sent, options, Source::Body, duplicates)?;
    name(&mut sent, world);
    stamp(kind, &mut sent, world, is_applied);
    check_namespace(state, target, object::name(&sent))?;
    defaults::of_new(kind, &mut sent);
    if !is_applied {
        let writer =
            Writer { manager: &options.manager, subresource: None, api_version: &kind.api_version, now: world.now };
        sent = fields::create(&kind.schema, defaults::nothing_of(kind), sent, writer);
    }
    defaults::admit(kind, &mut sent);
    builtin::prepare_create(kind, &mut sent, &object::seconds(world.now));
    let mut causes = metadata::check(kind, &sent);
    causes.extend(builtin::check(kind, &sent));
    let is_known =
        |cause: &Cause| causes.iter().any(|found| found.reason == cause.reason && found.field == cause.field);
    let more: Vec<Cause> =
        kind.schema.validate_beside(&causes, &sent).into_iter().filter(|cause| !is_known(cause)).collect();
    causes.extend(more);
    let name = object::name(&sent).to_owned();
    if !causes.is_empty() {
        return Err(Failure::invalid(kind, &name, &causes));
    }
    let place = Place { table: kind.table, key: Key::of(&sent) };
    if let Some(live) = state.get(&place) {
        let is_deleting = object::is_deleting(&live.value);
        return Err(if is_deleting {
            Failure::still_exists(kind, &name)
        } else {
            Failure::already_exists(kind, &name)
        });
    }
    if options.is_dry_run {
        return Ok(Written { object: Object::of(sent).into(), warnings, is_created: true });
    }
    super::change::take_definition(state, kind, &sent)?;
    let object = state.put(&place, sent);
    state.chores.push_back(Chore::Examine(place));
    expire::events(state, kind, world.now);
    Ok(Written { object, warnings, is_created: true })
}

/// A name from `generateName`, where there is no other.
fn name(object: &mut Value, world: &World<'_>) {
    let prefix = object::text(object, "generateName");
    if object::name(object).is_empty() && !prefix.is_empty() {
        // Names have at most 63 letters, whatever they start with.
        let prefix: String = prefix.chars().take(58).collect();
        let name = format!("{prefix}{}", world.ids.suffix());
        object::metadata_mut(object).insert("name".into(), name.into());
    }
}

/// What only the server sets.
fn stamp(kind: &Kind, object: &mut Value, world: &World<'_>, is_applied: bool) {
    let metadata = object::metadata_mut(object);
    for field in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        metadata.remove(field);
    }
    if !is_applied {
        metadata.remove("managedFields");
    }
    metadata.insert("uid".into(), world.ids.uid().into());
    metadata.insert("creationTimestamp".into(), object::seconds(world.now).into());
    if builtin::has_generation(kind) {
        metadata.insert("generation".into(), 1.into());
    }
}

/// Nothing is made in a namespace that is not there or on its way out.
fn check_namespace(state: &State, target: &Target, name: &str) -> Result<(), Failure> {
    if !target.kind.is_namespaced {
        return Ok(());
    }
    let namespaces = state.kinds.find("", "v1", "namespaces").expect("namespaces are a built-in kind");
    let namespace = &target.namespace;
    let place = Place { table: namespaces.table, key: Key::new("", namespace) };
    let Some(found) = state.get(&place) else { return Err(Failure::not_found(namespaces, namespace)) };
    if !object::is_deleting(&found.value) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    Err(Failure::forbidden(&target.kind, name, &why).because(&serde_json::json!({
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    })))
}
