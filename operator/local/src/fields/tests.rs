//! Who manages what after each kind of write.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Conflicts, Malformed, Writer, apply, check_applied, update};
use crate::schema::Schema;

const VERSION: &str = "varve.dev/v1alpha1";

fn schema() -> Schema {
    let text = json!({ "type": "string" });
    let branch = json!({ "type": "object", "properties": { "name": text, "head": text } });
    let spec = json!({ "type": "object", "properties": {
        "size": { "type": "integer" }, "mode": text,
        "branches": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": branch },
        "codes": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "integer" } },
        "words": { "type": "array", "items": text },
        "labels": { "type": "object", "additionalProperties": text },
        "one": { "type": "object", "x-kubernetes-map-type": "atomic", "properties": { "a": text, "b": text } },
        "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    } });
    let status = json!({ "type": "object", "properties": { "seen": { "type": "integer" } } });
    Schema::of_crd(&json!({ "type": "object", "properties": { "spec": spec, "status": status } })).expect("a schema")
}

fn writer(manager: &str, second: i64) -> Writer<'_> {
    Writer { manager, subresource: None, api_version: VERSION, now: Timestamp::from_second(second).expect("a time") }
}

fn thing(spec: Value) -> Value {
    let mut thing = json!({ "apiVersion": VERSION, "kind": "Thing", "metadata": { "name": "t" } });
    thing["spec"] = spec;
    thing
}

fn applied(live: Option<&Value>, spec: Value, manager: &str) -> Result<Value, Conflicts> {
    apply(&schema(), live, &thing(spec), writer(manager, 7), false)
}

/// `manager operation → fields`, by entry.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let shown = |entry: &Value| {
        let name = entry["manager"].as_str().unwrap_or_default();
        format!("{name} {} {}", entry["operation"].as_str().unwrap_or_default(), entry["fieldsV1"])
    };
    entries.iter().map(shown).collect()
}

#[test]
fn an_apply_owns_what_it_applies_and_nothing_that_names_the_object() {
    let live = applied(
        None,
        json!({ "size": 1, "branches": [{ "name": "main", "head": "a" }], "codes": [3], "words": ["w"],
            "labels": { "l": "v" }, "one": { "a": "x" }, "open": { "deep": { "er": 1 } } }),
        "ann",
    )
    .expect("no conflict");
    assert_eq!(
        live["metadata"]["managedFields"],
        json!([{
            "manager": "ann", "operation": "Apply", "apiVersion": VERSION, "time": "1970-01-01T00:00:07Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": {
                "f:size": {},
                "f:branches": { "k:{\"name\":\"main\"}": { ".": {}, "f:name": {}, "f:head": {} } },
                "f:codes": { "v:3": {} },
                "f:words": {},
                "f:labels": { "f:l": {} },
                "f:one": {},
                "f:open": { "f:deep": { ".": {}, "f:er": {} } },
            } },
        }])
    );
}

#[test]
fn an_apply_that_would_change_anothers_field_fails_with_a_conflict() {
    let live = update(&schema(), None, thing(json!({ "size": 1, "mode": "m" })), writer("kubectl-edit", 1));
    let conflicts = applied(Some(&live), json!({ "size": 2, "mode": "m" }), "ann").expect_err("a conflict");
    assert_eq!(
        conflicts.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using varve.dev/v1alpha1: .spec.size"
    );
}

#[test]
fn several_conflicts_are_told_by_manager() {
    let live = applied(None, json!({ "size": 1, "branches": [{ "name": "main", "head": "a" }] }), "ann").expect("ok");
    let live = applied(Some(&live), json!({ "mode": "m" }), "bob").expect("ok");
    let wanted = json!({ "size": 2, "mode": "n", "branches": [{ "name": "main", "head": "b" }] });
    assert_eq!(
        applied(Some(&live), wanted, "cid").expect_err("conflicts").to_string(),
        "Apply failed with 3 conflicts: conflicts with \"ann\":\n- .spec.size\n- .spec.branches[name=\"main\"].head\n\
         conflicts with \"bob\":\n- .spec.mode"
    );
}

#[test]
fn force_takes_the_field_from_its_manager() {
    let live = applied(None, json!({ "size": 1 }), "ann").expect("ok");
    let live = apply(&schema(), Some(&live), &thing(json!({ "size": 2 })), writer("bob", 9), true).expect("forced");
    assert_eq!(live["spec"]["size"], 2);
    assert_eq!(owners(&live), [r#"bob Apply {"f:spec":{"f:size":{}}}"#]);
}

#[test]
fn what_a_manager_applies_no_more_goes_unless_another_manages_it() {
    let live =
        applied(None, json!({ "size": 1, "mode": "m", "codes": [1, 2], "labels": { "a": "x" } }), "ann").expect("ok");
    let live = applied(Some(&live), json!({ "mode": "m", "codes": [2] }), "bob").expect("ok");
    let live = applied(Some(&live), json!({ "labels": {} }), "ann").expect("ok");
    assert_eq!(live["spec"], json!({ "mode": "m", "codes": [2] }));
    assert_eq!(
        owners(&live),
        [r#"bob Apply {"f:spec":{"f:codes":{"v:2":{}},"f:mode":{}}}"#, r#"ann Apply {"f:spec":{"f:labels":{}}}"#]
    );
}

#[test]
fn an_item_of_a_keyed_list_goes_with_its_manager_and_others_keep_their_place() {
    let live =
        applied(None, json!({ "branches": [{ "name": "a" }, { "name": "b" }, { "name": "c" }] }), "ann").expect("ok");
    let live = applied(Some(&live), json!({ "branches": [{ "name": "d" }, { "name": "b", "head": "h" }] }), "bob")
        .expect("ok");
    let live = applied(Some(&live), json!({ "branches": [{ "name": "c" }] }), "ann").expect("ok");
    assert_eq!(live["spec"]["branches"], json!([{ "name": "d" }, { "name": "b", "head": "h" }, { "name": "c" }]));
}

#[test]
fn an_apply_that_changes_nothing_leaves_the_time() {
    let live = applied(None, json!({ "size": 1 }), "ann").expect("ok");
    let again = apply(&schema(), Some(&live), &thing(json!({ "size": 1 })), writer("ann", 99), false).expect("ok");
    assert_eq!(again, live);
}

#[test]
fn one_that_joins_without_changing_anything_has_no_time() {
    let live = applied(None, json!({ "size": 1 }), "ann").expect("ok");
    let live = applied(Some(&live), json!({ "size": 1 }), "bob").expect("shared");
    assert_eq!(live["metadata"]["managedFields"][0]["manager"], "bob");
    assert_eq!(live["metadata"]["managedFields"][0].get("time"), None);
}

#[test]
fn an_update_takes_what_it_changes_and_leaves_the_rest() {
    let live = applied(None, json!({ "size": 1, "mode": "m" }), "ann").expect("ok");
    let mut new = live.clone();
    new["spec"]["size"] = 2.into();
    let live = update(&schema(), Some(&live), new, writer("ed", 9));
    assert_eq!(owners(&live), [r#"ann Apply {"f:spec":{"f:mode":{}}}"#, r#"ed Update {"f:spec":{"f:size":{}}}"#]);
}

#[test]
fn an_update_that_changes_nothing_changes_no_times() {
    let live = update(&schema(), None, thing(json!({ "size": 1 })), writer("ed", 1));
    assert_eq!(update(&schema(), Some(&live), live.clone(), writer("ed", 50)), live);
}

#[test]
fn an_update_without_managed_fields_keeps_them_and_an_empty_list_resets_them() {
    let live = applied(None, json!({ "size": 1 }), "ann").expect("ok");
    let mut new = live.clone();
    new["metadata"].as_object_mut().expect("metadata").remove("managedFields");
    assert_eq!(update(&schema(), Some(&live), new.clone(), writer("ed", 9)), live);
    for reset in [json!([]), json!([{}])] {
        new["metadata"]["managedFields"] = reset;
        assert_eq!(owners(&update(&schema(), Some(&live), new.clone(), writer("ed", 9))), [""; 0]);
    }
}

#[test]
fn fields_from_before_the_first_apply_have_a_manager_of_their_own() {
    let mut live = thing(json!({ "size": 1, "mode": "m" }));
    live["metadata"]["uid"] = "u".into();
    let live = applied(Some(&live), json!({ "size": 1 }), "ann").expect("shared");
    assert_eq!(
        owners(&live),
        [
            r#"ann Apply {"f:spec":{"f:size":{}}}"#,
            r#"before-first-apply Update {"f:spec":{".":{},"f:mode":{},"f:size":{}}}"#
        ]
    );
}

#[test]
fn the_status_is_managed_on_its_own_endpoint_only() {
    let mut object = thing(json!({ "size": 1 }));
    object["status"] = json!({ "seen": 1 });
    let live = update(&schema(), None, object.clone(), writer("ed", 1));
    object["status"]["seen"] = 2.into();
    object["spec"]["size"] = 5.into();
    let status = Writer { subresource: Some("status"), ..writer("ed", 2) };
    let live = update(&schema(), Some(&live), object, status);
    assert_eq!(
        live["metadata"]["managedFields"][1],
        json!({
            "manager": "ed", "operation": "Update", "apiVersion": VERSION, "time": "1970-01-01T00:00:02Z",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:status": { "f:seen": {} } }, "subresource": "status",
        })
    );
    assert_eq!(owners(&live)[0], r#"ed Update {"f:spec":{".":{},"f:size":{}}}"#);
}

#[test]
fn of_many_updaters_the_oldest_become_one() {
    let mut live = thing(json!({ "labels": {} }));
    let names: Vec<String> = (0..14).map(|i| format!("m{i:02}")).collect();
    for (i, name) in names.iter().enumerate() {
        let mut new = live.clone();
        new["spec"]["labels"][name] = "v".into();
        let seconds = i64::try_from(i).expect("small");
        live = update(&schema(), (i > 0).then_some(&live), new, writer(name, seconds));
    }
    let shown = owners(&live);
    assert_eq!(shown.len(), 10);
    assert!(shown[0].starts_with("ancient-changes Update"), "{shown:?}");
    assert!(["m00", "m01", "m02", "m03", "m04"].iter().all(|name| shown[0].contains(name)), "{shown:?}");
}

#[test]
fn kubectl_takes_over_what_it_applied_on_the_clients_side() {
    let mut object = thing(json!({ "size": 1 }));
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    object["metadata"]["annotations"][annotation] = object.to_string().into();
    let live = update(&schema(), None, object, writer("kubectl-client-side-apply", 1));
    let live = applied(Some(&live), json!({ "size": 2 }), "kubectl").expect("no conflict with itself");
    assert_eq!(live["spec"]["size"], 2);
    let renewed = live["metadata"]["annotations"][annotation].as_str().expect("an annotation");
    assert_eq!(serde_json::from_str::<Value>(renewed).expect("JSON"), thing(json!({ "size": 2 })));
    applied(Some(&live), json!({ "size": 3 }), "other").expect_err("another is not kubectl");
}

#[test]
fn an_applied_object_that_does_not_fit_is_told_field_by_field() {
    let wrong = |spec| check_applied(&schema(), &thing(spec)).map_err(|malformed: Malformed| malformed.to_string());
    assert_eq!(wrong(json!({ "size": 1, "open": { "any": [1, { "x": null }] } })), Ok(()));
    assert_eq!(wrong(json!({ "nope": 1 })), Err(".spec.nope: field not declared in schema".into()));
    assert_eq!(
        wrong(json!({ "branches": [{ "name": "a", "x": 1 }, { "name": "a" }], "codes": [3, 3], "mode": 5 })),
        Err("errors:\n  .spec.branches[name=\"a\"].x: field not declared in schema\n  \
             .spec.branches: duplicate entries for key [name=\"a\"]\n  \
             .spec.codes: duplicate entries for key [=3]\n  \
             .spec.mode: expected string, got &value.valueUnstructured{Value:5}"
            .into())
    );
}
