//! The batch Jobs that do the work: one pod per shard, or one pod that fetches what a Commit puts; and the pod that
//! asks a node what an image is.
//!
//! Every field is a function of what stands in the objects, so building one twice gives equal objects. The user's
//! container and pod settings come from the Pipeline by name, field by field; nothing of the maker's labels and
//! annotations is copied. What may not be is refused by [`check`], also where the schema would have let it through.

mod check;
mod containers;
mod import;
mod overlay;
mod platform;
mod probe;
mod restart;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job as BatchJob, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, SecretVolumeSource, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use uuid::Uuid;
use varve_api::job::Snapshot;
use varve_api::{API_VERSION, exit_codes, labels, names, pod};
use varve_format::Hash;

pub use check::{PodError, SecretUse, check, secrets};
pub use import::{ImportJob, fetch_list, import};
pub use platform::architecture;
pub use probe::{Asked, ImageId, Probe, asked, image_id, probe};
pub use restart::{as_sent, keeps_rules, trial};

/// How often Kubernetes may replace a shard's failed pod. Tries are counted per datum in the store, so this only
/// keeps a shard that can never start from being replaced for ever; the operator steps in long before.
const BACKOFF_LIMIT_PER_INDEX: i32 = 1000;
/// How long an ended batch Job and its pods stay for whoever wants to look, in seconds. The record is in the store.
const SECONDS_AFTER_END: i32 = 60;
/// How long a pod has to stop, unless the Pipeline says otherwise: to record what is finished, in seconds.
const GRACE_SECONDS: i64 = 30;

/// What all pods of an operator have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The namespace.
    pub namespace: String,
    /// Our own image.
    pub own_image: String,
    /// The Secret that names the store.
    pub store_secret: String,
    /// The user to run as where nothing else says; none where the namespace gives out its own (OpenShift).
    pub run_as: Option<i64>,
    /// Whether stores may be on the machine's disk, which our containers must be told.
    pub allows_local_stores: bool,
    /// Whether a store whose Secret holds no credentials gets those of the machine, which our containers must be told.
    pub allows_machine_credentials: bool,
    /// Whether Kubernetes can start the user's container again in its pod, which the keeper must be told.
    pub restarts_in_place: bool,
}

impl Surroundings {
    /// The user for a namespace with these annotations.
    pub fn run_as(annotations: &BTreeMap<String, String>) -> Option<i64> {
        (!annotations.contains_key(pod::OPENSHIFT_UID_RANGE)).then_some(pod::RUN_AS)
    }
}

/// An object that owns a batch Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `Job` or `Commit`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// The shards of a Job.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardJob<'a> {
    /// The Job's name.
    pub job: String,
    /// The Job's uid.
    pub job_uid: String,
    /// The Pipeline's name.
    pub pipeline: String,
    /// The Pipeline as it was, and its image.
    pub snapshot: &'a Snapshot,
    /// The run that the Job belongs to.
    pub run: Uuid,
    /// Which batch Job of the Job this is, from 1 on.
    pub attempt: u32,
    /// The plan in force.
    pub plan: Hash,
    /// How many shards the plan has.
    pub shards: u32,
    /// How many pods may work at a time.
    pub parallelism: u32,
}

/// The batch Job that runs the shards of a plan.
///
/// It has no deadline of its own: the operator keeps the Job's time, and gathers what is finished before it gives up.
///
/// It is created by what [`as_sent`] makes of it. The snapshot must have passed [`check`]; what it lets through is not
/// looked at again here, but for the overlay: one that may not be, or would change what is ours, is an error.
pub fn shards(job: &ShardJob<'_>, around: &Surroundings) -> Result<BatchJob, PodError> {
    let labels = managed([
        (labels::PIPELINE, job.pipeline.clone()),
        (labels::JOB, job.job.clone()),
        (labels::RUN, job.run.to_string()),
    ]);
    let plan = (labels::PLAN.to_owned(), job.plan.to_string());
    let annotations = BTreeMap::from([plan.clone(), (labels::ATTEMPT.to_owned(), job.attempt.to_string())]);
    let of_pods = [plan].into_iter().chain(identity_for_the_keeper_alone(around)).collect();
    let owner = Owner { kind: "Job", name: job.job.clone(), uid: job.job_uid.clone() };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            annotations: Some(of_pods),
            ..ObjectMeta::default()
        }),
        spec: Some(shard_pod(job, around)),
    };
    Ok(BatchJob {
        metadata: owned_by(&owner, &around.namespace, names::batch_job(&job.job, job.attempt), &labels, annotations),
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(to_i32(job.shards)),
            parallelism: Some(to_i32(job.parallelism.min(job.shards))),
            backoff_limit_per_index: Some(BACKOFF_LIMIT_PER_INDEX),
            pod_replacement_policy: Some("Failed".to_owned()),
            pod_failure_policy: Some(failure_policy(pod::KEEPER)),
            ttl_seconds_after_finished: Some(SECONDS_AFTER_END),
            template: overlay::lay(&template, &job.snapshot.spec)?,
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// Where pods have an identity with the cloud that they run in, its webhooks put that into every container that isn't
/// listed here: the store may be opened with it, which is the keeper's business alone.
fn identity_for_the_keeper_alone(around: &Surroundings) -> Vec<(String, String)> {
    if !around.allows_machine_credentials {
        return Vec::new();
    }
    let others = [pod::USER, pod::INSTALL];
    let lists = [(pod::EKS_SKIP_CONTAINERS, others.join(",")), (pod::AZURE_SKIP_CONTAINERS, others.join(";"))];
    lists.map(|(key, containers)| (key.to_owned(), containers)).into()
}

/// Which of its Job's batch Jobs this is.
pub fn attempt_of(job: &BatchJob) -> Option<u32> {
    job.metadata.annotations.as_ref()?.get(labels::ATTEMPT)?.parse().ok()
}

fn shard_pod(job: &ShardJob<'_>, around: &Surroundings) -> PodSpec {
    let store = Volume {
        name: pod::STORE_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(around.store_secret.clone()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let own = [empty_dir(pod::VOLUME), store, empty_dir(pod::TMP_VOLUME)];
    let asked = job.snapshot.spec.pod.iter().flat_map(|settings| settings.volumes.clone());
    PodSpec {
        init_containers: Some(vec![containers::install(around)]),
        containers: vec![containers::user(job.snapshot, around), containers::keeper(job, around)],
        volumes: Some(own.into_iter().chain(asked).collect()),
        ..pod_of(job.snapshot, around)
    }
}

/// Where the pods of a Pipeline run, with which rights, and as whom.
fn pod_of(snapshot: &Snapshot, around: &Surroundings) -> PodSpec {
    let settings = snapshot.spec.pod.clone().unwrap_or_default();
    let nodes = platform::node_selector(&settings, &snapshot.image);
    let security = settings.security_context.unwrap_or_default();
    PodSpec {
        node_selector: some_map(nodes),
        tolerations: some_list(settings.tolerations),
        affinity: settings.affinity,
        priority_class_name: settings.priority_class_name,
        runtime_class_name: settings.runtime_class_name,
        scheduler_name: settings.scheduler_name,
        service_account_name: settings.service_account_name,
        image_pull_secrets: some_list(settings.image_pull_secrets),
        termination_grace_period_seconds: settings.termination_grace_period_seconds.or(Some(GRACE_SECONDS)),
        security_context: Some(PodSecurityContext {
            fs_group: security.fs_group,
            supplemental_groups: some_list(security.supplemental_groups),
            ..pod_security(around)
        }),
        ..pod_basics()
    }
}

/// What every pod of ours says, whatever runs in it.
fn pod_basics() -> PodSpec {
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        ..PodSpec::default()
    }
}

fn pod_security(around: &Surroundings) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: around.run_as,
        run_as_group: around.run_as,
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

/// What a failed pod means; the first rule that fits decides.
///
/// A pod that was evicted or drained, or whose keeper was stopped with work left, costs nothing. A keeper that knows
/// that its shard, or the whole Job, can never proceed says so by its exit code, and no replacement is made.
fn failure_policy(container: &str) -> PodFailurePolicy {
    let exit = |action: &str, code: i32| PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(container.to_owned()),
            operator: "In".to_owned(),
            values: vec![code],
        }),
        on_pod_conditions: None,
    };
    let disruption =
        PodFailurePolicyOnPodConditionsPattern { status: "True".to_owned(), type_: "DisruptionTarget".to_owned() };
    PodFailurePolicy {
        rules: vec![
            PodFailurePolicyRule {
                action: "Ignore".to_owned(),
                on_exit_codes: None,
                on_pod_conditions: Some(vec![disruption]),
            },
            exit("Ignore", exit_codes::STOPPED),
            exit("FailIndex", exit_codes::SHARD_CANNOT_PROCEED),
            exit("FailJob", exit_codes::JOB_CANNOT_PROCEED),
        ],
    }
}

/// What every object says that belongs to one of ours.
pub(crate) fn owned_by(
    owner: &Owner,
    namespace: &str,
    name: String,
    labels: &BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels.clone()),
        annotations: some_map(annotations),
        owner_references: Some(vec![OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: owner.kind.to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(false),
        }]),
        ..ObjectMeta::default()
    }
}

pub(crate) fn managed<const N: usize>(own: [(&str, String); N]) -> BTreeMap<String, String> {
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
    own.chain([(labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned())]).collect()
}

fn empty_dir(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then_some(map)
}

fn to_i32(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
