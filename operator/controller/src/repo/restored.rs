//! Commit objects that come back with a branch: those of Pipelines' outputs, which nobody applies.
//!
//! Where a branch was moved on to what the store holds (a cluster made again over its bucket, an etcd put
//! back to an earlier day), the objects of the newest output commits are made anew from their records. A
//! Commit by hand is not: what it asked for stands in somebody's file, and applied again it finds itself.

use std::sync::Arc;

use kube::{ResourceExt, api::ObjectMeta};
use varve_api::{
    commit::{Commit, CommitSpec, UploadedTree},
    conditions::{self, Reason, State, Type},
    labels,
    meta::FrameRef,
    repo::Repo,
};
use varve_format::{BranchName, Head, Location, MapKind};
use varve_store::{Commit as StoredCommit, Store};

use crate::{
    commit::{CONCERN, status_of},
    cx::Cx,
    error::{Error, Result},
    heads::uid,
};

/// Makes the objects of the output commits of `branch` after number `seq`, the newest `historyLimit` at most.
pub(super) async fn since(repo: &Arc<Repo>, cx: &Cx, store: &Store, (branch, seq): (&BranchName, u64)) -> Result<()> {
    let told = || Error::store(format!("read the history of branch {branch}"));
    let entries = store.reflog_after(uid(&cx.heads.fresh(repo))?, branch, seq).await.map_err(told())?;
    let limit = usize::try_from(repo.spec.history_limit).unwrap_or(usize::MAX);
    let newest = entries.iter().rev().filter(|entry| !entry.is_deleted).take(limit);
    for entry in newest {
        let commit = store.read_commit(&entry.record).await.map_err(told())?;
        let is_output = commit.identity.provenance.as_ref().is_some_and(|from| !from.pipeline.is_empty());
        // A head that a pin has moved names an earlier commit, whose own entry is elsewhere.
        if is_output && commit.identity.sequence == entry.seq {
            bring_back(repo, cx, entry, &commit).await?;
        }
    }
    Ok(())
}

async fn bring_back(repo: &Arc<Repo>, cx: &Cx, entry: &Head, stored: &StoredCommit) -> Result<()> {
    let namespace = repo.namespace().unwrap_or_default();
    let name = &stored.identity.name;
    if cx.caches.commits.get(&namespace, name).is_some() {
        return Ok(());
    }
    let made = cx.act.create(&object(repo, entry, stored)).await?.into_inner();
    let is_ours = made.labels().get(labels::JOB) == Some(name);
    let is_ready = made.status.as_ref().is_some_and(|status| conditions::holds(&status.conditions, Type::Ready));
    if !is_ours || is_ready {
        return Ok(());
    }
    let generation = made.metadata.generation.unwrap_or(1);
    let message = "found in the store";
    let mut status = status_of(stored, Vec::new());
    status.observed_generation = Some(generation);
    status.conditions = conditions::standing(State::Ready, Reason::Committed, message, generation, cx.now());
    status.conditions.push(conditions::condition(
        Type::Succeeded,
        true,
        Reason::Committed,
        message,
        generation,
        cx.now(),
    ));
    cx.status.write(CONCERN, &made, &status).await?;
    tracing::info!(namespace, repo = repo.name_any(), commit = name, "brought back a Commit from the store");
    Ok(())
}

/// The same object that the Job had made.
fn object(repo: &Repo, entry: &Head, stored: &StoredCommit) -> Commit {
    let identity = &stored.identity;
    let from = identity.provenance.clone().unwrap_or_default();
    let labels = [
        (labels::PIPELINE, from.pipeline),
        (labels::JOB, from.job),
        (labels::REPO, repo.name_any()),
        (labels::BRANCH, entry.branch.to_string()),
        (labels::RUN, identity.run().map(|run| run.to_string()).unwrap_or_default()),
        (labels::MANAGED_BY, labels::MANAGER.to_owned()),
    ];
    let tree = stored.map(&MapKind::TREE);
    let root = match tree.map(|tree| &tree.at) {
        Some(Location::Pack(at)) => (at.pack, at.offset, at.stored),
        _ => (entry.record.pack, entry.record.offset, entry.record.length), // a small tree lies within the record
    };
    let spec = CommitSpec {
        repo: repo.name_any(),
        branch: entry.branch.to_string(),
        message: Some(identity.message.clone()),
        tree: Some(UploadedTree {
            id: tree.map(|tree| tree.id.to_string()).unwrap_or_default(),
            session: entry.commit.to_string(),
            root: FrameRef { pack: root.0.to_string(), offset: root.1, length: root.2 },
        }),
        ..CommitSpec::default()
    };
    Commit {
        metadata: ObjectMeta {
            name: Some(identity.name.clone()),
            namespace: repo.namespace(),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}
