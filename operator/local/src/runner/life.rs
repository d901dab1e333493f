//! One pod on this machine, from its arrival to its end.
//!
//! A task of its own: prepares the volumes, runs the init containers one after another and the others together, and
//! keeps the status. It ends when all containers have, and has the pod deleted if somebody asked for that.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::container::{Attendant, Report, Urgency, install, is_install};
use super::events::Note;
use super::folder::PodFolder;
use super::status::{Ended, Known, State, Verdict};
use super::{Machine, contents, is_gone, status_patch, volumes};

/// What containers report is written together if it comes within this time: a pod's two start and end as one.
const COALESCE: Duration = Duration::from_millis(10);
/// Reports that may wait.
const WAITING_REPORTS: usize = 16;
/// Between two tries to have a pod's volumes.
const MOUNT_AGAIN: Duration = Duration::from_secs(2);
/// Between two tries to write a status.
const WRITE_AGAIN: Duration = Duration::from_millis(200);
/// Tries to write the last one, half a minute: the API server is in the same process.
const LAST_WRITES: u32 = 150;

/// That a pod is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// How long its containers have.
    pub(crate) grace: Duration,
    /// What is said of the pod, where its containers don't say it.
    pub(crate) verdict: Option<Verdict>,
}

/// A pod and what is known of it.
pub(crate) struct Life {
    machine: Arc<Machine>,
    pod: Arc<Pod>,
    folder: PodFolder,
    known: Known,
    written: Option<PodStatus>,
    orders: watch::Receiver<Option<Order>>,
    urgency: watch::Sender<Urgency>,
    kill_at: Option<Instant>,
    deadline: Option<Instant>,
    attendants: JoinSet<()>,
    reports: mpsc::Receiver<Report>,
    reporter: mpsc::Sender<Report>,
}

impl Life {
    pub(crate) fn new(machine: Arc<Machine>, pod: Arc<Pod>, orders: watch::Receiver<Option<Order>>) -> Self {
        let (reporter, reports) = mpsc::channel(WAITING_REPORTS);
        let deadline = pod.spec.as_ref().and_then(|spec| u64::try_from(spec.active_deadline_seconds?).ok());
        Self {
            folder: PodFolder::of(&machine.settings.folder, pod.metadata.uid.as_deref().unwrap_or_default()),
            known: Known::of(&pod, Timestamp::now()),
            written: pod.status.clone(),
            orders,
            urgency: watch::Sender::new(Urgency::None),
            kill_at: None,
            deadline: deadline.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            attendants: JoinSet::new(),
            reports,
            reporter,
            machine,
            pod,
        }
    }

    /// All of it. The folder keeps the logs afterwards.
    pub(crate) async fn live(mut self) {
        if self.prepare().await {
            self.run_init().await;
        }
        if *self.urgency.borrow() == Urgency::None && self.known.phase() == "Pending" {
            let pod = self.pod.clone();
            for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
                self.begin(container.clone());
            }
            self.attend_all().await;
        }
        self.give_up_waiting();
        self.write_at_last().await;
        tracing::debug!(pod = self.pod.name_any(), phase = self.known.phase(), "pod ended");
        self.folder.keep_logs_only();
        if self.is_deleted() {
            delete_now(&self.machine, &self.pod).await;
        }
    }

    /// Makes folders and volumes, again and again until they can be had. False if the pod is to stop before.
    async fn prepare(&mut self) -> bool {
        loop {
            let Err(why) = self.try_prepare().await else { return true };
            tracing::debug!(pod = self.pod.name_any(), why, "volumes can't be had yet");
            self.machine.events.warn(self.pod.as_ref(), Note { reason: "FailedMount", message: why }).await;
            self.write().await;
            let again = Instant::now() + MOUNT_AGAIN;
            while Instant::now() < again {
                self.next_until(Some(again)).await;
                if *self.urgency.borrow() > Urgency::None {
                    return false;
                }
            }
        }
    }

    async fn try_prepare(&self) -> Result<(), String> {
        let spec = self.pod.spec.iter();
        let containers = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
        self.folder.create(containers.map(|container| container.name.as_str())).map_err(|error| error.to_string())?;
        let namespace = self.pod.namespace().unwrap_or_default();
        let contents = contents::read(&self.machine.client, &namespace, volumes::sources(&self.pod)).await;
        let contents = contents.map_err(|error| error.to_string())?;
        let is_shared = self.machine.means.is_engine();
        volumes::make(&self.pod, &self.folder, &contents, is_shared).map_err(|error| error.to_string())
    }

    async fn run_init(&mut self) {
        let pod = self.pod.clone();
        for container in pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()) {
            if is_install(container) {
                self.install(container);
            } else {
                self.begin(container.clone());
                self.attend_all().await;
            }
            if self.known.phase() == "Failed" || *self.urgency.borrow() > Urgency::None {
                return;
            }
        }
    }

    fn install(&mut self, container: &Container) {
        let started = Timestamp::now();
        let done = install(container, &self.folder, &self.machine.means);
        let (code, reason, message) = match done {
            Ok(()) => (0, "Completed", None),
            Err(why) => (1, "Error", Some(why)),
        };
        let ended = Ended { code, started, finished: Timestamp::now(), reason, message };
        self.take(Report { name: container.name.clone(), state: State::Ended(ended), image_id: None });
    }

    fn begin(&mut self, container: Container) {
        let attendant = Attendant {
            machine: self.machine.clone(),
            pod: self.pod.clone(),
            container,
            folder: self.folder.clone(),
            reports: self.reporter.clone(),
            urgency: self.urgency.subscribe(),
        };
        self.attendants.spawn(attendant.attend());
    }

    /// Until every container that was begun has ended.
    async fn attend_all(&mut self) {
        while !self.attendants.is_empty() {
            self.next_until(None).await;
            let soon = Instant::now() + COALESCE;
            while !self.attendants.is_empty() && Instant::now() < soon {
                self.next_until(Some(soon)).await;
            }
            if !self.attendants.is_empty() {
                self.write().await;
            }
        }
        while let Ok(report) = self.reports.try_recv() {
            self.take(report);
        }
    }

    /// Takes what happens next, or nothing before then.
    async fn next_until(&mut self, until: Option<Instant>) {
        tokio::select! {
            Some(report) = self.reports.recv() => self.take(report),
            Some(_) = self.attendants.join_next() => {}
            Ok(()) = self.orders.changed() => self.obey(),
            () = at(self.kill_at) => {
                self.kill_at = None;
                self.urgency.send_replace(Urgency::Killed);
            }
            () = at(self.deadline) => {
                self.deadline = None;
                let message = "Pod was active on the node longer than the specified deadline".to_owned();
                self.known.verdict = Some(Verdict { reason: "DeadlineExceeded", message, disruption: None });
                self.stop(grace(&self.pod));
            }
            () = at(until), if until.is_some() => {}
        }
    }

    fn take(&mut self, report: Report) {
        let mut records = self.known.init.iter_mut().chain(&mut self.known.containers);
        let Some(record) = records.find(|record| record.name == report.name) else { return };
        record.state = report.state;
        if let Some(image_id) = report.image_id {
            record.image_id = image_id;
        }
    }

    fn obey(&mut self) {
        let Some(order) = self.orders.borrow_and_update().clone() else { return };
        if let Some(verdict) = order.verdict {
            self.known.verdict.get_or_insert(verdict);
        }
        self.stop(order.grace);
    }

    fn stop(&mut self, grace: Duration) {
        let by = Instant::now() + grace;
        if *self.urgency.borrow() < Urgency::Killed {
            self.kill_at = Some(self.kill_at.map_or(by, |at| at.min(by)));
            self.urgency.send_replace(Urgency::Asked);
        }
    }

    fn is_deleted(&self) -> bool {
        self.orders.borrow().as_ref().is_some_and(|order| order.verdict.is_none())
    }

    /// What never started ends with its pod.
    fn give_up_waiting(&mut self) {
        if *self.urgency.borrow() == Urgency::None {
            return;
        }
        for record in self.known.init.iter_mut().chain(&mut self.known.containers).filter(|record| !record.has_ended())
        {
            record.state = lost(Timestamp::now());
        }
    }

    async fn write(&mut self) {
        let _ = self.try_write().await; // the next one says the same and more
    }

    async fn try_write(&mut self) -> kube::Result<()> {
        let status = self.known.status(self.written.as_ref(), Timestamp::now());
        if self.written.as_ref() == Some(&status) {
            return Ok(());
        }
        let written = write_status(&self.machine, &self.pod, self.written.as_ref(), &status).await;
        match written {
            Ok(()) => self.written = Some(status),
            Err(error) if is_gone(&error) => self.stop(Duration::ZERO), // deleted by force
            Err(error) => {
                tracing::debug!(pod = self.pod.name_any(), %error, "a pod's status could not be written");
                return Err(error);
            }
        }
        Ok(())
    }

    /// The last one should not be lost.
    async fn write_at_last(&mut self) {
        for _ in 0..LAST_WRITES {
            if self.try_write().await.is_ok() {
                return;
            }
            tokio::time::sleep(WRITE_AGAIN).await;
        }
        tracing::error!(pod = self.pod.name_any(), "how the pod ended could not be written");
    }
}

/// Never, where there is no time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => future::pending().await,
    }
}

/// How long a pod's containers have to stop: as its deletion says, else as its spec does.
pub(crate) fn grace(pod: &Pod) -> Duration {
    let named = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or(named).unwrap_or(30);
    Duration::from_secs(seconds.unsigned_abs())
}

/// A container of which nothing more is known.
fn lost(now: Timestamp) -> State {
    let message = "The container could not be located when the pod was terminated".to_owned();
    State::Ended(Ended {
        code: 137,
        started: now,
        finished: now,
        reason: "ContainerStatusUnknown",
        message: Some(message),
    })
}

/// Marks a pod that ran when this machine went down, as a cluster does with the pods of a node that is gone.
pub(crate) async fn mark_lost(machine: &Machine, pod: &Pod) -> kube::Result<()> {
    let now = Timestamp::now();
    let mut known = Known::of(pod, now - SignedDuration::from_secs(1));
    known.started = pod.status.as_ref().and_then(|status| Some(status.start_time.as_ref()?.0)).or(known.started);
    known.init.iter_mut().chain(&mut known.containers).for_each(|record| record.state = lost(now));
    known.verdict = Some(Verdict {
        reason: "NodeLost",
        message: "the pod ran when its node ended".to_owned(),
        disruption: Some("DeletionByPodGC"),
    });
    let status = known.status(pod.status.as_ref(), now);
    write_status(machine, pod, pod.status.as_ref(), &status).await
}

async fn write_status(machine: &Machine, pod: &Pod, old: Option<&PodStatus>, new: &PodStatus) -> kube::Result<()> {
    let api = Api::<Pod>::namespaced(machine.client.clone(), &pod.namespace().unwrap_or_default());
    let patch = json!({ "metadata": { "uid": pod.uid() }, "status": status_patch(old, new)? });
    api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

/// Deletes a pod that has stopped: nothing is waited for any more.
pub(crate) async fn delete_now(machine: &Machine, pod: &Pod) {
    let api = Api::<Pod>::namespaced(machine.client.clone(), &pod.namespace().unwrap_or_default());
    let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
    let params = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
    match api.delete(&pod.name_any(), &params).await {
        Err(error) if !is_gone(&error) => tracing::warn!(pod = pod.name_any(), %error, "a pod could not be deleted"),
        _ => {}
    }
}
