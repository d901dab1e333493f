//! From `kubectl apply` to `kubectl apply --server-side`: the annotation that the former keeps.
//!
//! A field that stands as the annotation has it was kubectl's own doing, so that taking it is no conflict.

use serde_json::Value;

use super::apply::{Refused, Request};
use super::collect::fields_of;
use super::compare::Comparison;
use super::typed::Typed;

/// The one manager that is treated so.
pub(super) const MANAGER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether all conflicts are fields that kubectl itself applied before, on the client's side.
pub(super) fn explains(request: &Request, refused: &Refused) -> bool {
    if request.writer.manager != MANAGER {
        return false;
    }
    let text = request.before["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default();
    let Ok(last) = serde_json::from_str::<Value>(text) else { return false };
    if last["apiVersion"] != request.writer.api_version {
        return false;
    }
    let typed = Typed::of(request.schema.root());
    let changes = Comparison::between(typed, &last, request.before);
    let mine =
        fields_of(typed, &last).difference(&changes.modified).difference(&changes.added).difference(&changes.removed);
    refused.fields.difference(&mine).is_empty()
}

/// Brings the annotation up to date, if there is one.
pub(super) fn renew(object: &mut Value, applied: &Value) {
    let Some(annotation) = object
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(|annotations| annotations.get_mut(ANNOTATION))
    else {
        return;
    };
    let mut applied = applied.clone();
    if let Some(annotations) = applied.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"))
        && let Value::Object(annotations) = annotations
    {
        annotations.remove(ANNOTATION);
    }
    *annotation = format!("{applied}\n").into();
}
