//! The Job controller: makes the pods of `batch/v1` Jobs and keeps their status.
//!
//! [`decide`] says what is to be done, from [`pods`], [`policy`] and [`conditions`]; here it is done. One task owns all
//! Jobs, so no two looks at one overlap. Only Indexed Jobs are run, which are those that the operator makes.

mod conditions;
mod decide;
mod indexes;
mod pods;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::events::{Events, Note};
use super::mirror::{Key, Mirror, key_of};
use super::{is_gone, status_patch};
use decide::{Decision, decide};
use pods::{TRACKING, Wanted};

/// Calls to the API server at a time for one Job: it is in the same process, so more would only wait in another place.
const CALLS_AT_ONCE: usize = 8;
/// When a Job is looked at again after a call failed.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(1);
/// The longest sleep where nothing is due.
const LONG: Duration = Duration::from_hours(1);

/// Runs until `stop`. `backoff` is the pause before a first replacement; each after it is twice as long.
pub(crate) async fn run(client: Client, backoff: SignedDuration, stop: CancellationToken) {
    let jobs = watcher(Api::<Job>::all(client.clone()), watcher::Config::default()).default_backoff();
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).default_backoff();
    let (mut jobs, mut pods) = (std::pin::pin!(jobs), std::pin::pin!(pods));
    let mut controller = Controller::new(client, backoff);
    loop {
        let due = controller.due.values().min().copied();
        tokio::select! {
            () = stop.cancelled() => return,
            Some(event) = jobs.next() => controller.job(event),
            Some(event) = pods.next() => controller.pod(event),
            () = tokio::time::sleep(until(due)) => controller.wake(),
        }
        // What came together is looked at together.
        while let Some(Some(event)) = jobs.next().now_or_never() {
            controller.job(event);
        }
        while let Some(Some(event)) = pods.next().now_or_never() {
            controller.pod(event);
        }
        controller.sync_changed().await;
    }
}

fn until(due: Option<Timestamp>) -> Duration {
    due.map_or(LONG, |due| Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default().min(LONG))
}

struct Controller {
    client: Client,
    events: Events,
    backoff: SignedDuration,
    jobs: Mirror<Job>,
    pods: Mirror<Pod>,
    /// Jobs that are to be looked at.
    changed: BTreeSet<Key>,
    /// And those that are later.
    due: BTreeMap<Key, Timestamp>,
}

impl Controller {
    fn new(client: Client, backoff: SignedDuration) -> Self {
        Self {
            events: Events::new(client.clone(), "job-controller"),
            client,
            backoff,
            jobs: Mirror::new(),
            pods: Mirror::new(),
            changed: BTreeSet::new(),
            due: BTreeMap::new(),
        }
    }

    fn job(&mut self, event: watcher::Result<watcher::Event<Job>>) {
        match event {
            Ok(event) => {
                let changed = self.jobs.apply(event);
                self.changed.extend(changed.iter().map(|job| key_of(job.as_ref())));
            }
            Err(error) => tracing::debug!(%error, "the watch of Jobs begins again"),
        }
    }

    fn pod(&mut self, event: watcher::Result<watcher::Event<Pod>>) {
        match event {
            Ok(event) => {
                let changed = self.pods.apply(event);
                self.changed.extend(changed.iter().filter_map(|pod| owner(pod)).map(|(key, _)| key));
            }
            Err(error) => tracing::debug!(%error, "the watch of pods begins again"),
        }
    }

    fn wake(&mut self) {
        let now = Timestamp::now();
        let woken: Vec<Key> = self.due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        self.changed.extend(woken);
    }

    async fn sync_changed(&mut self) {
        if !self.jobs.is_complete() || !self.pods.is_complete() {
            return;
        }
        for key in std::mem::take(&mut self.changed) {
            self.due.remove(&key);
            if let Err(error) = self.sync(&key).await {
                tracing::debug!(namespace = key.0, job = key.1, %error, "Job will be looked at again");
                self.due.insert(key, Timestamp::now() + AFTER_FAILURE);
            }
        }
    }

    async fn sync(&mut self, key: &Key) -> kube::Result<()> {
        let owned = self.pods.iter().filter_map(|pod| owner(pod).map(|(owner, uid)| (owner, uid, pod.clone())));
        let owned = owned.filter(|(owner, ..)| owner == key);
        let job = self.jobs.get(key).cloned();
        let uid = job.as_ref().and_then(|job| job.uid());
        let (own, orphans): (Vec<_>, Vec<_>) = owned.partition(|(_, owner, _)| Some(owner) == uid.as_ref());
        let orphans = orphans.iter().filter(|(_, _, pod)| pod.finalizers().iter().any(|name| name == TRACKING));
        self.release(orphans.map(|(_, _, pod)| pod.clone()).collect()).await?;
        let Some(job) = job else { return Ok(()) };
        if job.spec.as_ref().is_none_or(|spec| spec.completion_mode.as_deref() != Some("Indexed")) {
            tracing::warn!(namespace = key.0, job = key.1, "only Jobs with completionMode: Indexed are run here");
            return Ok(());
        }
        let pods: Vec<&Pod> = own.iter().map(|(_, _, pod)| pod.as_ref()).collect();
        let decision = decide(&job, &pods, Timestamp::now(), self.backoff);
        self.act(key, &job, decision).await
    }

    async fn act(&mut self, key: &Key, job: &Job, decision: Decision) -> kube::Result<()> {
        let Decision { status, release, delete, create, is_outlived, again } = decision;
        if let Some(again) = again {
            self.due.insert(key.clone(), again);
        }
        if job.status.as_ref() != Some(&status) && job.metadata.deletion_timestamp.is_none() {
            self.write_status(job, &status).await?;
        }
        let named = |name: &String| self.pods.get(&(key.0.clone(), name.clone())).cloned();
        let delete: Vec<Arc<Pod>> = delete.iter().filter_map(named).collect();
        let release: Vec<Arc<Pod>> = release.iter().filter_map(named).collect();
        self.release(release).await?;
        for pod in delete {
            let api = Api::<Pod>::namespaced(self.client.clone(), &key.0);
            ignore_gone(api.delete(&pod.name_any(), &only(pod.as_ref())).await)?;
        }
        self.create(job, &create).await?;
        if is_outlived {
            let api = Api::<Job>::namespaced(self.client.clone(), &key.0);
            let params = DeleteParams { preconditions: only(job).preconditions, ..DeleteParams::background() };
            ignore_gone(api.delete(&key.1, &params).await)?;
        }
        Ok(())
    }

    async fn write_status(&mut self, job: &Job, status: &JobStatus) -> kube::Result<()> {
        let api = Api::<Job>::namespaced(self.client.clone(), &job.namespace().unwrap_or_default());
        // Of this very Job, should another have its name by now.
        let patch = json!({ "metadata": { "uid": job.uid() }, "status": status_patch(job.status.as_ref(), status)? });
        match api.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(job) => drop(self.jobs.put(job)),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        for end in ["Complete", "Failed"] {
            let holds = |status: Option<&JobStatus>| status.is_some_and(|status| conditions::has(status, end));
            if holds(Some(status)) && !holds(job.status.as_ref()) {
                tracing::info!(namespace = job.namespace(), job = job.name_any(), end, "batch Job ended");
            }
        }
        Ok(())
    }

    /// Lets pods go whose end is counted.
    async fn release(&mut self, pods: Vec<Arc<Pod>>) -> kube::Result<()> {
        let calls: Vec<_> = pods.into_iter().map(|pod| let_go(self.client.clone(), pod)).collect();
        let released: Vec<Option<Pod>> = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).try_collect().await?;
        for pod in released.into_iter().flatten() {
            if pod.metadata.deletion_timestamp.is_none() {
                self.pods.put(pod); // one that was being deleted is gone with this
            }
        }
        Ok(())
    }

    async fn create(&mut self, job: &Job, wanted: &[Wanted]) -> kube::Result<()> {
        let calls: Vec<_> = wanted.iter().map(|wanted| make(self.client.clone(), pods::make(job, *wanted))).collect();
        let made: Vec<kube::Result<Pod>> = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).collect().await;
        let mut refused = None;
        for pod in made {
            match pod {
                Ok(pod) => drop(self.pods.put(pod)),
                Err(error) => refused = Some(error),
            }
        }
        let Some(error) = refused else { return Ok(()) };
        let message = format!("Error creating: {}", words(&error));
        self.events.warn(job, Note { reason: "FailedCreate", message }).await;
        Err(error)
    }
}

async fn make(client: Client, pod: Pod) -> kube::Result<Pod> {
    let api = Api::<Pod>::namespaced(client, &pod.namespace().unwrap_or_default());
    api.create(&PostParams::default(), &pod).await
}

/// Takes our finalizer off; none if the pod is gone.
async fn let_go(client: Client, pod: Arc<Pod>) -> kube::Result<Option<Pod>> {
    let kept: Vec<&String> = pod.finalizers().iter().filter(|name| *name != TRACKING).collect();
    let patch = json!({ "metadata": { "uid": pod.uid(), "finalizers": kept } });
    let api = Api::<Pod>::namespaced(client, &pod.namespace().unwrap_or_default());
    match api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(pod) => Ok(Some(pod)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The server's own words where it answered.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The Job that a pod belongs to, and its uid.
fn owner(pod: &Pod) -> Option<(Key, String)> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.kind == "Job")?;
    let is_batch = owner.api_version.starts_with("batch/");
    is_batch.then(|| ((pod.namespace().unwrap_or_default(), owner.name.clone()), owner.uid.clone()))
}

/// Only this very object.
fn only(object: &impl ResourceExt) -> DeleteParams {
    let preconditions = Preconditions { uid: object.uid(), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

fn ignore_gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}
