//! Events: kept as core/v1 has them, shown also as events.k8s.io/v1.

use serde_json::{Map, Value};

use crate::api::kinds::View;

/// The fields that are called otherwise: core/v1, then events.k8s.io/v1.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// A kept object as `view` has it.
pub(crate) fn shown(view: View, object: Value) -> Value {
    match view {
        View::Kept => object,
        View::EventsV1 => renamed(object, "events.k8s.io/v1", |name| {
            NAMES.iter().find(|(core, _)| *core == name).map(|(_, new)| *new)
        }),
    }
}

/// An object in `view`'s form as it is kept.
pub(crate) fn kept(view: View, object: Value) -> Value {
    match view {
        View::Kept => object,
        View::EventsV1 => {
            renamed(object, "v1", |name| NAMES.iter().find(|(_, new)| *new == name).map(|(core, _)| *core))
        }
    }
}

/// `reportingInstance` has one name in both; in core/v1 it is there only beside `reportingComponent`.
fn renamed(object: Value, api_version: &str, name_of: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(fields) = object else { return object };
    let mut new = Map::new();
    for (name, value) in fields {
        let name = name_of(&name).map_or(name, Into::into);
        new.insert(name, value);
    }
    new.insert("apiVersion".into(), api_version.into());
    Value::Object(new)
}
