//! Tells the API what the store holds already: the Commit object of a published output, then the Job's end.

use kube::{ResourceExt, api::ObjectMeta};
use varve_api::{
    Commit, Job,
    commit::{CommitSpec, UploadedTree},
    job::{JobStatus, ShardCounts},
    labels,
};
use varve_format::Location;

use super::{
    batch::run_of,
    inputs::{At, Target, read_record},
    record::Summary,
    status,
};
use crate::{cx::Cx, error::Result, status::Concern};

/// The writer of an output Commit's status.
const COMMIT_CONCERN: Concern = Concern::whole("varve-job");

/// Makes the Commit object and its status; gives the Job's final status. Everything is read from the commit's record, so
/// it says the same whenever it is said.
pub(crate) async fn announce(
    job: &Job,
    cx: &Cx,
    target: &Target,
    at: &At,
    shards: Option<ShardCounts>,
) -> Result<JobStatus> {
    let record = read_record(&target.store, &at.commit).await?;
    let summary = record.as_ref().map(Summary::of).unwrap_or_default();
    let made = cx.act.create(&commit(job, target, at)).await?.into_inner();
    if made.labels().get(labels::JOB) == Some(&job.name_any()) {
        let old = made.status.clone().unwrap_or_default();
        let generation = made.metadata.generation.unwrap_or_default();
        let said = status::commit(job, at, generation, &old);
        cx.status.write(COMMIT_CONCERN, &made, &said).await?;
    } else {
        tracing::warn!(
            namespace = job.namespace(),
            commit = made.name_any(),
            "a Commit object of this name is there and is not the Job's: the output has none"
        );
    }
    tracing::info!(
        namespace = job.namespace(),
        job = job.name_any(),
        commit = %at.head.commit,
        datums = summary.total,
        processed = summary.processed,
        "Job succeeded"
    );
    Ok(status::succeeded(job, at, &summary, shards))
}

/// The output's Commit object. It has no owner: a result outlives what made it.
fn commit(job: &Job, target: &Target, at: &At) -> Commit {
    let tree = at.commit.tree();
    let root = match &tree.at {
        Location::Pack(range) => {
            varve_api::meta::FrameRef { pack: range.pack.to_string(), offset: range.offset, length: range.stored }
        }
        _ => status::record_ref(at), // a small tree lies within the record itself
    };
    let labels = [
        (labels::PIPELINE, job.spec.pipeline.clone()),
        (labels::JOB, job.name_any()),
        (labels::REPO, target.repo.name_any()),
        (labels::BRANCH, target.branch.to_string()),
        (labels::RUN, run_of(job).map(|run| run.to_string()).unwrap_or_default()),
        (labels::MANAGED_BY, labels::MANAGER.to_owned()),
    ];
    Commit {
        metadata: ObjectMeta {
            name: Some(job.name_any()),
            namespace: job.namespace(),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ..ObjectMeta::default()
        },
        spec: CommitSpec {
            repo: target.repo.name_any(),
            branch: target.branch.to_string(),
            message: Some(at.commit.identity.message.clone()),
            tree: Some(UploadedTree { id: tree.id.to_string(), session: at.head.commit.to_string(), root }),
            ..CommitSpec::default()
        },
        status: None,
    }
}
