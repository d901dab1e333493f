//! Containers that can't be made or started, and volumes that can't be mounted for them.

use k8s_openapi::api::core::v1::{Event, Pod};
use varve_api::conditions::Reason;
use varve_api::pod;

use super::finding::{Finding, Who};
use super::newest;
use super::pods::{could_not_start, name, phase, shown, terminated, waiting};

/// A container that can't be made or started.
pub(super) fn cannot_start(pods: &[&Pod]) -> Option<Finding> {
    let held = waiting(pods).find_map(|(container, state)| {
        let reason = state.reason.as_deref()?;
        let is_error = matches!(
            reason,
            "CreateContainerConfigError"
                | "CreateContainerError"
                | "RunContainerError"
                | "PreCreateHookError"
                | "PreStartHookError"
                | "PostStartHookError"
        );
        is_error.then(|| (container.name.as_str(), state.message.as_deref().unwrap_or(reason)))
    });
    let ended = || {
        let (_, container, state) = terminated(pods).find(|(_, _, state)| could_not_start(state))?;
        Some((container, state.message.as_deref().unwrap_or_default()))
    };
    let (container, said) = held.or_else(ended)?;
    let what = format!("{} can't start", shown(container));
    let finding = |why: &str| Finding::new(Reason::PodsCannotStart, what.as_str(), why).said(said);
    if container != pod::USER {
        let report = "look at what Kubernetes says, and report it if it is no fault of the cluster's";
        return Some(finding("").can(Who::Installer, report));
    }
    Some(start_cause(said, finding))
}

fn start_cause(said: &str, finding: impl Fn(&str) -> Finding) -> Finding {
    let lower = said.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let is_missing = says(&["not found"]);
    if says(&["image will run as root", "runs as root", "container's runasuser breaks non-root policy"]) {
        let why = "it would run as root, the user who may do everything, and the pod forbids that";
        let remedy = "name another user in container.securityContext.runAsUser, or in the image; or set it to 0, which asks \
                      for root, if the namespace allows that";
        finding(why).can(Who::You, remedy).hopeless(true)
    } else if says(&["non-numeric user", "cannot verify user is non-root"]) {
        let why = "its image names its user by a word, so nobody can tell beforehand that it is not root";
        let remedy = "set container.securityContext.runAsUser to that user's number, or name the number in the image";
        finding(why).can(Who::You, remedy).hopeless(true)
    } else if says(&["couldn't find key"]) {
        let object = if lower.contains("configmap") { "ConfigMap" } else { "Secret" };
        let why = format!("the {object} that container.env names lacks a key");
        finding(&why).can(Who::You, format!("add the key to the {object}, or correct container.env"))
    } else if says(&["secret"]) && is_missing {
        finding("a Secret that container.env names is not there")
            .can(Who::You, "create the Secret, or correct container.env")
    } else if says(&["configmap"]) && is_missing {
        finding("a ConfigMap that container.env names is not there")
            .can(Who::You, "create the ConfigMap, or correct container.env")
    } else if says(&["exec format error"]) {
        finding("its image is for another kind of processor than the node's")
            .can(Who::You, "push the image for that processor too, or choose other nodes with pod.nodeSelector")
            .hopeless(true)
    } else if says(&["chdir to cwd", "working directory", "container init: mkdir"]) {
        finding("its working directory can't be entered")
            .can(Who::You, "correct container.workingDir, or the image")
            .hopeless(true)
    } else if says(&["read-only file system", "mkdirat", "mountpoint"]) {
        finding("a place at which something is to be mounted can't be made in its image")
            .can(Who::You, "correct container.volumeMounts, or make the folders in the image")
    } else if says(&["runtime handler", "runtimeclass"]) {
        finding("the node lacks the way of running it that pod.runtimeClassName names, a RuntimeClass")
            .can(Who::You, "correct pod.runtimeClassName")
            .can(Who::Cluster, "set it up on the nodes")
    } else if says(&["failed to reserve container name", "context deadline exceeded"]) {
        finding("the node is too slow to make it in time").can(Who::Cluster, "look at the node")
    } else {
        finding("").can(Who::You, "correct the Pipeline's container")
    }
}

/// The container that lays out the pod's folders and has failed.
pub(super) fn install_failed(pods: &[&Pod]) -> Option<Finding> {
    let (pod, _, state) =
        terminated(pods).find(|(_, container, state)| *container == pod::INSTALL && state.exit_code != 0)?;
    let what = format!("Varve's own container {} of pod {} failed before the work began", pod::INSTALL, name(pod));
    let why = match state.reason.as_deref() {
        Some("OOMKilled") => "it ran out of memory".to_owned(),
        _ => format!("it exited with {}", state.exit_code),
    };
    let said = super::ended::last_words(state);
    Some(
        Finding::new(Reason::PodsCannotStart, what, why)
            .can(Who::Installer, "look at the node's disk, and report it if there is room: it is tried again")
            .said(&said),
    )
}

/// What the events say that keep a pod from being set up on its node.
const SET_UP: [&str; 6] = [
    "FailedMount",
    "FailedAttachVolume",
    "FailedMapVolume",
    "FailedCreatePodSandBox",
    "FailedPrepareDynamicResources",
    "NetworkNotReady",
];

/// A pod that has a node, which can't set it up.
pub(super) fn not_set_up(pods: &[&Pod], events: &[Event]) -> Option<Finding> {
    let is_pending = |who: &str| pods.iter().any(|pod| name(pod) == who && phase(pod) == "Pending");
    let failed = events.iter().filter(|event| {
        event.reason.as_deref().is_some_and(|reason| SET_UP.contains(&reason))
            && event.involved_object.name.as_deref().is_some_and(is_pending)
    });
    let event = newest(failed)?;
    let said = event.message.as_deref().unwrap_or_default();
    let finding = |what: &str, why: &str| Finding::new(Reason::PodsCannotStart, what, why).said(said);
    Some(match event.reason.as_deref().unwrap_or_default() {
        "FailedCreatePodSandBox" => {
            finding("a pod can't be set up on its node", "the node can't give it a network or a place of its own")
                .can(Who::Cluster, "look at the node's network and at its container runtime: it is tried again")
        }
        "NetworkNotReady" => finding("a pod can't be set up on its node", "the node's network is not ready")
            .can(Who::Cluster, "look at the node's network: it is tried again"),
        "FailedPrepareDynamicResources" => {
            finding("a pod can't be set up on its node", "a device of pod.resourceClaims can't be made ready there")
                .can(Who::Cluster, "look at the driver of the device on that node")
                .can(Who::You, "correct pod.resourceClaims")
        }
        _ => volume(said, finding),
    })
}

fn volume(said: &str, finding: impl Fn(&str, &str) -> Finding) -> Finding {
    const WHAT: &str = "a volume can't be mounted";
    let lower = said.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let is_ours = says(&["for volume \"varve-store\""]);
    let is_missing = says(&["not found"]);
    if is_ours && is_missing {
        finding(WHAT, "the Secret that names the store is not there")
            .can(Who::You, "create the Secret again: the Repo's spec.storeRef names it")
    } else if says(&["references non-existent secret key", "references non-existent config key"]) {
        let object = if says(&["config key"]) { "ConfigMap" } else { "Secret" };
        finding(WHAT, &format!("the {object} lacks a key that pod.volumes names"))
            .can(Who::You, format!("add the key to the {object}, or correct pod.volumes"))
    } else if says(&["configmap"]) && is_missing {
        finding(WHAT, "a ConfigMap that pod.volumes names is not there")
            .can(Who::You, "create the ConfigMap, or correct pod.volumes")
    } else if says(&["secret"]) && is_missing {
        finding(WHAT, "a Secret that pod.volumes names is not there")
            .can(Who::You, "create the Secret, or correct pod.volumes")
    } else if says(&["multi-attach"]) {
        finding(WHAT, "another node has the disk, and only one at a time may")
            .can(Who::You, "wait until the other pod is gone, or choose a disk that many nodes may mount")
    } else if says(&["hostpath type check failed"]) {
        finding(WHAT, "what pod.volumes names is not there on the node")
            .can(Who::You, "correct pod.volumes")
            .can(Who::Cluster, "put it on the node")
    } else if says(&["exit status 32", "nfs", "no such host", "connection", "timed out", "timeout"]) {
        finding(WHAT, "the node does not get it from the server that holds it")
            .can(Who::You, "correct the server and the path in pod.volumes")
            .can(Who::Cluster, "look at the server, and the way from the node to it")
    } else if says(&["driver name", "not found in the list of registered csi drivers"]) {
        finding(WHAT, "the node lacks the driver for it").can(Who::Cluster, "install the driver on the node")
    } else {
        finding(WHAT, "").can(Who::You, "create what Kubernetes names, or correct pod.volumes")
    }
}
