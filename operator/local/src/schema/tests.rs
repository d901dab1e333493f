//! What a schema does with an object.

#![allow(clippy::needless_pass_by_value, reason = "objects read better where they are written")]

use serde_json::{Value, json};

use super::Schema;

fn schema(spec: Value) -> Schema {
    Schema::of_crd(&json!({ "type": "object", "properties": { "spec": spec } })).expect("a schema")
}

fn thing(spec: Value) -> Value {
    let mut thing = json!({ "apiVersion": "v1", "kind": "Thing", "metadata": { "name": "t" } });
    thing["spec"] = spec;
    thing
}

/// `field: message` of each cause.
fn wrong(schema: &Schema, new: Value, old: Option<Value>) -> Vec<String> {
    let causes = schema.validate(&thing(new), old.map(thing).as_ref());
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[test]
fn fields_that_are_not_known_go_and_are_told_by_path() {
    let schema = schema(json!({ "type": "object", "properties": {
        "list": { "type": "array", "items": { "type": "object", "properties": { "a": { "type": "string" } } } },
        "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        "inner": { "type": "object", "x-kubernetes-embedded-resource": true },
    } }));
    let mut object = thing(json!({
        "list": [{ "a": "x", "b": 1 }], "open": { "any": { "thing": [1] } }, "nope": {},
        "inner": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": {} },
    }));
    object["metadata"]["lables"] = json!({});
    object["extra"] = 1.into();
    assert_eq!(
        schema.prune(&mut object),
        ["extra", "metadata.lables", "spec.inner.spec", "spec.list[0].b", "spec.nope"]
    );
    assert_eq!(
        object,
        thing(json!({
            "list": [{ "a": "x" }], "open": { "any": { "thing": [1] } },
            "inner": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" } },
        }))
    );
}

#[test]
fn defaults_fill_what_is_missing_or_null_all_the_way_down() {
    let schema = schema(json!({ "type": "object", "properties": {
        "a": { "type": "object", "default": {}, "properties": { "b": { "type": "integer", "default": 3 } } },
        "list": { "type": "array", "items": { "type": "object", "properties": { "c": { "type": "string", "default": "x" } } } },
        "nullable": { "type": "string", "nullable": true, "default": "y" },
        "plain": { "type": "string" },
        "map": { "type": "object", "additionalProperties": { "type": "integer", "default": 1 } },
    } }));
    let mut object = thing(json!({ "a": null, "list": [{}], "nullable": null, "plain": null, "map": { "k": null } }));
    schema.default(&mut object);
    let wanted = json!({ "a": { "b": 3 }, "list": [{ "c": "x" }], "nullable": null, "map": { "k": 1 } });
    assert_eq!(object, thing(wanted));
}

#[test]
fn what_is_wrong_is_told_as_the_api_server_tells_it() {
    let schema = schema(json!({ "type": "object", "required": ["name"], "properties": {
        "name": { "type": "string" }, "size": { "type": "integer", "format": "int32", "minimum": 1 },
        "time": { "type": "string", "format": "date-time" }, "cpu": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] },
        "map": { "type": "object", "maxProperties": 1, "additionalProperties": { "type": "string", "maxLength": 2, "pattern": "^a" } },
        "pick": { "type": "string", "enum": ["x", "y"] }, "list": { "type": "array", "minItems": 1, "items": { "type": "string" } },
    } }));
    let wrong = |spec| wrong(&schema, spec, None);
    let unchecked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
                     correct the existing errors to complete validation";
    assert_eq!(wrong(json!({ "name": "é<" })), [""; 0]);
    assert_eq!(wrong(json!({})), ["spec.name: Required value", unchecked]);
    assert_eq!(
        wrong(json!({ "name": 5 })),
        ["spec.name: Invalid value: \"integer\": spec.name in body must be of type string: \"integer\"", unchecked]
    );
    assert_eq!(
        wrong(json!({ "name": "", "size": 1.5 })),
        [
            "spec.size: Invalid value: \"float64\": spec.size in body must be of type int32: \"float64\"",
            "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.size",
            unchecked
        ]
    );
    assert_eq!(
        wrong(json!({ "name": "", "size": 0, "list": [] })),
        [
            "spec.list: Invalid value: 0: spec.list in body should have at least 1 items",
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ]
    );
    assert_eq!(
        wrong(json!({ "name": "", "time": "yesterday" })),
        [
            "spec.time: Invalid value: \"yesterday\": spec.time in body must be of type date-time: \"yesterday\"",
            unchecked
        ]
    );
    assert_eq!(wrong(json!({ "name": "", "time": "2026-01-02T03:04:05.678Z", "cpu": "1m" })), [""; 0]);
    assert_eq!(
        wrong(json!({ "name": "", "cpu": 0.5, "pick": "z" })),
        [
            "spec.cpu: Invalid value: \"number\": spec.cpu in body must be of type integer,string: \"number\"",
            "spec.pick: Unsupported value: \"z\": supported values: \"x\", \"y\"",
            unchecked
        ]
    );
    assert_eq!(
        wrong(json!({ "name": "", "map": { "k": "abc", "l": "b" } })),
        [
            "spec.map: Too many: 2: must have at most 1 item",
            "spec.map.k: Too long: may not be more than 2 bytes",
            "spec.map.l: Invalid value: \"b\": spec.map.l in body should match '^a'",
            unchecked
        ]
    );
}

#[test]
fn what_was_wrong_before_and_did_not_change_is_let_through() {
    let rule = json!([{ "rule": "self != 3", "message": "may not be 3" }]);
    let schema = schema(json!({ "type": "object", "properties": {
        "size": { "type": "integer", "minimum": 1 }, "other": { "type": "string" },
        "number": { "type": "integer", "x-kubernetes-validations": rule },
    } }));
    let old = json!({ "size": 0, "number": 3 });
    let new = json!({ "size": 0, "number": 3, "other": "x" });
    assert_eq!(wrong(&schema, new.clone(), Some(old)), [""; 0]);
    assert_eq!(
        wrong(&schema, new, Some(json!({ "size": 5, "number": 4 }))),
        [
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
            "spec.number: Invalid value: 3: may not be 3"
        ]
    );
}

#[test]
fn rules_see_the_older_value_where_there_is_one() {
    let text = json!({ "type": "string" });
    let item = json!({ "type": "object", "properties": { "name": text, "value": text },
        "x-kubernetes-validations": [{ "rule": "self.value == oldSelf.value", "message": "fixed" }] });
    let spec = json!({ "type": "object", "properties": {
        "list": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item },
        "first": { "type": "integer", "x-kubernetes-validations": [
            { "rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": true, "messageExpression": "'begins at 1, not ' + string(self)" },
        ] },
    }, "x-kubernetes-validations": [
        { "rule": "!has(oldSelf.list) || self.list == oldSelf.list || size(self.list) == size(oldSelf.list)", "fieldPath": ".list", "reason": "FieldValueForbidden", "message": "may not grow" },
    ] });
    let schema = schema(spec);
    let of = |list: Value| json!({ "list": list });
    let (a, b) = (json!({ "name": "a", "value": "1" }), json!({ "name": "b", "value": "2" }));
    let changed = json!({ "name": "b", "value": "3" });
    assert_eq!(wrong(&schema, of(json!([a, b])), None), [""; 0]);
    // The order of a keyed list means nothing.
    assert_eq!(wrong(&schema, of(json!([b, a])), Some(of(json!([a, b])))), [""; 0]);
    assert_eq!(
        wrong(&schema, of(json!([changed, a])), Some(of(json!([a, b])))),
        ["spec.list[0]: Invalid value: fixed"]
    );
    assert_eq!(wrong(&schema, of(json!([a])), Some(of(json!([a, b])))), ["spec.list: Forbidden: may not grow"]);
    assert_eq!(wrong(&schema, json!({ "first": 2 }), None), ["spec.first: Invalid value: 2: begins at 1, not 2"]);
    assert_eq!(wrong(&schema, json!({ "first": 2 }), Some(json!({ "first": 1 }))), [""; 0]);
}

#[test]
fn a_rule_that_fails_is_told_with_the_type_of_its_field() {
    let rules = json!([{ "rule": "self.missing > 1", "message": "needs missing" }]);
    let schema = schema(json!({ "type": "object", "x-kubernetes-validations": rules,
        "properties": { "missing": { "type": "integer" } } }));
    assert_eq!(
        wrong(&schema, json!({}), None),
        ["spec: Invalid value: \"object\": no such key: missing evaluating rule: needs missing"]
    );
}

#[test]
fn items_that_are_there_twice_are_told() {
    let schema = schema(json!({ "type": "object", "properties": {
        "set": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "integer" } },
        "map": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": { "type": "object", "properties": { "k": { "type": "string" } } } },
    } }));
    let wrong = wrong(&schema, json!({ "set": [3, 4, 3, 3], "map": [{ "k": "a" }, { "k": "a" }] }), None);
    assert_eq!(wrong, ["spec.map[1]: Duplicate value: {\"k\":\"a\"}", "spec.set[2]: Duplicate value: 3"]);
}

#[test]
fn a_schema_with_a_rule_that_can_not_be_compiled_is_refused() {
    let schema = json!({ "type": "object", "x-kubernetes-validations": [{ "rule": "self.x >=" }] });
    assert!(Schema::of_crd(&schema).expect_err("no rule").to_string().starts_with("rule self.x >=: "));
}

#[test]
fn every_built_in_kind_has_its_fields() {
    let kinds = [
        ("", "Namespace"),
        ("", "Secret"),
        ("", "ConfigMap"),
        ("", "ServiceAccount"),
        ("", "Pod"),
        ("", "Node"),
        ("", "Event"),
        ("batch", "Job"),
        ("coordination.k8s.io", "Lease"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ];
    for (group, kind) in kinds {
        let mut object =
            json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "x", "labels": { "a": "b" } }, "nope": 1 });
        let schema = Schema::of_builtin(group, kind);
        assert_eq!(schema.prune(&mut object), ["nope"], "{kind}");
        assert_eq!(schema.openapi()["properties"]["metadata"]["properties"]["name"]["type"], "string", "{kind}");
    }
}

#[test]
fn of_a_pod_all_that_kubernetes_knows_is_kept() {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "ownerReferences": [{ "uid": "u", "kind": "Job", "name": "j", "apiVersion": "v1" }] },
        "spec": {
            "containers": [{ "name": "c", "image": "i", "imagez": 1, "ports": [{ "containerPort": 80 }],
                "resources": { "limits": { "cpu": 1, "nvidia.com/gpu": "1" } }, "env": [{ "name": "A", "value": "b" }] }],
            "volumes": [{ "name": "v", "emptyDir": {} }], "tolerations": [{ "operator": "Exists" }],
        },
        "status": { "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": null }] },
    });
    let schema = Schema::of_builtin("", "Pod");
    assert_eq!(schema.prune(&mut pod), ["spec.containers[0].imagez"]);
    schema.default(&mut pod);
    assert_eq!(pod["spec"]["containers"][0]["ports"], json!([{ "containerPort": 80, "protocol": "TCP" }]));
    assert_eq!(schema.validate(&pod, None), []);
    pod["spec"].as_object_mut().expect("a spec").remove("containers");
    assert_eq!(schema.validate(&pod, None)[0].field, "spec.containers");
}

#[test]
fn the_schemas_within_a_crd_are_kept_as_they_are() {
    let crd = serde_json::to_value(varve_api::crds().remove(0)).expect("a CRD is JSON");
    let mut pruned = crd.clone();
    assert_eq!(Schema::of_builtin("apiextensions.k8s.io", "CustomResourceDefinition").prune(&mut pruned), [""; 0]);
    assert_eq!(pruned, crd);
}
