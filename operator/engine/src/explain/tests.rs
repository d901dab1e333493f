use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::catalogue::{Cause, GROUPS};
use super::finding::{GLOSSES, MAX_QUOTE, mention, quote};
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

fn found(pods: &[Pod], events: &[Event]) -> Option<Finding> {
    explain(&Seen { pods: pods.iter().collect(), events, ..Seen::default() })
}

fn said(pods: &[Pod], events: &[Event]) -> (Reason, String, bool) {
    let finding = found(pods, events).expect("something stands in the way");
    (finding.reason, finding.message(), finding.is_hopeless)
}

fn of_index(index: &str, second: i64, mut pod: Pod) -> Pod {
    pod.metadata.annotations = Some(BTreeMap::from([(INDEX.to_owned(), index.to_owned())]));
    pod.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).expect("a small number of seconds")));
    pod
}

/// A batch Job of so many shards, so many of them at a time.
fn batch_job(completions: i32, parallelism: i32) -> BatchJob {
    let spec = json!({"completions": completions, "parallelism": parallelism, "template": {}});
    serde_json::from_value(json!({"metadata": {}, "spec": spec})).expect("a batch Job")
}

fn causes() -> impl Iterator<Item = &'static Cause> {
    GROUPS.iter().flat_map(|(_, causes)| causes.iter())
}

fn message_of(name: &str) -> String {
    let cause = causes().find(|cause| cause.name == name).expect("a cause of the catalogue");
    cause.told().expect("it is explained").1
}

/// Names of Kubernetes' that somebody who never used it can't know.
const NOUNS: [&str; 32] = [
    "pod",
    "node",
    "batch Job",
    "taint",
    "toleration",
    "label",
    "affinity",
    "quota",
    "namespace",
    "LimitRange",
    "Pod Security",
    "admission webhook",
    "admission policy",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "RuntimeClass",
    "PriorityClass",
    "DaemonSet",
    "Deployment",
    "kubelet",
    "sandbox",
    "cgroup",
    "CRI",
    "containerd",
    "init container",
    "sidecar",
    "finalizer",
    "webhook",
    "StorageClass",
];

#[test]
fn no_word_of_kubernetes_goes_without_its_meaning() {
    for cause in causes() {
        let (_, message) = cause.told().expect("it is explained");
        let (ours, _) = message.split_once(" Kubernetes says: ").unwrap_or((&message, ""));
        let (ours, _) = ours.split_once(" (Here ").unwrap_or((ours, ""));
        let ours = ours.split_once("; it printed").map_or(ours, |(before, _)| before);
        for noun in NOUNS.into_iter().filter(|noun| mention(ours, noun).is_some()) {
            let is_part = |whole: &&str| whole.contains(noun) && *whole != noun && mention(ours, whole).is_some();
            if NOUNS.iter().any(is_part) {
                continue; // "webhook" is told with "admission webhook"
            }
            let gloss = GLOSSES.iter().find(|(known, _)| *known == noun);
            let (_, gloss) = gloss.unwrap_or_else(|| panic!("{}: {noun} has no meaning in: {ours}", cause.name));
            assert!(message.contains(gloss), "{}: {noun} is not told in: {message}", cause.name);
        }
    }
}

#[test]
fn every_cause_is_told_with_what_can_be_done_and_by_whom() {
    for cause in causes() {
        let (_, message) = cause.told().unwrap_or_else(|| panic!("{} is not explained", cause.name));
        let is_nobodys = ["A drained node", "A more urgent pod"].contains(&cause.name);
        let lower = message.to_lowercase();
        let can = [
            "you can ",
            "whoever runs the namespace can ",
            "whoever runs the cluster can ",
            "whoever installed varve can ",
        ];
        assert_eq!(can.iter().any(|can| lower.contains(can)), !is_nobodys, "{}: {message}", cause.name);
        assert!(message.len() < 2048, "{} does not fit into a status: {message}", cause.name);
        for ugly in ["..", " .", ": .", "  ", "()", ";;", ". ("] {
            let (ours, _) = message.split_once(" Kubernetes says: ").unwrap_or((&message, ""));
            let is_gloss = ugly == ". (" && ours.contains(". (Here ");
            assert!(is_gloss || !ours.contains(ugly), "{}: {ugly:?} in {message}", cause.name);
        }
    }
}

#[test]
fn no_two_causes_read_the_same() {
    let mut seen = BTreeMap::new();
    for cause in causes() {
        let Some(finding) = cause.finding() else { continue };
        let before = seen.insert((finding.what.clone(), finding.why.clone()), cause.name);
        let is_other_version = cause.name == "A taint, as Kubernetes up to 1.36 tells it";
        assert!(before.is_none() || is_other_version, "{} reads as {before:?} does: {finding:?}", cause.name);
    }
}

#[test]
fn pods_that_run_need_no_explanation() {
    assert_eq!(found(&[pod("edges-1", json!({"phase": "Running"}))], &[]), None);
}

#[test]
fn an_image_that_is_not_there_is_named_with_what_to_do() {
    let said = "rpc error: code = NotFound desc = failed to pull and unpack image \"edges:1\": failed to resolve image: \
                edges:1: not found";
    let expected = "image edges:1 can't be pulled: its registry has no image of that name and tag. You can push the image, \
                    or correct container.image. Kubernetes says: failed to resolve image: edges:1: not found.";
    let told = |reason: &str, words: &str| self::said(&[waiting("user", reason, words)], &[]);
    assert_eq!(told("ErrImagePull", said), (Reason::ImagePullFailed, expected.to_owned(), false));
    let pause = format!("Back-off pulling image \"edges:1\": ErrImagePull: {said}");
    assert_eq!(told("ImagePullBackOff", &pause).1, expected, "a pause reads as the failure before it");
}

#[test]
fn of_several_pods_the_one_that_has_the_registrys_words_is_told() {
    let bare = waiting("user", "ImagePullBackOff", "Back-off pulling image \"edges:1\"");
    let told = waiting("user", "ErrImagePull", "401 Unauthorized");
    assert!(said(&[bare, told], &[]).1.contains("wants credentials"));
}

#[test]
fn a_digest_is_no_answer_of_the_registry() {
    let words = "failed to resolve image: edges:1@sha256:0401403f404: not found";
    let message = said(&[waiting("user", "ErrImagePull", words)], &[]).1;
    assert!(message.contains("no image of that name and tag"), "{message}");
    let denied = said(&[waiting("user", "ErrImagePull", "unexpected status: 403 Forbidden")], &[]).1;
    assert!(denied.contains("wants credentials"), "{denied}");
}

#[test]
fn a_name_that_is_no_image_is_hopeless() {
    assert!(said(&[waiting("user", "InvalidImageName", "couldn't parse image name \"Edges\"")], &[]).2);
}

#[test]
fn a_pod_that_waits_for_a_gpu_says_so_while_others_run() {
    let message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available.";
    let mut pods: Vec<Pod> = (0..4).map(|n| pod(&format!("edges-{n}"), json!({"phase": "Running"}))).collect();
    pods.push(unschedulable("edges-4", message));
    let expected = "1 pod waits for a node, 4 run: no node has enough nvidia.com/gpu left. You can wait until it is free, or \
                    lower container.resources or parallelism; whoever runs the cluster can add nodes. Kubernetes says: 0/1 \
                    nodes are available: 1 Insufficient nvidia.com/gpu. (Here a pod is one running copy of the program, with Varve's own beside it; a node is a machine of the cluster.)";
    assert_eq!(said(&pods, &[]), (Reason::Unschedulable, expected.to_owned(), false));
}

#[test]
fn too_little_of_a_resource_is_told_with_what_is_asked_and_what_there_is() {
    let message = message_of("Too little of a resource");
    for words in [
        "no node has enough cpu and memory left",
        "it asks for 4.1 of cpu, and node-1, the emptiest node, has 4 left",
        "it asks for 16 GiB of memory, and node-1, the emptiest node, has 8 GiB left",
    ] {
        assert!(message.contains(words), "{words} is not in {message}");
    }
    assert!(message_of("No GPU").contains("it asks for 1 of nvidia.com/gpu, and no node has any"));
}

#[test]
fn several_causes_of_the_scheduler_are_all_told() {
    let message =
        "0/3 nodes are available: 1 Insufficient cpu, 1 Too many pods, 1 node(s) had untolerated taint {gpu: only}.";
    let told = said(&[unschedulable("p", message)], &[]).1;
    for words in
        ["no node has enough cpu left", "as many pods as it may", "a taint that it does not tolerate (gpu: only)"]
    {
        assert!(told.contains(words), "{words} is not in {told}");
    }
    assert_eq!(told.matches("add nodes").count(), 2, "a remedy is told once: {told}");
}

#[test]
fn labels_that_the_image_asks_for_are_told_from_the_pipelines_own() {
    let own = message_of("Labels that no node has");
    assert!(own.contains("the labels that pod.nodeSelector asks for: disk=fast"), "{own}");
    assert!(own.contains("no node with a processor of kind amd64 has the labels"), "{own}");
    let image = message_of("An image for another kind of processor");
    assert!(image.contains("no node fits whose processor is of kind arm64, for which the image is built"), "{image}");
    assert!(!image.contains("nodeSelector"), "{image}");
}

#[test]
fn pods_that_are_held_back_on_purpose_are_not_the_schedulers_fault() {
    let held = |reason: &str| {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": reason,
            "message": "Scheduling is blocked due to non-empty scheduling gates"});
        said(&[pod("p", json!({"phase": "Pending", "conditions": [condition]}))], &[]).1
    };
    assert!(held("SchedulingGated").contains("holds it back on purpose"));
    assert!(held("SchedulerError").contains("the scheduler, which gives pods their nodes, has failed"));
}

#[test]
fn a_missing_secret_of_a_container_is_told() {
    let pods = [waiting("user", "CreateContainerConfigError", "secret \"token\" not found")];
    let expected = "the Pipeline's container can't start: a Secret that container.env names is not there. You can create \
                    the Secret, or correct container.env. Kubernetes says: secret \"token\" not found. (Here a Secret is \
                    an object that holds passwords and keys.)";
    assert_eq!(said(&pods, &[]), (Reason::PodsCannotStart, expected.to_owned(), false));
}

#[test]
fn what_no_waiting_can_mend_is_hopeless() {
    let hopeless: Vec<&str> = causes()
        .filter(|cause| cause.finding().is_some_and(|finding| finding.is_hopeless))
        .map(|cause| cause.name)
        .collect();
    let expected = [
        "A name that no image can have",
        "An image that insists on root",
        "A user that is no number",
        "A working directory that can't be entered",
        "Work that can never be done",
        "The Job's time is over",
    ];
    assert_eq!(hopeless, expected);
}

#[test]
fn pods_that_the_api_server_refuses_are_explained_from_events() {
    let expected = "no pod can be made: they would pass the quota team: a pod asks for requests.cpu 1, in use are \
                    requests.cpu 4, allowed are requests.cpu 4. You can wait until other pods end, lower parallelism, or \
                    ask for less in container.resources; whoever runs the namespace can raise the quota. Kubernetes says: \
                    exceeded quota: team, requested: requests.cpu=1, used: requests.cpu=4, limited: requests.cpu=4.";
    assert!(message_of("A quota").starts_with(expected), "{}", message_of("A quota"));
}

#[test]
fn pods_that_lack_beside_others_are_told_and_none_where_none_lack() {
    let mut refusal = [event("FailedCreate", "edges", "pods \"edges-2\" is forbidden: exceeded quota: q")];
    refusal[0].last_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let pods = ["0", "1"].map(|index| of_index(index, 0, pod(index, json!({"phase": "Running"}))));
    let told = |job: &BatchJob| {
        explain(&Seen { job: Some(job), pods: pods.iter().collect(), events: &refusal, ..Seen::default() })
    };
    let finding = told(&batch_job(9, 4)).expect("two of four lack");
    assert_eq!(finding.what, "2 more pods can't be made, 2 at work");
    assert_eq!(told(&batch_job(9, 2)), None, "as many are at work as may be");
    assert_eq!(told(&batch_job(2, 4)), None, "there is no more to do");
}

#[test]
fn pods_that_are_done_are_not_missed() {
    let mut job = batch_job(5, 3);
    let missing = |job: &BatchJob| missing_pods(job, &[pod("a", json!({"phase": "Running"}))]);
    assert_eq!(missing(&job), 2);
    job.status = serde_json::from_value(json!({"succeeded": 2, "failedIndexes": "1,3"})).expect("a status");
    assert_eq!(missing(&job), 0);
    job.status = None;
    job.spec.as_mut().expect("it was given").suspend = Some(true);
    assert_eq!(missing(&job), 0);
    assert_eq!(["", "4", "1,3-5,7", "0-9"].map(count_indexes), [0, 1, 5, 10]);
}

#[test]
fn what_a_shards_former_pod_met_is_over() {
    let killed = of_index("0", 1, ended("user", 137, "OOMKilled", ""));
    let later = of_index("0", 9, pod("edges-2", json!({"phase": "Running"})));
    let other = of_index("1", 5, pod("edges-3", json!({"phase": "Running"})));
    assert_eq!(said(&[killed.clone(), other.clone()], &[]).0, Reason::ShardFailed);
    assert_eq!(found(&[later, killed, other], &[]), None);
}

#[test]
fn a_volume_that_cannot_be_mounted_is_told_while_its_pod_waits() {
    let events =
        [event("FailedMount", "edges-1", "MountVolume.SetUp failed for volume \"s\" : configmap \"s\" not found")];
    let waiting = [pod("edges-1", json!({"phase": "Pending"}))];
    assert!(
        said(&waiting, &events).1.starts_with("a volume can't be mounted: a ConfigMap that pod.volumes names is not")
    );
    assert_eq!(found(&[pod("edges-1", json!({"phase": "Running"}))], &events), None);
}

#[test]
fn a_keeper_that_can_never_proceed_is_heard_before_all_else() {
    let words = r#"{"reason":"PlanUnusable","message":"plan 12ab is damaged: start the Job again","left":3}"#;
    let pods = [
        of_index("0", 1, waiting("user", "ErrImagePull", "no")),
        of_index("1", 1, ended("keeper", 41, "Error", words)),
    ];
    let (reason, message, is_hopeless) = said(&pods, &[]);
    let expected =
        "plan 12ab is damaged: start the Job again (said by Varve's own container keeper in pod edges-1). You can ";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!((reason, is_hopeless), (Reason::ShardFailed, true));
}

#[test]
fn a_store_that_does_not_answer_is_told_in_the_keepers_words() {
    let pods = [ended("keeper", 75, "Error", r#"{"reason":"Store","message":"get plan: connection refused"}"#)];
    let (_, message, is_hopeless) = said(&pods, &[]);
    let expected = "get plan: connection refused (said by Varve's own container keeper in pod edges-1): it is tried again. You can ";
    assert!(message.starts_with(expected), "{message}");
    assert!(!is_hopeless);
}

#[test]
fn a_container_that_ran_out_of_memory_names_its_limit_and_ours_is_our_fault() {
    let user = said(&[ended("user", 137, "OOMKilled", "")], &[]).1;
    assert!(user.starts_with("the Pipeline's container ran out of its memory of 1Gi: "), "{user}");
    assert!(user.contains("You can raise container.resources.limits.memory"), "{user}");
    let keeper = said(&[ended("keeper", 137, "OOMKilled", "")], &[]).1;
    assert!(keeper.contains("Whoever installed Varve can report it"), "{keeper}");
}

/// The user's container of a pod with restart rules, as it is now and as it ended before.
fn started_again(state: &serde_json::Value, before: &serde_json::Value) -> Pod {
    let status = json!({"name": "user", "image": "edges:1", "imageID": "", "ready": false, "restartCount": 1,
        "state": state, "lastState": {"terminated": before}});
    let mut pod = pod("edges-1", json!({"phase": "Running", "containerStatuses": [status]}));
    pod.spec.as_mut().expect("it has one").containers[0].restart_policy = Some("Never".into());
    pod
}

#[test]
fn a_container_that_starts_again_in_its_pod_has_not_failed_and_once_it_runs_there_is_nothing_to_tell() {
    let (killed, running) = (json!({"exitCode": 137, "reason": "OOMKilled"}), json!({"running": {}}));
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
    for state in [&waits, &json!({"terminated": killed})] {
        let (reason, message, is_hopeless) = said(&[started_again(state, &killed)], &[]);
        assert_eq!((reason, is_hopeless), (Reason::Running, false));
        assert!(message.starts_with("the Pipeline's container ran out of its memory of 1Gi: "), "{message}");
        assert!(message.contains("it is to be started again in its pod, keeps its devices"), "{message}");
    }
    assert_eq!(found(&[started_again(&running, &killed)], &[]), None);
}

#[test]
fn a_container_that_comes_back_after_its_keeper_has_ended_failed_for_its_memory() {
    let killed = json!({"exitCode": 137, "reason": "OOMKilled"});
    let lost = json!({"terminated": {"exitCode": 43, "reason": "Error"}});
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}});
    for state in [waits, lost] {
        let mut pod = started_again(&state, &killed);
        let keeper = ended("keeper", 44, "Error", r#"{"message":"the user's container ended"}"#);
        let status = keeper.status.and_then(|status| status.container_statuses).expect("a keeper");
        pod.status.as_mut().and_then(|of_pod| of_pod.container_statuses.as_mut()).expect("a user").extend(status);
        let (reason, message, _) = said(&[pod], &[]);
        assert_eq!(reason, Reason::ShardFailed);
        assert!(
            message.contains("ran out of its memory of 1Gi: the node's kernel killed it; another pod"),
            "{message}"
        );
    }
}

#[test]
fn a_pod_taken_away_by_the_cluster_costs_nothing_and_says_so() {
    let (reason, message) = (Reason::Running, message_of("A drained node"));
    assert!(message.contains("as when a node is emptied for maintenance"), "{message}");
    assert!(message.contains("no try is used up. Nothing need be done."), "{message}");
    let status = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    let (told, low, _) = said(&[pod("edges-1", status)], &[]);
    assert_eq!(told, reason);
    assert!(low.contains("its node ran short of memory") && low.contains("requests.memory"), "{low}");
}

#[test]
fn whoever_passes_a_limit_of_their_own_is_told_so_and_not_that_a_node_is_short() {
    let message = message_of("More of the disk than it may");
    assert!(message.contains("its own limit, container.resources.limits.ephemeral-storage"), "{message}");
    assert!(!message.contains("ran short"), "{message}");
}

#[test]
fn words_of_others_are_cut_to_one_line() {
    assert_eq!(quote("  a\n b\tc.  "), "a b c");
    assert_eq!(quote(&"ä".repeat(1000)).chars().count(), MAX_QUOTE + 1);
}

#[test]
fn a_noun_is_found_as_a_word_and_not_in_a_fields_name() {
    assert_eq!(mention("two pods wait", "pod"), Some(4));
    assert_eq!(mention("the node. It", "node"), Some(4));
    for text in ["pod.volumes", "container.pods", "podium", "node-1", "tripod"] {
        assert_eq!((mention(text, "pod"), mention(text, "node")), (None, None), "{text}");
    }
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
         Traceback ValueError: no edges. You can correct the code or the input. What succeeded is kept and not run again."
    );
    (first.exit_code, first.tries, first.last_lines) = (Some(137), 1, String::new());
    assert_eq!(
        failed_datums(1, 1, &first),
        "1 of 1 datum failed, so nothing was committed. images:/a.png: the code exited with 137, as if ended by signal 9 \
         (SIGKILL): often for lack of memory after 1 try; it printed nothing. You can raise container.resources.limits.memory, or \
         correct the code or the input. What succeeded is kept and not run again."
    );
    first.reason = "OutOfMemory".into();
    assert!(failed_datums(2, 9, &first).contains("it ran out of memory after 1 try"));
}

#[test]
fn of_much_that_was_printed_the_end_is_told() {
    let first = FailedDatum {
        name: "images:/a.png".into(),
        reason: "ExitCode".into(),
        exit_code: Some(1),
        signal: None,
        tries: 1,
        last_lines: format!("{}\nthe cause", "ä".repeat(2000)),
    };
    let message = failed_datums(1, 1, &first);
    assert!(message.contains("ä the cause. You can") && message.matches('ä').count() == 310, "{message}");
}

#[test]
fn what_the_keeper_knows_of_a_failed_datum_stands_where_it_is_told() {
    let memory = message_of("Out of memory");
    assert!(
        memory.contains("64 MiB were in use at most, of 64 MiB) after 3 tries; it printed: loading. You"),
        "{memory}"
    );
    let time = message_of("Too long");
    assert!(time.contains("datum.timeoutSeconds, 60 s; it was running: sh -c /fit.sh, python3"), "{time}");
    assert!(time.contains("it printed nothing"), "{time}");
}

#[test]
fn an_explanation_fits_into_a_status() {
    let long = waiting("user", "ErrImagePull", &"x".repeat(5000));
    assert!(said(&[long], &[]).1.len() < 2048);
}
