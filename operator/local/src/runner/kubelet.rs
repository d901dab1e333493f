//! Scheduler and kubelet of the one node: gives it the pods that fit and runs those that it has.
//!
//! One task owns what is known of pods and of what they use; each pod on the node is a [`Life`], a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::folder::{self, PodFolder};
use super::life::{Life, Order, delete_now, grace, mark_lost};
use super::mirror::{Mirror, key_of};
use super::schedule::{Amounts, add, fit, request};
use super::status::Verdict;
use super::{Machine, events::Note, is_gone};

/// How long pods have when `varve dev` itself is stopped, whatever they ask for: somebody waits at a terminal.
const LONGEST_FAREWELL: Duration = Duration::from_secs(10);

/// A pod that runs here.
struct Running {
    uid: String,
    request: Amounts,
    orders: watch::Sender<Option<Order>>,
}

/// The node.
pub(crate) struct Kubelet {
    machine: Arc<Machine>,
    pods: Mirror<Pod>,
    running: BTreeMap<Id, Running>,
    /// Uids of pods that have been begun, also of those that have ended since.
    begun: BTreeSet<String>,
    lives: JoinSet<()>,
    /// Something is free, or wants to be placed.
    must_schedule: bool,
}

impl Kubelet {
    pub(crate) fn new(machine: Arc<Machine>) -> Self {
        Self {
            machine,
            pods: Mirror::new(),
            running: BTreeMap::new(),
            begun: BTreeSet::new(),
            lives: JoinSet::new(),
            must_schedule: false,
        }
    }

    /// Until `stop`; then the pods that run are stopped, and marked as taken away.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let pods = Api::<Pod>::all(self.machine.client.clone());
        let watched = watcher(pods, watcher::Config::default()).default_backoff();
        let mut watched = std::pin::pin!(watched);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = watched.next() => self.take(event).await,
                Some(ended) = self.lives.join_next_with_id() => self.ended(ended),
            }
            while let Some(Some(event)) = watched.next().now_or_never() {
                self.take(event).await;
            }
            if self.must_schedule && self.pods.is_complete() {
                self.must_schedule = false;
                self.schedule().await;
            }
        }
        self.say_farewell().await;
    }

    async fn take(&mut self, event: watcher::Result<watcher::Event<Pod>>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(%error, "the watch of pods begins again");
                return;
            }
        };
        let is_first_list = matches!(event, watcher::Event::InitDone) && !self.pods.is_complete();
        let changed = self.pods.apply(event);
        if is_first_list {
            self.come_up().await;
        }
        if self.pods.is_complete() {
            for pod in changed {
                self.look_at(&pod).await;
            }
        }
    }

    /// What an earlier life of this node left is put in order: no process of it is left.
    async fn come_up(&mut self) {
        let pods: Vec<Arc<Pod>> = self.pods.iter().cloned().collect();
        let mut kept = BTreeSet::new();
        for pod in &pods {
            let uid = pod.uid().unwrap_or_default();
            if self.is_ours(pod) && !has_ended(pod) {
                tracing::info!(pod = pod.name_any(), "marked as lost: it ran when varve dev ended");
                if let Err(error) = mark_lost(&self.machine, pod).await {
                    tracing::warn!(pod = pod.name_any(), %error, "a lost pod could not be marked");
                }
                self.begun.insert(uid);
                if pod.metadata.deletion_timestamp.is_some() {
                    delete_now(&self.machine, pod).await;
                }
            } else if self.is_ours(pod) {
                kept.insert(uid);
            }
        }
        for entry in std::fs::read_dir(folder::pods(&self.machine.settings.folder)).into_iter().flatten().flatten() {
            let uid = entry.file_name().to_string_lossy().into_owned();
            if !kept.contains(&uid) {
                PodFolder::of(&self.machine.settings.folder, &uid).remove();
            }
        }
        for pod in pods {
            self.look_at(&pod).await;
        }
    }

    async fn look_at(&mut self, pod: &Arc<Pod>) {
        let uid = pod.uid().unwrap_or_default();
        let is_there = self.pods.get(&key_of(pod.as_ref())).is_some_and(|known| known.uid() == pod.uid());
        let running = self.running.values().find(|running| running.uid == uid);
        if !is_there {
            match running {
                Some(running) => give(running, Order { grace: Duration::ZERO, verdict: None }),
                None => self.forget(&uid),
            }
        } else if let Some(running) = running {
            if pod.metadata.deletion_timestamp.is_some() {
                give(running, Order { grace: grace(pod), verdict: None });
            }
        } else if pod.metadata.deletion_timestamp.is_some() {
            if is_unplaced(pod) || self.is_ours(pod) {
                delete_now(&self.machine, pod).await; // nothing of it runs
            }
        } else if !has_ended(pod) && is_unplaced(pod) {
            self.must_schedule = true;
        } else if !has_ended(pod) && self.is_ours(pod) && !self.begun.contains(&uid) {
            self.begin(pod.clone());
        }
    }

    fn forget(&mut self, uid: &str) {
        self.begun.remove(uid);
        PodFolder::of(&self.machine.settings.folder, uid).remove();
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        node_of(pod) == Some(self.machine.settings.node.as_str())
    }

    fn begin(&mut self, pod: Arc<Pod>) {
        let uid = pod.uid().unwrap_or_default();
        let (orders, inbox) = watch::channel(None);
        let request = request(&pod);
        self.begun.insert(uid.clone());
        let life = self.lives.spawn(Life::new(self.machine.clone(), pod, inbox).live());
        self.running.insert(life.id(), Running { uid, request, orders });
    }

    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a pod's task ended by a fault of ours");
                error.id()
            }
        };
        self.must_schedule = true;
        let Some(running) = self.running.remove(&id) else { return };
        if !self.pods.iter().any(|pod| pod.uid().is_some_and(|uid| uid == running.uid)) {
            self.forget(&running.uid);
        }
    }

    /// Places what fits, oldest first; a small one may pass one that waits.
    async fn schedule(&mut self) {
        let mut used = Amounts::new();
        self.running.values().for_each(|running| add(&mut used, &running.request));
        let is_waiting =
            |pod: &&Arc<Pod>| is_unplaced(pod) && !has_ended(pod) && pod.metadata.deletion_timestamp.is_none();
        let mut waiting: Vec<Arc<Pod>> = self.pods.iter().filter(is_waiting).cloned().collect();
        waiting.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.name_any()));
        for pod in waiting {
            let done = match fit(&self.machine.facts, &used, &pod) {
                Ok(()) => {
                    add(&mut used, &request(&pod));
                    self.place(&pod).await
                }
                Err(why) => self.leave_waiting(&pod, why).await,
            };
            match done {
                Err(error) if !is_gone(&error) => {
                    tracing::warn!(pod = pod.name_any(), %error, "a pod could not be placed");
                }
                _ => {}
            }
        }
    }

    async fn place(&mut self, pod: &Pod) -> kube::Result<()> {
        let api = self.api(pod);
        let patch = json!({ "metadata": { "uid": pod.uid() }, "spec": { "nodeName": self.machine.settings.node } });
        let placed = api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        if let Some(placed) = self.pods.put(placed) {
            self.begin(placed);
        }
        Ok(())
    }

    async fn leave_waiting(&mut self, pod: &Pod, why: String) -> kube::Result<()> {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let is_told = conditions
            .clone()
            .any(|condition| condition.type_ == "PodScheduled" && condition.message.as_deref() == Some(why.as_str()));
        if is_told {
            return Ok(());
        }
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
            "lastTransitionTime": Time(Timestamp::now()),
        });
        let status = json!({ "phase": "Pending", "conditions": [condition] });
        let patch = json!({ "metadata": { "uid": pod.uid() }, "status": status });
        let told = self.api(pod).patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        self.pods.put(told);
        self.machine.events.warn(pod, Note { reason: "FailedScheduling", message: why }).await;
        Ok(())
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.machine.client.clone(), &pod.namespace().unwrap_or_default())
    }

    async fn say_farewell(mut self) {
        for running in self.running.values() {
            let pod = self.pods.iter().find(|pod| pod.uid().is_some_and(|uid| uid == running.uid));
            let verdict = Verdict {
                reason: "Terminated",
                message: "Pod was terminated in response to imminent node shutdown.".to_owned(),
                disruption: Some("TerminationByKubelet"),
            };
            let grace = pod.map_or(LONGEST_FAREWELL, |pod| grace(pod).min(LONGEST_FAREWELL));
            give(running, Order { grace, verdict: Some(verdict) });
        }
        while self.lives.join_next().await.is_some() {}
    }
}

/// Gives an order, unless the same was given before.
fn give(running: &Running, order: Order) {
    running.orders.send_if_modified(|given| {
        let is_new = given.as_ref() != Some(&order);
        *given = Some(order);
        is_new
    });
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

fn is_unplaced(pod: &Pod) -> bool {
    node_of(pod).is_none()
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
