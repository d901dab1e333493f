//! What a Pipeline does next, and what its status says: a pure function of what was seen.
//!
//! One Job runs at a time. The next is made for the first wanted set that has no Job yet; a Job's name is a
//! function of what it stands for, so a set whose Job failed is passed over until that Job is deleted.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use uuid::Uuid;
use varve_api::{
    Job, Pipeline,
    conditions::{self, Reason, State, Type},
    labels, names,
    pipeline::{JobCounts, LastJob, OutputHead, PipelineStatus, ResolvedImage},
};
use varve_format::Hash;

use super::observe::{Seen, Set, Wanted};

/// How a Job stands, as its Pipeline sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobState {
    /// It has not ended.
    Active,
    /// It has ended in a commit.
    Succeeded,
    /// It has ended without.
    Failed,
}

/// How `job` stands.
pub(crate) fn job_state(job: &Job) -> JobState {
    let conditions = job.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    match conditions::find(conditions, Type::Succeeded.as_str()).map(|condition| condition.status.as_str()) {
        Some("True") => JobState::Succeeded,
        Some("False") => JobState::Failed,
        _ => JobState::Active,
    }
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// Make the output Repo: it is not there.
    pub(crate) makes_output: bool,
    /// Make this Job.
    pub(crate) makes_job: Option<NewJob>,
    /// Delete these ended Jobs.
    pub(crate) deletes: Vec<Arc<Job>>,
}

/// A Job to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewJob {
    /// Its name.
    pub(crate) name: String,
    /// What it reads.
    pub(crate) set: Set,
}

/// The name of the Job that runs this Pipeline, as it is, over this set: made once, never again while a Job of
/// that name is there.
pub(crate) fn job_name(pipeline: &str, seen: &Seen, set: &Set) -> String {
    let mut text = format!("{}\n{}\n{}\n{}\n", seen.snapshot.uid, seen.snapshot.generation, seen.spec_digest, set.run);
    for (input, seal) in set.inputs.iter().zip(&set.seals) {
        text.extend([&input.name, " ", &seal.to_string(), "\n"]);
    }
    names::job(pipeline, Hash::of_content(text.as_bytes()).as_bytes())
}

/// What to do about `pipeline`.
pub(crate) fn changes(pipeline: &Pipeline, seen: &Seen) -> Changes {
    let name = pipeline.name_any();
    let sets = match &seen.wanted {
        Wanted::Sets(sets) => sets.as_slice(),
        Wanted::Waiting(_) | Wanted::UpToDate => &[],
    };
    let named: Vec<(String, &Set)> = sets.iter().map(|set| (job_name(&name, seen, set), set)).collect();
    let is_there = |name: &String| seen.jobs.iter().any(|job| job.name_any() == *name);
    let is_busy = seen.jobs.iter().any(|job| job_state(job) == JobState::Active);
    let first = named.iter().find(|(name, _)| !is_there(name)).filter(|_| !is_busy && !pipeline.spec.suspend);
    Changes {
        makes_output: seen.output.is_none(),
        makes_job: first.map(|(name, set)| NewJob { name: name.clone(), set: (*set).clone() }),
        deletes: pruned(&seen.jobs, pipeline.spec.history_limit, |name| named.iter().any(|(wanted, _)| wanted == name)),
    }
}

/// Ended Jobs beyond the limit, the oldest first; never one whose absence would make it run again.
fn pruned(jobs: &[Arc<Job>], limit: u32, is_wanted: impl Fn(&str) -> bool) -> Vec<Arc<Job>> {
    let ended =
        jobs.iter().filter(|job| job_state(job) != JobState::Active && job.metadata.deletion_timestamp.is_none());
    let ended: Vec<_> = ended.collect();
    let surplus = ended.len().saturating_sub(limit as usize);
    ended.into_iter().filter(|job| !is_wanted(&job.name_any())).take(surplus).cloned().collect()
}

/// Why a Pipeline stands as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Standing {
    fn new(state: State, reason: Reason, message: impl Into<String>) -> Self {
        Self { state, reason, message: message.into() }
    }
}

/// How a Pipeline stands whose spec can be run. `jobs` includes the one just made.
fn standing(pipeline: &Pipeline, seen: &Seen, jobs: &[Arc<Job>]) -> Standing {
    let active = jobs.iter().rev().find(|job| job_state(job) == JobState::Active);
    if pipeline.spec.suspend {
        return Standing::new(State::Ready, Reason::Suspended, "suspended: no new Job is made until suspend is false");
    }
    if let Some(job) = active {
        if let Some(standing) = held_up(job) {
            return standing;
        }
        return Standing::new(State::Ready, Reason::JobRunning, format!("Job {} is running", job.name_any()));
    }
    match &seen.wanted {
        Wanted::UpToDate => Standing::new(State::Ready, Reason::UpToDate, "the output stands for the newest inputs"),
        Wanted::Waiting(why) => Standing::new(State::Ready, Reason::WaitingForInput, why.clone()),
        Wanted::Sets(sets) => wanting(pipeline, seen, sets, jobs),
    }
}

/// How a Pipeline stands whose output's head lacks these sets, while none of its Jobs is at work.
fn wanting(pipeline: &Pipeline, seen: &Seen, sets: &[Set], jobs: &[Arc<Job>]) -> Standing {
    let names: Vec<String> = sets.iter().map(|set| job_name(&pipeline.name_any(), seen, set)).collect();
    let stands = |name: &String| jobs.iter().any(|job| job.name_any() == *name);
    if !names.iter().all(stands) {
        return Standing::new(State::Reconciling, Reason::Progressing, "a Job is about to be made");
    }
    let is_wanted = |job: &&Arc<Job>| names.contains(&job.name_any());
    let wanted = || jobs.iter().rev().filter(is_wanted);
    if let Some(job) = wanted().find(|job| job_state(job) == JobState::Failed) {
        return Standing::new(State::Stalled, Reason::JobFailed, failed(job));
    }
    let newest = wanted().next().map(|job| job.name_any()).unwrap_or_default();
    let message = format!(
        "the output branch was set back behind the Commit of Job {newest}: a new Commit of an input, or a change of the \
         Pipeline, makes a new Job"
    );
    Standing::new(State::Ready, Reason::WaitingForInput, message)
}

/// What holds up a Job's pods, as far as the Job tells: it goes on by itself once that is out of the way.
const PODS_HELD_UP: [Reason; 4] =
    [Reason::Unschedulable, Reason::ImagePullFailed, Reason::PodsCannotStart, Reason::ShardFailed];

/// How a Pipeline stands whose Job can't go on, or whose pods are held up: as the Job does. Nothing newer runs before it
/// has ended.
fn held_up(job: &Job) -> Option<Standing> {
    let conditions = &job.status.as_ref()?.conditions;
    let holds = |kind: Type| conditions::find(conditions, kind.as_str()).filter(|condition| condition.status == "True");
    let (state, condition) = match holds(Type::Stalled) {
        Some(stalled) => (State::Stalled, stalled),
        None => (State::Reconciling, holds(Type::Reconciling)?),
    };
    let reason = Reason::all().find(|reason| reason.as_str() == condition.reason)?;
    let (name, why) = (job.name_any(), sentence(&condition.message));
    let how = match state {
        State::Stalled => "can't go on",
        _ if PODS_HELD_UP.contains(&reason) => "is held up",
        _ => return None,
    };
    Some(Standing::new(state, reason, format!("Job {name} {how}: {why} To give it up, set cancel in Job {name}")))
}

/// A text that another sentence may follow: it ends with a full stop, within a bracket or outside one.
fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with('.') || text.ends_with(".)") { text.to_owned() } else { format!("{text}.") }
}

fn failed(job: &Job) -> String {
    let why = job.status.as_ref().and_then(|status| status.explanation.clone()).unwrap_or_default();
    let (name, why) = (job.name_any(), sentence(&why));
    format!(
        "Job {name} has failed: {why} A new Commit or a change of the Pipeline makes a new Job; to try the same again, \
         delete Job {name}"
    )
}

/// What a status is made of.
pub(crate) struct Facts<'a> {
    /// The time.
    pub(crate) now: Timestamp,
    /// How it stands.
    pub(crate) standing: Standing,
    /// Its Jobs, oldest first, the one just made included.
    pub(crate) jobs: &'a [Arc<Job>],
    /// Its image, if that is known.
    pub(crate) image: Option<ResolvedImage>,
    /// The head of its output.
    pub(crate) output_commit: Option<Uuid>,
}

impl<'a> Facts<'a> {
    /// The facts of a Pipeline whose spec can be run.
    pub(crate) fn of(pipeline: &Pipeline, seen: &Seen, jobs: &'a [Arc<Job>]) -> Self {
        Self {
            now: seen.now,
            standing: standing(pipeline, seen, jobs),
            jobs,
            image: Some(seen.snapshot.image.clone()),
            output_commit: seen.output_commit,
        }
    }
}

/// The whole status.
pub(crate) fn status(pipeline: &Pipeline, facts: &Facts<'_>) -> PipelineStatus {
    let old = pipeline.status.clone().unwrap_or_default();
    let generation = pipeline.metadata.generation.unwrap_or_default();
    let name = pipeline.name_any();
    let Standing { state, reason, message } = &facts.standing;
    let mut conditions = conditions::standing(*state, *reason, message, generation, facts.now);
    let suspended = if pipeline.spec.suspend {
        (Reason::Suspended, "suspend is set")
    } else {
        (Reason::NotSuspended, "suspend is not set")
    };
    conditions.push(conditions::condition(
        Type::Suspended,
        pipeline.spec.suspend,
        suspended.0,
        suspended.1,
        generation,
        facts.now,
    ));
    let image = facts.image.clone().or(old.image);
    conditions.push(pinned(image.as_ref(), &facts.standing, generation, facts.now));
    conditions::keep_times(&mut conditions, &old.conditions);
    let count = |state| facts.jobs.iter().filter(|job| job_state(job) == state).count().try_into().unwrap_or(u32::MAX);
    let active = facts.jobs.iter().filter(|job| job_state(job) == JobState::Active);
    let replicas = active.filter_map(|job| job.status.as_ref()?.shards).map(|shards| shards.active).sum();
    PipelineStatus {
        observed_generation: Some(generation),
        conditions,
        image,
        output: Some(OutputHead {
            repo: pipeline.spec.output_repo(&name).to_owned(),
            branch: pipeline.spec.output_branch().to_owned(),
            commit: facts.output_commit.map(|uid| uid.to_string()),
        }),
        last_job: facts.jobs.last().map(|job| last_job(job)),
        jobs: Some(JobCounts {
            active: count(JobState::Active),
            succeeded: count(JobState::Succeeded),
            failed: count(JobState::Failed),
        }),
        replicas: Some(replicas),
        selector: Some(format!("{}={name}", labels::PIPELINE)),
        explanation: Some(message.chars().take(2048).collect()),
    }
}

/// Whether somebody waits for `new` to be written over `old`: a condition holds that did not, or the other way round, or
/// the last Job's work is done. A Job that begins, and its progress, are none.
pub(crate) fn is_news(old: &PipelineStatus, new: &PipelineStatus) -> bool {
    let shown = |status: &PipelineStatus| -> Vec<(String, String)> {
        status.conditions.iter().map(|each| (each.type_.clone(), each.status.clone())).collect()
    };
    let is_at_work = |status: &PipelineStatus| {
        conditions::find(&status.conditions, Type::Ready.as_str())
            .is_some_and(|ready| ready.reason == Reason::JobRunning.as_str())
    };
    old.observed_generation != new.observed_generation
        || shown(old) != shown(new)
        || (is_at_work(old) && !is_at_work(new))
}

fn pinned(
    image: Option<&ResolvedImage>,
    standing: &Standing,
    generation: i64,
    now: Timestamp,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
    let (holds, reason, message) = match image {
        Some(image) if !image.is_known() => {
            let message =
                format!("commands run on this machine with what is installed there; {} is not used", image.reference);
            (false, Reason::ImageNotUsed, message)
        }
        Some(image) if image.unpinned().is_none() => {
            (true, Reason::Resolved, format!("{} is {}", image.reference, image.identity()))
        }
        Some(image) => {
            let (reference, identity) = (&image.reference, image.identity());
            let message = format!(
                "no registry tells what {reference} is; a node has it as {identity}, and Jobs fail where another node \
                 has another"
            );
            (false, Reason::ImageUnreachable, message)
        }
        None => (false, standing.reason, "the image has not been looked up yet".to_owned()),
    };
    conditions::condition(Type::ImagePinned, holds, reason, &message, generation, now)
}

fn last_job(job: &Job) -> LastJob {
    let status = job.status.as_ref();
    let ready = status.and_then(|status| conditions::find(&status.conditions, Type::Ready.as_str()));
    LastJob {
        name: job.name_any(),
        result: ready.map(|condition| condition.reason.clone()),
        datums: status.and_then(|status| status.datums).map(|datums| datums.total),
        time: ready.map(|condition| condition.last_transition_time.0.to_string()),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
