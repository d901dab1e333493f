//! Job controller, kubelets and keepers at once: batch Jobs run as pods ([`pods`]), whose keepers run datums
//! ([`keeper`]) that succeed, fail and hang. What a datum writes is a function of its command and its files alone.

mod keeper;
mod memory;
mod pods;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::poll_fn;
use std::task::Poll;

use futures::Stream;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::batch::v1::Job as BatchJob;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use varve_format::Hash;

use self::memory::Memory;
use self::pods::Shards;
use crate::chance::Chance;
use crate::trace::Trace;
use crate::wire::Weather;
use crate::world::{NAMESPACE, World};

/// What stands in files that no code can digest: their datums fail.
pub(crate) const BAD: &str = "bad";

/// All workers of a life, and what they know to have done.
pub(crate) struct Workers {
    chance: Chance,
    trace: Trace,
    memory: Memory,
}

impl Workers {
    pub(crate) fn new(chance: Chance, trace: Trace, weather: Weather) -> Self {
        Self { chance, trace, memory: Memory::new(weather.stale_lists > 0) }
    }

    /// Datums that were run.
    pub(crate) fn runs(&self) -> u32 {
        self.memory.runs()
    }

    /// Pods that ended without having done what they were to do.
    pub(crate) fn mishaps(&self) -> u32 {
        self.memory.mishaps()
    }

    /// What the operator made workers do that it must not.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.memory.broken()
    }

    /// A Job has ended: what it has done, where that is kept, is known to all that come after it. False where it was known
    /// to have ended.
    pub(crate) fn job_ended(&self, job: uuid::Uuid, is_kept: bool) -> bool {
        self.memory.job_ended(job, is_kept)
    }

    /// A Job has begun, after those that have ended by now. False where that was known.
    pub(crate) fn job_began(&self, job: uuid::Uuid) -> bool {
        self.memory.job_began(job)
    }

    /// Runs every batch Job that comes, until it goes.
    pub(crate) async fn run(&self, world: &World) {
        let client = world.client.clone();
        let api: Api<BatchJob> = Api::namespaced(client.clone(), NAMESPACE);
        let mut at_work: BTreeMap<String, LocalBoxFuture<'_, ()>> = BTreeMap::new();
        let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
        loop {
            let next = poll_fn(|context| {
                at_work.retain(|_, working| working.as_mut().poll(context).is_pending());
                match events.as_mut().poll_next(context) {
                    Poll::Ready(event) => Poll::Ready(event),
                    Poll::Pending => Poll::Pending,
                }
            });
            match next.await {
                Some(Ok(Event::Apply(job) | Event::InitApply(job))) => {
                    let uid = job.uid().unwrap_or_default();
                    let is_over = job.status.iter().any(|status| status.completion_time.is_some());
                    if job.metadata.deletion_timestamp.is_some() || is_over {
                        at_work.remove(&uid);
                    } else if let Entry::Vacant(place) = at_work.entry(uid) {
                        let shards = Shards { workers: self, world, client: client.clone(), job };
                        place.insert(Box::pin(shards.run()));
                    }
                }
                Some(Ok(Event::Delete(job))) => {
                    at_work.remove(&job.uid().unwrap_or_default());
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// What a datum's code writes: a line for each file or folder that it reads, under the first one's name. Nothing, where
/// it can't digest one of them.
pub(crate) fn output(command: &str, members: &[(String, String)]) -> Option<(String, String)> {
    let bad = Hash::of_content(BAD.as_bytes()).to_string();
    if members.iter().any(|(_, id)| *id == bad) {
        return None;
    }
    let name = members.first().map_or("nothing", |(path, _)| path.rsplit('/').next().unwrap_or_default());
    let name = if name.is_empty() { "all" } else { name };
    let lines: Vec<String> = members.iter().map(|(path, id)| format!("{command} {path} {id}\n")).collect();
    Some((name.to_owned(), lines.concat()))
}
