//! Whether everything has come to rest: nothing is on the way, and nothing waits for anything but people.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::ResourceExt;
use varve_api::Pipeline;
use varve_api::conditions::{self, HasConditions, Reason, Type};

use super::looks::Looks;
use super::words;

/// How long nothing may have changed. In one process a change is answered within a few milliseconds.
const QUIET: Duration = Duration::from_millis(400);

/// The same where something waits: others that have just ended make room within moments, and an engine that is asked
/// for what no registry tells answers within seconds.
const QUIET_WHERE_ONE_WAITS: Duration = Duration::from_secs(10);

/// Waits until everything is at rest, and has been for a while. `told` is the change at which that was told before.
pub(super) async fn settled(looks: &Looks, told: u64) -> u64 {
    loop {
        let version = looks.version();
        let is_news = version != told && is_settled(looks);
        let quiet = if one_waits(looks) { QUIET_WHERE_ONE_WAITS } else { QUIET };
        if is_news && tokio::time::timeout(quiet, looks.after(version)).await.is_err() {
            return version;
        }
        if !is_news {
            looks.after(version).await;
        }
    }
}

/// Whether every object says that it is as wanted, or can't be.
fn is_settled(looks: &Looks) -> bool {
    let rests = |meta: &ObjectMeta, conditions: &[Condition]| {
        let ready = conditions::find(conditions, Type::Ready.as_str());
        let is_told = ready.is_some_and(|ready| ready.observed_generation == meta.generation);
        let is_at_rest = conditions::holds(conditions, Type::Ready) || conditions::holds(conditions, Type::Stalled);
        is_told && (is_at_rest || words::waiting(conditions).is_some())
    };
    let repos = looks.repos.state();
    let commits = looks.commits.state();
    let pipelines = looks.pipelines.state();
    let jobs = looks.jobs.state();
    repos.iter().all(|repo| rests(&repo.metadata, repo.conditions()))
        && commits.iter().all(|commit| rests(&commit.metadata, commit.conditions()))
        && pipelines.iter().all(|pipeline| {
            rests(&pipeline.metadata, pipeline.conditions())
                && (!is_running(pipeline) || has_waiting_job(looks, pipeline))
        })
        && jobs.iter().all(|job| job.spec.suspend || words::is_over(job) || waits(job.as_ref()))
}

fn one_waits(looks: &Looks) -> bool {
    looks.jobs.state().iter().any(|job| waits(job.as_ref()))
        || looks.pipelines.state().iter().any(|pipeline| waits(pipeline.as_ref()))
        || looks.repos.state().iter().any(|repo| waits(repo.as_ref()))
}

fn waits(object: &impl HasConditions) -> bool {
    words::waiting(object.conditions()).is_some()
}

fn is_running(pipeline: &Pipeline) -> bool {
    let ready = conditions::find(pipeline.conditions(), Type::Ready.as_str());
    ready.is_none_or(|ready| ready.reason == Reason::JobRunning.as_str())
}

fn has_waiting_job(looks: &Looks, pipeline: &Pipeline) -> bool {
    let (namespace, name) = (pipeline.namespace(), pipeline.name_any());
    let jobs = looks.jobs.state();
    let mut own = jobs.iter().filter(|job| job.namespace() == namespace && job.spec.pipeline == name);
    own.any(|job| waits(job.as_ref()))
}
