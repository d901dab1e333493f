//! The rules of Varve's API, broken once each: this API server answers as a real one does.
//!
//! The table of cases is the one that a real API server answers to in `e2e`.

#[path = "../../../e2e/tests/api_rules/cases/mod.rs"]
mod cases;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use varve_local::fields::{Writer, apply, check_applied};
use varve_local::schema::Schema;

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({ "apiVersion": varve_api::API_VERSION, "kind": kind, "metadata": { "name": name } });
    object["spec"] = spec;
    object
}

fn schemas() -> BTreeMap<String, Schema> {
    let schema = |crd| {
        let crd = serde_json::to_value(crd).expect("a CRD is JSON");
        let schema = Schema::of_crd(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]).expect("a schema");
        (crd["spec"]["names"]["kind"].as_str().expect("a kind").to_owned(), schema)
    };
    varve_api::crds().into_iter().map(schema).collect()
}

/// What an API server says to an object that is applied, or nothing. Objects' names are another part's task.
fn answer(schema: &Schema, live: Option<&Value>, applied: &Value) -> String {
    if let Err(malformed) = check_applied(schema, applied) {
        return malformed.to_string();
    }
    let writer =
        Writer { manager: "test", subresource: None, api_version: varve_api::API_VERSION, now: Timestamp::UNIX_EPOCH };
    let mut object = apply(schema, live, applied, writer, false).expect("no conflict");
    schema.default(&mut object);
    let causes = schema.validate(&object, live);
    let causes: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    causes.join(", ")
}

#[test]
fn what_breaks_a_rule_is_refused_with_a_message_that_names_the_field() {
    const OF_NAMES: &str = "a lowercase RFC 1123 subdomain must consist of";
    let schemas = schemas();
    let mut wrong = Vec::new();
    for case in cases::cases().into_iter().filter(|case| case.message != OF_NAMES) {
        let kind = case.object["kind"].as_str().expect("a kind");
        let answer = answer(&schemas[kind], None, &case.object);
        if !answer.contains(case.message) {
            let shown: String = case.object.to_string().chars().take(300).collect();
            wrong.push(format!("{shown}\n  wanted: {}\n  got:    {answer}", case.message));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases::cases().len(), wrong.join("\n"));
}

#[test]
fn what_may_not_change_does_not() {
    let schemas = schemas();
    for change in cases::changes() {
        let schema = &schemas[change.before["kind"].as_str().expect("a kind")];
        let mut before = change.before.clone();
        schema.default(&mut before);
        assert_eq!(answer(schema, None, &before), "");
        // The older one belongs to the same manager, so that fields that are applied no more go.
        let writer = Writer {
            manager: "test",
            subresource: None,
            api_version: varve_api::API_VERSION,
            now: Timestamp::UNIX_EPOCH,
        };
        let before = apply(schema, None, &before, writer, false).expect("no conflict");
        let answer = answer(schema, Some(&before), &change.after);
        assert!(answer.contains(change.message), "wanted: {}\n  got:    {answer}", change.message);
    }
}

#[test]
fn what_is_right_is_accepted() {
    let schemas = schemas();
    for object in cases::right() {
        let kind = object["kind"].as_str().expect("a kind");
        assert_eq!(answer(&schemas[kind], None, &object), "", "{object}");
    }
}
