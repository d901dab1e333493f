//! `/api` and `/apis` as clients of any age read them: groups and their versions.

use serde_json::{Value, json};

use crate::api::kinds::Kinds;
use crate::api::reviews::REVIEWS;

pub(super) fn core() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

pub(super) fn list(kinds: &Kinds) -> Value {
    let groups: Vec<Value> = names(kinds).iter().filter_map(|name| group(kinds, name)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

pub(super) fn one(kinds: &Kinds, name: &str) -> Option<Value> {
    let mut group = group(kinds, name)?;
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(group)
}

/// All groups but the first, in the order of the table.
pub(super) fn names(kinds: &Kinds) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let reviews = REVIEWS.iter().map(|(group, ..)| *group);
    for name in kinds.group_versions().into_iter().map(|(group, _)| group).chain(reviews) {
        if !name.is_empty() && !names.iter().any(|one| one == name) {
            names.push(name.into());
        }
    }
    names
}

/// The versions of a group.
pub(super) fn versions<'a>(kinds: &'a Kinds, name: &str) -> Vec<&'a str> {
    let found: Vec<&str> =
        kinds.group_versions().into_iter().filter(|(group, _)| *group == name).map(|(_, version)| version).collect();
    if found.is_empty() && REVIEWS.iter().any(|(group, ..)| *group == name) { vec!["v1"] } else { found }
}

fn group(kinds: &Kinds, name: &str) -> Option<Value> {
    let versions: Vec<Value> = versions(kinds, name)
        .into_iter()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({ "name": name, "versions": versions, "preferredVersion": preferred }))
}
