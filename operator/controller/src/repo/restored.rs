//! Commit objects that come back with a branch: those of Pipelines' outputs, which nobody applies.
//!
//! Where a branch is moved on to what the store holds (a cluster made again over its bucket, an etcd put
//! back to an earlier day), the objects of the newest output commits are made anew from their records. A
//! Commit by hand is not: what it asked for stands in somebody's file, and applied again it finds itself.

use std::sync::Arc;

use kube::ResourceExt;
use varve_api::{
    conditions::{self, Reason, State, Type},
    labels,
    repo::Repo,
};
use varve_format::{BranchName, Head};
use varve_store::{Commit as StoredCommit, Store};

use crate::{
    commit::{CONCERN, is_ready, output, status_of},
    cx::Cx,
    error::{Error, Result},
    heads::uid,
};

/// Makes the objects of the output commits of `branch` after number `seq`, the newest `historyLimit` at most.
///
/// Called before the head moves on to them, so that a kill midway leaves the head where it was and all of
/// this is done again; what is there already is left as it is.
pub(crate) async fn bring_back_commits(
    repo: &Arc<Repo>,
    cx: &Cx,
    store: &Store,
    (branch, seq): (&BranchName, u64),
) -> Result<()> {
    let told = || Error::store(format!("read the history of branch {branch}"));
    let limit = usize::try_from(repo.spec.history_limit).unwrap_or(usize::MAX);
    let mut reflog = store.reflog(uid(&cx.heads.fresh(repo))?, branch, seq).await.map_err(told())?;
    let newest = reflog.newest(limit).await.map_err(told())?;
    for entry in newest.iter().rev().filter(|entry| !entry.is_deleted) {
        let commit = match store.read_head(entry).await {
            Ok(commit) => commit,
            // An old commit whose record is gone costs its window in the API, not the branch.
            Err(varve_store::Error::ObjectMissing { key }) => {
                tracing::warn!(repo = repo.name_any(), %branch, seq = entry.seq, key, "a commit's record is missing: no Commit is made for it");
                continue;
            }
            Err(error) => return Err(told()(error)),
        };
        let identity = &commit.identity;
        let is_output = identity.provenance.as_ref().is_some_and(|from| !from.pipeline.is_empty());
        // A head that a pin has moved names an earlier commit, whose own entry is elsewhere.
        let is_own = identity.sequence == entry.seq && identity.branch == branch.as_str();
        if is_output && is_own {
            bring_back(repo, cx, entry, &commit).await?;
        }
    }
    Ok(())
}

async fn bring_back(repo: &Arc<Repo>, cx: &Cx, entry: &Head, stored: &StoredCommit) -> Result<()> {
    let namespace = repo.namespace().unwrap_or_default();
    let name = &stored.identity.name;
    let made = match cx.caches.commits.get(&namespace, name) {
        Some(there) => there,
        None => Arc::new(cx.act.create(&output(repo, entry, stored)).await?.into_inner()),
    };
    let is_ours = made.labels().get(labels::JOB) == Some(name);
    if !is_ours || is_ready(&made) {
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
    cx.status.write(CONCERN, made.as_ref(), &status).await?;
    tracing::info!(namespace, repo = repo.name_any(), commit = name, "brought back a Commit from the store");
    Ok(())
}
