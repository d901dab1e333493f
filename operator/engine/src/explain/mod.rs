//! What pods, batch Jobs and events say → what people read: what happened, why, what to do, who can do it.
//!
//! Kubernetes' own words are kept beside ours, cut to a length. Where several things are wrong the one that stands most
//! in the way is told: what can never get better before what may, and what keeps all pods before what keeps one. Of a
//! shard's pods only the newest counts: what those before it met is over.

mod admission;
mod catalogue;
mod datum;
mod ended;
mod finding;
mod image;
mod pods;
mod room;
mod scheduling;
mod start;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{Event, Pod};
use varve_api::conditions::Reason;

pub use admission::{count_indexes, missing_pods};
pub use catalogue::page;
pub use datum::{FailedDatum, failed_datums};
pub use finding::{Finding, Who};
pub use pods::is_at_work;
pub use room::{Room, rooms};

use pods::{INDEX, newest_of_each};

/// Kubernetes' annotations with how many pods of the index failed before this one, counted and ignored ones.
const FAILURES: [&str; 2] =
    ["batch.kubernetes.io/job-index-failure-count", "batch.kubernetes.io/job-index-ignored-failure-count"];

/// Everything that an explanation is made from.
#[derive(Debug, Clone, Default)]
pub struct Seen<'a> {
    /// The batch Job, where there is one.
    pub job: Option<&'a BatchJob>,
    /// Its pods.
    pub pods: Vec<&'a Pod>,
    /// Events about it and its pods; without them, only what keeps pods from being made or set up stays untold.
    pub events: &'a [Event],
    /// The nodes; without them, how much they have left stays untold.
    pub rooms: &'a [Room],
}

/// What stands in the way of a batch Job, if anything does.
pub fn explain(seen: &Seen<'_>) -> Option<Finding> {
    let newest = newest_of_each(seen.pods.iter().copied());
    let pods = newest.as_slice();
    ended::cannot_proceed(pods)
        .or_else(|| seen.job.and_then(failed_job))
        .or_else(|| image::image(pods))
        .or_else(|| start::cannot_start(pods))
        .or_else(|| start::install_failed(pods))
        .or_else(|| start::not_set_up(pods, seen.events))
        .or_else(|| scheduling::unschedulable(pods, seen.rooms))
        .or_else(|| admission::not_created(seen.job, pods, seen.events))
        .or_else(|| ended::out_of_memory(pods))
        .or_else(|| ended::over_its_own_limit(pods))
        .or_else(|| ended::turned_away(pods))
        .or_else(|| ended::taken_away(pods))
        .or_else(|| ended::in_trouble(pods))
        .or_else(|| ended::lost_keeper(pods))
        .or_else(|| ended::started_again(pods))
}

/// A Job whose time is over.
pub fn timed_out() -> Finding {
    Finding::new(Reason::TimedOut, "the Job took longer than timeoutSeconds", "what is done is kept")
        .can(Who::You, "raise timeoutSeconds, or parallelism")
        .hopeless(true)
}

/// The batch Job's own words, where it has given up.
fn failed_job(job: &BatchJob) -> Option<Finding> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let failed = conditions.iter().find(|condition| condition.type_ == "Failed" && condition.status == "True")?;
    Some(match failed.reason.as_deref() {
        Some("DeadlineExceeded") => timed_out(),
        _ => Finding::new(Reason::ShardFailed, "Kubernetes gave the batch Job up", "a fresh one takes up what is left")
            .can(Who::Cluster, "look at its pods, if it comes again")
            .said(failed.message.as_deref().unwrap_or_default()),
    })
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

#[cfg(test)]
mod tests;
