//! The pods of a Job: what one says of itself, and making another. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use varve_api::pod::ENV_INDEX;

/// Keeps a pod until its end stands in the Job's status.
pub(crate) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The index of a pod: annotation and label.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How many pods of the index failed before this one, and how many of them count as nobody's failure.
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has not ended.
    Active,
    /// All its containers ended well.
    Succeeded,
    /// It has failed.
    Failed,
}

/// What counts of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) index: Option<u32>,
    pub(crate) phase: Phase,
    /// It is being deleted.
    pub(crate) is_going: bool,
    /// Its end does not stand in the Job's status yet.
    pub(crate) is_tracked: bool,
    pub(crate) is_ready: bool,
    /// How many pods of its index failed before it.
    pub(crate) failures: u32,
    /// And were ignored.
    pub(crate) ignored: u32,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(pod: &'a Pod) -> Self {
        let annotation = |name: &str| pod.metadata.annotations.as_ref()?.get(name)?.parse::<u32>().ok();
        let status = pod.status.as_ref();
        let phase = match status.and_then(|status| status.phase.as_deref()) {
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            _ => Phase::Active,
        };
        let mut conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
        Self {
            pod,
            index: annotation(INDEX),
            phase,
            is_going: pod.metadata.deletion_timestamp.is_some(),
            is_tracked: pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING),
            is_ready: conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            failures: annotation(FAILURES).unwrap_or(0),
            ignored: annotation(IGNORED).unwrap_or(0),
        }
    }

    pub(crate) fn name(&self) -> &'a str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &'a str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// By which the pods of an index are told apart in time.
    pub(crate) fn order(&self) -> (u32, Option<Timestamp>, &'a str) {
        let created = self.pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (self.failures + self.ignored, created, self.name())
    }

    /// When its last container ended; when it was deleted where none says.
    pub(crate) fn ended_at(&self) -> Option<Timestamp> {
        let statuses = self.pod.status.iter().flat_map(|status| {
            let init = status.init_container_statuses.iter().flatten();
            init.chain(status.container_statuses.iter().flatten())
        });
        let ended =
            statuses.filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
        let deleted = || self.pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        ended.map(|time| time.0).max().or_else(deleted)
    }
}

/// A pod that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) index: u32,
    /// How many pods of the index failed before it.
    pub(crate) failures: u32,
    /// And were ignored.
    pub(crate) ignored: u32,
}

/// The pod: the Job's template with what the Job controller adds.
pub(crate) fn make(job: &Job, wanted: Wanted) -> Pod {
    let spec = job.spec.clone().unwrap_or_default();
    let (name, uid) = (job.metadata.name.clone().unwrap_or_default(), job.metadata.uid.clone().unwrap_or_default());
    let template = spec.template.metadata.unwrap_or_default();
    let index = wanted.index.to_string();
    let mut labels = template.labels.unwrap_or_default();
    for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
        labels.insert(key.to_owned(), value.clone());
        labels.insert(format!("batch.kubernetes.io/{key}"), value.clone());
    }
    labels.insert(INDEX.to_owned(), index.clone());
    let mut annotations: BTreeMap<String, String> = template.annotations.unwrap_or_default();
    annotations.insert(INDEX.to_owned(), index.clone());
    if spec.backoff_limit_per_index.is_some() {
        annotations.insert(FAILURES.to_owned(), wanted.failures.to_string());
        if wanted.ignored > 0 {
            annotations.insert(IGNORED.to_owned(), wanted.ignored.to_string());
        }
    }
    let mut pod = spec.template.spec.unwrap_or_default();
    pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten()).for_each(give_index);
    pod.hostname = pod.hostname.or_else(|| Some(format!("{name}-{index}")));
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-{index}-")),
            namespace: job.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            finalizers: Some(template.finalizers.into_iter().flatten().chain([TRACKING.to_owned()]).collect()),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                name,
                uid,
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(pod),
        status: None,
    }
}

fn give_index(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|variable| variable.name == ENV_INDEX) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.annotations['{INDEX}']"), api_version: None };
    let value_from = Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() });
    env.push(EnvVar { name: ENV_INDEX.to_owned(), value: None, value_from });
}
