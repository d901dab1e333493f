//! What the replica knows of the cluster: one watch per kind, kept in memory, warm also on replicas
//! that do not lead.
//!
//! A [`Cache`] is a kube reflector plus a broadcast of what changed, from which controllers draw their
//! triggers. `managedFields` are dropped on arrival: they are half of an object's size and nobody here
//! reads them. Children that matter only by existing are watched by their metadata: an `Api` of
//! `PartialObjectMeta` asks the server for nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    batch::v1::Job as BatchJob,
    core::v1::{ConfigMap, Namespace, Pod, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use varve_api::{commit::Commit, job::Job, labels, pipeline::Pipeline, repo::Repo};

/// Changes a slow listener may fall behind by before it is told to look at everything anew.
const CHANGES_KEPT: usize = 4096;

/// How long something that we made may be unknown to a cache before the API server is asked for it: either somebody has
/// deleted it, or the cache lags.
pub(crate) const CACHE_LAG: Duration = Duration::from_secs(10);

/// Something that changed in a cache.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// This object was made, changed or deleted.
    Object(Arc<K>),
    /// Anything may have changed: look at everything.
    Everything,
}

/// The objects of one kind, kept up to date.
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    by_namespace: Arc<RwLock<ByNamespace<K>>>,
    changes: broadcast::Sender<Change<K>>,
}

/// The store's objects by namespace and name: whoever looks at one namespace does not pay for the others.
type ByNamespace<K> = BTreeMap<String, BTreeMap<String, Arc<K>>>;

impl<K: Resource<DynamicType = ()> + Clone + 'static> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), by_namespace: self.by_namespace.clone(), changes: self.changes.clone() }
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + DeserializeOwned + 'static,
{
    /// A cache and the future that fills it; the future runs until dropped.
    pub fn new(api: Api<K>, config: watcher::Config) -> (Self, impl Future<Output = ()> + Send) {
        let (store, mut writer) = reflector::store::<K>();
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let cache = Self { store, by_namespace: Arc::default(), changes: changes.clone() };
        let indexed = cache.clone();
        let kind = K::kind(&()).into_owned();
        let fill = async move {
            let mut events =
                watcher(api, config).default_backoff().modify(|object| object.managed_fields_mut().clear()).boxed();
            while let Some(event) = events.next().await {
                let event = match event {
                    Ok(event) => event,
                    Err(error) => {
                        tracing::warn!(kind, %error, "watch broke off; it is being taken up again");
                        continue;
                    }
                };
                writer.apply_watcher_event(&event);
                indexed.index(&event);
                let change = match event {
                    watcher::Event::Apply(object) | watcher::Event::Delete(object) => Change::Object(Arc::new(object)),
                    watcher::Event::InitDone => Change::Everything,
                    watcher::Event::Init | watcher::Event::InitApply(_) => continue,
                };
                // An error says that nobody listens, as on a replica that does not lead.
                let _ = changes.send(change);
            }
        };
        (cache, fill)
    }

    /// Takes over what the store has made of `event`: its own objects, not copies.
    fn index(&self, event: &watcher::Event<K>) {
        let mut all = self.by_namespace.write().unwrap_or_else(PoisonError::into_inner);
        let put = |all: &mut ByNamespace<K>, object: Arc<K>| {
            let names = all.entry(object.namespace().unwrap_or_default()).or_default();
            names.insert(object.name_any(), object);
        };
        match event {
            watcher::Event::Apply(object) => {
                if let Some(object) = self.store.get(&ObjectRef::from_obj(object)) {
                    put(&mut all, object);
                }
            }
            watcher::Event::Delete(object) => {
                let namespace = object.namespace().unwrap_or_default();
                if let Some(names) = all.get_mut(&namespace) {
                    names.remove(&object.name_any());
                    if names.is_empty() {
                        all.remove(&namespace);
                    }
                }
            }
            watcher::Event::InitDone => {
                all.clear();
                for object in self.store.state() {
                    put(&mut all, object);
                }
            }
            watcher::Event::Init | watcher::Event::InitApply(_) => {}
        }
    }

    /// The object of that name, if it is there.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The cluster-scoped object of that name.
    pub fn get_cluster(&self, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name))
    }

    /// All objects of one namespace that `keep` keeps, in the order of their names.
    pub fn in_namespace(&self, namespace: &str, keep: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let all = self.by_namespace.read().unwrap_or_else(PoisonError::into_inner);
        all.get(namespace).into_iter().flat_map(BTreeMap::values).filter(|object| keep(object)).cloned().collect()
    }

    /// The reflector's store.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// What changes from now on. Never ends by itself, never misses: a listener that falls behind is
    /// told [`Change::Everything`].
    pub fn changes(&self) -> impl Stream<Item = Change<K>> + Send + use<K> {
        let receiver = self.changes.subscribe();
        futures::stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(change) => Some((change, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((Change::Everything, receiver)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        })
    }

    /// Turns this cache's changes into objects of kind `T` to look at: those that `which` names for a
    /// changed object, or all in `all` where anything may have changed.
    pub fn triggers<T, I>(
        &self,
        all: Store<T>,
        which: impl Fn(&K) -> I + Send + 'static,
    ) -> BoxStream<'static, ObjectRef<T>>
    where
        T: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
        I: IntoIterator<Item = ObjectRef<T>>,
    {
        self.changes()
            .flat_map(move |change| {
                let refs: Vec<_> = match change {
                    Change::Object(object) => which(&object).into_iter().collect(),
                    Change::Everything => everything(&all),
                };
                futures::stream::iter(refs)
            })
            .boxed()
    }
}

/// References to all objects of a store, in the order of their names: what is looked at anew is so in the same order
/// each time.
pub(crate) fn everything<T>(store: &Store<T>) -> Vec<ObjectRef<T>>
where
    T: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut all: Vec<_> = store.state().iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect();
    all.sort_by(|one, another| (&one.namespace, &one.name).cmp(&(&another.namespace, &another.name)));
    all
}

/// All caches of one scope: the whole cluster, or one namespace.
#[derive(Clone)]
pub struct Caches {
    /// Our four kinds.
    pub repos: Cache<Repo>,
    /// Our four kinds.
    pub commits: Cache<Commit>,
    /// Our four kinds.
    pub pipelines: Cache<Pipeline>,
    /// Our four kinds.
    pub jobs: Cache<Job>,
    /// The `batch/v1` Jobs that the operator made.
    pub batch_jobs: Cache<BatchJob>,
    /// The pods of those Jobs, whole: why one does not start stands in its status.
    pub pods: Cache<Pod>,
    /// Secrets labelled `varve.dev/store`: metadata alone, never their content.
    pub store_secrets: Cache<PartialObjectMeta<Secret>>,
    /// `ConfigMaps`, metadata alone: a Pipeline or Commit that waits for one is woken by it.
    pub config_maps: Cache<PartialObjectMeta<ConfigMap>>,
    /// Namespaces, metadata alone: uid and whether it is going away.
    pub namespaces: Cache<PartialObjectMeta<Namespace>>,
}

/// What a replica watches: everything, or one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    Cluster,
    /// This one alone.
    Namespace(String),
}

impl Scope {
    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::Cluster => Api::all(client.clone()),
            Self::Namespace(name) => Api::namespaced(client.clone(), name),
        }
    }
}

impl Caches {
    /// Caches of one scope and the future that fills them all; it runs until dropped.
    pub fn new(client: &Client, scope: &Scope) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let every = watcher::Config::default();
        let ours = every.clone().labels(labels::MANAGED_SELECTOR);
        let stores = every.clone().labels(labels::STORE);
        let spaces = match scope {
            Scope::Cluster => every.clone(),
            Scope::Namespace(name) => every.clone().fields(&format!("metadata.name={name}")),
        };
        let (repos, fill_repos) = Cache::new(scope.api(client), every.clone());
        let (commits, fill_commits) = Cache::new(scope.api(client), every.clone());
        let (pipelines, fill_pipelines) = Cache::new(scope.api(client), every.clone());
        let (jobs, fill_jobs) = Cache::new(scope.api(client), every.clone());
        let (batch_jobs, fill_batch_jobs) = Cache::new(scope.api(client), ours.clone());
        let (pods, fill_pods) = Cache::new(scope.api(client), ours);
        let (store_secrets, fill_store_secrets) = Cache::new(scope.api(client), stores);
        let (config_maps, fill_config_maps) = Cache::new(scope.api(client), every);
        let (namespaces, fill_namespaces) = Cache::new(Api::all(client.clone()), spaces);
        let caches = Self { repos, commits, pipelines, jobs, batch_jobs, pods, store_secrets, config_maps, namespaces };
        let fill = async move {
            futures::join!(
                fill_repos,
                fill_commits,
                fill_pipelines,
                fill_jobs,
                fill_batch_jobs,
                fill_pods,
                fill_store_secrets,
                fill_config_maps,
                fill_namespaces,
            );
        };
        (caches, fill)
    }

    /// The names of a namespace's Secrets of stores.
    pub(crate) fn store_names(&self, namespace: &str) -> BTreeSet<String> {
        let secrets = self.store_secrets.in_namespace(namespace, |_| true);
        secrets.iter().map(|secret| secret.name_any()).collect()
    }

    /// Waits until every cache has seen its first whole list.
    pub async fn wait_until_ready(&self) {
        macro_rules! ready {
            ($($cache:ident),*) => {
                // An error says that the filling future was dropped: the process is ending.
                $(let _ = self.$cache.store.wait_until_ready().await;)*
            };
        }
        ready!(repos, commits, pipelines, jobs, batch_jobs, pods, store_secrets, config_maps, namespaces);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, Response, header::ACCEPT};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    fn config_map(namespace: &str, name: &str) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name}})).unwrap()
    }

    #[tokio::test]
    async fn a_namespace_s_objects_are_found_as_they_come_and_go() {
        let client = Client::new(tower::service_fn(nobody), "field");
        let (cache, _never_filled) = Cache::<ConfigMap>::new(Api::all(client), watcher::Config::default());
        let (store, mut writer) = reflector::store::<ConfigMap>();
        let cache = Cache { store, ..cache };
        let mut see = |event: watcher::Event<ConfigMap>| {
            writer.apply_watcher_event(&event);
            cache.index(&event);
            let mut all = Vec::new();
            for namespace in ["field", "lab"] {
                let found = cache.in_namespace(namespace, |_| true);
                all.extend(found.iter().map(|found| format!("{namespace}/{}", found.name_any())));
            }
            all.sort();
            all.join(" ")
        };
        see(watcher::Event::Init);
        assert_eq!(see(watcher::Event::InitApply(config_map("field", "a"))), "");
        assert_eq!(see(watcher::Event::InitDone), "field/a");
        assert_eq!(see(watcher::Event::Apply(config_map("lab", "b"))), "field/a lab/b");
        assert_eq!(see(watcher::Event::Delete(config_map("field", "a"))), "lab/b");
        see(watcher::Event::Init);
        see(watcher::Event::InitApply(config_map("field", "c")));
        assert_eq!(see(watcher::Event::InitDone), "field/c");
    }

    async fn nobody(_: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        Err(std::io::Error::other("nobody is asked"))
    }

    #[tokio::test]
    async fn of_secrets_and_config_maps_nothing_but_metadata_is_asked_for() {
        let (asked, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: Request<Body>| {
            let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let _ = asked.send((request.uri().path().to_owned(), accept.to_owned()));
            std::future::pending::<Result<Response<Body>, std::io::Error>>()
        });
        let (_caches, fill) = Caches::new(&Client::new(service, "field"), &Scope::Cluster);
        let filling = tokio::spawn(fill);
        let mut found = 0;
        while found < 3 {
            let (path, accept) = seen.recv().await.unwrap();
            if ["/api/v1/secrets", "/api/v1/configmaps", "/api/v1/namespaces"].contains(&path.as_str()) {
                assert!(accept.contains("as=PartialObjectMetadata"), "{path}: {accept}");
                found += 1;
            }
        }
        filling.abort();
    }
}
