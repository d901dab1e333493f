//! The batch Jobs of a Job: what they and their pods say, and making the next one.
//!
//! A batch Job is made over the datums that have no recorded end when it is made. Its template names the plan,
//! which is written first; neither is ever changed. So a restart either finds the batch Job, or makes it.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{batch::v1::Job as BatchJob, core::v1::Pod};
use kube::{Api, ResourceExt};
use uuid::Uuid;
use varve_api::{
    Job,
    conditions::Reason,
    job::{ShardCounts, Snapshot},
    labels, names,
};
use varve_engine::{
    datums::Datum,
    explain::{Seen, count_indexes, explain, is_at_work, most_replacements},
    plan,
    pod::{self, ShardJob},
};
use varve_format::{
    Hash, commit_uid,
    records::{Plan, PlanShard},
};

use super::{
    config, convert,
    decide::{Batch, BatchState},
    inputs::{Target, commits_by_input},
    planning::Planned,
    results::Results,
};
use crate::{
    act::{Call, Verb},
    cx::Cx,
    error::{Error, Result},
};

/// How long after the time by which a deleted pod was to be gone it counts as lost with its node.
const LOST_SECONDS: i64 = 60;

/// The batch Jobs and pods of one Job.
#[derive(Debug)]
pub(crate) struct Children {
    /// When they were looked at.
    now: Timestamp,
    /// Its batch Jobs, oldest attempt first.
    pub(crate) batches: Vec<Arc<BatchJob>>,
    /// Their pods.
    pub(crate) pods: Vec<Arc<Pod>>,
}

/// Whether the batch Job of this attempt is there, by the API server's own word: a cache may lag.
pub(crate) async fn is_there(job: &Job, cx: &Cx, attempt: u32) -> Result<bool> {
    let name = names::batch_job(&job.name_any(), attempt);
    let api: Api<BatchJob> = Api::namespaced(cx.clients.write.clone(), &job.namespace().unwrap_or_default());
    let found = api.get_opt(&name).await.map_err(Error::api(format_args!("get batch Job {name}")))?;
    Ok(found.is_some_and(|found| {
        found.metadata.deletion_timestamp.is_none()
            && found.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
    }))
}

/// What the caches hold of `job`'s children.
pub(crate) fn children(job: &Job, cx: &Cx) -> Children {
    let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
    let uid = job.uid().unwrap_or_default();
    let mut batches = cx
        .caches
        .batch_jobs
        .in_namespace(&namespace, |batch| batch.owner_references().iter().any(|owner| owner.uid == uid));
    batches.sort_by_key(|batch| pod::attempt_of(batch));
    let mut pods = cx
        .caches
        .pods
        .in_namespace(&namespace, |pod| pod.labels().get(labels::JOB).is_some_and(|label| *label == name));
    pods.sort_by_key(|pod| pod.name_any()); // so that the same pods are told of in the same words
    Children { now: cx.now(), batches, pods }
}

impl Children {
    /// As decisions see them.
    pub(crate) fn facts(&self) -> Vec<Batch> {
        self.batches
            .iter()
            .map(|batch| Batch {
                attempt: pod::attempt_of(batch).unwrap_or_default(),
                state: Self::state(batch),
                replacements: most_replacements(self.pods_of(batch).map(AsRef::as_ref)),
                running: count(self.pods_of(batch).filter(|pod| is_at_work(pod) && !self.is_lost(pod))),
                lost: count(self.pods_of(batch).filter(|pod| self.is_lost(pod))),
            })
            .collect()
    }

    /// Pods that have not ended, without those that are lost: results lie under keys of each pod's own, so nothing
    /// that such a pod may yet do is in another's way.
    pub(crate) fn live_pods(&self) -> u32 {
        count(self.pods.iter().filter(|pod| !has_ended(pod) && !self.is_lost(pod)))
    }

    /// Whether a batch Job is active, or a pod alive: more may yet be recorded.
    pub(crate) fn are_at_work(&self) -> bool {
        self.live_pods() > 0 || self.batches.iter().any(|batch| Self::state(batch) == BatchState::Active)
    }

    /// A pod that was deleted, whose time to stop is over, and that is still there: its node doesn't answer.
    fn is_lost(&self, pod: &Pod) -> bool {
        let gone_by = pod.metadata.deletion_timestamp.as_ref(); // the grace period is in it
        !has_ended(pod)
            && gone_by.is_some_and(|by| self.now.duration_since(by.0) > SignedDuration::from_secs(LOST_SECONDS))
    }

    /// Why no pod of the newest batch Job can ever do its work, if so: it gave up for a reason that a fresh one would
    /// not change, or its pods can't even start for one. While it has not given up, other shards may be at work.
    pub(crate) fn hopeless(&self) -> Option<(Reason, String)> {
        let newest = self.newest()?;
        let pods = self.pods_of(newest).map(AsRef::as_ref).collect();
        let finding = explain(&Seen { job: Some(newest), pods, ..Seen::default() });
        let finding = finding.filter(|finding| finding.is_hopeless)?;
        let has_failed = Self::state(newest) == BatchState::Failed;
        let cannot_start = matches!(finding.reason, Reason::ImagePullFailed | Reason::PodsCannotStart);
        (has_failed || cannot_start).then(|| (finding.reason, finding.message()))
    }

    /// Pods that have ended, for noticing that one more has.
    pub(crate) fn ended_pods(&self) -> usize {
        self.pods.iter().filter(|pod| has_ended(pod)).count()
    }

    /// How long the newest batch Job has been at it.
    pub(crate) fn age(&self) -> Duration {
        let made = self.newest().and_then(|batch| batch.creation_timestamp());
        let age = made.and_then(|made| Duration::try_from(self.now.duration_since(made.0)).ok());
        age.unwrap_or_default()
    }

    /// The newest batch Job.
    pub(crate) fn newest(&self) -> Option<&Arc<BatchJob>> {
        self.batches.last()
    }

    /// The shards of the newest batch Job, counted.
    pub(crate) fn shards(&self) -> Option<ShardCounts> {
        let batch = self.newest()?;
        let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        let status = batch.status.clone().unwrap_or_default();
        Some(ShardCounts {
            total: number(batch.spec.as_ref().and_then(|spec| spec.completions)),
            active: count(self.pods_of(batch).filter(|pod| !has_ended(pod) && !self.is_lost(pod))),
            succeeded: number(status.succeeded),
            failed: status.failed_indexes.as_deref().map_or(0, count_indexes),
        })
    }

    fn state(batch: &BatchJob) -> BatchState {
        if batch.metadata.deletion_timestamp.is_some() {
            return BatchState::Going;
        }
        let conditions = batch.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let holds =
            |name: &str| conditions.clone().any(|condition| condition.type_ == name && condition.status == "True");
        if holds("Complete") {
            return BatchState::Complete;
        }
        if holds("Failed") || holds("FailureTarget") { BatchState::Failed } else { BatchState::Active }
    }

    /// Whether pods of the newest batch Job hold nodes and none of them is at work.
    pub(crate) fn hold_nodes_idly(&self) -> bool {
        let pods = self.newest_pods();
        let has_node = |pod: &Arc<Pod>| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        pods.iter().any(|pod| has_node(pod) && !has_ended(pod)) && !pods.iter().any(|pod| is_at_work(pod))
    }

    /// The newest batch Job's pods.
    pub(crate) fn newest_pods(&self) -> Vec<Arc<Pod>> {
        self.newest().map(|newest| self.pods_of(newest).cloned().collect()).unwrap_or_default()
    }

    fn pods_of<'a>(&'a self, batch: &'a BatchJob) -> impl Iterator<Item = &'a Arc<Pod>> + 'a {
        let uid = batch.metadata.uid.as_deref();
        self.pods.iter().filter(move |pod| pod.owner_references().iter().any(|owner| Some(owner.uid.as_str()) == uid))
    }
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), Some("Succeeded" | "Failed"))
}

fn count<T>(all: impl Iterator<Item = T>) -> u32 {
    all.count().try_into().unwrap_or(u32::MAX)
}

/// The uid of the commit that a Job ends in; known from its start.
pub(crate) fn output_uid(job: &Job) -> Result<Uuid> {
    let created = job.metadata.creation_timestamp.as_ref();
    let (Some(created), Some(uid)) = (created, job.metadata.uid.as_deref()) else {
        return Err(Error::Bug(format!("Job {} has no uid or creation time", job.name_any())));
    };
    Ok(commit_uid(created.0.as_millisecond(), uid))
}

/// The Job object's uid as the store's keys take it.
pub(crate) fn job_uid(job: &Job) -> Result<Uuid> {
    let uid = job.uid().unwrap_or_default();
    uid.parse().map_err(|_| Error::Bug(format!("Job {} has uid {uid:?}", job.name_any())))
}

/// The run that a Job belongs to.
pub(crate) fn run_of(job: &Job) -> Option<Uuid> {
    job.labels().get(labels::RUN)?.parse().ok()
}

/// Writes the plan of what is left and makes batch Job number `attempt` over it.
pub(crate) async fn start(
    job: &Job,
    cx: &Cx,
    target: &Target,
    (planned, results): (&Planned, &Results),
    attempt: u32,
) -> Result<BatchJob> {
    let snapshot = &job.spec.snapshot;
    let left: Vec<&Datum> =
        planned.to_run().filter(|datum| results.end(datum.key.as_bytes(), &datum.hash).is_none()).collect();
    let sizes: Vec<u64> = left.iter().map(|datum| datum.bytes()).collect();
    let slots = NonZeroU32::new(snapshot.spec.parallelism).unwrap_or(NonZeroU32::MIN);
    let shards: Vec<PlanShard> = plan::split_by_bytes(&sizes, slots)
        .into_iter()
        .map(|range| PlanShard {
            datums: left[range]
                .iter()
                .map(|datum| convert::plan_datum(datum, results.tries(datum.key.as_bytes(), &datum.hash)))
                .collect(),
        })
        .collect();
    let output = output_uid(job)?.to_string();
    let task = plan::task(&job.name_any(), snapshot, &commits_by_input(job), &output)?;
    let uid = job_uid(job)?;
    let header = Plan {
        job_uid: uid.into_bytes().to_vec(),
        attempt,
        spec_digest: planned.spec_digest.to_vec(),
        task: Some(task),
        ..Plan::default()
    };
    let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    let bytes = varve_format::plan::encode(header, &shards);
    let store = &target.store;
    let call = Call::new(Verb::Store, "plan", format!("{uid} {attempt}"));
    let plan = cx
        .act
        .step(call, || {
            let bytes = bytes.clone();
            async move { store.put_plan(uid, bytes).await.map_err(Error::store("write the plan")) }
        })
        .await?;
    config::keep(job, cx, &planned.config).await?;
    let snapshot = config::pods_snapshot(job, &planned.config);
    let batch = batch_job(job, cx, target, &snapshot, (plan, count, attempt))?;
    let made = cx.act.create_as(&batch, &pod::as_sent(&batch)).await.map_err(told_of_fields)?.into_inner();
    if made.owner_references().iter().all(|owner| Some(&owner.uid) != job.metadata.uid.as_ref()) {
        return Err(Error::stalled(
            Reason::PodsCannotStart,
            format!(
                "a batch Job {} is there already and belongs to somebody else: delete it, or \
                 make its owner give it another name",
                names::batch_job(&job.name_any(), attempt)
            ),
        ));
    }
    tracing::info!(
        namespace = job.namespace(),
        job = job.name_any(),
        attempt,
        shards = count,
        datums = left.len(),
        plan = %plan,
        "batch Job made"
    );
    Ok(made)
}

/// Fields that are right each by itself may not be right together; Kubernetes knows, and says which.
fn told_of_fields(error: Error) -> Error {
    match error.wrong_fields() {
        Some(words) => Error::stalled(
            Reason::PodForbidden,
            format!(
                "Kubernetes takes no such pods as the Pipeline asks for: {words}. Change the Pipeline's container or pod"
            ),
        ),
        None => error,
    }
}

fn batch_job(
    job: &Job,
    cx: &Cx,
    target: &Target,
    snapshot: &Snapshot,
    (plan, shards, attempt): (Hash, u32, u32),
) -> Result<BatchJob> {
    let namespace = job.namespace().unwrap_or_default();
    pod::check(&job.spec.snapshot.spec, &cx.caches.store_names(&namespace))?;
    let around = cx.surroundings(&namespace, &target.secret);
    let shard_job = ShardJob {
        job: job.name_any(),
        job_uid: job.uid().unwrap_or_default(),
        pipeline: job.spec.pipeline.clone(),
        snapshot,
        run: run_of(job).unwrap_or_default(),
        attempt,
        plan,
        shards,
        parallelism: snapshot.spec.parallelism,
    };
    Ok(pod::shards(&shard_job, &around)?)
}

/// Deletes the batch Jobs that are not going already.
pub(crate) async fn stop(children: &Children, cx: &Cx) -> Result<()> {
    for batch in children.batches.iter().filter(|batch| batch.metadata.deletion_timestamp.is_none()) {
        cx.act.delete(batch.as_ref()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn deleted(phase: &str, gone_by: i64) -> Children {
        let status = serde_json::json!({"phase": phase});
        let mut pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {}, "status": status})).unwrap();
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(gone_by).unwrap()));
        Children { now: Timestamp::from_second(1000).unwrap(), batches: Vec::new(), pods: vec![Arc::new(pod)] }
    }

    #[test]
    fn a_pod_that_stays_a_minute_after_it_should_be_gone_is_lost_with_its_node() {
        let live = |children: Children| children.live_pods();
        assert_eq!(live(deleted("Running", 1030)), 1, "it has time to stop");
        assert_eq!(live(deleted("Running", 941)), 1, "its node may be slow");
        assert_eq!(live(deleted("Running", 939)), 0);
        assert!(!deleted("Failed", 939).is_lost(&deleted("Failed", 939).pods[0]), "it has ended");
    }

    #[test]
    fn pods_that_hold_nodes_and_none_of_which_is_at_work_hold_them_idly() {
        let batch: BatchJob = serde_json::from_value(serde_json::json!({"metadata": {"uid": "b"}})).unwrap();
        let holds = |pods: &[(Option<&str>, &str, Option<&str>)]| {
            let pod = |(node, phase, ended): &(Option<&str>, &str, Option<&str>)| -> Arc<Pod> {
                let state = serde_json::json!({"terminated": {"exitCode": 128, "reason": ended}});
                let user = serde_json::json!({"name": "user", "image": "", "imageID": "", "ready": false,
                    "restartCount": 0, "state": if ended.is_some() { state } else { serde_json::Value::Null }});
                let owner = serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "name": "n", "uid": "b"});
                Arc::new(
                    serde_json::from_value(serde_json::json!({"metadata": {"ownerReferences": [owner]},
                        "spec": {"containers": [], "nodeName": node},
                        "status": {"phase": phase, "containerStatuses": [user]}}))
                    .unwrap(),
                )
            };
            let pods = pods.iter().map(pod).collect();
            Children { now: Timestamp::UNIX_EPOCH, batches: vec![Arc::new(batch.clone())], pods }.hold_nodes_idly()
        };
        let (pending, waiting) = ((Some("a"), "Pending", None), (None, "Pending", None));
        let (failed_to_start, at_work) = ((Some("b"), "Running", Some("StartError")), (Some("c"), "Running", None));
        assert!(holds(&[pending, waiting]) && holds(&[failed_to_start]));
        assert!(!holds(&[waiting]), "it holds nothing");
        assert!(!holds(&[pending, failed_to_start, at_work]), "one is at work");
        assert!(!holds(&[(Some("a"), "Failed", None)]), "it has let go");
    }

    #[test]
    fn fields_that_kubernetes_refuses_are_told_in_its_words_and_refusals_by_others_are_tried_again() {
        let refused = |causes: serde_json::Value| {
            let status = serde_json::json!({
                "status": "Failure", "code": 422, "reason": "Invalid", "message": "spec.x: Forbidden",
                "details": { "causes": causes },
            });
            let status: kube::core::Status = serde_json::from_value(status).unwrap();
            told_of_fields(Error::api("create Job")(kube::Error::Api(status.into())))
        };
        let told =
            refused(serde_json::json!([{ "reason": "FieldValueForbidden", "field": "spec.x", "message": "no" }]));
        assert!(matches!(told, Error::Told { reason: Reason::PodForbidden, .. }), "{told}");
        assert!(told.to_string().contains("spec.x: Forbidden"), "{told}");
        let by_a_policy = refused(serde_json::json!([{ "message": "denied" }]));
        assert!(matches!(by_a_policy, Error::Api { .. }), "{by_a_policy}");
    }
}
