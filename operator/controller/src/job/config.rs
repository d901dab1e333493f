//! The `ConfigMap`s of a Job: read when it is planned, kept as copies from its first batch Job on.
//!
//! What they are and why is [`varve_engine::config`]'s; here they are read and written.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::ListParams};
use varve_api::{Job, conditions::Reason, job::Snapshot, labels};
use varve_engine::{
    config::{CopiesOf, JobConfig},
    plan::config_maps_needed,
};

use crate::{
    cx::Cx,
    error::{Error, Result},
    pipeline::observe::config_maps,
};

/// What the Job reads of `ConfigMap`s: its copies where it has them, else what is there now.
pub(super) async fn read(job: &Job, cx: &Cx) -> Result<JobConfig> {
    let spec = &job.spec.snapshot.spec;
    if config_maps_needed(spec).is_empty() {
        return Ok(JobConfig::default());
    }
    let namespace = job.namespace().unwrap_or_default();
    let api: Api<ConfigMap> = Api::namespaced(cx.clients.write.clone(), &namespace);
    let name = job.name_any();
    let params = ListParams::default().labels(&format!("{}={name}", labels::JOB));
    let copies = api.list(&params).await.map_err(Error::api(format_args!("list ConfigMaps of Job {name}")))?;
    let now = config_maps(cx, &namespace, spec).await?;
    Ok(JobConfig::of(spec, &now).or_as_copied(&copies_of(job), copies.items))
}

/// Makes sure that the copies are there before pods name them.
pub(super) async fn keep(job: &Job, cx: &Cx, config: &JobConfig) -> Result<()> {
    for copy in config.copies(&copies_of(job)) {
        let there = cx.act.create(&copy).await?.into_inner();
        if there.data.unwrap_or_default() != copy.data.unwrap_or_default()
            || there.binary_data.unwrap_or_default() != copy.binary_data.unwrap_or_default()
        {
            return Err(Error::stalled(
                Reason::PodsCannotStart,
                format!(
                    "a ConfigMap {} is there already and is not this Job's: delete it",
                    copy.metadata.name.unwrap_or_default()
                ),
            ));
        }
    }
    Ok(())
}

/// The Job's snapshot as its pods have it.
pub(super) fn pods_snapshot(job: &Job, config: &JobConfig) -> Snapshot {
    let snapshot = &job.spec.snapshot;
    Snapshot { spec: config.named_in(&copies_of(job), &snapshot.spec), ..snapshot.clone() }
}

fn copies_of(job: &Job) -> CopiesOf {
    let namespace = job.namespace().unwrap_or_default();
    CopiesOf { namespace, job: job.name_any(), uid: job.uid().unwrap_or_default() }
}
