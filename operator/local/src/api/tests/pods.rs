//! Pods and Jobs: logs, templates, and events about them that pass.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{make_pod, refusal};
use crate::api::{LogRequest, LogSource, Server, Settings};

struct Lines;

#[async_trait]
impl LogSource for Lines {
    async fn log(&self, request: LogRequest) -> Result<BoxStream<'static, std::io::Result<Bytes>>, String> {
        let line = format!("{} of {}, last {:?}\n", request.container, request.pod, request.tail_lines);
        Ok(futures::stream::iter([Ok(Bytes::from(line))]).boxed())
    }
}

#[tokio::test]
async fn the_log_of_a_container_comes_from_its_source() {
    let server = Server::in_memory(Settings { logs: Some(Arc::new(Lines)), ..Settings::default() });
    make_pod(&server, "a", None).await;
    let pods: Api<Pod> = Api::default_namespaced(server.client("default"));
    let params = LogParams { tail_lines: Some(3), ..LogParams::default() };
    assert_eq!(pods.logs("a", &params).await.expect("a log"), "main of a, last Some(3)\n");
    let other = LogParams { container: Some("other".into()), ..LogParams::default() };
    let (code, _, message) = refusal(pods.logs("a", &other).await);
    assert_eq!((code, message.as_str()), (400, "container other is not valid for pod a"));
}

#[tokio::test]
async fn events_are_forgotten_after_an_hour() {
    let now = Arc::new(Mutex::new(Timestamp::UNIX_EPOCH));
    let clock = now.clone();
    let server = Server::in_memory(Settings::simulated(1, Arc::new(move || *clock.lock().expect("a time"))));
    let events: Api<Event> = Api::default_namespaced(server.client("default"));
    for number in 0..256 {
        let event = json!({ "metadata": { "name": format!("e{number:03}") }, "involvedObject": {} });
        let event = serde_json::from_value(event).expect("an Event");
        events.create(&PostParams::default(), &event).await.expect("created");
        *now.lock().expect("a time") += SignedDuration::from_mins(1);
    }
    let left = events.list(&ListParams::default()).await.expect("listed").items;
    assert!(left.len() <= 61 + 64, "those of an hour, and those since the last look: {}", left.len());
    assert_eq!(left.last().and_then(|event| event.metadata.name.as_deref()), Some("e255"));
}

#[tokio::test]
async fn a_jobs_template_may_not_change_once_it_runs() {
    let server = super::server();
    let jobs: Api<Job> = Api::default_namespaced(server.client("default"));
    let template = json!({ "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": "quay.example/a:1" }] } });
    let job = json!({ "metadata": { "name": "j" }, "spec": { "suspend": true, "template": template } });
    let made =
        jobs.create(&PostParams::default(), &serde_json::from_value(job).expect("a Job")).await.expect("created");
    let labels =
        made.spec.and_then(|spec| spec.template.metadata).and_then(|metadata| metadata.labels).expect("labels");
    assert_eq!(labels["batch.kubernetes.io/job-name"], "j");

    let place =
        |node: &str| Patch::Strategic(json!({ "spec": { "template": { "spec": { "nodeSelector": { "n": node } } } } }));
    jobs.patch("j", &PatchParams::default(), &place("one")).await.expect("patched while suspended");
    let resume = Patch::Strategic(json!({ "spec": { "suspend": false } }));
    jobs.patch("j", &PatchParams::default(), &resume).await.expect("resumed");
    let (code, _, message) = refusal(jobs.patch("j", &PatchParams::default(), &place("two")).await);
    assert_eq!(code, 422);
    assert!(message.starts_with(r#"Job.batch "j" is invalid: spec.template: Invalid value: "#), "{message}");
}
