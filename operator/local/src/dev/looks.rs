//! What is known of the four kinds: a cache for each, filled by watches, and a count of what has changed.

use std::cell::Cell;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use varve_api::conditions::{self, Type};
use varve_api::{Commit, Job, Pipeline, Repo};

/// How long objects that were just applied may take to be seen here.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// The caches.
pub(super) struct Looks {
    pub(super) repos: Store<Repo>,
    pub(super) commits: Store<Commit>,
    pub(super) pipelines: Store<Pipeline>,
    pub(super) jobs: Store<Job>,
    version: watch::Receiver<u64>,
    shown: Cell<u64>,
    _watches: JoinSet<()>,
}

impl Looks {
    /// Begins to watch; ends when dropped.
    pub(super) fn start(client: &Client) -> Self {
        let (changes, version) = watch::channel(0);
        let mut watches = JoinSet::new();
        Self {
            repos: watched(client, &changes, &mut watches),
            commits: watched(client, &changes, &mut watches),
            pipelines: watched(client, &changes, &mut watches),
            jobs: watched(client, &changes, &mut watches),
            version,
            shown: Cell::new(0),
            _watches: watches,
        }
    }

    /// Waits until something has changed since the last call ended.
    pub(super) async fn changed(&self) {
        let mut version = self.version.clone();
        let shown = self.shown.get();
        if let Ok(now) = version.wait_for(|now| *now != shown).await {
            self.shown.set(*now);
        }
    }

    /// How many changes there were.
    pub(super) fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// Waits until there are more changes than that.
    pub(super) async fn after(&self, seen: u64) {
        let _ = self.version.clone().wait_for(|now| *now != seen).await;
    }

    /// Waits until a Commit has landed and its Repo is seen with it, which are two watches; false where it can't land.
    pub(super) async fn has_landed(&self, namespace: &str, name: &str) -> bool {
        let reference = reflector::ObjectRef::<Commit>::new(name).within(namespace);
        let look = || {
            let commit = self.commits.get(&reference)?;
            let status = commit.status.as_ref()?;
            if conditions::holds(&status.conditions, Type::Stalled) {
                return Some(false);
            }
            let reference = reflector::ObjectRef::<Repo>::new(&commit.spec.repo).within(namespace);
            let repo = self.repos.get(&reference)?;
            let mut heads = repo.status.iter().flat_map(|status| &status.branches);
            let head = heads.find(|head| head.name == commit.spec.branch)?;
            (conditions::holds(&status.conditions, Type::Ready) && status.seq <= Some(head.head.seq)).then_some(true)
        };
        tokio::time::timeout(SEEN_WITHIN, self.until(look)).await.unwrap_or(false)
    }

    /// Waits until there is something to be found: looks again after every change.
    pub(super) async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let version = self.version();
            match look() {
                Some(found) => return found,
                None => self.after(version).await,
            }
        }
    }

    /// Waits until an object is seen with at least this generation.
    pub(super) async fn until_seen(&self, kind: &str, namespace: &str, name: &str, generation: i64) {
        let is_seen = || match kind {
            "Repo" => has(&self.repos, namespace, name, generation),
            "Commit" => has(&self.commits, namespace, name, generation),
            "Pipeline" => has(&self.pipelines, namespace, name, generation),
            "Job" => has(&self.jobs, namespace, name, generation),
            _ => true,
        };
        let _ = tokio::time::timeout(SEEN_WITHIN, self.until(|| is_seen().then_some(()))).await;
    }
}

fn has<K: Resource<DynamicType = ()> + Clone>(store: &Store<K>, namespace: &str, name: &str, generation: i64) -> bool {
    let reference = reflector::ObjectRef::<K>::new(name).within(namespace);
    store.get(&reference).is_some_and(|found| found.meta().generation.unwrap_or_default() >= generation)
}

fn watched<K>(client: &Client, changes: &watch::Sender<u64>, watches: &mut JoinSet<()>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    let writer: Writer<K> = Writer::default();
    let store = writer.as_reader();
    let stream = reflector::reflector(writer, watcher(Api::<K>::all(client.clone()), watcher::Config::default()));
    let changes = changes.clone();
    watches.spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(_) => changes.send_modify(|version| *version += 1),
                Err(error) => tracing::warn!(%error, "watch"),
            }
        }
    });
    store
}

/// `namespace/name`, or the name alone in the namespace `default`.
pub(super) fn shown_name<K: Resource>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) if namespace != "default" => format!("{namespace}/{}", object.name_any()),
        _ => object.name_any(),
    }
}
