//! One life: its parts, and its course from the first act to rest.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use object_store::path::Path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use varve_api::labels;
use varve_store::{Options, Store};

use crate::bucket::Objects;
use crate::chance::Chance;
use crate::clock::SimulatedEnvironment;
use crate::operator::Operators;
use crate::trace::Trace;
use crate::wire::{Ledger, Weather, Wire};
use crate::witness::Witness;
use crate::worker::Workers;
use crate::{Counts, actors, laws};
use varve_local::api::{self, Server};

/// The namespace in which all happens.
pub(crate) const NAMESPACE: &str = "lab";
/// The prefix of its store in the bucket.
const PREFIX: &str = "lab";
/// How long nothing may be written for a life to be at rest: more than a pod of a silent node stays.
const REST: Duration = Duration::from_mins(7);

/// A kind whose objects lie in the namespace.
pub(crate) trait Kind:
    kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + 'static
{
}

impl<K> Kind for K where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + 'static
{
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) server: Server,
    /// A client of somebody to whom nothing happens.
    pub(crate) client: Client,
    pub(crate) environment: SimulatedEnvironment,
    pub(crate) objects: Objects,
    weather: Weather,
    /// What was written to the API server.
    pub(crate) ledger: Ledger,
    /// What workers have run and recorded.
    pub(crate) workers: Workers,
    pub(crate) operators: Operators,
    pub(crate) witness: Witness,
    begun: Instant,
    acknowledged: Mutex<Vec<String>>,
}

impl World {
    pub(crate) fn new(chance: Chance, trace: Trace) -> Self {
        let environment = SimulatedEnvironment::new(chance.fork());
        let clock = environment.clone();
        let settings = api::Settings::simulated(chance.below(usize::MAX) as u64, Arc::new(move || clock.now()));
        let weather = Weather::of(&chance);
        let server = Server::in_memory(settings);
        Self {
            client: server.client(NAMESPACE),
            server,
            objects: Objects::new(),
            ledger: Ledger::default(),
            workers: Workers::new(chance.fork(), trace.clone(), weather),
            operators: Operators::new(chance.fork(), trace.clone()),
            witness: Witness::default(),
            begun: Instant::now(),
            acknowledged: Mutex::default(),
            chance,
            trace,
            environment,
            weather,
        }
    }

    /// The life; gives the laws that were broken.
    pub(crate) async fn live(&self) -> Vec<String> {
        if let Err(error) = self.begin().await {
            return vec![format!("it can't begin: {error}")];
        }
        let course = async {
            let acknowledged = actors::act(self).await;
            self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&acknowledged);
            self.trace.say("world", "the faults cease");
            self.operators.calm_down();
            let writes = self.come_to_rest().await;
            let mut broken = laws::ask(self, &acknowledged).await;
            if writes > 0 {
                broken.push(format!("{writes} writes in {} minutes of rest", REST.as_secs() / 60));
            }
            broken
        };
        tokio::select! {
            biased; // so that a seed's life is the same each time
            broken = course => broken,
            () = self.operators.run(self) => vec!["no operator is left".to_owned()],
            () = self.workers.run(self) => vec!["no worker is left".to_owned()],
            () = self.witness.run(self) => vec!["no witness is left".to_owned()],
        }
    }

    async fn begin(&self) -> kube::Result<()> {
        let client = self.client.clone();
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        let metadata = ObjectMeta { name: Some(NAMESPACE.to_owned()), ..ObjectMeta::default() };
        let namespace = k8s_openapi::api::core::v1::Namespace { metadata, ..Default::default() };
        namespaces.create(&PostParams::default(), &namespace).await?;
        let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some("varve-store".to_owned()),
                labels: Some(BTreeMap::from([(labels::STORE.to_owned(), "true".to_owned())])),
                ..ObjectMeta::default()
            },
            string_data: Some(BTreeMap::from([("url".to_owned(), format!("s3://simulated/{PREFIX}"))])),
            ..Secret::default()
        };
        secrets.create(&PostParams::default(), &secret).await.map(drop)
    }

    /// The objects of a kind, to somebody to whom nothing happens.
    pub(crate) fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// All of a kind.
    pub(crate) async fn all<K: Kind>(&self) -> kube::Result<Vec<K>> {
        Ok(self.api::<K>().list(&ListParams::default()).await?.items)
    }

    /// The store, as somebody sees it to whom nothing happens.
    pub(crate) async fn store(&self) -> varve_store::Result<Store> {
        let environment = self.environment.with_clock_off(0);
        let options = Options { environment, ..Options::default() };
        Store::open_with(self.objects.inner.clone(), Path::from(PREFIX), options).await
    }

    /// A wire of its own for a process.
    pub(crate) fn wire(&self) -> Wire {
        Wire::new(self.weather, self.chance.fork(), self.ledger.clone(), self.trace.clone())
    }

    /// Waits until nothing is written any more; gives the writes of the last stretch, which is none where it rests.
    async fn come_to_rest(&self) -> u32 {
        let mut writes = 0;
        for _ in 0..=15 {
            let before = self.ledger.total();
            tokio::time::sleep(REST).await;
            writes = self.ledger.total() - before;
            if writes == 0 {
                break;
            }
        }
        writes
    }

    /// How much happened.
    pub(crate) fn counts(&self) -> Counts {
        let commits = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
        Counts {
            kills: self.operators.kills(),
            faults: self.operators.faults(),
            calls: self.operators.calls(),
            commits: u32::try_from(commits).unwrap_or(u32::MAX),
            datums: self.workers.runs(),
            seconds: self.begun.elapsed().as_secs(),
        }
    }
}
