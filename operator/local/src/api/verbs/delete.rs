//! DELETE: at once, or in steps where somebody must have their say first.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Target, World};
use crate::api::body;
use crate::api::chores::{Chore, FOREGROUND, ORPHAN};
use crate::api::failure::Failure;
use crate::api::kinds::Kind;
use crate::api::object::{self, Object};
use crate::api::query::{self, Query};
use crate::api::state::{Place, State};

/// What becomes of dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

const JOB_WARNING: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background \
                           to remove them or set propagationPolicy=Orphan to suppress this warning";

/// The options of a deletion.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) is_dry_run: bool,
}

/// The body of a deletion: its options, or nothing.
pub(crate) fn parse(sent: &[u8], media_type: &str) -> Result<Value, Failure> {
    let body = body::parse(sent, media_type, "DeleteOptions")
        .map_err(|failure| failure.reworded(|message| body::without_wrapper(message, "DeleteOptions")))?;
    match body.value["kind"].as_str() {
        None | Some("" | "DeleteOptions") => Ok(body.value),
        Some(other) => {
            let version = body.value["apiVersion"].as_str().unwrap_or_default();
            Err(Failure::bad_request(format!("no kind {other:?} is registered for version {version:?}")))
        }
    }
}

impl DeleteOptions {
    /// With what becomes of dependents where nothing was said: a Job's pods stay, as they always did, with a warning.
    pub(crate) fn or_default(mut self, kind: &Kind) -> (Self, Option<&'static str>) {
        if !kind.is("batch", "Job") || self.propagation.is_some() {
            return (self, None);
        }
        self.propagation = Some(Propagation::Orphan);
        (self, Some(JOB_WARNING))
    }

    /// Of the query and the body; the body goes before.
    pub(crate) fn of(query: &Query, body: &Value) -> Result<Self, Failure> {
        let grace_seconds = match body["gracePeriodSeconds"].as_i64() {
            Some(seconds) => Some(seconds),
            None => query.number("gracePeriodSeconds")?.and_then(|seconds| i64::try_from(seconds).ok()),
        };
        let policy = body["propagationPolicy"].as_str().or_else(|| query.get("propagationPolicy"));
        let propagation = match policy {
            None | Some("") => match body["orphanDependents"].as_bool() {
                Some(true) => Some(Propagation::Orphan),
                Some(false) => Some(Propagation::Background),
                None => None,
            },
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let supported = r#""Foreground", "Background", "Orphan", "nil""#;
                let cause = query::not_supported("propagationPolicy", other, supported);
                return Err(Failure::invalid_options("DeleteOptions", &cause));
            }
        };
        let text = |value: &Value| value.as_str().map(Into::into);
        let is_dry_run = body["dryRun"].as_array().is_some_and(|stages| stages.contains(&json!("All")));
        Ok(Self {
            grace_seconds,
            propagation,
            uid: text(&body["preconditions"]["uid"]),
            version: text(&body["preconditions"]["resourceVersion"]),
            is_dry_run: is_dry_run || query::is_dry_run(query, "DeleteOptions")?,
        })
    }
}

/// What came of a deletion.
pub(crate) struct Deleted {
    pub(crate) object: Arc<Object>,
    /// Whether it is gone; else it is only on its way.
    pub(crate) is_gone: bool,
}

pub(crate) fn delete(
    state: &mut State,
    world: &World<'_>,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Deleted, Failure> {
    let kind = &*target.kind;
    let place = target.place();
    let live = state.get(&place).cloned().ok_or_else(|| Failure::not_found(kind, &target.name))?;
    check_preconditions(kind, &live.value, options)?;
    let mut new = live.value.clone();
    add_finalizer(&mut new, options.propagation);
    let is_namespace = kind.is("", "Namespace");
    let grace = grace_seconds(kind, &live.value, options);
    let must_wait = grace > 0 || object::finalizers(&new).next().is_some() || is_namespace;
    if !must_wait {
        if builtin_counts(kind) && !object::is_deleting(&new) {
            mark(&mut new, world, 0);
        }
        if options.is_dry_run {
            return Ok(Deleted { object: Object::of(new).into(), is_gone: true });
        }
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            forget_definition(state, &new);
        }
        return Ok(Deleted { object: state.remove(&place, new), is_gone: true });
    }
    let is_sooner = new["metadata"]["deletionGracePeriodSeconds"].as_i64().is_some_and(|kept| grace < kept);
    if !object::is_deleting(&new) || is_sooner {
        mark(&mut new, world, grace);
    }
    if is_namespace {
        object::metadata_mut(&mut new).remove("deletionGracePeriodSeconds");
        new["status"]["phase"] = "Terminating".into();
    }
    if options.is_dry_run {
        return Ok(Deleted { object: Object::of(new).into(), is_gone: false });
    }
    let object = if new == live.value { live } else { state.put(&place, new) };
    if is_namespace {
        state.chores.push_back(Chore::Empty(target.name.clone()));
    }
    state.chores.push_back(Chore::Finalize(place));
    Ok(Deleted { object, is_gone: false })
}

fn check_preconditions(kind: &Kind, live: &Value, options: &DeleteOptions) -> Result<(), Failure> {
    let name = object::name(live);
    let refuse = |why: &str| Err(Failure::precondition(kind, name, why));
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object::uid(live)) {
        return refuse(&format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            object::uid(live)
        ));
    }
    let kept = object::resource_version(live);
    if let Some(version) = options.version.as_deref().filter(|version| *version != kept) {
        return refuse(&format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({kept}). The object might have been modified"
        ));
    }
    Ok(())
}

/// Only pods have time to end: those that a node has, and that have not ended.
fn grace_seconds(kind: &Kind, live: &Value, options: &DeleteOptions) -> i64 {
    if !kind.is("", "Pod") {
        return 0;
    }
    let is_assigned = live["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let has_ended = matches!(live["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !is_assigned || has_ended {
        return 0;
    }
    let own = live["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let asked = options.grace_seconds.unwrap_or(own).max(0);
    match live["metadata"]["deletionGracePeriodSeconds"].as_i64() {
        Some(kept) if object::is_deleting(live) => asked.min(kept),
        _ => asked,
    }
}

fn add_finalizer(object: &mut Value, propagation: Option<Propagation>) {
    let (added, removed) = match propagation {
        None => return,
        Some(Propagation::Background) => (None, [FOREGROUND, ORPHAN].as_slice()),
        Some(Propagation::Foreground) => (Some(FOREGROUND), [ORPHAN].as_slice()),
        Some(Propagation::Orphan) => (Some(ORPHAN), [FOREGROUND].as_slice()),
    };
    let mut finalizers: Vec<String> =
        object::finalizers(object).filter(|one| !removed.contains(one)).map(Into::into).collect();
    if let Some(added) = added.filter(|added| !finalizers.iter().any(|one| one == added)) {
        finalizers.push(added.into());
    }
    set_finalizers(object, finalizers);
}

/// Writes the finalizers; no list where there are none.
pub(crate) fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    let metadata = object::metadata_mut(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), finalizers.into());
    }
}

/// Kinds whose last state shows that they were deleted.
fn builtin_counts(kind: &Kind) -> bool {
    kind.is("", "Pod")
}

/// Marks the object as on its way out.
fn mark(object: &mut Value, world: &World<'_>, grace_seconds: i64) {
    let end = world.now.as_second().saturating_add(grace_seconds);
    let end = jiff::Timestamp::from_second(end).unwrap_or(world.now);
    let generation = object::generation(object);
    let metadata = object::metadata_mut(object);
    metadata.insert("deletionTimestamp".into(), object::seconds(end).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace_seconds.into());
    if generation > 0 {
        metadata.insert("generation".into(), (generation + 1).into());
    }
}

/// Deletes the objects of a definition that goes, and stops serving its kinds.
fn forget_definition(state: &mut State, definition: &Value) {
    let table = format!(
        "{}.{}",
        definition["spec"]["names"]["plural"].as_str().unwrap_or_default(),
        definition["spec"]["group"].as_str().unwrap_or_default()
    );
    if let Some(table) = state.table_named(&table) {
        let objects: Vec<Arc<Object>> = state.objects(table).values().cloned().collect();
        for object in objects {
            state.remove(&Place { table, key: object::Key::of(&object.value) }, object.value.clone());
        }
    }
    let mut kinds = (*state.kinds).clone();
    kinds.undefine(definition);
    state.kinds = Arc::new(kinds);
}
