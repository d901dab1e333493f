//! Job controller, kubelet and keeper at once: runs the shards of batch Jobs as pods that succeed, fail, hang, are
//! evicted, and lie about how they ended. What a datum's output is, is a function of its command and its files.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;
use varve_api::{exit_codes, pod};
use varve_format::records::{DatumResult, NodeRef as NodeRecord, Plan, PlanDatum, ResultState, ShardResults};
use varve_format::{Hash, MapKind, RepoPath};
use varve_store::{Entry as TreeEntry, NodeRef, ResultKey, Store, TreeEdit};

use crate::chance::Chance;
use crate::trace::Trace;
use crate::world::{NAMESPACE, World};

/// The longest that a datum takes.
const LONGEST_DATUM: Duration = Duration::from_secs(30);
/// Datums that one record holds at most.
const RECORD: usize = 3;

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Well,
    /// The node takes it away.
    Evicted,
    /// It is killed, as by `kubectl delete pod`.
    Killed,
    /// It says that all is done, and it is not.
    Lies,
}

/// All workers of a life, and what they know to have done.
pub(crate) struct Workers {
    chance: Chance,
    trace: Trace,
    runs: AtomicU32,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Datums whose end is recorded: by Job and hash.
    recorded: BTreeSet<(Uuid, Vec<u8>)>,
    broken: Vec<String>,
}

impl Workers {
    pub(crate) fn new(chance: Chance, trace: Trace) -> Self {
        Self { chance, trace, runs: AtomicU32::new(0), memory: Mutex::default() }
    }

    /// Datums that were run.
    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    /// What the operator made workers do that it must not.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).broken.clone()
    }

    /// Runs every batch Job that comes, until it goes.
    pub(crate) async fn run(&self, world: &World) {
        let client = world.client();
        let api: Api<BatchJob> = Api::namespaced(client.clone(), NAMESPACE);
        let mut at_work: HashMap<String, futures::future::LocalBoxFuture<'_, ()>> = HashMap::new();
        let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
        loop {
            let next = futures::future::poll_fn(|context| {
                use std::task::Poll;
                at_work.retain(|_, working| working.as_mut().poll(context).is_pending());
                match futures::Stream::poll_next(events.as_mut(), context) {
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

    fn begins(&self, job: Uuid, datum: &PlanDatum) {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.recorded.contains(&(job, datum.hash.clone())) {
            let key = String::from_utf8_lossy(&datum.key).into_owned();
            memory.broken.push(format!("datum {key} of Job {job} runs again though its end is recorded"));
        }
    }

    fn ends(&self, job: Uuid, results: &[DatumResult]) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = results.iter().filter(|result| result.state() != ResultState::TryFailed);
        memory.recorded.extend(ended.map(|result| (job, result.hash.clone())));
    }
}

/// What a datum's code writes: a line for each file or folder that it reads, under the first one's name.
pub(crate) fn output(command: &str, members: &[(String, String)]) -> (String, String) {
    let name = members.first().map_or("nothing", |(path, _)| path.rsplit('/').next().unwrap_or_default());
    let name = if name.is_empty() { "all" } else { name };
    let lines: Vec<String> = members.iter().map(|(path, id)| format!("{command} {path} {id}\n")).collect();
    (name.to_owned(), lines.concat())
}

/// The shards of one batch Job.
struct Shards<'a> {
    workers: &'a Workers,
    world: &'a World,
    client: Client,
    job: BatchJob,
}

impl Shards<'_> {
    async fn run(self) {
        if let Err(error) = self.run_all().await {
            self.workers.trace.say("worker", format!("{}: {error}", self.job.name_any()));
        }
        std::future::pending::<()>().await; // until its batch Job changes
    }

    async fn run_all(&self) -> Result<(), Box<dyn std::error::Error>> {
        let spec = self.job.spec.clone().unwrap_or_default();
        let shards = u32::try_from(spec.completions.unwrap_or(1)).unwrap_or(1);
        let slots = Semaphore::new(usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(1));
        let done = Mutex::new(BTreeSet::new());
        let all = (0..shards).map(|shard| {
            let (slots, done) = (&slots, &done);
            async move {
                let _slot = slots.acquire().await;
                self.shard(shard, done).await
            }
        });
        futures::future::try_join_all(all).await?;
        let now = self.world.environment.now();
        self.tell(json!({
            "succeeded": shards, "completedIndexes": format!("0-{}", shards - 1), "active": 0, "completionTime": now,
            "conditions": [{ "type": "Complete", "status": "True", "lastTransitionTime": now }],
        }))
        .await?;
        Ok(())
    }

    /// Pods of one shard, one after the other, until one says that it is done.
    async fn shard(&self, shard: u32, done: &Mutex<BTreeSet<u32>>) -> Result<(), Box<dyn std::error::Error>> {
        for failures in 0.. {
            let fate = match self.workers.chance.below(20) {
                0 => Fate::Evicted,
                1 => Fate::Killed,
                2 => Fate::Lies,
                _ => Fate::Well,
            };
            if self.pod(shard, failures, fate).await? {
                done.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(10 << failures.min(5))).await;
        }
        Ok(())
    }

    /// One pod. True where it says that its shard is done.
    async fn pod(&self, shard: u32, failures: u32, fate: Fate) -> Result<bool, Box<dyn std::error::Error>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let template = self.job.spec.clone().unwrap_or_default().template;
        let mut metadata = template.metadata.clone().unwrap_or_default();
        metadata.generate_name = Some(format!("{}-{shard}-", self.job.name_any()));
        metadata.owner_references = kube::Resource::controller_owner_ref(&self.job, &()).map(|owner| vec![owner]);
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert("batch.kubernetes.io/job-completion-index".to_owned(), shard.to_string());
        annotations.insert("batch.kubernetes.io/job-index-failure-count".to_owned(), failures.to_string());
        let pod =
            pods.create(&PostParams::default(), &Pod { metadata, spec: template.spec.clone(), status: None }).await?;
        let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default().parse()?);
        tokio::time::sleep(self.workers.chance.pause(Duration::from_secs(5))).await;
        self.stand(&pods, &name, json!({ "phase": "Running" })).await?;
        let keeper = template.spec.iter().flat_map(|spec| &spec.containers).find(|it| it.name == pod::KEEPER);
        let variable = |name: &str| {
            let found = keeper.iter().flat_map(|it| it.env.iter().flatten()).find(|it| it.name == name);
            found.and_then(|it| it.value.clone()).unwrap_or_default()
        };
        let (job, plan) = (variable(pod::ENV_JOB_UID).parse()?, variable(pod::ENV_PLAN).parse()?);
        let work = Work { workers: self.workers, world: self.world, job, plan, shard, pod: uid, fate };
        let is_done = work.run().await?;
        let ended = |code: i32| {
            json!([{ "name": pod::KEEPER, "image": "varve", "imageID": "", "ready": false,
            "restartCount": 0, "state": { "terminated": { "exitCode": code } } }])
        };
        match fate {
            _ if is_done => {
                self.stand(&pods, &name, json!({ "phase": "Succeeded", "containerStatuses": ended(0) })).await?;
            }
            Fate::Killed => drop(pods.delete(&name, &DeleteParams::default().grace_period(0)).await),
            _ => {
                let condition =
                    json!([{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" }]);
                let status = json!({ "phase": "Failed", "conditions": condition,
                    "containerStatuses": ended(exit_codes::STOPPED) });
                self.stand(&pods, &name, status).await?;
            }
        }
        Ok(is_done)
    }

    async fn stand(&self, pods: &Api<Pod>, name: &str, status: serde_json::Value) -> kube::Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        match pods.patch_status(name, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()), // somebody has deleted it
            other => other.map(drop),
        }
    }

    async fn tell(&self, status: serde_json::Value) -> kube::Result<()> {
        let api: Api<BatchJob> = Api::namespaced(self.client.clone(), NAMESPACE);
        let patch = Patch::Merge(json!({ "status": status }));
        match api.patch_status(&self.job.name_any(), &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }
}

/// What the keeper of one pod does.
struct Work<'a> {
    workers: &'a Workers,
    world: &'a World,
    job: Uuid,
    plan: Hash,
    shard: u32,
    pod: Uuid,
    fate: Fate,
}

impl Work<'_> {
    /// Runs what is left of the shard. True where the pod says that it is done.
    async fn run(&self) -> Result<bool, Box<dyn std::error::Error>> {
        let store = self.world.store().await?;
        let plan = store.get_plan_header(self.job, &self.plan).await?;
        let planned = store.get_plan_shard(self.job, &self.plan, self.shard).await?;
        let keys = store.list_shard_results(self.job, self.shard).await?;
        let known: Vec<(ResultKey, ShardResults)> = store.read_results(self.job, keys).try_collect().await?;
        let ended: BTreeSet<Vec<u8>> = known
            .iter()
            .flat_map(|(_, results)| &results.datums)
            .filter(|result| result.state() != ResultState::TryFailed)
            .map(|result| result.hash.clone())
            .collect();
        let waiting: Vec<&PlanDatum> = planned.datums.iter().filter(|datum| !ended.contains(&datum.hash)).collect();
        let cut = if self.fate == Fate::Well { waiting.len() } else { self.workers.chance.below(waiting.len() + 1) };
        let (mut results, mut n) = (Vec::new(), 0);
        for datum in &waiting[..cut] {
            results.push(self.datum(&store, &plan, datum).await?);
            if results.len() >= RECORD || self.workers.chance.once_in(3) {
                self.record(&store, &mut results, &mut n).await?;
            }
        }
        if self.fate == Fate::Killed {
            return Ok(false); // what was not recorded is lost
        }
        self.record(&store, &mut results, &mut n).await?;
        Ok(cut == waiting.len() || self.fate == Fate::Lies)
    }

    async fn record(&self, store: &Store, results: &mut Vec<DatumResult>, n: &mut u64) -> varve_store::Result<()> {
        if results.is_empty() {
            return Ok(());
        }
        let record = ShardResults { format: 1, datums: std::mem::take(results) };
        let key = ResultKey { shard: self.shard, pod: self.pod, n: *n };
        store.put_results(self.job, key, &record).await?;
        *n += 1;
        self.workers.ends(self.job, &record.datums);
        Ok(())
    }

    async fn datum(&self, store: &Store, plan: &Plan, datum: &PlanDatum) -> varve_store::Result<DatumResult> {
        self.workers.begins(self.job, datum);
        let started_ns = varve_store::Environment::now_unix_ns(&self.world.environment);
        tokio::time::sleep(self.workers.chance.pause(LONGEST_DATUM)).await;
        let argv: Vec<String> = plan.task.iter().flat_map(|task| task.argv.clone()).collect();
        let members: Vec<(String, String)> = datum
            .members
            .iter()
            .filter(|member| !member.absent)
            .map(|member| (member.path.clone(), hex::encode(&member.id)))
            .collect();
        let (name, text) = output(&argv.join(" "), &members);
        let session = store.session();
        let content = session.write_bytes(text.into_bytes()).await?;
        let edits = vec![(RepoPath::parse(&name)?, TreeEdit::Put(TreeEntry::file(content)))];
        let tree: NodeRef = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await?;
        session.flush().await?;
        Ok(DatumResult {
            hash: datum.hash.clone(),
            key: datum.key.clone(),
            state: ResultState::Succeeded.into(),
            tries: datum.tries_used + 1,
            exit_code: Some(0),
            output: Some(NodeRecord::from(&tree)),
            node: "simulated".to_owned(),
            started_ns,
            ended_ns: varve_store::Environment::now_unix_ns(&self.world.environment),
            ..DatumResult::default()
        })
    }
}
