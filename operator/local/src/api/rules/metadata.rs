//! What may stand in `metadata`, and what may become of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::names;
use crate::api::failure::Failure;
use crate::api::kinds::Kind;
use crate::api::object;
use crate::schema::Cause;

/// All annotations of an object together.
const MAX_ANNOTATIONS_BYTES: usize = 256 << 10;

/// Metadata that a client may leave out, and else may not change.
const KEPT: [&str; 3] = ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"];
/// Metadata that is the server's, whatever a client sends.
const OWN: [&str; 2] = ["creationTimestamp", "generation"];

pub(crate) fn invalid(field: impl Into<String>, value: &str, why: &str) -> Cause {
    let message = format!("Invalid value: {}: {why}", names::quoted(value));
    Cause { reason: "FieldValueInvalid", message, field: field.into() }
}

/// Refuses metadata of wrong types, as decoding does.
pub(crate) fn check_types(kind: &Kind, object: &Value) -> Result<(), Failure> {
    if object["metadata"].is_null() {
        return Ok(());
    }
    ObjectMeta::deserialize(&object["metadata"]).map(|_| ()).map_err(|error| {
        Failure::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: metadata: {error}",
            kind.kind, kind.version
        ))
    })
}

/// What is wrong with an object's metadata.
pub(crate) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object::name(object);
    if name.is_empty() {
        causes.push(Cause {
            reason: "FieldValueRequired",
            message: "Required value: name or generateName is required".into(),
            field: "metadata.name".into(),
        });
    } else {
        let wrong = if kind.is("", "Namespace") { names::label(name) } else { names::subdomain(name) };
        causes.extend(wrong.iter().map(|why| invalid("metadata.name", name, why)));
    }
    let metadata = &object["metadata"];
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        causes.extend(names::qualified(key).iter().map(|why| invalid("metadata.labels", key, why)));
        let value = value.as_str().unwrap_or_default();
        causes.extend(names::label_value(value).iter().map(|why| invalid("metadata.labels", value, why)));
    }
    let mut bytes = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        let lower = key.to_lowercase();
        causes.extend(names::qualified(&lower).iter().map(|why| invalid("metadata.annotations", key, why)));
    }
    if bytes > MAX_ANNOTATIONS_BYTES {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MAX_ANNOTATIONS_BYTES} bytes"),
            field: "metadata.annotations".into(),
        });
    }
    for finalizer in object::finalizers(object) {
        causes.extend(names::qualified(finalizer).iter().map(|why| invalid("metadata.finalizers", finalizer, why)));
    }
    if !kind.is_custom {
        for (place, finalizer) in object::finalizers(object).enumerate() {
            let why = names::finalizer(finalizer);
            causes.extend(why.map(|why| invalid(format!("metadata.finalizers[{place}]"), finalizer, why)));
        }
    }
    check_owners(object, &mut causes);
    causes
}

/// An owner's fields in the order of Go's type.
fn shown_owner(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let shown = fields.iter().filter_map(|field| Some(format!("{field:?}:{}", owner.get(field)?)));
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

fn check_owners(object: &Value, causes: &mut Vec<Cause>) {
    let owners = object::owner_references(object);
    for (place, owner) in owners.iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause {
                    reason: "FieldValueRequired",
                    message: "Required value: must not be empty".into(),
                    field: format!("metadata.ownerReferences[{place}].{field}"),
                });
            }
        }
    }
    let called = |owner: &Value| {
        let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("kind"), text("name"))
    };
    let mut controllers = owners.iter().filter(|owner| owner["controller"] == true).map(called);
    if let (Some(one), Some(other)) = (controllers.next(), controllers.next()) {
        let shown: Vec<String> = owners.iter().map(shown_owner).collect();
        let message = format!(
            "Invalid value: [{}]: Only one reference can have Controller set to true. Found \"true\" in references for {one} and {other}",
            shown.join(",")
        );
        causes.push(Cause { reason: "FieldValueInvalid", message, field: "metadata.ownerReferences".into() });
    }
}

/// Takes out what is empty, as Go's type leaves it out.
pub(crate) fn drop_empty(object: &mut Value) {
    for field in ["annotations", "finalizers", "labels", "ownerReferences"] {
        let metadata = object::metadata_mut(object);
        let is_empty = match metadata.get(field) {
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            _ => false,
        };
        if is_empty {
            metadata.remove(field);
        }
    }
}

/// Gives `new` what only the server sets in metadata, where the client left it out.
pub(crate) fn carry_over(new: &mut Value, old: &Value) {
    let metadata = object::metadata_mut(new);
    for field in KEPT {
        let given = metadata.get(field);
        if given.is_none_or(Value::is_null) {
            match old["metadata"].get(field) {
                Some(value) => metadata.insert(field.into(), value.clone()),
                None => metadata.remove(field),
            };
        }
    }
    for field in OWN {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.remove(field),
        };
    }
    metadata.remove("selfLink");
}

/// What is wrong with the way from `old` to `new`.
pub(crate) fn check_change(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in KEPT {
        let (new, old) = (&new["metadata"][field], &old["metadata"][field]);
        if new != old {
            let message = format!("Invalid value: {new}: field is immutable");
            causes.push(Cause { reason: "FieldValueInvalid", message, field: format!("metadata.{field}") });
        }
    }
    if object::is_deleting(old) {
        let added: Vec<String> = object::finalizers(new)
            .filter(|finalizer| !object::has_finalizer(old, finalizer))
            .map(names::quoted)
            .collect();
        if !added.is_empty() {
            causes.push(Cause {
                reason: "FieldValueForbidden",
                message: format!(
                    "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
                field: "metadata.finalizers".into(),
            });
        }
    }
    causes
}
