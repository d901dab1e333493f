//! Pods that are not made at all, because the API server refuses them: only events tell of that.

use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{Event, Pod};
use varve_api::conditions::Reason;

use super::finding::{Finding, Who};
use super::newest;
use super::pods::has_ended;

/// How many pods of a batch Job lack, that should be at work.
pub fn missing_pods<'a>(job: &BatchJob, pods: impl IntoIterator<Item = &'a Pod>) -> u32 {
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let spec = job.spec.clone().unwrap_or_default();
    if spec.suspend == Some(true) {
        return 0;
    }
    let status = job.status.clone().unwrap_or_default();
    let failed = status.failed_indexes.as_deref().map_or(0, count_indexes);
    let completions = number(spec.completions).unwrap_or(1);
    let left = completions.saturating_sub(number(status.succeeded).unwrap_or(0)).saturating_sub(failed);
    let wanted = left.min(number(spec.parallelism).unwrap_or(1));
    let live = pods.into_iter().filter(|pod| !has_ended(pod)).count();
    wanted.saturating_sub(u32::try_from(live).unwrap_or(u32::MAX))
}

/// Kubernetes' notation for indexes: `1,3-5,7`.
pub fn count_indexes(text: &str) -> u32 {
    let part = |part: &str| match part.split_once('-') {
        None => part.parse::<u32>().ok().map(|_| 1),
        Some((first, last)) => Some(last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)? + 1),
    };
    text.split(',').filter_map(part).sum()
}

/// Pods are missing, and the API server's last word was that it makes none.
pub(super) fn not_created(job: Option<&BatchJob>, pods: &[&Pod], events: &[Event]) -> Option<Finding> {
    let missing = job.map(|job| missing_pods(job, pods.iter().copied()));
    if missing == Some(0) {
        return None;
    }
    let refused = newest(events.iter().filter(|event| event.reason.as_deref() == Some("FailedCreate")))?;
    if pods.iter().any(|pod| is_younger(pod, refused)) {
        return None; // one has been made since
    }
    let live = pods.iter().filter(|pod| !has_ended(pod)).count();
    let what = match missing {
        Some(missing) if live > 0 => {
            let more = if missing == 1 { "1 more pod" } else { &format!("{missing} more pods") };
            format!("{more} can't be made, {live} at work")
        }
        _ => "no pod can be made".to_owned(),
    };
    let said = without_pod(refused.message.as_deref().unwrap_or_default());
    Some(cause(said, |why| Finding::new(Reason::PodsCannotStart, what.as_str(), why).said(said)))
}

fn is_younger(pod: &Pod, event: &Event) -> bool {
    let seen = event.last_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref());
    pod.metadata.creation_timestamp.as_ref() > seen
}

/// The words without the pod's name, which is another each time.
fn without_pod(said: &str) -> &str {
    let said = said.strip_prefix("Error creating: ").unwrap_or(said);
    let Some(rest) = said.strip_prefix("pods \"") else { return said };
    rest.split_once("\" ").map_or(said, |(_, rest)| rest.strip_prefix("is forbidden: ").unwrap_or(rest))
}

/// What stands between these two.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

const CORRECT: &str = "correct what it names in the Pipeline's container or pod";

fn cause(said: &str, finding: impl Fn(&str) -> Finding) -> Finding {
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let refused_by = |what: &str, name: Option<&str>| {
        finding(&format!("the {what} {} refuses them", name.unwrap_or("of the cluster")))
            .can(Who::You, CORRECT)
            .can(Who::Cluster, "tell what it wants, or make an exception")
    };
    if says(&["exceeded quota"]) {
        let name = between(said, "exceeded quota: ", ",").unwrap_or("of the namespace");
        finding(&format!("they would pass the quota {name}: {}", amounts(said)))
            .can(Who::You, "wait until other pods end, lower parallelism, or ask for less in container.resources")
            .can(Who::Namespace, "raise the quota")
    } else if says(&["failed quota"]) {
        let name = between(said, "failed quota: ", ":").unwrap_or("of the namespace");
        let lacking =
            between(said, "must specify ", " for:").or_else(|| said.split_once("must specify ").map(|it| it.1));
        let lacking = lacking.unwrap_or("what it asks for");
        finding(&format!("the quota {name} wants every container to say {lacking}"))
            .can(Who::You, "set it in container.resources")
            .can(Who::Namespace, "give containers that say nothing a default, by a LimitRange")
    } else if says(&["usage per Container", "usage per Pod", "limit to request ratio"]) {
        finding("they ask for more, or less, than a LimitRange of the namespace allows")
            .can(Who::You, "correct container.resources")
            .can(Who::Namespace, "change the LimitRange")
    } else if says(&["violates PodSecurity"]) {
        let level = between(said, "violates PodSecurity \"", ":").unwrap_or("of the namespace");
        finding(&format!("the namespace's Pod Security level {level} forbids something that they ask for"))
            .can(Who::You, "take what Kubernetes names out of the Pipeline's container or pod")
            .can(Who::Namespace, "allow it there")
    } else if says(&["failed calling webhook"]) {
        let name = between(said, "failed calling webhook \"", "\"").unwrap_or("of the cluster");
        finding(&format!("the admission webhook {name}, which must agree, does not answer"))
            .can(Who::Cluster, "bring it up again, or take it away: it is tried again")
    } else if says(&["admission webhook"]) {
        refused_by("admission webhook", between(said, "admission webhook \"", "\""))
    } else if says(&["ValidatingAdmissionPolicy"]) {
        refused_by("admission policy", between(said, "ValidatingAdmissionPolicy '", "'"))
    } else if says(&["serviceaccount"]) && says(&["not found"]) {
        finding("the ServiceAccount that they are to run under is not there")
            .can(Who::You, "create the ServiceAccount, or correct pod.serviceAccountName")
    } else if says(&["RuntimeClass"]) {
        finding("the RuntimeClass that pod.runtimeClassName names is not there")
            .can(Who::You, "correct pod.runtimeClassName")
            .can(Who::Cluster, "create the RuntimeClass")
    } else if says(&["no PriorityClass"]) {
        finding("the cluster does not know the priority that pod.priorityClassName names")
            .can(Who::You, "correct pod.priorityClassName")
    } else if says(&["unable to validate against any security context constraint"]) {
        finding("the cluster's rules about what pods may do (OpenShift's security context constraints) forbid them")
            .can(Who::You, "take what Kubernetes names out of the Pipeline's container or pod")
            .can(Who::Cluster, "allow it to the pods' ServiceAccount")
    } else {
        finding("Kubernetes refuses them").can(Who::You, CORRECT).can(Who::Cluster, "see why")
    }
}

/// `requested: …, used: …, limited: …` as a sentence.
fn amounts(said: &str) -> String {
    let part = |name: &str, until: &str| {
        let rest = said.split_once(name)?.1;
        Some(if until.is_empty() { rest } else { rest.split_once(until)?.0 }.trim_end_matches('.').replace('=', " "))
    };
    match (part("requested: ", ", used: "), part("used: ", ", limited: "), part("limited: ", "")) {
        (Some(asked), Some(used), Some(limit)) => {
            format!("a pod asks for {asked}, in use are {used}, allowed are {limit}")
        }
        _ => "it allows no more".to_owned(),
    }
}
