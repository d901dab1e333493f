//! Discovery in one answer for all groups (`apidiscovery.k8s.io`), as newer clients ask for it.

use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};

use super::resources::{subresources, verbs};
use super::{groups, typed_response};
use crate::api::kinds::{Kind, Kinds};
use crate::api::reviews::REVIEWS;

/// The version of aggregated discovery that the client would rather have than the older kind, if any.
pub(super) fn version(accept: Option<&str>) -> Option<&'static str> {
    let of = |range: &str| {
        let is_aggregated = range.contains("as=APIGroupDiscoveryList") && range.contains("g=apidiscovery.k8s.io");
        match (is_aggregated, range.contains("v=v2beta1")) {
            (true, true) => Some(Some("v2beta1")),
            (true, false) => Some(Some("v2")),
            (false, _) if range.trim().starts_with("application/json") => Some(None),
            (false, _) => None,
        }
    };
    accept?.split(',').find_map(of).flatten()
}

pub(super) fn answer(kinds: &Kinds, is_core: bool, version: &str) -> Response<Body> {
    let names = if is_core { vec![String::new()] } else { groups::names(kinds) };
    let items: Vec<Value> = names.iter().map(|name| group(kinds, name)).collect();
    let media_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let list = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    typed_response(&media_type, list.to_string())
}

fn group(kinds: &Kinds, name: &str) -> Value {
    let versions: Vec<Value> = groups::versions(kinds, name)
        .into_iter()
        .map(|version| {
            let own = kinds.iter().filter(|kind| kind.group == name && kind.version == version);
            let reviews = REVIEWS.iter().filter(|(group, ..)| *group == name);
            let resources: Vec<Value> = own
                .map(|kind| resource(kind))
                .chain(reviews.map(|(group, plural, kind)| review(group, plural, kind)))
                .collect();
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        })
        .collect();
    let metadata = if name.is_empty() { json!({}) } else { json!({ "name": name }) };
    json!({ "metadata": metadata, "versions": versions })
}

fn resource(kind: &Kind) -> Value {
    let scope = if kind.is_namespaced { "Namespaced" } else { "Cluster" };
    let mut shown = json!({
        "resource": kind.plural,
        "responseKind": response_kind(kind),
        "scope": scope,
        "singularResource": kind.singular,
        "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        shown["shortNames"] = kind.short_names.clone().into();
    }
    if !kind.categories.is_empty() {
        shown["categories"] = kind.categories.clone().into();
    }
    let parts: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|part| {
            json!({
                "subresource": part.name,
                "responseKind": { "group": part.group, "version": part.version, "kind": part.kind },
                "verbs": part.verbs,
            })
        })
        .collect();
    if !parts.is_empty() {
        shown["subresources"] = parts.into();
    }
    shown
}

/// The core's version goes without saying.
fn response_kind(kind: &Kind) -> Value {
    let version = if kind.group.is_empty() { "" } else { &kind.version };
    json!({ "group": kind.group, "version": version, "kind": kind.kind })
}

fn review(group: &str, plural: &str, kind: &str) -> Value {
    json!({
        "resource": plural,
        "responseKind": { "group": group, "version": "v1", "kind": kind },
        "scope": "Cluster",
        "singularResource": kind.to_lowercase(),
        "verbs": ["create"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_first_in_accept_is_given() {
        let new = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(version(Some(new)), Some("v2"));
        assert_eq!(
            version(Some("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList")),
            Some("v2beta1")
        );
        assert_eq!(version(Some("application/json, */*")), None);
        assert_eq!(version(None), None);
    }
}
