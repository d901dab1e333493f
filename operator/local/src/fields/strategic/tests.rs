//! What strategic merge patches make of Pods and their like.

#![allow(clippy::needless_pass_by_value, reason = "objects read better where they are written")]

use serde_json::{Value, json};

use super::{PatchError, strategic_merge};
use crate::schema::Schema;

fn patched(live: Value, patch: Value) -> Result<Value, PatchError> {
    strategic_merge(&Schema::of_builtin("", "Pod"), &live, &patch)
}

fn spec(live: Value, patch: Value) -> Value {
    let patched = patched(json!({ "spec": live }), json!({ "spec": patch })).expect("a patch");
    patched["spec"].clone()
}

#[test]
fn items_of_keyed_lists_are_merged_and_new_ones_stand_after_the_patch_order() {
    let live = json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b", "image": "1", "tty": true }] });
    let patch = json!({ "containers": [{ "name": "b", "image": "2" }, { "name": "c", "image": "3" }] });
    assert_eq!(
        spec(live, patch),
        json!({ "containers": [
            { "name": "a", "image": "1" }, { "name": "b", "image": "2", "tty": true }, { "name": "c", "image": "3" },
        ] })
    );
}

#[test]
fn a_list_without_a_merge_strategy_is_replaced() {
    let live = json!({ "tolerations": [{ "key": "a" }], "containers": [{ "name": "a", "args": ["x", "y"] }] });
    let patch = json!({ "tolerations": [{ "key": "b" }], "containers": [{ "name": "a", "args": ["z"] }] });
    assert_eq!(spec(live, patch.clone()), patch);
}

#[test]
fn a_null_deletes_a_field_and_is_never_kept() {
    let live = json!({ "nodeName": "n", "hostname": "h" });
    assert_eq!(
        spec(
            live,
            json!({ "nodeName": null, "priority": null, "securityContext": { "runAsUser": null, "fsGroup": 1 } })
        ),
        json!({ "hostname": "h", "securityContext": { "fsGroup": 1 } })
    );
}

#[test]
fn directives_delete_and_replace() {
    let live = json!({ "containers": [{ "name": "a", "env": [{ "name": "X", "value": "1" }, { "name": "Y" }] }, { "name": "b" }],
        "securityContext": { "fsGroup": 1, "runAsUser": 2 }, "nodeSelector": { "a": "b" } });
    let patch = json!({
        "containers": [{ "name": "b", "$patch": "delete" }, { "name": "a", "env": [{ "$patch": "replace" }, { "name": "Z" }] }],
        "securityContext": { "$patch": "replace", "fsGroup": 5 }, "nodeSelector": { "$patch": "delete" },
    });
    assert_eq!(
        spec(live, patch),
        json!({ "containers": [{ "name": "a", "env": [{ "name": "Z" }] }], "securityContext": { "fsGroup": 5 }, "nodeSelector": {} })
    );
}

#[test]
fn finalizers_are_added_and_taken_from_a_set_of_texts() {
    let live = json!({ "metadata": { "finalizers": ["a", "b"] } });
    let added = patched(live.clone(), json!({ "metadata": { "finalizers": ["c", "b"] } })).expect("a patch");
    assert_eq!(added["metadata"]["finalizers"], json!(["c", "a", "b"]));
    let gone = patched(live, json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"] } })).expect("a patch");
    assert_eq!(gone["metadata"]["finalizers"], json!(["b"]));
}

#[test]
fn the_order_that_a_patch_asks_for_is_the_order() {
    let live = json!({ "containers": [{ "name": "a" }, { "name": "b" }, { "name": "live" }, { "name": "c" }] });
    let order = json!([{ "name": "c" }, { "name": "b" }, { "name": "a" }]);
    let names = |spec: &Value| -> Vec<String> {
        let containers = spec["containers"].as_array().expect("containers");
        containers.iter().map(|container| container["name"].as_str().expect("a name").to_owned()).collect()
    };
    let patch = json!({ "$setElementOrder/containers": order });
    assert_eq!(names(&spec(live.clone(), patch)), ["live", "c", "b", "a"]);
    let patch = json!({ "$setElementOrder/containers": order, "containers": [{ "name": "c", "image": "i" }] });
    assert_eq!(names(&spec(live.clone(), patch)), ["live", "c", "b", "a"]);
    let patch = json!({ "$setElementOrder/containers": [{ "name": "a" }], "containers": [{ "name": "c" }] });
    assert!(patched(json!({ "spec": live }), json!({ "spec": patch })).is_err());
}

#[test]
fn of_a_volume_that_becomes_another_kind_only_the_keys_that_are_retained_stay() {
    let live = json!({ "volumes": [{ "name": "v", "emptyDir": {} }] });
    let patch =
        json!({ "volumes": [{ "name": "v", "$retainKeys": ["name", "secret"], "secret": { "secretName": "s" } }] });
    assert_eq!(spec(live.clone(), patch), json!({ "volumes": [{ "name": "v", "secret": { "secretName": "s" } }] }));
    let wrong = json!({ "spec": { "volumes": [{ "name": "v", "$retainKeys": ["name"], "secret": {} }] } });
    assert_eq!(patched(json!({ "spec": live }), wrong), Err(PatchError("invalid patch format of retainKeys".into())));
}

#[test]
fn an_item_without_its_key_is_refused() {
    let wrong = patched(
        json!({ "spec": { "containers": [{ "name": "a" }] } }),
        json!({ "spec": { "containers": [{ "image": "i" }] } }),
    );
    assert_eq!(wrong, Err(PatchError("map: {\"image\":\"i\"} does not contain declared merge key: name".into())));
}

#[test]
fn conditions_are_merged_by_type() {
    let live = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }, { "type": "Other", "status": "True" }] } });
    let patch = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    assert_eq!(
        patched(live, patch).expect("a patch")["status"]["conditions"],
        json!([{ "type": "Ready", "status": "True" }, { "type": "Other", "status": "True" }])
    );
}
