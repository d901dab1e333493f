//! The Job controller: plans what differs, runs it in pods, merges what they wrote, publishes it.
//!
//! One look after another, it asks [`decide::next`] for the next step and takes it, until the step is to wait.
//! Every step may be killed at any line and taken again: what was done is seen in the store, on the branch, or
//! in the API, never in memory. [`Working`] only spares reading it twice.

mod announce;
mod attempts;
mod batch;
mod config;
mod convert;
mod decide;
mod images;
mod inputs;
mod look;
mod merge;
mod planning;
mod progress;
mod publish;
mod record;
mod results;
mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tokio_util::sync::CancellationToken;
use varve_api::{
    Job,
    conditions::{self, HasConditions as _, Type},
    labels,
};

use self::look::{Done, Look, Working};
use crate::{
    cx::Cx,
    error::{Error, Result},
    runner,
    status::Concern,
};

/// The writer of a Job's status.
pub(crate) const CONCERN: Concern = Concern::whole("varve-job");

/// What the controller remembers of its Jobs.
#[derive(Default)]
struct State {
    jobs: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Working>>>>,
}

impl State {
    fn of(&self, uid: &str) -> Arc<tokio::sync::Mutex<Working>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).entry(uid.to_owned()).or_default().clone()
    }

    fn forget(&self, uid: &str) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Runs the controller until `stop`.
pub async fn run(cx: Arc<Cx>, stop: CancellationToken) {
    let caches = &cx.caches;
    let all = caches.jobs.store();
    let of_label = |namespace: Option<String>, labels: &std::collections::BTreeMap<String, String>| {
        let name = labels.get(labels::JOB)?;
        Some(ObjectRef::<Job>::new(name).within(&namespace.unwrap_or_default()))
    };
    let in_namespace = {
        let jobs = caches.jobs.clone();
        move |namespace: &str, keep: &dyn Fn(&Job) -> bool| -> Vec<ObjectRef<Job>> {
            let found = jobs.in_namespace(namespace, |job| !has_ended(job) && keep(job));
            found.iter().map(|job| ObjectRef::from_obj(job.as_ref())).collect()
        }
    };
    let (of_pipeline, of_space, of_repo) = (in_namespace.clone(), in_namespace.clone(), in_namespace);
    let state = Arc::new(State::default());
    let forget_deleted = {
        let (jobs, state) = (caches.jobs.clone(), state.clone());
        move |job: &Job| -> Option<ObjectRef<Job>> {
            let there = jobs.get(&job.namespace().unwrap_or_default(), &job.name_any());
            if there.is_none_or(|there| there.uid() != job.uid()) {
                state.forget(&job.uid().unwrap_or_default()); // nobody looks at it any more
            }
            None
        }
    };
    let triggers = vec![
        caches.jobs.triggers(all.clone(), forget_deleted),
        caches.batch_jobs.triggers(all.clone(), move |batch| of_label(batch.namespace(), batch.labels())),
        caches.pods.triggers(all.clone(), move |pod| of_label(pod.namespace(), pod.labels())),
        caches.pipelines.triggers(all.clone(), move |pipeline| {
            let name = pipeline.name_any();
            of_pipeline(&pipeline.namespace().unwrap_or_default(), &|job| job.spec.pipeline == name)
        }),
        caches.namespaces.triggers(all.clone(), move |space| of_space(&space.name_any(), &|_| true)),
        caches.repos.triggers(all, move |repo| {
            let name = repo.name_any();
            of_repo(&repo.namespace().unwrap_or_default(), &|job| {
                job.spec.snapshot.spec.output_repo(&job.spec.pipeline) == name
            })
        }),
    ];
    let cache = cx.caches.jobs.clone();
    runner::run(cx, cache, triggers, stop, move |job, cx| reconcile(job, cx, state.clone())).await;
}

/// Whether a Job's status says how it ended.
fn has_ended(job: &Job) -> bool {
    ended(job).is_some()
}

/// When the Job ended, if its status says so.
fn ended(job: &Job) -> Option<Timestamp> {
    Some(conditions::find(job.conditions(), Type::Succeeded.as_str())?.last_transition_time.0)
}

async fn reconcile(job: Arc<Job>, cx: Arc<Cx>, state: Arc<State>) -> Result<Action> {
    let uid = job.uid().unwrap_or_default();
    let working = state.of(&uid);
    let mut working = working.lock().await;
    let mut look = Look { job: &job, cx: &cx, working: &mut working };
    let done = look.go_on().boxed().await;
    match done {
        Ok(Done::Forget) => {
            state.forget(&uid);
            Ok(Action::await_change())
        }
        Ok(Done::Wait(Some(wait))) => Ok(Action::requeue(wait)),
        Ok(Done::Wait(None)) => Ok(Action::await_change()),
        Err(error) => {
            look.working.was_looked_for = false; // its commit may be on the branch for all we know
            if matches!(error, Error::HeadMoved { .. }) {
                look.working.planned = None; // what it was planned against is no longer the head
            }
            if !matches!(error, Error::NotLeading | Error::HeadMoved { .. } | Error::Injected { .. }) {
                look.tell_of(&error).await?;
            }
            Err(error)
        }
    }
}
