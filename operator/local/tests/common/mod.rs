//! A machine without a cluster: the small API server, a runner on it, and a store in a folder.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Namespace, Pod, Secret};
use kube::api::{Api, ListParams, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use varve_api::job::Snapshot;
use varve_api::pipeline::ResolvedImage;
use varve_engine::pod::{ShardJob, Surroundings, shards};
use varve_format::records::{DatumResult, Plan, PlanDatum, PlanMember, PlanShard, ResultState, Task, TaskInput};
use varve_format::{Hash, MapKind, RepoPath};
use varve_local::api::{self, Server};
use varve_local::runner::{Runner, RunnerChoice, Settings, View};
use varve_store::{Entry, NodeRef, Store, TreeEdit, backend};

/// Longest that anything awaited may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at what is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// This crate's example, which `cargo test` builds beside the tests.
pub(crate) fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/machine")
}

/// An API server with a runner.
pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) view: View,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl World {
    /// With these objects in it before the runner begins.
    pub(crate) async fn with(choice: RunnerChoice, pods: &[Value]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let settings = Settings {
            folder: root.path().join("dev"),
            choice,
            exe: program(),
            slots: NonZeroUsize::new(2).unwrap(),
            node: "laptop".into(),
            replacement_pause: SignedDuration::from_millis(10),
        };
        let runner = Runner::find(settings).await.unwrap();
        let view = runner.view();
        let logs = Arc::new(runner.logs());
        let server = Server::in_memory(api::Settings { logs: Some(logs), ..api::Settings::default() });
        let client = server.client("lab");
        let namespace = json!({ "metadata": { "name": "lab" } });
        let namespaces = Api::<Namespace>::all(client.clone());
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        for pod in pods {
            create::<Pod>(&client, pod.clone()).await;
            if pod["status"].is_object() {
                let api = Api::<Pod>::namespaced(client.clone(), "lab");
                let patch = kube::api::Patch::Merge(json!({ "status": pod["status"] }));
                api.patch_status(pod["metadata"]["name"].as_str().unwrap(), &PatchParams::default(), &patch)
                    .await
                    .unwrap();
            }
        }
        let stop = CancellationToken::new();
        let run = runner.run(client.clone(), stop.clone());
        let running = tokio::spawn(async move { run.await.unwrap() });
        Self { root, client, server, view, stop, running }
    }

    pub(crate) async fn new() -> Self {
        Self::with(RunnerChoice::Process, &[]).await
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "lab")
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + DeserializeOwned
            + serde::Serialize
            + Clone
            + Debug,
    {
        create(&self.client, object).await
    }

    /// The pod, once this holds of it.
    pub(crate) async fn pod(&self, name: &str, what: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
        self.until(what, || async { self.api::<Pod>().get_opt(name).await.unwrap().filter(|pod| holds(pod)) }).await
    }

    /// The Job, once this holds of it.
    pub(crate) async fn job(&self, name: &str, what: &str, holds: impl Fn(&Job) -> bool) -> Job {
        self.until(what, || async { self.api::<Job>().get_opt(name).await.unwrap().filter(|job| holds(job)) }).await
    }

    /// What is there as soon as it is.
    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, mut look: impl FnMut() -> F) -> T {
        let found = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let Ok(found) = tokio::time::timeout(PATIENCE, found).await else {
            panic!("awaited in vain: {what}; pods: {:#?}", pods_of(self).await)
        };
        found
    }

    /// Stops the runner and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.running).await.unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

async fn create<K>(client: &Client, object: Value) -> K
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + DeserializeOwned
        + serde::Serialize
        + Clone
        + Debug,
{
    let api = Api::<K>::namespaced(client.clone(), "lab");
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// How a container of a pod ended.
pub(crate) fn ended(pod: &Pod, name: &str) -> ContainerStateTerminated {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let state = statuses.clone().find(|status| status.name == name).and_then(|status| status.state.clone());
    state.and_then(|state| state.terminated).unwrap_or_else(|| panic!("{name} has not ended: {pod:#?}"))
}

pub(crate) fn condition(pod: &Pod, type_: &str) -> Option<(String, String, String)> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let found = conditions.clone().find(|condition| condition.type_ == type_)?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Some((found.status.clone(), text(&found.reason), text(&found.message)))
}

/// A pod with one container that runs a shell script.
pub(crate) fn script(name: &str, script: &str, more: &Value) -> Value {
    let mut container = json!({ "name": "user", "image": "none", "command": ["/bin/sh", "-c", script] });
    json_patch::merge(&mut container, more);
    json!({ "metadata": { "name": name }, "spec": { "restartPolicy": "Never", "containers": [container] } })
}

/// A store with inputs, and a planned Job over them.
pub(crate) struct Work {
    pub(crate) store: Store,
    pub(crate) job_uid: Uuid,
}

impl Work {
    /// Plans `shards` shards that run a shell script over `datums` files in all, and makes the batch Job.
    pub(crate) async fn plan(world: &World, script: &str, shard_count: u32, datums: usize) -> Self {
        let bucket = world.path("bucket");
        let store = Store::open(backend::local(&bucket).unwrap(), object_store::path::Path::default()).await.unwrap();
        let url = json!({ "url": format!("file://{}", bucket.display()) });
        world.create::<Secret>(json!({ "metadata": { "name": "varve-store" }, "stringData": url })).await;
        let session = store.session();
        let mut edits = Vec::new();
        for number in 0..datums {
            let content = session.write_bytes(format!("text {number}").into_bytes()).await.unwrap();
            edits.push((RepoPath::parse(&format!("{number}")).unwrap(), TreeEdit::Put(Entry::file(content))));
        }
        edits.sort_by(|one, other| one.0.cmp(&other.0));
        let inputs = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await.unwrap();
        session.flush().await.unwrap();
        let mut shards_planned = vec![PlanShard { datums: Vec::new() }; shard_count as usize];
        for number in 0..datums {
            let path = format!("{number}");
            let entry = store.find(&inputs, &RepoPath::parse(&path).unwrap()).await.unwrap().unwrap();
            shards_planned[number * shard_count as usize / datums].datums.push(datum(&path, &entry));
        }
        let job_uid = Uuid::now_v7();
        let header = Plan {
            format: 1,
            job_uid: job_uid.as_bytes().to_vec(),
            attempt: 1,
            spec_digest: vec![7; 32],
            task: Some(task(script)),
            shard_index: Vec::new(),
        };
        let plan = store.put_plan(job_uid, varve_format::plan::encode(header, &shards_planned)).await.unwrap();
        let job = shards(
            &ShardJob {
                job: "edges".into(),
                job_uid: job_uid.to_string(),
                pipeline: "edges".into(),
                snapshot: &Snapshot {
                    image: ResolvedImage {
                        reference: std::env::var("VARVE_TEST_IMAGE").unwrap_or_else(|_| "edges:1".into()),
                        ..ResolvedImage::default()
                    },
                    ..Snapshot::default()
                },
                run: job_uid,
                attempt: 1,
                plan,
                shards: shard_count,
                parallelism: 8,
            },
            &Surroundings {
                namespace: "lab".into(),
                own_image: "varve:1".into(),
                store_secret: "varve-store".into(),
                run_as: Some(65_532),
                allows_local_stores: true,
                allows_machine_credentials: false,
                restarts_in_place: false,
            },
        );
        let mut job = serde_json::to_value(job.unwrap()).unwrap();
        job["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        world.create::<Job>(job).await;
        Self { store, job_uid }
    }

    /// The state of each datum and what it left, by its input.
    pub(crate) async fn outputs(&self, shard_count: u32) -> BTreeMap<String, (ResultState, BTreeMap<String, String>)> {
        let mut outputs = BTreeMap::new();
        for shard in 0..shard_count {
            let keys = self.store.list_shard_results(self.job_uid, shard).await.unwrap();
            let records: Vec<_> = self.store.read_results(self.job_uid, keys).try_collect().await.unwrap();
            for result in records.into_iter().flat_map(|(_, record)| record.datums) {
                let files = self.files(&result).await;
                outputs.insert(String::from_utf8(result.key.clone()).unwrap(), (result.state(), files));
            }
        }
        outputs
    }

    async fn files(&self, result: &DatumResult) -> BTreeMap<String, String> {
        let Some(output) = &result.output else { return BTreeMap::new() };
        let node = NodeRef::try_from(output).unwrap();
        let entries: Vec<_> = self.store.walk(&node).try_collect().await.unwrap();
        let mut files = BTreeMap::new();
        for (path, entry) in entries {
            let text = self.store.read_all(entry.content().unwrap(), 1 << 20).await.unwrap();
            files.insert(path.as_str().to_owned(), String::from_utf8_lossy(&text).into_owned());
        }
        files
    }
}

fn datum(path: &str, entry: &Entry) -> PlanDatum {
    let member = PlanMember {
        input: "images".into(),
        mount: "photos".into(),
        path: path.to_owned(),
        kind: u32::from(u8::from(entry.kind())),
        id: entry.id().to_vec(),
        files: entry.files(),
        bytes: entry.bytes(),
        at: entry.at().to_vec(),
        absent: false,
    };
    let hash = Hash::of_content(path.as_bytes()).to_vec();
    PlanDatum { key: path.as_bytes().to_vec(), hash, members: vec![member], tries_used: 0 }
}

fn task(script: &str) -> Task {
    Task {
        argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
        tries: 1,
        inputs: vec![TaskInput { name: "images".into(), mount: "photos".into(), commit: "commit-of-images".into() }],
        job_name: "edges".into(),
        output_commit: "commit-of-edges".into(),
        ..Task::default()
    }
}

/// Whether a condition of a Job holds.
pub(crate) fn job_is(job: &Job, type_: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.clone().any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Every pod, by its index.
pub(crate) async fn pods_of(world: &World) -> Vec<Pod> {
    let mut pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
    pods.sort_by_key(ResourceExt::name_any);
    pods
}
