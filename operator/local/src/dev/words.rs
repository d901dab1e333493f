//! The standing of an object in words; pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use varve_api::conditions::{self, HasConditions, Reason, Type};
use varve_api::{Commit, Job, Pipeline};

use super::looks::{Looks, shown_name};

/// Reasons of Pipelines that need no line: their Jobs have one, or nothing has happened.
const QUIET_REASONS: [Reason; 4] = [Reason::UpToDate, Reason::JobRunning, Reason::WaitingForInput, Reason::Progressing];
/// Reasons of what goes on by itself once somebody makes room, or something outside answers.
const WAITING_REASONS: [Reason; 8] = [
    Reason::Unschedulable,
    Reason::PodsCannotStart,
    Reason::ImagePullFailed,
    Reason::ImageUnreachable,
    Reason::StoreUnreachable,
    Reason::StoreThrottled,
    Reason::StoreFull,
    Reason::StoreClockSkewed,
];

/// Those of them that a Pipeline has from its Job, which tells them itself.
const JOBS_REASONS: [Reason; 3] = [Reason::Unschedulable, Reason::PodsCannotStart, Reason::ImagePullFailed];

/// `Ready`, with what else there is to say; or why not.
pub(super) fn words(conditions: &[Condition], more: &str) -> Option<String> {
    let ready = conditions::find(conditions, Type::Ready.as_str())?;
    if ready.status == "True" {
        let gap = if more.is_empty() { "" } else { "  " };
        return Some(format!("{}{gap}{more}", ready.reason));
    }
    let is_stalled = conditions::holds(conditions, Type::Stalled);
    is_stalled.then(|| format!("{}  {}", ready.reason, ready.message))
}

pub(super) fn of_commit(commit: &Commit) -> Option<String> {
    let status = commit.status.as_ref()?;
    let all = [(status.added, "added"), (status.changed, "changed"), (status.removed, "removed")];
    let told = all.iter().filter_map(|(count, what)| Some(format!("{} {what}", count.filter(|count| *count > 0)?)));
    let told = told.collect::<Vec<_>>().join(", ");
    words(&status.conditions, if told.is_empty() { "no change" } else { &told })
}

pub(super) fn of_pipeline(pipeline: &Pipeline) -> Option<String> {
    let status = pipeline.status.as_ref()?;
    let ready = conditions::find(&status.conditions, Type::Ready.as_str())?;
    let is_quiet = QUIET_REASONS.iter().any(|reason| reason.as_str() == ready.reason)
        || ready.reason == Reason::JobFailed.as_str(); // its Job says why
    if is_quiet { None } else { words(&status.conditions, &ready.message) }
}

pub(super) fn of_job(job: &Job) -> Option<String> {
    let status = job.status.as_ref()?;
    let counts = status.datums.unwrap_or_default();
    let took = status.took.as_deref().map(|took| format!(" in {took}")).unwrap_or_default();
    let counted = format!("{} processed, {} skipped{took}", counts.processed, counts.skipped);
    if is_over(job) { words(&status.conditions, &counted) } else { None }
}

/// Whether a Job has ended, or never will.
pub(super) fn is_over(job: &Job) -> bool {
    let conditions = job.conditions();
    conditions::find(conditions, Type::Succeeded.as_str()).is_some() || conditions::holds(conditions, Type::Stalled)
}

/// What an object waits for, where that is nothing of Varve's own: room, a registry, an image.
pub(super) fn waiting(conditions: &[Condition]) -> Option<&Condition> {
    let ready = conditions::find(conditions, Type::Ready.as_str())?;
    let is_waiting = ready.status != "True"
        && !conditions::holds(conditions, Type::Stalled)
        && WAITING_REASONS.iter().any(|reason| reason.as_str() == ready.reason);
    is_waiting.then_some(ready)
}

/// The same of a Pipeline, without what its Job waits for.
pub(super) fn waiting_itself(conditions: &[Condition]) -> Option<&Condition> {
    let is_the_jobs = |it: &&Condition| JOBS_REASONS.iter().any(|reason| reason.as_str() == it.reason.as_str());
    waiting(conditions).filter(|it| !is_the_jobs(it))
}

/// What is not well: of every object that can't be as wanted, or waits, its name and why. A Job that has failed is its
/// Pipeline's to tell, one that waits tells it itself.
pub(super) fn faults(looks: &Looks) -> Vec<String> {
    fn fault<K: Resource + HasConditions>(kind: &str, object: &K) -> Option<String> {
        let conditions = object.conditions();
        let stalled = conditions::find(conditions, Type::Stalled.as_str()).filter(|it| it.status == "True");
        let waiting = if kind == "Pipeline" { waiting_itself } else { waiting };
        let fault = stalled.filter(|_| kind != "Job").or_else(|| waiting(conditions))?;
        Some(format!("{kind} {}: {}: {}", shown_name(object), fault.reason, fault.message))
    }
    let mut faults = Vec::new();
    faults.extend(looks.repos.state().iter().filter_map(|it| fault("Repo", it.as_ref())));
    faults.extend(looks.commits.state().iter().filter_map(|it| fault("Commit", it.as_ref())));
    faults.extend(looks.pipelines.state().iter().filter_map(|it| fault("Pipeline", it.as_ref())));
    faults.extend(looks.jobs.state().iter().filter_map(|it| fault("Job", it.as_ref())));
    faults
}
