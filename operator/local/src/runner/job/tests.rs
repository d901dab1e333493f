#![expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]

use serde_json::{Value, json};

use super::*;

const PAUSE: SignedDuration = SignedDuration::from_secs(10);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn job(spec: Value, status: Value) -> Job {
    let mut all = json!({
        "completionMode": "Indexed", "completions": 3, "parallelism": 2, "backoffLimitPerIndex": 5,
        "podReplacementPolicy": "Failed", "ttlSecondsAfterFinished": 60,
        "podFailurePolicy": { "rules": [
            { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
            { "action": "FailIndex", "onExitCodes": { "containerName": "keeper", "operator": "In", "values": [40] } },
            { "action": "FailJob", "onExitCodes": { "containerName": "keeper", "operator": "In", "values": [41] } },
        ] },
        "template": { "metadata": { "labels": { "app": "edges" } },
            "spec": { "containers": [{ "name": "keeper" }], "restartPolicy": "Never" } },
    });
    for (field, value) in spec.as_object().unwrap() {
        all[field] = value.clone();
    }
    let metadata = json!({ "name": "edges", "namespace": "lab", "uid": "job-uid" });
    serde_json::from_value(json!({ "metadata": metadata, "spec": all, "status": status })).unwrap()
}

/// A pod of an index: `Running`, `Succeeded`, or a number that its keeper failed with at second 100.
fn pod(name: &str, index: u32, end: &str) -> Pod {
    let code: Option<i32> = end.parse().ok();
    let phase = if code.is_some() { "Failed" } else { end };
    let state = code.map(|code| json!({ "terminated": { "exitCode": code, "finishedAt": at(100) } }));
    let statuses =
        json!([{ "name": "keeper", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state }]);
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "lab", "uid": format!("uid-{name}"), "creationTimestamp": at(50),
            "finalizers": [TRACKING],
            "annotations": { "batch.kubernetes.io/job-completion-index": index.to_string(),
                "batch.kubernetes.io/job-index-failure-count": "0" },
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": "edges", "uid": "job-uid", "controller": true }],
        },
        "status": { "phase": phase, "containerStatuses": statuses },
    }))
    .unwrap()
}

fn with(mut pod: Pod, change: Value) -> Pod {
    let mut value = serde_json::to_value(&pod).unwrap();
    json_patch::merge(&mut value, &change);
    pod = serde_json::from_value(value).unwrap();
    pod
}

fn look(job: &Job, pods: &[Pod], now: i64) -> Decision {
    decide(job, &pods.iter().collect::<Vec<_>>(), at(now), PAUSE)
}

fn made(decision: &Decision) -> Vec<(u32, u32, u32)> {
    decision.create.iter().map(|wanted| (wanted.index, wanted.failures, wanted.ignored)).collect()
}

fn conditions(decision: &Decision) -> Vec<(String, String)> {
    let conditions = decision.status.conditions.iter().flatten();
    conditions.map(|condition| (condition.type_.clone(), condition.reason.clone().unwrap_or_default())).collect()
}

fn words<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(one, other)| (one.to_owned(), other.to_owned())).into()
}

#[test]
fn a_new_job_gets_as_many_pods_as_may_run_together() {
    let decision = look(&job(json!({}), json!({})), &[], 7);
    assert_eq!(made(&decision), [(0, 0, 0), (1, 0, 0)]);
    assert_eq!(decision.status.start_time.as_ref().unwrap().0, at(7));
}

#[test]
fn the_next_index_begins_when_one_is_complete_and_its_pod_is_let_go_after_the_status_says_so() {
    let pods = [pod("a", 0, "Succeeded"), pod("b", 1, "Running")];
    let decision = look(&job(json!({}), json!({})), &pods, 101);
    assert_eq!(made(&decision), [(2, 0, 0)]);
    assert_eq!(decision.release, ["a"]);
    let status = &decision.status;
    assert_eq!((status.completed_indexes.as_deref(), status.succeeded, status.active), (Some("0"), Some(1), Some(1)));
}

#[test]
fn a_job_whose_every_index_is_complete_is_complete_and_goes_when_its_time_is_over() {
    let done = json!({ "completedIndexes": "0,1" });
    let complete = look(&job(json!({}), done), &[pod("c", 2, "Succeeded")], 102);
    let reason = "CompletionsReached";
    assert_eq!(conditions(&complete), words([("SuccessCriteriaMet", reason), ("Complete", reason)]));
    assert_eq!(complete.status.completed_indexes.as_deref(), Some("0-2"));
    let status = serde_json::to_value(&complete.status).unwrap();
    let ended = job(json!({}), status);
    assert_eq!((look(&ended, &[], 161).is_outlived, look(&ended, &[], 161).again), (false, Some(at(162))));
    assert!(look(&ended, &[], 162).is_outlived);
}

#[test]
fn a_failed_pod_is_replaced_after_a_pause_that_doubles_and_held_until_then() {
    let failed = [pod("a", 0, "44"), pod("b", 1, "Running"), pod("c", 2, "Succeeded")];
    let early = look(&job(json!({}), json!({})), &failed, 109);
    assert_eq!((made(&early), early.again), (vec![], Some(at(110))));
    assert_eq!(early.release, ["c"], "the failed one holds the count");
    let due = look(&job(json!({}), json!({})), &failed, 110);
    assert_eq!(made(&due), [(0, 1, 0)]);
    let third = with(
        failed[0].clone(),
        json!({ "metadata": { "annotations": {
        "batch.kubernetes.io/job-index-failure-count": "1",
        "batch.kubernetes.io/job-index-ignored-failure-count": "1" } } }),
    );
    let again = look(&job(json!({}), json!({})), &[third], 101).again;
    assert_eq!(again, Some(at(140)), "10 s · 2² after the third");
}

#[test]
fn a_replaced_pod_is_counted_in_two_steps() {
    let next = with(
        pod("b", 0, "Running"),
        json!({ "metadata": { "annotations": {
        "batch.kubernetes.io/job-index-failure-count": "1" } } }),
    );
    let named = look(&job(json!({}), json!({})), &[pod("a", 0, "44"), next.clone()], 111);
    let uncounted = named.status.uncounted_terminated_pods.clone().unwrap().failed.unwrap();
    assert_eq!((uncounted, named.status.failed, &*named.release), (vec!["uid-a".into()], None, &["a".to_owned()][..]));
    let status = serde_json::to_value(&named.status).unwrap();
    let gone = with(pod("a", 0, "44"), json!({ "metadata": { "finalizers": null } }));
    let counted = look(&job(json!({}), status), &[gone, next], 112);
    assert_eq!((counted.status.failed, counted.status.uncounted_terminated_pods), (Some(1), None));
}

#[test]
fn a_disrupted_pod_counts_as_nobody_s_failure_and_is_replaced_all_the_same() {
    let condition = json!({ "status": { "conditions": [{ "type": "DisruptionTarget", "status": "True" }] } });
    let pods = [with(pod("a", 0, "137"), condition)];
    let decision = look(&job(json!({ "backoffLimitPerIndex": 0 }), json!({})), &pods, 110);
    assert_eq!(made(&decision), [(0, 0, 1), (1, 0, 0)]);
}

#[test]
fn an_index_that_fails_for_good_leaves_the_others_running_and_fails_the_job_at_the_end() {
    let pods = [pod("a", 0, "40"), pod("b", 1, "Running"), pod("c", 2, "Running")];
    let going_on = look(&job(json!({}), json!({})), &pods, 200);
    let status = &going_on.status;
    assert_eq!((made(&going_on), status.failed_indexes.as_deref(), conditions(&going_on)), (vec![], Some("0"), vec![]));
    let pods = [pod("a", 0, "40"), pod("b", 1, "Succeeded"), pod("c", 2, "Succeeded")];
    let ended = look(&job(json!({}), json!({})), &pods, 201);
    let reason = "FailedIndexes";
    assert_eq!(conditions(&ended), words([("FailureTarget", reason), ("Failed", reason)]));
    assert_eq!(ended.status.failed, Some(1));
}

#[test]
fn an_index_fails_when_it_has_failed_more_often_than_it_may() {
    let job = job(json!({ "backoffLimitPerIndex": 0 }), json!({}));
    assert_eq!(look(&job, &[pod("a", 0, "44")], 110).status.failed_indexes.as_deref(), Some("0"));
}

#[test]
fn a_job_that_can_never_proceed_stops_its_pods_before_it_has_failed() {
    let stopping = look(&job(json!({}), json!({})), &[pod("a", 0, "41"), pod("b", 1, "Running")], 110);
    let reason = "PodFailurePolicy";
    assert_eq!(conditions(&stopping), words([("FailureTarget", reason)]));
    assert_eq!((made(&stopping), &*stopping.delete), (vec![], &["b".to_owned()][..]));
    let status = serde_json::to_value(&stopping.status).unwrap();
    let going = json!({ "metadata": { "deletionTimestamp": at(111) } });
    let waits = look(&job(json!({}), status.clone()), &[pod("a", 0, "41"), with(pod("b", 1, "Running"), going)], 112);
    assert_eq!(conditions(&waits), words([("FailureTarget", reason)]));
    assert!(waits.delete.is_empty());
    let ended = look(&job(json!({}), status), &[pod("a", 0, "41"), pod("b", 1, "137")], 113);
    assert_eq!(conditions(&ended), words([("FailureTarget", reason), ("Failed", reason)]));
}

#[test]
fn a_pod_that_is_going_keeps_its_index_until_it_has_ended() {
    let going = with(pod("a", 0, "Running"), json!({ "metadata": { "deletionTimestamp": at(111) } }));
    let decision = look(&job(json!({ "parallelism": 3 }), json!({})), &[going], 112);
    assert_eq!(made(&decision), [(1, 0, 0), (2, 0, 0)]);
    assert_eq!((decision.status.active, decision.status.terminating), (None, Some(1)));
}

#[test]
fn a_job_without_a_limit_of_its_indexes_counts_all_failures_together() {
    let limits = json!({ "completions": 1, "parallelism": 1, "backoffLimitPerIndex": null, "backoffLimit": 1 });
    let one = look(&job(limits.clone(), json!({})), &[pod("a", 0, "44")], 101);
    assert_eq!((made(&one), one.again, &*one.release), (vec![], Some(at(110)), &["a".to_owned()][..]));
    let two = look(&job(limits, json!({})), &[pod("a", 0, "44"), pod("b", 0, "44")], 101);
    assert_eq!(conditions(&two).last(), words([("Failed", "BackoffLimitExceeded")]).last());
    assert_eq!(two.status.failed, Some(2));
}

#[test]
fn a_job_that_takes_longer_than_it_may_has_failed() {
    let limited = job(json!({ "activeDeadlineSeconds": 60 }), json!({ "startTime": at(40) }));
    assert_eq!(look(&limited, &[pod("a", 0, "Running"), pod("b", 1, "Running")], 99).again, Some(at(100)));
    let late = look(&limited, &[pod("a", 0, "Running")], 100);
    assert_eq!(conditions(&late), words([("FailureTarget", "DeadlineExceeded")]));
    assert_eq!(late.delete, ["a"]);
}

#[test]
fn a_suspended_job_has_no_pods_and_goes_on_when_it_is_resumed() {
    let suspended = look(&job(json!({ "suspend": true }), json!({})), &[pod("a", 0, "Running")], 110);
    assert_eq!((&*suspended.delete, made(&suspended)), (&["a".to_owned()][..], vec![]));
    let status = serde_json::to_value(&suspended.status).unwrap();
    let resumed = look(&job(json!({}), status), &[], 120);
    assert_eq!((conditions(&resumed), made(&resumed).len()), (words([("Suspended", "JobResumed")]), 2));
}

#[test]
fn a_job_that_is_being_deleted_lets_its_pods_go() {
    let mut going = job(json!({}), json!({}));
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    let decision = look(&going, &[pod("a", 0, "Running")], 110);
    assert_eq!((&*decision.release, made(&decision)), (&["a".to_owned()][..], vec![]));
}

#[test]
fn a_pod_has_all_that_the_job_controller_gives_it() {
    let made = pods::make(&job(json!({}), json!({})), Wanted { index: 2, failures: 1, ignored: 0 });
    let value = serde_json::to_value(&made).unwrap();
    let index = "batch.kubernetes.io/job-completion-index";
    let metadata = &value["metadata"];
    assert_eq!((&metadata["generateName"], &value["spec"]["hostname"]), (&json!("edges-2-"), &json!("edges-2")));
    let labels = json!({
        "app": "edges", "job-name": "edges", "batch.kubernetes.io/job-name": "edges", "controller-uid": "job-uid",
        "batch.kubernetes.io/controller-uid": "job-uid", index: "2",
    });
    let annotations = json!({ index: "2", "batch.kubernetes.io/job-index-failure-count": "1" });
    assert_eq!((&metadata["labels"], &metadata["annotations"]), (&labels, &annotations));
    let field = json!({ "fieldPath": format!("metadata.annotations['{index}']") });
    let env = json!([{ "name": "JOB_COMPLETION_INDEX", "valueFrom": { "fieldRef": field } }]);
    assert_eq!(value["spec"]["containers"][0]["env"], env);
    assert_eq!(metadata["finalizers"], json!([TRACKING]));
    assert_eq!(metadata["ownerReferences"][0]["uid"], "job-uid");
}
