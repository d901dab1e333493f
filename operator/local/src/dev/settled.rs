//! Whether everything has come to rest: nothing is on the way, and nothing waits for anything but people.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use varve_api::conditions::{self, Reason, Type};

use super::looks::Looks;

/// How long nothing may have changed. In one process a change is answered within a few milliseconds.
const QUIET: Duration = Duration::from_millis(400);

/// Waits until everything is at rest, and has been for a while. `told` is the change at which that was told before.
pub(super) async fn settled(looks: &Looks, told: u64) -> u64 {
    loop {
        let version = looks.version();
        let is_news = version != told && is_settled(looks);
        if is_news && tokio::time::timeout(QUIET, looks.after(version)).await.is_err() {
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
        is_told && (holds(conditions, Type::Ready) || holds(conditions, Type::Stalled))
    };
    let repos = looks.repos.state();
    let commits = looks.commits.state();
    let pipelines = looks.pipelines.state();
    let jobs = looks.jobs.state();
    repos.iter().all(|repo| repo.status.as_ref().is_some_and(|status| rests(&repo.metadata, &status.conditions)))
        && commits.iter().all(|it| it.status.as_ref().is_some_and(|status| rests(&it.metadata, &status.conditions)))
        && pipelines.iter().all(|pipeline| {
            pipeline.status.as_ref().is_some_and(|status| {
                let ready = conditions::find(&status.conditions, Type::Ready.as_str());
                rests(&pipeline.metadata, &status.conditions)
                    && ready.is_some_and(|ready| ready.reason != Reason::JobRunning.as_str())
            })
        })
        && jobs.iter().all(|job| {
            job.spec.suspend
                || job.status.as_ref().is_some_and(|status| {
                    conditions::find(&status.conditions, Type::Succeeded.as_str()).is_some()
                        || holds(&status.conditions, Type::Stalled)
                })
        })
}

fn holds(conditions: &[Condition], r#type: Type) -> bool {
    conditions::holds(conditions, r#type)
}
