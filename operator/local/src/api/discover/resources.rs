//! The kinds of one group and version, and the parts of their objects that have paths of their own.

use serde_json::{Value, json};

use crate::api::kinds::{Kind, Kinds};
use crate::api::reviews::REVIEWS;

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// In the order in which they are told of kinds from `CustomResourceDefinition`s.
const CUSTOM_VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// What can be done to a kind's objects.
pub(super) fn verbs(kind: &Kind) -> Value {
    if kind.is("", "Namespace") {
        return VERBS.iter().filter(|verb| **verb != "deletecollection").copied().collect();
    }
    json!(if kind.is_custom { CUSTOM_VERBS } else { VERBS })
}

/// A path under an object's.
pub(super) struct Subresource {
    pub(super) name: &'static str,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) verbs: &'static [&'static str],
}

/// The subresources of a kind.
pub(super) fn subresources(kind: &Kind) -> Vec<Subresource> {
    let own = |name, verbs| Subresource {
        name,
        group: kind.group.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        verbs,
    };
    let mut all = Vec::new();
    if kind.is("", "Pod") {
        all.push(own("log", &["get"]));
    }
    if kind.has_status {
        all.push(own("status", &["get", "patch", "update"]));
    }
    if kind.scale.is_some() {
        all.push(Subresource {
            name: "scale",
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs: &["get", "patch", "update"],
        });
    }
    all
}

pub(super) fn list(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    let mut kinds: Vec<&Kind> =
        kinds.iter().map(|kind| &**kind).filter(|kind| kind.group == group && kind.version == version).collect();
    kinds.sort_by(|one, other| one.plural.cmp(&other.plural));
    for kind in kinds {
        resources.push(resource(kind));
        for part in subresources(kind) {
            let mut shown = json!({
                "name": format!("{}/{}", kind.plural, part.name),
                "singularName": "",
                "namespaced": kind.is_namespaced,
                "kind": part.kind,
                "verbs": part.verbs,
            });
            if part.group != kind.group {
                shown["group"] = part.group.into();
                shown["version"] = part.version.into();
            }
            resources.push(shown);
        }
    }
    for (_, plural, kind) in REVIEWS.iter().filter(|(of, ..)| *of == group && version == "v1") {
        resources.push(json!({
            "name": plural,
            "singularName": kind.to_lowercase(),
            "namespaced": false,
            "kind": kind,
            "verbs": ["create"],
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty()).then(|| {
        let mut list = json!({ "kind": "APIResourceList", "groupVersion": group_version, "resources": resources });
        if !group.is_empty() {
            list["apiVersion"] = "v1".into();
        }
        list
    })
}

fn resource(kind: &Kind) -> Value {
    let mut shown = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.is_namespaced,
        "kind": kind.kind,
        "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        shown["shortNames"] = kind.short_names.clone().into();
    }
    if !kind.categories.is_empty() {
        shown["categories"] = kind.categories.clone().into();
    }
    shown
}
