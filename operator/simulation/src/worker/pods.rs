//! The job controller and the kubelets: pods of an Indexed Job, one shard after the other, until each says that it is
//! done. They are evicted, killed and lost with their nodes, and some say that all is done when it is not.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use varve_api::{exit_codes, pod};

use super::Workers;
use super::keeper::Keeper;
use crate::world::{NAMESPACE, World};

/// The longest that a pod takes to start.
const LONGEST_START: Duration = Duration::from_secs(5);
/// How long a node may be silent until its pods are deleted: Kubernetes' default for the taint `unreachable`.
const SILENCE: Duration = Duration::from_mins(5);
/// Wait before the second pod of a shard, doubled for each further one, up to 2⁵ times.
const BACKOFF: Duration = Duration::from_secs(10);

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    /// The node takes it away.
    Evicted,
    /// It is killed, as by `kubectl delete pod`.
    Killed,
    /// Its node is heard of no more.
    Lost,
    /// It says that all is done, and it is not.
    Lies,
}

/// The shards of one batch Job.
pub(super) struct Shards<'a> {
    pub(super) workers: &'a Workers,
    pub(super) world: &'a World,
    pub(super) client: Client,
    pub(super) job: BatchJob,
}

impl Shards<'_> {
    /// Runs them; what comes of it stands in the batch Job's status. Never ends: its batch Job does.
    pub(super) async fn run(self) {
        if let Err(error) = self.run_all().await {
            self.workers.trace.say("worker", format!("{}: {error}", self.job.name_any()));
        }
        std::future::pending::<()>().await;
    }

    async fn run_all(&self) -> Result<(), Box<dyn Error>> {
        let spec = self.job.spec.clone().unwrap_or_default();
        let shards = u32::try_from(spec.completions.unwrap_or(1)).unwrap_or(1);
        let slots = Semaphore::new(usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(1));
        let done = Mutex::new(BTreeSet::new());
        let all = (0..shards).map(|shard| {
            let (slots, done) = (&slots, &done);
            async move {
                let _slot = slots.acquire().await;
                Box::pin(self.shard(shard, done)).await
            }
        });
        futures::future::try_join_all(all).await?;
        let now = self.world.environment.now();
        let complete = json!({
            "succeeded": shards, "completedIndexes": format!("0-{}", shards - 1), "active": 0, "completionTime": now,
            "conditions": [{ "type": "Complete", "status": "True", "lastTransitionTime": now }],
        });
        let api: Api<BatchJob> = Api::namespaced(self.client.clone(), NAMESPACE);
        Ok(stand(&api, &self.job.name_any(), complete).await?)
    }

    /// Pods of one shard, one after the other, until one says that it is done.
    async fn shard(&self, shard: u32, done: &Mutex<BTreeSet<u32>>) -> Result<(), Box<dyn Error>> {
        for failures in 0.. {
            let fate = match self.workers.chance.below(20) {
                0 => Fate::Evicted,
                1 => Fate::Killed,
                2 => Fate::Lies,
                3 if !self.world.operators.is_calm() => Fate::Lost, // minutes of silence, again and again
                _ => Fate::Well,
            };
            if Box::pin(self.pod(shard, failures, fate)).await? {
                done.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
                return Ok(());
            }
            tokio::time::sleep(BACKOFF * (1 << failures.min(5))).await;
        }
        Ok(())
    }

    /// One pod. True where it says that its shard is done.
    async fn pod(&self, shard: u32, failures: u32, fate: Fate) -> Result<bool, Box<dyn Error>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let template = self.job.spec.clone().unwrap_or_default().template;
        let mut metadata = template.metadata.clone().unwrap_or_default();
        metadata.generate_name = Some(format!("{}-{shard}-", self.job.name_any()));
        metadata.owner_references = kube::Resource::controller_owner_ref(&self.job, &()).map(|owner| vec![owner]);
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert("batch.kubernetes.io/job-completion-index".to_owned(), shard.to_string());
        annotations.insert("batch.kubernetes.io/job-index-failure-count".to_owned(), failures.to_string());
        let spec = template.spec.unwrap_or_default();
        let made = Pod { metadata, spec: Some(spec.clone()), status: None };
        let made = pods.create(&PostParams::default(), &made).await?;
        let (name, uid) = (made.name_any(), made.uid().unwrap_or_default());
        tokio::time::sleep(self.workers.chance.pause(LONGEST_START)).await;
        stand(&pods, &name, json!({ "phase": "Running" })).await?;
        self.workers.trace.say("worker", format!("{name}: runs, and will end so: {fate:?}"));
        if fate != Fate::Well {
            self.workers.memory.pod_ends_badly();
        }
        let keeper = Keeper {
            workers: self.workers,
            world: self.world,
            name: &name,
            job: variable(&spec, pod::ENV_JOB_UID).parse()?,
            plan: variable(&spec, pod::ENV_PLAN).parse()?,
            shard,
            pod: uid.parse()?,
            fate,
        };
        let is_done = tokio::select! {
            biased;
            is_done = keeper.run() => is_done?,
            gone = await_condition(pods.clone(), &name, is_deleted(&uid)) => {
                gone?; // somebody has deleted it
                return Ok(false);
            }
        };
        if is_done {
            let succeeded = json!({ "phase": "Succeeded", "containerStatuses": ended(exit_codes::DONE) });
            stand(&pods, &name, succeeded).await?;
            return Ok(true);
        }
        if fate == Fate::Lost {
            tokio::time::sleep(SILENCE).await;
        }
        if matches!(fate, Fate::Killed | Fate::Lost) {
            // Somebody else may have deleted it.
            let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
        } else {
            let evicted = json!([{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" }]);
            let containers = ended(exit_codes::STOPPED);
            let failed = json!({ "phase": "Failed", "conditions": evicted, "containerStatuses": containers });
            stand(&pods, &name, failed).await?;
        }
        Ok(false)
    }
}

/// A variable of the keeper's.
fn variable(spec: &PodSpec, name: &str) -> String {
    let keeper = spec.containers.iter().find(|container| container.name == pod::KEEPER);
    let found = keeper.iter().flat_map(|keeper| keeper.env.iter().flatten()).find(|variable| variable.name == name);
    found.and_then(|variable| variable.value.clone()).unwrap_or_default()
}

/// A keeper that has ended.
fn ended(code: i32) -> Value {
    json!([{
        "name": pod::KEEPER, "image": "varve", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": code } },
    }])
}

/// Sets a status, where the object is still there.
async fn stand<K>(api: &Api<K>, name: &str, status: Value) -> kube::Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = Patch::Merge(json!({ "status": status }));
    match api.patch_status(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
