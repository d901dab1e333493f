//! Pods that ended otherwise than well: what our own programs said, memory, what the cluster took away.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use varve_api::conditions::Reason;
use varve_api::{exit_codes, pod};

use super::finding::{Finding, Who, quote};
use super::pods::{condition, container, last_ends, name, phase, shown, starts_again, terminated};

fn reason_of(container: &str) -> Reason {
    if container == pod::IMPORT { Reason::ImportFailed } else { Reason::ShardFailed }
}

/// Our own programs' words, as they left them: they say themselves what is to be done.
fn in_our_words(words: &(&Pod, &str, &ContainerStateTerminated), goes_on: &str) -> Finding {
    let (pod, container, state) = *words;
    let what = format!("{} (said by {} in pod {})", last_words(state), shown(container), name(pod));
    Finding::new(reason_of(container), what, goes_on)
}

/// A keeper, or an import, that says that its work can never be done.
pub(super) fn cannot_proceed(pods: &[&Pod]) -> Option<Finding> {
    let worst = terminated(pods)
        .filter(|(_, name, _)| matches!(*name, pod::KEEPER | pod::IMPORT))
        .filter(|(_, _, state)| {
            matches!(state.exit_code, exit_codes::SHARD_CANNOT_PROCEED | exit_codes::JOB_CANNOT_PROCEED)
        })
        .max_by_key(|(_, _, state)| state.exit_code)?;
    let finding = in_our_words(&worst, "").hopeless(true);
    let remedy = "change what it names; then a new Commit, or a change of the Pipeline, tries again";
    Some(if worst.1 == pod::IMPORT {
        finding.can(Who::You, "correct what it names")
    } else {
        finding.can(Who::You, remedy)
    })
}

/// A keeper or import that ended with work left and said why: the store or a server doesn't answer, for example.
pub(super) fn in_trouble(pods: &[&Pod]) -> Option<Finding> {
    let newest = terminated(pods)
        .filter(|(_, name, state)| matches!(*name, pod::KEEPER | pod::IMPORT) && state.exit_code != 0)
        .filter(|(_, _, state)| state.message.as_deref().is_some_and(|message| !message.is_empty()))
        .max_by_key(|(_, _, state)| state.finished_at.clone())?;
    Some(in_our_words(&newest, "it is tried again").can(Who::You, "see to what it names, if it does not pass"))
}

/// What one of our programs said as it ended: JSON with a `message`, or the text as it stands.
pub(super) fn last_words(state: &ContainerStateTerminated) -> String {
    let text = state.message.as_deref().unwrap_or_default();
    let message = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|said| said.get("message").and_then(serde_json::Value::as_str).map(quote));
    match message.unwrap_or_else(|| quote(text)) {
        said if said.is_empty() => format!("it exited with {} and left no message", state.exit_code),
        said => said,
    }
}

/// A shim that waited for its keeper in vain, or lost it, where the keeper has nothing to say.
pub(super) fn lost_keeper(pods: &[&Pod]) -> Option<Finding> {
    let (pod, _, _) = terminated(pods)
        .find(|(_, container, state)| *container == pod::USER && state.exit_code == exit_codes::SHIM_LOST_KEEPER)?;
    let what = format!("pod {} ended before its work was done", name(pod));
    let why = "Varve's own container keeper beside the program was never there, or went away without a word; another pod \
               takes up what is left";
    let remedy = "look at the node, and report it if it comes again";
    Some(Finding::new(Reason::ShardFailed, what, why).can(Who::Installer, remedy))
}

const LESS_MEMORY: &str = "raise container.resources.limits.memory, or let each datum need less";

/// A container that the kernel killed for its memory, and its pod with it.
pub(super) fn out_of_memory(pods: &[&Pod]) -> Option<Finding> {
    let (who, what) = killed_for_memory(pods, false)?;
    let finding = Finding::new(reason_of(who), what, "the node's kernel killed it; another pod takes up what is left");
    Some(if who == pod::USER {
        finding.can(Who::You, LESS_MEMORY)
    } else {
        finding.can(Who::Installer, "report it: this is a fault of Varve's")
    })
}

/// The user's container, killed for its memory, that is about to run again where it was.
pub(super) fn started_again(pods: &[&Pod]) -> Option<Finding> {
    let (_, what) = killed_for_memory(pods, true)?;
    let why = "the node's kernel killed it; it is to be started again in its pod, keeps its devices, and takes up what is left";
    Some(Finding::new(Reason::Running, what, why).can(Who::You, LESS_MEMORY))
}

/// The first that the kernel killed of the containers that are started again in their pods, or of the others; and what
/// happened to it.
fn killed_for_memory<'a>(pods: &'a [&Pod], is_started_again: bool) -> Option<(&'a str, String)> {
    let (pod, who, _) = last_ends(pods)
        .filter(|(_, _, state)| state.reason.as_deref() == Some("OOMKilled"))
        .find(|(pod, who, _)| (*who == pod::USER && starts_again(pod)) == is_started_again)?;
    let limits = container(pod, who).and_then(|container| container.resources.as_ref()?.limits.as_ref());
    let limit = limits.and_then(|limits| limits.get("memory")).map(|limit| format!(" of {}", limit.0));
    Some((who, format!("{} ran out of its memory{}", shown(who), limit.unwrap_or_default())))
}

/// Reasons for which a node's kubelet turns a pod away that the scheduler gave it; `OutOf…` besides.
const TURNED_AWAY: [&str; 7] = [
    "UnexpectedAdmissionError",
    "TopologyAffinityError",
    "NodeShutdown",
    "NodeAffinity",
    "PodFeatureUnsupported",
    "AdmissionError",
    "InvalidPodInfo",
];

/// A pod that its node turned away before it began.
pub(super) fn turned_away(pods: &[&Pod]) -> Option<Finding> {
    let (pod, reason) = pods.iter().find_map(|pod| {
        let reason = pod.status.as_ref()?.reason.as_deref()?;
        let is_so = reason.starts_with("OutOf") || TURNED_AWAY.contains(&reason);
        (is_so && phase(pod) == "Failed").then_some((*pod, reason))
    })?;
    let said = pod.status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or(reason);
    let what = format!("pod {} was turned away by its node", name(pod));
    let finding = |why: &str| Finding::new(Reason::PodsCannotStart, what.as_str(), why).said(said);
    Some(match reason {
        "NodeShutdown" => finding("the node is being shut down; another pod takes its place")
            .can(Who::Cluster, "wait until the node is back, or add nodes"),
        "TopologyAffinityError" => finding("the node can't give it processors and devices that lie near each other")
            .can(Who::You, "ask for less in container.resources")
            .can(Who::Cluster, "change the node's topology policy"),
        "UnexpectedAdmissionError" => finding("a device that it asks for was not to be had there after all")
            .can(Who::Cluster, "look at the device's plugin on that node: it is tried again"),
        "NodeAffinity" => finding("the node's labels have changed, and are not those that it asks for")
            .can(Who::You, "correct pod.nodeSelector or pod.affinity: it is tried again"),
        _ if reason.starts_with("OutOf") => {
            let resource = &reason["OutOf".len()..];
            finding(&format!("others took the {resource} there first; another pod takes its place"))
                .can(Who::You, "wait, or lower container.resources or parallelism")
                .can(Who::Cluster, "add nodes")
        }
        _ => finding("the node could not take it; another pod takes its place").can(Who::Cluster, "look at the node"),
    })
}

/// A pod that used more of the node's disk than it said it would.
pub(super) fn over_its_own_limit(pods: &[&Pod]) -> Option<Finding> {
    let (pod, said) = pods.iter().find_map(|pod| {
        let status = pod.status.as_ref().filter(|status| status.reason.as_deref() == Some("Evicted"))?;
        let said = status.message.as_deref()?;
        let is_own = ["local ephemeral storage limit", "Usage of EmptyDir volume", "ephemeral local storage usage"]
            .iter()
            .any(|words| said.contains(words));
        is_own.then_some((*pod, said))
    })?;
    let what = format!("pod {} used more of its node's disk than it may", name(pod));
    let (why, remedy) = if said.contains("EmptyDir") {
        let why = "what its datums read and write, or one of pod.volumes, grew past the limit of an emptyDir, a folder on \
                   the node's disk";
        (why, "raise that volume's sizeLimit, or let each datum read and write less")
    } else {
        let why =
            "its own limit, container.resources.limits.ephemeral-storage, counts what it writes outside of /pfs too";
        (why, "raise that limit, or let each datum write less")
    };
    Some(Finding::new(Reason::ShardFailed, what, why).can(Who::You, remedy).said(said))
}

/// Pods that the cluster took away; others take their place.
pub(super) fn taken_away(pods: &[&Pod]) -> Option<Finding> {
    let (pod, kind, said) = pods.iter().find_map(|pod| {
        let status = pod.status.as_ref()?;
        let disrupted = condition(pod, "DisruptionTarget").filter(|condition| condition.status == "True");
        let said = disrupted.and_then(|condition| condition.message.as_deref()).or(status.message.as_deref());
        let is_evicted = status.reason.as_deref() == Some("Evicted");
        let kind = disrupted.and_then(|condition| condition.reason.as_deref()).unwrap_or_default();
        (disrupted.is_some() || is_evicted).then(|| (*pod, kind, said.unwrap_or_default()))
    })?;
    let low = said.split_once("low on resource: ").map(|(_, rest)| rest.split(['.', ',']).next().unwrap_or_default());
    let why = match (low, kind) {
        (Some(resource), _) => format!("its node ran short of {resource}"),
        (_, "PreemptionByScheduler") => "one of a higher priority needed its place".to_owned(),
        (_, "DeletionByTaintManager") => "its node was given a taint that it does not tolerate".to_owned(),
        (_, "EvictionByEvictionAPI") => "it was asked to leave, as when a node is emptied for maintenance".to_owned(),
        (_, "DeletionByPodGC") => "its node is gone".to_owned(),
        (_, "TerminationByKubelet") => "its node is being shut down, or ran short of something".to_owned(),
        _ => "it did not say why".to_owned(),
    };
    let what = format!("the cluster took pod {} away", name(pod));
    let why = format!("{why}. Another takes its place, what is done stays done, and no try is used up");
    let finding = Finding::new(Reason::Running, what, why).said(said);
    Some(match low {
        Some("memory") => finding
            .can(Who::You, "ask in container.resources.requests.memory for what it really needs")
            .can(Who::Cluster, "add nodes"),
        Some(_) => finding
            .can(Who::You, "ask in container.resources.requests.ephemeral-storage for what it really needs")
            .can(Who::Cluster, "make room on the node's disk"),
        None => finding,
    })
}
