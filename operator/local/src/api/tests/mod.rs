//! The server as its clients see it, through `kube`.

mod answers;
mod disk;
mod garbage;
mod http;
mod lists;
mod objects;
mod pods;
mod varve;
mod watches;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::{Server, Settings};

/// A server whose uids, names and times are always the same.
fn server() -> Server {
    let clock = || "2026-11-01T10:00:00Z".parse().expect("a time");
    Server::in_memory(Settings::simulated(7, std::sync::Arc::new(clock)))
}

fn maps(server: &Server) -> Api<ConfigMap> {
    Api::default_namespaced(server.client("default"))
}

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "key": value } })).expect("a ConfigMap")
}

async fn make_map(server: &Server, metadata: Value) -> ConfigMap {
    let map = serde_json::from_value(json!({ "metadata": metadata })).expect("a ConfigMap");
    maps(server).create(&PostParams::default(), &map).await.expect("created")
}

async fn make_namespace(server: &Server, name: &str) {
    let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).expect("a Namespace");
    let namespaces: Api<Namespace> = Api::all(server.client("default"));
    namespaces.create(&PostParams::default(), &namespace).await.expect("created");
}

async fn make_pod(server: &Server, name: &str, node: Option<&str>) -> Pod {
    let pod = json!({
        "metadata": { "name": name },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "quay.example/a:1" }] },
    });
    let pods: Api<Pod> = Api::default_namespaced(server.client("default"));
    pods.create(&PostParams::default(), &serde_json::from_value(pod).expect("a Pod")).await.expect("created")
}

/// The status in a refusal: its code, reason and message.
fn refusal<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("expected a refusal, found {other:?}"),
    }
}
