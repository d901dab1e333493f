use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use varve_api::job::Failure;

use super::*;

fn pod(name: &str, status: impl Into<serde_json::Value>) -> Pod {
    let status = status.into();
    let spec = json!({"containers": [{"name": "user", "resources": {"limits": {"memory": "1Gi"}}}]});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec, "status": status})).expect("a pod")
}

fn waiting(container: &str, reason: &str, message: &str) -> Pod {
    let status = json!({"name": container, "image": "edges:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}}});
    pod("edges-1", json!({"phase": "Pending", "containerStatuses": [status]}))
}

fn ended(container: &str, code: i32, reason: &str, message: &str) -> Pod {
    let status = json!({"name": container, "image": "edges:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}});
    pod("edges-1", json!({"phase": "Failed", "containerStatuses": [status]}))
}

fn unschedulable(name: &str, message: &str) -> Pod {
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
    pod(name, json!({"phase": "Pending", "conditions": [condition]}))
}

fn event(reason: &str, about: &str, message: &str) -> Event {
    Event {
        reason: Some(reason.into()),
        message: Some(message.into()),
        involved_object: ObjectReference { name: Some(about.into()), ..ObjectReference::default() },
        metadata: ObjectMeta::default(),
        ..Event::default()
    }
}

fn said(pods: &[Pod], events: &[Event]) -> (Reason, String, bool) {
    let finding = explain(None, pods, events).expect("something stands in the way");
    (finding.reason, finding.message, finding.is_hopeless)
}

#[test]
fn pods_that_run_need_no_explanation() {
    assert_eq!(explain(None, &[pod("edges-1", json!({"phase": "Running"}))], &[]), None);
}

#[test]
fn an_image_that_is_not_there_is_named_with_what_to_do() {
    let pods = [waiting("user", "ErrImagePull", "rpc error: code = NotFound: edges:1: not found.")];
    let expected = "image edges:1 can't be pulled: rpc error: code = NotFound: edges:1: not found (push the image, or \
                    correct container.image)";
    assert_eq!(said(&pods, &[]), (Reason::ImagePullFailed, expected.to_owned(), false));
}

#[test]
fn a_registry_that_wants_credentials_is_told_from_one_that_has_no_such_image() {
    let pods = [waiting("user", "ErrImagePull", "failed to authorize: 401 Unauthorized")];
    assert!(said(&pods, &[]).1.ends_with("(name a Secret with the registry's credentials in pod.imagePullSecrets)"));
    let ours = [waiting("keeper", "ImagePullBackOff", "Back-off pulling image")];
    assert!(said(&ours, &[]).1.contains("this is Varve's own image"));
}

#[test]
fn a_name_that_is_no_image_is_hopeless() {
    let pods = [waiting("user", "InvalidImageName", "couldn't parse image name \"Edges\"")];
    assert!(said(&pods, &[]).2);
}

#[test]
fn a_pod_that_waits_for_a_gpu_says_so_while_others_run() {
    let message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available.";
    let mut pods: Vec<Pod> = (0..4).map(|n| pod(&format!("edges-{n}"), json!({"phase": "Running"}))).collect();
    pods.push(unschedulable("edges-4", message));
    let expected = "1 pod waits for a node, 4 run: no node has enough nvidia.com/gpu left (they start as soon as it is free; \
                    else add nodes, or lower container.resources or parallelism). The scheduler says: 0/1 nodes are \
                    available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available";
    assert_eq!(said(&pods, &[]), (Reason::Unschedulable, expected.to_owned(), false));
}

#[test]
fn taints_labels_and_several_resources_are_told_apart() {
    let why = |message: &str| said(&[unschedulable("p", message)], &[]).1;
    assert!(
        why("0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.")
            .contains("enough cpu and memory left")
    );
    assert!(why("1 node(s) had untolerated taint {gpu: only}").contains("add pod.tolerations"));
    assert!(why("1 node(s) didn't match Pod's node affinity/selector").contains("pod.nodeSelector"));
}

#[test]
fn a_missing_secret_of_a_container_is_told() {
    let pods = [waiting("user", "CreateContainerConfigError", "secret \"token\" not found")];
    let expected =
        "container user can't start: secret \"token\" not found (create the Secret, or correct container.env)";
    assert_eq!(said(&pods, &[]), (Reason::PodsCannotStart, expected.to_owned(), false));
}

#[test]
fn pods_that_the_api_server_refuses_are_explained_from_events() {
    let events =
        [event("FailedCreate", "edges-1", "pods \"edges-1-0\" is forbidden: exceeded quota: gpus, requested: 1")];
    let (reason, message, _) = said(&[], &events);
    assert_eq!(reason, Reason::PodsCannotStart);
    assert!(message.starts_with("pods can't be created: pods \"edges-1-0\" is forbidden: exceeded quota"), "{message}");
    assert!(message.ends_with("ask whoever runs the namespace to raise its quota)"), "{message}");
}

#[test]
fn a_volume_that_cannot_be_mounted_is_told_while_its_pod_waits() {
    let events = [event("FailedMount", "edges-1", "configmap \"settings\" not found")];
    let waiting = [pod("edges-1", json!({"phase": "Pending"}))];
    assert!(said(&waiting, &events).1.starts_with("a volume can't be mounted: configmap \"settings\" not found"));
    assert_eq!(explain(None, &[pod("edges-1", json!({"phase": "Running"}))], &events), None);
}

#[test]
fn a_keeper_that_can_never_proceed_is_heard_before_all_else() {
    let words = r#"{"reason":"PlanUnusable","message":"plan 12ab is damaged: start the Job again","left":3}"#;
    let pods = [waiting("user", "ErrImagePull", "no"), ended("keeper", 41, "Error", words)];
    let expected = "plan 12ab is damaged: start the Job again (said by container keeper of pod edges-1)";
    assert_eq!(said(&pods, &[]), (Reason::ShardFailed, expected.to_owned(), true));
}

#[test]
fn a_store_that_does_not_answer_is_told_in_the_keepers_words() {
    let pods = [ended("keeper", 75, "Error", r#"{"reason":"Store","message":"get plan: connection refused"}"#)];
    let (_, message, is_hopeless) = said(&pods, &[]);
    assert_eq!(message, "get plan: connection refused (said by container keeper of pod edges-1; it is tried again)");
    assert!(!is_hopeless);
}

#[test]
fn a_container_that_ran_out_of_memory_names_its_limit() {
    let expected = "container user ran out of its memory of 1Gi (raise container.resources.limits.memory, or let each datum need less)";
    assert_eq!(said(&[ended("user", 137, "OOMKilled", "")], &[]).1, expected);
}

#[test]
fn a_pod_taken_away_by_the_cluster_costs_nothing_and_says_so() {
    let status = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    let expected = "the cluster took pod edges-1 away: The node was low on resource: memory. Another takes its place, and \
                    what is done stays done";
    assert_eq!(said(&[pod("edges-1", status)], &[]).1, expected);
}

#[test]
fn a_deadline_is_the_jobs_own() {
    let job: BatchJob = serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [
        {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "Job was active longer"}]}}))
    .expect("a batch Job");
    let finding = explain(Some(&job), &[], &[]).unwrap();
    assert_eq!((finding.reason, finding.is_hopeless), (Reason::TimedOut, true));
}

#[test]
fn words_of_others_are_cut_to_one_line() {
    assert_eq!(quote("  a\n b\tc.  "), "a b c");
    assert_eq!(quote(&"ä".repeat(1000)).chars().count(), MAX_QUOTE + 1);
}

#[test]
fn replacements_are_counted_by_index_or_by_what_kubernetes_counted() {
    let indexed = |index: &str| {
        let mut pod = pod("p", json!({}));
        pod.metadata.annotations = Some(BTreeMap::from([(INDEX.to_owned(), index.to_owned())]));
        pod
    };
    assert_eq!(most_replacements(&[]), 0);
    assert_eq!(most_replacements(&[indexed("0"), indexed("1"), indexed("0"), indexed("0")]), 2);
    let mut late = indexed("3");
    late.metadata
        .annotations
        .as_mut()
        .unwrap()
        .extend([(FAILURES[0].to_owned(), "1".to_owned()), (FAILURES[1].to_owned(), "4".to_owned())]);
    assert_eq!(most_replacements(&[indexed("0"), late]), 5);
}

#[test]
fn a_failed_datum_is_told_with_its_code_and_last_lines() {
    let mut first = FailedDatum {
        name: "images:/a.png".into(),
        reason: "ExitCode".into(),
        exit_code: Some(2),
        signal: None,
        tries: 3,
        last_lines: "Traceback\n  ValueError: no edges\n".into(),
    };
    assert_eq!(
        failed_datums(1, 15, &first),
        "1 of 15 datums failed, so nothing was committed. images:/a.png: the code exited with 2 after 3 tries; it printed: \
         Traceback ValueError: no edges (correct the code or the input; what succeeded is kept and not run again)"
    );
    (first.exit_code, first.tries, first.last_lines) = (Some(137), 1, String::new());
    assert_eq!(
        failed_datums(1, 1, &first),
        "1 of 1 datum failed, so nothing was committed. images:/a.png: the code exited with 137, as if ended by signal 9 \
         (SIGKILL) after 1 try; it printed nothing (correct the code or the input; what succeeded is kept and not run again)"
    );
    first.reason = "OutOfMemory".into();
    assert!(failed_datums(2, 9, &first).contains("it ran out of memory after 1 try"));
}

#[test]
fn an_explanation_fits_into_a_status() {
    let long = waiting("user", "ErrImagePull", &"x".repeat(5000));
    assert!(said(&[long], &[]).1.len() < 2048);
    let _ = Failure::default(); // its texts are cut by the API's own bounds
}
