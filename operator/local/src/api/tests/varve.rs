//! Varve's own kinds: status, scale, generations, apply.

use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{refusal, server};
use crate::api::Server;

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: "varve.dev".into(),
        version: "v1alpha1".into(),
        api_version: "varve.dev/v1alpha1".into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

fn pipelines(server: &Server) -> Api<DynamicObject> {
    Api::default_namespaced_with(server.client("default"), &resource("Pipeline", "pipelines"))
}

fn pipeline(name: &str) -> Value {
    json!({
        "apiVersion": "varve.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": { "name": name },
        "spec": {
            "inputs": [{ "name": "stores", "glob": "/*" }],
            "container": { "image": "quay.example/totals:1" },
            "parallelism": 4,
        },
    })
}

async fn applied(server: &Server, object: Value) -> DynamicObject {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    pipelines(server).patch(&name, &PatchParams::apply("test"), &Patch::Apply(object)).await.expect("applied")
}

#[tokio::test]
async fn an_apply_makes_the_object_with_its_defaults() {
    let server = server();
    let made = applied(&server, pipeline("totals")).await;
    assert_eq!(made.data["spec"]["datum"]["tries"], 3);
    assert_eq!(made.data["status"], json!({ "observedGeneration": -1 }));
    let again = applied(&server, pipeline("totals")).await;
    assert_eq!(made.metadata, again.metadata);
}

#[tokio::test]
async fn the_status_and_the_rest_are_written_apart() {
    let server = server();
    applied(&server, pipeline("totals")).await;
    let both = Patch::Merge(json!({ "spec": { "parallelism": 5 }, "status": { "explanation": "because" } }));
    let spec = pipelines(&server).patch("totals", &PatchParams::default(), &both).await.expect("patched");
    assert_eq!((spec.metadata.generation, &spec.data["status"]["explanation"]), (Some(2), &Value::Null));
    let both = Patch::Merge(json!({ "spec": { "parallelism": 6 }, "status": { "explanation": "because" } }));
    let status = pipelines(&server).patch_status("totals", &PatchParams::default(), &both).await.expect("patched");
    assert_eq!(status.metadata.generation, Some(2));
    assert_eq!(
        (&status.data["spec"]["parallelism"], &status.data["status"]["explanation"]),
        (&json!(5), &json!("because"))
    );
}

#[tokio::test]
async fn two_managers_who_differ_are_in_conflict() {
    let server = server();
    applied(&server, pipeline("totals")).await;
    let mut other = pipeline("totals");
    other["spec"]["parallelism"] = 9.into();
    let params = PatchParams::apply("other");
    let refused = refusal(pipelines(&server).patch("totals", &params, &Patch::Apply(&other)).await);
    let words = r#"Apply failed with 1 conflict: conflict with "test": .spec.parallelism"#;
    assert_eq!(refused, (409, "Conflict".into(), words.into()));
    let forced = pipelines(&server).patch("totals", &params.force(), &Patch::Apply(&other)).await.expect("applied");
    assert_eq!(forced.data["spec"]["parallelism"], 9);
}

#[tokio::test]
async fn a_pipeline_is_scaled_where_its_definition_says() {
    let server = server();
    applied(&server, pipeline("totals")).await;
    let patch = Patch::Merge(json!({ "spec": { "replicas": 7 } }));
    let scale = pipelines(&server).patch_scale("totals", &PatchParams::default(), &patch).await.expect("scaled");
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(7));
    assert_eq!(pipelines(&server).get("totals").await.expect("found").data["spec"]["parallelism"], 7);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_the_field_named() {
    let server = server();
    applied(&server, pipeline("totals")).await;
    let patch = Patch::Merge(json!({ "spec": { "parallelism": 0 } }));
    let (code, reason, message) = refusal(pipelines(&server).patch("totals", &PatchParams::default(), &patch).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert_eq!(
        message,
        r#"Pipeline.varve.dev "totals" is invalid: spec.parallelism: Invalid value: 0: spec.parallelism in body should be greater than or equal to 1"#
    );
}

#[tokio::test]
async fn an_update_must_name_its_version() {
    let server = server();
    applied(&server, pipeline("totals")).await;
    let object: DynamicObject = serde_json::from_value(pipeline("totals")).expect("an object");
    let (code, _, message) = refusal(pipelines(&server).replace("totals", &PostParams::default(), &object).await);
    assert_eq!(code, 422);
    assert!(
        message.contains("metadata.resourceVersion: Invalid value: 0: must be specified for an update"),
        "{message}"
    );
}

#[tokio::test]
async fn kinds_are_selected_by_the_fields_their_definitions_name() {
    let server = server();
    for (name, image) in [("one", "quay.example/one:1"), ("two", "quay.example/two:1")] {
        let mut object = pipeline(name);
        object["spec"]["container"]["image"] = image.into();
        applied(&server, object).await;
    }
    let params = ListParams::default().fields("spec.container.image=quay.example/two:1");
    let found = pipelines(&server).list(&params).await.expect("listed").items;
    assert_eq!(found.iter().filter_map(|one| one.metadata.name.as_deref()).collect::<Vec<_>>(), ["two"]);
}
