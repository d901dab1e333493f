//! Batch Jobs as the operator makes them, run by real keepers and shims on this machine.

mod common;

use common::{Work, World, ended, job_is, pods_of};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, LogParams};
use serde_json::json;
use varve_format::records::ResultState;
use varve_local::runner::{RunnerChoice, View};

#[tokio::test(flavor = "multi_thread")]
async fn every_datum_sees_its_input_at_pfs_and_its_output_is_in_the_store() {
    let world = World::new().await;
    let out = if world.view == View::Inside { "/pfs/out" } else { "$PFS/out" };
    let script = format!("echo reading $photos; cp \"$images\" {out}/copy-$(basename $images)");
    let work = Work::plan(&world, &script, 2, 5).await;
    let job = world.job("edges-1", "the Job is complete", |job| job_is(job, "Complete")).await;
    assert_eq!(job.status.as_ref().unwrap().completed_indexes.as_deref(), Some("0,1"));
    let outputs = work.outputs(2).await;
    assert_eq!(outputs.len(), 5);
    for (number, (state, files)) in outputs {
        assert_eq!((state, files.len()), (ResultState::Succeeded, 1), "{number}");
        assert_eq!(files[&format!("copy-{number}")], format!("text {number}"));
    }
    let pods = pods_of(&world).await;
    assert_eq!(pods.len(), 2);
    let keeper = ended(&pods[0], "keeper");
    assert_eq!((keeper.exit_code, keeper.reason.as_deref()), (0, Some("Completed")));
    assert!(keeper.message.unwrap().contains(r#""reason":"Done""#));
    let params = LogParams { container: Some("user".into()), tail_lines: Some(1), ..LogParams::default() };
    let log = world.api::<Pod>().logs(&pods[0].name_any(), &params).await.unwrap();
    assert!(log.starts_with("reading ") && log.lines().count() == 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_at_work_is_replaced_and_no_datum_is_lost() {
    let world = World::new().await;
    let gate = world.path("gate");
    let script = format!("while ! [ -e {} ]; do sleep 0.02; done", gate.display());
    let work = Work::plan(&world, &script, 1, 2).await;
    let at_work = world.until("a pod runs", || async { pods_of(&world).await.into_iter().find(is_running) }).await;
    world.api::<Pod>().delete(&at_work.name_any(), &DeleteParams::default()).await.unwrap();
    std::fs::write(gate, "").unwrap();
    let job = world.job("edges-1", "the Job is complete", |job| job_is(job, "Complete")).await;
    assert_eq!(job.status.unwrap().succeeded, Some(1));
    let states: Vec<_> = work.outputs(1).await.into_values().map(|(state, _)| state).collect();
    assert_eq!(states, [ResultState::Succeeded; 2]);
}

fn is_running(pod: &Pod) -> bool {
    common::phase(pod) == "Running"
}

/// Needs podman, a static shim that `VARVE_SHIM` names, and an image with a shell that `VARVE_TEST_IMAGE` names.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_runs_the_image_itself() {
    if std::env::var_os("VARVE_TEST_IMAGE").is_none() {
        return;
    }
    let world = World::with(RunnerChoice::Podman, &[]).await;
    let work = Work::plan(&world, "cp \"$images\" /pfs/out/copy; ls / > /pfs/out/root", 1, 2).await;
    world.job("edges-1", "the Job is complete", |job| job_is(job, "Complete")).await;
    let outputs = work.outputs(1).await;
    assert_eq!(outputs["1"].1["copy"], "text 1");
    let pods = pods_of(&world).await;
    let user =
        pods[0].status.as_ref().unwrap().container_statuses.iter().flatten().find(|status| status.name == "user");
    assert!(user.unwrap().image_id.starts_with("sha256:"), "{user:?}");
}

/// Needs the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_told_in_the_engine_s_words_and_the_pod_can_be_deleted() {
    if std::env::var_os("VARVE_TEST_IMAGE").is_none() {
        return;
    }
    let world = World::with(RunnerChoice::Podman, &[]).await;
    let image = json!({ "image": "localhost:1/nothing:3" });
    world.create::<Pod>(common::script("pulls", "true", &image)).await;
    let waiting = |pod: &Pod| {
        let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()?.waiting.clone()?;
        Some((status.reason?, status.message?))
    };
    let pod = world.pod("pulls", "it says why", |pod| waiting(pod).is_some()).await;
    let (reason, message) = waiting(&pod).unwrap();
    assert_eq!(reason, "ErrImagePull");
    assert!(message.contains("localhost:1") && message.contains("refused"), "{message}");
    world.api::<Pod>().delete("pulls", &DeleteParams::default()).await.unwrap();
    world.until("it is gone", || async { pods_of(&world).await.is_empty().then_some(()) }).await;
}
