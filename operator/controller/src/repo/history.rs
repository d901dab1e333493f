//! `historyLimit`: how many Commits that Pipelines made stay in the API for each branch.
//!
//! Only the objects go. Their commits, names and records stay in the store, and a reference to one still
//! finds it.

use std::{collections::BTreeMap, sync::Arc};

use kube::ResourceExt;
use varve_api::{
    commit::Commit,
    conditions::{Type, holds},
    labels,
    repo::Repo,
};

use super::is_managed;
use crate::{cx::Cx, error::Result};

/// Whether a Job made this Commit object.
pub(crate) fn is_made_by_operator(commit: &Commit) -> bool {
    is_managed(commit.labels()) && commit.labels().contains_key(labels::JOB)
}

/// Deletes what is beyond the limit.
pub(super) async fn prune(repo: &Arc<Repo>, cx: &Cx) -> Result<()> {
    let (namespace, name) = (repo.namespace().unwrap_or_default(), repo.name_any());
    let made = cx.caches.commits.in_namespace(&namespace, |commit| {
        commit.spec.repo == name && is_made_by_operator(commit) && commit.metadata.deletion_timestamp.is_none()
    });
    for commit in beyond(made, usize::try_from(repo.spec.history_limit).unwrap_or(usize::MAX)) {
        if cx.act.delete(commit.as_ref()).await? {
            tracing::info!(namespace, repo = name, commit = commit.name_any(), "pruned a Commit beyond historyLimit");
        }
    }
    Ok(())
}

/// Of each branch's finished Commits, those that are not among the newest `limit`.
fn beyond(commits: Vec<Arc<Commit>>, limit: usize) -> Vec<Arc<Commit>> {
    let mut by_branch: BTreeMap<String, Vec<(u64, Arc<Commit>)>> = BTreeMap::new();
    for commit in commits {
        let Some(status) = &commit.status else { continue };
        let Some(seq) = status.seq.filter(|_| holds(&status.conditions, Type::Ready)) else { continue };
        by_branch.entry(commit.spec.branch.clone()).or_default().push((seq, commit));
    }
    let mut out = Vec::new();
    for mut branch in by_branch.into_values() {
        branch.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        out.extend(branch.into_iter().skip(limit).map(|(_, commit)| commit));
    }
    out
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use varve_api::{
        commit::{CommitSpec, CommitStatus},
        conditions::{Reason, State, standing},
    };

    use super::*;

    fn commit(name: &str, branch: &str, seq: u64) -> Arc<Commit> {
        let spec = CommitSpec { repo: "edges".into(), branch: branch.into(), ..CommitSpec::default() };
        let mut commit = Commit::new(name, spec);
        commit.status = Some(CommitStatus {
            seq: Some(seq),
            conditions: standing(State::Ready, Reason::Committed, "", 1, Timestamp::UNIX_EPOCH),
            ..CommitStatus::default()
        });
        Arc::new(commit)
    }

    #[test]
    fn the_oldest_beyond_the_limit_go_branch_by_branch() {
        let commits =
            vec![commit("m-3", "main", 3), commit("m-1", "main", 1), commit("m-2", "main", 2), commit("d-1", "dev", 1)];
        let names: Vec<_> = beyond(commits, 2).iter().map(|commit| commit.name_any()).collect();
        assert_eq!(names, ["m-1"]);
    }
}
