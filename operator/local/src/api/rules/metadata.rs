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
const KEPT: [&str; 4] = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

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
    check_owners(object, &mut causes);
    causes
}

fn check_owners(object: &Value, causes: &mut Vec<Cause>) {
    let mut controllers = 0;
    for (place, owner) in object::owner_references(object).iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let field = if field == "apiVersion" { "version" } else { field };
                causes.push(invalid(
                    format!("metadata.ownerReferences.{field}"),
                    "",
                    &format!("{field} must not be empty"),
                ));
            }
        }
        if owner["controller"] == true {
            controllers += 1;
            if controllers == 2 {
                causes.push(invalid(
                    "metadata.ownerReferences",
                    &format!("[{place}]"),
                    "Only one reference can have Controller set to true",
                ));
            }
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
    match old["metadata"].get("generation") {
        Some(generation) => metadata.insert("generation".into(), generation.clone()),
        None => metadata.remove("generation"),
    };
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
