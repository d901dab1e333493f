//! Pods on this machine, from their arrival to their end.

mod common;

use std::fs;

use common::{World, condition, ended, has_ended, phase, script};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, LogParams};
use serde_json::json;
use varve_local::runner::{RunnerChoice, View};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_s_status_says_how_its_container_ended() {
    let world = World::new().await;
    world.create::<Pod>(script("works", "echo out; exit 7", &json!({}))).await;
    let pod = world.pod("works", "it has ended", has_ended).await;
    let end = ended(&pod, "user");
    assert_eq!((phase(&pod), end.exit_code, end.reason.as_deref()), ("Failed", 7, Some("Error")));
    assert!(end.started_at <= end.finished_at);
    assert_eq!(world.api::<Pod>().logs("works", &LogParams::default()).await.unwrap(), "out\n");
    assert_eq!(condition(&pod, "PodScheduled").unwrap().0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_fields_and_volumes_are_what_the_pod_says() {
    let world = World::new().await;
    if world.view == View::Outside {
        return; // volumes have no place without namespaces, which is said in the log
    }
    let keys = json!({ "metadata": { "name": "db" }, "stringData": { "password": "p4ss" } });
    world.create::<Secret>(keys).await;
    let more = json!({
        "env": [
            { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "db", "key": "password" } } },
            { "name": "WHO", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        ],
        "workingDir": "/etc/db", "volumeMounts": [{ "name": "db", "mountPath": "/etc/db", "readOnly": true }],
    });
    let mut pod = script("reads", "echo $WHO $PASSWORD $(cat password) $(pwd); touch /etc/db/x || echo closed", &more);
    pod["spec"]["volumes"] = json!([{ "name": "db", "secret": { "secretName": "db" } }]);
    world.create::<Pod>(pod).await;
    world.pod("reads", "it has ended", has_ended).await;
    let log = world.api::<Pod>().logs("reads", &LogParams::default()).await.unwrap();
    assert!(log.starts_with("reads p4ss p4ss /etc/db\n") && log.ends_with("closed\n"), "{log}");
    assert!(!std::path::Path::new("/etc/db").exists(), "nothing is made on the machine itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_does_not_fit_waits_and_the_scheduler_says_why() {
    let world = World::new().await;
    let gpu = json!({ "resources": { "limits": { "example.com/gpu": "1" } } });
    world.create::<Pod>(script("waits", "true", &gpu)).await;
    let pod = world.pod("waits", "it is told why", |pod| condition(pod, "PodScheduled").is_some()).await;
    let said = "0/1 nodes are available: 1 Insufficient example.com/gpu.".to_owned();
    assert_eq!(condition(&pod, "PodScheduled"), Some(("False".into(), "Unschedulable".into(), said)));
    assert_eq!(phase(&pod), "Pending");
    let node = Api::<Node>::all(world.client.clone()).get("laptop").await.unwrap();
    assert_eq!(node.status.unwrap().allocatable.unwrap()["cpu"].0, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_pods_run_together_as_there_are_slots() {
    let world = World::new().await;
    let gate = world.path("gate");
    let wait = format!("while ! [ -e {} ]; do sleep 0.02; done", gate.display());
    for name in ["one", "two", "three"] {
        world.create::<Pod>(script(name, &wait, &json!({}))).await;
    }
    let is_held = |pod: &Pod| condition(pod, "PodScheduled").is_some_and(|(status, ..)| status == "False");
    let held = world
        .until("one of three waits", || async {
            let pods = common::pods_of(&world).await;
            let running = pods.iter().filter(|pod| phase(pod) == "Running").count();
            (running == 2).then(|| pods.into_iter().find(is_held)).flatten()
        })
        .await;
    fs::write(gate, "").unwrap();
    let held = held.metadata.name.unwrap();
    let pod = world.pod(&held, "it runs when another has ended", has_ended).await;
    assert_eq!(phase(&pod), "Succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_is_asked_to_stop_and_is_gone_when_it_has() {
    let world = World::new().await;
    let said = world.path("said");
    let ready = world.path("ready");
    let (says, listens) = (said.display(), ready.display());
    let trap = format!("trap 'echo asked > {says}; exit 3' TERM; touch {listens}; while :; do sleep 0.02; done");
    world.create::<Pod>(script("stops", &trap, &json!({}))).await;
    world.until("it listens", || async { ready.exists().then_some(()) }).await;
    world.api::<Pod>().delete("stops", &DeleteParams::default()).await.unwrap();
    world.until("it is gone", || gone(&world, "stops")).await;
    assert_eq!(fs::read_to_string(said).unwrap(), "asked\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_does_not_stop_is_killed_when_its_time_is_over_with_all_it_started() {
    let world = World::new().await;
    let pids = world.path("pids");
    let deaf = format!("trap '' TERM; setsid sleep 4567 & echo $! > {}; while :; do sleep 1; done", pids.display());
    world.create::<Pod>(script("deaf", &deaf, &json!({}))).await;
    world.until("it has begun", || async { fs::read_to_string(&pids).ok().filter(|text| text.ends_with('\n')) }).await;
    world.until("what it starts has begun", || async { (sleepers("4567").len() == 1).then_some(()) }).await;
    world
        .api::<Pod>()
        .delete("deaf", &DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::default() })
        .await
        .unwrap();
    world.until("it is gone", || gone(&world, "deaf")).await;
    world.until("its processes are gone", || async { sleepers("4567").is_empty().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_secret_is_missing_says_so_and_starts_once_it_is_there() {
    let world = World::new().await;
    let key = json!({ "env": [{ "name": "K", "valueFrom": { "secretKeyRef": { "name": "late", "key": "k" } } }] });
    world.create::<Pod>(script("needs", "echo $K", &key)).await;
    let waiting = |pod: &Pod| {
        let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()?.waiting.clone()?;
        Some((status.reason?, status.message?))
    };
    let pod = world.pod("needs", "it says so", |pod| waiting(pod).is_some()).await;
    let said = ("CreateContainerConfigError".to_owned(), "secret \"late\" not found".to_owned());
    assert_eq!(waiting(&pod), Some(said));
    world.create::<Secret>(json!({ "metadata": { "name": "late" }, "stringData": { "k": "v" } })).await;
    assert_eq!(phase(&world.pod("needs", "it has ended", has_ended).await), "Succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_ran_when_the_runner_ended_is_marked_as_taken_away() {
    let mut pod = script("lost", "true", &json!({}));
    pod["spec"]["nodeName"] = json!("laptop");
    pod["status"] = json!({ "phase": "Running", "startTime": "2026-01-01T00:00:00Z" });
    let world = World::with(RunnerChoice::Process, &[pod]).await;
    let pod = world.pod("lost", "it has failed", has_ended).await;
    assert_eq!((phase(&pod), ended(&pod, "user").exit_code), ("Failed", 137));
    assert_eq!(condition(&pod, "DisruptionTarget").unwrap().0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stops_takes_its_pods_with_it_and_says_that_it_did() {
    let mut world = World::new().await;
    world.create::<Pod>(script("sleeps", "trap 'exit 0' TERM; sleep 5678 & wait", &json!({}))).await;
    world.until("it runs", || async { (sleepers("5678").len() == 1).then_some(()) }).await;
    world.stop().await;
    let pod = world.api::<Pod>().get("sleeps").await.unwrap();
    assert_eq!(
        (phase(&pod), condition(&pod, "DisruptionTarget").unwrap().1.as_str()),
        ("Failed", "TerminationByKubelet")
    );
    assert!(sleepers("5678").is_empty());
}

async fn gone(world: &World, name: &str) -> Option<()> {
    world.api::<Pod>().get_opt(name).await.unwrap().is_none().then_some(())
}

/// The processes that sleep this long.
fn sleepers(seconds: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    let wanted = format!("sleep\0{seconds}\0");
    processes.filter_map(|path| fs::read_to_string(path).ok()).filter(|line| *line == wanted).collect()
}
