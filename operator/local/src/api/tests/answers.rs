//! Answers that `kube` does not ask for: tables, discovery, definitions, refusals.

use axum::body::to_bytes;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{make_pod, server};
use crate::api::Server;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

async fn ask(server: &Server, method: &str, path: &str, accept: &str, body: &Value) -> (StatusCode, Value) {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, accept)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .expect("a request");
    let response = server.call(request).await;
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn pods_are_shown_as_kubectl_shows_them() {
    let server = server();
    make_pod(&server, "a", None).await;
    let (_, table) = ask(&server, "GET", "/api/v1/namespaces/default/pods", TABLE, &Value::Null).await;
    let names: Vec<&Value> =
        table["columnDefinitions"].as_array().into_iter().flatten().map(|column| &column["name"]).collect();
    let wide = ["IP", "Node", "Nominated Node", "Readiness Gates"];
    assert_eq!(names, [["Name", "Ready", "Status", "Restarts", "Age"].as_slice(), &wide].concat());
    let none = "<none>";
    assert_eq!(table["rows"][0]["cells"], json!(["a", "0/1", "Pending", "0", "0s", none, none, none, none]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn a_clients_definition_is_served_until_it_is_deleted() {
    let server = server();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "foos.example.org" },
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": { "plural": "foos", "kind": "Foo" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object" } },
            }],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let foos = "/apis/example.org/v1/namespaces/default/foos";
    let foo = json!({ "apiVersion": "example.org/v1", "kind": "Foo", "metadata": { "name": "one" } });
    assert_eq!(ask(&server, "POST", foos, "*/*", &foo).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&server, "POST", definitions, "*/*", &definition).await.0, StatusCode::CREATED);
    assert_eq!(ask(&server, "POST", foos, "*/*", &foo).await.0, StatusCode::CREATED);
    let path = format!("{definitions}/foos.example.org");
    assert_eq!(ask(&server, "DELETE", &path, "*/*", &Value::Null).await.0, StatusCode::OK);
    assert_eq!(ask(&server, "GET", foos, "*/*", &Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn varves_own_definitions_may_be_applied_again() {
    let server = server();
    for definition in varve_api::crds() {
        let definitions: kube::Api<
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        > = kube::Api::all(server.client("default"));
        let name = definition.metadata.name.clone().expect("a name");
        let params = kube::api::PatchParams::apply("kubectl");
        let applied = definitions.patch(&name, &params, &kube::api::Patch::Apply(&definition)).await.expect("applied");
        assert_eq!(applied.metadata.generation, Some(1), "{name}");
    }
}

#[tokio::test]
async fn every_kind_that_discovery_lists_can_be_listed_and_explained() {
    let server = server();
    for group in ["/api/v1", "/apis/batch/v1", "/apis/varve.dev/v1alpha1", "/apis/events.k8s.io/v1"] {
        let (_, list) = ask(&server, "GET", group, "*/*", &Value::Null).await;
        let (_, document) = ask(&server, "GET", &format!("/openapi/v3{group}"), "*/*", &Value::Null).await;
        for resource in list["resources"].as_array().into_iter().flatten() {
            let name = resource["name"].as_str().unwrap_or_default();
            if name.contains('/') {
                continue;
            }
            let path = format!("{group}/{name}");
            assert_eq!(ask(&server, "GET", &path, "*/*", &Value::Null).await.0, StatusCode::OK, "{path}");
            assert!(document["paths"][&path]["get"].is_object(), "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_served_is_not_found() {
    let (status, body) = ask(&server(), "GET", "/apis/batch/v1/cronjobs", "*/*", &Value::Null).await;
    assert_eq!((status, &body["reason"]), (StatusCode::NOT_FOUND, &json!("NotFound")));
    // Of groups that nobody knows, a cluster says so in plain text.
    let (status, body) = ask(&server(), "GET", "/apis/apps/v1/deployments", "*/*", &Value::Null).await;
    assert_eq!((status, body), (StatusCode::NOT_FOUND, Value::Null));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let value = "x".repeat(4 << 20);
    let body = json!({ "metadata": { "name": "a" }, "data": { "key": value } });
    let (status, _) = ask(&server(), "POST", "/api/v1/namespaces/default/configmaps", "*/*", &body).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_unknown_field_is_refused_to_those_who_are_strict() {
    let server = server();
    let path = "/api/v1/namespaces/default/configmaps";
    let body = json!({ "metadata": { "name": "a" }, "dada": {} });
    let (status, refusal) = ask(&server, "POST", &format!("{path}?fieldValidation=Strict"), "*/*", &body).await;
    let words =
        r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dada""#;
    assert_eq!((status, &refusal["message"]), (StatusCode::BAD_REQUEST, &json!(words)));
    let (status, kept) = ask(&server, "POST", path, "*/*", &body).await;
    assert_eq!((status, &kept["dada"]), (StatusCode::CREATED, &Value::Null));
}
