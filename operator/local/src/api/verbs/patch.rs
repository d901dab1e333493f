//! PATCH: JSON patch, merge patch, strategic merge patch, server-side apply.

use json_patch::{AddOperation, PatchOperation, ReplaceOperation};
use serde_json::{Value, json};

use super::change::{self, Change};
use super::create::{self, Creation};
use super::decode::{self, Source};
use super::{Part, Target, World, Written};
use crate::api::body::{self, Body};
use crate::api::failure::Failure;
use crate::api::kinds::Kind;
use crate::api::object;
use crate::api::query::WriteOptions;
use crate::api::show::events;
use crate::api::state::State;
use crate::fields::{self, Writer};
use crate::schema::Cause;

/// How a patch says what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// What a client may send for a kind of a `CustomResourceDefinition`, as the refusal of anything else lists it.
const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

impl Format {
    /// Of a `Content-Type`.
    pub(crate) fn of(media_type: &str, kind: &Kind) -> Result<Self, Failure> {
        match media_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !kind.is_custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            _ if kind.is_custom => Err(Failure::unsupported_media(ACCEPTED)),
            _ => Err(Failure::unsupported_patch()),
        }
    }
}

/// Reads a patch, and refuses what its format can't be.
pub(crate) fn parse(sent: &[u8], format: Format) -> Result<Body, Failure> {
    let refuse = |why: String| Err(Failure::bad_request(why));
    let text = || -> Result<Value, serde_json::Error> { serde_json::from_slice(sent) };
    match format {
        Format::Json => match text() {
            Ok(Value::Array(_)) => body::parse(sent, "application/json", ""),
            Ok(other) => refuse(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                go_type(&other)
            )),
            Err(error) => refuse(format!("error decoding patch: {}", body::json_error(&error))),
        },
        Format::Merge => match text() {
            Ok(Value::Object(_)) => body::parse(sent, "application/json", ""),
            Ok(other) => refuse(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                go_type(&other)
            )),
            Err(_) => refuse("invalid JSON patch".into()),
        },
        Format::Strategic => match text() {
            Ok(_) => body::parse(sent, "application/json", ""),
            Err(error) => refuse(format!("error decoding patch: {}", body::json_error(&error))),
        },
        // Most send JSON, which is read in a tenth of the time.
        Format::Apply => match text().or_else(|_| serde_yaml::from_slice(sent)) {
            Ok(_) => body::parse(sent, "application/yaml", ""),
            Err(error) => refuse(format!("error encoding patch: {}", body::yaml_error(&error))),
        },
    }
}

/// What Go calls a JSON value that it did not expect.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(_) | Value::Null => "number",
    }
}

/// A patch as it was sent.
pub(crate) struct Patch {
    pub(crate) format: Format,
    pub(crate) body: Value,
    pub(crate) duplicates: Vec<String>,
}

pub(crate) fn patch(
    state: &mut State,
    world: &World<'_>,
    target: &Target,
    patch: Patch,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    if patch.format == Format::Apply {
        return apply(state, world, target, patch.body, options);
    }
    let kind = &*target.kind;
    if options.is_forced {
        let cause = Cause {
            reason: "FieldValueForbidden",
            message: "Forbidden: may not be specified for non-apply patch".into(),
            field: "force".into(),
        };
        return Err(Failure::invalid_options("PatchOptions", &cause));
    }
    let live = state.get(&target.place()).cloned().ok_or_else(|| Failure::not_found(kind, &target.name))?;
    let mut new = events::shown(kind.view, live.value.clone());
    apply_to(target, &mut new, patch.format, &patch.body)?;
    decode::check_patched(kind, &new)?;
    if let Some(cause) = changed_uid(&new, &live.value) {
        return Err(Failure::invalid(kind, &target.name, &[cause]));
    }
    let change =
        Change { target, live, new, duplicates: &patch.duplicates, options, source: Source::Patch, is_applied: false };
    change::change(state, world, change)
}

/// Changes `object` as the patch says.
pub(super) fn apply_to(target: &Target, object: &mut Value, format: Format, patch: &Value) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let patch: json_patch::Patch =
                serde_json::from_value(patch.clone()).map_err(|_| Failure::rejected_patch())?;
            for mut operation in patch.0 {
                replace_or_add(object, &mut operation);
                json_patch::patch(object, &[operation]).map_err(|_| Failure::rejected_patch())?;
            }
            Ok(())
        }
        Format::Merge => {
            json_patch::merge(object, patch);
            Ok(())
        }
        Format::Strategic => {
            *object = fields::strategic_merge(&target.kind.schema, object, patch)
                .map_err(|error| Failure::bad_request(error.to_string()))?;
            Ok(())
        }
        Format::Apply => Err(Failure::not_allowed()),
    }
}

/// The API server's library replaces a field that is not there by adding it, where RFC 6902 refuses.
fn replace_or_add(object: &Value, operation: &mut PatchOperation) {
    if let PatchOperation::Replace(ReplaceOperation { path, value }) = operation
        && let Some((parent, _)) = path.split_back()
        && parent.resolve(object).is_ok_and(Value::is_object)
    {
        *operation = PatchOperation::Add(AddOperation { path: path.clone(), value: value.take() });
    }
}

fn changed_uid(new: &Value, old: &Value) -> Option<Cause> {
    let (given, kept) = (object::uid(new), object::uid(old));
    (!given.is_empty() && given != kept).then(|| Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {given:?}: field is immutable"),
        field: "metadata.uid".into(),
    })
}

/// Server-side apply; makes the object if it is not there.
fn apply(
    state: &mut State,
    world: &World<'_>,
    target: &Target,
    mut sent: Value,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    let kind = &*target.kind;
    if !options.is_manager_named {
        return Err(Failure::invalid_options(
            "PatchOptions",
            &Cause {
                reason: "FieldValueRequired",
                message: "Required value: is required for apply patch".into(),
                field: "fieldManager".into(),
            },
        ));
    }
    check_applied(target, &mut sent)?;
    let live = state.get(&target.place()).cloned();
    if live.is_none() && target.part != Part::Whole {
        return Err(Failure::not_found(kind, &target.name));
    }
    sent = only_part(target, events::kept(kind.view, sent));
    let version = object::resource_version(&sent).to_owned();
    if let Some(live) = live.as_ref().filter(|_| !version.is_empty() && version != "0")
        && version != object::resource_version(&live.value)
    {
        return Err(Failure::modified(kind, &target.name));
    }
    let writer = Writer {
        manager: &options.manager,
        subresource: (target.part == Part::Status).then_some("status"),
        api_version: &kind.api_version,
        now: world.now,
    };
    let before = live.as_ref().map(|live| &live.value);
    let merged = fields::apply(&kind.schema, before, &sent, writer, options.is_forced);
    let merged = merged.map_err(|found| conflicts(&found))?;
    let merged = events::shown(kind.view, merged);
    match live {
        None if !object::uid(&sent).is_empty() => {
            let uid = object::uid(&sent);
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            Err(Failure::conflict(kind, &target.name, &why))
        }
        None => {
            // What is applied must say its name, which a patch of a live object need not.
            decode::check_name(target, &merged)?;
            let creation = Creation { target, sent: merged, duplicates: &[], options, is_applied: true };
            create::create(state, world, creation)
        }
        Some(live) => {
            let source = Source::Patch;
            let change = Change { target, live, new: merged, duplicates: &[], options, source, is_applied: true };
            change::change(state, world, change)
        }
    }
}

/// Refuses what server-side apply does not take.
fn check_applied(target: &Target, sent: &mut Value) -> Result<(), Failure> {
    let kind = &*target.kind;
    let named = (object::text(sent, "namespace").to_owned(), object::name(sent).to_owned());
    if sent["apiVersion"] != kind.api_version.as_str() || sent["kind"] != kind.kind.as_str() {
        let of = |field: &str| sent[field].as_str().unwrap_or_default();
        let (group, version) = of("apiVersion").split_once('/').unwrap_or(("", of("apiVersion")));
        let why = format!("invalid object type: {group}/{version}, Kind={}", of("kind"));
        return Err(Failure::bad_request(why));
    }
    decode::check_namespace(target, sent)?;
    if sent["metadata"]["managedFields"].as_array().is_some_and(|entries| !entries.is_empty()) {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    let kept = events::kept(kind.view, sent.clone());
    fields::check_applied(&kind.schema, &kept).map_err(|malformed| {
        Failure::untyped(format!(
            "failed to create typed patch object ({}/{}; {}/{}, Kind={}): {malformed}",
            named.0, named.1, kind.group, kind.version, kind.kind
        ))
    })
}

/// Of what is applied, only the part that the path names.
fn only_part(target: &Target, mut sent: Value) -> Value {
    let Some(fields) = sent.as_object_mut() else { return sent };
    match target.part {
        Part::Status => {
            fields.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
            let metadata = fields.get("metadata").unwrap_or(&Value::Null);
            let kept: serde_json::Map<String, Value> = ["name", "namespace", "resourceVersion"]
                .into_iter()
                .filter_map(|field| Some((field.to_owned(), metadata.get(field)?.clone())))
                .collect();
            fields.insert("metadata".into(), kept.into());
        }
        Part::Whole | Part::Scale if target.kind.has_status => drop(fields.remove("status")),
        Part::Whole | Part::Scale => {}
    }
    sent
}

fn conflicts(found: &fields::Conflicts) -> Failure {
    let causes: Vec<Value> = found
        .0
        .iter()
        .map(|one| json!({ "reason": "FieldManagerConflict", "message": one.message, "field": one.field }))
        .collect();
    Failure::apply_conflicts(found.to_string(), &causes)
}
