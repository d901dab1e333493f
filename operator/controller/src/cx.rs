//! What every reconciler is given: eyes (caches), hands (act, status, stores, heads), and settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use object_store::{ObjectStore, path::Path};
use uuid::Uuid;
use varve_api::pod::RUN_AS;
use varve_engine::pod::Surroundings;
use varve_store::backend::{self, Allowed};
use varve_store::{Environment, SystemEnvironment};

use crate::{
    act::{Act, FaultHook, Leading},
    cache::Caches,
    clients::Clients,
    events::Events,
    heads::Heads,
    image::{self, Images},
    metrics::Metrics,
    pods::Rooms,
    status::StatusWriter,
    stores::Stores,
};

/// What the person who installs the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The image that pods get `install`, `keeper` and `import` from.
    pub image: String,
    /// Where it is found out what an image reference means.
    pub images: image::Source,
    /// Reconciliations of one kind at a time.
    pub concurrency: u16,
    /// What the Secrets of stores may ask for.
    pub allowed: Allowed,
}

/// The context of one scope's controllers.
pub struct Cx {
    /// Clients, for reads that no cache serves. Never write by them: that is `act`'s.
    pub clients: Clients,
    /// What is known of the cluster.
    pub caches: Caches,
    /// Writes to the API server.
    pub act: Act,
    /// Writes of statuses.
    pub status: StatusWriter,
    /// Connections to object stores.
    pub stores: Stores,
    /// Branch heads.
    pub heads: Heads,
    /// Images at their registries.
    pub images: Images,
    /// How much room the nodes have.
    pub(crate) rooms: Rooms,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Settings.
    pub settings: Settings,
    /// Clock and buckets.
    outside: Outside,
    /// The cluster: uid of its `kube-system` namespace.
    pub cluster: Uuid,
    /// Whether Kubernetes can start a killed container again in its pod.
    restarts_in_place: bool,
}

impl Cx {
    /// A context over clients and caches.
    pub fn new(clients: Clients, caches: Caches, settings: Settings, world: World) -> Arc<Self> {
        let act = Act::new(clients.write.clone(), world.leading.clone(), world.faults.clone(), world.metrics.clone());
        Arc::new(Self {
            status: StatusWriter::new(act.clone(), Events::new(clients.write.clone())),
            stores: Stores::new(clients.write.clone(), caches.clone(), settings.allowed, &world),
            heads: Heads::new(),
            images: Images::new(clients.write.clone(), settings.images.clone()),
            rooms: Rooms::default(),
            metrics: world.metrics,
            outside: world.outside,
            cluster: world.cluster,
            restarts_in_place: world.restarts_in_place,
            clients,
            caches,
            act,
            settings,
        })
    }

    /// What the pods of a namespace have in common, those that work on the store of this Secret.
    pub(crate) fn surroundings(&self, namespace: &str, store_secret: &str) -> Surroundings {
        let space = self.caches.namespaces.get_cluster(namespace);
        Surroundings {
            namespace: namespace.to_owned(),
            own_image: self.settings.image.clone(),
            store_secret: store_secret.to_owned(),
            run_as: space.as_ref().map_or(Some(RUN_AS), |space| Surroundings::run_as(space.annotations())),
            allows_local_stores: self.settings.allowed.local_stores,
            allows_machine_credentials: self.settings.allowed.machine_credentials,
            restarts_in_place: self.restarts_in_place,
        }
    }

    /// The time. Deciding code gets it passed in.
    pub fn now(&self) -> Timestamp {
        let unix_ns = self.outside.environment.now_unix_ns();
        Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default() // every i64 is a time that it knows
    }
}

/// Connects to the store that a Secret's keys describe: the backend, and the prefix below which the store lies.
pub type Connect =
    Arc<dyn Fn(&BTreeMap<String, String>, Allowed) -> varve_store::Result<(Arc<dyn ObjectStore>, Path)> + Send + Sync>;

/// The world outside, as far as it is not the API server: a test gives its own.
#[derive(Clone)]
pub struct Outside {
    /// Clock and ids.
    pub environment: Arc<dyn Environment>,
    /// Buckets.
    pub connect: Connect,
}

impl Default for Outside {
    /// The machine's clock and randomness, and real buckets.
    fn default() -> Self {
        Self { environment: Arc::new(SystemEnvironment), connect: Arc::new(backend::connect) }
    }
}

/// What a context shares with the rest of the process.
pub struct World {
    /// Uid of the `kube-system` namespace.
    pub cluster: Uuid,
    /// Whether Kubernetes can start a killed container again in its pod.
    pub restarts_in_place: bool,
    /// Whether this replica leads.
    pub leading: Leading,
    /// Fails calls on purpose, in tests.
    pub faults: Arc<dyn FaultHook>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// What is kept in memory of all stores.
    pub memory: varve_store::Caches,
    /// Clock and buckets.
    pub outside: Outside,
}
