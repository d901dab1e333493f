//! The Commit object of a Pipeline's output, which nobody applies: a function of its record alone, so that one that is
//! made anew says what the first said.

use kube::{ResourceExt, api::ObjectMeta};
use varve_api::{
    commit::{Commit, CommitSpec, UploadedTree},
    labels,
    repo::Repo,
};
use varve_format::Head;
use varve_store::Commit as StoredCommit;

use super::{pack_ref, record_ref};

/// The object of the commit at `head`. It has no owner: a result outlives what made it.
pub(crate) fn output(repo: &Repo, head: &Head, stored: &StoredCommit) -> Commit {
    let identity = &stored.identity;
    let from = identity.provenance.clone().unwrap_or_default();
    let labels = [
        (labels::PIPELINE, from.pipeline),
        (labels::JOB, from.job),
        (labels::REPO, repo.name_any()),
        (labels::BRANCH, head.branch.to_string()),
        (labels::RUN, identity.run().map(|run| run.to_string()).unwrap_or_default()),
        (labels::MANAGED_BY, labels::MANAGER.to_owned()),
    ];
    let tree = stored.tree();
    let root = pack_ref(&tree.at).unwrap_or_else(|| record_ref(head.record)); // a small tree lies within the record
    Commit {
        metadata: ObjectMeta {
            name: Some(identity.name.clone()),
            namespace: repo.namespace(),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ..ObjectMeta::default()
        },
        spec: CommitSpec {
            repo: repo.name_any(),
            branch: head.branch.to_string(),
            message: Some(identity.message.clone()),
            tree: Some(UploadedTree { id: tree.id.to_string(), session: head.commit.to_string(), root }),
            ..CommitSpec::default()
        },
        status: None,
    }
}
