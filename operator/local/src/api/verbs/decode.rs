//! From what a client sent to an object of a kind: identity, unknown fields, defaults.

use serde_json::Value;

use super::Target;
use crate::api::body::{self, NO_KIND};
use crate::api::failure::Failure;
use crate::api::kinds::Kind;
use crate::api::object;
use crate::api::query::{FieldValidation, WriteOptions};
use crate::api::rules::metadata;
use crate::schema::Cause;

/// Gives the object the version and kind of the path; refuses others.
pub(crate) fn check_kind(kind: &Kind, sent: &mut Value) -> Result<(), Failure> {
    if !sent.is_object() {
        return Err(not_an_object(kind, sent));
    }
    if kind.is_custom {
        // Kubernetes' own kinds are what the path says; these must say it themselves.
        for field in ["kind", "apiVersion"] {
            if sent[field].as_str().unwrap_or_default().is_empty() {
                let name = if field == "kind" { "Kind" } else { field };
                let text = shown(sent);
                let why = format!("Object '{name}' is missing in '{text}'");
                return Err(body::unrecognized(&kind.kind, &why, text.as_bytes()));
            }
        }
    }
    let (api_version, name) = (&sent["apiVersion"], &sent["kind"]);
    if let Some(given) = api_version.as_str().filter(|given| !given.is_empty() && *given != kind.api_version) {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({})",
            kind.api_version
        )));
    }
    if let Some(given) = name.as_str().filter(|given| !given.is_empty() && *given != kind.kind) {
        if kind.is_custom {
            return Err(other_kind(kind, given, object::name(sent)));
        }
        return Err(Failure::bad_request(format!(
            "{given} in version {:?} cannot be handled as a {}: the kind in the data does not match the kind of the path",
            kind.version, kind.kind
        )));
    }
    sent["apiVersion"] = kind.api_version.as_str().into();
    sent["kind"] = kind.kind.as_str().into();
    Ok(())
}

/// A patch may not make another kind of an object.
pub(crate) fn check_patched(kind: &Kind, new: &Value) -> Result<(), Failure> {
    match new["kind"].as_str().filter(|given| *given != kind.kind) {
        None => Ok(()),
        Some(given) if kind.is_custom => Err(other_kind(kind, given, object::name(new))),
        Some(given) => Err(Failure::invalid_patch(
            &new.to_string(),
            &format!("the kind in the data ({given}) does not match the expected kind ({})", kind.kind),
        )),
    }
}

/// An object of a `CustomResourceDefinition` that calls itself another kind.
fn other_kind(kind: &Kind, given: &str, name: &str) -> Failure {
    let message = format!("Invalid value: {given:?}: must be {}", kind.kind);
    let cause = Cause { reason: "FieldValueInvalid", message, field: "kind".into() };
    Failure::invalid(kind, name, &[cause]).called(given)
}

/// A body without what was looked up in it, which left nulls.
fn shown(sent: &Value) -> String {
    let fields = sent.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(field, value)| (field.clone(), value.clone())).collect()).to_string()
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
    let wanted =
        r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let why = format!("{NO_KIND}json: cannot unmarshal {found} into Go value of type {wanted}");
    body::unrecognized(&kind.kind, &why, sent.to_string().as_bytes())
}

/// Gives the object the namespace of the path; refuses another, and another name.
pub(crate) fn check_place(target: &Target, sent: &mut Value) -> Result<(), Failure> {
    check_namespace(target, sent)?;
    if target.kind.is_namespaced {
        object::metadata_mut(sent).insert("namespace".into(), target.namespace.as_str().into());
    } else {
        object::metadata_mut(sent).remove("namespace");
    }
    check_name(target, sent)
}

/// Refuses an object of another namespace than that of the path.
pub(crate) fn check_namespace(target: &Target, sent: &Value) -> Result<(), Failure> {
    let namespace = object::text(sent, "namespace");
    if target.kind.is_namespaced && !namespace.is_empty() && namespace != target.namespace {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Refuses an object without the name of the path, if there is one in the path.
pub(crate) fn check_name(target: &Target, sent: &Value) -> Result<(), Failure> {
    let (name, wanted) = (object::name(sent), &target.name);
    if wanted.is_empty() || name == wanted {
        return Ok(());
    }
    Err(Failure::bad_request(if name.is_empty() {
        format!("the name of the object ({wanted} based on URL) was undeterminable: name must be provided")
    } else {
        format!("the name of the object ({name}) does not match the name on the URL ({wanted})")
    }))
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
    metadata::drop_empty(object);
    if !kind.is_custom {
        check_decodable(kind, object, source)?;
    }
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

/// Kubernetes' own kinds are Go's types, into which a field of another type can't be read at all.
fn check_decodable(kind: &Kind, object: &Value, source: Source) -> Result<(), Failure> {
    let causes = kind.schema.validate(object, None);
    let Some(cause) = causes.iter().find(|cause| cause.reason == "FieldValueTypeInvalid") else { return Ok(()) };
    let why = match cause.field.strip_prefix("data.") {
        Some(_) if kind.is("", "Secret") && object["data"].is_object() => "illegal base64 data at input byte 0".into(),
        _ => format!("{}: {}", cause.field, cause.message),
    };
    Err(match source {
        Source::Body => Failure::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: {why}",
            kind.kind, kind.version
        )),
        Source::Patch => Failure::invalid_patch(&object.to_string(), &why),
    })
}
