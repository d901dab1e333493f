//! Everything that a Pipeline's decision needs, read: its inputs' histories, its output's head, its Jobs, its
//! image. What is missing or cannot be is an error that names it, in words for the user.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};
use uuid::Uuid;
use varve_api::{Job, Pipeline, Repo, conditions::Reason, job::Snapshot, meta::InputCommit, pipeline::PipelineSpec};
use varve_engine::{
    circle::{Flow, circle},
    inputs::{InputTree, Leaf},
    plan::{self, ConfigMapContent, ConfigMaps},
    pod,
    trigger::{InputCommits, InputSet, Next, next_sets},
};
use varve_format::{BranchName, CommitIdentity, Hash};
use varve_store::Store;

use super::{
    State,
    history::{Known, Of, Recorded, Start},
    image,
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    heads,
};

/// What was seen of a Pipeline whose spec can be run.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The time.
    pub(crate) now: Timestamp,
    /// What would be run.
    pub(crate) snapshot: Snapshot,
    /// Its spec digest.
    pub(crate) spec_digest: Hash,
    /// Its output Repo, if it is there.
    pub(crate) output: Option<Arc<Repo>>,
    /// The Secret of the store that its inputs lie in.
    pub(crate) store_ref: String,
    /// Uid of the newest commit on its output branch.
    pub(crate) output_commit: Option<Uuid>,
    /// Its Jobs, oldest first.
    pub(crate) jobs: Vec<Arc<Job>>,
    /// Input sets that the output's head does not record, in order.
    pub(crate) wanted: Wanted,
    /// Time alone may bring news of the inputs.
    pub(crate) look_again: Option<Duration>,
}

/// What there is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// These sets, in this order.
    Sets(Vec<Set>),
    /// Nothing yet: why.
    Waiting(String),
    /// Nothing: the output's head records the newest set.
    UpToDate,
}

/// A consistent input set, ready to become a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    /// The Commits to read, by input.
    pub(crate) inputs: Vec<InputCommit>,
    /// Their seals, in the order of the inputs' names.
    pub(crate) seals: Vec<Hash>,
    /// The run.
    pub(crate) run: Uuid,
}

/// Reads everything.
pub(crate) async fn observe(pipeline: &Pipeline, cx: &Cx, state: &State) -> Result<Seen> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let name = pipeline.name_any();
    let spec = &pipeline.spec;
    // Before the output's head: a Job that is seen to have ended has moved it.
    let uid = pipeline.uid().unwrap_or_default();
    let jobs = state.with_made(cx, &uid, jobs(cx, &namespace, &uid)).await?;
    let tree = InputTree::parse(&name, spec)?;
    check_output_free(pipeline, cx, &namespace, &name)?;
    check_no_circle(pipeline, cx, &namespace, &name)?;
    check_secrets(pipeline, cx, state, &namespace).await?;
    let output = cx.heads.repo(cx, &namespace, spec.output_repo(&name));
    if let Some(output) = &output {
        check_unpinned(output, spec.output_branch())?;
    }
    let repos = input_repos(cx, &namespace, &tree)?;
    let (store, store_ref) = one_store(cx, &namespace, &repos, output.as_deref()).await?;
    let image = image::Resolving { pipeline, cx, state, namespace: &namespace }.run().await?;
    let snapshot =
        Snapshot { uid, generation: pipeline.metadata.generation.unwrap_or_default(), spec: spec.clone(), image };
    plan::argv(&snapshot)?;
    let spec_digest = digest(cx, &namespace, &snapshot).await?;
    let is_set_up = output.as_ref().is_some_and(|output| heads::uid(output).is_ok());
    // What stands at a head counts only once it is known that the store does not hold more of the branch.
    for (leaf, repo) in tree.leaves().iter().zip(&repos) {
        cx.heads.wait_until_compared(repo, &leaf.branch).await?;
    }
    let head = match output.as_ref().filter(|_| is_set_up) {
        Some(output) => {
            let branch = branch(spec.output_branch())?;
            cx.heads.wait_until_compared(output, &branch).await?;
            heads::read(&cx.heads.newest(cx, output), &branch)?
        }
        None => None,
    };
    let known = match &head {
        Some(head) => Some(state.history.at(&store, head).await?),
        None => None,
    };
    let made = pipeline.creation_timestamp().map_or(i128::MAX, |time| time.0.as_nanosecond());
    let made_ns = i64::try_from(made).unwrap_or(i64::MAX);
    let here =
        Here { cx, state, namespace: &namespace, name: &name, made_ns, tree: &tree, repos: &repos, store: &store };
    let (wanted, look_again) = if is_set_up {
        here.wanted(known.as_deref(), &spec_digest, jobs.len()).await?
    } else {
        // The store may hold a Repo of that name, and with it all that is wanted.
        let words = format!("the output Repo {} is being set up in its store", spec.output_repo(&name));
        (Wanted::Waiting(words), None)
    };
    Ok(Seen {
        now: cx.now(),
        snapshot,
        spec_digest,
        output,
        store_ref,
        output_commit: head.map(|head| head.commit),
        jobs,
        wanted,
        look_again,
    })
}

/// The Jobs that this very Pipeline object owns, oldest first.
pub(crate) fn jobs(cx: &Cx, namespace: &str, uid: &str) -> Vec<Arc<Job>> {
    let mut jobs = cx.caches.jobs.in_namespace(namespace, |job| job.spec.snapshot.uid == uid);
    jobs.sort_by_key(|job| (job.creation_timestamp().map(|time| time.0), job.name_any()));
    jobs
}

/// The Pipelines that would write a branch, the one that may first: the oldest.
pub(crate) fn writers(cx: &Cx, namespace: &str, repo: &str, branch: &str) -> Vec<Arc<Pipeline>> {
    let mut writers = cx.caches.pipelines.in_namespace(namespace, |pipeline| {
        pipeline.metadata.deletion_timestamp.is_none()
            && pipeline.spec.output_repo(&pipeline.name_any()) == repo
            && pipeline.spec.output_branch() == branch
    });
    writers.sort_by_key(|pipeline| age(pipeline));
    writers
}

fn age(pipeline: &Pipeline) -> (Option<Timestamp>, String) {
    (pipeline.creation_timestamp().map(|time| time.0), pipeline.uid().unwrap_or_default())
}

/// An output branch has one writer: of two Pipelines the older one.
fn check_output_free(pipeline: &Pipeline, cx: &Cx, namespace: &str, name: &str) -> Result<()> {
    let wanted = (pipeline.spec.output_repo(name), pipeline.spec.output_branch());
    let writers = writers(cx, namespace, wanted.0, wanted.1);
    let Some(first) = writers.first().filter(|first| age(first) < age(pipeline)) else { return Ok(()) };
    Err(Error::stalled(
        Reason::OutputTaken,
        format!(
            "branch {} of Repo {} is written by the older Pipeline {}: set output to another Repo or branch, or delete \
             that Pipeline",
            wanted.1,
            wanted.0,
            first.name_any()
        ),
    ))
}

/// Pipelines may not feed each other in a circle: the youngest of one is held back.
fn check_no_circle(pipeline: &Pipeline, cx: &Cx, namespace: &str, name: &str) -> Result<()> {
    let flow = |pipeline: &Pipeline| {
        let made = pipeline.creation_timestamp().map_or(i64::MAX, |time| time.0.as_second());
        Flow::of(&pipeline.name_any(), (made, pipeline.uid().unwrap_or_default()), &pipeline.spec)
    };
    let all: Vec<Flow> =
        cx.caches.pipelines.in_namespace(namespace, |_| true).iter().map(|pipeline| flow(pipeline)).collect();
    let Some(names) = circle(&flow(pipeline), &all) else { return Ok(()) };
    Err(Error::stalled(
        Reason::InputCycle,
        format!(
            "the Pipelines {} → {name} feed each other in a circle, so each Commit would set off the next for ever: \
             change an input or the output of one of them. Till then {name}, the youngest, makes no Job",
            names.join(" → ")
        ),
    ))
}

/// A pinned branch takes no commit, also none of a Job's.
pub(crate) fn check_unpinned(output: &Repo, branch: &str) -> Result<()> {
    let Some(pin) = output.spec.pin(branch) else { return Ok(()) };
    Err(Error::stalled(
        Reason::BranchPinned,
        format!(
            "the output branch {branch} of Repo {} is pinned to {pin}: take its entry out of spec.branches, or set output to \
             another branch",
            output.name_any()
        ),
    ))
}

/// Secrets that the container and its volumes name: there, and none of them a store's.
async fn check_secrets(pipeline: &Pipeline, cx: &Cx, state: &State, namespace: &str) -> Result<()> {
    pod::check(&pipeline.spec, &cx.caches.store_names(namespace))?;
    let wanted = pod::secrets(&pipeline.spec)?;
    let wanted: BTreeMap<String, &str> =
        wanted.into_iter().filter(|secret| secret.is_needed).map(|secret| (secret.name, secret.field)).collect();
    let (uid, generation) = (pipeline.uid().unwrap_or_default(), pipeline.metadata.generation.unwrap_or_default());
    if state.secrets.get(&uid) == Some(generation) {
        return Ok(());
    }
    let api: Api<Secret> = Api::namespaced(cx.clients.write.clone(), namespace);
    for (name, place) in wanted {
        let found =
            api.get_metadata_opt(&name).await.map_err(Error::api(format_args!("get Secret {namespace}/{name}")))?;
        if found.is_none() {
            return Err(Error::stalled(
                Reason::SecretNotFound,
                format!("there is no Secret {name} in namespace {namespace}, which {place} names: create it"),
            ));
        }
    }
    state.secrets.insert(uid, generation);
    Ok(())
}

/// The Repos of the inputs, one for each leaf.
fn input_repos(cx: &Cx, namespace: &str, tree: &InputTree) -> Result<Vec<Arc<Repo>>> {
    let repo = |leaf: &Leaf| {
        cx.heads.repo(cx, namespace, leaf.repo.as_str()).ok_or_else(|| {
            if let Some(maker) = maker_of(cx, namespace, leaf.repo.as_str()) {
                return Error::waiting(
                    Reason::RepoNotReady,
                    format!("input {}: Pipeline {maker} has not made its Repo {} yet", leaf.name, leaf.repo),
                );
            }
            Error::stalled(
                Reason::RepoNotFound,
                format!(
                    "input {}: there is no Repo {} in namespace {namespace}: create it, or correct the input's repo",
                    leaf.name, leaf.repo
                ),
            )
        })
    };
    tree.leaves().iter().map(repo).collect()
}

/// The Pipeline whose output this Repo is to be.
fn maker_of(cx: &Cx, namespace: &str, repo: &str) -> Option<String> {
    let all = cx.caches.pipelines.in_namespace(namespace, |one| {
        one.metadata.deletion_timestamp.is_none() && one.spec.output_repo(&one.name_any()) == repo
    });
    all.first().map(|maker| maker.name_any())
}

/// The one store that inputs and output lie in, and the Secret that names it.
async fn one_store(cx: &Cx, namespace: &str, inputs: &[Arc<Repo>], output: Option<&Repo>) -> Result<(Store, String)> {
    let mut found: Option<(Store, String, String)> = None;
    let all = inputs.iter().map(AsRef::as_ref).chain(output);
    for repo in all {
        let (name, secret) = (repo.name_any(), repo.spec.store_ref.name.clone());
        let store = cx.stores.open(namespace, Some(&secret)).await?.store;
        match &found {
            None => found = Some((store, secret, name)),
            Some((first, _, first_name)) if first.id() != store.id() => {
                return Err(Error::stalled(
                    Reason::StoresDiffer,
                    format!(
                        "Repo {first_name} lies in store {} and Repo {name} in store {}: the Repos of one Pipeline must lie \
                         in one store; copy one of them into a Repo of the other's storeRef",
                        first.id(),
                        store.id()
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    match found {
        Some((store, secret, _)) => Ok((store, secret)),
        None => Err(Error::Bug("a Pipeline without inputs passed the schema".into())),
    }
}

/// The spec digest of what would be run now.
async fn digest(cx: &Cx, namespace: &str, snapshot: &Snapshot) -> Result<Hash> {
    digest_with(snapshot, &config_maps(cx, namespace, &snapshot.spec).await?)
}

/// The spec digest with these contents of `ConfigMap`s.
pub(crate) fn digest_with(snapshot: &Snapshot, config_maps: &ConfigMaps) -> Result<Hash> {
    Ok(plan::spec_digest(snapshot, config_maps)?.digest())
}

/// The `ConfigMap`s that the spec names, as far as they are there. Read afresh: a cache holds no contents.
pub(crate) async fn config_maps(cx: &Cx, namespace: &str, spec: &PipelineSpec) -> Result<ConfigMaps> {
    let api: Api<ConfigMap> = Api::namespaced(cx.clients.write.clone(), namespace);
    let mut all = ConfigMaps::new();
    for name in plan::config_maps_needed(spec) {
        let found = api.get_opt(&name).await.map_err(Error::api(format_args!("get ConfigMap {namespace}/{name}")))?;
        if let Some(found) = found {
            let binary = found.binary_data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0));
            let content =
                ConfigMapContent { data: found.data.into_iter().flatten().collect(), binary_data: binary.collect() };
            all.insert(name, content);
        }
    }
    Ok(all)
}

/// A branch's name that the schema let pass.
pub(crate) fn branch(name: &str) -> Result<BranchName> {
    BranchName::parse(name).map_err(|error| Error::stalled(Reason::InputInvalid, error.to_string()))
}

/// What the sets are made from.
struct Here<'a> {
    cx: &'a Cx,
    state: &'a State,
    namespace: &'a str,
    name: &'a str,
    /// When the Pipeline was made, in nanoseconds since 1970.
    made_ns: i64,
    tree: &'a InputTree,
    repos: &'a [Arc<Repo>],
    store: &'a Store,
}

impl Here<'_> {
    /// The sets to run, given what the output's head records and how many Jobs there are.
    async fn wanted(
        &self,
        head: Option<&Known>,
        spec_digest: &Hash,
        jobs: usize,
    ) -> Result<(Wanted, Option<Duration>)> {
        let mut inputs = Vec::new();
        let mut look_again = false;
        for (leaf, repo) in self.tree.leaves().iter().zip(self.repos) {
            let repo_uid = heads::uid(repo)?;
            let start = match head {
                None => Start::Made(self.made_ns),
                Some(head) => recorded(&head.identity, leaf, repo_uid).map_or(Start::Head, Start::After),
            };
            let head = heads::read(&self.cx.heads.newest(self.cx, repo), &leaf.branch)?;
            let of = Of { namespace: self.namespace, repo: leaf.repo.as_str(), store: self.store };
            let since = match &head {
                Some(head) => self.state.history.since(self.cx, &of, head, start).await?,
                None => super::history::Since::default(),
            };
            look_again |= since.look_again;
            let commits = InputCommits {
                input: leaf.name.clone(),
                repo: repo_uid,
                repo_name: leaf.repo.to_string(),
                branch: leaf.branch.to_string(),
                last: since.last,
                new: since.new,
            };
            inputs.push(commits.ascending());
        }
        let look_again = look_again.then_some(Duration::from_secs(2));
        let is_recorded = head.is_some_and(|head| records_spec(&head.identity, self.name, self.tree, spec_digest));
        // Every failed Job stands for a set that is passed over, so one set more than there are Jobs is enough.
        let wanted = match next_sets(&inputs, jobs + 1) {
            Next::Run(sets) => Wanted::Sets(self.sets(&inputs, sets).await?),
            Next::UpToDate if is_recorded => Wanted::UpToDate,
            Next::Wait(why) if is_recorded => Wanted::Waiting(why),
            Next::UpToDate => match last_set(&inputs) {
                Some(last) => Wanted::Sets(self.sets(&inputs, vec![last]).await?),
                None => Wanted::Waiting("no input has a Commit yet".into()),
            },
            Next::Wait(why) => match last_set(&inputs) {
                Some(last) => Wanted::Sets(self.sets(&inputs, vec![last]).await?),
                None => Wanted::Waiting(why),
            },
        };
        Ok((wanted, look_again))
    }

    async fn sets(&self, inputs: &[InputCommits], sets: Vec<InputSet>) -> Result<Vec<Set>> {
        let mut made = Vec::with_capacity(sets.len());
        for set in sets {
            let mut seals = Vec::new();
            let mut commits = Vec::new();
            let mut run = Uuid::nil();
            for (input, &commit) in inputs.iter().zip(&set.commits) {
                let found = self.state.history.find(self.store, input.repo, commit).await?;
                let known = found.ok_or_else(|| Error::Bug(format!("commit {commit} was there a moment ago")))?;
                seals.push(known.seal);
                run = run.max(known.identity.run().unwrap_or_default()); // the set's own is that of the order
                commits.push(InputCommit {
                    name: input.input.clone(),
                    repo: input.repo_name.clone(),
                    branch: input.branch.clone(),
                    commit: commit.to_string(),
                });
            }
            made.push(Set { inputs: commits, seals, run });
        }
        Ok(made)
    }
}

/// The set of last commits, where every input has one.
fn last_set(inputs: &[InputCommits]) -> Option<InputSet> {
    let last: Vec<_> = inputs.iter().map(|input| input.last.as_ref()).collect::<Option<_>>()?;
    let run = last.iter().map(|candidate| candidate.run).max()?;
    Some(InputSet { commits: last.iter().map(|candidate| candidate.uid).collect(), run })
}

/// What an output commit records for this leaf: the commit it read, if it read this branch of this Repo.
fn recorded(output: &CommitIdentity, leaf: &Leaf, repo: Uuid) -> Option<Recorded> {
    let input = output.provenance.as_ref()?.inputs.iter().find(|input| input.name == leaf.name)?;
    let is_same = input.repo_uid().ok()? == repo && input.branch == leaf.branch.as_str();
    is_same.then_some(Recorded { uid: input.commit().ok()?, seq: input.sequence })
}

/// Whether an output commit was made by what would be run now: same spec digest, same shape of inputs.
fn records_spec(output: &CommitIdentity, name: &str, tree: &InputTree, spec_digest: &Hash) -> bool {
    let Some(provenance) = &output.provenance else { return false };
    provenance.spec_digest().is_ok_and(|recorded| recorded == *spec_digest)
        && recorded_tree(output, name).is_some_and(|recorded| recorded.has_shape_of(tree))
        && provenance.inputs.len() == tree.leaves().len()
}

/// The input tree that an output commit was made with.
pub(crate) fn recorded_tree(output: &CommitIdentity, name: &str) -> Option<InputTree> {
    let provenance = output.provenance.as_ref()?;
    let snapshot: Snapshot = serde_json::from_str(&provenance.spec).ok()?;
    InputTree::parse(name, &snapshot.spec).ok()
}
