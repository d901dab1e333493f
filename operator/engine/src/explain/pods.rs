//! What is told apart in pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodCondition,
};
use varve_api::{exit_codes, pod};

/// Kubernetes' annotation with a pod's index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub(super) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(super) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Of each index the newest pod: what those before it met is over. Pods of no index all count as of one.
pub(super) fn newest_of_each<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Vec<&'a Pod> {
    let age = |pod: &Pod| pod.metadata.creation_timestamp.clone();
    let mut newest: BTreeMap<Option<&str>, &Pod> = BTreeMap::new();
    let mut lasting = Vec::new();
    for pod in pods {
        let index = pod.metadata.annotations.as_ref().and_then(|all| all.get(INDEX)).map(String::as_str);
        if index.is_none() && !has_ended(pod) {
            lasting.push(pod);
            continue;
        }
        let before = newest.entry(index).or_insert(pod);
        if age(before) <= age(pod) {
            *before = pod;
        }
    }
    if !lasting.is_empty() {
        newest.remove(&None); // another has taken its place
    }
    lasting.extend(newest.into_values());
    lasting.sort_by_key(|pod| name(pod));
    lasting
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    })
}

/// The containers that wait for something, and for what.
pub(super) fn waiting<'a>(pods: &'a [&Pod]) -> impl Iterator<Item = (&'a ContainerStatus, &'a ContainerStateWaiting)> {
    let containers = pods.iter().flat_map(|pod| statuses(pod));
    containers.filter_map(|container| Some((container, container.state.as_ref()?.waiting.as_ref()?)))
}

/// The containers that have ended, and how.
pub(super) fn terminated<'a>(
    pods: &'a [&Pod],
) -> impl Iterator<Item = (&'a Pod, &'a str, &'a ContainerStateTerminated)> {
    pods.iter().flat_map(|pod| {
        statuses(pod).filter_map(|container| {
            let state = container.state.as_ref()?.terminated.as_ref()?;
            Some((*pod, container.name.as_str(), state))
        })
    })
}

/// How the containers ended that do not run, those that are about to be started again among them.
pub(super) fn last_ends<'a>(
    pods: &'a [&Pod],
) -> impl Iterator<Item = (&'a Pod, &'a str, &'a ContainerStateTerminated)> {
    pods.iter().flat_map(|pod| {
        statuses(pod).filter_map(|container| {
            let state = container.state.as_ref().filter(|state| state.running.is_none())?;
            let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            // A shim that was started again and found no keeper any more ended for what came before.
            let own = state.terminated.as_ref();
            let own = own.filter(|own| before.is_none() || own.exit_code != exit_codes::SHIM_LOST_KEEPER);
            Some((*pod, container.name.as_str(), own.or(before)?))
        })
    })
}

/// Whether the user's container will be started again in its pod: by rules of its own, while its keeper waits for it.
pub(super) fn starts_again(pod: &Pod) -> bool {
    let has_rules = container(pod, pod::USER).is_some_and(|user| user.restart_policy.is_some());
    has_rules && !has_ended(pod) && !terminated(&[pod]).any(|(_, container, _)| container == pod::KEEPER)
}

/// The pod's condition of this type.
pub(super) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// The container of this name, as it was asked for.
pub(super) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.into_iter().find(|container| container.name == name)
}

/// Whether a container has ended without having been started.
pub(super) fn could_not_start(state: &ContainerStateTerminated) -> bool {
    matches!(state.reason.as_deref(), Some("StartError" | "ContainerCannotRun"))
}

/// Whether a pod is at work: it runs, and none of its containers could not be started.
pub fn is_at_work(pod: &Pod) -> bool {
    phase(pod) == "Running" && !terminated(&[pod]).any(|(_, _, state)| could_not_start(state))
}

/// What a container is called in messages.
pub(super) fn shown(container: &str) -> String {
    match container {
        pod::USER => "the Pipeline's container".into(),
        pod::KEEPER | pod::INSTALL | pod::IMPORT => format!("Varve's own container {container}"),
        other => format!("container {other}"),
    }
}
