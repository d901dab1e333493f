//! From what a client sent to an object of a kind: identity, unknown fields, defaults.

use serde_json::Value;

use super::Target;
use crate::api::body::{self, NO_KIND};
use crate::api::failure::Failure;
use crate::api::kinds::Kind;
use crate::api::object;
use crate::api::query::{FieldValidation, WriteOptions};
use crate::api::rules::metadata;

/// Gives the object the version and kind of the path; refuses others.
pub(crate) fn check_kind(kind: &Kind, sent: &mut Value) -> Result<(), Failure> {
    if !sent.is_object() {
        return Err(not_an_object(kind, sent));
    }
    let (api_version, name) = (&sent["apiVersion"], &sent["kind"]);
    if let Some(given) = api_version.as_str().filter(|given| !given.is_empty() && *given != kind.api_version) {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({})",
            kind.api_version
        )));
    }
    if let Some(given) = name.as_str().filter(|given| !given.is_empty() && *given != kind.kind) {
        return Err(Failure::bad_request(format!(
            "{given} in version {:?} cannot be handled as a {}: the kind in the data does not match the kind of the path",
            kind.version, kind.kind
        )));
    }
    sent["apiVersion"] = kind.api_version.as_str().into();
    sent["kind"] = kind.kind.as_str().into();
    Ok(())
}

/// In the words of a decoder that looks for two texts in an object.
fn not_an_object(kind: &Kind, sent: &Value) -> Failure {
    let found = match sent {
        Value::Null => return body::unrecognized(&kind.kind, &format!("{NO_KIND}unexpected end of JSON input"), b""),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    };
    let wanted = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let why = format!("{NO_KIND}json: cannot unmarshal {found} into Go value of type {wanted}");
    body::unrecognized(&kind.kind, &why, sent.to_string().as_bytes())
}

/// Gives the object the namespace and name of the path; refuses others.
pub(crate) fn check_place(target: &Target, sent: &mut Value) -> Result<(), Failure> {
    let namespace = object::text(sent, "namespace");
    if target.kind.is_namespaced {
        if !namespace.is_empty() && namespace != target.namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        object::metadata_mut(sent).insert("namespace".into(), target.namespace.as_str().into());
    } else {
        object::metadata_mut(sent).remove("namespace");
    }
    if target.name.is_empty() {
        return Ok(());
    }
    let name = object::name(sent);
    if !name.is_empty() && name != target.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    object::metadata_mut(sent).insert("name".into(), target.name.as_str().into());
    Ok(())
}

/// Whether the object came whole or as a patch: unknown fields are told differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Body,
    Patch,
}

/// Takes out unknown fields and puts defaults in; gives the warnings.
pub(crate) fn decode(
    kind: &Kind,
    object: &mut Value,
    options: &WriteOptions,
    source: Source,
    duplicates: &[String],
) -> Result<Vec<String>, Failure> {
    metadata::check_types(kind, object)?;
    let sent = (source == Source::Patch && options.validation == FieldValidation::Strict).then(|| object.clone());
    let unknown = kind.schema.prune(object);
    let wrong: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .chain(duplicates.iter().map(|path| format!("duplicate field {path:?}")))
        .collect();
    kind.schema.default(object);
    match options.validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(wrong),
        FieldValidation::Strict if wrong.is_empty() => Ok(wrong),
        FieldValidation::Strict => {
            let said = format!("strict decoding error: {}", wrong.join(", "));
            Err(match sent {
                None => Failure::bad_request(format!(
                    "{0} in version {1:?} cannot be handled as a {0}: {said}",
                    kind.kind, kind.version
                )),
                Some(sent) => Failure::invalid_patch(&sent.to_string(), &said),
            })
        }
    }
}
