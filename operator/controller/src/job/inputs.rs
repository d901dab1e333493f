//! What a Job stands on: its output's Repo and head, and the commits of its inputs.

use std::{collections::BTreeMap, sync::Arc};

use futures::TryStreamExt;
use kube::ResourceExt;
use uuid::Uuid;
use varve_api::{Job, Repo, conditions::Reason};
use varve_engine::inputs::{InputTree, Leaf};
use varve_format::{
    BranchName, Head,
    commit::ProvenanceInput,
    records::{JobRecord, Versioned},
};
use varve_store::{Commit, Store};

use crate::{
    cx::Cx,
    error::{Error, Result},
    heads,
    pipeline::observe::branch,
};

/// The largest Job record that is read back: 10⁶ datums' worth.
const MAX_RECORD_BYTES: u64 = 1 << 30;

/// Where a Job's output goes.
#[derive(Clone)]
pub(crate) struct Target {
    /// The output Repo.
    pub(crate) repo: Arc<Repo>,
    /// Its uid in the store.
    pub(crate) repo_uid: Uuid,
    /// The store.
    pub(crate) store: Store,
    /// The Secret that names the store.
    pub(crate) secret: String,
    /// The output branch.
    pub(crate) branch: BranchName,
}

/// The output Repo of a Job and its store.
pub(crate) async fn target(job: &Job, cx: &Cx) -> Result<Target> {
    let namespace = job.namespace().unwrap_or_default();
    let spec = &job.spec.snapshot.spec;
    let name = spec.output_repo(&job.spec.pipeline);
    let repo = cx.heads.repo(cx, &namespace, name).ok_or_else(|| {
        Error::waiting(Reason::RepoNotFound, format!("the output Repo {name} is not there: the Pipeline makes it anew"))
    })?;
    let connection = cx.stores.open(&namespace, Some(&repo.spec.store_ref.name)).await?;
    Ok(Target {
        repo_uid: heads::uid(&repo)?,
        repo,
        store: connection.store,
        secret: connection.secret,
        branch: branch(spec.output_branch())?,
    })
}

/// A commit that stands at a branch's head.
#[derive(Clone, Debug)]
pub(crate) struct At {
    /// The head.
    pub(crate) head: Head,
    /// The commit.
    pub(crate) commit: Arc<Commit>,
}

/// The commit at the head of a branch of the output Repo, to plan against. Whoever moves the head looks again.
///
/// A replica that has just come to lead may see a Repo of an earlier day, without the newest head or with none.
pub(crate) async fn at_head(cx: &Cx, target: &Target, branch: &BranchName) -> Result<Option<At>> {
    cx.heads.wait_until_compared(&cx.heads.newest(cx, &target.repo), branch).await?;
    let repo = cx.heads.newest(cx, &target.repo);
    match heads::read(&repo, branch)? {
        Some(head) => At::read(&target.store, head).await.map(Some),
        None => Ok(None),
    }
}

impl At {
    /// Reads the commit at `head`.
    pub(crate) async fn read(store: &Store, head: Head) -> Result<Self> {
        let commit = store.read_head(&head).await;
        let commit = commit.map_err(Error::store(format_args!("read commit {}", head.commit)))?;
        Ok(Self { head, commit: Arc::new(commit) })
    }
}

/// An input, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// As the output's provenance will have it.
    pub(crate) provenance: ProvenanceInput,
    /// The commit that is read.
    pub(crate) commit: Arc<Commit>,
}

/// The commits that the Job reads, one for each leaf.
pub(super) async fn inputs(job: &Job, cx: &Cx, target: &Target, tree: &InputTree) -> Result<Vec<Input>> {
    let mut inputs = Vec::with_capacity(tree.leaves().len());
    for leaf in tree.leaves() {
        inputs.push(input(job, cx, target, leaf).await?);
    }
    Ok(inputs)
}

async fn input(job: &Job, cx: &Cx, target: &Target, leaf: &Leaf) -> Result<Input> {
    let namespace = job.namespace().unwrap_or_default();
    let given = job.spec.inputs.iter().find(|input| input.name == leaf.name).ok_or_else(|| {
        Error::stalled(Reason::InputInvalid, format!("the Job has no Commit for its input {}", leaf.name))
    })?;
    let missing = || {
        Error::stalled(
            Reason::CommitNotFound,
            format!("input {}: commit {} of Repo {} is not in the store", leaf.name, given.commit, given.repo),
        )
    };
    let uid: Uuid = given.commit.parse().map_err(|_| missing())?;
    let repo_uid = if let Some(repo) = cx.heads.repo(cx, &namespace, &given.repo) {
        heads::uid(&repo)?
    } else {
        let found = target.store.repo(&leaf.repo).await.map_err(Error::store("look up a repo"))?;
        found.ok_or_else(missing)?.uid
    };
    let commit = target
        .store
        .find_commit(repo_uid, uid)
        .await
        .map_err(Error::store(format_args!("read commit {uid}")))?
        .ok_or_else(missing)?;
    let provenance = ProvenanceInput {
        name: leaf.name.clone(),
        repo_name: given.repo.clone(),
        repo_uid: repo_uid.into_bytes().to_vec(),
        branch: given.branch.clone(),
        commit: uid.into_bytes().to_vec(),
        sequence: commit.identity.sequence,
        seal: commit.seal.to_vec(),
        tree: commit.tree().id.to_vec(),
    };
    Ok(Input { provenance, commit: Arc::new(commit) })
}

/// The full record of the Job that made a commit, if one did.
pub(crate) async fn read_record(store: &Store, commit: &Commit) -> Result<Option<JobRecord>> {
    let Some(at) = &commit.job_record else { return Ok(None) };
    let bytes = store.read_all(at, MAX_RECORD_BYTES).await.map_err(Error::store("read a Job's record"))?;
    JobRecord::from_bytes(&bytes).map(Some).map_err(|error| Error::Bug(format!("a Job's record: {error}")))
}

/// How many datums the Job that made a commit had in all, if one did. Read from the record's end: a record has as many
/// datums as its Job had changes, and the Job after it mostly has a few.
pub(crate) async fn read_total(store: &Store, commit: &Commit) -> Result<Option<u64>> {
    let Some(at) = &commit.job_record else { return Ok(None) };
    let mut end = Vec::new();
    let mut parts = store.read(at, at.size.saturating_sub(JobRecord::TOTAL_BYTES)..at.size);
    while let Some(part) = parts.try_next().await.map_err(Error::store("read the end of a Job's record"))? {
        end.extend_from_slice(&part);
    }
    match JobRecord::total_at_end(&end) {
        Some(total) => Ok(Some(total)),
        None => Ok(read_record(store, commit).await?.map(|record| record.total)),
    }
}

/// The commits' uids by input, for the environment of the code.
pub(crate) fn commits_by_input(job: &Job) -> BTreeMap<String, String> {
    job.spec.inputs.iter().map(|input| (input.name.clone(), input.commit.clone())).collect()
}
