//! What is seen of a batch Job's pods beyond what they say themselves: whether they hang, the Events that may say why, and
//! how much room the nodes have for them.
//!
//! Nothing of it decides anything: it is for explanations, so what can't be read leaves them shorter.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::Job as BatchJob,
    core::v1::{Event, Node, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectMeta},
};
use tokio::{sync::Mutex, time::Instant};
use varve_api::conditions::Reason;
use varve_engine::explain::{Finding, Room, Seen, explain, missing_pods, rooms};

use crate::{
    cx::Cx,
    error::{Error, Result},
};

/// How long pods may be missing, or not have started, before their events are read.
const STUCK: Duration = Duration::from_secs(5);
/// Pods whose events are read: what stops one usually stops all.
const STUCK_PODS: usize = 2;
/// Events that are read of one object.
const EVENTS: u32 = 20;
/// How far apart looks at the events of one batch Job are at least. They are not watched.
pub(crate) const EVENTS_EVERY: Duration = Duration::from_secs(5);
/// How far apart looks at all nodes and their pods are at least, for all Jobs together.
const ROOMS_EVERY: Duration = Duration::from_secs(30);
/// Pods that are listed in one call.
const PAGE: u32 = 500;

/// What is remembered of one batch Job's events, between looks.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Its uid: of another one nothing is remembered.
    of: Option<String>,
    events: Option<(Instant, Vec<Event>)>,
    /// Since when pods are missing.
    missing_since: Option<Instant>,
}

impl Remembered {
    /// What stands in the way of a batch Job, whose pods these are.
    pub(crate) async fn finding(&mut self, cx: &Cx, batch: &BatchJob, pods: &[Arc<Pod>]) -> Result<Option<Finding>> {
        if self.of != batch.uid() {
            *self = Self { of: batch.uid(), ..Self::default() };
        }
        let all = || pods.iter().map(AsRef::as_ref);
        let are_missing = missing_pods(batch, all()) > 0;
        if !are_missing {
            self.missing_since = None;
        }
        let since = self.missing_since.get_or_insert_with(Instant::now).elapsed();
        if (are_missing && since > STUCK) || hangs(batch, pods, cx.now()) {
            if self.events.as_ref().is_none_or(|(at, _)| at.elapsed() >= EVENTS_EVERY) {
                let events = events(cx, &batch.namespace().unwrap_or_default(), stuck_names(batch, pods)).await?;
                self.events = Some((Instant::now(), events));
            }
        } else {
            self.events = None;
        }
        let events = self.events.as_ref().map(|(_, events)| events.as_slice()).unwrap_or_default();
        let seen = Seen { job: Some(batch), pods: all().collect(), events, rooms: &[] };
        let finding = explain(&seen);
        if finding.as_ref().is_none_or(|finding| finding.reason != Reason::Unschedulable) {
            return Ok(finding);
        }
        let rooms = cx.rooms.look(cx).await;
        Ok(explain(&Seen { rooms: &rooms, ..seen }))
    }
}

/// Whether pods do not come, or do not start, for longer than is usual.
fn hangs(batch: &BatchJob, pods: &[Arc<Pod>], now: Timestamp) -> bool {
    let is_old = |object: &ObjectMeta| {
        let age = object.creation_timestamp.as_ref().map(|created| now.duration_since(created.0));
        age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age > STUCK)
    };
    (pods.is_empty() && is_old(&batch.metadata)) || pods.iter().any(|pod| is_pending(pod) && is_old(&pod.metadata))
}

/// The names of the objects whose events may say why: the batch Job, and the first of the pods that wait.
fn stuck_names(batch: &BatchJob, pods: &[Arc<Pod>]) -> Vec<String> {
    let waiting = pods.iter().filter(|pod| is_pending(pod)).take(STUCK_PODS).map(|pod| pod.name_any());
    [batch.name_any()].into_iter().chain(waiting).collect()
}

fn is_pending(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending")
}

async fn events(cx: &Cx, namespace: &str, names: Vec<String>) -> Result<Vec<Event>> {
    let api: Api<Event> = Api::namespaced(cx.clients.write.clone(), namespace);
    let mut events = Vec::new();
    for name in names {
        let params = ListParams::default().fields(&format!("involvedObject.name={name}")).limit(EVENTS);
        let listed = api.list(&params).await.map_err(Error::api(format_args!("list events of {name}")))?;
        events.extend(listed.items);
    }
    Ok(events)
}

/// How much room the nodes have, looked at for all Jobs together.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<Option<(Instant, Arc<Vec<Room>>)>>);

impl Rooms {
    async fn look(&self, cx: &Cx) -> Arc<Vec<Room>> {
        let mut known = self.0.lock().await; // whoever else asks waits for the same answer
        if let Some((_, rooms)) = known.as_ref().filter(|(at, _)| at.elapsed() < ROOMS_EVERY) {
            return rooms.clone();
        }
        let rooms = Arc::new(list_rooms(cx).await);
        *known = Some((Instant::now(), rooms.clone()));
        rooms
    }
}

/// Every node's room; of pods in other namespaces the operator may know nothing, and then of nodes only their size.
async fn list_rooms(cx: &Cx) -> Vec<Room> {
    let nodes: Api<Node> = Api::all(cx.clients.write.clone());
    let nodes = match nodes.list(&ListParams::default()).await {
        Ok(nodes) => nodes.items,
        Err(error) => {
            tracing::debug!(%error, "nodes can't be listed: how much room they have stays untold");
            return Vec::new();
        }
    };
    let pods = list_pods(cx).await;
    if let Err(error) = &pods {
        tracing::debug!(%error, "the pods of all namespaces can't be listed: only the nodes' size is told");
    }
    rooms(&nodes, pods.ok().as_deref())
}

/// All pods of the cluster that have a node and have not ended.
async fn list_pods(cx: &Cx) -> kube::Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::all(cx.clients.write.clone());
    let mut params =
        ListParams::default().fields("spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed").limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = pods.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn batch() -> BatchJob {
        let spec = json!({"completions": 2, "parallelism": 2, "template": {}});
        let metadata = json!({"name": "edges-1", "creationTimestamp": "1970-01-01T00:01:40Z"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a batch Job")
    }

    fn pod(name: &str, phase: &str) -> Arc<Pod> {
        let metadata = json!({"name": name, "creationTimestamp": "1970-01-01T00:01:41Z"});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "status": {"phase": phase}})).expect("a pod"))
    }

    fn hang(pods: &[Arc<Pod>], second: i64) -> bool {
        hangs(&batch(), pods, Timestamp::from_second(second).expect("a small number of seconds"))
    }

    #[test]
    fn pods_hang_that_have_not_come_or_not_started_after_some_seconds() {
        assert_eq!([hang(&[], 105), hang(&[], 106)], [false, true]);
        let waiting = [pod("a", "Running"), pod("b", "Pending")];
        assert_eq!([hang(&waiting, 106), hang(&waiting, 107)], [false, true]);
        assert!(!hang(&[pod("a", "Running")], 1000));
    }

    #[test]
    fn the_events_of_the_batch_job_and_of_the_first_that_wait_are_read() {
        let pods = [pod("a", "Pending"), pod("b", "Running"), pod("c", "Pending"), pod("d", "Pending")];
        assert_eq!(stuck_names(&batch(), &pods), ["edges-1", "a", "c"]);
    }
}
