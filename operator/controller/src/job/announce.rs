//! Tells the API what the store holds already: the Commit object of a published output, then the Job's end.

use kube::ResourceExt;
use varve_api::{
    Job,
    job::{JobStatus, ShardCounts},
    labels,
};

use super::{
    inputs::{At, Target, read_record},
    record::Summary,
    status,
};
use crate::{commit::output, cx::Cx, error::Result, status::Concern};

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
    let made = cx.act.create(&output(&target.repo, &at.head, &at.commit)).await?.into_inner();
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
