//! What pods, batch Jobs and events say → one sentence for people: what, why, what to do.
//!
//! Kubernetes' own words are kept where they name the thing (an image, a Secret, a resource), cut to a length, and
//! set into a sentence that says who can do what about it. Where several things are wrong the one that stands most in
//! the way is told: what can never get better before what may, and what keeps all pods before what keeps one.

mod datum;
mod pods;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{Event, Pod};
use varve_api::conditions::Reason;

pub use datum::{FailedDatum, failed_datums};

/// The most characters of Kubernetes' or a program's own words in one sentence.
const MAX_QUOTE: usize = 400;

/// Kubernetes' annotation with a pod's index.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Kubernetes' annotations with how many pods of the index failed before this one, counted and ignored ones.
const FAILURES: [&str; 2] =
    ["batch.kubernetes.io/job-index-failure-count", "batch.kubernetes.io/job-index-ignored-failure-count"];

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The word for conditions, Events and logs.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
    /// Whether no waiting helps: a fresh batch Job would meet the same.
    pub is_hopeless: bool,
}

/// What stands in the way of a batch Job, if anything does.
///
/// `events` are those about the batch Job and its pods; without them, only what makes pods impossible stays untold.
pub fn explain<'a>(
    job: Option<&BatchJob>,
    pods: impl IntoIterator<Item = &'a Pod>,
    events: impl IntoIterator<Item = &'a Event>,
) -> Option<Finding> {
    let pods: Vec<&Pod> = pods.into_iter().collect();
    let events: Vec<&Event> = events.into_iter().collect();
    pods::cannot_proceed(&pods)
        .or_else(|| job.and_then(failed_job))
        .or_else(|| pods::image(&pods))
        .or_else(|| pods::cannot_start(&pods))
        .or_else(|| not_created(&pods, &events))
        .or_else(|| not_mounted(&pods, &events))
        .or_else(|| pods::unschedulable(&pods))
        .or_else(|| pods::out_of_memory(&pods))
        .or_else(|| pods::taken_away(&pods))
        .or_else(|| pods::in_trouble(&pods))
}

/// The batch Job's own words, where it has given up.
fn failed_job(job: &BatchJob) -> Option<Finding> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let failed = conditions.iter().find(|condition| condition.type_ == "Failed" && condition.status == "True")?;
    let said = quote(failed.message.as_deref().unwrap_or_default());
    let (reason, message, is_hopeless) = match failed.reason.as_deref() {
        Some("DeadlineExceeded") => (
            Reason::TimedOut,
            "the Job took longer than timeoutSeconds: raise it, or raise parallelism".to_owned(),
            true,
        ),
        _ => (Reason::ShardFailed, format!("Kubernetes gave the batch Job up: {said}"), false),
    };
    Some(Finding { reason, message, is_hopeless })
}

/// No pod, because the API server refuses them: quota, admission, a missing ServiceAccount.
fn not_created(pods: &[&Pod], events: &[&Event]) -> Option<Finding> {
    let refused = newest(events.iter().copied().filter(|event| event.reason.as_deref() == Some("FailedCreate")))?;
    if pods.iter().any(|pod| is_younger(pod, refused)) {
        return None; // one has been made since
    }
    let said = quote(refused.message.as_deref().unwrap_or_default());
    let what_to_do = if said.contains("exceeded quota") {
        "wait until other pods end, lower parallelism, or ask whoever runs the namespace to raise its quota"
    } else if said.contains("serviceaccount") && said.contains("not found") {
        "create the ServiceAccount, or correct pod.serviceAccountName"
    } else if said.contains("violates PodSecurity") {
        "the namespace's PodSecurity level refuses something of the Pipeline's pod or container: take it out"
    } else {
        "correct the Pipeline's pod or container, or ask whoever runs the cluster"
    };
    let message = format!("pods can't be created: {said} ({what_to_do})");
    Some(Finding { reason: Reason::PodsCannotStart, message, is_hopeless: false })
}

fn not_mounted(pods: &[&Pod], events: &[&Event]) -> Option<Finding> {
    let is_pending = |name: &str| {
        let named = |pod: &&&Pod| pod.metadata.name.as_deref() == Some(name);
        pods.iter().find(named).is_some_and(|pod| pods::phase(pod) == "Pending")
    };
    let failed = events.iter().copied().filter(|event| {
        matches!(event.reason.as_deref(), Some("FailedMount" | "FailedAttachVolume"))
            && event.involved_object.name.as_deref().is_some_and(is_pending)
    });
    let said = quote(newest(failed)?.message.as_deref().unwrap_or_default());
    let message = format!("a volume can't be mounted: {said} (create what it names, or correct pod.volumes)");
    Some(Finding { reason: Reason::PodsCannotStart, message, is_hopeless: false })
}

/// The most replacements that any index has had: Kubernetes waits 10 s · 2ⁿ before each, so after the second a fresh
/// batch Job is faster.
pub fn most_replacements<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> u32 {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut counted = 0;
    for pod in pods {
        let Some(annotations) = &pod.metadata.annotations else { continue };
        let count = |name: &&str| annotations.get(*name).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        counted = counted.max(FAILURES.iter().map(count).sum());
        if let Some(index) = annotations.get(INDEX) {
            *seen.entry(index).or_default() += 1;
        }
    }
    let by_pods = seen.into_values().max().unwrap_or(0).saturating_sub(1);
    counted.max(by_pods)
}

fn newest<'a>(events: impl Iterator<Item = &'a Event>) -> Option<&'a Event> {
    events.max_by_key(|event| event.last_timestamp.clone().or_else(|| event.metadata.creation_timestamp.clone()))
}

fn is_younger(pod: &Pod, event: &Event) -> bool {
    let seen = event.last_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref());
    pod.metadata.creation_timestamp.as_ref() > seen
}

/// Somebody else's words: on one line, without its end's full stop, cut to a length.
pub(crate) fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches('.');
    match line.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests;
