//! What pods say of themselves.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod};
use varve_api::conditions::Reason;
use varve_api::{exit_codes, pod};

use super::{Finding, quote};

pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    })
}

fn waiting<'a>(pods: &'a [&Pod]) -> impl Iterator<Item = (&'a ContainerStatus, &'a ContainerStateWaiting)> {
    let containers = pods.iter().flat_map(|pod| containers(pod));
    containers.filter_map(|container| Some((container, container.state.as_ref()?.waiting.as_ref()?)))
}

fn terminated<'a>(pods: &'a [&Pod]) -> impl Iterator<Item = (&'a Pod, &'a str, &'a ContainerStateTerminated)> {
    pods.iter().flat_map(|pod| {
        containers(pod).filter_map(|container| {
            let state = container.state.as_ref()?.terminated.as_ref()?;
            Some((*pod, container.name.as_str(), state))
        })
    })
}

/// A keeper, or an import, that says that its work can never be done.
pub(super) fn cannot_proceed(pods: &[&Pod]) -> Option<Finding> {
    let worst = terminated(pods)
        .filter(|(_, name, _)| matches!(*name, pod::KEEPER | pod::IMPORT))
        .filter(|(_, _, state)| {
            matches!(state.exit_code, exit_codes::SHARD_CANNOT_PROCEED | exit_codes::JOB_CANNOT_PROCEED)
        })
        .max_by_key(|(_, _, state)| state.exit_code)?;
    let (pod, name, state) = worst;
    let said = last_words(state);
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let reason = if name == pod::IMPORT { Reason::ImportFailed } else { Reason::ShardFailed };
    let message = format!("{said} (said by container {name} of pod {pod_name})");
    Some(Finding { reason, message, is_hopeless: true })
}

/// A keeper or import that ended with work left and said why: the store or a server doesn't answer, for example.
pub(super) fn in_trouble(pods: &[&Pod]) -> Option<Finding> {
    let newest = terminated(pods)
        .filter(|(_, name, state)| matches!(*name, pod::KEEPER | pod::IMPORT) && state.exit_code != 0)
        .filter(|(_, _, state)| state.message.as_deref().is_some_and(|message| !message.is_empty()))
        .max_by_key(|(_, _, state)| state.finished_at.clone())?;
    let (pod, name, state) = newest;
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let reason = if name == pod::IMPORT { Reason::ImportFailed } else { Reason::ShardFailed };
    let message = format!("{} (said by container {name} of pod {pod_name}; it is tried again)", last_words(state));
    Some(Finding { reason, message, is_hopeless: false })
}

/// What one of our programs said as it ended: JSON with a `message`, or the text as it stands.
fn last_words(state: &ContainerStateTerminated) -> String {
    let text = state.message.as_deref().unwrap_or_default();
    let message = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|said| said.get("message").and_then(serde_json::Value::as_str).map(quote));
    match message.unwrap_or_else(|| quote(text)) {
        said if said.is_empty() => format!("it exited with {} and left no message", state.exit_code),
        said => said,
    }
}

/// An image that can't be pulled.
pub(super) fn image(pods: &[&Pod]) -> Option<Finding> {
    let pulls = waiting(pods).filter(|(_, state)| {
        matches!(
            state.reason.as_deref(),
            Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError")
        )
    });
    // The first failure has the registry's words, the back-off after it only says that it waits.
    let (container, state) = pulls.min_by_key(|(_, state)| state.reason.as_deref() == Some("ImagePullBackOff"))?;
    let said = quote(state.message.as_deref().unwrap_or_default());
    let image = &container.image;
    let lower = said.to_lowercase();
    let is_invalid = state.reason.as_deref() == Some("InvalidImageName");
    let what_to_do = if container.name != pod::USER {
        "this is Varve's own image: the operator's --image must name one that every node can pull"
    } else if is_invalid {
        "correct container.image"
    } else if ["unauthorized", "authentication", "denied", "403", "401"].iter().any(|word| lower.contains(word)) {
        "name a Secret with the registry's credentials in pod.imagePullSecrets"
    } else if ["not found", "manifest unknown", "404"].iter().any(|word| lower.contains(word)) {
        "push the image, or correct container.image"
    } else {
        "check container.image, and that the nodes can reach its registry"
    };
    let message = format!("image {image} can't be pulled: {said} ({what_to_do})");
    Some(Finding { reason: Reason::ImagePullFailed, message, is_hopeless: is_invalid })
}

/// A container that can't be made or started.
pub(super) fn cannot_start(pods: &[&Pod]) -> Option<Finding> {
    let held = waiting(pods).find_map(|(container, state)| {
        let reason = state.reason.as_deref()?;
        let is_error = matches!(reason, "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError");
        is_error.then(|| (container.name.as_str(), quote(state.message.as_deref().unwrap_or(reason))))
    });
    let ended = || {
        terminated(pods).find_map(|(_, name, state)| {
            let is_start = matches!(state.reason.as_deref(), Some("StartError" | "ContainerCannotRun"));
            is_start.then(|| (name, quote(state.message.as_deref().unwrap_or_default())))
        })
    };
    let (container, said) = held.or_else(ended)?;
    let what_to_do = if said.contains("secret") && said.contains("not found") {
        "create the Secret, or correct container.env"
    } else if said.contains("configmap") && said.contains("not found") {
        "create the ConfigMap, or correct container.env"
    } else if said.contains("couldn't find key") {
        "add the key, or correct container.env"
    } else {
        "correct the Pipeline's container"
    };
    let message = format!("container {container} can't start: {said} ({what_to_do})");
    Some(Finding { reason: Reason::PodsCannotStart, message, is_hopeless: false })
}

/// Pods that find no node.
pub(super) fn unschedulable(pods: &[&Pod]) -> Option<Finding> {
    let messages: Vec<&str> =
        pods.iter().filter(|pod| phase(pod) == "Pending").filter_map(|pod| scheduler(pod)).collect();
    let said = quote(messages.first()?);
    let lacking: BTreeSet<&str> = messages.iter().flat_map(|message| insufficient(message)).collect();
    let lacking: Vec<&str> = lacking.into_iter().collect();
    let (why, what_to_do) = if !lacking.is_empty() {
        let why = format!("no node has enough {} left", lacking.join(" and "));
        (why, "they start as soon as it is free; else add nodes, or lower container.resources or parallelism")
    } else if said.contains("untolerated taint") {
        ("every node has a taint that they do not tolerate".to_owned(), "add pod.tolerations, or free a node")
    } else if said.contains("node affinity") || said.contains("node selector") {
        (
            "no node has the labels that pod.nodeSelector or pod.affinity ask for".to_owned(),
            "correct them, or label a node",
        )
    } else if said.contains("persistentvolumeclaim") || said.contains("PersistentVolumeClaim") {
        ("a claim of pod.volumes is not there or not bound".to_owned(), "create it, or correct pod.volumes")
    } else {
        ("the scheduler finds no node for them".to_owned(), "see its words")
    };
    let running = pods.iter().filter(|pod| phase(pod) == "Running").count();
    let wait = if messages.len() == 1 { "1 pod waits".to_owned() } else { format!("{} pods wait", messages.len()) };
    let message = format!("{wait} for a node, {running} run: {why} ({what_to_do}). The scheduler says: {said}");
    Some(Finding { reason: Reason::Unschedulable, message, is_hopeless: false })
}

/// What the scheduler says of a pod that it can't place.
fn scheduler(pod: &Pod) -> Option<&str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    let is_held = scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable");
    if is_held { scheduled.message.as_deref() } else { None }
}

/// The resources that the scheduler's message calls insufficient.
fn insufficient(message: &str) -> impl Iterator<Item = &str> {
    let names =
        message.split("Insufficient ").skip(1).map(|rest| rest.split([',', ' ', '\n']).next().unwrap_or_default());
    names.map(|name| name.trim_end_matches('.')).filter(|name| !name.is_empty())
}

/// A container that the kernel killed for its memory.
pub(super) fn out_of_memory(pods: &[&Pod]) -> Option<Finding> {
    let (pod, name, _) = terminated(pods).find(|(_, _, state)| state.reason.as_deref() == Some("OOMKilled"))?;
    let limit = pod.spec.as_ref().and_then(|spec| {
        let container = spec.containers.iter().find(|container| container.name == name)?;
        container.resources.as_ref()?.limits.as_ref()?.get("memory").map(|limit| limit.0.clone())
    });
    let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    let what_to_do = if name == pod::USER {
        "raise container.resources.limits.memory, or let each datum need less"
    } else {
        "this is a fault of Varve's: please report it"
    };
    let message = format!("container {name} ran out of its memory{limit} ({what_to_do})");
    Some(Finding { reason: Reason::ShardFailed, message, is_hopeless: false })
}

/// Pods that the cluster took away; others take their place.
pub(super) fn taken_away(pods: &[&Pod]) -> Option<Finding> {
    let taken = pods.iter().find_map(|pod| {
        let status = pod.status.as_ref()?;
        let disrupted =
            status.conditions.iter().flatten().find(|c| c.type_ == "DisruptionTarget" && c.status == "True");
        let said = disrupted.and_then(|condition| condition.message.as_deref()).or(status.message.as_deref());
        let is_taken = disrupted.is_some() || status.reason.as_deref() == Some("Evicted");
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        is_taken.then(|| (name, quote(said.unwrap_or("no reason given"))))
    })?;
    let (name, said) = taken;
    let message =
        format!("the cluster took pod {name} away: {said}. Another takes its place, and what is done stays done");
    Some(Finding { reason: Reason::Running, message, is_hopeless: false })
}
