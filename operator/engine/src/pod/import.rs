//! The batch Job that fetches what a Commit puts from outside, in the Commit's own namespace.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job as BatchJob, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, SecretVolumeSource, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use varve_api::commit::Put;
use varve_api::{labels, names, pod};
use varve_format::Hash;

use super::containers::{literal, mount, own, own_env, read_only};
use super::{GRACE_SECONDS, Owner, SECONDS_AFTER_END, Surroundings, empty_dir, failure_policy, managed, owned_by};

/// How often a failed fetch is made again, 10 s · 2ⁿ apart: a server that is down for a minute is a normal day.
const BACKOFF_LIMIT: i32 = 4;

/// How long all tries of an import may take together: a day moves 8 TB at 100 MB/s, and a server that sends a byte a
/// minute is not waited for longer.
const DEADLINE_SECONDS: i64 = 24 * 60 * 60;

/// What is to be fetched for a Commit.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportJob<'a> {
    /// The Commit's name.
    pub commit: String,
    /// The Commit object's uid.
    pub commit_uid: String,
    /// The Repo's name.
    pub repo: String,
    /// The puts that name something outside, in order; see [`crate::commit::fetches`].
    pub puts: Vec<&'a Put>,
    /// The hash of [`fetch_list`] of these, which lies in the store.
    pub list: Hash,
}

/// The puts as the import pod reads them: JSON, each a [`Put`].
pub fn fetch_list(puts: &[&Put]) -> Vec<u8> {
    serde_json::to_vec(puts).expect("a put has strings for keys")
}

/// The batch Job that fetches it.
pub fn import(job: &ImportJob<'_>, around: &Surroundings) -> BatchJob {
    let labels = managed([(labels::COMMIT, job.commit.clone()), (labels::REPO, job.repo.clone())]);
    let secrets: BTreeSet<&str> = secrets(&job.puts).collect();
    let owner = Owner { kind: "Commit", name: job.commit.clone(), uid: job.commit_uid.clone() };
    let name = names::import_job(&job.commit);
    BatchJob {
        metadata: owned_by(&owner, &around.namespace, name, &labels, std::collections::BTreeMap::new()),
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(1),
            parallelism: Some(1),
            backoff_limit: Some(BACKOFF_LIMIT),
            pod_replacement_policy: Some("Failed".to_owned()),
            pod_failure_policy: Some(failure_policy_of_import()),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            ttl_seconds_after_finished: Some(SECONDS_AFTER_END),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(import_pod(job, &secrets, around)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// Of the rules for shards those that hold here: a drained pod costs nothing, and what can never be fetched fails at
/// once. Whatever else fails counts, also where the pod says that a later try may succeed: else a host that is never
/// found would be asked for ever, and the Commit never say so. (`FailIndex` needs a limit per index.)
fn failure_policy_of_import() -> k8s_openapi::api::batch::v1::PodFailurePolicy {
    let mut policy = failure_policy(pod::IMPORT);
    policy.rules.retain(|rule| rule.on_pod_conditions.is_some() || rule.action == "FailJob");
    policy
}

fn import_pod(job: &ImportJob<'_>, secrets: &BTreeSet<&str>, around: &Surroundings) -> PodSpec {
    let own_volumes = [secret_volume(pod::STORE_VOLUME, &around.store_secret), empty_dir(pod::TMP_VOLUME)];
    let imported = secrets.iter().enumerate().map(|(index, secret)| secret_volume(&volume_name(index), secret));
    PodSpec {
        containers: vec![import_container(job, secrets, around)],
        volumes: Some(own_volumes.into_iter().chain(imported).collect()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(super::pod_security(around)),
        ..super::pod_basics()
    }
}

fn import_container(job: &ImportJob<'_>, secrets: &BTreeSet<&str>, around: &Surroundings) -> Container {
    let imported = secrets
        .iter()
        .enumerate()
        .map(|(index, secret)| read_only(mount(&volume_name(index), &format!("{}/{secret}", pod::IMPORT_PATH))));
    let own_mounts: [VolumeMount; 2] =
        [read_only(mount(pod::STORE_VOLUME, pod::STORE_PATH)), mount(pod::TMP_VOLUME, "/tmp")];
    Container {
        args: Some(vec!["import".to_owned()]),
        env: Some(own_env([literal(pod::ENV_IMPORT, job.list.to_string())], &job.commit_uid, around)),
        volume_mounts: Some(own_mounts.into_iter().chain(imported).collect()),
        ..own(pod::IMPORT, around)
    }
}

/// The Secrets that these puts name. Each must be labelled `varve.dev/import: "true"`, which the caller checks.
fn secrets<'a>(puts: &'a [&'a Put]) -> impl Iterator<Item = &'a str> {
    puts.iter().filter_map(|put| put.object_store.as_ref()?.secret_name.as_deref())
}

fn volume_name(index: usize) -> String {
    format!("import-{index}")
}

fn secret_volume(name: &str, secret: &str) -> Volume {
    let source = SecretVolumeSource { secret_name: Some(secret.to_owned()), ..SecretVolumeSource::default() };
    Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() }
}
