//! What a Job and its pods are → what to do about them. Pure; the words and the rules are the Job controller's own.
//!
//! A pod's end is counted in two steps, so that a stop between them counts none twice: it is named in the status
//! (`completedIndexes`, `uncountedTerminatedPods`), and only then let go. The last failed pod of an index is held until
//! its replacement is made, which takes over its counts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{End, set, unset};
use super::indexes;
use super::pods::{Facts, Phase, Wanted};
use super::policy::{Meaning, meaning};

/// How often pods of a Job without a limit of its own may fail.
const BACKOFF_LIMIT: i32 = 6;
/// The longest pause before a replacement.
const MAX_BACKOFF: SignedDuration = SignedDuration::from_mins(10);

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Decision {
    /// The status, to be written first.
    pub(crate) status: JobStatus,
    /// Pods whose end stands in the status now: they may go.
    pub(crate) release: Vec<String>,
    /// Pods that are to stop.
    pub(crate) delete: Vec<String>,
    /// Pods that are to be made.
    pub(crate) create: Vec<Wanted>,
    /// The Job has ended long enough ago: it goes.
    pub(crate) is_outlived: bool,
    /// When to look again even if nothing happens.
    pub(crate) again: Option<Timestamp>,
}

/// Looks at a Job. `backoff` is the pause before a first replacement; each after it is twice as long.
pub(crate) fn decide(job: &Job, pods: &[&Pod], now: Timestamp, backoff: SignedDuration) -> Decision {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let pods: Vec<Facts<'_>> = pods.iter().map(|pod| Facts::of(pod)).collect();
    let release = || pods.iter().filter(|pod| pod.is_tracked).map(|pod| pod.name().to_owned()).collect();
    if job.metadata.deletion_timestamp.is_some() {
        return Decision { status, release: release(), ..Decision::default() };
    }
    if let Some(ended) = End::at(&status) {
        let goes = spec.ttl_seconds_after_finished.map(|ttl| ended + SignedDuration::from_secs(ttl.into()));
        let is_outlived = goes.is_some_and(|goes| goes <= now);
        let again = goes.filter(|_| !is_outlived);
        return Decision { status, release: release(), is_outlived, again, ..Decision::default() };
    }
    Look { completions: number(spec.completions.unwrap_or(1)), spec, pods, now, backoff }.decide(status)
}

struct Look<'a> {
    spec: JobSpec,
    completions: u32,
    pods: Vec<Facts<'a>>,
    now: Timestamp,
    backoff: SignedDuration,
}

/// What has become of an index that neither is complete nor has failed.
#[derive(Debug, Clone, Copy)]
enum Pending {
    /// A pod of it has not ended.
    Taken,
    /// It needs this pod, from then on.
    Needs(Wanted, Timestamp),
}

impl<'a> Look<'a> {
    fn decide(&self, old: JobStatus) -> Decision {
        let now = Time(self.now);
        let mut status = old;
        let is_suspended = self.spec.suspend == Some(true);
        if status.start_time.is_none() && !is_suspended {
            status.start_time = Some(now.clone());
        }
        let succeeded = self.pods.iter().filter(|pod| pod.phase == Phase::Succeeded).filter_map(|pod| pod.index);
        let mut completed = indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), self.completions);
        completed.extend(succeeded.filter(|index| *index < self.completions));
        let mut failed = indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), self.completions);
        let pending = self.pending(&completed, &mut failed);
        let counts = self.count(&mut status, &pending);

        let alive = self.pods.iter().filter(|pod| pod.phase == Phase::Active);
        let (going, active): (Vec<&Facts<'_>>, Vec<&Facts<'_>>) = alive.partition(|pod| pod.is_going);
        let is_idle = going.is_empty() && active.is_empty();
        let mut decision = Decision { release: counts.release, ..Decision::default() };
        let end = self.end(&status, &completed, &failed, counts.failures);
        match &end {
            Some(end) => {
                end.announce(&mut status, &now);
                if is_idle {
                    end.settle(&mut status, &now);
                    let uncounted = status.uncounted_terminated_pods.take().and_then(|uncounted| uncounted.failed);
                    let held = counts.held; // they will not be replaced
                    status.failed =
                        Some(status.failed.unwrap_or(0) + to_i32(uncounted.map_or(0, |all| all.len()) + held));
                }
                decision.delete = names(&active);
            }
            None if is_suspended => {
                set(&mut status, ("Suspended", "JobSuspended", "Job suspended"), &now);
                status.start_time = None;
                decision.delete = names(&active);
            }
            None => {
                unset(&mut status, ("Suspended", "JobResumed", "Job resumed"), &now);
                self.replenish(&mut decision, &active, going.len(), &pending);
                let deadline = self.deadline(&status);
                decision.again = decision.again.into_iter().chain(deadline).min();
            }
        }
        status.active = some_count(active.len());
        status.terminating = Some(to_i32(going.len()));
        status.ready = Some(to_i32(active.iter().filter(|pod| pod.is_ready).count()));
        status.succeeded = some_count(completed.len());
        status.completed_indexes = Some(indexes::write(&completed)).filter(|text| !text.is_empty());
        status.failed_indexes = self.spec.backoff_limit_per_index.map(|_| indexes::write(&failed));
        status.failed = status.failed.filter(|count| *count > 0);
        decision.status = status;
        decision
    }

    /// The indexes that are neither complete nor failed; those that have failed now go to `failed`.
    fn pending(&self, completed: &BTreeSet<u32>, failed: &mut BTreeSet<u32>) -> BTreeMap<u32, Pending> {
        let mut newest: BTreeMap<u32, Facts<'a>> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for pod in &self.pods {
            let Some(index) = pod.index else { continue };
            if pod.phase == Phase::Active {
                taken.insert(index);
            }
            newest.entry(index).and_modify(|found| *found = later(*found, *pod)).or_insert(*pod);
        }
        let mut pending = BTreeMap::new();
        for index in (0..self.completions).filter(|index| !completed.contains(index)) {
            if failed.contains(&index) {
                continue;
            }
            let fresh = Wanted { index, failures: 0, ignored: 0 };
            let next = match newest.get(&index) {
                _ if taken.contains(&index) => Some(Pending::Taken),
                None => Some(Pending::Needs(fresh, self.ready_after_failures())),
                Some(last) => self.after(last, fresh),
            };
            match next {
                Some(next) => drop(pending.insert(index, next)),
                None => drop(failed.insert(index)),
            }
        }
        pending
    }

    /// What follows a failed pod; none if its index has failed with it.
    fn after(&self, last: &Facts<'_>, fresh: Wanted) -> Option<Pending> {
        let Some(limit) = self.spec.backoff_limit_per_index else {
            return Some(Pending::Needs(fresh, self.ready_after_failures()));
        };
        let wanted = match meaning(self.spec.pod_failure_policy.as_ref(), last.pod) {
            Meaning::FailIndex => return None,
            Meaning::Ignore => Wanted { failures: last.failures, ignored: last.ignored + 1, ..fresh },
            Meaning::Count | Meaning::FailJob(_) => {
                Wanted { failures: last.failures + 1, ignored: last.ignored, ..fresh }
            }
        };
        if wanted.failures > number(limit) {
            return None;
        }
        let ended = last.ended_at().unwrap_or(self.now);
        Some(Pending::Needs(wanted, ended + pause(self.backoff, wanted.failures + wanted.ignored)))
    }

    /// Where failures are counted for the whole Job: from when on another pod may be made.
    fn ready_after_failures(&self) -> Timestamp {
        if self.spec.backoff_limit_per_index.is_some() {
            return self.now;
        }
        let ended = |phase: Phase| {
            self.pods.iter().filter(move |pod| pod.phase == phase).map(|pod| pod.ended_at().unwrap_or(self.now))
        };
        let last_success = ended(Phase::Succeeded).max();
        let failures = ended(Phase::Failed).filter(|at| Some(*at) > last_success);
        match (failures.clone().max(), u32::try_from(failures.count())) {
            (Some(last), Ok(count)) => last + pause(self.backoff, count),
            _ => self.now,
        }
    }

    /// Counts what has ended since the last look.
    fn count(&self, status: &mut JobStatus, pending: &BTreeMap<u32, Pending>) -> Counts {
        let mut counts = Counts::default();
        let tracked: BTreeSet<&str> = self.pods.iter().filter(|pod| pod.is_tracked).map(Facts::uid).collect();
        let old = status.uncounted_terminated_pods.take().and_then(|uncounted| uncounted.failed).unwrap_or_default();
        let (mut uncounted, gone): (Vec<String>, Vec<String>) =
            old.into_iter().partition(|uid| tracked.contains(uid.as_str()));
        status.failed = Some(status.failed.unwrap_or(0) + to_i32(gone.len()));
        for pod in self.pods.iter().filter(|pod| pod.is_tracked && pod.phase != Phase::Active) {
            let counted = pod.phase == Phase::Failed
                && meaning(self.spec.pod_failure_policy.as_ref(), pod.pod) != Meaning::Ignore;
            if self.is_held(pod, pending) {
                counts.held += usize::from(counted);
                continue;
            }
            if counted && !uncounted.iter().any(|uid| uid == pod.uid()) {
                uncounted.push(pod.uid().to_owned());
            }
            counts.release.push(pod.name().to_owned());
        }
        counts.failures = status.failed.unwrap_or(0) + to_i32(uncounted.len());
        if !uncounted.is_empty() {
            status.uncounted_terminated_pods =
                Some(UncountedTerminatedPods { failed: Some(uncounted), succeeded: None });
        }
        counts
    }

    /// Whether a failed pod is the last of an index that is to be tried again: it holds the count.
    fn is_held(&self, pod: &Facts<'_>, pending: &BTreeMap<u32, Pending>) -> bool {
        let Some(index) = pod.index else { return false };
        let is_replaced = || self.pods.iter().any(|other| other.index == Some(index) && other.order() > pod.order());
        self.spec.backoff_limit_per_index.is_some()
            && pod.phase == Phase::Failed
            && matches!(pending.get(&index), Some(Pending::Needs(..)))
            && !is_replaced()
    }

    /// Whether and how the Job ends.
    fn end(&self, status: &JobStatus, completed: &BTreeSet<u32>, failed: &BTreeSet<u32>, failures: i32) -> Option<End> {
        if let Some(end) = End::announced(status) {
            return Some(end);
        }
        let failed_pods = self.pods.iter().filter(|pod| pod.phase == Phase::Failed && pod.is_tracked);
        for pod in failed_pods {
            if let Meaning::FailJob(message) = meaning(self.spec.pod_failure_policy.as_ref(), pod.pod) {
                return Some(End::failed("PodFailurePolicy", message));
            }
        }
        let is_per_index = self.spec.backoff_limit_per_index.is_some();
        let limit = self.spec.backoff_limit.unwrap_or(if is_per_index { i32::MAX } else { BACKOFF_LIMIT });
        let max_failed = self.spec.max_failed_indexes.map_or(usize::MAX, |most| number(most) as usize);
        if failures > limit {
            return Some(End::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
        }
        if self.deadline(status).is_some_and(|deadline| deadline <= self.now) {
            return Some(End::failed("DeadlineExceeded", "Job was active longer than specified deadline"));
        }
        if failed.len() > max_failed {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(End::failed("MaxFailedIndexesExceeded", message));
        }
        if completed.len() + failed.len() < self.completions as usize {
            return None;
        }
        Some(if failed.is_empty() { End::Complete } else { End::failed("FailedIndexes", "Job has failed indexes") })
    }

    fn deadline(&self, status: &JobStatus) -> Option<Timestamp> {
        let seconds = self.spec.active_deadline_seconds?;
        Some(status.start_time.as_ref()?.0 + SignedDuration::from_secs(seconds))
    }

    /// Makes pods up to the parallelism, lowest index first, or stops those that are too many.
    fn replenish(
        &self,
        decision: &mut Decision,
        active: &[&Facts<'_>],
        going: usize,
        pending: &BTreeMap<u32, Pending>,
    ) {
        let parallelism = number(self.spec.parallelism.unwrap_or(1)) as usize;
        if active.len() > parallelism {
            let mut surplus = active.to_vec();
            surplus.sort_by_key(|pod| (pod.is_ready, pod.index));
            surplus.reverse();
            decision.delete = names(&surplus[parallelism..]);
            return;
        }
        let mut room = parallelism.saturating_sub(active.len() + going);
        for next in pending.values() {
            let Pending::Needs(wanted, at) = next else { continue };
            if *at > self.now {
                decision.again = Some(decision.again.map_or(*at, |again| again.min(*at)));
            } else if room > 0 {
                decision.create.push(*wanted);
                room -= 1;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    /// Pods whose end stands in the status.
    release: Vec<String>,
    /// Failures in all that count.
    failures: i32,
    /// Failed pods that wait for their replacement.
    held: usize,
}

fn later<'a>(one: Facts<'a>, other: Facts<'a>) -> Facts<'a> {
    if other.order() > one.order() { other } else { one }
}

/// The pause after this many failures.
fn pause(first: SignedDuration, failures: u32) -> SignedDuration {
    let factor = 2_i32.saturating_pow(failures.saturating_sub(1).min(30));
    first.checked_mul(factor).unwrap_or(MAX_BACKOFF).min(MAX_BACKOFF)
}

fn names(pods: &[&Facts<'_>]) -> Vec<String> {
    pods.iter().map(|pod| pod.name().to_owned()).collect()
}

fn number(count: i32) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn some_count(count: usize) -> Option<i32> {
    Some(to_i32(count)).filter(|count| *count > 0)
}
