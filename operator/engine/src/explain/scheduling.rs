//! Pods that find no node: each cause that the scheduler names, in a sentence and with a remedy of its own.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use varve_api::conditions::Reason;

use super::finding::{Finding, Who};
use super::pods::{condition, phase};
use super::room::{Room, compared};

/// A cause, and what can be done about it.
type Cause = (String, Vec<(Who, String)>);

/// Pods that find no node.
pub(super) fn unschedulable(pods: &[&Pod], rooms: &[Room]) -> Option<Finding> {
    let held: Vec<(&Pod, &str, &str)> =
        pods.iter().filter(|pod| phase(pod) == "Pending").filter_map(|pod| held_back(pod)).collect();
    let (pod, reason, said) = *held.first()?;
    let running = pods.iter().filter(|pod| phase(pod) == "Running").count();
    let what = if held.len() == 1 { "1 pod waits".to_owned() } else { format!("{} pods wait", held.len()) };
    let what = format!("{what} for a node, {running} run");
    let causes = match reason {
        "SchedulingGated" => vec![cause(
            "something holds it back on purpose: a gate",
            &[(Who::Namespace, "see what put the gate on it: often a queue that lets it go when there is room")],
        )],
        "SchedulerError" => vec![cause(
            "the scheduler, which gives pods their nodes, has failed",
            &[(Who::Cluster, "look at the scheduler: it is tried again")],
        )],
        _ => {
            let all: Vec<&str> = held.iter().map(|(_, _, said)| *said).collect();
            causes(pod, &all, rooms)
        }
    };
    let whys: Vec<&str> = causes.iter().map(|(why, _)| why.as_str()).collect();
    let mut finding = Finding::new(Reason::Unschedulable, what, whys.join("; ")).said(without_preemption(said));
    for (who, remedy) in causes.iter().flat_map(|(_, remedies)| remedies) {
        if !finding.to_do.iter().any(|(_, there)| there == remedy) {
            finding = finding.can(*who, remedy.as_str());
        }
    }
    Some(finding)
}

/// Why a pod has no node yet: the word and the words.
fn held_back(pod: &Pod) -> Option<(&Pod, &str, &str)> {
    let scheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "False")?;
    let reason = scheduled.reason.as_deref()?;
    let is_held = matches!(reason, "Unschedulable" | "SchedulingGated" | "SchedulerError");
    is_held.then(|| (pod, reason, scheduled.message.as_deref().unwrap_or_default()))
}

fn cause(why: impl Into<String>, remedies: &[(Who, &str)]) -> Cause {
    (why.into(), remedies.iter().map(|(who, what)| (*who, (*what).to_owned())).collect())
}

/// Every cause that the scheduler's messages name, of all nodes; `pod` is one of those that wait.
fn causes(pod: &Pod, messages: &[&str], rooms: &[Room]) -> Vec<Cause> {
    let messages: Vec<&str> = messages.iter().map(|message| without_preemption(message)).collect();
    let says = |words: &[&str]| messages.iter().any(|message| words.iter().any(|word| message.contains(word)));
    let lacking: BTreeSet<&str> = messages.iter().flat_map(|message| insufficient(message)).collect();
    let mut causes = Vec::new();
    if !lacking.is_empty() {
        causes.push(no_room(pod, &lacking, rooms));
    }
    if says(&["Too many pods"]) {
        causes.push(cause(
            "a node holds as many pods as it may",
            &[(Who::You, "wait until other pods end"), (Who::Cluster, "add nodes")],
        ));
    }
    if says(&["untolerated taint"]) {
        causes.push(tainted(&messages, rooms));
    }
    if says(&["were unschedulable"]) {
        causes.push(cause(
            "a node is closed to new pods (cordoned), as for maintenance",
            &[(Who::Cluster, "open it again (kubectl uncordon), or add nodes")],
        ));
    }
    if says(&["node affinity/selector", "Pod's node affinity", "node selector"]) {
        causes.push(labels(pod));
    }
    if says(&["anti-affinity"]) {
        causes.push(cause(
            "the affinity rules keep it away from pods that are on the nodes already",
            &[(Who::You, "correct pod.affinity.podAntiAffinity, or lower parallelism")],
        ));
    }
    if says(&["pod affinity rules"]) {
        causes.push(cause(
            "the pods that its affinity wants to be with are on no node",
            &[(Who::You, "correct pod.affinity.podAffinity, or start those pods")],
        ));
    }
    if says(&["topology spread constraints"]) {
        causes.push(cause(
            "it would stand too near to the other pods of its kind, by its rules of how to spread",
            &[(Who::You, "correct topologySpreadConstraints in pod.overlay, or lower parallelism")],
        ));
    }
    if says(&["persistentvolumeclaim"]) && says(&["not found"]) {
        causes.push(cause(
            "a PersistentVolumeClaim that pod.volumes names is not there",
            &[(Who::You, "create it, or correct pod.volumes")],
        ));
    }
    if says(&["unbound immediate PersistentVolumeClaims", "didn't find available persistent volumes"]) {
        causes.push(cause(
            "a PersistentVolumeClaim that pod.volumes names has got no disk yet",
            &[(Who::You, "correct its size or its storage class"), (Who::Cluster, "provide the disk")],
        ));
    }
    if says(&["volume node affinity conflict", "PersistentVolume's node affinity"]) {
        causes.push(cause(
            "its disk is tied to a node, or to a zone, on which it may not run",
            &[(Who::You, "correct pod.nodeSelector, or use a disk that all nodes reach")],
        ));
    }
    if says(&["cannot allocate all claims", "resourceclaim"]) {
        causes.push(cause(
            "no node has the devices that pod.resourceClaims asks for",
            &[
                (Who::You, "correct pod.resourceClaims, or wait until they are free"),
                (Who::Cluster, "add nodes with such devices"),
            ],
        ));
    }
    if says(&["no nodes available"]) {
        causes.push(cause("the cluster has no node", &[(Who::Cluster, "add nodes")]));
    }
    if causes.is_empty() {
        causes.push(cause(
            "the scheduler, which gives pods their nodes, finds none",
            &[(Who::Cluster, "see the scheduler's words")],
        ));
    }
    causes
}

/// The scheduler's message without its end, which says which pods might be put out to make room: no cause.
fn without_preemption(message: &str) -> &str {
    let cause = message.split(" preemption:").next().unwrap_or_default();
    cause.strip_suffix(" no new claims to deallocate,").unwrap_or(cause)
}

/// The resources that the scheduler's message calls insufficient.
fn insufficient(message: &str) -> impl Iterator<Item = &str> {
    let names =
        message.split("Insufficient ").skip(1).map(|rest| rest.split([',', ' ', '\n']).next().unwrap_or_default());
    names.map(|name| name.trim_end_matches('.')).filter(|name| !name.is_empty())
}

fn no_room(pod: &Pod, lacking: &BTreeSet<&str>, rooms: &[Room]) -> Cause {
    let names: Vec<&str> = lacking.iter().copied().collect();
    let compared: Vec<String> = names.iter().filter_map(|resource| compared(pod, resource, rooms)).collect();
    let compared = if compared.is_empty() { String::new() } else { format!(" ({})", compared.join("; ")) };
    let why = format!("no node has enough {} left{compared}", names.join(" and "));
    cause(
        why,
        &[
            (Who::You, "wait until it is free, or lower container.resources or parallelism"),
            (Who::Cluster, "add nodes"),
        ],
    )
}

fn tainted(messages: &[&str], rooms: &[Room]) -> Cause {
    // Until 1.36 the scheduler names the taints; since then nobody does but the nodes.
    let braced = messages.iter().flat_map(|message| message.split("untolerated taint").skip(1));
    let mut named: BTreeSet<String> = braced
        .filter_map(|rest| Some(rest.trim_start_matches("(s)").trim_start().strip_prefix('{')?.split_once('}')?.0))
        .map(|taint| taint.trim().trim_end_matches(':').to_owned())
        .collect();
    if named.is_empty() {
        named.extend(rooms.iter().flat_map(|room| room.taints.iter().map(|taint| format!("{taint} on {}", room.node))));
    }
    let named: Vec<String> = named.into_iter().take(4).collect();
    let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
    cause(
        format!("a node has a taint that it does not tolerate{named}"),
        &[
            (Who::You, "add the taint to pod.tolerations, if it may use that node"),
            (Who::Cluster, "take the taint away, or add nodes"),
        ],
    )
}

/// Kubernetes' labels for what a node is.
const PLATFORM: [&str; 2] = ["kubernetes.io/arch", "kubernetes.io/os"];

/// The labels that it asks for: what the Pipeline says of them, and what its image needs.
fn labels(pod: &Pod) -> Cause {
    let spec = pod.spec.clone().unwrap_or_default();
    let selector = spec.node_selector.unwrap_or_default();
    let asked: Vec<String> = selector
        .iter()
        .filter(|(label, _)| !PLATFORM.contains(&label.as_str()))
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    let has_affinity = spec.affinity.is_some_and(|affinity| affinity.node_affinity.is_some());
    let processor = selector.get(PLATFORM[0]).map(String::as_str);
    let whose = processor.map_or_else(String::new, |name| format!(" with a processor of kind {name}"));
    match (asked.is_empty(), has_affinity, processor) {
        (true, false, Some(processor)) => cause(
            format!("no node fits whose processor is of kind {processor}, for which the image is built"),
            &[
                (Who::You, "push the image for the nodes' processors too"),
                (Who::Cluster, "add nodes with such processors"),
            ],
        ),
        (true, false, None) => cause("no node fits that runs Linux", &[(Who::Cluster, "add a node")]),
        (is_empty, true, _) => {
            let also = if is_empty { String::new() } else { format!(" and pod.nodeSelector ({})", asked.join(", ")) };
            cause(format!("no node{whose} has the labels that pod.affinity.nodeAffinity{also} asks for"), &LABELS)
        }
        (false, false, _) => cause(
            format!("no node{whose} has the labels that pod.nodeSelector asks for: {}", asked.join(", ")),
            &LABELS,
        ),
    }
}

const LABELS: [(Who, &str); 2] = [
    (Who::You, "correct pod.nodeSelector or pod.affinity"),
    (Who::Cluster, "give a node those labels (kubectl label node)"),
];
